"""Priors of W x: the contract, the closed prox exactly where W W^H = c I, solvers that split, every text."""

from __future__ import annotations

import re

import numpy as np
import pytest
from recon_proximal import Admm, Fista, Pdhg
from recon_wavelets import DCT, UndecimatedWavelet, Wavelet
from scipy.optimize import lsq_linear

import recon
from recon import ArraySpec, Diagonal, FiniteDifference, Identity, Matrix, Problem
from recon.arrays import as_numpy
from recon.errors import CapabilityError, ShapeError
from recon.linalg import dense
from recon.operator import capability
from recon.priors import L1, L2, L21, TV, Analysis, NonNegative, Scaled, Total
from recon.testing import check_operator, check_prior

RNG = np.random.default_rng(3)
HAAR = Wavelet((4, 6), "haar", 1)
DIFFERENCE = FiniteDifference((5, 4), axis=-1)
SIGNS = Diagonal(np.array([2.0, -2.0, 2.0, 2.0, -2.0]))
TURN = Matrix(np.linalg.qr(RNG.standard_normal((6, 6)) + 1j * RNG.standard_normal((6, 6)))[0])


class Rows(Matrix):
    """The first rows of an orthogonal matrix, twice as long."""

    def row_scale(self):
        return 4.0


ROWS = Rows(2.0 * np.linalg.qr(RNG.standard_normal((5, 5)))[0][:3])

# each with s -> s^2 f(x / s); all but the last two have a closed prox
PRIORS = {
    "l1 of wavelets": (L1(0.7) @ HAAR, lambda s: L1(0.7 * s) @ HAAR),
    "l1 of cosines": (L1(0.3) @ DCT((5, 4)), lambda s: L1(0.3 * s) @ DCT((5, 4))),
    "groups of complex wavelets": (
        L21(0.4) @ Wavelet((4, 4), "db2", 1, "complex"),
        lambda s: L21(0.4 * s) @ Wavelet((4, 4), "db2", 1, "complex"),
    ),
    "l1 of signs": (L1(0.7) @ SIGNS, lambda s: L1(0.7 * s) @ SIGNS),
    "l1 of three rows": (L1(0.1) @ ROWS, lambda s: L1(0.1 * s) @ ROWS),
    "scaled": (2.0 * (L1(0.7) @ (3 * HAAR)), lambda s: 2.0 * (L1(0.7 * s) @ (3 * HAAR))),
    "scaled inside": ((2.0 * L1(0.7)) @ HAAR.H, lambda s: (2.0 * L1(0.7 * s)) @ HAAR.H),
    "small wavelets": (L2(0.7) @ (HAAR @ HAAR), lambda s: L2(0.7) @ (HAAR @ HAAR)),
    "small differences": (L2(0.7) @ DIFFERENCE, lambda s: L2(0.7) @ DIFFERENCE),
    "l1 of differences": (L1(0.7) @ DIFFERENCE, lambda s: L1(0.7 * s) @ DIFFERENCE),
}


@pytest.mark.parametrize("name", PRIORS)
def test_contract(name, like):
    prior, rescale = PRIORS[name]
    spec = getattr(prior, "prior", prior).operator.domain if name == "scaled" else prior.operator.domain
    check_prior(prior, rescale=rescale, spec=spec, like=like, search=isinstance(like, np.ndarray))
    assert (capability(prior, "prox") is None) == ("differences" in name)
    assert (capability(prior, "gradient") is None) == ("small" not in name)


@pytest.mark.parametrize("W", [HAAR, DCT((4, 6)), ROWS, SIGNS, 0.5 * HAAR, Wavelet((16,), "sym4").H])
def test_closed_prox_equals_bounded_least_squares(W):
    """The dual of the prox is min ||v - t w W^T p||^2 over |p| <= 1, which knows nothing of tight frames."""
    v, threshold = RNG.standard_normal(W.domain.shape), 0.4
    K = dense(W)
    dual = lsq_linear(threshold * K.T, v.ravel(), bounds=(-1, 1), method="bvls", tol=1e-15)
    wanted = v.ravel() - threshold * K.T @ dual.x
    np.testing.assert_allclose((L1(0.2) @ W).prox(v, 2.0).ravel(), wanted, atol=1e-10)


def test_libraries_agree(to):
    v = RNG.standard_normal((2, 4, 6))
    prior = L1(0.3) @ HAAR
    np.testing.assert_allclose(as_numpy(prior.prox(to(v), 0.8)), prior.prox(v, 0.8), atol=1e-13)
    assert prior.value(to(v)) == pytest.approx(prior.value(v), rel=1e-13)


def test_row_scale_is_known_exactly_where_rows_are_orthogonal_and_of_one_length():
    for W, c in (
        (Identity(ArraySpec((3,))), 1.0),
        (HAAR, 1.0),
        (DCT((4, 6)), 1.0),
        (SIGNS, 4.0),
        (-3 * HAAR, 9.0),
        (HAAR @ (2 * HAAR), 4.0),
        (HAAR.H, 1.0),
        (Diagonal(np.exp(1j * np.arange(4.0))), pytest.approx(1.0)),
    ):
        assert W.row_scale() == c
        check_operator(W)
    frame = UndecimatedWavelet((8, 8), "haar", levels=1)
    for W in (
        frame,
        frame.H @ frame,
        Wavelet((8, 8), "bior2.2", 1),
        DIFFERENCE,
        ROWS.H,
        HAAR + HAAR,
        Diagonal(np.arange(3.0)),
        Matrix(np.eye(3)),
        HAAR @ Diagonal(np.ones((4, 6)) + np.eye(4, 6)),
    ):
        assert capability(W, "row_scale") is None
        assert capability(L1() @ W, "prox") is None
        assert capability(L1() @ W, "split") is not None
    assert capability(L1() @ (0 * HAAR), "prox") is None


def test_priors_that_split_are_taken_apart():
    W = Diagonal(2.0 * np.ones((4, 4)))
    outer, K = (TV(0.3) @ W).split(W.domain)
    assert outer == L21(0.3, axis=-3)
    x = RNG.standard_normal((4, 4))
    assert outer.value(K @ x) == pytest.approx(TV(0.3).value(2 * x))
    nested = (L1(0.3) @ HAAR) @ Diagonal(np.ones((4, 6)))
    assert isinstance(nested, Analysis)
    assert nested.prior == L1(0.3)
    total = (L1(0.3) + 2 * L2(1.0)) @ HAAR
    assert isinstance(total, Total)
    assert all(isinstance(term, Analysis) for term in total.terms)
    assert isinstance(3 * (L1(0.3) @ HAAR), Scaled)
    assert capability(L1() @ HAAR + NonNegative(), "prox") is None
    assert repr(2 * (L1(0.5) @ HAAR)) == "2 * L1(weight=0.5) @ Wavelet(haar, 1 levels)"


class OnlyValue(recon.Prior):
    def value(self, x):
        return 0.0


def test_capabilities_are_those_of_the_parts():
    assert capability(OnlyValue() @ HAAR, "prox") is None
    assert capability(OnlyValue() @ HAAR, "split") is None
    assert capability(OnlyValue() @ HAAR, "value") is not None
    assert (L2(0.5) @ (3 * HAAR)).curvature() == pytest.approx(4.5)


@pytest.mark.parametrize("W", [HAAR, UndecimatedWavelet((4, 6), "haar", levels=1)])
def test_solvers_agree_on_analysis(W):
    """Against bounded least squares on the dual; for the frame too, which only Pdhg and Admm can solve."""
    y = RNG.standard_normal((4, 6))
    K = dense(W)
    dual = lsq_linear(0.3 * K.T, y.ravel(), bounds=(-1, 1), tol=1e-15)
    wanted = y.ravel() - 0.3 * K.T @ dual.x
    problem = Problem(Identity(ArraySpec((4, 6))), y, L1(0.3) @ W)
    for solver in (Pdhg(), Admm(), Fista()):
        if isinstance(solver, Fista) and W is not HAAR:
            with pytest.raises(CapabilityError, match=r"Fista needs Analysis.prox, which it has not"):
                recon.solve(problem, solver)
            continue
        x = recon.solve(problem, solver, stop=2000).x
        np.testing.assert_allclose(x.ravel(), wanted, atol=1e-6)


def test_refusals():
    text = (
        "L1(weight=1.0) @ Wavelet(haar, 1 levels) must act on what its operator takes, (4, 6) real, "
        "got (4, 4) real. Make the operator for images of that shape and kind."
    )
    with pytest.raises(ShapeError, match=re.escape(text)):
        Problem(Identity(ArraySpec((4, 4))), np.ones((4, 4)), L1() @ HAAR)
    with pytest.raises(ShapeError, match=re.escape("TV.ndim must be at most the 1 axes")):
        TV() @ Identity(ArraySpec((4,)))
    with pytest.raises(TypeError):
        L1() @ np.ones(3)
