"""The columns of an operator as a dictionary of unit vectors, on all of them or on a few by their Gram matrix.

    a_i = W A e_i / d_i,   d_i = ||W A e_i||,   y = W data / rms(W data)       W: whitening, 1 for noise of one level

A search for the active set takes its decisions one by one on the host (NumPy, double precision); products with all
columns run in the library and on the device of the data.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from recon import Matrix, Problem
from recon.arrays import Array, as_numpy, from_numpy, real_like
from recon.operator import capability
from recon_sbl._factor import square
from recon_sbl._noise import FLOOR, START, noise_variance, parts
from recon_sbl._sequential_active import Active

__all__ = ["FewAtoms", "Model", "OperatorAtoms", "critical_ratio"]

_CHUNK = 1 << 23
"""Entries of a block of unit vectors (64 MiB in double precision)."""


def critical_ratio(entries: int, snapshots: int, data: Array, false_alarms: float | None) -> float:
    """The level t so that noise alone lifts so many of the entries above |q|^2 > t s; 1 where None.

    Under noise q is normal with variance s: parts * snapshots * |q|^2 / s is chi-square distributed.
    """
    if false_alarms is None:
        return 1.0
    from scipy.special import gammainccinv

    half = 0.5 * parts(data) * snapshots
    return max(1.0, float(gammainccinv(half, min(false_alarms / entries, 1.0))) / half)


@dataclass(frozen=True)
class Model:
    """A problem in units without dimension: white noise, data of mean square 1, columns of length 1.

    Parameters
    ----------
    problem
        What is solved.
    weights
        Whitening of the rows, or None.
    y
        (snapshots, m).
    rms
        By which the whitened data were divided.
    s2
        Noise variance, None where it must be learned.
    """

    problem: Problem
    weights: Any
    y: Any
    rms: float
    s2: float | None

    @classmethod
    def of(cls, problem: Problem, solver: str) -> Model:
        """Whiten and scale."""
        spec: Any = problem.operator.codomain
        wide = np.complex128 if spec.kind == "complex" else np.float64
        y = as_numpy(problem.data).reshape(-1, spec.size).astype(wide)
        s2 = noise_variance(problem, solver)
        weights = None
        if not (s2 is None or isinstance(s2, float)):
            each = as_numpy(s2).reshape(-1).astype(np.float64)
            s2 = float(each.mean())
            weights = np.sqrt(s2 / each)
            y = weights * y
        largest = float(np.abs(y).max())
        rms = largest * math.sqrt(float(square(y / largest).mean())) if largest else 1.0
        return cls(problem, weights, y / rms, rms, None if s2 is None else s2 / rms / rms)

    @property
    def first_s2(self) -> float:
        """s2 to start with: known, or where learning begins (its least value for data that are all 0)."""
        if self.s2 is not None:
            return self.s2
        return START if np.any(self.y) else FLOOR

    def s2_of(self, noise: float) -> float:
        """s2: known, or of the standard deviation that a state holds."""
        if self.s2 is not None:
            return self.s2
        return float(parts(self.problem.data) * (noise / self.rms) ** 2)

    def learned_s2(self, active: Active, s2: float) -> float:
        """s2 by a step of expectation maximisation."""
        rows = self.y.shape[1]
        return max(active.misfit(self.energy) + s2 * active.effective(), FLOOR * rows) / rows

    @property
    def energy(self) -> float:
        """Mean ||y||^2 of a snapshot: m, but for data that are all 0."""
        return float(square(self.y).sum()) / len(self.y)

    def cost(self, value: float) -> float:
        """L of the problem, summed over snapshots, from that of the model per snapshot."""
        shift = 2.0 * self.y.shape[1] * math.log(self.rms)
        if self.weights is not None:
            shift -= 2.0 * float(np.log(self.weights).sum())
        return len(self.y) * (value + shift)

    def columns(self, indices: Any) -> Any:
        """W A e_i as rows, (len(indices), m), not scaled, in the precision of the data."""
        operator, like = self.problem.operator, self.problem.data
        domain: Any = operator.domain
        dtype = as_numpy(like[:0] if like.ndim else like).dtype
        if isinstance(operator, Matrix):
            images = np.ascontiguousarray(operator.matrix[:, indices].T, dtype=dtype)
        else:
            units = np.zeros((len(indices), domain.size), dtype=dtype)
            units[np.arange(len(indices)), indices] = 1.0
            batch = from_numpy(units.reshape(len(indices), *domain.shape), like)
            images = as_numpy(operator @ batch).reshape(len(indices), -1)
        return images if self.weights is None else (self.weights * images).astype(dtype)

    def correlate(self, rows: Any) -> Any:
        """(W A)^H w of every row w, (rows, n), in double precision."""
        operator, like = self.problem.operator, self.problem.data
        spec: Any = operator.codomain
        rows = rows if self.weights is None else self.weights * rows
        dtype = as_numpy(like[:0] if like.ndim else like).dtype
        if isinstance(operator, Matrix) and isinstance(like, np.ndarray) and operator.matrix.dtype == dtype:
            images = (
                rows.astype(dtype, copy=False).conj() @ operator.matrix
            ).conj()  # spares the checks of a product
            return images.astype(self.y.dtype, copy=False)
        batch = from_numpy(rows.astype(dtype, copy=False).reshape(len(rows), *spec.shape), like)
        images = as_numpy(operator.H @ batch).reshape(len(rows), -1)
        return images.astype(self.y.dtype, copy=False)

    def lengths(self) -> Any:
        """||W A e_i|| of all columns; from the matrix, the capability ``column_scale``, or n products."""
        operator: Any = self.problem.operator
        n = operator.shape[1]
        scale = capability(operator, "column_scale")
        if isinstance(operator, Matrix):
            values = operator.matrix if self.weights is None else self.weights[:, None] * operator.matrix
            return np.sqrt(np.sum(square(values), axis=0, dtype=np.float64))
        if scale is not None and self.weights is None:
            return np.full(n, math.sqrt(float(scale())))
        block = max(1, _CHUNK // n)
        squares = [
            square(self.columns(np.arange(first, min(first + block, n)))).sum(axis=1, dtype=np.float64)
            for first in range(0, n, block)
        ]
        return np.sqrt(np.concatenate(squares))

    def spread(self, indices: Any, values: Any, like: Array, snapshots: bool = False) -> Any:
        """Values at some entries, 0 elsewhere, as an array of the domain (snapshots in front)."""
        domain: Any = self.problem.operator.domain
        full = np.zeros((*values.shape[:-1], domain.size), dtype=values.dtype)
        full[..., indices] = values
        if not snapshots:
            return real_like(full.reshape(domain.shape), like)
        return from_numpy(full.reshape(*self.problem.batch, *domain.shape), like, dtype=like.dtype)


class OperatorAtoms:
    """All columns of the operator; those that are active are kept as rows."""

    def __init__(self, model: Model, lengths: Any) -> None:
        self.model, self.size = model, len(lengths)
        self.inverse = 1.0 / np.where(lengths > 0.0, lengths, 1.0)

    def border(self, active: Active, j: int) -> tuple[Any, Any, Any]:
        column = self.inverse[j] * self.model.columns(np.array([j]))[0]
        return column, active.columns.conj() @ column, column.conj() @ self.model.y.T

    def combine(self, active: Active, weights: Any) -> Any:
        return weights @ active.columns

    def correlate(self, rows: Any) -> Any:
        return self.inverse * self.model.correlate(rows)

    def residuals(self, active: Active) -> Any:
        return self.correlate(self.model.y - active.mu.T @ active.columns)


class FewAtoms:
    """Some columns, known by their Gram matrix and their products with the data: no vector of data is touched."""

    def __init__(self, gram: Any, pull: Any) -> None:
        self.gram, self.pull, self.size = gram, pull, len(gram)

    def border(self, active: Active, j: int) -> tuple[Any, Any, Any]:
        unit = np.zeros(self.size, self.pull.dtype)
        unit[j] = 1.0
        return unit, self.gram[active.indices, j], self.pull[j]

    def combine(self, active: Active, weights: Any) -> Any:
        full = np.zeros((*weights.shape[:-1], self.size), self.pull.dtype)
        full[..., active.indices] = weights
        return full

    def correlate(self, rows: Any) -> Any:
        return rows @ self.gram.T

    def residuals(self, active: Active) -> Any:
        return self.pull.T - active.mu.T @ self.gram[:, active.indices].T
