"""CGLS: conjugate gradients on the normal equations, without forming them (Bjoerck 1996, algorithm 7.4.1).

minimise  1/2 ||A x - y||_W^2 + d/2 ||x||^2          W = weights of the loss, d = weight of an L2 prior

q = A p;  a = <p, s> / (<q, W q> + d <p, p>);  x += a p;  r -= a q
s = A^H W r - d x;  b = <s, s>_new / <s, s>_old;  p = s + b p
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from recon import L2, Problem, Solver, State
from recon.arrays import Array, norm, tmap, vdot
from recon.errors import CapabilityError
from recon.linalg import axpy
from recon.solver import Fit
from recon_proximal._examples import weighing
from recon_proximal._quadratic import damping, weighed

__all__ = ["Cgls", "CglsState"]


@dataclass(frozen=True)
class CglsState(State):
    """Image, residual r = y - A x, search direction p, s = -gradient with its squared norm, last move's size."""

    weight_free: ClassVar[bool] = False  # directions are conjugate for one damping only

    residual: Array
    direction: Array
    descent: Array
    square: float
    change: float


@dataclass(frozen=True)
class Cgls(Solver):
    """Conjugate gradients for least squares, weighted and damped where the problem says so.

    Minimises 1/2 ||A x - y||^2 (or its weighted form) + d/2 ||x||^2, with d the weight of an ``L2`` prior.
    The objective never rises; in exact arithmetic it ends after rank(A) steps. On noisy ill-posed data the
    early iterates are the useful ones (semi-convergence): stop with ``Discrepancy`` or a small number of
    iterations, or damp. Per iteration one forward and one adjoint; three images and two predictions.

    Raises
    ------
    CapabilityError
        For another prior than L2, or another loss than (weighted) least squares.
    """

    state_type = CglsState

    def init(self, problem: Problem, x0: Array | None = None, seed: int = 0) -> CglsState:
        damp = damping(problem, "Cgls")
        x = problem.start(x0)
        residual = tmap(lambda y, p: y - p, problem.data, problem.operator @ x)
        descent = _descent(problem, x, residual, damp)
        return CglsState(0, x, residual, descent, descent, vdot(descent, descent).real, 1.0)

    def step(self, problem: Problem, state: CglsState) -> CglsState:
        damp, p, s = damping(problem, "Cgls"), state.direction, state.descent
        slope = vdot(p, s).real
        if slope <= 0.0:  # rounding has turned p uphill: start over from the gradient
            p, slope = s, state.square
        q = problem.operator @ p
        size = vdot(p, p).real
        curvature = vdot(q, weighed(problem, q)).real + damp * size
        if slope <= 0.0 or curvature <= 0.0:  # the gradient is zero: this is a minimiser, stay there
            return replace(state, iteration=state.iteration + 1, change=0.0)
        # <p, s> is <s, s> in exact arithmetic; with it every step is an exact line search and cannot go up
        alpha = slope / curvature
        x = axpy(alpha, p, state.x)
        residual = axpy(-alpha, q, state.residual)
        descent = _descent(problem, x, residual, damp)
        square = vdot(descent, descent).real
        direction = axpy(square / state.square, p, descent)
        length = norm(x)
        change = alpha * size**0.5 / length if length else 0.0
        return CglsState(state.iteration + 1, x, residual, direction, descent, square, change)

    def measure(self, problem: Problem, state: CglsState) -> dict[str, float]:
        loss = 0.5 * vdot(state.residual, weighed(problem, state.residual)).real
        values = {"objective": loss + problem.penalty(state.x), "loss": loss, "gradient": state.square**0.5}
        if state.iteration:
            values["change"] = state.change
        return values

    @classmethod
    def suits(cls, problem: Problem) -> Fit | None:
        try:
            damping(problem, "Cgls")
        except CapabilityError:
            return None
        return Fit(3.0, "quadratic problem")

    @classmethod
    def example(cls) -> Problem:
        return weighing(L2(0.1))


def _descent(problem: Problem, x: Array, residual: Array, damp: float) -> Array:
    descent = problem.operator.H @ weighed(problem, residual)
    return axpy(-damp, x, descent) if damp else descent
