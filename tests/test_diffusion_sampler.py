"""What all samplers share: whitening of the noise, states that do not fit, clocks, extreme numbers, error texts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from diffusion_problems import blurred, cosine_blurred, masked, posed, prior_of, run_chains
from recon_diffusion._run import Run, operator_norm
from recon_diffusion.daps import Daps
from recon_diffusion.ddnm import Ddnm
from recon_diffusion.ddrm import Ddrm
from recon_diffusion.diffpir import DiffPir
from recon_diffusion.dps import Dps
from recon_diffusion.gaussian import GaussianPrior
from recon_diffusion.red_diff import RedDiff
from recon_diffusion.sampler import discrepancy
from recon_operators.fourier.cartesian import CartesianMRI

import recon
from recon import Diagonal, Identity, Matrix, Problem, WeightedLeastSquares, vstack
from recon.arrays import ArraySpec
from recon.errors import CapabilityError, ParameterError

SAMPLER = DiffPir(steps=4, chains=2)


def measured_in_k_space(noise=0.1) -> Problem:
    rng = np.random.default_rng(0)
    operator = CartesianMRI(rng.random((6, 6)) < 0.6)
    prior = GaussianPrior(np.zeros((6, 6)), 1.0 / (1.0 + np.arange(36.0).reshape(6, 6)))
    truth = np.sqrt(prior.variances) * (rng.standard_normal((6, 6)) + 1j * rng.standard_normal((6, 6)))
    error = rng.standard_normal((6, 6)) + 1j * rng.standard_normal((6, 6))
    return Problem(operator, operator @ (truth + noise * error), prior, noise=noise)


@pytest.mark.parametrize("make", [blurred, measured_in_k_space])
def test_levels_that_are_all_equal_are_one_level(make):
    problem = make()
    expected = run_chains(problem, SAMPLER)
    levels = np.full(problem.data.shape, problem.noise)
    for other in (
        replace(problem, noise=levels),
        replace(problem, noise=None, loss=WeightedLeastSquares(levels**-2.0)),
        replace(problem, noise=np.asarray(problem.noise)),
    ):
        np.testing.assert_allclose(run_chains(other, SAMPLER), expected, rtol=0, atol=1e-10)
    batch = replace(problem, data=problem.data[None], noise=levels[None])
    np.testing.assert_allclose(run_chains(batch, SAMPLER)[:, 0], expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("make", [blurred, measured_in_k_space])
@pytest.mark.parametrize("how", ["noise", "weights", "batch"])
def test_levels_of_their_own_whiten_the_data(make, how):
    problem = make()
    levels = np.linspace(0.05, 0.3, problem.data.size).reshape(problem.data.shape)
    whiten = Diagonal(1.0 / levels, kind=problem.operator.codomain.kind)
    white = replace(problem, operator=whiten @ problem.operator, data=whiten @ problem.data, noise=1.0)
    if how == "weights":
        given = replace(problem, noise=None, loss=WeightedLeastSquares(levels**-2.0))
    elif how == "batch":
        given = replace(problem, data=np.stack([problem.data] * 2), noise=np.stack([levels] * 2))
    else:
        given = replace(problem, noise=levels)
    found = run_chains(given, SAMPLER)
    found = found[:, 1] if how == "batch" else found
    np.testing.assert_allclose(found, run_chains(white, SAMPLER), rtol=0, atol=1e-9)


def test_tuples_of_data_have_levels_of_their_own():
    blur = blurred()
    few = Matrix(np.random.default_rng(0).standard_normal((4, 36)), domain_shape=(6, 6))
    both = vstack(few, blur.operator)
    data = (few @ blur.prior.draw(1, seed=3)[0], blur.data)
    problem = Problem(both, data, blur.prior, noise=(np.full(4, 0.1), np.full((6, 6), 0.02)))
    white = replace(problem, operator=vstack(10.0 * few, 50.0 * blur.operator), noise=1.0)
    white = replace(white, data=(10.0 * data[0], 50.0 * data[1]))
    np.testing.assert_allclose(run_chains(problem, SAMPLER), run_chains(white, SAMPLER), rtol=0, atol=1e-9)
    weights = replace(problem, noise=None, loss=WeightedLeastSquares(np.asarray(4.0)))
    same = run_chains(replace(problem, noise=0.5), SAMPLER)
    np.testing.assert_allclose(run_chains(weights, SAMPLER), same, rtol=0, atol=1e-10)


def test_images_of_a_batch_with_different_levels_are_refused():
    problem = blurred()
    levels = np.stack([np.full((6, 6), 0.1), np.full((6, 6), 0.2)])
    with pytest.raises(CapabilityError, match="needs the same noise levels for all images of a batch"):
        recon.solve(replace(problem, data=np.stack([problem.data] * 2), noise=levels), SAMPLER)


def test_a_decomposition_that_whitening_takes_away_is_told():
    problem = cosine_blurred()
    levels = np.linspace(0.05, 0.3, 36).reshape(6, 6)
    for sampler in (Ddrm(steps=3), Ddnm(steps=3, noise="spectral")):
        with pytest.raises(
            CapabilityError, match="needs one noise level for all data, got levels of their own"
        ):
            recon.solve(replace(problem, noise=levels), sampler)


def test_the_first_level_must_be_above_the_last():
    with pytest.raises(
        ParameterError, match=r"DiffPir.high must be above DiffPir.low, got 0.01 and 0.02. Exchange them."
    ):
        DiffPir(high=0.01)


def test_a_state_of_another_number_of_chains_is_refused():
    problem = blurred()
    for chains in (1, 3):
        state = recon.solve(problem, DiffPir(steps=4, chains=chains), stop=2).state
        with pytest.raises(
            ParameterError, match=rf"DiffPir.chains must be {chains}, those of the state, got 2"
        ):
            recon.solve(problem, SAMPLER, state=state)


def test_seconds_are_those_of_one_run():
    problem = blurred()
    recon.solve(problem, SAMPLER)
    run = Run(problem, 1.0, 1, 0, 0)
    assert run.clock.network > 0.0
    assert run.clock.operator > 0.0
    state = SAMPLER.init(problem)
    assert SAMPLER.measure(problem, state)["network_seconds"] == 0.0


def test_the_discrepancy_counts_zeros_that_an_image_could_change():
    """Black pixels are data as others are."""
    problem = Problem(Identity(ArraySpec((4,))), np.array([0.3, -0.1, 0.2, 0.1]), noise=0.1)
    run = Run(problem, 1.0, 1, 0, 0)
    assert discrepancy(run, np.zeros((1, 4))) == pytest.approx(
        np.sqrt(np.mean(problem.data**2)) / problem.noise
    )


def test_an_operator_of_zeros_leaves_the_prior():
    problem = blurred()
    nothing = replace(problem, operator=0.0 * problem.operator)
    assert operator_norm(nothing) == 1.0
    for sampler in (SAMPLER, Daps(steps=3), Dps(steps=3)):
        assert np.abs(run_chains(nothing, sampler)).max() < 10.0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "sampler",
    [DiffPir(steps=8), Daps(steps=8), Daps(steps=8, covariance="jacobian"), RedDiff(steps=20), Dps(steps=8)],
    ids=lambda s: f"{type(s).__name__} {getattr(s, 'covariance', '')}",
)
def test_noise_below_rounding_does_not_blow_up(sampler, dtype):
    problem = masked()
    tiny = replace(problem, data=problem.data.astype(dtype), noise=1e-12)
    found = run_chains(tiny, sampler)
    assert found.dtype == dtype
    assert np.abs(found).max() < 10.0


def test_one_sampler_is_right_for_operators_of_any_size():
    """The prior in units of the image, the operator in units of its own."""
    problem = posed(
        Matrix(np.random.default_rng(0).standard_normal((5, 36)), domain_shape=(6, 6)), prior_of(), 0.1
    )
    expected = run_chains(problem, SAMPLER)
    for factor in (1e-8, 1e8):
        other = Problem(factor * problem.operator, factor * problem.data, problem.prior, noise=factor * 0.1)
        np.testing.assert_allclose(run_chains(other, SAMPLER), expected, rtol=0, atol=1e-8)
