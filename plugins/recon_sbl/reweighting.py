"""Iterative reweighting: weights from the last image, a weighted solve, weights again; the weights are a plug-in.

    w = rule.weights(round)                                    of the image, its variance or the leverage so far
    norm 2    x = argmin 1/2 ||A x - y||^2 + 1/2 sum w |x|^2   the mean under the prior variances g = s2 / w
    norm 1    x = argmin 1/2 ||A x - y||^2 + sum w |x|         the mean under g = s2 |x| / w

The rules are in :mod:`recon_sbl.weight_rules`: LpRule and LogSumRule, whose weights follow entry by entry, and
SblL2Rule and SblL1Rule, which are sparse Bayesian learning.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

from annotated_types import Ge, Gt
from recon_proximal import ActiveSet, Fista, Reweighted

from recon import L1, Matrix, Problem, Solver, State
from recon.arrays import Array, device_of, is_complex, namespace, norm, real_like
from recon.errors import CapabilityError, ParameterError
from recon.linalg import cg
from recon.noise import known
from recon.params import Doc, short
from recon.solver import relative_change
from recon_sbl._active import identity
from recon_sbl._factor import Cholesky, adjoint, square
from recon_sbl._noise import deviation, noise_variance, whitened
from recon_sbl._scaling import Model, prepare
from recon_sbl._state import SblSolver, SblState, check_model
from recon_sbl.engines import Direct
from recon_sbl.weight_rules import LogSumRule, Round, SblL2Rule, WeightRule

__all__ = ["IterativelyReweighted", "ReweightedState"]

_EXACT = 1e-10
"""Noise variance over mean |y|^2 that stands for data without noise."""


@dataclass(frozen=True)
class ReweightedState(SblState):
    """SblState and the smoothing; variance is NaN where only products with the operator were used.

    Parameters
    ----------
    unit
        Natural size of the entries, real, of the domain's shape.
    eps
        Smoothing, as part of unit^2.
    """

    unit: Array
    eps: float


@dataclass(frozen=True)
class IterativelyReweighted(SblSolver):
    """Weights -> weighted solve, until the image rests; ``rule`` says which weights.

    ``result.x`` is the last weighted solution. The objective is 1/2 ||A x - y||^2 plus the rule's penalty, or, for the
    rules of sparse Bayesian learning, the evidence cost L. Rules of norm 2 solve by a Cholesky factor where A is a
    ``Matrix`` or the rule needs it (per round 2 m^2 n + m^3 / 3 flops, or m k^2 + 2 k^3 / 3 with k entries left; memory
    2 m n + m^2), else by conjugate gradients on D A^H A D + I with D = w^(-1/2). Rules of norm 1 hand
    ``Problem(A, y, L1(w))`` to ``solver``.

    ``Problem.noise`` None: rules of norm 2 fit the data exactly (s2 = 1e-10 mean |y|^2); ``SblL1Rule`` refuses it, and
    ``LogSumRule`` does not need it. Noise of several levels is whitened. One sample, real or complex.

    Parameters
    ----------
    rule
        A ``WeightRule``.
    solver
        Of the weighted l1 problems; None takes ``ActiveSet`` for real matrices, else ``Fista``.
    eps, eps_least
        Smoothing at first and at last, in units of u^2: a tenth as soon as the relative change of the image is below
        sqrt(eps) / 100.
    steps, inner_tol
        Most iterations of an iterative weighted solve, and the relative change (conjugate gradients: residual) at which
        it ends.
    tol
        The method has ended when the image changes by less than this part (and eps is at its least).

    Raises
    ------
    CapabilityError
        For another loss, a prior (``LogSumRule``: one that is not L1), tuples, a batch, or an operator too large for a
        matrix where the rule needs one.
    ParameterError
        For a rule or solver that is none, weights that are not > 0, or noise that the rule needs and nobody gave.

    References
    ----------
    D. Wipf, S. Nagarajan, IEEE J. Sel. Top. Signal Process. 4 (2010) 317, doi:10.1109/JSTSP.2010.2042413.
    """

    rule: Annotated[Any, Doc("the weights: a WeightRule")] = field(default_factory=SblL2Rule)
    solver: Annotated[Any, Doc("solver of the weighted l1 problems")] = None
    eps: Annotated[float, Gt(0), Doc("smoothing at first")] = 1.0
    eps_least: Annotated[float, Gt(0), Doc("smoothing at last")] = 1e-8
    steps: Annotated[int, Ge(1), Doc("most iterations of a weighted solve")] = 1000
    inner_tol: Annotated[float, Ge(0), Doc("relative change or residual at which it ends")] = 1e-8
    tol: Annotated[float, Gt(0), Doc("relative change of the image at which the method has ended")] = 1e-6

    state_type = ReweightedState

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, kind, hint in (("rule", WeightRule, "SblL2Rule()"), ("solver", Solver, "Fista()")):
            value = getattr(self, name)
            if not isinstance(value, kind) and not (name == "solver" and value is None):
                raise ParameterError(
                    f"IterativelyReweighted.{name} must be a {kind.__name__}, got {short(value)}. "
                    f"Make an instance: write {hint}."
                )

    def init(self, problem: Problem, x0: Array | None = None, seed: int = 0) -> ReweightedState:
        bare = replace(problem, prior=None) if isinstance(self.rule, LogSumRule) else problem
        check_model(bare, "IterativelyReweighted")
        if isinstance(self.rule, LogSumRule) and not isinstance(problem.prior, L1):
            raise CapabilityError(
                f"LogSumRule needs the prior L1 of x itself, got {problem.prior!r}. Use recon_proximal.Reweighted."
            )
        if self.rule.needs == "leverage" and self.rule.norm == 1:
            known(problem, "IterativelyReweighted")
        x = problem.start(x0)
        model = self._model(problem)
        unit = _unit(problem, model)
        state = ReweightedState(
            0, x, 0.0 * unit + math.nan, unit**2, self._noise(problem)[0], (), False, unit, self.eps
        )
        if self.rule.norm == 1 and model is None:
            return replace(state, costs=(self._objective(problem, state),))
        return self._quadratic(problem, state, model, unit**2)

    def step(self, problem: Problem, state: ReweightedState) -> ReweightedState:
        if state.settled:
            return replace(state, iteration=state.iteration + 1)
        model = self._model(problem)
        weights = self._weights(problem, state, model)
        solve = self._quadratic if self.rule.norm == 2 else self._absolute
        s2 = self._noise(problem)[1]
        new = solve(problem, state, model, s2 / weights if self.rule.norm == 2 else weights)
        change = relative_change(new.x, state.x)
        last = not self.rule.smoothed or state.eps <= self.eps_least
        eps = state.eps
        if not last and change < math.sqrt(eps) / 100.0:
            eps = max(eps / 10.0, self.eps_least)
        return replace(new, iteration=state.iteration + 1, eps=eps, settled=last and change <= self.tol)

    # -- the weights ----------------------------------------------------------------------------------------

    def _weights(self, problem: Problem, state: ReweightedState, model: Model | None) -> Array:
        weights = self.rule.weights(self._round(problem, state, model))
        xp = namespace(state.x)
        good = weights >= 0 if self.rule.norm == 1 else weights > 0  # l1 may leave an entry free
        if tuple(weights.shape) != tuple(state.x.shape) or not bool(xp.all(good)):
            raise ParameterError(
                f"{type(self.rule).__name__}.weights must be > 0 and of shape {tuple(state.x.shape)}, got "
                f"{short(weights)} with other entries. Add a small eps where the image can be 0."
            )
        return weights

    def _round(self, problem: Problem, state: ReweightedState, model: Model | None) -> Round:
        found = {}
        if self.rule.needs == "variance":
            found["variance"] = state.variance
        if self.rule.needs == "leverage":
            assert model is not None
            found["leverage"] = _leverage(model, state.gamma, self._noise(problem)[1])
        s2 = self._noise(problem)[1]
        return Round(problem, state.x, state.unit, s2, state.eps, state.iteration, **found)

    def _noise(self, problem: Problem) -> tuple[float, float]:
        """Standard deviation as in Problem.noise, and s2 (its mean)."""
        s2: Any = noise_variance(problem, "IterativelyReweighted")
        if s2 is None:
            size = norm(problem.data) ** 2 / problem.operator.shape[0]
            return 0.0, _EXACT * (size or 1.0)
        s2 = s2 if isinstance(s2, float) else float(namespace(s2).mean(s2))
        return deviation(s2, problem.data), s2

    def _model(self, problem: Problem) -> Model | None:
        """The problem as a matrix, where it is one or the rule needs one."""
        easy = isinstance(problem.operator, Matrix) and self.rule.norm == 2
        if self.rule.needs == "nothing" and not easy:
            return None
        return prepare(problem, "IterativelyReweighted")

    def _objective(self, problem: Problem, state: ReweightedState, evidence: float = math.nan) -> float:
        """What the rule reports: 1/2 ||A x - y||^2 and its penalty, or L."""
        s2 = self._noise(problem)[1]
        penalty = self.rule.penalty(
            Round(problem, state.x, state.unit, s2, state.eps, state.iteration, state.variance)
        )
        if penalty is None:
            return evidence
        plain = isinstance(self.rule, LogSumRule)
        operator, data = _plain(problem) if plain else whitened(problem, "IterativelyReweighted")[:2]
        return problem.loss.value(operator @ state.x, data) + penalty

    # -- the weighted solves --------------------------------------------------------------------------------

    def _quadratic(
        self, problem: Problem, state: ReweightedState, model: Model | None, gamma: Array
    ) -> ReweightedState:
        """The state with the mean under the prior variances gamma."""
        s2, cost = self._noise(problem)[1], math.nan
        if model is None:
            x = self._by_products(problem, state.x, gamma, s2)
            new = replace(state, x=x, gamma=gamma, variance=0.0 * gamma + math.nan)
        else:
            new, cost = _posterior(model, state, gamma, s2)
        return replace(new, costs=(*state.costs, self._objective(problem, new, cost)))

    def _by_products(self, problem: Problem, start: Array, gamma: Array, s2: float) -> Array:
        """argmin 1/2 ||A x - y||^2 + s2/2 sum |x|^2 / gamma by conjugate gradients in x / sqrt(gamma)."""
        operator, data, _ = whitened(problem, "IterativelyReweighted")
        xp = namespace(start)
        D = xp.sqrt(gamma)
        on = D > 0
        inverse = xp.where(on, 1.0 / xp.where(on, D, xp.ones_like(D)), xp.zeros_like(D))
        u = cg(
            lambda v: D * (operator.H @ (operator @ (D * v))) + s2 * v,
            D * (operator.H @ data),
            x0=inverse * start,
            iterations=self.steps,
            tol=self.inner_tol,
        )
        return D * u

    def _absolute(
        self, problem: Problem, state: ReweightedState, model: Model | None, weights: Array
    ) -> ReweightedState:
        """The state after a lasso with these weights: one round of recon_proximal.Reweighted, from where x is."""
        plain = isinstance(self.rule, LogSumRule)
        operator, data = _plain(problem) if plain else whitened(problem, "IterativelyReweighted")[:2]
        quick = isinstance(operator, Matrix) and not is_complex(data)
        solver = self.solver or (ActiveSet() if quick else Fista())
        once = Reweighted(solver, rounds=1, steps=self.steps, tol=self.inner_tol)
        xp, s2, cost = namespace(state.x), self._noise(problem)[1], math.nan
        start, penalty, single = state.x, weights, data.dtype == xp.float32
        if quick and single:  # from 50 dB on the objective of the lasso is too small a part of |y|^2
            start, data, penalty = (xp.astype(one, xp.float64) for one in (start, data, penalty))
        x = once.step(Problem(operator, data, L1(penalty)), State(0, start)).x
        x = xp.astype(x, state.x.dtype)
        on = weights > 0
        gamma = xp.where(on, s2 * xp.abs(x) / xp.where(on, weights, xp.ones_like(weights)), 0.0 * weights)
        new = replace(state, x=x, gamma=gamma)
        if model is not None:
            found, cost = _posterior(model, new, gamma, s2)
            new = replace(new, variance=found.variance)
        return replace(new, costs=(*state.costs, self._objective(problem, new, cost)))

    def variance(self, state: SblState) -> Array:
        """diag(Sigma) for the last prior variances; None where only products were used."""
        return (
            None if bool(namespace(state.variance).any(state.variance != state.variance)) else state.variance
        )

    @classmethod
    def example(cls) -> Problem:
        from recon_sbl.batch import Sbl

        return Sbl.example()


def _plain(problem: Problem) -> tuple[Any, Array]:
    return problem.operator, problem.data


def _posterior(
    model: Model, state: ReweightedState, gamma: Array, s2: float
) -> tuple[ReweightedState, float]:
    """The state with mean and variance for gamma, and L."""
    xp, unit, shape = namespace(gamma), model.unit, state.gamma.shape
    flat = xp.reshape(gamma, (-1,))
    found = Direct(model.matrix, model.data)(flat / unit**2, s2 / unit**2)
    x = xp.reshape(found.mean * unit, shape)
    variance = xp.reshape(found.variance * unit**2, shape)
    return replace(state, x=x, variance=variance, gamma=gamma), found.cost + model.constant


def _leverage(model: Model, gamma: Array, s2: float) -> Array:
    """z_i = a_i^H S^(-1) a_i of all entries, in the units of the problem: 2 m^2 n flops."""
    xp, level = namespace(gamma), s2 / model.unit**2
    double = xp.complex128 if is_complex(model.matrix) else xp.float64  # single holds no S of more than 30 dB
    A = xp.astype(model.matrix, double, copy=False)
    flat = xp.reshape(gamma, (-1,)) / model.unit**2
    factor = Cholesky(
        (A * xp.astype(flat, double)[None, :]) @ adjoint(A) + level * identity(xp, A.shape[0], A)
    )
    z = xp.sum(square(factor.half(A)), axis=0) / model.unit**2
    return xp.reshape(xp.astype(z, gamma.dtype, copy=False), gamma.shape)


def _unit(problem: Problem, model: Model | None) -> Array:
    """The natural size of the entries: rms(y) over the lengths of the columns, or the largest entry of a guess."""
    domain: Any = problem.operator.domain
    like = problem.data
    if model is not None:
        xp = namespace(model.lengths)
        on = model.lengths > 0
        size = model.unit / xp.where(on, model.lengths, xp.ones_like(model.lengths))
        return xp.reshape(size, domain.shape)
    xp = namespace(like)
    back = problem.operator.H @ like
    curvature = norm(problem.operator @ back) ** 2
    step = norm(back) ** 2 / curvature if curvature else 1.0
    largest = step * float(xp.max(xp.abs(back)))
    ones = xp.ones(domain.shape, device=device_of(like))
    return real_like(1.0, like) * xp.astype(ones, real_like(1.0, like).dtype) * (largest or 1.0)
