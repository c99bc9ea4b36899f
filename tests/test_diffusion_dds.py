"""DDS and DiffPIR: a step by hand, the stated bias, and what they may not depend on."""

from __future__ import annotations

import numpy as np
import pytest
from diffusion_problems import (
    bias,
    blurred,
    check_invariances,
    exact_law,
    masked,
    posterior,
    run_chains,
    tomography,
)
from recon_diffusion._run import Run
from recon_diffusion.dds import Dds
from recon_diffusion.diffpir import DiffPir
from recon_diffusion.gaussian import GaussianPrior

from recon import Diagonal, Problem
from recon.testing import check_solver


@pytest.mark.parametrize("sampler", [Dds(), Dds(weight=None, inner=3), DiffPir()], ids=str)
def test_contract(sampler):
    check_solver(sampler)


@pytest.mark.parametrize("sampler", [Dds(steps=6), Dds(steps=6, weight=None), DiffPir(steps=6)], ids=str)
@pytest.mark.parametrize("make", [masked, blurred, lambda: tomography(8, 3)], ids=["mask", "blur", "ct"])
def test_invariances(sampler, make):
    check_invariances(sampler, make())


@pytest.mark.parametrize("weight", [4.0, None])
def test_a_step_by_hand(weight, monkeypatch):
    """Two conjugate gradients solve an equation with two eigenvalues."""
    a = np.array([1.0, 0.5, 0.0])
    problem = Problem(
        Diagonal(a), np.array([0.7, -0.4, 0.0]), GaussianPrior(np.zeros(3), np.ones(3)), noise=0.1
    )
    sampler = Dds(weight=weight, eta=0.6, inner=3)
    state = sampler.init(problem)
    n = np.array([[0.3, -1.0, 2.0]])
    monkeypatch.setattr(Run, "noise", lambda run, use=0, spec=None: n)
    s, after = 1.0, 0.5
    new = sampler.advance(Run(problem, state.norm, 1, 0, 1), state, s, after)
    z = state.z[0]
    x = z / (1.0 + s**2)
    if weight is None:
        fitting = np.array([0.7, -0.8, x[2]])
    else:
        fitting = (x + weight * a * problem.data) / (1.0 + weight * a**2)
    np.testing.assert_allclose(new.clean[0], fitting, rtol=1e-9)
    eps = (z - x) / s  # of the denoised image, not of the fitting one
    np.testing.assert_allclose(new.z[0], fitting + after * (0.8 * eps + 0.6 * n[0]), rtol=1e-9)


def test_few_conjugate_gradients_stay_near_the_denoised_image():
    problem = blurred()
    away = []
    for inner in (1, 5, 30):
        sampler = Dds(weight=None, inner=inner)
        state = sampler.init(problem)
        new = sampler.advance(Run(problem, state.norm, 1, 0, 1), state, 1.0, 0.0)
        away.append(np.linalg.norm(new.clean - problem.prior.denoise(state.z, 1.0)))
    assert away[0] < away[1] < away[2]


@pytest.mark.parametrize(
    ("sampler", "make", "stated"),
    [
        (Dds(), masked, (0.76, 0.37)),
        (Dds(weight=1.0), blurred, (0.63, 0.32)),
        (Dds(weight=1.0), lambda: tomography(8, 6, matrix=True), (0.28, 0.66)),
        (DiffPir(), masked, (0.45, 0.33)),
        (DiffPir(), blurred, (0.68, 0.29)),
        (DiffPir(), lambda: tomography(8, 6, matrix=True), (0.50, 0.31)),
        (DiffPir(balance=1.0), blurred, (0.11, 0.44)),
        (DiffPir(balance=1.0), masked, (0.33, 0.49)),
    ],
)
def test_the_stated_bias(sampler, make, stated, monkeypatch):
    problem = make()
    mean, ratio, _ = bias(exact_law(problem, sampler, monkeypatch), posterior(problem))
    assert (mean, ratio) == pytest.approx(stated, abs=0.01)


def test_the_mean_of_many_chains_is_nearer_than_one():
    problem = blurred()
    mean = posterior(problem)[0].reshape(6, 6)
    chains = run_chains(problem, DiffPir(chains=16))
    single = np.sqrt(np.mean((chains - mean) ** 2))
    assert np.sqrt(np.mean((chains.mean(0) - mean) ** 2)) < single
