"""What the solvers that step along the gradient of the loss share: its Lipschitz constant, and the prox of the prior.

L of x -> loss(A x, y):   ||W^(1/2) A||^2 for weighted least squares, curvature(loss) ||A||^2 else
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from recon import Diagonal, Operator, Problem, WeightedLeastSquares, block_diag, linalg
from recon.arrays import Array, as_numpy, leaves, members, per_member, tmap
from recon.errors import CapabilityError
from recon.operator import capability

__all__ = ["ahead", "lipschitz", "prior_prox", "require_smooth"]


def require_smooth(problem: Problem, solver: str) -> None:
    """Refuse a loss without a Lipschitz gradient.

    Raises
    ------
    CapabilityError
        Naming the solver and the loss.
    """
    if not math.isfinite(problem.loss.curvature(problem.data)):
        raise CapabilityError(
            f"{solver} needs a loss with a Lipschitz gradient, which {type(problem.loss).__name__} has not. "
            "Use Pdhg instead."
        )


def lipschitz(problem: Problem, margin: float = 1.02) -> float:
    """L, from :func:`recon.linalg.norm`; max(W) ||A||^2 can be many times larger. 1 where A is zero."""
    operator, loss = problem.operator, problem.loss
    curvature = loss.curvature(problem.data)
    root = _rooted(loss.weights, operator.codomain) if isinstance(loss, WeightedLeastSquares) else None
    if root is not None:
        operator, curvature = root @ operator, 1.0
    square = curvature * linalg.norm(operator, like=problem.data, margin=margin) ** 2
    return square if square > 0.0 else 1.0


def _rooted(weights: Any, codomain: Any) -> Operator | None:
    """W^(1/2), or None where the weights differ along batch axes, so that no one norm serves all samples."""
    shared = per_member(weights, codomain)
    parts = list(zip(map(as_numpy, leaves(shared)), members(codomain), strict=True))
    if any(np.ndim(w) > spec.ndim for w, spec in parts):
        return None
    roots = [Diagonal(np.sqrt(w), spec.shape, spec.kind) for w, spec in parts]
    return block_diag(*roots) if isinstance(codomain, tuple) else roots[0]


def prior_prox(prior: Any, v: Array, t: float, memory: Array | None) -> tuple[Array, Array | None]:
    """The prox of a prior, started from the memory of its last call where it keeps one."""
    if prior is None:
        return v, None
    if capability(prior, "prox_from"):
        x, memory = prior.prox_from(v, t, memory)
        return x, memory
    return prior.prox(v, t), None


def ahead(momentum: float, new: Array, old: Array) -> Array:
    """new + momentum (new - old), in one temporary; ``new`` itself without momentum."""
    if not momentum:
        return new

    def one(a: Any, b: Any) -> Any:
        further = a - b
        further *= momentum
        further += a
        return further

    return tmap(one, new, old)
