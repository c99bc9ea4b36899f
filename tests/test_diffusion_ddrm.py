"""DDRM: its formulas by hand, where the ancestral transition is exact, what it does not see, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
from diffusion_problems import (
    bias,
    blurred,
    check_invariances,
    cosine_blurred,
    cosine_measured,
    exact_law,
    masked,
    posterior,
    tomography,
)
from recon_diffusion._run import Run
from recon_diffusion.ddrm import Ddrm, unit_svd
from recon_diffusion.gaussian import GaussianPrior

from recon import Diagonal, Matrix, Problem
from recon.errors import CapabilityError
from recon.testing import check_solver

ANCESTRAL = Ddrm(steps=20, transition="ancestral")


@pytest.mark.parametrize("sampler", [Ddrm(), ANCESTRAL], ids=["ddrm", "ancestral"])
def test_contract(sampler):
    check_solver(sampler)


@pytest.mark.parametrize("sampler", [Ddrm(steps=8), Ddrm(steps=8, transition="ancestral")], ids=str)
@pytest.mark.parametrize("make", [masked, blurred, cosine_measured])
def test_invariances(sampler, make):
    check_invariances(sampler, make())


def test_a_step_is_the_published_one(monkeypatch):
    """One coordinate of each kind, U and V the identity, by hand."""
    y, sigma = np.array([0.7, -0.4, 0.0]), 0.1
    problem = Problem(Diagonal([1.0, 0.05, 0.0]), y, GaussianPrior(np.zeros(3), np.ones(3)), noise=sigma)
    sampler = Ddrm(eta=0.6, eta_b=0.9, temperature=1.0)
    state = sampler.init(problem)
    n = np.array([[0.3, -1.0, 2.0]])
    monkeypatch.setattr(Run, "noise", lambda run, use=0, spec=None: n)
    s, after = 1.0, 0.5
    run = Run(problem, state.norm, 1, 0, 1)
    z, scale = state.z[0], 1.0 / state.norm
    x = z / (1.0 + s**2)
    level = sigma * scale / (np.array([1.0, 0.05]) * scale)  # 0.1 and 2
    new = sampler.advance(run, state, s, after)
    expected = [
        0.1 * x[0] + 0.9 * 0.7 + np.sqrt(after**2 - 0.81 * level[0] ** 2) * n[0, 0],
        x[1] + 0.8 * after * (-0.4 / 0.05 - x[1]) / level[1] + 0.6 * after * n[0, 1],
        x[2] + 0.8 * after * (z[2] - x[2]) / s + 0.6 * after * n[0, 2],
    ]
    np.testing.assert_allclose(new.z[0], expected, rtol=1e-12)
    np.testing.assert_allclose(new.clean[0], x, rtol=1e-12)


def test_the_ancestral_transition_is_exact_in_the_limit(monkeypatch):
    """Coordinates independent in V: first order in the length of a step."""
    problem = cosine_blurred()
    errors = [
        bias(exact_law(problem, Ddrm(steps=steps, transition="ancestral"), monkeypatch), posterior(problem))
        for steps in (20, 40, 60)
    ]
    assert errors[2][2] < 0.023
    for (*_, error), steps in zip(errors, (20, 40, 60), strict=True):
        assert error * steps == pytest.approx(1.29, rel=0.05)
    assert errors[2][0] < 2e-3
    assert errors[2][1] == pytest.approx(1.0, abs=2e-3)


def test_what_lies_outside_v_is_sampled_too(monkeypatch):
    problem = cosine_measured()
    svd, seen, *_ = unit_svd(Run(problem, 1.0, 1, 0, 0))
    assert svd.V.shape == (36, 9)
    assert seen.all()
    found = bias(exact_law(problem, ANCESTRAL, monkeypatch), posterior(problem))
    assert found[0] < 0.01
    assert found[1] == pytest.approx(1.0, abs=0.01)


def test_the_stated_bias_with_a_mask(monkeypatch):
    """More steps do not help: what the data say of other pixels is lost above their noise."""
    problem = masked()
    for steps in (30, 60):
        sampler = Ddrm(steps=steps, transition="ancestral")
        mean, ratio, _ = bias(exact_law(problem, sampler, monkeypatch), posterior(problem))
        assert mean == pytest.approx(0.78, abs=0.04)
        assert ratio == pytest.approx(1.17, abs=0.01)


@pytest.mark.parametrize(
    ("make", "stated"),
    [(masked, (0.65, 0.57)), (blurred, (0.66, 0.24)), (cosine_blurred, (0.76, 0.25))],
)
def test_the_stated_bias_as_published(make, stated, monkeypatch):
    problem = make()
    mean, ratio, _ = bias(
        exact_law(problem, Ddrm(steps=20, temperature=1.0), monkeypatch), posterior(problem)
    )
    assert (mean, ratio) == pytest.approx(stated, abs=0.01)


def test_singular_values_that_are_rounding_count_as_unmeasured():
    problem = cosine_blurred(cut=0.3)
    _, seen, *_ = unit_svd(Run(problem, 1.0, 1, 0, 0))
    assert 0 < seen.sum() < 36
    noisy = Problem(
        Matrix(np.diag([1.0, 1e-17])), np.array([1.0, 1.0]), GaussianPrior(np.zeros(2), np.ones(2)), noise=0.1
    )
    assert unit_svd(Run(noisy, 1.0, 1, 0, 0))[1].tolist() == [True, False]


def test_tomography_is_refused_with_advice():
    with pytest.raises(
        CapabilityError,
        match=r"Ddrm needs ParallelBeam\.svd, which it has not\. Use DiffPir, Dds or Daps instead\.",
    ):
        Ddrm().init(tomography(8, 3))
