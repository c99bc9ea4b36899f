"""The weights of bicubic resizing, and products with the banded matrices they make.

Cubic convolution with a = -1/2:
    c(t) = 3/2 |t|^3 - 5/2 |t|^2 + 1                |t| <= 1
         = -1/2 |t|^3 + 5/2 |t|^2 - 4 |t| + 2       1 < |t| <= 2
Sample i of the small axis lies at u = (i + 1/2) s - 1/2 of the long one. Its weights are c((u - j) / max(s, 1)),
divided by their sum; places j beyond an end are mirrored about it (..., 1, 0, 0, 1, ...).

A banded matrix is kept as dense blocks of a few rows each, over the columns that these rows touch: the products
are small BLAS calls, on every array library.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from recon.arrays import device_of
from recon.constants import follow

__all__ = ["BandedPlan", "Taps", "cubic", "resize_taps", "tap_matrix"]

Floats = np.ndarray[Any, np.dtype[np.float64]]
Taps = tuple[np.ndarray[Any, np.dtype[np.int64]], Floats]

_ROWS = 16  # measured: best of 4 ... 64 for factors 2 to 8


def cubic(t: Floats) -> Floats:
    """The kernel c of cubic convolution."""
    t = np.abs(t)
    inner = (1.5 * t - 2.5) * t**2 + 1.0
    outer = ((-0.5 * t + 2.5) * t - 4.0) * t + 2.0
    return np.where(t <= 1.0, inner, np.where(t <= 2.0, outer, 0.0))


def resize_taps(n: int, m: int, factor: float) -> Taps:
    """Columns and weights, (m, taps) each, of the matrix that resizes n samples to m."""
    stretch = max(factor, 1.0)
    centre = (np.arange(m) + 0.5) * factor - 0.5
    first = np.floor(centre - 2.0 * stretch).astype(np.int64)
    place = first[:, None] + np.arange(math.ceil(4.0 * stretch) + 2)
    weight = cubic((centre[:, None] - place) / stretch)
    weight /= weight.sum(axis=1, keepdims=True)
    around = place % (2 * n)
    return np.minimum(around, 2 * n - 1 - around), weight


def tap_matrix(taps: Taps, n: int) -> Floats:
    """The dense (m, n) matrix; weights that meet at a mirrored place add up."""
    columns, weights = taps
    matrix = np.zeros((columns.shape[0], n))
    np.add.at(matrix, (np.arange(columns.shape[0])[:, None], columns), weights)
    return matrix


class BandedPlan:
    """Products of arrays with a banded matrix along one axis, counted from the end."""

    def __init__(self, taps: Taps, n: int, axis: int, xp: Any, device: Any, dtype: Any) -> None:
        columns, weights = taps
        self.xp, self.n, self.m, self.axis = xp, n, columns.shape[0], axis
        self.blocks = []
        for start in range(0, self.m, _ROWS):
            rows = slice(start, min(start + _ROWS, self.m))
            low = int(columns[rows].min())
            matrix = tap_matrix((columns[rows] - low, weights[rows]), int(columns[rows].max()) + 1 - low)
            block = xp.astype(follow(matrix, xp, device, dtype), dtype, copy=False)
            self.blocks.append((rows, slice(low, low + matrix.shape[1]), block))

    def apply(self, x: Any) -> Any:
        """M along the axis."""
        x, shape = self._viewed(x)
        out = self._empty(x, self.m)
        for rows, columns, block in self.blocks:
            if self.axis == -1:
                out[:, rows] = x[:, columns] @ block.T
            else:
                out[:, rows, :] = block @ x[:, columns, :]
        return self.xp.reshape(out, (*shape[: self.axis], self.m, *self._behind(shape)))

    def adjoint(self, y: Any) -> Any:
        """M^T along the axis; blocks overlap and are added one after another."""
        y, shape = self._viewed(y)
        out = self._empty(y, self.n)
        out[...] = 0.0
        for rows, columns, block in self.blocks:
            if self.axis == -1:
                out[:, columns] += y[:, rows] @ block
            else:
                out[:, columns, :] += block.T @ y[:, rows, :]
        return self.xp.reshape(out, (*shape[: self.axis], self.n, *self._behind(shape)))

    def _behind(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return shape[self.axis + 1 :] if self.axis < -1 else ()

    def _viewed(self, x: Any) -> tuple[Any, tuple[int, ...]]:
        """x with the axes in front of ours as one, those behind as one where there are any."""
        shape = tuple(x.shape)
        front = math.prod(shape[: self.axis])
        behind = (math.prod(self._behind(shape)),) if self.axis < -1 else ()
        return self.xp.reshape(x, (front, shape[self.axis], *behind)), shape

    def _empty(self, x: Any, length: int) -> Any:
        return self.xp.empty((x.shape[0], length, *x.shape[2:]), dtype=x.dtype, device=device_of(x))
