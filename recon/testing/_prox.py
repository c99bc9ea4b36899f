"""The prox of a prior against global references.

Arrays of one or two real numbers (of every shape that the prior takes, complex numbers as two reals) are
compared with a dense grid. Larger arrays are compared with dense sweeps of pairs of entries and of random
directions through the whole range: at a global minimum none of these is better.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from recon.arrays import ArraySpec, Spec
from recon.errors import CapabilityError, ReconError
from recon.operator import capability
from recon.priors.base import Prior
from recon.testing._common import fail, from_real, real_size, to_real
from recon.testing._grid import Grid

__all__ = ["Prox", "check_prox_global", "check_prox_within", "check_sweeps"]

Prox = Callable[[Any, float], Any]
Value = Callable[[Any], float]
Point = np.ndarray[Any, Any]

_SMALL = ((1,), (1, 1), (1, 1, 1), (2,), (1, 2), (2, 1), (1, 1, 2), (1, 2, 1), (2, 1, 1))
_POINTS = ((1.7, -0.6), (0.25, 0.2), (-1.1, 2.3))
_STEPS = (0.4, 2.5)
_BOUNDS = ((0.0, None), (-0.3, 0.4), (None, 0.6))


def check_prox_global(prior: Prior, specs: Sequence[Spec], like: Any, tol: float, convex: bool) -> None:
    """Check the prox on small arrays against a grid, on larger ones by sweeps."""
    prox, value = capability(prior, "prox"), capability(prior, "value")
    if prox is None or value is None:
        return
    for small in small_specs(prior):
        check_on_grid(prior, prox, value, small, like, tol, convex)
    for spec in specs:
        check_sweeps(prior, prox, value, spec, like, tol)


def small_specs(prior: Prior) -> list[ArraySpec]:
    """Specs of one or two real numbers that the prior takes: one entry, or two in every arrangement."""
    check = capability(prior, "check_spec")
    candidates = [ArraySpec(shape) for shape in _SMALL]
    candidates += [ArraySpec(shape, "complex") for shape in _SMALL if math.prod(shape) == 1]
    found: list[ArraySpec] = []
    for spec in candidates:
        try:
            if check is not None:
                check(spec)
        except ReconError:
            continue
        if spec.ndim <= max(2, min((one.ndim for one in found), default=9)):
            found.append(spec)
    return found


def check_on_grid(
    owner: Any, prox: Prox, value: Value, spec: ArraySpec, like: Any, tol: float, convex: bool
) -> None:
    """Compare the objective at the prox with the best of a global grid, for several v and t."""
    count = real_size(spec)
    anchors = [to_real(prox(from_real(np.array(p[:count]), spec, like), 1.0)) for p in _POINTS]
    grid = Grid(lambda z: value(from_real(z, spec, like)), count, anchors)
    for point in _POINTS:
        for t in _STEPS:
            v = np.array(point[:count])
            p = to_real(prox(from_real(v, spec, like), t))
            at_p = value(from_real(p, spec, like))
            _compare(owner, spec, f"prox(v, {t})", objective(at_p, p, v, t), grid.best(v, t), tol)
            if convex:
                slope = grid.slope_excess(p, at_p, v, t)
                limit = max(3 * math.sqrt(2 * tol / t), 1e-9)
                if not slope <= limit * (1 + abs(at_p) + float(np.abs(v - p).max()) / t):
                    fail(
                        owner,
                        f"have a prox p with f(z) >= f(p) + <v - p, z - p>/t for every z, failing on arrays "
                        f"of {spec} at t = {t}",
                        "Else say convex=False.",
                    )


def objective(value: float, p: Point, v: Point, t: float) -> float:
    """f(p) + ||p - v||^2 / (2 t)."""
    return value + float(((p - v) ** 2).sum()) / (2 * t)


def _compare(owner: Any, spec: Spec, call: str, got: float, best: float, tol: float) -> None:
    if not got <= best + max(tol, 1e-10) * (1 + abs(best)):
        fail(
            owner,
            f"have a prox that minimises value(x) + ||x - v||^2 / (2 t): {call} on arrays of {spec} reaches "
            f"{got:.9g}, a grid {best:.9g}",
        )


def check_sweeps(owner: Any, prox: Prox, value: Value, spec: Spec, like: Any, tol: float) -> None:
    """No pair of entries, and no direction, may be moved through its whole range with a gain."""
    count = real_size(spec)
    rng = np.random.default_rng(50)
    offsets = np.concatenate([-np.logspace(-4, 0.7, 12), np.logspace(-4, 0.7, 12)])
    directions = [
        *np.eye(count)[rng.permutation(count)[:6]],
        *rng.standard_normal((6, count)) / math.sqrt(count),
    ]
    for _ in range(4):
        pair = rng.permutation(count)[:2]
        for signs in (1.0, -1.0):
            direction = np.zeros(count)
            direction[pair[0]], direction[pair[-1]] = 1.0, signs
            directions.append(direction)
    for t in _STEPS[:2]:
        v = rng.standard_normal(count)
        p = to_real(prox(from_real(v, spec, like), t))
        reached = objective(value(from_real(p, spec, like)), p, v, t)
        moved = [p + r * d for d in directions for r in offsets]
        best = min(objective(value(from_real(z, spec, like)), z, v, t) for z in moved)
        _compare(owner, spec, f"prox(v, {t})", reached, best, tol)


def check_prox_within(prior: Prior, like: Any, tol: float) -> None:
    """The prox with bounds, where there is one, against a grid that keeps the bounds."""
    within, value = capability(prior, "prox_within"), capability(prior, "value")
    if within is None or value is None:
        return
    offered = 0
    for spec in [one for one in small_specs(prior) if one.kind == "real"]:
        for lower, upper in _BOUNDS:
            offered += _check_bounds(prior, within, value, spec, like, tol, lower, upper)
    if not offered:
        fail(prior, "offer prox_within for x >= 0 at least", "Else leave the method out.")


def _check_bounds(
    prior: Prior,
    within: Callable[..., Any],
    value: Value,
    spec: ArraySpec,
    like: Any,
    tol: float,
    lower: float | None,
    upper: float | None,
) -> bool:
    count = real_size(spec)
    grid: Grid | None = None
    for point in _POINTS:
        v = np.array(point[:count])
        try:
            p = to_real(within(from_real(v, spec, like), 1.0, lower, upper))
        except CapabilityError:
            return False
        if (lower is not None and p.min() < lower) or (upper is not None and p.max() > upper):
            fail(prior, f"keep the bounds [{lower}, {upper}] in prox_within")
        grid = grid or Grid(lambda z: value(from_real(z, spec, like)), count, [p], lower, upper)
        reached = objective(value(from_real(p, spec, like)), p, v, 1.0)
        call = f"prox_within(v, 1.0, {lower}, {upper})"
        _compare(prior, spec, call, reached, grid.best(v, 1.0), tol)
    return True
