"""The pointwise steps around Fourier transforms on CUDA devices (`_pointwise.cu`), each one pass over memory.

    expand     z_t = x m_t               combine    x = sum_t z_t m_t
    proximal   (rho v + h y) / (s + rho)

CuPy alone would read and write the arrays once for every multiplication and addition. Arrays are complex, `s`
is real. Axes in front of those of the factors are batch.
"""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path
from typing import Any

import cupy

from recon_operators._cuda import Kernels

__all__ = ["combine", "expand", "proximal"]

_FILE = Path(__file__).with_name("_pointwise.cu")
_SAMPLES = 256
"""Most samples of a batch side by side; a thread takes the others one after another."""


def expand(x: Any, factors: Any) -> Any:
    """x (..., *shape) times each of the factors (terms, *shape): (..., terms, *shape)."""
    terms, *shape = factors.shape
    batch = x.shape[: x.ndim - len(shape)]
    result = cupy.empty((*batch, terms, *shape), x.dtype)
    _launch("expand", batch, shape, x, factors, result, terms=terms)
    return result


def combine(z: Any, factors: Any) -> Any:
    """The sum over the terms of z (..., terms, *shape) times the factors (terms, *shape): (..., *shape)."""
    terms, *shape = factors.shape
    batch = z.shape[: z.ndim - factors.ndim]
    result = cupy.empty((*batch, *shape), z.dtype)
    _launch("combine", batch, shape, z, factors, result, terms=terms)
    return result


def proximal(v: Any, y: Any, h: Any, s: Any, rho: float) -> Any:
    """(rho v + h y) / (s + rho), in the place of v."""
    v = cupy.ascontiguousarray(v)
    _launch("proximal", v.shape[: v.ndim - h.ndim], h.shape, v, cupy.broadcast_to(y, v.shape), h, s, rho=rho)
    return v


def _launch(
    name: str, batch: Any, shape: Any, *arrays: Any, rho: float | None = None, terms: int | None = None
) -> None:
    samples, places = math.prod(batch), math.prod(shape)
    sizes = (samples, places) if terms is None else (samples, terms, places)
    threads = (places, min(samples, _SAMPLES))
    # factors may come in any order of memory: CuPy keeps that of the NumPy array they were
    packed = map(cupy.ascontiguousarray, arrays)
    weight = () if rho is None else (float(rho),)
    _kernels(str(arrays[0].dtype)).launch(name, threads, (256, 1), *packed, *weight, *sizes)


@cache
def _kernels(dtype: str) -> Kernels:
    return Kernels(_FILE, dtype)
