"""Distances between an estimate x and the truth t, and the angle between two spectra.

R is the data range, scale(t) what the caller normalises by:

    mse = mean |x - t|^2          nrmse = sqrt(mse) / scale(t)
    psnr = 10 log10(R^2 / mse)    sre = 10 log10(sum |t|^2 / sum |x - t|^2)
    sad = angle(x, t) along one axis
"""

from __future__ import annotations

import math
from typing import Any, Literal

from recon.arrays import Array
from recon.metrics._arguments import axis_numbers, choice, number, prepare

__all__ = ["mse", "nrmse", "psnr", "sad", "sre"]


def mse(x: Array, truth: Array) -> float:
    """Mean squared error, mean |x - truth|^2.

    Parameters
    ----------
    x, truth
        Real or complex arrays of the same shape.

    Returns
    -------
    float
        In the squared units of the data.

    Raises
    ------
    ArrayError, ShapeError
        When the arrays do not belong together.
    """
    xp, t, estimate = prepare("mse", "numeric", truth=truth, x=x)
    return _mean_square(xp, estimate - t)


def nrmse(x: Array, truth: Array, *, normalization: Literal["truth", "range", "mean"] = "truth") -> float:
    """Normalised root mean squared error.

    * ``"truth"``: ||x - truth|| / ||truth||
    * ``"range"``: sqrt(mse) / (max truth - min truth), of |truth| where it is complex
    * ``"mean"``: sqrt(mse) / |mean truth|

    Parameters
    ----------
    x, truth
        Real or complex arrays of the same shape.
    normalization
        What the error is measured against.

    Returns
    -------
    float
        Without units. Where the scale is 0: 0.0 for an exact estimate, else infinity.

    Raises
    ------
    ArrayError, ShapeError
        When the arrays do not belong together.
    ParameterError
        For an unknown normalization.
    """
    xp, t, estimate = prepare("nrmse", "numeric", truth=truth, x=x)
    choice("nrmse", "normalization", normalization, ("truth", "range", "mean"))
    error = math.sqrt(_mean_square(xp, estimate - t))
    if normalization == "truth":
        scale = math.sqrt(_mean_square(xp, t))
    elif normalization == "mean":
        scale = float(xp.abs(xp.mean(t)))
    else:
        size = xp.abs(t) if xp.isdtype(t.dtype, "complex floating") else t
        scale = float(xp.max(size) - xp.min(size))
    if scale == 0.0:
        return error * math.inf if error else 0.0  # NaN stays NaN
    return error / scale


def psnr(x: Array, truth: Array, *, data_range: float) -> float:
    """Peak signal-to-noise ratio, 10 log10(data_range^2 / mean |x - truth|^2).

    Parameters
    ----------
    x, truth
        Real or complex arrays of the same shape.
    data_range
        Difference between the largest and the smallest value that the data can take, in units of the data.
        Never guessed: 255 for 8-bit images, 1.0 for images scaled to [0, 1].

    Returns
    -------
    float
        In dB; infinity for an exact estimate.

    Raises
    ------
    ArrayError, ShapeError
        When the arrays do not belong together.
    ParameterError
        For a data range that is not positive and finite.
    """
    xp, t, estimate = prepare("psnr", "numeric", truth=truth, x=x)
    peak = number("psnr", "data_range", data_range, zero=False, advice="Use 1.0 for images in [0, 1].")
    return _decibel(peak, math.sqrt(_mean_square(xp, estimate - t)))


def sre(x: Array, truth: Array) -> float:
    """Signal-to-reconstruction error, 10 log10(||truth||^2 / ||truth - x||^2).

    Parameters
    ----------
    x, truth
        Real or complex arrays of the same shape.

    Returns
    -------
    float
        In dB; infinity for an exact estimate, otherwise minus infinity where the truth is all zero.

    Raises
    ------
    ArrayError, ShapeError
        When the arrays do not belong together.

    References
    ----------
    M.-D. Iordache, J. M. Bioucas-Dias, A. Plaza, "Sparse unmixing of hyperspectral data", IEEE Transactions
    on Geoscience and Remote Sensing 49 (2011) 2014-2039, section IV.
    """
    xp, t, estimate = prepare("sre", "numeric", truth=truth, x=x)
    return _decibel(math.sqrt(_mean_square(xp, t)), math.sqrt(_mean_square(xp, estimate - t)))


def sad(x: Array, truth: Array, *, axis: int = -1) -> Array:
    """Spectral angle distance along an axis, arccos(<x, truth> / (||x|| ||truth||)).

    Computed as 2 atan2(||u - v||, ||u + v||) with u, v the spectra scaled to norm 1: the same angle, but
    exact to rounding where it is tiny, where the arccosine loses half of the digits.

    Parameters
    ----------
    x, truth
        Real arrays of the same shape.
    axis
        The spectral axis.

    Returns
    -------
    Array
        Angles in radians, 0 to pi, along the remaining axes, in the library and precision of ``x`` (double
        for integers). A zero spectrum is at pi/2 from every other one and at 0 from itself.

    Raises
    ------
    ArrayError, ShapeError
        When the arrays do not belong together, or have no axis.
    ParameterError
        For an axis that is not there.

    References
    ----------
    F. A. Kruse et al., "The spectral image processing system (SIPS)", Remote Sensing of Environment 44
    (1993) 145-163. W. Kahan, "How futile are mindless assessments of roundoff in floating-point
    computation?" (2006), section 12.
    """
    xp, t, estimate = prepare("sad", "real", truth=truth, x=x)
    (along,) = axis_numbers("sad", "axis", (axis,), t.ndim)
    u, v = _unit(xp, estimate, along), _unit(xp, t, along)
    angle = 2 * xp.atan2(_length(xp, u - v, along), _length(xp, u + v, along))
    precise = x.dtype if xp.isdtype(x.dtype, "real floating") else xp.float64
    return xp.astype(xp.squeeze(angle, axis=along), precise, copy=False)


def _mean_square(xp: Any, x: Array) -> float:
    return float(xp.mean(xp.abs(x) ** 2))


def _decibel(signal: float, error: float) -> float:
    if error == 0.0:
        return math.inf
    if signal == 0.0:
        return math.nan if math.isnan(error) else -math.inf
    return 20.0 * (math.log10(signal) - math.log10(error))  # their quotient could leave the range of floats


def _length(xp: Any, x: Array, axis: int) -> Array:
    return xp.sqrt(xp.sum(x * x, axis=axis, keepdims=True))


def _unit(xp: Any, x: Array, axis: int) -> Array:
    length = _length(xp, x, axis)
    return x / xp.where(length > 0, length, xp.ones_like(length))
