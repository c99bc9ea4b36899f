"""Perturb and solve: exact draws from the posterior of a quadratic problem (Papandreou and Yuille 2010).

    p(x | y) ~ exp(-(1/2 ||A x - y||_W^2 + sum_b w_b / 2 ||K_b x||^2) / T)          Gaussian, covariance T / H

    H = A^H W A + sum_b w_b K_b^H K_b
    mean    H m = A^H W y
    draw    H (x - m) = sqrt(T) (A^H W^(1/2) e_0 + sum_b sqrt(w_b) K_b^H e_b)      e standard normal

The right-hand side has covariance T H, so x - m has H^-1 (T H) H^-1. Both systems are solved by conjugate
gradients; H is never formed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge, Gt

from recon import L2, Identity, LeastSquares, Operator, Problem, Solver, WeightedLeastSquares
from recon.arrays import Array, as_numpy, tmap
from recon.errors import CapabilityError
from recon.linalg import axpy, cg
from recon.operator import capability, total
from recon.params import Doc
from recon.priors import Scaled, terms
from recon_proximal._examples import weighing
from recon_proximal._posterior import PosteriorState, draw_noise, square, temperature, variance
from recon_proximal._quadratic import gram, is_quadratic, weighed

__all__ = ["PerturbAndSolve"]


@dataclass(frozen=True)
class PerturbAndSolve(Solver):
    """Exact posterior draws of a quadratic problem: perturb data and prior by their own noise, and solve.

    Samples exp(-(loss + prior) / T) for (weighted) least squares and ``L2`` priors, of x or (``L2(w) @ K``) of
    K x; T = noise^2 with ``LeastSquares`` and 1 with ``WeightedLeastSquares``. The draws are independent. Every image
    must be seen by A or by a K: else the posterior is flat there, and its variance infinite. ``result.x`` is the
    posterior mean itself, not an average; ``result.variance`` the mean square of the n draws around it, with a
    relative error of sqrt(2 / n). Each draw costs up to ``inner`` products with A^H A; memory of ten images.

    Parameters
    ----------
    inner
        Most conjugate-gradient iterations per draw; a few square roots of the condition number are enough.
    tol
        Relative residual at which they stop.

    Raises
    ------
    CapabilityError
        For another loss, no prior or one of weight 0, or a prior that is not quadratic.
    ParameterError
        When the noise level is not known.

    References
    ----------
    G. Papandreou, A. Yuille, NIPS 23 (2010); F. Orieux, O. Feron, J.-F. Giovannelli, IEEE Signal Process. Lett. 19
    (2012) 251, doi:10.1109/LSP.2012.2189104.
    """

    inner: Annotated[int, Ge(1), Doc("most conjugate-gradient iterations per draw")] = 500
    tol: Annotated[float, Gt(0), Doc("relative residual at which they stop")] = 1e-5

    state_type = PosteriorState

    def init(self, problem: Problem, x0: Array | None = None, seed: int = 0) -> PosteriorState:
        temperature(problem, "PerturbAndSolve")
        _quadratics(problem)
        x = problem.start(x0)
        return PosteriorState(0, x, x, square(tmap(lambda leaf: 0.0 * leaf, x)), 0, seed)

    def step(self, problem: Problem, state: PosteriorState) -> PosteriorState:
        draws = state.draws + 1
        mean = state.x if state.draws else self._mean(problem, state.x)
        push = self._solve(problem, self._push(problem, state))
        spread = tmap(lambda s, d: s + d, state.spread, square(push))
        return PosteriorState(draws, mean, axpy(1.0, mean, push), spread, draws, state.seed)

    def measure(self, problem: Problem, state: PosteriorState) -> dict[str, float]:
        return super().measure(problem, state) | {"draws": float(state.draws)}

    def variance(self, state: PosteriorState) -> Array | None:
        """Pointwise posterior variance, for ``Result.variance``; the mean is known, so n draws have n degrees."""
        return variance(state.spread, state.draws)

    def _mean(self, problem: Problem, start: Array) -> Array:
        target = problem.operator.H @ weighed(problem, problem.data)
        return self._solve(problem, target, start)

    def _push(self, problem: Problem, state: PosteriorState) -> Array:
        """sqrt(T) (A^H W^(1/2) e_0 + sum_b sqrt(w_b) K_b^H e_b)."""
        sigma = temperature(problem, "PerturbAndSolve") ** 0.5
        noise = draw_noise(problem.operator.codomain, problem, state.seed, state.draws, 0)
        pushes = [problem.operator.H @ weighed(replace(problem, loss=_root(problem.loss)), noise)]
        for b, (weight, k) in enumerate(_quadratics(problem), start=1):
            noise = draw_noise(k.codomain, problem, state.seed, state.draws, b)
            pushes.append(tmap(lambda leaf, w=weight: w**0.5 * leaf, k.H @ noise))
        return tmap(lambda leaf: sigma * leaf, total(pushes))

    def _solve(self, problem: Problem, target: Array, start: Array | None = None) -> Array:
        quadratics = _quadratics(problem)

        def hessian(x: Array) -> Array:
            prior = [tmap(lambda leaf, w=w: w * leaf, k.H @ (k @ x)) for w, k in quadratics]
            return total([gram(problem, x), *prior])

        return cg(hessian, target, x0=start, iterations=self.inner, tol=self.tol)

    @classmethod
    def example(cls) -> Problem:
        return replace(weighing(L2(0.1)), noise=0.05)


def _root(loss: Any) -> Any:
    """The loss whose W is W^(1/2)."""
    if isinstance(loss, LeastSquares):
        return loss
    return WeightedLeastSquares(tmap(lambda w: np.sqrt(as_numpy(w)), loss.weights))


def _quadratics(problem: Problem) -> list[tuple[float, Operator]]:
    """The pairs (w_b, K_b) of a prior that is a sum of w_b / 2 ||K_b x||^2."""
    if not is_quadratic(problem):
        raise CapabilityError(
            f"PerturbAndSolve needs a quadratic loss, got {type(problem.loss).__name__}. Use Myula or SkRock."
        )
    found: list[tuple[float, Operator]] = []
    for term in terms(problem.prior):
        split = capability(term, "split")
        outer, k = split(problem.operator.domain) if split else (term, Identity(problem.operator.domain))
        weight, outer = _factored(outer)
        if not isinstance(outer, L2):
            raise CapabilityError(
                f"PerturbAndSolve needs L2 priors, got {term!r}. Use Myula or SkRock for others."
            )
        if weight * outer.weight:
            found.append((weight * outer.weight, k))
    if not found:
        raise CapabilityError(
            f"PerturbAndSolve needs a prior of weight > 0, got {problem.prior!r}: the posterior would be flat "
            "wherever A sees nothing. Add L2(weight)."
        )
    return found


def _factored(prior: Any) -> tuple[float, Any]:
    factor = 1.0
    while isinstance(prior, Scaled):
        factor, prior = factor * prior.factor, prior.prior
    return factor, prior
