"""Misfit and degrees of freedom of a quadratic problem at every weight, from one singular value decomposition.

x_w = argmin 1/2 ||A x - y||^2 + w/2 ||x||^2,      A = U diag(s) V^H,  c = U^H y

||A x_w - y||^2 = sum |c|^2 (w / (s^2 + w))^2 + ||y||^2 - ||c||^2
trace of y -> A x_w = sum s^2 / (s^2 + w)                              (twice that for complex data)
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from recon.arrays import as_numpy, is_complex, leaves, members, norm
from recon.operator import capability
from recon.priors.base import Prior, Scaled
from recon.priors.norms import L2
from recon.problem import Problem

__all__ = ["Ridge", "ridge"]


class Ridge(NamedTuple):
    """|c|^2 and s^2 as flat arrays, the energy of y outside the range of A, the factor of the prior, 1 or 2."""

    energy: Any
    square: Any
    outside: float
    factor: float
    parts: int

    def misfit(self, weight: float) -> float:
        """||A x_w - y||."""
        w = self.factor * weight
        return math.sqrt(float(np.sum(self.energy * (w / (self.square + w)) ** 2)) + self.outside)

    def freedom(self, weight: float) -> float:
        """Degrees of freedom, in real numbers."""
        return self.parts * float(np.sum(self.square / (self.square + self.factor * weight)))


def ridge(problem: Problem) -> Ridge | None:
    """The closed form, or None where the prior is no plain L2 or the operator has no ``svd`` of its own kind."""
    factor = _factor(problem.prior)
    svd = capability(problem.operator, "svd")
    if not factor or svd is None:
        return None
    u, s, _ = svd()
    kinds = {spec.kind for side in (u.domain, u.codomain) for spec in members(side)}
    coefficients = [as_numpy(leaf) for leaf in leaves(u.H @ problem.data)]
    if len(kinds) > 1 or len(coefficients) != len(leaves(s)):
        return None
    squares = [
        np.broadcast_to(np.asarray(v, np.float64) ** 2, c.shape).ravel()
        for v, c in zip(leaves(s), coefficients, strict=True)
    ]
    energy = np.concatenate([np.abs(c.ravel()).astype(np.float64) ** 2 for c in coefficients])
    outside = max(norm(problem.data) ** 2 - float(energy.sum()), 0.0)
    parts = 2 if is_complex(leaves(problem.data)[0]) else 1
    return Ridge(energy, np.concatenate(squares), outside, factor, parts)


def _factor(prior: Prior | None) -> float:
    """w of a scaled w/2 ||x||^2 with one weight for all; 0 for any other prior."""
    if isinstance(prior, Scaled):
        return prior.factor * _factor(prior.prior)
    return float(prior.weight) if type(prior) is L2 and isinstance(prior.weight, int | float) else 0.0
