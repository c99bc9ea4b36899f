"""The engine of the 3-D beams on the CPU: copies that suit the kernels, and which kernel serves which detector column.

    volume   (N_y + 3, N_x + 3, N_z + zeros on both sides): z fastest, a zero voxel before each slice, two behind
    rows     (views * N_u, N_v + zeros on both sides): one detector column each, its row number counted upward

Detector columns that are sheets (`_cone_sheets`) go to `_cone_sheets_numba`, the others to `_cone_groups_numba`, five
to ten times as dear. Memory beyond the data: these two copies, and 120 bytes per detector column.
"""

# mypy: ignore-errors
# (numba infers the types of what it compiles)

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import prange

from recon_operators._compile_numba import jit, run
from recon_operators.tomography import _cone_groups_numba, _cone_sheets_numba
from recon_operators.tomography._cone_geometry import ConeGeometry
from recon_operators.tomography._cone_sheets import sheets
from recon_operators.tomography._cone_sheets_numba import PAD

__all__ = ["NumbaCone"]

_COST_OF_A_RAY = 4  # per plane, that of a sheet being 1


class NumbaCone:
    """The two products on NumPy arrays with one batch axis, float32 or float64."""

    def __init__(self, geometry: ConeGeometry, dtype: Any) -> None:
        self._geometry, self._dtype = geometry, np.dtype(dtype)
        self._sheets, self._others, downward = sheets(geometry)
        n_z, n_y, n_x = geometry.volume_shape
        n_v, n_u = geometry.detector_shape
        self._padded = (n_y + 3, n_x + 3, -(-n_z // PAD) * PAD + 2 * PAD)
        self._rows = (geometry.views * n_u, n_v + 2 * PAD)
        _, side, stride = self._padded
        corner = side * stride + stride + PAD
        self._layout = (corner, 1, side * stride, stride, *geometry.volume_shape, *geometry.detector_shape)
        self._lengths = np.zeros((geometry.views * n_u, 3))
        self._lengths[:, 0] = 1.0  # rays that are no sheets bring their own
        for part in self._sheets:
            self._lengths[part.columns] = part.table[:, 6:]
        self._downward = downward
        self._work = geometry.views * n_u * n_v * max(n_y, n_x)

    def apply(self, volumes: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """(batch, N_z, N_y, N_x) -> (batch, views, N_v, N_u)."""
        geometry = self._geometry
        result = np.empty((len(volumes), geometry.views, *geometry.detector_shape), self._dtype)
        padded = np.zeros(self._padded, self._dtype)
        for volume, data in zip(volumes, result, strict=True):
            run(volume.size, _stand_serial, _stand_parallel, np.ascontiguousarray(volume), padded)
            rows = np.zeros(self._rows, self._dtype)
            self._project(0, padded, rows)
            run(data.size, _to_data_serial, _to_data_parallel, rows, self._lengths, self._downward, data)
        return result

    def adjoint(self, data: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """(batch, views, N_v, N_u) -> (batch, N_z, N_y, N_x)."""
        result = np.empty((len(data), *self._geometry.volume_shape), self._dtype)
        rows = np.zeros(self._rows, self._dtype)
        for one, volume in zip(data, result, strict=True):
            one = np.ascontiguousarray(one)
            run(one.size, _to_rows_serial, _to_rows_parallel, one, self._lengths, self._downward, rows)
            padded = np.zeros(self._padded, self._dtype)
            self._project(1, padded, rows)
            run(volume.size, _lie_serial, _lie_parallel, padded, volume)
        return result

    def _project(self, way: int, padded: Any, rows: Any) -> None:
        """Forward (0): volume to rows. Adjoint (1): rows to volume."""
        _, _, row, column, n_z, _, _, n_v, _ = self._layout
        for part in self._sheets:
            strides = (row, column) if part.axis == 1 else (column, row)
            shape = (part.count, part.length, n_z, n_v)
            serial, parallel = (_cone_sheets_numba.forward, _cone_sheets_numba.adjoint)[way]
            args = (part.table, part.span, part.columns, rows.reshape(-1))
            run(self._work, serial, parallel, padded.reshape(-1), strides, shape, *args)
        if self._others.size:
            geometry = self._geometry
            serial, parallel = (_cone_groups_numba.forward, _cone_groups_numba.adjoint)[way]
            args = (geometry.vectors, geometry.parallel, geometry.scale, self._layout)
            work = _COST_OF_A_RAY * self._work
            run(work, serial, parallel, padded.reshape(-1), rows.reshape(-1), self._others, *args)


# -- copies: 16 of the strided numbers at a time, so that their cache lines are used in full ----------------------


@jit()
def _stand(volume, padded, r):
    """Slab r, (N_z, N_x), with z fastest."""
    n_z, _, n_x = volume.shape
    for k in range(0, n_z, PAD):
        for c in range(n_x):
            for one in range(k, min(k + PAD, n_z)):
                padded[r + 1, c + 1, PAD + one] = volume[one, r, c]


@jit()
def _lie(padded, volume, r):
    """The reverse."""
    n_z, _, n_x = volume.shape
    for k in range(0, n_z, PAD):
        for c in range(n_x):
            for one in range(k, min(k + PAD, n_z)):
                volume[one, r, c] = padded[r + 1, c + 1, PAD + one]


@jit()
def _to_data(rows, lengths, downward, data, view):
    """Multiply the columns of a view with the lengths of their rays, and write them to it."""
    n_v, n_u = data.shape[1:]
    length = np.empty(n_v, data.dtype)
    for m in range(n_u):
        column = view * n_u + m
        _length(lengths[column], length)
        for n in range(n_v):
            row = n_v - 1 - n if downward[column] else n
            data[view, row, m] = rows[column, PAD + n] * length[n]


@jit()
def _to_rows(data, lengths, downward, rows, view):
    """The transpose of `_to_data`."""
    n_v, n_u = data.shape[1:]
    length = np.empty(n_v, data.dtype)
    for m in range(n_u):
        column = view * n_u + m
        _length(lengths[column], length)
        for n in range(n_v):
            row = n_v - 1 - n if downward[column] else n
            rows[column, PAD + n] = data[view, row, m] * length[n]


@jit()
def _length(line, length):
    for n in range(length.size):
        length[n] = math.sqrt(line[0] * line[0] + (line[1] + n * line[2]) * (line[1] + n * line[2]))


@jit()
def _stand_serial(volume, padded):
    for r in range(volume.shape[1]):
        _stand(volume, padded, r)


@jit(parallel=True)
def _stand_parallel(volume, padded):
    for r in prange(volume.shape[1]):
        _stand(volume, padded, r)


@jit()
def _lie_serial(padded, volume):
    for r in range(volume.shape[1]):
        _lie(padded, volume, r)


@jit(parallel=True)
def _lie_parallel(padded, volume):
    for r in prange(volume.shape[1]):
        _lie(padded, volume, r)


@jit()
def _to_data_serial(rows, lengths, downward, data):
    for view in range(data.shape[0]):
        _to_data(rows, lengths, downward, data, view)


@jit(parallel=True)
def _to_data_parallel(rows, lengths, downward, data):
    for view in prange(data.shape[0]):
        _to_data(rows, lengths, downward, data, view)


@jit()
def _to_rows_serial(data, lengths, downward, rows):
    for view in range(data.shape[0]):
        _to_rows(data, lengths, downward, rows, view)


@jit(parallel=True)
def _to_rows_parallel(data, lengths, downward, rows):
    for view in prange(data.shape[0]):
        _to_rows(data, lengths, downward, rows, view)
