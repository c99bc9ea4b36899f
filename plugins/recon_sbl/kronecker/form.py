"""Posterior and cost L where the operator and the prior variances are Kronecker products.

    A = A_1 (x) ... (x) A_d,    g = g_1 (x) ... (x) g_d,    P_i = diag(sqrt g_i) Q_i
    diag(sqrt g_i) A_i^H A_i diag(sqrt g_i) = Q_i diag(l_i) Q_i^H                      one small eigenproblem per factor
    lam = l_1 (x) ... (x) l_d,    D = 1 / (1 + lam / s2),    t = (A^H y) x_i P_i^H
    mu = (D t / s2) x_i P_i,    diag(Sigma) = D x_i |P_i|^2                            x_i: product along axis i
    L = M log s2 + sum log(1 + lam / s2) + (||y||^2 - <t, D t> / s2) / s2

Every term of diag(Sigma) is positive: nothing cancels. What has the size of a factor (n_i x n_i) is done by NumPy on
the host in double precision; what has the size of the image stays in the library and on the device of the data.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from recon import Matrix, Operator
from recon.arrays import Array, as_numpy, device_of, namespace, real_like, vdot
from recon.constants import follow
from recon.errors import CapabilityError
from recon.operator import Adjoint, Scaled
from recon_sbl._factor import square
from recon_sbl.posterior import Posterior

__all__ = [
    "KroneckerForm",
    "KroneckerPosterior",
    "along",
    "dense_factors",
    "embedded",
    "mode_products",
    "outer",
    "sub_block",
]


@dataclass(frozen=True)
class KroneckerPosterior(Posterior):
    """A posterior with what learning the noise needs beside ``misfit``.

    Parameters
    ----------
    freedom
        sum_i (1 - Sigma_ii / g_i): how many of the unknowns the data determine.
    """

    freedom: float = math.nan


class KroneckerForm:
    """Posterior for gamma given as a tuple of factors; fixed matrices and data.

    A call costs one eigenproblem per factor and 3 d products along an axis: O(sum n_i^3 + d N max n_i) for N unknowns;
    memory of about six images. Nothing with N rows and N or M columns is made.

    Parameters
    ----------
    matrices
        A_i, (m_i, n_i) NumPy arrays.
    correlation
        A^H y, (n_1, ..., n_d), of the library, device and precision to work in.
    energy
        ||y||^2.

    References
    ----------
    He and Joseph, "Bayesian Algorithms for Kronecker-structured Sparse Vector Recovery With Application to IRS-MIMO
    Channel Estimation", IEEE Trans. Signal Process. 2024. The form by eigenvalues of the factors is ours.
    """

    def __init__(self, matrices: Sequence[np.ndarray[Any, Any]], correlation: Array, energy: float) -> None:
        self.matrices = tuple(matrices)
        self.correlation, self.energy = correlation, float(energy)
        self.xp = namespace(correlation)
        self.grams = tuple(A.conj().T @ A for A in self.matrices)
        self.rows = math.prod(A.shape[0] for A in self.matrices)

    @classmethod
    def of(cls, matrices: Sequence[np.ndarray[Any, Any]], data: Array) -> KroneckerForm:
        """The form of data (m_1, ..., m_d): A^H y by one product per axis, those that shrink the array first."""
        correlation = data
        for k in sorted(range(len(matrices)), key=lambda k: matrices[k].shape[1] / matrices[k].shape[0]):
            correlation = along(correlation, matrices[k].conj().T, k)
        return cls(matrices, correlation, vdot(data, data).real)

    def take(self, kept: Sequence[np.ndarray[Any, Any]]) -> KroneckerForm:
        """The form of some columns of each factor, given by their indices: for pruned factors."""
        matrices = [A[:, index] for A, index in zip(self.matrices, kept, strict=True)]
        return KroneckerForm(matrices, sub_block(self.correlation, kept), self.energy)

    def __call__(self, gamma: tuple[Array, ...], s2: float, memory: Any = None) -> KroneckerPosterior:
        """Posterior for g = gamma[0] (x) gamma[1] (x) ... and noise variance s2; 0 in a factor: a slice pruned."""
        xp = self.xp
        roots = [np.sqrt(as_numpy(g).astype(np.float64)) for g in gamma]
        values, vectors = zip(
            *(_eigen(G, root) for G, root in zip(self.grams, roots, strict=True)), strict=True
        )
        seen = [P * (v > 0) for P, v in zip(vectors, values, strict=True)]
        t = mode_products(self.correlation, [P.conj().T for P in seen])
        lam = outer([real_like(v, t) for v in (values[0] / s2, *values[1:])])
        D = 1.0 / (1.0 + lam)
        power = D * square(t)
        wide = xp.float64
        fitted = float(xp.sum(power, dtype=wide)) / s2  # <y, A mu>
        inside = float(xp.sum(lam * D * power, dtype=wide)) / s2  # ||A mu||^2
        logs = float(xp.sum(xp.log1p(lam), dtype=wide))
        return KroneckerPosterior(
            mean=mode_products(xp.astype(D, t.dtype, copy=False) * t * (1.0 / s2), vectors),
            variance=mode_products(D, [_abs2(P) for P in vectors]),
            cost=self.rows * math.log(s2) + logs + (self.energy - fitted) / s2,
            misfit=max(self.energy - 2.0 * fitted + inside, 0.0),
            freedom=float(xp.sum(lam * D, dtype=wide)),
        )


def _eigen(gram: Any, root: Any) -> tuple[Any, Any]:
    """Eigenvalues l and P = diag(root) Q of diag(root) G diag(root) = Q diag(l) Q^H, symmetrised first.

    Eigenvalues that are rounding alone are 0, and data say nothing there: over a small s2 they would count as real.
    """
    T = root[:, None] * gram * root
    values, Q = np.linalg.eigh(0.5 * (T + T.conj().T))
    least = len(values) * np.finfo(np.float64).eps * np.max(values, initial=0.0)
    return np.where(values > least, values, 0.0), root[:, None] * Q


def _abs2(P: Any) -> Any:
    return P.real**2 + P.imag**2 if np.iscomplexobj(P) else P * P


def mode_products(x: Array, matrices: Sequence[np.ndarray[Any, Any]]) -> Array:
    """x times matrix i along axis i, for all axes: one matrix product each, without a transposed copy.

    The axis worked on comes first and leaves as the last: after all of them the order is the old one.
    """
    xp, device = namespace(x), device_of(x)
    for matrix in matrices:
        B = follow(matrix, xp, device, x.dtype)
        shape = x.shape[1:]
        rows = xp.reshape(x, (x.shape[0], math.prod(shape)))  # no -1: a factor may be pruned to nothing
        x = xp.reshape(xp.matmul(rows.T, B.T), (*shape, B.shape[0]))
    return x


def along(x: Array, matrix: np.ndarray[Any, Any], axis: int) -> Array:
    """x times the matrix along one axis."""
    xp = namespace(x)
    B = follow(matrix, xp, device_of(x), x.dtype)
    before, after = math.prod(x.shape[:axis]), math.prod(x.shape[axis + 1 :])
    shape = (*x.shape[:axis], B.shape[0], *x.shape[axis + 1 :])
    if after == 1:
        return xp.reshape(xp.matmul(xp.reshape(x, (before, x.shape[axis])), B.T), shape)
    return xp.reshape(xp.matmul(B, xp.reshape(x, (before, x.shape[axis], after))), shape)


def outer(vectors: Sequence[Array]) -> Array:
    """v_1 (x) v_2 (x) ... as a tensor, one axis each."""
    result = vectors[0]
    for vector in vectors[1:]:
        result = result[..., None] * vector
    return result


def sub_block(x: Array, kept: Sequence[np.ndarray[Any, Any]]) -> Array:
    """The entries of x at kept[0] x kept[1] x ..., indices along each axis."""
    xp, device = namespace(x), device_of(x)
    for axis, index in enumerate(kept):
        if len(index) < x.shape[axis]:
            x = xp.take(x, xp.asarray(index, device=device), axis=axis)
    return x


def embedded(block: Array, kept: Sequence[np.ndarray[Any, Any]], shape: Sequence[int]) -> Array:
    """The tensor of the given shape that holds ``block`` at kept[0] x kept[1] x ..., and exact zeros elsewhere."""
    xp, device = namespace(block), device_of(block)
    if tuple(block.shape) == tuple(shape):
        return block
    if isinstance(block, np.ndarray):
        full = np.zeros(shape, block.dtype)
        full[np.ix_(*kept)] = block
        return full
    for axis in reversed(range(len(shape))):  # a zero slice at the end stands for all that is pruned
        place = np.full(shape[axis], block.shape[axis])
        place[kept[axis]] = np.arange(len(kept[axis]))
        zero = xp.zeros((*block.shape[:axis], 1, *block.shape[axis + 1 :]), dtype=block.dtype, device=device)
        block = xp.take(xp.concat([block, zero], axis=axis), xp.asarray(place, device=device), axis=axis)
    return block


def dense_factors(operator: Operator, solver: str) -> tuple[np.ndarray[Any, Any], ...]:
    """The matrices of the factors of a Kronecker product, in double precision on the host; made once per operator.

    Raises
    ------
    CapabilityError
        For an operator without ``factors``.
    """
    return operator._once("dense factors", lambda: _dense(operator, solver))  # type: ignore[no-any-return]


def _dense(operator: Operator, solver: str) -> tuple[np.ndarray[Any, Any], ...]:
    if isinstance(operator, Scaled):
        first, *rest = _dense(operator.operator, solver)
        return (operator.scalar * first, *rest)
    if isinstance(operator, Adjoint):
        return tuple(A.conj().T for A in _dense(operator.operator, solver))
    factors = getattr(operator, "factors", None)
    factors = factors() if callable(factors) else factors
    if not isinstance(factors, tuple):
        raise CapabilityError(
            f"{solver} needs an operator with `factors`, such as recon.Kronecker, got {operator!r}. "
            "Use recon_sbl.Sbl for other operators."
        )
    return tuple(_matrix(factor) for factor in factors)


def _matrix(factor: Operator) -> np.ndarray[Any, Any]:
    """The matrix of an operator between arrays of one axis."""
    if isinstance(factor, Matrix):
        return factor.matrix.astype(factor.dtype)
    return np.ascontiguousarray((factor @ np.eye(factor.shape[1], dtype=factor.dtype)).T)
