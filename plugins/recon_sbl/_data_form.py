"""The posterior by the Cholesky factor of the m x m covariance of the data: where active entries outnumber data.

    B = A diag(sqrt g)     S = s2 I + B B^H = R R^H     W = R^(-1) B     w = R^(-1) y
    mu = sqrt(g) u,  u = W^H w          h = column sums of |W|^2,  diag(Sigma) = g (1 - h)
    L = log|S| + y^H S^(-1) y

1 - h is a difference of nearly equal numbers where the data determine an entry well. It is kept above
1 / (1 + ||b||^2 / s2): no diagonal entry of an inverse is below the inverse of that diagonal entry.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from recon.arrays import Array, namespace
from recon_sbl._active import Active, identity, nothing
from recon_sbl._factor import Cholesky, adjoint, square
from recon_sbl.posterior import Posterior

__all__ = ["DataForm", "slopes"]


@dataclass(frozen=True, eq=False)
class DataForm:
    """Posterior by the data covariance: 2 m^2 k + m^3 / 3 flops, memory 2 m k + m^2, for k active of n entries.

    Variances of entries that the data determine to more than the square root of the precision (80 dB in double) are
    bounds from below, see the module's text; CoefficientForm has them exactly.

    Parameters
    ----------
    matrix
        A, (m, n).
    data
        y, (snapshots, m), of the same library and precision.

    References
    ----------
    M. E. Tipping, J. Mach. Learn. Res. 1 (2001) 211, equations 12 to 15, by the matrix inversion lemma.
    """

    matrix: Array
    data: Array

    def __call__(self, gamma: Array, s2: float, memory: Any = None) -> Posterior:
        """The posterior for prior variances gamma (n,), 0 where pruned, and noise variance s2 > 0."""
        active = Active(self.matrix, gamma)
        if not active.count:
            return nothing(self.matrix, self.data, s2)
        B = active.B
        xp, m = namespace(B), B.shape[0]
        factor = Cholesky(B @ adjoint(B) + s2 * identity(xp, m, B))
        W = factor.half(B)
        u = adjoint(W) @ factor.half(self.data.T)
        h = xp.sum(square(W), axis=0)
        least = 1.0 / (1.0 + xp.sum(square(B), axis=0) / s2)
        left = xp.where(1.0 - h > least, 1.0 - h, least)
        taken = xp.where(h < 1.0 - least, h, 1.0 - least)
        return active.posterior(u, left, taken, self.data, s2, factor.logdet)


def slopes(matrix: Array, data: Array, gamma: Array, s2: float) -> tuple[Array, Array]:
    """Mean over snapshots of |a^H S^(-1) y|^2, and a^H S^(-1) a, for all columns, pruned ones too.

    The derivative of L by g, per snapshot, is the second minus the first. m^2 (k + n) + m^3 / 3 flops.
    """
    xp, m = namespace(matrix), matrix.shape[0]
    active = Active(matrix, gamma)
    S = s2 * identity(xp, m, matrix)
    factor = Cholesky(S + active.B @ adjoint(active.B) if active.count else S)
    W = factor.half(matrix)
    return xp.mean(square(adjoint(W) @ factor.half(data.T)), axis=1), xp.sum(square(W), axis=0)
