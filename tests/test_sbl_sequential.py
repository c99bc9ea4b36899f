"""Sequential sparse Bayesian learning: the gains are true changes of the cost, the end is a fixed point."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import array_api_strict
import numpy as np
import pytest
import torch
from recon_sbl._sequential_active import Active, Search
from recon_sbl._sequential_atoms import FewAtoms, Model, OperatorAtoms, critical_ratio
from recon_sbl.sequential import SequentialSbl
from sbl_problems import dense_cost, uneven

import recon
from recon.errors import CapabilityError
from recon.testing import check_solver

SHARED = Path(__file__).resolve().parents[2] / "shared" / "reference"


def s2_of(problem):
    return problem.noise**2 * (2 if problem.data.dtype.kind == "c" else 1)


def dense_gains(problem, gamma, s2, level):
    """What F = L + price n falls by at best when one gamma_i alone moves, by leaving i out of S."""
    A, y = problem.operator.matrix, np.atleast_2d(problem.data)
    price = level - 1 - math.log(level)
    falls, ratios = [], []
    for i in range(A.shape[1]):
        others = gamma.copy()
        others[i] = 0.0
        S = s2 * np.eye(len(A)) + (A * others) @ A.conj().T
        w = np.linalg.solve(S, A[:, i])
        s, q2 = np.vdot(A[:, i], w).real, np.mean(np.abs(w.conj() @ y.T) ** 2)
        now = 0.0
        if gamma[i]:
            now = math.log1p(gamma[i] * s) - q2 * gamma[i] / (1 + gamma[i] * s) + price
        best = -(q2 / s - 1 - math.log(q2 / s)) + price if q2 > level * s else 0.0
        falls.append(len(y) * (now - best))
        ratios.append(q2 / s)
    return np.array(falls), np.array(ratios)


@pytest.mark.parametrize("alarms", [None, 0.5])
@pytest.mark.parametrize(("complex_", "snapshots"), [(False, 0), (True, 0), (True, 3)])
def test_every_action_lowers_the_cost_by_its_gain_and_is_the_best_one(alarms, complex_, snapshots):
    problem, _ = uneven(complex_=complex_, snapshots=snapshots, k=6)
    s2, tol = s2_of(problem), 1e-7
    solver = SequentialSbl(false_alarms=alarms, batch=1, tol=tol, joint=bool(snapshots))
    level = critical_ratio(40, max(snapshots, 1), problem.data, alarms)
    price = max(snapshots, 1) * (level - 1 - math.log(level))
    state = solver.init(problem)
    assert state.costs[-1] == pytest.approx(dense_cost(problem, state.gamma, s2), rel=1e-12)
    for _ in range(400):
        before, state = state, solver.step(problem, state)
        assert state.costs[-1] == pytest.approx(dense_cost(problem, state.gamma, s2), rel=1e-9, abs=1e-9)
        if state.actions > before.actions:
            count = np.count_nonzero(state.gamma) - np.count_nonzero(before.gamma)
            fall = before.costs[-1] - state.costs[-1] - price * count
            falls, _ = dense_gains(problem, before.gamma, s2, level)
            assert fall > 0.0
            assert fall == pytest.approx(falls.max(), rel=1e-5, abs=1e-8)
        if state.settled:
            break
    assert state.settled
    falls, ratios = dense_gains(problem, state.gamma, s2, level)
    assert falls.max() <= tol * 20 * max(snapshots, 1) * (1 + 1e-6)
    assert ratios[state.gamma == 0].max() <= level * (1 + 1e-2)


def test_the_end_is_stationary_and_the_posterior_is_that_of_the_textbook():
    problem, _ = uneven(k=6)
    state = recon.solve(problem, SequentialSbl(false_alarms=None, tol=1e-14), stop=500).state
    assert state.settled
    s2, gamma, A = s2_of(problem), state.gamma, problem.operator.matrix
    S = s2 * np.eye(20) + (A * gamma) @ A.T
    inverse = np.linalg.inv(S)
    slope = np.einsum("mi,mn,ni->i", A, inverse, A) - (A.T @ inverse @ problem.data) ** 2
    assert np.abs(gamma * slope).max() < 1e-5  # dL / d log gamma
    assert slope[gamma == 0].min() > -1e-5 * slope.max()  # no inactive entry would lower L
    Sigma = np.diag(gamma) - (gamma[:, None] * A.T) @ inverse @ (A * gamma)
    np.testing.assert_allclose(state.x, gamma * (A.T @ inverse @ problem.data), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(state.variance, np.diag(Sigma), rtol=1e-8, atol=1e-14)


@pytest.mark.parametrize("batch", [1, 7, 500])
def test_cost_never_rises_with_the_paper_s_test_and_updates_do_not_drift(batch):
    problem, _ = uneven(40, 100, 10, seed=3, db=30)
    result = recon.solve(problem, SequentialSbl(false_alarms=None, batch=batch), stop=2000)
    costs = np.array(result.state.costs)
    assert np.all(np.diff(costs) <= 1e-9 * np.abs(costs[1:]))
    assert costs[-1] == pytest.approx(dense_cost(problem, result.state.gamma, s2_of(problem)), rel=1e-9)


def test_rank_one_updates_agree_with_a_posterior_computed_anew():
    problem, _ = uneven(30, 60, 8, seed=1, complex_=True)
    model = Model.of(problem, "test")
    atoms = OperatorAtoms(model, model.lengths())
    empty = np.zeros((0, 30), complex)
    search = Search(
        atoms,
        Active([], [], empty[:, :0], empty[:, :1], empty, 1 / model.s2, 80),
        np.full(60, 1 / model.s2),
        1.0,
    )
    search.run(80, 1e-9)
    search.flush()
    active = search.active
    fresh = Active(
        active.indices,
        active.alpha,
        active.columns.conj() @ active.columns.T,
        active.pull,
        active.columns,
        active.beta,
        0,
    )
    np.testing.assert_allclose(active.sigma, fresh.sigma, rtol=1e-9, atol=1e-9 * np.abs(fresh.sigma).max())
    np.testing.assert_allclose(active.mu, fresh.mu, rtol=1e-9, atol=1e-10)
    S, Q = search.S.copy(), search.Q.copy()
    search.refresh()
    np.testing.assert_allclose(S, search.S, rtol=1e-7)
    np.testing.assert_allclose(Q, search.Q, atol=1e-8 * np.abs(Q).max() + 1e-7)


def test_a_dictionary_by_its_gram_matrix_takes_the_same_actions():
    problem, _ = uneven(30, 60, 8, seed=1)
    model = Model.of(problem, "test")
    atoms = OperatorAtoms(model, model.lengths())
    columns = atoms.inverse[:, None] * model.columns(np.arange(60))
    few = FewAtoms(columns @ columns.T, columns @ model.y.T)
    ends = []
    for dictionary, kept in ((atoms, np.zeros((0, 30))), (few, None)):
        active = Active([], [], np.zeros((0, 0)), np.zeros((0, 1)), kept, 1 / model.s2, 60)
        search = Search(dictionary, active, np.full(60, 1 / model.s2), 2.0)
        search.run(60, 1e-9)
        ends.append((list(active.indices), active.alpha.copy()))
    assert ends[0][0] == ends[1][0]
    np.testing.assert_allclose(ends[0][1], ends[1][1], rtol=1e-8)


def best_change(active, level, price):
    """The change of one active entry that lowers F most: entry, fall of F, precision; as in the paper, by NumPy."""
    d, alpha = active.variances, active.alpha
    s, q = 1 / d - alpha, np.mean(np.abs(active.mu) ** 2, axis=1) / d**2
    stays = q > level * s
    new = np.where(stays, s * s / np.where(stays, q - s, 1.0), np.inf)
    t = np.where(stays, q / s, 1.0)
    falls = np.log1p(s / alpha) - q / (alpha + s) + price + np.where(stays, t - 1 - np.log(t) - price, 0.0)
    k = int(falls.argmax())
    return k, falls[k], new[k]


@pytest.mark.parametrize("level", [1.0, 3.0])
@pytest.mark.parametrize("complex_", [False, True])
def test_compiled_re_estimates_are_the_best_changes_one_by_one(level, complex_):
    rng = np.random.default_rng(4)
    rows = rng.standard_normal((8, 30)) + (1j * rng.standard_normal((8, 30)) if complex_ else 0.0)
    data = rows.T @ rng.uniform(1.0, 3.0, (8, 2)) + rng.standard_normal((30, 2))
    arguments = np.arange(8), rng.uniform(0.1, 9.0, 8), rows.conj() @ rows.T, rows.conj() @ data, None, 1.0
    fast, plain = Active(*arguments, 3), Active(*arguments, 3)
    price, total, count = level - 1 - math.log(level), 0.0, 0
    (kappas, columns, means), fall, k, gain, new = fast.improve(level, price, 1e-9, 50)
    while True:
        entry, least, to = best_change(plain, level, price)
        if least <= 1e-9 or math.isinf(to):
            break
        kappa, column, mean = plain.change(entry, to)
        assert kappas[count] == pytest.approx(kappa, rel=1e-8)
        np.testing.assert_allclose(columns[count], column, rtol=1e-8, atol=1e-12)
        np.testing.assert_allclose(means[count], mean, rtol=1e-8, atol=1e-12)
        total, count = total + least, count + 1
    assert count == len(kappas) > 8
    assert fall == pytest.approx(total, rel=1e-10)
    np.testing.assert_allclose(fast.sigma, plain.sigma, rtol=1e-10, atol=1e-13)
    np.testing.assert_allclose(fast.mu, plain.mu, rtol=1e-10, atol=1e-13)
    assert (k, math.isinf(new)) == (entry, math.isinf(to))
    assert gain == pytest.approx(least, rel=1e-6, abs=1e-12)
    assert Active(*(a[:0] for a in arguments[:2]), rows[:0] @ rows[:0].T, data[:0], None, 1.0, 3).improve(
        level, price, 0.0, 5
    )[1:] == (0.0, -1, 0.0, 0.0)


@pytest.mark.parametrize("solver", [SequentialSbl(), SequentialSbl(false_alarms=None, batch=3)])
def test_contract(solver):
    check_solver(solver)


def test_contract_with_learned_noise():
    problem, _ = uneven()
    check_solver(SequentialSbl(batch=4), recon.Problem(problem.operator, problem.data))


def test_libraries_agree():
    problem, _ = uneven()
    x = recon.solve(problem, SequentialSbl()).x
    for to in (torch.as_tensor, array_api_strict.asarray):
        got = recon.solve(
            recon.Problem(problem.operator, to(problem.data), noise=problem.noise), SequentialSbl()
        ).x
        assert type(got) is type(to(problem.data))
        np.testing.assert_allclose(recon.arrays.as_numpy(got), x, rtol=1e-10, atol=1e-12)


def test_real_data_in_complex_arrays_and_one_snapshot_given_twice():
    problem, _ = uneven()
    plain = SequentialSbl(false_alarms=None)
    x = recon.solve(problem, plain).x
    wide = recon.Problem(
        recon.Matrix(problem.operator.matrix.astype(complex)),
        problem.data.astype(complex),
        noise=problem.noise / 2**0.5,
    )
    np.testing.assert_allclose(recon.solve(wide, plain).x, x, rtol=1e-8, atol=1e-10)
    twice = recon.Problem(problem.operator, np.stack([problem.data] * 2), noise=problem.noise)
    both = recon.solve(twice, SequentialSbl(false_alarms=None, joint=True)).x
    np.testing.assert_allclose(both, [x, x], rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("factor", [1e-6, 1e6])
@pytest.mark.parametrize("known", [True, False])
def test_units_do_not_matter(factor, known):
    problem, _ = uneven(k=6)
    noise = problem.noise if known else None
    solver = SequentialSbl(false_alarms=None)
    first = recon.solve(recon.Problem(problem.operator, problem.data, noise=noise), solver)
    scaled = recon.Problem(problem.operator, factor * problem.data, noise=noise and factor * noise)
    second = recon.solve(scaled, solver)
    third = recon.solve(
        recon.Problem(recon.Matrix(factor * problem.operator.matrix), problem.data, noise=noise), solver
    )
    size = np.abs(first.x).max()
    assert np.abs(second.x / factor - first.x).max() <= 1e-8 * size
    assert np.abs(third.x * factor - first.x).max() <= 1e-8 * size
    np.testing.assert_allclose(second.variance / factor**2, first.variance, rtol=1e-8, atol=0)


def test_noise_that_differs_is_whitened_and_other_operators_give_the_same():
    problem, _ = uneven()
    sigma = problem.noise * np.random.default_rng(1).uniform(0.5, 2.0, 20)
    x = recon.solve(recon.Problem(problem.operator, problem.data, noise=sigma), SequentialSbl()).x
    white = recon.Problem(
        recon.Matrix(problem.operator.matrix / sigma[:, None]), problem.data / sigma, noise=1.0
    )
    np.testing.assert_allclose(recon.solve(white, SequentialSbl()).x, x, rtol=1e-8, atol=1e-10)
    product = recon.Identity(problem.operator.codomain) @ problem.operator
    same = recon.solve(recon.Problem(product, problem.data, noise=sigma), SequentialSbl()).x
    np.testing.assert_allclose(same, x, rtol=1e-9, atol=1e-12)


def test_hard_data_have_a_plain_answer():
    problem, _ = uneven()
    operator = problem.operator
    for noise in (0.1, None):
        zero = recon.solve(recon.Problem(operator, np.zeros(20), noise=noise), SequentialSbl())
        assert zero.status.name == "CONVERGED"
        assert not zero.x.any()
    flat = recon.solve(recon.Problem(operator, np.ones(20), noise=0.1), SequentialSbl())
    assert flat.state.settled
    assert np.isfinite(flat.x).all()
    twins = recon.Matrix(np.hstack([operator.matrix, operator.matrix]))
    pair = recon.solve(
        recon.Problem(twins, problem.data, noise=problem.noise), SequentialSbl(false_alarms=1.0)
    )
    support = np.flatnonzero(pair.x)
    assert len(set(support % 40)) == len(support) > 0
    one = recon.solve(
        recon.Problem(recon.Matrix(np.array([[1.0, 2.0]])), np.array([3.0]), noise=0.1), SequentialSbl()
    )
    assert np.count_nonzero(one.x) == 1
    tall = recon.solve(
        recon.Problem(recon.Matrix(operator.matrix[:, :5]), problem.data, noise=0.1), SequentialSbl()
    )
    assert tall.state.settled


def test_it_says_how_it_ended():
    result = recon.solve(SequentialSbl.example(), SequentialSbl())
    assert "no single entry, active or not, can lower the objective" in result.provenance["remarks"][0]
    assert result.hyperparameters["actions"] == result.state.actions > 0


def test_errors():
    problem, _ = uneven(snapshots=2)
    with pytest.raises(CapabilityError, match="SequentialSbl fits one sample at a time"):
        SequentialSbl().init(problem)


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.exists(), reason="needs the developers' ../shared folder")
def test_reference_figures():
    sys.path.insert(0, str(SHARED))
    try:
        import gen_sbl
    finally:
        sys.path.pop(0)
    bars = {("gauss", 20): 6.746e-3, ("gauss", 30): 6.358e-4, ("spikes", 20): 6.12e-3, ("corr", 20): 2.238e-2}
    for (case, db), bar in bars.items():
        errors = []
        for seed in range(5):
            q = gen_sbl.make(case, seed, db)
            for noise, solver in ((q.noise_var**0.5, SequentialSbl()), (None, SequentialSbl())):
                x = recon.solve(recon.Problem(recon.Matrix(q.A), q.Y[:, 0], noise=noise), solver).x
                errors.append(gen_sbl.nmse(x[:, None], q.X))
        known, learned = np.mean(errors[::2]), np.mean(errors[1::2])
        assert known <= 0.7 * bar
        assert learned <= 1.15 * known
