"""How much each view, and for a fan each ray, counts in filtered back projection.

A view stands for the arc half-way to its neighbours (one-dimensional Voronoi cells on the circle). A gap
that is more than three times wider than any other is where nothing was measured, and belongs to nobody: the
views beside it stand for as much as on their other side. Where there are several gaps, the views beside each
have half of it, and so they have where a parallel scan lacks less than 30 degrees: giving that to nobody comes
out several times worse (seven times at 10 degrees; beyond 40 it is the other way round).

A fan measures a ray again from the other side: view beta and fan angle gamma = -atan(u' / R) see the line
of view beta + pi + 2 gamma, -gamma. Shares of the two must add up to 1:

    full circle   1/2
    short scan    Parker's weights, for an arc of pi + 2 delta or more; beta counts from the first view
        sin^2(pi/4 beta / (delta - gamma))                     0 <= beta < 2 (delta - gamma)
        1                                                      2 (delta - gamma) <= beta < pi - 2 gamma
        sin^2(pi/4 (pi + 2 delta - beta) / (delta + gamma))    pi - 2 gamma <= beta <= pi + 2 delta
    shorter       1/2 where the ray was measured twice, else 1

Two refinements of the full circle. A displaced detector sees the far part of one side only: bins seen once
count 1, and the share goes smoothly from 0 on the shorter side to 1 on the longer (G. Wang, Med. Phys. 29
(2002) 1634, doi:10.1118/1.1489043). Where a few gaps interrupt the circle and every ray in them was measured
from the other side, shares d become d a / (d a + (1 - d) a'), a and a' falling smoothly to 0 towards the gaps
for the ray and for its other self.

delta is half the fan angle, or (arc - pi) / 2 where the arc is longer than it needs to be. With the sign of
gamma turned round a short scan comes out several per cent wrong.
"""

from __future__ import annotations

import logging
import math
from typing import Any

import numpy as np

from recon.errors import ParameterError

__all__ = ["arc_weights", "fan_weights", "parallel_weights"]

logger = logging.getLogger("recon")

Floats = np.ndarray[Any, np.dtype[np.float64]]

_HOLE = 3.0
_AIR = 0.02  # of the largest mean: what noise and scattered rays leave outside the object
_NARROW = math.radians(30)  # a gap of a parallel scan that the views beside it fill
_FADE = math.radians(10)  # over which shares fall to 0 beside a gap


def arc_weights(angles: Floats, period: float, narrow: float = 0.0) -> Floats:
    """The arc in radians that each view stands for, on a circle of circumference `period`; narrow gaps are shared."""
    order, gaps, hole = _circle(angles, period)
    if hole is not None and gaps[hole] < narrow:
        hole = None
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


def parallel_weights(angles: Floats, offsets: Floats, mean: Floats | None = None) -> Floats:
    """Weights (views, bins) of parallel rays: arcs on the half circle, or shares where the detector is displaced.

    `mean` is the mean of the data in each bin: no warning where only air is beyond the shorter side.
    """
    share = _detector_share(offsets)
    circle = _circle(angles, 2 * math.pi)[2] is None
    if circle and share.max() > 0.5:
        return arc_weights(angles, 2 * math.pi)[:, None] * _circle_share(angles, 0 * offsets, share)
    if not circle:
        _warn_displaced(offsets, mean)
    return arc_weights(angles, math.pi, _NARROW)[:, None] * np.ones_like(offsets)


def fan_weights(
    angles: Floats, offsets: Floats, source: float, short_scan: bool | None, mean: Floats | None = None
) -> Floats:
    """Weights (views, bins): the arc of each view times the share of each ray.

    Parameters
    ----------
    angles
        View angles in radians.
    offsets
        u' of each bin.
    source
        R, in the same unit.
    short_scan
        See :func:`recon_operators.tomography.fbp`.
    mean
        As for `parallel_weights`.
    """
    weights = arc_weights(angles, 2 * math.pi)[:, None]
    gamma = -np.arctan(offsets / source)[None, :]
    delta = float(np.abs(gamma).max())
    order, gaps, hole = _circle(angles, 2 * math.pi)
    degrees = np.rad2deg
    if short_scan is False or (hole is None and short_scan is None):
        logger.info("filtered back projection: full circle, %d views", angles.size)
        return weights * _circle_share(angles, gamma[0], _detector_share(offsets))
    if hole is None:
        raise ParameterError(
            "short_scan must be False or None for views over a full circle, got True. "
            "Select an arc with operator.views."
        )
    _warn_displaced(offsets, mean)
    step = (2 * math.pi - gaps[hole]) / (angles.size - 1)
    arc = 2 * math.pi - gaps[hole] + step
    first = angles[order[(hole + 1) % gaps.size]]
    # A view sits in the middle of its step; half of it is added before the modulo: no rounding below 0.
    beta = np.mod(angles - first + step / 4, 2 * math.pi)[:, None] + step / 4
    if arc >= math.pi + 2 * delta - step:
        logger.info("filtered back projection: short scan over %.1f degrees, Parker weights", degrees(arc))
        return weights * _parker(beta, gamma, (arc - math.pi) / 2)
    if short_scan:
        raise ParameterError(
            f"short_scan needs an arc of at least {degrees(math.pi + 2 * delta):.1f} degrees, got "
            f"{degrees(arc):.1f}. Leave short_scan=None for a limited angle."
        )
    logger.info(
        "filtered back projection: limited angle, %.1f degrees, no weight for what is missing", degrees(arc)
    )
    twice = np.mod(beta + math.pi + 2 * gamma, 2 * math.pi) <= arc
    return weights * np.where(twice, 0.5, 1.0)


def _detector_share(offsets: Floats) -> Floats:
    """Share of each bin u where bin -u is seen from the other side: 1/2 for a detector that is not displaced."""
    left, right = -float(offsets.min()), float(offsets.max())
    overlap, excess = max(min(left, right), 0.0), abs(right - left)
    if excess <= 1e-9 * max(left, right):
        return np.full_like(offsets, 0.5)
    if min(left, right) < 0:
        logger.warning(
            "filtered back projection: the detector does not see the middle of the image; check detector_shift."
        )
    ramp = max(min(overlap, 4 * excess), 1e-9 * excess)  # narrow where little is displaced: less noise
    rise = np.sin(math.pi / 2 * np.clip((np.abs(offsets) - overlap) / ramp + 1, 0, 1)) ** 2
    return np.asarray(0.5 + 0.5 * rise * np.sign(offsets) * math.copysign(1, right - left))


def _warn_displaced(offsets: Floats, mean: Floats | None) -> None:
    left, right = -float(offsets.min()), float(offsets.max())
    beyond = np.abs(offsets) > min(left, right)
    empty = mean is not None and np.abs(mean[beyond]).max(initial=0) <= _AIR * np.abs(mean).max()
    if min(left, right) < 0.9 * max(left, right) and not empty:
        logger.warning(
            "filtered back projection: the detector is displaced and the views are no full circle: what only its "
            "longer side sees comes out wrong. Measure a full circle, or use an iterative solver."
        )


def _circle_share(angles: Floats, gamma: Floats, share: Floats) -> Floats:
    """Shares (views, bins) over a full circle, which a few gaps may interrupt."""
    order, gaps, outside = _circle(angles, 2 * math.pi)
    holes = np.flatnonzero(_holes(gaps))
    middles, halves = angles[order][holes] + gaps[holes] / 2, gaps[holes] / 2

    def fade(beta: Floats) -> Floats:
        """1 away from the gaps, 0 in them."""
        product = np.ones(np.shape(beta))
        for middle, half in zip(middles, halves, strict=True):
            distance = np.abs(np.mod(beta - middle + math.pi, 2 * math.pi) - math.pi) - half
            product = product * np.sin(math.pi / 2 * np.clip(distance / _FADE, 0, 1)) ** 2
        return product

    inside = (middles[:, None] + halves[:, None] * np.linspace(-1, 1, 9)).ravel()
    seen = (fade(inside[:, None] + math.pi + 2 * gamma) > 0) & (share < 1)
    if outside is not None or not seen.all():  # an arc after all, or rays that nothing measured
        return np.broadcast_to(share, (angles.size, share.size))
    one = share * fade(angles)[:, None]
    other = (1 - share) * fade(angles[:, None] + math.pi + 2 * gamma)
    return np.asarray(one / (one + other))


def _holes(gaps: Floats) -> Any:
    """The widest gaps, one or at most 2 % of all, where the next in width is more than three times less."""
    ranked = np.sort(gaps)[::-1]
    most = min(1 + gaps.size // 50, gaps.size - 1)
    counts = [k for k in range(1, most + 1) if ranked[k - 1] > _HOLE * ranked[k] > 0]
    return gaps >= ranked[counts[-1] - 1] if counts else np.zeros(gaps.shape, bool)


def _parker(beta: Floats, gamma: Floats, delta: float) -> Floats:
    """Parker's weights; all three in radians."""
    near, far = np.maximum(delta - gamma, 1e-12), np.maximum(delta + gamma, 1e-12)
    rising = np.sin(math.pi / 4 * np.clip(beta / near, 0, 2)) ** 2
    falling = np.sin(math.pi / 4 * np.clip((math.pi + 2 * delta - beta) / far, 0, 2)) ** 2
    return np.where(beta < 2 * near, rising, np.where(beta < math.pi - 2 * gamma, 1.0, falling))
