"""The noise variance s2 of a problem, as sparse Bayesian learning counts it.

Problem.noise is the standard deviation of real and imaginary part each, so s2 = E|n|^2 is twice its square for complex
data. Noise that differs from entry to entry is whitened away: y / sigma and A / sigma have s2 = 1 (2 for complex data).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from recon import Diagonal, Operator, Problem
from recon.arrays import Array, as_numpy, is_complex, members, namespace, real_like
from recon.errors import CapabilityError
from recon.noise import known

__all__ = ["FLOOR", "START", "deviation", "noise_variance", "parts", "whitened"]

FLOOR = 1e-10
"""Learned s2 never falls below this part of the mean square of the data."""
START = 0.1
"""Where learning s2 begins, likewise."""


def parts(data: Array) -> int:
    """1 for real data, 2 for complex: how many real numbers an entry has."""
    return 2 if is_complex(data) else 1


def noise_variance(problem: Problem, solver: str) -> float | Array | None:
    """s2 as a number, or as an array of the codomain's shape; None where the problem does not say: learn it then."""
    if problem.noise is None:
        return None
    sigma: Any = known(problem, solver)
    if isinstance(sigma, float):
        return parts(problem.data) * sigma**2
    shape = members(problem.operator.codomain)[0].shape
    values = as_numpy(sigma)
    rows = values.reshape(-1, *values.shape[-len(shape) :]) if values.ndim > len(shape) else values[None]
    if not (rows == rows[:1]).all():  # rows of A are divided by it, for all snapshots at once
        raise CapabilityError(
            f"{solver} needs the same noise in every snapshot, got Problem.noise that differs between samples. "
            "Solve them one by one."
        )
    return real_like(parts(problem.data) * np.broadcast_to(rows[0], shape) ** 2, problem.data)


def deviation(s2: float, data: Array) -> float:
    """The standard deviation, as in Problem.noise, that belongs to s2."""
    return float((s2 / parts(data)) ** 0.5)


def whitened(problem: Problem, solver: str) -> tuple[Operator, Array, float | None]:
    """Operator, data and s2 such that the noise of the data is white; s2 is None where it must be learned.

    Noise of one level is left alone (nothing is copied). Noise given as an array divides data and rows of A: then
    s2 is its mean square, so that numbers stay in the units of the data.
    """
    s2 = noise_variance(problem, solver)
    if s2 is None or isinstance(s2, float):
        return problem.operator, problem.data, s2
    xp = namespace(problem.data)
    mean = float(xp.mean(s2))
    scale = (mean / s2) ** 0.5
    spec = members(problem.operator.codomain)[0]
    return Diagonal(as_numpy(scale), spec.shape, spec.kind) @ problem.operator, scale * problem.data, mean
