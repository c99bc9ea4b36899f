"""Arrays of any library: what shape and kind they have, and the few helpers the core needs on them.

An ``Array`` is a NumPy, CuPy or torch array (or any other that speaks the Python array API standard), or a
tuple of them where a spec is a tuple: stacked scans, bands of different size. A tuple has one level. Axes in
front of a spec's own are batch axes.

    <x, y> = sum conj(x) y        ||x|| = sqrt(<x, x>)        both over every axis and every tuple member
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import array_api_compat as compat
import array_api_compat.numpy as compat_numpy
import numpy as np

from recon.errors import ArrayError, ParameterError, ShapeError

__all__ = [
    "Array",
    "ArraySpec",
    "Kind",
    "Spec",
    "as_numpy",
    "batch_of",
    "broadcasts",
    "check_array",
    "clip",
    "device_of",
    "finite",
    "from_numpy",
    "is_complex",
    "leaves",
    "members",
    "namespace",
    "norm",
    "per_member",
    "random_normal",
    "real_like",
    "size",
    "tmap",
    "vdot",
    "zeros",
]

Array: TypeAlias = Any
"""An array of one library, or a tuple of them. No static type covers all libraries; the run-time check does."""

Kind: TypeAlias = Literal["real", "complex"]


@dataclass(frozen=True)
class ArraySpec:
    """Shape and kind of the arrays that an operator takes or gives.

    Parameters
    ----------
    shape
        The axes of one sample; axes in front of these are batch axes.
    kind
        ``"real"`` or ``"complex"``. Precision is not part of a spec: it follows the data.
    """

    shape: tuple[int, ...]
    kind: Kind = "real"

    def __post_init__(self) -> None:
        try:
            shape = tuple(operator.index(n) for n in self.shape)
        except TypeError:
            raise ParameterError(
                f"ArraySpec.shape must be a sequence of integers, got {self.shape!r}. Write (n,) for one axis."
            ) from None
        if any(n < 1 for n in shape):
            raise ParameterError(f"ArraySpec.shape must be positive, got {shape}. Give every axis a length.")
        if self.kind not in ("real", "complex"):
            raise ParameterError(f"ArraySpec.kind must be 'real' or 'complex', got {self.kind!r}.")
        object.__setattr__(self, "shape", shape)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    def __str__(self) -> str:
        return f"{self.shape} {self.kind}"


Spec: TypeAlias = ArraySpec | tuple[ArraySpec, ...]


def members(spec: Spec) -> tuple[ArraySpec, ...]:
    """The specs in a spec: itself, or the members of a tuple."""
    return spec if isinstance(spec, tuple) else (spec,)


def check_spec(spec: Any, owner: str) -> None:
    """Refuse what is neither an ArraySpec nor a tuple of them."""
    for one in members(spec) or [spec]:
        if not isinstance(one, ArraySpec):
            raise ParameterError(
                f"{owner} must be an ArraySpec or a tuple of them, got {type(one).__name__}. Write ArraySpec((n,))."
            )


def leaves(x: Array) -> tuple[Any, ...]:
    """The arrays in an array: itself, or the members of a tuple."""
    return x if isinstance(x, tuple) else (x,)


def size(spec: Spec) -> int:
    """Number of entries of one sample."""
    return sum(s.size for s in members(spec))


def tmap(function: Callable[..., Any], *xs: Array) -> Array:
    """Apply ``function`` to arrays, member by member where they are tuples of the same length."""
    if isinstance(xs[0], tuple):
        return tuple(function(*parts) for parts in zip(*xs, strict=True))
    return function(*xs)


def per_member(value: Any, x: Array) -> Any:
    """A value for each member of x: itself, or one copy per member where x is a tuple and the value is none."""
    return (value,) * len(x) if isinstance(x, tuple) and not isinstance(value, tuple) else value


def namespace(*xs: Array) -> Any:
    """The array-API namespace that all arrays share.

    Raises
    ------
    ArrayError
        When something is no array, or libraries are mixed.
    """
    if all(type(x) is np.ndarray for x in xs) and xs:
        return compat_numpy  # by far the commonest case, on the path of every product
    flat = [leaf for x in xs for leaf in leaves(x)]
    for leaf in flat:
        if not compat.is_array_api_obj(leaf):
            raise ArrayError(
                f"An array must come from NumPy, CuPy, torch or another array-API library, "
                f"got {type(leaf).__name__}. Convert it with numpy.asarray."
            )
    try:
        return compat.array_namespace(*flat)
    except TypeError:
        kinds = sorted({type(leaf).__module__.split(".")[0] for leaf in flat})
        raise ArrayError(
            f"Arrays of one call must come from one library, got {' and '.join(kinds)}. Convert one of them."
        ) from None


def device_of(x: Array) -> Any:
    """The device that an array lives on."""
    return compat.device(leaves(x)[0])


def is_complex(x: Array) -> bool:
    """Whether the (first) array has a complex dtype."""
    leaf = leaves(x)[0]
    return bool(namespace(leaf).isdtype(leaf.dtype, "complex floating"))


def check_array(x: Array, spec: Spec, owner: str) -> tuple[int, ...]:
    """Check an array against a spec and return its batch shape.

    Raises
    ------
    ShapeError, ArrayError
        Naming ``owner``, the rule, and what came.
    """
    if not isinstance(spec, tuple):
        return _check_leaf(x, spec, owner)
    if not isinstance(x, tuple) or len(x) != len(spec):
        got = f"a tuple of {len(x)}" if isinstance(x, tuple) else type(x).__name__
        raise ShapeError(
            f"{owner} must be a tuple of {len(spec)} arrays, got {got}. Give one array per member."
        )
    batches = {_check_leaf(xi, si, f"{owner}[{i}]") for i, (xi, si) in enumerate(zip(x, spec, strict=True))}
    if len(batches) > 1:
        raise ShapeError(f"{owner} must have the same batch axes in every member, got {sorted(batches)}.")
    namespace(*x)
    return batches.pop()


def _check_leaf(x: Array, spec: ArraySpec, owner: str) -> tuple[int, ...]:
    if isinstance(x, tuple):
        raise ShapeError(f"{owner} must be one array, got a tuple of {len(x)}. Give the array itself.")
    if not compat.is_array_api_obj(x):
        raise ArrayError(
            f"{owner} must be an array of NumPy, CuPy, torch or another array-API library, "
            f"got {type(x).__name__}. Convert it with numpy.asarray."
        )
    xp = namespace(x)
    shape = tuple(x.shape)
    split = len(shape) - len(spec.shape)
    if split < 0 or shape[split:] != spec.shape:
        raise ShapeError(
            f"{owner} must have shape {_dots(spec.shape)}, got {shape}. Batch axes go in front of the sample's axes."
        )
    wanted = "real floating" if spec.kind == "real" else "complex floating"
    if isinstance(x, np.ndarray):  # a tenth of the time of isdtype, on the path of every product
        fits = x.dtype.kind == ("f" if spec.kind == "real" else "c")
        if fits and (x.dtype.char not in "fdFD" or not x.dtype.isnative or type(x).__name__ == "MaskedArray"):
            raise _unusual(x, owner)
    else:
        fits = xp.isdtype(x.dtype, wanted)
    if not fits:
        cast = "float64" if spec.kind == "real" else "complex128"
        raise ArrayError(f"{owner} must be {wanted} point, got {x.dtype}. Convert it, for example to {cast}.")
    return shape[:split]


def _unusual(x: np.ndarray[Any, Any], owner: str) -> ArrayError:
    """The error for NumPy arrays that other libraries do not have and that would be cast silently."""
    if type(x).__name__ == "MaskedArray":
        return ArrayError(
            f"{owner} must be a plain array, got a MaskedArray. Fill it, and give the masked entries weight 0 "
            "with WeightedLeastSquares."
        )
    wanted = "complex64 or complex128" if x.dtype.kind == "c" else "float32 or float64"
    got = x.dtype.name if x.dtype.isnative else f"{x.dtype.name} in foreign byte order"
    return ArrayError(f"{owner} must be {wanted}, got {got}. Convert it with astype.")


def _dots(shape: tuple[int, ...]) -> str:
    return "(..., " + ", ".join(map(str, shape)) + ")"


def batch_of(x: Array, spec: Spec) -> tuple[int, ...]:
    """The batch axes of an array that is known to fit the spec."""
    leaf, first = leaves(x)[0], members(spec)[0]
    return tuple(leaf.shape[: leaf.ndim - first.ndim])


def broadcasts(shape: tuple[int, ...], target: tuple[int, ...]) -> bool:
    """Whether an array of that shape stands for one of the target's: its axes match the last ones, or are 1."""
    tail = target[len(target) - len(shape) :]
    return len(shape) <= len(target) and all(n in (1, m) for n, m in zip(shape, tail, strict=True))


def vdot(x: Array, y: Array) -> complex | float:
    """The Euclidean product sum conj(x) y over everything, as a Python number.

    Single precision is summed again in double where the sum comes near the limits of float32.
    """
    if isinstance(x, tuple):
        return sum(vdot(a, b) for a, b in zip(x, y, strict=True))
    value = _vdot(x, y)
    xp = namespace(x)
    if 1e-30 < abs(value) < 1e30 or x.dtype not in (xp.float32, xp.complex64):
        return value
    wide = np.complex128 if isinstance(value, complex) else np.float64
    return _vdot(as_numpy(x).astype(wide), as_numpy(y).astype(wide))


def _vdot(x: Any, y: Any) -> complex | float:
    if type(x) is np.ndarray and type(y) is np.ndarray:
        value = np.vdot(x, y)  # BLAS
        return complex(value) if np.iscomplexobj(value) else float(value)
    xp = namespace(x, y)
    product = xp.vecdot(xp.reshape(x, (-1,)), xp.reshape(y, (-1,)))
    return complex(product) if xp.isdtype(product.dtype, "complex floating") else float(product)


def norm(x: Array) -> float:
    """The Euclidean norm over everything, as a Python float; safe against overflow and underflow of squares."""
    with np.errstate(over="ignore", invalid="ignore"):
        square = vdot(x, x).real
    if 1e-30 < square < 1e30:  # far from the float32 limits too
        return math.sqrt(square)
    largest = max(float(namespace(leaf).max(namespace(leaf).abs(leaf))) for leaf in leaves(x))
    if largest == 0.0 or not math.isfinite(largest):
        return largest
    # a power of two that is itself in range: 1 / largest is not where largest is denormal
    limit = 100 if _single(leaves(x)[0]) else 1000
    scale = 2.0 ** min(max(-math.frexp(largest)[1], -limit), limit)
    scaled = tmap(lambda leaf: leaf * scale, x)
    return math.sqrt(vdot(scaled, scaled).real) / scale


def clip(x: Any, lower: Any, upper: Any) -> Any:
    """Entries limited to [lower, upper]; either bound may be None, a number or an array."""
    if lower is None and upper is None:
        return x
    if isinstance(x, np.ndarray):
        # np.clip with None, and np.maximum, take 3 times as long as np.clip with an infinite bound
        return np.clip(x, -math.inf if lower is None else lower, math.inf if upper is None else upper)
    return namespace(x).clip(x, lower, upper)


def finite(x: Array) -> bool:
    """Whether every entry is finite."""
    return all(bool(namespace(leaf).all(namespace(leaf).isfinite(leaf))) for leaf in leaves(x))


def zeros(spec: Spec, like: Array, batch: Sequence[int] = ()) -> Array:
    """Zeros of a spec in the library, device and precision of ``like``, with batch axes in front."""
    leaf = leaves(like)[0]
    xp, device = namespace(leaf), device_of(leaf)
    made = tuple(
        xp.zeros((*batch, *s.shape), dtype=_dtype(xp, leaf, s.kind), device=device) for s in members(spec)
    )
    return made if isinstance(spec, tuple) else made[0]


def _dtype(xp: Any, leaf: Any, kind: Kind) -> Any:
    """The real or complex dtype of the same precision as ``leaf``."""
    if kind == "real":
        return xp.float32 if _single(leaf) else xp.float64
    return xp.complex64 if _single(leaf) else xp.complex128


def _single(leaf: Any) -> bool:
    xp = namespace(leaf)
    return leaf.dtype in (xp.float32, xp.complex64)


def random_normal(spec: Spec, like: Array, rng: np.random.Generator, batch: Sequence[int] = ()) -> Array:
    """Standard normal draws of a spec; drawn by NumPy on the CPU, so a seed gives one result on every device."""

    def draw(one: ArraySpec) -> Any:
        shape = (*batch, *one.shape)
        values = rng.standard_normal(shape)
        return values + 1j * rng.standard_normal(shape) if one.kind == "complex" else values

    leaf = leaves(like)[0]
    xp = namespace(leaf)
    made = tuple(from_numpy(draw(s), leaf, dtype=_dtype(xp, leaf, s.kind)) for s in members(spec))
    return made if isinstance(spec, tuple) else made[0]


def as_numpy(x: Any) -> np.ndarray[Any, Any]:
    """A NumPy view (a copy only where the array lives on another device)."""
    if isinstance(x, np.ndarray):
        return x
    if compat.is_torch_array(x):
        return np.asarray(x.detach().resolve_conj().resolve_neg().cpu())
    if compat.is_cupy_array(x):
        return np.asarray(x.get())
    try:
        return np.from_dlpack(x)
    except (AttributeError, TypeError, BufferError, RuntimeError):
        return np.asarray(x)


def from_numpy(values: Any, like: Array, dtype: Any = None) -> Any:
    """A NumPy array in the library and on the device of ``like`` (and, if given, of that library's dtype)."""
    leaf = leaves(like)[0]
    xp = namespace(leaf)
    values = np.asarray(values, order="C")
    if not values.flags.writeable and not isinstance(leaf, np.ndarray):
        values = values.copy()  # others cannot mark an array as read-only
    array = xp.asarray(values, device=device_of(leaf))
    return array if dtype is None else xp.astype(array, dtype, copy=False)


def real_like(values: Any, like: Array) -> Any:
    """Real numbers as an array of the library, device and precision of ``like``."""
    leaf = leaves(like)[0]
    return from_numpy(values, leaf, dtype=_dtype(namespace(leaf), leaf, "real"))
