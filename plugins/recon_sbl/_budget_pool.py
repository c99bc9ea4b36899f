"""Columns of a large operator that were looked at closely: their Gram matrix, from products with unit vectors.

    G_ij = a_i^H a_j,  a_i = W A e_i / d_i,  d_i = ||W A e_i||          a normal product per column, none is kept
    S_i = b - sum_k |a_i^H w_k|^2,  w_k = b A_n R e_k,  Sigma = R R^H   of all entries: a normal product per active one

Signals of data length are never stored: a search for the active entries runs on G alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from recon import Problem
from recon.arrays import as_numpy, from_numpy
from recon.linalg import normal
from recon_sbl._factor import adjoint, square
from recon_sbl._noise import whitened
from recon_sbl._sequential_active import Active, Search, root
from recon_sbl._sequential_atoms import FewAtoms, Model

__all__ = ["Columns", "Pool", "Searched"]

_CHUNK = 1 << 22
"""Entries of a block of vectors that go through the operator together (32 MiB in double precision)."""

_FRESH, _ROUNDS = 50, 40
"""Least number of actions between posteriors computed anew, and how often at most in one search."""


class Columns:
    """Products with all columns, of unit length as far as their lengths are known.

    Parameters
    ----------
    problem, model
        What is solved, and the same without units.
    lengths
        ||W A e_i||, changed in place where a column is looked at.
    """

    def __init__(self, problem: Problem, model: Model, lengths: Any) -> None:
        self.operator, _, _ = whitened(problem, "BudgetSbl")
        self.problem, self.model, self.lengths = problem, model, lengths
        self.products = 0

    @property
    def inverse(self) -> Any:
        return np.where(self.lengths > 0.0, 1.0 / np.where(self.lengths > 0.0, self.lengths, 1.0), 0.0)

    def correlate(self, x: Any) -> tuple[Any, Any]:
        """a_i^H (y - A x) and a_i^H y of every column, (snapshots, N) each, x in the units of the problem."""
        model = self.model
        images = as_numpy(self.operator @ x).reshape(model.y.shape).astype(model.y.dtype)
        rows = np.concatenate([model.y - images / model.rms, model.y])
        self.products += len(rows)
        found = self.inverse * model.correlate(rows)
        return found[: len(model.y)], found[len(model.y) :]

    def normal(self, rows: Any) -> Any:
        """(W A)^H W A of every row, (rows, N)."""
        domain: Any = self.operator.domain
        batch = from_numpy(rows.reshape(len(rows), *domain.shape), self.problem.data)
        self.products += len(rows)
        return as_numpy(normal(self.operator, batch)).reshape(len(rows), -1)

    def gram(self, at: Any, new: Any) -> Any:
        """(W A e_i)^H (W A e_j) for i in ``at`` and j in ``new``, not scaled, (len(at), len(new))."""
        found = np.zeros((len(at), len(new)), self.model.y.dtype)
        for part in self._parts(len(new)):
            rows = self._rows(part.stop - part.start)
            rows[np.arange(len(rows)), new[part]] = 1.0
            found[:, part] = self.normal(rows)[:, at].T
        return found

    def strength(self, indices: Any, active: Active) -> Any:
        """S_i of every column, from the posterior: one product per active entry; 0 for columns that are 0."""
        inverse, beta = self.inverse, active.beta
        result = np.where(inverse > 0.0, beta, 0.0)
        if active.n:
            chosen = indices[active.indices]
            weights = beta * root(active.sigma).T * inverse[chosen]
            for part in self._parts(active.n):
                rows = self._rows(part.stop - part.start)
                rows[:, chosen] = weights[part]
                for image in self.normal(rows):
                    result -= square(inverse * image)
        least = 8.0 * np.finfo(self._dtype).eps * beta
        return np.where(inverse > 0.0, np.maximum(result, least), 0.0)

    @property
    def _dtype(self) -> Any:
        data = self.problem.data
        return as_numpy(data[:0] if data.ndim else data).dtype

    def _rows(self, count: int) -> Any:
        return np.zeros((count, len(self.lengths)), self._dtype)

    def _parts(self, count: int) -> list[slice]:
        block = max(1, _CHUNK // len(self.lengths))
        return [slice(first, min(first + block, count)) for first in range(0, count, block)]


@dataclass(frozen=True)
class Pool:
    """The columns that were looked at: active ones, and those found wanting.

    Parameters
    ----------
    indices
        (p,) which columns.
    gram, pull
        G, (p, p), and a_i^H y, (p, snapshots).
    alpha
        (p,) precisions, infinite where not active.
    """

    indices: Any
    gram: Any
    pull: Any
    alpha: Any

    def posterior(self, beta: float, most: int = 0) -> Active:
        """Computed anew, with room for so many entries; its indices are places in the pool."""
        on = np.flatnonzero(np.isfinite(self.alpha))
        return Active(
            on, self.alpha[on], self.gram[np.ix_(on, on)], self.pull[on], None, beta, max(most - len(on), 0)
        )

    def joined(self, columns: Columns, new: Any, pull: Any) -> Pool:
        """With more columns, whose products with the data are ``pull`` (snapshots, new) by the lengths known so far."""
        before = columns.lengths[new]
        raw = columns.gram(np.concatenate([self.indices, new]), new)
        p = len(self.indices)
        after = np.sqrt(np.maximum(raw[p:].diagonal().real, 0.0))
        columns.lengths[new] = after
        real = after > 0.0
        new, raw, after = new[real], raw[np.concatenate([np.ones(p, bool), real])][:, real], after[real]
        raw = raw / np.concatenate([columns.lengths[self.indices], after])[:, None] / after
        inner = 0.5 * (raw[p:] + adjoint(raw[p:]))
        np.fill_diagonal(inner, 1.0)
        gram = np.block([[self.gram, raw[:p]], [adjoint(raw[:p]), inner]])
        pull = (pull[:, real] * (before[real] / after)).T
        return Pool(
            np.concatenate([self.indices, new]),
            gram,
            np.concatenate([self.pull, pull]),
            np.concatenate([self.alpha, np.full(len(new), np.inf)]),
        )

    def part(self, places: Any) -> Pool:
        """The columns at some places."""
        return Pool(
            self.indices[places], self.gram[np.ix_(places, places)], self.pull[places], self.alpha[places]
        )

    def searched(self, beta: float, level: float, budget: int, tol: float) -> Searched:
        """The best actions one after another until none is left; then at most ``budget`` entries are kept.

        Those with the least |mu|^2 / Sigma_ii go, and the rest are estimated anew.
        """
        if not len(self.alpha):
            return Searched(self, self.alpha, self.alpha, 0, True, False)
        pool, done, actions = self, False, 0
        for _ in range(_ROUNDS):  # rank-one changes drift: the end is judged by a posterior computed anew
            active = pool.posterior(beta, len(self.alpha))
            search = Search(FewAtoms(self.gram, self.pull), active, np.full(len(self.alpha), beta), level)
            search.refresh()
            done = search.run(max(_FRESH, active.n), tol)
            alpha = np.full(len(self.alpha), np.inf)
            alpha[active.indices] = active.alpha
            pool, actions = replace(self, alpha=alpha), actions + search.actions
            if done and not search.actions:
                break
        else:
            search.refresh()
        ratio = square(search.Q).mean(axis=0) / np.maximum(search.S, 1e-300)
        ratio[active.indices] = np.finfo(np.float64).max
        found = Searched(pool, search.S, ratio, actions, done, False)
        if active.n <= budget:
            return found
        scores = square(active.mu).mean(axis=1) / np.maximum(active.variances, 1e-300)
        kept = np.sort(active.indices[np.argsort(-scores, kind="stable")[:budget]])
        inner = found.pool.part(kept).searched(beta, level, budget, tol)
        alpha = np.full(len(self.alpha), np.inf)
        alpha[kept] = inner.pool.alpha
        return Searched(
            replace(self, alpha=alpha), search.S, ratio, actions + inner.actions, done and inner.done, True
        )


@dataclass(frozen=True)
class Searched:
    """What a search found.

    Parameters
    ----------
    pool
        With the new precisions.
    strength, ratio
        S_i, and |q_i|^2 / S_i (enormous for active entries), of the pool before it was trimmed.
    actions
        How many were taken.
    done
        Whether none was left.
    trimmed
        Whether entries had to go for the budget.
    """

    pool: Pool
    strength: Any
    ratio: Any
    actions: int
    done: bool
    trimmed: bool

    def objective(self, beta: float, level: float, rows: int, energy: float) -> float:
        """F = L + price n per snapshot."""
        active = self.pool.posterior(beta)
        return active.cost(rows, energy) + active.n * (level - 1.0 - math.log(level))

    def thinned(self, most: int) -> Pool:
        """At most so many of the pool: the active ones, then those nearest to the test."""
        order = np.where(np.isfinite(self.pool.alpha), np.inf, self.ratio)
        return self.pool.part(np.sort(np.argsort(-order, kind="stable")[:most]))
