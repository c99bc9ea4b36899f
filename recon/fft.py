"""Fourier transforms in the library and precision of the data.

NumPy arrays go through scipy.fft (faster, and threaded where the caller says `scipy.fft.set_workers`), others
through their own library's transforms. Axes are the last ones by default, so that axes in front are a batch.

    fftn, ifftn      complex to complex          norm = "ortho" makes them unitary
    rfftn, irfftn    real to half spectrum and back; irfftn needs the real shape
    fast_length      the next length that transforms fast
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from recon.arrays import as_numpy, from_numpy, namespace

__all__ = ["fast_length", "fftn", "ifftn", "irfftn", "rfftn"]

Norm = Literal["backward", "ortho", "forward"]


def fftn(
    x: Any, axes: Sequence[int] = (-2, -1), norm: Norm = "backward", *, shape: Sequence[int] | None = None
) -> Any:
    """Complex Fourier transform along axes; `shape` pads with zeros, or crops, at the end of each."""
    if not isinstance(x, np.ndarray):
        xp = namespace(x)
        if xp.isdtype(x.dtype, "real floating"):
            x = xp.astype(x, xp.complex64 if x.dtype == xp.float32 else xp.complex128)
    return _transformed("fftn", x, shape, axes, norm)


def ifftn(
    x: Any, axes: Sequence[int] = (-2, -1), norm: Norm = "backward", *, shape: Sequence[int] | None = None
) -> Any:
    """Inverse of :func:`fftn`."""
    return _transformed("ifftn", x, shape, axes, norm)


def rfftn(
    x: Any, axes: Sequence[int] = (-2, -1), norm: Norm = "backward", *, shape: Sequence[int] | None = None
) -> Any:
    """Half spectrum of real data: the last of `axes` keeps n // 2 + 1 frequencies."""
    return _transformed("rfftn", x, shape, axes, norm)


def irfftn(x: Any, shape: Sequence[int], axes: Sequence[int] = (-2, -1), norm: Norm = "backward") -> Any:
    """Real data of the given shape (along `axes`) from their half spectrum."""
    return _transformed("irfftn", x, tuple(shape), axes, norm)


def fast_length(n: int, real: bool = False) -> int:
    """The smallest length >= n whose transform is fast (factors 2, 3, 5, and some 7 and 11)."""
    import scipy.fft

    return int(scipy.fft.next_fast_len(n, real=real))


def _transformed(name: str, x: Any, shape: Sequence[int] | None, axes: Sequence[int], norm: Norm) -> Any:
    if isinstance(x, np.ndarray):
        import scipy.fft

        return getattr(scipy.fft, name)(x, s=shape, axes=tuple(axes), norm=norm)
    if 0 in x.shape:  # an empty batch, which torch's transforms refuse
        return from_numpy(_transformed(name, as_numpy(x), shape, axes, norm), x)
    return getattr(namespace(x).fft, name)(x, s=shape, axes=tuple(axes), norm=norm)
