"""PDHG: primal-dual hybrid gradient (Chambolle and Pock 2011) with nested steps for priors that split.

    minimise  f(A x) + sum_b F_b(K_b x) + G(x)       f = the loss, F_b(K_b x) = priors that split, G = the rest

    x = argmin  G(x) + sum_b F_b(K_b x) + ||x - (u - t A^H v)||^2 / (2 t)      by a few steps from the last duals
    y = prox_(s f*)(v + s A (2 x - u))
    u <- u + r (x - u),   v <- v + r (y - v)                    0 < r < 2      (Condat 2013, algorithm 3.1)

    t = w / columns(A),   s = 1 / (w rows(A))                (Pock and Chambolle 2011, alpha = 1)

rows and columns are the sums of |A|, or the norm of A where A has negative entries; w is the balance between primal
and dual step. A product with A serves several steps on the priors (`_inner`), which cost less and need more of them:
so the image settles in half as many products as where both take one step each. A x and A u are kept from step to
step, so that one forward and one adjoint product per iteration serve both the step and the objective.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any

from annotated_types import Ge, Gt, Interval

from recon import TV, Diagonal, Identity, NonNegative, Problem, Solver, State
from recon.arrays import Array, leaves, namespace, norm, per_member, tmap, zeros
from recon.derivatives import FiniteDifference, Gradient
from recon.errors import CapabilityError
from recon.linalg import absolute_sums
from recon.linalg import norm as operator_norm
from recon.losses import loss_prox_conjugate
from recon.operator import Operator, capability
from recon.params import Doc
from recon.priors import Prior, terms
from recon.priors.bounds import Separable
from recon.solver import Fit
from recon_proximal._certified import measured
from recon_proximal._examples import weighing
from recon_proximal._inner import descend, square_bounds
from recon_proximal._parts import parts, require_convex

__all__ = ["Pdhg", "PdhgState"]


@dataclass(frozen=True)
class PdhgState(State):
    """Image x and relaxed image u with their predictions, relaxed dual v, steps, and the first image.

    ``dual`` and ``sigma`` belong to the loss; ``duals`` and ``bounds``, of ||K_b||^2, hold one member per split prior.
    """

    relaxed: Array
    start: Array
    dual: Array
    prediction: Array
    relaxed_prediction: Array
    duals: tuple[Array, ...]
    tau: Array
    sigma: Array
    bounds: tuple[float, ...]
    balance: float


@dataclass(frozen=True)
class Pdhg(Solver):
    """Primal-dual hybrid gradient for any convex loss with a prox and any sum of priors.

    Minimises loss(A x, y) + prior(x). Priors that split (TV) are taken apart and get `inner` steps of their own in
    every iteration, each from where the last one ended. The objective does not fall monotonically. Per iteration one
    forward and one adjoint product; of each split ``inner`` products forward and one more adjoint. Memory: 6 images,
    5 predictions, and 3 fields per split.

    Convergence for every convex problem, O(1/k), is proven where nothing splits, and where the inner problem is
    solved ever more accurately (Rasch and Chambolle 2020). For a fixed number of inner steps from the last duals it
    is proven where the loss is smooth and met by its gradient (Bonettini, Prato and Rebegoldi 2023); here it is
    measured: to 1e-9 of the objective on the problems of the tests.

    Parameters
    ----------
    balance
        w, ratio of the primal to the dual step in units of the preconditioned problem. None starts from 1 and
        corrects w at iterations 3, 8, 20, 40, ... 640 to a quarter of the ratio of the distances that image
        and dual have travelled. (The error bound |x* - x0|^2 / t + |y* - y0|^2 / s is least where both are
        equal; the share was measured on CT, inpainting, denoising and deblurring.) After iteration 640 it
        stays, so that convergence is that of fixed steps.
    relaxation
        r in (0, 2); 1 is the plain method. At 1.8 the iterations to a given objective are about half as many.
    inner
        Steps on the priors that split in each iteration. None takes 16 where they cost a few passes over the image
        (differences): 32 where A is diagonal, 64 where A^H A = c I (denoising). It takes 3 where they cost more.

    Raises
    ------
    CapabilityError
        When a part of the problem has neither a prox nor a split, or a prior is not convex.
    """

    balance: Annotated[float | None, Gt(0), Doc("primal over dual step, preconditioned; None finds it")] = (
        None
    )
    relaxation: Annotated[float, Interval(gt=0, lt=2), Doc("over-relaxation; 1 is the plain method")] = 1.8
    inner: Annotated[int | None, Ge(1), Doc("steps on the priors that split; None chooses by their cost")] = (
        None
    )

    state_type = PdhgState

    def init(self, problem: Problem, x0: Array | None = None, seed: int = 0) -> PdhgState:
        if not (capability(problem.loss, "prox") or capability(problem.loss, "prox_conjugate")):
            raise CapabilityError(
                f"Pdhg needs {type(problem.loss).__name__}.prox, which it has not. Use Fista instead."
            )
        require_convex(problem, "Pdhg")
        splits, rest = parts(problem, "Pdhg")
        x = problem.start(x0)
        prediction = problem.operator @ x
        tau, sigma = _steps(problem, not splits and _entrywise(rest))
        zero = tmap(lambda leaf: 0 * leaf, prediction)
        duals = tuple(tmap(lambda leaf: 0 * leaf, k @ x) for _, k in splits)
        bounds = square_bounds(splits, problem.data)
        state = PdhgState(0, x, x, x, zero, prediction, prediction, duals, tau, sigma, bounds, 1.0)
        state = _rebalanced(state, self.balance or 1.0)
        return replace(state, dual=_dual_step(problem, state, prediction))

    def step(self, problem: Problem, state: PdhgState) -> PdhgState:
        splits, rest = parts(problem, "Pdhg")
        slope = problem.operator.H @ state.dual
        z = tmap(lambda u, s, t: u - t * s, state.relaxed, slope, per_member(state.tau, state.relaxed))
        inner = self.inner or _inner_steps(problem.operator, splits)
        x, duals = descend(splits, rest, z, state.tau, state.duals, state.bounds, inner)
        prediction = problem.operator @ x
        mix = partial(_mixed, self.relaxation)
        state = replace(
            state,
            iteration=state.iteration + 1,
            x=x,
            relaxed=mix(state.relaxed, x),
            dual=mix(state.dual, _dual_step(problem, state, prediction)),
            prediction=prediction,
            relaxed_prediction=mix(state.relaxed_prediction, prediction),
            duals=duals,
        )
        if self.balance is None and state.iteration in _CORRECT_AT:
            return _rebalanced(state, _travelled_balance(state))
        return state

    def measure(self, problem: Problem, state: PdhgState) -> dict[str, float]:
        return measured(problem, state.x, state.prediction, dual=state.dual, duals=state.duals)

    @classmethod
    def suits(cls, problem: Problem) -> Fit | None:
        try:
            require_convex(problem, "Pdhg")
            parts(problem, "Pdhg")
        except CapabilityError:
            return None
        if not (capability(problem.loss, "prox") or capability(problem.loss, "prox_conjugate")):
            return None
        # measured in `recon bench convex`: on photographs the biharmonic equation was 1.2 dB better than TV
        hint = "; compare an interpolation" if isinstance(problem.operator, Diagonal) else ""
        return Fit(1.0, "convex problem whose priors split" + hint)

    @classmethod
    def example(cls) -> Problem:
        return weighing(TV(0.5) + NonNegative())


_SHARE = 0.25  # measured on tomography, inpainting, denoising and deblurring: 0.1 and 0.4 take 10 % more
_CORRECT_AT = frozenset((3, 8, *(20 * 2**k for k in range(6))))


def _inner_steps(operator: Operator, splits: list[tuple[Any, Operator]]) -> int:
    """How many inner steps are worth an iteration, by what one costs and what a product with A does."""
    if not all(isinstance(k, Gradient | FiniteDifference | Identity) for _, k in splits):
        return 3
    if capability(operator.H, "row_scale"):
        return 64  # the inner problem is nearly the whole
    return 32 if isinstance(operator, Diagonal) else 16


def _dual_step(problem: Problem, state: PdhgState, prediction: Array) -> Array:
    """y from v and A (2 x - u), of which both products are at hand."""
    ahead = tmap(_extrapolated, prediction, state.relaxed_prediction)
    dual = tmap(_ascended, state.dual, per_member(state.sigma, state.dual), ahead)
    return loss_prox_conjugate(problem.loss, dual, state.sigma, problem.data)


def _mixed(relaxation: float, old: Array, new: Array) -> Array:
    """old + relaxation (new - old), in one temporary."""
    if relaxation == 1.0:
        return new

    def one(a: Any, b: Any) -> Any:
        mixed = b - a
        mixed *= relaxation
        mixed += a
        return mixed

    return tmap(one, old, new)


def _steps(problem: Problem, entrywise: bool) -> tuple[Any, Any]:
    """tau and sigma for w = 1; one tau for all entries unless the prox is entrywise."""
    rows, columns = _sums_or_norm(problem)
    tau = _divided(1.0, columns if entrywise else _largest(columns))
    return tau, tmap(lambda r: _divided(1.0, r), rows)


def _sums_or_norm(problem: Problem) -> tuple[Any, Any]:
    """Row and column sums of |A| where no entry of A is negative, else the norm for both.

    Signs and phases that cancel make the sums far larger than the norm (sqrt(n) times for a random matrix), and
    steps made of them tiny. Without them the rows of |A| sum to A 1, which is one product to check.
    """
    operator, data = problem.operator, problem.data
    if capability(operator, "absolute_sums"):
        rows, columns = absolute_sums(operator, data)
        ones = tmap(lambda leaf: leaf + 1.0, zeros(operator.domain, data))
        missing = tmap(lambda total, r: abs(total - r), operator @ ones, per_member(rows, data))
        if all(
            _largest(m) <= 1e-3 * _largest(r)
            for m, r in zip(leaves(missing), leaves(per_member(rows, data)), strict=True)
        ):
            return rows, columns
    size = operator_norm(operator, like=data)
    return size, size


def _entrywise(rest: Prior | None) -> bool:
    return all(isinstance(term, Separable) for term in terms(rest))


def _divided(numerator: float, sums: Any) -> Any:
    """numerator / sums; entries that nothing touches take any step: 1."""
    if not hasattr(sums, "shape"):
        return numerator / sums if sums > 0.0 else 1.0
    xp = namespace(sums)
    touched = sums > 1e-12 * float(xp.max(sums))
    ones = xp.ones_like(sums)
    return xp.where(touched, numerator / xp.where(touched, sums, ones), ones)


def _largest(sums: Any) -> float:
    return float(namespace(sums).max(sums)) if hasattr(sums, "shape") else float(sums)


def _extrapolated(now: Any, before: Any) -> Any:
    """2 now - before, in one temporary."""
    ahead = 2.0 * now
    ahead -= before
    return ahead


def _ascended(dual: Any, sigma: Any, ahead: Any) -> Any:
    """dual + sigma ahead."""
    step = sigma * ahead
    step += dual
    return step


# -- the balance between primal and dual step ------------------------------------------------------------


def _rebalanced(state: PdhgState, balance: float) -> PdhgState:
    """The state with the steps of another balance; the old one is undone."""
    factor = balance / state.balance
    return replace(
        state,
        tau=state.tau * factor,
        sigma=tmap(lambda s: s / factor, state.sigma),
        balance=balance,
    )


def _scaled_norm(x: Array, step: Any) -> float:
    """||x / sqrt(step)||: the length of x in the metric of its step."""
    return norm(tmap(lambda leaf, s: leaf / s**0.5, x, per_member(step, x)))


def _travelled_balance(state: PdhgState) -> float:
    """The w at which image and dual have travelled equally far, times the share."""
    primal = _scaled_norm(tmap(lambda a, b: a - b, state.x, state.start), state.tau)
    dual = _scaled_norm(state.dual, state.sigma)
    if not (primal > 0.0 and dual > 0.0):
        return state.balance
    return float(_SHARE * state.balance * primal / dual)
