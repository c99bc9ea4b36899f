"""The ray table: any set of straight rays through a pixel grid, written as Joseph's method needs it.

A ray {S + t d} that is steeper than 45 degrees (|d_y| >= |d_x|) is sampled once per image row r, between
two pixels:

    q(r) = q0 + r dq,   i = floor(q),   e = q - i,   p = l sum_r [ (1 - e) f[r, i] + e f[r, i + 1] ]
    q0 = S_x + (h_y - S_y) d_x / d_y + h_x,   dq = -d_x / d_y,   l = |d| / |d_y|,   h = (N - 1) / 2

(lengths in pixels, the origin in the middle of the image, y up, row 0 on top, pixels outside are 0). A
flatter ray is sampled once per column c, which is the same on the transposed image:

    q(c) = q0 + c dq,   q0 = h_y - S_y + (h_x + S_x) d_y / d_x,   dq = -d_y / d_x,   l = |d| / |d_x|

So the weight of pixel i on line r is l hat(q(r) - i) with hat(z) = max(0, 1 - |z|). Parallel, fan and any
other beam differ only in this table: 24 bytes per ray.

Source: P. M. Joseph, "An improved algorithm for reprojecting rays through pixel images", IEEE Trans. Med.
Imaging 1 (1982) 192, doi:10.1109/TMI.1982.4307572.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Lines", "RayTable", "ray_table"]

Floats = np.ndarray[Any, np.dtype[np.float64]]
Ints = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class Lines:
    """The rays that are sampled line by line along one axis of the image.

    Parameters
    ----------
    transposed
        False: the lines are image rows. True: they are columns (rows of the transposed image).
    count, length
        Number of lines, and of pixels on each.
    rays
        Flat number (view * bins + bin) of each ray, ascending.
    q0, dq
        Position on line 0, and its change from line to line, in pixels.
    weight
        Length of the ray per line, in the unit of the pixel size.
    """

    transposed: bool
    count: int
    length: int
    rays: Ints
    q0: Floats
    dq: Floats
    weight: Floats


@dataclass(frozen=True)
class RayTable:
    """All rays of a scan: the steep ones (`Lines` over rows) and the flat ones (over columns)."""

    image_shape: tuple[int, int]
    views: int
    bins: int
    lines: tuple[Lines, ...]

    @property
    def rays(self) -> int:
        return self.views * self.bins


def ray_table(
    points: Floats, directions: Floats, image_shape: tuple[int, int], pixel_size: float
) -> RayTable:
    """The table of rays through `points` along `directions`.

    Parameters
    ----------
    points, directions
        Arrays of shape (views, bins, 2) with columns x and y, in the unit of `pixel_size`; directions of
        any length.
    image_shape
        (N_y, N_x).
    pixel_size
        Side of a pixel.
    """
    views, bins, _ = points.shape
    n_y, n_x = image_shape
    half_y, half_x = (n_y - 1) / 2, (n_x - 1) / 2
    s_x, s_y = np.moveaxis(points.reshape(-1, 2) / pixel_size, -1, 0)
    d_x, d_y = np.moveaxis(directions.reshape(-1, 2), -1, 0)
    size = np.hypot(d_x, d_y) * pixel_size

    steep = np.abs(d_y) >= np.abs(d_x)
    rows, columns = np.flatnonzero(steep), np.flatnonzero(~steep)
    x, y, slope = s_x[rows], s_y[rows], d_x[rows] / d_y[rows]
    by_row = Lines(
        False, n_y, n_x, rows, x + (half_y - y) * slope + half_x, -slope, size[rows] / np.abs(d_y[rows])
    )
    x, y, slope = s_x[columns], s_y[columns], d_y[columns] / d_x[columns]
    by_column = Lines(
        True,
        n_x,
        n_y,
        columns,
        half_y - y + (half_x + x) * slope,
        -slope,
        size[columns] / np.abs(d_x[columns]),
    )
    return RayTable(image_shape, views, bins, tuple(part for part in (by_row, by_column) if part.rays.size))
