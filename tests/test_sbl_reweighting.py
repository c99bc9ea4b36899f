"""Iterative reweighting: one seam for reweighted l2, reweighted l1 and sparse Bayesian learning."""

import math
from dataclasses import dataclass, replace

import array_api_strict
import numpy as np
import pytest
import torch
from recon_proximal import ActiveSet, Fista, Reweighted
from recon_sbl.batch import Sbl
from recon_sbl.reweighting import IterativelyReweighted
from recon_sbl.weight_rules import LogSumRule, LpRule, SblL1Rule, SblL2Rule, WeightRule

import recon
from recon import L1, Diagonal, Identity, Matrix, Problem
from recon.arrays import as_numpy, namespace
from recon.errors import CapabilityError, ParameterError
from recon.losses import Poisson
from recon.testing import check_solver


def sparse(m=24, n=48, k=4, noise=0.02, seed=0, kind="real"):
    rng = np.random.default_rng(seed)

    def draw(*shape):
        values = rng.standard_normal(shape)
        return values + 1j * rng.standard_normal(shape) if kind == "complex" else values

    A, x = draw(m, n) / np.sqrt(m), 0 * draw(n)
    x[rng.choice(n, k, replace=False)] = draw(k)
    return A, x, A @ x + noise * draw(m)


def run(solver, problem, steps):
    state = solver.init(problem)
    for _ in range(steps):
        state = solver.step(problem, state)
    return state


class Products(recon.Operator):
    """A matrix that only gives its products."""

    def __init__(self, matrix):
        self.inner = Matrix(matrix)
        self.domain, self.codomain = self.inner.domain, self.inner.codomain

    def _forward(self, x):
        return self.inner @ x

    def _adjoint(self, y):
        return self.inner.H @ y


@pytest.mark.parametrize("rule", [SblL2Rule(), SblL1Rule(), LpRule(), LpRule(p=0.5)], ids=repr)
def test_contract(rule):
    check_solver(IterativelyReweighted(rule))


def test_contract_with_the_prior_l1():
    check_solver(IterativelyReweighted(LogSumRule()), replace(Sbl.example(), prior=L1(0.02)))


@pytest.mark.parametrize("kind", ["real", "complex"])
def test_the_rule_of_em_is_em(kind):
    A, _, y = sparse(kind=kind)
    problem = Problem(Matrix(A), y, noise=0.02)
    ours, em = (run(solver, problem, 60) for solver in (IterativelyReweighted(), Sbl(update="em")))
    np.testing.assert_allclose(ours.x, em.x, rtol=0, atol=1e-11)
    np.testing.assert_allclose(ours.variance, em.variance, rtol=0, atol=1e-12)
    np.testing.assert_allclose(ours.costs, em.costs, rtol=1e-10)


def test_em_step_against_dense_algebra():
    A, _, y = sparse(6, 9, 2)
    problem = Problem(Matrix(A), y, noise=0.1)
    solver = IterativelyReweighted()
    state = run(solver, problem, 3)
    gamma = np.abs(state.x) ** 2 + state.variance
    S = 0.01 * np.eye(6) + A @ np.diag(gamma) @ A.T
    new = solver.step(problem, state)
    np.testing.assert_allclose(new.gamma, gamma, rtol=1e-12)
    np.testing.assert_allclose(new.x, gamma * (A.T @ np.linalg.solve(S, y)), rtol=1e-9, atol=1e-12)
    Sigma = np.diag(gamma) - np.diag(gamma) @ A.T @ np.linalg.solve(S, A) @ np.diag(gamma)
    np.testing.assert_allclose(new.variance, np.diag(Sigma), rtol=1e-8, atol=1e-13)
    assert new.costs[-1] == pytest.approx(np.linalg.slogdet(S)[1] + y @ np.linalg.solve(S, y), rel=1e-10)


@dataclass(frozen=True)
class Bounding(WeightRule):
    """The convex bounding update, as the docs write it."""

    needs = "leverage"

    def weights(self, past):
        xp = namespace(past.x)
        return past.s2 * xp.sqrt(past.leverage) / (xp.abs(past.x) + 1e-12 * past.unit)


def test_a_rule_of_the_docs_is_the_bounding_update():
    A, _, y = sparse()
    problem = Problem(Matrix(A), y, noise=0.02)
    ours = run(IterativelyReweighted(Bounding()), problem, 25)
    theirs = run(Sbl(update="bounding"), problem, 25)
    np.testing.assert_allclose(ours.x, theirs.x, rtol=0, atol=1e-6)
    np.testing.assert_allclose(ours.costs[-1], theirs.costs[-1], rtol=1e-6)


@pytest.mark.parametrize("rule", [SblL2Rule(), SblL1Rule()], ids=repr)
@pytest.mark.parametrize("kind", ["real", "complex"])
def test_the_evidence_cost_never_rises(rule, kind):
    A, _, y = sparse(kind=kind)
    solver = IterativelyReweighted(rule, solver=None if kind == "real" else Fista(), inner_tol=1e-10)
    costs = run(solver, Problem(Matrix(A), y, noise=0.05), 12).costs
    assert np.diff(costs).max() <= 1e-7 * abs(costs[-1])
    assert costs[-1] < costs[0] - 10


def test_l1_form_rests_where_the_posterior_mean_is():
    A, x, y = sparse()
    problem = Problem(Matrix(A), y, noise=0.02)
    result = recon.solve(problem, IterativelyReweighted(SblL1Rule()), stop=200)
    assert result.status is recon.Status.CONVERGED
    gamma = result.hyperparameters["gamma"]
    S = 0.02**2 * np.eye(24) + A @ np.diag(gamma) @ A.T
    np.testing.assert_allclose(result.x, gamma * (A.T @ np.linalg.solve(S, y)), rtol=0, atol=1e-5)
    assert set(np.flatnonzero(x)) <= set(np.flatnonzero(result.x))
    assert np.count_nonzero(result.x) <= 24
    assert result.variance.shape == (48,)


@pytest.mark.parametrize("library", [np.asarray, torch.asarray])
def test_l1_form_holds_in_single_precision_at_60_dB(library):
    A, x, y = sparse(noise=1e-3)
    problem = Problem(Matrix(A.astype(np.float32)), library(y.astype(np.float32)), noise=1e-3)
    state = run(IterativelyReweighted(SblL1Rule()), problem, 15)
    assert as_numpy(state.x).dtype == np.float32
    assert np.sum((as_numpy(state.x) - x) ** 2) < 1e-4 * np.sum(x**2)
    costs = np.array(state.costs)
    assert np.diff(costs).max() <= 1e-4 * abs(costs[-1])


def test_log_sum_is_reweighted_of_recon_proximal():
    A, _, y = sparse()
    problem = Problem(Matrix(A), y, L1(0.02))
    theirs = run(Reweighted(ActiveSet(), rounds=4, steps=1000, tol=1e-8), problem, 4).x
    np.testing.assert_allclose(
        run(IterativelyReweighted(LogSumRule()), problem, 4).x, theirs, rtol=0, atol=1e-12
    )
    theirs = run(Reweighted(ActiveSet(), rounds=4, eps=0.1, steps=1000, tol=1e-8), problem, 4).x
    ours = run(IterativelyReweighted(LogSumRule(eps=0.1)), problem, 4)
    np.testing.assert_allclose(ours.x, theirs, rtol=0, atol=1e-12)
    assert ours.costs[-1] == pytest.approx(problem.objective(ours.x), rel=1e-12)


def test_lp_finds_noiseless_images_exactly_and_its_objective_falls():
    A, x, _ = sparse(noise=0.0, k=7)
    result = recon.solve(Problem(Matrix(A), A @ x), IterativelyReweighted(LpRule()), stop=500)
    np.testing.assert_allclose(result.x, x, atol=1e-4)
    problem = Problem(Matrix(A), A @ x + 0.05 * np.random.default_rng(1).standard_normal(24), noise=0.05)
    for p in (0.0, 0.5, 1.0):
        assert np.diff(run(IterativelyReweighted(LpRule(p=p)), problem, 60).costs).max() <= 1e-10


@pytest.mark.parametrize("kind", ["real", "complex"])
def test_products_only_give_what_the_matrix_gives(kind):
    A, _, y = sparse(kind=kind)
    solver = IterativelyReweighted(LpRule(), inner_tol=1e-12)
    state = solver.init(Problem(Matrix(A), y, noise=0.05))
    direct = solver.step(Problem(Matrix(A), y, noise=0.05), state)
    products = solver.step(Problem(Products(A), y, noise=0.05), state)
    np.testing.assert_allclose(products.x, direct.x, atol=1e-9)
    assert products.costs[-1] == pytest.approx(direct.costs[-1], rel=1e-9)
    result = recon.solve(Problem(Products(A), y, noise=0.05), solver, stop=5)
    assert result.variance is None


@pytest.mark.parametrize("rule", [SblL2Rule(), SblL1Rule(), LpRule()], ids=repr)
def test_units_change_nothing_but_units(rule):
    A, _, y = sparse()
    solver = IterativelyReweighted(rule)
    plain = run(solver, Problem(Matrix(A), y, noise=0.05), 15)
    for a, b in ((1e6, 1.0), (1e-6, 1.0), (1.0, 1e6), (1.0, 1e-6)):
        other = run(solver, Problem(Matrix(b * A), a * y, noise=a * 0.05), 15)
        np.testing.assert_allclose(other.x * b / a, plain.x, rtol=0, atol=1e-8)


@pytest.mark.parametrize("rule", [SblL2Rule(), SblL1Rule(), LpRule()], ids=repr)
def test_every_library_gives_the_same(rule):
    A, _, y = sparse()
    solver = IterativelyReweighted(rule)
    plain = run(solver, Problem(Matrix(A), y, noise=0.05), 8)
    for library in (torch.asarray, array_api_strict.asarray):
        state = run(solver, Problem(Matrix(A), library(y), noise=0.05), 8)
        np.testing.assert_allclose(as_numpy(state.x), plain.x, rtol=0, atol=1e-10)


@pytest.mark.parametrize("rule", [SblL2Rule(), SblL1Rule(), LpRule()], ids=repr)
def test_noise_of_several_levels_is_whitened(rule):
    A, _, y = sparse()
    sigma = np.where(np.arange(24) % 2, 0.02, 0.1)
    solver = IterativelyReweighted(rule, inner_tol=1e-10)
    ours = run(solver, Problem(Matrix(A), y, noise=sigma), 10)
    by_hand = run(solver, Problem(Matrix(A / sigma[:, None]), y / sigma, noise=1.0), 10)
    np.testing.assert_allclose(ours.x, by_hand.x, rtol=0, atol=1e-6)


def test_zero_data_give_zero():
    for rule in (SblL2Rule(), SblL1Rule(), LpRule()):
        state = run(IterativelyReweighted(rule), Problem(Matrix(sparse()[0]), np.zeros(24), noise=0.1), 3)
        assert not state.x.any()


@dataclass(frozen=True)
class Negative(WeightRule):
    """Weights that no problem has."""

    def weights(self, past):
        return -past.unit


def test_what_it_refuses():
    A, _, y = sparse()
    problem = Problem(Matrix(A), y, noise=0.02)
    with pytest.raises(ParameterError, match="IterativelyReweighted.rule must be a WeightRule, got <class"):
        IterativelyReweighted(LpRule)
    with pytest.raises(
        ParameterError, match="IterativelyReweighted.solver must be a Solver, got 'fista'. Make an"
    ):
        IterativelyReweighted(SblL1Rule(), solver="fista")
    with pytest.raises(
        ParameterError, match=r"Negative.weights must be > 0 and of shape \(48,\), got an array"
    ):
        run(IterativelyReweighted(Negative()), problem, 1)
    with pytest.raises(
        NotImplementedError, match="WeightRule.weights must return an array of the domain's shape"
    ):
        run(IterativelyReweighted(WeightRule()), problem, 1)
    with pytest.raises(CapabilityError, match="LogSumRule needs the prior L1 of x itself, got None"):
        IterativelyReweighted(LogSumRule()).init(problem)
    with pytest.raises(ParameterError, match="IterativelyReweighted needs the noise level"):
        IterativelyReweighted(SblL1Rule()).init(Problem(Matrix(A), y))
    with pytest.raises(CapabilityError, match="IterativelyReweighted learns its own prior"):
        IterativelyReweighted().init(replace(problem, prior=L1(1.0)))
    with pytest.raises(CapabilityError, match="IterativelyReweighted needs LeastSquares, got Poisson"):
        IterativelyReweighted().init(Problem(Identity(Matrix(A).domain), np.ones(48), loss=Poisson()))
    with pytest.raises(CapabilityError, match="IterativelyReweighted fits one sample at a time"):
        IterativelyReweighted().init(Problem(Matrix(A), np.stack([y, y]), noise=1.0))
    big = Diagonal(np.ones(5000))
    with pytest.raises(CapabilityError, match="IterativelyReweighted needs an operator of at most"):
        IterativelyReweighted().init(Problem(big, np.ones(5000), noise=1.0))
    assert math.isfinite(
        run(IterativelyReweighted(LpRule()), Problem(big, np.ones(5000), noise=1.0), 1).costs[-1]
    )
