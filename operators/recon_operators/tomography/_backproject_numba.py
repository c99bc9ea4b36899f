"""Pixel-driven back projection, compiled by numba.

    image[r, c] += ((1 - e) v[i] + e v[i + 1]) w,     i = floor(bin), e = bin - i,     bin, w as in `backproject`

Row by row, and view by view within it: first all places, which is pure arithmetic and vectorises, then all
loads. Each thread owns image rows, so nothing depends on how many there are.
"""

# mypy: ignore-errors
# (numba infers the types of what it compiles)

from __future__ import annotations

from typing import Any

import numpy as np
from numba import prange

from recon_operators._compile_numba import jit, run

__all__ = ["add_views"]


@jit()
def _arctan(x):
    """Atan in 15 digits by the formula of Cephes, without a call, so that loops over it vectorise."""
    a = abs(x)
    far, middle = a > 2.414213562373095, a > 0.66
    t = -1.0 / a if far else ((a - 1.0) / (a + 1.0) if middle else a)
    base = 1.5707963267948966 if far else (0.7853981633974483 if middle else 0.0)
    z = t * t
    p = (
        ((-8.750608600031904122785e-1 * z - 1.615753718733365076637e1) * z - 7.500855792314704667340e1) * z
        - 1.228866684490136173410e2
    ) * z - 6.485021904942025371773e1
    q = (
        (((z + 2.485846490142306297962e1) * z + 1.650270098316988542046e2) * z + 4.328810604912902668951e2)
        * z
        + 4.853903996359136964868e2
    ) * z + 1.945506571482613964425e2
    return np.copysign(base + t + t * z * p / q, x)


@jit()
def _places_parallel(n, n_c, b_0, last, index, share):
    for c in range(index.size):
        b = min(max(n + n_c * c + b_0, 0.0), last)
        i = np.int32(b)
        index[c], share[c] = i, b - i


@jit()
def _places_flat(n, n_c, u, u_c, b_0, last, index, share, scale):
    for c in range(index.size):
        one_over_u = 1.0 / (u + u_c * c)
        b = min(max((n + n_c * c) * one_over_u + b_0, 0.0), last)
        i = np.int32(b)
        index[c], share[c], scale[c] = i, b - i, one_over_u * one_over_u


@jit()
def _places_curved(n, n_c, u, u_c, b_0, angle, last, index, share, scale):
    for c in range(index.size):
        one_over_u = 1.0 / (u + u_c * c)
        tangent = angle * (n + n_c * c) * one_over_u
        b = min(max(_arctan(tangent) / angle + b_0, 0.0), last)
        i = np.int32(b)
        index[c], share[c] = i, b - i
        scale[c] = one_over_u * one_over_u / (1.0 + tangent * tangent)


@jit()
def _add_row(padded, table, fan, angle, weighted, line, r):
    last = float(padded.shape[1] - 2)
    index, share, scale = np.empty(line.size, np.uint32), np.empty_like(line), np.empty_like(line)
    for k in range(table.shape[0]):
        view = padded[k]
        n, u = table[k, 0] + table[k, 1] * r, table[k, 3] + table[k, 4] * r
        n_c, u_c, b_0 = table[k, 2], table[k, 5], table[k, 6] + 2.0  # two zeros in front
        if angle > 0:
            _places_curved(n, n_c, u, u_c, b_0, angle, last, index, share, scale)
        elif fan:
            _places_flat(n, n_c, u, u_c, b_0, last, index, share, scale)
        else:
            _places_parallel(n, n_c, b_0, last, index, share)
        if fan and weighted:
            for c in range(line.size):
                i = index[c]  # unsigned: numba then needs no test for negative indices
                line[c] += (view[i] + share[c] * (view[i + np.uint32(1)] - view[i])) * scale[c]
        else:
            for c in range(line.size):
                i = index[c]
                line[c] += view[i] + share[c] * (view[i + np.uint32(1)] - view[i])


@jit()
def _serial(padded, table, fan, angle, weighted, image):
    for r in range(image.shape[0]):
        _add_row(padded, table, fan, angle, weighted, image[r], r)


@jit(parallel=True)
def _parallel(padded, table, fan, angle, weighted, image):
    for r in prange(image.shape[0]):
        _add_row(padded, table, fan, angle, weighted, image[r], r)


def add_views(
    padded: np.ndarray[Any, Any], table: Any, distance_weight: bool, image: np.ndarray[Any, Any]
) -> None:
    """Add all views, each with two zeros at both ends, to `image`; `table` is a `ViewTable`."""
    coefficients = np.ascontiguousarray(table.coefficients)
    work = 2 * len(coefficients) * image.size
    run(work, _serial, _parallel, padded, coefficients, table.fan, table.angle, distance_weight, image)
