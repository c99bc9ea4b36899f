"""Detector counts and line integrals: Beer and Lambert's law, forward with noise, and back with weights.

    counts ~ Poisson(blank exp(-p)) + N(0, sigma^2) + dark
    n = counts - dark,   b = blank - dark,   p = -ln(max(n, floor) / b)
    weight = n^2 / (n + sigma^2) = 1 / variance of p  (n itself without electronic noise),   0 where n < floor

A ray on which nothing arrived says only that p is large, which no weighted square can say: its weight is 0. So
is that of a dead bin, where the blank scan is no brighter than the dark one; its p is 0.

Source: K. Sauer, C. Bouman, IEEE Trans. Signal Process. 41 (1993) 534, doi:10.1109/78.193196.
"""

from __future__ import annotations

import logging
import math
from typing import Any

import numpy as np

from recon.arrays import Array, as_numpy, from_numpy, namespace, real_like
from recon.errors import ArrayError, ParameterError, ShapeError
from recon.params import short

__all__ = ["line_integrals", "transmission"]

logger = logging.getLogger("recon")

_MOST = 1e18  # counts; what NumPy draws are 64-bit integers


def line_integrals(
    counts: Array,
    blank: Any,
    dark: Any = 0.0,
    *,
    electronic_noise: float = 0.0,
    floor: float = 1.0,
) -> tuple[Array, Array]:
    """Turn counts into line integrals and their statistical weights.

    Parameters
    ----------
    counts
        Counts behind the object, (..., views, bins) or any other shape; integers become float64.
    blank
        Counts without the object (flat field): a number, or an array that broadcasts to the counts.
    dark
        Counts without a beam, likewise.
    electronic_noise
        Standard deviation sigma of the additive noise, in counts.
    floor
        Smallest count above the dark one that is taken as measured, > 0. One photon by default; give a small
        fraction where the counts are scaled. A warning is logged where no count reaches it.

    Returns
    -------
    p, weights : Array
        Line integrals without a unit, and weights for :class:`recon.losses.WeightedLeastSquares`, both in the
        shape, library, device and precision of the counts. Weights are inverse variances where counts are in
        photons, and proportional to them otherwise.

    Raises
    ------
    ArrayError
        When the counts are no real array, or something is not finite.
    ShapeError
        When blank or dark do not broadcast to the counts.
    ParameterError
        When `electronic_noise` or `floor` break their rule.

    Examples
    --------
    >>> p, weights = line_integrals(counts, blank=white.mean(0), dark=dark.mean(0))
    >>> problem = Problem(A, p, prior, loss=WeightedLeastSquares(weights))
    """
    _check_number("line_integrals", "electronic_noise", electronic_noise, zero=True)
    _check_number("line_integrals", "floor", floor, zero=False)
    counts = _floating(counts, "line_integrals counts")
    xp = namespace(counts)
    dark = _follow(dark, counts, "line_integrals dark")
    lit = _follow(blank, counts, "line_integrals blank") - dark
    alive = lit > 0
    left = counts - dark
    seen = xp.logical_and(alive, left >= floor)
    one = xp.ones_like(left)
    kept = xp.where(left >= floor, left, floor * one)
    p = xp.where(alive, xp.log(xp.where(alive, lit, one)) - xp.log(kept), 0 * one)
    sigma = float(electronic_noise)
    weights = kept / (1 + sigma * (sigma / kept))  # no square that could overflow
    if not bool(xp.any(seen)):
        logger.warning(
            "line_integrals: no count reaches the floor of %g: all weights are 0. Give less for scaled counts.",
            floor,
        )
    return p, xp.where(seen, weights, 0 * one)


def transmission(
    p: Array,
    blank: Any,
    rng: np.random.Generator,
    dark: Any = 0.0,
    *,
    electronic_noise: float = 0.0,
) -> Array:
    """Simulate the counts behind an object: Poisson noise, and electronic noise where asked for.

    Parameters
    ----------
    p
        Line integrals without a unit, of any shape.
    blank
        Mean counts without the object, in photons: a number, or an array that broadcasts to p.
    rng
        NumPy's generator; it draws on the CPU, so a seed gives the same counts on every device.
    dark
        Mean counts without a beam; added, without noise of its own.
    electronic_noise
        Standard deviation of the additive noise, in counts. It may make counts negative.

    Returns
    -------
    Array
        Counts, in the shape, library, device and precision of p.

    Raises
    ------
    ArrayError, ShapeError, ParameterError
        As :func:`line_integrals`, and when `rng` is no generator or a mean is below zero or above 1e18.

    Notes
    -----
    `blank` is the dose, whatever the image. Some published pipelines scale each sinogram by its own maximum before
    they draw, so that their dose depends on the image: compare with them with care.

    Examples
    --------
    >>> counts = transmission(A @ image, 1e4, numpy.random.default_rng(0))
    """
    _check_number("transmission", "electronic_noise", electronic_noise, zero=True)
    if not isinstance(rng, np.random.Generator):
        raise ParameterError(
            f"transmission rng must be a numpy.random.Generator, got {short(rng)}. "
            "Give numpy.random.default_rng(seed)."
        )
    p = _floating(p, "transmission p")
    values = as_numpy(p).astype(np.float64)
    dark_, blank_ = (
        as_numpy(_follow(one, p, f"transmission {name}")).astype(np.float64)
        for name, one in (("dark", dark), ("blank", blank))
    )
    if (dark_ < 0).any() or (blank_ < dark_).any():
        raise ParameterError(
            "transmission blank must be >= dark >= 0, got smaller entries. Check their order and unit."
        )
    with np.errstate(over="ignore"):
        mean = (blank_ - dark_) * np.exp(-values)
    if mean.max(initial=0.0) > _MOST:
        raise ParameterError(
            f"transmission blank must give means below {_MOST:g}, got {mean.max():g}. Check its unit and the sign of p."
        )
    drawn = rng.poisson(mean) + dark_
    if electronic_noise:
        drawn = drawn + electronic_noise * rng.standard_normal(values.shape)
    return from_numpy(drawn, p, dtype=p.dtype)


def _floating(x: Array, owner: str) -> Array:
    """The array with a real floating dtype; integers become float64."""
    xp = namespace(x)
    if xp.isdtype(x.dtype, "integral"):
        x = xp.astype(x, xp.float64)
    if not xp.isdtype(x.dtype, "real floating"):
        raise ArrayError(f"{owner} must be real numbers, got dtype {x.dtype}. Convert them.")
    if not bool(xp.all(xp.isfinite(x))):
        raise ArrayError(f"{owner} must be finite, got NaN or infinity. Replace those entries first.")
    return x


def _follow(value: Any, like: Array, owner: str) -> Array:
    """A number or an array in the shape, library and precision of the counts."""
    try:
        one = np.asarray(as_numpy(value)).astype(np.float64, casting="same_kind")
    except (TypeError, ValueError):
        raise ArrayError(
            f"{owner} must be a number or an array of numbers, got {short(value)}. Convert it."
        ) from None
    if not np.isfinite(one).all():
        raise ArrayError(f"{owner} must be finite, got NaN or infinity. Replace those entries first.")
    shape = tuple(like.shape)
    try:
        full = np.broadcast_to(one, shape)
    except ValueError:
        raise ShapeError(
            f"{owner} must broadcast to {shape}, got {one.shape}. Average repeated exposures over their axis."
        ) from None
    return real_like(full, like)


def _check_number(owner: str, name: str, value: Any, *, zero: bool) -> None:
    good = isinstance(value, int | float | np.integer | np.floating) and math.isfinite(value)
    if not good or isinstance(value, bool) or value < 0 or (value == 0 and not zero):
        rule = "a number >= 0" if zero else "a number > 0"
        raise ParameterError(f"{owner} {name} must be {rule}, got {short(value)}. It is in counts.")
