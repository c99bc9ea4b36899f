"""Norms, dense matrices, the adjoint test and conjugate gradients against NumPy's own linear algebra."""

from __future__ import annotations

import re

import numpy as np
import pytest

import recon
from recon import linalg
from recon.algebra import Diagonal, Identity, Matrix
from recon.arrays import ArraySpec, as_numpy
from recon.derivatives import Gradient
from recon.errors import ParameterError, ShapeError
from recon.operator import Operator
from recon.stacks import vstack

RNG = np.random.default_rng(9)
M = RNG.standard_normal((8, 5))
Z = M + 1j * RNG.standard_normal((8, 5))


class Bare(Operator):
    """The products of another operator without its capabilities, and an adjoint that may be wrong."""

    def __init__(self, operator, error=0.0):
        self.operator, self.error = operator, error
        self.domain, self.codomain = operator.domain, operator.codomain

    def _forward(self, x):
        return self.operator._forward(x)

    def _adjoint(self, y):
        return self.operator._adjoint(y) * (1 + self.error)


@pytest.mark.parametrize("matrix", [M, Z, M.T, 0 * M, M[:, :1], 1e-20 * M, 1e20 * M])
def test_norm_is_from_above_but_within_the_margin(matrix, like):
    true = np.linalg.norm(matrix, 2)
    A = Bare(Matrix(matrix))
    raised = linalg.norm(A, like=like)
    assert true <= raised * (1 + 1e-12) <= 1.0201 * true
    assert linalg.norm(A, like=like, margin=1.0, iterations=500, tol=1e-13) == pytest.approx(true, rel=1e-5)


def test_norm_never_exceeds_the_certified_bound():
    A = Diagonal(np.array([3.0, 1.0]))
    assert linalg.norm(A) == 3.0
    assert linalg.norm(Bare(A)) == pytest.approx(3.06)
    assert linalg.norm_bound(A) == 3.0
    assert linalg.norm_bound(Bare(A)) is None
    with pytest.raises(ParameterError, match=re.escape("norm.margin must be >= 1, got 0.9.")):
        linalg.norm(A, margin=0.9)


def test_norm_works_in_single_precision_and_on_tuples(to):
    A = vstack(Matrix(M), Matrix(2 * M))
    true = np.sqrt(5) * np.linalg.norm(M, 2)
    assert true <= linalg.norm(A, like=to(np.zeros(1, np.float32))) <= 1.03 * true
    assert true <= linalg.norm(A.H) <= 1.03 * true


def test_normal_uses_the_operators_own():
    class Fast(Diagonal):
        def normal(self, x):
            return 7 * x

    x = np.ones(2)
    np.testing.assert_array_equal(linalg.normal(Fast(np.array([1.0, 2.0])), x), 7 * x)
    np.testing.assert_allclose(linalg.normal(Matrix(Z), np.ones(5) + 0j), Z.conj().T @ Z @ np.ones(5))


def test_dense_of_tuples_and_its_limit():
    A = vstack(Matrix(M), Identity(ArraySpec((5,))))
    np.testing.assert_array_equal(linalg.dense(A), np.vstack([M, np.eye(5)]))
    np.testing.assert_array_equal(linalg.dense(A.H), np.vstack([M, np.eye(5)]).T)
    assert linalg.dense(Matrix(M), dtype=np.float32).dtype == np.float32
    with pytest.raises(
        ParameterError, match=re.escape("dense must be asked of at most 50000000 entries, got 8000 x 8000")
    ):
        linalg.dense(Identity(ArraySpec((8000,))))


def test_adjoint_gap_sees_an_adjoint_that_is_off(like):
    assert linalg.adjoint_gap(Matrix(Z), like=like, batch=(3,)) <= 1e-14
    assert linalg.adjoint_gap(Bare(Matrix(M), 1e-6), like=like) > 1e-9
    assert linalg.adjoint_gap(Matrix(0 * M), like=like) == 0.0


def test_absolute_sums_are_those_of_the_matrix_or_a_norm():
    rows, columns = linalg.absolute_sums(Matrix(Z), np.zeros(1, np.float32))
    assert rows.dtype == columns.dtype == np.float32
    np.testing.assert_allclose(rows, np.abs(Z).sum(1), rtol=1e-6)
    np.testing.assert_allclose(columns, np.abs(Z).sum(0), rtol=1e-6)
    size = linalg.norm(Bare(Matrix(M)))
    assert linalg.absolute_sums(Bare(Matrix(M)), np.zeros(1)) == (size, size)


def test_axpy_member_by_member(to):
    got = linalg.axpy(2.0, (to(np.ones(2)), to(np.ones(1))), (to(np.zeros(2)), to(np.full(1, 5.0))))
    assert [as_numpy(leaf).tolist() for leaf in got] == [[2.0, 2.0], [7.0]]


def test_cg_solves_and_starts_where_it_is_told(to):
    S, b = M.T @ M + np.eye(5), RNG.standard_normal(5)
    A = Matrix(S)
    x = linalg.cg(lambda u: A @ u, to(b), tol=1e-13)
    np.testing.assert_allclose(as_numpy(x), np.linalg.solve(S, b), rtol=1e-10)
    again = linalg.cg(lambda u: A @ u, to(b), x0=x, iterations=0)
    np.testing.assert_array_equal(as_numpy(again), as_numpy(x))
    np.testing.assert_array_equal(as_numpy(linalg.cg(lambda u: A @ u, to(0 * b))), np.zeros(5))


def test_cg_stops_in_the_null_space():
    singular = Diagonal(np.array([1.0, 0.0]))
    np.testing.assert_array_equal(linalg.cg(lambda u: singular @ u, np.array([0.0, 1.0])), np.zeros(2))


def test_cgls_is_least_squares(to):
    y = RNG.standard_normal((3, 8)) + 1j * RNG.standard_normal((3, 8))
    x = as_numpy(linalg.cgls(Matrix(Z), to(y), tol=1e-14))
    np.testing.assert_allclose(x, np.linalg.lstsq(Z, y.T, rcond=None)[0].T, rtol=1e-9)
    damped = as_numpy(linalg.cgls(Matrix(M), to(y.real[0]), damp=0.5, tol=1e-14))
    np.testing.assert_allclose(damped, np.linalg.solve(M.T @ M + 0.5 * np.eye(5), M.T @ y.real[0]), rtol=1e-9)
    flat = Gradient((6,))
    got = linalg.cgls(flat, flat @ np.arange(6.0))
    np.testing.assert_allclose(got, np.arange(6.0) - 2.5, atol=1e-9)
    with pytest.raises(ShapeError, match=re.escape("cgls data must have shape (..., 8), got (7,).")):
        linalg.cgls(Matrix(M), np.ones(7))


@pytest.mark.parametrize("top", [1.05, 1.5, 30.0])
def test_norm_sees_one_large_mode_among_many(top):
    """The first product of power iteration does not show it: its share is 1/n."""
    values = np.ones(300_000)
    values[11] = top

    class Plain(recon.Operator):  # without a bound that would help
        domain = codomain = recon.ArraySpec((values.size,))

        def _forward(self, x):
            return values * x

        _adjoint = _forward

    assert linalg.norm(Plain()) >= (top if top > 1.4 else top / 1.03)
