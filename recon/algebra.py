"""The elementary operators: identity, diagonal, matrix, Kronecker product, finite differences.

Identity        x -> x                          Diagonal(d)     x -> d * x
Matrix(M)       x -> M x                        Kronecker(A, B) X -> A X B^T  (and so on per axis)
Gradient        x -> (x[i+1] - x[i]) per axis, Neumann boundary (last difference is 0)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from recon.arrays import Array, ArraySpec, Kind, Spec, namespace, real_like, tmap
from recon.constants import constant, follow
from recon.differences import gradient, gradient_adjoint
from recon.errors import ParameterError, ShapeError
from recon.operator import Operator

__all__ = ["Diagonal", "Gradient", "Identity", "Kronecker", "Matrix"]


@dataclass(frozen=True, eq=False, repr=False)
class Identity(Operator):
    """The identity map of a spec: x -> x. Costs nothing.

    Parameters
    ----------
    spec
        Domain and codomain.
    """

    spec: Spec

    def __post_init__(self) -> None:
        object.__setattr__(self, "domain", self.spec)
        object.__setattr__(self, "codomain", self.spec)

    def _forward(self, x: Array) -> Array:
        return x

    def _adjoint(self, y: Array) -> Array:
        return y

    def normal(self, x: Array) -> Array:
        """A^H A x = x."""
        return x

    def norm_bound(self) -> float:
        """Exactly 1."""
        return 1.0

    def absolute_sums(self, like: Array) -> tuple[float, float]:
        """1 in every row and column."""
        return 1.0, 1.0

    def pinv(self, y: Array) -> Array:
        """The inverse."""
        return y

    def data_prox(self, v: Array, data: Array, rho: float) -> Array:
        """argmin 1/2 ||x - data||^2 + rho/2 ||x - v||^2 = (data + rho v) / (1 + rho)."""
        return tmap(lambda a, b: (a + rho * b) / (1 + rho), data, v)

    @classmethod
    def example(cls) -> Identity:
        return cls(ArraySpec((4, 3)))


class _DiagonalPlan:
    def __init__(self, values: Any, conjugate: Any) -> None:
        self.values, self.conjugate = values, conjugate

    def apply(self, x: Array) -> Array:
        return self.values * x

    def adjoint(self, y: Array) -> Array:
        return self.conjugate * y


@dataclass(frozen=True, eq=False, repr=False)
class Diagonal(Operator):
    """Pointwise multiplication: x -> d * x; adjoint y -> conj(d) * y. One pass over the data.

    Parameters
    ----------
    values
        The diagonal d, broadcast against ``sample_shape`` from the last axis; complex values make complex specs.
    sample_shape
        Axes of a sample; by default the shape of ``values``.
    kind
        ``"real"`` or ``"complex"``; by default that of ``values``.
    """

    values: np.ndarray[Any, Any]
    sample_shape: tuple[int, ...] | None = None
    kind: Kind | None = None

    def __post_init__(self) -> None:
        values = constant(self.values, "Diagonal.values")
        kind = self.kind or ("complex" if values.dtype.kind == "c" else "real")
        if kind == "real" and values.dtype.kind == "c":
            raise ParameterError("Diagonal.kind must be 'complex' for complex values, got 'real'.")
        spec = ArraySpec(values.shape if self.sample_shape is None else self.sample_shape, kind)
        try:
            fits = np.broadcast_shapes(values.shape, spec.shape) == spec.shape
        except ValueError:
            fits = False
        if not fits:
            raise ShapeError(f"Diagonal.values must broadcast to {spec.shape}, got {values.shape}.")
        for name, value in (("values", values), ("domain", spec), ("codomain", spec)):
            object.__setattr__(self, name, value)

    def plan(self, xp: Any, device: Any, dtype: Any) -> _DiagonalPlan:
        values = follow(self.values, xp, device, dtype)
        return _DiagonalPlan(values, xp.conj(values) if self.values.dtype.kind == "c" else values)

    def absolute_sums(self, like: Array) -> tuple[Array, Array]:
        """|d| in rows and columns."""
        assert isinstance(self.domain, ArraySpec)
        size = real_like(np.broadcast_to(np.abs(self.values), self.domain.shape), like)
        return size, size

    def norm_bound(self) -> float:
        """max |d|, exactly the norm."""
        return float(np.abs(self.values).max())

    def normal(self, x: Array) -> Array:
        """|d|^2 x."""
        return self._adjoint(self._forward(x))

    def data_prox(self, v: Array, data: Array, rho: float) -> Array:
        """argmin 1/2 ||d x - data||^2 + rho/2 ||x - v||^2, pointwise."""
        plan = self._planned(data)
        assert isinstance(plan, _DiagonalPlan)
        return (plan.conjugate * data + rho * v) / (abs(plan.values) ** 2 + rho)

    @classmethod
    def example(cls) -> Diagonal:
        return cls(np.array([[1.0, -2.0, 0.5], [3.0, 0.25, 1.5]]))


class _MatrixPlan:
    def __init__(self, xp: Any, matrix: Any, codomain: ArraySpec, domain: ArraySpec) -> None:
        self.xp, self.matrix, self.codomain, self.domain = xp, matrix, codomain, domain
        self.hermitian = xp.conj(matrix).T if xp.isdtype(matrix.dtype, "complex floating") else matrix.T

    def apply(self, x: Array) -> Array:
        return self._product(self.matrix, x, self.domain, self.codomain)

    def adjoint(self, y: Array) -> Array:
        return self._product(self.hermitian, y, self.codomain, self.domain)

    def _product(self, matrix: Any, x: Array, source: ArraySpec, target: ArraySpec) -> Array:
        batch = tuple(x.shape[: x.ndim - source.ndim])
        if not batch:
            return self.xp.reshape(matrix @ self.xp.reshape(x, (source.size,)), target.shape)
        flat = self.xp.reshape(x, (math.prod(batch), source.size)) @ matrix.T
        return self.xp.reshape(flat, (*batch, *target.shape))


@dataclass(frozen=True, eq=False, repr=False)
class Matrix(Operator):
    """A dense matrix on vectors (or on n-d arrays read in C order): x -> M x. 2 m n flops.

    Parameters
    ----------
    matrix
        (m, n) real or complex.
    domain_shape, codomain_shape
        Shapes with n and m entries; by default (n,) and (m,).
    """

    matrix: np.ndarray[Any, Any]
    domain_shape: tuple[int, ...] | None = None
    codomain_shape: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        matrix = constant(self.matrix, "Matrix.matrix")
        if matrix.ndim != 2:
            raise ShapeError(
                f"Matrix.matrix must have 2 axes, got {matrix.ndim}. Reshape it to (rows, columns)."
            )
        kind: Kind = "complex" if matrix.dtype.kind == "c" else "real"
        domain = ArraySpec(self.domain_shape or (matrix.shape[1],), kind)
        codomain = ArraySpec(self.codomain_shape or (matrix.shape[0],), kind)
        if (codomain.size, domain.size) != matrix.shape:
            raise ShapeError(
                f"Matrix.domain_shape and codomain_shape must hold {matrix.shape[1]} and {matrix.shape[0]} "
                f"entries, got {domain.shape} and {codomain.shape}."
            )
        for name, value in (("matrix", matrix), ("domain", domain), ("codomain", codomain)):
            object.__setattr__(self, name, value)

    def plan(self, xp: Any, device: Any, dtype: Any) -> _MatrixPlan:
        assert isinstance(self.domain, ArraySpec)
        assert isinstance(self.codomain, ArraySpec)
        return _MatrixPlan(xp, follow(self.matrix, xp, device, dtype), self.codomain, self.domain)

    def absolute_sums(self, like: Array) -> tuple[Array, Array]:
        """Row and column sums of |M|, in the shapes of codomain and domain."""
        size = np.abs(self.matrix)
        assert isinstance(self.domain, ArraySpec)
        assert isinstance(self.codomain, ArraySpec)
        rows = real_like(size.sum(1).reshape(self.codomain.shape), like)
        return rows, real_like(size.sum(0).reshape(self.domain.shape), like)

    def norm_bound(self) -> float:
        """sqrt(||M||_1 ||M||_inf), certified (Schur test)."""
        size = np.abs(self.matrix)
        return math.sqrt(float(size.sum(0).max()) * float(size.sum(1).max()))

    @classmethod
    def example(cls) -> Matrix:
        return cls(np.random.default_rng(0).standard_normal((5, 7)))


@dataclass(frozen=True, eq=False, repr=False)
class Kronecker(Operator):
    """Kronecker product of operators on vectors: factor k acts along axis k of the sample.

    With C-order flattening the matrix is ``kron(factors[0], factors[1], ...)``; for two factors
    X -> A X B^T. Cost: the sum of the factors' costs over the other axes, never the full matrix.

    Parameters
    ----------
    factors
        Operators between one-axis specs, in the order of the axes.
    """

    factors: tuple[Operator, ...]

    def __post_init__(self) -> None:
        factors = tuple(self.factors)
        specs = [s for f in factors if isinstance(f, Operator) for s in (f.domain, f.codomain)]
        if (
            not factors
            or len(specs) < 2 * len(factors)
            or any(isinstance(s, tuple) or s.ndim != 1 for s in specs)
        ):
            raise ShapeError("Kronecker.factors must be operators between one-axis specs, at least one.")
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
        bounds = [factor.norm_bound for factor in self.factors]  # type: ignore[attr-defined]
        return lambda: math.prod(bound() for bound in bounds)

    @classmethod
    def example(cls) -> Kronecker:
        rng = np.random.default_rng(0)
        return cls((Matrix(rng.standard_normal((3, 4))), Matrix(rng.standard_normal((5, 2)))))


@dataclass(frozen=True, eq=False, repr=False)
class Gradient(Operator):
    """Forward differences along the last ``ndim`` axes with Neumann boundary (the last difference is 0).

    x of shape (n1, ..., nd) -> g of shape (d, n1, ..., nd), g[k] = x shifted by one along axis k minus x.
    ||A||^2 <= 4 d (12 in 3-D, 8 in 2-D, 4 in 1-D). d passes over the data each way.

    Parameters
    ----------
    image_shape
        The sample's axes, all of which are differentiated: 1 to 3 of them.
    kind
        ``"real"`` or ``"complex"``.
    """

    image_shape: tuple[int, ...]
    kind: Kind = "real"

    def __post_init__(self) -> None:
        domain = ArraySpec(self.image_shape, self.kind)
        if not 1 <= domain.ndim <= 3:
            raise ShapeError(f"Gradient.image_shape must have 1 to 3 axes, got {domain.shape}.")
        codomain = ArraySpec((domain.ndim, *domain.shape), self.kind)
        for name, value in (("image_shape", domain.shape), ("domain", domain), ("codomain", codomain)):
            object.__setattr__(self, name, value)

    def _forward(self, x: Array) -> Array:
        return gradient(x, len(self.image_shape))

    def _adjoint(self, y: Array) -> Array:
        return gradient_adjoint(y, len(self.image_shape))

    def absolute_sums(self, like: Array) -> tuple[float, float]:
        """At most 2 in a row, and 2 d in a column."""
        return 2.0, 2.0 * len(self.image_shape)

    def norm_bound(self) -> float:
        """2 sqrt(d), certified; reached as the image grows."""
        return 2.0 * math.sqrt(sum(1 for n in self.image_shape if n > 1))

    @classmethod
    def example(cls) -> Gradient:
        return cls((6, 5))
