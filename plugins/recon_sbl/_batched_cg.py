"""Conjugate gradients for several right-hand sides at once, each with its own end.

    E x_j = b_j,  j = 1 ... k        E Hermitian positive definite; one product of all running columns per iteration

A column that has converged leaves the batch, so that later products are smaller. One column may be traced: started
from 0, its step lengths a_j and ratios b_j are a Lanczos run from b, T = tridiag(1 / a_j + b_{j-1} / a_{j-1},
sqrt(b_j) / a_j), and

    b^H log(E) b  is near  ||b||^2 e_1^T log(T) e_1        (Gauss quadrature; Ubaru, Chen, Saad 2017)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from recon.arrays import Array, as_numpy, device_of, namespace, real_like

__all__ = ["Solved", "batched_cg"]


@dataclass(frozen=True)
class Solved:
    """The solutions, and what they took.

    Parameters
    ----------
    solutions
        (columns, ...) as the right-hand sides.
    products
        Products of E with one column.
    unfinished
        Columns that did not reach their tolerance: their last iterate is kept.
    steps, ratios
        a_j and b_j of the traced column.
    """

    solutions: Array
    products: int
    unfinished: int
    steps: tuple[float, ...]
    ratios: tuple[float, ...]

    def logarithm(self) -> tuple[float, float]:
        """e_1^T log(T) e_1 and T_11 of the traced column, which must have been started from 0; (0, 1) for b = 0."""
        if not self.steps:
            return 0.0, 1.0
        a, b = np.array(self.steps), np.array(self.ratios[: len(self.steps)])
        diagonal = 1.0 / a
        diagonal[1:] += b[:-1] / a[:-1]
        beside = np.sqrt(b[:-1]) / a[:-1]
        values, vectors = np.linalg.eigh(np.diag(diagonal) + np.diag(beside, 1) + np.diag(beside, -1))
        values = np.maximum(values, np.finfo(float).tiny)
        return float(np.sum(vectors[0] ** 2 * np.log(values))), float(diagonal[0])


def batched_cg(
    apply: Callable[[Array], Array],
    B: Array,
    X: Array,
    tol: Sequence[float],
    most: int,
    traced: int = -1,
) -> Solved:
    """Solve E x_j = b_j to ||b_j - E x_j|| <= tol_j ||b_j||, in at most ``most`` iterations, from X.

    One product per iteration and running column; memory of five batches.

    Parameters
    ----------
    apply
        (k, ...) -> (k, ...): E times each of k columns, for any k; may not change its input.
    B, X
        Right-hand sides and start, (columns, ...).
    tol
        One per column.
    most
        Iterations at most.
    traced
        Column whose coefficients are kept; -1 for none.
    """
    xp = namespace(B)
    goal = np.array(tol) ** 2 * _dots(B, B)
    X = xp.asarray(X, copy=True)
    R = B - apply(X)
    P = xp.asarray(R, copy=True)
    rho = _dots(R, R)
    running = np.arange(B.shape[0])
    products, broken = len(running), 0
    found: dict[int, Any] = {}
    steps: list[float] = []
    ratios: list[float] = []
    for _ in range(most):
        going = rho > goal[running]  # NaN ends a column too
        if not going.all():
            found |= {int(running[k]): X[int(k), ...] for k in np.flatnonzero(~going)}
            broken += int(np.sum(~np.isfinite(rho)))
            running, rho = running[going], rho[going]
            if not len(running):
                break
            kept = xp.asarray(np.flatnonzero(going), device=device_of(B))
            X, R, P = (xp.take(V, kept, axis=0) for V in (X, R, P))
        W = apply(P)
        products += len(running)
        curvature = _dots(P, W)
        fine = curvature > 0.0
        a = np.where(fine, rho / np.where(fine, curvature, 1.0), 0.0)
        step = _along(a, B)
        X += step * P
        R -= step * W
        # without curvature E is not definite in these digits: NaN ends that column
        before, rho = rho, np.where(fine, _dots(R, R), np.nan)
        b = np.where(fine, rho / before, 0.0)
        P *= _along(b, B)
        P += R
        place = np.flatnonzero((running == traced) & fine)
        if len(place):
            steps.append(float(a[place[0]]))
            ratios.append(float(b[place[0]]))
    else:
        broken += int(np.sum(~(rho <= goal[running])))
    found |= {int(column): X[k, ...] for k, column in enumerate(running)}
    solutions = xp.stack([found[k] for k in range(B.shape[0])], axis=0)
    return Solved(solutions, products, broken, tuple(steps), tuple(ratios))


def _dots(X: Any, Y: Any) -> Any:
    """Re <x_j, y_j> of every column, on the CPU in double precision."""
    xp = namespace(X)
    product = xp.vecdot(xp.reshape(X, (X.shape[0], -1)), xp.reshape(Y, (X.shape[0], -1)))
    if xp.isdtype(product.dtype, "complex floating"):
        product = xp.real(product)
    return as_numpy(product).astype(np.float64)


def _along(values: Any, B: Any) -> Any:
    """One number per column, shaped to multiply columns."""
    return real_like(values.reshape(-1, *(1,) * (B.ndim - 1)), B)
