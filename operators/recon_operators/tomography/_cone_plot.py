"""The two panels of a 3-D view: from above (x, y), and from the side (along the beam, z)."""

from __future__ import annotations

import numpy as np

from recon_operators.tomography._cone_geometry import ConeGeometry, Floats
from recon_operators.tomography._plot import Sketch

__all__ = ["sketches"]


def sketches(geometry: ConeGeometry, view: int, name: str) -> tuple[Sketch, Sketch]:
    """Both panels, in the unit of the voxel size times `geometry.scale`."""
    n_z, n_y, n_x = geometry.volume_shape
    n_v, n_u = geometry.detector_shape
    h = geometry.scale
    first, middle, u, v = h * geometry.vectors[view].reshape(4, 3)
    row = middle + (np.arange(n_u) - (n_u - 1) / 2)[:, None] * u
    column = middle + (np.arange(n_v) - (n_v - 1) / 2)[:, None] * v
    beam = -first if geometry.parallel else middle - first
    flat = np.hypot(*beam[:2])
    along = beam[:2] / flat if flat > 1e-6 * np.linalg.norm(beam) else np.array([1.0, 0.0])

    def origins(bins: Floats) -> Floats:
        if geometry.parallel:
            away = 2 * np.linalg.norm(middle) + h * np.linalg.norm(geometry.volume_shape)
            return bins - beam / np.linalg.norm(beam) * away
        return np.broadcast_to(first, bins.shape)

    def sideways(points: Floats) -> Floats:
        return np.stack([points[..., :2] @ along, points[..., 2]], axis=-1)

    source = sideways(first)
    x, y, z = n_x * h / 2, n_y * h / 2, n_z * h / 2
    above = Sketch(
        half=(x, y),
        pixel=(h, h),
        detector=row[:, :2],
        origins=origins(row)[:, :2],
        source=None if geometry.parallel else (float(first[0]), float(first[1])),
        title=f"{name}, view {view}, from above: columns m",
    )
    beside = Sketch(
        half=(float(np.abs(along) @ [x, y]), z),
        pixel=(h, h),
        detector=sideways(column),
        origins=sideways(origins(column)),
        source=None if geometry.parallel else (float(source[0]), float(source[1])),
        title="from the side: rows n",
        labels=("beam", "z"),
        corner=f"slice {n_z - 1}",
    )
    return above, beside
