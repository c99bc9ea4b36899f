"""Diversity: samples further apart at the same residual, for every method, and nothing else changed."""

from __future__ import annotations

import importlib

import array_api_strict
import numpy as np
import pytest
import torch
from recon_diffusion._examples import gaussian_blur, smooth_images
from recon_diffusion._run import Run
from recon_diffusion.diffpir import DiffPir
from recon_diffusion.diversity import Diversity
from recon_operators.sampling import Mask

import recon
from recon import ArraySpec, Identity, Matrix, Problem
from recon.errors import ParameterError
from recon.testing import check_solver

SIZE = 12


def distance(samples) -> float:
    """Mean distance of two samples, root mean square over the pixels."""
    count = len(samples)
    pairs = [(i, j) for i in range(count) for j in range(i)]
    return float(np.mean([np.sqrt(np.mean(np.abs(samples[i] - samples[j]) ** 2)) for i, j in pairs]))


def residual(problem, samples) -> float:
    return float(np.mean([np.linalg.norm(problem.operator @ x - problem.data) for x in samples]))


def few_products(seed=1, count=30, noise=0.02) -> Problem:
    """Random products with a smooth image, fewer than pixels."""
    rng, prior = np.random.default_rng(seed), smooth_images(SIZE)
    operator = Matrix(rng.standard_normal((count, SIZE**2)) / SIZE, domain_shape=(SIZE, SIZE))
    data = operator @ prior.draw(1, seed=3)[0] + noise * rng.standard_normal(count)
    return Problem(operator, data, prior, noise=noise)


def few_pixels() -> Problem:
    """A third of the pixels; the data step is in closed form."""
    rng, prior = np.random.default_rng(2), smooth_images(SIZE)
    mask = Mask(rng.random((SIZE, SIZE)) < 0.33)
    truth = prior.draw(1, seed=5)[0]
    return Problem(mask, mask @ (truth + 0.02 * rng.standard_normal(truth.shape)), prior, noise=0.02)


@pytest.mark.parametrize(("make", "strength"), [(few_products, 0.4), (few_pixels, 0.5)])
def test_samples_are_further_apart_at_the_same_residual(make, strength):
    """Acceptance 5."""
    problem, hook = make(), Diversity(strength=strength)
    plain = recon.solve(problem, DiffPir(chains=5), seed=0).samples
    apart = recon.solve(problem, DiffPir(chains=5, diversity=hook), seed=0).samples
    assert distance(apart) > 1.5 * distance(plain)
    assert residual(problem, apart) == pytest.approx(residual(problem, plain), rel=0.05)


def test_many_steps_do_not_run_away():
    """The reach stops what would grow with every step."""
    problem = few_products()
    plain, near, free = (
        distance(recon.solve(problem, DiffPir(chains=5, steps=100, diversity=hook), seed=0).samples)
        for hook in (None, Diversity(strength=0.6), Diversity(strength=0.6, reach=None))
    )
    assert 1.3 * plain < near < 2.0 * plain
    assert free > 5.0 * plain


@pytest.mark.parametrize(
    ("module", "name"), [("daps", "Daps"), ("ddnm", "Ddnm"), ("ddrm", "Ddrm"), ("dds", "Dds")]
)
def test_every_sampler_takes_it(module, name):
    sampler = getattr(importlib.import_module(f"recon_diffusion.{module}"), name)
    problem = few_pixels()
    plain = recon.solve(problem, sampler(chains=5), seed=0).samples
    apart = recon.solve(problem, sampler(chains=5, diversity=Diversity(strength=0.7)), seed=0).samples
    assert distance(apart) > 1.5 * distance(plain)
    check_solver(sampler(steps=6, chains=2, diversity=Diversity()))


def pushed(problem, clean, s=0.1, **options):
    run = Run(problem, 1.0, clean.shape[0], 0, 1)
    return Diversity(**options).push(clean, s, run)


def test_the_push_is_the_formula():
    """Identity with noise: rho (1 + rho)^-1 of the difference from the nearest, by hand."""
    rng = np.random.default_rng(0)
    prior = smooth_images(4)
    problem = Problem(Identity(ArraySpec((4, 4))), np.zeros((4, 4)), prior, noise=0.2)
    a = rng.standard_normal((4, 4))
    clean = np.stack([a, a + 0.01 * rng.standard_normal((4, 4)), a + 10.0])
    s = 0.3
    r, d = prior.spread(s), prior.spread(100.0 * prior.scale)
    rho = (0.2 / d) ** 2
    gap = clean[0] - clean[1]
    share = 0.5 * np.sqrt(r / d) * (1.0 - np.sqrt(np.mean(gap**2)) / (2.0 * r)) * rho / (1.0 + rho)
    got = pushed(problem, clean, s, strength=0.5, reach=2.0)
    assert got[0] == pytest.approx(clean[0] + share * gap)
    assert got[1] == pytest.approx(clean[1] - share * gap)
    assert np.array_equal(got[2], clean[2])  # out of reach
    assert pushed(problem, clean, s, strength=0.8, reach=None)[2].mean() > clean[2].mean() + 0.5


def test_what_the_data_determine_is_not_pushed():
    """Pixels that are measured next to exactly keep their difference; the others gain it."""
    prior = smooth_images(4)
    seen = np.arange(16).reshape(4, 4) % 2 == 0
    mask = Mask(seen)
    problem = Problem(mask, mask @ np.zeros((4, 4)), prior, noise=1e-4)
    clean = 0.01 * np.random.default_rng(0).standard_normal((2, 4, 4))
    moved = np.abs(pushed(problem, clean) - clean)
    assert moved[:, seen].max() < 1e-6
    assert moved[:, ~seen].max() > 1e-3


def test_one_chain_and_no_strength_change_nothing():
    problem = few_products()
    sampler = DiffPir(steps=8, chains=1)
    alone = recon.solve(problem, sampler, seed=0)
    assert np.array_equal(
        recon.solve(problem, DiffPir(steps=8, diversity=Diversity()), seed=0).samples, alone.samples
    )
    clean = np.random.default_rng(0).random((3, SIZE, SIZE))
    assert pushed(problem, clean, strength=0.0) is clean
    assert np.array_equal(pushed(problem, clean, reach=1e-3), clean)


def test_equal_chains_stay_finite():
    """Identical estimates have no direction to go apart."""
    clean = np.stack([np.ones((SIZE, SIZE))] * 3)
    assert np.array_equal(pushed(few_products(), clean), clean)


def test_permuting_chains_or_batch_permutes():
    problem = few_products()
    clean = 0.05 * np.random.default_rng(0).standard_normal((4, 3, SIZE, SIZE))
    batch = Problem(problem.operator, np.stack([problem.data] * 3), problem.prior, noise=problem.noise)
    got = pushed(batch, clean)
    assert pushed(batch, clean[[2, 0, 3, 1]]) == pytest.approx(got[[2, 0, 3, 1]], abs=1e-12)
    assert pushed(batch, clean[:, [2, 0, 1]]) == pytest.approx(got[:, [2, 0, 1]], abs=1e-12)
    assert pushed(problem, clean[:, 1]) == pytest.approx(got[:, 1], abs=1e-12)


def test_units_of_the_data_change_nothing():
    problem, c = few_products(), 1e3
    scaled = Problem(c * problem.operator, c * problem.data, problem.prior, noise=c * problem.noise)
    sampler = DiffPir(steps=8, chains=3, diversity=Diversity())
    one, other = (recon.solve(p, sampler, seed=0).samples for p in (problem, scaled))
    assert other == pytest.approx(one, abs=1e-9)


@pytest.mark.parametrize("library", ["torch", "array-api-strict"])
def test_other_libraries(library):
    problem = few_pixels()
    clean = 0.05 * np.random.default_rng(0).standard_normal((3, SIZE, SIZE))
    wanted = pushed(problem, clean)
    make = torch.as_tensor if library == "torch" else array_api_strict.asarray
    other = Problem(problem.operator, make(problem.data), problem.prior, noise=problem.noise)
    assert np.asarray(pushed(other, make(clean))) == pytest.approx(wanted, abs=1e-12)


def test_wrong_parameters():
    with pytest.raises(ParameterError, match=r"Diversity.strength must be >= 0, got -1"):
        Diversity(strength=-1.0)
    with pytest.raises(ParameterError, match=r"Diversity.reach must be > 0, got 0"):
        Diversity(reach=0.0)


@pytest.mark.parametrize(
    ("factor", "said"), [(1.0, []), (0.1, ["worse than the noise allows"]), (30.0, ["better than the noise"])]
)
def test_a_remark_where_the_noise_level_cannot_be_right(factor, said):
    """The data are those of noise 0.02, said to be smaller or larger by a factor."""
    problem = gaussian_blur()
    told = Problem(problem.operator, problem.data, problem.prior, noise=factor * problem.noise)
    result = recon.solve(told, DiffPir(chains=2), seed=0)
    remarks = result.provenance.get("remarks", [])
    assert len(remarks) == len(said)
    assert all(text in remark for text, remark in zip(said, remarks, strict=True))
    found = result.history[-1]["discrepancy"]
    assert result.state.discrepancy == found
    assert not remarks or f"{found:.2g} sigma sqrt(m)" in remarks[0]


def test_the_discrepancy_counts_what_is_measured():
    """Hidden pixels are no data: sigma sqrt(m) has the m of the pixels seen. Before the end there is no remark."""
    problem = few_pixels()
    result = recon.solve(problem, DiffPir(), seed=0)
    seen = problem.data != 0
    wanted = np.linalg.norm((result.x - problem.data)[seen]) / (problem.noise * np.sqrt(seen.sum()))
    assert result.history[-1]["discrepancy"] == pytest.approx(wanted)
    early = recon.solve(problem, DiffPir(), stop=3, seed=0)
    assert early.state.discrepancy == 0.0
    assert "remarks" not in early.provenance
    start = problem.data[seen]
    wanted = np.linalg.norm(start) / (problem.noise * np.sqrt(seen.sum()))
    assert early.history[0]["discrepancy"] == pytest.approx(wanted)  # A 0 = 0, yet these pixels are measured
