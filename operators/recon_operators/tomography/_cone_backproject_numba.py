"""Pixel-driven back projection of a circular cone scan, compiled by numba: for FDK only, it is no adjoint.

    f[r, c, k] += (1 - e) q_i(n_k) + e q_{i + 1}(n_k)  over U^2,    i = floor(m), e = m - i,    m, n_k, U as in `fdk`

q_i is detector column i, interpolated linearly between rows. All voxels of a z-column fall on one place m of the
columns, and at equal steps on the rows: 16 of them are done at once (`_cone_sheets_numba`). Each thread owns squares of
z-columns, whose detector columns stay in the cache.
"""

# mypy: ignore-errors
# (numba infers the types of what it compiles)

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import prange

from recon_operators._compile_numba import jit, run
from recon_operators.tomography._cone_sheets_numba import PAD, blend

__all__ = ["add_views"]

_SQUARE = 8


@jit()
def _add_square(columns, detector, table, step, row_0, n_z, standing, square):
    n_y, n_x, stride = standing.shape
    n_u, n_v = detector
    out = standing.reshape(-1)
    wide = (n_x + _SQUARE - 1) // _SQUARE
    top, left = square // wide * _SQUARE, square % wide * _SQUARE
    for view in range(table.shape[0]):
        for r in range(top, min(top + _SQUARE, n_y)):
            for c in range(left, min(left + _SQUARE, n_x)):
                u = table[view, 3] + table[view, 4] * r + table[view, 5] * c
                m = (table[view, 0] + table[view, 1] * r + table[view, 2] * c) / u + table[view, 6]
                if m <= -1.0 or m >= n_u:
                    continue
                i = math.floor(m)
                near = (view * (n_u + 2) + i + 1) * (n_v + 2 * PAD) + PAD
                far = near + n_v + 2 * PAD
                s = step / u
                first = row_0 - (n_z - 1) / 2 * s
                blend(
                    columns,
                    near,
                    far,
                    m - i,
                    1.0 / (u * u),
                    first,
                    s,
                    n_v,
                    out,
                    (r * n_x + c) * stride,
                    0,
                    n_z,
                )


@jit()
def _squares(standing):
    return ((standing.shape[0] + _SQUARE - 1) // _SQUARE) * ((standing.shape[1] + _SQUARE - 1) // _SQUARE)


@jit()
def _serial(columns, detector, table, step, row_0, n_z, standing):
    for square in range(_squares(standing)):
        _add_square(columns, detector, table, step, row_0, n_z, standing, square)


@jit(parallel=True)
def _parallel(columns, detector, table, step, row_0, n_z, standing):
    for square in prange(_squares(standing)):
        _add_square(columns, detector, table, step, row_0, n_z, standing, square)


def add_views(
    filtered: np.ndarray[Any, Any],
    table: np.ndarray[Any, Any],
    step: float,
    row_0: float,
    volume: np.ndarray[Any, Any],
) -> None:
    """Add views (views, N_v, N_u) to a volume (N_z, N_y, N_x)."""
    views, n_v, n_u = filtered.shape
    n_z, n_y, n_x = volume.shape
    columns = np.zeros((views, n_u + 2, n_v + 2 * PAD), filtered.dtype)
    columns[:, 1:-1, PAD:-PAD] = np.swapaxes(filtered, 1, 2)
    standing = np.zeros((n_y, n_x, -(-n_z // PAD) * PAD), volume.dtype)
    args = (columns.reshape(-1), (n_u, n_v), np.ascontiguousarray(table), step, row_0, n_z, standing)
    run(views * volume.size, _serial, _parallel, *args)
    volume += np.moveaxis(standing[:, :, :n_z], -1, 0)
