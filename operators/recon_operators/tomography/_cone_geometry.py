"""The rays of a 3-D scan, as twelve numbers a view.

    cone       S, D, u, v     source, middle of the detector, step from one column to the next, from one row to the next
    parallel   d, D, u, v     the direction of all rays stands in the place of the source

Bin (n, m), row n and column m of an N_v x N_u detector, is at

    P = D + (m - (N_u - 1) / 2) u + (n - (N_v - 1) / 2) v

and its ray goes through S and P, or through P along d. Every vector is (x, y, z) with the origin in the middle of the
volume f[k, r, c]: x = (c - (N_x - 1) / 2) h, y = ((N_y - 1) / 2 - r) h, z = (k - (N_z - 1) / 2) h, so y points up and
row 0 is on top. Kernels work in voxels, with the vectors divided by h.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["ConeGeometry", "driving_axis"]

Floats = np.ndarray[Any, np.dtype[np.float64]]
Ints = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True, eq=False)
class ConeGeometry:
    """What a 3-D kernel needs to know.

    Parameters
    ----------
    vectors
        (views, 12): S or d, then D, u, v, each x, y, z, in voxels (lengths divided by `scale`).
    parallel
        Whether the first three numbers are a direction.
    volume_shape
        (N_z, N_y, N_x).
    detector_shape
        (N_v, N_u), rows and columns.
    scale
        Side h of a voxel: line integrals in voxels are multiplied by it.
    """

    vectors: Floats
    parallel: bool
    volume_shape: tuple[int, int, int]
    detector_shape: tuple[int, int]
    scale: float

    @property
    def views(self) -> int:
        return len(self.vectors)

    def rays(self, view: int) -> tuple[Floats, Floats]:
        """A point on each ray and its direction, both (N_v, N_u, 3), as array indices k, r, c (not x, y, z).

        The direction is ((D - S) + a u) + b v in float64, in this order: it decides which axis drives the ray.
        """
        first, middle, u, v = self.vectors[view].reshape(4, 3)
        n_v, n_u = self.detector_shape
        a = (np.arange(n_u) - (n_u - 1) / 2)[None, :, None]
        b = (np.arange(n_v) - (n_v - 1) / 2)[:, None, None]
        if self.parallel:
            points = (middle + a * u) + b * v
            directions = np.broadcast_to(first, points.shape)
        else:
            directions = ((middle - first) + a * u) + b * v
            points = np.broadcast_to(first, directions.shape)
        n_z, n_y, n_x = self.volume_shape
        x, y, z = np.moveaxis(points, -1, 0)
        d_x, d_y, d_z = np.moveaxis(directions, -1, 0)
        where = np.stack([z + (n_z - 1) / 2, (n_y - 1) / 2 - y, x + (n_x - 1) / 2], axis=-1)
        return where, np.stack([d_z, -d_y, d_x], axis=-1)


def driving_axis(directions: Floats) -> Ints:
    """The volume axis (0: k, 1: r, 2: c) along which each ray advances plane by plane: its largest component.

    Of equals r goes first, then c. `directions` has k, r, c on its last axis.
    """
    k, r, c = np.moveaxis(np.abs(directions), -1, 0)
    return np.where((r >= c) & (r >= k), 1, np.where(c >= k, 2, 0))
