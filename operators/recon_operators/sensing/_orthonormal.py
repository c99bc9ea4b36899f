"""Rows of a random orthogonal matrix: the Q of a Gaussian matrix, uniformly distributed.

    G^T = Q R,  diag(R) > 0       rows = Q^T

With the signs of R fixed the decomposition is unique, so the rows depend on the seed only (but for rounding),
and Q is uniform (Haar): F. Mezzadri, Notices AMS 54 (2007) 592, arXiv:math-ph/0609050.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from recon_operators.sensing._seeded import normals

__all__ = ["orthonormal_rows"]

_STREAM = (3,)


def orthonormal_rows(m: int, n: int, seed: int) -> np.ndarray[Any, Any]:
    """An (m, n) float64 matrix Q with Q Q^T = I, m <= n; about 4 m^2 n flops."""
    draws = np.empty((m, n), np.float32)
    normals(seed, _STREAM, draws)
    q, r = np.linalg.qr(draws.T.astype(np.float64))
    return np.ascontiguousarray((q * np.where(np.diagonal(r) < 0, -1.0, 1.0)).T)
