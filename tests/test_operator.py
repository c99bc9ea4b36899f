"""The elementary operators and their algebra: the contract on every library, values by hand, texts of refusals."""

from __future__ import annotations

import math
import pickle
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from recon.algebra import Diagonal, Identity, Matrix
from recon.arrays import ArraySpec, as_numpy, random_normal
from recon.derivatives import Gradient
from recon.errors import ArrayError, CapabilityError, ParameterError, ShapeError
from recon.kronecker import Kronecker
from recon.linalg import cg, dense
from recon.operator import Operator, capability
from recon.testing import check_operator

RNG = np.random.default_rng(7)
REAL = RNG.standard_normal((5, 7))
COMPLEX = REAL + 1j * RNG.standard_normal((5, 7))


class RealPart(Operator):
    """x -> Re(c x): real codomain, complex domain; linear over the reals only."""

    domain, codomain = ArraySpec((4,), "complex"), ArraySpec((4,))

    def _forward(self, x):
        from recon.arrays import namespace

        return namespace(x).real((2 - 1j) * x)

    def _adjoint(self, y):
        return (2 + 1j) * y


OPERATORS = {
    "identity": Identity.example(),
    "identity of a pair": Identity((ArraySpec((2,)), ArraySpec((1, 3), "complex"))),
    "identity of a number": Identity(ArraySpec(())),
    "diagonal": Diagonal.example(),
    "diagonal complex": Diagonal(COMPLEX),
    "diagonal broadcast": Diagonal(REAL[0], (3, 7)),
    "diagonal real on complex": Diagonal(REAL[0], kind="complex"),
    "matrix": Matrix.example(),
    "matrix complex": Matrix(COMPLEX),
    "matrix on images": Matrix(REAL[:, :6], (2, 3), (5, 1)),
    "matrix of integers": Matrix(np.arange(6).reshape(2, 3)),
    "kronecker": Kronecker.example(),
    "kronecker complex": Kronecker((Matrix(COMPLEX), Matrix(COMPLEX[:2, :3]), Matrix(COMPLEX).H)),
    "kronecker of one": Kronecker((Matrix(REAL),)),
    "kronecker with an identity": Kronecker(
        (Identity(ArraySpec((3,))), Matrix(REAL[:2, :3]), Diagonal(REAL[0]))
    ),
    "matrix, tall": Matrix(REAL.T[:, :3]),
    "matrix, deficient": Matrix(np.outer(REAL[0], REAL[1])),
    "diagonal with zeros": Diagonal(COMPLEX * (REAL > 0)),
    "gradient 1": Gradient((5,)),
    "gradient 2": Gradient((4, 5)),
    "gradient 3": Gradient((3, 4, 2)),
    "gradient complex": Gradient((3, 4), "complex"),
    "gradient of a line": Gradient((1, 6)),
    "gradient of a pixel": Gradient((1, 1)),
    "adjoint": Matrix(COMPLEX).H,
    "product": Diagonal(RNG.standard_normal((2, 4, 5))) @ Gradient((4, 5)),
    "product adjoint": (Matrix(REAL) @ Matrix(REAL[:2].T)).H,
    "sum": Matrix(REAL) + Matrix(REAL[::-1]) - Matrix(2 * REAL),
    "scaled": -2.5 * Matrix(REAL) / 3,
    "scaled complex": (1 - 2j) * Matrix(COMPLEX),
    "scaled by zero": 0 * Matrix(REAL),
    "scaled identity": (2 - 1j) * Identity(ArraySpec((2, 3), "complex")),
    "scaled diagonal": -3 * Diagonal(REAL),
    "product with a normal": Diagonal(REAL[0]) @ Matrix(REAL.T),
    "normal": Matrix(REAL).H @ Matrix(REAL),
    "real part": RealPart(),
    "complex of real": RealPart().H,
}


@pytest.mark.parametrize("name", OPERATORS)
def test_contract(name, like):
    check_operator(OPERATORS[name], like=like)


# --- values --------------------------------------------------------------------------------------------


def test_dense_matrices_are_the_ones_in_the_books():
    np.testing.assert_array_equal(dense(Matrix(COMPLEX)), COMPLEX)
    np.testing.assert_array_equal(dense(Matrix(COMPLEX).H), COMPLEX.conj().T)
    np.testing.assert_array_equal(dense(Diagonal(COMPLEX[0])), np.diag(COMPLEX[0]))
    np.testing.assert_allclose(
        dense(Kronecker((Matrix(REAL), Matrix(REAL[:2, :3])))), np.kron(REAL, REAL[:2, :3]), atol=1e-14
    )
    np.testing.assert_allclose(dense(Matrix(REAL) @ Matrix(REAL.T)), REAL @ REAL.T, atol=1e-13)
    np.testing.assert_allclose(dense(2 * Matrix(REAL) - Matrix(REAL) / 4), 1.75 * REAL, atol=1e-14)
    np.testing.assert_array_equal(dense(-Identity(ArraySpec((3,)))), -np.eye(3))


def test_gradient_by_hand(to):
    x = np.array([[1.0, 4.0, 9.0], [2.0, 2.0, 0.0]])
    rows, columns = as_numpy(Gradient((2, 3)) @ to(x))
    np.testing.assert_array_equal(rows, [[1, -2, -9], [0, 0, 0]])
    np.testing.assert_array_equal(columns, [[3, 5, 0], [0, -2, 0]])
    wide = np.linalg.norm(dense(Gradient((40,))), 2)
    assert 1.99 < wide < Gradient((40,)).norm_bound() == 2.0
    assert Gradient((9, 9, 9)).norm_bound() == math.sqrt(12)
    assert Gradient([9, 1]).norm_bound() == 2.0


def test_shape_dtype_and_text():
    A = Matrix(COMPLEX)
    assert A.shape == (5, 7)
    assert A.H.shape == (7, 5)
    assert A.H.H is A
    assert A.dtype == np.complex128
    assert Gradient((4, 5)).dtype == np.float64
    assert RealPart().dtype == np.complex128
    assert repr(A) == "<Matrix: (7,) complex -> (5,) complex>"
    assert str((A.H @ A).H) == "(Matrix.H @ Matrix).H"
    assert str((2 * A).H) == "(2 * Matrix).H"
    assert str((A + A).H) == "(Matrix + Matrix).H"
    assert (
        repr(Identity((ArraySpec((2,)), ArraySpec((3,)))))
        == "<Identity: ((2,) real; (3,) real) -> ((2,) real; (3,) real)>"
    )


def test_a_dataclass_keeps_the_short_text_that_it_inherits():
    @dataclass(frozen=True)
    class Plain(Operator):
        values: Any
        domain = codomain = ArraySpec((3,))

    class Named(Plain):
        def __repr__(self):
            return "named"

    @dataclass(frozen=True)
    class Heir(Named):
        more: Any = None

    assert repr(Plain(np.ones(1000))) == "<Plain: (3,) real -> (3,) real>"
    assert repr(Heir(np.ones(1000))) == "named"


def test_scalars_of_numpy_work_from_both_sides():
    A = Matrix(REAL)
    for scaled in (np.float64(2) * A, A * np.float32(2), A / np.float64(0.5), np.int64(2) * A):
        np.testing.assert_array_equal(dense(scaled), 2 * REAL)
    for wrong in ("2", None, np.ones(3)):
        for attempt in (lambda: A * wrong, lambda: A / wrong, lambda: A + wrong, lambda: A - wrong):  # noqa: B023
            with pytest.raises(TypeError):
                attempt()


def test_constants_are_copied_and_read_only():
    values = np.ones(3)
    A = Diagonal(values)
    values[0] = 5.0
    assert A.values[0] == 1.0
    for operator in (A, pickle.loads(pickle.dumps(A))):
        with pytest.raises(ValueError, match="read-only"):
            operator.values[0] = 2.0


def test_plans_are_made_once_per_precision_and_left_behind_by_pickle():
    A = Matrix(REAL)
    A @ np.ones(7)
    A @ np.ones(7)
    assert len(A._plans) == 1
    A @ np.ones(7, np.float32)
    assert len(A._plans) == 2
    assert "_plans" not in vars(pickle.loads(pickle.dumps(A)))


# --- capabilities --------------------------------------------------------------------------------------


def test_composites_have_a_norm_bound_exactly_when_their_parts_have():
    bounded, free = Matrix(REAL), RealPart()
    for made in (bounded.H, 2 * bounded, bounded + bounded, bounded.H @ bounded):
        assert capability(made, "norm_bound")() > 0
    for made in (free.H, 2 * free, free + free, free @ free.H):
        assert capability(made, "norm_bound") is None
    assert (3 * Identity.example()).norm_bound() == 3.0
    assert Kronecker((Matrix(REAL), Matrix(REAL))).norm_bound() == pytest.approx(bounded.norm_bound() ** 2)


@pytest.mark.parametrize(
    ("name", "names"),
    [
        ("identity of a pair", "normal norm_bound absolute_sums pinv data_prox svd"),
        ("diagonal complex", "normal norm_bound absolute_sums pinv data_prox svd"),
        ("matrix", "norm_bound absolute_sums pinv data_prox svd"),
        ("matrix, tall", "normal norm_bound absolute_sums pinv data_prox svd"),
        ("kronecker", "norm_bound absolute_sums pinv data_prox svd"),
        ("adjoint", "norm_bound absolute_sums pinv data_prox svd"),
        ("scaled complex", "norm_bound absolute_sums pinv data_prox svd"),
        ("scaled diagonal", "normal norm_bound absolute_sums pinv data_prox svd"),
        ("scaled by zero", "norm_bound absolute_sums"),
        ("product with a normal", "normal norm_bound"),
        ("sum", "norm_bound"),
        ("real part", ""),
        ("complex of real", ""),
    ],
)
def test_what_follows_in_closed_form_is_there_and_nothing_else(name, names):
    known = ("normal", "norm_bound", "absolute_sums", "pinv", "data_prox", "svd")
    assert [one for one in known if capability(OPERATORS[name], one)] == names.split()


@pytest.mark.parametrize(
    "name", ["matrix, deficient", "matrix complex", "kronecker", "diagonal with zeros", "scaled"]
)
def test_closed_forms_are_those_of_the_matrix(name):
    A = OPERATORS[name]
    rng = np.random.default_rng(2)
    like = np.zeros(1)
    v, y = random_normal(A.domain, like, rng), random_normal(A.codomain, like, rng)
    np.testing.assert_allclose(
        A.pinv(y).ravel(), np.linalg.pinv(dense(A), rcond=1e-12) @ y.ravel(), atol=1e-10
    )
    wanted = cg(lambda x: A.H @ (A @ x) + 0.7 * x, A.H @ y + 0.7 * v, tol=1e-14)
    np.testing.assert_allclose(A.data_prox(v, y, 0.7), wanted, atol=1e-8)
    U, s, V = A.svd()
    size = np.broadcast_to(s, U.domain.shape).ravel()
    np.testing.assert_allclose(dense(U) @ np.diag(size) @ dense(V).conj().T, dense(A), atol=1e-12)
    largest = np.linalg.svd(dense(A), compute_uv=False)
    np.testing.assert_allclose(np.sort(size)[::-1], largest[: size.size], atol=1e-12)


def test_a_matrix_is_decomposed_once_and_pickle_forgets_it():
    A = Matrix(REAL)
    assert A.svd() is A.svd()
    assert A.pinv(np.ones(5, np.float32)).dtype == np.float32
    assert "_plans" not in vars(pickle.loads(pickle.dumps(A)))


@pytest.mark.parametrize("matrix_type", [np.float32, np.float64])
@pytest.mark.parametrize("data_type", [np.float32, np.float64])
def test_the_rank_is_that_of_the_coarser_precision(to, matrix_type, data_type):
    """Rounding of a matrix of rank 2, or of the data, is no signal to be divided by 1e-8."""
    rng = np.random.default_rng(0)
    exact = rng.standard_normal((6, 2)) @ rng.standard_normal((2, 4))
    y = rng.standard_normal(6)
    wanted = np.linalg.pinv(exact, rcond=1e-10) @ y
    for A in (Matrix(exact.astype(matrix_type)), -2.0 * Matrix(exact.astype(matrix_type) / -2)):
        np.testing.assert_allclose(as_numpy(A.pinv(to(y.astype(data_type)))), wanted, rtol=1e-4)
    slope = Matrix(np.diag([1.0, 1e-9]))  # a small singular value that double precision sees
    assert as_numpy(slope.pinv(to(np.ones(2)))) == pytest.approx([1, 1e9])
    assert as_numpy(slope.pinv(to(np.ones(2, np.float32)))) == pytest.approx([1, 0])


def test_large_matrices_leave_what_needs_a_decomposition_to_iterations():
    square, tall = Matrix(np.eye(1001)), Matrix(np.ones((2002, 1001)))
    assert capability(square, "data_prox") is None
    assert capability(tall, "normal") is None
    assert capability(Matrix(np.eye(1000)), "data_prox")
    assert capability(Matrix(np.ones((2000, 1000))), "normal")


def test_the_sums_of_a_kronecker_product_are_exact():
    A = OPERATORS["kronecker with an identity"]
    rows, columns = A.absolute_sums(np.zeros(1))
    size = np.abs(dense(A))
    np.testing.assert_allclose(np.broadcast_to(rows, A.codomain.shape).ravel(), size.sum(1))
    np.testing.assert_allclose(np.broadcast_to(columns, A.domain.shape).ravel(), size.sum(0))


def test_data_prox_by_hand():
    v, y = np.array([1.0, 2.0]), np.array([3.0, -1.0])
    A = Diagonal(np.array([2.0, 0.0]))
    np.testing.assert_allclose(A.data_prox(v, y, 4.0), [(6 + 4) / (4 + 4), 2.0])
    np.testing.assert_allclose(Identity(ArraySpec((2,))).data_prox(v, y, 4.0), (y + 4 * v) / 5)


# --- refusals ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: Diagonal(np.array(["a"])), ArrayError, "Diagonal.values must be numbers, got dtype <U1."),
        (
            lambda: Diagonal(np.array([np.nan])),
            ArrayError,
            "Diagonal.values must be finite, got NaN or infinity.",
        ),
        (
            lambda: Diagonal(COMPLEX, kind="real"),
            ParameterError,
            "Diagonal.kind must be 'complex' for complex values",
        ),
        (lambda: Diagonal(REAL, (7,)), ShapeError, "Diagonal.values must broadcast to (7,), got (5, 7)."),
        (lambda: Diagonal(REAL, (5, 8)), ShapeError, "Diagonal.values must broadcast to (5, 8), got (5, 7)."),
        (lambda: Diagonal(REAL, 7), ParameterError, "ArraySpec.shape must be a sequence of integers, got 7."),
        (
            lambda: Matrix(REAL[0]),
            ShapeError,
            "Matrix.matrix must have 2 axes, got 1. Reshape it to (rows, columns).",
        ),
        (lambda: Matrix(REAL, (3, 2)), ShapeError, "must hold 7 and 5 entries, got (3, 2) and (5,)."),
        (
            lambda: Kronecker(()),
            ShapeError,
            "Kronecker.factors must be operators between one-axis specs, at least one, in a tuple. Wrap a matrix",
        ),
        (
            lambda: Kronecker(Matrix(REAL)),
            ShapeError,
            "Kronecker.factors must be operators between one-axis specs, at least one, in a tuple.",
        ),
        (
            lambda: Identity((3, 4)),
            ParameterError,
            "Identity.spec must be an ArraySpec or a tuple of them, got int. Write ArraySpec((n,)).",
        ),
        (
            lambda: Identity(()),
            ParameterError,
            "Identity.spec must be an ArraySpec or a tuple of them, got tuple.",
        ),
        (
            lambda: Matrix(REAL) / 0,
            ParameterError,
            "The scalar of Matrix must be finite, got inf. Check for 1 / 0.",
        ),
        (
            lambda: float("nan") * Matrix(REAL),
            ParameterError,
            "The scalar of Matrix must be finite, got nan. Check for 1 / 0.",
        ),
        (
            lambda: Kronecker((Gradient((3,)),)),
            ShapeError,
            "Kronecker.factors must be operators between one-axis specs",
        ),
        (
            lambda: Kronecker((np.eye(2),)),
            ShapeError,
            "Kronecker.factors must be operators between one-axis specs",
        ),
        (
            lambda: Kronecker((Matrix(REAL), Matrix(COMPLEX))),
            ShapeError,
            "must all be real or all complex, got both.",
        ),
        (
            lambda: Gradient((2, 2, 2, 2)),
            ShapeError,
            "Gradient.image_shape must have 1 to 3 axes, got (2, 2, 2, 2).",
        ),
        (lambda: Gradient(4), ParameterError, "ArraySpec.shape must be a sequence of integers, got 4."),
        (
            lambda: Matrix(REAL) @ Matrix(REAL),
            ShapeError,
            "Matrix @ Matrix must fit: Matrix takes (7,) real, got (5,) real from Matrix. Check the order.",
        ),
        (
            lambda: Matrix(REAL) + Gradient((7,)),
            ShapeError,
            "Operators of a sum must have the same specs, got <Matrix: (7,) real -> (5,) real> and <Gradient:",
        ),
        (
            lambda: 1j * Matrix(REAL),
            ShapeError,
            "A real operator must be scaled by a real number, got 1j * Matrix.",
        ),
        (lambda: Matrix(REAL) @ np.ones(6), ShapeError, "Matrix input must have shape (..., 7), got (6,)."),
        (
            lambda: Matrix(REAL).H @ np.ones(5, int),
            ArrayError,
            "Matrix.H input must be real floating point, got int64.",
        ),
        (
            lambda: Matrix(REAL) @ [1.0] * 7,
            ArrayError,
            "Matrix input must be an array of NumPy, CuPy, torch or another",
        ),
    ],
)
def test_refusals(make, error, text):
    with pytest.raises(error, match=re.escape(text)):
        make()


def test_an_operator_without_products_says_what_to_define():
    class Empty(Operator):
        domain = codomain = ArraySpec((3,))

    with pytest.raises(CapabilityError, match="Empty must define _forward and _adjoint, or plan"):
        Empty() @ np.ones(3)
