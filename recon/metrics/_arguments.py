"""The checks that all metrics share: one library, one device, one shape, a fitting dtype, sane numbers."""

from __future__ import annotations

import math
import operator
from typing import Any, Literal

import array_api_compat as compat

from recon.arrays import Array, as_numpy, namespace
from recon.errors import ArrayError, ParameterError, ShapeError
from recon.params import short

_ALLOWED: dict[str, tuple[str, ...]] = {
    "bool": ("bool",),
    "real": ("bool", "integral", "real floating"),
    "numeric": ("bool", "numeric"),
}
_ADVICE = {
    "bool": "Threshold it first, for example x > otsu(x).",
    "real": "Pass its real part or its magnitude.",
    "numeric": "Convert it, for example to float64.",
}


def prepare(owner: str, kind: Literal["bool", "real", "numeric"], **arrays: Array) -> tuple[Any, ...]:
    """The namespace and then the checked arrays, as bool, float64 or complex128; the first one sets the rule.

    Parameters
    ----------
    owner
        The metric, for error texts.
    kind
        ``"bool"`` takes masks, ``"real"`` any real dtype, ``"numeric"`` complex ones too.
    **arrays
        The arrays under the names that the caller knows them by.

    Raises
    ------
    ArrayError
        No array, mixed libraries or devices, wrong dtype.
    ShapeError
        Different shapes, or no entries.
    """
    given = {name: _one_array(owner, name, value) for name, value in arrays.items()}
    reference, *others = given
    for name in others:
        _check_pair(owner, name, given[name], reference, given[reference])
    first = given[reference]
    if math.prod(first.shape) == 0:
        raise ShapeError(
            f"{owner}.{reference} must have at least one entry, got shape {tuple(first.shape)}. "
            "Check how it was cut out."
        )
    xp = namespace(*given.values())
    for name, value in given.items():
        if not xp.isdtype(value.dtype, _ALLOWED[kind]):
            advice = _ADVICE["real"] if xp.isdtype(value.dtype, "complex floating") else _ADVICE[kind]
            raise ArrayError(f"{owner}.{name} must be {kind}, got dtype {value.dtype}. {advice}")
    if kind == "bool":
        return xp, *given.values()
    anywhere = any(xp.isdtype(value.dtype, "complex floating") for value in given.values())
    wide = xp.complex128 if anywhere else xp.float64
    return xp, *(xp.astype(value, wide, copy=False) for value in given.values())


def _one_array(owner: str, name: str, value: Array) -> Array:
    if not compat.is_array_api_obj(value):
        raise ArrayError(
            f"{owner}.{name} must be one array, got {type(value).__name__}. Convert it with numpy.asarray."
        )
    return value.detach() if compat.is_torch_array(value) else value


def _check_pair(owner: str, name: str, value: Array, reference: str, first: Array) -> None:
    try:
        namespace(first, value)
    except ArrayError:
        libraries = [type(array).__module__.split(".")[0] for array in (first, value)]
        raise ArrayError(
            f"{owner}.{name} must be of the same library as {owner}.{reference}, which is {libraries[0]}, "
            f"got {libraries[1]}. Convert one of them."
        ) from None
    if compat.device(first) != compat.device(value):
        raise ArrayError(
            f"{owner}.{name} must be on the same device as {owner}.{reference}, {compat.device(first)}, "
            f"got {compat.device(value)}. Move one of them."
        )
    if tuple(first.shape) != tuple(value.shape):
        raise ShapeError(
            f"{owner}.{name} must have the shape of {owner}.{reference}, {tuple(first.shape)}, "
            f"got {tuple(value.shape)}. Cut or transpose one of them: metrics do not broadcast."
        )


def number(owner: str, name: str, value: Any, *, zero: bool, advice: str) -> float:
    """A finite number above 0 (or from 0 on, where ``zero`` is allowed), as a Python float."""
    try:
        wrong = isinstance(value, str | bool) or getattr(value, "shape", ()) != ()
        result = math.nan if wrong else float(as_numpy(value))
    except (TypeError, ValueError):
        result = math.nan
    if math.isfinite(result) and (result > 0 or (zero and result == 0)):
        return result
    rule = "a finite number >= 0" if zero else "a finite number > 0"
    raise ParameterError(f"{owner}.{name} must be {rule}, got {short(value)}. {advice}")


def integer(owner: str, name: str, value: Any, *, least: int, odd: bool, advice: str) -> int:
    """An integer from ``least`` on, odd where asked, as a Python int."""
    try:
        result = least - 1 if isinstance(value, bool) else operator.index(value)
    except TypeError:
        result = least - 1
    if result >= least and not (odd and result % 2 == 0):
        return result
    rule = f"an odd integer >= {least}" if odd else f"an integer >= {least}"
    raise ParameterError(f"{owner}.{name} must be {rule}, got {short(value)}. {advice}")


def choice(owner: str, name: str, value: Any, known: tuple[str, ...]) -> None:
    """One of the known words."""
    if not isinstance(value, str) or value not in known:
        words = " or ".join(map(repr, known))
        raise ParameterError(f"{owner}.{name} must be {words}, got {short(value)}. Choose one of these.")


def axis_numbers(owner: str, name: str, value: Any, ndim: int) -> tuple[int, ...]:
    """One axis or several, counted from 0; ``None`` means all of them."""
    if ndim == 0:
        raise ShapeError(f"{owner}.truth must have at least one axis, got shape (). Pass a whole signal.")
    if value is None:
        return tuple(range(ndim))
    try:
        several = value if isinstance(value, tuple | list) else (value,)
        listed = tuple(operator.index(axis) for axis in several)
    except TypeError:
        listed = ()
    axes = tuple(axis % ndim for axis in listed if -ndim <= axis < ndim)
    if not listed or len(set(axes)) != len(listed):
        raise ParameterError(
            f"{owner}.{name} must be different axes of an array with {ndim}, got {short(value)}. "
            f"Count them from 0 to {ndim - 1}, or from the end with -1."
        )
    return axes
