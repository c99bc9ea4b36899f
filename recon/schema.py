"""Declared parameters in two other languages: plain words for people, JSON schema for programs.

Both are read from the same annotated dataclass fields as the checks of the constructor (:mod:`recon.params`).
"""

from __future__ import annotations

import dataclasses
import types
import typing
from typing import Any, Literal, get_args, get_origin

from annotated_types import Ge, Gt, Interval, Le, Len, Lt, MaxLen, MinLen, MultipleOf

from recon.params import Doc, Field, fields, short

__all__ = ["rule_words", "schema", "type_words", "value_words"]

_WORDS: dict[Any, str] = {
    float: "number",
    int: "integer",
    bool: "true or false",
    str: "text",
    complex: "complex number",
    type(None): "none",
    Any: "any",
}
_JSON: dict[Any, dict[str, Any]] = {
    float: {"type": "number"},
    int: {"type": "integer"},
    bool: {"type": "boolean"},
    str: {"type": "string"},
    type(None): {"type": "null"},
    Any: {},
}
_KEYWORDS = {
    Gt: ("gt", "exclusiveMinimum", ">"),
    Ge: ("ge", "minimum", ">="),
    Lt: ("lt", "exclusiveMaximum", "<"),
    Le: ("le", "maximum", "<="),
    MultipleOf: ("multiple_of", "multipleOf", "a multiple of"),
    MinLen: ("min_length", "minItems", "length >="),
    MaxLen: ("max_length", "maxItems", "length <="),
}


# -- words -------------------------------------------------------------------------------------------------


def type_words(hint: Any) -> str:
    """A type in plain words: ``tuple[int, ...]`` is "integers", ``float | None`` "number or none"."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is typing.Annotated:
        return type_words(inner[0])
    if origin in (typing.Union, types.UnionType):
        return " or ".join(dict.fromkeys(type_words(option) for option in inner))
    if origin is Literal:
        return " or ".join(map(repr, inner))
    if origin is tuple:
        return _tuple_words(inner)
    if hint in _WORDS:
        return _WORDS[hint]
    kind = origin or hint
    name = getattr(kind, "__name__", str(kind))
    return "array" if name == "ndarray" else name


def _tuple_words(inner: tuple[Any, ...]) -> str:
    if len(inner) == 2 and inner[1] is Ellipsis:
        words = type_words(inner[0])
        return f"{words}s" if words in ("number", "integer") else f"sequence of {words}"
    if len(set(inner)) == 1:
        return f"{len(inner)} {type_words(inner[0])}s"
    return ", ".join(map(type_words, inner))


def rule_words(field: Field) -> str:
    """The constraints of a parameter: "> 0, <= 1"; those of its elements where it is a sequence."""
    words = [_rule(part) for part in _parts(field.constraints)]
    inner = [w for hint in get_args(field.type) for w in map(_rule, _parts(_metadata(hint))) if w]
    return ", ".join(dict.fromkeys(filter(None, words + inner)))


def value_words(value: Any) -> str:
    """A default as one would type it; "required" where there is none."""
    if value is dataclasses.MISSING:
        return "required"
    return "none" if value is None else short(value)


def _rule(part: Any) -> str:
    for kind, (attribute, _, words) in _KEYWORDS.items():
        if isinstance(part, kind):
            return f"{words} {getattr(part, attribute)}"
    return ""


def _parts(constraints: tuple[Any, ...]) -> list[Any]:
    found: list[Any] = []
    for rule in constraints:
        found += list(rule) if isinstance(rule, Interval | Len) else [rule]
    return found


def _metadata(hint: Any) -> tuple[Any, ...]:
    return get_args(hint)[1:] if get_origin(hint) is typing.Annotated else ()


# -- JSON schema -------------------------------------------------------------------------------------------


def schema(cls: type) -> dict[str, Any]:
    """JSON schema (2020-12) of the table that a run file may give for a dataclass of parameters."""
    properties, required = {}, []
    for field in fields(cls):
        item = {**_type_schema(field.type), **_constraint_schema(field.constraints)}
        if field.doc:
            item["description"] = field.doc
        if field.required:
            required.append(field.name)
        elif _is_plain(field.default):
            item["default"] = field.default
        properties[field.name] = item
    made: dict[str, Any] = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": cls.__name__}
    made |= {"type": "object", "properties": properties, "additionalProperties": False}
    return made | ({"required": required} if required else {})


def _type_schema(hint: Any) -> dict[str, Any]:
    origin, inner = get_origin(hint), get_args(hint)
    if origin is typing.Annotated:
        rules = tuple(rule for rule in inner[1:] if not isinstance(rule, Doc))
        return {**_type_schema(inner[0]), **_constraint_schema(rules)}
    if origin in (typing.Union, types.UnionType):
        return {"anyOf": [_type_schema(option) for option in inner]}
    if origin is Literal:
        return {"enum": list(inner)}
    if origin is tuple:
        if len(inner) == 2 and inner[1] is Ellipsis:
            return {"type": "array", "items": _type_schema(inner[0])}
        exact = len(inner)
        return {
            "type": "array",
            "prefixItems": [_type_schema(item) for item in inner],
            "minItems": exact,
            "maxItems": exact,
        }
    if hint in _JSON:
        return dict(_JSON[hint])
    return {"description": f"a {type_words(hint)}"}


def _constraint_schema(constraints: tuple[Any, ...]) -> dict[str, Any]:
    found = {}
    for part in _parts(constraints):
        for kind, (attribute, keyword, _) in _KEYWORDS.items():
            if isinstance(part, kind):
                found[keyword] = getattr(part, attribute)
    return found


def _is_plain(value: Any) -> bool:
    if isinstance(value, tuple | list):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, bool | int | float | str)
