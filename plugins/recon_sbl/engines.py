"""Which posterior engine does least work: by the operator's capabilities, sizes and the number of active entries.

    k active of n entries, m data        data form 2 m^2 k + m^3 / 3,  coefficient form m k^2 + 2 k^3 / 3 flops

A solver that prunes starts in the data form and changes over by itself once k falls to about m.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from recon import Matrix, Operator, Problem
from recon.arrays import Array, as_numpy, device_of, leaves, members, namespace
from recon.constants import follow
from recon.errors import CapabilityError
from recon.kronecker import Kronecker
from recon.linalg import dense
from recon_sbl._active import total
from recon_sbl._coefficient_form import CoefficientForm
from recon_sbl._data_form import DataForm
from recon_sbl._factor import square
from recon_sbl.posterior import Posterior

__all__ = ["LARGEST", "CoefficientForm", "DataForm", "Direct", "cheapest", "choose_engine", "matrix_of"]

LARGEST = 20_000_000
"""Entries of the largest matrix that a direct engine makes of an operator; a Matrix may be of any size."""


@dataclass(frozen=True, eq=False)
class Direct:
    """DataForm or CoefficientForm, whichever takes fewer flops at each call.

    Single precision holds no data covariance of more than about 30 dB: beyond, the data form works in double precision
    and what it gives is rounded to single.

    Parameters
    ----------
    matrix
        A, (m, n).
    data
        y, (snapshots, m), of the same library and precision.
    """

    matrix: Array
    data: Array

    def __call__(self, gamma: Array, s2: float, memory: Any = None) -> Posterior:
        """The posterior for prior variances gamma (n,), 0 where pruned, and noise variance s2 > 0."""
        form = cheapest(self.matrix.shape[0], int(np.count_nonzero(as_numpy(gamma))))
        xp, data = namespace(self.data), self.data
        single = data.dtype in (xp.float32, xp.complex64)
        if form is CoefficientForm or not single or total(square(data)) <= 1e3 * s2 * math.prod(data.shape):
            return form(self.matrix, data)(gamma, s2)
        dtype = xp.complex128 if data.dtype == xp.complex64 else xp.float64
        found = DataForm(xp.astype(self.matrix, dtype), xp.astype(data, dtype))(
            xp.astype(gamma, xp.float64), s2
        )
        return replace(
            found,
            mean=xp.astype(found.mean, data.dtype),
            variance=xp.astype(found.variance, gamma.dtype),
            determined=xp.astype(found.determined, gamma.dtype),
        )


def cheapest(data: int, active: int) -> type[DataForm] | type[CoefficientForm]:
    """The form with fewer flops for so many data and active entries."""
    m, k = float(data), float(active)
    return CoefficientForm if m * k * k + 2 * k**3 / 3 <= 2 * m * m * k + m**3 / 3 else DataForm


def choose_engine(problem: Problem, factored: bool = False) -> type:
    """The class of engine for a problem: KroneckerForm, Direct or MatrixFree, by capabilities and sizes.

    Parameters
    ----------
    problem
        Its operator decides: a Kronecker one, a Matrix, one of at most ``LARGEST`` entries, or another.
    factored
        Whether gamma is a Kronecker product too, as the Kronecker form needs.
    """
    from recon_sbl._matrix_free import MatrixFree
    from recon_sbl.kronecker.form import KroneckerForm

    if factored and isinstance(problem.operator, Kronecker):
        return KroneckerForm
    small = isinstance(problem.operator, Matrix) or math.prod(problem.operator.shape) <= LARGEST
    return Direct if small else MatrixFree


def matrix_of(problem: Problem, solver: str) -> Array:
    """The (m, n) matrix of the operator in the library, device and precision of the data, made once and kept.

    A Matrix gives its own numbers, without a copy where library and precision are those of the data.

    Raises
    ------
    CapabilityError
        For operators of more than ``LARGEST`` entries that are not a Matrix.
    """
    operator, leaf = problem.operator, leaves(problem.data)[0]
    if isinstance(operator, Matrix):
        if isinstance(leaf, np.ndarray) and leaf.dtype == operator.matrix.dtype:
            return operator.matrix
    elif math.prod(operator.shape) > LARGEST:
        rows, columns = operator.shape
        raise CapabilityError(
            f"{solver} needs an operator of at most {LARGEST} entries, got {operator!r} with {rows} x {columns}. "
            "Use Cofem, which needs products only."
        )
    xp, device = namespace(leaf), device_of(leaf)

    def make() -> Any:
        values = operator.matrix if isinstance(operator, Matrix) else _dense(operator)
        return follow(values, xp, device, leaf.dtype)

    return operator._once(f"sbl matrix {xp.__name__} {device} {leaf.dtype}", make)


def _dense(operator: Operator) -> Any:
    kinds = {spec.kind for spec in (*members(operator.domain), *members(operator.codomain))}
    return dense(operator, dtype=np.complex128 if "complex" in kinds else np.float64)
