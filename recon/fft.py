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

from recon.arrays import namespace

__all__ = ["fast_length", "fftn", "ifftn", "irfftn", "rfftn"]

Norm = Literal["backward", "ortho", "forward"]


def fftn(
    x: Any, axes: Sequence[int] = (-2, -1), norm: Norm = "backward", *, shape: Sequence[int] | None = None
) -> Any:
    """Complex Fourier transform along axes; `shape` pads with zeros, or crops, at the end of each."""
    engine, real = _engine(x)
    if real is not None:
        x = real.astype(x, real.complex64 if x.dtype == real.float32 else real.complex128, copy=False)
    return engine.fftn(x, s=shape, axes=tuple(axes), norm=norm)


def ifftn(
    x: Any, axes: Sequence[int] = (-2, -1), norm: Norm = "backward", *, shape: Sequence[int] | None = None
) -> Any:
    """Inverse of :func:`fftn`."""
    engine, _ = _engine(x)
    return engine.ifftn(x, s=shape, axes=tuple(axes), norm=norm)


def rfftn(
    x: Any, axes: Sequence[int] = (-2, -1), norm: Norm = "backward", *, shape: Sequence[int] | None = None
) -> Any:
    """Half spectrum of real data: the last of `axes` keeps n // 2 + 1 frequencies."""
    engine, _ = _engine(x)
    return engine.rfftn(x, s=shape, axes=tuple(axes), norm=norm)


def irfftn(x: Any, shape: Sequence[int], axes: Sequence[int] = (-2, -1), norm: Norm = "backward") -> Any:
    """Real data of the given shape (along `axes`) from their half spectrum."""
    engine, _ = _engine(x)
    return engine.irfftn(x, s=tuple(shape), axes=tuple(axes), norm=norm)


def fast_length(n: int, real: bool = False) -> int:
    """The smallest length >= n whose transform is fast (factors 2, 3, 5, and some 7 and 11)."""
    import scipy.fft

    return int(scipy.fft.next_fast_len(n, real=real))


def _engine(x: Any) -> tuple[Any, Any]:
    """The module that transforms x, and the namespace where real input must first become complex."""
    if isinstance(x, np.ndarray):
        import scipy.fft

        return scipy.fft, None
    xp = namespace(x)
    return xp.fft, (xp if xp.isdtype(x.dtype, "real floating") else None)
