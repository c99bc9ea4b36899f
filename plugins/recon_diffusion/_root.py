"""Functions of a positive semidefinite map applied to an image, by Lanczos' method, for each image by itself.

    f(M) b  ~  ||b|| V f(T) e_1,        M V = V T + rest,   V orthonormal, T tridiagonal

(Higham, "Functions of matrices", SIAM 2008, section 13.2). With f = sqrt it turns white noise into noise of covariance
M (Chow and Saad 2014, section 3); with f = 1 / (. + share) it is conjugate gradients. V is kept orthogonal: a few
iterations of the short recurrence alone, far from their limit, would show rounding in the third digit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from recon.arrays import Array, as_numpy, leaves, namespace, real_like, tmap
from recon_diffusion._each import dots, spread

__all__ = ["shifted_inverse", "square_root"]

Apply = Callable[[Array], Array]


def square_root(apply: Apply, b: Array, spec: Any, iterations: int) -> Array:
    """M^(1/2) b; see :func:`function_of`."""
    return function_of(np.sqrt, apply, b, spec, iterations)


def shifted_inverse(apply: Apply, share: float, b: Array, spec: Any, iterations: int) -> Array:
    """(M + share)^-1 b; see :func:`function_of`."""
    return function_of(lambda values: 1.0 / (values + share), apply, b, spec, iterations)


def function_of(function: Callable[[Any], Any], apply: Apply, b: Array, spec: Any, iterations: int) -> Array:
    """f(M) b, M Hermitian with eigenvalues >= 0 of order 1; those that come out below 0 count as 0.

    One product with M and one more array of memory for each iteration. Exact, to rounding, after as many iterations as
    M has different eigenvalues; images that are done earlier stay as they are.
    """
    xp, first = namespace(leaves(b)[0]), leaves(b)[0]
    eps = float(xp.finfo(first.dtype).eps)
    size = xp.sqrt(dots(b, b, spec))
    v = _times(_inverse(size), b, spec)
    basis, diagonal, beside = [v], [], []
    for _ in range(iterations):
        w = apply(v)
        diagonal.append(dots(v, w, spec))
        for _again in range(2):  # once loses orthogonality where w is nearly in the space
            for u in basis:
                w = tmap(lambda p, q: p - q, w, _times(dots(u, w, spec), u, spec))
        rest = xp.sqrt(dots(w, w, spec))
        rest = xp.where(rest > eps**0.75, rest, 0.0 * rest)
        if len(diagonal) == iterations or not bool(xp.any(rest > 0)):
            break
        beside.append(rest)
        v = _times(_inverse(rest), w, spec)
        basis.append(v)
    weights = _first_column(function, diagonal, beside, eps)
    total = tmap(lambda leaf: 0.0 * leaf, b)
    for k, u in enumerate(basis):
        part = _times(size * real_like(weights[..., k], first), u, spec)
        total = tmap(lambda p, q: p + q, total, part)
    return total


def _times(numbers: Any, x: Array, spec: Any) -> Array:
    """Each image times its number."""
    return tmap(lambda n, leaf: n * leaf, spread(numbers, x, spec), x)


def _inverse(size: Any) -> Any:
    """1 / size, and 0 where it is 0."""
    xp = namespace(size)
    return xp.where(size > 0, 1.0 / xp.where(size > 0, size, xp.ones_like(size)), 0.0 * size)


def _first_column(
    function: Callable[[Any], Any], diagonal: list[Any], beside: list[Any], eps: float
) -> np.ndarray[Any, Any]:
    """f(T) e_1 of each image's tridiagonal matrix, (..., k); eigenvalues that are rounding count as 0."""
    down = np.stack([as_numpy(a) for a in diagonal], axis=-1).astype(np.float64)
    k = down.shape[-1]
    matrix = np.zeros((*down.shape, k))
    index = np.arange(k)
    matrix[..., index, index] = down
    for j, rest in enumerate(beside):
        matrix[..., j, j + 1] = matrix[..., j + 1, j] = as_numpy(rest)
    values, vectors = np.linalg.eigh(matrix)
    values = np.where(values > 50 * eps * values[..., -1:], values, 0.0)
    return np.asarray((vectors @ (function(values) * vectors[..., 0, :])[..., None])[..., 0])
