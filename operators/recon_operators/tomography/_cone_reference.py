"""Joseph projection of volumes in plain array-API code: slow, short, and the truth that every kernel is tested against.

A ray through point s along d, in indices (k, r, c), advances along its driving axis a, the largest |d|. It meets plane
j of that axis at  q_b = s_b + (j - s_a) d_b / d_a  on the two other axes b, and the volume is interpolated linearly
along both:

    p[ray] = l sum over planes j, voxels (i, i') of the plane of  hat(q_b - i) hat(q_b' - i') f[j; i, i']
    l = h |d| / |d_a|,   hat(z) = max(0, 1 - |z|)

Voxels outside are 0. Both products use the same weights, one plane at a time, so the adjoint is exact by construction.
Cost rays * voxels; runs on any array library.

Source: P. M. Joseph, IEEE Trans. Med. Imaging 1 (1982) 192, doi:10.1109/TMI.1982.4307572, whose interpolation on the
lines of an image is done here on the planes of a volume.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from recon.arrays import Array, device_of, namespace, real_like
from recon_operators.tomography._cone_geometry import ConeGeometry, Floats, driving_axis

__all__ = ["adjoint", "forward"]


def forward(geometry: ConeGeometry, volume: Array) -> Array:
    """Projections (..., views, N_v, N_u) of a volume (..., N_z, N_y, N_x)."""
    xp = namespace(volume)
    views = []
    for view in range(geometry.views):
        total = xp.zeros((*volume.shape[:-3], _rays(geometry)), dtype=volume.dtype, device=device_of(volume))
        for axis, j, along, across in _planes(geometry, view):
            plane = volume[_plane(axis, j)]
            total = total + xp.sum(
                xp.matmul(real_like(along, volume), plane) * real_like(across, volume), axis=-1
            )
        views.append(total)
    shape = (*volume.shape[:-3], geometry.views, *geometry.detector_shape)
    return xp.reshape(xp.stack(views, axis=-2), shape)


def adjoint(geometry: ConeGeometry, data: Array) -> Array:
    """Volume (..., N_z, N_y, N_x) of projections (..., views, N_v, N_u)."""
    xp = namespace(data)
    batch = data.shape[:-3]
    flat = xp.reshape(data, (*batch, geometry.views, _rays(geometry)))
    volume = xp.zeros((*batch, *geometry.volume_shape), dtype=data.dtype, device=device_of(data))
    for view in range(geometry.views):
        for axis, j, along, across in _planes(geometry, view):
            weighted = flat[..., view, :, None] * real_like(across, data)
            plane = _plane(axis, j)
            volume[plane] = volume[plane] + xp.matmul(xp.matrix_transpose(real_like(along, data)), weighted)
    return volume


def _rays(geometry: ConeGeometry) -> int:
    return geometry.detector_shape[0] * geometry.detector_shape[1]


def _plane(axis: int, j: int) -> tuple[Any, ...]:
    """What selects plane j along an axis."""
    return (..., *(j if one == axis else slice(None) for one in range(3)))


def _planes(geometry: ConeGeometry, view: int) -> Iterator[tuple[int, int, Floats, Floats]]:
    """(axis, plane, l hat(q_b - i), hat(q_b' - i')) of every plane; the weights of rays driven otherwise are 0."""
    points, directions = (part.reshape(-1, 3) for part in geometry.rays(view))
    driving = driving_axis(directions)
    for axis in range(3):
        own = driving == axis
        if not own.any():
            continue
        step = np.where(own, directions[:, axis], 1.0)
        length = np.where(own, geometry.scale * np.linalg.norm(directions, axis=-1) / np.abs(step), 0.0)
        b, b_ = (other for other in range(3) if other != axis)
        for j in range(geometry.volume_shape[axis]):
            t = (j - points[:, axis]) / step
            along = _hat(points[:, b] + t * directions[:, b], geometry.volume_shape[b])
            across = _hat(points[:, b_] + t * directions[:, b_], geometry.volume_shape[b_])
            yield axis, j, length[:, None] * along, across


def _hat(q: Any, count: int) -> Floats:
    return np.asarray(np.maximum(0.0, 1.0 - np.abs(q[:, None] - np.arange(count))))
