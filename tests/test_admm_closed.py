"""Admm where its data step has a closed form: which problems these are, that it is exact, and when solve takes it."""

from itertools import islice

import numpy as np
import pytest
from recon_operators.convolution import Convolution
from recon_operators.fourier import CartesianMRI
from recon_proximal import Admm, Fista, Pdhg
from recon_wavelets import UndecimatedWavelet, Wavelet

import recon
from recon import L1, TV, Identity, Matrix, NonNegative, Problem, WeightedLeastSquares, linalg
from recon.driver import choose
from recon.operator import capability
from recon.priors import Denoiser, TopK
from recon.testing import check_operator

SHAPE = (8, 8)
OFFSETS = np.arange(-2, 3)
KERNEL = np.exp(-(OFFSETS[:, None] ** 2 + OFFSETS**2) / 3.0)
BLUR = Convolution(KERNEL / KERNEL.sum(), SHAPE)
WAVELET = Wavelet(SHAPE, "db2", 2)
DATA = BLUR @ np.random.default_rng(0).random(SHAPE)
LINES = np.zeros(SHAPE)
LINES[::2] = LINES[3:5] = 1.0


@pytest.mark.parametrize(
    "operator",
    [
        BLUR @ WAVELET.H,
        BLUR @ (2.0 * WAVELET.H),
        BLUR @ UndecimatedWavelet(SHAPE, "db2", 2).H,
        CartesianMRI(LINES) @ Wavelet(SHAPE, "db2", 2, kind="complex").H,
    ],
    ids=str,
)
def test_a_product_with_orthogonal_rows_keeps_the_closed_form(operator, like):
    assert capability(operator, "data_prox")
    check_operator(operator, like=like)


def test_a_masked_unitary_transform_steps_by_its_normal():
    """The same iterates as by ``data_prox``, which a wrapper without ``normal_scale`` takes."""
    scan = CartesianMRI(LINES) @ Wavelet(SHAPE, "db2", 2, kind="complex").H
    rng = np.random.default_rng(0)
    data = scan @ (rng.standard_normal(SHAPE) + 1j * rng.standard_normal(SHAPE))
    x = data[::-1].copy()
    twice = linalg.normal(scan, linalg.normal(scan, x))
    np.testing.assert_allclose(twice, scan.normal_scale() * linalg.normal(scan, x), atol=1e-12)
    plain = Plain(scan)
    assert not capability(plain, "normal_scale")
    ours, theirs = (recon.solve(Problem(a, data, L1(0.05)), Admm(), stop=15).x for a in (scan, plain))
    np.testing.assert_allclose(ours, theirs, atol=1e-12)


class Plain(recon.Operator):
    """An operator with its ``data_prox`` and no more."""

    def __init__(self, inner: recon.Operator) -> None:
        self.domain, self.codomain = inner.domain, inner.codomain
        self._forward, self._adjoint = inner._forward, inner._adjoint
        self.data_prox, self.norm_bound = inner.data_prox, inner.norm_bound


def test_other_products_have_none():
    assert not capability(BLUR @ Wavelet(SHAPE, "bior2.2", 2).H, "data_prox")
    assert not capability(BLUR @ (0.0 * WAVELET.H), "data_prox")


@pytest.mark.parametrize("frame", [WAVELET, UndecimatedWavelet(SHAPE, "db2", 2)], ids=str)
def test_priors_of_frame_coefficients_reach_the_minimum(frame):
    problem = Problem(BLUR, DATA, L1(0.01) @ frame)
    ours = recon.solve(problem, Admm(), stop=1600, every=400)
    theirs = recon.solve(problem, Pdhg(), stop=4000, every=1000)
    assert ours.objective == pytest.approx(theirs.objective, rel=1e-6)


def test_deconvolution_takes_a_third_of_fistas_iterations():
    problem = Problem(BLUR @ WAVELET.H, DATA, L1(1e-3))
    low = recon.solve(problem, Admm(), stop=2000, every=500).objective

    def count(solver):
        states = islice(recon.iterate(problem, solver), 1000)
        return next(state.iteration for state in states if problem.objective(state.x) <= 1.0001 * low)

    assert 3 * count(Admm()) <= count(Fista())


@pytest.mark.parametrize(
    ("operator", "prior", "loss", "name"),
    [
        (BLUR @ WAVELET.H, L1(0.1), None, "Admm"),
        (BLUR, NonNegative(), None, "Admm"),
        (BLUR, L1(0.1) @ WAVELET, None, "Admm"),
        (BLUR, L1(0.1) @ UndecimatedWavelet(SHAPE, "db2", 2), None, "Admm"),
        (BLUR, TV(0.1), None, "Pdhg"),
        (BLUR, TopK(5, ndim=2), None, "RelaxedIht"),
        (BLUR, L1(0.1), WeightedLeastSquares(np.ones(SHAPE)), "Fista"),
        (Identity(recon.ArraySpec(SHAPE)), L1(0.1), None, "Fista"),
        (Matrix(np.eye(6, 9) + 0.1), NonNegative(), None, "Fista"),
    ],
)
def test_what_solve_takes(operator, prior, loss, name):
    data = DATA if operator.codomain.shape == SHAPE else np.ones(operator.codomain.shape)
    problem = Problem(operator, data, prior, **({"loss": loss} if loss else {}))
    assert type(choose(problem)[0]).__name__ == name


def test_a_denoiser_is_no_reason_to_take_it():
    assert Admm.suits(Problem(BLUR, DATA, Denoiser(lambda x, s: x))) is None
    assert Admm.suits(Problem(BLUR, DATA)) is None


def test_a_wrong_normal_scale_is_found():
    wrong = Plain(BLUR)
    wrong.normal_scale = lambda: 1.0
    with pytest.raises(AssertionError, match=r"must have a normal_scale\(\) c with \(A\^H A\)\^2 = c A\^H A"):
        check_operator(wrong)


class Counted(recon.Operator):
    """The blur, with its products counted."""

    domain = codomain = BLUR.domain

    def __init__(self) -> None:
        self.count = 0

    def _forward(self, x):
        self.count += 1
        return BLUR._forward(x)

    _adjoint = _forward

    def norm_bound(self):
        return BLUR.norm_bound()


def test_the_norm_is_not_sought_beyond_its_bound():
    counted = Counted()
    assert linalg.norm(counted) == BLUR.norm_bound()
    loose = Counted()
    loose.norm_bound = lambda: 3.0
    assert linalg.norm(loose) < 1.03
    assert counted.count < loose.count


def test_the_choice_names_one_step_methods_that_were_better():
    blur = Convolution(np.ones((3, 3)) / 9, (16, 16)) @ Wavelet((16, 16), "db2", 2).H
    deblurring = recon.Problem(blur, np.ones((16, 16)), recon.L1(0.1))
    assert recon.solve(deblurring, stop=1).provenance["chosen"].endswith("; compare a one-step Wiener filter")
    mask = np.eye(16)
    inpainting = recon.Problem(recon.Diagonal(mask, (16, 16)), mask, recon.TV(0.1))
    assert recon.solve(inpainting, stop=1).provenance["chosen"].endswith("; compare an interpolation")
