"""Sparse Bayesian learning of x = x_1 (x) ... (x) x_d: a rank-one fit of the data, then one tiny problem per factor.

    Y = A_1 x_1 (x) ... (x) A_d x_d + n                         values separable too, not only the support

    1. Y ~ sigma u_1 (x) ... (x) u_d                            u_i <- Y x_(j != i) u_j^H in turn, normalised
    2. v_i = Y x_(j != i) u_j^H = A_i z_i + n_i,  n_i ~ N(0, s2 I)
       g_i <- g_i |a^H S_i^(-1) v_i| / sqrt(a^H S_i^(-1) a),    S_i = s2 I + A_i diag(g_i) A_i^H         convex bounding
    3. x = z_1 (x) ... (x) z_d / sigma^(d - 1)

Step 2 has local minima: it runs from several starts at once, and L_i = log|S_i| + v_i^H S_i^(-1) v_i chooses.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge, Gt

from recon import Kronecker, Matrix, Problem
from recon.arrays import Array, as_numpy, is_complex, namespace, norm, real_like
from recon.params import Doc
from recon_sbl._factor import adjoint
from recon_sbl._noise import deviation, parts
from recon_sbl._state import SblSolver, SblState, check_model
from recon_sbl.kronecker._fitting import one_level, outer_like
from recon_sbl.kronecker.form import along, dense_factors, outer

__all__ = ["SeparableSbl", "SeparableState"]

_RACES = (10, 20, 30)  # iterations after which the worse half of the starts is left
_SWEEPS = 100
_LEAST = 1e-10  # s2 of a factor's problem in units of the mean square of its data: below, Cholesky loses its digits


@dataclass(frozen=True)
class SeparableState(SblState):
    """Beside what every state has: the data v_i of the factors' problems and how well rank one fits.

    Parameters
    ----------
    views
        v_i, (m_i,): the data of the factors' problems.
    starts
        Prior variances of every start, (starts, n_i), in the units of the normalised problem of factor i.
    growth
        What each of them is multiplied with next.
    scale
        sigma.
    left
        ||Y - sigma u_1 (x) ... (x) u_d||^2 over what noise of the level s2 would leave.
    """

    views: tuple[Array, ...]
    starts: tuple[Array, ...]
    growth: tuple[Array, ...]
    scale: float
    left: float


@dataclass(frozen=True)
class SeparableSbl(SblSolver):
    """Sparse Bayesian learning for x = x_1 (x) ... (x) x_d, for operators with ``factors`` (``recon.Kronecker``).

    For data of rank one only: the support AND the values must be a product. ``KroSbl`` needs the support alone; a
    remark says so where the data are not of rank one. The rank-one fit takes most of the noise away, and nothing of
    the size of x is worked on.

    Each factor's problem is solved from ``starts`` starts in parallel: all variances equal, variances from the
    correlations, and all but one variance small, for the columns most alike to the data; after 10, 20 and 30
    iterations the worse half of all but the first is left. Another start than the first is taken where its L is lower
    by more than 2 log(starts) (half of it for complex data), what the best of so many equal ones may differ by. The
    objective is the sum over factors of the lesser of L of the first, and L of the best plus that margin; it never
    rises.

    Noise of an unknown level is measured once, from what the rank-one fit leaves. The variance of x is propagated
    from the factors as if their errors were independent, products of variances included; the posterior of a sparse
    model is overconfident where it has pruned (variance 0).

    Shapes: x (n_1, ..., n_d), y (m_1, ..., m_d), real or complex, no batch. Cost: some ten sweeps over the data once,
    then per iteration sum_i starts (m_i^2 n_i) and one outer product of the size of x; memory of three images.

    Parameters
    ----------
    starts
        How many starts each factor's problem has; 1 for the plain one alone.
    tol
        Settled when no variance of any start moves more than this, in the norm, relative.
    prune
        Variances (of columns of length 1) below this part of that of the noise are 0 from then on; L may rise by as
        much for each.

    Raises
    ------
    CapabilityError
        For an operator without factors, a prior, another loss, a batch, or noise that differs between entries.

    References
    ----------
    He and Joseph, arXiv:2412.00310 (the idea); De Lathauwer, De Moor, Vandewalle, "On the best rank-1 and
    rank-(R1, ..., RN) approximation of higher-order tensors", SIAM J. Matrix Anal. Appl. 21 (2000) 1324,
    doi:10.1137/S0895479898346995; Wipf and Nagarajan, NIPS 20 (2007) for the bounding update.
    """

    starts: Annotated[int, Ge(1), Doc("starts of each factor's problem")] = 17
    tol: Annotated[float, Gt(0), Doc("relative change of the variances at which to end")] = 1e-5
    prune: Annotated[float, Ge(0), Doc("part of the noise variance below which to prune")] = 1e-4

    state_type = SeparableState

    def init(self, problem: Problem, x0: Array | None = None, seed: int = 0) -> SeparableState:
        check_model(problem, "SeparableSbl")
        matrices = dense_factors(problem.operator, "SeparableSbl")
        s2 = one_level(problem, "SeparableSbl")
        x = problem.start(x0)
        x, y = x - x, problem.data
        zero = real_like(np.zeros(tuple(x.shape)), y)
        if norm(y) == 0.0:
            level = 0.0 if s2 is None else deviation(s2, y)
            return SeparableState(0, x, zero, zero, level, (0.0,), True, (y,), (), (), 0.0, 1.0)
        scale, vectors = rank_one(y)
        freedom = problem.operator.shape[0]
        freedom = max(freedom - sum(len(v) for v in vectors) + len(vectors) - 1, 1)
        rest = max(norm(y) ** 2 - scale**2, 0.0)
        s2 = max(rest / freedom, 1e-12 * scale**2 / freedom) if s2 is None else s2
        views = tuple(_like(v, y) for v in vectors)
        starts = tuple(
            real_like(_starts(*_normalised(A, as_numpy(v))[:2], self.starts), y)
            for A, v in zip(matrices, views, strict=True)
        )
        state = SeparableState(
            0, x, zero, zero, deviation(s2, y), (), False, views, starts, (), scale, rest / (s2 * freedom)
        )
        return self._fitted(problem, state, starts)

    def step(self, problem: Problem, state: SeparableState) -> SeparableState:
        if state.settled:
            return replace(state, iteration=state.iteration + 1)
        updated, change = [], 0.0
        for old, growth, v in zip(state.starts, state.growth, state.views, strict=True):
            g = as_numpy(old).astype(np.float64)
            new = g * as_numpy(growth)
            new = np.where(new < self.prune * _noise(state, v), 0.0, new)
            size = np.linalg.norm(new, axis=1)
            moved = np.linalg.norm(new - g, axis=1) / np.where(size > 0, size, 1.0)
            change = max(change, float(moved.max()))
            updated.append(real_like(new, problem.data))
        state = self._fitted(problem, replace(state, iteration=state.iteration + 1), tuple(updated))
        return replace(state, settled=change <= self.tol)

    def _fitted(self, problem: Problem, state: SeparableState, starts: tuple[Array, ...]) -> SeparableState:
        """The posterior of the starts, and the image of the chosen ones."""
        y, cost = problem.data, 0.0
        margin = 2.0 * math.log(self.starts) / parts(y)
        means, spreads, gammas, going, growth = [], [], [], [], []
        share = state.scale ** ((1 - len(starts)) / len(starts))
        matrices = dense_factors(problem.operator, "SeparableSbl")
        for A, v, start in zip(matrices, state.views, starts, strict=True):
            s2, g = _noise(state, v), as_numpy(start).astype(np.float64)
            A, v, level, lengths = _normalised(A, as_numpy(v))
            q, z, L = _posterior(A, v, s2, g)
            best = int(np.argmin(L))
            best, least = (best, L[best] + margin) if L[best] + margin < L[0] else (0, L[0])
            cost += float(least) + 2.0 * len(v) * math.log(level)
            kept = _race(L) if state.iteration in _RACES else np.arange(len(L))
            going.append(real_like(g[kept], y))
            growth.append(real_like((np.abs(q) / np.sqrt(np.where(z > 0, z, 1.0)))[kept], y))
            unit = share * level / lengths
            means.append(unit * g[best] * q[best])
            spreads.append(unit**2 * _variance(A, s2, g[best]))
            gammas.append(unit**2 * g[best])
        return replace(
            state,
            x=outer([_like(m, y) for m in means]),
            variance=_spread(means, spreads, y),
            gamma=outer_like(gammas, y),
            costs=(*state.costs, cost),
            starts=tuple(going),
            growth=tuple(growth),
        )

    def remarks(self, state: SeparableState) -> list[str]:
        """Says so where the data are not of rank one."""
        if state.left <= 2.0:
            return []
        return [
            f"What the rank-one fit leaves of the data is {state.left:.3g} times the noise: the values are no product. "
            "Use KroSbl, which needs a product of supports only."
        ]

    @classmethod
    def example(cls) -> Problem:
        rng = np.random.default_rng(0)
        A = Kronecker(tuple(Matrix(rng.standard_normal((m, 8))) for m in (5, 6, 7)))
        x = np.zeros((8, 8, 8))
        values = (np.array([1.0, -2.0]), np.array([1.5, 1.0]), np.array([-1.0, 0.7]))
        x[np.ix_([1, 4], [0, 6], [3, 5])] = np.einsum("i,j,k->ijk", *values)
        y = A @ x
        return Problem(A, y + 0.1 * rng.standard_normal(y.shape), noise=0.1)


def rank_one(Y: Array) -> tuple[float, list[np.ndarray[Any, Any]]]:
    """sigma, and v_i = Y x_(j != i) u_j^H (about sigma u_i), of the best rank-one fit of a tensor.

    Higher-order orthogonal iteration from the leading singular vectors of the unfoldings. Cost of a sweep: d products
    of the tensor with a vector along each axis.
    """
    xp, d = namespace(Y), Y.ndim
    top = float(xp.max(xp.abs(Y)))
    Y, units = Y * (1.0 / top), []  # squares in single precision
    for k in range(d):
        unfolded = xp.reshape(xp.moveaxis(Y, k, 0), (Y.shape[k], -1))
        gram = as_numpy(unfolded @ adjoint(unfolded))
        units.append(np.linalg.eigh(gram.astype(np.result_type(gram, np.float64)))[1][:, -1])
    place = np.unravel_index(int(xp.argmax(xp.reshape(xp.abs(Y), (-1,)))), tuple(Y.shape))
    if np.linalg.norm(_contracted(Y, units, 0)) < float(xp.abs(Y[place])):  # unfoldings that tell nothing
        units = [np.eye(n)[k] for n, k in zip(Y.shape, place, strict=True)]
    single = Y.dtype in (xp.float32, xp.complex64)
    sigma, tol = 0.0, 1e-7 if single else 1e-14
    for _ in range(_SWEEPS):
        before = sigma
        for k in range(d):
            v = _contracted(Y, units, k)
            sigma = float(np.linalg.norm(v))
            units[k] = v / sigma
        if abs(sigma - before) <= tol * sigma:
            break
    return top * sigma, [top * _contracted(Y, units, k) for k in range(d)]


def _contracted(Y: Array, units: Sequence[Any], k: int) -> np.ndarray[Any, Any]:
    """Y x_(j != k) u_j^H, in double precision on the host."""
    for j in sorted(range(Y.ndim), key=lambda j: -Y.shape[j]):
        if j != k:
            Y = along(Y, units[j].conj()[None, :], j)
    v = as_numpy(Y).ravel()
    return v.astype(np.result_type(v, np.float64))


def _normalised(A: Any, v: Any) -> tuple[Any, Any, float, Any]:
    """A with columns of length 1 and v of mean square 1; the level of v and the lengths of the columns."""
    lengths = np.linalg.norm(A, axis=0)
    lengths = np.where(lengths > 0, lengths, 1.0)
    v = v.astype(np.result_type(v, np.float64))
    level = float(np.linalg.norm(v)) / math.sqrt(len(v))
    return A / lengths, v / level, level, lengths


def _noise(state: SeparableState, v: Array) -> float:
    """s2 of a factor's problem, in the units of its data."""
    level = norm(v) / math.sqrt(v.shape[0])
    return max(parts(v) * (state.noise / level) ** 2, _LEAST)


def _race(L: Any) -> Any:
    """The first start and the better half of the others, in their order."""
    return np.sort(np.concatenate([[0], 1 + np.argsort(L[1:], kind="stable")[: len(L) // 2]]))


def _starts(A: Any, v: Any, count: int) -> Any:
    """Prior variances to start from, one row each."""
    likeness = np.abs(A.conj().T @ v) ** 2 / len(v)
    rows = [np.ones_like(likeness), np.maximum(likeness, 1e-6 * likeness.max())]
    for k in np.argsort(-likeness, kind="stable"):
        row = np.full_like(likeness, 1e-2)
        row[k] = 1.0
        rows.append(row)
    return np.stack(rows[:count])


def _posterior(A: Any, v: Any, s2: float, G: Any) -> tuple[Any, Any, Any]:
    """a^H S^(-1) v, a^H S^(-1) a and L of every row of G; Cholesky of all m x m matrices at once."""
    S = (A * G[:, None, :]) @ A.conj().T + s2 * np.eye(len(v))
    R = np.linalg.cholesky(S)
    right = np.broadcast_to(np.concatenate([A, v[:, None]], axis=1), (len(G), len(v), A.shape[1] + 1))
    half = np.linalg.solve(R, right)
    W, w = half[:, :, :-1], half[:, :, -1]
    q = np.einsum("smn,sm->sn", W.conj(), w)
    z = np.sum(np.abs(W) ** 2, axis=1)
    logs = 2.0 * np.sum(np.log(np.diagonal(R, axis1=1, axis2=2).real), axis=1)
    return q, z, logs + np.sum(np.abs(w) ** 2, axis=1)


def _variance(A: Any, s2: float, g: Any) -> Any:
    """diag(Sigma) by eigenvalues of the active system: sums of positive terms, where g - g^2 z cancels."""
    active = np.flatnonzero(g)
    B = A[:, active] * np.sqrt(g[active])
    values, Q = np.linalg.eigh(B.conj().T @ B)
    spread = np.zeros_like(g)
    spread[active] = g[active] * (np.abs(Q) ** 2 @ (1.0 / (1.0 + np.maximum(values, 0.0) / s2)))
    return spread


def _spread(means: Sequence[Any], spreads: Sequence[Any], like: Array) -> Array:
    """Variance of a product of independent numbers: prod (m^2 + v) - prod m^2, as a sum of positive terms."""
    terms = []
    for k in range(len(means)):  # v_k times m^2 before it and m^2 + v after it
        squares = [np.abs(m) ** 2 for m in means]
        after = [s + v for s, v in zip(squares, spreads, strict=True)]
        terms.append(outer_like([*squares[:k], spreads[k], *after[k + 1 :]], like))
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total


def _like(v: Any, like: Array) -> Array:
    """A NumPy vector in library, device and precision of an array of the same kind."""
    if not is_complex(like):
        return real_like(v, like)
    xp = namespace(like)
    return xp.astype(real_like(v.real, like), like.dtype) + 1j * xp.astype(
        real_like(v.imag, like), like.dtype
    )
