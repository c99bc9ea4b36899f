"""Sbl with a noise level that it must learn, or that differs from entry to entry; and the figures of peers."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from recon_sbl import Sbl
from recon_sbl import _levels as levels_of
from sbl_problems import nmse, sparse

import recon
from recon import Matrix, Problem, solve

SHARED = Path(__file__).resolve().parents[2] / "shared" / "reference"


def fit(problem, iterations=400, **options):
    return solve(problem, Sbl(**options), stop=recon.stopping.MaxIterations(iterations))


# -- noise -----------------------------------------------------------------------------------------------


def test_learned_noise_does_not_fit_the_noise():
    known, learned, textbook, ratios = 0.0, 0.0, 0.0, []
    for seed in range(4):
        problem, x = sparse(64, 128, 10, noise=0.04, seed=seed)
        blind = replace(problem, noise=None)
        result = fit(blind)
        known += nmse(fit(problem).x, x)
        learned += nmse(result.x, x)
        textbook += nmse(fit(blind, learn_noise="em").x, x)
        ratios.append((result.state.noise / problem.noise) ** 2)
    assert learned < 1.15 * known
    assert textbook > 1.5 * known  # what the price per entry is for
    assert min(ratios) > 0.5
    assert max(ratios) < 4.0


@pytest.mark.parametrize("rule", ["penalised", "em", "mackay"])
def test_noise_of_a_tall_matrix_is_found(rule):
    problem, _ = sparse(300, 20, 6, noise=0.1)
    found = fit(replace(problem, noise=None), learn_noise=rule).state.noise
    assert found == pytest.approx(0.1, rel=0.15)


def test_em_for_noise_and_gamma_never_raises_the_cost():
    problem, _ = sparse(80, 40, 5, noise=0.1)
    costs = fit(replace(problem, noise=None), 200, update="em", learn_noise="em").state.costs
    assert np.diff(costs).max() <= 1e-9 * np.abs(costs).max()


def test_nothing_but_noise_is_seen_as_that():
    rng = np.random.default_rng(0)
    problem = Problem(Matrix(rng.standard_normal((64, 128)) / 8), rng.standard_normal(64))
    result = fit(problem)
    assert np.linalg.norm(result.x) < 0.7 * np.linalg.norm(problem.data)
    assert 0.7 < result.state.noise < 1.2


def test_data_without_noise_say_so():
    problem, x = sparse(noise=0.0001)
    clean = Problem(problem.operator, problem.operator @ x)
    result = fit(clean)
    assert nmse(result.x, x) < 1e-8
    assert "floor of 1e-10" in result.provenance["remarks"][0]
    assert "remarks" not in fit(problem).provenance


def test_the_search_for_a_level_ends_and_takes_the_least_score():
    levels, scores = (), ()
    while True:
        level = 1.0 if not levels else levels_of.following(levels, scores)[0]
        levels, scores = (*levels, level), (*scores, (np.log2(level) + 4.3) ** 2)
        level, final = levels_of.following(levels, scores)
        if final:
            break
    assert level == pytest.approx(2**-4.3)
    assert len(levels) == 8
    price = levels_of.score(0.0, 10.0, 10, 100, 1)  # no choice: only log m each
    assert price == pytest.approx(10 * np.log(100))
    assert levels_of.score(0.0, 1.0, 10, 50, 2) == pytest.approx(np.log(100) / 2 + np.log(10))


def test_noise_as_an_array_is_whitened():
    problem, x = sparse(seed=2)
    rng = np.random.default_rng(5)
    sigma = np.where(rng.random(30) < 0.3, 1.0, 0.01)
    data = problem.operator @ x + sigma * rng.standard_normal(30)
    result = fit(replace(problem, data=data, noise=sigma))
    assert nmse(result.x, x) < 0.1 * nmse(fit(replace(problem, data=data, noise=0.55)).x, x)
    A = problem.operator.matrix
    S = np.diag(sigma**2) + (A * result.state.gamma) @ A.T
    assert result.objective == pytest.approx(
        np.linalg.slogdet(S)[1] + data @ np.linalg.solve(S, data), rel=1e-9
    )
    flat = fit(replace(problem, noise=np.full(30, 0.02)))
    np.testing.assert_allclose(flat.x, fit(problem).x, atol=1e-9)


# -- against figures of peers ----------------------------------------------------------------------------


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.exists(), reason="needs the developers' ../shared folder")
@pytest.mark.parametrize(
    ("case", "snr", "groups", "seeds", "bar"),
    [
        ("gauss", 20, None, 5, 6.746e-3),
        ("gauss", 30, None, 5, 6.358e-4),
        ("mmv", 20, None, 10, 6.990e-3),
        ("block", 30, 8, 5, 3.729e-3),
    ],
)
def test_as_good_as_gamma_map_and_better_than_ard(case, snr, groups, seeds, bar, monkeypatch):
    monkeypatch.setattr(sys, "path", [str(SHARED), *sys.path])
    import gen_sbl

    known, learned = [], []
    for seed in range(seeds):
        q = gen_sbl.make(case, seed, snr)
        joint = q.Y.shape[1] > 1
        problem = Problem(Matrix(q.A), q.Y.T.copy() if joint else q.Y[:, 0].copy(), noise=q.noise_var**0.5)
        truth = q.X.T if joint else q.X[:, 0]
        known.append(nmse(fit(problem, joint=joint, groups=groups).x, truth))
        learned.append(nmse(fit(replace(problem, noise=None), joint=joint, groups=groups).x, truth))
    assert np.mean(known) <= 1.02 * bar
    assert np.mean(learned) <= 1.15 * np.mean(known)
