"""The fast Walsh-Hadamard transform along the last axis, in natural (Hadamard) order, without a factor.

    y[k] = sum_i (-1)^popcount(k AND i) x[i],   k, i = 0 ... n - 1,   n = 2^p        H H = n I,  H = H^T

The same transform serves n-d arrays: on an image read in C order it is the product of the transforms along
both axes. n log2(n) additions.
"""

from __future__ import annotations

import array_api_compat as compat
import numpy as np

from recon.arrays import Array, ArraySpec, check_array, is_complex, namespace
from recon.errors import ShapeError

__all__ = ["fwht"]


def fwht(x: Array) -> Array:
    """Walsh-Hadamard transform of the last axis, unnormalised, in natural order; its own inverse but for 1 / n.

    NumPy arrays go through a compiled kernel where numba is installed, CuPy arrays through one of CUDA, others
    through plain additions of their library; all give the same bits.

    Parameters
    ----------
    x
        Array (..., n), n a power of two, real or complex floating point.

    Returns
    -------
    Array
        A new array of the same shape, dtype and library.

    Raises
    ------
    ShapeError, ArrayError
        When n is no power of two, or the array not floating point.

    Examples
    --------
    >>> fwht(np.array([1.0, 0.0, 1.0, 0.0]))
    array([2., 2., 0., 0.])
    """
    namespace(x)
    n = x.shape[-1] if x.ndim else 0
    if n < 1 or n & (n - 1):
        raise ShapeError(f"fwht.x must have a power of two as its last axis, got {n}. Pad it with zeros.")
    check_array(x, ArraySpec((n,), "complex" if is_complex(x) else "real"), "fwht.x")
    try:
        return _compiled(x)
    except ImportError:
        return _plain(x)


def _compiled(x: Array) -> Array:
    """The transform by the kernel for the library of x, if it has one and that can be imported."""
    if compat.is_cupy_array(x):
        from recon_operators.sensing._fwht_cupy import fwht as kernel

        return kernel(x)
    if not isinstance(x, np.ndarray) or x.shape[-1] < 16 or not x.size:
        return _plain(x)
    from recon_operators.sensing._fwht_numba import fwht_numba

    if is_complex(x):
        result = np.empty(x.shape, x.dtype)
        result.real, result.imag = _compiled(x.real), _compiled(x.imag)
        return result
    return fwht_numba(x.reshape(-1, x.shape[-1])).reshape(x.shape)


def _plain(x: Array) -> Array:
    """The butterflies, stage by stage: what every kernel is compared with."""
    xp, shape, n = namespace(x), tuple(x.shape), x.shape[-1]
    y, half = x + 0, 1
    while half < n:
        pairs = xp.reshape(y, (*shape[:-1], n // (2 * half), 2, half))
        low, high = pairs[..., :1, :], pairs[..., 1:, :]
        y = xp.concat([low + high, low - high], axis=-2)
        half *= 2
    return xp.reshape(y, shape)
