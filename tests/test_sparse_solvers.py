"""Sparse recovery: the contract, exact supports, independent optima, certificates, one result on every library."""

from __future__ import annotations

import itertools
import subprocess
import sys

import array_api_strict as strict
import numpy as np
import pytest
import scipy.optimize
import torch
from recon_proximal import ActiveSet, Admm, CoSamp, Fista, Omp, Pdhg, RelaxedIht, Reweighted

import recon
from recon import (
    L1,
    TV,
    Box,
    Gap,
    L1Ball,
    MaxIterations,
    NonNegative,
    Problem,
    ResidualBall,
    WeightedLeastSquares,
)
from recon.checkpoint import save_state
from recon.errors import CapabilityError, ParameterError
from recon.priors import L0, L2, Lp, NofM, TopK
from recon.testing import check_solver

SOLVERS = [
    ActiveSet(),
    ActiveSet(start=2),
    RelaxedIht(),
    RelaxedIht(rho=0.0),
    Omp(),
    CoSamp(),
    Reweighted(),
    Reweighted(ActiveSet(), rounds=2),
]


@pytest.mark.parametrize("solver", SOLVERS, ids=repr)
def test_contract(solver):
    check_solver(solver)


def spikes(k=6, m=60, n=120, noise=0.0, seed=0, kind=float):
    rng = np.random.default_rng(seed)
    matrix = rng.standard_normal((m, n)) / np.sqrt(m)
    x = np.zeros(n, kind)
    values = rng.standard_normal(k) + np.sign(rng.standard_normal(k))
    if kind is complex:
        matrix = matrix + 1j * rng.standard_normal((m, n)) / np.sqrt(m)
        values = values * np.exp(1j * np.arange(k))
    x[rng.choice(n, k, replace=False)] = values
    return matrix, x, matrix @ x + noise * rng.standard_normal(m)


# -- exact recovery --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [float, complex])
@pytest.mark.parametrize("solver", [Omp(), CoSamp(), RelaxedIht(), RelaxedIht(rho=0.0)], ids=repr)
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
def test_noiseless_spikes_are_found_whatever_the_norm_of_the_operator(solver, kind, scale):
    matrix, x, _ = spikes(kind=kind)
    problem = Problem(recon.Matrix(scale * matrix), scale * matrix @ x, TopK(6))
    result = recon.solve(problem, solver, stop=300, every=50)
    np.testing.assert_array_equal(result.x != 0, x != 0)
    np.testing.assert_allclose(result.x, x, atol=1e-6)


@pytest.mark.parametrize(("n", "m"), [(1, 4), (2, 8)])
@pytest.mark.parametrize("rho", [0.0, 0.95])
def test_planted_blocks_are_found(n, m, rho):
    rng = np.random.default_rng(0)
    matrix = rng.standard_normal((70, 96))
    x = NofM(n, m).prox(rng.standard_normal(96) + np.sign(rng.standard_normal(96)), 1.0)
    problem = Problem(recon.Matrix(matrix), matrix @ x, NofM(n, m))
    np.testing.assert_allclose(recon.solve(problem, RelaxedIht(rho=rho), stop=400).x, x, atol=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_the_best_of_all_supports_is_found_where_columns_are_well_apart(seed):
    """Every support of two among nine, fitted by least squares."""
    rng = np.random.default_rng(seed)
    matrix = rng.standard_normal((30, 9))
    data = matrix[:, 1] - 2.0 * matrix[:, 7] + 0.5 * rng.standard_normal(30)
    best = min(
        np.linalg.lstsq(matrix[:, pair], data, rcond=None)[1][0]
        for pair in map(list, itertools.combinations(range(9), 2))
    )
    problem = Problem(recon.Matrix(matrix), data, TopK(2))
    for solver in (Omp(), RelaxedIht(), CoSamp()):
        assert recon.solve(problem, solver, stop=200).objective == pytest.approx(0.5 * best, rel=1e-6)


def test_omp_fits_exactly_on_what_it_takes():
    matrix, _, data = spikes(noise=0.3)
    for state in itertools.islice(recon.iterate(Problem(recon.Matrix(matrix), data, TopK(9)), Omp()), 12):
        support = np.flatnonzero(state.x)
        fit = np.linalg.lstsq(matrix[:, support], data, rcond=None)[0]
        assert support.size == min(state.iteration, 9)
        np.testing.assert_allclose(state.x[support], fit, atol=1e-12)
        np.testing.assert_allclose(state.residual[0], data - matrix @ state.x, atol=1e-12)


def test_omp_stops_at_the_residual_asked_for():
    matrix, _, data = spikes(noise=0.02)
    result = recon.solve(Problem(recon.Matrix(matrix), data), Omp(tol=0.1), stop=60)
    count = np.count_nonzero(result.x)
    assert np.linalg.norm(matrix @ result.x - data) <= 0.1 * np.linalg.norm(data)
    fewer = recon.solve(Problem(recon.Matrix(matrix), data, TopK(count - 1)), Omp(), stop=60).x
    assert np.linalg.norm(matrix @ fewer - data) > 0.1 * np.linalg.norm(data)


def test_omp_weighs_columns_by_their_length():
    matrix, x, _ = spikes()
    sizes = np.logspace(-2, 2, 120)
    problem = Problem(recon.Matrix(matrix * sizes), matrix @ x, TopK(6))
    np.testing.assert_allclose(recon.solve(problem, Omp(), stop=10).x * sizes, x, atol=1e-9)


def test_omp_passes_over_columns_that_add_nothing():
    matrix = np.array([[1.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    result = recon.solve(Problem(recon.Matrix(matrix), np.array([2.0, 1.0]), TopK(3)), Omp(), stop=5)
    np.testing.assert_allclose(result.x, [2.0, 0.0, 0.0])


@pytest.mark.parametrize("solver", [CoSamp(), RelaxedIht(rho=0.0)], ids=repr)
def test_the_residual_never_rises(solver):
    matrix, _, data = spikes(k=18, noise=0.1)
    result = recon.solve(Problem(recon.Matrix(matrix), data, TopK(18)), solver, stop=60, every=1)
    assert (np.diff(result.series("loss")[1]) <= 1e-12).all()


@pytest.mark.parametrize(
    "prior", [L0(0.01), Lp(0.02, 0.5), Lp(0.02, 0.8), L0(0.01) + NonNegative()], ids=repr
)
def test_penalties_end_in_a_fixed_point_and_never_rise(prior):
    matrix, _, data = spikes(noise=0.05)
    problem = Problem(recon.Matrix(matrix), data, prior)
    result = recon.solve(problem, RelaxedIht(rho=0.0), stop=1500, every=1)
    assert (np.diff(result.series("objective")[1]) <= 1e-12).all()
    step = result.state.step
    again = prior.prox(result.x - step * problem.gradient(result.x), step)
    np.testing.assert_allclose(again, result.x, atol=1e-7)


@pytest.mark.parametrize("solver", [Omp(), CoSamp(), RelaxedIht(), ActiveSet()], ids=repr)
def test_samples_of_a_batch_are_independent(solver):
    matrix, _, first = spikes(noise=0.1)
    second = 30.0 * spikes(k=2, noise=0.01, seed=5)[2]
    prior = L1(0.05) if isinstance(solver, ActiveSet) else TopK(5)
    operator = recon.Matrix(matrix)

    def run(data):
        return recon.solve(Problem(operator, data, prior), solver, stop=12).x

    both, swapped = run(np.stack([first, second])), run(np.stack([second, first]))
    np.testing.assert_allclose(both[0], run(first), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(both[1], run(second), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(both[::-1], swapped, rtol=1e-9, atol=1e-12)


# -- the lasso -------------------------------------------------------------------------------------------


def minimum(matrix, data, weights, positive=False):
    """Of the lasso, by a bound-constrained quasi-Newton method on x = p - q, p, q >= 0."""
    n = matrix.shape[1]

    def value(z):
        r = matrix @ (z[:n] - z[n:]) - data
        g = matrix.T @ r
        return 0.5 * r @ r + weights @ (z[:n] + z[n:]), np.concatenate([g + weights, weights - g])

    bounds = [(0, None)] * n + [(0, 0 if positive else None)] * n
    options = {"maxiter": 20000, "maxfun": 40000, "ftol": 1e-16, "gtol": 1e-11}
    return scipy.optimize.minimize(
        value, np.zeros(2 * n), jac=True, bounds=bounds, method="L-BFGS-B", options=options
    ).fun


PRIORS = {
    "number": (L1(0.05), np.full(120, 0.05), False),
    "scaled": (0.5 * L1(0.1), np.full(120, 0.05), False),
    "nonnegative": (L1(0.05) + NonNegative(), np.full(120, 0.05), True),
    "scaled nonnegative": (NonNegative() + 0.5 * L1(0.1), np.full(120, 0.05), True),
    "array": (L1(np.linspace(0.01, 0.3, 120)), np.linspace(0.01, 0.3, 120), False),
    "tiny": (L1(1e-4), np.full(120, 1e-4), False),
    "huge": (L1(1e3), np.full(120, 1e3), False),
}


@pytest.mark.parametrize("name", PRIORS)
@pytest.mark.parametrize("start", [1, 32])
def test_lasso_equals_an_independent_minimum_and_certifies_it(name, start):
    matrix, _, data = spikes(noise=0.05)
    prior, weights, positive = PRIORS[name]
    problem = Problem(recon.Matrix(matrix), data, prior)
    result = recon.solve(problem, ActiveSet(start=start), stop=Gap(1e-11) | MaxIterations(300), every=1)
    assert result.status is recon.Status.CONVERGED
    assert result.objective == pytest.approx(minimum(matrix, data, weights, positive), rel=1e-8)
    assert not positive or result.x.min() >= 0.0


def test_the_gap_is_true_at_every_iteration():
    matrix, _, data = spikes(noise=0.05)
    problem = Problem(recon.Matrix(matrix), data, L1(0.02))
    least = minimum(matrix, data, np.full(120, 0.02))
    result = recon.solve(problem, ActiveSet(start=3), stop=60, every=1)
    for record in result.history:
        assert record["gap"] >= record["objective"] - least - 1e-9
    assert result.history[0]["gap"] > 0.1 * result.history[0]["objective"]
    assert result.history[-1]["gap"] <= 1e-12


def test_other_operators_are_asked_for_their_columns():
    matrix, _, data = spikes(noise=0.05)
    operator = 2.0 * recon.Matrix(0.5 * matrix, (10, 12), (6, 10))
    assert not isinstance(operator, recon.Matrix)
    result = recon.solve(Problem(operator, data.reshape(6, 10), L1(0.05)), ActiveSet(), stop=30)
    plain = recon.solve(Problem(recon.Matrix(matrix), data, L1(0.05)), ActiveSet(), stop=30)
    np.testing.assert_allclose(result.x.ravel(), plain.x, atol=1e-10)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_dependent_and_empty_columns(dtype):
    rng = np.random.default_rng(0)
    matrix = rng.standard_normal((30, 60))
    matrix[:, 40:], matrix[:, 5] = matrix[:, :20], 0.0
    data = rng.standard_normal(30).astype(dtype)
    for weight in (1.0, 1e-2):
        problem = Problem(recon.Matrix(matrix), data, L1(weight))
        result = recon.solve(problem, ActiveSet(), stop=60, every=1)
        assert result.objective == pytest.approx(
            minimum(matrix, data, np.full(60, weight)), rel=1e-6 if dtype is np.float32 else 1e-9
        )


def test_it_starts_warm_along_a_path():
    matrix, _, data = spikes(noise=0.05)
    operator = recon.Matrix(matrix)
    at = recon.solve(Problem(operator, data, L1(0.05)), ActiveSet(), stop=Gap(1e-12), every=1).x
    cold, warm = (
        recon.solve(Problem(operator, data, L1(0.045)), ActiveSet(start=2), stop=Gap(1e-10), every=1, x0=x0)
        for x0 in (None, at)
    )
    assert warm.iterations < cold.iterations
    np.testing.assert_allclose(warm.x, cold.x, atol=1e-8)


def test_without_numba_it_is_the_same(monkeypatch):
    matrix, _, data = spikes(noise=0.05)
    for prior in (L1(0.02), L1(0.02) + NonNegative()):
        problem = Problem(recon.Matrix(matrix), data, prior)
        with monkeypatch.context() as patch:
            fast = recon.solve(problem, ActiveSet(), stop=20)
            patch.setitem(sys.modules, "recon_proximal._descent_numba", None)
            slow = recon.solve(problem, ActiveSet(), stop=20)
        np.testing.assert_allclose(fast.x, slow.x, atol=1e-12)
        assert slow.history[-1]["gap"] <= 1e-12


@pytest.mark.parametrize("rank", [5, 20])
@pytest.mark.parametrize("share", [1, 3])
def test_columns_without_weight_do_not_diverge_in_single_precision(rank, share):
    rng = np.random.default_rng(4)
    matrix = rng.standard_normal((20, rank)) @ rng.standard_normal((rank, 60))
    weights = np.full(60, 1e-3)
    weights[::share] = 0.0  # all of them, or a third
    data = rng.standard_normal(20).astype(np.float32)
    problem = Problem(recon.Matrix(matrix.astype(np.float32)), data, L1(weights.astype(np.float32)))
    objectives = [
        one["objective"] for one in recon.solve(problem, ActiveSet(start=4), stop=20, every=1).history
    ]
    assert (np.diff(objectives) <= 1e-4 * objectives[0]).all()
    fitted = problem.objective(np.linalg.lstsq(matrix, data, rcond=None)[0].astype(np.float32))
    assert objectives[-1] <= fitted + 1e-4 * objectives[0]


def test_lasso_agrees_with_scikit_learn():
    linear_model = pytest.importorskip("sklearn.linear_model")
    matrix, _, data = spikes(noise=0.05)
    for positive, prior in ((False, L1(0.03)), (True, L1(0.03) + NonNegative())):
        model = linear_model.Lasso(
            alpha=0.03 / 60, fit_intercept=False, tol=1e-14, max_iter=100000, positive=positive
        )
        wanted = model.fit(matrix, data).coef_
        result = recon.solve(Problem(recon.Matrix(matrix), data, prior), ActiveSet(), stop=30)
        np.testing.assert_allclose(result.x, wanted, atol=1e-8)


# -- reweighting -----------------------------------------------------------------------------------------


def test_reweighting_equals_its_formula():
    matrix, _, data = spikes(noise=0.05)
    operator, x = recon.Matrix(matrix), None
    for r in range(3):
        weights = (
            0.03 * np.ones(120) if r == 0 else 0.03 / (1 + np.abs(x) / 0.2)
        )  # always from the first weights
        x = recon.solve(Problem(operator, data, L1(weights)), ActiveSet(), stop=30).x
    solver = Reweighted(ActiveSet(), rounds=3, eps=0.2)
    result = recon.solve(Problem(operator, data, 0.5 * L1(0.06)), solver, stop=7)
    np.testing.assert_allclose(result.x, x, atol=1e-9)


def test_reweighting_finds_more_than_l1_and_with_less_bias():
    found = {"l1": 0, "reweighted": 0}
    for seed in range(8):
        matrix, x, data = spikes(k=18, noise=0.01, seed=seed)
        problem = Problem(recon.Matrix(matrix), data, L1(0.01))
        for name, solver in (("l1", ActiveSet()), ("reweighted", Reweighted(ActiveSet()))):
            result = recon.solve(problem, solver, stop=30)
            found[name] += np.linalg.norm(result.x - x) < 0.05 * np.linalg.norm(x)
    assert found["reweighted"] >= found["l1"] + 3


def test_reweighting_in_a_transform_and_beside_other_priors():
    data = np.repeat([0.0, 3.0, 1.0], 12) + 0.1 * np.random.default_rng(0).standard_normal(36)
    steps = recon.FiniteDifference((36,), axis=-1)
    identity = recon.Identity(recon.ArraySpec((36,)))
    problem = Problem(identity, data, 2.0 * (L1(0.5) @ steps) + Box(0.0, 9.0))
    plain = recon.solve(problem, Pdhg(), stop=300).x
    better = recon.solve(problem, Reweighted(Pdhg(), eps=0.2, steps=300, tol=1e-9), stop=4).x
    clean = np.repeat([0.0, 3.0, 1.0], 12)
    assert np.linalg.norm(better - clean) < 0.7 * np.linalg.norm(plain - clean)


def test_the_rule_for_eps_scales_with_the_data():
    matrix, _, data = spikes(noise=0.05)
    operator = recon.Matrix(matrix)
    one, other = (
        recon.solve(Problem(operator, s * data, L1(0.03 * s)), Reweighted(ActiveSet()), stop=4).x
        for s in (1.0, 1e6)
    )
    np.testing.assert_allclose(other / 1e6, one, atol=1e-9)


# -- constraints -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", [Pdhg(), Admm()], ids=repr)
def test_a_residual_ball_gives_the_lasso_of_that_residual(solver):
    matrix, _, data = spikes(noise=0.05)
    operator = recon.Matrix(matrix)
    x = recon.solve(Problem(operator, data, L1(0.1)), ActiveSet(), stop=30).x
    radius = float(np.linalg.norm(matrix @ x - data))
    result = recon.solve(Problem(operator, data, L1(), ResidualBall(radius)), solver, stop=4000, every=500)
    assert np.abs(result.x).sum() == pytest.approx(np.abs(x).sum(), rel=1e-5)
    assert np.linalg.norm(matrix @ result.x - data) == pytest.approx(radius, rel=1e-5)
    np.testing.assert_allclose(result.x, x, atol=1e-3)


def test_a_residual_ball_with_nonnegative_rows_and_tv():
    problem = Pdhg.example()
    radius = 0.02 * float(np.linalg.norm(problem.data))
    prior = TV(1.0) + NonNegative()
    ball = Problem(problem.operator, problem.data, prior, ResidualBall(radius, tol=1e-4))
    values = []
    for solver, limit in ((Pdhg(), 1500), (Admm(), 400)):
        result = recon.solve(ball, solver, stop=limit, every=200)
        assert np.linalg.norm(problem.operator @ result.x - problem.data) == pytest.approx(radius, rel=1e-3)
        values.append(TV(1.0).value(result.x))
    assert values[0] == pytest.approx(values[1], rel=1e-3)


def test_an_l1_ball_gives_the_lasso_of_that_size():
    matrix, _, data = spikes(noise=0.05)
    operator = recon.Matrix(matrix)
    x = recon.solve(Problem(operator, data, L1(0.1)), ActiveSet(), stop=30).x
    ball = Problem(operator, data, L1Ball(float(np.abs(x).sum())))
    np.testing.assert_allclose(recon.solve(ball, Fista(), stop=3000, every=500).x, x, atol=1e-6)


# -- every library, resumed ------------------------------------------------------------------------------

LIBRARIES = {"numpy": np.asarray, "strict": strict.asarray, "torch": torch.from_numpy}


@pytest.mark.parametrize(
    ("solver", "steps", "limit"),
    [
        (ActiveSet(start=2), 6, 1e-11),
        (RelaxedIht(), 30, 1e-11),
        (Omp(), 6, 1e-11),
        (CoSamp(), 4, 1e-9),
        (Reweighted(ActiveSet()), 4, 1e-9),
    ],
    ids=repr,
)
def test_the_same_iterates_on_every_library(solver, steps, limit):
    problem = type(solver).example()
    iterates = {}
    for name, convert in LIBRARIES.items():
        states = recon.iterate(Problem(problem.operator, convert(problem.data), problem.prior), solver)
        iterates[name] = [np.asarray(next(states).x) for _ in range(steps)]
    scale = max(np.abs(x).max() for x in iterates["numpy"])
    for name in ("strict", "torch"):
        worst = max(np.abs(a - b).max() for a, b in zip(iterates["numpy"], iterates[name], strict=True))
        assert worst <= limit * scale, name


CONTINUE = """
import sys, numpy, recon, recon_proximal
from recon.checkpoint import load_state
name, path, out = sys.argv[1:]
solver = getattr(recon_proximal, name)()
problem = type(solver).example()
numpy.save(out, recon.solve(problem, solver, state=load_state(path, problem, solver), stop=9).x)
"""


@pytest.mark.parametrize("solver", [ActiveSet, RelaxedIht, Omp, CoSamp, Reweighted], ids=lambda s: s.__name__)
def test_resumed_in_a_new_process_bit_for_bit(solver, tmp_path):
    problem, path, out = solver.example(), tmp_path / "state.npz", tmp_path / "x.npy"
    save_state(path, recon.solve(problem, solver(), stop=2).state, problem, solver())
    words = [sys.executable, "-c", CONTINUE, solver.__name__, str(path), str(out)]
    subprocess.run(words, check=True, capture_output=True, text=True)
    assert np.load(out).tobytes() == recon.solve(problem, solver(), stop=9).x.tobytes()


# -- choice and refusals ---------------------------------------------------------------------------------


def test_solve_chooses_them():
    matrix, _, data = spikes()
    operator = recon.Matrix(matrix)
    cases = {
        "ActiveSet": (L1(0.1), L1(0.1) + NonNegative()),
        "RelaxedIht": (TopK(3), L0(), 2 * Lp(), L0() + NonNegative()),
    }
    for name, priors in cases.items():
        for prior in priors:
            assert type(recon.solve(Problem(operator, data, prior), stop=1).solver).__name__ == name
    assert ActiveSet.suits(Problem(2.0 * operator, data, L1(0.1))) is None
    assert ActiveSet.suits(Problem(operator, data, L2())) is None


def test_refusals_say_what_to_use():
    matrix, _, data = spikes(m=30)
    operator, ones = recon.Matrix(matrix), WeightedLeastSquares(np.ones(30))
    both = recon.vstack(operator, operator)
    cases = [
        (Problem(operator, data, L2()), ActiveSet(), r"ActiveSet needs the prior L1, or L1 \+ NonNegative, got L2"),
        (Problem(operator, data, L1() + L1()), ActiveSet(), r"ActiveSet needs the prior L1, or L1 \+ NonNegative"),
        (Problem(operator, data, L1() + Box()), ActiveSet(), r"ActiveSet needs the prior L1, or L1 \+ NonNegative"),
        (Problem(operator, data, L1(), ones), ActiveSet(), "ActiveSet needs LeastSquares, got WeightedLeastSquares"),
        (Problem(both, (data, data), L1()), ActiveSet(), "ActiveSet needs an operator between real arrays"),
        (Problem(operator, data, L1()), Omp(), "Omp needs the prior TopK, got L1"),
        (Problem(operator, data, TopK(2), ones), Omp(), "Omp needs LeastSquares, got WeightedLeastSquares"),
        (Problem(both, (data, data), TopK(2)), CoSamp(), "CoSamp needs an operator between single arrays"),
        (Problem(operator, data, TopK(11)), CoSamp(), r"needs the prior TopK\(k\) with 3 k <= 30 data, got TopK"),
        (Problem(operator, data), CoSamp(), r"CoSamp needs the prior TopK\(k\) with 3 k <= 30 data, got None"),
        (Problem(operator, data), RelaxedIht(), "RelaxedIht needs a prior such as TopK, got none"),
        (Problem(operator, data, TV(ndim=1) + L0() + L0()), RelaxedIht(), "RelaxedIht needs Total.prox"),
        (Problem(operator, data, TopK(2), ResidualBall(1.0)), RelaxedIht(), "RelaxedIht needs a loss with a Lipschitz"),
        (Problem(operator, data, L2()), Reweighted(), "Reweighted needs one L1 in the prior, got L2"),
        (Problem(operator, data, L1(1) + L1(2)), Reweighted(Pdhg()), "Reweighted needs one L1 in the prior"),
        (Problem(operator, data, L1(), ResidualBall(1.0)), Fista(), "Fista needs a loss with a Lipschitz gradient"),
    ]  # fmt: skip
    for problem, solver, text in cases:
        with pytest.raises(CapabilityError, match=text):
            recon.solve(problem, solver, stop=1)
    with pytest.raises(ParameterError, match="Reweighted.solver must be a Solver, got <class"):
        Reweighted(Fista)


def test_the_benchmark_of_the_lasso_solves_its_problems():
    from recon_proximal import bench_lasso

    matrix, data = bench_lasso._spikes()
    radius = 0.3 * float(np.linalg.norm(data))
    x = bench_lasso.denoise(recon.Matrix(matrix), data, radius, float(np.abs(matrix.T @ data).max()))
    assert np.linalg.norm(matrix @ x - data) == pytest.approx(radius, rel=1e-6)
