"""What the checks share: one way to fail, exact and relative comparison, what must be kept, test arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import numpy as np

from recon.arrays import (
    Array,
    Spec,
    as_numpy,
    batch_of,
    check_array,
    device_of,
    from_numpy,
    leaves,
    members,
    namespace,
    norm,
    random_normal,
    tmap,
    zeros,
)
from recon.errors import ReconError

__all__ = [
    "Guard",
    "at_precision",
    "check_kept",
    "distance",
    "draw",
    "expect",
    "fail",
    "likes",
    "quiet_division",
    "same_bits",
    "split_batch",
    "unchanged",
]


def fail(owner: Any, rule: str, advice: str = "") -> NoReturn:
    """Raise the AssertionError "<owner> must <rule>. <advice>"."""
    raise AssertionError(f"{_name(owner)} must {rule}." + (f" {advice}" if advice else ""))


def expect(thing: Any, base: type) -> None:
    """Fail unless ``thing`` is an instance of one of recon's base classes."""
    if isinstance(thing, base):
        return
    if isinstance(thing, type) and issubclass(thing, base):
        fail(thing, "be given as an instance", f"Write {thing.__name__}(...).")
    fail(type(thing), f"be a subclass of recon.{base.__name__}")


def _name(owner: Any) -> str:
    if isinstance(owner, str):
        return owner
    if isinstance(owner, type):
        return owner.__name__
    text = f"{owner!r}"
    return text if len(text) <= 120 and "\n" not in text else type(owner).__name__


def likes(like: Array | None) -> list[Any]:
    """The arrays whose library, device and precision a check works in: double, then single.

    Given a single-precision array, a check keeps to single precision (some devices have no other).
    """
    if like is None:
        like = np.zeros(1)
    leaf = leaves(like)[0]
    xp = namespace(leaf)
    single = xp.zeros(1, dtype=xp.float32, device=device_of(leaf))
    if leaf.dtype in (xp.float32, xp.complex64):
        return [single]
    return [xp.zeros(1, dtype=xp.float64, device=device_of(leaf)), single]


def at_precision(like: Any, double: float, single: float) -> float:
    """One of two tolerances, by the precision of an array."""
    xp = namespace(like)
    return single if like.dtype in (xp.float32, xp.complex64) else double


def draw(spec: Spec, like: Any, seed: int, batch: tuple[int, ...] = ()) -> Array:
    """Standard normal test data."""
    return random_normal(spec, like, np.random.default_rng(seed), batch)


def distance(x: Array, y: Array) -> float:
    """||x - y||."""
    return norm(tmap(lambda a, b: a - b, x, y))


def same_bits(x: Any, y: Any) -> bool:
    """Whether two arrays, tuples of arrays or plain values are equal to the last bit."""
    if isinstance(x, tuple) or isinstance(y, tuple):
        alike = isinstance(x, tuple) and isinstance(y, tuple) and len(x) == len(y)
        return alike and all(same_bits(a, b) for a, b in zip(x, y, strict=True))
    if hasattr(x, "shape") and hasattr(y, "shape"):
        a, b = as_numpy(x), as_numpy(y)
        return a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes()
    return type(x) is type(y) and (x == y or (x != x and y != y))


class Guard:
    """Copies of arguments, to tell afterwards whether a call changed them."""

    def __init__(self, **arguments: Any) -> None:
        self.arguments = arguments
        self.copies = {name: _copy(value) for name, value in arguments.items()}

    def check(self, owner: Any, call: str) -> None:
        """Fail when an argument is not what it was."""
        for name, value in self.arguments.items():
            if not same_bits(value, self.copies[name]):
                fail(owner, f"leave its arguments as they are: {call} changed {name}", "Work on a copy.")


def _copy(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(_copy(part) for part in value)
    return as_numpy(value).copy() if hasattr(value, "shape") else value


def unchanged(owner: Any, call: str, function: Callable[..., Any], **arguments: Any) -> Any:
    """The result of ``function`` on the arguments in order, after checking that it left them alone."""
    guard = Guard(**arguments)
    result = function(*arguments.values())
    guard.check(owner, call)
    return result


def check_kept(owner: Any, call: str, out: Array, spec: Spec, source: Array, batch: tuple[int, ...]) -> None:
    """Fail unless ``out`` fits ``spec`` and has the library, device and precision of ``source``."""
    try:
        got = check_array(out, spec, f"{call} result")
    except ReconError as error:
        fail(owner, f"give arrays of its specs: {str(error).rstrip('.')}")
    if got != batch:
        fail(owner, f"keep the batch axes {batch}: {call} gave {got}")
    want = zeros(spec, source)
    for made, like in zip(leaves(out), leaves(want), strict=True):
        scalar = isinstance(made, np.generic)  # what NumPy makes of an array without axes
        if namespace(made) is not namespace(like) or not (type(made) is type(like) or scalar):
            fail(owner, f"stay in one array library: {call} of {_library(like)} gave {_library(made)}")
        if made.dtype != like.dtype:
            fail(owner, f"keep the precision of its input: {call} gave {made.dtype} instead of {like.dtype}")
        if device_of(made) != device_of(like):
            fail(owner, f"stay on the device: {call} moved from {device_of(like)} to {device_of(made)}")


def _library(x: Any) -> str:
    return type(x).__module__.partition(".")[0]


def split_batch(x: Array, spec: Spec) -> list[Array]:
    """The single samples of a batch, in C order."""
    batch = batch_of(x, spec)
    return [tmap(lambda leaf: leaf[(*index, ...)], x) for index in np.ndindex(*batch)]  # noqa: B023


def from_real(values: Any, spec: Spec, like: Any) -> Array:
    """An array of ``spec`` from flat real numbers: per member its real parts, then its imaginary parts."""
    parts, start = [], 0
    for one in members(spec):
        count = one.size
        flat: np.ndarray[Any, Any] = np.asarray(values[start : start + count], dtype=np.float64)
        start += count
        if one.kind == "complex":
            flat = flat + 1j * np.asarray(values[start : start + count])
            start += count
        template = leaves(zeros(one, like))[0]
        parts.append(from_numpy(flat.reshape(one.shape), like, dtype=template.dtype))
    return tuple(parts) if isinstance(spec, tuple) else parts[0]


def to_real(x: Array) -> np.ndarray[Any, Any]:
    """The inverse of :func:`from_real`: one flat vector of real numbers."""
    parts: list[np.ndarray[Any, Any]] = []
    for leaf in leaves(x):
        flat = as_numpy(leaf).ravel()
        parts += [flat.real, flat.imag] if flat.dtype.kind == "c" else [flat]
    return np.concatenate(parts).astype(np.float64)


def real_size(spec: Spec) -> int:
    """How many real numbers one sample holds."""
    return sum(one.size * (2 if one.kind == "complex" else 1) for one in members(spec))


def quiet_division() -> Any:
    """A context in which NumPy does not warn of 0/0 and overflow (probing a prior far outside its domain)."""
    return np.errstate(all="ignore")


def numbers_only(owner: Any, what: str, values: Mapping[str, Any]) -> None:
    """Fail unless every value is a plain Python number."""
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            fail(
                owner,
                f"give plain numbers: {what}[{name!r}] is a {type(value).__name__}",
                "Write float(...).",
            )
