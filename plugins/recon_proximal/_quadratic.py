"""Quadratic losses: the damping of a problem, the weights of its loss, its normal matrix and its proximal map."""

from __future__ import annotations

from typing import Any

from recon import L2, LeastSquares, Problem, WeightedLeastSquares
from recon.arrays import Array, tmap
from recon.errors import CapabilityError
from recon.linalg import axpy, cg, normal
from recon.operator import capability
from recon.priors import NonNegative, Scaled

__all__ = ["damping", "gram", "is_quadratic", "proximal", "weighed"]


def is_quadratic(problem: Problem) -> bool:
    """Whether the loss is (weighted) least squares."""
    return isinstance(problem.loss, LeastSquares | WeightedLeastSquares)


def damping(problem: Problem, solver: str) -> float:
    """The weight d of the quadratic prior.

    Raises
    ------
    CapabilityError
        When the problem is not quadratic.
    """
    if not is_quadratic(problem):
        raise CapabilityError(
            f"{solver} needs a quadratic loss, got {type(problem.loss).__name__}. Use Pdhg instead."
        )
    prior: Any = problem.prior
    if prior is None:
        return 0.0
    factor = 1.0
    while isinstance(prior, Scaled):
        factor, prior = factor * prior.factor, prior.prior
    if isinstance(prior, L2):
        return factor * prior.weight
    other = "Sirt (bounds) or Fista" if isinstance(prior, NonNegative) else "Fista or Pdhg"
    raise CapabilityError(f"{solver} needs an L2 prior or none, got {problem.prior!r}. Use {other} instead.")


def weighed(problem: Problem, values: Array) -> Array:
    """W values: the gradient of a quadratic loss is linear in the residual."""
    if isinstance(problem.loss, LeastSquares):
        return values
    return problem.loss.gradient(values, tmap(lambda leaf: 0 * leaf, values))


def proximal(problem: Problem, v: Array, rho: float, near: Array, iterations: int, tol: float) -> Array:
    """argmin loss(A x, y) + rho/2 ||x - v||^2 of a quadratic loss.

    In closed form where the operator has a ``data_prox``; else by conjugate gradients from ``near``.
    """
    operator = problem.operator
    closed = capability(operator, "data_prox")
    if closed and isinstance(problem.loss, LeastSquares):
        return closed(v, problem.data, rho)

    def apply(x: Array) -> Array:
        return axpy(rho, x, gram(problem, x))

    pull = axpy(rho, v, operator.H @ weighed(problem, problem.data))
    return cg(apply, pull, x0=near, iterations=iterations, tol=tol)


def gram(problem: Problem, x: Array) -> Array:
    """A^H W A x, by the operator's own ``normal`` where it has one."""
    operator = problem.operator
    if isinstance(problem.loss, LeastSquares):
        return normal(operator, x)
    return operator.H @ weighed(problem, operator @ x)
