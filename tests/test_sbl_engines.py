"""The direct posterior engines of recon_sbl, against dense textbook algebra."""

from __future__ import annotations

import array_api_strict
import numpy as np
import pytest
from recon_sbl import CoefficientForm, DataForm, Direct
from recon_sbl._data_form import slopes
from recon_sbl._factor import Cholesky
from recon_sbl._matrix_free import MatrixFree
from recon_sbl.engines import LARGEST, cheapest, choose_engine, matrix_of
from recon_sbl.kronecker.form import KroneckerForm

import recon
from recon.arrays import as_numpy
from recon.errors import CapabilityError

FORMS = [DataForm, CoefficientForm, Direct]


def case(m, n, kind="real", snapshots=1, pruned=0, seed=0):
    """Matrix, data, gamma with some zeros, s2."""
    rng = np.random.default_rng(seed)
    A, y = rng.standard_normal((m, n)), rng.standard_normal((snapshots, m))
    if kind == "complex":
        A, y = A + 1j * rng.standard_normal((m, n)), y + 1j * rng.standard_normal((snapshots, m))
    gamma = rng.random(n) + 0.1
    gamma[rng.permutation(n)[:pruned]] = 0.0
    return A, y, gamma, 0.3


def textbook(A, y, gamma, s2):
    """Mean, diagonal of the covariance, L and misfit by inverses and determinants."""
    on = gamma > 0
    B = A[:, on]
    Sigma = np.linalg.inv(B.conj().T @ B / s2 + np.diag(1 / gamma[on]))
    mean, variance = np.zeros((len(y), len(gamma)), A.dtype), np.zeros(len(gamma))
    mean[:, on] = (Sigma @ B.conj().T @ y.T / s2).T
    variance[on] = np.diag(Sigma).real
    S = s2 * np.eye(len(A)) + (A * gamma) @ A.conj().T
    cost = len(y) * np.linalg.slogdet(S)[1] + np.sum(y.conj().T * np.linalg.solve(S, y.T)).real
    return mean, variance, cost, np.sum(np.abs(y.T - A @ mean.T) ** 2)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", ["real", "complex"])
@pytest.mark.parametrize(
    ("m", "n", "snapshots", "pruned"), [(6, 9, 1, 0), (6, 9, 3, 5), (9, 5, 2, 0), (1, 4, 1, 1), (4, 1, 1, 0)]
)
def test_engines_agree_with_the_textbook(form, kind, m, n, snapshots, pruned):
    A, y, gamma, s2 = case(m, n, kind, snapshots, pruned)
    mean, variance, cost, misfit = textbook(A, y, gamma, s2)
    found = form(A, y)(gamma, s2)
    np.testing.assert_allclose(found.mean, mean, atol=1e-12)
    np.testing.assert_allclose(found.variance, variance, atol=1e-12)
    np.testing.assert_allclose([found.cost, found.misfit], [cost, misfit], rtol=1e-11)
    on = gamma > 0
    np.testing.assert_allclose(found.determined[on], 1 - variance[on] / gamma[on], atol=1e-12)
    assert not found.mean[:, ~on].any()
    assert not found.determined[~on].any()


@pytest.mark.parametrize("form", FORMS)
def test_nothing_active(form):
    A, y, gamma, s2 = case(5, 7, snapshots=2)
    found = form(A, y)(0 * gamma, s2)
    assert not found.mean.any()
    assert not found.variance.any()
    assert found.misfit == pytest.approx(np.sum(y**2))
    assert found.cost == pytest.approx(10 * np.log(s2) + np.sum(y**2) / s2)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", ["real", "complex"])
def test_every_library_gives_the_same(form, kind, to):
    for pruned in (0, 4):
        A, y, gamma, s2 = case(6, 9, kind, 2, pruned)
        ours, found = form(A, y)(gamma, s2), form(to(A), to(y))(to(gamma), s2)
        for name in ("mean", "variance", "determined"):
            np.testing.assert_allclose(as_numpy(getattr(found, name)), getattr(ours, name), atol=1e-10)
        assert found.cost == pytest.approx(ours.cost, rel=1e-10)
        assert found.misfit == pytest.approx(ours.misfit, rel=1e-10)


def test_variances_keep_their_digits_at_80_dB():
    # columns in pairs: the covariance of a pair is known in closed form
    rng = np.random.default_rng(1)
    Q = np.linalg.qr(rng.standard_normal((12, 12)))[0]
    c, s2, gamma = 0.6, 1e-8, rng.random(12) + 0.5
    A = np.empty((12, 12))
    A[:, ::2], A[:, 1::2] = Q[:, ::2], c * Q[:, ::2] + np.sqrt(1 - c * c) * Q[:, 1::2]
    g, h = gamma[::2], gamma[1::2]
    determinant = (1 / s2 + 1 / g) * (1 / s2 + 1 / h) - (c / s2) ** 2
    exact = np.empty(12)
    exact[::2], exact[1::2] = (1 / s2 + 1 / h) / determinant, (1 / s2 + 1 / g) / determinant
    y = (A @ rng.standard_normal(12))[None]
    np.testing.assert_allclose(CoefficientForm(A, y)(gamma, s2).variance, exact, rtol=1e-12)
    found = DataForm(A, y)(gamma, s2).variance  # eps / s2 is 1e-8 of gamma, as large as the variance itself
    assert (found >= s2 / (1 + s2 / gamma) * (1 - 1e-9)).all()  # never 0, never below the bound
    assert (found <= gamma).all()
    np.testing.assert_allclose(found, exact, rtol=0, atol=1e-14 / s2)


def test_the_means_agree_at_80_dB():
    A, y, gamma, _ = case(20, 30, snapshots=1, pruned=12)
    y = (A @ (np.sqrt(gamma) * np.random.default_rng(2).standard_normal(30)))[None]
    one, two = DataForm(A, y)(gamma, 1e-8), CoefficientForm(A, y)(gamma, 1e-8)
    np.testing.assert_allclose(one.mean, two.mean, atol=1e-6)
    assert one.cost == pytest.approx(two.cost, rel=1e-6)


def test_the_form_changes_over_near_as_many_active_entries_as_data():
    assert cheapest(100, 1000) is DataForm
    assert cheapest(100, 200) is DataForm
    assert cheapest(100, 100) is CoefficientForm
    assert cheapest(1000, 10) is CoefficientForm


@pytest.mark.parametrize("kind", ["real", "complex"])
def test_slopes_are_the_derivative_of_the_cost(kind):
    A, y, gamma, s2 = case(6, 9, kind, 3, pruned=4)
    q2, z = slopes(A, y, gamma, s2)
    for i in range(9):
        step = 1e-6 * (np.arange(9) == i)
        rise = (textbook(A, y, gamma + step, s2)[2] - textbook(A, y, gamma, s2)[2]) / 1e-6
        assert 3 * (z[i] - q2[i]) == pytest.approx(rise, rel=1e-4, abs=1e-3)
    nothing = slopes(A, y, 0 * gamma, s2)
    np.testing.assert_allclose(nothing[1], np.sum(np.abs(A) ** 2, axis=0) / s2)


def test_a_matrix_is_not_copied_and_other_operators_are_asked_once(to):
    A = np.arange(12.0).reshape(3, 4)
    problem = recon.Problem(recon.Matrix(A), np.ones(3))
    assert matrix_of(problem, "Sbl") is problem.operator.matrix
    calls = []

    class Counted(recon.Operator):
        domain, codomain = recon.ArraySpec((2, 2)), recon.ArraySpec((3,))

        def _forward(self, x):
            calls.append(1)
            return x.reshape(*x.shape[:-2], 4) @ A.T

        def _adjoint(self, y):
            return (y @ A).reshape(*y.shape[:-1], 2, 2)

    problem = recon.Problem(Counted(), to(np.ones(3)))
    for _ in range(2):
        np.testing.assert_array_equal(as_numpy(matrix_of(problem, "Sbl")), A)
    assert len(calls) == 1


def test_large_operators_are_referred_to_cofem():
    operator = recon.Diagonal(np.ones(5000), (5000,))
    assert LARGEST < 5000 * 5000
    with pytest.raises(
        CapabilityError, match="Sbl needs an operator of at most .* Use Cofem, which needs products only"
    ):
        matrix_of(recon.Problem(operator, np.ones(5000)), "Sbl")


def test_a_factor_that_must_be_shifted_stays_on_its_device():
    device = array_api_strict.Device("device1")  # arrays of two devices refuse to meet
    A = np.ones((3, 3)) - 1e-16 * np.eye(3)
    factor = Cholesky(array_api_strict.asarray(A, device=device))
    assert factor.R.device == device
    R = as_numpy(factor.R.to_device(array_api_strict.Device("CPU_DEVICE")))
    np.testing.assert_allclose(R @ R.T, A, atol=1e-10)


@pytest.mark.parametrize("kind", ["real", "complex"])
def test_single_precision_holds_at_60_dB(kind, to):
    A, y, gamma, _ = case(20, 40, kind)
    y = (A @ (np.sqrt(gamma) * np.random.default_rng(2).standard_normal(40)))[None]
    exact = Direct(A, y)(gamma, 1e-6 * float(np.mean(np.abs(y) ** 2)))
    narrow = [to(a.astype("complex64" if a.dtype.kind == "c" else "float32")) for a in (A, y, gamma)]
    found = Direct(*narrow[:2])(narrow[2], 1e-6 * float(np.mean(np.abs(y) ** 2)))
    assert found.mean.dtype == narrow[1].dtype
    assert found.variance.dtype == narrow[2].dtype
    np.testing.assert_allclose(as_numpy(found.mean), exact.mean, atol=1e-4)
    assert found.cost == pytest.approx(exact.cost, rel=1e-4)


def test_the_engine_follows_capabilities_and_size():
    factor = recon.Matrix(np.ones((2, 3)))
    product = recon.Problem(recon.Kronecker((factor, factor)), np.ones((2, 2)))
    assert choose_engine(product, factored=True) is KroneckerForm
    assert choose_engine(product) is Direct
    assert choose_engine(recon.Problem(factor, np.ones(2))) is Direct
    large = recon.Problem(recon.Diagonal(np.ones(5000), (5000,)), np.ones(5000))
    assert choose_engine(large, factored=True) is MatrixFree
