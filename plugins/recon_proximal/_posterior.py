"""What the posterior samplers share: the temperature, the noise, and running moments of the draws.

    p(x | y)  is proportional to  exp(-(loss(A x, y) + prior(x)) / T)

T makes the problem's objective a negative log-probability: with ``LeastSquares``, whose 1/2 ||A x - y||^2 carries no
noise level, T = sigma^2; every other loss is a log-likelihood already, T = 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from recon import LeastSquares, Problem, State
from recon.arrays import Array, Spec, is_complex, namespace, random_normal, tmap
from recon.errors import CapabilityError
from recon.linalg import axpy
from recon.noise import known

__all__ = ["PosteriorState", "draw_noise", "square", "temperature", "updated", "variance"]


@dataclass(frozen=True)
class PosteriorState(State):
    """Posterior mean x, the last draw, the sum of squared distances of all draws from the mean, and the seed."""

    draw: Array
    spread: Array
    draws: int
    seed: int


def temperature(problem: Problem, solver: str) -> float:
    """T: sigma^2 for ``LeastSquares``, 1 for every other loss."""
    if not isinstance(problem.loss, LeastSquares):
        return 1.0
    sigma = known(problem, solver)
    if not isinstance(sigma, float):
        raise CapabilityError(
            f"{solver} needs one noise level with LeastSquares, got an array. "
            "Use WeightedLeastSquares(1 / noise**2) instead."
        )
    return sigma**2


def draw_noise(spec: Spec, problem: Problem, *key: int) -> Array:
    """Standard normal numbers of a spec; the same key gives the same numbers on every device."""
    return random_normal(spec, problem.data, np.random.default_rng(key), problem.batch)


def updated(mean: Array, spread: Array, new: Array, count: int) -> tuple[Array, Array]:
    """Mean and sum of squared distances after the ``count``-th value (Welford 1962)."""
    step = axpy(-1.0, mean, new)
    share = (count - 1) / count
    return axpy(1.0 / count, step, mean), tmap(lambda s, d: s + share * d, spread, square(step))


def square(x: Array) -> Array:
    """|x|^2 of every entry, real."""

    def one(leaf: Any) -> Any:
        xp = namespace(leaf)
        return xp.real(leaf) ** 2 + xp.imag(leaf) ** 2 if is_complex(leaf) else leaf * leaf

    return tmap(one, x)


def variance(spread: Array, freedom: int) -> Array | None:
    """Variance of each entry (complex: of real and imaginary part together); None without draws."""
    return tmap(lambda s: s / freedom, spread) if freedom > 0 else None
