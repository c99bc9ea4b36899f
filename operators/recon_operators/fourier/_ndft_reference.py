"""The non-uniform Fourier transform by its plain sum: the truth in tests, at small sizes.

y_m = N^(-1/2) sum_j x_j exp(-i k_m . (j - c))        x_j = N^(-1/2) sum_m y_m exp(+i k_m . (j - c)),  c = n // 2
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from recon.arrays import namespace
from recon.constants import follow

__all__ = ["ndft", "ndft_adjoint"]


def ndft(x: Any, points: np.ndarray[Any, Any], shape: tuple[int, ...]) -> Any:
    """Samples (..., M) at points (M, d) of images (..., *shape)."""
    xp = namespace(x)
    flat = xp.reshape(x, (*x.shape[: x.ndim - len(shape)], math.prod(shape)))
    return flat @ follow(_matrix(points, shape).T, xp, None, x.dtype)


def ndft_adjoint(y: Any, points: np.ndarray[Any, Any], shape: tuple[int, ...]) -> Any:
    """Images (..., *shape) from samples (..., M) at points (M, d)."""
    xp = namespace(y)
    flat = y @ follow(_matrix(points, shape).conj(), xp, None, y.dtype)
    return xp.reshape(flat, (*y.shape[:-1], *shape))


def _matrix(points: np.ndarray[Any, Any], shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    places = np.stack([j.ravel() - n // 2 for j, n in zip(np.indices(shape), shape, strict=True)])
    return np.exp(-1j * points @ places) / math.sqrt(math.prod(shape))
