"""Joseph projection as a SciPy sparse matrix of the same weights: what serves where numba is missing.

    A[ray, (r, i)] = l hat(q0 + r dq - i)        two entries per ray and line at most

Memory about 1.6 (itemsize + 4) bytes per ray and line, twice that while it is built: 600 MB for 512 x 512
pixels, 180 views, 512 bins in float32. The products cost one pass over that memory.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse

from recon.errors import KernelError
from recon_operators.tomography._rays import Lines, RayTable

__all__ = ["SparseJoseph", "joseph_matrix"]

LIMIT = 2**30
"""Largest matrix in bytes that is built without being asked to."""

_BLOCK = 2**21
"""Entries that are worked on at once while building: bounds the temporary memory to some 100 MB."""


def joseph_matrix(table: RayTable, dtype: Any = np.float64, limit: int = LIMIT) -> scipy.sparse.csr_array:
    """The matrix of shape (rays, pixels).

    Raises
    ------
    KernelError
        When it could take more than `limit` bytes.
    """
    entries = sum(2 * lines.rays.size * lines.count for lines in table.lines)
    size = entries * (np.dtype(dtype).itemsize + 4)
    if size > limit:
        raise KernelError(
            f"The matrix of this scan must be at most {limit / 2**20:.0f} MiB, got up to "
            f"{size / 2**20:.0f} MiB. Install numba (pip install numba), which needs no "
            "matrix, or take fewer views or pixels."
        )
    blocks, order = [], []
    for lines in table.lines:
        step = max(1, _BLOCK // (2 * lines.count))
        for start in range(0, lines.rays.size, step):
            part = slice(start, start + step)
            blocks.append(_block(lines, part, table.image_shape, dtype))
            order.append(lines.rays[part])
    stacked = scipy.sparse.vstack(blocks, format="csr")
    del blocks
    return stacked[np.argsort(np.concatenate(order))]


def _block(lines: Lines, part: slice, image_shape: tuple[int, int], dtype: Any) -> scipy.sparse.csr_array:
    """The rows of some rays."""
    line = np.arange(lines.count)
    q = lines.q0[part, None] + line * lines.dq[part, None]
    left = np.floor(np.clip(q, -2, lines.length + 1))
    share = q - left
    pixel = np.stack([left, left + 1], axis=-1).astype(np.int64)
    value = np.stack([1 - share, share], axis=-1) * lines.weight[part, None, None]
    inside = (pixel >= 0) & (pixel < lines.length) & (value > 0)
    across = np.broadcast_to(line[:, None], pixel.shape)
    row, column = (pixel, across) if lines.transposed else (across, pixel)
    flat = (row * image_shape[1] + column)[inside].astype(np.int32)
    starts = np.concatenate([[0], np.cumsum(inside.sum(axis=(1, 2)))])
    shape = (q.shape[0], image_shape[0] * image_shape[1])
    return scipy.sparse.csr_array((value[inside].astype(dtype), flat, starts), shape=shape)


class SparseJoseph:
    """The two products on NumPy arrays with one batch axis, through the matrix."""

    def __init__(self, table: RayTable, dtype: Any) -> None:
        self._image_shape, self._scan_shape = table.image_shape, (table.views, table.bins)
        self._matrix = joseph_matrix(table, dtype)

    def apply(self, images: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """(batch, N_y, N_x) -> (batch, views, bins)."""
        flat = images.reshape(len(images), -1)
        return np.ascontiguousarray((self._matrix @ flat.T).T).reshape(len(images), *self._scan_shape)

    def adjoint(self, sinograms: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """(batch, views, bins) -> (batch, N_y, N_x)."""
        flat = sinograms.reshape(len(sinograms), -1)
        return np.ascontiguousarray((self._matrix.T @ flat.T).T).reshape(len(sinograms), *self._image_shape)
