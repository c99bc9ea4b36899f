"""Finite differences: the contract, values of NumPy and PyLops, norms of periodic signals, texts of refusals."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pytest

from recon.arrays import as_numpy
from recon.derivatives import FiniteDifference
from recon.errors import ParameterError
from recon.linalg import dense
from recon.testing import check_operator

KINDS = list(itertools.product((1, 2), ("forward", "backward", "centered"), ("neumann", "zero", "periodic")))


@pytest.mark.parametrize(("order", "scheme", "boundary"), KINDS)
def test_contract(order, scheme, boundary, like):
    for shape, axis in (((5,), 0), ((1,), 0), ((2, 3), 0), ((3, 4, 2), 1)):
        check_operator(
            FiniteDifference(shape, axis, order=order, scheme=scheme, boundary=boundary), like=like
        )


def test_contract_of_complex_data(like):
    check_operator(FiniteDifference((3, 4), boundary="periodic", spacing=0.3, kind="complex"), like=like)


def by_definition(x, order, scheme, boundary):
    """The formulas of the module on a signal that is really continued beyond its ends."""
    n = len(x)
    padded = np.pad(x, 2, mode={"neumann": "edge", "zero": "constant", "periodic": "wrap"}[boundary])
    at = {k: padded[2 + k : 2 + k + n] for k in range(-2, 3)}
    if order == 1:
        return {"forward": at[1] - at[0], "backward": at[0] - at[-1], "centered": (at[1] - at[-1]) / 2}[
            scheme
        ]
    s = {"forward": 1, "backward": -1, "centered": 0}[scheme]
    return at[s + 1] - 2 * at[s] + at[s - 1]


@pytest.mark.parametrize(("order", "scheme", "boundary"), KINDS)
@pytest.mark.parametrize("n", [1, 2, 3, 8])
def test_values_are_those_of_the_definition(order, scheme, boundary, n, to):
    x = np.random.default_rng(n).standard_normal(n)
    A = FiniteDifference((n,), order=order, scheme=scheme, boundary=boundary, spacing=0.5)
    wanted = by_definition(x, order, scheme, boundary) / 0.5**order
    np.testing.assert_allclose(as_numpy(A @ to(x)), wanted, atol=1e-12)


def test_numpy_diff_is_the_inside():
    x = np.random.default_rng(0).standard_normal((4, 7))
    np.testing.assert_allclose((FiniteDifference((4, 7), 0) @ x)[:-1], np.diff(x, axis=0), atol=1e-14)
    second = FiniteDifference((4, 7), order=2, scheme="centered") @ x
    np.testing.assert_allclose(second[:, 1:-1], np.diff(x, 2, axis=1), atol=1e-14)


@pytest.mark.parametrize("scheme", ["forward", "backward", "centered"])
def test_pylops_agrees_inside(scheme):
    pylops = pytest.importorskip("pylops")
    x = np.random.default_rng(1).standard_normal((9, 5))
    for order, peer in ((1, pylops.FirstDerivative), (2, pylops.SecondDerivative)):
        A = FiniteDifference((9, 5), 0, order=order, scheme=scheme, spacing=0.7)
        P = peer((9, 5), axis=0, kind=scheme, sampling=0.7)
        np.testing.assert_allclose((A @ x)[2:-2], (P @ x)[2:-2], atol=1e-12)


@pytest.mark.parametrize(
    ("order", "scheme", "norm"),
    [(1, "forward", 2.0), (1, "centered", 1.0), (2, "backward", 4.0), (2, "centered", 4.0)],
)
def test_long_periodic_signals_reach_the_bound(order, scheme, norm):
    """The largest of |symbol|: 2 |sin|, |sin|, 4 sin^2."""
    A = FiniteDifference((64,), order=order, scheme=scheme, boundary="periodic", spacing=2.0)
    assert A.norm_bound() == pytest.approx(norm / 2.0**order)
    assert np.linalg.norm(dense(A), 2) == pytest.approx(A.norm_bound())


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: FiniteDifference((3, 4), 2), "FiniteDifference.axis must be in -2 ... 1 for 2 axes, got 2."),
        (lambda: FiniteDifference((3,), order=3), "FiniteDifference.order must be one of 1, 2, got 3."),
        (
            lambda: FiniteDifference((3,), scheme="up"),
            "scheme must be one of 'forward', 'backward', 'centered'",
        ),
        (
            lambda: FiniteDifference((3,), boundary="open"),
            "boundary must be one of 'neumann', 'zero', 'periodic'",
        ),
        (lambda: FiniteDifference((3,), spacing=0), "FiniteDifference.spacing must be > 0, got 0."),
        (lambda: FiniteDifference(()), "FiniteDifference.image_shape must be of length 1 or more, got ()."),
    ],
)
def test_refusals(make, text):
    with pytest.raises(ParameterError, match=re.escape(text)):
        make()
