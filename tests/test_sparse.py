"""Sparse matrices as operators: the contract on every library, dense matrices, what is kept, refusals."""

from __future__ import annotations

import pickle
import re

import numpy as np
import pytest
import scipy.sparse
from recon_proximal import Fista

from recon.arrays import as_numpy
from recon.checkpoint import fingerprint
from recon.errors import ArrayError, ShapeError
from recon.linalg import dense
from recon.problem import Problem
from recon.sparse import SparseMatrix
from recon.testing import check_operator

RNG = np.random.default_rng(3)
REAL = scipy.sparse.random_array((6, 9), density=0.3, rng=RNG)

OPERATORS = {
    "example": SparseMatrix.example(),
    "coordinates": SparseMatrix(REAL),
    "by columns": SparseMatrix(REAL.tocsc()),
    "of images": SparseMatrix(REAL, (3, 3), (3, 2)),
    "complex": SparseMatrix(REAL * (1 - 2j)),
    "real on complex": SparseMatrix(REAL, kind="complex"),
    "empty": SparseMatrix(scipy.sparse.coo_array((3, 4))),
    "of integers": SparseMatrix(scipy.sparse.eye_array(3, 5, dtype=int)),
    "one full row": SparseMatrix(scipy.sparse.csr_array(np.vstack([np.ones(7), np.zeros((2, 7))]))),
    "old matrix class": SparseMatrix(scipy.sparse.csr_matrix(REAL)),
}


@pytest.mark.parametrize("name", OPERATORS)
def test_contract(name, like):
    check_operator(OPERATORS[name], like=like)


def test_dense_matrix_and_duplicates(to):
    np.testing.assert_array_equal(dense(OPERATORS["complex"]), (REAL * (1 - 2j)).toarray())
    doubled = scipy.sparse.coo_array((np.ones(3), ([0, 0, 1], [1, 1, 0])), shape=(2, 2))
    np.testing.assert_array_equal(as_numpy(SparseMatrix(doubled) @ to(np.array([1.0, 10.0]))), [20, 1])
    np.testing.assert_array_equal(SparseMatrix(doubled).to_scipy().toarray(), [[0, 2], [1, 0]])


def test_norm_bound_is_schurs_and_sums_are_exact():
    size = np.abs(REAL.toarray())
    A = SparseMatrix(REAL)
    assert A.norm_bound() == pytest.approx(np.sqrt(size.sum(0).max() * size.sum(1).max()))
    rows, columns = A.absolute_sums(np.zeros(1))
    np.testing.assert_allclose(rows, size.sum(1))
    np.testing.assert_allclose(columns, size.sum(0))


def test_the_matrix_is_copied_and_read_only():
    own = scipy.sparse.csr_array(REAL)
    A = SparseMatrix(own)
    before = dense(A)
    own.data[:] = 0
    np.testing.assert_array_equal(dense(A), before)
    for part in (A.data, A.indices, A.indptr):
        assert not part.flags.writeable
    assert A.indices.dtype == np.int32


def test_a_checkpoint_recognises_it_by_its_entries():
    def printed(matrix):
        return fingerprint(Problem(SparseMatrix(matrix), np.ones(6)), Fista())["operator"]

    other = REAL.copy()
    other.data = 2 * other.data
    assert printed(REAL) == printed(REAL.tocsc()) != printed(other)
    assert printed(pickle.loads(pickle.dumps(SparseMatrix(REAL))).to_scipy()) == printed(REAL)


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: SparseMatrix(np.eye(2)), ArrayError, "SparseMatrix.matrix must be a sparse matrix of SciPy"),
        (lambda: SparseMatrix(REAL, (3, 2)), ShapeError, "must hold 9 and 6 entries, got (3, 2) and (6,)."),
        (lambda: SparseMatrix(REAL * 1j, kind="real"), ArrayError, "SparseMatrix.kind must be 'complex' for a complex"),
        (lambda: SparseMatrix(REAL * np.nan), ArrayError, "SparseMatrix.matrix must be finite, got NaN or infinity."),
        (lambda: SparseMatrix.example() @ np.ones(4), ShapeError, "SparseMatrix input must have shape (..., 5)"),
    ],
)  # fmt: skip
def test_refusals(make, error, text):
    with pytest.raises(error, match=re.escape(text)):
        make()
