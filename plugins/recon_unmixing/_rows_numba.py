"""Curvature of the collaborative lasso in the logarithms of its row lengths, compiled.

    H_kl = [k = l] lam sum_n x_nk^2 / eta_k - lam^2 sum_n z_nk z_nl (T G T + lam)^(-1)_kl,  z = x / sqrt(eta)

T = diag(sqrt(eta)); for every pixel only the atoms that it uses take part. Work per pixel: the cube of their number.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

__all__ = ["curvature"]


@numba.njit(cache=True)
def curvature(G: Any, X: Any, eta: Any, lam: Any) -> Any:
    """H (k, k) of G (k, k), X (N, k), row lengths eta (k,) and weights lam (k,)."""
    pixels, atoms = X.shape
    H = np.zeros((atoms, atoms))
    used = np.empty(atoms, np.int64)
    t = np.sqrt(eta / lam)  # in the scale of eta / lam the weights are 1
    for n in range(pixels):
        k = 0
        for j in range(atoms):
            if X[n, j] > 0.0:
                used[k] = j
                k += 1
        K = np.empty((k, k))
        for a in range(k):
            for b in range(k):
                K[a, b] = t[used[a]] * G[used[a], used[b]] * t[used[b]]
            K[a, a] += 1.0
        K = np.linalg.inv(K)
        for a in range(k):
            za = X[n, used[a]] / t[used[a]]
            for b in range(k):
                H[used[a], used[b]] -= za * X[n, used[b]] / t[used[b]] * K[a, b]
    for j in range(atoms):
        H[j, j] += np.sum(X[:, j] ** 2) / (t[j] * t[j])
    return H
