"""The disc that holds an object, found from its sinogram alone.

Where a view begins and ends to show the object, its rays are tangents:

    n . (c - o) = +- r        for the first and the last ray of every view; least squares for c and r

o is a point on the ray, n its normal. The ends lie between bins: close to a round rim p^2 is proportional to the
depth below it, so the line through p^2 of the first two bins above a threshold meets zero at the tangent. Views in
which the object reaches the edge of the detector say nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from recon.arrays import Array, as_numpy, check_array
from recon.errors import ParameterError
from recon_operators.tomography._beam import Beam

__all__ = ["Disc", "support_disc"]

Floats = np.ndarray[Any, np.dtype[np.float64]]

_THRESHOLD = 0.05  # of the largest line integral
_TOP = 0.99  # quantile that stands for the largest: single bins may be broken
_ROBUST = 10  # reweightings: a hole that touches the rim spoils a few tangents


@dataclass(frozen=True)
class Disc:
    """A disc in the plane of the image.

    Parameters
    ----------
    x, y
        Its centre, x to the right and y up, in the unit of ``pixel_size``.
    radius
        In the same unit.
    """

    x: float
    y: float
    radius: float

    def mask(self, operator: Beam, margin: float = 0.0) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Pixels of the operator's image whose centres lie in the disc, widened by `margin` (a length)."""
        rows, columns = operator.image_shape
        x = (np.arange(columns) - (columns - 1) / 2) * operator.pixel_size - self.x
        y = ((rows - 1) / 2 - np.arange(rows)) * operator.pixel_size - self.y
        return np.asarray(x**2 + y[:, None] ** 2 <= max(self.radius + margin, 0.0) ** 2)


def support_disc(operator: Beam, sinogram: Array) -> Disc:
    """Fit a disc to the outline of a round object.

    Parameters
    ----------
    operator
        A parallel or fan beam; two views or more, at different angles.
    sinogram
        Its line integrals (views, bins), with air on both sides of the object.

    Returns
    -------
    Disc

    Raises
    ------
    ParameterError
        When the object leaves the detector, or is not seen, in all views but one.
    ShapeError, ArrayError
        When the sinogram is not that of the operator.

    Notes
    -----
    On the plastic discs of the Helsinki challenge centre and radius come out within half a pixel of those of the
    complete reconstruction (centre 0.3, radius 0.1 to 0.5 too small), from a sector of 30 degrees too: widen the
    mask by that, ``mask(operator, pixel_size / 2)``, and further where the object is not quite round. The median of
    the outermost bins is taken off first: scatter and drifting tubes leave air at some hundredths.
    """
    check_array(sinogram, operator.codomain, "support_disc.sinogram")
    p = np.asarray(as_numpy(sinogram), dtype=np.float64)
    p = p - np.median(p[:, [0, -1]])
    top = float(np.quantile(p, _TOP))
    x, y, radius = _circle(operator, p, _THRESHOLD * top)
    return Disc(x, y, radius)


def _circle(operator: Beam, p: Floats, threshold: float) -> tuple[float, float, float]:
    """Centre and radius of the circle whose tangents are where the views begin and end."""
    above = p > threshold
    seen = above.any(axis=1) & ~above[:, 0] & ~above[:, -1] if threshold > 0 else np.zeros(len(p), bool)
    if seen.sum() < 2:
        raise ParameterError(
            f"support_disc.sinogram must show the whole object, with air on both sides, in 2 views or more, got "
            f"{int(seen.sum())}. Give the mask yourself, or take off a background."
        )
    views, q = np.flatnonzero(seen), np.maximum(p[seen], 0.0) ** 2
    origins, directions = (np.asarray(table)[seen] for table in operator._rays())
    k, rows, right = np.arange(views.size), [], []
    for sign, step, end in (
        (1.0, 1, above[seen].argmax(axis=1)),
        (-1.0, -1, p.shape[1] - 1 - above[seen][:, ::-1].argmax(axis=1)),
    ):
        inside, outside = end + step, end - step
        rise = np.maximum(q[k, inside] - q[k, end], q[k, end])  # one bin at most, whatever the rim
        share = (q[k, end] / rise)[:, None]
        origin = (1 - share) * origins[k, end] + share * origins[k, outside]
        direction = (1 - share) * directions[k, end] + share * directions[k, outside]
        direction = direction / np.linalg.norm(direction, axis=1, keepdims=True)
        normal = np.stack([-direction[:, 1], direction[:, 0]], axis=1)
        rows.append(np.column_stack([normal, np.full(views.size, -sign)]))
        right.append((normal * origin).sum(axis=1))
    matrix, rhs = np.concatenate(rows), np.concatenate(right)
    weights = np.ones(rhs.size)
    for _ in range(_ROBUST):  # least squares near the fit, least moduli far from it
        fit = np.linalg.lstsq(matrix * weights[:, None], rhs * weights, rcond=None)[0]
        misfit = np.abs(rhs - matrix @ fit)
        scale = 3.0 * float(np.median(misfit)) or 1.0
        weights = (1.0 + (misfit / scale) ** 2) ** -0.25
    return float(fit[0]), float(fit[1]), abs(float(fit[2]))
