"""KroSBL: sparse Bayesian learning of vectors whose support is a product of supports, one per axis.

    y = (A_1 (x) ... (x) A_d) x + n,    x_i ~ N(0, g_i),    g = g_1 (x) ... (x) g_d

E-step   mean and diag(Sigma) in Kronecker form, from small eigenproblems (form.py)
M-step   g from Lambda = diag(Sigma) + |mean|^2: alternating, by singular vectors, or one cycle (m_steps.py)
pruning  g_i[n] < prune * max g_i: the slice is dropped, exactly 0 from then on, and the arrays shrink
search   then, factor by factor, atoms are added, changed and deleted while the evidence gains (_search.py); a factor
         that keeps too many atoms for its rows is searched anew from single atoms, and if it still does EM itself
         starts again with another M-step and a milder pruning; the fit of lowest score stays
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Ge, Gt, Interval

from recon import Kronecker, Matrix, Problem
from recon.arrays import Array, as_numpy
from recon.params import Doc
from recon_sbl._factor import square
from recon_sbl._state import SblSolver, SblState, check_model
from recon_sbl.kronecker._fitting import per_factor
from recon_sbl.kronecker._search import price, searched, suspects
from recon_sbl.kronecker._units import Units
from recon_sbl.kronecker.form import KroneckerForm, embedded
from recon_sbl.kronecker.m_steps import am_factors, kronecker_change, ksbl_factors, svd_factors

__all__ = ["KroSbl", "KroSblState"]

MStep = Literal["svd", "am", "ksbl"]

_OTHER: dict[str, MStep] = {"svd": "am", "am": "svd", "ksbl": "svd"}  # of a restart
_PRUNE: dict[str, float] = {"svd": 1e-3, "am": 1e-2, "ksbl": 1e-2}
_MILDER = 0.1  # pruning of a restart
_LITTLE = 1e-2  # of the score: a sweep that gains less ends the search


@dataclass(frozen=True)
class KroSblState(SblState):
    """Posterior, its factors, and where the method stands.

    Parameters
    ----------
    factors
        g_1, ..., g_d, real, in the units of the problem, all but the last of length 1; 0 where pruned.
    moment
        Lambda of the entries that are not pruned, in the units of the solver.
    misfit, freedom
        ||y - A x||^2 in the units of the solver, and how many unknowns the data determine.
    stage
        0: EM; 1: search.
    rounds
        Iterations of this stage.
    attempt
        0, or 1 after a restart.
    score
        L plus the prices of the atoms where there is a search, else L.
    before, first
        L and factors when EM first ended.
    doubts, left
        For each factor, its atoms when EM first ended and in the end, where they are too many for its rows, else 0.
    best, best_noise, best_score
        Factors, noise and score of the first attempt, during and after a restart.
    """

    factors: tuple[Array, ...]
    moment: Array
    misfit: float
    freedom: float
    stage: int
    rounds: int
    attempt: int
    score: float
    before: float
    first: tuple[Array, ...]
    doubts: tuple[int, ...]
    left: tuple[int, ...]
    best: tuple[Array, ...]
    best_noise: float
    best_score: float


@dataclass(frozen=True)
class KroSbl(SblSolver):
    """Kronecker-structured sparse Bayesian learning (He and Joseph 2024), with a search by the evidence after it.

    Objective: L(g, s2) = log|S| + y^H S^(-1) y, S = s2 I + A diag(g) A^H, over g = g_1 (x) ... (x) g_d. With the M-step
    "am" to the end and no pruning L never rises; the search lowers L plus a price per atom. The operator is a
    ``Kronecker`` of any number of factors (or has ``factors``), the data are of its codomain's shape, real or complex.
    The noise is of one level, known where ``Problem.noise`` says so, else learned; noise below 1e-5 of the data
    counts as 1e-5 (that keeps the digits of the E-step, and costs x none).

    Per iteration O(sum n_i^3 + d N max n_i) for N unknowns not yet pruned, memory of about ten images; nothing with N
    rows and N or M columns is made. Matrices of factors are dense. The default takes some tens of iterations, settles
    by itself, and says in ``result.provenance["remarks"]`` what it did against bad fits.

    Parameters
    ----------
    m_step
        "svd" prunes best and is fastest; "am" is the exact minimiser; "ksbl" one cycle of it.
    prune
        Relative to the largest entry of a factor; one number, or one per factor; by default the authors', 1e-3 with
        "svd" and 1e-2 with the others. Halved where the noise is learned.
    tol, limit
        EM ends when g changes by no more than tol, relative, or after limit iterations.
    inner_tol, inner_limit
        The same for the cycles of "am".
    scaled
        Divide data and columns by their sizes first: then nothing depends on units. Where false, the numbers are taken
        as they come, and inner_tol is absolute: as in the authors' code.
    search
        Search by the evidence after EM.
    cost
        Price of an atom, in units of log M + log n_i; 0 leaves it to the evidence alone, and keeps small false atoms.
    restart
        Run EM again, with another M-step and less pruning, when a factor keeps as many atoms in the end as its matrix
        has rows (without search: half as many, or more); the fit of better score stays.

    Raises
    ------
    CapabilityError
        For an operator that is no Kronecker product, batch axes, another loss, a prior, noise that differs from entry
        to entry, or operators between real and complex arrays.
    ParameterError
        When prune has another length than the factors.

    References
    ----------
    Y. He and G. Joseph, "Bayesian Algorithms for Kronecker-structured Sparse Vector Recovery With Application to
    IRS-MIMO Channel Estimation", IEEE Trans. Signal Process. 2024.
    M. E. Tipping and A. C. Faul, "Fast marginal likelihood maximisation for sparse Bayesian models", AISTATS 2003.
    J. Chen and Z. Chen, "Extended Bayesian information criteria", Biometrika 95 (2008) 759.
    """

    m_step: Annotated[MStep, Doc("M-step of EM: svd, am or ksbl")] = "svd"
    prune: Annotated[
        Annotated[float, Interval(ge=0, lt=1)] | tuple[Annotated[float, Interval(ge=0, lt=1)], ...] | None,
        Doc("prune below this share of the largest entry of a factor; 1e-3 with svd, else 1e-2"),
    ] = None
    tol: Annotated[float, Ge(0), Doc("relative change of g at which EM ends")] = 1e-4
    limit: Annotated[int, Ge(1), Doc("most iterations of EM")] = 150
    inner_tol: Annotated[float, Ge(0), Doc("change of g at which the cycles of am end")] = 1e-3
    inner_limit: Annotated[int, Ge(1), Doc("most cycles of am")] = 20
    scaled: Annotated[bool, Doc("divide data and columns by their sizes first")] = True
    search: Annotated[bool, Doc("search by the evidence after EM")] = True
    cost: Annotated[float, Ge(0), Doc("price of an atom, in units of log M + log n")] = 1.0
    sweeps: Annotated[int, Gt(0), Doc("most iterations of the search")] = 30
    restart: Annotated[bool, Doc("run EM again when a factor keeps too many atoms")] = True

    state_type = KroSblState

    @classmethod
    def published(cls, m_step: MStep = "svd") -> KroSbl:
        """The authors' settings, in units as they come: 150 iterations, and nothing of ours after EM."""
        return cls(
            m_step,
            inner_tol=1e-5,
            inner_limit=1000,
            scaled=False,
            search=False,
            restart=False,
        )

    def init(self, problem: Problem, x0: Array | None = None, seed: int = 0) -> KroSblState:
        check_model(problem, "KroSbl")
        problem.start(x0)
        units = Units.of(problem, "KroSbl", self.scaled)
        per_factor(self.prune, units.matrices, "KroSbl.prune")  # raises
        none = tuple(0 for _ in units.matrices)
        factors, s2 = units.start()
        fields, empty = self._fit(units, factors, s2), not all(np.any(g) for g in factors)
        costs = (fields.pop("cost"),)
        return KroSblState(
            iteration=0, costs=costs, settled=empty, stage=0, rounds=0, attempt=0, before=costs[0], first=(),
            doubts=none, left=none, best=(), best_noise=0.0, best_score=0.0, **fields,
        )  # fmt: skip

    def step(self, problem: Problem, state: KroSblState) -> KroSblState:
        state = replace(state, iteration=state.iteration + 1)
        if state.settled:
            return state
        units = Units.of(problem, "KroSbl", self.scaled)
        state = replace(state, rounds=state.rounds + 1)
        factors, s2 = units.inner(state.factors), self._noise(units, state)
        if state.stage == 0:
            new = self._maximised(units, state, factors)
            still = kronecker_change(new, factors) <= self.tol * kronecker_change(
                factors, [0.0 * g for g in factors]
            )
            state = self._placed(units, state, new, s2)
            return self._after_em(problem, units, state) if still or state.rounds >= self.limit else state
        prices = [self.cost * one for one in price(units.matrices, units.count)]
        new = searched(units.matrices, units.data, factors, max(s2, units.floor), prices, state.rounds <= 2)
        before, state = state.score, self._placed(units, state, new, s2)
        resting = not before - state.score > _LITTLE or not all(np.any(g) for g in new)
        return self._after_search(units, state) if resting or state.rounds >= self.sweeps else state

    # -- one iteration -------------------------------------------------------------------------------------------

    def _noise(self, units: Units, state: KroSblState) -> float:
        """s2 of the next E-step: known, or the EM update."""
        if units.s2 is not None:
            return units.s2
        s2 = units.variance_of(state.noise)
        return max((state.misfit + s2 * state.freedom) / units.count, units.floor)

    def _maximised(self, units: Units, state: KroSblState, factors: Sequence[Any]) -> list[Any]:
        """M-step and pruning: full-length factors, 0 where pruned."""
        step, share = (self.m_step, 1.0) if state.attempt == 0 else (_OTHER[self.m_step], _MILDER)
        share *= 1.0 if units.s2 is not None else 0.5
        kept = [np.flatnonzero(g) for g in factors]
        short = [g[k] for g, k in zip(factors, kept, strict=True)]
        if step == "svd":
            short = svd_factors(state.moment)
        elif step == "am":
            short = am_factors(state.moment, short, self.inner_tol, self.inner_limit, not self.scaled)
        else:
            short = ksbl_factors(state.moment, short)
        new = []
        prune = _PRUNE[self.m_step] if self.prune is None else self.prune
        for g, k, old, p in zip(short, kept, factors, per_factor(prune, kept, "KroSbl.prune"), strict=True):
            full = np.zeros_like(old)
            full[k] = np.where(g < share * p * g.max(), 0.0, g)
            new.append(full)
        return new

    def _placed(self, units: Units, state: KroSblState, factors: Sequence[Any], s2: float) -> KroSblState:
        """The state at other factors, after an E-step."""
        fields = self._fit(units, factors, s2)
        return replace(state, costs=(*state.costs, fields.pop("cost")), **fields)

    def _fit(self, units: Units, factors: Sequence[Any], s2: float) -> dict[str, Any]:
        """E-step: the fields of a state that depend on the factors."""
        kept = [np.flatnonzero(g) for g in factors]
        short = [g[k] for g, k in zip(factors, kept, strict=True)]
        matrices = [A[:, k] for A, k in zip(units.matrices, kept, strict=True)]
        found = KroneckerForm.of(matrices, units.data)(tuple(short), s2)
        x, variance, gamma = units.outer(found.mean, found.variance, short, kept)
        shape = [len(g) for g in factors]
        prices = price(units.matrices, units.count) if self.search else [0.0] * len(kept)
        paid = sum(self.cost * one * len(k) for one, k in zip(prices, kept, strict=True))
        cost = found.cost + units.shift
        return {
            "x": embedded(x, kept, shape),
            "variance": embedded(variance, kept, shape),
            "gamma": embedded(gamma, kept, shape),
            "noise": units.deviation(s2),
            "cost": cost,
            "factors": units.outer_factors(factors),
            "moment": found.variance + square(found.mean),
            "misfit": found.misfit,
            "freedom": found.freedom,
            "score": cost + paid,
        }

    # -- from stage to stage -------------------------------------------------------------------------------------

    def _after_em(self, problem: Problem, units: Units, state: KroSblState) -> KroSblState:
        if state.attempt == 0:
            doubts = _doubts(units, state)
            state = replace(state, before=state.costs[-1], first=state.factors, doubts=doubts)
        if self.search:
            return replace(state, stage=1, rounds=0)
        return self._after_search(units, state)

    def _after_search(self, units: Units, state: KroSblState) -> KroSblState:
        """The end, or a restart; after a restart the better fit."""
        stuck = suspects(units.matrices, units.inner(state.factors), 1.0 if self.search else 0.5)
        if state.attempt == 0 and self.restart and any(stuck):
            best = replace(state, best=state.factors, best_noise=state.noise, best_score=state.score)
            state = self._placed(units, best, *units.start())
            return replace(state, stage=0, rounds=0, attempt=1)
        if state.attempt == 1 and not state.score < state.best_score:
            s2 = units.variance_of(state.best_noise) if units.s2 is None else units.s2
            state = self._placed(units, state, units.inner(state.best), s2)
        return replace(state, settled=True, left=_doubts(units, state))

    # -- what it tells -------------------------------------------------------------------------------------------

    def hyperparameters(self, state: Any) -> Mapping[str, Any]:
        """As of every solver, and ``factors``: g_1, ..., g_d, all but the last of length 1."""
        return {**super().hyperparameters(state), "factors": state.factors}

    def remarks(self, state: Any) -> list[str]:
        """What was done against bad fits, and where the support is doubtful."""
        said = []
        for k, count in enumerate(state.doubts):
            if count:
                said.append(
                    f"EM kept {count} atoms of factors[{k}], half the rows of its matrix or more, where a wrong "
                    "support may fit as well."
                    + (
                        " The search started there from single atoms too."
                        if self.search
                        else " Set search=True."
                    )
                )
        now = [as_numpy(g) > 0 for g in state.factors]
        was = [as_numpy(g) > 0 for g in state.first]
        more = sum(int((a & ~b).sum()) for a, b in zip(now, was, strict=False))
        less = sum(int((b & ~a).sum()) for a, b in zip(now, was, strict=False))
        if more:
            said.append(
                f"The search by the evidence brought {more} pruned atoms back and took {less} out: L went from "
                f"{state.before:.6g} to {state.costs[-1]:.6g}."
            )
        if state.attempt:
            better = "second" if state.score < state.best_score else "first"
            said.append(
                f"EM was run again with m_step={_OTHER[self.m_step]!r} and less pruning, because a factor kept too "
                f"many atoms. The {better} fit has the lower score and is the result."
            )
        for k, count in enumerate(state.left):
            if count:
                said.append(
                    f"In the end factors[{k}] keeps {count} atoms, half the rows of its matrix or more: another "
                    "support may fit these data as well. More rows along that axis would decide."
                )
        return said

    @classmethod
    def example(cls) -> Problem:
        rng = np.random.default_rng(0)
        operator = Kronecker(tuple(Matrix(rng.standard_normal((m, 8))) for m in (5, 6)))
        truth = np.zeros((8, 8))
        truth[np.ix_([1, 6], [2, 5])] = [[1.0, -2.0], [0.5, 1.5]]
        return Problem(operator, operator @ truth + 0.05 * rng.standard_normal((5, 6)), noise=0.05)


def _doubts(units: Units, state: KroSblState) -> tuple[int, ...]:
    """The atoms of factors that have too many for their rows, 0 for the others."""
    factors = units.inner(state.factors)
    doubted = suspects(units.matrices, factors)
    return tuple(int(np.count_nonzero(g)) if bad else 0 for g, bad in zip(factors, doubted, strict=True))
