"""SBLRegressor: sparse Bayesian learning as a scikit-learn estimator (needs scikit-learn, the extra "sklearn").

    y = X w + c + n,    w_i ~ N(0, 1 / lambda_i),    n ~ N(0, 1 / alpha)
    prediction    x^T mu + c,    variance x^T Sigma x + 1 / alpha

lambda and alpha are learned by a solver of this package, on centred columns; the decision which weights are 0 has no
unit, so that scaling X or y does not change it.
"""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np

from recon import Matrix, Problem, solve
from recon.errors import MissingExtraError
from recon_sbl._factor import Cholesky
from recon_sbl.batch import Sbl
from recon_sbl.sequential import SequentialSbl

try:
    from sklearn.base import BaseEstimator, RegressorMixin
    from sklearn.utils._param_validation import Interval, StrOptions
    from sklearn.utils.validation import check_is_fitted, validate_data
except ImportError as error:
    raise MissingExtraError(
        "SBLRegressor needs scikit-learn 1.6 or newer, which is not installed. Run: pip install "
        '"recon-inverse[sklearn]"'
    ) from error

__all__ = ["SBLRegressor"]


class SBLRegressor(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Sparse linear regression with learned prior variances, in place of ``sklearn.linear_model.ARDRegression``.

    Minimises the evidence cost log|S| + y^T S^(-1) y over one prior variance per coefficient. Where the noise is
    learned, a price per coefficient keeps it from being fitted: see ``Sbl.learn_noise``. With fewer samples than
    features this is where ARDRegression loses.

    Parameters
    ----------
    max_iter : int, default=500
        Most iterations of the solver; one is of the cost of a Cholesky factor of n_samples (or of the active
        coefficients, where these are fewer).
    tol : float, default=1e-6
        Relative change of the prior variances (``"sequential"``: least fall of the cost per sample) at which it ends.
    method : {"bounding", "em", "mackay", "sequential"}, default="bounding"
        Rule for the prior variances of ``Sbl``, or ``SequentialSbl``, which builds the set of coefficients one by one.
    noise : float or None, default=None
        Known standard deviation of the noise; None learns it.
    prune : float, default=1e-8
        Coefficients whose expected power falls below this part of the noise variance, and of the largest, are 0. It
        takes the place of ``threshold_lambda`` and has no unit; ``"sequential"`` does not need it.
    fit_intercept : bool, default=True
        Whether columns and y are centred first.
    compute_score : bool, default=False
        Whether ``scores_`` is kept.
    copy_X : bool, default=True
        False lets X be overwritten.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,)
        Posterior mean.
    intercept_ : float
        c.
    alpha_ : float
        Precision of the noise; infinite where y is constant.
    lambda_ : ndarray of shape (n_features,)
        Precisions of the coefficients; infinite where they were left out.
    active_ : ndarray of shape (n_active,)
        Indices of the coefficients that are in.
    sigma_ : ndarray of shape (n_active, n_active)
        Posterior covariance of these.
    scores_ : list of float
        Log evidence at the start and after each iteration, where ``compute_score``.
    n_iter_ : int
        Iterations done.
    X_offset_ : ndarray of shape (n_features,)
        Means of the columns; zeros without intercept.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of str
        Their names, where X had names.

    Raises
    ------
    ValueError
        For parameters out of range or data that are not finite, with the texts of scikit-learn.

    Notes
    -----
    Like every evidence method it is sure of the coefficients it left out: intervals of ``predict(return_std=True)`` do
    not count the choice of the support.

    References
    ----------
    M. E. Tipping, J. Mach. Learn. Res. 1 (2001) 211; D. Wipf, S. Nagarajan, NIPS 20 (2008).

    Examples
    --------
    >>> import numpy as np
    >>> from recon_sbl import SBLRegressor
    >>> X = np.random.default_rng(0).standard_normal((30, 50))
    >>> model = SBLRegressor().fit(X, 2.0 * X[:, 3])
    >>> model.active_.tolist()
    [3]
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="neither")],
        "method": [StrOptions({"bounding", "em", "mackay", "sequential"})],
        "noise": [Interval(Real, 0, None, closed="neither"), None],
        "prune": [Interval(Real, 0, 1, closed="left")],
        "fit_intercept": ["boolean"],
        "compute_score": ["boolean"],
        "copy_X": ["boolean"],
    }

    def __init__(
        self,
        *,
        max_iter: int = 500,
        tol: float = 1e-6,
        method: str = "bounding",
        noise: float | None = None,
        prune: float = 1e-8,
        fit_intercept: bool = True,
        compute_score: bool = False,
        copy_X: bool = True,
    ) -> None:
        self.max_iter = max_iter
        self.tol = tol
        self.method = method
        self.noise = noise
        self.prune = prune
        self.fit_intercept = fit_intercept
        self.compute_score = compute_score
        self.copy_X = copy_X

    def fit(self, X: Any, y: Any) -> SBLRegressor:
        """Learn the coefficients.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training data.
        y : array-like of shape (n_samples,)
            Target values.

        Returns
        -------
        SBLRegressor
            The fitted estimator itself.
        """
        self._validate_params()
        X, y = validate_data(
            self,
            X,
            y,
            dtype=np.float64,
            y_numeric=True,
            ensure_min_samples=2,
            copy=self.copy_X,
            force_writeable=True,
        )
        y = np.array(y, dtype=np.float64)
        self.X_offset_, y_offset = np.zeros(X.shape[1]), 0.0
        if self.fit_intercept:
            self.X_offset_, y_offset = X.mean(axis=0), float(y.mean())
            X -= self.X_offset_
            size = np.abs(y).max()
            y -= y_offset
            X[:, np.abs(X).max(axis=0) <= _ROUNDING * np.abs(self.X_offset_)] = 0.0  # constant columns
            if np.abs(y).max() <= _ROUNDING * size:
                y[:] = 0.0
        self._learn(X, y)
        self.intercept_ = y_offset - float(self.X_offset_ @ self.coef_)
        return self

    def _learn(self, X: np.ndarray[Any, Any], y: np.ndarray[Any, Any]) -> None:
        """Coefficients, precisions and covariance of centred data."""
        gamma, noise, costs = np.zeros(X.shape[1]), self.noise or 0.0, [0.0]
        self.coef_, self.n_iter_ = np.zeros(X.shape[1]), 0
        if y.any() and X.any():
            # columns of length 1 and y of rms 1: the answer does not depend on units, but squares of data near the
            # limits of floating point would
            lengths = np.sqrt(np.sum((X / (np.abs(X).max(axis=0) + _TINY)) ** 2, axis=0)) * np.abs(X).max(
                axis=0
            )
            lengths[lengths == 0.0] = 1.0
            unit = np.abs(y).max()
            problem = Problem(
                Matrix(X / lengths), y / unit, noise=None if self.noise is None else self.noise / unit
            )
            result = solve(problem, self._solver(), stop=self.max_iter)
            learned = result.hyperparameters
            self.coef_ = np.array(result.x) * unit / lengths
            gamma = np.array(learned["gamma"]) * (unit / lengths) ** 2
            noise, costs = float(learned["noise"]) * unit, list(learned["evidence"])
            self.n_iter_ = result.iterations
            self._covariance(
                problem, np.array(learned["gamma"]), float(learned["noise"]) ** 2, unit / lengths
            )
        else:
            self.active_, self.sigma_ = np.zeros(0, np.intp), np.zeros((0, 0))
        with np.errstate(divide="ignore"):
            self.lambda_, self.alpha_ = 1.0 / gamma, float(1.0 / np.float64(noise) ** 2)
        if self.compute_score:
            shift = len(y) * np.log(2.0 * np.pi * (np.abs(y).max() or 1.0) ** 2)
            self.scores_ = [-0.5 * (cost + shift) for cost in costs]

    def _solver(self) -> Any:
        if self.method == "sequential":
            return SequentialSbl(tol=self.tol)
        return Sbl(update=self.method, prune=self.prune, tol=self.tol)  # type: ignore[arg-type]

    def _covariance(
        self, problem: Problem, gamma: np.ndarray[Any, Any], s2: float, unit: np.ndarray[Any, Any]
    ) -> None:
        """active_ and sigma_ = D (D A^T A D / s2 + I)^(-1) D with D = diag(sqrt gamma), of the active columns."""
        self.active_ = np.flatnonzero(gamma)
        if not len(self.active_):
            self.sigma_ = np.zeros((0, 0))
            return
        D = np.sqrt(gamma[self.active_])
        operator: Any = problem.operator
        B = operator.matrix[:, self.active_] * D
        inverse = Cholesky(B.T @ B / s2 + np.eye(len(D))).half(np.eye(len(D)))
        D = D * unit[self.active_]
        self.sigma_ = D[:, None] * (inverse.T @ inverse) * D

    def predict(self, X: Any, return_std: bool = False) -> Any:
        """Mean of the predictive distribution, and its standard deviation on request.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Where to predict.
        return_std : bool, default=False
            Whether the standard deviation (of coefficients and noise together) is returned too.

        Returns
        -------
        ndarray of shape (n_samples,), or two of them
            Mean, and standard deviation.
        """
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        mean = X @ self.coef_ + self.intercept_
        if not return_std:
            return mean
        X = X[:, self.active_] - self.X_offset_[self.active_]
        return mean, np.sqrt(np.sum((X @ self.sigma_) * X, axis=1) + 1.0 / self.alpha_)


_ROUNDING = 64.0 * np.finfo(np.float64).eps
"""What centring leaves of a constant, relative."""
_TINY = np.finfo(np.float64).tiny
