"""The priors of diffusion as plugged-in denoisers: Admm, Fista, Hqs and Red take them as they are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from diffusion_networks import unet
from diffusion_problems import blurred, masked, posterior, tomography
from recon_diffusion.laws import linear_law
from recon_diffusion.network import Network
from recon_diffusion.prior import DiffusionPrior
from recon_operators.sampling import Mask
from recon_proximal import Admm, Fista, Hqs, Red

import recon
from recon import NonNegative, Problem
from recon.errors import CapabilityError
from recon.linalg import dense

PROBLEMS = {"mask": masked(), "blur": blurred(), "CT": tomography(6, noise=0.2)}


@pytest.mark.parametrize("name", PROBLEMS)
@pytest.mark.parametrize("solver", [Admm(), Admm(penalty=1.0, adapt=False), Fista()], ids=repr)
def test_with_a_gaussian_prior_convex_solvers_find_the_posterior_mean(name, solver):
    """Its prox is that of -log p, so that sigma^2 times the prior is the exact weight."""
    given = PROBLEMS[name]
    problem = replace(given, prior=given.noise**2 * given.prior)
    x = recon.solve(problem, solver, stop=800, every=400).x
    np.testing.assert_allclose(x.ravel(), posterior(given)[0], atol=1e-5)


@pytest.mark.parametrize("name", PROBLEMS)
@pytest.mark.parametrize("accelerate", [True, False])
def test_red_ends_at_its_equation(name, accelerate):
    problem, level = PROBLEMS[name], 0.2
    x = recon.solve(problem, Red(level=level, accelerate=accelerate), stop=1500, every=500).x.ravel()
    A, w = dense(problem.operator), (problem.noise / level) ** 2
    pull = (x - problem.prior.denoise(x.reshape(6, 6), level).ravel()) * w
    np.testing.assert_allclose(A.T @ (A @ x - problem.data.ravel()) + pull, 0.0, atol=1e-6)


@pytest.mark.parametrize("name", PROBLEMS)
def test_hqs_comes_near_the_posterior_mean(name):
    problem = PROBLEMS[name]
    mean, covariance = posterior(problem)
    x = recon.solve(problem, Hqs(weight=1.0, steps=30), stop=30).x.ravel()
    assert np.sqrt(np.mean((x - mean) ** 2 / np.diag(covariance))) < 1.0
    start = np.asarray(Hqs().init(problem).x).ravel()
    assert np.linalg.norm(x - mean) < 0.5 * np.linalg.norm(start - mean)


def network(**options):
    return DiffusionPrior.of(Network(unet(), linear_law(), low=0.0, high=2.0, **options))


@pytest.mark.parametrize("solver", [Admm(), Hqs(), Red()], ids=repr)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_networks_are_taken_with_batches_and_bounds(solver, dtype):
    mask = Mask(np.random.default_rng(0).random((8, 8)) < 0.5)
    data = (mask @ np.random.default_rng(1).random((3, 8, 8))).astype(dtype)
    problem = Problem(mask, data, network(), noise=0.05)
    x = recon.solve(problem, solver, stop=5).x
    assert x.shape == (3, 8, 8)
    assert x.dtype == dtype
    assert np.isfinite(x).all()
    one = recon.solve(replace(problem, data=data[:1]), Red(), stop=5).x
    np.testing.assert_allclose(one[0], recon.solve(problem, Red(), stop=5).x[0], atol=1e-4)
    if isinstance(solver, Hqs):
        bounded = replace(problem, prior=network() + NonNegative())
        assert recon.solve(bounded, solver, stop=5).x.min() >= 0.0


def test_a_network_is_asked_for_levels_it_knows_only():
    prior = network()
    asked = []
    inner = prior.network.module.forward
    prior.network.module.forward = lambda x, t: asked.append(t) or inner(x, t)
    problem = Problem(Mask(np.ones((8, 8), bool)), np.full((8, 8), 0.5), prior, noise=0.05)
    for solver in (Admm(), Hqs()):
        recon.solve(problem, solver, stop=3)
    steps = np.array([float(t[0]) for t in asked])
    assert len(steps) >= 6
    np.testing.assert_array_equal(steps, np.round(steps))


def test_fista_says_what_to_use_for_a_network():
    problem = Problem(Mask(np.ones((8, 8), bool)), np.full((8, 8), 0.5), network(), noise=0.05)
    with pytest.raises(
        CapabilityError, match="Fista needs a convex prior, which DiffusionPrior.*Admm instead"
    ):
        recon.solve(problem, Fista(), stop=2)
