"""Which atoms of a library a scene contains, by the evidence of all its pixels together, and how they vary in it.

    y_n = a_n D + noise,   a_n ~ N(0, diag(g)),   noise ~ N(0, s2)
    L(g) = log det S + tr(S^(-1) R),   S = s2 I + D^T diag(g) D,   R = Y^T Y / N

L is -2 / N times the log evidence: all pixels enter through the L x L matrix R, so the cost does not depend on N.
First all atoms at once, by the update that lowers a convex bound of L (b_k = S^(-1) d_k):

    g_k <- g_k sqrt((b_k^T R b_k) / (d_k^T b_k))

then atom by atom in closed form (q = b_k^T R b_k and z = d_k^T b_k without atom k): g = (q - z) / z^2 where that lowers
N L by more than log N + 2 log M, the price of one more variance chosen among M (extended BIC), else 0.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

__all__ = ["atom_variances", "moments"]

_BOUND_STEPS = 100
_SWEEPS = 60


def atom_variances(D: Any, R: Any, s2: float, pixels: int) -> Any:
    """g (M,): 0 for atoms that the scene does not need. D (M, L) without rows of zeros, R (L, L), s2 > 0."""
    index, g = _bounded(D, R, s2)
    price = math.log(pixels) + 2.0 * math.log(len(D))
    full = np.zeros(len(D))
    full[index] = g
    for _ in range(_SWEEPS):
        change = _sweep(D, R, s2, full, pixels, price)
        change = max(change, _best_new(D, R, s2, full, pixels, price))
        if change < 1e-4:
            break
    return full


def _inverse(D: Any, g: Any, s2: float) -> Any:
    S = (D.T * g) @ D
    S[np.diag_indices(len(S))] += s2
    return np.linalg.inv(S)


def _bounded(D: Any, R: Any, s2: float) -> tuple[Any, Any]:
    """Atoms and variances after the updates of all at once."""
    g = np.trace(R) / (len(D) * np.sum(D * D, axis=1))
    index = np.arange(len(D))
    for _ in range(_BOUND_STEPS):
        B = D[index] @ _inverse(D[index], g, s2)
        q, z = np.einsum("kl,kl->k", B @ R, B), np.einsum("kl,kl->k", B, D[index])
        g = g * np.sqrt(np.maximum(q, 0.0) / z)
        part = g * np.sum(D[index] ** 2, axis=1)
        keep = part > 1e-7 * part.max()
        index, g = index[keep], g[keep]
    return index, g


def _sweep(D: Any, R: Any, s2: float, g: Any, pixels: int, price: float) -> float:
    """Every atom in use gets its best variance, or none; the largest relative change. Changes g."""
    inverse, largest = _inverse(D, g, s2), 0.0
    for k in np.flatnonzero(g):
        b = inverse @ D[k]
        z, q = float(D[k] @ b), float(b @ R @ b)
        rest = max(1.0 - g[k] * z, 1e-12)  # of S without atom k
        s, q2 = z / rest, q / rest**2
        new = (q2 - s) / s**2 if q2 > s else 0.0
        if pixels * (new * q2 / (1.0 + new * s) - math.log1p(new * s)) < price:
            new = 0.0
        change = new - g[k]
        if change:
            inverse = inverse - change / (1.0 + change * z) * np.outer(b, b)
            largest, g[k] = max(largest, abs(change) / max(g[k], new)), new
    return largest


def _best_new(D: Any, R: Any, s2: float, g: Any, pixels: int, price: float) -> float:
    """The unused atom that lowers L most is taken in if it is worth the price. Changes g."""
    B = D @ _inverse(D, g, s2)
    z, q = np.einsum("kl,kl->k", B, D), np.einsum("kl,kl->k", B @ R, B)
    ratio = np.where((g == 0.0) & (q > z), q / z, 1.0)
    gain = ratio - 1.0 - np.log(ratio)
    best = int(np.argmax(gain))
    if pixels * gain[best] <= price:
        return 0.0
    g[best] = (q[best] - z[best]) / z[best] ** 2
    return 1.0


def moments(G: Any, C: Any, s2: float) -> tuple[Any, Any]:
    """Mean (p,) and inverse covariance (p, p) of the abundances, by the moments of least squares.

    The estimates a = C G^(-1) scatter by the covariance sought plus s2 G^(-1). Where that excess is below what N pixels
    can show, sqrt(p / N) of the noise, it is set to that.
    """
    pixels, p = C.shape
    half = np.linalg.cholesky(G / s2)  # estimates times half: noise of variance 1
    white = np.linalg.solve(half, C.T / s2).T
    centre = white.mean(axis=0)
    values, vectors = np.linalg.eigh((white - centre).T @ (white - centre) / pixels)
    excess = np.maximum(values - 1.0, math.sqrt(p / pixels))
    axes = half @ vectors
    return np.linalg.solve(half.T, centre), (axes / excess) @ axes.T
