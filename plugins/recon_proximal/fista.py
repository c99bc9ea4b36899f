"""FISTA: accelerated proximal gradient (Beck and Teboulle 2009) with adaptive restart.

    minimise  f(A x) + g(x)            f = the loss, with an L-Lipschitz gradient; g = the prior, with a prox

    z   = x_k + b (x_k - x_(k-1))                      b = (t_(k-1) - 1) / t_k
    x_(k+1) = prox_(tau g)(z - tau A^H f'(A z))         tau = 1 / (L ||A||^2)
    t_(k+1) = (1 + sqrt(1 + 4 t_k^2)) / 2;  t = 1 where <z - x_(k+1), x_(k+1) - x_k> > 0   (restart)

One forward and one adjoint product per iteration, and one forward more whenever the objective is recorded. With
``line_search`` the step follows the curvature along the way (`_line_search`), and no constant L is needed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any

from annotated_types import Gt

from recon import L1, Problem, Solver, State, linalg
from recon.arrays import Array, tmap, vdot
from recon.operator import capability
from recon.params import Doc
from recon.solver import Fit
from recon_proximal._certified import measured
from recon_proximal._examples import sparse_recovery
from recon_proximal._line_search import first_step, searched
from recon_proximal._parts import require_convex
from recon_proximal._smooth import ahead, lipschitz, prior_prox, require_smooth

__all__ = ["Fista", "FistaState"]


@dataclass(frozen=True)
class FistaState(State):
    """x_k and x_(k-1), the momentum t_k, the step tau, the memory of the prox; with a line search A x_k, A x_(k-1)."""

    previous: Array
    t: float
    step: float
    memory: Array | None
    prediction: Array | None
    previous_prediction: Array | None


@dataclass(frozen=True)
class Fista(Solver):
    """Accelerated proximal gradient for a smooth loss and a prior with a prox.

    Minimises loss(A x, y) + prior(x), for example 1/2 ||A x - y||^2 + w ||x||_1. The objective falls as
    O(1/k^2); with restart, linearly where the problem is locally strongly convex. Per iteration one forward,
    one adjoint, one prox; memory of five images and two predictions.

    Parameters
    ----------
    step_size
        tau; by default 1 / (L ||A||^2), or 1 / ||W^(1/2) A||^2 for weighted least squares, with the norm from
        :func:`recon.linalg.norm`. Convergence needs no more than that. With ``line_search`` the first step.
    restart
        Restart the momentum where it points uphill (O'Donoghue and Candes 2015, gradient scheme). Much faster
        on most sparse problems; can be slower on ill-conditioned deblurring.
    line_search
        Find the step in every iteration: for losses whose gradient has no Lipschitz constant (Poisson), and
        where ||A|| is far above what the iterates meet. About 1.2 forward and adjoint products per iteration;
        no norm is estimated. The start must have a finite loss.

    Raises
    ------
    CapabilityError
        When the prior has no prox or is not convex, or the loss no Lipschitz gradient and there is no line search.
    ParameterError
        When a line search starts where the loss is infinite.
    """

    step_size: Annotated[
        float | None, Gt(0), Doc("step tau; None computes it from the norm of the operator")
    ] = None
    restart: Annotated[bool, Doc("restart the momentum where it points uphill")] = True
    line_search: Annotated[bool, Doc("find the step in every iteration")] = False

    state_type = FistaState

    def init(self, problem: Problem, x0: Array | None = None, seed: int = 0) -> FistaState:
        require_convex(problem, "Fista")
        if problem.prior is not None:
            problem.require(problem.prior, "prox", "Fista", "Pdhg or Admm")
        x = problem.start(x0)
        if self.line_search:
            prediction = problem.operator @ x
            step = first_step(problem, prediction)
            return FistaState(0, x, x, 1.0, self.step_size or step, None, prediction, prediction)
        require_smooth(problem, "Fista")
        return FistaState(0, x, x, 1.0, self.step_size or 1.0 / lipschitz(problem), None, None, None)

    def step(self, problem: Problem, state: FistaState) -> FistaState:
        if self.line_search:
            found = searched(problem, state)
            z, x, t, step, memory = found.z, found.x, found.t, found.step, found.memory
            predictions = found.prediction, state.prediction
        else:
            t, step, predictions = 0.5 * (1.0 + math.sqrt(1.0 + 4.0 * state.t**2)), state.step, (None, None)
            z = ahead((state.t - 1.0) / t, state.x, state.previous)
            x, memory = prior_prox(
                problem.prior, linalg.axpy(-step, problem.gradient(z), z), step, state.memory
            )
        if self.restart and z is not state.x and _uphill(z, x, state.x):
            t = 1.0
        return FistaState(state.iteration + 1, x, state.x, t, step, memory, *predictions)

    def measure(self, problem: Problem, state: FistaState) -> dict[str, float]:
        return measured(problem, state.x, state.prediction, memory=state.memory)

    @classmethod
    def suits(cls, problem: Problem) -> Fit | None:
        smooth = math.isfinite(problem.loss.curvature(problem.data))
        direct = capability(problem.prior, "prox") and not capability(problem.prior, "prox_from")
        if smooth and direct and problem.prior.convex:  # type: ignore[union-attr]
            return Fit(2.0, "smooth loss and a prior whose prox has a closed form")
        return None

    @classmethod
    def example(cls) -> Problem:
        return sparse_recovery(L1(0.02))


def _uphill(z: Array, x: Array, previous: Array) -> bool:
    """Whether the last move goes against the gradient map at z, which is not needed any more."""

    def minus(a: Any, b: Any) -> Any:
        a -= b
        return a

    back = tmap(minus, z, x)
    move = tmap(lambda a, b: a - b, x, previous)
    return vdot(back, move).real > 0.0
