"""Pixel-driven back projection, compiled by numba: for filtered back projection only, it is no adjoint.

    image[r, c] += (1 - e) v[i] + e v[i + 1]  over U^2,     i = floor(b), e = b - i,     b as in `fbp`

Each thread owns image rows, so nothing depends on how many there are.
"""

# mypy: ignore-errors
# (numba infers the types of what it compiles)

from __future__ import annotations

from typing import Any

import numpy as np
from numba import prange

from recon_operators.tomography._compile_numba import jit, run

__all__ = ["back_project"]


@jit()
def _add_row(padded, table, line, r):
    """Add all views to row r: first all places, which is pure arithmetic and vectorises, then all loads."""
    last = float(padded.shape[1] - 2)
    index, share, scale = np.empty(line.size, np.uint32), np.empty_like(line), np.empty_like(line)
    for k in range(table.shape[0]):
        view = padded[k]
        n = table[k, 0] + table[k, 1] * r
        u = table[k, 3] + table[k, 4] * r
        n_c, u_c, b_0 = table[k, 2], table[k, 5], table[k, 6] + 2.0  # two zeros in front
        for c in range(line.size):
            one_over_u = 1.0 / (u + u_c * c)
            b = min(max((n + n_c * c) * one_over_u + b_0, 0.0), last)
            i = np.int32(b)
            index[c], share[c], scale[c] = i, b - i, one_over_u * one_over_u
        for c in range(line.size):
            i = index[c]  # unsigned: numba then needs no test for negative indices
            line[c] += (view[i] + share[c] * (view[i + np.uint32(1)] - view[i])) * scale[c]


@jit()
def _serial(padded, table, image):
    for r in range(image.shape[0]):
        _add_row(padded, table, image[r], r)


@jit(parallel=True)
def _parallel(padded, table, image):
    for r in prange(image.shape[0]):
        _add_row(padded, table, image[r], r)


def back_project(
    padded: np.ndarray[Any, Any], table: np.ndarray[Any, Any], image: np.ndarray[Any, Any]
) -> None:
    """Add all views, each with two zeros at both ends, to `image`."""
    run(len(table) * image.size, _serial, _parallel, padded, table, image)
