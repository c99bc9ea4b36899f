"""The B3-spline smoothing of the starlet along the last axes: plain version, borders, and its gains.

    (H x)[i] = (x[i - 2 s] + 4 x[i - s] + 6 x[i] + 4 x[i + s] + x[i + 2 s]) / 16,  s = 2^scale, on every axis
    mirror:   x[-i] = x[i], x[n - 1 + i] = x[n - 1 - i], without repeating the border sample
    gain      h(w) = cos^4(s w / 2) per axis

With mirror borders H is not symmetric. With D = 1/2 on the first and last sample of each axis and 1 elsewhere,
D H is, because D counts every sample once in the mirrored period: so H^T = D H D^-1, for every scale.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from recon.arrays import device_of, namespace

__all__ = ["WEIGHTS", "gains", "places", "scale_borders", "smooth"]

WEIGHTS = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)


def places(n: int, shift: int, mirror: bool) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Where x[i + shift] is found, for i = 0 ... n - 1."""
    i = np.arange(n) + shift
    if not mirror:
        return i % n
    period = max(2 * (n - 1), 1)
    i %= period
    return np.minimum(i, period - i)


def smooth(x: Any, axes: int, step: int, mirror: bool) -> Any:
    """H x along the last `axes` axes, by indexed reads, on any library."""
    xp, device = namespace(x), device_of(x)
    for axis in range(-axes, 0):
        n = x.shape[axis]
        result = WEIGHTS[2] * x
        for k in (-2, -1, 1, 2):
            index = xp.asarray(places(n, k * step, mirror), device=device)
            result = result + WEIGHTS[2 + k] * xp.take(x, index, axis=axis)
        x = result
    return x


def scale_borders(x: Any, axes: int, factor: float) -> Any:
    """A copy with the first and last entry of each of the last axes times a factor: D^-1 with 2, D with 1/2."""
    result = 1.0 * x  # a copy through which torch's gradients flow
    for axis in range(-axes, 0):
        if x.shape[axis] > 1:
            rest = (slice(None),) * (-axis - 1)
            for end in (0, -1):
                result[(..., end, *rest)] = factor * result[(..., end, *rest)]
    return result


def gains(shape: tuple[int, ...], step: int, mirror: bool) -> np.ndarray[Any, Any]:
    """Gain of H at the frequencies of a periodic or mirrored image of that shape (those >= 0)."""
    result = np.ones(())
    for n in shape:
        period = max(2 * (n - 1), 1) if mirror else n
        w = 2 * np.pi * np.arange(period // 2 + 1) / period
        result = result[..., None] * np.cos(step * w / 2) ** 4
    return result
