"""LSQR: least squares by Golub-Kahan bidiagonalisation (Paige and Saunders 1982).

    minimise  1/2 ||A x - y||_W^2 + d/2 ||x||^2  =  1/2 ||B (x - x0) - b||^2
    B = (W^(1/2) A; d^(1/2) I),   b = (W^(1/2) (y - A x0); - d^(1/2) x0)

    beta u  = B v - alpha u;   alpha v = B^H u - beta v                        ||u|| = ||v|| = 1
    rho = hypot(rho', beta);   c = rho' / rho,  s = beta / rho;   rho' = - c alpha
    x += c phi' / rho w;   w = v - s alpha / rho w;   phi' = s phi'            phi'^2 / 2 is the objective

The start x0 is part of b, so it changes the way and not the objective: with damping, iterating on x - x0 with d alone
would pull towards x0.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from recon import L2, LeastSquares, Problem, Solver, State
from recon.arrays import Array, as_numpy, norm, per_member, real_like, tmap
from recon.linalg import axpy
from recon_proximal._examples import weighing
from recon_proximal._quadratic import damping

__all__ = ["Lsqr", "LsqrState"]


@dataclass(frozen=True)
class LsqrState(State):
    """x, the left vector u in data and image, the right vector v, the direction w, alpha, rho' and phi'."""

    weight_free: ClassVar[bool] = False  # directions are conjugate for one damping only

    u_data: Array
    u_image: Array
    v: Array
    w: Array
    alpha: float
    rho: float
    phi: float


@dataclass(frozen=True)
class Lsqr(Solver):
    """Golub-Kahan least squares, weighted and damped where the problem says so.

    Minimises 1/2 ||A x - y||^2 (or its weighted form) + d/2 ||x||^2, with d the weight of an ``L2`` prior. The
    iterates are those of :class:`Cgls`, from any start; rounding spoils them later on ill-conditioned problems.
    The objective never rises. Per iteration one forward and one adjoint, one forward more when the objective is
    recorded; four images and one prediction.

    Raises
    ------
    CapabilityError
        For another prior than L2, or another loss than (weighted) least squares.
    """

    state_type = LsqrState

    def init(self, problem: Problem, x0: Array | None = None, seed: int = 0) -> LsqrState:
        root = damping(problem, "Lsqr") ** 0.5
        x = problem.start(x0)
        misfit = _rooted(problem, tmap(lambda y, p: y - p, problem.data, problem.operator @ x))
        length, u_data, u_image = _unit(misfit, tmap(lambda leaf: -root * leaf, x))
        v = _back(problem, root, u_data, u_image)
        alpha = norm(v)
        v = _scaled(alpha, v)
        return LsqrState(0, x, u_data, u_image, v, v, alpha, alpha, length)

    def step(self, problem: Problem, state: LsqrState) -> LsqrState:
        if not (state.alpha and state.phi):  # the gradient is zero: this is a minimiser, stay there
            return replace(state, iteration=state.iteration + 1)
        root, v = damping(problem, "Lsqr") ** 0.5, state.v
        u_data = axpy(-state.alpha, state.u_data, _rooted(problem, problem.operator @ v))
        u_image = tmap(lambda a, b: root * a - state.alpha * b, v, state.u_image)
        beta, u_data, u_image = _unit(u_data, u_image)
        v = axpy(-beta, v, _back(problem, root, u_data, u_image))
        alpha = norm(v)
        v = _scaled(alpha, v)
        rho = float(np.hypot(state.rho, beta))
        c, s = state.rho / rho, beta / rho
        x = axpy(c * state.phi / rho, state.w, state.x)
        w = axpy(-s * alpha / rho, state.w, v)
        return LsqrState(state.iteration + 1, x, u_data, u_image, v, w, alpha, -c * alpha, s * state.phi)

    @classmethod
    def example(cls) -> Problem:
        return weighing(L2(0.1))


def _rooted(problem: Problem, values: Array) -> Array:
    """W^(1/2) values."""
    loss: Any = problem.loss
    if isinstance(loss, LeastSquares):
        return values
    return tmap(lambda w, v: real_like(np.sqrt(as_numpy(w)), v) * v, per_member(loss.weights, values), values)


def _back(problem: Problem, root: float, u_data: Array, u_image: Array) -> Array:
    """B^H u."""
    return axpy(root, u_image, problem.operator.H @ _rooted(problem, u_data))


def _unit(data: Array, image: Array) -> tuple[float, Array, Array]:
    """The length of the pair, and the pair of length 1."""
    length = float(np.hypot(norm(data), norm(image)))
    return length, _scaled(length, data), _scaled(length, image)


def _scaled(length: float, x: Array) -> Array:
    return tmap(lambda leaf: leaf / length, x) if length else x
