"""A^H A of a non-uniform Fourier transform as a convolution, by two transforms of twice the size.

    (A^H A x)_j = sum_j' t(j - j') x_j',    t(d) = 1/N sum_m exp(i k_m . d)

t, laid out on a circle of L >= 2 n - 1 places per axis, is convolved by FFT. It is Hermitian, so that its spectrum is
real and the largest |value| of that bounds the norm of A^H A.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from recon.fft import fast_length, fftn, ifftn

__all__ = ["convolve", "spectrum_of"]

Numbers = np.ndarray[Any, Any]


def spectrum_of(kernel: Numbers) -> Numbers:
    """The real spectrum of t, given on -(n - 1) ... n - 1 of every axis."""
    lengths = tuple(fast_length(size) for size in kernel.shape)
    padded = np.zeros(lengths, np.complex128)
    padded[tuple(slice(size) for size in kernel.shape)] = kernel
    centred = np.roll(padded, [-(size // 2) for size in kernel.shape], axis=range(kernel.ndim))
    return np.ascontiguousarray(fftn(centred, range(-kernel.ndim, 0)).real)


def convolve(x: Any, spectrum: Any) -> Any:
    """A^H A of images (..., *shape). Lines that are all zero or not wanted are not transformed."""
    ndim = spectrum.ndim
    shape = tuple(x.shape[-ndim:])
    for axis in range(-1, -ndim - 1, -1):
        x = fftn(x, (axis,), shape=(spectrum.shape[axis],))
    x *= spectrum
    for axis in range(-ndim, 0):
        x = ifftn(x, (axis,))[(..., slice(shape[axis]), *(slice(None),) * (-axis - 1))]
    return x
