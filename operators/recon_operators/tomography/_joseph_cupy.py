"""2-D Joseph projection on CUDA devices (`_joseph.cu`): the table on the device, in the order that serves the caches.

The forward takes rays in tiles of 32 bins x 8 views: neighbouring views read the same pixels. The adjoint takes them
view by view in segments, runs of neighbouring bins whose positions are in order along every line of the image.
A thread has a few pixels of a line.
Memory: 48 bytes per ray, two copies of the images and one of the sinograms while it runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cupy
import numpy as np

from recon_operators._cuda import Kernels
from recon_operators.tomography._rays import Ints, Lines, RayTable

__all__ = ["CupyJoseph", "segments"]

_FILE = Path(__file__).with_name("_joseph.cu")
_TILE = (8, 32)
"""Views and bins whose rays run together: 256, one block."""

_PACK = 16
"""Bytes of the images of a batch that travel together, pixel by pixel side by side."""


_RUN = 4
"""Pixels of a line in one thread of the adjoint, which share the search for their rays."""


class _Table:
    """Rays of a `Lines` on the device: in tiles of views and bins, and view by view in segments."""

    def __init__(self, lines: Lines, bins: int, dtype: Any) -> None:
        view, bin_ = np.divmod(lines.rays, bins)
        order = np.lexsort((bin_ % _TILE[1], view % _TILE[0], bin_ // _TILE[1], view // _TILE[0]))
        self.transposed, self.count, self.length = lines.transposed, lines.count, lines.length
        self.size = lines.rays.size
        self.tiled = (
            cupy.asarray(lines.q0[order]),
            cupy.asarray(lines.dq[order]),
            cupy.asarray(lines.weight[order].astype(dtype)),
            cupy.asarray(lines.rays[order].astype(np.int32)),
        )
        self.ordered = cupy.asarray(lines.q0), cupy.asarray(lines.dq)
        self.segments = cupy.asarray(segments(lines, bins).astype(np.int32))


class CupyJoseph:
    """The two products on CuPy arrays with one batch axis, float32 or float64."""

    def __init__(self, table: RayTable, dtype: Any) -> None:
        self._image_shape, self._scan_shape = table.image_shape, (table.views, table.bins)
        self._rays, self._dtype = table.rays, np.dtype(dtype)
        most = _PACK // self._dtype.itemsize
        self._kernels = {images: Kernels(_FILE, dtype, IMAGES=images, RUN=_RUN) for images in (1, most)}
        self._tables = [_Table(lines, table.bins, dtype) for lines in table.lines]
        weight = np.empty(table.rays)
        for lines in table.lines:
            weight[lines.rays] = lines.weight
        self._weight = cupy.asarray(weight.reshape(self._scan_shape).astype(dtype))

    def apply(self, images: Any) -> Any:
        """(batch, N_y, N_x) -> (batch, views, bins)."""
        packs = _packed(images, max(self._kernels))
        number, *_, wide = packs.shape
        result = cupy.empty((number, *self._scan_shape, wide), self._dtype)
        for own in self._tables:
            turned = cupy.ascontiguousarray(cupy.swapaxes(packs, 1, 2) if own.transposed else packs)
            self._kernels[wide].launch(
                "forward", (own.size, number), (_TILE[0] * _TILE[1], 1),
                turned, own.count, own.length, *own.tiled, own.size, result, self._rays,
            )  # fmt: skip
        return _unpacked(result, len(images))

    def adjoint(self, sinograms: Any) -> Any:
        """(batch, views, bins) -> (batch, N_y, N_x)."""
        packs = _packed(sinograms * self._weight, max(self._kernels))
        number, *_, wide = packs.shape
        result = cupy.empty((number, *self._image_shape, wide), self._dtype)
        for add, own in enumerate(self._tables):
            strides = (1, own.count) if own.transposed else (own.length, 1)
            self._kernels[wide].launch(
                "adjoint", (own.count, -(-own.length // _RUN), number), (32, 8, 1),
                packs, self._rays, *own.ordered, own.segments, len(own.segments),
                result, own.count, own.length, *strides, add,
            )  # fmt: skip
        return _unpacked(result, len(sinograms))


def _packed(batch: Any, most: int) -> Any:
    """(batch, a, b) -> (packs, a, b, images of a pack); the last pack is filled up with zeros."""
    wide = 1 if len(batch) == 1 else most
    packs = -(-len(batch) // wide)
    full = batch
    if packs * wide > len(batch):
        full = cupy.zeros((packs * wide, *batch.shape[1:]), batch.dtype)
        full[: len(batch)] = batch
    return cupy.ascontiguousarray(cupy.moveaxis(full.reshape(packs, wide, *batch.shape[1:]), 1, -1))


def _unpacked(packs: Any, count: int) -> Any:
    """The inverse, for the first `count` of a batch."""
    batch = cupy.moveaxis(packs, -1, 1).reshape(-1, *packs.shape[1:-1])
    return batch[:count]


def segments(lines: Lines, bins: int) -> Ints:
    """Runs of neighbouring rays of one view whose positions rise, or fall, along every line: what a search needs.

    The distance of two neighbouring rays is linear in the line number. Its order is the same on all lines if its sign
    at both ends is, or if both distances change sign at the same place (lines on either side of the source of a fan).

    Returns
    -------
    array (segments, 3)
        First place and one past the last in the table, and ray number minus place.
    """
    last = lines.count - 1
    first_gap, last_gap = np.diff(lines.q0), np.diff(lines.q0 + last * lines.dq)
    scale = 1e-9 * (np.abs(first_gap) + np.abs(last_gap))
    sign = [np.where(np.abs(gap) <= scale, 0.0, np.sign(gap)) for gap in (first_gap, last_gap)]
    sign = [np.where(one == 0, other, one) for one, other in (sign, sign[::-1])]
    with np.errstate(divide="ignore", invalid="ignore"):
        turn = np.where(sign[0] * sign[1] < 0, last * first_gap / (first_gap - last_gap), -1.0)
    neighbours = (np.diff(lines.rays) == 1) & (np.diff(lines.rays // bins) == 0)
    alike = (np.diff(sign[0]) == 0) & (np.diff(sign[1]) == 0) & (np.abs(np.diff(turn)) <= 1e-9 * lines.count)
    broken = ~neighbours
    broken[1:] |= neighbours[:-1] & ~alike
    start = np.concatenate([[0], np.flatnonzero(broken) + 1])
    stop = np.append(start[1:], lines.rays.size)
    return np.stack([start, stop, lines.rays[start] - start], axis=1)
