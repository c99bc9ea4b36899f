"""A kernel as numbers: where its centre is, what its transfer function is, whether it is a product of vectors.

    (h * x)[i] = sum_k h[k] x[i - (k - c)]            c = the centre, the entry that leaves x in its place
    hhat = F h~,  h~[(k - c) mod n] = h[k]            the transfer function on a grid of length n

A kernel may have axes in front of the image's: a stack of kernels, each with its own centre.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import reduce
from typing import Any, Literal, TypeAlias

import numpy as np

from recon.errors import ParameterError
from recon.params import short

__all__ = ["Center", "Floats", "factors", "outer", "resolve_center", "transfer_function"]

Floats: TypeAlias = np.ndarray[Any, Any]
Center: TypeAlias = Literal["middle", "peak", "centroid"] | tuple[Any, ...]


def resolve_center(kernel: Floats, ndim: int, center: Center, owner: str) -> tuple[Any, ...]:
    """The index of the centre in each kernel of a stack: (ndim,) numbers, nested as the stack's axes are.

    "middle" is (K - 1) // 2 along each axis; "peak" the first largest entry of |h|; "centroid" the entry
    nearest to sum k |h[k]| / sum |h[k]| (halves go up).

    Raises
    ------
    ParameterError
        When the index lies outside the kernel, or has not one number per axis.
    """
    stack, shape = kernel.shape[:-ndim], kernel.shape[-ndim:]
    size = np.abs(kernel).reshape(*stack, -1)
    if center == "middle":
        found = np.array([(k - 1) // 2 for k in shape])
    elif center == "peak":
        found = np.stack(np.unravel_index(size.argmax(-1), shape), -1)
    elif center == "centroid":
        total = size.sum(-1)
        if not total.all():
            raise ParameterError(
                f"{owner}.center must be an index for a kernel of zeros, got 'centroid'. Give the index."
            )
        places = np.indices(shape).reshape(ndim, -1)
        found = np.floor((size @ places.T) / total[..., None] + 0.5).astype(int)
    else:
        index = _as_index(center)
        if index is None or index.shape[-1:] != (ndim,) or not ((index >= 0) & (index < shape)).all():
            raise _wrong(owner, shape, center)
        found = index
    try:
        found = np.broadcast_to(found, (*stack, ndim))
    except ValueError:
        raise _wrong(owner, shape, center) from None
    return _nested(found)


def _as_index(center: Any) -> Floats | None:
    try:
        found = np.asarray(center)
    except ValueError:  # ragged
        return None
    return found if found.dtype.kind in "iu" else None


def _wrong(owner: str, shape: tuple[int, ...], center: Any) -> ParameterError:
    return ParameterError(
        f"{owner}.center must be 'middle', 'peak', 'centroid' or an index inside the kernel's {shape}, "
        f"got {short(center)}. Count from 0, one number per axis."
    )


def _nested(values: Floats) -> tuple[Any, ...]:
    return tuple(_nested(v) if v.ndim else int(v) for v in values)


def transfer_function(kernel: Floats, origin: Floats, lengths: Sequence[int], half: bool) -> Floats:
    """hhat in double precision on a periodic grid; `half` keeps the half spectrum of real data.

    `origin` (stack..., ndim) is what becomes index 0. A kernel longer than the grid wraps around.
    """
    import scipy.fft

    ndim = len(lengths)
    stack, shape = kernel.shape[:-ndim], kernel.shape[-ndim:]
    wide = np.complex128 if kernel.dtype.kind == "c" else np.float64
    field = np.zeros((*stack, *lengths), wide)
    for one in np.ndindex(*stack):
        places = [(np.arange(k) - o) % n for k, o, n in zip(shape, origin[one], lengths, strict=True)]
        np.add.at(field[one], np.ix_(*places), kernel[one])
    axes = tuple(range(-ndim, 0))
    return np.asarray(scipy.fft.rfftn(field, axes=axes) if half else scipy.fft.fftn(field, axes=axes))


def outer(vectors: Sequence[Floats]) -> Floats:
    """The outer product of one vector per axis."""
    return reduce(np.multiply.outer, vectors)


def factors(kernel: Floats) -> list[Floats] | None:
    """One vector per axis whose outer product the kernel is to rounding, or None."""
    peak = tuple(int(k) for k in np.unravel_index(np.abs(kernel).argmax(), kernel.shape))
    if kernel[peak] == 0:
        return None
    vectors = []
    for axis, place in enumerate(peak):
        index: tuple[Any, ...] = (*peak[:axis], slice(None), *peak[axis + 1 :])
        fibre = kernel[index].astype(np.float64)
        vectors.append(fibre if axis == 0 else fibre / fibre[place])
    apart = np.abs(outer(vectors) - kernel).max()
    return vectors if apart <= 8 * math.ulp(1.0) * abs(kernel[peak]) else None
