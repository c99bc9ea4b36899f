"""What every operator with orthogonal rows of one length offers in closed form.

    A A^H = g I     ||A|| = sqrt(g)     A^+ = A^H / g     A = I sqrt(g) (A / sqrt(g))
    argmin 1/2 ||A x - y||^2 + rho/2 ||x - v||^2 = v + A^H (y - A v) / (g + rho)          (Woodbury)

With rho -> 0 the last line is the projection of v on {x: A x = y}.
"""

from __future__ import annotations

import math

import numpy as np

from recon.algebra import Identity
from recon.arrays import Array
from recon.operator import Operator
from recon.svd import Svd

__all__ = ["TightRows"]


class TightRows(Operator):
    """Base of operators with A A^H = g I; a subclass sets `gain` where g is not 1."""

    @property
    def gain(self) -> float:
        """The g of A A^H = g I."""
        return 1.0

    def row_scale(self) -> float:
        """g."""
        return self.gain

    def norm_bound(self) -> float:
        """sqrt(g), exactly the norm."""
        return math.sqrt(self.gain)

    def normal(self, x: Array) -> Array:
        """A^H A x, that is g times the projection on the row space."""
        return self._adjoint(self._forward(x))

    def pinv(self, y: Array) -> Array:
        """A^H y / g: the solution of A x = y of least norm."""
        x = self._adjoint(y)
        return x if self.gain == 1.0 else x / self.gain

    def data_prox(self, v: Array, data: Array, rho: float) -> Array:
        """argmin 1/2 ||A x - data||^2 + rho/2 ||x - v||^2, by one product each way."""
        return self._adjoint((data - self._forward(v)) / (self.gain + rho)) + v

    def svd(self) -> Svd:
        """(U, s, V) with A = U diag(s) V^H: U = I, s = sqrt(g), V = A^H / sqrt(g)."""
        right = self.H if self.gain == 1.0 else self.H / math.sqrt(self.gain)
        return Svd(Identity(self.codomain), np.full(1, math.sqrt(self.gain)), right)
