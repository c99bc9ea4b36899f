"""Small and separable kernels without a transform: shifted copies, weighted and added.

    apply     E x, then per pass  out[i] = sum_k h[k] source[i + K - 1 - k]      ("valid" part)
    adjoint   zeros around y, then per pass  out[j] = sum_k h[k] source[j + k], then E^T
              (periodic and zero boundaries: the same border around y, and no E^T)

A separable kernel makes one pass per axis, any other a single pass. Against a pair of transforms this pays up to
about 100 taps, those of all passes counted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from recon.arrays import Array
from recon_operators.convolution._borders import Border, Boundary
from recon_operators.convolution._fourier import FourierPlan
from recon_operators.convolution._kernel import Floats, factors

__all__ = ["DirectPlan", "passes", "separate"]

_WORTHWHILE = 100  # taps


def passes(kernel: Floats) -> list[Floats] | None:
    """The kernels of the passes, one vector per axis or the kernel itself; None where a transform is cheaper."""
    if kernel.size <= 9:  # one pass over so little is cheaper than several
        return [kernel]
    vectors = factors(kernel) if sum(kernel.shape) <= _WORTHWHILE else None
    if vectors is not None:
        return separate(vectors)
    return [kernel] if kernel.size <= _WORTHWHILE else None


def separate(vectors: Sequence[Floats]) -> list[Floats] | None:
    """One pass per vector; None where a transform is cheaper."""
    if sum(vector.size for vector in vectors) > _WORTHWHILE:
        return None
    ndim = len(vectors)
    shapes = [[-1 if k == axis else 1 for k in range(ndim)] for axis in range(ndim)]
    found = [vector.reshape(shape) for vector, shape in zip(vectors, shapes, strict=True)]
    return [part for part in found if part.size > 1 or part.item() != 1.0] or found[:1]


class DirectPlan:
    """The two products for real NumPy arrays of one precision."""

    def __init__(
        self,
        kernels: list[Floats],
        image: tuple[int, ...],
        center: tuple[int, ...],
        boundary: Boundary,
        dtype: Any,
        fourier: Callable[[], FourierPlan],
    ) -> None:
        from recon_operators.convolution._direct_numba import gather

        self._gather, self._fourier = gather, fourier
        self.ndim = len(image)
        shape = np.array([k.shape for k in kernels]).max(axis=0)
        around = [int(k) - 1 for k in shape]
        known = boundary != "valid"
        before = [k - c if known else 0 for k, c in zip(around, center, strict=True)]
        after = [c if known else 0 for c in center]
        self.border = Border(image, before, after, boundary)
        # where the border is zero or wraps around, so it does in the adjoint; else it is added back in the end
        self.folds = boundary not in ("periodic", "zero")
        data = [n - k for n, k in zip(self.border.total, around, strict=True)]
        self.back = (
            Border(data, around, around, "zero") if self.folds else Border(data, after, before, boundary)
        )
        self.taps = [_taps(kernel, dtype) for kernel in kernels]

    @cached_property
    def spectral(self) -> FourierPlan:
        """The plan that has the closed forms."""
        return self._fourier()

    def apply(self, x: Array) -> Array:
        return self._run(self.border.extend(x), reverse=True)

    def adjoint(self, y: Array) -> Array:
        x = self._run(self.back.extend(y), reverse=False)
        return self.border.fold(x) if self.folds else x

    def normal(self, x: Array) -> Array:
        """A^H A x for periodic boundaries: there and back, or one pair of transforms where that is cheaper."""
        if 2 * sum(taps.size for _, _, taps, _ in self.taps) > _WORTHWHILE:
            return self.spectral.normal(x)
        return self.adjoint(self.apply(x))

    def _run(self, source: Floats, *, reverse: bool) -> Floats:
        batch, sizes = source.shape[: -self.ndim], source.shape[-self.ndim :]
        source = source.reshape(math.prod(batch), *[1] * (3 - self.ndim), *sizes)
        for flipped, offsets, taps, shape in self.taps:
            sizes = tuple(n - k + 1 for n, k in zip(source.shape[1:], shape, strict=True))
            out = np.empty((source.shape[0], *sizes), source.dtype)
            self._gather(source, flipped if reverse else offsets, taps, out)
            source = out
        return source.reshape(*batch, *sizes[3 - self.ndim :])


def _taps(kernel: Floats, dtype: Any) -> tuple[Floats, Floats, Floats, tuple[int, ...]]:
    """Places from the end and from the start, values and shape of a kernel, seen as one of three axes."""
    shape = (*[1] * (3 - kernel.ndim), *kernel.shape)
    offsets = np.ascontiguousarray(np.indices(shape).reshape(3, -1).T)
    return np.array(shape) - 1 - offsets, offsets, np.ascontiguousarray(kernel.ravel(), dtype=dtype), shape
