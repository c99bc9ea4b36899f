"""Multiplicative updates: minimisers of separable bounds, so that no objective rises and nothing turns negative.

For G >= 0 and x > 0    1/2 z G z^T <= 1/2 sum_k (x G)_k z_k^2 / x_k, with equality at z = x      (Lee and Seung 2001)

so the minimiser of 1/2 z G z^T - c z is brought closer by the minimiser of the bound:

    z >= 0               z_k = x_k max(c_k, 0) / (x G)_k
    z >= 0, sum z = 1    z_k = x_k max(c_k - v, 0) / (x G)_k,   v such that the sum is 1

An entry of 0 stays 0. Rows are pixels (or bands), one problem each.
"""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["nonnegative_step", "simplex_step"]


def nonnegative_step(X: Any, G: Any, C: Any) -> Any:
    """One update of X (N, p) for 1/2 x G x^T - c x over x >= 0, with G (p, p) >= 0 and C (N, p)."""
    return X * np.maximum(C, 0.0) / np.maximum(X @ G, 1e-300)


def simplex_step(X: Any, G: Any, C: Any) -> Any:
    """One update of X (N, p), rows on the simplex, for 1/2 x G x^T - c x; they stay there."""
    slope = X / np.maximum(X @ G, 1e-300)  # z = slope max(c - v, 0): piecewise linear and falling in v
    order = np.argsort(-C, axis=1)
    c, s = np.take_along_axis(C, order, axis=1), np.take_along_axis(slope, order, axis=1)
    total = np.maximum(np.cumsum(s, axis=1), 1e-300)
    v = (np.cumsum(s * c, axis=1) - 1.0) / total
    # v of the largest set whose every c lies above v: the sets grow with the order, as in projections on the simplex
    fits = (c > v) & (np.cumsum(s, axis=1) > 0.0)
    last = fits.shape[1] - 1 - np.argmax(fits[:, ::-1], axis=1)
    v = np.take_along_axis(v, last[:, None], axis=1)
    Z = slope * np.maximum(C - v, 0.0)
    return Z / np.sum(Z, axis=1, keepdims=True)
