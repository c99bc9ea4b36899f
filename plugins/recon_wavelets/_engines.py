"""The decimated transform of arrays of any library: what `Wavelet` plans.

RolledBank      the plain version, by `_bank`, on any library
CompiledBank    the same numbers from `_dwt_numba`, for NumPy

Both have ``analysis(x)`` and ``synthesis(c)``, the exact transpose, for filters (2, F) and the levels of
`_layout`; axes in front of the image are batch axes.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from recon.arrays import namespace
from recon_wavelets._bank import merge, split
from recon_wavelets._layout import Step

__all__ = ["CompiledBank", "RolledBank", "stacked", "unstacked"]


class RolledBank:
    """Split and merge, level by level and axis by axis."""

    def __init__(self, taps: np.ndarray[Any, Any], steps: tuple[Step, ...]) -> None:
        self.taps, self.steps = taps, steps

    def analysis(self, x: Any) -> Any:
        """Coefficients of x."""
        return self._down(x, 0)

    def synthesis(self, c: Any) -> Any:
        """The transpose of the analysis."""
        return self._up(c, 0)

    def _down(self, x: Any, level: int) -> Any:
        if level == len(self.steps):
            return x
        xp, step = namespace(x), self.steps[level]
        for axis in self._axes(step):
            parts = split(xp.moveaxis(x, axis, -1), self.taps)
            x = xp.moveaxis(xp.concat(parts, axis=-1), -1, axis)
        return self._corner(x, step, self._down(x[self._place(step)], level + 1))

    def _up(self, c: Any, level: int) -> Any:
        if level == len(self.steps):
            return c
        xp, step = namespace(c), self.steps[level]
        x = self._corner(c, step, self._up(c[self._place(step)], level + 1))
        for axis in reversed(self._axes(step)):
            x = xp.moveaxis(x, axis, -1)
            half = x.shape[-1] // 2
            x = xp.moveaxis(merge(x[..., :half], x[..., half:], self.taps), -1, axis)
        return x

    @staticmethod
    def _axes(step: Step) -> list[int]:
        return [axis - len(step.halved) for axis, halve in enumerate(step.halved) if halve]

    @staticmethod
    def _place(step: Step) -> tuple[Any, ...]:
        return (..., *map(slice, step.left))

    def _corner(self, x: Any, step: Step, corner: Any) -> Any:
        result = 1.0 * x  # a copy through which torch's gradients flow
        result[self._place(step)] = corner
        return result


class CompiledBank:
    """The compiled kernels, for NumPy arrays of one precision."""

    def __init__(self, taps: np.ndarray[Any, Any], steps: tuple[Step, ...], dtype: Any) -> None:
        from recon_wavelets._dwt_numba import NumbaBank

        missing = 3 - len(steps[0].sizes)
        self.steps = [((1,) * missing + step.sizes, (False,) * missing + step.halved) for step in steps]
        self.bank = NumbaBank(taps, np.finfo(dtype).dtype)

    def analysis(self, x: Any) -> Any:
        """Coefficients of x."""
        return self._through(self.bank.analysis, x)

    def synthesis(self, c: Any) -> Any:
        """The transpose of the analysis."""
        return self._through(self.bank.synthesis, c)

    def _through(self, product: Any, x: Any) -> Any:
        return unstacked(product(stacked(x, self.steps[0][0]), self.steps), x, x.shape)


def stacked(x: Any, sizes: tuple[int, ...]) -> Any:
    """A real contiguous array (batch, *sizes): real and imaginary parts, where there are, are samples."""
    if x.dtype.kind == "c":
        x = np.stack([x.real, x.imag])
    elif not x.flags.writeable:
        x = x.copy()  # numba would compile everything again for read-only arrays
    return np.ascontiguousarray(x).reshape(x.size // math.prod(sizes), *sizes)


def unstacked(values: Any, like: Any, shape: tuple[int, ...]) -> Any:
    """The reverse of `stacked`: `values` in the dtype of `like`, with the given shape."""
    if like.dtype.kind != "c":
        return values.reshape(shape)
    result = np.empty(shape, like.dtype)
    result.real, result.imag = values.reshape(2, *shape)
    return result
