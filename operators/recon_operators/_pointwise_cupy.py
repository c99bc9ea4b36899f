"""The pointwise steps around Fourier transforms on CUDA devices (`_pointwise.cu`), each one pass over memory.

    expand     z_t = x m_t               combine    x = sum_t z_t m_t
    proximal   (rho v + h y) / (s + rho) quotient   h y d

CuPy alone would read and write the arrays once for every multiplication and addition. Arrays are complex, `s` and `d`
real. Axes in front of those of the factors are batch.
"""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path
from typing import Any

import cupy

from recon_operators._cuda import Kernels

__all__ = ["combine", "expand", "proximal", "quotient"]

_FILE = Path(__file__).with_name("_pointwise.cu")
_SAMPLES = 256
"""Most samples of a batch side by side; a thread takes the others one after another."""


def expand(x: Any, factors: Any) -> Any:
    """x (..., *shape) times each of the factors (terms, *shape): (..., terms, *shape)."""
    terms, *shape = factors.shape
    batch = x.shape[: x.ndim - len(shape)]
    result = cupy.empty((*batch, terms, *shape), x.dtype)
    _launch("expand", batch, shape, cupy.ascontiguousarray(x), factors, result, terms=terms)
    return result


def combine(z: Any, factors: Any) -> Any:
    """The sum over the terms of z (..., terms, *shape) times the factors (terms, *shape): (..., *shape)."""
    terms, *shape = factors.shape
    batch = z.shape[: z.ndim - factors.ndim]
    result = cupy.empty((*batch, *shape), z.dtype)
    _launch("combine", batch, shape, cupy.ascontiguousarray(z), factors, result, terms=terms)
    return result


def proximal(v: Any, y: Any, h: Any, s: Any, rho: float) -> Any:
    """(rho v + h y) / (s + rho), in the place of v."""
    v = cupy.ascontiguousarray(v)
    y = cupy.ascontiguousarray(cupy.broadcast_to(y, v.shape))
    _launch("proximal", v.shape[: v.ndim - h.ndim], h.shape, v, y, h, s, float(rho))
    return v


def quotient(y: Any, h: Any, d: Any) -> Any:
    """h y d, in the place of y."""
    y = cupy.ascontiguousarray(y)
    _launch("quotient", y.shape[: y.ndim - h.ndim], h.shape, y, h, d)
    return y


def _launch(name: str, batch: Any, shape: Any, first: Any, *arguments: Any, terms: int | None = None) -> None:
    samples, places = math.prod(batch), math.prod(shape)
    sizes = (samples, places) if terms is None else (samples, terms, places)
    threads = (places, min(samples, _SAMPLES))
    _kernels(str(first.dtype)).launch(name, threads, (256, 1), first, *arguments, *sizes)


@cache
def _kernels(dtype: str) -> Kernels:
    return Kernels(_FILE, dtype)
