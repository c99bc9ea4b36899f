"""One step of a filter bank along the last axis, written with rolls: the plain version for every library.

    split    x (..., n)           -> low, high (..., n / 2)      decimated, periodic, n even
    merge    its exact adjoint
    spread   x (..., n)           -> low, high (..., n)          undecimated, filters with holes, any n
    gather   its exact adjoint

`taps` (2, F) are the filters of `_filters`, in ascending order of t from t0 = 1 - F / 2.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from recon.arrays import namespace

__all__ = ["gather", "merge", "split", "spread"]

Taps = np.ndarray[Any, Any]


def _shifts(taps: Taps) -> tuple[int, list[list[float]]]:
    return 1 - taps.shape[1] // 2, taps.tolist()


def split(x: Any, taps: Taps) -> tuple[Any, Any]:
    """low[k] = sum_t taps[0, t] x[2 k + t], high with taps[1]."""
    xp = namespace(x)
    t0, (h, g) = _shifts(taps)
    phases = [xp.roll(x, -t0 - phase, axis=-1)[..., ::2] for phase in (0, 1)]
    moved = [xp.roll(phases[t % 2], -(t // 2), axis=-1) for t in range(len(h))]
    return _weighted(h, moved), _weighted(g, moved)


def merge(low: Any, high: Any, taps: Taps) -> Any:
    """x[2 k + t] += taps[0, t] low[k] + taps[1, t] high[k]."""
    xp = namespace(low)
    t0, (h, g) = _shifts(taps)
    phases = []
    for phase in (0, 1):
        moved = [xp.roll(part, i, axis=-1) for part in (low, high) for i in range(len(h) // 2)]
        phases.append(_weighted([*h[phase::2], *g[phase::2]], moved))
    x = xp.reshape(xp.stack(phases, axis=-1), (*low.shape[:-1], 2 * low.shape[-1]))
    return xp.roll(x, t0, axis=-1)


def spread(x: Any, taps: Taps, hole: int) -> tuple[Any, Any]:
    """low[k] = sum_t taps[0, t] x[k + hole t], high with taps[1]."""
    xp = namespace(x)
    t0, (h, g) = _shifts(taps)
    moved = [xp.roll(x, -hole * (t0 + t), axis=-1) for t in range(len(h))]
    return _weighted(h, moved), _weighted(g, moved)


def gather(low: Any, high: Any, taps: Taps, hole: int) -> Any:
    """x[k + hole t] += taps[0, t] low[k] + taps[1, t] high[k]."""
    xp = namespace(low)
    t0, (h, g) = _shifts(taps)
    moved = [xp.roll(part, hole * (t0 + t), axis=-1) for part in (low, high) for t in range(len(h))]
    return _weighted([*h, *g], moved)


def _weighted(weights: list[float], parts: list[Any]) -> Any:
    result = weights[0] * parts[0]
    for weight, part in zip(weights[1:], parts[1:], strict=True):
        result = result + weight * part
    return result
