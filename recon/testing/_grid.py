"""A global reference for proximal maps: dense grids over arrays of one or two real numbers.

    objective(z) = f(z) + ||z - v||^2 / (2 t)

The values f(z) are taken once per array shape on a lattice over the whole square and on rays through a few
points where f is finite (a lattice alone may miss a thin set such as a simplex), and serve every v and t. The
best of these points is then refined by finer and finer lattices around it. Nothing starts at the prox.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

__all__ = ["Grid"]

Point = np.ndarray[Any, Any]

_HALF = 4.0  # the square is [-4, 4]^2
_STEP = {1: 0.01, 2: 0.2}
_RAY = 30  # points on each half of a ray
_FINER = (0.3, 0.09, 0.027, 0.0081)  # steps of the refinements, relative to the first lattice
_REACH = 3  # steps to each side in a refinement


class Grid:
    """Points of one or two real coordinates with the values of a function.

    Parameters
    ----------
    value
        The function of a flat vector of coordinates; may be infinite.
    count
        How many coordinates: 1 or 2.
    anchors
        Points through which rays are laid.
    lower, upper
        Bounds that points must keep, or None.
    """

    def __init__(
        self,
        value: Callable[[Point], float],
        count: int,
        anchors: Sequence[Point] = (),
        lower: float | None = None,
        upper: float | None = None,
    ) -> None:
        self.value, self.count = value, count
        self.lower = -np.inf if lower is None else lower
        self.upper = np.inf if upper is None else upper
        axis = np.arange(-_HALF, _HALF + 1e-9, _STEP[count])
        lattice = np.stack(np.meshgrid(*[axis] * count, indexing="ij"), axis=-1).reshape(-1, count)
        self.points = self._inside(np.concatenate([lattice, *(_rays(np.asarray(a), count) for a in anchors)]))
        self.values = self._at(self.points)

    def _inside(self, points: Point) -> Point:
        return points[((points >= self.lower) & (points <= self.upper)).all(axis=1)]

    def _at(self, points: Point) -> Point:
        return np.array([self.value(point) for point in points])

    def best(self, v: Point, t: float) -> float:
        """The least objective found."""
        objective = self.values + ((self.points - v) ** 2).sum(axis=1) / (2 * t)
        if not np.isfinite(objective).any():
            return float("inf")
        index = int(np.nanargmin(objective))
        centre, least = self.points[index], float(objective[index])
        offsets = np.arange(-_REACH, _REACH + 1)
        lattice = np.stack(np.meshgrid(*[offsets] * self.count, indexing="ij"), axis=-1).reshape(
            -1, self.count
        )
        for factor in _FINER:
            near = self._inside(centre + factor * _STEP[self.count] * lattice)
            objective = self._at(near) + ((near - v) ** 2).sum(axis=1) / (2 * t)
            if len(near) and np.nanmin(objective) < least:
                index = int(np.nanargmin(objective))
                centre, least = near[index], float(objective[index])
        return least

    def slope_excess(self, p: Point, value: float, v: Point, t: float) -> float:
        """How much the inequality of a convex prox fails, at worst, per unit of distance.

        p = prox(v, t) of a convex f exactly when f(z) >= f(p) + <v - p, z - p> / t for every z.
        """
        away = self.points - p
        far = np.sqrt((away**2).sum(axis=1))
        short = value + away @ (v - p) / t - self.values
        keep = np.isfinite(self.values) & (far > 1e-3)
        return float((short[keep] / far[keep]).max()) if keep.any() else 0.0


def _rays(anchor: Point, count: int) -> Point:
    """Points on lines through an anchor, in 1 or 4 directions; the steps grow from the anchor."""
    directions = (
        np.array([[1.0]]) if count == 1 else np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [1.0, -1.0]])
    )
    steps = _HALF * np.linspace(0.0, 1.0, _RAY + 1) ** 2
    radii = np.concatenate([-steps[:0:-1], steps])
    points: Point = anchor + (radii[None, :, None] * directions[:, None, :]).reshape(-1, count)
    return points
