"""A sparse matrix as an operator.

    (A x)[i] = sum over the stored entries of row i of M[i, j] x[j]

The entries are kept by rows (CSR). NumPy arrays go through SciPy, which walks them in one order both ways, so that
every run gives the same bits. CuPy arrays go through cupyx, with the transpose stored by rows as well: no two
threads write to one place. On other libraries the rows of either are sorted by length and the r-th entries of all
rows form one step ("jagged diagonals"): out[:n_r] += w_r * x[j_r], rows longest first.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from recon.arrays import Array, ArraySpec, Kind, real_like
from recon.constants import constant, follow
from recon.errors import ArrayError, ShapeError
from recon.operator import Operator

__all__ = ["SparseMatrix"]


class SparseMatrix(Operator):
    """A sparse matrix on vectors (or on n-d arrays read in C order): x -> M x.

    Parameters
    ----------
    matrix
        (m, n) sparse matrix or array of SciPy in any format, real or complex; duplicate entries are summed.
    domain_shape, codomain_shape
        Shapes with n and m entries; by default (n,) and (m,).
    kind
        ``"real"`` or ``"complex"``; by default that of the matrix. A real matrix may act on complex data.

    Raises
    ------
    ArrayError, ShapeError
        When it is no sparse matrix of finite numbers, or does not fit the shapes.

    Notes
    -----
    Formula: (A x)[i] = sum_j M[i, j] x[j] over the stored entries
    Shapes: domain_shape -> codomain_shape, by default (n,) -> (m,)
    Units: those of M times those of x
    Cost: 2 flops and 8 to 12 bytes per stored entry each way, about 1 ns; NumPy keeps the entries once per precision
    Source: Y. Saad, "Iterative methods for sparse linear systems", SIAM 2003, sections 3.4 (compressed rows)
    and 11.5 (products, jagged diagonals), doi:10.1137/1.9780898718003
    """

    def __init__(
        self,
        matrix: Any,
        domain_shape: tuple[int, ...] | None = None,
        codomain_shape: tuple[int, ...] | None = None,
        kind: Kind | None = None,
    ) -> None:
        import scipy.sparse

        if not scipy.sparse.issparse(matrix) or matrix.ndim != 2:
            raise ArrayError(
                f"SparseMatrix.matrix must be a sparse matrix of SciPy with 2 axes, got {type(matrix).__name__}. "
                "Use Matrix for a dense one."
            )
        rows = scipy.sparse.csr_array(matrix, copy=True)
        rows.sum_duplicates()
        own: Kind = "complex" if rows.dtype.kind == "c" else "real"
        if kind == "real" and own == "complex":
            raise ArrayError(
                "SparseMatrix.kind must be 'complex' for a complex matrix, got 'real'. Leave it out."
            )
        self.domain: ArraySpec = ArraySpec(domain_shape or (rows.shape[1],), kind or own)
        self.codomain: ArraySpec = ArraySpec(codomain_shape or (rows.shape[0],), kind or own)
        if (self.codomain.size, self.domain.size) != rows.shape:
            raise ShapeError(
                f"SparseMatrix.domain_shape and codomain_shape must hold {rows.shape[1]} and {rows.shape[0]} "
                f"entries, got {self.domain.shape} and {self.codomain.shape}."
            )
        # three arrays rather than SciPy's object: a checkpoint recognises an operator by its arrays
        self.data = constant(rows.data, "SparseMatrix.matrix")
        narrow = np.int32 if max(*rows.shape, rows.nnz) < 2**31 else np.int64
        self.indices, self.indptr = rows.indices.astype(narrow), rows.indptr.astype(narrow)
        self.indices.setflags(write=False)
        self.indptr.setflags(write=False)

    def to_scipy(self) -> Any:
        """The matrix as a ``scipy.sparse.csr_array``."""
        import scipy.sparse

        return scipy.sparse.csr_array((self.data, self.indices, self.indptr), shape=self.shape)

    def plan(self, xp: Any, device: Any, dtype: Any) -> _SparsePlan:
        matrix = self.to_scipy()
        if xp.__name__.endswith("numpy"):
            matrix = matrix.astype(follow(matrix.data, xp, device, dtype).dtype, copy=False)
            columns = matrix.T if matrix.dtype.kind == "f" else matrix.conj().T
            return _SparsePlan(
                _Compressed(matrix, np), _Compressed(columns, np), xp, self.domain, self.codomain
            )
        pair: list[_Compressed | _Jagged] = []
        for rows in (matrix, matrix.conj().T.tocsr()):
            values = follow(rows.data, xp, device, dtype)
            if xp.__name__.endswith("cupy"):  # pragma: no cover (needs a GPU)
                from cupyx.scipy.sparse import csr_matrix  # type: ignore[import-not-found]

                places = (xp.asarray(rows.indices), xp.asarray(rows.indptr))
                pair.append(_Compressed(csr_matrix((values, *places), shape=rows.shape), xp))
            else:
                pair.append(_Jagged(rows, values, xp, device))
        return _SparsePlan(pair[0], pair[1], xp, self.domain, self.codomain)

    def absolute_sums(self, like: Array) -> tuple[Array, Array]:
        """Row and column sums of |M|, in the shapes of codomain and domain."""
        size = abs(self.to_scipy())
        rows = real_like(np.asarray(size.sum(axis=1)).reshape(self.codomain.shape), like)
        return rows, real_like(np.asarray(size.sum(axis=0)).reshape(self.domain.shape), like)

    def norm_bound(self) -> float:
        """sqrt(||M||_1 ||M||_inf), certified (Schur test)."""
        rows, columns = self.absolute_sums(np.ones(1))
        return math.sqrt(float(rows.max()) * float(columns.max()))

    @classmethod
    def example(cls) -> SparseMatrix:
        """A small instance: second differences of 5 numbers."""
        import scipy.sparse

        return cls(scipy.sparse.diags_array([1.0, -2.0, 1.0], offsets=(-1, 0, 1), shape=(5, 5)))


class _SparsePlan:
    def __init__(self, rows: Any, columns: Any, xp: Any, domain: ArraySpec, codomain: ArraySpec) -> None:
        self.rows, self.columns, self.xp, self.domain, self.codomain = rows, columns, xp, domain, codomain

    def apply(self, x: Array) -> Array:
        return self._through(self.rows, x, self.domain, self.codomain)

    def adjoint(self, y: Array) -> Array:
        return self._through(self.columns, y, self.codomain, self.domain)

    def _through(self, matrix: Any, x: Array, source: ArraySpec, target: ArraySpec) -> Array:
        batch = tuple(x.shape[: x.ndim - source.ndim])
        out = matrix.times(self.xp.reshape(x, (math.prod(batch), source.size)))
        return self.xp.reshape(out, (*batch, *target.shape))


class _Compressed:
    """Rows of x times a CSR matrix of SciPy or cupyx; complex rows are pairs of real ones to a real matrix."""

    def __init__(self, matrix: Any, xp: Any) -> None:
        self.matrix, self.xp = matrix, xp

    def times(self, x: Any) -> Any:
        columns = self.xp.ascontiguousarray(x.T)
        paired = x.dtype.kind == "c" and self.matrix.dtype.kind == "f"
        if paired:
            columns = columns.view(self.matrix.dtype)
        if columns.shape[1] == 1:  # SciPy's product with a vector is faster than with one column
            return (self.matrix @ columns[:, 0])[None]
        out = self.matrix @ columns
        return (out.view(x.dtype) if paired else out).T


class _Jagged:
    """Rows of x times a CSR matrix by steps of gathering, on any array library."""

    def __init__(self, matrix: Any, values: Any, xp: Any, device: Any) -> None:
        self.xp, self.device, self.count = xp, device, matrix.shape[0]
        lengths = np.diff(matrix.indptr)
        order = np.argsort(-lengths, kind="stable")
        starts = matrix.indptr[order]
        self.back = self._index(np.argsort(order))
        self.steps = []
        for r in range(int(lengths.max(initial=0))):
            places = starts[: int((lengths > r).sum())] + r
            weights = xp.take(values, self._index(places), axis=0)
            self.steps.append((places.size, self._index(matrix.indices[places]), weights))

    def _index(self, places: Any) -> Any:
        return self.xp.asarray(places.astype(np.int64), device=self.device)

    def times(self, x: Any) -> Any:
        out = self.xp.zeros((x.shape[0], self.count), dtype=x.dtype, device=self.device)
        for size, places, weights in self.steps:
            out[:, :size] += weights * self.xp.take(x, places, axis=-1)
        return self.xp.take(out, self.back, axis=-1)
