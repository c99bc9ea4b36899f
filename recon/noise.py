"""The noise level of a problem: given, or estimated from the data.

    known(problem)         standard deviation, as Problem.noise says; "estimate" asks the data
    energy(problem)        the expected ||noise||^2
    level(sigma)           its root mean square
    estimate(data)         median |d| / 0.67449,  d = second differences along the last one or two axes
    from_details(d)        that median, of any details d which hold little but noise

The differences [1 -2 1] / sqrt(6) leave white noise its variance and take away whatever is locally linear, so
their median size is that of the noise wherever less than half of the entries are structure. They need data
that are smooth apart from noise: an image, a sinogram, a spectrum; not random projections, not k-space.

Source: D. L. Donoho, I. M. Johnstone, Biometrika 81 (1994) 425, doi:10.1093/biomet/81.3.425 (the median
rule); J. Immerkaer, Comput. Vis. Image Underst. 64 (1996) 300, doi:10.1006/cviu.1996.0060 (the differences).
"""

from __future__ import annotations

import math
import numbers
from typing import Any

import numpy as np

from recon.arrays import Array, as_numpy, is_complex, leaves, members, real_like, tmap
from recon.errors import ParameterError
from recon.problem import Problem

__all__ = ["energy", "estimate", "from_details", "known", "level"]

_NORMAL_MEDIAN = 0.6744897501960817  # median of |n| for standard normal n


def known(problem: Problem, owner: str) -> float | Array:
    """The standard deviation of the noise: a number, or an array of the library and precision of the data.

    Parameters
    ----------
    problem
        Its ``noise`` is a number, an array, or ``"estimate"``.
    owner
        Who needs it, for the error text.

    Raises
    ------
    ParameterError
        When the problem does not say, or its data cannot be asked.
    """
    noise = problem.noise
    if noise is None:
        raise ParameterError(
            f"{owner} needs the noise level: Problem.noise must be a number, an array or 'estimate', got None."
        )
    if isinstance(noise, numbers.Real):
        return float(noise)
    if not isinstance(noise, str):
        return tmap(lambda sigma, y: real_like(as_numpy(sigma), y), noise, problem.data)
    axes = min(one.ndim for one in members(problem.operator.codomain))
    return estimate(problem.data, axes)


def energy(problem: Problem, owner: str) -> float:
    """Expected ||noise||^2, where sigma is that of real and imaginary part each."""
    noise: Any = known(problem, owner)
    total = 0.0
    sigmas = noise if isinstance(noise, tuple) else tuple(noise for _ in leaves(problem.data))
    for leaf, sigma in zip(leaves(problem.data), sigmas, strict=True):
        values = as_numpy(sigma) if hasattr(sigma, "shape") else np.asarray(float(sigma))
        parts = 2 if is_complex(leaf) else 1
        total += parts * float(np.broadcast_to(values.astype(np.float64) ** 2, tuple(leaf.shape)).sum())
    return total


def level(sigma: Any) -> float:
    """Root mean square of a standard deviation that may differ from entry to entry."""
    parts = [
        np.asarray(as_numpy(s) if hasattr(s, "shape") else s, dtype=np.float64).ravel() for s in leaves(sigma)
    ]
    return float(np.sqrt(np.mean(np.concatenate(parts) ** 2)))


def estimate(data: Array, axes: int = 2) -> float:
    """Standard deviation of white noise in data that are smooth apart from it.

    Parameters
    ----------
    data
        Real array, or a tuple of them; batch axes and members share one level.
    axes
        How many of the last axes are differenced: 1, or 2 where there are two or more.

    Raises
    ------
    ParameterError
        For complex data, fewer than three entries along an axis, or data whose differences are mostly 0.
    """
    sizes = []
    for leaf in leaves(data):
        values = as_numpy(leaf)
        if values.dtype.kind == "c":
            raise ParameterError(
                "The noise of complex data must be given, got 'estimate'. Measure it on a scan without signal."
            )
        values = values.astype(
            np.result_type(values, np.float32), copy=False
        )  # small integers would overflow
        for axis in range(-1, -1 - min(axes, 2, values.ndim), -1):
            if values.shape[axis] < 3:
                raise ParameterError(
                    f"Noise can be estimated from three entries or more along each axis, got {values.shape}. "
                    "Give Problem.noise as a number."
                )
            ahead, here, behind = (
                np.moveaxis(values, axis, -1)[..., k : values.shape[axis] - 2 + k] for k in range(3)
            )
            values = np.moveaxis((ahead - 2 * here + behind) / math.sqrt(6), -1, axis)
        sizes.append(values.ravel())
    level = float(from_details(np.concatenate(sizes)))
    if not level > 0:
        raise ParameterError(
            "The noise of these data cannot be estimated: more than half of their differences are 0 or NaN. "
            "Give Problem.noise as a number."
        )
    return level


def from_details(details: Any) -> Any:
    """Standard deviation of normal noise from details that hold little else: median |d| / 0.67449 of the last axis.

    Complex details count as their real and imaginary parts. NumPy array in, NumPy array without the last axis out.
    """
    if details.dtype.kind == "c":
        details = np.concatenate([details.real, details.imag], axis=-1)
    return np.median(np.abs(details), axis=-1).astype(np.float64) / _NORMAL_MEDIAN
