"""Poisson-disc sampling of a plane by throwing darts, with a distance that varies from place to place.

places in random order: take p unless it lies closer than r(q) to a place q already taken
r(q) = r_0 radius(q), r_0 by bisection on the number of places taken
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np

__all__ = ["dart_places", "throw_darts"]

Floats = np.ndarray[Any, np.dtype[np.float64]]
Mask = np.ndarray[Any, np.dtype[np.bool_]]


def throw_darts(radius: Floats, allowed: Mask, count: int, rng: np.random.Generator) -> Mask:
    """Exactly `count` of the allowed places, no two closer than the smaller of their r_0 radius(k).

    Parameters
    ----------
    radius
        Relative distance wanted at every place of the plane.
    allowed
        Where places may be taken.
    count
        How many; no more than are allowed.
    rng
        Gives the order of the darts, the same for every r_0.
    """
    order = rng.permutation(np.flatnonzero(allowed))
    if not count:
        return np.zeros_like(allowed)
    # r_0 <= 1 / max(radius) forbids nothing; one disc of area pi (r_0 radius)^2 / 4 per place is too much.
    low, high = 1 / float(radius.max()), 4 * math.sqrt(float((allowed / radius**2).sum()) / count)
    best = order
    while high / low > 1.01:
        middle = math.sqrt(low * high)
        taken = dart_places(order, radius * middle)
        if len(taken) >= count:
            low, best = middle, taken
        else:
            high = middle
        if count <= len(taken) <= 1.005 * count:
            break
    mask = np.zeros(radius.size, bool)
    mask[rng.permutation(best)[:count]] = True
    return mask.reshape(radius.shape)


def dart_places(order: Any, distance: Floats) -> Any:
    """The places taken when darts fall in this order (flat indices): as many as fit."""
    rows, columns = distance.shape
    reach = math.ceil(float(distance.max()))
    wide = columns + 2 * reach
    closed = np.zeros((rows + 2 * reach) * wide, bool)  # with a margin, so that no disc is cut
    line = closed.data  # a memoryview: reading one byte costs a third of an array's
    plane = closed.reshape(-1, wide)
    squares = np.ceil(distance**2).astype(int).ravel()[order].tolist()
    row, column = np.divmod(order, columns)
    taken = []
    flat = ((row + reach) * wide + column + reach).tolist()
    for i, (place, square) in enumerate(zip(flat, squares, strict=True)):
        if line[place]:
            continue
        taken.append(i)
        disc, r = _disc(square)
        y, x = divmod(place, wide)
        plane[y - r : y + r + 1, x - r : x + r + 1] |= disc
    return order[taken]


@lru_cache(maxsize=4096)
def _disc(square: int) -> tuple[Mask, int]:
    """Offsets of squared length < `square`, and their reach."""
    r = math.isqrt(max(square - 1, 0))
    y, x = np.ogrid[-r : r + 1, -r : r + 1]
    return y * y + x * x < square, r
