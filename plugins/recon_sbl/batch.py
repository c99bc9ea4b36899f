"""Batch sparse Bayesian learning: all prior variances at once, by EM, MacKay's or the convex bounding update.

    minimise over g >= 0    L(g, s2) = log|S| + y^H S^(-1) y,    S = s2 I + A diag(g) A^H

One iteration: g of the posterior (see :mod:`recon_sbl._updates`), then the posterior for that g. Where s2 is not
known it comes first, see :mod:`recon_sbl._levels`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Gt, Interval

from recon import Matrix, Problem
from recon.arrays import Array, as_numpy, device_of, is_complex, namespace
from recon.errors import CapabilityError
from recon.params import Doc
from recon_sbl import _levels
from recon_sbl._active import total
from recon_sbl._data_form import slopes
from recon_sbl._factor import square
from recon_sbl._noise import FLOOR, deviation, parts
from recon_sbl._rectified import rectified
from recon_sbl._scaling import Model, prepare
from recon_sbl._sequential_atoms import critical_ratio
from recon_sbl._state import SblSolver, SblState, check_model
from recon_sbl._updates import checked, factor, labels, noise, pooled
from recon_sbl.engines import Direct

__all__ = ["Sbl", "SblBatchState"]

_LATE = 50  # iterations before s2 is first learned by the textbook updates: gamma must have settled by then
_REVIVALS = 20  # rounds of bringing pruned entries back
_WORTH = 1.01  # |a^H S^(-1) y|^2 over t a^H S^(-1) a from which an entry is brought back
_CALM = 1e-2  # change of gamma, relative, below which entries can be told from false alarms


@dataclass(frozen=True)
class SblBatchState(SblState):
    """SblState, what the next update needs, and the noise levels tried so far.

    Parameters
    ----------
    power
        Mean over snapshots of |mu|^2 / gamma, of the domain's shape, 0 where pruned.
    determined
        1 - variance / gamma without cancellation, likewise.
    level
        s2 / mean |y|^2 in use.
    searching
        Whether levels are still being tried.
    revived
        How often pruned entries were brought back.
    levels, scores
        Noise levels tried and what each scored (see :mod:`recon_sbl._levels`); empty where s2 is known.
    """

    power: Array
    determined: Array
    level: float
    searching: bool
    revived: int
    levels: tuple[float, ...]
    scores: tuple[float, ...]


@dataclass(frozen=True)
class Sbl(SblSolver):
    """Batch sparse Bayesian learning of real or complex data: one prior variance per entry, or per group.

    Minimises L(g) of the module's text from equal shares of the data's power. ``result.x`` is the posterior mean,
    ``result.variance`` diag(Sigma), the objective L. L has many local minima; at each of them at most as many entries
    are active as there are data. L never rises under ``bounding`` and ``em`` while s2 is known (up to 120 dB in double
    precision; beyond, rounding shows). Any operator of moderate size serves: its matrix is made once. Nothing depends
    on the units of the data or of the columns.

    Per iteration 2 m^2 k + m^3 / 3 flops, or m k^2 + 2 k^3 / 3 once the k active entries are few; memory of
    2 m k + m^2, never k^2 where k > m.

    Parameters
    ----------
    update
        ``"bounding"``: fast, L never rises. ``"em"``: L never rises, slow. ``"mackay"``: fast, no promise.
    joint
        Batch axes of the data are snapshots of one support: they share g, and L is their sum.
    groups
        Entries that share one g: a block length (blocks in C order) or an integer array of labels of the domain's
        shape. Columns of a group are taken in units of their common rms length.
    nonnegative
        Entries are >= 0, with the prior N(0, g) cut off at 0: mean, variance and second moment are those of each
        entry's own Gaussian posterior cut off at 0. That neglects how the cuts of different entries interact, so L
        (of the uncut model) is only reported, not minimised. Real data only.
    learn_noise
        How s2 is learned where ``Problem.noise`` is None. ``"penalised"`` tries levels, one in each of the first
        iterations, and keeps the one of least L plus a price per active entry (see :mod:`recon_sbl._levels`). It tends
        to be high: 0.6 to 3 times the true s2, up to 8 times where the nonzeros are many for the data. ``"em"`` and
        ``"mackay"`` are the textbook updates, 50 iterations late. With fewer data than entries they fit the noise, and
        L itself prefers that: they are for tall matrices.
    false_alarms
        How many entries (or groups) noise alone may bring in. None is the textbook, where about every third entry of
        pure noise stays. With a number entries must pass g_i > t Sigma_ii to stay, which at rest says |q_i|^2 > t s_i
        in the terms of ``SequentialSbl``, t from the chi-square law of noise; pruned ones come back one by one, where
        they pass it. Then L rises where entries are left out. s2, where it is learned, is the textbook's ("em")
        once the false entries are gone. For images that are compressible rather than sparse take None.
    prune
        Entries whose expected power s_i = g_i ||a_i||^2 falls below this part of the noise variance, and of the largest
        s, are left out. Those whose return would lower L come back at the end.
    tol
        The method has ended when sum |change of s| < tol sum s.

    Raises
    ------
    CapabilityError
        For another loss, a prior, tuples, a batch without ``joint``, operators too large for a matrix, or complex data
        with ``nonnegative``.
    ParameterError, ShapeError
        For groups that do not fit the domain.

    References
    ----------
    M. E. Tipping, J. Mach. Learn. Res. 1 (2001) 211 (em, mackay); D. Wipf, S. Nagarajan, NeuroImage 44 (2009) 947,
    doi:10.1016/j.neuroimage.2008.02.059 (bounding); D. P. Wipf, B. D. Rao, IEEE Trans. Signal Process. 55 (2007) 3704,
    doi:10.1109/TSP.2007.894265 (snapshots); A. Nalci et al., IEEE Trans. Signal Process. 66 (2018) 3124,
    doi:10.1109/TSP.2018.2824286 (nonnegative).
    """

    update: Annotated[Literal["bounding", "em", "mackay"], Doc("rule for the prior variances")] = "bounding"
    joint: Annotated[bool, Doc("batch axes are snapshots that share the prior variances")] = False
    groups: Annotated[Any, Doc("entries that share one: a block length, or labels; None: none do")] = None
    nonnegative: Annotated[bool, Doc("entries are >= 0")] = False
    learn_noise: Annotated[Literal["penalised", "em", "mackay"], Doc("how s2 is learned when not given")] = (
        "penalised"
    )
    false_alarms: Annotated[
        float | None, Gt(0), Doc("entries that noise alone brings in, None: the textbook")
    ] = None
    prune: Annotated[float, Interval(ge=0, lt=1), Doc("leave out what falls below this part of s2")] = 1e-8
    tol: Annotated[float, Gt(0), Doc("relative change of gamma at which the method has ended")] = 1e-6

    state_type = SblBatchState

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "groups", checked(self.groups, "Sbl"))

    def _identity(self) -> tuple[Any, ...]:
        values = [getattr(self, field.name) for field in fields(self)]
        return tuple((v.shape, tuple(v.reshape(-1))) if isinstance(v, np.ndarray) else v for v in values)

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity())

    def init(self, problem: Problem, x0: Array | None = None, seed: int = 0) -> SblBatchState:
        check_model(problem, "Sbl", joint=self.joint)
        if self.nonnegative and is_complex(problem.data):
            raise CapabilityError(
                "Sbl.nonnegative needs real data, got complex. Split real and imaginary parts into separate problems."
            )
        problem.start(x0)
        model, _ = self._model(problem)
        searching = model.s2 is None and self.learn_noise == "penalised"
        level = model.s2 if model.s2 is not None else (1.0 if searching else 0.1)
        empty: Any = None  # filled in at once
        state = SblBatchState(
            0, empty, empty, empty, 0.0, (), False, empty, empty, level, searching, 0, (), ()
        )
        return self._posterior(problem, state, model, _even(model))

    def step(self, problem: Problem, state: SblBatchState) -> SblBatchState:
        if state.settled:
            return replace(state, iteration=state.iteration + 1)
        model, groups = self._model(problem)
        if state.searching:
            return self._next_level(problem, state, model, groups)
        s, change = self._update(state, model, groups, self.update)
        calm = self.false_alarms is not None and change < _CALM
        if calm:
            weak = self._weak(state, model, groups)
            if weak is not None:
                left = namespace(s).where(weak, namespace(s).zeros_like(s), s)
                return self._posterior(problem, state, model, left, iteration=state.iteration + 1)
        level = self._learned(problem, state, model, calm)
        quiet = change < self.tol and abs(level - state.level) <= self.tol * state.level
        if model.s2 is None and self.learn_noise != "penalised":
            quiet = quiet and state.iteration > _LATE
        look = quiet or (change < 100.0 * self.tol and state.iteration % 10 == 0)
        if look and not self.nonnegative and state.revived < _REVIVALS:
            better = self._revived(problem, state, model, s, groups)
            if better is not None:
                return better
        return self._posterior(
            problem, state, model, s, iteration=state.iteration + 1, level=level, settled=quiet
        )

    def _update(self, state: SblBatchState, model: Model, groups: Any, rule: str) -> tuple[Array, float]:
        """The next s, free of units, and sum |change| / sum."""
        xp = namespace(state.gamma)
        old, power, taken = (
            pooled(xp.reshape(part, (-1,)), groups)
            for part in (model.relative(xp.reshape(state.gamma, (-1,))), state.power, state.determined)
        )
        by = factor(rule, power, taken)
        if self.nonnegative:  # a mean below 0 may yet turn: let gamma fall slowly
            by = xp.where(by > 0.1, by, xp.full_like(by, 0.1))
        s = old * by
        least = self.prune * min(float(xp.max(s)), state.level)
        s = xp.where(s > least, s, xp.zeros_like(s))
        before = total(old)
        return s, total(xp.abs(s - old)) / before if before else 0.0

    def _revived(
        self, problem: Problem, state: SblBatchState, model: Model, s: Array, groups: Any
    ) -> SblBatchState | None:
        """The state with those pruned entries back whose return lowers L; None where there are none."""
        xp = namespace(s)
        gamma = model.absolute(s) / model.unit**2
        q2, z = slopes(model.matrix, model.data, gamma, state.level)
        scale = xp.where(model.lengths > 0, model.lengths, xp.ones_like(model.lengths)) ** 2
        q2, z = pooled(q2 / scale, groups), pooled(z / scale, groups)
        least = xp.asarray(_WORTH * self._bar(model, groups), dtype=z.dtype, device=device_of(z))
        back = (s == 0) & (q2 > least * z)
        if not bool(xp.any(back)):
            return None
        if self.false_alarms is not None:  # one at a time: what one explains the others need not
            gain = xp.where(back, q2 / xp.where(back, z, xp.ones_like(z)), xp.zeros_like(z))
            back = back & (gain >= xp.max(gain))
        state = replace(state, iteration=state.iteration + 1, revived=state.revived + 1)
        safe = xp.where(back, z, xp.ones_like(z))
        step = xp.where(back, (q2 - z) / safe**2, xp.zeros_like(z))  # least L, were the others to stay away
        for _ in range(6):
            trial = self._posterior(problem, state, model, s + step)
            if trial.costs[-1] < state.costs[-1]:
                return trial
            step = 0.25 * step
        return None

    def _bar(self, model: Model, groups: Any) -> np.ndarray[Any, Any]:
        """t of every entry: |q|^2 / s that noise alone reaches in ``false_alarms`` entries or groups; 1 where None."""
        n = model.matrix.shape[1]
        sizes = np.ones(n, np.int64) if groups is None else np.bincount(groups)[groups]
        count = n if groups is None else int(groups.max()) + 1
        found = {
            size: critical_ratio(count, size * model.data.shape[0], model.data, self.false_alarms)
            for size in np.unique(sizes).tolist()
        }
        return np.array([found[size] for size in sizes.tolist()])

    def _weak(self, state: SblBatchState, model: Model, groups: Any) -> Array | None:
        """The weaker half of the active entries that do not pass g > t Sigma_ii; None where all do."""
        taken = as_numpy(pooled(namespace(state.gamma).reshape(state.determined, (-1,)), groups))
        active = as_numpy(state.gamma).reshape(-1) > 0
        weak = np.flatnonzero(active & (taken < 1.0 - 1.0 / self._bar(model, groups)))
        if not weak.size:
            return None
        # half: equal columns share their entry and may fail together, though one of them is needed
        weakest = weak[np.argsort(taken[weak], kind="stable")][: max(1, weak.size // 2)]
        of = np.arange(active.size) if groups is None else groups
        return namespace(state.gamma).asarray(np.isin(of, of[weakest]), device=device_of(state.gamma))

    def _learned(self, problem: Problem, state: SblBatchState, model: Model, calm: bool) -> float:
        """The next s2 by the textbook updates: late, or after the search for a level once false entries are gone."""
        rule = "em" if self.learn_noise == "penalised" else self.learn_noise
        if model.s2 is not None or not (calm if rule != self.learn_noise else state.iteration >= _LATE):
            return state.level
        misfit = square(problem.operator @ state.x - problem.data)
        each = total(misfit) / (model.data.shape[0] * model.unit**2)
        count = model.data.shape[1]
        level = noise(rule, each, total(state.determined), count, state.level)
        return max(level, FLOOR)

    def _next_level(self, problem: Problem, state: SblBatchState, model: Model, groups: Any) -> SblBatchState:
        """Bring gamma to rest at this level and score it; the state is the start at the next level."""
        rest = state
        for _ in range(_levels.MOST):
            s, change = self._update(rest, model, groups, "bounding")
            rest = self._posterior(problem, rest, model, s)
            if change < _levels.LOOSE:
                break
        sizes = 1.0 if groups is None else np.bincount(groups)[groups]
        entries = model.matrix.shape[1] if groups is None else int(groups.max()) + 1
        determined = float(np.sum(as_numpy(rest.determined).reshape(-1) / sizes, dtype=np.float64))
        count = model.data.shape[0] * model.data.shape[1]
        score = _levels.score(rest.costs[-1], determined, entries, count, parts(problem.data))
        levels, scores = (*state.levels, state.level), (*state.scores, score)
        level, final = _levels.following(levels, scores)
        state = replace(
            state,
            iteration=state.iteration + 1,
            level=level,
            searching=not final,
            levels=levels,
            scores=scores,
        )
        return self._posterior(problem, state, model, _even(model))

    def _model(self, problem: Problem) -> tuple[Model, Any]:
        domain: Any = problem.operator.domain
        groups = labels(self.groups, domain.shape, "Sbl")
        return prepare(problem, "Sbl", groups), groups

    def _posterior(
        self, problem: Problem, state: SblBatchState, model: Model, s: Array, **changes: Any
    ) -> SblBatchState:
        """The state with these changes, gamma of s, and all that follows from it."""
        level = changes.get("level", state.level)
        domain: Any = problem.operator.domain
        gamma = model.absolute(s)
        xp, unit = namespace(gamma), model.unit
        on = gamma > 0
        found = Direct(model.matrix, model.data)(gamma / unit**2, level)
        mean, variance = found.mean * unit, found.variance * unit**2
        if self.nonnegative:
            cut, spread = rectified(mean, xp.broadcast_to(variance, mean.shape))
            power = mean * cut  # E x^2 - variance, see _rectified
            mean, variance = cut, xp.mean(spread, axis=0)
        else:
            power = square(mean)
        power = xp.mean(power, axis=0) / xp.where(on, gamma, xp.ones_like(gamma))
        return replace(
            state,
            **changes,
            x=xp.reshape(mean, (*problem.batch, *domain.shape)),
            variance=xp.reshape(variance, domain.shape),
            gamma=xp.reshape(gamma, domain.shape),
            noise=0.0 if model.zero else deviation(level * unit**2, problem.data),
            costs=(*state.costs, found.cost + model.constant),
            power=xp.reshape(power, domain.shape),
            determined=xp.reshape(found.determined, domain.shape),
        )

    def remarks(self, state: SblBatchState) -> list[str]:
        """What a user should know of a run that learned its noise."""
        if len(state.scores) < 2 or state.searching or state.level > 2.0 * FLOOR:
            return []
        return ["No noise was found in the data: s2 was learned down to its floor of 1e-10 mean |y|^2."]

    @classmethod
    def example(cls) -> Problem:
        rng = np.random.default_rng(0)
        x = np.zeros(48)
        x[rng.choice(48, 4, replace=False)] = rng.standard_normal(4)
        matrix = rng.standard_normal((24, 48)) / np.sqrt(24)
        data = matrix @ x + 0.01 * rng.standard_normal(24)
        return Problem(Matrix(matrix), data, noise=0.01)


def _even(model: Model) -> Array:
    """s = 1 for all columns that are not 0: a start at which all are expected to give as much power as all data."""
    xp = namespace(model.lengths)
    return xp.where(model.lengths > 0, xp.ones_like(model.lengths), xp.zeros_like(model.lengths))
