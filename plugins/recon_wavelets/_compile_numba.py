"""How the kernels of this package are compiled: lazily, without the interpreter lock, machine code kept on disk.

    combine(p, q, a, b, c, d, n, h, g, j)    p, q (+)= h[j] a + h[j+1] b + h[j+2] c + h[j+3] d, the same with g
    add_up(p, a, b, c, d, n, h, j)           the same for one result
    periodic(target, row, first)             target[i] = row[(first + i) mod n]

Filter banks are sums of shifted rows, and these are the inner loops of them all: four rows are read for one
or two results, over contiguous memory, which LLVM turns into vector instructions. Filters are padded to a
multiple of four taps.
"""

# mypy: ignore-errors
# (numba infers the types of what it compiles)

from collections.abc import Callable
from typing import Any

import numba
import numpy as np

__all__ = ["add_up", "combine", "fours", "jit", "periodic"]


def jit(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile when first called."""
    options = {"nogil": True, "error_model": "numpy", "fastmath": {"contract"}}
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:  # neither the package's folder nor the user's cache folder can be written
        return numba.njit(**options)(function)


def fours(taps: Any, dtype: Any) -> Any:
    """Filters (..., n) with zeros at their ends, so that n is a multiple of four."""
    missing = -taps.shape[-1] % 4
    return np.pad(taps, [(0, 0)] * (taps.ndim - 1) + [(0, missing)]).astype(dtype)


@jit
def combine(p, q, a, b, c, d, n, h, g, j):
    """Add four taps to two results; tap 0 starts them."""
    h0, h1, h2, h3 = h[j], h[j + 1], h[j + 2], h[j + 3]
    g0, g1, g2, g3 = g[j], g[j + 1], g[j + 2], g[j + 3]
    if j == 0:
        for i in range(n):
            p[i] = h0 * a[i] + h1 * b[i] + h2 * c[i] + h3 * d[i]
            q[i] = g0 * a[i] + g1 * b[i] + g2 * c[i] + g3 * d[i]
    else:
        for i in range(n):
            p[i] += h0 * a[i] + h1 * b[i] + h2 * c[i] + h3 * d[i]
            q[i] += g0 * a[i] + g1 * b[i] + g2 * c[i] + g3 * d[i]


@jit
def add_up(p, a, b, c, d, n, h, j):
    """Add four taps to one result; tap 0 starts it."""
    h0, h1, h2, h3 = h[j], h[j + 1], h[j + 2], h[j + 3]
    if j == 0:
        for i in range(n):
            p[i] = h0 * a[i] + h1 * b[i] + h2 * c[i] + h3 * d[i]
    else:
        for i in range(n):
            p[i] += h0 * a[i] + h1 * b[i] + h2 * c[i] + h3 * d[i]


@jit
def periodic(target, row, first):
    """target[i] = row[(first + i) mod n]."""
    n, place, done = row.size, first % row.size, 0
    while done < target.size:
        count = min(n - place, target.size - done)
        target[done : done + count] = row[place : place + count]
        done += count
        place = 0
