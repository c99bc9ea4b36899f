"""Sparse Bayesian learning by approximate message passing: two products with A per iteration, no matrix is factored.

    tau_p = |A|^2 v                       p = A x - tau_p s
    tau_s = 1 / (tau_p + s2)              s <- tau_s (y - p)
    1 / tau_r = |A|^2T tau_s              r = x + tau_r A^H s
    v = g tau_r / (g + tau_r)             x <- g / (g + tau_r) r
    g <- (|x|^2 + v) / (1 + 2 e)          s2 <- (||y - A x||^2 + s2 sum tau_p tau_s) / m

s and x take a part d of each step (damping). Where it comes to rest, s s2 = y - A x and x = g A^H s: the exact
posterior mean, whatever A. The variances are exact for large matrices of independent entries (and, in unitary form,
of random right singular vectors); for others they are approximate.

The unitary form works on U^H y = diag(l) V^H x + n from A = U diag(l) V^H, and converges where A is ill-conditioned or
its columns are correlated.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any

import numpy as np
from annotated_types import Gt, Interval

from recon import Matrix, Problem
from recon.arrays import Array, as_numpy, finite, namespace, norm
from recon.errors import ParameterError
from recon.params import Doc, short
from recon_sbl._active import total
from recon_sbl._channels import Channel, Form, channel
from recon_sbl._factor import square
from recon_sbl._noise import START, deviation
from recon_sbl._state import SblSolver, SblState, check_model

__all__ = ["AmpSbl", "AmpState"]

_CALM, _LATEST = 1e-2, 100
"""Change of gamma at which shape and noise begin to be learned, and the iteration at which they do at the latest."""
_LIMITS, _UNITARY_LIMITS = (2.0, 1.0), (100.0, 10.0)
"""A step is taken back that makes the cost of x larger by the first factor, or the misfit larger than the energy of the
data by the second. The unitary form finds back from excursions that the others do not."""
_RECOVER, _FLOOR = 1.05, 0.01
"""Growth of the damping after a good step, and its least value."""
_NOISELESS = 1e-10
"""Least noise variance that is learned, in units of mean |y|^2."""


@dataclass(frozen=True)
class AmpState(SblState):
    """SblState and the messages. ``costs`` hold L in the large-system limit, where variances do not depend on details.

    Parameters
    ----------
    dual
        s, of the codomain or of the coefficients of U^H y.
    image
        A x, likewise.
    spread
        v, damped, of the domain's shape.
    level
        s2 in use.
    damping
        d of the next iteration.
    shape
        e of the last one.
    refining
        Whether shape and noise are being learned.
    taken_back
        Steps that were taken back.
    stuck
        Whether it has ended because even the least damping diverged.
    """

    dual: Array
    image: Array
    spread: Array
    level: float
    damping: float
    shape: float
    refining: bool
    taken_back: int
    stuck: bool


@dataclass(frozen=True)
class AmpSbl(SblSolver):
    """GAMP-SBL and UAMP-SBL: sparse Bayesian learning at the cost of two products per iteration, on any operator.

    With ``shape=0.0`` it seeks the same gamma as ``Sbl``. The default ``"auto"`` prefers sparser ones: the precisions
    1/g have the hyperprior Gamma(e, 0) with e = sqrt(log mean(1/g) - mean log(1/g)) / 2, learned as it goes (Luo et
    al.), g bounded below by ``prune``. On sparse images that about halves the error of plain sparse Bayesian learning,
    and it keeps the learned noise from collapsing where there are fewer data than entries. For images that are not
    sparse take 0. L is reported, not minimised.

    Message passing can diverge. A step after which ||y - A x||^2 / s2 + sum |x|^2 / g has doubled (unitary: is 100
    times as large), or ||y - A x||^2 exceeds what it was and ||y||^2 (10 ||y||^2), is taken back, the damping halved.
    Where the least damping still diverges it ends and says so (``provenance["remarks"]``). Where columns are
    correlated the forms other than unitary keep swinging even so. The unitary form swings long where
    entries are few, or fewer than data and mostly not 0 (of 30 x 5, sometimes for more than 1000 iterations): take
    ``"full"``, or ``Sbl``, which is cheap there.

    Cost per iteration: one product with A and A^H, in form ``"full"`` also with |A|^2 and its transpose. Memory: eight
    arrays of n and m; ``"full"`` keeps |A|^2, ``"unitary"`` U and V of a matrix.

    Parameters
    ----------
    form
        How variances go through A. ``"unitary"``: by singular values, for any matrix (decomposed once, 6 m^2 n flops)
        and operators with ``svd`` or ``row_scale``. ``"full"``: by |A|^2, for a Matrix of independent entries.
        ``"mean"``: by ||A||_F^2, any operator. ``"auto"``: unitary where that is cheap, else full or mean.
    shape
        e >= 0, or ``"auto"``.
    joint
        Batch axes of the data are snapshots of one support.
    damping
        d at the start, 0 < d <= 1.
    prune
        Entries whose g_i ||a_i||^2 falls below this part of the largest are left out. With ``"auto"`` it also limits e.
    tol
        The method has ended when sum |change of g_i ||a_i||^2| is below this part of the sum.

    Raises
    ------
    CapabilityError
        For another loss, a prior, tuples, a batch without ``joint``, or an operator that the form does not serve.

    References
    ----------
    M. Al-Shoukairi, P. Schniter, B. D. Rao, IEEE Trans. Signal Process. 66 (2018) 294, arXiv:1703.03044 (damped GAMP in
    the E-step); M. Luo, Q. Guo, M. Jin, Y. C. Eldar, D. Huang, X. Meng, arXiv:2101.09954 (unitary form, e); J. Vila et
    al., arXiv:1412.2005 (adaptive damping; the rule here is ours).
    """

    form: Annotated[Form, Doc("how variances go through the operator")] = "auto"
    shape: Annotated[Any, Doc("shape e >= 0 of the hyperprior, or 'auto'")] = "auto"
    joint: Annotated[bool, Doc("batch axes are snapshots that share the prior variances")] = False
    damping: Annotated[float, Interval(gt=0, le=1), Doc("part of each step that is taken, at the start")] = (
        1.0
    )
    prune: Annotated[float, Interval(ge=1e-30, lt=1), Doc("leave out what falls below this part")] = 1e-20
    tol: Annotated[float, Gt(0), Doc("relative change of gamma at which the method has ended")] = 1e-5

    state_type = AmpState

    def __post_init__(self) -> None:
        super().__post_init__()
        value = self.shape
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if value != "auto" and not (number and 0 <= value < math.inf):
            raise ParameterError(
                f"AmpSbl.shape must be 'auto' or a number >= 0, got {short(value)}. 0.0 is plain SBL."
            )

    def init(self, problem: Problem, x0: Array | None = None, seed: int = 0) -> AmpState:
        check_model(problem, "AmpSbl", joint=self.joint)
        x = problem.start(x0)
        x = x - x
        found = channel(problem, self.form, "AmpSbl")
        mean = _mean_square(found)
        gamma = mean / found.powers
        level = found.s2 if found.s2 is not None else START * mean
        zero = found.data - found.data
        spread = found.spread(gamma)
        cost = _cost(
            found, zero, x, gamma, level or 1.0, spread, found.gather(1.0 / (spread + (level or 1.0)))
        )
        return AmpState(
            0, x, gamma, gamma, deviation(level, problem.data), (cost,), norm(problem.data) == 0.0,
            zero, zero, gamma, level, self.damping, 0.0, False, 0, False,
        )  # fmt: skip

    def step(self, problem: Problem, state: AmpState) -> AmpState:
        if state.settled:
            return replace(state, iteration=state.iteration + 1)
        found = channel(problem, self.form, "AmpSbl")
        state = replace(state, iteration=state.iteration + 1)
        new = _pass(found, state)
        if not _sound(found, state, new):
            stuck = state.damping <= _FLOOR
            return replace(
                state,
                costs=(*state.costs, state.costs[-1]),
                damping=max(0.5 * state.damping, _FLOOR),
                taken_back=state.taken_back + 1,
                settled=stuck,
                stuck=stuck,
            )
        return self._learn(problem, found, replace(new, damping=min(self.damping, _RECOVER * state.damping)))

    def _learn(self, problem: Problem, found: Channel, state: AmpState) -> AmpState:
        """The next gamma, and s2 and shape once x has calmed."""
        xp, old = namespace(state.gamma), state.gamma
        powers = found.powers
        level = state.level
        if found.s2 is None and state.refining:
            misfit = total(square(found.data - state.image)) + found.rest
            spread = found.spread(state.spread)
            left = level * total(spread / (spread + level))
            level = max((misfit / _samples(found) + left) / found.count, _NOISELESS * _mean_square(found))
        shape = self._shape(old * powers) if state.refining else 0.0
        gamma = (_mean_power(state.x, old) + state.variance) / (1.0 + 2.0 * shape)
        relative = gamma * powers
        on = relative > self.prune * xp.max(relative)
        gamma = xp.where(on, gamma, xp.zeros_like(gamma))
        change = total(xp.abs(gamma - old) * powers) / (total(old * powers) or 1.0)
        steady = abs(level - state.level) <= 10.0 * self.tol * level
        return replace(
            state,
            x=xp.where(on, state.x, xp.zeros_like(state.x)),
            gamma=gamma,
            noise=deviation(level, problem.data),
            level=level,
            shape=shape,
            settled=state.refining and change <= self.tol and steady,
            refining=state.refining or change < _CALM or state.iteration >= _LATEST,
        )

    def _shape(self, relative: Array) -> float:
        """e, for prior variances free of units."""
        if self.shape != "auto":
            return float(self.shape)
        g = as_numpy(relative).astype(np.float64)
        if not g.any():
            return 0.0
        g = np.maximum(g, self.prune * g.max())
        spread = math.log(float(np.mean(1.0 / g))) + float(np.mean(np.log(g)))
        return 0.5 * math.sqrt(max(spread, 0.0))

    def hyperparameters(self, state: AmpState) -> Mapping[str, Any]:  # type: ignore[override]
        """Those of every solver of this package, and ``shape``."""
        return {**super().hyperparameters(state), "shape": state.shape}

    def remarks(self, state: AmpState) -> list[str]:
        """What a user should know of a run that did not go smoothly."""
        if state.stuck:
            return [
                "Message passing diverged even with the least damping: x is that of the last good step. Use "
                "form='unitary', or Sbl."
            ]
        return []

    @classmethod
    def example(cls) -> Problem:
        rng = np.random.default_rng(0)
        x = np.zeros(80)
        x[rng.choice(80, 5, replace=False)] = rng.standard_normal(5)
        matrix = rng.standard_normal((40, 80)) / np.sqrt(40)
        return Problem(Matrix(matrix), matrix @ x + 0.02 * rng.standard_normal(40), noise=0.02)


def _pass(found: Channel, state: AmpState) -> AmpState:
    """One iteration of message passing for fixed gamma and s2."""
    d, gamma, s2 = state.damping, state.gamma, state.level
    xp = namespace(state.x)
    spread = found.spread(state.spread)
    trust = 1.0 / (spread + s2)
    dual = state.dual + d * (trust * (found.data - state.image + spread * state.dual) - state.dual)
    tau = found.gather(trust)
    share = gamma / (gamma + tau)
    x = state.x + d * (share * (state.x + tau * found.adjoint(dual)) - state.x)
    variance = share * tau
    x = xp.where(gamma > 0, x, xp.zeros_like(x))
    image = found.forward(x)
    cost = _cost(found, image, x, gamma, s2, spread, tau)
    damped = state.spread + d * (variance - state.spread)
    return replace(
        state, x=x, variance=variance, costs=(*state.costs, cost), dual=dual, image=image, spread=damped
    )


def _sound(found: Channel, state: AmpState, new: AmpState) -> bool:
    """Whether the step has neither blown up x nor the misfit."""
    if not (finite(new.x) and finite(new.dual)):
        return False
    before, after = (_quadratic(found, one.image, one.x, state.gamma, state.level) for one in (state, new))
    energy = total(square(found.data)) + found.rest
    misfit, last = (total(square(found.data - one.image)) + found.rest for one in (new, state))
    worse, far = _LIMITS if found.values is None else _UNITARY_LIMITS
    return after <= worse * before and misfit <= max(far * energy, last)


def _quadratic(found: Channel, image: Array, x: Array, gamma: Array, s2: float) -> float:
    """||y - A x||^2 / s2 + sum |x|^2 / g, at its least y^H S^(-1) y."""
    xp = namespace(gamma)
    on = gamma > 0
    power = xp.where(on, square(x) / xp.where(on, gamma, xp.ones_like(gamma)), xp.zeros_like(square(x)))
    return (total(square(found.data - image)) + found.rest) / s2 + total(power)


def _cost(
    found: Channel, image: Array, x: Array, gamma: Array, s2: float, spread: Array, tau: Array
) -> float:
    """L in the large-system limit (its derivatives by g vanish where the iteration rests)."""
    xp, samples = namespace(spread), _samples(found)
    size = float(np.prod(spread.shape))
    determinant = total(xp.log(s2 + spread)) - total(spread / (s2 + spread)) + total(xp.log1p(gamma / tau))
    determinant += (found.count - size) * math.log(s2)
    return samples * determinant + _quadratic(found, image, x, gamma, s2)


def _samples(found: Channel) -> int:
    """How many snapshots there are."""
    codomain: Any = found.right.codomain
    return max(1, int(np.prod(found.data.shape[: found.data.ndim - len(codomain.shape)])))


def _mean_square(found: Channel) -> float:
    """Mean |y|^2."""
    return (total(square(found.data)) + found.rest) / (found.count * _samples(found)) or 1.0


def _mean_power(x: Array, like: Array) -> Array:
    """Mean over snapshots of |x|^2."""
    xp = namespace(x)
    return xp.mean(xp.reshape(square(x), (-1, *like.shape)), axis=0)
