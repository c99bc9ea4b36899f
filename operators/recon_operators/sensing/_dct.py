"""Orthonormal cosine transforms of the last axes: type II and type III, which are each other's inverse.

    II    X[k] = c_k sum_i x[i] cos(pi (2 i + 1) k / (2 n)),   c_0 = sqrt(1 / n), c_k = sqrt(2 / n)
    III   x[i] = sum_k c_k X[k] cos(pi (2 i + 1) k / (2 n))

NumPy arrays go through scipy.fft, others through one real Fourier transform of the same length per axis
(J. Makhoul, IEEE Trans. ASSP 28 (1980) 27, doi:10.1109/TASSP.1980.1163351): v = even entries of x, then the odd
ones backwards; then c_k exp(-i pi k / (2 n)) V[k] holds X[k] in its real part and -X[n - k] in the other.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from recon.arrays import Array, device_of, is_complex, namespace, real_like
from recon.fft import irfftn, rfftn

__all__ = ["dct"]


def dct(x: Array, ndim: int, kind: Literal["II", "III"] = "II") -> Array:
    """Orthonormal cosine transform along the last `ndim` axes; real and imaginary parts go separately."""
    if isinstance(x, np.ndarray):
        import scipy.fft

        axes = tuple(range(-ndim, 0))
        return scipy.fft.dctn(x, type=2 if kind == "II" else 3, axes=axes, norm="ortho")
    xp = namespace(x)
    if is_complex(x):
        return dct(xp.real(x), ndim, kind) + 1j * dct(xp.imag(x), ndim, kind)
    one = _second if kind == "II" else _third
    for axis in range(-ndim, 0):
        x = xp.moveaxis(one(xp, xp.moveaxis(x, axis, -1)), -1, axis)
    return x


def _second(xp: Any, x: Array) -> Array:
    n = x.shape[-1]
    v = xp.concat([x[..., ::2], xp.flip(x[..., 1::2], axis=-1)], axis=-1)
    turned = rfftn(v, axes=(-1,)) * _twiddle(xp, n, x)
    tail = xp.flip(xp.imag(turned[..., 1 : (n + 1) // 2]), axis=-1)
    return xp.concat([xp.real(turned), -tail], axis=-1)


def _third(xp: Any, x: Array) -> Array:
    n = x.shape[-1]
    # X[n - k] for k = 0 ... n // 2, where X[n] counts as zero
    mirror = xp.concat([0 * x[..., :1], xp.flip(x[..., n - n // 2 :], axis=-1)], axis=-1)
    spectrum = (x[..., : n // 2 + 1] - 1j * mirror) / _twiddle(xp, n, x)
    v = irfftn(spectrum, (n,), axes=(-1,))
    order = np.empty(n, np.int64)
    order[::2], order[1::2] = np.arange((n + 1) // 2), np.arange(n - 1, (n - 1) // 2, -1)
    return xp.take(v, xp.asarray(order, device=device_of(x)), axis=-1)


def _twiddle(xp: Any, n: int, like: Array) -> Array:
    """c_k exp(-i pi k / (2 n)) for k = 0 ... n // 2."""
    k = np.arange(n // 2 + 1)
    weight = np.where(k == 0, np.sqrt(1 / n), np.sqrt(2 / n)) * np.exp(-0.5j * np.pi * k / n)
    return real_like(weight.real, like) + 1j * real_like(weight.imag, like)
