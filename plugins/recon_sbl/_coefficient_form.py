"""The posterior by the Cholesky factor of a k x k system: where active entries are fewer than data.

    B = A diag(sqrt g)     C = I + B^H B / s2 = R R^H
    mu = sqrt(g) u,  u = C^(-1) B^H y / s2          diag(Sigma) = g v,  v = column sums of |R^(-1)|^2
    log|S| = m log s2 + log|C|

Every term of v is positive, so variances keep their digits at any ratio of signal to noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from recon.arrays import Array, namespace
from recon_sbl._active import Active, identity, nothing
from recon_sbl._factor import Cholesky, adjoint, square
from recon_sbl.posterior import Posterior

__all__ = ["CoefficientForm"]


@dataclass(frozen=True, eq=False)
class CoefficientForm:
    """Posterior by the active system: m k^2 + 2 k^3 / 3 flops, memory m k + 2 k^2, for k active of n entries.

    Parameters
    ----------
    matrix
        A, (m, n).
    data
        y, (snapshots, m), of the same library and precision.

    References
    ----------
    M. E. Tipping, J. Mach. Learn. Res. 1 (2001) 211, equations 12 and 13.
    """

    matrix: Array
    data: Array

    def __call__(self, gamma: Array, s2: float, memory: Any = None) -> Posterior:
        """The posterior for prior variances gamma (n,), 0 where pruned, and noise variance s2 > 0."""
        active = Active(self.matrix, gamma)
        if not active.count:
            return nothing(self.matrix, self.data, s2)
        B = active.B
        xp = namespace(B)
        eye = identity(xp, active.count, B)
        factor = Cholesky(eye + adjoint(B) @ B / s2)
        u = factor.solve(adjoint(B) @ self.data.T / s2)
        left = xp.sum(square(factor.half(eye)), axis=0)
        taken = 1.0 - left
        taken = xp.where(taken > 0.0, taken, xp.zeros_like(taken))
        logdet = self.matrix.shape[0] * float(np.log(s2)) + factor.logdet
        return active.posterior(u, left, taken, self.data, s2, logdet)
