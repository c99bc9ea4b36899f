"""A problem as matrix and rows of data, with the units that make every threshold a ratio.

    y / unit,  unit = rms of y        s_i = g_i ||a_i||^2 / unit^2: prior variances free of units

s_i is the power that entry i is expected to give to all data, in units of the mean power of one. The matrix itself
is not scaled, nothing is copied. Columns of a group share the rms of their lengths.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from recon import Problem
from recon.arrays import Array, as_numpy, device_of, namespace, norm
from recon_sbl._factor import square
from recon_sbl._noise import noise_variance
from recon_sbl._updates import pooled
from recon_sbl.engines import matrix_of

__all__ = ["Model", "prepare"]

_LEAST = 1e-32
"""Least noise variance, in units of mean |y|^2: below it is the rounding of y itself in double precision."""


@dataclass(frozen=True, eq=False)
class Model:
    """A problem as the engines take it, in units of the data's rms.

    Parameters
    ----------
    matrix
        A, (m, n), its rows whitened where the noise differs from entry to entry.
    data
        y / unit, (snapshots, m), whitened too.
    s2
        Noise variance / unit^2; None where it must be learned.
    lengths
        ||a_i||, (n,), shared by the entries of a group; 0 for columns that are 0.
    unit
        rms of y; 1 for y = 0.
    constant
        What L of the problem has more than L in these units.
    zero
        Whether y = 0.
    """

    matrix: Array
    data: Array
    s2: float | None
    lengths: Array
    unit: float
    constant: float
    zero: bool

    def relative(self, gamma: Array) -> Array:
        """s, free of units, of gamma."""
        return gamma * (self.lengths / self.unit) ** 2

    def absolute(self, s: Array) -> Array:
        """gamma of s; 0 for columns that are 0."""
        xp = namespace(s)
        on = self.lengths > 0
        factor = self.unit / xp.where(on, self.lengths, xp.ones_like(self.lengths))
        return xp.where(on, s * factor**2, xp.zeros_like(s))


def prepare(problem: Problem, solver: str, groups: np.ndarray[Any, Any] | None = None) -> Model:
    """The model of a problem; the matrix of its operator is made once and kept.

    Raises
    ------
    CapabilityError
        For operators too large for a matrix, or noise that differs between snapshots.
    """
    matrix = matrix_of(problem, solver)
    xp, m = namespace(matrix), matrix.shape[0]
    data = xp.reshape(problem.data, (-1, m))
    s2, constant = noise_variance(problem, solver), 0.0
    if s2 is None or isinstance(s2, float):
        lengths = problem.operator._once(
            f"sbl lengths {xp.__name__} {device_of(matrix)} {matrix.dtype}", lambda: _lengths(matrix)
        )
    else:
        rows = xp.reshape(s2, (-1,))
        mean = float(xp.mean(rows))
        constant = float(np.sum(np.log(as_numpy(rows).astype(np.float64) / mean)))
        scale = xp.astype(xp.sqrt(mean / rows), matrix.dtype)
        matrix, data, s2 = scale[:, None] * matrix, scale[None, :] * data, mean
        lengths = _lengths(matrix)
    if groups is not None:
        lengths = xp.sqrt(pooled(lengths**2, groups))
    unit = norm(data) / math.sqrt(math.prod(data.shape))
    zero, unit = unit == 0.0, unit or 1.0
    constant = data.shape[0] * (constant + 2.0 * m * math.log(unit))
    level = None if s2 is None else max((math.sqrt(s2) / unit) ** 2, _LEAST)
    return Model(matrix, data / unit, level, lengths, unit, constant, zero)


def _lengths(matrix: Array) -> Any:
    """Lengths of the columns."""
    xp = namespace(matrix)
    return xp.sqrt(xp.sum(square(matrix), axis=0))
