"""Bridges: LinearOperators, sparse and dense matrices, and pairs of functions as operators, and back."""

from __future__ import annotations

import pickle
import re

import numpy as np
import pytest
import scipy.sparse
from scipy.sparse.linalg import aslinearoperator, lsqr

from recon.algebra import Matrix
from recon.arrays import ArraySpec, namespace
from recon.errors import ArrayError, ParameterError, ShapeError
from recon.interop import from_functions, from_scipy, to_scipy
from recon.linalg import dense
from recon.sparse import SparseMatrix
from recon.testing import check_operator

RNG = np.random.default_rng(4)
M = RNG.standard_normal((6, 9))
Z = M + 1j * RNG.standard_normal((6, 9))
FIVE, FOUR = ArraySpec((5,)), ArraySpec((4,))


def shorten(x):
    return 2 * x[..., :-1]


def lengthen(y):
    return namespace(y).concat([2 * y, 0 * y[..., :1]], axis=-1)


def pair(x):
    return x[..., :2], x[..., 1:]


def unpaired(parts):
    first, second = parts
    xp = namespace(first)
    zero = 0 * first[..., :1]
    return xp.concat([first, zero], axis=-1) + xp.concat([zero, second], axis=-1)


OPERATORS = {
    "linear operator": from_scipy(aslinearoperator(M)),
    "linear operator on images": from_scipy(aslinearoperator(M), (3, 3), (3, 2)),
    "complex linear operator": from_scipy(aslinearoperator(Z)),
    "functions": from_functions(shorten, lengthen, FIVE, FOUR, check=True),
    "functions of a tuple": from_functions(
        pair, unpaired, ArraySpec((3,)), (ArraySpec((2,)), ArraySpec((2,)))
    ),
}


@pytest.mark.parametrize("name", OPERATORS)
def test_contract(name, like):
    check_operator(OPERATORS[name], like=like)


def test_what_scipy_has_becomes_what_fits_it():
    assert type(from_scipy(M)) is Matrix
    assert type(from_scipy(scipy.sparse.csr_array(M), (3, 3))) is SparseMatrix
    for made in (from_scipy(M), from_scipy(scipy.sparse.coo_array(M)), from_scipy(aslinearoperator(M))):
        np.testing.assert_allclose(dense(made), M, atol=1e-14)
    assert repr(from_scipy(aslinearoperator(M))) == "<MatrixLinearOperator: (9,) real -> (6,) real>"


def test_there_and_back():
    A = from_scipy(to_scipy(Matrix(Z)))
    np.testing.assert_allclose(dense(A), Z, atol=1e-14)
    x = RNG.standard_normal(9)
    np.testing.assert_allclose(M @ lsqr(to_scipy(from_scipy(M)), M @ x)[0], M @ x, atol=1e-5)


def test_pylops_operators_keep_their_shapes(like):
    pylops = pytest.importorskip("pylops")
    A = from_scipy(pylops.FirstDerivative((4, 5), axis=0))
    assert (A.domain.shape, A.codomain.shape) == ((4, 5), (4, 5))
    check_operator(A, like=like)


def test_single_precision_stays_though_the_functions_widen():
    A = from_functions(lambda x: x.astype(float), lambda y: y.astype(float), FIVE, FIVE)
    assert (A @ np.ones(5, np.float32)).dtype == np.float32
    assert (A @ np.ones((0, 5), np.float32)).shape == (0, 5)
    assert str(A) == "lambda"
    assert str(OPERATORS["functions"]) == "shorten"


def test_functions_at_the_top_of_a_module_can_be_pickled():
    A = pickle.loads(pickle.dumps(OPERATORS["functions"]))
    np.testing.assert_array_equal(A @ np.arange(5.0), [0, 2, 4, 6])


def test_check_lets_single_precision_functions_pass():
    matrix = M.astype(np.float32)
    narrow = (
        (lambda x: (matrix @ x.astype(np.float32)).astype(float)),
        (lambda y: (matrix.T @ y.astype(np.float32)).astype(float)),
    )
    assert from_functions(*narrow, ArraySpec((9,)), ArraySpec((6,)), check=True).shape == (6, 9)


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (
            lambda: from_functions(shorten, lambda y: lengthen(y) / 2, FIVE, FOUR, check=True),
            ParameterError,
            "from_functions adjoint must be the exact adjoint of forward, got a gap of",
        ),
        (
            lambda: from_functions(shorten, lengthen, FIVE, FIVE) @ np.ones(5),
            ShapeError,
            "from_functions forward result must have shape (..., 5), got (4,).",
        ),
        (
            lambda: from_functions(shorten, shorten, FIVE, FOUR).H @ np.ones(4),
            ShapeError,
            "from_functions adjoint result must have shape (..., 5), got (3,).",
        ),
        (
            lambda: from_functions(lambda x: x[None], shorten, FIVE, FIVE) @ np.ones(5),
            ShapeError,
            "from_functions forward result must be one sample for one sample, got axes in front of it. Drop them.",
        ),
        (
            lambda: from_functions(lambda x: 1j * x, shorten, FIVE, FIVE) @ np.ones(5),
            ArrayError,
            "from_functions forward result must be real floating point, got complex128.",
        ),
        (
            lambda: from_functions(M, shorten, FIVE, FOUR),
            ParameterError,
            "from_functions forward must be a function, got ndarray. For a matrix use from_scipy.",
        ),
        (
            lambda: from_functions(shorten, lengthen, (5,), FOUR),
            ParameterError,
            "from_functions domain must be an ArraySpec or a tuple of them, got int. Write ArraySpec((n,)).",
        ),
        (
            lambda: from_functions(shorten, lengthen, FIVE, 4),
            ParameterError,
            "from_functions codomain must be an ArraySpec or a tuple of them, got int.",
        ),
        (
            lambda: from_scipy("matrix"),
            ArrayError,
            "from_scipy matrix must be a sparse matrix, a LinearOperator or a 2-d array, got str. For a pair of",
        ),
        (
            lambda: from_scipy(aslinearoperator(M), (3, 2)),
            ShapeError,
            "from_scipy domain_shape and codomain_shape must hold 9 and 6 entries, got (3, 2) and (6,).",
        ),
        (
            lambda: from_scipy(aslinearoperator(M)) @ Z[0],
            ArrayError,
            "MatrixLinearOperator input must be real floating point, got complex128.",
        ),
    ],
)
def test_refusals(make, error, text):
    with pytest.raises(error, match=re.escape(text)):
        make()
