"""Operators side by side: the contract on every library, dense matrices, texts of refusals."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest

from recon.algebra import Diagonal, Identity, Matrix
from recon.arrays import ArraySpec
from recon.derivatives import Gradient
from recon.errors import ParameterError, ShapeError
from recon.linalg import absolute_sums, dense
from recon.operator import Operator, capability
from recon.stacks import block_diag, hstack, vstack
from recon.testing import check_operator

RNG = np.random.default_rng(8)
A, B = RNG.standard_normal((3, 4)), RNG.standard_normal((2, 4))
C = A + 1j * RNG.standard_normal((3, 4))

STACKS = {
    "vstack": vstack(Matrix(A), Matrix(B)),
    "vstack of shapes": vstack(Gradient((2, 3)), Identity(ArraySpec((2, 3)))),
    "vstack of a tuple": vstack(hstack(Matrix(A), Matrix(A)), hstack(Matrix(B), Matrix(B))),
    "vstack complex": vstack(Matrix(C), 2j * Matrix(C)),
    "hstack": hstack(Matrix(A.T), Matrix(B.T)),
    "hstack complex": hstack(Matrix(C), Matrix(C)),
    "block_diag": block_diag(Matrix(A), Gradient((4,)), Diagonal(A)),
    "block_diag of kinds": block_diag(Matrix(A), Matrix(C)),
    "one": vstack(Matrix(A)),
    "vstack with a normal": vstack(Matrix(A[:1]), Identity(ArraySpec((4,)))),
    "block_diag with closed forms": block_diag(Diagonal(A), Matrix(C), Identity(ArraySpec((2, 2)))),
    "adjoint": vstack(Matrix(A), Matrix(B)).H,
    "scaled": 3 * block_diag(Matrix(A), Matrix(B)),
    "sum": vstack(Matrix(A), Matrix(B)) + 2 * vstack(Matrix(A), Matrix(B)),
    "product": block_diag(Matrix(A).H, Matrix(B).H) @ vstack(Matrix(A), Matrix(B)),
    "sum of a tuple": hstack(Identity(ArraySpec((4,))), Identity(ArraySpec((4,))))
    @ vstack(Matrix(A.T @ A), Matrix(A.T @ A)),
}


@pytest.mark.parametrize("name", STACKS)
def test_contract(name, like):
    check_operator(STACKS[name], like=like)


def test_dense_matrices():
    zero = np.zeros
    np.testing.assert_array_equal(dense(STACKS["vstack"]), np.vstack([A, B]))
    np.testing.assert_array_equal(dense(STACKS["hstack"]), np.hstack([A.T, B.T]))
    np.testing.assert_array_equal(
        dense(block_diag(Matrix(A), Matrix(B))), np.block([[A, zero((3, 4))], [zero((2, 4)), B]])
    )
    np.testing.assert_allclose(dense(STACKS["product"]), np.vstack([A.T @ A, B.T @ B]), atol=1e-14)


def test_specs_are_tuples_and_text_is_short():
    stack = vstack(Matrix(A), Gradient((4,)))
    assert stack.codomain == (ArraySpec((3,)), ArraySpec((1, 4)))
    assert stack.shape == (7, 4)
    assert str(stack) == "vstack(Matrix, Gradient)"
    assert str(hstack(Matrix(A))) == "hstack(Matrix)"
    assert str(block_diag(Matrix(A), 2 * Matrix(B))) == "block_diag(Matrix, 2 * Matrix)"


def test_norm_bounds_are_certified_and_only_there_where_all_parts_have_one():
    class Free(Operator):
        domain = codomain = ArraySpec((4,))

        def _forward(self, x):
            return x

        _adjoint = _forward

    one, two = Diagonal(np.full(4, 3.0)), Diagonal(np.full(4, 4.0))
    assert vstack(one, two).norm_bound() == pytest.approx(5.0)
    assert hstack(one, two).norm_bound() == pytest.approx(5.0)
    assert block_diag(one, two).norm_bound() == 4.0
    for stack in (vstack, hstack, block_diag):
        assert capability(stack(one, Free()), "norm_bound") is None
        assert math.isfinite(capability(stack(one, two), "norm_bound")())


def test_what_follows_in_closed_form_is_there_and_nothing_else():
    known = ("normal", "absolute_sums", "pinv", "data_prox", "svd")
    tall, plain = Matrix(np.vstack([A, A, B])), Gradient((4,))

    def has(operator):
        return " ".join(name for name in known if capability(operator, name))

    assert has(vstack(tall, Matrix(A))) == "normal absolute_sums"
    assert has(vstack(Matrix(A), plain)) == "absolute_sums"
    assert has(hstack(tall, tall)) == "absolute_sums"
    assert has(block_diag(tall, Identity(ArraySpec((4,))))) == "normal absolute_sums pinv data_prox svd"
    assert has(block_diag(Matrix(A), plain)) == "absolute_sums"


def test_sums_of_stacks_are_exact():
    for name in ("vstack", "hstack", "block_diag", "vstack of a tuple"):
        stack = STACKS[name] if name != "block_diag" else block_diag(Matrix(A), Diagonal(B))
        size = np.abs(dense(stack))
        for offered, wanted in zip(stack.absolute_sums(np.zeros(1)), (size.sum(1), size.sum(0)), strict=True):
            parts = offered if isinstance(offered, tuple) else (offered,)
            np.testing.assert_allclose(np.concatenate([np.ravel(part) for part in parts]), wanted)


def test_steps_of_a_prox_are_one_number_for_all_members():
    stack = hstack(Matrix(A.T), Matrix(3 * B.T))
    rows, columns = absolute_sums(stack, np.zeros(1))
    assert columns == np.abs(dense(stack)).sum(0).max()
    np.testing.assert_allclose(rows, np.abs(dense(stack)).sum(1))


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (vstack, ShapeError, "A stack must hold at least one operator, got none."),
        (lambda: hstack(A), ParameterError, "A stack must hold operators, got ndarray. Write hstack(A, B)"),
        (
            lambda: vstack([Matrix(A)]),
            ParameterError,
            "got list. Write vstack(A, B), and recon.Matrix(M) for a",
        ),
        (
            lambda: vstack(Matrix(A), Matrix(A.T)),
            ShapeError,
            "vstack operators must share a domain, got <Matrix: (4,)",
        ),
        (
            lambda: hstack(Matrix(A), Matrix(B)),
            ShapeError,
            "hstack operators must share a codomain, got <Matrix: (4,)",
        ),
        (
            lambda: vstack(vstack(Matrix(A))),
            ShapeError,
            "A codomain in vstack must be one array, got a tuple: specs",
        ),
        (lambda: hstack(hstack(Matrix(A))), ShapeError, "A domain in hstack must be one array, got a tuple"),
        (
            lambda: block_diag(hstack(Matrix(A))),
            ShapeError,
            "A domain in block_diag must be one array, got a tuple",
        ),
        (
            lambda: block_diag(vstack(Matrix(A))),
            ShapeError,
            "A codomain in block_diag must be one array, got a tuple",
        ),
        (
            lambda: vstack(Matrix(A)) @ (np.ones(4),),
            ShapeError,
            "vstack(Matrix) input must be one array, got a tuple",
        ),
    ],
)
def test_refusals(make, error, text):
    with pytest.raises(error, match=re.escape(text)):
        make()
