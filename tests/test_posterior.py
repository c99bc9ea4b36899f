"""Posterior samplers against posteriors in closed form, and the coverage of their intervals."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from recon_proximal import Fista, Myula, PerturbAndSolve, SkRock

import recon
from recon import L1, L2, TV, Gradient, Matrix, Poisson, Problem, WeightedLeastSquares
from recon.errors import CapabilityError, ParameterError
from recon.metrics import coverage
from recon.testing import check_solver

SAMPLERS = [PerturbAndSolve(inner=30), Myula(burn_in=20), SkRock(burn_in=5, stages=5)]


@pytest.mark.parametrize("solver", SAMPLERS, ids=lambda s: type(s).__name__)
def test_contract(solver, like):
    check_solver(solver, like=like)


def gaussian(chains=None, m=24, n=16, noise=0.3, weight=0.09):
    """Data of a Gaussian matrix and images from the prior exp(-weight/2 ||x||^2 / noise^2), and the posterior."""
    rng = np.random.default_rng(0)
    matrix = rng.standard_normal((m, n)) / np.sqrt(n)
    batch = () if chains is None else (chains,)
    truth = rng.standard_normal((*batch, n)) * noise / np.sqrt(weight)
    data = truth @ matrix.T + noise * rng.standard_normal((*batch, m))
    hessian = matrix.T @ matrix + weight * np.eye(n)
    mean = np.linalg.solve(hessian, matrix.T @ data[..., None])[..., 0]
    problem = Problem(Matrix(matrix), data, L2(weight), noise=noise)
    return problem, truth, mean, noise**2 * np.linalg.inv(hessian)


def deviation_from(samples, covariance):
    """Entries of the samples' covariance in coordinates where it should be the identity, in standard errors."""
    root = np.linalg.cholesky(np.linalg.inv(covariance))
    white = samples @ root
    found = white.T @ white / len(white)
    error = np.sqrt((1 + np.eye(len(root))) / len(white))
    return np.abs((found - np.eye(len(root))) / error).max()


def test_perturb_and_solve_draws_the_posterior():
    problem, _, mean, covariance = gaussian()
    many = dataclasses.replace(problem, data=np.broadcast_to(problem.data, (4000, 24)).copy())
    result = recon.solve(many, PerturbAndSolve(tol=1e-9), stop=1, every=1)
    np.testing.assert_allclose(result.x, np.broadcast_to(mean, (4000, 16)), atol=1e-7)
    assert deviation_from(result.state.draw - mean, covariance) < 4.5  # the largest of 136 normal numbers
    alone = recon.solve(problem, PerturbAndSolve(), stop=2000, every=500)
    np.testing.assert_allclose(alone.variance, np.diag(covariance), rtol=5 * np.sqrt(2 / 2000))


def test_perturb_and_solve_with_weights_and_an_operator_in_the_prior():
    rng = np.random.default_rng(1)
    matrix, weights = rng.standard_normal((12, 10)), rng.uniform(0.5, 4.0, 12)
    gradient = recon.linalg.dense(Gradient((10,)))
    prior = L2(0.5) @ Gradient((10,)) + 0.1 * L2(2.0)
    hessian = matrix.T @ (weights[:, None] * matrix) + 0.5 * gradient.T @ gradient + 0.2 * np.eye(10)
    data = np.broadcast_to(rng.standard_normal(12), (4000, 12)).copy()
    problem = Problem(Matrix(matrix), data, prior, WeightedLeastSquares(weights))
    result = recon.solve(problem, PerturbAndSolve(tol=1e-9), stop=1, every=1)
    mean = np.linalg.solve(hessian, matrix.T @ (weights * data[0]))
    np.testing.assert_allclose(result.x[0], mean, atol=1e-7)
    assert deviation_from(result.state.draw - mean, np.linalg.inv(hessian)) < 4.5


def test_ninety_percent_intervals_cover_ninety_percent():
    """200 repeats of truth, data and 200 draws, as one batch (acceptance: 88 to 92 %)."""
    problem, truth, _, _ = gaussian(chains=200)
    result = recon.solve(problem, PerturbAndSolve(), stop=200, every=100)
    assert 0.88 <= coverage(truth, *result.interval(0.9)) <= 0.92
    assert 0.48 <= coverage(truth, *result.interval(0.5)) <= 0.52


def test_sk_rock_covers_too():
    problem, truth, _, _ = gaussian(chains=200)
    result = recon.solve(problem, SkRock(burn_in=50), stop=550, every=500)
    assert 0.88 <= coverage(truth, *result.interval(0.9)) <= 0.92


def stationary(solver, curvatures, lipschitz):
    """Variance of a chain on exp(-c x^2 / 2), from its one-step map x <- a x + b z with |a| < 1: b^2 / (1 - a^2)."""
    if isinstance(solver, Myula):
        d = solver.step_size / lipschitz
        return 2 * d / (1 - (1 - d * curvatures) ** 2)
    s = solver.stages
    d = solver.step_size * ((s - 0.5) ** 2 * (2 - 4 / 3 * 0.05) - 1.5) / lipschitz
    # stability polynomials of the paper: T_s(w0 + w1 z) / T_s(w0) and U_(s-1)(..)(1 + w1 z / 2) / U_(s-1)(w0)
    first = np.polynomial.Chebyshev.basis(s)
    w0 = 1 + 0.05 / s**2
    w1 = first(w0) / first.deriv()(w0)
    z = w0 - w1 * d * curvatures
    a = first(z) / first(w0)
    b = first.deriv()(z) / first.deriv()(w0) * (1 - w1 * d * curvatures / 2)  # U_(s-1) = T_s' / s
    return 2 * d * b**2 / (1 - a**2)


@pytest.mark.parametrize(
    "solver", [Myula(burn_in=1, step_size=0.5), SkRock(burn_in=1, stages=6, step_size=0.4)], ids=repr
)
def test_langevin_chains_have_the_variance_theory_gives_them(solver):
    problem, _, _, covariance = gaussian(noise=0.3, weight=0.3)
    many = dataclasses.replace(problem, data=np.zeros((2000, 24)))
    result = recon.solve(many, solver, stop=80, every=100)
    lipschitz = result.state.lipschitz
    values, vectors = np.linalg.eigh(np.linalg.inv(covariance))
    expected = vectors @ np.diag(stationary(solver, values, lipschitz)) @ vectors.T
    assert deviation_from(result.state.draw, expected) < 4.5
    assert deviation_from(result.state.draw, covariance) > 6  # the bias is real, and known


def test_an_l1_posterior_against_quadrature():
    """y = x + n with the prior exp(-w |x| / T): mean and variance of one entry, by 4000 chains."""
    data, weight, noise = 0.4, 0.05, 0.3
    grid = np.linspace(-3, 3, 20001)
    density = np.exp(-((grid - data) ** 2 / 2 + weight * abs(grid)) / noise**2)
    density /= density.sum()
    mean = (grid * density).sum()
    variance = ((grid - mean) ** 2 * density).sum()
    operator = recon.Identity(recon.ArraySpec((1,)))
    problem = Problem(operator, np.full((4000, 1), data), L1(weight), noise=noise)
    for solver in (Myula(step_size=0.2, smoothing=0.05), SkRock(smoothing=0.05)):
        draws = recon.solve(problem, solver, x0=problem.data, stop=400, every=400).state.draw
        assert draws.mean() == pytest.approx(mean, abs=4 * np.sqrt(variance / 4000) + 0.004)
        assert draws.var() == pytest.approx(variance, rel=4 * np.sqrt(2 / 4000) + 0.02)


def test_effective_draws_of_a_chain_of_known_correlation():
    """On exp(-x^2 (1 + w) / 2 T) MYULA is x <- a x + noise with a = 1 - step_size: n (1 - a) / (1 + a) draws."""
    operator = recon.Identity(recon.ArraySpec((2000,)))
    problem = Problem(operator, np.zeros(2000), L2(1.0), noise=0.3)
    result = recon.solve(problem, Myula(step_size=0.1, burn_in=200), stop=4200, every=4200)
    assert result.history[-1]["draws"] == 4000
    assert result.history[-1]["effective_draws"] == pytest.approx(4000 * 0.1 / 1.9, rel=0.1)


def test_tv_posterior_is_widest_at_edges():
    rng = np.random.default_rng(0)
    image = np.zeros((12, 12))
    image[:, 6:] = 1.0
    operator = recon.Identity(recon.ArraySpec((12, 12)))
    problem = Problem(operator, image + 0.2 * rng.standard_normal((12, 12)), TV(0.3, tol=1e-3), noise=0.2)
    result = recon.solve(problem, SkRock(burn_in=10), x0=problem.data, stop=110, every=100)
    flat = result.variance[:, [1, 2, 3, 8, 9, 10]].mean()
    assert result.variance[:, 5:7].mean() > 1.2 * flat
    assert abs(result.x - image).mean() < 0.7 * abs(problem.data - image).mean()


def test_complex_images():
    rng = np.random.default_rng(0)
    operator = recon.Identity(recon.ArraySpec((5,), "complex"))
    data = np.broadcast_to(rng.standard_normal(5) + 1j * rng.standard_normal(5), (3000, 5)).copy()
    problem = Problem(operator, data, L2(1.0), noise=0.5)
    for solver in (PerturbAndSolve(), SkRock(burn_in=40, step_size=0.05)):
        result = recon.solve(problem, solver, stop=42, every=50)
        draw = result.state.draw
        assert draw.real.var(0) == pytest.approx(np.full(5, 0.125), rel=0.2)
        assert draw.imag.var(0) == pytest.approx(np.full(5, 0.125), rel=0.2)
    with pytest.raises(CapabilityError, match="interval needs a real image, which SkRock did not give"):
        result.interval()


def test_bad_input():
    problem, *_ = gaussian()
    with pytest.raises(ParameterError, match="Myula needs the noise level"):
        recon.solve(dataclasses.replace(problem, noise=None), Myula())
    uneven = dataclasses.replace(problem, noise=np.full(24, 0.3))
    with pytest.raises(
        CapabilityError, match="SkRock needs one noise level with LeastSquares, got an array. Use W"
    ):
        recon.solve(uneven, SkRock())
    with pytest.raises(CapabilityError, match="PerturbAndSolve needs L2 priors, got L1"):
        recon.solve(dataclasses.replace(problem, prior=L1(1.0)), PerturbAndSolve())
    for prior in (None, L2(0.0), 0.0 * L2(1.0)):
        with pytest.raises(CapabilityError, match="PerturbAndSolve needs a prior of weight > 0, got"):
            recon.solve(dataclasses.replace(problem, prior=prior), PerturbAndSolve())
    counts = Problem(problem.operator, np.ones(24), L2(1.0), Poisson())
    with pytest.raises(
        CapabilityError, match="PerturbAndSolve needs a quadratic loss, got Poisson. Use Myula"
    ):
        recon.solve(counts, PerturbAndSolve())
    with pytest.raises(
        CapabilityError, match="Myula needs a loss with a Lipschitz gradient, which Poisson has not"
    ):
        recon.solve(counts, Myula())
    result = recon.solve(problem, Fista(), stop=3)
    with pytest.raises(CapabilityError, match="Result.interval needs a variance, which Fista did not give"):
        result.interval()
    with pytest.raises(ParameterError, match="Result.interval.level must be between 0 and 1, got 90"):
        result.interval(90)
