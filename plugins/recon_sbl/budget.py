"""Sparse Bayesian learning with a budget of active entries, for operators with millions of columns known by products.

minimise  F(g) = L(g) + price n,    L(g) = log|S| + y^H S^(-1) y,    S = s2 I + A diag(g) A^H,  n entries with g > 0

one product     q_i = a_i^H S^(-1) y = b a_i^H (y - A mu) of all entries             b = 1/s2
candidates      the largest |q_i|^2 / S_i above t, S_i = a_i^H S^(-1) a_i <= b ||a_i||^2 as last computed
pool            their Gram matrix; there the search of :class:`SequentialSbl`: best action first, until none is left
budget          entries with the least |mu_i|^2 / Sigma_ii go
end             S_i of all entries computed anew: none outside has |q_i|^2 > t S_i
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge, Gt

from recon import Matrix, Problem
from recon.arrays import Array, as_numpy, from_numpy, real_like
from recon.params import Doc
from recon_sbl._budget_pool import Columns, Pool, Searched
from recon_sbl._factor import square
from recon_sbl._noise import deviation, whitened
from recon_sbl._probes import column_energy
from recon_sbl._sequential_atoms import Model, critical_ratio
from recon_sbl._state import SblSolver, SblState, check_model

__all__ = ["BudgetSbl", "BudgetState"]

STEADY = 1e-3
"""Relative change of s2 at which it counts as learned."""


LEARNING = 0.5
"""Most false alarms while s2 is learned: each takes its share of the noise with it."""


@dataclass(frozen=True)
class BudgetState(SblState):
    """Posterior, and the columns that were looked at.

    Parameters
    ----------
    pool
        (p,) their indices in C order: active ones, and those that failed the test.
    gram, pull
        (p, p) their Gram matrix and (p, snapshots) their products with the data, of unit length.
    lengths
        (N,) lengths of all columns; ``exact``: whether known, or estimated for columns that were never looked at.
    strength
        (N,) a_i^H S^(-1) a_i of all columns, of unit length, as last computed.
    rest
        Whether no action was left in the pool.
    full
        Whether entries had to go for the budget.
    checked
        Whether ``strength`` is that of the entries as they are now.
    learning
        Whether s2 is still to be learned.
    actions, products
        How many so far; a product with A^H A counts as one.
    """

    pool: Array
    gram: Array
    pull: Array
    lengths: Array
    exact: bool
    strength: Array
    rest: bool
    full: bool
    checked: bool
    learning: bool
    actions: int
    products: int


@dataclass(frozen=True)
class BudgetSbl(SblSolver):
    """Sparse Bayesian learning with at most ``budget`` active entries, from products with A and A^H alone.

    For very many unknowns of which few are not 0. It comes to the same kind of end as :class:`SequentialSbl`: no
    single entry can lower F (see the top of this file) by more than ``tol``. Where the budget was enough, that end is
    certified: a_i^H S^(-1) a_i and q_i of all entries are computed anew, and none outside passes the test; the remarks
    of the result say so, or that the budget was too small. Local minima exist.

    Each step asks for the ``batch`` most promising columns at once, so that they need not be the ones that a strict
    search would take next; the search on them is exact, and takes out what the others explain. While the residual
    holds signal that is not yet found, candidates must stand out of it too.

    Column lengths are known for a ``Matrix``, operators with A^H A = c I and some compositions of them, else
    estimated from 16 products with random signs; columns that are looked at give their own.

    Decisions rest on a Gram matrix: where about as many entries are active as there are data, columns are nearly alike
    and the noise is 60 dB below the data, rounding of it can move |q|^2 / s by some percent (up to 12 seen).

    Noise: ``Problem.noise`` known (arrays are whitened), or None. Then s2 starts at a tenth of the mean square of the
    data and is re-estimated by expectation maximisation when no candidate is left, until it is steady; ``false_alarms``
    is 0.5 at most until then.

    Cost: a product with A^H A per column that is looked at (about one to two per active entry), one per active entry
    for each certificate, and an adjoint product per step; on the host n^2 + p^2 per action, p <= budget + 2 batch
    columns in the pool. Memory: three p^2, ten arrays of N; nothing of size M n or N n.

    Parameters
    ----------
    budget
        Most active entries.
    false_alarms
        Expected number of entries that noise alone brings in; None: |q|^2 > s, which lets a third of all noise pass
        and fills any budget where N is large.
    batch
        Most columns that are looked at in a step.
    tol
        Actions that lower F by less (per snapshot) are not taken.
    joint
        Whether batch axes of the data are snapshots of one support.

    Raises
    ------
    CapabilityError
        For another loss, a prior, tuples of arrays, or a batch without ``joint``.

    References
    ----------
    M. E. Tipping, A. C. Faul, "Fast marginal likelihood maximisation for sparse Bayesian models", AISTATS 2003,
    sections 3 and 4 (the actions); the batches, the budget and the certificate are of this package.
    """

    budget: Annotated[int, Ge(1), Doc("most active entries")] = 1000
    false_alarms: Annotated[
        float | None, Gt(0), Doc("entries that noise alone brings in, None: the paper's test")
    ] = 0.5
    batch: Annotated[int, Ge(1), Doc("most columns looked at in a step")] = 100
    tol: Annotated[float, Gt(0), Doc("least fall of F for which an action is taken")] = 1e-4
    joint: Annotated[bool, Doc("whether samples of a batch are snapshots that share one support")] = False

    state_type = BudgetState

    def init(self, problem: Problem, x0: Array | None = None, seed: int = 0) -> BudgetState:
        check_model(problem, "BudgetSbl", self.joint)
        x, like = problem.start(x0), problem.data
        model = Model.of(problem, "BudgetSbl")
        operator, _, _ = whitened(problem, "BudgetSbl")
        energy, exact = column_energy(operator, like, seed)
        lengths = np.sqrt(as_numpy(energy).reshape(-1).astype(np.float64))
        empty = not np.any(model.y)
        s2 = model.first_s2
        rows, kind = model.y.shape[1], model.y.dtype
        nothing = np.zeros(0, np.int64)
        zero = model.spread(nothing, np.zeros(0), like)
        return BudgetState(
            0,
            0.0 * x,
            zero,
            zero,
            deviation(s2, like) * model.rms,
            (model.cost(rows * math.log(s2) + model.energy / s2),),
            empty,
            from_numpy(nothing, like),
            from_numpy(np.zeros((0, 0), kind), like, dtype=like.dtype),
            from_numpy(np.zeros((0, len(model.y)), kind), like, dtype=like.dtype),
            real_like(lengths, like),
            exact,
            real_like(np.where(lengths > 0.0, 1.0 / s2, 0.0), like),
            True,
            False,
            True,
            model.s2 is None,
            0,
            0,
        )

    def step(self, problem: Problem, state: BudgetState) -> BudgetState:
        if state.settled:
            return replace(state, iteration=state.iteration + 1)
        model = Model.of(problem, "BudgetSbl")
        s2 = model.s2_of(state.noise)
        columns = Columns(problem, model, as_numpy(state.lengths).reshape(-1).astype(np.float64))
        snapshots = len(model.y)
        alarms = min(self.false_alarms or LEARNING, LEARNING) if state.learning else self.false_alarms
        level = critical_ratio(len(columns.lengths), snapshots, problem.data, alarms)
        pool, strength = _pool(model, columns, state), as_numpy(state.strength).astype(np.float64)
        residual, pulls = columns.correlate(state.x)
        power = square(residual).mean(axis=0) / s2 / s2
        new = self._candidates(power, strength, pool.indices, level)
        resting = state.rest and not len(new)
        if resting and not (state.learning or state.full):
            if not state.checked:
                strength = columns.strength(pool.indices, pool.posterior(1.0 / s2))
                new = self._candidates(power, strength, pool.indices, level)
                state = replace(state, checked=True)
            if not len(new):
                return self._packed(problem, model, state, columns, pool, s2, strength, settled=True)
        elif resting:
            return self._at_rest(problem, model, state, columns, pool, s2, strength)
        if len(new):
            pool = pool.joined(columns, new, pulls[:, new])
            strength[new[columns.lengths[new] == 0.0]] = 0.0
        found = pool.searched(1.0 / s2, level, self.budget, self.tol)
        if len(new) and not (found.actions or state.checked or state.learning):  # in vain: S was too old
            strength = columns.strength(pool.indices, pool.posterior(1.0 / s2))
            state = replace(state, checked=True)
        strength[pool.indices] = found.strength
        if not found.actions:  # whatever rounding says: they were looked at, and are none
            out = pool.indices[np.isinf(pool.alpha)]
            strength[out] = np.maximum(strength[out], power[out] / level)
        if found.trimmed:
            before = Searched(pool, 0.0, 0.0, 0, True, False)
            fall = _objective(before, model, s2, level) - _objective(found, model, s2, level)
            if fall <= self.tol:
                return self._at_rest(
                    problem, model, replace(state, full=True), columns, pool, s2, strength,
                    thin=replace(found, pool=pool),
                )  # fmt: skip
        state = replace(
            state,
            rest=found.done,
            full=found.trimmed,
            checked=state.checked and not found.actions,
            actions=state.actions + found.actions,
        )
        pool = found.thinned(self.budget + self.batch)
        return self._packed(problem, model, state, columns, pool, s2, strength)

    def _candidates(self, power: Any, strength: Any, known: Any, level: float) -> Any:
        """The entries outside the pool to look at next: those that stand out of noise and of signal not yet found."""
        inside = strength > 0.0
        ratio = np.divide(power, strength, out=np.zeros_like(power), where=inside)
        ratio[known] = 0.0
        bar = level * max(1.0, float(ratio.sum()) / max(int(inside.sum()) - len(known), 1))
        passing, most = np.flatnonzero(ratio > bar), self.batch
        if not len(passing):
            passing, most = np.flatnonzero(ratio > level), max(1, self.batch // 8)
        values = ratio[passing]
        # as the search counts the fall of F
        worth = values - np.log(values) > level - math.log(level) + self.tol
        passing, values = passing[worth], values[worth]
        return np.sort(passing[np.argsort(-values, kind="stable")[:most]])

    def _at_rest(
        self, problem: Problem, model: Model, state: BudgetState, columns: Columns, pool: Pool, s2: float,
        strength: Any, thin: Searched | None = None,
    ) -> BudgetState:  # fmt: skip
        """No entry is to come or go: learn the noise, or end."""
        if thin is not None:
            pool = thin.thinned(self.budget + self.batch)
        if not state.learning:
            return self._packed(problem, model, state, columns, pool, s2, strength, settled=True)
        new = model.learned_s2(pool.posterior(1.0 / s2), s2)
        learning = abs(new - s2) > STEADY * s2
        state = replace(state, learning=learning, rest=False, checked=False)
        fresh = np.where(columns.lengths > 0.0, 1.0 / new, 0.0)
        return self._packed(problem, model, state, columns, pool, new, fresh)

    def _packed(
        self, problem: Problem, model: Model, old: BudgetState, columns: Columns, pool: Pool, s2: float,
        strength: Any, settled: bool = False,
    ) -> BudgetState:  # fmt: skip
        """The new state, in the units of the problem."""
        active, like = pool.posterior(1.0 / s2), problem.data
        chosen = pool.indices[active.indices]
        unit = model.rms / columns.lengths[chosen]
        cost = active.cost(model.y.shape[1], model.energy)
        return BudgetState(
            old.iteration + 1,
            model.spread(chosen, unit * active.mu.T, like, snapshots=True),
            model.spread(chosen, unit**2 * np.maximum(active.variances, 0.0), like),
            model.spread(chosen, unit**2 / active.alpha, like),
            deviation(s2, like) * model.rms,
            (*old.costs, model.cost(cost)),
            settled,
            from_numpy(pool.indices, like),
            from_numpy(pool.gram, like, dtype=like.dtype),
            from_numpy(pool.pull, like, dtype=like.dtype),
            real_like(columns.lengths, like),
            old.exact,
            real_like(strength, like),
            old.rest,
            old.full,
            old.checked,
            old.learning,
            old.actions,
            old.products + columns.products,
        )

    def measure(self, problem: Problem, state: Any) -> dict[str, float]:
        return super().measure(problem, state) | {"products": float(state.products)}

    def remarks(self, state: BudgetState) -> list[str]:
        """What is certain of the end point."""
        if not state.settled or len(state.costs) < 2:
            return []
        count, size = np.count_nonzero(as_numpy(state.gamma)), math.prod(state.lengths.shape)
        if state.full:
            return [
                f"BudgetSbl used its whole budget of {self.budget} entries and others pass the test. "
                "Raise budget, or lower false_alarms."
            ]
        found = [
            f"Certificate of BudgetSbl: with {count} entries active, s and q of all {size} entries were computed anew, "
            f"and no single entry, active or not, can lower the objective by more than tol = {self.tol:g}."
        ]
        if not state.exact:
            found.append(
                "The operator does not tell its column lengths: for columns that BudgetSbl never looked at they are "
                "estimates from random signs, and the certificate is as good as these."
            )
        return found

    def hyperparameters(self, state: Any) -> Mapping[str, Any]:
        """As of every solver of this package, with the numbers of actions and products."""
        more = {"actions": state.actions, "products": state.products}
        return {**super().hyperparameters(state), **more}

    @classmethod
    def example(cls) -> Problem:
        """12 of 80 entries from 40 data, at 20 dB."""
        rng = np.random.default_rng(5)
        x = np.zeros(80)
        x[rng.choice(80, 12, replace=False)] = rng.standard_normal(12)
        operator = Matrix(rng.standard_normal((40, 80)) / np.sqrt(40))
        clean = operator @ x
        sigma = 0.1 * float(np.sqrt(np.mean(clean**2)))
        return Problem(operator, clean + sigma * rng.standard_normal(40), noise=sigma)


def _objective(found: Searched, model: Model, s2: float, level: float) -> float:
    return found.objective(1.0 / s2, level, model.y.shape[1], model.energy)


def _pool(model: Model, columns: Columns, state: BudgetState) -> Pool:
    """The pool of a state, its precisions from gamma."""
    indices, kind = as_numpy(state.pool), model.y.dtype
    gamma = as_numpy(state.gamma).reshape(-1)[indices].astype(np.float64)
    on = gamma > 0.0
    power = columns.lengths[indices] ** 2 * (gamma / model.rms / model.rms)
    alpha = np.divide(1.0, power, out=np.full(len(power), np.inf), where=on)
    return Pool(indices, as_numpy(state.gram).astype(kind), as_numpy(state.pull).astype(kind), alpha)
