"""FISTA: accelerated proximal gradient (Beck and Teboulle 2009) with adaptive restart.

    minimise  f(A x) + g(x)            f = the loss, with an L-Lipschitz gradient; g = the prior, with a prox

    z   = x_k + b (x_k - x_(k-1))                      b = (t_(k-1) - 1) / t_k
    x_(k+1) = prox_(tau g)(z - tau A^H f'(A z))         tau = 1 / (L ||A||^2)
    t_(k+1) = (1 + sqrt(1 + 4 t_k^2)) / 2;  t = 1 where <z - x_(k+1), x_(k+1) - x_k> > 0   (restart)

One forward and one adjoint product per iteration, and one forward more whenever the objective is recorded.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from annotated_types import Gt

from recon import L1, Diagonal, Operator, Problem, Solver, State, WeightedLeastSquares, block_diag, linalg
from recon.arrays import Array, as_numpy, leaves, members, per_member, tmap, vdot
from recon.errors import CapabilityError
from recon.operator import capability
from recon.params import Doc
from recon.solver import Fit
from recon_proximal._examples import sparse_recovery

__all__ = ["Fista", "FistaState"]


@dataclass(frozen=True)
class FistaState(State):
    """x_k and x_(k-1), the momentum t_k, the step tau, and the memory of the prox."""

    previous: Array
    t: float
    step: float
    memory: Array | None


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
        :func:`recon.linalg.norm`. Convergence needs no more than that.
    restart
        Restart the momentum where it points uphill (O'Donoghue and Candes 2015, gradient scheme). Much faster
        on most sparse problems; can be slower on ill-conditioned deblurring.

    Raises
    ------
    CapabilityError
        When the prior has no prox or the loss no Lipschitz gradient.
    """

    step_size: Annotated[
        float | None, Gt(0), Doc("step tau; None computes it from the norm of the operator")
    ] = None
    restart: Annotated[bool, Doc("restart the momentum where it points uphill")] = True

    state_type = FistaState

    def init(self, problem: Problem, x0: Array | None = None, seed: int = 0) -> FistaState:
        if problem.prior is not None:
            problem.require(problem.prior, "prox", "Fista", "Pdhg or Admm")
        curvature = problem.loss.curvature(problem.data)
        if not math.isfinite(curvature):
            raise CapabilityError(
                f"Fista needs a loss with a Lipschitz gradient, which {type(problem.loss).__name__} has not. "
                "Use Pdhg instead."
            )
        x = problem.start(x0)
        return FistaState(0, x, x, 1.0, self.step_size or self._step(problem, curvature), None)

    @staticmethod
    def _step(problem: Problem, curvature: float) -> float:
        """1 / L, where L = ||W^(1/2) A||^2 for weighted least squares: max(W) ||A||^2 can be many times larger."""
        operator, loss = problem.operator, problem.loss
        root = _rooted(loss.weights, operator.codomain) if isinstance(loss, WeightedLeastSquares) else None
        if root is not None:
            operator, curvature = root @ operator, 1.0
        square = curvature * linalg.norm(operator, like=problem.data) ** 2
        return 1.0 / square if square > 0.0 else 1.0

    def step(self, problem: Problem, state: FistaState) -> FistaState:
        t = 0.5 * (1.0 + math.sqrt(1.0 + 4.0 * state.t**2))
        momentum = (state.t - 1.0) / t
        z = _ahead(momentum, state.x, state.previous) if momentum else state.x
        x, memory = self._prox(problem, linalg.axpy(-state.step, problem.gradient(z), z), state)
        if self.restart and momentum and _uphill(z, x, state.x):
            t = 1.0
        return FistaState(state.iteration + 1, x, state.x, t, state.step, memory)

    @staticmethod
    def _prox(problem: Problem, v: Array, state: FistaState) -> tuple[Array, Array | None]:
        prior: Any = problem.prior
        if prior is None:
            return v, None
        if capability(prior, "prox_from"):
            x, memory = prior.prox_from(v, state.step, state.memory)
            return x, memory
        return prior.prox(v, state.step), None

    @classmethod
    def suits(cls, problem: Problem) -> Fit | None:
        smooth = math.isfinite(problem.loss.curvature(problem.data))
        direct = capability(problem.prior, "prox") and not capability(problem.prior, "prox_from")
        if smooth and direct:
            return Fit(2.0, "smooth loss and a prior whose prox has a closed form")
        return None

    @classmethod
    def example(cls) -> Problem:
        return sparse_recovery(L1(0.02))


def _rooted(weights: Any, codomain: Any) -> Operator | None:
    """W^(1/2), or None where the weights differ along batch axes, so that no one norm serves all samples."""
    shared = per_member(weights, codomain)
    parts = list(zip(map(as_numpy, leaves(shared)), members(codomain), strict=True))
    if any(np.ndim(w) > spec.ndim for w, spec in parts):
        return None
    roots = [Diagonal(np.sqrt(w), spec.shape, spec.kind) for w, spec in parts]
    return block_diag(*roots) if isinstance(codomain, tuple) else roots[0]


def _ahead(momentum: float, new: Array, old: Array) -> Array:
    def one(a: Any, b: Any) -> Any:
        ahead = a - b
        ahead *= momentum
        ahead += a
        return ahead

    return tmap(one, new, old)


def _uphill(z: Array, x: Array, previous: Array) -> bool:
    """Whether the last move goes against the gradient map at z, which is not needed any more."""

    def minus(a: Any, b: Any) -> Any:
        a -= b
        return a

    back = tmap(minus, z, x)
    move = tmap(lambda a, b: a - b, x, previous)
    return vdot(back, move).real > 0.0
