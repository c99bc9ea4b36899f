"""The Walsh-Hadamard transform on CUDA devices (`_fwht.cu`): 12 stages in the first pass over memory, 8 in each other.

A complex row is a real one of twice the length without the stage h = 1.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import cupy
import numpy as np

from recon_operators._cuda import Kernels

__all__ = ["fwht"]

_FILE = Path(__file__).with_name("_fwht.cu")
_TILE, _THREADS = 4096, 256
_RUNS = 256
"""Most runs of neighbours in a tile: 16 entries each, so that memory is read in pieces of 64 bytes or more."""


def fwht(x: Any) -> Any:
    """Transform of the last axis of a CuPy array, its length a power of two; a new array."""
    kind = np.dtype(x.dtype)
    kernels = _kernels(str(kind))
    pair = 2 if kind.kind == "c" else 1
    length, total = pair * x.shape[-1], pair * x.size
    source = cupy.ascontiguousarray(x).view(kind.type(0).real.dtype)
    target = cupy.empty_like(source)
    tiles = -(-total // _TILE)
    near = min(length, _TILE)
    done, width, low, high = near, _TILE, pair, near
    stride = _TILE
    while tiles:
        kernels.launch(
            "fwht",
            (tiles * _THREADS,),
            (_THREADS,),
            source,
            target,
            np.int64(total),
            width,
            stride,
            low,
            high,
        )
        if done == length:
            break
        runs = min(_RUNS, length // done)
        source, stride, width = target, done, _TILE // runs
        low, high, done = width, _TILE, done * runs
    return target.view(kind)


@cache
def _kernels(dtype: str) -> Kernels:
    return Kernels(_FILE, dtype)
