"""The elementary operators: identity, diagonal, dense matrix.

Identity    x -> x        Diagonal(d)    x -> d * x        Matrix(M)    x -> M x
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from recon.arrays import Array, ArraySpec, Kind, Spec, check_spec, real_like, tmap
from recon.constants import constant, follow
from recon.errors import ParameterError, ShapeError
from recon.operator import Operator
from recon.svd import Svd

__all__ = ["Diagonal", "Identity", "Matrix"]


@dataclass(frozen=True, eq=False, repr=False)
class Identity(Operator):
    """The identity map of a spec: x -> x.

    Parameters
    ----------
    spec
        Domain and codomain.

    Notes
    -----
    Formula: A x = x
    Shapes: spec -> spec
    Units: those of x
    Cost: nothing; the result is the argument itself, not a copy
    Source: G. H. Golub and C. F. Van Loan, "Matrix computations", 4th ed., Johns Hopkins 2013, section 1.1
    """

    spec: Spec

    def __post_init__(self) -> None:
        check_spec(self.spec, "Identity.spec")
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

    def row_scale(self) -> float:
        """1."""
        return 1.0

    def absolute_sums(self, like: Array) -> tuple[Any, Any]:
        """1 in every row and column."""
        ones = tuple(1.0 for _ in self.spec) if isinstance(self.spec, tuple) else 1.0
        return ones, ones

    def pinv(self, y: Array) -> Array:
        """The inverse."""
        return y

    def data_prox(self, v: Array, data: Array, rho: float) -> Array:
        """argmin 1/2 ||x - data||^2 + rho/2 ||x - v||^2 = (data + rho v) / (1 + rho)."""
        return tmap(lambda a, b: (a + rho * b) / (1 + rho), data, v)

    def svd(self) -> Svd:
        """The identity, 1 and the identity."""
        return Svd(
            self, tuple(np.ones(()) for _ in self.spec) if isinstance(self.spec, tuple) else np.ones(()), self
        )

    @classmethod
    def example(cls) -> Identity:
        """A small instance: 4 x 3 numbers."""
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
    """Pointwise multiplication: x -> d * x; adjoint y -> conj(d) * y.

    Parameters
    ----------
    values
        The diagonal d, broadcast against ``sample_shape`` from the last axis; complex values make complex specs.
    sample_shape
        Axes of a sample; by default the shape of ``values``.
    kind
        ``"real"`` or ``"complex"``; by default that of ``values``.

    Notes
    -----
    Formula: (A x)[i] = d[i] x[i]
    Shapes: sample_shape -> sample_shape
    Units: those of d times those of x
    Cost: one pass over the data each way; memory: d
    Source: G. H. Golub and C. F. Van Loan, "Matrix computations", 4th ed., Johns Hopkins 2013, section 1.2
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

    @property
    def row_scale(self) -> Callable[[], float]:
        """|d|^2, where it is the same everywhere, to rounding."""
        size = np.abs(self.values)
        if size.max() - size.min() > 4 * np.finfo(size.dtype).eps * size.max():
            raise AttributeError("row_scale")
        return lambda: float(size.max()) ** 2

    def normal(self, x: Array) -> Array:
        """|d|^2 x."""
        return self._adjoint(self._forward(x))

    def data_prox(self, v: Array, data: Array, rho: float) -> Array:
        """argmin 1/2 ||d x - data||^2 + rho/2 ||x - v||^2, pointwise."""
        plan = self._planned(data)
        assert isinstance(plan, _DiagonalPlan)
        return (plan.conjugate * data + rho * v) / (abs(plan.values) ** 2 + rho)

    def pinv(self, y: Array) -> Array:
        """y / d, and 0 where d is 0."""
        inside = self.values != 0
        inverse = np.where(inside, 1 / np.where(inside, self.values, 1), 0)
        return self._once("inverse", lambda: Diagonal(inverse, *self._layout))._forward(y)

    def svd(self) -> Svd:
        """U = d / |d| (1 where d is 0), s = |d|, V the identity."""
        size = np.abs(self.values)
        phase = np.where(size > 0, self.values / np.where(size > 0, size, 1), 1)
        return Svd(Diagonal(phase, *self._layout), size, Identity(self.domain))

    @property
    def _layout(self) -> tuple[tuple[int, ...], Kind]:
        assert isinstance(self.domain, ArraySpec)
        return self.domain.shape, self.domain.kind

    @classmethod
    def example(cls) -> Diagonal:
        """A small instance: 2 x 3 numbers."""
        return cls(np.array([[1.0, -2.0, 0.5], [3.0, 0.25, 1.5]]))


# Up to here the work done once, M^H M or the decomposition, is soon earned back; beyond it iterations win.
_SMALL = 1000


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
    """A dense matrix on vectors (or on n-d arrays read in C order): x -> M x.

    Parameters
    ----------
    matrix
        (m, n) real or complex.
    domain_shape, codomain_shape
        Shapes with n and m entries; by default (n,) and (m,).

    Notes
    -----
    Formula: (A x)[i] = sum_j M[i, j] x[j]
    Shapes: domain_shape -> codomain_shape, by default (n,) -> (m,)
    Units: those of M times those of x
    Cost: 2 m n flops each way; svd, pinv and data_prox first take about 6 m n^2 + 20 n^3 flops (m >= n), once
    Source: G. H. Golub and C. F. Van Loan, "Matrix computations", 4th ed., Johns Hopkins 2013, sections 1.1 and 8.6
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

    @property
    def normal(self) -> Callable[[Array], Array]:
        """(M^H M) x by the n x n matrix M^H M, made once; of tall matrices with few columns, where that pays."""
        rows, columns = self.shape
        if rows < 2 * columns or columns > _SMALL:
            raise AttributeError("normal")
        shape = self.domain_shape
        gram = self._once("gram", lambda: Matrix(self.matrix.conj().T @ self.matrix, shape, shape))
        return gram._forward  # type: ignore[no-any-return]

    def svd(self) -> Svd:
        """The thin decomposition, made once in double precision and kept: memory as for M again, twice.

        Singular values that are rounding in the precision of M are 0.
        """
        return self._once("svd", self._decomposed)  # type: ignore[no-any-return]

    def _decomposed(self) -> Svd:
        left, s, right = np.linalg.svd(self.matrix.astype(self.dtype), full_matrices=False)
        s[s <= s[0] * max(self.shape) * np.finfo(self.matrix.dtype).eps] = 0.0
        U = Matrix(left, codomain_shape=self.codomain_shape)
        return Svd(U, s, Matrix(right.conj().T, codomain_shape=self.domain_shape))

    def pinv(self, y: Array) -> Array:
        """The least-squares solution of least norm, by the singular value decomposition."""
        return self.svd().pinv(y)

    @property
    def data_prox(self) -> Callable[[Array, Array, float], Array]:
        """argmin 1/2 ||M x - data||^2 + rho/2 ||x - v||^2 by the decomposition, one for every rho.

        Of matrices with at most 1000 rows or columns: beyond that conjugate gradients are cheaper.
        """
        if min(self.shape) > _SMALL:
            raise AttributeError("data_prox")
        return lambda v, data, rho: self.svd().data_prox(v, data, rho)

    @classmethod
    def example(cls) -> Matrix:
        """A small instance: 5 x 7 numbers."""
        return cls(np.random.default_rng(0).standard_normal((5, 7)))
