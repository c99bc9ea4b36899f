"""Filtered back projection: the direct inversion of a parallel or a fan scan.

    f = back projection of q_k = ramp * (c_k w_k p_k)

p_k is a view, w_k the arc that it stands for times the share of each ray (`_redundancy`), c_k = 1 for the
parallel beam and cos gamma for the fan. The ramp is that of bins scaled down to the axis of rotation, by
R / (R + R_d) for the fan, with one more factor where the detector is curved (`_ramp`). The back projection
(`backproject`) of a fan weights a pixel at distance L from the source with (R / L)^2 for the curved detector,
and with 1 / U^2, U the part of L / R along the central ray, for the flat one.

Sources: A. C. Kak, M. Slaney, "Principles of Computerized Tomographic Imaging", IEEE Press 1988, chapter 3;
D. L. Parker, Med. Phys. 9 (1982) 254, doi:10.1118/1.595078.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from recon.arrays import Array, as_numpy, check_array, from_numpy
from recon.errors import CapabilityError, ParameterError
from recon.params import short
from recon_operators.tomography._ramp import Filter, check_filter, ramp_filter
from recon_operators.tomography._redundancy import fan_weights, parallel_weights
from recon_operators.tomography.backproject import back_project, view_table
from recon_operators.tomography.fan import FanBeam
from recon_operators.tomography.parallel import ParallelScan

__all__ = ["fbp"]

Floats = np.ndarray[Any, Any]


def fbp(
    operator: ParallelScan | FanBeam, sinogram: Array, filter: Filter = "ramp", short_scan: bool | None = None
) -> Array:
    """Reconstruct an image by filtered back projection.

    Parameters
    ----------
    operator
        A :class:`ParallelBeam`, :class:`FourierSliceBeam` or :class:`FanBeam`. Angles need not be equally spaced.
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
    Cost: pixels * views, about 1 ns each on one core (2.4 ns for a curved detector), and two FFTs a view. A
    limited angle is reconstructed from the views there are, without any weight for those that are missing. A
    displaced detector needs views over a full circle. No gradient flows through this function.

    Examples
    --------
    >>> A = ParallelBeam((256, 256), sparse_view(180))
    >>> image = fbp(A, sinogram, filter="hann")
    """
    if not isinstance(operator, ParallelScan | FanBeam):
        raise CapabilityError(
            f"fbp operator must be a ParallelBeam, FourierSliceBeam or FanBeam, got {type(operator).__name__}. "
            "Use an iterative solver for other operators."
        )
    check_filter(filter, "fbp")
    if short_scan is not None and not isinstance(short_scan, bool):
        raise ParameterError(f"fbp short_scan must be None, True or False, got {short(short_scan)}.")
    if short_scan is not None and isinstance(operator, ParallelScan):
        raise ParameterError(
            f"fbp short_scan must be None for a ParallelBeam, got {short_scan}. Only fans have short scans."
        )
    batch = check_array(sinogram, operator.codomain, "fbp sinogram")
    values = as_numpy(sinogram).reshape(-1, *operator.codomain.shape)
    pad = _missing_side(operator)
    mean = values.mean(axis=(0, 1), dtype=np.float64) if len(values) else None
    weights = _weights(operator, short_scan, mean).astype(values.dtype)
    weighted = np.pad(values * weights, ((0, 0), (0, 0), pad))
    table = view_table(operator, pad[0])
    filtered = ramp_filter(weighted, table.spacing, filter, table.angle)
    image = back_project(table, filtered, operator.image_shape)
    return from_numpy(image.reshape(*batch, *operator.domain.shape), sinogram)


def _weights(operator: ParallelScan | FanBeam, short_scan: bool | None, mean: Floats | None) -> Floats:
    """What each ray is multiplied with before the ramp: w_k c_k, (views, bins)."""
    if isinstance(operator, ParallelScan):
        return parallel_weights(operator.angles, operator._bin_offsets, mean)
    gamma, source = operator._fan_angles, operator.source_origin
    offsets = source * np.tan(gamma)  # on the line through the origin
    return np.cos(gamma) * fan_weights(operator.angles, offsets, source, short_scan, mean)


def _missing_side(operator: ParallelScan | FanBeam) -> tuple[int, int]:
    """Bins of zeros to add left and right, so that a displaced detector reaches as far on both sides.

    A filtered view is not zero where its own is, and pixels beyond the shorter side need it.
    """
    extra = min(math.ceil(2 * abs(operator.detector_shift)), operator._bins)
    return (extra, 0) if operator.detector_shift > 0 else (0, extra)
