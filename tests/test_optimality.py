"""LASSO, TV denoising, TV tomography, wavelet deconvolution and MRI: two algorithms meet within 1e-6, and certify it.

Small sizes of the problems of ``tools/optimality.py``; the full ones are run by that script (docs/certificates.md).
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

import recon
from recon import L1, TV, ArraySpec, Gap, Identity, Matrix, MaxIterations, NonNegative, Problem


def _tool():
    path = Path(__file__).parents[1] / "tools" / "optimality.py"
    spec = importlib.util.spec_from_file_location("optimality", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


TOOL = _tool()


@pytest.mark.parametrize("name", TOOL.PROBLEMS)
def test_two_algorithms_meet_and_certify_it(name):
    found, _ = TOOL.results(name, small=True)
    best = min(record["objective"] for result in found for record in result.history)
    for result in found:
        for record in result.history:
            assert record["gap"] >= record["objective"] - best
        assert result.objective - best <= 1e-6 * best
    first = found[0].history[-1]
    assert found[0].status is recon.Status.CONVERGED
    assert first["gap"] <= 1e-6 * first["objective"]


@pytest.mark.parametrize("prior", [L1(0.05), TV(0.05), TV(0.05) + NonNegative(), TV(0.05, isotropic=False)])
def test_an_interior_point_method_finds_no_less(prior):
    cvxpy = pytest.importorskip("cvxpy")
    rng = np.random.default_rng(0)
    values = rng.standard_normal((40, 64)) / 8
    image = np.zeros((8, 8))
    image[2:5, 1:6] = 1.0
    data = values @ image.ravel() + 0.05 * rng.standard_normal(40)
    problem = Problem(Matrix(values, domain_shape=(8, 8)), data, prior)
    result = recon.solve(problem, stop=Gap(1e-7) | MaxIterations(20000))

    x = cvxpy.Variable((8, 8))
    penalty = 0.05 * _cvxpy_value(cvxpy, x, prior)
    bounds = [x >= 0] if isinstance(prior, recon.priors.Total) else []
    least = cvxpy.Problem(
        cvxpy.Minimize(0.5 * cvxpy.sum_squares(values @ cvxpy.reshape(x, (64,), order="C") - data) + penalty),
        bounds,
    ).solve(solver="CLARABEL", tol_gap_abs=1e-11, tol_gap_rel=1e-11, tol_feas=1e-11)
    assert result.status is recon.Status.CONVERGED
    assert abs(result.objective - least) <= 1e-6 * least
    for record in result.history:
        assert record["gap"] >= record["objective"] - least - 1e-9 * least


def _cvxpy_value(cvxpy, x, prior):
    if isinstance(prior, L1):
        return cvxpy.sum(cvxpy.abs(x))
    down = cvxpy.vstack([x[1:] - x[:-1], np.zeros((1, 8))])
    right = cvxpy.hstack([x[:, 1:] - x[:, :-1], np.zeros((8, 1))])
    if getattr(prior, "isotropic", True):
        pairs = cvxpy.vstack([cvxpy.vec(down, order="C"), cvxpy.vec(right, order="C")])
        return cvxpy.sum(cvxpy.norm(pairs, 2, axis=0))
    return cvxpy.sum(cvxpy.abs(down)) + cvxpy.sum(cvxpy.abs(right))


def test_lasso_agrees_with_a_quasi_newton_method():
    """An independent reference that is always there: bound-constrained minimisation over x = p - q, p, q >= 0."""
    import scipy.optimize

    problem = TOOL.lasso(120, 40)
    A, y, w = problem.operator.matrix, problem.data, problem.prior.weight

    def value(z):
        r = A @ (z[:120] - z[120:]) - y
        g = A.T @ r
        return 0.5 * r @ r + w * z.sum(), np.concatenate([g + w, w - g])

    least = scipy.optimize.minimize(
        value, np.zeros(240), jac=True, bounds=[(0, None)] * 240, method="L-BFGS-B",
        options={"maxiter": 20000, "maxfun": 40000, "ftol": 1e-16, "gtol": 1e-11},
    ).fun  # fmt: skip
    result = recon.solve(problem, stop=Gap(1e-8) | MaxIterations(5000))
    assert abs(result.objective - least) <= 1e-8 * least


def test_denoising_of_a_step_has_a_closed_form():
    """TV denoising of a step of height h on n + m pixels moves both plateaus towards each other: w/n and w/m."""
    n, m, height, w = 12, 20, 2.0, 0.7
    step = np.concatenate([np.zeros(n), np.full(m, height)])
    problem = Problem(Identity(ArraySpec((n + m,))), step, TV(w, ndim=1))
    result = recon.solve(problem, stop=Gap(1e-9) | MaxIterations(20000))
    wanted = np.concatenate([np.full(n, w / n), np.full(m, height - w / m)])
    np.testing.assert_allclose(result.x, wanted, atol=1e-4)
    least = problem.objective(wanted)
    assert all(record["gap"] >= record["objective"] - least for record in result.history)
    assert result.status is recon.Status.CONVERGED
