"""Pixel-driven back projection: every pixel gathers, from each view, the value where it falls on the detector.

    b f(x, y) = sum_k p_k(bin),   by linear interpolation between bins, 0 beyond the ends
    t = x cos theta + y sin theta,   U = (R - x sin theta + y cos theta) / R

    parallel   bin = t / ds + b_0
    flat       bin = (t / U) / ds + b_0,                    weight 1 / U^2                    where asked for
    curved     bin = atan(k (t / U) / ds) / k + b_0,        weight 1 / (U^2 + (t / R)^2)      where asked for

ds is the distance between bins scaled down to the origin, k = ds / R the angle between bins, b_0 the bin that
the central ray falls on. It is a sum, and no adjoint: filtered back projection wants it, an iterative solver
does not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from recon.arrays import Array, as_numpy, check_array, from_numpy
from recon.errors import CapabilityError
from recon_operators.tomography.fan import FanBeam
from recon_operators.tomography.parallel import ParallelScan

__all__ = ["ViewTable", "back_project", "backproject", "view_table"]

Floats = np.ndarray[Any, Any]


def backproject(operator: ParallelScan | FanBeam, sinogram: Array, *, distance_weight: bool = False) -> Array:
    """Sum over views of the value that each pixel's centre sees, by linear interpolation on the detector.

    Parameters
    ----------
    operator
        A :class:`ParallelBeam`, :class:`FourierSliceBeam` or :class:`FanBeam`.
    sinogram
        Values (..., views, bins), for example filtered views.
    distance_weight
        Weight pixels of a fan as filtered back projection does, about as 1 / (distance to the source)^2 in
        units of `source_origin`. A parallel beam has no such weight.

    Returns
    -------
    Array
        Image (..., N_y, N_x) in the unit of the sinogram, in its library, device and precision.

    Raises
    ------
    CapabilityError
        For another kind of operator.
    ShapeError, ArrayError
        When the sinogram does not fit the operator.

    Notes
    -----
    This is not ``operator.H``: that is the exact transpose of the forward, which solvers need. Cost: about
    0.9 ns per pixel and view for parallel rays, 1.2 ns for a flat and 2.4 ns for a curved fan (float32, one
    core with 512-bit vectors). No gradient flows through this function.

    Examples
    --------
    >>> A = ParallelBeam((256, 256), sparse_view(180))
    >>> blurred = backproject(A, sinogram)
    """
    if not isinstance(operator, ParallelScan | FanBeam):
        raise CapabilityError(
            f"backproject operator must be a ParallelBeam, FourierSliceBeam or FanBeam, got {type(operator).__name__}. "
            "Use operator.H for other operators."
        )
    batch = check_array(sinogram, operator.codomain, "backproject sinogram")
    values = as_numpy(sinogram).reshape(-1, *operator.codomain.shape)
    image = back_project(view_table(operator), values, operator.image_shape, distance_weight)
    return from_numpy(image.reshape(*batch, *operator.domain.shape), sinogram)


@dataclass(frozen=True)
class ViewTable:
    """Where pixel (r, c) falls, for each view: n = n_0 + n_r r + n_c c = t / ds and U = U_0 + U_r r + U_c c.

    Parameters
    ----------
    coefficients
        (views, 7): n_0, n_r, n_c, U_0, U_r, U_c and b_0, the bin that the central ray falls on.
    spacing
        ds, the distance between bins scaled down to the origin.
    angle
        k, the angle between bins of a curved detector; 0 for a flat one.
    fan
        Whether U varies at all.
    """

    coefficients: Floats
    spacing: float
    angle: float
    fan: bool


def view_table(operator: ParallelScan | FanBeam, added: int = 0) -> ViewTable:
    """The table of a scan; `added` bins have been put in front of its own."""
    assert operator.detector_spacing is not None
    spacing, source, angle = operator.detector_spacing, math.inf, 0.0
    if isinstance(operator, FanBeam):
        source = operator.source_origin
        spacing *= source / (source + operator.origin_detector)
        angle = spacing / source if operator.detector == "curved" else 0.0
    n_y, n_x = operator.image_shape
    h, cos, sin = operator.pixel_size, np.cos(operator.angles), np.sin(operator.angles)
    left, top = -(n_x - 1) / 2 * h, (n_y - 1) / 2 * h
    columns = [
        (left * cos + top * sin) / spacing,
        -h * sin / spacing,
        h * cos / spacing,
        1 + (top * cos - left * sin) / source,
        -h * cos / source,
        -h * sin / source,
        np.full_like(cos, (operator._bins - 1) / 2 - operator.detector_shift + added),
    ]
    return ViewTable(np.stack(columns, axis=1), spacing, angle, source < math.inf)


def back_project(
    table: ViewTable, sinograms: Floats, image_shape: tuple[int, int], distance_weight: bool = True
) -> Floats:
    """Back project NumPy arrays (batch, views, bins) with the best engine there is."""
    try:
        from recon_operators.tomography._backproject_numba import add_views
    except ImportError:
        from recon_operators.tomography._backproject_numpy import add_views

    result = np.zeros((len(sinograms), *image_shape), sinograms.dtype)
    for views, image in zip(sinograms, result, strict=True):
        padded = np.zeros((views.shape[0], views.shape[1] + 4), views.dtype)
        padded[:, 2:-2] = views
        add_views(padded, table, distance_weight, image)
    return result
