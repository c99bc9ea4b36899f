"""Declared parameters in words and as JSON schema."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import numpy as np
import pytest
from annotated_types import Ge, Gt, Interval, Le, Len, Lt, MinLen, MultipleOf

from recon.params import Doc, Parameters, fields
from recon.priors import L1
from recon.schema import rule_words, schema, type_words, value_words


@dataclass(frozen=True)
class Everything(Parameters):
    needed: Annotated[int, Ge(1), MultipleOf(2)]
    share: Annotated[float, Interval(ge=0, lt=1), Doc("a share")] = 0.5
    shape: tuple[Annotated[int, Ge(1)], ...] = (2, 3)
    pair: tuple[float, float] = (0.0, 1.0)
    mixed: tuple[int, str] = (1, "a")
    mode: Literal["a", "b"] = "a"
    limit: Annotated[float | None, Gt(0), Le(9)] = None
    flag: bool = True
    names: Annotated[tuple[str, ...], Len(1, 3)] = ("x",)
    weights: Annotated[Any, MinLen(1)] = field(default_factory=lambda: np.ones(3))
    inner: L1 = field(default_factory=L1)


@pytest.mark.parametrize(
    ("hint", "words"),
    [
        (float, "number"),
        (int, "integer"),
        (bool, "true or false"),
        (str, "text"),
        (complex, "complex number"),
        (None | float, "none or number"),
        (Annotated[float, Gt(0)], "number"),
        (tuple[float, ...], "numbers"),
        (tuple[Annotated[int, Ge(1)], ...], "integers"),
        (tuple[str, ...], "sequence of text"),
        (tuple[int, int], "2 integers"),
        (tuple[int, str], "integer, text"),
        (Literal["a", 3], "'a' or 3"),
        (np.ndarray, "array"),
        (np.ndarray[Any, Any], "array"),
        (L1, "L1"),
        (Any, "any"),
    ],
)
def test_types_in_words(hint, words):
    assert type_words(hint) == words


def test_rules_and_defaults_in_words():
    rules = {item.name: rule_words(item) for item in fields(Everything)}
    assert rules["needed"] == ">= 1, a multiple of 2"
    assert rules["share"] == ">= 0, < 1"
    assert rules["shape"] == ">= 1"
    assert rules["limit"] == "> 0, <= 9"
    assert rules["names"] == "length >= 1, length <= 3"
    assert rules["flag"] == ""
    assert value_words(dataclasses.MISSING) == "required"
    assert value_words(None) == "none"
    assert value_words(np.zeros((2, 3))) == "an array of shape (2, 3) and dtype float64"


def test_schema_says_what_the_constructor_checks():
    made = schema(Everything)
    properties = made["properties"]
    assert made["required"] == ["needed"]
    assert properties["needed"] == {"type": "integer", "minimum": 1, "multipleOf": 2}
    assert properties["share"] == {
        "type": "number",
        "minimum": 0,
        "exclusiveMaximum": 1,
        "description": "a share",
        "default": 0.5,
    }
    assert properties["shape"]["items"] == {"type": "integer", "minimum": 1}
    assert properties["pair"]["prefixItems"] == [{"type": "number"}] * 2
    assert (properties["pair"]["minItems"], properties["pair"]["maxItems"]) == (2, 2)
    assert properties["mode"]["enum"] == ["a", "b"]
    assert properties["names"]["maxItems"] == 3
    assert "default" not in properties["weights"]
    assert properties["inner"]["description"] == "a L1"


def test_lower_and_upper_bounds_of_every_kind():
    @dataclass(frozen=True)
    class Bounds(Parameters):
        a: Annotated[float, Gt(1), Lt(2)] = 1.5

    assert schema(Bounds)["properties"]["a"]["exclusiveMaximum"] == 2
