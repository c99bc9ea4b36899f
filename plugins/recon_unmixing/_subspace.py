"""The subspace of a scene: principal axes, noise per band, and how many endmembers it holds.

pixels as rows Y (N, L);  covariance (Y - m)^T (Y - m) / N = U diag(w) U^T
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

__all__ = ["Axes", "axes", "band_noise", "homogeneous", "principal"]


class Axes(NamedTuple):
    """Mean (L,), principal axes as columns (L, k), coordinates (N, k), and the mean variance of what they leave."""

    mean: Any
    vectors: Any
    scores: Any
    rest: float


def axes(Y: Any, count: int) -> Axes:
    """The first principal axes of a scene; O(N L^2)."""
    mean = Y.mean(0)
    centred = Y - mean
    values, vectors = principal(centred.T @ centred / len(Y))
    vectors, left = vectors[:, :count], values[count:]
    rest = float(np.maximum(left, 0.0).mean()) if left.size else 0.0
    return Axes(mean, vectors, centred @ vectors, rest)


def principal(S: Any) -> tuple[Any, Any]:
    """Eigenvalues, largest first, and eigenvectors whose largest entry is positive: else rounding decides the sign."""
    values, vectors = np.linalg.eigh(S)
    values, vectors = values[::-1], vectors[:, ::-1]
    largest = np.take_along_axis(vectors, np.argmax(np.abs(vectors), axis=0)[None], axis=0)
    return values, vectors * np.where(largest < 0, -1.0, 1.0)


def homogeneous(scores: Any) -> Any:
    """(1, z): the volume of a simplex is |det| of its vertices in these coordinates, / (p - 1)!."""
    return np.concatenate([np.ones((len(scores), 1)), scores], axis=1)


def band_noise(Y: Any) -> Any:
    """Residuals (N, L) of every band regressed on all others (Roger and Arnold 1996), O(N L^2).

    With R = Y^T Y and P = R^(-1) the residual of band l is (Y P)_l / P_ll.
    """
    R = Y.T @ Y
    R = R + 1e-12 * np.trace(R) / len(R) * np.eye(len(R))
    P = np.linalg.inv(R)
    return (Y @ P) / np.diagonal(P)
