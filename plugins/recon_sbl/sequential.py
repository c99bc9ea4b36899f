"""Sequential sparse Bayesian learning: the best entry is added, re-estimated or deleted, one action after another.

    minimise  F(g) = L(g) + price n,    L(g) = log|S| + y^H S^(-1) y,    S = s2 I + A diag(g) A^H,  n entries with g > 0

As a function of one g_i alone L has one minimum, at a known place (Tipping and Faul 2003; Faul and Tipping 2002):

    g_i = (|q_i|^2 - s_i) / s_i^2 where |q_i|^2 > s_i, else 0       s_i, q_i = a_i^H S_-i^(-1) (a_i, y), i left out of S

Each action moves one g_i there; the one that lowers F most is taken. price = t - 1 - log t makes an entry pay where
|q_i|^2 <= t s_i: t = 1 is the method of the paper (price 0), and t so that noise alone brings in one entry is the
default here. On that scale the paper's test lets every third entry of pure noise pass.
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
from recon_sbl._noise import deviation
from recon_sbl._sequential_active import Active, Search
from recon_sbl._sequential_atoms import Model, OperatorAtoms, critical_ratio
from recon_sbl._state import SblSolver, SblState, check_model

__all__ = ["SequentialSbl", "SequentialState"]

STEADY = 1e-3
"""Relative change of s2 at which it counts as learned."""

STAGES = (0.1, 2.0)
"""False alarms while s2 is learned, last first: generous until the entries are found, then strict, because each false
entry takes its share of the noise with it."""


@dataclass(frozen=True)
class SequentialState(SblState):
    """Posterior, and what the next action needs; the posterior itself is computed anew from gamma in each step.

    Parameters
    ----------
    chosen
        (n,) indices of the active entries in C order.
    columns
        (n, m) their columns, of unit length.
    strength
        (N,) a_i^H S^(-1) a_i of all columns, of unit length.
    lengths
        (N,) lengths of the columns.
    learning
        Stages in which s2 is still to be learned; 0 where it is known or held.
    actions
        How many actions were taken.
    """

    chosen: Array
    columns: Array
    strength: Array
    lengths: Array
    learning: int
    actions: int


@dataclass(frozen=True)
class SequentialSbl(SblSolver):
    """Sparse Bayesian learning from an empty set of entries (Tipping and Faul 2003): fast where few are needed.

    Minimises F = log|S| + y^H S^(-1) y + price n over the prior variances (see the top of this file), with n the
    number of active entries. F falls with every action. It ends by itself at a point where no single entry can lower
    F: for active entries the derivative of L is 0 (to ``tol``), for all others |q_i|^2 <= t s_i. That is a local
    minimum; others exist.

    ``false_alarms`` sets t: the number of entries that noise alone would bring in, by the chi-square distribution of
    |q_i|^2 / s_i. None is the paper's t = 1, the local minimum of L itself, whose many small false entries cost a
    factor of 2 to 3 of mean square error on sparse x (1.1 to 1.4 where neighbouring columns are alike). On data
    that are compressible rather than sparse take None.

    Noise: ``Problem.noise`` known (arrays are whitened), or None. Then s2 starts at a tenth of the mean square of the
    data, is re-estimated by expectation maximisation when no action is left, and is held once it is steady. While it
    is learned t is never 1: small false entries would eat the noise.

    Several snapshots (``joint``) share one support: |q|^2 is then their mean. Any operator: ``Matrix`` gives its
    columns for the asking; others are asked for images of unit vectors, all N of them once at the start, unless
    they have ``column_scale`` (A^H A = c I). Entries of a ``Problem.prior`` are refused.

    Cost per action: one product with A^H (O(M N) for a matrix; several changes of active entries share one) and
    n^2 + n M; about two actions per entry of the solution with the default, 3 to 8 with None. A step is up to ``batch``
    actions, then n^3 for a posterior computed anew. Memory: n columns, n^2, and ten arrays of N. Decisions are taken
    on the host in double precision; products run where the data are. For N beyond 1e5 take ``BudgetSbl``.

    Parameters
    ----------
    false_alarms
        Expected number of entries that noise alone brings in; None for the test of the paper, |q|^2 > s.
    batch
        Actions per step.
    tol
        Actions that lower F by less than tol M (per snapshot) are not taken.
    joint
        Whether batch axes of the data are snapshots of one support.

    Raises
    ------
    CapabilityError
        For another loss, a prior, tuples of arrays, or a batch without ``joint``.

    References
    ----------
    M. E. Tipping, A. C. Faul, "Fast marginal likelihood maximisation for sparse Bayesian models", AISTATS 2003,
    sections 3 and 4; A. C. Faul, M. E. Tipping, "Analysis of sparse Bayesian learning", NIPS 14 (2002).
    """

    false_alarms: Annotated[
        float | None, Gt(0), Doc("entries that noise alone brings in, None: the paper's test")
    ] = 0.5
    batch: Annotated[int, Ge(1), Doc("actions per step")] = 50
    tol: Annotated[float, Gt(0), Doc("least fall of F per datum for which an action is taken")] = 1e-6
    joint: Annotated[bool, Doc("whether samples of a batch are snapshots that share one support")] = False

    state_type = SequentialState

    def init(self, problem: Problem, x0: Array | None = None, seed: int = 0) -> SequentialState:
        check_model(problem, "SequentialSbl", self.joint)
        x = problem.start(x0)
        model = Model.of(problem, "SequentialSbl")
        like, lengths = problem.data, model.lengths()
        empty = not np.any(model.y)
        s2 = model.first_s2
        energy, rows = model.energy, model.y.shape[1]
        nothing, columns = np.zeros(0, np.int64), np.zeros((0, rows), model.y.dtype)
        zero = model.spread(nothing, np.zeros(0), like)
        return SequentialState(
            0,
            0.0 * x,
            zero,
            zero,
            deviation(s2, like) * model.rms,
            (model.cost(rows * math.log(s2) + energy / s2),),
            empty,
            from_numpy(nothing, like),
            from_numpy(columns, like, dtype=like.dtype),
            real_like(np.where(lengths > 0.0, 1.0 / s2, 0.0), like),
            real_like(lengths, like),
            len(STAGES) if model.s2 is None else 0,
            0,
        )

    def step(self, problem: Problem, state: SequentialState) -> SequentialState:
        if state.settled:
            return replace(state, iteration=state.iteration + 1)
        model = Model.of(problem, "SequentialSbl")
        lengths = as_numpy(state.lengths).astype(np.float64)
        atoms = OperatorAtoms(model, lengths)
        s2 = model.s2_of(state.noise)
        active = self._active(model, atoms, state, s2)
        strength = as_numpy(state.strength).astype(np.float64)
        before = active.cost(model.y.shape[1], model.energy)
        search = Search(atoms, active, strength, self._level(problem, len(model.y), state.learning))
        tol, done = self.tol * model.y.shape[1], False
        if search.run(self.batch, tol):
            search.refresh()
            done = search.candidate()[1] <= tol
        cost, learning, settled = before - search.fall, state.learning, False
        if done and learning:
            new = model.learned_s2(active, s2)
            learning -= abs(new - s2) <= STEADY * s2
            s2, cost = new, self._reset(active, search, model, new)
        elif done:
            settled = True
        return self._packed(problem, model, state, search, s2, cost, learning, settled)

    def _level(self, problem: Problem, snapshots: int, learning: int) -> float:
        alarms = STAGES[learning - 1] if learning else self.false_alarms
        return critical_ratio(problem.operator.shape[1], snapshots, problem.data, alarms)

    def _active(self, model: Model, atoms: OperatorAtoms, state: SequentialState, s2: float) -> Active:
        """The posterior of a state, computed anew."""
        chosen, columns = as_numpy(state.chosen), as_numpy(state.columns).astype(model.y.dtype)
        gamma = as_numpy(state.gamma).reshape(-1)[chosen].astype(np.float64)
        alpha = atoms.inverse[chosen] ** 2 / (gamma / model.rms / model.rms)
        gram, pull = columns.conj() @ columns.T, columns.conj() @ model.y.T
        return Active(chosen, alpha, gram, pull, columns, 1.0 / s2, self.batch)

    def _reset(self, active: Active, search: Search, model: Model, s2: float) -> float:
        """Go over to another s2 with the entries as they are; L there."""
        columns = active.columns
        fresh = Active(
            active.indices, active.alpha, columns.conj() @ columns.T, active.pull, columns, 1.0 / s2, 0
        )
        search.active = fresh
        search.refresh()
        return fresh.cost(model.y.shape[1], model.energy)

    def _packed(
        self, problem: Problem, model: Model, old: SequentialState, search: Search, s2: float, cost: float,
        learning: int, settled: bool,
    ) -> SequentialState:  # fmt: skip
        """The new state, in the units of the problem."""
        active, like = search.active, problem.data
        order = np.argsort(active.indices)
        chosen = active.indices[order]
        unit = model.rms / as_numpy(old.lengths).astype(np.float64)[chosen]
        return SequentialState(
            old.iteration + 1,
            model.spread(chosen, unit * active.mu[order].T, like, snapshots=True),
            model.spread(chosen, unit**2 * np.maximum(active.variances[order], 0.0), like),
            model.spread(chosen, unit**2 / active.alpha[order], like),
            deviation(s2, like) * model.rms,
            (*old.costs, model.cost(cost)),
            settled,
            from_numpy(chosen, like),
            from_numpy(active.columns[order], like, dtype=like.dtype),
            real_like(np.where(as_numpy(old.lengths) > 0.0, search.S, 0.0), like),
            old.lengths,
            learning,
            old.actions + search.actions,
        )

    def remarks(self, state: SequentialState) -> list[str]:
        """What is certain of the end point."""
        if not state.settled or not len(state.costs) > 1:
            return []
        which = "|q|^2 > s" if self.false_alarms is None else "the level of false_alarms"
        return [
            f"SequentialSbl settled after {state.actions} actions: no single entry, active or not, can lower the "
            f"objective, and no inactive one passes the test ({which})."
        ]

    def hyperparameters(self, state: SequentialState) -> Mapping[str, Any]:
        """As of every solver of this package, with the number of actions."""
        return {**super().hyperparameters(state), "actions": state.actions}

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
