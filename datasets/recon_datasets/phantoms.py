"""Phantoms with exact line integrals: ellipses and Gaussian blobs, as images and as sinograms.

A line is given as (theta, s):  x cos(theta) + y sin(theta) = s.  With t = s - x0 cos(theta) - y0 sin(theta):

    ellipse   2 v a b sqrt(A^2 - t^2) / A^2  for |t| < A,  A^2 = a^2 cos^2(theta-tilt) + b^2 sin^2(theta-tilt)
    Gaussian  v sqrt(2 pi) sigma exp(-t^2 / (2 sigma^2))

    parallel  theta = angle,              s = (m - (M-1)/2 + shift) spacing
    flat fan  theta = angle - gamma,      s = R sin(gamma),   gamma = atan(u / (R + R_d)),   u as s above

Images have row 0 on top and y up: the centre of pixel [r, c] is x = (c - (N_x-1)/2) h, y = ((N_y-1)/2 - r) h.
Values are per unit length, so that line integrals have no unit. The data are made from the formula and not
from an image, so a reconstruction from them commits no inverse crime.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from recon.errors import ParameterError, ShapeError
from recon.params import short

__all__ = [
    "fan_rays",
    "fan_sinogram",
    "gaussian_image",
    "gaussian_integrals",
    "line_integrals",
    "parallel_rays",
    "parallel_sinogram",
    "random_ellipses",
    "rasterize",
    "shepp_logan",
]

Floats: TypeAlias = npt.NDArray[np.float64]

_BLOCK = 1 << 20  # sub-sample points held at once while rasterizing

# Shepp and Logan, "The Fourier reconstruction of a head section", IEEE Trans. Nucl. Sci. 21 (1974) 21-43:
# semi-axes, centre, tilt in degrees, values; modified values: P. Toft, "The Radon Transform", thesis, 1996.
_HEAD = (
    # a,      b,      x0,     y0,     tilt, original, modified
    (0.6900, 0.9200, 0.0000, 0.0000, 0.0, 2.00, 1.0),
    (0.6624, 0.8740, 0.0000, -0.0184, 0.0, -0.98, -0.8),
    (0.1100, 0.3100, 0.2200, 0.0000, -18.0, -0.02, -0.2),
    (0.1600, 0.4100, -0.2200, 0.0000, 18.0, -0.02, -0.2),
    (0.2100, 0.2500, 0.0000, 0.3500, 0.0, 0.01, 0.1),
    (0.0460, 0.0460, 0.0000, 0.1000, 0.0, 0.01, 0.1),
    (0.0460, 0.0460, 0.0000, -0.1000, 0.0, 0.01, 0.1),
    (0.0460, 0.0230, -0.0800, -0.6050, 0.0, 0.01, 0.1),
    (0.0230, 0.0230, 0.0000, -0.6050, 0.0, 0.01, 0.1),
    (0.0230, 0.0460, 0.0600, -0.6050, 0.0, 0.01, 0.1),
)


def shepp_logan(variant: str = "modified") -> Floats:
    """The ten ellipses of the Shepp-Logan head, which fills the square [-1, 1] x [-1, 1].

    Parameters
    ----------
    variant
        ``"modified"`` (Toft 1996: contrast for the eye) or ``"original"`` (1974: skull 2, brain 1.02).

    Returns
    -------
    Array of shape (10, 6): value, semi-axes a and b, centre x0 and y0, tilt of the axis a in radians, counted
    from x towards y.
    """
    if variant not in ("modified", "original"):
        raise ParameterError(f"shepp_logan.variant must be 'modified' or 'original', got {short(variant)}.")
    column = 6 if variant == "modified" else 5
    return np.array([(row[column], *row[:4], math.radians(row[4])) for row in _HEAD])


def random_ellipses(rng: np.random.Generator, inner: int = 10) -> Floats:
    """A body of value 1 with random cavities and inclusions, within the circle of radius 0.95.

    One inner ellipse in three is a cavity; cavities together take at most 0.9, so no value is negative. Every
    number is rounded to a multiple of 2^-20: a seed gives the same bits on every machine.

    Parameters
    ----------
    rng
        Where the randomness comes from.
    inner
        How many ellipses lie in the body.

    Returns
    -------
    Array of shape (1 + inner, 6), columns as in :func:`shepp_logan`.
    """
    a, b = rng.uniform(0.6, 0.95, size=2)
    tilt = rng.uniform(0.0, math.pi)
    table = [(1.0, a, b, 0.0, 0.0, tilt)]
    cavities = (inner + 2) // 3
    for index in range(inner):
        long = rng.uniform(0.05, 0.5) * min(a, b)
        wide = rng.uniform(0.3, 1.0) * long
        if index < cavities:
            value = -rng.uniform(0.3, 0.9) / cavities
        else:
            value = rng.uniform(0.1, 0.5)
        # in the frame where the body is the unit disc, an inner ellipse fits in a disc of this radius
        reach = 1.0 - long / min(a, b)
        p, q = _in_unit_disc(rng)
        p, q = a * reach * p, b * reach * q
        x0 = p * math.cos(tilt) - q * math.sin(tilt)
        y0 = p * math.sin(tilt) + q * math.cos(tilt)
        table.append((value, long, wide, x0, y0, rng.uniform(0.0, math.pi)))
    return np.round(np.array(table) * 2.0**20) / 2.0**20


def _in_unit_disc(rng: np.random.Generator) -> tuple[float, float]:
    """A uniform point of the unit disc, by rejection."""
    while True:
        p, q = rng.uniform(-1.0, 1.0, size=2)
        if p * p + q * q <= 1.0:
            return float(p), float(q)


def rasterize(ellipses: Any, shape: tuple[int, int], pixel_size: float, subsamples: int = 8) -> Floats:
    """The image of ellipses: the mean over ``subsamples`` x ``subsamples`` points in every pixel.

    Parameters
    ----------
    ellipses
        Array of shape (n, 6), see :func:`shepp_logan`; overlapping values add.
    shape
        Rows and columns of the image.
    pixel_size
        Side h of a pixel, in the length unit of the ellipses.
    subsamples
        Points per side of a pixel.

    Returns
    -------
    Image of that shape, values per unit length.
    """
    table = _table(ellipses, 6, "rasterize.ellipses")
    image = np.zeros(shape)
    for row in table:
        _draw(image, row, float(pixel_size), int(subsamples))
    return image


def _draw(image: Floats, ellipse: Floats, h: float, subsamples: int) -> None:
    """Add one ellipse to an image, within its bounding box, by blocks of rows."""
    value, a, b, x0, y0, tilt = (float(v) for v in ellipse)
    rows, columns = image.shape
    cos, sin = math.cos(tilt), math.sin(tilt)
    wide, high = math.hypot(a * cos, b * sin), math.hypot(a * sin, b * cos)
    left, right = _span((x0 - wide) / h + columns / 2, (x0 + wide) / h + columns / 2, columns)
    top, bottom = _span(rows / 2 - (y0 + high) / h, rows / 2 - (y0 - high) / h, rows)
    if left == right or top == bottom:
        return
    x = (_points(left, right, subsamples) - columns / 2) * h - x0
    step = max(1, _BLOCK // (x.size * subsamples))
    for first in range(top, bottom, step):
        last = min(first + step, bottom)
        y = ((rows / 2 - _points(first, last, subsamples)) * h - y0)[:, None]
        inside = ((x * cos + y * sin) / a) ** 2 + ((y * cos - x * sin) / b) ** 2 <= 1.0
        share = inside.reshape(last - first, subsamples, right - left, subsamples).mean(axis=(1, 3))
        image[first:last, left:right] += value * share


def _span(low: float, high: float, count: int) -> tuple[int, int]:
    """The pixels, first and one past the last, that an interval in pixel edges touches."""
    first = min(max(math.floor(low), 0), count)
    return first, max(first, min(math.ceil(high), count))


def _points(first: int, last: int, subsamples: int) -> Floats:
    """Sub-sample positions of the pixels ``first`` ... ``last - 1``, in pixels from the edge of the image."""
    return first + (np.arange((last - first) * subsamples) + 0.5) / subsamples


def line_integrals(ellipses: Any, theta: Any, s: Any) -> Floats:
    """Integrals of ellipses along the lines x cos(theta) + y sin(theta) = s.

    Parameters
    ----------
    ellipses
        Array of shape (n, 6), see :func:`shepp_logan`.
    theta, s
        Angle in radians and signed distance from the origin; any shapes that broadcast.

    Returns
    -------
    Array of the broadcast shape.
    """
    total = np.zeros(np.broadcast_shapes(np.shape(theta), np.shape(s)))
    theta, s = np.asarray(theta, dtype=float), np.asarray(s, dtype=float)
    for value, a, b, x0, y0, tilt in _table(ellipses, 6, "line_integrals.ellipses"):
        square = (a * np.cos(theta - tilt)) ** 2 + (b * np.sin(theta - tilt)) ** 2
        t = s - x0 * np.cos(theta) - y0 * np.sin(theta)
        total += (2.0 * value * a * b) * np.sqrt(np.maximum(square - t * t, 0.0)) / square
    return total


def gaussian_integrals(blobs: Any, theta: Any, s: Any) -> Floats:
    """Integrals of Gaussian blobs along the lines x cos(theta) + y sin(theta) = s.

    Parameters
    ----------
    blobs
        Array of shape (n, 4): peak value, standard deviation, centre x0 and y0.
    theta, s
        As in :func:`line_integrals`.

    Returns
    -------
    Array of the broadcast shape.
    """
    total = np.zeros(np.broadcast_shapes(np.shape(theta), np.shape(s)))
    theta, s = np.asarray(theta, dtype=float), np.asarray(s, dtype=float)
    for value, sigma, x0, y0 in _table(blobs, 4, "gaussian_integrals.blobs"):
        t = (s - x0 * np.cos(theta) - y0 * np.sin(theta)) / sigma
        total += value * math.sqrt(2.0 * math.pi) * sigma * np.exp(-0.5 * t * t)
    return total


def gaussian_image(blobs: Any, shape: tuple[int, int], pixel_size: float) -> Floats:
    """The image of Gaussian blobs: the exact mean over every pixel.

    Parameters
    ----------
    blobs
        As in :func:`gaussian_integrals`.
    shape, pixel_size
        As in :func:`rasterize`.

    Returns
    -------
    Image of that shape.
    """
    rows, columns = shape
    x = (np.arange(columns + 1) - columns / 2) * pixel_size
    y = (rows / 2 - np.arange(rows + 1)) * pixel_size
    image = np.zeros(shape)
    for value, sigma, x0, y0 in _table(blobs, 4, "gaussian_image.blobs"):
        across = np.diff(_primitive(x - x0, sigma))
        down = -np.diff(_primitive(y - y0, sigma))
        image += value * np.outer(down, across) / pixel_size**2
    return image


def _primitive(t: Floats, sigma: float) -> Floats:
    """The integral of exp(-t^2 / (2 sigma^2)) from 0 to t."""
    scale = sigma * math.sqrt(2.0)
    return 0.5 * math.sqrt(math.pi) * scale * np.array([math.erf(v / scale) for v in t])


def parallel_rays(
    angles: Any, n_detectors: int, spacing: float, shift: float = 0.0, subsamples: int = 1
) -> tuple[Floats, Floats]:
    """The lines (theta, s) of a parallel beam.

    Parameters
    ----------
    angles
        View angles in radians.
    n_detectors
        Bins per view.
    spacing
        Width of a bin.
    shift
        Offset of the detector, in bins.
    subsamples
        Lines per bin, evenly spread over its width.

    Returns
    -------
    theta, s
        Of shapes (views, 1, 1) and (1, n_detectors, subsamples).
    """
    theta = np.asarray(angles, dtype=float).reshape(-1, 1, 1)
    return theta, _bins(n_detectors, spacing, shift, subsamples)


def fan_rays(
    angles: Any,
    n_detectors: int,
    source_origin: float,
    origin_detector: float,
    spacing: float,
    shift: float = 0.0,
    subsamples: int = 1,
) -> tuple[Floats, Floats]:
    """The lines (theta, s) of a flat fan: source R (sin t, -cos t), detector axis (cos t, sin t).

    Parameters
    ----------
    angles, n_detectors, spacing, shift, subsamples
        As in :func:`parallel_rays`; the bins lie on the detector.
    source_origin, origin_detector
        Distances R and R_d of the source and of the detector from the axis of rotation.

    Returns
    -------
    theta, s
        Of shapes (views, n_detectors, subsamples) and (1, n_detectors, subsamples).
    """
    gamma = np.arctan(_bins(n_detectors, spacing, shift, subsamples) / (source_origin + origin_detector))
    return np.asarray(angles, dtype=float).reshape(-1, 1, 1) - gamma, source_origin * np.sin(gamma)


def _bins(n_detectors: int, spacing: float, shift: float, subsamples: int) -> Floats:
    """Positions of the lines on the detector, of shape (1, n_detectors, subsamples)."""
    centres = np.arange(n_detectors) - (n_detectors - 1) / 2 + shift
    within = (np.arange(subsamples) + 0.5) / subsamples - 0.5
    return ((centres[:, None] + within) * spacing)[None]


def parallel_sinogram(
    ellipses: Any,
    angles: Any,
    n_detectors: int,
    spacing: float,
    shift: float = 0.0,
    *,
    subsamples: int = 1,
    integrals: Callable[[Any, Any, Any], Floats] = line_integrals,
) -> Floats:
    """Exact parallel-beam sinogram of shape (views, n_detectors).

    Parameters
    ----------
    ellipses
        Array of shape (n, 6), see :func:`shepp_logan`.
    angles, n_detectors, spacing, shift, subsamples
        As in :func:`parallel_rays`; a bin holds the mean over its lines (1: its centre line).
    integrals
        :func:`gaussian_integrals` where the table holds Gaussian blobs.
    """
    rays = parallel_rays(angles, n_detectors, spacing, shift, subsamples)
    return _mean(integrals(ellipses, *rays))


def fan_sinogram(
    ellipses: Any,
    angles: Any,
    n_detectors: int,
    source_origin: float,
    origin_detector: float,
    spacing: float,
    shift: float = 0.0,
    *,
    subsamples: int = 1,
    integrals: Callable[[Any, Any, Any], Floats] = line_integrals,
) -> Floats:
    """Exact flat-fan sinogram of shape (views, n_detectors).

    Parameters
    ----------
    ellipses
        Array of shape (n, 6), see :func:`shepp_logan`.
    angles, n_detectors, source_origin, origin_detector, spacing, shift, subsamples
        As in :func:`fan_rays`; a bin holds the mean over its lines (1: its centre line).
    integrals
        :func:`gaussian_integrals` where the table holds Gaussian blobs.
    """
    rays = fan_rays(angles, n_detectors, source_origin, origin_detector, spacing, shift, subsamples)
    return _mean(integrals(ellipses, *rays))


def _mean(lines: Floats) -> Floats:
    """The mean over the lines of every bin."""
    means: Floats = lines.mean(axis=-1)
    return means


def _table(rows: Any, columns: int, owner: str) -> Floats:
    """The rows as floats, checked."""
    table = np.asarray(rows, dtype=float)
    if table.ndim != 2 or table.shape[1] != columns:
        raise ShapeError(
            f"{owner} must have shape (n, {columns}), got {table.shape}. Give one row for each shape."
        )
    widths = table[:, 1:3] if columns == 6 else table[:, 1:2]
    if not (np.isfinite(table).all() and (widths > 0).all()):
        raise ParameterError(
            f"{owner} must be finite with widths > 0, got a row that is not. Check the table."
        )
    return table
