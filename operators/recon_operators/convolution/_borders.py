"""What lies outside the image: a border written around it, and the exact transpose, which adds the border back.

extend   E x: the image with `before` and `after` more entries along each axis, and zeros up to `total`
fold     E^T y

periodic    ... c d | a b c d | a b ...        reflect     ... c b | a b c d | c b ...
symmetric   ... b a | a b c d | d c ...        zero        ... 0 0 | a b c d | 0 0 ...
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import numpy as np

from recon.arrays import device_of, namespace

__all__ = ["Border", "Boundary", "crop"]

Boundary: TypeAlias = Literal["periodic", "zero", "reflect", "symmetric", "valid"]
_Piece: TypeAlias = tuple[slice, slice, bool]  # where in the border, what of the image, reversed or not


class Border:
    """E and E^T for one shape of image.

    Parameters
    ----------
    shape
        Of the image: the last axes of the arrays.
    before, after
        Widths along each axis.
    boundary
        What the border holds.
    total
        Axes of the extended array; by default exactly image and border.
    """

    def __init__(
        self,
        shape: Sequence[int],
        before: Sequence[int],
        after: Sequence[int],
        boundary: Boundary,
        total: Sequence[int] | None = None,
    ) -> None:
        sides = list(zip(shape, before, after, strict=True))
        self.total = tuple(total or (n + b + a for n, b, a in sides))
        self.core = tuple(slice(b, b + n) for n, b, _ in sides)
        self.pieces = [_pieces(n, b, a, boundary) for n, b, a in sides]

    def extend(self, x: Any) -> Any:
        """E x, a new array."""
        xp = namespace(x)
        batch = x.shape[: x.ndim - len(self.total)]
        out = xp.zeros((*batch, *self.total), dtype=x.dtype, device=device_of(x))
        out[(..., *self.core)] = x
        for axis, pieces in enumerate(self.pieces):
            for border, inside, reverse in pieces:
                part = out[self._along(axis, inside)]
                out[self._along(axis, border)] = (
                    xp.flip(part, axis=axis - len(self.total)) if reverse else part
                )
        return out

    def fold(self, y: Any) -> Any:
        """E^T y; y is the caller's own and is overwritten."""
        xp = namespace(y)
        for axis in reversed(range(len(self.total))):
            for border, inside, reverse in self.pieces[axis]:
                part = y[self._along(axis, border)]
                y[self._along(axis, inside)] += (
                    xp.flip(part, axis=axis - len(self.total)) if reverse else part
                )
        return crop(y, self.core)

    def _along(self, axis: int, part: slice) -> tuple[Any, ...]:
        return (..., part, *(slice(None) for _ in range(len(self.total) - axis - 1)))

    def square_norm(self) -> float:
        """||E||^2: how often the most repeated pixel occurs."""
        most = 1
        for core, pieces in zip(self.core, self.pieces, strict=True):
            count = np.ones(core.stop, int)
            for _, inside, _ in pieces:
                count[inside] += 1
            most *= int(count[core].max())
        return float(most)


def crop(x: Any, part: Sequence[slice]) -> Any:
    """Part of the last axes, as an array of its own: a view would keep the larger one alive."""
    sizes = x.shape[x.ndim - len(part) :]
    if all(s.start in (0, None) and s.stop == n for s, n in zip(part, sizes, strict=True)):
        return x
    return namespace(x).astype(x[(..., *part)], x.dtype, copy=True)


def _pieces(n: int, before: int, after: int, boundary: Boundary) -> list[_Piece]:
    """The border of one axis, cut into runs that are a piece of the image, straight or reversed."""
    if boundary in ("zero", "valid"):
        return []
    outside = np.concatenate([np.arange(-before, 0), np.arange(n, n + after)])
    if boundary == "periodic":
        source = outside % n
    elif boundary == "symmetric":
        source = np.minimum(outside % (2 * n), 2 * n - 1 - outside % (2 * n))
    else:
        period = max(2 * (n - 1), 1)
        source = np.minimum(outside % period, (period - outside) % period) if n > 1 else 0 * outside
    pieces: list[_Piece] = []
    start = 0
    while start < outside.size:
        stop, step = _run(outside, source, start)
        low, high = sorted((int(source[start]), int(source[stop - 1])))
        place = int(outside[start]) + before
        pieces.append(
            (
                slice(place, place + stop - start),
                slice(low + before, high + 1 + before),
                step < 0,
            )
        )
        start = stop
    return pieces


def _run(outside: Any, source: Any, start: int) -> tuple[int, int]:
    """The end of the run that begins at `start`, and its direction."""
    stop, step = start + 1, 0
    while stop < outside.size and outside[stop] == outside[stop - 1] + 1:
        move = int(source[stop] - source[stop - 1])
        if abs(move) != 1 or step not in (0, move):
            break
        step, stop = move, stop + 1
    return stop, step
