"""3-D Joseph projection on CUDA devices (`_cone.cu`): views as numbers in the indices of the volume.

    view      a point and three vectors in k, r, c: for a cone S, D - S, u, v; for parallel rays d, D, u, v
    camera    the matrix (3, 4) that takes (k, r, c, 1) to (m w, n w, w): the bin (n, m) that a voxel is projected on

A ray through X meets the detector where X - S is parallel to B + a u + b v, B = D - S:

    a = e . (v x B) / e . (u x v),   b = e . (B x u) / e . (u x v),   e = X - S

With parallel rays e = X - D and B = -d, and the divisor is the constant d . (u x v) times -1.
Memory: one copy of a volume with r and c exchanged, for the forward; 200 bytes per view.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cupy
import numpy as np

from recon_operators._cuda import Kernels
from recon_operators.tomography._cone_geometry import ConeGeometry, Floats

__all__ = ["STEEP", "UPRIGHT", "CupyCone", "cameras", "kinds", "view_numbers"]

_FILE = Path(__file__).with_name("_cone.cu")
_COLUMN = 8
"""Voxels of a column that one thread of the adjoint keeps in registers."""

STEEP, UPRIGHT = 1, 2
"""Of a view: slices may drive some rays; none, and the bins of a detector column see the same rows and columns."""


class CupyCone:
    """The two products on CuPy arrays with one batch axis, float32 or float64; the batch goes one by one."""

    def __init__(self, geometry: ConeGeometry, dtype: Any) -> None:
        self._geometry, self._dtype = geometry, np.dtype(dtype)
        self._kernels = Kernels(_FILE, dtype, COLUMN=_COLUMN)
        views = view_numbers(geometry)
        self._views = cupy.asarray(views)
        self._cameras = cupy.asarray(cameras(views, geometry))
        self._kinds = cupy.asarray(kinds(views, geometry))

    def apply(self, volumes: Any) -> Any:
        """(batch, N_z, N_y, N_x) -> (batch, views, N_v, N_u)."""
        geometry = self._geometry
        n_v, n_u = geometry.detector_shape
        result = cupy.empty((len(volumes), geometry.views, n_v, n_u), self._dtype)
        for volume, data in zip(volumes, result, strict=True):
            turned = cupy.ascontiguousarray(cupy.swapaxes(volume, 1, 2))
            self._kernels.launch(
                "forward", (n_u, n_v, geometry.views), (32, 8, 1),
                cupy.ascontiguousarray(volume), turned, *geometry.volume_shape,
                self._views, int(geometry.parallel), n_v, n_u, float(geometry.scale), data,
            )  # fmt: skip
        return result

    def adjoint(self, data: Any) -> Any:
        """(batch, views, N_v, N_u) -> (batch, N_z, N_y, N_x)."""
        geometry = self._geometry
        n_k, n_r, n_c = geometry.volume_shape
        result = cupy.empty((len(data), n_k, n_r, n_c), self._dtype)
        for one, volume in zip(data, result, strict=True):
            self._kernels.launch(
                "adjoint", (n_c, n_r, -(-n_k // _COLUMN)), (32, 4, 1),
                cupy.ascontiguousarray(one), self._views, self._cameras, self._kinds, int(geometry.parallel),
                geometry.views, *geometry.detector_shape, float(geometry.scale), volume, n_k, n_r, n_c,
            )  # fmt: skip
        return result


def view_numbers(geometry: ConeGeometry) -> Floats:
    """(views, 12): the vectors of the geometry in k, r, c; a point has the offset of the middle, a difference none."""
    first, middle, u, v = np.moveaxis(geometry.vectors.reshape(-1, 4, 3), 1, 0)
    n_k, n_r, n_c = geometry.volume_shape
    centre = np.asarray([(n_k - 1) / 2, (n_r - 1) / 2, (n_c - 1) / 2])
    base = middle if geometry.parallel else middle - first
    fixed, base, u, v = (part[:, ::-1] * np.asarray([1.0, -1.0, 1.0]) for part in (first, base, u, v))
    fixed, base = (fixed, base + centre) if geometry.parallel else (fixed + centre, base)
    return np.ascontiguousarray(np.concatenate([fixed, base, u, v], axis=1))


def cameras(views: Floats, geometry: ConeGeometry) -> Floats:
    """(views, 12): the matrix (3, 4) of each view."""
    fixed, base, u, v = np.moveaxis(views.reshape(-1, 4, 3), 1, 0)
    origin, b = (base, -fixed) if geometry.parallel else (fixed, base)
    n_v, n_u = geometry.detector_shape
    rows = np.stack([np.cross(v, b), np.cross(b, u), np.cross(u, v)], axis=1)
    last = -np.einsum("aij,aj->ai", rows, origin)
    if geometry.parallel:
        last[:, 2] = np.einsum("ai,ai->a", rows[:, 2], b)
        rows[:, 2] = 0.0
    matrix = np.concatenate([rows, last[:, :, None]], axis=2)
    matrix[:, 0] += (n_u - 1) / 2 * matrix[:, 2]
    matrix[:, 1] += (n_v - 1) / 2 * matrix[:, 2]
    return np.ascontiguousarray(matrix.reshape(-1, 12))


def kinds(views: Floats, geometry: ConeGeometry) -> Any:
    """Per view `STEEP`, `UPRIGHT` or 0, int32.

    No slice drives a ray where the largest |d_k| is less than the smallest |(d_r, d_c)| / sqrt 2; the latter is at
    least its part along the middle ray, which is linear in the bins and so least at a corner.
    """
    fixed, base, u, v = np.moveaxis(views.reshape(-1, 4, 3), 1, 0)
    if geometry.parallel:
        corners = fixed[:, None, :]
    else:
        n_v, n_u = geometry.detector_shape
        signs = np.asarray([(a, b) for a in (-0.5, 0.5) for b in (-0.5, 0.5)]) * [n_u - 1, n_v - 1]
        corners = base[:, None, :] + np.einsum("ca,avi->vci", signs, np.stack([u, v]))
    middle = corners.mean(axis=1)[:, 1:]
    ahead = np.einsum("vci,vi->vc", corners[:, :, 1:], middle).min(axis=1)
    steep = np.abs(corners[:, :, 0]).max(axis=1) * np.linalg.norm(middle, axis=1) >= ahead / np.sqrt(2)
    upright = (v[:, 1] == 0) & (v[:, 2] == 0)
    return np.where(steep, STEEP, np.where(upright, UPRIGHT, 0)).astype(np.int32)
