"""Filtered back projection: the direct inversion of a parallel or flat-fan scan.

    parallel   f(x, y) = sum_k w_k q_k(t),                 t = x cos theta + y sin theta
    fan        f(x, y) = sum_k w_k q_k(u') / U^2,          U = (R - x sin theta + y cos theta) / R,
                                                           u' = (x cos theta + y sin theta) / U
    q_k = ramp * (c_k p_k)

The fan's detector is moved onto the line through the origin, u' = u R / (R + R_d). c is 1 for the parallel
beam and R / sqrt(R^2 + u'^2) times the share of each ray for the fan (`_redundancy`). The ramp is sampled
in space, which has no offset at zero frequency, unlike a sampled |omega|:

    g[0] = 1 / (4 d^2),   g[n odd] = -1 / (pi n d)^2,   g[n even] = 0,   q = d (g * p)

times a window on w = omega / omega_Nyquist: ramp 1, shepp-logan sinc(w / 2), cosine cos(pi w / 2), hamming
0.54 + 0.46 cos(pi w), hann 0.5 + 0.5 cos(pi w). Views are weighted with the arc that each stands for.

Sources: A. C. Kak, M. Slaney, "Principles of Computerized Tomographic Imaging", IEEE Press 1988, chapter 3;
D. L. Parker, Med. Phys. 9 (1982) 254, doi:10.1118/1.595078.
"""

from __future__ import annotations

import logging
import math
from typing import Any, Literal, get_args

import numpy as np

from recon.arrays import Array, as_numpy, check_array, from_numpy
from recon.errors import CapabilityError, ParameterError
from recon.params import short
from recon_operators.tomography._beam import Beam
from recon_operators.tomography._redundancy import fan_weights, parallel_weights
from recon_operators.tomography.fan import FanBeam
from recon_operators.tomography.parallel import ParallelBeam

__all__ = ["fbp"]

logger = logging.getLogger("recon")

Filter = Literal["ramp", "shepp-logan", "cosine", "hamming", "hann"]
Floats = np.ndarray[Any, Any]


def fbp(operator: Beam, sinogram: Array, filter: Filter = "ramp", short_scan: bool | None = None) -> Array:
    """Reconstruct an image by filtered back projection.

    Parameters
    ----------
    operator
        A :class:`ParallelBeam` or :class:`FanBeam`. Angles need not be equally spaced.
    sinogram
        Line integrals (..., views, bins).
    filter
        ``"ramp"``, or one of the smoother ``"shepp-logan"``, ``"cosine"``, ``"hamming"``, ``"hann"``.
    short_scan
        Fan beam only. None decides from the angles, and logs what it chose: a full circle counts every ray
        half; an arc of 180 degrees plus the fan angle or more gets Parker's weights; a shorter arc is used
        as it is, rays measured twice counting half each. True asks for Parker's weights, False for the
        weights of a full circle.

    Returns
    -------
    Array
        Image (..., N_y, N_x) in 1 / (unit of `pixel_size`), in the library, device and precision of the
        sinogram.

    Raises
    ------
    CapabilityError
        For another kind of operator.
    ParameterError
        For an unknown filter, for `short_scan` with a parallel beam, or when Parker's weights are asked for
        on too short an arc.
    ShapeError, ArrayError
        When the sinogram does not fit the operator.

    Notes
    -----
    Cost: pixels * views, about 1.5 ns each on one core, and two FFTs a view. A limited angle is
    reconstructed from the views there are, without any weight for those that are missing. A displaced
    detector needs views over a full circle. No gradient flows through this function.

    Examples
    --------
    >>> A = ParallelBeam((256, 256), sparse_view(180))
    >>> image = fbp(A, sinogram, filter="hann")
    """
    if not isinstance(operator, ParallelBeam | FanBeam):
        raise CapabilityError(
            f"fbp operator must be a ParallelBeam or FanBeam, got {type(operator).__name__}. "
            "Use an iterative solver for other operators."
        )
    if filter not in get_args(Filter):
        names = ", ".join(get_args(Filter))
        raise ParameterError(f"fbp filter must be one of {names}, got {short(filter)}. Choose one of them.")
    if short_scan is not None and not isinstance(short_scan, bool):
        raise ParameterError(f"fbp short_scan must be None, True or False, got {short(short_scan)}.")
    if short_scan is not None and isinstance(operator, ParallelBeam):
        raise ParameterError(
            f"fbp short_scan must be None for a ParallelBeam, got {short_scan}. Only fans have short scans."
        )
    batch = check_array(sinogram, operator.codomain, "fbp sinogram")
    values = as_numpy(sinogram).reshape(-1, *operator.codomain.shape)
    source = operator.source_origin if isinstance(operator, FanBeam) else math.inf
    shrink = _shrink(operator)
    pad = _missing_side(operator)
    offsets = operator._bin_offsets * shrink  # on the line through the origin
    if isinstance(operator, FanBeam):
        cone = source / np.hypot(source, offsets)
        weights = cone * fan_weights(operator.angles, offsets, source, short_scan)
    else:
        weights = parallel_weights(operator.angles, offsets)
    spacing = operator.detector_spacing * shrink
    weighted = np.pad(values * weights.astype(values.dtype), ((0, 0), (0, 0), pad))
    image = _back_projection(operator, _filter(weighted, spacing, filter), spacing, source, pad[0])
    return from_numpy(image.reshape(*batch, *operator.domain.shape), sinogram)


def _shrink(operator: ParallelBeam | FanBeam) -> float:
    """Ratio of a length at the origin to one on the detector."""
    if isinstance(operator, ParallelBeam):
        return 1.0
    return operator.source_origin / (operator.source_origin + operator.origin_detector)


def _missing_side(operator: Beam) -> tuple[int, int]:
    """Bins of zeros to add left and right, so that a displaced detector reaches as far on both sides.

    A filtered view is not zero where its own is, and pixels beyond the shorter side need it.
    """
    extra = min(math.ceil(2 * abs(operator.detector_shift)), operator._bins)
    return (extra, 0) if operator.detector_shift > 0 else (0, extra)


def _filter(sinograms: Floats, spacing: float, name: str) -> Floats:
    """Convolve every view with the windowed ramp."""
    import scipy.fft

    bins = sinograms.shape[-1]
    length = scipy.fft.next_fast_len(2 * bins, real=True)
    n = np.arange(length)
    n = np.minimum(n, length - n)
    ramp = np.zeros(length)
    ramp[0] = 1 / (4 * spacing**2)
    odd = n % 2 == 1
    ramp[odd] = -1 / (math.pi * n[odd] * spacing) ** 2
    gain = spacing * scipy.fft.rfft(ramp).real
    w = np.linspace(0, 1, gain.size) * (2 * (gain.size - 1) / length)
    window = {
        "ramp": np.ones_like(w),
        "shepp-logan": np.sinc(w / 2),
        "cosine": np.cos(math.pi * w / 2),
        "hamming": 0.54 + 0.46 * np.cos(math.pi * w),
        "hann": 0.5 + 0.5 * np.cos(math.pi * w),
    }[name]
    spectrum = scipy.fft.rfft(sinograms, length, axis=-1) * (gain * window).astype(sinograms.dtype)
    return np.ascontiguousarray(scipy.fft.irfft(spectrum, length, axis=-1)[..., :bins])


def _back_projection(operator: Beam, filtered: Floats, spacing: float, source: float, pad: int) -> Floats:
    """Sum over views of the filtered view at the bin that each pixel falls on, by linear interpolation.

    Pixel (r, c) falls on bin  b = n / U + b_0,  n = n_0 + n_r r + n_c c,  U = U_0 + U_r r + U_c c  (1 for
    parallel rays). The table holds these seven numbers a view.
    """
    try:
        from recon_operators.tomography._backproject_numba import back_project
    except ImportError:
        from recon_operators.tomography._backproject_numpy import back_project

    n_y, n_x = operator.image_shape
    h, cos, sin = operator.pixel_size, np.cos(operator.angles), np.sin(operator.angles)
    left, top = -(n_x - 1) / 2 * h, (n_y - 1) / 2 * h
    table = np.stack(
        [
            (left * cos + top * sin) / spacing,
            -h * sin / spacing,
            h * cos / spacing,
            1 + (top * cos - left * sin) / source,
            -h * cos / source,
            -h * sin / source,
            np.full_like(cos, (operator._bins - 1) / 2 - operator.detector_shift + pad),
        ],
        axis=1,
    )
    result = np.zeros((len(filtered), n_y, n_x), filtered.dtype)
    for views, image in zip(filtered, result, strict=True):
        padded = np.zeros((views.shape[0], views.shape[1] + 4), views.dtype)
        padded[:, 2:-2] = views
        back_project(padded, np.ascontiguousarray(table), image)
    return result
