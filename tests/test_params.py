"""Parameters: every conversion, every rule, and every text of a refusal."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from dataclasses import FrozenInstanceError, dataclass, field
from typing import Annotated, Any, Literal

import numpy as np
import pytest
from annotated_types import Ge, Gt, Interval, Le, Len, Lt, MaxLen, MinLen, MultipleOf

from recon import params
from recon.errors import ParameterError
from recon.params import Doc, Parameters


@dataclass(frozen=True)
class Inner(Parameters):
    gain: float = 1.0


@dataclass(frozen=True)
class Everything(Parameters):
    weight: Annotated[float, Gt(0), Lt(10), Doc("weight, no unit")]
    count: Annotated[int, Ge(1), Le(8), MultipleOf(2)] = 2
    share: Annotated[float, Interval(ge=0, lt=1)] = 0.5
    flag: bool = True
    name: Annotated[str, MinLen(2), MaxLen(4)] = "ab"
    mode: Literal["fast", "exact"] = "fast"
    limit: Annotated[float | None, Ge(0)] = None
    either: int | str = 1
    sizes: tuple[int, ...] = (1,)
    pair: tuple[int, float] = (1, 2.0)
    marks: tuple[Annotated[float, Gt(0)], ...] = ()
    listed: Annotated[tuple[int, ...], Len(1, 3)] = (1,)
    inner: Inner = field(default_factory=Inner)
    table: Any = None
    array: np.ndarray | None = None
    nothing: None = None
    call: Callable[..., Any] | None = None

    derived: int = field(default=0, init=False)


def make(**values):
    return Everything(**{"weight": 1.0, **values})


@pytest.mark.parametrize(
    ("name", "given", "kept"),
    [
        ("weight", 2, 2.0),
        ("weight", np.float32(0.5), 0.5),
        ("weight", np.int64(3), 3.0),
        ("count", np.int32(4), 4),
        ("flag", np.bool_(False), False),
        ("limit", 3, 3.0),
        ("limit", None, None),
        ("either", "x", "x"),
        ("sizes", [1, 2], (1, 2)),
        ("sizes", np.array([3, 4]), (3, 4)),
        ("pair", [2, 3], (2, 3.0)),
        ("marks", [1], (1.0,)),
        ("mode", "exact", "exact"),
        ("table", {"any": "thing"}, {"any": "thing"}),
    ],
)
def test_lossless_conversions(name, given, kept):
    value = getattr(make(**{name: given}), name)
    assert value == kept
    assert type(value) is type(kept)


@pytest.mark.parametrize(
    ("name", "given", "text"),
    [
        ("weight", 0, "Everything.weight must be > 0, got 0.0."),
        ("weight", 10, "Everything.weight must be < 10, got 10.0."),
        ("weight", "1", "Everything.weight must be a number, got '1'."),
        ("weight", True, "Everything.weight must be a number, got True."),
        ("weight", math.nan, "Everything.weight must be a finite number, got nan."),
        ("limit", math.inf, "Everything.limit must be a finite number or None, got inf."),
        ("weight", np.ones((2, 3)), "must be a number, got an array of shape (2, 3) and dtype float64."),
        ("weight", list(range(100)), "must be a number, got [0, 1, 2,"),
        ("count", 0, "Everything.count must be >= 1, got 0."),
        ("count", 10, "Everything.count must be <= 8, got 10."),
        ("count", 3, "Everything.count must be a multiple of 2, got 3."),
        ("count", 2.0, "Everything.count must be an integer, got 2.0."),
        ("count", True, "Everything.count must be an integer, got True."),
        ("share", 1, "Everything.share must be < 1, got 1.0."),
        ("share", -0.5, "Everything.share must be >= 0, got -0.5."),
        ("flag", 1, "Everything.flag must be true or false, got 1."),
        ("name", 3, "Everything.name must be a string, got 3."),
        ("name", "a", "Everything.name must be of length 2 or more, got 'a'."),
        ("name", "abcde", "Everything.name must be of length 4 or less, got 'abcde'."),
        ("mode", "slow", "Everything.mode must be one of 'fast', 'exact', got 'slow'."),
        ("limit", -1, "Everything.limit must be >= 0, got -1.0."),
        ("limit", "x", "Everything.limit must be a number or None, got 'x'."),
        ("either", 1.5, "Everything.either must be an integer or a string, got 1.5."),
        ("sizes", 3, "Everything.sizes must be a sequence, got 3."),
        ("sizes", "12", "Everything.sizes must be a sequence, got '12'."),
        ("sizes", [1, "a"], "Everything.sizes[1] must be an integer, got 'a'."),
        ("pair", [1], "Everything.pair must be a sequence of 2 values, got [1]."),
        ("marks", [1, -1], "Everything.marks[1] must be > 0, got -1.0."),
        ("listed", [1, 2, 3, 4], "Everything.listed must be of length 3 or less, got (1, 2, 3, 4)."),
        ("listed", [], "Everything.listed must be of length 1 or more, got ()."),
        ("inner", 3, "Everything.inner must be a Inner, got 3."),
        ("nothing", 1, "Everything.nothing must be None, got 1."),
    ],
)
def test_refusals(name, given, text):
    with pytest.raises(ParameterError, match=re.escape(text)):
        make(**{name: given})


def test_instances_are_frozen_and_equal_by_value():
    assert make() == make()
    with pytest.raises(FrozenInstanceError):
        make().weight = 3.0


def test_fields_tell_type_rules_default_and_meaning():
    table = {f.name: f for f in params.fields(Everything)}
    assert "derived" not in table
    assert table["weight"].required
    assert not table["count"].required
    assert table["weight"].doc == "weight, no unit"
    assert table["weight"].constraints == (Gt(0), Lt(10))
    assert table["weight"].type is float
    assert table["inner"].default == Inner()


def test_build_names_unknown_and_missing_keys():
    assert params.build(Everything, {"weight": 1, "sizes": [2]}).sizes == (2,)
    for values, text in (
        ({"weigth": 1}, "Everything has no parameter 'weigth'. Did you mean 'weight'?"),
        ({"zzzzzz": 1}, "Everything has no parameter 'zzzzzz'. Known: weight, count, share"),
        ({"count": 2}, "Everything needs 'weight'. Give a value for it."),
    ):
        with pytest.raises(ParameterError, match=re.escape(text)):
            params.build(Everything, values)


def test_describe_is_json_and_never_holds_an_array():
    big = np.arange(1e4)
    described = params.describe(make(array=big, table=1 + 2j, inner=Inner(2.0), marks=(1, 2)))
    json.dumps(described)
    assert described["array"]["shape"] == [10000]
    assert described["array"] != params.describe(make(array=big + 1))["array"]
    assert described["table"] == {"real": 1.0, "imag": 2.0}
    assert described["inner"] == {"class": "Inner", "gain": 2.0}
    assert described["marks"] == [1.0, 2.0]
    assert params.describe(make(table={1: 2}))["table"] == "{1: 2}"


def test_nearest_and_short():
    assert params.nearest("Fisat", ["Fista", "Pdhg"]) == "Fista"
    assert params.nearest("qqq", ["Fista"]) is None
    assert params.short("x" * 100).endswith("... (str)")
    assert params.short(np.float64(3)) == repr(np.float64(3))
