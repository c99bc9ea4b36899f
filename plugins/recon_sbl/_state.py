"""What the solvers of sparse Bayesian learning share: the state, and what they tell of it.

    y = A x + n,    n ~ N(0, s2 I),    x_i ~ N(0, g_i)              g: prior variances, learned; 1/g: precisions
    x | y           mean mu, covariance Sigma                       given g and s2
    cost            L(g, s2) = log|S| + y^H S^(-1) y,               S = s2 I + A diag(g) A^H, -2 log evidence + const

With several snapshots y_l that share g (``joint``) L is the sum over them. For complex data s2 is E|n|^2, and L is
the same expression (-log evidence).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from recon import LeastSquares, Problem, Solver, State
from recon.arrays import Array, ArraySpec, as_numpy
from recon.errors import CapabilityError

__all__ = ["SblSolver", "SblState", "check_model"]

KINDS = ("real", "complex")


@dataclass(frozen=True)
class SblState(State):
    """Posterior and hyperparameters, in the units of the problem: x, variance and the last cost belong to gamma.

    Parameters
    ----------
    x
        Posterior mean, of the domain, snapshots in front; exactly 0 where pruned.
    variance
        diag(Sigma), real, of the domain's shape (one for all snapshots).
    gamma
        Prior variances g of the entries, real, of the domain's shape; 0 where pruned.
    noise
        Standard deviation of the noise as in ``Problem.noise``: known (its root mean square where it differs from
        entry to entry), or as learned so far.
    costs
        L at the start and after each iteration; NaN where a method cannot tell.
    settled
        Whether the method has come to its own end.
    """

    variance: Array
    gamma: Array
    noise: float
    costs: tuple[float, ...]
    settled: bool


class SblSolver(Solver):
    """Base of the solvers whose state is an SblState; ``objective`` is the cost L."""

    state_type: ClassVar[type[State]] = SblState

    def measure(self, problem: Problem, state: SblState) -> dict[str, float]:
        loss = problem.loss.value(problem.operator @ state.x, problem.data)
        values = {"objective": float(state.costs[-1]), "loss": loss, "noise": float(state.noise)}
        return values | {"active": float(np.count_nonzero(as_numpy(state.gamma)))}

    def variance(self, state: SblState) -> Array:
        """diag(Sigma), for ``Result.variance``."""
        return state.variance

    def hyperparameters(self, state: SblState) -> Mapping[str, Any]:
        """gamma (prior variances), noise (standard deviation as in Problem.noise) and evidence (L per iteration)."""
        return {"gamma": state.gamma, "noise": state.noise, "evidence": np.array(state.costs)}


def check_model(problem: Problem, solver: str, joint: bool = False, kinds: tuple[str, ...] = KINDS) -> None:
    """Refuse what no solver of this package can do.

    Raises
    ------
    CapabilityError
        For another loss, a prior, operators between tuples or between real and complex arrays, kinds that are not
        in ``kinds``, or a batch where ``joint`` does not say that its samples are snapshots of one support.
    """
    specs = (problem.operator.domain, problem.operator.codomain)
    if not isinstance(problem.loss, LeastSquares):
        raise CapabilityError(
            f"{solver} needs LeastSquares, got {type(problem.loss).__name__}. Give Problem.noise as an array where "
            "the noise differs from entry to entry."
        )
    if problem.prior is not None:
        raise CapabilityError(
            f"{solver} learns its own prior, so Problem.prior must be None, got {problem.prior!r}. Leave it out."
        )
    found = {spec.kind for spec in specs if isinstance(spec, ArraySpec)}
    if any(isinstance(spec, tuple) for spec in specs) or len(found) > 1 or not found <= set(kinds):
        raise CapabilityError(
            f"{solver} needs an operator between single arrays, both {' or both '.join(kinds)}, "
            f"got {problem.operator!r}."
        )
    if problem.batch and not joint:
        raise CapabilityError(
            f"{solver} fits one sample at a time, got batch axes {problem.batch}. Solve the samples one by one, or, "
            "where they are snapshots that share one support, use a solver with joint=True (Sbl, Cofem) or TMsbl."
        )
