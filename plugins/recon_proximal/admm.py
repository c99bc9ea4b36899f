"""ADMM: alternating direction method of multipliers (Boyd et al. 2011) with warm conjugate gradients.

    minimise  f(A x) + sum_b F_b(K_b x)        f = the loss; F_b = priors, K_b = their split or the identity

    x   = argmin f(A x) + r/2 sum_b ||K_b x - z_b + u_b||^2
    z_b = prox_(F_b / r)(K_b x + u_b)
    u_b = u_b + K_b x - z_b

A quadratic loss stays in the x step, which solves its normal equations by warm-started conjugate gradients (or
in closed form, by the operator's ``data_prox``, where every K_b is the identity); any other loss becomes one
more block with K = A. The penalty r follows the residuals (Boyd et al., section 3.4.1).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Any

from annotated_types import Ge, Gt

from recon import TV, Identity, LeastSquares, NonNegative, Problem, Solver, State, WeightedLeastSquares
from recon.arrays import Array, norm, tmap
from recon.errors import CapabilityError
from recon.linalg import axpy, cg
from recon.linalg import norm as operator_norm
from recon.operator import Operator, capability, total
from recon.params import Doc
from recon_proximal._examples import weighing
from recon_proximal._parts import is_interval, parts

__all__ = ["Admm", "AdmmState"]


@dataclass(frozen=True)
class AdmmState(State):
    """x as reported, `primal` of the x step, copies z, scaled duals u, penalty r, and the two residuals."""

    primal: Array
    copies: tuple[Array, ...]
    duals: tuple[Array, ...]
    penalty: float
    primal_residual: float
    dual_residual: float


@dataclass(frozen=True)
class Admm(Solver):
    """Alternating directions for any convex loss with a prox (or quadratic) and any sum of priors.

    Minimises loss(A x, y) + prior(x). Few, dear iterations: good where products with A are cheap compared with
    what a first-order step gains. The image reported is the copy of the prior that acts on x itself, where
    there is one, so that constraints hold exactly. Per iteration up to ``inner`` forward and adjoint products.

    Parameters
    ----------
    penalty
        First r; by default ||A||^2 / (10 sum ||K_b||^2). It follows the residuals: times 2 where the primal
        one is more than 10 times the dual one, halved in the opposite case, at most every 10 iterations.
    inner
        Most conjugate-gradient iterations per step.
    tol
        Relative residual at which they stop.

    Raises
    ------
    CapabilityError
        When there is no prior (use Cgls), or a part has neither prox nor split.
    """

    penalty: Annotated[float | None, Gt(0), Doc("first penalty r; None takes it from the norms")] = None
    inner: Annotated[int, Ge(1), Doc("most conjugate-gradient iterations per step")] = 10
    tol: Annotated[float, Gt(0), Doc("relative residual at which they stop")] = 1e-8

    state_type = AdmmState

    def init(self, problem: Problem, x0: Array | None = None, seed: int = 0) -> AdmmState:
        if not _quadratic(problem):
            problem.require(problem.loss, "prox", "Admm", "Fista")
        blocks = _blocks(problem)
        if not blocks:
            raise CapabilityError("Admm needs a prior, got none. Use Cgls instead.")
        x = problem.start(x0)
        copies = tuple(operator @ x for _, operator in blocks)
        duals = tuple(tmap(lambda leaf: 0 * leaf, z) for z in copies)
        return AdmmState(0, x, x, copies, duals, self.penalty or _first_penalty(problem, blocks), 0.0, 0.0)

    def step(self, problem: Problem, state: AdmmState) -> AdmmState:
        blocks, r = _blocks(problem), state.penalty
        primal = self._solve_primal(problem, blocks, state)
        copies, duals, primal_square, dual_shift = [], [], 0.0, []
        for (outer, operator), z, u in zip(blocks, state.copies, state.duals, strict=True):
            point = axpy(1.0, operator @ primal, u)
            copy = outer.prox(point, 1.0 / r)
            dual = axpy(-1.0, copy, point)
            primal_square += norm(axpy(-1.0, u, dual)) ** 2  # u_new - u = K x - z
            dual_shift.append(operator.H @ axpy(-1.0, z, copy))
            copies.append(copy)
            duals.append(dual)
        state = AdmmState(
            state.iteration + 1,
            _reported(blocks, copies, primal),
            primal,
            tuple(copies),
            tuple(duals),
            r,
            primal_square**0.5,
            r * norm(total(dual_shift)),
        )
        return _balanced(state) if state.iteration % 10 == 0 else state

    def _solve_primal(self, problem: Problem, blocks: list[tuple[Any, Operator]], state: AdmmState) -> Array:
        r = state.penalty
        targets = [axpy(-1.0, u, z) for z, u in zip(state.copies, state.duals, strict=True)]
        data_prox = capability(problem.operator, "data_prox")
        plain = isinstance(problem.loss, LeastSquares) and all(isinstance(k, Identity) for _, k in blocks)
        if data_prox and plain:
            mean = tmap(lambda leaf: leaf / len(blocks), total(targets))
            return data_prox(mean, problem.data, r * len(blocks))
        pulls = [k.H @ tmap(lambda leaf: r * leaf, t) for (_, k), t in zip(blocks, targets, strict=True)]
        if _quadratic(problem):
            pulls.append(problem.operator.H @ _weighted(problem, problem.data))

        def normal(x: Array) -> Array:
            pulled = [tmap(lambda leaf: r * leaf, k.H @ (k @ x)) for _, k in blocks]
            if _quadratic(problem):
                pulled.append(problem.operator.H @ _weighted(problem, problem.operator @ x))
            return total(pulled)

        return cg(normal, total(pulls), x0=state.primal, iterations=self.inner, tol=self.tol)

    def measure(self, problem: Problem, state: AdmmState) -> dict[str, float]:
        values = super().measure(problem, state)
        if state.iteration:
            values |= {"primal_residual": state.primal_residual, "dual_residual": state.dual_residual}
        return values

    @classmethod
    def example(cls) -> Problem:
        return weighing(TV(0.5) + NonNegative())


class _LossBlock:
    """A loss with its data as a prior of the prediction."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem

    def prox(self, v: Array, t: float) -> Array:
        return self.problem.loss.prox(v, t, self.problem.data)  # type: ignore[attr-defined]


def _blocks(problem: Problem) -> list[tuple[Any, Operator]]:
    blocks, rest = parts(problem, "Admm")
    if rest is not None:
        blocks = [*blocks, (rest, Identity(problem.operator.domain))]
    if blocks and not _quadratic(problem):
        blocks = [*blocks, (_LossBlock(problem), problem.operator)]
    return blocks


def _quadratic(problem: Problem) -> bool:
    return isinstance(problem.loss, LeastSquares | WeightedLeastSquares)


def _weighted(problem: Problem, values: Array) -> Array:
    """W values, for the normal equations of a quadratic loss."""
    if isinstance(problem.loss, LeastSquares):
        return values
    return problem.loss.gradient(values, tmap(lambda leaf: 0 * leaf, values))


def _first_penalty(problem: Problem, blocks: list[tuple[Any, Operator]]) -> float:
    if not _quadratic(problem):
        return 1.0
    own = operator_norm(problem.operator, like=problem.data) ** 2
    others = sum(operator_norm(operator, like=problem.data) ** 2 for _, operator in blocks)
    return 0.1 * own / others if own and others else 1.0


def _reported(blocks: list[tuple[Any, Operator]], copies: list[Array], primal: Array) -> Array:
    """The copy that obeys the bounds, where there are any; else of another prior on x itself; else the x step's."""
    on_x = [
        (not is_interval(outer), k)
        for k, (outer, operator) in enumerate(blocks)
        if isinstance(operator, Identity)
    ]
    return copies[min(on_x)[1]] if on_x else primal


def _balanced(state: AdmmState) -> AdmmState:
    """Another penalty where one residual dwarfs the other; the scaled duals follow it."""
    if state.primal_residual > 10.0 * state.dual_residual:
        factor = 2.0
    elif state.dual_residual > 10.0 * state.primal_residual:
        factor = 0.5
    else:
        return state
    duals = tuple(tmap(lambda leaf: leaf / factor, u) for u in state.duals)
    return replace(state, penalty=factor * state.penalty, duals=duals)
