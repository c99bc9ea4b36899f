"""The solvers of recon_proximal: the contract, independent optima, one result on every array library, resume."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import array_api_strict as strict
import numpy as np
import pytest
import scipy.linalg
import scipy.optimize
import torch
from recon_proximal import Admm, Cgls, Fista, Pdhg, Sirt

import recon
from recon import L1, L2, L21, TV, Box, MaxIterations, NonNegative, Poisson, Problem, WeightedLeastSquares
from recon.checkpoint import load_state, save_state
from recon.errors import CapabilityError, CheckpointError, ParameterError
from recon.testing import check_solver

SOLVERS = [Admm, Cgls, Fista, Pdhg, Sirt]


@pytest.mark.parametrize("solver", SOLVERS, ids=lambda s: s.__name__)
def test_contract(solver):
    check_solver(solver())


# -- the right minimiser ---------------------------------------------------------------------------------


def lasso(weight=0.05, m=40, n=80):
    rng = np.random.default_rng(3)
    matrix = rng.standard_normal((m, n)) / np.sqrt(m)
    x = np.zeros(n)
    x[:6] = rng.standard_normal(6)
    data = matrix @ x + 0.01 * rng.standard_normal(m)
    return matrix, data, weight


def lasso_minimum(matrix, data, weight, sign=None):
    """Minimum of the lasso by a bound-constrained quasi-Newton method on x = p - q, p, q >= 0."""
    n = matrix.shape[1]

    def value(z):
        r = matrix @ (z[:n] - z[n:]) - data
        g = matrix.T @ r
        return 0.5 * r @ r + weight * z.sum(), np.concatenate([g + weight, weight - g])

    bounds = [(0, None)] * n + [(0, 0 if sign == "+" else None)] * n
    best = scipy.optimize.minimize(
        value, np.zeros(2 * n), jac=True, bounds=bounds, method="L-BFGS-B",
        options={"maxiter": 20000, "maxfun": 40000, "ftol": 1e-16, "gtol": 1e-11},
    )  # fmt: skip
    return best.fun


@pytest.mark.parametrize("solver", [Fista(), Fista(restart=False), Pdhg(), Admm()], ids=repr)
def test_lasso_equals_an_independent_minimum(solver):
    matrix, data, weight = lasso()
    result = recon.solve(Problem(recon.Matrix(matrix), data, L1(weight)), solver, stop=4000, every=100)
    assert result.objective == pytest.approx(lasso_minimum(matrix, data, weight), rel=1e-7)


@pytest.mark.parametrize("solver", [Fista(), Pdhg(), Admm()], ids=repr)
def test_nonnegative_lasso_equals_an_independent_minimum(solver):
    matrix, data, weight = lasso()
    prior = L1(weight) + NonNegative()
    result = recon.solve(Problem(recon.Matrix(matrix), data, prior), solver, stop=4000, every=100)
    assert result.objective == pytest.approx(lasso_minimum(matrix, data, weight, "+"), rel=1e-7)
    assert result.x.min() >= 0.0


@pytest.mark.parametrize("solver", [Cgls(), Pdhg(), Fista()], ids=repr)
@pytest.mark.parametrize("weights", [None, "w"])
def test_ridge_equals_the_normal_equations(solver, weights):
    matrix, data, _ = lasso()
    w = np.ones(40) if weights is None else np.random.default_rng(0).uniform(0.2, 3.0, 40)
    loss = recon.LeastSquares() if weights is None else WeightedLeastSquares(w)
    expected = np.linalg.solve(matrix.T @ (w[:, None] * matrix) + 0.3 * np.eye(80), matrix.T @ (w * data))
    result = recon.solve(Problem(recon.Matrix(matrix), data, L2(0.3), loss), solver, stop=3000, every=100)
    np.testing.assert_allclose(result.x, expected, atol=1e-6)


def test_cgls_is_exact_after_rank_steps_and_never_rises():
    rng = np.random.default_rng(0)
    matrix, data = rng.standard_normal((20, 12)), rng.standard_normal(20)
    result = recon.solve(Problem(recon.Matrix(matrix), data), Cgls(), stop=12, every=1)
    np.testing.assert_allclose(result.x, np.linalg.lstsq(matrix, data, rcond=None)[0], atol=1e-9)
    assert (np.diff(result.series("objective")[1]) <= 1e-12).all()


def test_cgls_stays_at_the_minimum():
    problem = Problem(recon.Identity(recon.ArraySpec((4,))), np.zeros(4))
    result = recon.solve(problem, Cgls(), stop=5)
    assert result.status.good
    assert (result.x == 0).all()


def test_sirt_never_rises_and_obeys_its_bounds():
    problem = Sirt.example()
    result = recon.solve(problem, Sirt(), stop=300, every=1)
    assert (np.diff(result.series("weighted")[1]) <= 1e-12).all()
    assert result.x.min() >= 0
    boxed = Problem(problem.operator, problem.data, Box(0.0, 0.6))
    assert recon.solve(boxed, Sirt(), stop=50).x.max() <= 0.6


def test_sirt_equals_its_formula():
    problem = Problem(Sirt.example().operator, Sirt.example().data)
    matrix = recon.linalg.dense(problem.operator)
    x = np.zeros(48)
    for _ in range(7):
        x = x + (matrix.T @ ((problem.data - matrix @ x) / matrix.sum(1))) / matrix.sum(0)
    np.testing.assert_allclose(recon.solve(problem, Sirt(), stop=7).x.ravel(), x, rtol=1e-12)


@pytest.mark.parametrize("isotropic", [True, False])
def test_tv_denoising_agrees_between_the_prox_and_both_splitting_solvers(isotropic):
    rng = np.random.default_rng(0)
    data = np.kron([[0.0, 1.0], [0.5, 0.2]], np.ones((6, 7))) + 0.1 * rng.standard_normal((12, 14))
    prior = TV(0.2, isotropic=isotropic, tol=1e-9, iterations=20000)
    problem = Problem(recon.Identity(recon.ArraySpec((12, 14))), data, prior)
    exact = problem.objective(prior.prox(data, 1.0))
    for solver in (Pdhg(), Admm(inner=50), Fista()):
        assert recon.solve(problem, solver, stop=1000, every=200).objective == pytest.approx(exact, rel=1e-6)


def test_poisson_with_tv_agrees_between_pdhg_and_admm():
    counts = np.random.default_rng(0).poisson(5 * np.maximum(Pdhg.example().data, 0)).astype(float)
    problem = Problem(5 * Pdhg.example().operator, counts, TV(0.5) + NonNegative(), Poisson(0.2))
    results = [recon.solve(problem, solver, stop=6000, every=500) for solver in (Pdhg(), Admm(inner=60))]
    assert results[0].objective == pytest.approx(results[1].objective, rel=2e-5)


def test_several_priors_without_a_joint_prox():
    rng = np.random.default_rng(0)
    data = rng.standard_normal((8, 6))
    problem = Problem(recon.Identity(recon.ArraySpec((8, 6))), data, L1(0.2) + L21(0.3) + Box(-0.5, 0.5))
    values = [recon.solve(problem, s, stop=600, every=200).objective for s in (Pdhg(), Admm())]
    assert values[0] == pytest.approx(values[1], rel=1e-6)
    with pytest.raises(CapabilityError, match="Fista needs Total.prox, which it has not. Use Pdhg or Admm"):
        recon.solve(problem, Fista())


def test_complex_data_stay_complex():
    rng = np.random.default_rng(0)
    matrix = (rng.standard_normal((30, 50)) + 1j * rng.standard_normal((30, 50))) / 8
    x = np.zeros(50, complex)
    x[:4] = [1, 1j, -1, 1 + 1j]
    problem = Problem(recon.Matrix(matrix), matrix @ x, L1(0.01))
    values = []
    for solver in (Fista(), Pdhg(), Admm()):
        result = recon.solve(problem, solver, stop=3000, every=100)
        assert result.x.dtype == np.complex128
        values.append(result.objective)
    assert values == pytest.approx([values[0]] * 3, rel=1e-6)


def test_stacked_operators_take_tuples():
    problem = Pdhg.example()
    stacked = recon.vstack(problem.operator, 2 * problem.operator)
    both = Problem(stacked, (problem.data, 2 * problem.data), problem.prior)
    five = Problem(np.sqrt(5) * problem.operator, np.sqrt(5) * problem.data, problem.prior)
    one, other = (recon.solve(p, Pdhg(), stop=4000, every=500).objective for p in (both, five))
    assert one == pytest.approx(other, rel=1e-6)


def test_batches_are_solved_together():
    problem = Fista.example()
    many = Problem(problem.operator, np.stack([problem.data, 2 * problem.data]), problem.prior)
    alone = [Problem(problem.operator, k * problem.data, problem.prior) for k in (1, 2)]
    result = recon.solve(many, Fista(), stop=1000)
    for k in range(2):
        np.testing.assert_allclose(result.x[k], recon.solve(alone[k], Fista(), stop=1000).x, atol=1e-6)


# -- one file, every array library -----------------------------------------------------------------------

LIBRARIES = {"numpy": np.asarray, "strict": strict.asarray, "torch": torch.from_numpy}


# Conjugate gradients magnify rounding from step to step: a few steps agree to 1e-9, no method of theirs to more.
@pytest.mark.parametrize(
    ("solver", "steps", "limit"),
    [
        (Fista(), 40, 1e-12),
        (Fista(restart=False), 40, 1e-12),
        (Pdhg(), 40, 1e-12),
        (Sirt(), 40, 1e-12),
        (Cgls(), 5, 1e-9),
        (Admm(), 5, 1e-9),
    ],
    ids=repr,
)
def test_the_same_iterates_on_every_library(solver, steps, limit):
    problem = type(solver).example()
    iterates = {}
    for name, convert in LIBRARIES.items():
        same = Problem(problem.operator, convert(problem.data), problem.prior, problem.loss)
        states = recon.iterate(same, solver)
        iterates[name] = [np.asarray(next(states).x) for _ in range(steps)]
    scale = max(np.abs(x).max() for x in iterates["numpy"])
    for name in ("strict", "torch"):
        worst = max(np.abs(a - b).max() for a, b in zip(iterates["numpy"], iterates[name], strict=True))
        assert worst <= limit * scale, name


# -- stop, save, load, go on -----------------------------------------------------------------------------

CONTINUE = """
import sys, numpy, recon, importlib
from recon.checkpoint import load_state
name, path, out = sys.argv[1:]
solver = getattr(importlib.import_module("recon_proximal"), name)()
problem = type(solver).example()
state = load_state(path, problem, solver)
assert state.iteration == 17
numpy.save(out, recon.solve(problem, solver, state=state, stop=40).x)
"""


@pytest.mark.parametrize("solver", SOLVERS, ids=lambda s: s.__name__)
def test_resumed_in_a_new_process_bit_for_bit(solver, tmp_path):
    problem = solver.example()
    straight = recon.solve(problem, solver(), stop=40).x
    part = recon.solve(problem, solver(), stop=17)
    assert part.iterations == 17
    save_state(tmp_path / "state.npz", part.state, problem, solver())
    words = [
        sys.executable,
        "-c",
        CONTINUE,
        solver.__name__,
        str(tmp_path / "state.npz"),
        str(tmp_path / "x.npy"),
    ]
    subprocess.run(words, check=True, capture_output=True, text=True)
    assert np.load(tmp_path / "x.npy").tobytes() == straight.tobytes()


def test_a_state_of_another_run_is_refused(tmp_path):
    problem = Fista.example()
    state = recon.solve(problem, Fista(), stop=3).state
    path = tmp_path / "state.npz"
    save_state(path, state, problem, Fista())
    with pytest.raises(CheckpointError, match="must come from the same solver"):
        load_state(path, problem, Cgls())
    with pytest.raises(CheckpointError, match="must come from the same parameters"):
        load_state(path, problem, Fista(restart=False))
    with pytest.raises(CheckpointError, match="must come from the same data"):
        load_state(path, Problem(problem.operator, 2 * problem.data, problem.prior), Fista())
    with pytest.raises(ParameterError, match="solve.state must be a CglsState of Cgls, got FistaState"):
        recon.solve(problem, Cgls(), state=state)


# -- choice and refusals ---------------------------------------------------------------------------------


def test_solve_chooses_and_says_which(caplog):
    matrix, data, weight = lasso()
    cases = {
        "Cgls": Problem(recon.Matrix(matrix), data, L2(0.1)),
        "ActiveSet": Problem(recon.Matrix(matrix), data, L1(weight)),
        "Fista": Problem(recon.Matrix(matrix), data, L21(weight)),
        "Pdhg": Problem(recon.Matrix(matrix), data, TV(weight, ndim=1)),
    }
    for name, problem in cases.items():
        with caplog.at_level("INFO", logger="recon"):
            result = recon.solve(problem, stop=3)
        assert type(result.solver).__name__ == name
        assert result.provenance["chosen"].startswith(f"{name}: ")
        assert f"solve chose {name}" in caplog.text
    counts = Problem(recon.Matrix(np.abs(matrix)), np.abs(data), NonNegative(), Poisson(0.1))
    assert type(recon.solve(counts, stop=3).solver).__name__ == "Pdhg"


def test_refusals_say_what_to_use():
    matrix, data, weight = lasso()
    operator = recon.Matrix(matrix)
    with pytest.raises(
        CapabilityError,
        match=r"Cgls needs an L2 prior or none, got L1\(weight=0.05\). Use Fista or Pdhg instead",
    ):
        recon.solve(Problem(operator, data, L1(weight)), Cgls())
    with pytest.raises(
        CapabilityError, match=r"Cgls needs an L2 prior or none, got NonNegative\(\). Use Sirt"
    ):
        recon.solve(Problem(operator, data, NonNegative()), Cgls())
    with pytest.raises(CapabilityError, match="Cgls needs a quadratic loss, got Poisson. Use Pdhg"):
        recon.solve(Problem(operator, np.abs(data), None, Poisson()), Cgls())
    with pytest.raises(
        CapabilityError, match="Fista needs a loss with a Lipschitz gradient, which Poisson has not"
    ):
        recon.solve(Problem(operator, np.abs(data), L1(), Poisson()), Fista())
    with pytest.raises(CapabilityError, match="Sirt needs an operator with nonnegative entries"):
        recon.solve(Problem(operator, data), Sirt())
    with pytest.raises(CapabilityError, match=r"Sirt takes bounds \(NonNegative, Box\) or no prior, got L1"):
        recon.solve(Problem(operator, data, L1()), Sirt())
    with pytest.raises(CapabilityError, match="Sirt needs LeastSquares, got Poisson"):
        recon.solve(Problem(operator, np.abs(data), None, Poisson()), Sirt())
    with pytest.raises(CapabilityError, match="Admm needs a prior, got none. Use Cgls"):
        recon.solve(Problem(operator, data), Admm())
    with pytest.raises(ParameterError, match="make an instance|Make an instance"):
        recon.solve(Problem(operator, data), Cgls)

    class Odd(recon.Prior):
        def value(self, x):
            return 0.0

    for solver in (Pdhg(), Admm()):
        with pytest.raises(CapabilityError, match=r"needs Odd.prox or .split, which it has not"):
            recon.solve(Problem(operator, data, Odd()), solver)
    with pytest.raises(CapabilityError, match="No installed solver suits Matrix"):
        recon.solve(Problem(operator, data, Odd()))


def test_a_diverging_run_is_a_status_and_check_raises():
    matrix, data, weight = lasso()
    result = recon.solve(Problem(recon.Matrix(matrix), data, L1(weight)), Fista(step_size=1e6), stop=400)
    assert result.status is recon.Status.DIVERGED
    with pytest.raises(recon.errors.ConvergenceError, match="Fista ended with status DIVERGED"):
        result.check()


def test_discrepancy_stops_cgls_at_the_noise():
    problem = Cgls.example()
    noisy = Problem(problem.operator, problem.data, noise=0.05)
    result = recon.solve(noisy, Cgls(), stop=MaxIterations(200) | recon.Discrepancy(1.0), every=1)
    assert result.status is recon.Status.DISCREPANCY
    residual = np.linalg.norm(problem.operator @ result.x - problem.data)
    assert residual <= 0.05 * np.sqrt(60) < np.linalg.norm(problem.data)


def test_history_is_json(tmp_path):
    path = tmp_path / "log.jsonl"
    recon.solve(Fista.example(), Fista(), stop=25, observers=[recon.observers.JsonLines(path)])
    rows = [json.loads(line) for line in Path(path).read_text().splitlines()]
    assert [row["iteration"] for row in rows] == [20, 25]
    assert all(np.isfinite(row["objective"]) for row in rows)


# -- corners that once failed ----------------------------------------------------------------------------


def small(shape=(3, 4), rows=10, seed=0):
    rng = np.random.default_rng(seed)
    return recon.Matrix(rng.standard_normal((rows, 12)), domain_shape=shape), rng.standard_normal(rows)


@pytest.mark.parametrize("bounds", [NonNegative(), Box(0.0, 0.3), Box(None, 0.2)], ids=repr)
@pytest.mark.parametrize(
    "prior", [L1(0.1), L2(0.1), L21(0.1), recon.Nuclear(0.1), TV(0.1), recon.Simplex(axis=-1)], ids=repr
)
def test_every_prior_with_every_interval(prior, bounds):
    if isinstance(prior, recon.Simplex) and isinstance(bounds, Box):
        bounds = Box(bounds.lower, 0.9)  # sums of four entries must reach 1
    operator, data = small()
    problem = Problem(operator, data, prior + bounds)
    results = [recon.solve(problem, s, stop=2000, every=500) for s in (None, Pdhg(), Admm(inner=40))]
    for result in results:
        assert np.isfinite(bounds.value(result.x))
    if isinstance(prior, recon.Simplex):  # of two sets that no projection joins, one holds in the limit only
        assert max(np.abs(r.x.sum(-1) - 1).max() for r in results) <= 1e-6
        values = [r.history[-1]["loss"] for r in results]
    else:
        values = [r.objective for r in results]
    assert values == pytest.approx([values[1]] * 3, rel=2e-5)


def test_a_scaled_constraint_is_the_constraint():
    operator, data = small()
    for prior in (2 * NonNegative() + L1(0.1), NonNegative() + Box(0, 2)):
        result = recon.solve(Problem(operator, data, prior), stop=50)
        assert result.x.min() >= 0
        assert np.isfinite(result.objective)
    positive = recon.Matrix(np.abs(operator.matrix), domain_shape=(3, 4))
    assert (
        recon.solve(Problem(positive, np.abs(data), NonNegative() + Box(0, 0.1)), Sirt(), stop=20).x.max()
        <= 0.1
    )


@pytest.mark.parametrize("solver", [None, Pdhg(), Admm()], ids=repr)
def test_tuple_images_with_two_priors(solver):
    first, data = small((12,))
    second, _ = small((12,), seed=1)
    problem = Problem(recon.hstack(first, second), data, L1(0.1) + L2(0.1))
    joined = Problem(recon.Matrix(np.hstack([first.matrix, second.matrix])), data, L1(0.1) + L2(0.1))
    result, expected = (recon.solve(p, solver, stop=3000, every=500) for p in (problem, joined))
    assert result.objective == pytest.approx(expected.objective, rel=1e-6)
    np.testing.assert_allclose(np.concatenate(result.x), expected.x, atol=1e-4)


def test_a_poisson_run_may_pass_outside_the_domain():
    rng = np.random.default_rng(0)
    matrix, x = rng.standard_normal((30, 10)), rng.random(10)
    for seed in range(8):
        counts = np.random.default_rng(seed).poisson(np.maximum(matrix @ x + 3, 0) + 0.5).astype(float)
        problem = Problem(recon.Matrix(matrix), counts, L1(0.01), Poisson(background=3.0))
        for solver in (Pdhg(), Admm()):
            assert recon.solve(problem, solver, stop=200).status.good


def test_single_precision_far_from_one():
    rng = np.random.default_rng(0)
    matrix = rng.standard_normal((20, 10)).astype(np.float32)
    for scale in (1e-24, 1e18):
        data = matrix @ np.ones(10, np.float32) * np.float32(scale)
        result = recon.solve(Problem(recon.Matrix(matrix), data), Cgls(), stop=40)
        np.testing.assert_allclose(result.x / np.float32(scale), 1.0, rtol=1e-3)
        assert 0 <= result.objective < np.inf


def test_fista_with_a_step_still_refuses_poisson():
    operator, data = small()
    with pytest.raises(CapabilityError, match="Fista needs a loss with a Lipschitz gradient"):
        recon.solve(Problem(operator, np.abs(data), L1(), Poisson()), Fista(step_size=0.1))


def test_a_rare_large_mode_does_not_make_fista_diverge():
    values = np.ones(200_000)
    values[7] = 1.5
    problem = Problem(recon.Diagonal(values), np.ones(values.size), L1(0.01))
    assert recon.solve(problem, Fista(), stop=300).status.good


@pytest.mark.parametrize("batch", [(), (3,)])
def test_the_step_of_fista_follows_the_weights_row_by_row(batch):
    """Few heavy rows: the norm of W^(1/2) A is far below max(W) times that of A."""
    rng = np.random.default_rng(0)
    matrix, weights = rng.standard_normal((60, 40)), np.r_[1e4, np.ones(59)]
    data = rng.standard_normal((*batch, 60))
    problem = Problem(recon.Matrix(matrix), data, L1(0.1), WeightedLeastSquares(weights))
    step = Fista().init(problem).step
    exact = 1 / np.linalg.norm(np.sqrt(weights)[:, None] * matrix, 2) ** 2
    assert 0.9 * exact <= step <= exact * (1 + 1e-9)
    per_sample = Problem(
        recon.Matrix(matrix), data, L1(0.1), WeightedLeastSquares(np.broadcast_to(weights, data.shape))
    )
    assert Fista().init(per_sample).step <= step * (1 + 1e-9)
    pair = recon.vstack(recon.Matrix(matrix), recon.Matrix(2 * matrix))
    both = Problem(pair, (data, data), L1(0.1), WeightedLeastSquares((np.full(60, 1e4), np.ones(60))))
    assert Fista().init(both).step >= 0.9 / ((1e4 + 4) * np.linalg.norm(matrix, 2) ** 2)
