"""Gaussians cut off at 0: moments of N(m, v) on x >= 0.

r = phi(t) / Phi(t),  t = m / sqrt(v)        E x = m + sqrt(v) r        E x^2 = v + m E x
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from recon.arrays import Array, as_numpy, device_of, namespace

__all__ = ["rectified"]


def rectified(mean: Array, variance: Array) -> tuple[Array, Array]:
    """Mean and variance of N(mean, variance) on x >= 0; both 0 where the variance is 0. By SciPy, on the CPU."""
    from scipy.special import erfcx

    m, v = as_numpy(mean).astype(np.float64), as_numpy(variance).astype(np.float64)
    deviation = np.sqrt(v)
    t = np.divide(m, deviation, out=np.zeros_like(m), where=deviation > 0)
    # exp(-t^2/2) / erfc(-t/sqrt 2) without overflow; for t > 37 the cut takes nothing away
    ratio = math.sqrt(2.0 / math.pi) / erfcx(np.maximum(-t, -37.0) / math.sqrt(2.0))
    first = deviation * (t + ratio)
    far = t < -30.0  # t + ratio cancels: its expansion -1/t + 2/t^3
    first = np.where(
        far, deviation * (-1.0 / np.where(far, t, 1.0) + 2.0 / np.where(far, t, 1.0) ** 3), first
    )
    second = np.maximum(v + m * first - first**2, 0.0)
    second = np.where(far, v / np.where(far, t, 1.0) ** 2, second)
    return _as(first, mean), _as(second, mean)


def _as(values: Any, like: Array) -> Any:
    xp = namespace(like)
    return xp.asarray(values.astype(str(as_numpy(like).dtype)), device=device_of(like))
