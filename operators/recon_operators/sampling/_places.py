"""Reading at different places of one axis, and writing there with zeros between: the plans of selections.

    apply(x)      x[..., index, ...]
    adjoint(y)    zeros with y at [..., index, ...]

The index lives where the data do. Libraries other than NumPy read in the adjoint too, each line from its place in y
or from a line of zeros: the array standard knows no assignment to listed places, and reading gives the same bits
on every device.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from recon.arrays import Array, device_of
from recon_operators.sampling._rows import along

__all__ = ["places"]


def places(index: Any, n: int, axis: int, xp: Any, device: Any) -> Any:
    """The plan for places of an axis of length n, counted from the end: slicing where they go up in equal steps."""
    index = np.array(index, np.int64)
    steps = np.diff(index)
    if index.size == 1 or (steps[0] > 0 and (steps == steps[0]).all()):
        step = int(steps[0]) if steps.size else 1
        return _Slice(slice(int(index[0]), int(index[-1]) + 1, step), n, axis, xp)
    if xp.__name__.endswith("numpy"):
        return _Written(index, n, axis, xp)
    return _Gathered(index, n, axis, xp, device)


class _Written:
    """Listed places; the adjoint assigns."""

    def __init__(self, index: Any, n: int, axis: int, xp: Any) -> None:
        self.index, self.n, self.axis, self.xp = index, n, axis, xp

    def apply(self, x: Array) -> Array:
        return x.take(self.index, self.axis)

    def adjoint(self, y: Array) -> Array:
        shape = list(y.shape)
        shape[self.axis] = self.n
        out = self.xp.zeros(tuple(shape), dtype=y.dtype, device=device_of(y))
        out[along(self.axis, self.index)] = y
        return out


class _Slice(_Written):
    """Places in equal steps."""

    def apply(self, x: Array) -> Array:
        return self.xp.astype(x[along(self.axis, self.index)], x.dtype)  # which copies


class _Gathered:
    """Listed places on libraries without assignment to them."""

    def __init__(self, index: Any, n: int, axis: int, xp: Any, device: Any) -> None:
        source = np.full(n, index.size)
        source[index] = np.arange(index.size)
        self.index, self.source = xp.asarray(index, device=device), xp.asarray(source, device=device)
        self.axis, self.xp = axis, xp

    def apply(self, x: Array) -> Array:
        return self.xp.take(x, self.index, axis=self.axis)

    def adjoint(self, y: Array) -> Array:
        shape = list(y.shape)
        shape[self.axis] = 1
        zero = self.xp.zeros(tuple(shape), dtype=y.dtype, device=device_of(y))
        return self.xp.take(self.xp.concat([y, zero], axis=self.axis), self.source, axis=self.axis)
