"""Sbl: descent of the evidence cost, groups, snapshots, units, noise, and what it refuses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from recon_sbl import Sbl
from recon_sbl._rectified import rectified
from sbl_problems import dense_cost, nmse, sparse
from scipy.stats import chi2, truncnorm

import recon
from recon import Matrix, Problem, solve
from recon.arrays import as_numpy
from recon.errors import ArrayError, CapabilityError, ParameterError, ShapeError
from recon.testing import check_solver

SHARED = Path(__file__).resolve().parents[2] / "shared" / "reference"


def fit(problem, iterations=400, **options):
    return solve(problem, Sbl(**options), stop=recon.stopping.MaxIterations(iterations))


# -- the contract ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"update": "em"},
        {"update": "mackay"},
        {"groups": 4},
        {"nonnegative": True},
        {"false_alarms": 0.5, "groups": 4},
    ],
    ids=str,
)
def test_contract(options):
    check_solver(Sbl(**options))


@pytest.mark.parametrize("rule", ["penalised", "em", "mackay"])
def test_contract_where_the_noise_is_learned(rule):
    check_solver(Sbl(learn_noise=rule), replace(Sbl.example(), noise=None))


def test_contract_for_complex_snapshots():
    for alarms in (None, 0.5):
        check_solver(Sbl(joint=True, false_alarms=alarms), sparse(kind="complex", snapshots=2)[0])


@pytest.mark.parametrize(
    "options",
    [{}, {"groups": 3}, {"nonnegative": True}, {"noise": None}, {"noise": None, "false_alarms": 0.5}],
    ids=str,
)
def test_every_library_gives_the_same(options, to):
    problem, _ = sparse(12, 24, 2)
    if "noise" in options:
        options = {name: value for name, value in options.items() if name != "noise"}
        problem = replace(problem, noise=None)
    ours = fit(problem, 30, **options)
    found = fit(replace(problem, data=to(problem.data)), 30, **options)
    for name in ("x", "variance", "gamma"):
        np.testing.assert_allclose(
            as_numpy(getattr(found.state, name)), getattr(ours.state, name), atol=1e-10
        )
    np.testing.assert_allclose(found.state.costs, ours.state.costs, rtol=1e-10)


# -- what it computes ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["real", "complex"])
@pytest.mark.parametrize("snapshots", [0, 3])
def test_posterior_cost_and_updates_are_those_of_the_textbook(kind, snapshots):
    problem, _ = sparse(8, 12, 2, kind=kind, snapshots=snapshots)
    A, y = problem.operator.matrix, np.atleast_2d(problem.data)
    s2 = (2 if kind == "complex" else 1) * problem.noise**2
    for rule in ("em", "mackay", "bounding"):
        solver = Sbl(update=rule, joint=snapshots > 0, prune=0)
        state = solver.init(problem)
        for _ in range(3):
            g = state.gamma
            assert (g > 0).all()
            Sigma = np.linalg.inv(A.conj().T @ A / s2 + np.diag(1 / g))
            mean = (Sigma @ A.conj().T @ y.T / s2).T
            variance = np.diag(Sigma).real
            np.testing.assert_allclose(np.atleast_2d(state.x), mean, atol=1e-9)
            np.testing.assert_allclose(state.variance, variance, rtol=1e-6)
            assert state.costs[-1] == pytest.approx(dense_cost(problem, g, s2), rel=1e-9)
            power = np.mean(np.abs(mean) ** 2, axis=0)
            z = np.sum(A.conj() * np.linalg.solve(s2 * np.eye(8) + (A * g) @ A.conj().T, A), axis=0).real
            expected = {
                "em": power + variance,
                "mackay": power / (1 - variance / g),
                "bounding": np.sqrt(power / z),
            }[rule]
            state = solver.step(problem, state)
            np.testing.assert_allclose(state.gamma, expected, rtol=1e-6)


@pytest.mark.parametrize("update", ["em", "bounding"])
@pytest.mark.parametrize(
    ("kind", "snapshots", "groups"),
    [("real", 0, None), ("complex", 0, None), ("real", 4, None), ("real", 0, 4), ("complex", 3, 5)],
)
def test_the_cost_never_rises(update, kind, snapshots, groups):
    for seed, noise in enumerate((1e-5, 0.001, 0.05, 0.5)):  # from 90 dB down
        problem, _ = sparse(kind=kind, snapshots=snapshots, seed=seed, noise=noise)
        costs = fit(problem, 150, update=update, joint=snapshots > 0, groups=groups).state.costs
        assert np.diff(costs).max() <= 1e-9 * np.abs(costs).max()
        assert costs[-1] < costs[0]


def test_the_end_is_a_local_minimum_of_the_cost():
    problem, _ = sparse(40, 100, 8, noise=0.05, seed=3)
    state = fit(problem, 3000, tol=1e-9).state
    assert state.settled
    A, s2 = problem.operator.matrix, problem.noise**2
    S = s2 * np.eye(40) + (A * state.gamma) @ A.T
    z = np.sum(A * np.linalg.solve(S, A), axis=0)
    q2 = (A.T @ np.linalg.solve(S, problem.data)) ** 2
    active = state.gamma > 1e-6 * state.gamma.max()  # others are on their way out
    np.testing.assert_allclose(q2[active], z[active], rtol=1e-3)  # no slope where active
    assert (q2[~active] <= 1.01 * z[~active] * (1 + 1e-9)).all()  # nothing pruned would come back
    assert 8 <= active.sum() <= 40


def test_it_recovers_a_sparse_image():
    problem, x = sparse()
    result = fit(problem)
    assert nmse(result.x, x) < 2e-3
    assert set(np.flatnonzero(x)) <= set(np.flatnonzero(as_numpy(result.hyperparameters["gamma"])))
    assert result.hyperparameters["noise"] == pytest.approx(problem.noise)
    assert len(result.hyperparameters["evidence"]) == result.iterations + 1
    wrong = np.abs(result.x - x)[x != 0] / np.sqrt(result.variance[x != 0])
    assert wrong.max() < 4.5


def test_snapshots_share_their_support_and_help():
    problem, x = sparse(20, 60, 8, noise=0.1, snapshots=6)
    joint = fit(problem, joint=True).x
    alone = np.stack([fit(replace(problem, data=y)).x for y in problem.data])
    assert nmse(joint, x) < 0.5 * nmse(alone, x)
    assert len({tuple(np.flatnonzero(row)) for row in joint}) == 1


def test_batches_of_any_axes_are_snapshots():
    problem, _ = sparse(20, 40, 4, snapshots=6)
    one = fit(problem, 50, joint=True)
    two = fit(replace(problem, data=problem.data.reshape(2, 3, 20)), 50, joint=True)
    assert two.x.shape == (2, 3, 40)
    np.testing.assert_allclose(two.x.reshape(6, 40), one.x, rtol=1e-12)


def test_complex_is_real_on_real_data():
    # the complex model has 2 parts per number: the same s2 is noise / sqrt(2) for each
    problem, _ = sparse()
    A = problem.operator.matrix.astype(complex)
    twin = Problem(Matrix(A), problem.data.astype(complex), noise=problem.noise / np.sqrt(2))
    one, two = fit(problem), fit(twin)
    np.testing.assert_allclose(two.x, one.x, atol=1e-8)
    np.testing.assert_allclose(two.variance, one.variance, atol=1e-8)
    assert two.objective == pytest.approx(one.objective, rel=1e-9)


# -- groups ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("groups", [1, np.arange(60)[::-1]], ids=["int", "labels"])
@pytest.mark.parametrize("update", ["bounding", "em", "mackay"])
def test_groups_of_one_are_no_groups(groups, update):
    problem, _ = sparse()
    one, two = fit(problem, 60, update=update), fit(problem, 60, update=update, groups=groups)
    np.testing.assert_allclose(two.x, one.x, atol=1e-10)
    np.testing.assert_allclose(two.state.costs, one.state.costs, rtol=1e-10)


def test_groups_share_gamma_and_help_where_they_are_true():
    rng = np.random.default_rng(0)
    A = rng.standard_normal((40, 96)) / np.sqrt(40)
    x = np.zeros((24, 4))
    x[rng.choice(24, 4, replace=False)] = rng.standard_normal((4, 4))
    problem = Problem(Matrix(A), A @ x.ravel() + 0.03 * rng.standard_normal(40), noise=0.03)
    grouped, alone = fit(problem, groups=4), fit(problem)
    assert nmse(grouped.x, x.ravel()) < 0.5 * nmse(alone.x, x.ravel())
    s = (grouped.state.gamma.reshape(24, 4)).T * np.mean((A**2).sum(0).reshape(24, 4), axis=1)
    np.testing.assert_allclose(s, np.broadcast_to(s[:1], s.shape), rtol=1e-10)
    order = rng.permutation(96)  # the same groups, told by labels, in another order
    shuffled = Problem(Matrix(A[:, order]), problem.data, noise=0.03)
    named = fit(shuffled, groups=7 * (np.arange(96) // 4)[order])
    np.testing.assert_allclose(named.x, grouped.x[order], atol=1e-8)


# -- false alarms ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["real", "complex"])
def test_what_stays_passes_the_test_with_itself_left_out(kind):
    problem, _ = sparse(40, 100, 6, noise=0.05, kind=kind, seed=3)
    state = fit(problem, 600, false_alarms=0.5).state
    assert state.settled
    A, s2, parts = problem.operator.matrix, problem.noise**2, 1 if kind == "real" else 2
    level = chi2.isf(0.5 / 100, parts) / parts
    on = state.gamma > 0
    assert 4 <= on.sum() <= 8 < np.count_nonzero(fit(problem, 600).state.gamma)
    for i in range(100):
        others = np.where(np.arange(100) == i, 0.0, state.gamma)
        S = parts * s2 * np.eye(40) + (A * others) @ A.conj().T
        s, q = (A[:, i].conj() @ np.linalg.solve(S, v) for v in (A[:, i], problem.data))
        ratio = abs(q) ** 2 / s.real
        assert (ratio >= level * 0.999) if on[i] else (ratio <= 1.01 * level)


@pytest.mark.parametrize("known", [True, False])
def test_without_false_alarms_the_error_falls_and_the_noise_is_found(known):
    plain, better, ratios = [], [], []
    for seed in range(4):
        problem, x = sparse(64, 128, 8, noise=0.05, seed=seed)
        plain.append(nmse(fit(problem).x, x))
        result = fit(problem if known else replace(problem, noise=None), false_alarms=0.5)
        assert result.state.settled
        better.append(nmse(result.x, x))
        ratios.append((result.state.noise / 0.05) ** 2)
    assert np.mean(better) < 0.65 * np.mean(plain)
    assert min(ratios) > 0.6
    assert max(ratios) < 1.5


def test_noise_alone_brings_in_as_many_as_are_allowed():
    rng = np.random.default_rng(0)
    counts = {None: 0, 0.5: 0, 4.0: 0}
    for _ in range(10):
        problem = Problem(Matrix(rng.standard_normal((32, 50)) / 6), 0.1 * rng.standard_normal(32), noise=0.1)
        for alarms in counts:
            counts[alarms] += np.count_nonzero(fit(problem, 100, false_alarms=alarms).state.gamma)
    assert counts[0.5] <= 10
    assert 10 <= counts[4.0] <= 60
    assert counts[None] > 100


def test_of_equal_columns_one_is_left():
    problem, x = sparse(40, 60, 4, noise=0.05)
    A = problem.operator.matrix
    twice = replace(problem, operator=Matrix(np.concatenate([A, A], axis=1)))
    found = fit(twice, false_alarms=0.5)
    assert nmse(found.x[:60] + found.x[60:], x) < 1e-2
    assert np.count_nonzero(found.x) <= 6


# -- units -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("noise", [0.02, None])
@pytest.mark.parametrize("scale", [1e-6, 1e6])
@pytest.mark.parametrize("options", [{}, {"groups": 4}, {"update": "em"}], ids=str)
def test_units_change_nothing(noise, scale, options):
    problem, _ = sparse()
    A, y = problem.operator.matrix, problem.data
    base = fit(replace(problem, noise=noise), 150, **options)
    largest = np.abs(base.x).max()

    def other(A, y, noise):
        return fit(Problem(Matrix(A), y, noise=noise), 150, **options)

    louder = other(A, scale * y, scale * noise if noise else None)
    np.testing.assert_allclose(louder.x / scale, base.x, rtol=0, atol=1e-8 * largest)
    np.testing.assert_allclose(
        louder.variance / scale**2, base.variance, rtol=0, atol=1e-8 * base.variance.max()
    )
    assert louder.state.noise / scale == pytest.approx(base.state.noise, rel=1e-8)
    np.testing.assert_allclose(other(scale * A, y, noise).x * scale, base.x, rtol=0, atol=1e-8 * largest)
    columns = np.ones(60)
    columns[8:12] = scale  # one group of four
    np.testing.assert_allclose(other(columns * A, y, noise).x * columns, base.x, rtol=0, atol=1e-8 * largest)


def test_single_columns_may_have_any_unit():
    problem, _ = sparse()
    columns = 10.0 ** np.random.default_rng(1).integers(-6, 7, 60)
    base = fit(problem)
    found = fit(replace(problem, operator=Matrix(problem.operator.matrix * columns)))
    np.testing.assert_allclose(found.x * columns, base.x, rtol=0, atol=1e-8 * np.abs(base.x).max())


# -- nonnegative -----------------------------------------------------------------------------------------


def test_rectified_moments_are_those_of_a_cut_gaussian():
    mean, variance = np.array([-50.0, -8.0, -1.0, 0.0, 2.0, 60.0]), np.array([1.0, 1.0, 4.0, 0.25, 1.0, 1.0])
    cut, spread = rectified(mean, variance)
    root = np.sqrt(variance)
    expected = truncnorm.stats(-mean / root, np.inf, loc=mean, scale=root, moments="mv")
    np.testing.assert_allclose(cut, expected[0], rtol=2e-3)
    np.testing.assert_allclose(spread[1:], expected[1][1:], rtol=1e-6)
    assert rectified(np.zeros(2), np.zeros(2))[0].tolist() == [0.0, 0.0]


def test_nonnegative_helps_where_it_is_true():
    better = []
    for seed in range(3):
        problem, x = sparse(30, 80, 12, noise=0.05, seed=seed)
        x = np.abs(x)
        problem = replace(
            problem, data=problem.operator @ x + 0.05 * np.random.default_rng(seed).standard_normal(30)
        )
        cut = fit(problem, nonnegative=True)
        assert (cut.x >= 0).all()
        better.append(nmse(cut.x, x) / nmse(fit(problem).x, x))
    assert np.mean(better) < 0.7


# -- the edges -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("noise", [0.1, None])
@pytest.mark.parametrize("update", ["bounding", "em", "mackay"])
def test_zero_data_give_zero(noise, update):
    result = fit(Problem(Matrix(np.eye(4, 7)), np.zeros(4), noise=noise), update=update)
    assert not result.x.any()
    assert result.status.good
    assert noise is not None or result.state.noise == 0.0


@pytest.mark.parametrize(("m", "n"), [(1, 1), (1, 6), (6, 1), (30, 5)])
@pytest.mark.parametrize("noise", [0.1, None])
def test_small_and_tall(m, n, noise):
    rng = np.random.default_rng(0)
    A, x = rng.standard_normal((m, n)), np.ones(n)
    result = fit(Problem(Matrix(A), A @ x + 0.01 * rng.standard_normal(m), noise=noise))
    assert np.isfinite(result.x).all()
    assert np.isfinite(result.variance).all()
    if m > n and noise:
        np.testing.assert_allclose(result.x, 1.0, atol=0.1)


def test_constant_data():
    rng = np.random.default_rng(0)
    A = np.column_stack([np.ones(20), rng.standard_normal((20, 30))])
    result = fit(Problem(Matrix(A), np.full(20, 3.0), noise=0.01))
    np.testing.assert_allclose(result.x, 3.0 * (np.arange(31) == 0), atol=0.05)


def test_equal_columns_share_evenly():
    problem, x = sparse()
    A = problem.operator.matrix
    i = int(np.argmax(np.abs(x)))
    twice = replace(problem, operator=Matrix(np.column_stack([A, A[:, i]])))
    one, two = fit(problem), fit(twice)
    assert two.x[i] == pytest.approx(two.x[60], rel=1e-6)
    assert two.x[i] + two.x[60] == pytest.approx(one.x[i], rel=1e-2)
    assert np.isfinite(two.variance).all()


def test_columns_of_zeros_are_left_out():
    problem, _ = sparse()
    A = problem.operator.matrix.copy()
    A[:, 3] = 0.0
    for options in ({}, {"update": "em"}, {"groups": 4}):
        result = fit(replace(problem, operator=Matrix(A)), 50, **options)
        assert result.x[3] == 0.0
        if "groups" not in options:  # else it keeps the gamma of its group, and its variance is the prior's
            assert result.state.gamma[3] == 0.0
        assert result.variance[3] == pytest.approx(result.state.gamma[3])
    nothing = fit(replace(problem, operator=Matrix(0 * A)))
    assert not nothing.x.any()


def test_high_and_low_signal_to_noise():
    problem, x = sparse(noise=1e-5)
    result = fit(problem)
    assert nmse(result.x, x) < 1e-8
    assert (result.variance[x != 0] > 0).all()
    absurd = fit(replace(problem, noise=1e-200))  # its square is 0 in double precision
    assert np.isfinite(absurd.x).all()
    assert np.isfinite(absurd.state.costs).all()
    buried = fit(sparse(noise=30.0)[0])
    assert (buried.variance >= 0).all()
    assert buried.objective <= buried.state.costs[0]


def test_operators_that_are_no_matrix():
    A = recon.Diagonal(np.linspace(1.0, 0.5, 12).reshape(3, 4), (3, 4))
    x = np.zeros((3, 4))
    x[1, 2] = 2.0
    rng = np.random.default_rng(0)
    result = fit(Problem(A, A @ x + 0.01 * rng.standard_normal((3, 4)), noise=0.01))
    assert result.x.shape == result.variance.shape == (3, 4)
    assert nmse(result.x, x) < 1e-3


# -- what it refuses -------------------------------------------------------------------------------------


def test_bad_parameters():
    for bad, text in [
        ({"update": "newton"}, "Sbl.update must be one of 'bounding', 'em', 'mackay', got 'newton'."),
        ({"groups": 0}, "Sbl.groups must be >= 1, got 0. It is the length of a block."),
        ({"groups": 1.5}, "Sbl.groups must be a block length or an array of integer labels, got 1.5."),
        (
            {"groups": np.ones(3)},
            "Sbl.groups must be a block length or an array of integer labels, got an array",
        ),
        ({"groups": True}, "Sbl.groups must be a block length or an array of integer labels, got True."),
        ({"false_alarms": 0.0}, "Sbl.false_alarms must be > 0"),
        ({"prune": 1.0}, "Sbl.prune must be < 1"),
        ({"tol": 0.0}, "Sbl.tol must be > 0"),
    ]:
        with pytest.raises(ParameterError) as caught:
            Sbl(**bad)
        assert text in str(caught.value)


def test_solvers_with_labels_can_be_compared():
    labels = np.arange(6)
    assert Sbl(groups=labels) == Sbl(groups=labels.copy())
    assert hash(Sbl(groups=labels)) == hash(Sbl(groups=labels.copy()))
    assert Sbl(groups=labels) != Sbl(groups=labels.reshape(2, 3))
    assert Sbl(groups=labels) != Sbl(groups=labels, joint=True)
    assert Sbl() != Sbl(groups=labels)


def test_bad_problems():
    problem, _ = sparse()
    with pytest.raises(ParameterError, match="Sbl.groups must divide the 60 entries, got blocks of 7"):
        fit(problem, groups=7)
    with pytest.raises(
        ShapeError, match=r"Sbl.groups must have the shape \(60,\) of the domain, got \(59,\)"
    ):
        fit(problem, groups=np.arange(59))
    with pytest.raises(CapabilityError, match="Sbl learns its own prior, so Problem.prior must be None"):
        fit(replace(problem, prior=recon.L1(0.1)))
    with pytest.raises(CapabilityError, match="Sbl fits one sample at a time, got batch axes"):
        fit(sparse(snapshots=2)[0])
    with pytest.raises(CapabilityError, match="Sbl.nonnegative needs real data, got complex"):
        fit(sparse(kind="complex")[0], nonnegative=True)
    with pytest.raises(CapabilityError, match="Sbl needs the same noise in every snapshot"):
        fit(replace(sparse(snapshots=2)[0], noise=np.array([[0.1], [0.2]])), joint=True)
    with pytest.raises(ArrayError, match="Problem.data must be finite"):
        replace(problem, data=problem.data * np.nan)
