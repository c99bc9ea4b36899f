"""DAPS: what is approximate in it and by how much, its draws, its options, and what it may not depend on."""

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
from recon_diffusion._root import square_root
from recon_diffusion.daps import Daps

from recon import Matrix, Problem, solve
from recon.arrays import ArraySpec
from recon.errors import CapabilityError
from recon.priors import Denoiser
from recon.testing import check_solver

JACOBIAN = Daps(steps=4, high=20.0, covariance="jacobian", lanczos=24, inner=40)


@pytest.mark.parametrize(
    "sampler", [Daps(), Daps(covariance="jacobian", steps=12), Daps(ode_steps=3)], ids=str
)
def test_contract(sampler):
    check_solver(sampler)


@pytest.mark.parametrize("sampler", [Daps(steps=6), Daps(steps=4, covariance="jacobian")], ids=str)
@pytest.mark.parametrize("make", [masked, blurred, lambda: tomography(8, 3)], ids=["mask", "blur", "ct"])
def test_invariances(sampler, make):
    check_invariances(sampler, make())


@pytest.mark.parametrize("make", [masked, blurred, lambda: tomography(6, 4, matrix=True)])
def test_with_the_networks_covariance_no_law_is_nearer(make, monkeypatch):
    problem = make()
    found = bias(exact_law(problem, JACOBIAN, monkeypatch), posterior(problem))
    assert found[0] < 3e-3
    assert found[1] == pytest.approx(1.0, abs=1e-4)
    assert found[2] < 1e-3


@pytest.mark.parametrize(
    ("make", "steps", "stated"),
    [
        (masked, 30, (0.48, 1.07)),
        (masked, 100, (0.19, 1.02)),
        (blurred, 30, (0.06, 1.03)),
        (lambda: tomography(8, 6, matrix=True), 30, (0.06, 1.03)),
    ],
    ids=["mask 30", "mask 100", "blur 30", "ct 30"],
)
def test_the_bias_of_the_isotropic_draw_is_as_stated(make, steps, stated, monkeypatch):
    problem = make()
    mean, ratio, _ = bias(exact_law(problem, Daps(steps=steps), monkeypatch), posterior(problem))
    assert mean == pytest.approx(stated[0], abs=0.01)
    assert ratio == pytest.approx(stated[1], abs=0.01)


def test_the_papers_choices_spread_too_much(monkeypatch):
    problem = blurred()
    paper = Daps(radius="level", ode_steps=5)
    ratios = [
        bias(exact_law(problem, sampler, monkeypatch), posterior(problem))[1]
        for sampler in (Daps(), Daps(radius="level"), Daps(ode_steps=5), paper)
    ]
    assert ratios[0] < 1.03 < ratios[1] < 1.2 < ratios[2] < ratios[3]


def test_one_euler_step_is_the_denoiser_and_more_follow_the_flow():
    """A Gaussian's flow is known: deviations shrink by sqrt(c / (c + s^2))."""
    from recon_diffusion._run import Run

    problem = masked()
    sampler = Daps(steps=8, ode_steps=400, low=1e-3)
    state = sampler.init(problem)
    run = Run(problem, state.norm, 1, 0, 1)
    s = state.levels[0]
    end = sampler._mean(run, state, s)
    assert run.calls[0] == 400
    prior = problem.prior
    coefficients = prior.basis.H @ (state.z - prior.mean)
    expected = prior.mean + prior.basis @ (np.sqrt(prior.variances / (prior.variances + s**2)) * coefficients)
    np.testing.assert_allclose(end, expected, atol=0.03 * np.abs(expected).max())
    one = Daps(steps=8)._mean(run, state, s)
    np.testing.assert_array_equal(one, prior.denoise(state.z, s))


def test_calls_are_counted():
    problem = blurred()
    for sampler, calls in ((Daps(steps=5), 5), (Daps(steps=5, ode_steps=4), 4 * 4 + 1)):
        assert solve(problem, sampler, seed=0).history[-1].values["calls"] == calls
    jacobian = Daps(steps=5, covariance="jacobian", lanczos=3, inner=4)
    assert solve(problem, jacobian, seed=0).history[-1].values["calls"] == 5 * (
        1 + 3 + 4 + 1
    )  # D, root, solve


def test_jacobian_needs_a_vjp():
    problem = Problem(Matrix(np.eye(4)), np.ones(4), Denoiser(lambda v, sigma: 0.5 * v), noise=0.1)
    with pytest.raises(CapabilityError, match=r"Daps needs Denoiser\.denoise_vjp, which it has not\. Use"):
        Daps(covariance="jacobian").init(problem)
    assert np.isfinite(run_chains(problem, Daps(steps=3))).all()


def test_square_root_of_a_matrix_for_each_image():
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.standard_normal((7, 7)))[0]
    M = (basis * np.array([0.0, 0.0, 0.01, 0.1, 0.5, 0.9, 1.0])) @ basis.T
    root = (basis * np.sqrt([0.0, 0.0, 0.01, 0.1, 0.5, 0.9, 1.0])) @ basis.T
    b = rng.standard_normal((3, 2, 7))
    b[0, 1] = basis[:, 6]  # its Krylov space has one dimension
    b[1, 0] = 0.0
    calls = []

    def apply(x):
        calls.append(1)
        return x @ M

    found = square_root(apply, b, ArraySpec((7,)), 30)
    np.testing.assert_allclose(found, b @ root, atol=1e-7)
    assert len(calls) <= 8  # the space is exhausted
    np.testing.assert_allclose(square_root(apply, b[2, 1], ArraySpec((7,)), 30), found[2, 1], atol=1e-10)
    few = square_root(apply, b, ArraySpec((7,)), 3)
    assert 1e-4 < np.abs(few - b @ root).max() < 0.3
