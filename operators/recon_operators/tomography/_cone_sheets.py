"""The sheets of a 3-D scan: the rays of one detector column, where they lie above each other.

If the rows of the detector are stacked along z (v_x = v_y = 0), all rays of a column share their path seen from above.
On line j of the axis that drives them (r or c) they are at one place of the other axis, and at equal steps in z:

    q(j) = q0 + j dq,          k_n(j) = (k0 + j dk) + n (s0 + j ds)          for row n, counted so that k grows with n
    l_n  = sqrt(l0^2 + (l1 + n l2)^2)

So one line of a table stands for a whole column of bins: 96 bytes. Columns with a ray that z drives, and every column
of a detector that leans, are no sheets.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from recon_operators.tomography._cone_geometry import ConeGeometry, Floats, Ints

__all__ = ["Sheets", "sheets"]


@dataclass(frozen=True)
class Sheets:
    """The sheets of a scan that one axis of the volume drives.

    Parameters
    ----------
    axis
        1: lines are rows r and q is a column c. 2: the other way round.
    count, length
        Number of lines, and of voxels along each.
    columns
        Flat number (view * N_u + m) of each detector column, ascending.
    table
        (sheets, 9): q0, dq, k0, dk, s0, ds, l0, l1, l2.
    span
        (sheets, 2): first line, and one past the last, that the sheet may meet.
    """

    axis: int
    count: int
    length: int
    columns: Ints
    table: Floats
    span: Ints


def sheets(geometry: ConeGeometry) -> tuple[tuple[Sheets, ...], Ints, Any]:
    """The sheets of both axes, the detector columns that are no sheets, and whether each view has its rows downward."""
    _, n_y, n_x = geometry.volume_shape
    n_u = geometry.detector_shape[1]
    table, upright, steep = _table(geometry)
    found = []
    for axis, count, length in ((1, n_y, n_x), (2, n_x, n_y)):
        columns = np.flatnonzero(upright & (steep == (axis == 1)))
        rows = table[columns]
        span = _span(rows[:, 0], rows[:, 1], count, length)
        ahead = _steps_stay_positive(rows, span)
        upright[columns[~ahead]] = False
        if ahead.any():
            found.append(Sheets(axis, count, length, columns[ahead], rows[ahead], span[ahead]))
    downward = np.repeat(geometry.vectors[:, 11] < 0, n_u) & upright
    return tuple(found), np.flatnonzero(~upright), downward


def _table(geometry: ConeGeometry) -> tuple[Floats, Any, Any]:
    """For each detector column its line of the table, whether it is a sheet, and whether rows r drive it."""
    n_z, n_y, n_x = geometry.volume_shape
    n_v, n_u = geometry.detector_shape
    first, middle, u, v = np.moveaxis(geometry.vectors.reshape(-1, 4, 1, 3), 1, 0)
    a = (np.arange(n_u) - (n_u - 1) / 2)[None, :, None]
    start = middle + a * u if geometry.parallel else first + 0 * a
    d = first + 0 * a if geometry.parallel else (middle - first) + a * u
    p_r, p_c = (n_y - 1) / 2 - start[..., 1], start[..., 0] + (n_x - 1) / 2
    d_r, d_c = -d[..., 1], d[..., 0]
    steep = np.abs(d_r) >= np.abs(d_c)
    drive, side = np.where(steep, d_r, d_c), np.where(steep, d_c, d_r)
    p_drive, p_side = np.where(steep, p_r, p_c), np.where(steep, p_c, p_r)

    low = -(n_v - 1) / 2 * np.abs(v[..., 2])  # of row 0 when rows are counted upward
    p_z = start[..., 2] + (n_z - 1) / 2 + (low if geometry.parallel else 0)
    d_z = d[..., 2] + (0 if geometry.parallel else low)
    d_n = np.abs(v[..., 2]) * np.ones_like(drive)
    steepest = np.abs(d_z) if geometry.parallel else np.maximum(np.abs(d_z), np.abs(d_z + (n_v - 1) * d_n))
    upright = (v[..., 0] == 0) & (v[..., 1] == 0) & (v[..., 2] != 0) & (steepest <= np.abs(drive))

    drive = np.where(upright, drive, 1.0)
    rise = np.zeros_like(drive) if geometry.parallel else d_n / drive
    h = geometry.scale / np.abs(drive)
    columns = [
        p_side - p_drive * (side / drive),
        side / drive,
        p_z - p_drive * (d_z / drive),
        d_z / drive,
        d_n if geometry.parallel else -p_drive * rise,
        rise,
        np.hypot(drive, side) * h,
        d_z * h,
        np.zeros_like(drive) if geometry.parallel else d_n * h,
    ]
    return np.stack(columns, axis=-1).reshape(-1, 9), upright.reshape(-1), steep.reshape(-1)


def _span(q0: Floats, dq: Floats, count: int, length: int) -> Ints:
    """First line and one past the last with -1 < q0 + j dq < length, or a line too many at either end."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ends = np.stack([(-1 - q0) / dq, (length - q0) / dq], axis=-1)
    flat = np.abs(dq) < 1e-12
    inside = (q0 > -1 - 1e-9 * count) & (q0 < length + 1e-9 * count)
    ends[flat] = np.where(inside[flat, None], (0.0, count), (0.0, -2.0))
    first = np.clip(np.floor(ends.min(axis=-1)), 0, count)
    stop = np.clip(np.ceil(ends.max(axis=-1)) + 1, first, count)
    return np.stack([first, stop], axis=-1).astype(np.int64)


def _steps_stay_positive(table: Floats, span: Ints) -> Any:
    """Whether the source lies before all lines that a sheet meets (behind it rows would be upside down)."""
    at = [table[:, 4] + line * table[:, 5] for line in (span[:, 0], span[:, 1] - 1)]
    return (np.minimum(*at) > 0) | (span[:, 0] == span[:, 1])
