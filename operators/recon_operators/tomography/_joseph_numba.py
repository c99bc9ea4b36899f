"""Joseph projection on the fly, compiled by numba: 16 neighbouring rays walk through the image together.

Ray j of a group meets line r at q_j(r) = q0_j + r dq_j (see `_rays`). Neighbours hit neighbouring pixels,
so z_j = q_j - j hardly depends on j: with b = floor(min_j z_j), every ray's two pixels are among b + j + o,
o = 0 ... k - 1, where k is small (3 at 0 degrees, 9 at 45 degrees, for bins as wide as pixels). Instead of
two loads at scattered places per ray and line, the kernel therefore does k contiguous loads for 16 rays,
with weights that vanish where they should:

    forward    p_j             += sum_o hat(z_j - b - o) f[r, b + j + o]
    adjoint    f[r, b + j + o] += hat(z_j - b - o) p_j     for o = 0 ... k - 1, one after another

The two use the same weights, so the adjoint is exact. No two threads write to one place and no sum depends
on how many there are: the forward owns groups of rays, the adjoint owns blocks of image lines. Positions
are float64 whatever the data; memory is about 40 bytes per ray and padded copies of the image. An infinite
or NaN pixel spoils also rays that pass within k pixels of it.
"""

# mypy: ignore-errors
# (numba infers the types of what it compiles)

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import prange

from recon_operators._compile_numba import jit, run
from recon_operators.tomography._lanes_numba import (
    WIDTH,
    add,
    hat,
    load,
    lower,
    multiply_add,
    position,
    store,
    zero,
)
from recon_operators.tomography._rays import Lines, RayTable

__all__ = ["NumbaJoseph"]

_SPREAD = 32
"""Largest spread of z_j within a group; wider groups (bins much wider than pixels) get fewer rays."""

_PAD = _SPREAD + WIDTH + 4
"""Zeros on both sides of every image line: a whole window fits in, so the kernels need no test."""

_TILE = 32
"""Image lines in one block: 64 KiB at 512 float32 pixels, so that a block stays in the cache of its core."""

_GROUPS = 256
"""Groups of rays in one block of the forward."""


class _Groups:
    """The rays of one `Lines` in groups of at most `WIDTH`; unused lanes repeat the last ray with value 0."""

    def __init__(self, lines: Lines, bins: int) -> None:
        end = lines.q0 + (lines.count - 1) * lines.dq
        view = lines.rays // bins
        order = np.lexsort((lines.q0 + end, view))  # by view, then by where the ray meets the middle line
        comb = _combed(view[order], (lines.q0 + end)[order] / 2)
        order, view = order[comb[0]], comb[1]
        q0, end = lines.q0[order], end[order]
        group, lane = _arrange(view, q0, end)
        slots = group * WIDTH + lane
        filled = np.maximum.accumulate(_scatter(slots, np.arange(slots.size), -1))
        ahead = np.arange(filled.size) - slots[filled]  # unused lanes go on in steps of one pixel
        offset = ahead - np.arange(filled.size) % WIDTH
        self.transposed, self.count, self.length = lines.transposed, lines.count, lines.length
        self.q0, self.dq = q0[filled] + offset, lines.dq[order][filled]
        self.bounds, self.span = self._limits(end[filled] + offset)
        self.slots, self.rays = slots, lines.rays[order]
        self.weight = lines.weight[order]
        self.work = slots.size * lines.count

    def _limits(self, end: Any) -> tuple[Any, Any]:
        """Per group, straight lines below and above all z_j(r), and the image lines that a ray may meet."""
        first, last = self.q0.reshape(-1, WIDTH), end.reshape(-1, WIDTH)
        steps = max(self.count - 1, 1)
        margin = 1e-9 * (self.count + self.length)  # rounding of q must not lead out of the window
        low, high = first.min(axis=1) - margin, first.max(axis=1) + margin
        low_step = (last.min(axis=1) - margin - low) / steps
        high_step = (last.max(axis=1) + margin - high) / steps
        start_a, stop_a = _positive(self.length - low, -low_step, self.count)  # low(r) < length
        start_b, stop_b = _positive(high + WIDTH, high_step, self.count)  # high(r) + WIDTH > 0
        span = np.stack([np.maximum(start_a, start_b), np.minimum(stop_a, stop_b)], axis=1)
        return np.stack([low, low_step, high, high_step], axis=1), np.ascontiguousarray(span)


def _combed(view: Any, middle: Any) -> tuple[Any, Any]:
    """Order and family of the rays of each view: every s-th ray, where s of them fall into one pixel.

    Neighbours in a group are then about a pixel apart whatever the width of the bins, and the window stays small.
    """
    first = np.flatnonzero(np.concatenate([[True], view[1:] != view[:-1]]))
    counts = np.diff(np.append(first, view.size))
    last = first + counts - 1
    gap = (middle[last] - middle[first]) / np.maximum(counts - 1, 1)
    stride = np.clip(np.rint(1.0 / np.maximum(gap, 1.0 / WIDTH)), 1, np.maximum(counts // WIDTH, 1)).astype(
        np.int64
    )
    place = np.arange(view.size) - np.repeat(first, counts)
    teeth = np.repeat(stride, counts)
    family = view * WIDTH + place % teeth  # stride <= WIDTH, so families of different views never meet
    order = np.lexsort((place // teeth, family))
    return order, family[order]


def _arrange(view: Any, first: Any, last: Any) -> tuple[Any, Any]:
    """Group number and lane of every ray; a group that spreads too far is halved until it does not."""
    start_of_view = np.concatenate([[True], view[1:] != view[:-1]])
    place = np.arange(view.size) - np.maximum.accumulate(np.where(start_of_view, np.arange(view.size), 0))
    lanes = np.full(view.size, WIDTH)
    while True:
        lane = place % lanes
        starts = np.flatnonzero(start_of_view | (lane == 0))
        group = np.cumsum(start_of_view | (lane == 0)) - 1
        wide = np.zeros(starts.size, dtype=bool)
        for q in (first, last):
            z = q - lane
            wide |= np.maximum.reduceat(z, starts) - np.minimum.reduceat(z, starts) > _SPREAD
        if not wide.any():
            return group, lane
        lanes = np.where(wide[group], lanes // 2, lanes)


def _scatter(places: Any, values: Any, rest: int) -> Any:
    """An array with `values` at `places` (ascending), filled up to whole groups with `rest`."""
    result = np.full((places[-1] // WIDTH + 1) * WIDTH, rest)
    result[places] = values
    return result


def _positive(value: Any, step: Any, count: int) -> tuple[Any, Any]:
    """First line and one past the last of those 0 ... count - 1 with value + r step > 0, or one too many."""
    with np.errstate(divide="ignore", invalid="ignore"):
        root = np.clip(np.nan_to_num(-value / step), -1, count + 1)
    start = np.where(step > 0, np.floor(root), np.where((step == 0) & (value <= 0), count, 0))
    stop = np.where(step < 0, np.ceil(root) + 1, count)
    return np.clip(start, 0, count).astype(np.int64), np.clip(stop, 0, count).astype(np.int64)


# -- kernels: image is flat, its lines padded; values holds one number per lane -----------------------


@jit()
def _window(bounds, c, first, stop):
    """The number k of offsets that group c needs on the lines first ... stop - 1."""
    at_first = bounds[c, 2] - bounds[c, 0] + first * (bounds[c, 3] - bounds[c, 1])
    at_last = bounds[c, 2] - bounds[c, 0] + (stop - 1) * (bounds[c, 3] - bounds[c, 1])
    return int(max(at_first, at_last)) + 3


@jit()
def _base(bounds, c, r, length):
    """The left end b of the window of group c on line r; a group far outside is kept on the padding."""
    return min(max(np.floor(bounds[c, 0] + r * bounds[c, 1]), -float(_PAD)), float(length))


@jit()
def _forward_block(image, length, q0, dq, bounds, span, values, start, stop):
    """Add the lines' contributions to the groups start ... stop - 1."""
    stride = length + 2 * _PAD
    for top in range(0, image.size // stride, _TILE):
        for c in range(start, stop):
            first, end = max(span[c, 0], top), min(span[c, 1], top + _TILE)
            if first >= end:
                continue
            k = _window(bounds, c, first, end)
            q, d, total = load(q0, c * WIDTH), load(dq, c * WIDTH), load(values, c * WIDTH)
            for r in range(first, end):
                base = _base(bounds, c, r, length)
                at = r * stride + _PAD + int(base)
                z = position(q, r, d, base, image)
                value = zero(image)
                for o in range(k):
                    value = multiply_add(hat(z), load(image, at + o), value)
                    z = lower(z)
                total = add(total, value)
            store(values, c * WIDTH, total)


@jit()
def _adjoint_block(values, length, q0, dq, bounds, span, image, top):
    """Add the contributions of all groups to the image lines top ... top + _TILE - 1."""
    stride = length + 2 * _PAD
    z_of = np.empty(_TILE * WIDTH, image.dtype)
    place = np.empty(_TILE, np.int64)
    for c in range(span.shape[0]):
        first, end = max(span[c, 0], top), min(span[c, 1], top + _TILE)
        if first >= end:
            continue
        k = _window(bounds, c, first, end)
        q, d, value = load(q0, c * WIDTH), load(dq, c * WIDTH), load(values, c * WIDTH)
        for r in range(first, end):
            base = _base(bounds, c, r, length)
            place[r - first] = r * stride + _PAD + int(base)
            store(z_of, (r - first) * WIDTH, position(q, r, d, base, image))
        # Offsets outside, lines inside: windows of successive offsets overlap, and a processor stalls when
        # it loads what it has not yet finished storing. In between it now has the other lines to do.
        for o in range(k):
            for t in range(end - first):
                z = load(z_of, t * WIDTH)
                at = place[t] + o
                store(image, at, multiply_add(hat(z), value, load(image, at)))
                store(z_of, t * WIDTH, lower(z))


@jit()
def _forward_serial(image, length, q0, dq, bounds, span, values):
    for start in range(0, span.shape[0], _GROUPS):
        _forward_block(
            image, length, q0, dq, bounds, span, values, start, min(start + _GROUPS, span.shape[0])
        )


@jit(parallel=True)
def _forward_parallel(image, length, q0, dq, bounds, span, values):
    for block in prange((span.shape[0] + _GROUPS - 1) // _GROUPS):
        start = block * _GROUPS
        _forward_block(
            image, length, q0, dq, bounds, span, values, start, min(start + _GROUPS, span.shape[0])
        )


@jit()
def _adjoint_serial(values, length, q0, dq, bounds, span, image):
    for top in range(0, image.size // (length + 2 * _PAD), _TILE):
        _adjoint_block(values, length, q0, dq, bounds, span, image, top)


@jit(parallel=True)
def _adjoint_parallel(values, length, q0, dq, bounds, span, image):
    count = image.size // (length + 2 * _PAD)
    for block in prange((count + _TILE - 1) // _TILE):
        _adjoint_block(values, length, q0, dq, bounds, span, image, block * _TILE)


class NumbaJoseph:
    """The two products on NumPy arrays with one batch axis, float32 or float64."""

    def __init__(self, table: RayTable, dtype: Any) -> None:
        self._image_shape, self._scan_shape = table.image_shape, (table.views, table.bins)
        self._dtype = np.dtype(dtype)
        self._groups = [_Groups(lines, table.bins) for lines in table.lines]
        for groups in self._groups:
            groups.weight = groups.weight.astype(self._dtype)
        self._ahead, self._back = _Spare(self._buffers), _Spare(self._buffers)

    def _buffers(self) -> list[tuple[Any, Any]]:
        """Padded image and lanes of each part, zero."""
        return [
            (
                np.zeros((groups.count, groups.length + 2 * _PAD), self._dtype),
                np.zeros(groups.q0.size, self._dtype),
            )
            for groups in self._groups
        ]

    def apply(self, images: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """(batch, N_y, N_x) -> (batch, views, bins)."""
        result = np.empty((len(images), *self._scan_shape), self._dtype)
        with self._ahead as buffers:
            for image, sinogram in zip(images, result, strict=True):
                flat = sinogram.reshape(-1)
                for groups, (padded, values) in zip(self._groups, buffers, strict=True):
                    padded[:, _PAD:-_PAD] = image.T if groups.transposed else image  # the padding stays 0
                    values.fill(0)
                    table = (groups.length, groups.q0, groups.dq, groups.bounds, groups.span)
                    run(groups.work, _forward_serial, _forward_parallel, padded.reshape(-1), *table, values)
                    flat[groups.rays] = values[groups.slots] * groups.weight
        return result

    def adjoint(self, sinograms: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """(batch, views, bins) -> (batch, N_y, N_x)."""
        result = np.zeros((len(sinograms), *self._image_shape), self._dtype)
        with self._back as buffers:
            for sinogram, image in zip(sinograms, result, strict=True):
                flat = sinogram.reshape(-1)
                for groups, (padded, values) in zip(self._groups, buffers, strict=True):
                    values[groups.slots] = flat[groups.rays] * groups.weight  # unused lanes stay 0
                    padded.fill(0)
                    table = (groups.length, groups.q0, groups.dq, groups.bounds, groups.span)
                    run(groups.work, _adjoint_serial, _adjoint_parallel, values, *table, padded.reshape(-1))
                    inner = padded[:, _PAD:-_PAD]
                    image += inner.T if groups.transposed else inner
        return result


class _Spare:
    """Working memory that is kept for the next call; calls at the same time get memory of their own.

    Fresh memory is handed out page by page as it is first written, one thread at a time: with two threads that
    took as long as the second one saved.
    """

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make, self._idle, self._busy = make, [], threading.local()

    def __enter__(self) -> Any:
        try:
            self._busy.buffers = self._idle.pop()  # safe from several threads: one bytecode
        except IndexError:
            self._busy.buffers = self._make()
        return self._busy.buffers

    def __exit__(self, *failure: object) -> None:
        self._idle.append(self._busy.buffers)
        del self._busy.buffers
