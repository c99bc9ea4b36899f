"""Denoisers as priors: the contract, Tikhonov by plug-and-play, levels and units, every text."""

from __future__ import annotations

import re

import array_api_strict
import numpy as np
import pytest
from recon_proximal import Admm, Fista, Pdhg

import recon
from recon.arrays import ArraySpec, as_numpy
from recon.errors import ArrayError, ParameterError, ShapeError
from recon.operator import capability
from recon.priors import L1, L2, Denoiser, NonNegative
from recon.testing import check_prior

RNG = np.random.default_rng(6)
VARIANCE = 0.25


def gaussian(v, sigma):
    """Posterior mean of N(0, VARIANCE) under noise of variance sigma^2."""
    return v / (1.0 + sigma**2 / VARIANCE)


def soft(v, sigma):
    """The prox of |x| at variance sigma^2: a denoiser that is no linear map."""
    return L1(1.0).prox(v, sigma**2)


@pytest.mark.parametrize("function", [gaussian, soft])
def test_contract(function, like):
    check_prior(
        Denoiser(function, 0.5),
        rescale=lambda s: Denoiser(function, 0.5 * s**2, unit=s),
        like=like,
    )
    check_prior(2 * Denoiser(function, 0.5), like=like)
    check_prior(Denoiser(function, 0.5) + NonNegative(), like=like)
    check_prior(Denoiser.example(), like=like)


def test_prox_is_that_of_the_prior_behind_the_denoiser(to):
    v = RNG.standard_normal((3, 4))
    for t in (0.2, 3.0):
        wanted = L2(0.7 / VARIANCE).prox(v, t)
        np.testing.assert_allclose(as_numpy(Denoiser(gaussian, 0.7).prox(to(v), t)), wanted, atol=1e-14)
        np.testing.assert_allclose(
            as_numpy((2 * Denoiser(gaussian, 0.35)).prox(to(v), t)), wanted, atol=1e-14
        )
        np.testing.assert_allclose(
            as_numpy(Denoiser(soft, 0.7).prox(to(v), t)), L1(0.7).prox(v, t), atol=1e-14
        )
    pair = Denoiser(gaussian, 0.7).prox((v, v[0]), 0.2)
    np.testing.assert_array_equal(pair[1], Denoiser(gaussian, 0.7).prox(v[0], 0.2))
    assert Denoiser(gaussian, 0.0).prox(v, 1.0) is v


@pytest.mark.parametrize("solver", [Fista(), Fista(restart=False), Admm(), Pdhg()])
def test_plug_and_play_with_a_gaussian_denoiser_is_tikhonov(solver):
    A = RNG.standard_normal((12, 8))
    y = RNG.standard_normal(12)
    wanted = np.linalg.solve(A.T @ A + 0.7 / VARIANCE * np.eye(8), A.T @ y)
    problem = recon.Problem(recon.Matrix(A), y, Denoiser(gaussian, 0.7))
    result = recon.solve(problem, solver, stop=600, every=100)
    np.testing.assert_allclose(result.x, wanted, atol=1e-9)
    assert result.objective == result.history[-1]["loss"]


def test_bounds_are_kept():
    y = RNG.standard_normal(20)
    problem = recon.Problem(recon.Identity(ArraySpec((20,))), y, Denoiser(gaussian, 0.7) + NonNegative())
    wanted = np.maximum(y, 0) / (1 + 0.7 / VARIANCE)
    for solver in (Fista(), Admm(), Pdhg()):
        x = recon.solve(problem, solver, stop=500, every=100).x
        np.testing.assert_allclose(x, wanted, atol=1e-8)


def test_a_run_is_recorded_without_a_value():
    problem = recon.Problem(recon.Identity(ArraySpec((5,))), np.ones(5), Denoiser(gaussian))
    assert not problem.valued
    assert recon.Problem(problem.operator, problem.data).valued
    assert recon.Problem(problem.operator, problem.data, L1()).valued

    class Plain(recon.Solver):
        def init(self, problem, x0=None, seed=0):
            return recon.State(0, problem.start(x0))

        def step(self, problem, state):
            return state

    values = Plain().measure(problem, recon.State(0, np.zeros(5)))
    assert values == {"objective": 2.5, "loss": 2.5}
    with pytest.raises(
        recon.errors.CapabilityError, match=r"Problem.objective needs Denoiser.value, which it has not"
    ):
        problem.objective(np.zeros(5))


def test_level_matches_the_noise_and_unit_the_range():
    seen = []

    def network(v, sigma):
        seen.append((float(np.max(v)), sigma))
        return 0.5 * v

    v = np.array([0.0, 100.0])
    for sigma in (13.3, 20.0):  # 13.3 / (13.3 / 0.1) is not 0.1
        Denoiser(network, level=0.1).denoise(v, sigma)
        assert seen[-1][1] == 0.1
    out = Denoiser(network, level=0.1).denoise(v, 20.0)
    assert seen[-1] == (pytest.approx(0.5), 0.1)  # 100 / 20 noise levels of 0.1
    np.testing.assert_allclose(out, 0.5 * v)
    Denoiser(network, unit=200.0).denoise(v, 20.0)
    assert seen[-1] == (pytest.approx(0.5), pytest.approx(0.1))
    Denoiser(network, 4.0).prox(v, 9.0)
    assert seen[-1] == (100.0, 6.0)


def test_score_is_that_of_smoothed_images(to):
    """N(0, c^2) smoothed by sigma has the score -x / (c^2 + sigma^2)."""
    x = RNG.standard_normal(5)
    wanted = -x / (VARIANCE + 0.09)
    np.testing.assert_allclose(as_numpy(Denoiser(gaussian, 3.0).score(to(x), 0.3)), wanted, atol=1e-13)


def test_precision_is_brought_back(to):
    v = to(RNG.standard_normal(3).astype(np.float32))
    wide = Denoiser(lambda x, sigma: to(as_numpy(x).astype(np.float64)))
    assert wide.denoise(v, 1.0).dtype == v.dtype


def test_arrays_mapped_from_a_file_are_arrays_of_numpy(tmp_path):
    v = np.memmap(tmp_path / "v", np.float64, "w+", shape=3)
    v[:] = RNG.standard_normal(3)
    out = Denoiser(lambda x, sigma: 0.5 * np.asarray(x)).denoise(v, 1.0)
    np.testing.assert_array_equal(out, 0.5 * np.asarray(v))


def test_the_graph_of_a_network_is_not_kept():
    torch = pytest.importorskip("torch")
    network = torch.nn.Linear(3, 3, dtype=torch.float64)
    plugged = Denoiser(lambda x, sigma: network(x))
    assert not plugged.prox(torch.ones(3, dtype=torch.float64), 1.0).requires_grad
    followed = torch.ones(3, dtype=torch.float64, requires_grad=True)
    assert plugged.prox(followed, 1.0).requires_grad


def test_text_and_what_it_offers():
    assert repr(Denoiser(gaussian)) == "Denoiser(gaussian, weight=1)"
    assert repr(2 * Denoiser(gaussian, level=0.1)) == "2 * Denoiser(gaussian, weight=1, level=0.1)"
    assert capability(Denoiser(gaussian), "value") is None
    assert capability(2 * Denoiser(gaussian), "denoise") is not None
    assert capability(2 * L1(), "denoise") is None


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: Denoiser(3), ParameterError, "Denoiser.function must be a Callable, got 3."),
        (lambda: Denoiser(gaussian, -1.0), ParameterError, "Denoiser.weight must be >= 0, got -1.0."),
        (lambda: Denoiser(gaussian, level=0), ParameterError, "Denoiser.level must be > 0, got 0.0."),
        (
            lambda: Denoiser(gaussian, level=0.1, unit=2),
            ParameterError,
            "Denoiser.unit must be None where a level is given, got 2.0. The level scales images already.",
        ),
        (
            lambda: Denoiser(lambda v, s: v[:1]).prox(np.ones(3), 1.0),
            ShapeError,
            "Denoiser.function must keep the shape (3,), got (1,). Axes in front are batch axes",
        ),
        (
            lambda: Denoiser(lambda v, s: np.fft.ifft(np.fft.fft(v))).prox(np.ones(3), 1.0),
            ArrayError,
            "Denoiser.function must give real images for real ones, got complex128. Give the real part.",
        ),
        (
            lambda: Denoiser(lambda v, s: array_api_strict.asarray(v)).prox(np.ones(3), 1.0),
            ArrayError,
            "Denoiser.function must give an array of the library it is given, numpy, got array_api_strict",
        ),
    ],
)
def test_refusals(make, error, text):
    with pytest.raises(error, match=re.escape(text)):
        make()
