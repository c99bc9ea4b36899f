"""The units that KroSBL works in: data of mean square 1, columns of length 1; and the way back.

y' = y / c,    A_i' = A_i diag(1 / w_i),    x = c x' / (w_1 (x) ... (x) w_d),    g_i = g_i' / w_i^2,    s2 = c^2 s2'
L = L' + 2 M log c
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from recon import Problem
from recon.arrays import Array, as_numpy, namespace, norm, real_like
from recon_sbl._noise import deviation, parts
from recon_sbl.kronecker._fitting import one_level, outer_like
from recon_sbl.kronecker.form import dense_factors
from recon_sbl.kronecker.m_steps import balanced

__all__ = ["Units"]

_LEAST = 1e-10  # lowest s2, in units of the mean square of the data


@dataclass(frozen=True)
class Units:
    """A problem in the units of the solver.

    Parameters
    ----------
    matrices, data, s2
        A_i', y' and s2' (None: to be learned).
    lengths
        w_i, or None where columns are as they come.
    size
        c.
    silent
        Whether the data are zero.
    """

    matrices: tuple[np.ndarray[Any, Any], ...]
    data: Array
    s2: float | None
    lengths: tuple[np.ndarray[Any, Any], ...] | None
    size: float
    silent: bool

    @classmethod
    def of(cls, problem: Problem, solver: str, scaled: bool) -> Units:
        """The problem in units of its own size where ``scaled``, else as it comes.

        Raises
        ------
        CapabilityError
            For an operator without factors, or noise that differs from entry to entry.
        """
        matrices, s2 = dense_factors(problem.operator, solver), one_level(problem, solver)
        count = problem.operator.codomain.size  # type: ignore[union-attr]
        rms = norm(problem.data) / math.sqrt(count)
        size = rms if scaled and rms > 0.0 else 1.0
        lengths = None
        if scaled:
            lengths = tuple(_lengths(A) for A in matrices)
            matrices = tuple(A / w for A, w in zip(matrices, lengths, strict=True))
        data = problem.data / size
        s2 = s2 if s2 is None else s2 / size**2
        if s2 is not None and scaled and rms > 0.0:
            s2 = max(s2, _LEAST)
        return cls(matrices, data, s2, lengths, size, rms == 0.0)

    @property
    def count(self) -> int:
        """M, the number of data."""
        return math.prod(self.data.shape)

    @property
    def floor(self) -> float:
        """The lowest s2 that is learned or searched with."""
        return _LEAST * (1.0 if self.lengths else norm(self.data) ** 2 / self.count)

    @property
    def shift(self) -> float:
        """L in the units of the problem less that of the solver."""
        return 2.0 * self.count * math.log(self.size)

    def start(self) -> tuple[list[np.ndarray[Any, Any]], float]:
        """All ones, but 0 for columns of zeros (and for data of zeros); and s2, a tenth of the size of the data.

        As they come, it is a tenth of their variance, as in the authors' code.
        """
        factors = [np.ones(A.shape[1]) for A in self.matrices]
        if self.lengths:
            factors = [np.any(A != 0, axis=0).astype(np.float64) for A in self.matrices]
        if self.silent or not all(np.any(g) for g in factors):
            factors = [np.zeros_like(g) for g in factors]
        if self.s2 is not None:
            return factors, self.s2
        if self.lengths:
            return factors, 0.1
        mean = abs(complex(as_numpy(namespace(self.data).mean(self.data))))
        return factors, max(0.1 * (norm(self.data) ** 2 / self.count - mean**2), self.floor) or 1.0

    # -- there and back --------------------------------------------------------------------------------------

    def inner(self, factors: Sequence[Array]) -> list[np.ndarray[Any, Any]]:
        """Factors of a state in the units of the solver, on the host."""
        known = [as_numpy(g).astype(np.float64) for g in factors]
        if self.lengths:
            known = [g * w**2 for g, w in zip(known, self.lengths, strict=True)]
            known[-1] = known[-1] / self.size**2
        return known

    def outer_factors(self, factors: Sequence[np.ndarray[Any, Any]]) -> tuple[Array, ...]:
        """Factors in the units of the problem, of the library of the data, all but the last of length 1."""
        own = list(factors)
        if self.lengths:
            own = [g / w**2 for g, w in zip(own, self.lengths, strict=True)]
            own[-1] = own[-1] * self.size**2
        return tuple(real_like(g, self.data) for g in balanced(own))

    def outer(
        self, mean: Array, variance: Array, factors: Sequence[Any], kept: Sequence[Any]
    ) -> tuple[Array, Array, Array]:
        """Mean, variance and gamma of the entries kept, in the units of the problem."""
        if not all(len(g) for g in factors):
            return mean, variance, variance  # no entries
        if not self.lengths:
            return mean, variance, outer_like(factors, variance)
        scales = [1.0 / w[k] for w, k in zip(self.lengths, kept, strict=True)]
        scales[0] = scales[0] * self.size
        scale = outer_like(scales, variance)
        gamma = outer_like([g * c**2 for g, c in zip(factors, scales, strict=True)], variance)
        return mean * scale, variance * scale**2, gamma

    def deviation(self, s2: float) -> float:
        """Standard deviation as in Problem.noise."""
        return 0.0 if self.silent and self.s2 is None else self.size * deviation(s2, self.data)

    def variance_of(self, noise: float) -> float:
        """s2 of a standard deviation as in Problem.noise."""
        return parts(self.data) * (noise / self.size) ** 2


def _lengths(A: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Lengths of the columns, 1 for columns of zeros; safe against overflow of squares."""
    largest = np.abs(A).max(axis=0)
    largest[largest == 0.0] = 1.0
    lengths: np.ndarray[Any, Any] = largest * np.sqrt(np.sum(np.abs(A / largest) ** 2, axis=0))
    return np.where(lengths > 0.0, lengths, 1.0)
