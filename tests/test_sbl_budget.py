"""Sparse Bayesian learning with a budget: the end of the full sequential search, from products and a small pool."""

from __future__ import annotations

import array_api_strict
import numpy as np
import pytest
import torch
from recon_operators.sensing import PartialDct
from recon_sbl._budget_pool import Columns, Pool
from recon_sbl._sequential_atoms import Model, critical_ratio
from recon_sbl.budget import BudgetSbl
from recon_sbl.sequential import SequentialSbl
from sbl_problems import uneven

import recon
from recon.errors import CapabilityError
from recon.testing import check_solver


def instance(m=40, n=100, k=6, db=25.0, **options):
    return uneven(m, n, k, db=db, **options)[0]


def ratios(problem, state):
    """|q|^2 / s of the entries that are not active, by plain dense algebra."""
    A, y = problem.operator.matrix, np.atleast_2d(problem.data)
    s2 = problem.noise**2 * (2 if y.dtype.kind == "c" else 1)
    inverse = np.linalg.inv(s2 * np.eye(len(A)) + (A * state.gamma) @ A.conj().T)
    s = np.einsum("mi,mn,ni->i", A.conj(), inverse, A).real
    q = np.mean(np.abs(A.conj().T @ inverse @ y.T) ** 2, axis=1)
    return (q / s)[state.gamma == 0]


def dense_cost(problem, gamma):
    A, y = problem.operator.matrix, np.atleast_2d(problem.data)
    s2 = problem.noise**2 * (2 if y.dtype.kind == "c" else 1)
    S = s2 * np.eye(len(A)) + (A * gamma) @ A.conj().T
    return len(y) * np.linalg.slogdet(S)[1] + np.sum(y.conj().T * np.linalg.solve(S, y.T)).real


@pytest.mark.parametrize("batch", [1, 8, 100])
@pytest.mark.parametrize(("complex_", "snapshots"), [(False, 0), (True, 0), (True, 3)])
def test_end_point_is_that_of_the_full_sequential_search(batch, complex_, snapshots):
    problem = instance(complex_=complex_, snapshots=snapshots)
    joint = bool(snapshots)
    full = recon.solve(problem, SequentialSbl(tol=1e-13, joint=joint))
    found = recon.solve(problem, BudgetSbl(batch=batch, tol=1e-11, joint=joint))
    assert found.state.settled
    size = np.abs(full.x).max()
    np.testing.assert_allclose(found.x, full.x, rtol=0, atol=1e-6 * size)
    np.testing.assert_allclose(found.variance, full.variance, rtol=1e-5, atol=0)
    assert found.state.costs[-1] == pytest.approx(full.state.costs[-1], rel=1e-10)
    assert found.state.costs[-1] == pytest.approx(dense_cost(problem, found.state.gamma), rel=1e-10)
    level = critical_ratio(100, max(snapshots, 1), problem.data, 0.5)
    assert ratios(problem, found.state).max() <= level
    assert "Certificate of BudgetSbl" in found.provenance["remarks"][0]


@pytest.mark.parametrize("budget", [1, 3])
def test_a_budget_is_kept_and_the_objective_never_rises(budget):
    problem = instance()
    solver = BudgetSbl(budget=budget, batch=4)
    level = critical_ratio(100, 1, problem.data, 0.5)
    price = level - 1 - np.log(level)
    state, before = solver.init(problem), np.inf
    for _ in range(50):
        state = solver.step(problem, state)
        active = np.count_nonzero(state.gamma)
        objective = dense_cost(problem, state.gamma) + price * active
        assert active <= budget
        assert len(state.pool) <= budget + 4
        assert objective <= before + 1e-9 * abs(before if np.isfinite(before) else 1.0)
        before = objective
        if state.settled:
            break
    assert state.settled
    assert active == budget
    full = recon.solve(problem, SequentialSbl())
    scores = full.x**2 / np.where(full.variance > 0, full.variance, 1.0)
    assert np.argmax(scores) in np.flatnonzero(state.gamma)
    assert "used its whole budget" in solver.remarks(state)[0]
    assert ratios(problem, state).max() > level


def test_noise_alone_brings_in_few_entries_but_fills_any_budget_with_the_paper_s_test():
    rng = np.random.default_rng(2)
    counts = {0.5: [], None: []}
    for _ in range(5):
        problem = recon.Problem(
            recon.Matrix(rng.standard_normal((60, 400))), rng.standard_normal(60), noise=1.0
        )
        for alarms, found in counts.items():
            state = recon.solve(problem, BudgetSbl(budget=8, batch=20, false_alarms=alarms), stop=100).state
            found.append(np.count_nonzero(state.gamma))
    assert np.mean(counts[0.5]) <= 2
    assert counts[None] == [8] * 5


@pytest.mark.parametrize("complex_", [False, True])
def test_gram_and_strength_are_those_of_the_dense_columns(complex_):
    problem = instance(complex_=complex_)
    matrix = problem.operator.matrix.copy()
    matrix[:, 7] = 0.0
    operator = recon.Matrix(matrix)
    sigma = problem.noise * np.random.default_rng(1).uniform(0.5, 2.0, 40)
    problem = recon.Problem(operator, problem.data, noise=sigma)
    model = Model.of(problem, "test")
    A = model.weights[:, None] * matrix
    columns = Columns(problem, model, np.where(np.arange(100) == 7, 1.0, np.linalg.norm(A, axis=0)) * 1.1)
    kind = model.y.dtype
    pool = Pool(np.zeros(0, int), np.zeros((0, 0), kind), np.zeros((0, 1), kind), np.zeros(0))
    for new in ([5, 7, 9], [2, 50]):
        new = np.array(new)
        _, pulls = columns.correlate(np.zeros(100, kind))
        pool = pool.joined(columns, new, pulls[:, new])
    assert list(pool.indices) == [5, 9, 2, 50]
    assert columns.lengths[7] == 0.0
    unit = A[:, pool.indices] / np.linalg.norm(A[:, pool.indices], axis=0)
    np.testing.assert_allclose(pool.gram, unit.conj().T @ unit, atol=1e-13)
    np.testing.assert_allclose(pool.pull[:, 0], unit.conj().T @ model.y[0], rtol=1e-10)
    pool = Pool(pool.indices, pool.gram, pool.pull, np.array([2.0, np.inf, 0.5, 1.0]))
    s2 = 0.01
    got = columns.strength(pool.indices, pool.posterior(1 / s2))
    active = unit[:, [0, 2, 3]]
    inverse = np.linalg.inv(s2 * np.eye(40) + (active / [2.0, 0.5, 1.0]) @ active.conj().T)
    raw = np.einsum("mi,mn,ni->i", A.conj(), inverse, A).real
    known = [5, 9, 2, 50]
    np.testing.assert_allclose(got[known], raw[known] / np.sum(np.abs(A[:, known]) ** 2, axis=0), rtol=1e-9)
    assert got[7] == 0.0


def test_contract():
    check_solver(BudgetSbl())
    check_solver(BudgetSbl(batch=2, budget=6))
    check_solver(BudgetSbl(batch=3), recon.Problem(instance().operator, instance().data))


def test_libraries_agree():
    problem = instance()
    x = recon.solve(problem, BudgetSbl(batch=5)).x
    for to in (torch.as_tensor, array_api_strict.asarray):
        got = recon.solve(
            recon.Problem(problem.operator, to(problem.data), noise=problem.noise), BudgetSbl(batch=5)
        ).x
        assert type(got) is type(to(problem.data))
        np.testing.assert_allclose(recon.arrays.as_numpy(got), x, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("factor", [1e-6, 1e6])
@pytest.mark.parametrize("known", [True, False])
def test_units_do_not_matter(factor, known):
    problem = instance()
    noise = problem.noise if known else None
    solver = BudgetSbl(batch=5)
    first = recon.solve(recon.Problem(problem.operator, problem.data, noise=noise), solver)
    scaled = recon.Problem(problem.operator, factor * problem.data, noise=noise and factor * noise)
    second = recon.solve(scaled, solver)
    taller = recon.Matrix(factor * problem.operator.matrix)
    third = recon.solve(recon.Problem(taller, problem.data, noise=noise), solver)
    size = np.abs(first.x).max()
    assert np.abs(second.x / factor - first.x).max() <= 1e-8 * size
    assert np.abs(third.x * factor - first.x).max() <= 1e-8 * size
    np.testing.assert_allclose(second.variance / factor**2, first.variance, rtol=1e-8, atol=0)


def test_noise_that_differs_is_whitened_and_real_data_may_be_complex():
    problem = instance()
    sigma = problem.noise * np.random.default_rng(1).uniform(0.5, 2.0, 40)
    x = recon.solve(recon.Problem(problem.operator, problem.data, noise=sigma), BudgetSbl(tol=1e-10)).x
    matrix = problem.operator.matrix / sigma[:, None]
    white = recon.Problem(recon.Matrix(matrix), problem.data / sigma, noise=1.0)
    np.testing.assert_allclose(recon.solve(white, BudgetSbl(tol=1e-10)).x, x, rtol=1e-6, atol=1e-8)
    wide = recon.Problem(
        recon.Matrix(problem.operator.matrix.astype(complex)),
        problem.data.astype(complex),
        noise=problem.noise / 2**0.5,
    )
    plain = BudgetSbl(tol=1e-10, false_alarms=None)
    np.testing.assert_allclose(
        recon.solve(wide, plain, stop=300).x, recon.solve(problem, plain, stop=300).x, rtol=1e-5, atol=1e-7
    )


def test_an_operator_that_does_not_tell_its_lengths():
    rng = np.random.default_rng(4)
    operator = PartialDct((2048,), np.sort(rng.permutation(2048)[:512]), variant="III")
    x = np.zeros(2048)
    x[rng.choice(2048, 20, replace=False)] = np.sign(rng.standard_normal(20))
    clean = operator @ x
    sigma = 0.03 * float(np.sqrt(np.mean(clean**2)))
    data = clean + sigma * rng.standard_normal(512)
    for noise in (sigma, None):
        result = recon.solve(recon.Problem(operator, data, noise=noise), BudgetSbl(batch=30), stop=100)
        state = result.state
        assert state.settled
        assert not state.exact
        assert set(np.flatnonzero(x)) <= set(np.flatnonzero(result.x))
        assert np.sum((result.x - x) ** 2) < 2 * 20 * sigma**2 * 4
        assert state.noise == pytest.approx(sigma, rel=0.1)
        assert "estimates from random signs" in result.provenance["remarks"][1]
        units = np.zeros((len(state.pool), 2048))
        units[np.arange(len(units)), state.pool] = 1.0
        lengths = np.linalg.norm(operator @ units, axis=1)
        np.testing.assert_allclose(state.lengths[state.pool], lengths, rtol=1e-12)
        assert state.products < 200
        assert result.hyperparameters["products"] == state.products


def test_hard_data_have_a_plain_answer():
    problem = instance()
    for noise in (0.1, None):
        zero = recon.solve(recon.Problem(problem.operator, np.zeros(40), noise=noise), BudgetSbl())
        assert zero.status.name == "CONVERGED"
        assert not zero.x.any()
    twins = recon.Matrix(np.hstack([problem.operator.matrix] * 2))
    pair = recon.solve(recon.Problem(twins, problem.data, noise=problem.noise), BudgetSbl())
    support = np.flatnonzero(pair.x)
    assert len(set(support % 100)) == len(support) > 0
    one = recon.Problem(recon.Matrix(np.array([[1.0, 2.0]])), np.array([3.0]), noise=0.1)
    assert np.count_nonzero(recon.solve(one, BudgetSbl()).x) == 1
    nothing = recon.Problem(problem.operator, np.random.default_rng(8).standard_normal(40))
    silent = recon.solve(nothing, BudgetSbl(false_alarms=1e-3))
    assert silent.status.name == "CONVERGED"
    assert silent.state.noise == pytest.approx(np.sqrt(np.mean(nothing.data**2)), rel=1e-2)
    assert not silent.x.any()
    single = recon.Problem(
        recon.Matrix(problem.operator.matrix.astype(np.float32)),
        problem.data.astype(np.float32),
        noise=problem.noise,
    )
    np.testing.assert_allclose(
        recon.solve(single, BudgetSbl()).x, recon.solve(problem, BudgetSbl()).x, rtol=0, atol=1e-4
    )


@pytest.mark.parametrize(
    ("seed", "m", "n", "snapshots", "batch", "db"),
    [(420189068, 40, 19, 0, 3, 10.0), (856905093, 8, 194, 3, 1, 60.0)],
)
def test_columns_that_are_nearly_alike_come_to_an_end(seed, m, n, snapshots, batch, db):
    problem = instance(m, n, 1 if m < n else 16, db, seed=seed, snapshots=snapshots)
    coherent = np.cumsum(problem.operator.matrix, axis=1) / np.sqrt(np.arange(1, n + 1))
    problem = recon.Problem(recon.Matrix(coherent), problem.data, noise=problem.noise)
    solver = BudgetSbl(budget=10, batch=batch, false_alarms=None, joint=bool(snapshots))
    result = recon.solve(problem, solver, stop=250)
    assert result.state.settled
    assert 0 < np.count_nonzero(result.state.gamma) <= 10


def test_an_operator_of_images_is_that_of_its_matrix():
    rng = np.random.default_rng(6)
    operator = PartialDct((6, 8), np.sort(rng.permutation(48)[:30]))
    image = np.zeros((6, 8))
    image[[1, 4, 5], [2, 0, 7]] = 1.0, -2.0, 1.5
    data = operator @ image + 0.05 * rng.standard_normal(30)
    found = recon.solve(recon.Problem(operator, data, noise=0.05), BudgetSbl(tol=1e-9))
    matrix = recon.Matrix((operator @ np.eye(48).reshape(48, 6, 8)).reshape(48, -1).T)
    plain = recon.solve(recon.Problem(matrix, data, noise=0.05), BudgetSbl(tol=1e-9))
    np.testing.assert_allclose(found.x.reshape(-1), plain.x, rtol=1e-6, atol=1e-9)
    assert set(np.argwhere(image).sum(axis=1)) <= set(np.argwhere(found.x).sum(axis=1))


def test_errors():
    problem = instance(snapshots=2)
    with pytest.raises(CapabilityError, match="BudgetSbl fits one sample at a time"):
        BudgetSbl().init(problem)
