"""Two engines for sum_j C_{h_j} diag(w_j): whole images, or tiles where the weights are local.

    whole   y = S F^-1 sum_j diag(hhat_j) F E w_j x       J + 1 transforms of the image
    tiles   y = S sum_t shift_t C_{h_j(t)} (E w_j E x)[tile t]    two transforms per tile

A tile is a box that holds the support of one E w_j, or of one of its separate pieces. Both have exact adjoints,
built from the transposes of their steps in reverse order.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from recon.arrays import Array, device_of, namespace
from recon.constants import follow
from recon.fft import fast_length
from recon_operators.convolution import _spectrum
from recon_operators.convolution._borders import Border, Boundary, crop
from recon_operators.convolution._fourier import Grid, Layout
from recon_operators.convolution._kernel import Floats, transfer_function

__all__ = ["TilePlan", "Tiling", "WholePlan"]


class WholePlan:
    """All terms on the whole image, summed in the spectrum."""

    def __init__(
        self, parts: Layout, kernels: Floats, weights: Floats, half: bool, xp: Any, device: Any, dtype: Any
    ) -> None:
        self.grid, self.border = Grid(parts.lengths, half), parts.border
        self.image = tuple(slice(0, n) for n in parts.image)
        self.data = tuple(slice(0, n) for n in parts.data)
        self.terms = -len(parts.image) - 1  # their axis
        transfer = transfer_function(kernels, parts.origin, parts.lengths, half)
        self.transfer = follow(transfer, xp, device, dtype)
        self.conjugate = follow(transfer.conj(), xp, device, dtype)
        self.weights = follow(weights, xp, device, dtype)
        self.weights_adjoint = follow(weights.conj(), xp, device, dtype)

    def apply(self, x: Array) -> Array:
        weighted = namespace(x).expand_dims(x, axis=self.terms) * self.weights
        spectra = self.grid.forward(self.border.extend(weighted) if self.border else weighted)
        return crop(self.grid.inverse(_spectrum.combine(spectra, self.transfer)), self.data)

    def adjoint(self, y: Array) -> Array:
        terms = self.grid.inverse(_spectrum.expand(self.grid.forward(y), self.conjugate))
        terms = self.border.fold(terms) if self.border else crop(terms, self.image)
        return namespace(y).sum(terms * self.weights_adjoint, axis=self.terms)


class Tiling:
    """Where the tiles lie on the extended image, and how large they are."""

    def __init__(
        self,
        image: tuple[int, ...],
        kernel: tuple[int, ...],
        center: Any,
        boundary: Boundary,
        weights: Floats,
    ) -> None:
        ndim = len(image)
        centers = np.asarray(center)
        before, after = [0] * ndim, [0] * ndim
        if boundary == "valid":
            self.origin = np.zeros_like(centers)
            self.start = tuple(k - 1 for k in kernel)
        else:
            before = [k - 1 - int(c) for k, c in zip(kernel, centers.min(axis=0), strict=True)]
            after = [int(c) for c in centers.max(axis=0)]
            self.origin = centers - after  # every kernel moved so that the centres meet
            self.start = tuple(b + a for b, a in zip(before, after, strict=True))
        reach = np.array(kernel) - 1 - self.origin.min(axis=0)
        extended = Border(image, before, after, boundary)
        spread = extended.extend(weights)
        boxes = [(j, box) for j, weight in enumerate(spread) for box in _boxes(weight != 0)]
        self.size = tuple(max(box[k].stop - box[k].start for _, box in boxes) for k in range(ndim))
        self.corners = [(j, tuple(s.start for s in box)) for j, box in boxes]
        room = tuple(n + t for n, t in zip(extended.total, self.size, strict=True))
        self.border = Border(image, before, after, boundary, room)
        self.weights = np.zeros((len(boxes), *self.size), weights.dtype)
        for tile, (j, box) in zip(self.weights, boxes, strict=True):
            tile[tuple(slice(0, s.stop - s.start) for s in box)] = spread[(j, *box)]
        self.result = tuple(int(t + r) for t, r in zip(self.size, reach, strict=True))
        self.lengths = tuple(fast_length(n, real=True) for n in self.result)

    @property
    def cost(self) -> int:
        """Entries to transform in one product."""
        return 2 * len(self.corners) * math.prod(self.lengths)


def _boxes(mask: Any) -> Iterator[tuple[slice, ...]]:
    """Boxes that hold the support of a mask: per axis, every run of its shadow."""
    runs = []
    for axis in range(mask.ndim):
        shadow = mask.any(axis=tuple(k for k in range(mask.ndim) if k != axis))
        edges = np.flatnonzero(np.diff(np.concatenate([[0], shadow.astype(int), [0]])))
        runs.append([slice(int(a), int(b)) for a, b in edges.reshape(-1, 2)])
    return (box for box in itertools.product(*runs) if mask[box].any())


class TilePlan:
    """Overlap and add: every tile weighted, convolved and put back."""

    def __init__(
        self,
        tiling: Tiling,
        data: tuple[int, ...],
        kernels: Floats,
        half: bool,
        xp: Any,
        device: Any,
        dtype: Any,
    ) -> None:
        self.tiling, self.grid = tiling, Grid(tiling.lengths, half)
        transfer = transfer_function(kernels, tiling.origin, tiling.lengths, half)
        transfer = transfer[[j for j, _ in tiling.corners]]
        self.transfer = follow(transfer, xp, device, dtype)
        self.conjugate = follow(transfer.conj(), xp, device, dtype)
        self.weights = follow(tiling.weights, xp, device, dtype)
        self.weights_adjoint = follow(tiling.weights.conj(), xp, device, dtype)
        self.seen = tuple(slice(s, s + n) for s, n in zip(tiling.start, data, strict=True))
        self.room = tuple(n + r for n, r in zip(tiling.border.total, tiling.result, strict=True))
        self.stack = -len(data) - 1

    def apply(self, x: Array) -> Array:
        tiles = self._cut(self.tiling.border.extend(x), self.tiling.size) * self.weights
        spectra = _spectrum.multiply(self.grid.forward(tiles), self.transfer)
        result = self._add(self.grid.inverse(spectra), self.tiling.result, self.room)
        return crop(result, self.seen)

    def adjoint(self, y: Array) -> Array:
        xp = namespace(y)
        whole = xp.zeros((*y.shape[: self.stack + 1], *self.room), dtype=y.dtype, device=device_of(y))
        whole[(..., *self.seen)] = y
        spectra = self.grid.forward(self._cut(whole, self.tiling.result))
        tiles = self.grid.inverse(_spectrum.multiply(spectra, self.conjugate))
        tiles = crop(tiles, tuple(slice(0, n) for n in self.tiling.size)) * self.weights_adjoint
        return self.tiling.border.fold(self._add(tiles, self.tiling.size, self.tiling.border.total))

    def _places(self, size: tuple[int, ...]) -> Iterator[tuple[Any, ...]]:
        for _, corner in self.tiling.corners:
            yield (..., *(slice(c, c + n) for c, n in zip(corner, size, strict=True)))

    def _cut(self, x: Array, size: tuple[int, ...]) -> Array:
        return namespace(x).stack([x[place] for place in self._places(size)], axis=self.stack)

    def _add(self, tiles: Array, size: tuple[int, ...], total: tuple[int, ...]) -> Array:
        xp = namespace(tiles)
        shape = (*tiles.shape[: self.stack], *total)
        out = xp.zeros(shape, dtype=tiles.dtype, device=device_of(tiles))
        inside = tuple(slice(0, n) for n in size)
        for t, place in enumerate(self._places(size)):
            out[place] += tiles[(..., t, *inside)]
        return out
