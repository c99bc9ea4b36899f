"""Kronecker orthogonal matching pursuit: greedy recovery of a support that is a product of supports.

y = (A_1 (x) ... (x) A_d) x + n,    supp x inside I_1 x ... x I_d

1. (k_1, ..., k_d) = argmax |R x_i A_i^H| / (||a_k1|| ... ||a_kd||)       over indices that the limits still allow
2. I_i <- I_i + {k_i}
3. A_i[:, I_i] = Q_i T_i,    X = Y x_i T_i^(-1) Q_i^H,    R = Y - Y x_i Q_i Q_i^H
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge, Interval

from recon import Kronecker, Matrix, Problem, Solver, State
from recon.arrays import Array, as_numpy, from_numpy, namespace, norm
from recon.params import Doc
from recon_sbl._state import check_model
from recon_sbl.kronecker._fitting import one_level, per_factor
from recon_sbl.kronecker.form import along, dense_factors, embedded

__all__ = ["Komp", "KompState"]

_Count = Annotated[int, Ge(1)]
_TOL = 1e-2  # where neither tol nor a noise level is given: the authors of KroSBL compare with this
_DEPENDENT = 1e-7  # a column this near to those taken adds nothing but rounding


@dataclass(frozen=True)
class KompState(State):
    """x, r = y - A x, and which columns of each factor are taken."""

    residual: Array
    taken: tuple[Array, ...]
    settled: bool


@dataclass(frozen=True)
class Komp(Solver):
    """Kronecker orthogonal matching pursuit, for operators with ``factors`` (``recon.Kronecker``).

    An iteration adds at most one index to every factor, and fits all products of taken columns again. It ends when the
    residual is small, or no index is left that would lower it; then further iterations change nothing. Positions that
    would break a limit are not looked at, so a full factor does not end the search in the others (in the authors'
    algorithm it does). Known weakness: with a small ``tol`` and many data it goes on into the noise (so by
    default at 20 dB where the noise is not known; ``result.provenance["remarks"]`` says so where a factor is full); a
    known ``Problem.noise`` is the better end.

    Shapes: x (n_1, ..., n_d), y (m_1, ..., m_d), real or complex, no batch. Per iteration d products along an axis for
    the correlations and three for the fit, O(d N max m_i) for N unknowns, and a QR factorisation of each factor's taken
    columns; memory of three images. No system with products of columns is ever formed.

    Parameters
    ----------
    most
        Most indices in a factor: one number, or one per factor. Never more than the factor has rows.
    tol
        End at ||r|| <= tol ||y||. By default at ||r||^2 <= E||n||^2 where the noise is known, else 1e-2.

    Raises
    ------
    CapabilityError
        For an operator without factors, a prior, another loss, a batch, or noise that differs between entries.
    ParameterError
        For limits that are not one per factor.

    References
    ----------
    Caiafa and Cichocki, "Computing Sparse Representations of Multidimensional Signals Using Kronecker Bases", Neural
    Comput. 25 (2013) 186, doi:10.1162/NECO_a_00385.
    """

    most: Annotated[_Count | tuple[_Count, ...] | None, Doc("most indices in a factor")] = None
    tol: Annotated[float | None, Interval(ge=0, lt=1), Doc("relative residual at which to end")] = None

    state_type = KompState

    def init(self, problem: Problem, x0: Array | None = None, seed: int = 0) -> KompState:
        check_model(problem, "Komp")
        matrices = dense_factors(problem.operator, "Komp")
        self._limits(matrices)
        one_level(problem, "Komp")
        x = problem.start(x0)
        taken = tuple(from_numpy(np.zeros(A.shape[1], bool), problem.data) for A in matrices)
        return KompState(0, x - x, problem.data, taken, norm(problem.data) == 0.0)

    def step(self, problem: Problem, state: KompState) -> KompState:
        if state.settled or self._fine(problem, state):
            return replace(state, iteration=state.iteration + 1, settled=True)
        matrices = dense_factors(problem.operator, "Komp")
        old = [np.flatnonzero(as_numpy(mask)) for mask in state.taken]
        new = _extended(matrices, old, self._best(matrices, state.residual, old))
        if all(len(a) == len(b) for a, b in zip(new, old, strict=True)):
            return replace(state, iteration=state.iteration + 1, settled=True)
        core = fit = problem.data
        bases = [np.linalg.qr(A[:, index]) for A, index in zip(matrices, new, strict=True)]
        for axis, (Q, T) in enumerate(bases):
            core = along(core, np.linalg.solve(T, Q.conj().T), axis)
            fit = along(fit, Q.conj().T, axis)
        for axis, (Q, _) in enumerate(bases):
            fit = along(fit, Q, axis)
        masks = [np.isin(np.arange(A.shape[1]), index) for A, index in zip(matrices, new, strict=True)]
        return KompState(
            state.iteration + 1,
            embedded(core, new, [A.shape[1] for A in matrices]),
            problem.data - fit,
            tuple(from_numpy(mask, problem.data) for mask in masks),
            False,
        )

    def _limits(self, matrices: Sequence[Any]) -> list[int]:
        wanted = per_factor(self.most, matrices, "Komp.most")
        return [min(m or max(A.shape), *A.shape) for m, A in zip(wanted, matrices, strict=True)]

    def _fine(self, problem: Problem, state: KompState) -> bool:
        """Whether the residual is small enough."""
        s2 = one_level(problem, "Komp")
        if self.tol is None and s2 is not None:
            return norm(state.residual) ** 2 <= s2 * problem.operator.shape[0]
        return norm(state.residual) <= (_TOL if self.tol is None else self.tol) * norm(problem.data)

    def _best(self, matrices: Sequence[Any], residual: Array, old: Sequence[Any]) -> list[int]:
        """The position of the largest normalised correlation, among those that the limits allow."""
        limits = self._limits(matrices)
        open_ = [
            np.arange(A.shape[1]) if len(taken) < limit else taken
            for A, taken, limit in zip(matrices, old, limits, strict=True)
        ]
        correlation = residual
        for axis, (A, index) in enumerate(zip(matrices, open_, strict=True)):
            length = np.linalg.norm(A, axis=0)
            unit = A[:, index] / np.where(length > 0, length, 1.0)[index]
            correlation = along(correlation, unit.conj().T, axis)
        xp = namespace(correlation)
        place = int(xp.argmax(xp.reshape(xp.abs(correlation), (-1,))))
        where = np.unravel_index(place, tuple(correlation.shape))
        return [int(index[k]) for index, k in zip(open_, where, strict=True)]

    def remarks(self, state: KompState) -> list[str]:
        """Says so where the fit has as many columns of a factor as rows, fewer than there are."""
        counts = [int(np.count_nonzero(as_numpy(mask))) for mask in state.taken]
        rows = tuple(state.residual.shape)
        full = [
            k
            for k, (mask, m) in enumerate(zip(state.taken, rows, strict=True))
            if counts[k] == m < mask.shape[0] and m > 1
        ]
        return [
            f"Komp took {counts[k]} columns of factors[{k}], as many as it has rows: the fit follows the noise. "
            "Give Problem.noise, a larger tol, or most."
            for k in full
        ]

    @classmethod
    def example(cls) -> Problem:
        rng = np.random.default_rng(0)
        A = Kronecker(tuple(Matrix(rng.standard_normal((m, 8))) for m in (5, 6, 7)))
        x = np.zeros((8, 8, 8))
        x[np.ix_([1, 4], [0, 6], [3, 5])] = rng.standard_normal((2, 2, 2)) + 2.0
        y = A @ x
        return Problem(A, y + 0.1 * rng.standard_normal(y.shape), noise=0.1)


def _extended(matrices: Sequence[Any], old: Sequence[Any], best: Sequence[int]) -> list[Any]:
    """The indices with the new ones, but for columns that depend on those taken."""
    new = []
    for A, taken, k in zip(matrices, old, best, strict=True):
        column = A[:, k]
        if len(taken):
            Q = np.linalg.qr(A[:, taken])[0]
            column = column - Q @ (Q.conj().T @ column)
        free = np.linalg.norm(column) > _DEPENDENT * np.linalg.norm(A[:, k])
        new.append(np.sort(np.append(taken, k)) if k not in taken and free else taken)
    return new
