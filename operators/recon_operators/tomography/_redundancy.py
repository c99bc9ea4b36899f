"""How much each view, and for a fan each ray, counts in filtered back projection.

A view stands for the arc half-way to its neighbours (one-dimensional Voronoi cells on the circle). A gap
that is more than three times wider than any other is where nothing was measured, and belongs to nobody: the
views beside it stand for as much as on their other side.

A fan measures a ray again from the other side: view beta and fan angle gamma = -atan(u' / R) see the line
of view beta + pi + 2 gamma, -gamma. Shares of the two must add up to 1:

    full circle   1/2
    short scan    Parker's weights, for an arc of pi + 2 delta or more; beta counts from the first view
        sin^2(pi/4 beta / (delta - gamma))                     0 <= beta < 2 (delta - gamma)
        1                                                      2 (delta - gamma) <= beta < pi - 2 gamma
        sin^2(pi/4 (pi + 2 delta - beta) / (delta + gamma))    pi - 2 gamma <= beta <= pi + 2 delta
    shorter       1/2 where the ray was measured twice, else 1

delta is half the fan angle, or (arc - pi) / 2 where the arc is longer than it needs to be. With the sign of
gamma turned round a short scan comes out several per cent wrong.
"""

from __future__ import annotations

import logging
import math
from typing import Any

import numpy as np

from recon.errors import ParameterError

__all__ = ["arc_weights", "fan_weights"]

logger = logging.getLogger("recon")

Floats = np.ndarray[Any, np.dtype[np.float64]]

_HOLE = 3.0


def arc_weights(angles: Floats, period: float) -> Floats:
    """The arc in radians that each view stands for, on a circle of circumference `period`."""
    order, gaps, hole = _circle(angles, period)
    weights = np.empty_like(angles)
    before = np.roll(gaps, 1)
    if hole is not None:  # gaps[hole] lies between view `hole` and the next one
        after = (hole + 1) % gaps.size
        gaps[hole], before[after] = before[hole], gaps[after]
    weights[order] = (before + gaps) / 2
    return weights


def _circle(angles: Floats, period: float) -> tuple[Any, Floats, int | None]:
    """Order of the views on the circle, the gap after each, and which of the gaps is a hole, if any is."""
    turned = np.mod(angles - angles[0], period)
    order = np.argsort(turned, kind="stable")
    gaps = np.diff(turned[order], append=period + turned[order][0])
    hole = int(np.argmax(gaps))
    rest = np.delete(gaps, hole)
    found = rest.size > 0 and gaps[hole] > _HOLE * rest.max() and rest.max() > 0
    return order, gaps, hole if found else None


def fan_weights(angles: Floats, minus_gamma: Floats, short_scan: bool | None) -> Floats:
    """Weights (views, bins): the arc of each view times the share of each ray.

    Parameters
    ----------
    angles
        View angles in radians.
    minus_gamma
        atan(u' / R) of each bin.
    short_scan
        See :func:`recon_operators.tomography.fbp`.
    """
    weights = arc_weights(angles, 2 * math.pi)[:, None]
    gamma, delta = -minus_gamma[None, :], float(np.abs(minus_gamma).max())
    order, gaps, hole = _circle(angles, 2 * math.pi)
    degrees = np.rad2deg
    if short_scan is False or (hole is None and short_scan is None):
        logger.info("fbp: full circle, %d views", angles.size)
        return weights * np.full_like(gamma, 0.5)
    if hole is None:
        raise ParameterError(
            "fbp short_scan must be False or None for views over a full circle, got True. "
            "Select an arc with operator.views."
        )
    step = (2 * math.pi - gaps[hole]) / (angles.size - 1)
    arc = 2 * math.pi - gaps[hole] + step
    first = angles[order[(hole + 1) % gaps.size]]
    # A view sits in the middle of its step; half of it is added before the modulo: no rounding below 0.
    beta = np.mod(angles - first + step / 4, 2 * math.pi)[:, None] + step / 4
    if arc >= math.pi + 2 * delta - step:
        logger.info("fbp: short scan over %.1f degrees, Parker weights", degrees(arc))
        return weights * _parker(beta, gamma, (arc - math.pi) / 2)
    if short_scan:
        raise ParameterError(
            f"fbp short_scan needs an arc of at least {degrees(math.pi + 2 * delta):.1f} degrees, got "
            f"{degrees(arc):.1f}. Leave short_scan=None for a limited angle."
        )
    logger.info("fbp: limited angle, %.1f degrees, no weight for what is missing", degrees(arc))
    twice = np.mod(beta + math.pi + 2 * gamma, 2 * math.pi) <= arc
    return weights * np.where(twice, 0.5, 1.0)


def _parker(beta: Floats, gamma: Floats, delta: float) -> Floats:
    """Parker's weights; all three in radians."""
    near, far = np.maximum(delta - gamma, 1e-12), np.maximum(delta + gamma, 1e-12)
    rising = np.sin(math.pi / 4 * np.clip(beta / near, 0, 2)) ** 2
    falling = np.sin(math.pi / 4 * np.clip((math.pi + 2 * delta - beta) / far, 0, 2)) ** 2
    return np.where(beta < 2 * near, rising, np.where(beta < math.pi - 2 * gamma, 1.0, falling))
