"""The Kronecker product of operators: one factor per axis, never the full matrix.

(A (x) B) X = A X B^T        kron(A, B) on C-order vectors; and so on for more factors
norm, |.|, A^H A, A^+, U, s, V of the product are the products of those of the factors
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from recon.algebra import Matrix
from recon.arrays import Array, ArraySpec, Kind, namespace
from recon.errors import ShapeError
from recon.operator import Operator
from recon.svd import Svd

__all__ = ["Kronecker"]


@dataclass(frozen=True, eq=False, repr=False)
class Kronecker(Operator):
    """Kronecker product of operators on vectors: factor k acts along axis k of the sample.

    With C-order flattening the matrix is ``kron(factors[0], factors[1], ...)``. What all factors can do, the
    product can: ``normal``, ``norm_bound``, ``absolute_sums``, ``pinv``, ``svd``, ``data_prox``.

    Parameters
    ----------
    factors
        Operators between one-axis specs, in the order of the axes.

    Notes
    -----
    Formula: X -> A X B^T for two factors A and B; in general factor k acts along axis k
    Shapes: (n1, ..., nd) -> (m1, ..., md) for factors n_k -> m_k
    Units: those of the factors, multiplied, times those of x
    Cost: the sum of the factors' costs over the other axes, never the full matrix
    Source: C. F. Van Loan, "The ubiquitous Kronecker product", J. Comput. Appl. Math. 123 (2000) 85,
    doi:10.1016/S0377-0427(00)00393-9
    """

    factors: tuple[Operator, ...]

    def __post_init__(self) -> None:
        factors = tuple(self.factors) if isinstance(self.factors, tuple | list) else ()
        specs = [s for f in factors if isinstance(f, Operator) for s in (f.domain, f.codomain)]
        if (
            not factors
            or len(specs) < 2 * len(factors)
            or any(isinstance(s, tuple) or s.ndim != 1 for s in specs)
        ):
            raise ShapeError(
                "Kronecker.factors must be operators between one-axis specs, at least one, in a tuple. "
                "Wrap a matrix with recon.Matrix."
            )
        kinds = {s.kind for s in specs if isinstance(s, ArraySpec)}
        if len(kinds) > 1:
            raise ShapeError("Kronecker.factors must all be real or all complex, got both.")
        kind: Kind = kinds.pop()
        domain = ArraySpec(tuple(f.shape[1] for f in factors), kind)
        codomain = ArraySpec(tuple(f.shape[0] for f in factors), kind)
        for name, value in (("factors", factors), ("domain", domain), ("codomain", codomain)):
            object.__setattr__(self, name, value)

    def _along(self, x: Array, products: list[Callable[[Array], Array]]) -> Array:
        xp, count = namespace(x), len(products)
        for k, product in enumerate(products):
            axis = k - count
            x = xp.moveaxis(product(xp.moveaxis(x, axis, -1)), -1, axis)
        return x

    def _forward(self, x: Array) -> Array:
        return self._along(x, [factor._forward for factor in self.factors])

    def _adjoint(self, y: Array) -> Array:
        return self._along(y, [factor._adjoint for factor in self.factors])

    @property
    def norm_bound(self) -> Callable[[], float]:
        """The product of the factors' bounds: ||A (x) B|| = ||A|| ||B||."""
        bounds = self._methods("norm_bound")
        return lambda: math.prod(bound() for bound in bounds)

    @property
    def normal(self) -> Callable[[Array], Array]:
        """A^H A along each axis, where all factors have a ``normal``."""
        products = self._methods("normal")
        return lambda x: self._along(x, products)

    @property
    def absolute_sums(self) -> Callable[[Array], tuple[Array, Array]]:
        """Outer products of the factors' sums, exactly: |A (x) B| = |A| (x) |B|."""
        sums = self._methods("absolute_sums")

        def outer(like: Array) -> tuple[Array, Array]:
            rows, columns = zip(*(one(like) for one in sums), strict=True)
            return _outer(rows), _outer(columns)

        return outer

    @property
    def pinv(self) -> Callable[[Array], Array]:
        """The pseudoinverse along each axis, where all factors have one."""
        products = self._methods("pinv")
        return lambda y: self._along(y, products)

    @property
    def svd(self) -> Callable[[], Svd]:
        """Kronecker products of the factors' U, s and V, where all have a decomposition."""
        parts = self._methods("svd")

        def decomposed() -> Svd:
            U, s, V = zip(*(part() for part in parts), strict=True)
            s = tuple(np.broadcast_to(values, (left.shape[1],)) for values, left in zip(s, U, strict=True))
            return Svd(Kronecker(U), _outer(s), Kronecker(V))

        return lambda: self._once("svd", decomposed)

    @property
    def data_prox(self) -> Callable[[Array, Array, float], Array]:
        """argmin 1/2 ||A x - data||^2 + rho/2 ||x - v||^2, by the decomposition."""
        svd = self.svd
        return lambda v, data, rho: svd().data_prox(v, data, rho)

    def _methods(self, name: str) -> list[Callable[..., Any]]:
        """The method of every factor; AttributeError, which `capability` understands, where one has it not."""
        return [getattr(factor, name) for factor in self.factors]

    @classmethod
    def example(cls) -> Kronecker:
        """A small instance: 3 x 4 and 5 x 2 numbers."""
        rng = np.random.default_rng(0)
        return cls((Matrix(rng.standard_normal((3, 4))), Matrix(rng.standard_normal((5, 2)))))


def _outer(parts: tuple[Any, ...]) -> Any:
    """The outer product of vectors, one axis each; numbers stand for constant vectors."""
    result = parts[0]
    for part in parts[1:]:
        result = result[..., None] * part if hasattr(result, "shape") else result * part
    return result
