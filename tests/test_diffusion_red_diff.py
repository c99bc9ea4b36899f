"""RedDiff: its formula, its mean on Gaussian images, weights, scenes, invariances."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from diffusion_problems import blurred, masked, posterior, tomography
from recon_diffusion._run import Run
from recon_diffusion.gaussian import GaussianPrior
from recon_diffusion.red_diff import RedDiff

import recon
from recon import Matrix, Problem
from recon.errors import CapabilityError
from recon.linalg import dense
from recon.priors import TV
from recon.testing import check_solver

SOLVERS = [
    RedDiff(steps=15),
    RedDiff(steps=15, levels_per_step=3, chains=2),
    RedDiff(steps=15, polish=True),
]


@pytest.mark.parametrize("solver", SOLVERS, ids=repr)
def test_contract(solver):
    check_solver(solver)
    check_solver(solver, like=torch.zeros(1, dtype=torch.float64))


# -- the formula -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("weighting", ["linear", "square", "sqrt", "log", "constant", "posterior"])
def test_a_step_is_adam_on_the_published_gradient(weighting):
    """v/2 ||y - A mu||^2 + w_t <eps_hat - n, mu>, in numbers of the network: x = 2 v, levels in v."""
    problem = replace(masked(), prior=GaussianPrior(np.full((6, 6), 0.5), np.full((6, 6), 4.0)))
    solver = RedDiff(steps=10, weighting=weighting, weight=0.2, rate=0.1)
    state = solver.init(problem)
    first = solver.step(problem, state)
    second = solver.step(problem, first)
    A, y = dense(problem.operator), problem.data.ravel()
    moments = np.zeros((2, 36))
    mu = state.x.ravel() / 2.0
    for k, found in ((1, first), (2, second)):
        s = state.levels[k - 1] / 2.0
        noise = Run(problem, 1.0, 1, 0, k).noise().ravel()
        z = mu + s * noise
        clean = problem.prior.denoise((2.0 * z).reshape(6, 6), 2.0 * s).ravel() / 2.0
        eps_hat = (z - clean) / s
        if weighting == "posterior":
            w = 0.2 * min(0.1**2 / (2.0 * s) ** 2, 1.0) * s
        else:
            w = (
                0.2
                * {"linear": s, "square": s**2, "sqrt": s**0.5, "log": np.log(1 + s), "constant": 1.0}[
                    weighting
                ]
            )
        gradient = A.T @ (A @ mu - y / 2.0) + w * (eps_hat - noise)
        moments[0] = 0.9 * moments[0] + 0.1 * gradient
        moments[1] = 0.99 * moments[1] + 0.01 * gradient**2
        mu = mu - 0.1 * (1 - (k - 1) / 10) * (moments[0] / (1 - 0.9**k)) / np.sqrt(moments[1] / (1 - 0.99**k))
        np.testing.assert_allclose(found.x.ravel(), 2.0 * mu, atol=1e-9)
        mu = found.x.ravel() / 2.0


def test_several_levels_in_a_step_are_averaged():
    problem = masked()
    solver = RedDiff(steps=6, levels_per_step=3)
    levels = solver._levels(solver.init(problem))
    state = solver.init(problem)
    assert levels == [state.levels[0], state.levels[2], state.levels[4]]
    assert recon.solve(problem, solver).history[-1]["calls"] == 1 + 6 * 3


def test_it_starts_from_damped_least_squares_or_from_x0():
    problem = masked(noise=0.02)
    start = RedDiff().init(problem).x
    seen = problem.operator @ np.ones((6, 6)) > 0
    np.testing.assert_allclose(start[seen], problem.data[seen], atol=0.05)
    np.testing.assert_array_equal(RedDiff().init(problem, start + 1.0).x, start + 1.0)


def test_the_last_image_may_be_denoised_once_more():
    problem = masked()
    plain, polished = (recon.solve(problem, RedDiff(steps=20, polish=p), every=1) for p in (False, True))
    last = plain.state.levels[-2]
    np.testing.assert_allclose(polished.x, problem.prior.denoise(plain.x, last), atol=1e-12)


# -- closed forms ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("problem", [masked(), blurred(), tomography(noise=0.2)], ids=["mask", "blur", "CT"])
def test_the_mean_is_within_its_stated_bias(problem):
    mean, covariance = posterior(problem)
    for steps, most in ((100, 0.8), (300, 0.4)):
        runs = recon.solve(problem, RedDiff(steps=steps, weight=1.0, chains=16)).samples.reshape(16, -1)
        assert np.sqrt(np.mean((runs - mean) ** 2 / np.diag(covariance))) < most


# -- images that are functions of other numbers ----------------------------------------------------------


@dataclass(frozen=True)
class Exponential:
    """x = exp(V theta): an image that cannot be negative, of a few coefficients."""

    vectors: np.ndarray

    def start(self, x):
        return 0.0 * x[..., 0, : self.vectors.shape[1]]

    def render(self, theta):
        x = np.exp(theta @ self.vectors.T).reshape(*theta.shape[:-1], 6, 6)
        return x, lambda c: (x * c).reshape(*theta.shape[:-1], 36) @ self.vectors


def test_a_scene_takes_the_place_of_pixels():
    vectors = np.linalg.qr(np.random.default_rng(0).standard_normal((36, 3)))[0]
    scene = Exponential(vectors)
    truth, _ = scene.render(np.array([1.0, -2.0, 0.5]))
    operator = masked().operator
    problem = Problem(operator, operator @ truth, masked().prior, noise=0.01)
    solver = RedDiff(steps=300, scene=scene, rate=0.1, weight=0.01, chains=2)
    result = recon.solve(problem, solver)
    np.testing.assert_allclose(result.x, truth, atol=0.02)
    assert result.state.theta.shape == (2, 3)
    np.testing.assert_allclose(scene.render(result.state.theta)[0], result.samples, atol=1e-12)


# -- invariances -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", SOLVERS, ids=repr)
def test_units_of_data_and_image_change_nothing(solver):
    given = blurred()
    x = recon.solve(given, solver).x
    for data, image in ((64.0, 1.0), (1e-5, 1.0), (1.0, 1e4)):
        prior = GaussianPrior(image * given.prior.mean, image**2 * given.prior.variances, given.prior.basis)
        same = Problem((data / image) * given.operator, data * given.data, prior, noise=data * given.noise)
        np.testing.assert_allclose(recon.solve(same, solver).x, image * x, atol=1e-4 * image)


@pytest.mark.parametrize("solver", SOLVERS, ids=repr)
def test_an_image_depends_neither_on_its_batch_nor_on_the_number_of_chains(solver):
    given = masked()
    data = np.stack([given.data, 3.0 * given.data, given.data + 1.0])

    def samples(data, chains=2):
        return np.asarray(recon.solve(replace(given, data=data), replace(solver, chains=chains)).samples)

    batch = samples(data)
    np.testing.assert_array_equal(samples(data[[2, 0, 1]]), batch[:, [2, 0, 1]])
    for k in range(3):
        np.testing.assert_allclose(samples(data[k : k + 1])[:, 0], batch[:, k], rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(samples(data, chains=4)[:2], batch, rtol=1e-11, atol=1e-11)


def test_complex_images():
    rng = np.random.default_rng(0)
    rows = Matrix(rng.standard_normal((8, 12)) + 1j * rng.standard_normal((8, 12)))
    prior = GaussianPrior(np.zeros(12), np.linspace(0.5, 1.5, 12))
    truth = rng.standard_normal(12) + 1j * rng.standard_normal(12)
    problem = Problem(rows, rows @ truth, prior, noise=0.3)
    A = rows.matrix
    gain = np.linalg.inv(A.conj().T @ A / 0.09 + np.diag(1 / prior.variances))
    mean = gain @ A.conj().T @ problem.data / 0.09
    result = recon.solve(problem, RedDiff(steps=300, weight=1.0))
    error = np.abs(result.x - mean) ** 2 / np.diag(gain).real
    assert np.sqrt(np.mean(error) / 2) < 0.4
    assert result.state.second.dtype == np.float64


def test_it_needs_a_denoiser():
    with pytest.raises(CapabilityError, match="RedDiff needs a prior that denoises"):
        RedDiff().init(replace(masked(), prior=TV(1.0)))
