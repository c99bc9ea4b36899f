"""AmpSbl: sparse Bayesian learning by message passing, against the exact posterior and the batch method."""

import sys
from pathlib import Path

import array_api_strict
import numpy as np
import pytest
import torch
from recon_sbl._channels import channel
from recon_sbl.amp import AmpSbl
from recon_sbl.batch import Sbl

import recon
from recon import L1, Identity, Kronecker, Matrix, Problem
from recon.arrays import as_numpy
from recon.errors import CapabilityError, ParameterError
from recon.losses import Poisson
from recon.testing import check_solver

SHARED = Path(__file__).parents[2] / "shared" / "reference"


def sparse(m=60, n=100, k=6, noise=0.02, seed=0, kind="real", snapshots=()):
    rng = np.random.default_rng(seed)

    def draw(*shape):
        values = rng.standard_normal(shape)
        return values + 1j * rng.standard_normal(shape) if kind == "complex" else values

    A, x = draw(m, n) / np.sqrt(m), 0 * draw(*snapshots, n)
    x[..., rng.choice(n, k, replace=False)] = draw(*snapshots, k)
    return A, x, x @ A.T + noise * draw(*snapshots, m)


def run(solver, problem, steps):
    state = solver.init(problem)
    for _ in range(steps):
        state = solver.step(problem, state)
    return state


def nmse(found, x):
    return np.sum(np.abs(found - x) ** 2) / np.sum(np.abs(x) ** 2)


@pytest.mark.parametrize("form", ["full", "mean", "unitary"])
def test_contract(form):
    check_solver(AmpSbl(form=form))


def test_contract_of_plain_sbl_and_of_learned_noise():
    check_solver(AmpSbl(shape=0.0))
    A, _, y = sparse()
    check_solver(AmpSbl(), Problem(Matrix(A), y))


def test_one_step_against_the_formulas():
    A, _, y = sparse(8, 12, 2)
    problem = Problem(Matrix(A), y, noise=0.1)
    solver = AmpSbl(form="full", shape=0.0)
    state = run(solver, problem, 2)
    new = solver.step(problem, state)
    tau_p = np.abs(A) ** 2 @ state.spread
    s = (y - (A @ state.x - tau_p * state.dual)) / (tau_p + 0.01)
    tau_r = 1 / ((np.abs(A) ** 2).T @ (1 / (tau_p + 0.01)))
    r = state.x + tau_r * (A.T @ s)
    x, v = state.gamma / (state.gamma + tau_r) * r, state.gamma * tau_r / (state.gamma + tau_r)
    np.testing.assert_allclose(new.x, x, rtol=1e-10)
    np.testing.assert_allclose(new.variance, v, rtol=1e-10)
    np.testing.assert_allclose(new.gamma, x**2 + v, rtol=1e-10)


@pytest.mark.parametrize("form", ["full", "mean", "unitary"])
@pytest.mark.parametrize("kind", ["real", "complex"])
def test_where_it_rests_x_is_the_exact_posterior_mean(form, kind):
    A, x, y = sparse(kind=kind)
    result = recon.solve(Problem(Matrix(A), y, noise=0.02), AmpSbl(form=form, tol=1e-10), stop=600)
    gamma = result.hyperparameters["gamma"]
    s2 = 0.02**2 * (2 if kind == "complex" else 1)
    S = s2 * np.eye(60) + (A * gamma) @ A.conj().T
    mean = gamma * (A.conj().T @ np.linalg.solve(S, y))
    np.testing.assert_allclose(result.x, mean, rtol=0, atol=1e-6)
    assert set(np.flatnonzero(x)) == set(np.flatnonzero(np.abs(result.x) > 0.1))
    exact = gamma - gamma**2 * np.einsum("ij,ij->j", A.conj(), np.linalg.solve(S, A)).real
    on = np.abs(result.x) > 0.1
    ratio = result.variance[on] / exact[on]  # approximate, and in forms other than full a mean over entries
    assert 0.7 < np.median(ratio) < 1.4
    assert form != "full" or np.abs(ratio - 1).max() < 0.2


@pytest.mark.parametrize("form", ["full", "mean", "unitary"])
def test_plain_form_is_as_good_as_the_batch_method(form):
    ours, batch = [], []
    for seed in range(3):
        A, x, y = sparse(seed=seed)
        problem = Problem(Matrix(A), y, noise=0.02)
        ours.append(nmse(run(AmpSbl(form=form, shape=0.0), problem, 200).x, x))
        batch.append(nmse(run(Sbl(update="em"), problem, 200).x, x))
    assert np.mean(ours) < 1.1 * np.mean(batch)


def test_learned_noise_and_shape():
    for seed in range(3):
        A, x, y = sparse(seed=seed)
        result = recon.solve(Problem(Matrix(A), y), AmpSbl(), stop=400)
        assert result.status is recon.Status.CONVERGED
        assert 0.6 < result.hyperparameters["noise"] / 0.02 < 1.4
        assert result.hyperparameters["shape"] > 0.3
        assert nmse(result.x, x) < 5e-3


def ill_conditioned():
    rng = np.random.default_rng(3)
    U, _, V = np.linalg.svd(rng.standard_normal((60, 100)), full_matrices=False)
    return 3.0 * (U * np.geomspace(1.0, 1e-2, 60)) @ V + 0.3  # correlated and of nonzero mean


def test_divergence_is_caught_and_the_unitary_form_does_not_care():
    A = ill_conditioned()
    x = np.zeros(100)
    x[[5, 50, 80]] = 1.0, -2.0, 1.5
    y = A @ x + 0.005 * np.random.default_rng(4).standard_normal(60)
    problem = Problem(Matrix(A), y, noise=0.005)
    damped = run(AmpSbl(form="full"), problem, 150)
    assert damped.taken_back > 0
    assert np.isfinite(damped.x).all()
    assert np.sum((y - A @ damped.x) ** 2) <= np.sum(y**2)
    assert nmse(run(AmpSbl(form="unitary"), problem, 300).x, x) < 0.01


def test_a_run_that_cannot_be_saved_says_so():
    state = AmpSbl().init(AmpSbl.example())
    from dataclasses import replace

    assert AmpSbl().remarks(state) == []
    text = AmpSbl().remarks(replace(state, stuck=True))[0]
    assert text.startswith("Message passing diverged even with the least damping")
    problem = AmpSbl.example()
    # a message so large that any step overflows, with the least damping already
    lost = replace(state, dual=state.dual + 1e300, damping=0.01)
    with np.errstate(all="ignore"):
        ended = AmpSbl().step(problem, lost)
    assert ended.settled
    assert ended.stuck
    np.testing.assert_array_equal(ended.x, state.x)
    assert AmpSbl().step(problem, ended).iteration == 2


def test_operators_without_a_matrix():
    A, x, y = sparse()

    class Products(recon.Operator):
        domain, codomain = Matrix(A).domain, Matrix(A).codomain

        def _forward(self, v):
            return v @ A.T

        def _adjoint(self, v):
            return v @ A

    result = recon.solve(Problem(Products(), y, noise=0.02), AmpSbl(), stop=200)
    assert nmse(result.x, x) < 2e-3
    with pytest.raises(CapabilityError, match="AmpSbl with form 'full' needs a Matrix, got"):
        AmpSbl(form="full").init(Problem(Products(), y, noise=0.02))
    with pytest.raises(
        CapabilityError, match="AmpSbl with form 'unitary' needs Products.svd or row_scale, which"
    ):
        AmpSbl(form="unitary").init(Problem(Products(), y, noise=0.02))


def test_operators_with_a_decomposition_are_unitary_and_equal_their_matrix():
    rng = np.random.default_rng(5)
    factors = [rng.standard_normal((6, 8)), rng.standard_normal((7, 9))]
    x = np.zeros((8, 9))
    x[2, 3], x[5, 1] = 1.0, -2.0
    whole = Matrix(np.kron(*factors), (8, 9), (6, 7))
    y = whole @ x + 0.01 * rng.standard_normal((6, 7))
    pair = [
        run(AmpSbl(), Problem(operator, y, noise=0.01), 40)
        for operator in (Kronecker(tuple(map(Matrix, factors))), whole)
    ]
    assert nmse(pair[0].x, x) < 1e-3
    np.testing.assert_allclose(
        pair[0].x, pair[1].x, atol=0.02
    )  # columns of a Matrix have each their own length


def test_tight_frames_need_no_decomposition():
    Q = np.linalg.qr(np.random.default_rng(6).standard_normal((100, 60)))[0].T

    class Tight(recon.Operator):
        domain, codomain = Matrix(Q).domain, Matrix(Q).codomain

        def _forward(self, v):
            return 3.0 * v @ Q.T

        def _adjoint(self, v):
            return 3.0 * v @ Q

        def row_scale(self):
            return 9.0

    _, x, _ = sparse()
    y = 3.0 * Q @ x + 0.02 * np.random.default_rng(7).standard_normal(60)
    problem = Problem(Tight(), y, noise=0.02)
    found = channel(problem, "auto", "test")
    np.testing.assert_allclose(found.forward(x), 3.0 * Q @ x, rtol=1e-12)
    np.testing.assert_allclose(found.adjoint(y), 3.0 * Q.T @ y, rtol=1e-12)
    assert nmse(run(AmpSbl(), problem, 150).x, x) < 1e-3


@pytest.mark.parametrize("form", ["full", "mean", "unitary"])
def test_units_change_nothing_but_units(form):
    A, _, y = sparse()
    plain = run(AmpSbl(form=form), Problem(Matrix(A), y), 40)
    for a, b in ((1e6, 1.0), (1e-6, 1.0), (1.0, 1e6), (1.0, 1e-6)):
        other = run(AmpSbl(form=form), Problem(Matrix(b * A), a * y), 40)
        np.testing.assert_allclose(other.x * b / a, plain.x, rtol=0, atol=1e-8)
        assert other.noise / a == pytest.approx(plain.noise, rel=1e-7)


@pytest.mark.parametrize("form", ["full", "mean", "unitary"])
def test_every_library_gives_the_same(form):
    A, _, y = sparse()
    plain = run(AmpSbl(form=form), Problem(Matrix(A), y, noise=0.02), 30)
    for library in (torch.asarray, array_api_strict.asarray):
        state = run(AmpSbl(form=form), Problem(Matrix(A), library(y), noise=0.02), 30)
        np.testing.assert_allclose(as_numpy(state.x), plain.x, rtol=0, atol=1e-10)


def test_complex_mode_on_real_data_is_the_real_mode():
    A, _, y = sparse()
    real = run(AmpSbl(), Problem(Matrix(A), y, noise=0.02), 40)
    as_complex = run(AmpSbl(), Problem(Matrix(A.astype(complex)), y + 0j, noise=0.02 / np.sqrt(2)), 40)
    np.testing.assert_allclose(as_complex.x, real.x, rtol=0, atol=1e-9)


def test_snapshots_share_gamma():
    A, x, y = sparse(k=15, snapshots=(5,), noise=0.1)
    joint = recon.solve(Problem(Matrix(A), y, noise=0.1), AmpSbl(joint=True), stop=300)
    alone = [recon.solve(Problem(Matrix(A), one, noise=0.1), AmpSbl(), stop=300).x for one in y]
    assert joint.hyperparameters["gamma"].shape == (100,)
    assert nmse(joint.x, x) < 0.9 * nmse(np.stack(alone), x)
    twice = run(AmpSbl(joint=True), Problem(Matrix(A), np.stack([y[0], y[0]]), noise=0.1), 30)
    once = run(AmpSbl(), Problem(Matrix(A), y[0], noise=0.1), 30)
    np.testing.assert_allclose(twice.x[0], once.x, atol=1e-9)
    assert twice.costs[-1] == pytest.approx(2 * once.costs[-1], rel=1e-9)


@pytest.mark.parametrize("form", ["full", "unitary"])
def test_noise_of_several_levels_is_whitened(form):
    A, _, y = sparse()
    sigma = np.where(np.arange(60) % 2, 0.02, 0.1)
    ours = run(AmpSbl(form=form), Problem(Matrix(A), y, noise=sigma), 40)
    by_hand = run(AmpSbl(form=form), Problem(Matrix(A / sigma[:, None]), y / sigma, noise=1.0), 40)
    np.testing.assert_allclose(ours.x, by_hand.x, rtol=0, atol=1e-8)


def test_zero_data_and_zero_columns():
    A, _, y = sparse()
    for noise in (None, 0.1):
        state = run(AmpSbl(), Problem(Matrix(A), np.zeros(60), noise=noise), 3)
        assert state.settled
        assert not state.x.any()
    A[:, 7] = 0.0
    for form in ("full", "unitary"):
        assert abs(run(AmpSbl(form=form), Problem(Matrix(A), y, noise=0.02), 30).x[7]) < 1e-12


def test_a_matrix_of_zeros_tells_nothing():
    for form in ("full", "mean", "unitary"):
        for noise in (0.1, None):
            state = run(AmpSbl(form=form), Problem(Matrix(np.zeros((6, 8))), np.ones(6), noise=noise), 30)
            assert not state.x.any()


def test_prior_variances_that_all_vanish_are_no_error():
    state = AmpSbl().init(AmpSbl.example())
    assert AmpSbl()._shape(0.0 * state.gamma) == 0.0


def test_what_it_refuses():
    A, _, y = sparse()
    for bad, text in (
        (-1.0, "got -1.0"),
        ("some", "got 'some'"),
        (True, "got True"),
        (float("nan"), "got nan"),
    ):
        with pytest.raises(ParameterError, match=f"AmpSbl.shape must be 'auto' or a number >= 0, {text}"):
            AmpSbl(shape=bad)
    with pytest.raises(CapabilityError, match="AmpSbl learns its own prior, so Problem.prior must be None"):
        AmpSbl().init(Problem(Matrix(A), y, L1(1.0)))
    with pytest.raises(CapabilityError, match="AmpSbl fits one sample at a time, got batch axes"):
        AmpSbl().init(Problem(Matrix(A), np.stack([y, y])))
    with pytest.raises(CapabilityError, match="AmpSbl needs LeastSquares, got Poisson"):
        AmpSbl().init(Problem(Identity(Matrix(A).domain), np.ones(100), loss=Poisson()))


@pytest.mark.shared
@pytest.mark.parametrize(("case", "bound"), [("gauss", 6.746e-3), ("spikes", 6.120e-3), ("corr", 2.238e-2)])
def test_better_than_gamma_map_with_and_without_the_noise(case, bound):
    if not SHARED.is_dir():
        pytest.skip("needs the developers' ../shared folder")
    sys.path.insert(0, str(SHARED))
    try:
        import gen_sbl
    finally:
        sys.path.remove(str(SHARED))
    for known in (True, False):
        errors = []
        for seed in range(5):
            q = gen_sbl.make(case, seed, 20)
            noise = q.noise_var**0.5 if known else None
            result = recon.solve(Problem(Matrix(q.A), q.Y[:, 0], noise=noise), AmpSbl(), stop=200)
            errors.append(gen_sbl.nmse(result.x[:, None], q.X))
        assert np.mean(errors) < 0.65 * bound
