"""M-steps of Kronecker SBL: factors g_1, ..., g_d of the prior variances, given Lambda = diag(Sigma) + |mu|^2.

    minimise  sum log g + Lambda / g    over g = g_1 (x) ... (x) g_d,    Lambda a tensor (n_1, ..., n_d)

am_factors     alternating: g_i <- mean over the other axes of Lambda / (x)_{j != i} g_j, until g stays; the problem is
               convex in log g, so that is its global minimum
svd_factors    the best rank-one approximation of Lambda, axis after axis; minimises nothing here, but prunes better
ksbl_factors   one cycle of the alternation, never rescaled (the prior art of He and Joseph)

Products with Lambda run where Lambda lives; the factors are NumPy vectors in double precision.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from recon.arrays import Array, as_numpy, namespace, real_like

__all__ = ["am_factors", "balanced", "kronecker_change", "ksbl_factors", "svd_factors"]

Factors = list[np.ndarray[Any, Any]]


def am_factors(
    moment: Array, start: Sequence[Any], tol: float, limit: int, absolute: bool = False
) -> Factors:
    """The factors that minimise the sub-problem, by cycles of exact minimisation over one factor each.

    Parameters
    ----------
    moment
        Lambda >= 0, (n_1, ..., n_d), of any array library.
    start
        Factors to start from, > 0: NumPy vectors.
    tol, limit
        Stop when a cycle changes g by no more than tol (relative to g; in units of g where ``absolute``), or after
        limit cycles.

    References
    ----------
    He and Joseph 2024, the alternating minimisation of AM-KroSBL.
    """
    factors = balanced([np.asarray(g, dtype=np.float64) for g in start])
    for _ in range(limit):
        before, factors = factors, balanced(ksbl_factors(moment, factors))
        change = kronecker_change(factors, before)
        if change < tol * (1.0 if absolute else _size(before)):
            break
    return factors


def ksbl_factors(moment: Array, start: Sequence[Any]) -> Factors:
    """One cycle over the factors, each the minimiser where the others are fixed."""
    factors = [np.asarray(g, dtype=np.float64) for g in start]
    for i in range(len(factors)):
        weights = [1.0 / (g * len(g)) for g in factors]
        factors[i] = _contracted(moment, weights, i)
    return factors


def svd_factors(moment: Array) -> Factors:
    """Leading singular vectors: of Lambda as n_1 x rest, then of the right one folded to n_2 x rest, and so on.

    Lambda >= 0, so they are of one sign; all but the last factor have length 1. From the smaller of the two Gram
    matrices: the leading pair loses nothing by that.
    """
    factors: Factors = []
    xp, T = namespace(moment), moment
    while T.ndim > 1:
        flat = xp.reshape(T, (T.shape[0], math.prod(T.shape[1:])))
        if flat.shape[0] <= flat.shape[1]:
            left = _leading(as_numpy(xp.matmul(flat, flat.T)))
        else:
            right = _leading(as_numpy(xp.matmul(flat.T, flat)))
            left = as_numpy(xp.matmul(flat, real_like(right, flat))).astype(np.float64)
            left = left / (np.linalg.norm(left) or 1.0)
        factors.append(left)
        T = xp.reshape(xp.matmul(real_like(left, flat), flat), T.shape[1:])
    return [*factors, as_numpy(T).astype(np.float64)]


def _leading(gram: Any) -> Any:
    """The eigenvector of the largest eigenvalue of a matrix >= 0, its entries >= 0."""
    return np.abs(np.linalg.eigh(gram.astype(np.float64))[1][:, -1])


def _contracted(x: Array, weights: Sequence[Any], axis: int) -> Any:
    """sum over all axes but one of x times one weight vector per axis."""
    xp, count = namespace(x), len(weights)
    for k in reversed(range(axis + 1, count)):
        n = x.shape[k]
        x = xp.matmul(xp.reshape(x, (math.prod(x.shape[:k]), n)), real_like(weights[k], x))
        x = xp.reshape(x, tuple(len(w) for w in weights[:k]))
    for k in range(axis):
        x = xp.matmul(real_like(weights[k], x), xp.reshape(x, (x.shape[0], math.prod(x.shape[1:]))))
        x = xp.reshape(x, tuple(len(w) for w in weights[k + 1 : axis + 1]))
    return as_numpy(x).astype(np.float64)


def balanced(factors: Sequence[Any]) -> Factors:
    """The same product with all but the last factor of length 1."""
    *first, last = factors
    lengths = [float(np.linalg.norm(g)) or 1.0 for g in first]
    return [*(g / length for g, length in zip(first, lengths, strict=True)), last * math.prod(lengths)]


def _size(factors: Sequence[Any]) -> float:
    """||g_1 (x) ... (x) g_d||."""
    return math.prod(float(np.linalg.norm(g)) for g in factors)


def kronecker_change(new: Sequence[Any], old: Sequence[Any]) -> float:
    """||(x) new_i - (x) old_i|| by inner products of the factors: right to 1e-8 of the norm."""
    cross = math.prod(float(a @ b) for a, b in zip(new, old, strict=True))
    return math.sqrt(max(_size(new) ** 2 + _size(old) ** 2 - 2.0 * cross, 0.0))
