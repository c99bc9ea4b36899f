"""Linear algebra on operators: norms, dense matrices, the adjoint test, and conjugate gradients.

Norm by power iteration on A^H A from a fixed seed. It converges from below, so the estimate is raised by a
safety margin, and never exceeds the certified bound where the operator has one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from recon.arrays import (
    Array,
    as_numpy,
    check_array,
    is_complex,
    leaves,
    members,
    namespace,
    random_normal,
    tmap,
    vdot,
)
from recon.arrays import norm as array_norm
from recon.errors import ParameterError
from recon.operator import Operator, capability

__all__ = ["absolute_sums", "adjoint_gap", "axpy", "cg", "cgls", "dense", "norm", "norm_bound", "normal"]

_DENSE_LIMIT = 50_000_000  # entries; beyond this a dense matrix is a mistake, not a test


def normal(operator: Operator, x: Array) -> Array:
    """A^H A x, by the operator's own ``normal`` where it has one (checked input)."""
    fast = capability(operator, "normal")
    return fast(x) if fast else operator._adjoint(operator._forward(x))


def norm_bound(operator: Operator) -> float | None:
    """A certified upper bound on the norm ||A||, or None where the operator offers none."""
    bound = capability(operator, "norm_bound")
    return float(bound()) if bound else None


def norm(
    operator: Operator,
    *,
    like: Array | None = None,
    iterations: int = 50,
    tol: float = 1e-4,
    margin: float = 1.02,
    seed: int = 0,
) -> float:
    """The operator norm ||A||, estimated from below and raised by a margin.

    Power iteration on A^H A from a random start, read through the whole Krylov space it spans (Lanczos): the
    largest Ritz value is never below power iteration's estimate and closes in much faster. It stops when that
    value has grown by less than ``tol`` relative in three steps running, after ten steps at least: a rare
    large mode needs log(n) steps to show. The result is ``margin`` times the estimate, but never more than
    the certified bound, and where the estimate comes so near it stops too. One forward and one adjoint per
    iteration, three arrays of the domain.

    Parameters
    ----------
    operator
        Any operator.
    like
        An array whose library, device and precision to work in; NumPy float64 by default.
    iterations, tol
        At most this many iterations; relative growth at which to stop.
    margin
        Safety factor >= 1.
    seed
        Of the start vector.

    Returns
    -------
    float
    """
    if margin < 1:
        raise ParameterError(f"norm.margin must be >= 1, got {margin}. Power iteration converges from below.")
    like = np.zeros(1) if like is None else like
    bound = norm_bound(operator)
    limit = math.inf if bound is None else bound
    square = _largest_eigenvalue(operator, like, iterations, tol, seed, enough=limit / margin)
    return float(min(margin * square**0.5, limit))


def _largest_eigenvalue(
    operator: Operator, like: Array, iterations: int, tol: float, seed: int, enough: float
) -> float:
    """The largest Ritz value of A^H A (Golub and Van Loan, algorithm 10.1.1, without reorthogonalisation).

    Its root need not be found beyond `enough`.
    """
    v = random_normal(operator.domain, like, np.random.default_rng(seed))
    beta = array_norm(v)
    if beta == 0.0:
        return 0.0
    v = _scaled(1.0 / beta, v)
    before, beta = v, 0.0
    diagonal: list[float] = []
    beside: list[float] = []
    square, calm = 0.0, 0
    for k in range(iterations):
        w = axpy(-beta, before, normal(operator, v))
        alpha = vdot(v, w).real
        w = axpy(-alpha, v, w)
        diagonal.append(alpha)
        matrix = np.diag(diagonal) + np.diag(beside, 1) + np.diag(beside, -1)
        previous, square = square, max(float(np.linalg.eigvalsh(matrix)[-1]), 0.0)
        calm = calm + 1 if square - previous <= tol * square else 0
        beta = array_norm(w)
        if (calm >= 3 and k >= 9) or beta <= 1e-12 * square or square**0.5 >= enough:
            break  # beta = 0: the space is exhausted
        beside.append(beta)
        before, v = v, _scaled(1.0 / beta, w)
    return square


def _scaled(factor: float, x: Array) -> Array:
    return tmap(lambda leaf: factor * leaf, x)


def absolute_sums(operator: Operator, like: Array) -> tuple[Any, Any]:
    """Row and column sums of |A|, for diagonal preconditioning; the norm for both where A cannot tell them.

    An operator offers them as a method ``absolute_sums(like) -> (rows, columns)``: arrays of the codomain and
    the domain, or numbers that bound them. For a nonnegative A they are A 1 and A^T 1. Either way the scaled
    operator diag(rows)^(-1/2) A diag(columns)^(-1/2) has norm at most 1 (Pock and Chambolle 2011, lemma 2).
    The columns of a domain of several members come as one number: their largest.
    """
    own = capability(operator, "absolute_sums")
    if own:
        rows, columns = own(like)
        if isinstance(columns, tuple):  # a prox takes one step for all members
            columns = max(float(namespace(c).max(c)) if hasattr(c, "shape") else float(c) for c in columns)
        return rows, columns
    size = norm(operator, like=like)
    return size, size


def dense(operator: Operator, *, dtype: Any = None) -> np.ndarray[Any, Any]:
    """The matrix of one sample, of shape ``operator.shape``: for tests of small sizes.

    Columns are images of unit vectors, in C order (members of a tuple one after another).
    """
    rows, columns = operator.shape
    if rows * columns > _DENSE_LIMIT:
        raise ParameterError(
            f"dense must be asked of at most {_DENSE_LIMIT} entries, got {rows} x {columns}. Use a smaller operator."
        )
    kinds = {s.kind for s in members(operator.domain)}
    dtype = dtype or (np.complex128 if "complex" in kinds else np.float64)
    units = np.eye(columns, dtype=dtype)
    parts, start = [], 0
    for spec in members(operator.domain):
        parts.append(units[:, start : start + spec.size].reshape(columns, *spec.shape))
        start += spec.size
    images = operator @ (tuple(parts) if isinstance(operator.domain, tuple) else parts[0])
    return np.concatenate([as_numpy(leaf).reshape(columns, -1) for leaf in leaves(images)], axis=1).T.copy()


def adjoint_gap(
    operator: Operator, *, like: Array | None = None, batch: tuple[int, ...] = (), seed: int = 0
) -> float:
    """|<A x, y> - <x, A^H y>| / (||A x|| ||y||) for Gaussian x and y: rounding when the adjoint is exact.

    The products are accumulated in double precision, so that the figure is the operator's own. Where one side
    is real and the other complex, the product is the real part.
    """
    like = np.zeros(1) if like is None else like
    rng = np.random.default_rng(seed)
    x = random_normal(operator.domain, like, rng, batch)
    y = random_normal(operator.codomain, like, rng, batch)
    ax, ahy = operator @ x, operator.H @ y
    left, right = _double_dot(ax, y), _double_dot(x, ahy)
    if not all(is_complex(part) for part in (*leaves(x), *leaves(y))):
        left, right = complex(left.real), complex(right.real)
    scale = abs(_double_dot(ax, ax)) ** 0.5 * abs(_double_dot(y, y)) ** 0.5
    return abs(left - right) / scale if scale else abs(left - right)


def _double_dot(x: Array, y: Array) -> complex:
    wide = [(as_numpy(a).astype(np.complex128), as_numpy(b).astype(np.complex128)) for a, b in _pairs(x, y)]
    return complex(sum(np.vdot(a, b) for a, b in wide))


def _pairs(x: Array, y: Array) -> list[tuple[Any, Any]]:
    return list(zip(leaves(x), leaves(y), strict=True))


def axpy(a: complex | float, x: Array, y: Array) -> Array:
    """a x + y, member by member, in one temporary."""

    def one(u: Any, v: Any) -> Any:
        result = a * u
        result += v
        return result

    return tmap(one, x, y)


def cg(
    apply: Callable[[Array], Array],
    b: Array,
    *,
    x0: Array | None = None,
    iterations: int = 100,
    tol: float = 1e-10,
    precondition: Callable[[Array], Array] | None = None,
) -> Array:
    """Solve M x = b by conjugate gradients, M Hermitian positive (semi)definite.

    Stops when ||b - M x|| <= tol ||b||. One product with M per iteration, four arrays (five with a preconditioner).

    Parameters
    ----------
    apply
        x -> M x.
    b
        Right-hand side.
    x0
        Start; zero by default.
    iterations, tol
        At most this many; relative residual.
    precondition
        r -> P r with P Hermitian positive definite and near to the inverse of M; one call per iteration.
    """
    x = tmap(lambda leaf: 0 * leaf, b) if x0 is None else x0
    r = b if x0 is None else axpy(-1.0, apply(x0), b)
    z = precondition(r) if precondition else r
    p, rho = z, vdot(r, z).real
    goal = (tol * array_norm(b)) ** 2
    for _ in range(iterations):
        if (vdot(r, r).real if precondition else rho) <= goal:
            break
        q = apply(p)
        curvature = vdot(p, q).real
        if curvature <= 0.0:  # null space of a semidefinite M reached: no more to gain
            break
        alpha = rho / curvature
        x, r = axpy(alpha, p, x), axpy(-alpha, q, r)
        z = precondition(r) if precondition else r
        previous, rho = rho, vdot(r, z).real
        p = axpy(rho / previous, p, z)
    return x


def cgls(
    operator: Operator, y: Array, *, damp: float = 0.0, iterations: int = 100, tol: float = 1e-10
) -> Array:
    """argmin 1/2 ||A x - y||^2 + damp/2 ||x||^2 by conjugate gradients on the normal equations, from x = 0.

    For stopping rules, history and checkpoints use the solver ``recon_proximal.Cgls``.
    """
    check_array(y, operator.codomain, "cgls data")
    b = operator._adjoint(y)
    return cg(lambda x: axpy(damp, x, normal(operator, x)), b, iterations=iterations, tol=tol)
