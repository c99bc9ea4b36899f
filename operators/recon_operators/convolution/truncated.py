"""Convolution with a kernel made smaller: in space, or in frequency.

partial             h[k] kept where k lies in a box of n_taps around the centre, else 0
frequency-sparse    hhat(f) kept where every |f_k| <= band, else 0
"""

from __future__ import annotations

from typing import Any

import numpy as np

from recon.arrays import Kind
from recon.errors import ParameterError
from recon.params import short
from recon_operators.convolution._borders import Boundary
from recon_operators.convolution._kernel import Center
from recon_operators.convolution.convolution import Convolution

__all__ = ["frequency_sparse_convolution", "partial_convolution"]


def partial_convolution(
    kernel: Any,
    image_shape: tuple[int, ...],
    n_taps: int | tuple[int, ...],
    *,
    center: Center = "middle",
    boundary: Boundary = "periodic",
    kind: Kind | None = None,
) -> Convolution:
    """Convolution with the `n_taps` entries per axis that lie around the kernel's centre.

    Parameters
    ----------
    kernel, image_shape, center, boundary, kind
        As in :class:`Convolution`; a single kernel.
    n_taps
        Entries kept along each axis, one number or one per axis; of an even number the odd one lies after the centre.
        The kept entries are not rescaled.

    Returns
    -------
    Convolution
        An exact operator: direct where few taps are left.
    """
    whole = Convolution(kernel, image_shape, center=center, boundary=boundary, kind=kind)
    ndim, shape = len(whole.image_shape), whole.kernel.shape
    counts = tuple(n_taps) if isinstance(n_taps, tuple | list) else (n_taps,) * ndim
    fits = len(counts) == ndim and all(
        isinstance(n, int | np.integer) and not isinstance(n, bool) and n > 0 for n in counts
    )
    if not fits or len(shape) != ndim:
        raise ParameterError(
            f"partial_convolution.n_taps must be integers > 0, one or one per axis of a single kernel, "
            f"got {short(n_taps)} for a kernel of shape {shape}."
        )
    starts = [max(c - (n - 1) // 2, 0) for c, n in zip(whole.center, counts, strict=True)]
    stops = [min(c + n // 2 + 1, k) for c, n, k in zip(whole.center, counts, shape, strict=True)]
    kept = whole.kernel[tuple(slice(a, b) for a, b in zip(starts, stops, strict=True))]
    index = tuple(c - a for c, a in zip(whole.center, starts, strict=True))
    return Convolution(kept, image_shape, center=index, boundary=boundary, kind=whole.kind)


def frequency_sparse_convolution(
    kernel: Any,
    image_shape: tuple[int, ...],
    band: float,
    *,
    center: Center = "middle",
    kind: Kind | None = None,
) -> Convolution:
    """Periodic convolution whose transfer function is 0 above a cut.

    Parameters
    ----------
    kernel, image_shape, center, kind
        As in :class:`Convolution`.
    band
        The cut in cycles per pixel, between 0 and 0.5: frequencies with every |f_k| <= band stay.

    Returns
    -------
    Convolution
        An exact operator; its kernel has the size of the image and its centre at index 0.
    """
    if isinstance(band, bool) or not isinstance(band, float | np.floating) or not 0 < band <= 0.5:
        raise ParameterError(
            f"frequency_sparse_convolution.band must lie in (0, 0.5] cycles per pixel, got {short(band)}."
        )
    whole = Convolution(kernel, image_shape, center=center, kind=kind)
    transfer = whole._transfer(half=False)
    shape = whole.image_shape
    for axis, n in enumerate(shape):
        low = np.abs(np.fft.fftfreq(n)) <= band
        transfer = transfer * low.reshape([-1 if k == axis else 1 for k in range(len(shape))])
    filtered = np.fft.ifftn(transfer, axes=tuple(range(-len(shape), 0)))
    kept = filtered if whole.kernel.dtype.kind == "c" else filtered.real
    return Convolution(kept, shape, center=(0,) * len(shape), kind=whole.kind)
