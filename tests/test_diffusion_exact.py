"""Samplers that claim to sample have the posterior's mean and covariance: 2,000 chains, exact posterior."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from diffusion_problems import (
    blurred,
    cosine_blurred,
    cosine_measured,
    masked,
    posterior,
    run_chains,
    tomography,
    white,
)
from recon_diffusion._run import Run
from recon_diffusion.daps import Daps
from recon_diffusion.ddnm import Ddnm
from recon_diffusion.ddrm import Ddrm
from recon_diffusion.dds import Dds
from recon_diffusion.diffpir import DiffPir
from recon_diffusion.dps import Dps, Mcg
from recon_diffusion.gaussian import GaussianPrior
from recon_diffusion.pigdm import PiGdm
from recon_diffusion.red_diff import RedDiff

from recon import Identity, Problem, solve
from recon.arrays import ArraySpec, as_numpy

CHAINS = 2000
EXACT = Daps(steps=3, chains=CHAINS, high=20.0, covariance="jacobian", lanczos=12, inner=20)


@pytest.fixture
def quick_noise(monkeypatch):
    """All chains from one generator: seeding 2,000 of them takes longer than the steps of a small problem."""

    def noise(run, use=0, spec=None):
        spec = run.domain if spec is None else spec
        rng = np.random.default_rng((run.seed, run.step, use))
        values = rng.standard_normal((run.chains, *spec.shape))
        return values + 1j * rng.standard_normal(values.shape) if spec.kind == "complex" else values

    monkeypatch.setattr(Run, "noise", noise)


def distances(samples, truth):
    """How many of its own standard deviations three numbers are off whose law is known if the posterior is right.

    With w the samples whitened by the posterior, n numbers each: N |mean w|^2 is chi-square with n degrees of
    freedom; the trace of the sample covariance of w has mean n and variance 2 n / N; its squared distance from the
    identity has mean about n (n + 1) / N.
    """
    mean, covariance = truth
    x = np.asarray(samples).reshape(len(samples), -1)
    white = np.linalg.solve(np.linalg.cholesky(covariance), (x - mean).T)
    n, count = white.shape
    of_mean = count * np.sum(white.mean(1) ** 2)
    sample = np.cov(white)
    away = np.sum((sample - np.eye(n)) ** 2)
    expected = n * (n + 1) / count
    return (
        (of_mean - n) / np.sqrt(2 * n),
        (np.trace(sample) - n) / np.sqrt(2 * n / count),
        (away - expected) / (2 * expected / np.sqrt(n)),
    )


def matches(samples, truth, sigmas=4.5):
    found = distances(samples, truth)
    assert np.abs(found).max() < sigmas, found


@pytest.mark.parametrize("make", [masked, blurred])
def test_daps_with_the_networks_covariance_samples_the_posterior(make, quick_noise):
    problem = make()
    matches(run_chains(problem, EXACT), posterior(problem))


def test_daps_with_the_networks_covariance_samples_the_posterior_of_tomography(quick_noise):
    problem = tomography(8, views=3, matrix=True)
    matches(run_chains(problem, replace(EXACT, steps=2, lanczos=24, inner=24)), posterior(problem))


@pytest.mark.parametrize("problem", [white(masked()), white(tomography(8, matrix=True))], ids=["mask", "ct"])
def test_daps_isotropic_samples_the_posterior_of_independent_equal_pixels(problem):
    """Where r^2 I is the covariance of x given z, nothing is approximate."""
    matches(run_chains(problem, Daps(steps=3, chains=CHAINS, high=20.0)), posterior(problem))


def test_ddrm_ancestral_samples_the_posterior_of_independent_coordinates(quick_noise):
    problem = cosine_blurred(size=4)
    sampler = Ddrm(steps=80, chains=CHAINS, transition="ancestral", low=0.05)
    matches(run_chains(problem, sampler), posterior(problem))


def test_ddrm_ancestral_samples_where_v_does_not_span_the_image(quick_noise):
    problem = white(cosine_measured(size=5))
    matches(
        run_chains(problem, Ddrm(steps=30, chains=CHAINS, transition="ancestral", low=0.05)),
        posterior(problem),
    )


def test_the_distances_see_an_error_of_five_percent(quick_noise):
    """A law that is off, or an unlucky tolerance, does not pass."""
    problem = masked()
    mean, covariance = posterior(problem)
    root = np.linalg.cholesky(covariance)
    draws = np.random.default_rng(0).standard_normal((CHAINS, len(mean))) @ root.T
    matches(mean + draws, (mean, covariance))
    assert np.abs(distances(mean + 1.025 * draws, (mean, covariance))).max() > 4.5
    assert np.abs(distances(mean + draws + 0.15 * root[:, 0], (mean, covariance))).max() > 4.5
    assert np.abs(distances(run_chains(problem, Ddrm(chains=CHAINS)), (mean, covariance))).max() > 20


@pytest.mark.parametrize(
    "sampler",
    [
        DiffPir(steps=4),
        Dds(steps=4),
        Ddnm(steps=4),
        Ddnm(steps=4, noise="regularised"),
        Ddrm(steps=4),
        Ddrm(steps=4, transition="ancestral"),
        Dps(steps=4),
        Mcg(steps=4, limit=1.0),
        RedDiff(steps=4),
        PiGdm(steps=4),
        PiGdm(steps=4, transition="ancestral"),
        Daps(steps=3, ode_steps=2),
        Daps(steps=3, covariance="jacobian"),
    ],
    ids=str,
)
def test_every_library_gives_the_same(sampler, to, library):
    for problem in (masked(), blurred()):
        expected = run_chains(problem, replace(sampler, chains=2))
        moved = replace(problem, data=to(problem.data))
        found = as_numpy(run_chains(moved, replace(sampler, chains=2)))
        # a Krylov space that is nearly exhausted magnifies rounding
        tol = 1e-6 if getattr(sampler, "covariance", "") == "jacobian" else 1e-9
        np.testing.assert_allclose(found, expected, rtol=0, atol=tol)


def test_complex_images(quick_noise):
    """Real and imaginary part of white images are independent: the posterior of each is known."""
    a, sigma = 0.5, 0.3
    spec = ArraySpec((4,), "complex")
    problem = Problem(
        a * Identity(spec),
        np.array([1.0 + 1j, -2.0, 0.5j, 0.0]),
        GaussianPrior(np.zeros(4), np.ones(4)),
        noise=sigma,
    )
    mean = a * problem.data / (a**2 + sigma**2)
    variance = sigma**2 / (a**2 + sigma**2)
    for sampler in (
        Daps(steps=3, high=20.0, chains=CHAINS),
        Daps(steps=3, high=20.0, chains=CHAINS, covariance="jacobian"),
        Ddrm(steps=40, chains=CHAINS, transition="ancestral"),
    ):
        x = run_chains(problem, sampler)
        np.testing.assert_allclose(x.mean(0), mean, atol=4.5 * np.sqrt(2 * variance / CHAINS))
        for part in (x.real, x.imag):
            np.testing.assert_allclose(part.var(0), variance, rtol=4.5 * np.sqrt(2 / CHAINS))
        assert abs(np.mean((x - mean).real * (x - mean).imag)) < 4.5 * variance / np.sqrt(4 * CHAINS)


def test_result_carries_samples_mean_and_variance():
    problem = blurred()
    result = solve(problem, Daps(steps=4, chains=300), seed=1)
    assert result.samples.shape == (300, 6, 6)
    np.testing.assert_allclose(result.x, result.samples.mean(0), atol=1e-12)
    np.testing.assert_allclose(result.variance, result.samples.var(0, ddof=1), atol=1e-12)
    assert 0.8 < result.history[-1].values["discrepancy"] < 1.2
