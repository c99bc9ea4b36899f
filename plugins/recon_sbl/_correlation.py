"""Helpers of the structured solvers: the dense linear model, and the correlation matrix of an AR(1) sequence.

    B_jk = r^(j-k) for j >= k, its conjugate above;    B = C C^H,  C_j0 = r^j,  C_jk = r^(j-k) sqrt(1 - |r|^2), k >= 1
    log|B| = (h - 1) log(1 - |r|^2)
    tr(B^(-1) Z) = (t0 + |r|^2 t2 - 2 Re(conj(r) t1)) / (1 - |r|^2)

with t0 the sum of the diagonal of a Hermitian Z, t2 that without its two ends, t1 the sum of the diagonal below. So r
that fits a Z best is a root of a cubic, with the phase of t1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from recon import Problem
from recon.arrays import Array, as_numpy, from_numpy, is_complex, namespace
from recon_sbl._factor import square
from recon_sbl._noise import noise_variance
from recon_sbl.engines import matrix_of

__all__ = ["Model", "ar1", "ar1_factor", "best_ar1", "best_scaled_ar1", "model", "moments", "restored"]


@dataclass(frozen=True)
class Model:
    """The matrix A (m, n), the snapshots Y as columns (m, count), s2 (None: to be learned), and mean |y|^2.

    ``constant`` is what L has more before the rows were divided by the noise.
    """

    A: Any
    Y: Any
    s2: float | None
    power: float
    constant: float

    @property
    def count(self) -> int:
        """How many snapshots there are."""
        return int(self.Y.shape[1])

    @property
    def real(self) -> Any:
        """The real dtype of the precision in use."""
        return namespace(self.Y).abs(self.Y[:0, ...]).dtype

    @property
    def even(self) -> float:
        """The prior variance with which all entries together explain the power of the data; 0 for A = 0."""
        xp = namespace(self.A)
        size = float(xp.mean(square(self.A))) * self.A.shape[1]
        return self.power / size if size else 0.0


def model(problem: Problem, solver: str) -> Model:
    """A and Y in the library and precision of the data, rows divided by the noise where that differs."""
    A, y, constant = matrix_of(problem, solver), problem.data, 0.0
    xp = namespace(y)
    Y = xp.reshape(y, (-1, A.shape[0])).T
    s2 = noise_variance(problem, solver)
    if s2 is not None and not isinstance(s2, float):
        mean = float(xp.mean(s2))
        rows = xp.reshape(s2, (-1, 1))
        constant = Y.shape[1] * float(np.sum(np.log(as_numpy(rows).astype(np.float64) / mean)))
        scale = xp.astype(xp.sqrt(mean / rows), y.dtype, copy=False)
        A, Y, s2 = scale * A, scale * Y, mean
    return Model(A, Y, s2, float(xp.mean(square(Y))), constant)


def restored(values: Any, problem: Problem, shape: tuple[int, ...] = ()) -> Array:
    """Columns (n, count) as an array of the domain with the batch axes in front."""
    xp = namespace(values)
    return xp.reshape(values.T, (*shape, *problem.operator.domain.shape))  # type: ignore[union-attr]


def ar1(r: complex, length: int, like: Array) -> Any:
    """B, in the library and kind of ``like``."""
    C = _factor(r, length)
    return from_numpy(_kind(C @ C.conj().T, like), like, dtype=like.dtype)


def ar1_factor(r: complex, length: int, like: Array) -> Any:
    """C, lower triangular; that of a shorter sequence is its leading part."""
    return from_numpy(_kind(_factor(r, length), like), like, dtype=like.dtype)


def _factor(r: complex, length: int) -> np.ndarray[Any, Any]:
    lags = np.subtract.outer(np.arange(length), np.arange(length))
    C = np.where(lags >= 0, np.power(complex(r), np.maximum(lags, 0)), 0.0)
    C[:, 1:] *= np.sqrt(1.0 - abs(r) ** 2)
    return C


def _kind(values: np.ndarray[Any, Any], like: Array) -> np.ndarray[Any, Any]:
    return values if is_complex(like) else values.real


def moments(Z: Any) -> tuple[float, float, complex]:
    """t0, t2, t1 of a Hermitian matrix, in double precision."""
    values = as_numpy(Z)
    diagonal = np.real(np.diagonal(values)).astype(float)
    return float(diagonal.sum()), float(diagonal[1:-1].sum()), complex(np.diagonal(values, -1).sum())


def best_ar1(count: float, t0: float, t2: float, t1: complex, limit: float) -> complex:
    """The r with |r| <= limit that minimises count log(1 - |r|^2) + tr(B^(-1) Z); 0 where count is 0.

    Of r >= 0 (then turned by the phase of t1): count r^3 - |t1| r^2 + (t0 + t2 - count) r - |t1| = 0.
    """
    size = abs(t1)
    if not count or not size:
        return 0.0

    def value(r: Any) -> Any:
        return count * np.log1p(-(r**2)) + (t0 + r**2 * t2 - 2 * r * size) / (1 - r**2)

    return _best(np.array([count, -size, t0 + t2 - count, -size]), value, t1, limit)


def best_scaled_ar1(length: int, t0: float, t2: float, t1: complex, limit: float) -> tuple[complex, float]:
    """r and v that minimise log|v B| + tr((v B)^(-1) Z) for a Z of that length.

    v = tr(B^(-1) Z) / length; of r >= 0: (1 - h) t2 r^3 + (h - 2) |t1| r^2 + (t0 + h t2) r - h |t1| = 0, h the length.
    """
    h, size = length, abs(t1)

    def trace(r: Any) -> Any:
        return (t0 + r**2 * t2 - 2 * r * size) / (1 - r**2)

    def value(r: Any) -> Any:
        return (h - 1) * np.log1p(-(r**2)) + h * np.log(np.maximum(trace(r), 1e-300))

    r: complex = 0.0
    if h > 1 and size:
        r = _best(np.array([(1 - h) * t2, (h - 2) * size, t0 + h * t2, -h * size]), value, t1, limit)
    return r, float(trace(abs(r))) / h


def _best(cubic: np.ndarray[Any, Any], value: Any, t1: complex, limit: float) -> complex:
    """Of 0, the limit and the real roots between them, that of least value, with the phase of t1."""
    roots = np.roots(cubic)
    inside = roots.real[(np.abs(roots.imag) < 1e-6) & (roots.real > 0) & (roots.real < limit)]
    tried = np.concatenate([[0.0, limit], inside])
    r = float(tried[np.argmin(value(tried))])
    return r * t1 / abs(t1)
