"""Bridges to other libraries: flat vectors for SciPy's solvers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from recon.arrays import Array, as_numpy, leaves, members
from recon.operator import Operator

if TYPE_CHECKING:
    from scipy.sparse.linalg import LinearOperator

__all__ = ["to_scipy"]


def to_scipy(operator: Operator) -> LinearOperator:
    """The operator as a ``scipy.sparse.linalg.LinearOperator`` on flat NumPy vectors.

    Vectors hold one sample in C order, members of a tuple one after another, so that
    ``scipy.sparse.linalg.lsqr(to_scipy(A), y.ravel())`` works. Adjoint and forward are the operator's own.

    Parameters
    ----------
    operator
        Any operator on the CPU.
    """
    from scipy.sparse.linalg import LinearOperator

    return LinearOperator(
        operator.shape,
        matvec=lambda x: _flat(operator @ _shaped(x, operator.domain)),
        rmatvec=lambda y: _flat(operator.H @ _shaped(y, operator.codomain)),
        dtype=operator.dtype,
    )


def _flat(x: Array) -> np.ndarray[Any, Any]:
    return np.concatenate([as_numpy(leaf).ravel() for leaf in leaves(x)])


def _shaped(vector: np.ndarray[Any, Any], spec: Any) -> Array:
    parts, start = [], 0
    flat = np.asarray(vector).ravel()
    for one in members(spec):
        kind = np.complex128 if one.kind == "complex" else np.float64
        parts.append(flat[start : start + one.size].astype(kind, copy=False).reshape(one.shape))
        start += one.size
    return tuple(parts) if isinstance(spec, tuple) else parts[0]
