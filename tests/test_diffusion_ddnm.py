"""DDNM and DDNM+: the formulas by hand, the stated bias, stand-ins for the pseudoinverse, what it refuses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from diffusion_problems import (
    bias,
    blurred,
    check_invariances,
    exact_law,
    masked,
    posed,
    posterior,
    prior_of,
    run_chains,
    tomography,
)
from recon_diffusion._run import Run
from recon_diffusion.ddnm import Ddnm
from recon_diffusion.gaussian import GaussianPrior

from recon import Diagonal, Matrix, Operator, Problem
from recon.errors import CapabilityError
from recon.testing import check_solver

WAYS = ("auto", "regularised", "simple", "ignore")


class Plain(Operator):
    """Another operator, with nothing but its two products."""

    def __init__(self, operator):
        self.operator, self.domain, self.codomain = operator, operator.domain, operator.codomain

    def _forward(self, x):
        return self.operator._forward(x)

    def _adjoint(self, y):
        return self.operator._adjoint(y)


@pytest.mark.parametrize("noise", WAYS)
def test_contract(noise):
    problem = masked()
    check_solver(Ddnm(noise=noise), problem)


def test_example():
    check_solver(Ddnm())


@pytest.mark.parametrize("noise", WAYS)
def test_invariances(noise):
    check_invariances(Ddnm(steps=6, noise=noise), masked())
    check_invariances(Ddnm(steps=6, noise=noise), tomography(6, 3))


def one_step(sampler, problem, monkeypatch, s, after, n):
    state = sampler.init(problem)
    monkeypatch.setattr(Run, "noise", lambda run, use=0, spec=None: n)
    return state.z[0], sampler.advance(Run(problem, state.norm, 1, 0, 1), state, s, after)


DIAGONAL = Problem(
    Diagonal([1.0, 0.05, 0.0]), np.array([0.7, -0.4, 0.0]), GaussianPrior(np.zeros(3), np.ones(3)), noise=0.1
)
N = np.array([[0.3, -1.0, 2.0]])


def test_a_spectral_step_by_hand(monkeypatch):
    s, after = 1.0, 0.5
    z, new = one_step(Ddnm(eta=0.6, noise="spectral"), DIAGONAL, monkeypatch, s, after, N)
    x = z / (1.0 + s**2)
    mixed = 0.8 * (z - x) / s + 0.6 * N[0]
    share = 0.8 * after / 2.0  # sigma_i = 0.1 / 0.05 = 2
    expected = [
        0.7 + np.sqrt(after**2 - 0.1**2) * mixed[0],
        x[1] + share * (-8.0 - x[1]) + 0.6 * after * N[0, 1],
        x[2] + after * mixed[2],
    ]
    np.testing.assert_allclose(new.z[0], expected, rtol=1e-12)
    np.testing.assert_allclose(new.clean[0], [0.7, x[1] + share * (-8.0 - x[1]), x[2]], rtol=1e-12)


@pytest.mark.parametrize("after", [0.5, 0.05])
def test_a_simple_step_by_hand(after, monkeypatch):
    s = 1.0
    z, new = one_step(Ddnm(eta=0.6, noise="simple"), DIAGONAL, monkeypatch, s, after, N)
    x = z / (1.0 + s**2)
    share = min(1.0, after / 0.1)
    fitting = x + share * (np.array([0.7, -8.0, 0.0]) - x) * [1, 1, 0]
    level = np.sqrt(max(after**2 - (share * 0.1) ** 2, 0.0))
    np.testing.assert_allclose(
        new.z[0], fitting + level * (0.8 * (z - x) / s + 0.6 * N[0]), rtol=1e-10, atol=1e-12
    )


def test_a_regularised_step_by_hand(monkeypatch):
    s, after = 1.0, 0.5
    z, new = one_step(Ddnm(eta=0.6, noise="regularised"), DIAGONAL, monkeypatch, s, after, N)
    x, a = z / (1.0 + s**2), np.array([1.0, 0.05, 0.0])
    fitting = x + a * (DIAGONAL.data - a * x) / (a**2 + (0.1 / after) ** 2)
    np.testing.assert_allclose(new.clean[0], fitting, rtol=1e-10)
    np.testing.assert_allclose(new.z[0], fitting + after * (0.8 * (z - x) / s + 0.6 * N[0]), rtol=1e-10)


def test_without_noise_the_data_are_met():
    problem = replace(masked(noise=1e-6))
    clean = run_chains(problem, Ddnm(steps=10, noise="ignore", chains=2))
    np.testing.assert_allclose(
        problem.operator @ clean, np.stack([problem.operator @ problem.data] * 2), atol=1e-9
    )


def test_conjugate_gradients_stand_in_for_the_pseudoinverse():
    """Enough of them give the pseudoinverse, and none of them touches the null space."""
    matrix = np.random.default_rng(0).standard_normal((5, 9))
    problem = posed(Matrix(matrix, domain_shape=(3, 3)), prior_of(3), 0.1)
    plain = replace(problem, operator=Plain(problem.operator))
    run, other = (Run(p, 1.0, 1, 0, 1) for p in (problem, plain))
    x = np.random.default_rng(1).standard_normal((1, 3, 3))
    exact, found = Ddnm()._inverse(run, x), Ddnm(inner=9)._inverse(other, x)
    np.testing.assert_allclose(found, exact, atol=1e-8)
    few = Ddnm(inner=2)._inverse(other, x).ravel()
    null = np.eye(9) - np.linalg.pinv(matrix) @ matrix
    assert np.abs(null @ few).max() < 1e-12 < np.abs(few - exact.ravel()).max()
    same = [run_chains(p, Ddnm(noise="regularised", steps=8, inner=9)) for p in (problem, plain)]
    np.testing.assert_allclose(*same, atol=1e-4)


@pytest.mark.parametrize(
    ("make", "noise", "stated"),
    [
        (masked, "spectral", (0.35, 0.51)),
        (blurred, "spectral", (0.83, 0.22)),
        (masked, "regularised", (0.34, 0.67)),
        (blurred, "regularised", (0.36, 0.60)),
    ],
)
def test_the_stated_bias(make, noise, stated, monkeypatch):
    problem = make()
    mean, ratio, _ = bias(exact_law(problem, Ddnm(noise=noise), monkeypatch), posterior(problem))
    assert (mean, ratio) == pytest.approx(stated, abs=0.01)


def test_spectral_needs_a_decomposition():
    with pytest.raises(
        CapabilityError,
        match=r"Ddnm with noise='spectral' needs ParallelBeam\.svd, which it has not\. Use noise='regularised'",
    ):
        Ddnm(noise="spectral").init(tomography(8, 3))
