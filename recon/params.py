"""Parameters: declared once as annotated dataclass fields, checked on construction.

A frozen dataclass declares its parameters with the standard ``annotated_types`` constraints::

    @dataclass(frozen=True)
    class Soft(Parameters):
        weight: Annotated[float, Ge(0), Doc("threshold, in units of x")] = 1.0

From that one declaration come the checks of the constructor, the table of ``recon info``, the parsing of a
run file and the hash of a batch key. Numbers are converted only where nothing is lost (int to float, list to
tuple); anything else is a :class:`~recon.errors.ParameterError` in the house's one sentence shape.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

import numpy as np
from annotated_types import BaseMetadata, Ge, Gt, Interval, Le, Len, Lt, MinLen, MultipleOf
from array_api_compat import is_array_api_obj

from recon.errors import ParameterError

__all__ = ["Doc", "Field", "Parameters", "build", "check", "describe", "fields", "nearest", "short"]


@dataclass(frozen=True)
class Doc:
    """What a parameter means, with its unit: metadata for ``Annotated``."""

    text: str


@dataclass(frozen=True)
class Field:
    """One declared parameter: its name, plain type, constraints, default and meaning."""

    name: str
    type: Any
    constraints: tuple[Any, ...]
    default: Any
    doc: str

    @property
    def required(self) -> bool:
        return self.default is dataclasses.MISSING


class Parameters:
    """Mixin for frozen dataclasses whose annotated fields are checked on construction."""

    def __post_init__(self) -> None:
        check(self)


def fields(cls: type) -> tuple[Field, ...]:
    """The declared parameters of a dataclass, in order (those that its constructor takes)."""
    return _fields(cls)


@functools.cache
def _fields(cls: Any) -> tuple[Field, ...]:
    hints = typing.get_type_hints(cls, include_extras=True)
    found = []
    for item in dataclasses.fields(cls):
        if not item.init:
            continue
        hint: Any = hints[item.name]
        metadata: tuple[Any, ...] = ()
        if get_origin(hint) is typing.Annotated:
            hint, *rest = get_args(hint)
            metadata = tuple(rest)
        default = item.default
        if default is dataclasses.MISSING and item.default_factory is not dataclasses.MISSING:
            default = item.default_factory()
        doc = next((m.text for m in metadata if isinstance(m, Doc)), "")
        rules = tuple(m for m in metadata if not isinstance(m, Doc))
        found.append(Field(item.name, hint, rules, default, doc))
    return tuple(found)


def check(obj: Any) -> None:
    """Check, and where lossless convert, every declared parameter of a frozen dataclass instance.

    Raises
    ------
    ParameterError
        Naming the class, the parameter, the rule and what came.
    """
    owner = type(obj).__name__
    for field in fields(type(obj)):
        value = getattr(obj, field.name)
        if value is field.default:
            continue
        converted = _convert(field.type, value, f"{owner}.{field.name}")
        _constrain(field.constraints, converted, f"{owner}.{field.name}")
        if converted is not value:
            object.__setattr__(obj, field.name, converted)


def build(cls: type, values: Mapping[str, Any]) -> Any:
    """Make ``cls(**values)`` from plain data (a run-file table), with unknown and missing keys named.

    Raises
    ------
    ParameterError
        For an unknown key (with the nearest known one), a missing key, or a value that breaks its rule.
    """
    known = {field.name: field for field in fields(cls)}
    for key in values:
        if key not in known:
            hint = nearest(key, known)
            advice = f"Did you mean {hint!r}?" if hint else f"Known: {', '.join(known) or 'none'}."
            raise ParameterError(f"{cls.__name__} has no parameter {key!r}. {advice}")
    missing = [name for name, field in known.items() if field.required and name not in values]
    if missing:
        raise ParameterError(f"{cls.__name__} needs {', '.join(map(repr, missing))}. Give a value for it.")
    return cls(**values)


def describe(obj: Any) -> dict[str, Any]:
    """The parameters of an instance as plain JSON data (arrays as shape, dtype and digest)."""
    return {field.name: _plain(getattr(obj, field.name)) for field in fields(type(obj))}


def nearest(name: str, known: Any) -> str | None:
    """The known name that is closest to a misspelt one, or None."""
    import difflib

    lowered = {str(k).lower(): str(k) for k in known}
    match = difflib.get_close_matches(name.lower(), lowered, n=1, cutoff=0.5)
    return lowered[match[0]] if match else None


def short(value: Any) -> str:
    """A value in a few words for an error text; never the numbers of an array."""
    if is_array_api_obj(value) and value.shape != ():
        return f"an array of shape {tuple(value.shape)} and dtype {value.dtype}"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:50]}... ({type(value).__name__})"


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, tuple | list):
        return [_plain(v) for v in value]
    if isinstance(value, complex):
        return {"real": value.real, "imag": value.imag}
    if hasattr(value, "shape"):
        import hashlib

        data = np.ascontiguousarray(value)
        digest = hashlib.sha256(data.tobytes()).hexdigest()[:16]
        return {"shape": list(data.shape), "dtype": str(data.dtype), "sha256": digest}
    if dataclasses.is_dataclass(value):
        own = getattr(value, "digest", None)  # of what lies behind the fields: the weights in a folder
        behind = {"digest": own()} if callable(own) else {}
        return {"class": type(value).__name__, **describe(value), **behind}
    return short(value)


def _convert(hint: Any, value: Any, where: str) -> Any:
    """The value as the declared type, or a ParameterError; only lossless conversions."""
    origin = get_origin(hint)
    if hint is Any or isinstance(hint, typing.TypeVar):
        return value
    if origin is typing.Annotated:
        inner, *rules = get_args(hint)
        value = _convert(inner, value, where)
        _constrain(tuple(rules), value, where)
        return value
    if origin in (typing.Union, types.UnionType):
        return _convert_union(hint, value, where)
    if origin is Literal:
        if any(type(value) is type(option) and value == option for option in get_args(hint)):
            return value
        raise _wrong(where, "one of " + ", ".join(map(repr, get_args(hint))), value)
    if origin is tuple:
        return _convert_tuple(get_args(hint), value, where)
    return _convert_scalar(origin or hint, value, where)


def _convert_scalar(kind: Any, value: Any, where: str) -> Any:
    if kind is float:
        if isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool):
            if not math.isfinite(value):
                raise _wrong(where, "a finite number", value)
            return float(value)
        raise _wrong(where, "a number", value)
    if kind is int:
        if isinstance(value, int | np.integer) and not isinstance(value, bool):
            return int(value)
        raise _wrong(where, "an integer", value)
    if kind is bool:
        if isinstance(value, bool | np.bool_):
            return bool(value)
        raise _wrong(where, "true or false", value)
    if kind is str:
        if isinstance(value, str):
            return value
        raise _wrong(where, "a string", value)
    if kind is np.ndarray:
        return value  # the owner converts and checks: only it knows the shape
    if kind is type(None):
        if value is None:
            return None
        raise _wrong(where, "None", value)
    if isinstance(kind, type) and not isinstance(value, kind) and not getattr(kind, "_is_protocol", False):
        raise _wrong(where, f"a {kind.__name__}", value)
    return value


def _convert_union(hint: Any, value: Any, where: str) -> Any:
    failures = []
    for option in get_args(hint):
        try:
            return _convert(option, value, where)
        except ParameterError as error:
            failures.append(str(error))
    rules = [text.split(" must be ", 1)[1].split(", got ", 1)[0] for text in failures]
    raise _wrong(where, " or ".join(dict.fromkeys(rules)), value)


def _convert_tuple(inner: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    if isinstance(value, str) or not isinstance(value, tuple | list | np.ndarray):
        raise _wrong(where, "a sequence", value)
    if len(inner) == 2 and inner[1] is Ellipsis:
        return tuple(_convert(inner[0], v, f"{where}[{i}]") for i, v in enumerate(value))
    if len(inner) != len(value):
        raise _wrong(where, f"a sequence of {len(inner)} values", value)
    return tuple(_convert(t, v, f"{where}[{i}]") for i, (t, v) in enumerate(zip(inner, value, strict=True)))


def _constrain(rules: tuple[Any, ...], value: Any, where: str) -> None:
    if value is None:
        return
    for rule in rules:
        parts = list(rule) if isinstance(rule, Interval | Len) else [rule]
        for part in parts:
            text = _broken(part, value) if isinstance(part, BaseMetadata) else None
            if text:
                raise _wrong(where, text, value)


def _broken(rule: BaseMetadata, value: Any) -> str | None:
    """The rule in words when the value breaks it, else None."""
    if isinstance(rule, MinLen):
        return None if len(value) >= rule.min_length else f"of length {rule.min_length} or more"
    if hasattr(rule, "max_length"):
        return None if len(value) <= rule.max_length else f"of length {rule.max_length} or less"
    if isinstance(value, str) or not np.isscalar(value):
        return None
    number: Any = value
    if isinstance(rule, Gt):
        return None if number > rule.gt else f"> {rule.gt}"
    if isinstance(rule, Ge):
        return None if number >= rule.ge else f">= {rule.ge}"
    if isinstance(rule, Lt):
        return None if number < rule.lt else f"< {rule.lt}"
    if isinstance(rule, Le):
        return None if number <= rule.le else f"<= {rule.le}"
    if isinstance(rule, MultipleOf):
        return None if number % rule.multiple_of == 0 else f"a multiple of {rule.multiple_of}"
    return None


def _wrong(where: str, rule: str, value: Any) -> ParameterError:
    return ParameterError(f"{where} must be {rule}, got {short(value)}.")
