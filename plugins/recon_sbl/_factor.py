"""The Cholesky factor of a Hermitian positive definite matrix, on any array library.

    S = R R^H        half(B) = R^(-1) B        solve(B) = S^(-1) B        logdet = log|S| = 2 sum log R_ii

NumPy takes SciPy's triangular LAPACK routines. Other libraries have no triangular solve in the array API standard:
there half is a general solve with R, three times the work.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from recon.arrays import device_of, namespace

__all__ = ["Cholesky", "adjoint", "real_diagonal", "square"]


class Cholesky:
    """R of S = R R^H; S may be overwritten.

    A matrix that rounding has made indefinite is shifted by eps trace(S) I, then by 100 times as much each time.

    Parameters
    ----------
    S
        (n, n) Hermitian, its lower triangle is read. Cost n^3 / 3.

    Raises
    ------
    numpy.linalg.LinAlgError
        When no shift up to 1e-4 of the mean diagonal helps (S holds NaN, or is far from positive).
    """

    def __init__(self, S: Any) -> None:
        self.xp = namespace(S)
        self.numpy = isinstance(S, np.ndarray)
        mean = float(self.xp.mean(real_diagonal(S)))
        shift = 0.0
        while True:
            try:
                self.R = self._lower(S, shift * mean)
                break
            except Exception as error:  # every library has its own error class
                shift = 100.0 * shift if shift else 4.0 * float(self.xp.finfo(S.dtype).eps)
                if shift > 1e-4 or not np.isfinite(mean):
                    raise np.linalg.LinAlgError("The matrix is not positive definite.") from error

    def _lower(self, S: Any, shift: float) -> Any:
        if shift:
            S = S + shift * self.xp.eye(S.shape[0], dtype=S.dtype, device=device_of(S))
        if self.numpy:
            from scipy.linalg import cholesky

            return cholesky(S, lower=True, check_finite=False)
        R = self.xp.linalg.cholesky(S)
        if not bool(self.xp.all(self.xp.isfinite(self.xp.abs(real_diagonal(R))))):  # CuPy gives NaN, no error
            raise np.linalg.LinAlgError("not positive definite")
        return R

    def half(self, B: Any) -> Any:
        """R^(-1) B, n^2 flops per column."""
        if self.numpy:
            from scipy.linalg import solve_triangular

            return solve_triangular(self.R, B, lower=True, check_finite=False)
        return self.xp.linalg.solve(self.R, B)

    def solve(self, B: Any) -> Any:
        """S^(-1) B, 2 n^2 flops per column; B a vector or columns."""
        if self.numpy:
            from scipy.linalg import cho_solve

            return cho_solve((self.R, True), B, check_finite=False)
        return self.xp.linalg.solve(adjoint(self.R), self.xp.linalg.solve(self.R, B))

    @property
    def logdet(self) -> float:
        """log|S|."""
        return 2.0 * float(self.xp.sum(self.xp.log(real_diagonal(self.R))))


def adjoint(A: Any) -> Any:
    """A^H of a matrix."""
    return namespace(A).conj(A).T if _complex(A) else A.T


def real_diagonal(S: Any) -> Any:
    """The diagonal, as real numbers."""
    xp = namespace(S)
    diagonal = xp.linalg.diagonal(S)
    return xp.real(diagonal) if _complex(S) else diagonal


def square(x: Any) -> Any:
    """|x|^2 of every entry."""
    if not _complex(x):
        return x * x
    xp = namespace(x)
    return xp.real(x) ** 2 + xp.imag(x) ** 2


def _complex(x: Any) -> bool:
    if isinstance(x, np.ndarray):  # isdtype takes longer than the product of small arrays
        return x.dtype.kind == "c"
    xp = namespace(x)
    return bool(xp.isdtype(x.dtype, "complex floating"))
