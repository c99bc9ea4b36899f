"""KroSbl: contract, dense algebra, exact M-step, monotone cost, search and restart, units, libraries, memory."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from functools import reduce

import array_api_strict as strict
import numpy as np
import pytest
import scipy.optimize
import torch
from recon_sbl import KroSbl
from recon_sbl.kronecker._search import searched, suspects
from recon_sbl.kronecker.form import KroneckerForm, along, dense_factors, embedded, mode_products, sub_block
from recon_sbl.kronecker.m_steps import am_factors, balanced, kronecker_change, ksbl_factors, svd_factors

import recon
from recon import Diagonal, Identity, Kronecker, Matrix, Problem
from recon.errors import ArrayError, CapabilityError, ParameterError
from recon.testing import check_solver

HARD = 91  # of trial: a failed fit of EM
SOLVERS = [
    KroSbl(),
    KroSbl("am"),
    KroSbl("ksbl", prune=(1e-2, 1e-3)),
    KroSbl.published("svd"),
    KroSbl.published("am"),
    KroSbl.published("ksbl"),
]


@pytest.mark.parametrize("solver", SOLVERS, ids=repr)
def test_contract(solver):
    check_solver(solver)


def kron(parts):
    return reduce(np.kron, parts)


def trial(seed, snr=20.0, sizes=((8, 15), (12, 15), (15, 15)), count=3, kind="real", free=False, known=True):
    """A problem with a support of count^d entries, values a Kronecker product or free, and the truth."""
    rng = np.random.default_rng(seed)

    def draw(*shape):
        values = rng.standard_normal(shape)
        return values if kind == "real" else (values + 1j * rng.standard_normal(shape)) / np.sqrt(2)

    A = Kronecker(tuple(Matrix(draw(*size)) for size in sizes))
    places = [np.sort(rng.permutation(n)[:count]) for _, n in sizes]
    values = draw(*(count,) * len(sizes))
    if not free:
        values = reduce(np.multiply.outer, [draw(count) for _ in sizes])
    truth = np.zeros(A.domain.shape, values.dtype)
    truth[np.ix_(*places)] = values
    clean = A @ truth
    level = np.sqrt(np.mean(np.abs(clean) ** 2)) * 10 ** (-snr / 20)
    y = clean + level * draw(*A.codomain.shape)
    sigma = float(level if kind == "real" else level / np.sqrt(2))
    return Problem(A, y, noise=sigma if known else None), truth


def nmse(x, truth):
    return float(np.sum(np.abs(np.asarray(x) - truth) ** 2) / np.sum(np.abs(truth) ** 2))


def close(a, b, tolerance):
    a, b = np.asarray(a), np.asarray(b)
    return float(np.linalg.norm(a - b)) <= tolerance * float(np.linalg.norm(b))


# -- the Kronecker form -----------------------------------------------------------------------------------------


def dense_posterior(K, y, g, s2):
    S = s2 * np.eye(len(y)) + (K * g) @ K.conj().T
    mean = g * (K.conj().T @ np.linalg.solve(S, y))
    variance = g - g**2 * np.einsum("ij,ij->j", K.conj(), np.linalg.solve(S, K)).real
    cost = np.linalg.slogdet(S)[1] + (y.conj() @ np.linalg.solve(S, y)).real
    return mean, variance, cost


@pytest.mark.parametrize("sizes", [((4, 6),), ((3, 4), (5, 2)), ((3, 4), (5, 2), (2, 3))], ids=len)
@pytest.mark.parametrize("kind", ["real", "complex"])
def test_form_is_dense_algebra(sizes, kind):
    problem, _ = trial(0, sizes=sizes, count=1, kind=kind)
    matrices = dense_factors(problem.operator, "test")
    rng = np.random.default_rng(1)
    gamma = [rng.random(n) for _, n in sizes]
    gamma[0][1] = 0.0
    K, y, g = kron(matrices), problem.data.ravel(), kron(gamma)
    mean, variance, cost = dense_posterior(K, y, g, 0.1)
    found = KroneckerForm.of(matrices, problem.data)(tuple(gamma), 0.1)
    assert close(found.mean.ravel(), mean, 1e-12)
    assert close(found.variance.ravel(), variance, 1e-12)
    assert (found.variance >= 0).all()
    assert found.cost == pytest.approx(cost, rel=1e-12)
    assert found.misfit == pytest.approx(np.linalg.norm(y - K @ mean) ** 2, rel=1e-11)
    assert found.freedom == pytest.approx(np.sum(1 - variance[g > 0] / g[g > 0]), rel=1e-11)
    kept = [np.flatnonzero(part) for part in gamma]
    short = KroneckerForm.of(matrices, problem.data).take(kept)(
        [p[k] for p, k in zip(gamma, kept, strict=True)], 0.1
    )
    assert close(embedded(short.mean, kept, problem.operator.domain.shape).ravel(), mean, 1e-12)


def test_products_along_axes(to):
    rng = np.random.default_rng(0)
    x, matrices = (
        rng.standard_normal((3, 4, 5)),
        [rng.standard_normal((m, n)) for m, n in ((2, 3), (4, 4), (6, 5))],
    )
    wanted = np.einsum("ijk,ai,bj,ck->abc", x, *matrices)
    assert np.allclose(mode_products(to(x), matrices), wanted, atol=1e-13)
    got = to(x)
    for axis in (2, 0, 1):
        got = along(got, matrices[axis], axis)
    assert np.allclose(got, wanted, atol=1e-13)
    kept = [np.array([0, 2]), np.array([], dtype=int), np.arange(5)]
    assert tuple(sub_block(to(x), kept).shape) == (2, 0, 5)
    kept[1] = np.array([3])
    block = sub_block(to(x), kept)
    full = np.asarray(embedded(block, kept, (3, 4, 5)))
    assert np.array_equal(full[np.ix_(*kept)], x[np.ix_(*kept)])
    assert np.count_nonzero(full) == 10


def test_factors_of_any_operator():
    values = np.array([1.0, -2.0, 3.0])
    operator = 2.0 * Kronecker((Diagonal(values), Identity(recon.ArraySpec((2,)))))
    assert np.array_equal(kron(dense_factors(operator, "test")), 2.0 * np.kron(np.diag(values), np.eye(2)))
    A, B = np.arange(6.0).reshape(2, 3) + 1j, np.eye(2, 4) - 2j
    assert np.array_equal(
        kron(dense_factors(Kronecker((Matrix(A), Matrix(B))).H, "test")), np.kron(A, B).conj().T
    )


@pytest.mark.parametrize("kind", ["real", "complex"])
@pytest.mark.parametrize("solver", [KroSbl(), KroSbl.published("am")], ids=["default", "published"])
def test_state_is_the_posterior_of_its_gamma(solver, kind):
    problem, _ = trial(3, sizes=((5, 7), (6, 8)), count=2, kind=kind)
    problem = replace(problem, data=1e3 * problem.data, noise=1e3 * problem.noise)
    result = recon.solve(problem, solver)
    state = result.state
    K = kron(dense_factors(problem.operator, "test"))
    s2 = problem.noise**2 * (1 if kind == "real" else 2)
    mean, variance, cost = dense_posterior(K, problem.data.ravel(), state.gamma.ravel(), s2)
    assert close(state.x.ravel(), mean, 1e-9)
    assert close(state.variance.ravel(), variance, 1e-9)
    assert state.costs[-1] == pytest.approx(cost, rel=1e-9)
    assert close(state.gamma, reduce(np.multiply.outer, result.hyperparameters["factors"]), 1e-12)
    assert np.array_equal(result.support, state.gamma > 0)
    assert 0 < np.count_nonzero(state.x) < state.x.size  # exact zeros where pruned
    assert result.variance is state.variance


# -- M-steps ----------------------------------------------------------------------------------------------------


def moments(shape, seed=0):
    return np.random.default_rng(seed).random(shape) ** 4 + 1e-3


@pytest.mark.parametrize("shape", [(5,), (4, 6), (3, 4, 5)])
def test_am_finds_the_global_minimum(shape):
    moment = moments(shape)

    def value(logs):
        parts = np.split(logs, np.cumsum(shape)[:-1])
        g = reduce(np.add.outer, parts)
        slope = 1.0 - moment * np.exp(-g)
        axes = [tuple(j for j in range(len(shape)) if j != i) for i in range(len(shape))]
        return np.sum(g + moment * np.exp(-g)), np.concatenate([slope.sum(axis) for axis in axes])

    rng = np.random.default_rng(1)
    best = min(
        scipy.optimize.minimize(value, rng.standard_normal(sum(shape)), jac=True, tol=1e-12).fun
        for _ in range(3)
    )
    for seed in (2, 3):
        start = [np.random.default_rng(seed).random(n) + 0.1 for n in shape]
        found = am_factors(moment, start, 1e-12, 500)
        assert value(np.log(np.concatenate(found)))[0] == pytest.approx(best, abs=1e-8)
        cycle = ksbl_factors(moment, start)
        assert value(np.log(np.concatenate(cycle)))[0] < value(np.log(np.concatenate(start)))[0]


@pytest.mark.parametrize("shape", [(5,), (4, 6), (6, 4), (7, 2, 3)])
def test_svd_is_the_best_rank_one_factor_by_factor(shape, to):
    moment, rest = moments(shape), moments(shape)
    found = svd_factors(to(moment))
    for g in found[:-1]:
        U, s, Vh = np.linalg.svd(rest.reshape(rest.shape[0], -1), full_matrices=False)
        assert np.allclose(g, np.abs(U[:, 0]), atol=1e-12)
        rest = (s[0] * np.abs(Vh[0])).reshape(rest.shape[1:])
    assert np.allclose(found[-1], rest, atol=1e-12)


def test_change_and_balance():
    rng = np.random.default_rng(0)
    a, b = ([rng.random(n) for n in (3, 4, 2)] for _ in range(2))
    assert kronecker_change(a, b) == pytest.approx(np.linalg.norm(kron(a) - kron(b)))
    assert np.allclose(kron(balanced(a)), kron(a))
    assert [np.linalg.norm(g) for g in balanced(a)[:2]] == pytest.approx([1.0, 1.0])


@pytest.mark.parametrize("kind", ["real", "complex"])
@pytest.mark.parametrize("known", [True, False])
def test_cost_never_rises_with_exact_m_steps(kind, known):
    problem, _ = trial(0, sizes=((5, 8), (6, 8), (4, 4)), count=2, kind=kind, known=known)
    exact = KroSbl("am", prune=0.0, inner_tol=1e-12, inner_limit=2000, limit=60, tol=0.0, search=False)
    costs = np.array(recon.solve(problem, replace(exact, restart=False)).state.costs)
    assert len(costs) == 61
    assert (np.diff(costs) <= 1e-9 * np.abs(costs[1:])).all()
    assert costs[-1] < costs[0] - 10


# -- search and restart -----------------------------------------------------------------------------------------


def test_search_finds_what_em_misses():
    """EM keeps 7 wrong atoms in one factor of 8 rows, at a residual that looks like noise."""
    problem, truth = trial(HARD)
    alone = recon.solve(problem, KroSbl(search=False, restart=False))
    residual = problem.operator @ alone.x - problem.data
    assert nmse(alone.x, truth) > 0.1
    assert np.mean(residual**2) < 1.1 * problem.noise**2
    assert "half the rows of its matrix" in alone.provenance["remarks"][0]
    assert "Set search=True." in alone.provenance["remarks"][0]
    result = recon.solve(problem, KroSbl())
    assert nmse(result.x, truth) < 2e-3
    said = " ".join(result.provenance["remarks"])
    assert "The search started there from single atoms too." in said
    assert "pruned atoms back" in said
    assert result.state.costs[-1] < result.state.before - 10
    assert result.status is recon.Status.CONVERGED


@pytest.mark.parametrize("seed", range(6))
def test_default_recovers(seed):
    problem, truth = trial(seed)
    assert nmse(recon.solve(problem, KroSbl()).x, truth) < 2e-3
    problem, truth = trial(seed, free=True)
    result = recon.solve(problem, KroSbl())
    assert nmse(result.x, truth) < 4e-3
    assert np.array_equal(result.support, truth != 0)


def test_search_lowers_cost_and_prices_exactly():
    """What the search gains factor by factor is what L of the whole model gains."""
    problem, _ = trial(0, sizes=((5, 8), (6, 7)), count=2)
    matrices = dense_factors(problem.operator, "test")
    s2, prices = problem.noise**2, [4.0, 3.0]

    def score(factors):
        count = sum(price * np.count_nonzero(g) for g, price in zip(factors, prices, strict=True))
        return dense_posterior(kron(matrices), problem.data.ravel(), kron(factors), s2)[2] + count

    factors = [np.ones(8), np.ones(7)]
    scores = [score(factors)]
    for again in (True, True, False, False):
        factors = searched(matrices, problem.data, factors, s2, prices, again)
        scores.append(score(factors))
    assert (np.diff(scores) <= 1e-9).all()
    assert scores[1] < scores[0] - 10
    rng = np.random.default_rng(0)
    for i, k in [(0, 3), (1, 2), (0, 0)]:  # no change of one entry gains more than the search looks for
        for value in (0.0, *(10 ** rng.uniform(-4, 2, 20))):
            other = [g.copy() for g in factors]
            other[i][k] = value
            assert score(other) > scores[-1] - 2e-2


def test_restart_when_a_factor_keeps_as_many_atoms_as_rows():
    """No sparse truth: the support cannot be found, and the result says so."""
    rng = np.random.default_rng(0)
    A = Kronecker((Matrix(rng.standard_normal((3, 12))), Matrix(rng.standard_normal((9, 5)))))
    truth = rng.standard_normal((12, 5))
    problem = Problem(A, A @ truth, noise=1e-3)
    result = recon.solve(problem, KroSbl())
    state = result.state
    assert state.attempt == 1
    assert state.score <= state.best_score * (1 - np.sign(state.best_score) * 1e-12) + 1e-9
    said = " ".join(result.provenance["remarks"])
    assert "EM was run again with m_step='am' and less pruning" in said
    assert "fit has the lower score and is the result." in said
    assert "another support may fit these data as well" in said
    once = recon.solve(problem, KroSbl(restart=False)).state
    assert once.attempt == 0
    assert state.score <= once.score + 1e-9


def test_the_better_attempt_stays():
    """Without a search, whichever of two EM runs has the lower cost is the result."""
    found = []
    for seed in (0, 5, 9, 18):
        problem, _ = trial(seed, 5.0, ((4, 9), (6, 9)), 2)
        state = recon.solve(problem, KroSbl(search=False, limit=60)).state
        first = recon.solve(problem, KroSbl(search=False, limit=60, restart=False)).state
        assert state.attempt == 1
        assert state.best_score == first.score
        if state.score < first.score - 1e-9:
            found.append("second")
        else:
            found.append("first")
            assert close(state.x, first.x, 1e-10)
    assert set(found) == {"first", "second"}


def test_suspects():
    matrices = [np.ones((4, 6)), np.ones((6, 4)), np.ones((4, 6))]
    factors = [np.array([1.0, 1, 1, 0, 0, 0]), np.ones(4), np.array([1.0, 1, 0, 0, 0, 0])]
    assert suspects(matrices, factors) == (True, False, True)
    factors[2][1] = 0.0
    assert suspects(matrices, factors) == (True, False, False)
    assert suspects(matrices, factors, 1.0) == (False, False, False)
    factors[0][3] = 1.0
    assert suspects(matrices, factors, 1.0) == (True, False, False)


# -- units, libraries, kinds ------------------------------------------------------------------------------------


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("scale", [1e6, 1e-6])
@pytest.mark.parametrize("what", ["data", 0, 1, 2, "columns"])
def test_units_do_not_matter(what, scale, known):
    problem, _ = trial(HARD, known=known)
    result = recon.solve(problem, KroSbl())
    y, noise = problem.data, problem.noise
    matrices = list(dense_factors(problem.operator, "test"))
    unit = np.ones(15)
    if what == "data":
        y, noise, unit = scale * y, scale * noise if known else None, unit * scale
    elif what == "columns":
        unit = scale ** np.random.default_rng(0).uniform(-1, 1, 15)
        matrices[0] = matrices[0] / unit
    else:
        matrices[what] = matrices[what] * scale
        unit = unit / scale
    other = recon.solve(Problem(Kronecker(tuple(map(Matrix, matrices))), y, noise=noise), KroSbl())
    u = unit[:, None, None]
    assert other.iterations == result.iterations
    assert close(other.x / u, result.x, 1e-8)
    assert close(other.variance / u**2, result.variance, 1e-8)
    assert close(other.hyperparameters["gamma"] / u**2, result.hyperparameters["gamma"], 1e-8)


@pytest.mark.parametrize("solver", [KroSbl(), KroSbl("am", limit=15), KroSbl.published("svd")])
@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("kind", ["real", "complex"])
def test_libraries_agree(solver, known, kind):
    problem, _ = trial(1, sizes=((5, 8), (6, 8), (8, 8)), count=2, kind=kind, known=known)
    wanted = recon.solve(problem, solver)
    for library in (torch, strict):
        got = recon.solve(replace(problem, data=library.asarray(problem.data)), solver)
        assert isinstance(got.x, type(library.asarray(problem.data)))
        assert got.iterations == wanted.iterations
        assert close(got.x, wanted.x, 1e-10)
        assert close(got.variance, wanted.variance, 1e-10)
        assert got.state.costs[-1] == pytest.approx(wanted.state.costs[-1], rel=1e-10)


def test_complex_mode_is_the_real_mode_on_real_data():
    problem, _ = trial(2, sizes=((5, 8), (6, 8)), count=2)
    matrices = [Matrix(A.astype(complex)) for A in dense_factors(problem.operator, "test")]
    noise = problem.noise / np.sqrt(2)  # of each part: E|n|^2 is the same
    other = Problem(Kronecker(tuple(matrices)), problem.data.astype(complex), noise=noise)
    real = recon.solve(problem, KroSbl())
    complex_ = recon.solve(other, KroSbl(cost=2.0))  # L is half of that of real data, and so are the prices
    assert close(complex_.x, real.x, 1e-10)
    assert close(complex_.variance, real.variance, 1e-10)
    assert complex_.state.costs == pytest.approx(real.state.costs, rel=1e-10)


def test_single_precision_is_near_double():
    problem, _ = trial(0)
    result = recon.solve(replace(problem, data=problem.data.astype(np.float32)), KroSbl())
    assert result.x.dtype == np.float32
    assert close(result.x, recon.solve(problem, KroSbl()).x, 1e-3)


@pytest.mark.parametrize("kind", ["real", "complex"])
def test_noise_is_learned(kind):
    ratios, errors = [], []
    for seed in range(5):
        problem, truth = trial(seed, kind=kind)
        result = recon.solve(replace(problem, noise=None), KroSbl())
        ratios.append(result.hyperparameters["noise"] / problem.noise)
        errors.append(nmse(result.x, truth))
    assert np.mean(ratios) == pytest.approx(1.0, abs=0.02)
    assert max(errors) < 2e-3


# -- edges ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("noise", [0.1, None])
@pytest.mark.parametrize("solver", [KroSbl(), KroSbl.published("am")], ids=["default", "published"])
def test_data_of_zeros(noise, solver):
    problem, _ = trial(0, sizes=((5, 8), (6, 8)), count=2)
    result = recon.solve(Problem(problem.operator, 0.0 * problem.data, noise=noise), solver)
    assert result.status is recon.Status.CONVERGED
    assert not result.x.any()
    assert not result.variance.any()
    assert result.hyperparameters["noise"] == (noise or 0.0)


@pytest.mark.parametrize("noise", [0.5, None])
def test_constant_data(noise):
    problem, _ = trial(0, sizes=((5, 8), (6, 8)), count=2)
    result = recon.solve(Problem(problem.operator, np.full((5, 6), 2.0), noise=noise), KroSbl())
    assert np.isfinite(result.x).all()
    assert result.objective < result.history[0]["objective"]


def test_data_of_noise_alone():
    """Nothing to find: the price of the atoms leaves nothing, or little."""
    rng = np.random.default_rng(0)
    left = []
    for _ in range(5):
        problem, _ = trial(0, sizes=((8, 10), (9, 10)), count=2)
        result = recon.solve(Problem(problem.operator, rng.standard_normal((8, 9)), noise=1.0), KroSbl())
        left.append(float(np.linalg.norm(result.x)))
    assert np.median(left) == 0.0


@pytest.mark.parametrize("noise", [1e-12, None])
def test_data_without_noise(noise):
    """Noise far below rounding counts as 1e-5 of the data."""
    problem, truth = trial(0, snr=300.0)
    assert nmse(recon.solve(replace(problem, noise=noise), KroSbl()).x, truth) < 1e-12


@pytest.mark.parametrize("sizes", [((8, 12),), ((4, 6),) * 5])
def test_any_number_of_factors(sizes):
    problem, truth = trial(0, snr=40.0, sizes=sizes, count=1)
    assert nmse(recon.solve(problem, KroSbl()).x, truth) < 1e-3


def test_more_data_than_unknowns():
    problem, truth = trial(0, sizes=((12, 6), (9, 5)), count=2)
    result = recon.solve(problem, KroSbl())
    assert nmse(result.x, truth) < 1e-2


@pytest.mark.parametrize("noise", [0.1, None])
@pytest.mark.parametrize("solver", SOLVERS, ids=repr)
def test_a_factor_of_zeros_gives_zero(solver, noise):
    problem, _ = trial(0, sizes=((5, 8), (6, 8)), count=2)
    A = Kronecker((problem.operator.factors[0], Matrix(np.zeros((6, 8)))))
    result = recon.solve(Problem(A, problem.data, noise=noise), solver)
    assert result.status is recon.Status.CONVERGED
    assert not result.x.any()


@pytest.mark.parametrize("solver", [KroSbl.published(), KroSbl.published("am")], ids=repr)
@pytest.mark.parametrize("kind", ["real", "complex"])
def test_small_units_as_they_come(solver, kind):
    """Directions that data do not see stay unseen: their eigenvalues are rounding, and s2 may be smaller than that."""
    problem, truth = trial(0, sizes=((6, 10), (7, 9), (5, 6)), count=2, snr=40.0, kind=kind)
    small = replace(problem, data=1e-12 * problem.data, noise=1e-12 * problem.noise)
    assert nmse(1e12 * recon.solve(small, solver).x, truth) < 2e-2


def test_columns_of_zeros_are_pruned():
    problem, _ = trial(0, sizes=((5, 8), (6, 8)), count=2)
    A, B = dense_factors(problem.operator, "test")
    A = np.concatenate([A, np.zeros((5, 1))], axis=1)
    result = recon.solve(
        Problem(Kronecker((Matrix(A), Matrix(B))), problem.data, noise=problem.noise), KroSbl()
    )
    assert not result.hyperparameters["gamma"][8].any()
    assert close(result.x[:8], recon.solve(problem, KroSbl()).x, 1e-10)


def test_nothing_larger_than_the_image_is_made():
    """N = 64,000 and M = 17,920: an array of N x 40 numbers would already show."""
    problem, truth = trial(0, sizes=((20, 40), (28, 40), (32, 40)), count=4)
    tracemalloc.start()
    try:
        result = recon.solve(problem, KroSbl())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert nmse(result.x, truth) < 1e-3
    assert peak < 20 * 8 * truth.size


def test_messages():
    problem, _ = trial(0, sizes=((5, 8), (6, 8)), count=2)
    plain = Problem(Matrix(np.ones((3, 4))), np.ones(3), noise=1.0)
    with pytest.raises(
        CapabilityError, match=r"KroSbl needs an operator with `factors`, such as recon.Kronecker, got"
    ):
        KroSbl().init(plain)
    uneven = replace(problem, noise=np.linspace(1, 2, 30).reshape(5, 6))
    with pytest.raises(CapabilityError, match="KroSbl needs one noise level for all data"):
        KroSbl().init(uneven)
    batch = replace(problem, data=np.stack([problem.data, problem.data]))
    with pytest.raises(CapabilityError, match="KroSbl fits one sample at a time"):
        KroSbl().init(batch)
    with pytest.raises(
        ParameterError, match=r"KroSbl.prune must have one value per factor, got 3 for 2 factors"
    ):
        KroSbl(prune=(0.1, 0.1, 0.1)).init(problem)
    with pytest.raises(ParameterError, match=r"KroSbl.prune must be"):
        KroSbl(prune=1.0)
    with pytest.raises(ParameterError, match=r"KroSbl.m_step must be one of 'svd', 'am', 'ksbl', got 'em'"):
        KroSbl("em")
    with pytest.raises(ArrayError, match="Problem.data must be finite, got 1 of 30 entries NaN"):
        replace(problem, data=np.where(np.arange(30).reshape(5, 6) == 3, np.nan, problem.data))
