"""Structured sparse Bayesian learning: blocks with correlation, correlated snapshots, coupled patterns."""

import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest
from recon_sbl._correlation import ar1, ar1_factor, best_ar1, best_scaled_ar1, moments
from recon_sbl.blocks import Bsbl
from recon_sbl.pattern import PcSbl
from recon_sbl.tmsbl import TMsbl

import recon
from recon.arrays import as_numpy, from_numpy
from recon.errors import CapabilityError, ParameterError, ShapeError
from recon.testing import check_solver

REFERENCE = Path(__file__).resolve().parents[2] / "shared" / "reference"


def blocky(seed=0, m=24, n=48, h=4, kind="real", snapshots=0, noise=0.05):
    """A Gaussian matrix, two blocks of correlated entries, and the data."""
    rng = np.random.default_rng(seed)

    def normal(*shape):
        values = rng.standard_normal(shape)
        return values + 1j * rng.standard_normal(shape) if kind == "complex" else values

    A = normal(m, n) / np.sqrt(m)
    X = np.zeros((max(snapshots, 1), n), dtype=A.dtype)
    for start in (2 * h, n - 3 * h):
        X[:, start : start + h] = normal(len(X), h) @ np.linalg.cholesky(0.9 ** lags(h)).T
    Y = X @ A.T + noise * normal(len(X), m)
    return A, X, Y if snapshots else Y[0]


def lags(h):
    return np.abs(np.subtract.outer(np.arange(h), np.arange(h)))


def name(solver):
    """The class and what is not as by default."""
    told = [getattr(solver, item.name) for item in dataclasses.fields(solver)]
    usual = [getattr(type(solver)(), item.name) for item in dataclasses.fields(solver)]
    return "-".join([type(solver).__name__, *(str(a) for a, b in zip(told, usual, strict=True) if a != b)])


def problem_of(A, y, noise=0.05):
    return recon.Problem(recon.Matrix(A), y, noise=noise)


def run(solver, problem, steps):
    state = solver.init(problem)
    for _ in range(steps):
        state = solver.step(problem, state)
    return state


def evidence(A, y, prior, s2):
    """mean, diag(Sigma) and L by dense algebra, prior covariance of any form; y one vector or columns."""
    S = s2 * np.eye(len(A)) + A @ prior @ A.conj().T
    gain = prior @ A.conj().T @ np.linalg.inv(S)
    Sigma = prior - gain @ A @ prior
    y = y.reshape(len(A), -1)
    fit = np.real(np.sum(y.conj() * np.linalg.solve(S, y)))
    return gain @ y, np.real(np.diag(Sigma)), y.shape[1] * np.linalg.slogdet(S)[1] + fit, S, Sigma


# --- the contract ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "solver",
    [
        Bsbl(8),
        Bsbl(8, update="em"),
        Bsbl(4, overlap=True),
        TMsbl(),
        TMsbl(correlation="full", update="em"),
        PcSbl(),
    ],
    ids=name,
)
def test_contract(solver):
    check_solver(solver)


# --- dense algebra ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["real", "complex"])
@pytest.mark.parametrize("update", ["bo", "em"])
@pytest.mark.parametrize("r", [0.0, 0.6])
def test_bsbl_is_the_textbook_with_fixed_correlation(kind, update, r):
    A, _, y = blocky(kind=kind)
    h, steps = 4, 6
    s2 = 0.05**2 * (2 if kind == "complex" else 1)
    B = r ** lags(h)
    g = np.full(12, np.mean(np.abs(y) ** 2) / np.sum(np.abs(A) ** 2) * len(A))
    for k in range(steps + 1):
        mean, variance, cost, S, Sigma = evidence(A, y, np.kron(np.diag(g), B), s2)
        if k == steps:
            break
        new = np.empty(12)
        for b in range(12):
            rows = slice(b * h, b * h + h)
            Ab, mu = A[:, rows], mean[rows]
            if update == "bo":
                q = Ab.conj().T @ np.linalg.solve(S, y)
                top = np.real(q.conj() @ B @ q)
                new[b] = g[b] * np.sqrt(top / np.real(np.trace(Ab @ B @ Ab.conj().T @ np.linalg.inv(S))))
            else:
                second = Sigma[rows, rows] + mu @ mu.conj().T
                new[b] = np.real(np.trace(np.linalg.solve(B, second))) / h
        g = new
    state = run(Bsbl(h, update=update, correlation=r, prune=0.0), problem_of(A, y), steps)
    np.testing.assert_allclose(state.scales, g, rtol=1e-9)
    np.testing.assert_allclose(state.x, mean[:, 0], atol=1e-11)
    np.testing.assert_allclose(state.variance, variance, atol=1e-12)
    np.testing.assert_allclose(state.costs[-1], cost, rtol=1e-11)


@pytest.mark.parametrize("kind", ["real", "complex"])
def test_bsbl_learns_the_correlation_that_minimises_the_expected_complete_cost(kind):
    A, _, y = blocky(kind=kind)
    problem, h = problem_of(A, y), 4
    solver = Bsbl(h, prune=0.0)
    before = run(solver, problem, 3)
    state = solver.step(problem, before)
    r = before.correlation[0] + 1j * before.correlation[1]
    B = as_numpy(ar1(r, h, A))
    mean, _, _, _, Sigma = evidence(A, y, np.kron(np.diag(state.scales), B), before.level)

    def expected(r):
        """E[-log p(x | g, r)] with blocks of length h, without what does not depend on r."""
        B, total = as_numpy(ar1(r, h, A + 0j)), 0.0
        for b, g in enumerate(state.scales):
            rows = slice(b * h, b * h + h)
            second = Sigma[rows, rows] + mean[rows] @ mean[rows].conj().T
            total += np.linalg.slogdet(B)[1] + np.real(np.trace(np.linalg.solve(B, second))) / g
        return total

    found = complex(*state.correlation)
    for shift in (1e-3, -1e-3, 1e-3j, -1e-3j)[: 4 if kind == "complex" else 2]:
        assert expected(found) < expected(found + shift)
    assert abs(found) > 0.3


def test_overlapping_blocks_are_the_textbook():
    A, _, y = blocky(n=20)
    h, r = 3, 0.7
    solver = Bsbl(h, overlap=True, correlation=r, prune=0.0)
    state = run(solver, problem_of(A, y), 4)
    starts = 20 - h + 1
    E = [np.eye(20)[:, b : b + h] for b in range(starts)]
    prior = sum(g * e @ (r ** lags(h)) @ e.T for g, e in zip(state.scales, E, strict=True))
    mean, variance, cost, _, _ = evidence(A, y, prior, state.level)
    np.testing.assert_allclose(state.x, mean[:, 0], atol=1e-11)
    np.testing.assert_allclose(state.variance, variance, atol=1e-12)
    np.testing.assert_allclose(state.gamma, np.diag(prior), rtol=1e-12)
    np.testing.assert_allclose(state.costs[-1], cost, rtol=1e-11)
    assert state.scales.shape == (starts,)


@pytest.mark.parametrize("kind", ["real", "complex"])
@pytest.mark.parametrize("correlation", ["ar1", "full"])
def test_tmsbl_is_the_dense_posterior_of_all_snapshots(kind, correlation):
    A, _, Y = blocky(kind=kind, snapshots=3)
    state = run(TMsbl(correlation=correlation, prune=0.0), problem_of(A, Y), 5)
    prior = np.kron(state.correlation, np.diag(state.gamma))
    wide = np.kron(np.eye(3), A)
    mean, variance, cost, _, _ = evidence(wide, Y.ravel(), prior, state.level)
    np.testing.assert_allclose(state.x.ravel(), mean[:, 0], atol=1e-11)
    np.testing.assert_allclose(state.variance.ravel(), variance, atol=1e-12)
    np.testing.assert_allclose(state.costs[-1], cost, rtol=1e-11)
    np.testing.assert_allclose(np.trace(state.correlation), 3.0)
    assert np.abs(state.correlation[0, 1]) > 0.05


@pytest.mark.parametrize("update", ["bo", "em"])
def test_tmsbl_updates_are_the_textbook(update):
    A, _, Y = blocky(snapshots=3)
    solver = TMsbl(update=update, correlation="full", prune=0.0)
    problem = problem_of(A, Y)
    before = run(solver, problem, 3)
    g, B, s2 = before.gamma, before.correlation, before.level
    wide = np.kron(np.eye(3), A)
    mean, _, _, S, Sigma = evidence(wide, Y.ravel(), np.kron(B, np.diag(g)), s2)
    new = np.empty(48)
    for i in range(48):
        rows = np.arange(3) * 48 + i
        if update == "em":
            second = Sigma[np.ix_(rows, rows)] + mean[rows] @ mean[rows].T
            new[i] = np.trace(np.linalg.solve(B, second)) / 3
        else:
            F = wide[:, rows]
            q = F.T @ np.linalg.solve(S, Y.ravel())
            new[i] = g[i] * np.sqrt(q @ B @ q / np.trace(F @ B @ F.T @ np.linalg.inv(S)))
    after = solver.step(problem, before)
    np.testing.assert_allclose(after.gamma / np.sum(after.gamma), new / np.sum(new), rtol=1e-8, atol=1e-14)


def test_pcsbl_is_the_textbook():
    A, _, y = blocky(n=24)
    eta, s2 = 0.8, 0.05**2
    neighbours = np.eye(24) + eta * (np.eye(24, k=1) + np.eye(24, k=-1))
    g = np.full(24, np.mean(y**2) / np.sum(A**2) * len(A))
    for _ in range(5):
        mean, variance, _, _, _ = evidence(A, y, np.diag(g), s2)
        g = 1.0 / (neighbours @ (1.0 / (neighbours @ (mean[:, 0] ** 2 + variance))))
    mean, variance, cost, _, _ = evidence(A, y, np.diag(g), s2)
    state = run(PcSbl(eta=eta, floor=0.0, prune=0.0), problem_of(A, y), 5)
    np.testing.assert_allclose(state.gamma, g, rtol=1e-8)
    np.testing.assert_allclose(state.x, mean[:, 0], atol=1e-10)
    np.testing.assert_allclose(state.costs[-1], cost, rtol=1e-10)


def test_pcsbl_couples_along_every_axis():
    values = np.zeros((3, 4))
    values[0, 1] = 1.0
    want = np.array([[0.5, 1, 0.5, 0], [0, 0.5, 0, 0], [0, 0, 0, 0]])
    np.testing.assert_array_equal(PcSbl(eta=0.5)._coupled(values), want)
    assert PcSbl(eta=0.0)._coupled(values) is values


# --- AR(1) ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("r", [0.7, -0.4, 0.5 - 0.6j])
def test_ar1_matrix_and_its_moments(r):
    like = np.zeros(1, dtype=complex)
    B, C = ar1(r, 5, like), ar1_factor(r, 5, like)
    np.testing.assert_allclose(C @ C.conj().T, B, atol=1e-14)
    np.testing.assert_allclose(np.diag(B), 1.0)
    np.testing.assert_allclose(B[3, 1], r**2)
    rng = np.random.default_rng(0)
    Z = rng.standard_normal((5, 9)) + 1j * rng.standard_normal((5, 9))
    Z = Z @ Z.conj().T
    t0, t2, t1 = moments(Z)
    want = np.real(np.trace(np.linalg.solve(B, Z)))
    np.testing.assert_allclose(
        (t0 + abs(r) ** 2 * t2 - 2 * np.real(np.conj(r) * t1)) / (1 - abs(r) ** 2), want
    )
    np.testing.assert_allclose(np.linalg.slogdet(B)[1], 4 * np.log(1 - abs(r) ** 2))
    np.testing.assert_allclose(ar1_factor(r, 3, like), C[:3, :3])


@pytest.mark.parametrize("t1", [3.0, -2.0, 1.0 + 2.0j])
def test_best_ar1_is_a_minimum_on_a_grid(t1):
    count, t0, t2 = 7.0, 8.0, 5.0
    r = np.linspace(0, 0.99, 9901)
    plain = count * np.log1p(-(r**2)) + (t0 + r**2 * t2 - 2 * r * abs(t1)) / (1 - r**2)
    scaled = 3 * np.log1p(-(r**2)) + 4 * np.log((t0 + r**2 * t2 - 2 * r * abs(t1)) / (1 - r**2))
    found = best_ar1(count, t0, t2, t1, 0.99)
    assert abs(found - r[plain.argmin()] * t1 / abs(t1)) < 1e-4
    found, scale = best_scaled_ar1(4, t0, t2, t1, 0.99)
    assert abs(found - r[scaled.argmin()] * t1 / abs(t1)) < 1e-4
    np.testing.assert_allclose(
        scale, (t0 + abs(found) ** 2 * t2 - 2 * abs(found * t1)) / (1 - abs(found) ** 2) / 4
    )
    assert best_ar1(0.0, 1.0, 0.0, 1.0, 0.99) == 0.0
    assert best_ar1(1.0, 1.0, 1.0, 5.0, 0.99) == 0.99  # would be singular
    assert best_scaled_ar1(1, 2.0, 0.0, 0.0, 0.99) == (0.0, 2.0)


# --- special cases that must agree ------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["real", "complex"])
def test_blocks_of_one_one_snapshot_and_uncoupled_patterns_are_plain_sbl(kind):
    A, _, y = blocky(kind=kind)
    problem = problem_of(A, y)
    plain = run(Bsbl(1, prune=0.0), problem, 8)
    single = run(TMsbl(prune=0.0), problem, 8)
    np.testing.assert_allclose(single.x, plain.x, atol=1e-11)
    np.testing.assert_allclose(single.gamma, plain.gamma, rtol=1e-8)
    np.testing.assert_allclose(single.variance, plain.variance, atol=1e-12)
    np.testing.assert_allclose(single.costs, plain.costs, rtol=1e-11)
    plain = run(Bsbl(1, update="em", prune=0.0), problem, 8)
    pattern = run(PcSbl(eta=0.0, prune=0.0, floor=0.0), problem, 8)
    np.testing.assert_allclose(pattern.x, plain.x, atol=1e-10)
    np.testing.assert_allclose(pattern.costs, plain.costs, rtol=1e-10)


def test_snapshots_without_correlation_are_those_of_bsbl():
    A, _, Y = blocky(snapshots=3)
    problem = problem_of(A, Y)
    ours, theirs = run(TMsbl(correlation="none"), problem, 9), run(Bsbl(1, joint=True), problem, 9)
    np.testing.assert_allclose(ours.x, theirs.x, atol=1e-11)
    np.testing.assert_allclose(ours.variance, np.broadcast_to(theirs.variance, (3, 48)), atol=1e-12)
    np.testing.assert_allclose(ours.costs, theirs.costs, rtol=1e-11)


def test_labels_and_lengths_agree():
    A, _, y = blocky(n=46)  # the last block has 2 entries
    by_length = run(Bsbl(4), problem_of(A, y), 6)
    by_label = run(Bsbl(tuple(k // 4 for k in range(46))), problem_of(A, y), 6)
    np.testing.assert_allclose(by_label.x, by_length.x, atol=1e-12)
    np.testing.assert_allclose(by_label.costs, by_length.costs, rtol=1e-12)
    order = np.random.default_rng(1).permutation(46)
    mixed = run(Bsbl(tuple(int(k) // 4 for k in order)), problem_of(A[:, order], y), 6)
    assert mixed.scales.shape == by_length.scales.shape == (12,)
    np.testing.assert_allclose(mixed.level, by_length.level)


def test_labels_of_permuted_columns_give_the_permuted_answer():
    A, _, y = blocky()
    stride = np.arange(48).reshape(12, 4).T.ravel()  # entries of a block far apart, in their order
    plain = run(Bsbl(4), problem_of(A, y), 6)
    moved = run(Bsbl(tuple(int(k) // 4 for k in stride)), problem_of(A[:, stride], y), 6)
    np.testing.assert_allclose(moved.x, plain.x[stride], atol=1e-12)
    np.testing.assert_allclose(moved.correlation, plain.correlation, atol=1e-10)


@pytest.mark.parametrize(
    "solver", [Bsbl(4), Bsbl(3, overlap=True), TMsbl(), TMsbl(correlation="full"), PcSbl()], ids=name
)
def test_complex_mode_is_the_real_mode_on_real_data(solver):
    A, _, Y = blocky(snapshots=3)
    y = Y if isinstance(solver, TMsbl) else Y[0]
    real = run(solver, problem_of(A, y), 8)
    wide = run(solver, problem_of(A + 0j, y + 0j, noise=0.05 / np.sqrt(2)), 8)
    np.testing.assert_allclose(wide.x, real.x, atol=1e-11)
    np.testing.assert_allclose(wide.variance, real.variance, atol=1e-12)
    np.testing.assert_allclose(wide.costs, real.costs, rtol=1e-10)


# --- L -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["real", "complex"])
@pytest.mark.parametrize(
    "solver",
    [
        Bsbl(4, prune=0.0),
        Bsbl(4, update="em", prune=0.0),
        Bsbl(4, correlation=0.5, prune=0.0),
        Bsbl(3, overlap=True, prune=0.0),
        TMsbl(prune=0.0),
        TMsbl(update="em", prune=0.0),
        TMsbl(correlation="full", prune=0.0),
        TMsbl(correlation="none", prune=0.0),
        PcSbl(eta=0.0, prune=0.0, floor=0.0),
    ],
    ids=name,
)
@pytest.mark.parametrize("noise", [0.05, None])
def test_cost_never_rises(solver, kind, noise):
    A, _, Y = blocky(kind=kind, snapshots=4)
    y = Y if isinstance(solver, TMsbl) else Y[0]
    state = run(dataclasses.replace(solver, learn_noise="em"), problem_of(A, y, noise), 60)
    costs = np.array(state.costs)
    assert (np.diff(costs) <= 1e-9 * np.abs(costs).max()).all()
    assert costs[-1] < costs[0] - 10.0


# --- arrays, scales, edges -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["real", "complex"])
@pytest.mark.parametrize(
    "solver", [Bsbl(4), Bsbl(3, overlap=True), TMsbl(), TMsbl(correlation="full"), PcSbl()], ids=name
)
@pytest.mark.parametrize("library", ["torch", "array_api_strict"])
def test_libraries_agree(solver, kind, library):
    xp = pytest.importorskip(library)
    A, _, Y = blocky(kind=kind, snapshots=3)
    y = Y if isinstance(solver, TMsbl) else Y[0]
    ours = run(solver, problem_of(A, y), 7)
    theirs = run(solver, problem_of(A, from_numpy(y, xp.ones(1))), 7)
    np.testing.assert_allclose(as_numpy(theirs.x), ours.x, atol=1e-10)
    np.testing.assert_allclose(as_numpy(theirs.variance), ours.variance, atol=1e-10)
    np.testing.assert_allclose(theirs.costs, ours.costs, rtol=1e-10)


@pytest.mark.parametrize("noise", [0.05, None])
@pytest.mark.parametrize(("a", "b"), [(1e6, 1.0), (1.0, 1e-6), (1e-6, 1e6)])
@pytest.mark.parametrize("solver", [Bsbl(4), Bsbl(3, overlap=True), TMsbl(), PcSbl()], ids=name)
def test_units_do_not_matter(solver, a, b, noise):
    A, _, Y = blocky(snapshots=3)
    y = Y if isinstance(solver, TMsbl) else Y[0]
    plain = run(solver, problem_of(A, y, noise), 8)
    other = run(solver, problem_of(a * A, b * y, None if noise is None else b * noise), 8)
    np.testing.assert_allclose(other.x * a / b, plain.x, rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(other.variance * (a / b) ** 2, plain.variance, rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(other.noise / b, plain.noise, rtol=1e-8)


@pytest.mark.parametrize("solver", [Bsbl(4), TMsbl(), PcSbl()], ids=name)
def test_whitening_is_division_of_the_rows(solver):
    A, _, Y = blocky(snapshots=3)
    y = Y if isinstance(solver, TMsbl) else Y[0]
    sigma = np.linspace(0.02, 0.1, 24)
    ours = run(solver, problem_of(A, y, noise=sigma), 5)
    divided = run(solver, problem_of(A / sigma[:, None], y / sigma, noise=1.0), 5)
    np.testing.assert_allclose(ours.x, divided.x, atol=1e-10)
    count = len(Y) if isinstance(solver, TMsbl) else 1
    np.testing.assert_allclose(ours.costs[-1], divided.costs[-1] + 2 * count * np.sum(np.log(sigma)))


@pytest.mark.parametrize("noise", [0.05, None])
@pytest.mark.parametrize("solver", [Bsbl(4), Bsbl(3, overlap=True), TMsbl(), PcSbl()], ids=name)
def test_data_of_zeros_give_zeros(solver, noise):
    A, _, _ = blocky()
    shape = (3, 24) if isinstance(solver, TMsbl) else (24,)
    result = recon.solve(problem_of(A, np.zeros(shape), noise), solver, stop=50)
    assert result.status is recon.Status.CONVERGED
    assert not result.x.any()
    assert not result.variance.any()
    assert np.isfinite(result.objective)
    nothing = recon.solve(problem_of(0 * A, np.ones(shape), noise), solver, stop=50)
    assert not nothing.x.any()
    assert np.isfinite(nothing.objective)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("solver", [Bsbl(4), Bsbl(3, overlap=True), TMsbl()], ids=name)
def test_data_weaker_than_their_noise_switch_everything_off(solver, kind):
    rng = np.random.default_rng(0)
    A = rng.standard_normal((6, 12)).astype(kind)
    result = recon.solve(problem_of(A, (1e-3 * rng.standard_normal(6)).astype(kind), 0.1), solver, stop=500)
    assert result.status is recon.Status.CONVERGED
    assert not result.x.any()
    assert not result.variance.any()
    assert not result.hyperparameters["gamma"].any()
    assert result.objective == pytest.approx(6 * np.log(0.01), rel=1e-3)


@pytest.mark.parametrize(
    "solver", [Bsbl(4), Bsbl(4, update="em"), TMsbl(), TMsbl(update="em"), PcSbl()], ids=name
)
def test_single_data_of_extreme_units(solver):
    A, _, y = blocky()
    plain = run(solver, problem_of(A.astype(np.float32), y.astype(np.float32)), 20)
    tiny = run(solver, problem_of((1e3 * A).astype(np.float32), (1e-12 * y).astype(np.float32), 0.05e-12), 20)
    assert not plain.settled
    assert not tiny.settled
    assert np.abs(1e15 * tiny.x - plain.x).max() < 1e-2 * np.abs(plain.x).max()


@pytest.mark.parametrize("solver", [Bsbl(4), TMsbl(), PcSbl()], ids=name)
def test_data_without_noise_are_fitted_and_said_so(solver):
    A, X, _ = blocky(m=24, n=32)
    y = A @ X[0]
    result = recon.solve(problem_of(A, y, None), solver, stop=4000, every=1000)
    assert np.abs(A @ result.x - y).max() < 1e-6 * np.abs(y).max()
    assert result.provenance["remarks"] == [
        "No noise was found in the data: s2 was learned down to its floor of 1e-10 mean |y|^2."
    ]
    single = problem_of(A.astype(np.float32), y.astype(np.float32), 1e-5)
    result = recon.solve(single, solver, stop=500, every=100)
    assert result.x.dtype == np.float32
    assert np.abs(result.x - X[0]).max() < 1e-3
    assert not result.provenance.get("remarks")


@pytest.mark.parametrize("solver", [Bsbl(4), Bsbl(3, overlap=True), TMsbl(), PcSbl()], ids=name)
def test_more_data_than_unknowns_equal_columns_and_empty_ones(solver):
    rng = np.random.default_rng(0)
    A = rng.standard_normal((60, 16))
    A[:, 3], A[:, 9] = A[:, 2], 0.0
    x = np.zeros(16)
    x[:4] = 1.0
    result = recon.solve(
        problem_of(A, A @ x + 0.1 * rng.standard_normal(60), 0.1), solver, stop=500, every=100
    )
    assert result.status is recon.Status.CONVERGED
    np.testing.assert_allclose(result.x[2] + result.x[3], 2.0, atol=0.1)
    np.testing.assert_allclose(result.x[[0, 1]], 1.0, atol=0.1)
    assert np.abs(result.x[4:]).max() < 0.05


def test_shapes_of_several_axes():
    A, _, Y = blocky(snapshots=4)
    operator = recon.Matrix(A, domain_shape=(6, 8))
    problem = recon.Problem(operator, Y.reshape(2, 2, 24), noise=0.05)
    flat = problem_of(A, Y)
    for solver in (TMsbl(correlation="full"), Bsbl(4, joint=True)):
        ours, theirs = run(solver, problem, 4), run(solver, flat, 4)
        assert ours.x.shape == (2, 2, 6, 8)
        assert ours.gamma.shape == (6, 8)
        np.testing.assert_allclose(ours.x.reshape(4, 48), theirs.x, atol=1e-12)
    assert run(PcSbl(joint=True), problem, 2).x.shape == (2, 2, 6, 8)


def test_wide_blocks_and_single_block():
    A, _, y = blocky()
    problem = problem_of(A, y)
    one = run(Bsbl(48, correlation=0.0), problem, 3)
    also = run(Bsbl(48, overlap=True, correlation=0.0), problem, 3)
    np.testing.assert_allclose(one.scales, also.scales, rtol=1e-12)
    assert one.scales.shape == also.scales.shape == (1,)


def test_pruned_blocks_are_zero():
    A, X, y = blocky(noise=0.01)
    state = run(Bsbl(4, prune=1e-3), problem_of(A, y, 0.01), 60)
    off = state.scales == 0
    assert 0 < off.sum() < 12
    assert not state.x.reshape(12, 4)[off].any()
    assert not state.variance.reshape(12, 4)[off].any()
    assert np.sum((state.x - X[0]) ** 2) < 0.02 * np.sum(X**2)


@pytest.mark.parametrize("solver", [Bsbl(4), TMsbl(), PcSbl()], ids=name)
def test_learned_noise_is_near_the_true_one(solver):
    A, X, Y = blocky(m=40, n=64, snapshots=4, noise=0.1)
    y = Y if isinstance(solver, TMsbl) else Y[0]
    result = recon.solve(problem_of(A, y, None), solver, stop=3000, every=1000)
    assert result.status is recon.Status.CONVERGED
    assert 0.06 < result.hyperparameters["noise"] < 0.15
    assert len(result.state.levels) == len(result.state.scores) >= 7
    x = np.atleast_2d(result.x)
    assert np.sum((x - X[: len(x)]) ** 2) < 0.2 * np.sum(X[: len(x)] ** 2)


def test_hyperparameters_are_told():
    A, _, y = blocky()
    result = recon.solve(problem_of(A, y), Bsbl(4), stop=300)
    told = result.hyperparameters
    assert told["scales"].shape == (12,)
    assert isinstance(told["correlation"], float)
    assert told["evidence"].size == result.iterations + 1
    _, _, Y = blocky(snapshots=3)
    assert recon.solve(problem_of(A, Y), TMsbl(), stop=5).hyperparameters["correlation"].shape == (3, 3)


# --- sentences --------------------------------------------------------------------------------------------


def said(error, call):
    with pytest.raises(error) as caught:
        call()
    return str(caught.value)


def test_sentences_about_blocks():
    A, _, y = blocky()
    problem = problem_of(A, y)
    assert said(ParameterError, lambda: Bsbl(0)).startswith("Bsbl.blocks must be >= 1, got 0.")
    text = said(ParameterError, lambda: Bsbl((0, 0, 1), overlap=True))
    assert text.startswith("Bsbl.blocks must be a length where overlap is set, got")
    text = said(ParameterError, lambda: Bsbl(49).init(problem))
    assert text == "Bsbl.blocks must be <= the 48 entries of x, got 49. Take shorter blocks."
    text = said(ShapeError, lambda: Bsbl((0, 1)).init(problem))
    assert text.startswith("Bsbl.blocks must hold a label for each of the 48 entries of x, got 2.")
    assert "correlation" in said(ParameterError, lambda: Bsbl(4, correlation=1.0))


def test_sentences_about_batches_and_models():
    A, _, Y = blocky(snapshots=4)
    several = recon.Problem(recon.Matrix(A), Y.reshape(2, 2, 24), noise=0.05)
    text = said(CapabilityError, lambda: TMsbl().init(several))
    assert text.startswith("TMsbl needs one batch axis (time) for correlation='ar1', got batch axes (2, 2).")
    for solver in (Bsbl(4), PcSbl()):
        assert "one sample at a time" in said(
            CapabilityError, lambda solver=solver: solver.init(problem_of(A, Y))
        )
    prior = recon.Problem(recon.Matrix(A), Y[0], recon.L1(0.1))
    for solver in (Bsbl(4), PcSbl(), TMsbl()):
        assert "learns its own prior" in said(CapabilityError, lambda solver=solver: solver.init(prior))


# --- figures ------------------------------------------------------------------------------------------------


def errors(solver, case, snr, seeds):
    sys.path.insert(0, str(REFERENCE))
    try:
        import gen_sbl
    finally:
        sys.path.remove(str(REFERENCE))
    found = []
    for seed in range(seeds):
        q = gen_sbl.make(case, seed, snr)
        data = q.Y.T.copy() if q.Y.shape[1] > 1 else q.Y[:, 0]
        problem = recon.Problem(recon.Matrix(q.A), data, noise=q.noise_var**0.5)
        x = recon.solve(problem, solver, stop=500, every=500).x
        found.append(gen_sbl.nmse(np.atleast_2d(x).T, q.X))
    return np.mean(found)


@pytest.mark.shared
@pytest.mark.skipif(not REFERENCE.exists(), reason="needs the developers' ../shared folder")
@pytest.mark.parametrize(("snr", "grouped", "ungrouped"), [(20, 4.835e-2, 4.12e-1)])
def test_blocks_beat_grouped_mackay_and_patterns_beat_no_groups(snr, grouped, ungrouped):
    assert errors(Bsbl(8), "block", snr, 5) < 0.8 * grouped
    assert errors(PcSbl(), "block", snr, 5) < 0.3 * ungrouped


@pytest.mark.shared
@pytest.mark.skipif(not REFERENCE.exists(), reason="needs the developers' ../shared folder")
@pytest.mark.parametrize(("snr", "best"), [(10, 7.202e-2), (20, 6.990e-3)])
def test_snapshots_beat_gamma_map(snr, best):
    assert errors(TMsbl(), "mmv", snr, 10) < best
