"""A step of FISTA whose length is found on the way (Scheinberg, Goldfarb and Bai 2014, algorithm 3).

Try tau, first a little longer than the last one, then shorter, with its own momentum

    t = (1 + sqrt(1 + 4 (tau_old / tau) t_old^2)) / 2,   z = x + (t_old - 1) / t (x - x_old)
    x_new = prox_(tau g)(z - tau A^H f'(A z))

until the quadratic model with 1 / tau lies above the loss at x_new:

    f(A x_new) - f(A z) - <f'(A z), A x_new - A z>  <=  ||x_new - z||^2 / (2 tau)

The left side is the loss's own for a quadratic one, without subtracting losses; for others, where it drowns in
their rounding, the trapezoid rule gives it to third order. The first step 2 f / ||A^H f'||^2 is never too short for
a convex f >= 0: ||grad f||^2 <= 2 L (f - min f).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from recon import LeastSquares, Problem, WeightedLeastSquares
from recon.arrays import Array, norm, tmap, vdot
from recon.errors import ParameterError
from recon.linalg import axpy
from recon_proximal._smooth import ahead, prior_prox

if TYPE_CHECKING:
    from recon_proximal.fista import FistaState

__all__ = ["first_step", "searched"]

_LONGER, _SHORTER, _TRIALS = 1.1, 0.6, 100


@dataclass(frozen=True)
class Found:
    """An accepted step."""

    z: Array
    x: Array
    t: float
    step: float
    memory: Array | None
    prediction: Array


def first_step(problem: Problem, prediction: Array) -> float:
    """2 f / ||gradient||^2 at the start; 1 where the gradient is zero."""
    value = problem.loss.value(prediction, problem.data)
    if not math.isfinite(value):
        raise ParameterError(
            "Fista.line_search must start where the loss is finite, got an infinite one. "
            "Give solve(x0=...), or the loss a background."
        )
    slope = norm(problem.operator.H @ problem.loss.gradient(prediction, problem.data))
    return 2.0 * (value / slope) / slope if value > 0.0 and slope > 0.0 else 1.0


def searched(problem: Problem, state: FistaState) -> Found:
    """The next step, by backtracking."""
    loss, data, tau = problem.loss, problem.data, _LONGER * state.step
    for _ in range(_TRIALS):
        t = 0.5 * (1.0 + math.sqrt(1.0 + 4.0 * (state.step / tau) * state.t**2))
        z = ahead((state.t - 1.0) / t, state.x, state.previous)
        at_z = ahead((state.t - 1.0) / t, state.prediction, state.previous_prediction)
        if not math.isfinite(loss.value(at_z, data)):  # momentum has left the domain of the loss
            t, z, at_z = 1.0, state.x, state.prediction
        pull = loss.gradient(at_z, data)
        x, memory = prior_prox(problem.prior, axpy(-tau, problem.operator.H @ pull, z), tau, state.memory)
        prediction = problem.operator @ x
        move = norm(axpy(-1.0, z, x))
        if _above(problem, at_z, pull, prediction) <= 0.5 * (move / tau) * move:
            break
        tau *= _SHORTER
    return Found(z, x, t, tau, memory, prediction)


def _above(problem: Problem, at_z: Array, pull: Array, prediction: Array) -> float:
    """f(p) - f(q) - <f'(q), p - q>: how far the loss lies above its tangent."""
    loss, data = problem.loss, problem.data
    step = axpy(-1.0, at_z, prediction)

    def trapezoid() -> float:
        turned = tmap(lambda a, b: a - b, loss.gradient(prediction, data), pull)
        return 0.5 * vdot(turned, step).real

    if isinstance(loss, LeastSquares | WeightedLeastSquares):
        return trapezoid()
    before, after = loss.value(at_z, data), loss.value(prediction, data)
    if not math.isfinite(after):
        return math.inf
    above = after - before - vdot(pull, step).real
    return above if above > 1e-10 * (abs(before) + abs(after)) else trapezoid()
