"""The starlet of arrays of any library: what `Starlet` plans.

    analysis    c_{j+1} = H_j c_j;  w_{j+1} = c_j - c_{j+1}  or  c_j - H_j c_{j+1}
    synthesis   c_J + sum_j w_j                              or  c_j = w_{j+1} + H_j c_{j+1}
    adjoint     z_J = c_J,  z_j = w_{j+1} + H_j^T (z_{j+1} - w_{j+1})   or   w_{j+1} + H_j^T (z_{j+1} - H_j^T w_{j+1})

(generation 1, or 2). As H_j^T = D H_j D^-1 with one D for all scales (`_smoothing`), the adjoint is the same
recursion with H_j, between D^-1 on all planes and D on the result.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from recon.arrays import namespace
from recon_wavelets._engines import stacked, unstacked
from recon_wavelets._smoothing import WEIGHTS, scale_borders, smooth

__all__ = ["CompiledStarlet", "RolledStarlet"]


class RolledStarlet:
    """The plain version, on any library."""

    def __init__(self, scales: int, generation: int, axes: int, mirror: bool) -> None:
        self.scales, self.generation, self.axes, self.mirror = scales, generation, axes, mirror

    def apply(self, x: Any) -> Any:
        """The planes of x."""
        planes = []
        for scale in range(self.scales):
            low = self._smooth(x, scale)
            planes.append(x - (low if self.generation == 1 else self._smooth(low, scale)))
            x = low
        return namespace(x).stack([*planes, x], axis=-1 - self.axes)

    def synthesis(self, w: Any) -> Any:
        """The image with given planes."""
        *planes, x = namespace(w).unstack(w, axis=-1 - self.axes)
        for scale in reversed(range(self.scales)):
            x = planes[scale] + (x if self.generation == 1 else self._smooth(x, scale))
        return x

    def adjoint(self, w: Any) -> Any:
        """The transpose of `apply`."""
        if self.mirror:
            w = scale_borders(w, self.axes, 2.0)
        *planes, z = namespace(w).unstack(w, axis=-1 - self.axes)
        for scale in reversed(range(self.scales)):
            plane = planes[scale]
            back = plane if self.generation == 1 else self._smooth(plane, scale)
            z = plane + self._smooth(z - back, scale)
        return scale_borders(z, self.axes, 0.5) if self.mirror else z

    def _smooth(self, x: Any, scale: int) -> Any:
        return smooth(x, self.axes, 2**scale, self.mirror)


class CompiledStarlet:
    """The same numbers from a compiled kernel, for NumPy arrays of one precision."""

    def __init__(
        self, scales: int, generation: int, shape: tuple[int, ...], mirror: bool, dtype: Any
    ) -> None:
        from recon_wavelets._starlet_numba import smooth as kernel

        self.kernel, self.shape, self.mirror = kernel, shape, mirror
        self.scales, self.generation = scales, generation
        self.sizes = (1,) * (3 - len(shape)) + shape
        self.on = len(shape) == 3, len(shape) >= 2
        self.weights = np.array(WEIGHTS[2:], np.finfo(dtype).dtype)

    def apply(self, x: Any) -> Any:
        """The planes of x."""
        c = stacked(x, self.sizes)
        result = np.empty((c.shape[0], self.scales + 1, *self.sizes), c.dtype)
        for scale in range(self.scales):
            last = scale == self.scales - 1
            low = result[:, self.scales] if last else np.empty_like(c)
            if self.generation == 1:
                self._smooth(c, scale, out=low, base=c, sign=-1, rest=result[:, scale])
            else:
                self._smooth(c, scale, out=low)
                self._smooth(low, scale, base=c, sign=-1, rest=result[:, scale])
            c = low
        return unstacked(result, x, (*self._batch(x, 0), self.scales + 1, *self.shape))

    def synthesis(self, w: Any) -> Any:
        """The image with given planes."""
        planes = self._planes(w)
        if self.generation == 1:
            return self._image(planes.sum(axis=1), w)
        c = planes[:, self.scales]
        for scale in reversed(range(self.scales)):
            c = self._smooth(c, scale, base=planes[:, scale], sign=1, rest=np.empty(c.shape, c.dtype))
        return self._image(c, w)

    def adjoint(self, w: Any) -> Any:
        """The transpose of `apply`."""
        planes = self._planes(w)
        if self.mirror:
            planes = scale_borders(planes, len(self.shape), 2.0)
        z = planes[:, self.scales]
        for scale in reversed(range(self.scales)):
            plane = planes[:, scale]
            if self.generation == 1:
                inner = z - plane
            else:
                inner = self._smooth(plane, scale, base=z, sign=-1, rest=np.empty(z.shape, z.dtype))
            z = self._smooth(inner, scale, base=plane, sign=1, rest=np.empty(z.shape, z.dtype))
        return self._image(scale_borders(z, len(self.shape), 0.5) if self.mirror else z, w)

    def _smooth(
        self, x: Any, scale: int, out: Any = None, base: Any = None, sign: int = 0, rest: Any = None
    ) -> Any:
        """out = H x, and rest = base + sign H x; both are optional."""
        for b in range(x.shape[0]):
            places = (x[b], x[b] if base is None else base[b])
            results = (rest[b] if out is None else out[b], out[b] if rest is None else rest[b])
            self.kernel(
                *places,
                *results,
                out is not None,
                x.dtype.type(sign),
                *self.on,
                2**scale,
                self.mirror,
                self.weights,
            )
        return rest

    def _planes(self, w: Any) -> Any:
        return stacked(w, (self.scales + 1, *self.sizes))

    def _image(self, values: Any, w: Any) -> Any:
        return unstacked(values, w, (*self._batch(w, 1), *self.shape))

    def _batch(self, x: Any, extra: int) -> tuple[int, ...]:
        return tuple(x.shape[: x.ndim - len(self.shape) - extra])
