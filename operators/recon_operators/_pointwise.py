"""The pointwise steps around Fourier transforms that several families share, on arrays of any library.

    expand     z_t = x m_t for each t          combine    x = sum over the terms t of z_t m_t
    proximal   (rho v + h y) / (s + rho)

The terms of m (coils, kernels) lie on its first axis; axes in front of those of m or h are batch. ``combine`` and
``proximal`` may overwrite whatever they are given to transform. On CuPy arrays each is one kernel.
"""

from __future__ import annotations

from typing import Any

import array_api_compat as compat

from recon.arrays import namespace

__all__ = ["combine", "expand", "proximal"]


def expand(x: Any, factors: Any) -> Any:
    """x times each factor: (..., *shape) to (..., terms, *shape)."""
    if compat.is_cupy_array(x):
        return _fused().expand(x, factors)
    return namespace(x).expand_dims(x, axis=-factors.ndim) * factors


def combine(z: Any, factors: Any) -> Any:
    """Sum over the terms of z times the factors: (..., terms, *shape) to (..., *shape); overwrites z."""
    if compat.is_cupy_array(z):
        return _fused().combine(z, factors)
    z *= factors
    return namespace(z).sum(z, axis=-factors.ndim)


def proximal(v: Any, y: Any, h: Any, s: Any, rho: float) -> Any:
    """(rho v + h y) / (s + rho); overwrites v and y."""
    if compat.is_cupy_array(v):
        return _fused().proximal(v, y, h, s, rho)
    v *= rho
    y *= h
    v += y
    v /= s + rho
    return v


def _fused() -> Any:
    from recon_operators import _pointwise_cupy

    return _pointwise_cupy
