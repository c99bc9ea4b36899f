"""The Feldkamp algorithm (FDK): filtered back projection of a circular cone scan.

    f(x, y, z) = sum_k w_k q_k(u', v') / U^2,        U = (R - x sin theta + y cos theta) / R
    u' = (x cos theta + y sin theta) / U,            v' = z / U
    q_k = ramp along u' of  R / sqrt(R^2 + u'^2 + v'^2) p_k

The detector is moved to the axis of rotation, u' = u R / (R + R_d), v' likewise. w_k is the arc that a view stands for
times the share of each ray, the same for all rows (`_redundancy`); the ramp is that of `fbp` (`_ramp`). In the plane of
the source (z = 0) it is the filtered back projection of a flat fan. Away from it it is approximate: a circle of the
source does not measure all that would be needed, and the further from the plane, the more flat surfaces parallel to it
fade.

Source: L. A. Feldkamp, L. C. Davis, J. W. Kress, "Practical cone-beam algorithm", J. Opt. Soc. Am. A 1 (1984) 612,
doi:10.1364/JOSAA.1.000612.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from recon.arrays import Array, as_numpy, check_array, from_numpy
from recon.errors import CapabilityError, ParameterError
from recon.params import short
from recon_operators.tomography._cone_geometry import Floats
from recon_operators.tomography._ramp import Filter, check_filter, ramp_filter
from recon_operators.tomography._redundancy import fan_weights
from recon_operators.tomography.cone import ConeBeam

__all__ = ["fdk"]

_VIEWS = 16
"""Views that are filtered at once, which bounds the memory of the transforms."""


def fdk(operator: ConeBeam, data: Array, filter: Filter = "ramp", short_scan: bool | None = None) -> Array:
    """Reconstruct a volume from a circular cone scan by the Feldkamp algorithm.

    Parameters
    ----------
    operator
        A :class:`ConeBeam` without tilt and roll. Angles need not be equally spaced.
    data
        Line integrals (..., views, N_v, N_u).
    filter
        ``"ramp"``, or one of the smoother ``"shepp-logan"``, ``"cosine"``, ``"hamming"``, ``"hann"``.
    short_scan
        As for :func:`fbp` with a fan: None decides from the angles, True asks for Parker's weights, False for those
        of a full circle.

    Returns
    -------
    Array
        Volume (..., N_z, N_y, N_x) in 1 / (unit of `pixel_size`), in the library, device and precision of the data.

    Raises
    ------
    CapabilityError
        For another kind of operator, or one with tilt or roll.
    ParameterError
        For an unknown filter, or when Parker's weights are asked for on too short an arc.
    ShapeError, ArrayError
        When the data do not fit the operator.

    Notes
    -----
    Cost: about 0.6 ns per voxel and view on one core (float32, 512-bit vectors), and an FFT pair per detector row. No
    gradient flows through this function.

    Examples
    --------
    >>> volume = fdk(A, data, filter="hann")
    """
    _check(operator, short_scan)
    check_filter(filter, "fdk")
    batch = check_array(data, operator.codomain, "fdk data")
    values = as_numpy(data).reshape(-1, *operator.codomain.shape)
    result = np.zeros((len(values), *operator.volume_shape), values.dtype)
    for views, volume in zip(values, result, strict=True):
        _add(operator, views, filter, short_scan, volume)
    return from_numpy(result.reshape(*batch, *operator.domain.shape), data)


def _check(operator: Any, short_scan: Any) -> None:
    if not isinstance(operator, ConeBeam) or operator.tilt or operator.roll:
        what = "one with tilt or roll" if isinstance(operator, ConeBeam) else type(operator).__name__
        raise CapabilityError(
            f"fdk operator must be a ConeBeam without tilt and roll, got {what}. "
            "Use an iterative solver for other operators."
        )
    if short_scan is not None and not isinstance(short_scan, bool):
        raise ParameterError(f"fdk short_scan must be None, True or False, got {short(short_scan)}.")


def _add(
    operator: ConeBeam, views: Floats, filter: Filter, short_scan: bool | None, volume: np.ndarray[Any, Any]
) -> None:
    """Weight, filter and add the views of one scan, a few at a time."""
    try:
        from recon_operators.tomography._cone_backproject_numba import add_views
    except ImportError:
        from recon_operators.tomography._cone_backproject_numpy import add_views

    source, (n_v, n_u) = operator.source_origin, operator.detector_shape
    shrink = source / (source + operator.origin_detector)
    dv, du = (shrink * spacing for spacing in operator._spacing)
    shift_v, shift_u = operator.detector_shift
    u = (np.arange(n_u) - (n_u - 1) / 2 + shift_u) * du
    v = (np.arange(n_v) - (n_v - 1) / 2 + shift_v) * dv
    inclined = source / np.sqrt(source**2 + u**2 + v[:, None] ** 2)
    shares = fan_weights(operator.angles, u, source, short_scan)
    # A filtered view is not zero where its own is, and voxels beyond the shorter side of a displaced detector need it.
    extra = min(math.ceil(2 * abs(shift_u)), n_u)
    pad = (extra, 0) if shift_u > 0 else (0, extra)
    table = _columns(operator, du, (n_u - 1) / 2 - shift_u + pad[0])
    for start in range(0, len(views), _VIEWS):
        some = slice(start, start + _VIEWS)
        weights = (shares[some, None, :] * inclined).astype(views.dtype)
        filtered = ramp_filter(np.pad(views[some] * weights, ((0, 0), (0, 0), pad)), du, filter)
        add_views(filtered, table[some], operator.pixel_size / dv, (n_v - 1) / 2 - shift_v, volume)


def _columns(operator: ConeBeam, du: float, middle: float) -> Floats:
    """Where z-column (r, c) falls: m = (m_0 + m_r r + m_c c) / U + b_0, U = U_0 + U_r r + U_c c; 7 numbers a view."""
    _, n_y, n_x = operator.volume_shape
    h, source = operator.pixel_size, operator.source_origin
    cos, sin = np.cos(operator.angles), np.sin(operator.angles)
    left, top = -(n_x - 1) / 2 * h, (n_y - 1) / 2 * h
    columns = [
        (left * cos + top * sin) / du,
        -h * sin / du,
        h * cos / du,
        1 + (top * cos - left * sin) / source,
        -h * cos / source,
        -h * sin / source,
        np.full_like(cos, middle),
    ]
    return np.stack(columns, axis=1)
