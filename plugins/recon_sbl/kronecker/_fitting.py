"""What Komp, SeparableSbl and PcKroSbl share: the noise they take, the level of a factor, products of vectors.

A = A_1 (x) ... (x) A_d,    c_i = root mean square of the column norms of A_i
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from recon import Problem
from recon.arrays import Array, as_numpy, real_like
from recon.errors import CapabilityError, ParameterError
from recon_sbl._noise import noise_variance
from recon_sbl.kronecker.form import outer

__all__ = ["column_level", "factor_count", "one_level", "outer_like", "per_factor"]


def one_level(problem: Problem, solver: str) -> float | None:
    """s2 as a number; None where the problem does not say.

    Raises
    ------
    CapabilityError
        For noise that differs from entry to entry: whitening would undo the Kronecker form.
    """
    s2 = noise_variance(problem, solver)
    if s2 is None or isinstance(s2, float):
        return s2
    values = as_numpy(s2)
    if (values == values.flat[0]).all():
        return float(values.flat[0])
    raise CapabilityError(
        f"{solver} needs one noise level for all data, got Problem.noise that differs between entries. "
        "Use recon_sbl.Sbl, or give one level."
    )


def column_level(A: np.ndarray[Any, Any]) -> float:
    """Root mean square of the norms of the columns; 1 for a matrix of zeros."""
    largest = float(np.abs(A).max())
    if largest == 0.0:
        return 1.0
    return largest * float(np.sqrt(np.sum(np.abs(A / largest) ** 2) / A.shape[1]))


def outer_like(vectors: Sequence[np.ndarray[Any, Any]], like: Array) -> Array:
    """v_1 (x) v_2 (x) ... of real NumPy vectors as a tensor in the library and precision of ``like``.

    The vectors are brought to one size first, so that no partial product leaves the range of single precision.
    """
    sizes = [float(np.abs(v).max()) for v in vectors]
    if 0.0 in sizes:
        return outer([real_like(0.0 * v, like) for v in vectors])
    mean = float(np.exp(np.mean(np.log(sizes))))
    return outer([real_like(v * (mean / size), like) for v, size in zip(vectors, sizes, strict=True)])


def factor_count(matrices: Sequence[Any]) -> str:
    """How many factors there are, for error texts."""
    return f"{len(matrices)} factor{'s' * (len(matrices) > 1)}"


def per_factor(value: Any, matrices: Sequence[Any], owner: str) -> tuple[Any, ...]:
    """A parameter that may be one value or one per factor, as a tuple.

    Raises
    ------
    ParameterError
        When there are more or fewer values than factors.
    """
    if not isinstance(value, tuple):
        return (value,) * len(matrices)
    if len(value) != len(matrices):
        raise ParameterError(
            f"{owner} must have one value per factor, got {len(value)} for {factor_count(matrices)}. "
            "Give one number for all."
        )
    return value
