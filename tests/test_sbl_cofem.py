"""Cofem and its parts: batched conjugate gradients, probes, the matrix-free engine, against dense textbook algebra."""

from __future__ import annotations

import sys
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from recon_operators.sensing import PartialDct
from recon_sbl import cofem as module
from recon_sbl._batched_cg import batched_cg
from recon_sbl._matrix_free import MatrixFree
from recon_sbl._probes import column_energy, determined, signs
from recon_sbl.bench_cofem import make, nmse, published
from recon_sbl.cofem import Cofem

import recon
from recon import Diagonal, Kronecker, Matrix, Problem
from recon.arrays import as_numpy
from recon.errors import CapabilityError, ParameterError
from recon.linalg import dense
from recon.testing import check_solver

SHARED = Path(__file__).parents[2] / "shared" / "reference"
TIGHT = {"mean_tol": 1e-12, "probe_tol": 1e-12}


def hadamard(n):
    H = np.ones((1, 1))
    while len(H) < n:
        H = np.block([[H, H], [H, -H]])
    return H


def case(m=20, n=32, kind="real", snapshots=1, seed=0):
    """Matrix, sparse truth, data (snapshots, m), deviation of the noise."""
    rng = np.random.default_rng(seed)
    A, X = rng.standard_normal((m, n)), np.zeros((snapshots, n))
    X[:, rng.permutation(n)[:4]] = rng.standard_normal((snapshots, 4))
    if kind == "complex":
        A, X = A + 1j * rng.standard_normal((m, n)), X * np.exp(2j * rng.standard_normal(X.shape))
    Y = X @ A.T + 0.1 * rng.standard_normal((snapshots, m))
    return A, X, Y, 0.1


def textbook(A, Y, gamma, s2):
    """Mean, diag(Sigma) and L by dense algebra."""
    S = s2 * np.eye(len(A)) + (A * gamma) @ A.conj().T
    mean = (gamma[:, None] * (A.conj().T @ np.linalg.solve(S, Y.T))).T
    taken = gamma * np.sum(A.conj() * np.linalg.solve(S, A), axis=0).real
    cost = len(Y) * np.linalg.slogdet(S)[1] + np.sum(Y.conj().T * np.linalg.solve(S, Y.T)).real
    return mean, gamma * (1 - taken), cost


# --- the parts -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["real", "complex"])
def test_batched_cg_solves_each_column_to_its_own_tolerance(kind):
    rng = np.random.default_rng(0)
    root = rng.standard_normal((12, 12)) + (1j * rng.standard_normal((12, 12)) if kind == "complex" else 0)
    E = root @ root.conj().T + np.eye(12)
    B = rng.standard_normal((3, 12)).astype(E.dtype)
    X = np.zeros_like(B)
    X[1] = np.linalg.solve(E, B[1])
    before, sizes = (B.copy(), X.copy()), []

    def apply(V):
        sizes.append(len(V))
        return V @ E.T

    found = batched_cg(apply, B, X, [1e-12, 1e-6, 1e-2], 200)
    left = np.linalg.norm(B - found.solutions @ E.T, axis=1) / np.linalg.norm(B, axis=1)
    assert (left <= [1e-11, 1e-6, 1e-2]).all()
    assert left[2] > 1e-6  # it stopped early
    assert found.unfinished == 0
    assert sizes[:2] == [3, 2]  # the second was solved at the start
    assert sizes[-1] == 1
    assert found.products == sum(sizes)
    np.testing.assert_array_equal(B, before[0])
    np.testing.assert_array_equal(X, before[1])


def test_batched_cg_traces_the_logarithm():
    rng = np.random.default_rng(1)
    root = rng.standard_normal((10, 10))
    E, b = root @ root.T / 10 + np.eye(10), rng.standard_normal((2, 10))
    found = batched_cg(lambda V: V @ E, b, 0 * b, [1e-3, 1e-13], 100, traced=1)
    values, vectors = np.linalg.eigh(E)
    weights = (vectors.T @ b[1]) ** 2
    logarithm, first = found.logarithm()
    assert logarithm == pytest.approx(weights @ np.log(values) / weights.sum(), rel=1e-9)
    assert first == pytest.approx(b[1] @ E @ b[1] / weights.sum(), rel=1e-12)


def test_batched_cg_keeps_what_it_cannot_finish():
    E, b = np.diag([1.0, 2.0, 3.0, 5.0]), np.ones((2, 4))
    found = batched_cg(lambda V: V @ E, b, 0 * b, [1e-10, 1.0], 2)
    assert found.unfinished == 1
    assert np.linalg.norm(b[0] - E @ found.solutions[0]) < 0.5 * np.linalg.norm(b[0])
    found = batched_cg(lambda V: -V, b, 0 * b, [1e-10, 1e-10], 5)  # not definite
    assert found.unfinished == 2
    assert np.isfinite(found.solutions).all()


def test_column_energies_are_exact_where_the_operator_tells():
    rng = np.random.default_rng(0)
    A, B = Matrix(rng.standard_normal((5, 6))), Matrix(rng.standard_normal((3, 4)))
    operators = [
        A,
        -2.0 * A,
        Kronecker((A, B)),
        Diagonal(rng.random(6) + 1) @ A.H,
        Diagonal(rng.random(5) + 1) @ A,
        A @ Diagonal(rng.random(6)),
        PartialDct((4, 5), 20),
        PartialDct((4, 5), 7),
        Matrix(rng.standard_normal((4, 3)) + 1j),
    ]
    for operator in operators:
        energy, exact = column_energy(operator, np.zeros(1), 0)
        assert exact
        np.testing.assert_allclose(energy.ravel(), np.sum(abs(dense(operator)) ** 2, axis=0), rtol=1e-12)


def test_column_energies_from_probes():
    rows = np.random.default_rng(0).permutation(2048)[:512]
    operator = PartialDct((2048,), rows, variant="III")
    truth = np.sum(dense(operator) ** 2, axis=0)
    energy, exact = column_energy(operator, np.zeros(1, np.float32), 0)
    assert not exact
    assert energy.dtype == np.float32
    # plain means of 16 probes would be off by sqrt(3 / 16) = 43 %
    assert np.sqrt(np.mean((energy / truth - 1) ** 2)) < 0.08
    steep = operator @ Diagonal(np.linspace(1, 4, 2048) * (np.arange(2048) % 2))
    found, _ = column_energy(replace_by_sum(steep), np.zeros(1), 0)
    assert found.min() > 0
    assert found[-500::2].mean() < 0.2 * found[-499::2].mean()


def replace_by_sum(operator):
    """An operator that does not tell its column energies."""
    return 0.5 * operator + 0.5 * operator


@pytest.mark.parametrize("kind", ["real", "complex"])
def test_engine_with_all_signs_is_exact(kind):
    A, _, Y, s2 = case(kind=kind, snapshots=2)
    rng = np.random.default_rng(2)
    gamma = rng.random(32) * (rng.random(32) > 0.3)
    gamma[np.flatnonzero(gamma)[0]] = 1e-14
    energy, exact = column_energy(Matrix(A), Y, 0)
    engine = MatrixFree(Matrix(A), Y, energy, exact, hadamard(32).astype(A.dtype), False, 1e-12, 1e-12)
    found = engine(gamma, s2)
    mean, variance, _ = textbook(A, Y, gamma, s2)
    np.testing.assert_allclose(found.mean, mean, atol=1e-10)
    np.testing.assert_allclose(found.variance, variance, atol=1e-12)
    np.testing.assert_allclose(gamma * (1 - found.determined), variance, atol=1e-12)
    assert found.misfit == pytest.approx(np.sum(abs(Y - mean @ A.T) ** 2), rel=1e-9)
    assert (found.mean[:, gamma == 0] == 0).all()
    assert (found.variance[gamma == 0] == 0).all()


def test_engine_starts_from_its_memory():
    A, _, Y, s2 = case()
    gamma = 0.1 + np.random.default_rng(3).random(32)
    energy, exact = column_energy(Matrix(A), Y, 0)
    engine = MatrixFree(Matrix(A), Y, energy, exact, signs(Matrix(A).domain, Y, 8, 7), True, 1e-10, 1e-10)
    found = engine(gamma, s2)
    again = engine(gamma, s2, found.memory)
    assert again.products < 0.4 * found.products  # the traced probe starts from 0 whatever
    np.testing.assert_allclose(again.mean, found.mean, atol=1e-9)
    np.testing.assert_allclose(again.variance, found.variance, atol=1e-9)
    gamma[3], moved = 0.0, engine(0.9 * gamma, s2)
    near = engine(gamma, s2, moved.memory)
    np.testing.assert_allclose(near.variance, engine(gamma, s2).variance, atol=1e-9)
    assert near.mean[0, 3] == near.variance[3] == 0.0


@pytest.mark.parametrize("pooled", [False, True])
def test_variance_is_right_with_many_probes(pooled):
    A, _, Y, s2 = case()
    gamma = 0.1 + np.random.default_rng(3).random(32)
    energy, exact = column_energy(Matrix(A), Y, 0)
    errors = []
    for probes in (16, 4096):
        z = signs(Matrix(A).domain, Y, probes, 7)
        found = MatrixFree(Matrix(A), Y, energy, exact, z, pooled, 1e-10, 1e-10)(gamma, s2)
        variance = textbook(A, Y, gamma, s2)[1]
        assert (found.variance >= 0).all()
        assert (found.variance <= gamma).all()
        errors.append(np.linalg.norm(found.variance - variance) / np.linalg.norm(variance))
    assert errors[1] < 0.02
    assert errors[1] < 0.3 * errors[0]


def test_pooling_is_worth_many_probes():
    A, _, Y, s2 = case(64, 128)
    gamma = np.random.default_rng(3).random(128) ** 4
    energy, exact = column_energy(Matrix(A), Y, 0)
    variance = textbook(A, Y, gamma, s2)[1]
    errors = {}
    for pooled in (False, True):
        z = signs(Matrix(A).domain, Y, 4, 7)
        found = MatrixFree(Matrix(A), Y, energy, exact, z, pooled, 1e-8, 1e-8)(gamma, s2)
        errors[pooled] = np.linalg.norm((found.variance - variance) / variance)
    assert errors[True] < 0.5 * errors[False]


def test_one_probe_says_what_the_sum_says():
    q, z = np.array([4.0, 4.0, 4.0, 4.0]), np.ones((1, 4))
    E = 1.1 * np.eye(4) - np.full((4, 4), 0.1)
    moved = np.linalg.solve(E, z.T).T - z
    found = determined(moved, z, q, True, True, 4)
    np.testing.assert_allclose(found.taken + found.left, 1, rtol=1e-12)
    np.testing.assert_allclose(found.taken, np.mean((q - moved[0]) / (1 + q)), rtol=1e-9)


@pytest.mark.parametrize("kind", ["real", "complex"])
def test_the_cost_is_right_on_average_and_exact_for_orthogonal_columns(kind):
    A, _, Y, s2 = case(kind=kind)
    gamma = 0.01 * np.random.default_rng(4).random(32)
    energy, exact = column_energy(Matrix(A), Y, 0)
    domain = Matrix(A).domain
    costs = [
        MatrixFree(Matrix(A), Y, energy, exact, signs(domain, Y, 1, k), True, 1e-10, 1e-10)(gamma, s2).cost
        for k in range(100)
    ]
    cost = textbook(A, Y, gamma, s2)[2]
    assert abs(np.mean(costs) - cost) < 4 * np.std(costs) / 10
    assert np.std(costs) < 6
    D = np.diag(np.linspace(1, 3, 8)).astype(A.dtype)
    found = MatrixFree(Matrix(D), Y[:, :8], np.diag(D).real ** 2, True, signs(Matrix(D).domain, Y, 1, 0))
    assert found(gamma[:8], s2).cost == pytest.approx(textbook(D, Y[:, :8], gamma[:8], s2)[2], rel=1e-10)


# --- the solver ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "solver",
    [
        Cofem(),
        Cofem(update="mackay", probes=2),
        Cofem(update="bounding", probes=1),
        Cofem(pooled=False, probes=10),
        Cofem(nonnegative=True),
    ],
)
def test_contract(solver):
    check_solver(solver)


def test_contract_of_other_problems(like):
    problem = Cofem.example()
    check_solver(Cofem(), like=like)
    check_solver(Cofem(), replace(problem, noise=None))
    check_solver(Cofem(), replace(problem, noise=np.linspace(0.005, 0.02, 24)))
    A, _, Y, noise = case(snapshots=3, kind="complex")
    check_solver(Cofem(joint=True), Problem(Matrix(A), Y, noise=noise))


@pytest.mark.parametrize("update", ["em", "mackay", "bounding"])
@pytest.mark.parametrize("kind", ["real", "complex"])
def test_with_all_signs_it_is_the_dense_method(update, kind, monkeypatch):
    A, _, Y, noise = case(kind=kind, snapshots=2)
    s2 = (2 if kind == "complex" else 1) * noise**2
    monkeypatch.setattr(module, "signs", lambda spec, like, *key: hadamard(32).astype(like.dtype))
    solver = Cofem(update=update, joint=True, pooled=False, probes=32, prune=0.0, tol=1e-15, **TIGHT)
    problem = Problem(Matrix(A), Y, noise=noise)
    state = solver.init(problem)
    gamma = np.mean(abs(Y) ** 2) * 20 / 32 / np.sum(abs(A) ** 2, axis=0)
    costs = []
    for _ in range(8):
        mean, variance, cost = textbook(A, Y, gamma, s2)
        np.testing.assert_allclose(state.gamma, gamma, rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(state.x, mean, atol=1e-7)
        np.testing.assert_allclose(state.variance, variance, rtol=1e-6, atol=1e-9)
        costs.append(cost)
        power = np.mean(abs(mean) ** 2, axis=0)
        taken = 1 - variance / gamma
        steps = {"em": power + variance, "mackay": power / taken, "bounding": np.sqrt(power * gamma / taken)}
        gamma = steps[update]
        state = solver.step(problem, state)
    if update != "mackay":
        assert (np.diff(costs) < 0).all()


def test_the_cost_never_rises_with_pooled_probes():
    rng = np.random.default_rng(0)
    A, x = rng.standard_normal((128, 256)), np.zeros(256)
    x[rng.permutation(256)[:12]] = rng.standard_normal(12)
    problem = Problem(Matrix(A), A @ x + 0.1 * rng.standard_normal(128), noise=0.1)
    result = recon.solve(problem, Cofem(probes=8, tol=1e-5, mean_tol=1e-8, probe_tol=1e-6), stop=40)
    costs = result.hyperparameters["evidence"]
    assert len(costs) > 15
    assert (np.diff(costs) < 1e-6 * abs(costs[-1])).all()
    assert nmse(result.x, x) < 1e-3


def test_libraries_agree(to):
    A, _, Y, noise = case(24, 40)
    solver = Cofem(tol=1e-12, **TIGHT)

    def run(data):
        problem = Problem(Matrix(A, domain_shape=(5, 8)), data, noise=noise)
        state = solver.init(problem)
        for _ in range(6):
            state = solver.step(problem, state)
        return state

    here, there = run(Y[0]), run(to(Y[0]))
    for name in ("x", "variance", "gamma"):
        np.testing.assert_allclose(as_numpy(getattr(there, name)), getattr(here, name), rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(there.costs, here.costs, rtol=1e-10)


def test_complex_equals_real_on_real_data():
    A, _, Y, noise = case()
    solver = Cofem(tol=1e-12, **TIGHT)
    real = recon.solve(Problem(Matrix(A), Y[0], noise=noise), solver, stop=8)
    other = Problem(Matrix(A.astype(complex)), Y[0].astype(complex), noise=noise / 2**0.5)
    found = recon.solve(other, solver, stop=8)
    np.testing.assert_allclose(found.x, real.x, atol=1e-9)
    np.testing.assert_allclose(found.variance, real.variance, rtol=1e-7)


def test_units_change_nothing():
    problem = Cofem.example()
    A, y = problem.operator.matrix, problem.data
    solver = Cofem(**TIGHT)
    base = recon.solve(problem, solver)
    for scale in (1e6, 1e-6):
        found = recon.solve(Problem(Matrix(A), scale * y, noise=scale * problem.noise), solver)
        np.testing.assert_allclose(found.x / scale, base.x, rtol=1e-8, atol=1e-9)
        np.testing.assert_allclose(found.variance / scale**2, base.variance, rtol=1e-8)
        found = recon.solve(Problem(Matrix(scale * A), y, noise=problem.noise), solver)
        np.testing.assert_allclose(found.x * scale, base.x, rtol=1e-8, atol=1e-9)
    columns = 10.0 ** np.linspace(-3, 3, 48)
    found = recon.solve(Problem(Matrix(A * columns), y, noise=problem.noise), solver)
    np.testing.assert_allclose(found.x * columns, base.x, rtol=1e-8, atol=1e-9)
    # at the usual tolerances, conjugate gradients magnify rounding; powers of two cause none
    loose = recon.solve(problem, Cofem())
    found = recon.solve(Problem(Matrix(A), 2.0**20 * y, noise=2.0**20 * problem.noise), Cofem())
    np.testing.assert_array_equal(found.x, 2.0**20 * loose.x)


def test_snapshots():
    A, _, Y, noise = case()
    one = Cofem(joint=True).init(Problem(Matrix(A), Y, noise=noise))
    two = Cofem(joint=True).init(Problem(Matrix(A), np.concatenate([Y, Y]), noise=noise))
    np.testing.assert_allclose(two.gamma, one.gamma, rtol=1e-12)
    np.testing.assert_allclose(two.x[1], one.x[0], rtol=1e-12)
    assert two.costs[0] == pytest.approx(2 * one.costs[0], rel=1e-10)
    A, X, Y, noise = case(snapshots=8)
    single = recon.solve(Problem(Matrix(A), Y[0], noise=noise), Cofem())
    joint = recon.solve(Problem(Matrix(A), Y, noise=noise), Cofem(joint=True))
    assert joint.x.shape == X.shape
    assert joint.variance.shape == (32,)
    assert nmse(joint.x[0], X[0]) < nmse(single.x, X[0])


def test_noise_by_entry_is_whitened_noise():
    A, _, Y, _ = case()
    noise = np.linspace(0.05, 0.3, 20)
    found = Cofem(**TIGHT).init(Problem(Matrix(A), Y[0], noise=noise))
    plain = Cofem(**TIGHT).init(Problem(Matrix(A / noise[:, None]), Y[0] / noise, noise=1.0))
    np.testing.assert_allclose(found.x, plain.x, atol=1e-9)
    assert found.costs[0] == pytest.approx(plain.costs[0] + 2 * np.sum(np.log(noise)), rel=1e-9)


def test_noise_is_learned_from_more_data_than_entries():
    rng = np.random.default_rng(0)
    A, x = rng.standard_normal((400, 60)), np.zeros(60)
    x[:5] = rng.standard_normal(5)
    problem = Problem(Matrix(A), A @ x + 0.2 * rng.standard_normal(400))
    result = recon.solve(problem, Cofem(), stop=60)
    assert 0.18 < result.hyperparameters["noise"] < 0.22
    assert "remarks" not in result.provenance
    result = recon.solve(replace(Cofem.example(), noise=None), Cofem(), stop=5)
    (line,) = result.provenance["remarks"]
    assert line.startswith("The noise was learned from fewer data than entries")


def test_nonnegative_entries():
    rng = np.random.default_rng(1)
    A, x = rng.standard_normal((24, 48)), np.zeros(48)
    x[:10] = 1 + rng.random(10)
    problem = Problem(Matrix(A), A @ x + 0.1 * rng.standard_normal(24), noise=0.1)
    free = recon.solve(problem, Cofem(tol=1e-6), stop=100)
    result = recon.solve(problem, Cofem(nonnegative=True, tol=1e-6), stop=100)
    assert (free.x < -0.01).any()
    assert (result.x >= 0).all()
    assert nmse(result.x, x) < 0.5 * nmse(free.x, x)


def test_pruned_entries_are_zero():
    result = recon.solve(Cofem.example(), Cofem(update="mackay", prune=1e-4), stop=100)
    gone = result.hyperparameters["gamma"] == 0
    assert gone.sum() > 24
    assert (result.x[gone] == 0).all()
    assert (result.variance[gone] == 0).all()
    np.testing.assert_array_equal(result.support, ~gone)
    assert (result.variance[~gone] > 0).all()


@pytest.mark.parametrize("noise", [None, 0.3])
def test_zero_data(noise):
    result = recon.solve(replace(Cofem.example(), data=np.zeros(24), noise=noise), Cofem())
    assert result.status.name == "CONVERGED"
    assert (result.x == 0).all()
    assert (result.variance == 0).all()
    assert result.objective == (0.0 if noise is None else pytest.approx(48 * np.log(0.3)))


def test_images_of_two_axes_without_a_matrix():
    rng = np.random.default_rng(0)
    operator = PartialDct((64, 128), 2800, scramble=True)
    x = np.zeros((64, 128), np.float32)
    x.ravel()[rng.permutation(8192)[:240]] = rng.standard_normal(240)
    data = operator @ x + 0.005 * rng.standard_normal(2800).astype(np.float32)
    problem = Problem(operator, data, noise=0.005)
    tracemalloc.start()
    result = recon.solve(problem, Cofem(), stop=40)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert result.x.shape == result.variance.shape == (64, 128)
    assert nmse(result.x, x) < 1e-2
    assert peak < 100 * x.nbytes  # a matrix would be 2800


def test_what_did_not_converge_is_used_and_said():
    result = recon.solve(Cofem.example(), Cofem(inner=2), stop=20)
    (line,) = result.provenance["remarks"]
    assert line.startswith("Conjugate gradients did not converge within 2 iterations for ")
    assert line.endswith("their last iterates were used. Raise inner or probe_tol where this is many.")
    assert np.isfinite(result.objective)
    assert "remarks" not in recon.solve(Cofem.example(), Cofem()).provenance


@pytest.mark.parametrize("snr", [50, 80, 120])
def test_little_noise(snr):
    """The prior is heard only where E has eigenvalues of 1 / (1 + q): residuals must be far below those of the data."""
    trial = make(0, snr, 2048, 512, 64, np.float64)
    result = recon.solve(trial.problem, Cofem(), stop=100)
    assert result.status is recon.Status.CONVERGED
    assert nmse(result.x, trial.truth) < 0.5 * 10 ** (-snr / 10)
    assert "remarks" not in result.provenance


def test_less_noise_than_single_data_can_tell():
    trial = make(0, 100, 1024, 256, 32)
    result = recon.solve(trial.problem, Cofem(), stop=100)
    assert result.status is recon.Status.CONVERGED
    assert nmse(result.x, trial.truth) < 1e-7
    (line,) = result.provenance["remarks"]
    assert line.startswith("Problem.noise is too small for the digits of the data, so ")
    assert "Single data allow noise down to 49 dB below them, double down to 136 dB." in line
    level = np.sqrt(100 * np.finfo(np.float32).eps * np.mean(trial.problem.data**2))
    assert result.hyperparameters["noise"] == pytest.approx(level, rel=1e-5)


def test_refusals():
    A, _, Y, noise = case(snapshots=2)
    with pytest.raises(CapabilityError, match=r"Cofem fits one sample at a time, got batch axes \(2,\)"):
        Cofem().init(Problem(Matrix(A), Y, noise=noise))
    A, _, Y, noise = case(kind="complex")
    with pytest.raises(CapabilityError, match="Cofem.nonnegative needs real data, got complex. Split real"):
        Cofem(nonnegative=True).init(Problem(Matrix(A), Y[0], noise=noise))
    with pytest.raises(CapabilityError, match="Cofem learns its own prior"):
        Cofem().init(replace(Cofem.example(), prior=recon.L1(1.0)))
    with pytest.raises(ParameterError, match="Cofem.probes must be >= 1, got 0"):
        Cofem(probes=0)


# --- against the published algorithm -------------------------------------------------------------------


def test_as_good_as_published_with_far_fewer_products():
    trial = make(1, 30, 512, 192, 32)
    problem = trial.problem
    theirs, variance = published(problem.operator, problem.data, problem.noise**2)
    result = recon.solve(problem, Cofem(), stop=100)
    assert nmse(theirs, trial.truth) < 2e-3
    assert nmse(result.x, trial.truth) < 1.1 * nmse(theirs, trial.truth)
    on = trial.truth != 0
    gamma = np.asarray(result.hyperparameters["gamma"], float)
    exact = textbook(dense(problem.operator), problem.data[None].astype(float), gamma, problem.noise**2)[1]
    assert np.linalg.norm(result.variance - exact) < 0.15 * np.linalg.norm(exact)
    assert np.mean(result.variance[on]) == pytest.approx(np.mean(exact[on]), rel=0.1)
    assert (variance[on] > 0).all()
    assert result.state.products < 2500  # 11 for each of hundreds of inner iterations there
    falls = -np.diff(result.hyperparameters["evidence"]) / 192
    assert (falls[:-2] > 0.02).all()
    assert falls[-1] < 0.04  # it ended where L fell by about tol = 0.03 per datum


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.exists(), reason="needs the developers' ../shared folder")
def test_the_dct_case_of_the_reference_figures(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(SHARED), *sys.path])
    import gen_sbl

    for snr, limit in ((30, 6.4e-4), (20, 9.92e-3)):
        trial, reference = make(0, snr), gen_sbl.make("dct", 0, snr)
        np.testing.assert_allclose(trial.problem.data, reference.Y[:, 0], rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(trial.truth, reference.X[:, 0])
        result = recon.solve(trial.problem, Cofem(), stop=100)
        assert result.x.dtype == np.float32
        assert nmse(result.x, trial.truth) <= limit
