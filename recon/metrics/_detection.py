"""Supports, masks and intervals: what was found, what was missed, what an uncertainty covers.

With tp, fp, fn, tn the counts of true and false positives and negatives:

    precision = tp / (tp + fp)     recall = tp / (tp + fn)     f1 = 2 tp / (2 tp + fp + fn)
    matthews = (tp tn - fp fn) / sqrt((tp + fp) (tp + fn) (tn + fp) (tn + fn))
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from recon.arrays import Array, device_of
from recon.errors import ArrayError
from recon.metrics._arguments import integer, number, prepare

__all__ = ["SupportRecovery", "coverage", "matthews", "otsu", "support_recovery"]


@dataclass(frozen=True, slots=True)
class SupportRecovery:
    """How well the non-zeros were found; every number lies in [0, 1], and 1 is best.

    Parameters
    ----------
    precision
        Share of the entries found that are true.
    recall
        Share of the true entries that were found.
    f1
        Harmonic mean of both.
    exact
        Whether the two supports are the same.
    """

    precision: float
    recall: float
    f1: float
    exact: bool


def support_recovery(x: Array, truth: Array, *, threshold: float = 0.0) -> SupportRecovery:
    """Compare the support of an estimate, |x| > threshold, with that of the truth, truth != 0.

    Parameters
    ----------
    x, truth
        Real or complex arrays, or masks, of the same shape.
    threshold
        Magnitude up to which an entry of ``x`` counts as zero, in units of ``x``.

    Returns
    -------
    SupportRecovery
        Where both supports are empty, everything is 1; where only one is, precision, recall and f1 are 0.

    Raises
    ------
    ArrayError, ShapeError
        When the arrays do not belong together.
    ParameterError
        For a negative threshold.
    """
    xp, t, estimate = prepare("support_recovery", "numeric", truth=truth, x=x)
    level = number(
        "support_recovery", "threshold", threshold, zero=True, advice="0.0 counts every non-zero entry."
    )
    tp, fp, fn, _ = _counts(xp, xp.abs(estimate) > level, t != 0)
    if tp + fp + fn == 0:
        return SupportRecovery(1.0, 1.0, 1.0, True)
    if tp == 0:
        return SupportRecovery(0.0, 0.0, 0.0, False)
    return SupportRecovery(tp / (tp + fp), tp / (tp + fn), 2 * tp / (2 * tp + fp + fn), fp + fn == 0)


def matthews(prediction: Array, truth: Array) -> float:
    """Matthews correlation coefficient of two masks (the phi coefficient).

    Counted and multiplied in Python integers, which do not overflow for masks of any size.

    Parameters
    ----------
    prediction, truth
        Boolean arrays of the same shape.

    Returns
    -------
    float
        From -1 (opposite masks) over 0 (chance) to 1 (equal masks); 0.0 where either mask is constant, for
        which the formula is 0 / 0.

    Raises
    ------
    ArrayError, ShapeError
        When the arrays do not belong together, or are not boolean.

    References
    ----------
    B. W. Matthews, "Comparison of the predicted and observed secondary structure of T4 phage lysozyme",
    Biochimica et Biophysica Acta 405 (1975) 442-451.
    """
    xp, t, found = prepare("matthews", "bool", truth=truth, prediction=prediction)
    return _correlation(*_counts(xp, found, t))


def otsu(x: Array, *, bins: int = 256) -> float:
    """Threshold that splits the values into two classes with the largest variance between them.

    Over the histogram's bins k, with p0, p1 the counts and m0, m1 the mean values of the classes "up to k"
    and "above k", it maximises p0 p1 (m0 - m1)^2. ``x > otsu(x)`` is the upper class. The same number as
    scikit-image's ``threshold_otsu``.

    Parameters
    ----------
    x
        A real array of any shape with finite values.
    bins
        Number of equal bins from smallest to largest value; integers and masks have one bin per value.

    Returns
    -------
    float
        The centre of the best bin, in units of ``x``; the value itself where all are equal.

    Raises
    ------
    ArrayError
        For complex, infinite or NaN values.
    ShapeError
        For an array without entries.
    ParameterError
        For fewer than two bins.

    References
    ----------
    N. Otsu, "A threshold selection method from gray-level histograms", IEEE Transactions on Systems, Man, and
    Cybernetics 9 (1979) 62-66.
    """
    xp, values = prepare("otsu", "real", x=x)
    count = integer("otsu", "bins", bins, least=2, odd=False, advice="256 is usual.")
    low, high = float(xp.min(values)), float(xp.max(values))
    if not math.isfinite(high - low):
        raise ArrayError("otsu.x must be finite, got NaN or infinite values. Replace or cut them out first.")
    if low == high:
        return low
    if xp.isdtype(x.dtype, "real floating"):
        single = x.dtype == xp.float32
        centres, weights = _histogram(xp, xp.astype(values, xp.float32) if single else values, count)
    else:
        centres, weights = xp.unique_counts(values)
        weights = xp.astype(weights, xp.float64)
    return float(centres[int(xp.argmax(_between(xp, centres, weights)))])


def coverage(truth: Array, lower: Array, upper: Array) -> float:
    """Share of the true values inside their intervals, mean of (lower <= truth <= upper).

    For calibrated intervals it is near their nominal level: 0.95 for 95 % intervals.

    Parameters
    ----------
    truth, lower, upper
        Real arrays of the same shape.

    Returns
    -------
    float
        From 0 to 1. NaN counts as outside.

    Raises
    ------
    ArrayError, ShapeError
        When the arrays do not belong together, or a lower bound exceeds its upper one.
    """
    xp, t, low, high = prepare("coverage", "real", truth=truth, lower=lower, upper=upper)
    crossed = _count(xp, low > high)
    if crossed:
        raise ArrayError(
            f"coverage.lower must be at most coverage.upper, got {crossed} entries above it. "
            "Check the order of the arguments: truth, lower, upper."
        )
    inside: float = _count(xp, (low <= t) & (t <= high)) / math.prod(t.shape)
    return inside


def _count(xp: Any, mask: Array) -> int:
    return int(xp.sum(xp.astype(mask, xp.int64)))


def _counts(xp: Any, found: Array, true: Array) -> tuple[int, int, int, int]:
    """True positives, false positives, false negatives, true negatives."""
    tp, positive, real = _count(xp, found & true), _count(xp, found), _count(xp, true)
    return tp, positive - tp, real - tp, math.prod(true.shape) - positive - real + tp


def _correlation(tp: int, fp: int, fn: int, tn: int) -> float:
    """Matthews' quotient; the square of it is one exact fraction, rounded once."""
    above = tp * tn - fp * fn
    below = (tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)
    return math.copysign(math.sqrt(above * above / below), above) if above else 0.0


def _histogram(xp: Any, values: Array, bins: int) -> tuple[Array, Array]:
    """Centres and counts of equal bins, the last one closed at the right; sorted, as xp has no bincount."""
    ordered = xp.sort(xp.reshape(values, (-1,)))
    low, high = ordered[0], ordered[-1]
    device = device_of(ordered)
    inner = xp.arange(1, bins, dtype=ordered.dtype, device=device) * ((high - low) / bins) + low
    edges = xp.concat([ordered[:1], inner, ordered[-1:]])
    below = xp.astype(xp.searchsorted(ordered, inner), xp.float64)
    ends = xp.asarray([0.0, float(ordered.shape[0])], dtype=xp.float64, device=device)
    below = xp.concat([ends[:1], below, ends[1:]])
    centres = (edges[1:] + edges[:-1]) / 2
    return xp.astype(centres, xp.float64, copy=False), below[1:] - below[:-1]


def _between(xp: Any, centres: Array, weights: Array) -> Array:
    """p0 p1 (m0 - m1)^2 for a cut after every bin but the last."""
    moments = centres * weights
    p0, s0 = xp.cumulative_sum(weights)[:-1], xp.cumulative_sum(moments)[:-1]
    p1 = xp.flip(xp.cumulative_sum(xp.flip(weights)))[1:]
    s1 = xp.flip(xp.cumulative_sum(xp.flip(moments)))[1:]
    one = xp.ones_like(p0)  # an empty class only arises by rounding; its product is 0 all the same
    return p0 * p1 * (s0 / xp.maximum(p0, one) - s1 / xp.maximum(p1, one)) ** 2
