"""Pixel-driven back projection of a circular cone scan in vectorised NumPy: what serves where numba is missing.

    f[k, r, c] += q(n, m) / U^2   by bilinear interpolation of view q, zero beyond its edges,    n, m, U as in `fdk`

One view at a time; cost about 100 ns per voxel and view, memory a dozen volumes.
"""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["add_views"]


def add_views(
    filtered: np.ndarray[Any, Any],
    table: np.ndarray[Any, Any],
    step: float,
    row_0: float,
    volume: np.ndarray[Any, Any],
) -> None:
    """Add views (views, N_v, N_u) to a volume (N_z, N_y, N_x)."""
    n_z, n_y, n_x = volume.shape
    n_v, n_u = filtered.shape[1:]
    k = (np.arange(n_z) - (n_z - 1) / 2)[:, None, None]
    r, c = np.arange(n_y)[:, None], np.arange(n_x)
    for view, (m_0, m_r, m_c, u_0, u_r, u_c, b_0) in zip(filtered, table, strict=True):
        scale = 1 / (u_0 + u_r * r + u_c * c)
        m = np.clip((m_0 + m_r * r + m_c * c) * scale + b_0, -1, n_u)
        n = np.clip(row_0 + k * (step * scale), -1, n_v)
        i, j = np.floor(n).astype(np.int64), np.floor(m).astype(np.int64)
        e, d = n - i, m - j
        padded = np.pad(view, ((1, 2), (1, 2)))
        i, j = i + 1, j + 1
        lower = (1 - d) * padded[i, j] + d * padded[i, j + 1]
        upper = (1 - d) * padded[i + 1, j] + d * padded[i + 1, j + 1]
        volume += (((1 - e) * lower + e * upper) * scale**2).astype(volume.dtype)
