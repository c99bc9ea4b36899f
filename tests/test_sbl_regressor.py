"""SBLRegressor: the contract of scikit-learn, and where it must do better than ARDRegression."""

import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from recon_sbl.regressor import SBLRegressor
from sklearn.linear_model import ARDRegression
from sklearn.utils.estimator_checks import parametrize_with_checks

SHARED = Path(__file__).parents[2] / "shared" / "reference"


@parametrize_with_checks([SBLRegressor(max_iter=100), SBLRegressor(method="sequential", max_iter=50)])
def test_the_contract_of_scikit_learn(estimator, check):
    with warnings.catch_warnings():
        # scikit-learn says so where pandas or an environment variable of SciPy is missing
        warnings.filterwarnings("ignore", message=".*(pandas|SCIPY_ARRAY_API).*")
        check(estimator)


def sparse(n=40, p=60, seed=0, noise=0.05):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, p)) + rng.standard_normal(p)
    w = np.zeros(p)
    w[[3, 17, 40]] = 1.0, -2.0, 0.5
    return X, 1.5 + X @ w + noise * rng.standard_normal(n), w


def test_covariance_and_predictions_are_those_of_the_formulas():
    X, y, _ = sparse()
    model = SBLRegressor(compute_score=True).fit(X, y)
    keep = model.active_
    Z = X[:, keep] - X.mean(0)[keep]
    Sigma = np.linalg.inv(model.alpha_ * Z.T @ Z + np.diag(model.lambda_[keep]))
    np.testing.assert_allclose(model.sigma_, Sigma, rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(
        model.coef_[keep], model.alpha_ * Sigma @ Z.T @ (y - y.mean()), rtol=1e-8, atol=1e-10
    )
    assert np.isinf(np.delete(model.lambda_, keep)).all()
    assert not np.delete(model.coef_, keep).any()
    new = np.random.default_rng(1).standard_normal((7, 60))
    mean, std = model.predict(new, return_std=True)
    V = new[:, keep] - X.mean(0)[keep]
    np.testing.assert_allclose(mean, V @ model.coef_[keep] + y.mean(), rtol=1e-10)
    np.testing.assert_allclose(
        std, np.sqrt(np.einsum("ij,jk,ik->i", V, Sigma, V) + 1 / model.alpha_), rtol=1e-8
    )
    S = np.eye(40) / model.alpha_ + (Z / model.lambda_[keep]) @ Z.T
    c = y - y.mean()
    score = -0.5 * (np.linalg.slogdet(2 * np.pi * S)[1] + c @ np.linalg.solve(S, c))
    assert model.scores_[-1] == pytest.approx(score, rel=1e-8)


@pytest.mark.parametrize("method", ["bounding", "sequential"])
def test_it_finds_the_coefficients_and_the_noise(method):
    X, y, w = sparse()
    model = SBLRegressor(method=method).fit(X, y)
    assert set(np.flatnonzero(w)) <= set(model.active_)
    assert np.abs(model.coef_ - w).max() < 0.05
    assert model.intercept_ == pytest.approx(1.5, abs=0.1)
    assert 0.5 < model.alpha_**-0.5 / 0.05 < 2.0


@pytest.mark.parametrize("method", ["bounding", "sequential"])
def test_units_do_not_change_the_support(method):
    X, y, _ = sparse()
    plain = SBLRegressor(method=method).fit(X, y)
    units = 10.0 ** np.random.default_rng(2).integers(-6, 7, 60)
    for factor in (1e-6, 1e6):
        model = SBLRegressor(method=method).fit(units * X, factor * y)
        assert model.active_.tolist() == plain.active_.tolist()
        np.testing.assert_allclose(model.coef_ * units / factor, plain.coef_, rtol=1e-8, atol=1e-10)
        np.testing.assert_allclose(model.alpha_ * factor**2, plain.alpha_, rtol=1e-8)


def test_constant_y_one_feature_and_dead_columns():
    X, y, _ = sparse()
    for constant in (0.0, 3.7, 1e9):
        model = SBLRegressor().fit(X, np.full(40, constant))
        assert not model.coef_.any()
        assert model.intercept_ == constant
        mean, std = model.predict(X, return_std=True)
        assert (mean == constant).all()
        assert not std.any()
    line = SBLRegressor().fit(X[:, :1], 2.0 * X[:, 0] + 1.0)
    np.testing.assert_allclose([line.coef_[0], line.intercept_], [2.0, 1.0], rtol=1e-6)
    dead = X.copy()
    dead[:, 5] = 0.1  # centring leaves rounding of it, which must not become a feature
    assert SBLRegressor().fit(dead, y).coef_[5] == 0.0
    assert SBLRegressor(fit_intercept=False).fit(0.0 * X, y).active_.size == 0


def test_parameters_out_of_range_are_named():
    X, y, _ = sparse()
    for bad, text in (
        ({"method": "fast"}, "The 'method' parameter of SBLRegressor must be a str among"),
        ({"noise": 0.0}, "The 'noise' parameter of SBLRegressor must be a float in the range"),
        ({"prune": 1.0}, "The 'prune' parameter of SBLRegressor must be a float in the range"),
    ):
        with pytest.raises(ValueError, match=text):
            SBLRegressor(**bad).fit(X, y)
    with pytest.raises(ValueError, match="minimum of 2 is required"):
        SBLRegressor().fit(X[:1], y[:1])


def test_without_scikit_learn_one_sentence(monkeypatch):
    from recon.errors import MissingExtraError

    monkeypatch.delitem(sys.modules, "recon_sbl.regressor")
    monkeypatch.setitem(sys.modules, "sklearn.base", None)
    with pytest.raises(
        MissingExtraError, match="SBLRegressor needs scikit-learn 1.6 or newer, which is not inst"
    ):
        import recon_sbl.regressor  # noqa: F401


@pytest.mark.shared
def test_learned_noise_where_ard_regression_loses():
    if not SHARED.is_dir():
        pytest.skip("needs the developers' ../shared folder")
    sys.path.insert(0, str(SHARED))
    try:
        import gen_sbl
    finally:
        sys.path.remove(str(SHARED))
    ours, theirs = [], []
    for seed in range(3):
        q = gen_sbl.make("gauss", seed, 20)
        for found, estimator in ((ours, SBLRegressor), (theirs, ARDRegression)):
            model = estimator(fit_intercept=False).fit(q.A, q.Y[:, 0])
            found.append(gen_sbl.nmse(model.coef_[:, None], q.X))
    assert np.mean(ours) < 1.15 * 6.756e-3 < np.mean(theirs)
