"""Dps, Mcg and PiGdm: closed forms for Gaussian images, invariances, refusals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusion_problems import bias, blurred, exact_law, masked, posterior, tomography
from recon_diffusion._run import Run
from recon_diffusion.dps import Dps, Mcg
from recon_diffusion.gaussian import GaussianPrior, MixturePrior
from recon_diffusion.pigdm import PiGdm

import recon
from recon import Matrix, Operator, Problem
from recon.errors import CapabilityError, ParameterError
from recon.linalg import dense
from recon.priors import Denoiser
from recon.testing import check_solver

SAMPLERS = [
    Dps(steps=12),
    Dps(steps=12, rule="deviation", zeta=3.0),
    Dps(steps=12, rule="published", zeta=0.3),
    Mcg(steps=12, limit=1.0),
    PiGdm(steps=12),
    PiGdm(steps=12, transition="ancestral"),
    PiGdm(steps=12, transition="ancestral", covariance="jacobian"),
]


def as_matrix(problem):
    """The same problem with the operator as a dense matrix, which is faster for thousands of chains."""
    A = problem.operator
    return replace(problem, operator=Matrix(dense(A), A.domain.shape, A.codomain.shape))


EXACT = PiGdm(transition="ancestral", covariance="jacobian", inner=40)
PROBLEMS = {"mask": masked(), "blur": as_matrix(blurred()), "CT": as_matrix(tomography(6, noise=0.2))}


@pytest.fixture
def fast(monkeypatch):
    """Noise of all chains from one generator: thousands of generators take longer than the sampler."""

    def noise(run, use=0, spec=None):
        spec = run.domain if spec is None else spec
        return np.random.default_rng((run.seed, run.step, use)).standard_normal((run.chains, *spec.shape))

    monkeypatch.setattr(Run, "noise", noise)


def sampled(problem, sampler):
    """Mean and covariance of the chains."""
    chains = np.asarray(recon.solve(problem, sampler, every=10**6).samples).reshape(sampler.chains, -1)
    return chains.mean(axis=0), np.cov(chains.T)


@pytest.mark.parametrize("solver", SAMPLERS, ids=repr)
def test_contract(solver):
    check_solver(solver)
    check_solver(solver, like=torch.zeros(1, dtype=torch.float64))


# -- closed forms ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PROBLEMS)
@pytest.mark.parametrize("steps", [30, 100])
def test_the_mean_of_dps_is_within_its_stated_bias(name, steps, fast):
    problem = PROBLEMS[name]
    error, variance, *_ = bias(sampled(problem, Dps(steps=steps, chains=400)), posterior(problem))
    assert error < (0.4 if steps == 30 else 0.35) + 0.05  # Monte-Carlo error of 400 chains
    assert 0.65 < variance < 1.4


@pytest.mark.parametrize("name", PROBLEMS)
@pytest.mark.parametrize(("steps", "most"), [(30, 0.5), (80, 0.2)])
def test_the_mean_of_pigdm_is_within_its_stated_bias(name, steps, most, monkeypatch):
    problem = PROBLEMS[name]
    error, variance, *_ = bias(exact_law(problem, PiGdm(steps=steps), monkeypatch), posterior(problem))
    assert error < most
    assert 0.45 < variance < 0.6  # too narrow, as stated


@pytest.mark.parametrize("name", PROBLEMS)
def test_ancestral_pigdm_is_within_its_stated_bias(name, fast):
    problem = PROBLEMS[name]
    sampler = PiGdm(steps=60, transition="ancestral", chains=1000)
    error, variance, *_ = bias(sampled(problem, sampler), posterior(problem))
    assert error < 0.2 + 0.03  # Monte-Carlo error of 1000 chains
    assert 0.8 < variance < 1.05


@pytest.mark.parametrize("name", PROBLEMS)
def test_with_the_jacobian_pigdm_tends_to_the_posterior(name, monkeypatch):
    problem = PROBLEMS[name]
    coarse, fine = (
        bias(
            exact_law(
                problem, replace(EXACT, steps=steps, high=50.0), monkeypatch
            ),  # so high that nothing is left of the start
            posterior(problem),
        )
        for steps in (12, 24)
    )
    assert max(coarse[0], fine[0]) < 0.003
    assert fine[-1] < 0.62 * coarse[-1] < 0.62 * 0.5


def test_with_the_jacobian_pigdm_samples_the_posterior(fast):
    problem, count = masked(4), 2000
    mean, covariance = posterior(problem)
    error, variance, distance = bias(sampled(problem, replace(EXACT, chains=count)), (mean, covariance))
    chance = np.sqrt((1.0 + np.trace(covariance) ** 2 / np.linalg.norm(covariance) ** 2) / count)
    short = np.log(500.0) / 100  # of the variances, as stated
    assert error < 2.0 / np.sqrt(count) + 0.02
    assert distance < 1.5 * chance + short
    assert 1.0 - short - 0.05 < variance < 1.05


def test_data_that_no_image_reaches_do_not_count():
    """Entries outside a mask, whatever stands there."""
    given = masked()
    other = replace(given, data=given.data + 1e3 * (1.0 - (given.operator @ np.ones(given.data.shape))))
    for sampler in SAMPLERS:
        expected, found = (recon.solve(p, sampler).x for p in (given, other))
        np.testing.assert_allclose(found, expected, atol=1e-9)


def test_published_dps_is_the_papers_update(monkeypatch):
    """x_(t-1) = x' - zeta grad_(x_t) ||y - A D||, by finite differences, in variance-preserving units."""
    problem = Problem(Matrix(np.ones((1, 2)) / np.sqrt(2.0)), np.array([0.3]), prior_of_two(), noise=0.1)
    run = Run(problem, 1.0, 1, 0, 1)
    sampler = Dps(rule="published", zeta=0.01)
    z, s, after = np.array([[0.4, -0.2]]), 0.8, 0.5
    state = replace(sampler.init(problem), z=z)
    a, a_next = 1 / (1 + s**2), 1 / (1 + after**2)

    def misfit(x_t):
        return np.linalg.norm(problem.operator @ problem.prior.denoise(x_t / np.sqrt(a), s) - problem.data)

    x_t = np.sqrt(a) * z[0]
    slope = [(misfit(x_t + h) - misfit(x_t - h)) / 2e-6 for h in 1e-6 * np.eye(2)]
    clean, share = problem.prior.denoise(z, s), (after / s) ** 2
    unguided = clean + share * (z - clean) + after * np.sqrt(1 - share) * run.noise()
    expected = np.sqrt(a_next) * unguided - 0.01 * np.array(slope)
    found = sampler.advance(run, state, s, after).z
    np.testing.assert_allclose(np.sqrt(a_next) * found, expected, atol=1e-8)


def prior_of_two():
    """Two numbers whose scale is 1, with a Jacobian that is no multiple of the identity."""
    return GaussianPrior.of_covariance(np.array([0.1, 0.2]), np.array([[1.0, 0.6], [0.6, 1.0]]))


@pytest.mark.parametrize("sampler", [Dps(steps=20), PiGdm(steps=20, transition="ancestral")], ids=repr)
def test_two_modes_are_both_found(sampler):
    parts = [GaussianPrior(np.full((3, 3), m), np.full((3, 3), 0.01)) for m in (-1.0, 1.0)]
    blind = Matrix(np.eye(9)[:1] * 0.1, (3, 3), (1,))
    problem = Problem(blind, np.zeros(1), MixturePrior(parts), noise=1.0)
    means = np.asarray(recon.solve(problem, replace(sampler, chains=40)).samples).mean(axis=(1, 2))
    assert (np.abs(np.abs(means) - 1.0) < 0.3).all()
    assert 8 <= (means > 0).sum() <= 32


def test_mcg_ends_on_the_data():
    given = masked(6, noise=1e-4)
    for operator in (given.operator, OnlyProducts(given.operator)):
        problem = replace(given, operator=operator)
        result = recon.solve(problem, Mcg(steps=20, chains=2))
        seen = problem.operator @ (np.asarray(result.samples) - problem.data)
        np.testing.assert_allclose(seen, 0.0, atol=1e-6)
    mean, covariance = posterior(problem)
    far = recon.solve(problem, Mcg(steps=60, chains=100)).x.ravel() - mean
    assert np.sqrt(np.mean(far**2)) < 0.5 * np.sqrt(np.trace(covariance) / far.size)


class OnlyProducts(Operator):
    """An operator without closed forms."""

    def __init__(self, operator):
        self.operator, self.domain, self.codomain = operator, operator.domain, operator.codomain

    def _forward(self, x):
        return self.operator._forward(x)

    def _adjoint(self, y):
        return self.operator._adjoint(y)


# -- invariances -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("sampler", SAMPLERS, ids=repr)
def test_units_of_data_and_image_change_nothing(sampler):
    given = blurred()
    x = recon.solve(given, sampler).x
    for data, image in ((64.0, 1.0), (1e-5, 1.0), (1.0, 1e4)):
        prior = GaussianPrior(image * given.prior.mean, image**2 * given.prior.variances, given.prior.basis)
        same = Problem((data / image) * given.operator, data * given.data, prior, noise=data * given.noise)
        np.testing.assert_allclose(recon.solve(same, sampler).x, image * x, rtol=1e-5, atol=1e-5 * image)


@pytest.mark.parametrize("sampler", SAMPLERS, ids=repr)
def test_an_image_depends_neither_on_its_batch_nor_on_the_number_of_chains(sampler):
    given = masked()
    data = np.stack([given.data, 3.0 * given.data, given.data + 1.0])
    two = replace(sampler, chains=2)

    def samples(data, solver=two):
        return np.asarray(recon.solve(replace(given, data=data), solver).samples)

    batch = samples(data)
    np.testing.assert_array_equal(samples(data[[2, 0, 1]]), batch[:, [2, 0, 1]])
    for k in range(3):
        np.testing.assert_allclose(samples(data[k : k + 1])[:, 0], batch[:, k], rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(samples(data, replace(sampler, chains=4))[:2], batch, rtol=1e-12, atol=1e-12)


def test_calls_of_the_network_are_counted():
    problem = masked()
    for sampler, each in ((Dps(steps=5), 2), (PiGdm(steps=5), 2)):
        assert recon.solve(problem, sampler).history[-1]["calls"] == 5 * each


def test_complex_images():
    rng = np.random.default_rng(0)
    rows = Matrix(rng.standard_normal((8, 12)) + 1j * rng.standard_normal((8, 12)))
    prior = GaussianPrior(np.zeros(12), np.linspace(0.5, 1.5, 12))
    truth = rng.standard_normal(12) + 1j * rng.standard_normal(12)
    problem = Problem(rows, rows @ truth, prior, noise=0.3)
    A = rows.matrix
    gain = np.linalg.inv(A.conj().T @ A / 0.09 + np.diag(1 / prior.variances))
    mean = gain @ A.conj().T @ problem.data / 0.09
    for sampler in (Dps(chains=100), PiGdm(chains=100), replace(EXACT, chains=100)):
        error = np.abs(recon.solve(problem, sampler).x - mean) ** 2 / np.diag(gain).real
        assert np.sqrt(np.mean(error) / 2) < 0.45


# -- refusals --------------------------------------------------------------------------------------------


def test_refusals_say_what_to_use():
    problem = masked()
    with pytest.raises(
        CapabilityError, match="Mcg needs data with noise of at most 0.02 of .*Use Dps or PiGdm"
    ):
        Mcg().init(problem)
    with pytest.raises(
        ParameterError, match="PiGdm.covariance must be 'scalar' with the published transition"
    ):
        PiGdm(covariance="jacobian")
    plain = replace(problem, prior=Denoiser(lambda v, sigma: v))
    for sampler in (Dps(), PiGdm(), Mcg(limit=1.0)):
        with pytest.raises(CapabilityError, match=f"{type(sampler).__name__} needs Denoiser.denoise_vjp"):
            sampler.init(plain)
