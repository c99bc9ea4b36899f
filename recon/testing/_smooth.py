"""Gradients against central differences, and their Lipschitz constants against pairs of points."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from recon.arrays import Array, norm, vdot
from recon.linalg import axpy
from recon.operator import capability
from recon.testing._common import distance, fail

__all__ = ["check_gradient", "check_lipschitz", "check_smooth"]


def check_smooth(owner: Any, value: Callable[[Array], float] | None, x: Array, direction: Array) -> None:
    """Check ``gradient`` and ``curvature`` of a prior, where it has them."""
    gradient, curvature = capability(owner, "gradient"), capability(owner, "curvature")
    if gradient is None:
        if curvature is not None:
            fail(owner, "have a gradient where it has a curvature")
        return
    if value is None:
        fail(owner, "have a value where it has a gradient")
    check_gradient(owner, value, gradient, x, direction)
    if curvature is not None:
        check_lipschitz(owner, gradient, curvature(), x, direction)


def check_gradient(
    owner: Any,
    value: Callable[[Array], float],
    gradient: Callable[[Array], Array],
    x: Array,
    direction: Array,
) -> None:
    """(f(x + h d) - f(x - h d)) / (2 h) = Re <gradient(x), d>, for the better of two h."""
    slope = vdot(gradient(x), direction).real
    errors = []
    for h in (1e-4, 1e-5):
        ahead, behind = value(axpy(h, direction, x)), value(axpy(-h, direction, x))
        errors.append(abs((ahead - behind) / (2 * h) - slope))
    scale = abs(slope) + norm(gradient(x)) * norm(direction)
    if not min(errors) <= 1e-6 * scale:
        fail(owner, "have a gradient that agrees with central differences of its value")


def check_lipschitz(
    owner: Any, gradient: Callable[[Array], Array], constant: Any, x: Array, direction: Array
) -> None:
    """||gradient(x) - gradient(z)|| <= curvature ||x - z||."""
    if isinstance(constant, bool) or not isinstance(constant, int | float) or not constant >= 0:
        fail(owner, "give a number >= 0 (or infinity) from curvature")
    if math.isinf(constant):
        return
    for far in (1e-3, 0.1, 1.0, 10.0):
        z = axpy(far, direction, x)
        change = distance(gradient(x), gradient(z))
        if not change <= constant * far * norm(direction) * (1 + 1e-6) + 1e-12 * norm(gradient(x)):
            fail(
                owner,
                f"have a curvature that bounds the change of its gradient, but at distance {far} it does not",
            )
