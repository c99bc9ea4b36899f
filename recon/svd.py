"""A singular value decomposition made of operators, and what follows from it.

    A = U diag(s) V^H,  U^H U = V^H V = identity,  s >= 0
    A^+ y                                           = V (1 / s) U^H y            where s is not 0
    argmin_x 1/2 ||A x - y||^2 + rho/2 ||x - v||^2  = v + V (s U^H y - s^2 V^H v) / (s^2 + rho)

One decomposition serves every rho.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from recon.arrays import Array, as_numpy, leaves, real_like, tmap

if TYPE_CHECKING:
    from recon.operator import Operator

__all__ = ["Svd"]


class Svd(NamedTuple):
    """The three factors: what the ``svd()`` of an operator returns.

    Parameters
    ----------
    U, V
        Operators with orthonormal columns, from coefficients to the codomain and to the domain.
    s
        Singular values >= 0 in any order: a NumPy array that broadcasts to the coefficients, or a tuple of
        them.
    """

    U: Operator
    s: Any
    V: Operator

    def pinv(self, y: Array) -> Array:
        """The least-squares solution of least norm.

        Singular values that are rounding in the precision of the data count as 0.
        """
        largest = max(float(np.max(s)) for s in leaves(self.s))
        eps = float(np.finfo(as_numpy(leaves(y)[0]).dtype).eps)
        limit = largest * max(self.U.shape[0], self.V.shape[0]) * eps

        def inverse(s: Any) -> Any:
            kept = s > limit
            return np.where(kept, 1.0 / np.where(kept, s, 1.0), 0.0)

        coefficients = self.U.H @ y
        return self.V @ tmap(lambda c, s: real_like(inverse(s), c) * c, coefficients, self.s)

    def data_prox(self, v: Array, data: Array, rho: float) -> Array:
        """argmin_x 1/2 ||A x - data||^2 + rho/2 ||x - v||^2."""

        def move(a: Any, b: Any, s: Any) -> Any:
            share = s / (s**2 + rho)
            return real_like(share, a) * a - real_like(share * s, a) * b

        coefficients = tmap(move, self.U.H @ data, self.V.H @ v, self.s)
        return tmap(lambda a, b: a + b, v, self.V @ coefficients)
