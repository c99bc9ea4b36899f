"""PDHG: primal-dual hybrid gradient (Chambolle and Pock 2011) with diagonal preconditioning.

    minimise  sum_b F_b(K_b x) + G(x)          F_0(A x) = the loss, F_b(K_b x) = priors that split, G = the rest

    x   = prox_(t G)(u - t sum_b K_b^H v_b)                      u, v: the relaxed x and y
    y_b = prox_(s_b F_b*)(v_b + s_b K_b (2 x - u))
    u  <- u + r (x - u),   v_b <- v_b + r (y_b - v_b)            0 < r < 2   (Condat 2013, algorithm 3.1)

    t = w / sum_b c_b columns(K_b),   s_b = c_b / (w rows(K_b))          (Pock and Chambolle 2011, alpha = 1)

rows and columns are the sums of |K_b|, or the norm of A where A has negative entries; c_b gives every block
the same share of the columns; w is the balance between primal and dual step. A x and A u are kept from step to
step, so that one forward and one adjoint product per iteration serve both the step and the objective.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any

from annotated_types import Gt, Interval

from recon import TV, NonNegative, Problem, Solver, State
from recon.arrays import Array, leaves, namespace, norm, per_member, tmap, zeros
from recon.errors import CapabilityError
from recon.linalg import absolute_sums
from recon.linalg import norm as operator_norm
from recon.losses import loss_prox_conjugate
from recon.operator import Operator, capability
from recon.params import Doc
from recon.priors import Prior, prox_conjugate, terms
from recon.priors.base import Separable
from recon.solver import Fit
from recon_proximal._examples import weighing
from recon_proximal._parts import parts

__all__ = ["Pdhg", "PdhgState"]


@dataclass(frozen=True)
class PdhgState(State):
    """Image x and relaxed image u with their predictions, relaxed dual variables v, steps, and the first image.

    ``dual`` and ``sigma`` belong to the loss; ``duals`` and ``sigmas`` hold one member per split prior.
    """

    relaxed: Array
    start: Array
    dual: Array
    prediction: Array
    relaxed_prediction: Array
    duals: tuple[Array, ...]
    tau: Array
    sigma: Array
    sigmas: tuple[Array, ...]
    balance: float


@dataclass(frozen=True)
class Pdhg(Solver):
    """Primal-dual hybrid gradient for any convex loss with a prox and any sum of priors.

    Minimises loss(A x, y) + prior(x), where priors that split (TV) are taken apart, so that no inner problem is
    ever solved. Converges for every convex problem, the objective not monotonically; O(1/k). Per iteration one
    forward, one adjoint, and the same of each split. Memory: 6 images, 5 predictions, and 3 fields per split.

    Parameters
    ----------
    balance
        w, ratio of the primal to the dual step in units of the preconditioned problem. None starts from 1 and
        corrects w at iterations 10, 20, 40, ... 640 to a tenth of the ratio of the distances that image
        and dual have travelled. (The error bound |x* - x0|^2 / t + |y* - y0|^2 / s is least where both are
        equal; the share was measured on CT, inpainting, denoising and deblurring.) After iteration 640 it
        stays, so that convergence is that of fixed steps.
    relaxation
        r in (0, 2); 1 is the plain method. At 1.8 the iterations to a given objective are about half as many.

    Raises
    ------
    CapabilityError
        When a part of the problem has neither a prox nor a split.
    """

    balance: Annotated[float | None, Gt(0), Doc("primal over dual step, preconditioned; None finds it")] = (
        None
    )
    relaxation: Annotated[float, Interval(gt=0, lt=2), Doc("over-relaxation; 1 is the plain method")] = 1.8

    state_type = PdhgState

    def init(self, problem: Problem, x0: Array | None = None, seed: int = 0) -> PdhgState:
        if not (capability(problem.loss, "prox") or capability(problem.loss, "prox_conjugate")):
            raise CapabilityError(
                f"Pdhg needs {type(problem.loss).__name__}.prox, which it has not. Use Fista instead."
            )
        splits, rest = parts(problem, "Pdhg")
        x = problem.start(x0)
        prediction = problem.operator @ x
        tau, sigmas = _steps(problem, splits, rest)
        zero = tmap(lambda leaf: 0 * leaf, prediction)
        duals = tuple(tmap(lambda leaf: 0 * leaf, k @ x) for _, k in splits)
        state = PdhgState(0, x, x, x, zero, prediction, prediction, duals, tau, sigmas[0], sigmas[1:], 1.0)
        state = _rebalanced(state, self.balance or 1.0)
        dual, duals = _dual_step(problem, state, x, prediction)
        return replace(state, dual=dual, duals=duals)

    def step(self, problem: Problem, state: PdhgState) -> PdhgState:
        splits, rest = parts(problem, "Pdhg")
        slope = problem.operator.H @ state.dual
        for (_, operator), dual in zip(splits, state.duals, strict=True):
            slope = tmap(lambda a, b: a + b, slope, operator.H @ dual)
        x = tmap(lambda u, s, t: u - t * s, state.relaxed, slope, per_member(state.tau, state.relaxed))
        if rest is not None:
            x = rest.prox(x, state.tau)  # type: ignore[attr-defined]
        prediction = problem.operator @ x
        dual, duals = _dual_step(problem, state, x, prediction)
        mix = partial(_mixed, self.relaxation)
        state = replace(
            state,
            iteration=state.iteration + 1,
            x=x,
            relaxed=mix(state.relaxed, x),
            dual=mix(state.dual, dual),
            prediction=prediction,
            relaxed_prediction=mix(state.relaxed_prediction, prediction),
            duals=tuple(mix(old, new) for old, new in zip(state.duals, duals, strict=True)),
        )
        if self.balance is None and state.iteration in _CORRECT_AT:
            return _rebalanced(state, _travelled_balance(state))
        return state

    def measure(self, problem: Problem, state: PdhgState) -> dict[str, float]:
        loss = problem.loss.value(state.prediction, problem.data)
        return {"objective": loss + problem.penalty(state.x), "loss": loss}

    @classmethod
    def suits(cls, problem: Problem) -> Fit | None:
        try:
            parts(problem, "Pdhg")
        except CapabilityError:
            return None
        if not (capability(problem.loss, "prox") or capability(problem.loss, "prox_conjugate")):
            return None
        return Fit(1.0, "convex problem whose priors split")

    @classmethod
    def example(cls) -> Problem:
        return weighing(TV(0.5) + NonNegative())


_SHARE = 0.1  # measured: within a factor 2 of the best share on CT, inpainting, denoising and deblurring
_CORRECT_AT = frozenset(10 * 2**k for k in range(7))


def _dual_step(
    problem: Problem, state: PdhgState, x: Array, prediction: Array
) -> tuple[Array, tuple[Array, ...]]:
    """y from v and 2 x - u; A is linear, so its share comes from predictions at hand."""
    splits, _ = parts(problem, "Pdhg")
    ahead = tmap(_extrapolated, prediction, state.relaxed_prediction)
    dual = tmap(_ascended, state.dual, per_member(state.sigma, state.dual), ahead)
    dual = loss_prox_conjugate(problem.loss, dual, state.sigma, problem.data)
    ahead, duals = tmap(_extrapolated, x, state.relaxed), []
    for (outer, operator), old, sigma in zip(splits, state.duals, state.sigmas, strict=True):
        new = tmap(_ascended, old, per_member(sigma, old), operator @ ahead)
        duals.append(prox_conjugate(outer, new, sigma))
    return dual, tuple(duals)


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


def _steps(
    problem: Problem, splits: list[tuple[Prior, Operator]], rest: Prior | None
) -> tuple[Any, tuple[Any, ...]]:
    """tau and the sigmas for w = 1."""
    sums = [_sums_or_norm(problem)]
    for _, operator in splits:
        rows, columns = absolute_sums(operator, problem.data)
        sums.append(
            (max(map(_largest, rows)) if isinstance(rows, tuple) else rows, columns)
        )  # one step a prox
    first = _largest(sums[0][1])
    shares = [1.0] + [first / (_largest(columns) or 1.0) if first else 1.0 for _, columns in sums[1:]]
    total: Any = 0.0
    for share, (_, columns) in zip(shares, sums, strict=True):
        total = total + share * columns
    tau = _divided(1.0, total)
    if hasattr(tau, "shape") and not _entrywise(rest):
        tau = float(namespace(tau).min(tau))  # this prox knows one step for all entries only
    sigmas = tuple(
        tmap(lambda r, s=share: _divided(s, r), rows) for share, (rows, _) in zip(shares, sums, strict=True)
    )
    return tau, sigmas


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
        sigmas=tuple(s / factor for s in state.sigmas),
        balance=balance,
    )


def _scaled_norm(x: Array, step: Any) -> float:
    """||x / sqrt(step)||: the length of x in the metric of its step."""
    return norm(tmap(lambda leaf, s: leaf / s**0.5, x, per_member(step, x)))


def _travelled_balance(state: PdhgState) -> float:
    """The w at which image and dual have travelled equally far, times the share."""
    primal = _scaled_norm(tmap(lambda a, b: a - b, state.x, state.start), state.tau)
    pairs = [(state.dual, state.sigma), *zip(state.duals, state.sigmas, strict=True)]
    dual = sum(_scaled_norm(y, s) ** 2 for y, s in pairs) ** 0.5
    if not (primal > 0.0 and dual > 0.0):
        return state.balance
    return float(_SHARE * state.balance * primal / dual)
