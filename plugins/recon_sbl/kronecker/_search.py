"""Search over the atoms of one factor by the evidence, where the other factors are fixed.

    (x)_{j != i} A_j diag(g_j) A_j^H = U diag(b) U^H,    z_k = (y x_{j != i} U^H)_k / sqrt(b_k),    r_k = s2 / b_k
    L = const + sum_k log|r_k I + A_i diag(g_i) A_i^H| + z_k^H (r_k I + A_i diag(g_i) A_i^H)^(-1) z_k

That is sparse Bayesian learning with snapshots z_k of one support and noise of different levels. Along one entry g of
g_i, with s_k and q_k the moments of its atom when it is left out (Tipping and Faul 2003),

    L(g) - L(0) = sum_k log(1 + g s_k) - |q_k|^2 g / (1 + g s_k)

so an atom can be added, changed or deleted at an exactly known gain; the best action is taken until none pays. An atom
in the set costs its price, and pruned atoms come back where they pay. L + prices never rises.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np

from recon.arrays import Array, as_numpy
from recon_sbl.kronecker.form import along

__all__ = ["price", "searched", "snapshots", "suspects"]

_GAIN = 1e-3  # of L: actions that gain less are not taken
_INNER = 8  # fixed-point steps of the line search of an action
_STARTS = 24  # atoms to start from at most, alone or in pairs
_ENTRIES = 2**17  # numbers in an array of several starts at once, where the image is not larger

Matrices = Sequence[np.ndarray[Any, Any]]


def price(matrices: Matrices, count: int) -> list[float]:
    """What an atom of each factor must gain in L to be kept: log m + log n_i, halved for complex data.

    The price of one number by the extended Bayesian information criterion (Chen and Chen 2008, their gamma 1/2).
    """
    parts = 2 if np.iscomplexobj(matrices[0]) else 1
    return [(math.log(count) + math.log(A.shape[1])) / parts for A in matrices]


def suspects(matrices: Matrices, factors: Sequence[Any], share: float = 0.5) -> tuple[bool, ...]:
    """Factors that keep that share of atoms of the rows of their matrix, or more, where it has more columns than rows.

    From half on a wrong support may fit as well: failed fits are found among these. As many atoms as rows (a share
    of 1) fit anything.
    """
    kept = [np.count_nonzero(g) for g in factors]
    sizes = [A.shape for A in matrices]
    return tuple(m < n and k >= share * m for (m, n), k in zip(sizes, kept, strict=True))


def searched(
    matrices: Matrices, data: Array, factors: Sequence[Any], s2: float, prices: Sequence[float], again: bool
) -> list[np.ndarray[Any, Any]]:
    """One sweep: every factor in turn, the one with most atoms per row first.

    Where ``again``, the search starts from the present atoms and from none, for suspects also from single atoms, and
    from pairs where that does not help; the lowest L + prices is taken. Else only from the present atoms.
    """
    factors = list(factors)
    load = [np.count_nonzero(g) / A.shape[0] for g, A in zip(factors, matrices, strict=True)]
    doubted = suspects(matrices, factors)
    for i in sorted(range(len(factors)), key=lambda i: -load[i]):
        if not all(np.any(g) for g in factors):
            return [np.zeros_like(g) for g in factors]
        z, r = snapshots(matrices, data, factors, i, s2)
        A = matrices[i]
        if A.shape[0] > A.shape[1]:  # what is outside of the range does not depend on g
            Q, A = np.linalg.qr(A)
            z = Q.conj().T @ z
        g, size = factors[i], float(factors[i].max())
        starts = [g[None], np.zeros((1, len(g)))] if again else [g[None]]
        if again and doubted[i]:
            starts.append(size * _few(A, z, r, 1))
        g = _best(A, z, r, np.concatenate(starts), prices[i], data)
        if again and doubted[i] and suspects([matrices[i]], [g])[0]:
            g = _best(A, z, r, np.concatenate([g[None], size * _few(A, z, r, 2)]), prices[i], data)
        factors[i] = g
    return factors


def snapshots(
    matrices: Matrices, data: Array, factors: Sequence[Any], i: int, s2: float
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """z (m_i, K) and r (K,) on the host, K the rank of the other factors."""
    b, Z = np.ones(1), data
    for j, (A, g) in enumerate(zip(matrices, factors, strict=True)):
        if j != i:
            kept = g > 0
            U, s, _ = np.linalg.svd(A[:, kept] * np.sqrt(g[kept]), full_matrices=False)
            Z = along(Z, U.conj().T, j)
            b = np.multiply.outer(b, s**2).ravel()
    z = np.moveaxis(as_numpy(Z), i, 0).reshape(matrices[i].shape[0], -1)
    held = b > 1e-12 * b.max()
    wide = np.complex128 if np.iscomplexobj(z) else np.float64
    return z[:, held].astype(wide) / np.sqrt(b[held]), s2 / b[held]


def _few(A: Any, z: Any, r: Any, count: int) -> Any:
    """Starts with so many atoms each, as rows of ones and zeros; from those atoms that gain most on their own."""
    *_, gain = _actions(A, z, r, np.zeros((1, A.shape[1])), 0.0)
    order = np.argsort(-gain[0], kind="stable")[:_STARTS]
    rows = np.eye(A.shape[1])
    return np.stack(
        [rows[list(chosen)].sum(axis=0) for chosen in combinations(order, min(count, len(order)))]
    )


def _best(A: Any, z: Any, r: Any, starts: Any, cost: float, data: Array) -> Any:
    """The lowest end of the search over all starts, of several at once as far as memory goes."""
    ends, costs = [], []
    each = A.shape[1] * len(r)
    group = max(1, max(_ENTRIES, math.prod(data.shape)) // (4 * each))
    for begin in range(0, len(starts), group):
        g = _search(A, z, r, starts[begin : begin + group].copy(), cost)
        ends.append(g)
        costs.append(_cost(A, z, r, g) + cost * np.count_nonzero(g, axis=1))
    return np.concatenate(ends)[int(np.argmin(np.concatenate(costs)))]


def _search(A: Any, z: Any, r: Any, g: Any, cost: float) -> Any:
    """The best action again and again, in every row of g."""
    going = np.arange(len(g))
    for _ in range(100 + 2 * A.shape[1]):
        new, gain = _actions(A, z, r, g[going], cost)
        best = np.argmax(gain, axis=1)
        rows = np.flatnonzero(gain[np.arange(len(going)), best] > _GAIN)
        if not rows.size:
            break
        g[going[rows], best[rows]] = new[rows, best[rows]]
        going = going[rows]
    return g


def _spectrum(A: Any, g: Any) -> tuple[Any, Any]:
    """Eigenvalues (S, m) and eigenvectors (S, m, m) of A diag(g) A^H, for every row of g."""
    e, V = np.linalg.eigh((A * g[:, None, :]) @ A.conj().T)
    return np.maximum(e, 0.0), V


def _cost(A: Any, z: Any, r: Any, g: Any) -> Any:
    e, V = _spectrum(A, g)
    d = e[:, :, None] + r
    return np.sum(np.log(d) + np.abs(np.swapaxes(V.conj(), 1, 2) @ z) ** 2 / d, axis=(1, 2))


def _actions(A: Any, z: Any, r: Any, g: Any, cost: float) -> tuple[Any, Any]:
    """For every entry of g (S, n) its best value, 0 where it is to go, and what that gains in L + prices."""
    e, V = _spectrum(A, g)
    adjoint = np.swapaxes(V.conj(), 1, 2)
    W, F = 1.0 / (e[:, :, None] + r), adjoint @ A
    left = np.swapaxes(F.conj(), 1, 2)
    s = (left.real**2 + left.imag**2 if np.iscomplexobj(left) else left**2) @ W
    out = 1.0 / np.maximum(1.0 - g[:, :, None] * s, 1e-12)  # of the atom's own share
    q2 = np.abs((left @ ((adjoint @ z) * W)) * out) ** 2
    s = np.maximum(s * out, 1e-150)
    new = np.maximum(np.sum(q2 - s, axis=2) / np.sum(s * s, axis=2), 1e-3 / np.mean(s, axis=2))
    new = np.where(g > 0, g, new)
    for _ in range(_INNER):  # majorises and minimises: monotone
        u = 1.0 / (1.0 + new[:, :, None] * s)
        new = new * np.sqrt(np.sum(q2 * u * u, axis=2) / np.sum(s * u, axis=2))

    def level(g: Any) -> Any:
        u = 1.0 + g[:, :, None] * s
        return np.sum(np.log(u) - q2 * (g[:, :, None] / u), axis=2) + cost * (g > 0)

    after = level(new)
    new = np.where(after < 0.0, new, 0.0)
    return new, level(g) - np.minimum(after, 0.0)
