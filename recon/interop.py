"""Bridges to other libraries and to plain functions.

to_scipy        an operator as a LinearOperator on flat vectors, for SciPy's solvers
from_scipy      a sparse matrix, a LinearOperator (PyLops' too) or a dense array as an operator
from_functions  a pair of plain functions as an operator
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from recon.algebra import Matrix
from recon.arrays import (
    Array,
    ArraySpec,
    Kind,
    Spec,
    as_numpy,
    batch_of,
    check_array,
    check_spec,
    from_numpy,
    leaves,
    members,
    namespace,
    tmap,
    zeros,
)
from recon.errors import ArrayError, ParameterError, ShapeError
from recon.linalg import adjoint_gap
from recon.operator import Operator
from recon.sparse import SparseMatrix

if TYPE_CHECKING:
    from scipy.sparse.linalg import LinearOperator

__all__ = ["from_functions", "from_scipy", "to_scipy"]

_GAP = 1e-6  # what functions that compute in single precision keep


def to_scipy(operator: Operator) -> LinearOperator:
    """The operator as a ``scipy.sparse.linalg.LinearOperator`` on flat NumPy vectors.

    Vectors hold one sample in C order, members of a tuple one after another, so that
    ``scipy.sparse.linalg.lsqr(to_scipy(A), y.ravel())`` works. Adjoint and forward are the operator's own.

    Parameters
    ----------
    operator
        Any operator on the CPU.
    """
    from scipy.sparse.linalg import LinearOperator

    return LinearOperator(
        operator.shape,
        matvec=lambda x: _flat(operator @ _shaped(x, operator.domain)),
        rmatvec=lambda y: _flat(operator.H @ _shaped(y, operator.codomain)),
        dtype=operator.dtype,
    )


def from_scipy(
    matrix: Any,
    domain_shape: tuple[int, ...] | None = None,
    codomain_shape: tuple[int, ...] | None = None,
) -> Operator:
    """An operator from what SciPy works with.

    Parameters
    ----------
    matrix
        A sparse matrix (gives a :class:`recon.SparseMatrix`), a dense array (a :class:`recon.Matrix`), or a
        ``LinearOperator`` with ``rmatvec``, PyLops' operators among them.
    domain_shape, codomain_shape
        Shapes of a sample, read in C order; by default (n,) and (m,), or the ``dims`` and ``dimsd`` of a PyLops
        operator.

    Returns
    -------
    Operator
        That of a LinearOperator takes one vector at a time, on the CPU, through NumPy. It can be pickled where
        the LinearOperator can.

    Raises
    ------
    ArrayError, ShapeError
        When it is none of these, or does not fit the shapes.
    """
    import scipy.sparse
    from scipy.sparse.linalg import aslinearoperator

    if scipy.sparse.issparse(matrix):
        return SparseMatrix(matrix, domain_shape, codomain_shape)
    if isinstance(matrix, np.ndarray):
        return Matrix(matrix, domain_shape, codomain_shape)
    try:
        linear = aslinearoperator(matrix)
    except (TypeError, ValueError):
        raise ArrayError(
            "from_scipy matrix must be a sparse matrix, a LinearOperator or a 2-d array, "
            f"got {type(matrix).__name__}. For a pair of functions use from_functions."
        ) from None
    kind: Kind = "complex" if np.dtype(linear.dtype).kind == "c" else "real"
    rows, columns = linear.shape
    domain = ArraySpec(domain_shape or getattr(matrix, "dims", None) or (columns,), kind)
    codomain = ArraySpec(codomain_shape or getattr(matrix, "dimsd", None) or (rows,), kind)
    if (codomain.size, domain.size) != (rows, columns):
        raise ShapeError(
            f"from_scipy domain_shape and codomain_shape must hold {columns} and {rows} entries, "
            f"got {domain.shape} and {codomain.shape}."
        )
    return _Linear(linear, domain, codomain)


def from_functions(
    forward: Callable[[Array], Array],
    adjoint: Callable[[Array], Array],
    domain: Spec,
    codomain: Spec,
    check: bool = False,
) -> Operator:
    """An operator from two functions on one sample; batches are looped over.

    Parameters
    ----------
    forward, adjoint
        x -> A x and y -> A^H y. They get arrays of the caller's library and give new arrays of the same one.
    domain, codomain
        Specs of x and y.
    check
        Whether to compare <A x, y> and <x, A^H y> for two NumPy vectors first: one call of each function.

    Returns
    -------
    Operator
        It can be pickled where the functions can: those defined at the top of a module, not a lambda.

    Raises
    ------
    ParameterError
        When a function or spec is none, or `check` finds a relative gap above 1e-6.
    """
    for name, function in (("forward", forward), ("adjoint", adjoint)):
        if not callable(function):
            raise ParameterError(
                f"from_functions {name} must be a function, got {type(function).__name__}. "
                "For a matrix use from_scipy."
            )
    check_spec(domain, "from_functions domain")
    check_spec(codomain, "from_functions codomain")
    operator = _Functions(forward, adjoint, domain, codomain)
    if check:
        gap = adjoint_gap(operator)
        if not gap <= _GAP:
            raise ParameterError(
                f"from_functions adjoint must be the exact adjoint of forward, got a gap of {gap:.1e} between "
                "<A x, y> and <x, A^H y>. Check scale, conjugate and boundaries."
            )
    return operator


@dataclass(frozen=True, eq=False, repr=False)
class _Functions(Operator):
    forward: Callable[[Array], Array]
    adjoint: Callable[[Array], Array]
    domain: Spec
    codomain: Spec

    def _forward(self, x: Array) -> Array:
        return _each(self.forward, x, self.domain, self.codomain, "from_functions forward result")

    def _adjoint(self, y: Array) -> Array:
        return _each(self.adjoint, y, self.codomain, self.domain, "from_functions adjoint result")

    def __str__(self) -> str:
        return getattr(self.forward, "__name__", "").strip("<>") or "functions"


@dataclass(frozen=True, eq=False, repr=False)
class _Linear(Operator):
    linear: Any
    domain: ArraySpec
    codomain: ArraySpec

    def _forward(self, x: Array) -> Array:
        return self._through(self.linear.matvec, x, self.domain, self.codomain, "matvec")

    def _adjoint(self, y: Array) -> Array:
        return self._through(self.linear.rmatvec, y, self.codomain, self.domain, "rmatvec")

    def _through(self, product: Any, x: Array, source: ArraySpec, target: ArraySpec, name: str) -> Array:
        def one(sample: Any) -> Any:
            result = np.asarray(product(as_numpy(sample).reshape(-1)))
            return from_numpy(result.reshape(target.shape), sample)

        return _each(one, x, source, target, f"{self!s}.{name} result")

    def __str__(self) -> str:
        return type(self.linear).__name__.strip("_")


def _each(function: Callable[[Array], Array], x: Array, source: Spec, target: Spec, owner: str) -> Array:
    """The results of a function for each sample of a batch, checked and in the precision of x."""
    batch = batch_of(x, source)
    empty = zeros(target, x, batch)

    def one(sample: Array) -> Array:
        result = function(sample)
        if check_array(result, target, owner):
            raise ShapeError(
                f"{owner} must be one sample for one sample, got axes in front of it. Drop them."
            )
        namespace(*leaves(sample), *leaves(result))
        return tmap(lambda leaf, like: namespace(leaf).astype(leaf, like.dtype, copy=False), result, empty)

    if not batch:
        return one(x)
    results = [one(tmap(lambda leaf: leaf[(*index, ...)], x)) for index in np.ndindex(*batch)]  # noqa: B023
    if not results:
        return empty
    return tmap(
        lambda like, *parts: namespace(like).reshape(namespace(like).stack(parts), like.shape),
        empty,
        *results,
    )


def _flat(x: Array) -> np.ndarray[Any, Any]:
    return np.concatenate([as_numpy(leaf).ravel() for leaf in leaves(x)])


def _shaped(vector: np.ndarray[Any, Any], spec: Any) -> Array:
    parts, start = [], 0
    flat = np.asarray(vector).ravel()
    for one in members(spec):
        kind = np.complex128 if one.kind == "complex" else np.float64
        parts.append(flat[start : start + one.size].astype(kind, copy=False).reshape(one.shape))
        start += one.size
    return tuple(parts) if isinstance(spec, tuple) else parts[0]
