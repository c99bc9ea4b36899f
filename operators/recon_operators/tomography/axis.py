"""The axis of rotation of a parallel scan, found from its sinogram.

View theta + pi is view theta turned round about the bin m_0 that the axis falls on: p(theta + pi, m) =
p(theta, 2 m_0 - m). From the views over half a circle, a guess of m_0 therefore makes the other half. A full
sinogram of something within radius r has a two-dimensional spectrum (frequencies k of theta, omega of m) that is
almost empty where |k| > |omega| r; a wrong guess breaks it at theta = 0 and pi, which spreads energy there:

    m_0 = argmin sum of |P(k, omega)|^2 over |k| > 0.6 |omega| M + 2, omega up to half of Nyquist's

r = 0.6 M bins is a little more than half the detector: with less, the object's own energy counts, which other
guesses make smaller (M / 4 is some bins wrong for an object as wide as the detector).

What the short side of the detector does not see of the turned half is filled with the views that it has, which
agree at theta = 0 and pi. The guesses are all whole bins first, but for those that turn the object out of sight, then
those around the best one.

Source: N. T. Vo et al., "Reliable method for calculating the center of rotation in parallel-beam tomography",
Opt. Express 22 (2014) 19078, doi:10.1364/OE.22.019078. Shape of the spectrum: P. R. Edholm et al., Proc. SPIE
671 (1986) 8.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from recon.arrays import Array, ArraySpec, as_numpy, check_array
from recon.constants import constant
from recon.errors import ArrayError, ParameterError, ShapeError
from recon.params import short

__all__ = ["find_axis"]

logger = logging.getLogger("recon")

Floats = np.ndarray[Any, np.dtype[np.float64]]

_WIDEST = math.radians(12)  # gap between views over which the spectrum says nothing
_RADIUS = 0.6  # r in detector widths
_FEWEST = 16  # bins
_COMMON = 0.1  # part of the object that the turned half must show: filling alone fits too well
_BLEND = 4.0  # bins over which the turned half fades into the filling


def find_axis(sinogram: Array, angles: Any, *, reach: float = 0.25) -> float:
    """Find how far the axis of rotation is from the middle of the detector.

    Parameters
    ----------
    sinogram
        Line integrals (..., views, bins) of parallel rays, of one slice or of several with one axis.
    angles
        View angles in radians, about equally spaced; half a circle or more.
    reach
        Largest shift that is looked for, as a fraction of the number of bins, in (0, 0.5).

    Returns
    -------
    float
        What to give :class:`ParallelBeam` as `detector_shift`, in bins. The axis falls on bin
        (M - 1) / 2 - shift.

    Raises
    ------
    ParameterError
        When the views do not go round half a circle, or `reach` breaks its rule.
    ShapeError, ArrayError
        When the sinogram does not fit the angles, has fewer than 16 bins, or is constant or not finite.

    Notes
    -----
    Good to about 0.2 bin on clean data and 0.5 bin with 10 % noise; the object may reach beyond the detector. A
    warning is logged where the largest shift of all fits best.
    Cost: four transforms of the sinogram per guess, reach M guesses on either side: 1 to 2 seconds for 180
    views of 640 bins.

    Examples
    --------
    >>> shift = find_axis(sinogram, angles)
    >>> A = ParallelBeam((256, 256), angles, 256, detector_shift=shift)
    """
    if isinstance(reach, bool) or not isinstance(reach, int | float) or not 0 < reach < 0.5:
        raise ParameterError(
            f"find_axis reach must be in (0, 0.5), got {short(reach)}. It is a fraction of the bins."
        )
    theta = constant(angles, "find_axis angles").ravel()
    if theta.dtype.kind != "f" or theta.size == 0:
        raise ArrayError(
            f"find_axis angles must be real numbers in radians, got {short(angles)}. Give one a view."
        )
    bins = sinogram.shape[-1] if getattr(sinogram, "ndim", 0) > 1 else 1
    check_array(sinogram, ArraySpec((theta.size, bins)), "find_axis sinogram")
    if bins < _FEWEST:
        raise ShapeError(
            f"find_axis sinogram must have {_FEWEST} bins or more, got {bins}. Bins are the last axis."
        )
    values = as_numpy(sinogram).reshape(-1, theta.size, bins).astype(np.float64)
    if not (np.isfinite(values).all() and np.ptp(values, axis=-1).any()):
        raise ArrayError(
            "find_axis sinogram must be finite and not constant, got NaN, infinity or nothing to see. "
            "Replace those entries, or take another slice."
        )
    half = values[:, _half_circle(theta)]
    energy, profile = _energy_outside(half), np.abs(half.mean(axis=(0, 1)))

    from scipy.optimize import minimize_scalar

    furthest = max(int(reach * bins), 1)
    guesses = sorted(range(-furthest, furthest + 1), key=abs)
    best = min((s for s in guesses if _measured(bins, s) @ profile >= _COMMON * profile.sum()), key=energy)
    if abs(best) == furthest:
        logger.warning(
            "find_axis: the best shift of all is the largest, %d bins. The axis may be beyond: give a larger reach.",
            best,
        )
    found = minimize_scalar(
        energy, bounds=(best - 1.0, best + 1.0), method="bounded", options={"xatol": 5e-3}
    )
    return float(found.x)


def _half_circle(theta: Floats) -> Any:
    """The numbers of the views over half a circle from the one behind the widest gap, in the order of their angles."""
    ascending = np.sort(np.mod(theta, 2 * math.pi))
    gaps = np.diff(ascending, prepend=ascending[-1] - 2 * math.pi)
    turned = np.mod(theta - ascending[np.argmax(gaps)] + 1e-9, 2 * math.pi)
    order = np.argsort(turned, kind="stable")
    order = order[turned[order] < math.pi - 1e-6]
    widest = float(np.diff(turned[order], append=math.pi).max())
    if widest > _WIDEST:
        raise ParameterError(
            f"find_axis angles must go round half a circle with gaps below {math.degrees(_WIDEST):.0f} degrees, got "
            f"one of {math.degrees(widest):.0f}. Find the shift from a calibration scan instead."
        )
    return order


def _measured(bins: int, shift: float) -> Floats:
    """How much of each bin of the turned half is measured, 0 to 1; the rest is filling."""
    source = bins - 1 - np.arange(bins) - 2 * shift  # the bin that it reads
    return np.clip((np.minimum(source, bins - 1 - source) + 0.5) / _BLEND, 0, 1)


def _energy_outside(half: Floats) -> Callable[[float], float]:
    """The energy outside the bow tie as a function of the shift, for views (slices, views, bins) of half a circle."""
    import scipy.fft

    views, bins = half.shape[-2:]
    length = scipy.fft.next_fast_len(2 * bins, real=True)
    turned, filling = half[..., ::-1], half[..., ::-1, :]
    way = np.linspace(0, 1, length - bins + 2)[1:-1]  # from the last bin back to the first: no jump
    bridge = turned[..., -1:] * (1 - way) + turned[..., :1] * way
    spectrum = scipy.fft.rfft(np.concatenate([turned, bridge], axis=-1), axis=-1)
    frequency = 2 * math.pi * np.arange(length // 2 + 1) / length

    columns = np.arange(2, max(bins // 4, 2) + 1)  # up to half of Nyquist's; the first two leak
    omega = 2 * math.pi * columns / bins
    k = np.abs(scipy.fft.fftfreq(2 * views, 1 / (2 * views)))
    outside = k[:, None] > _RADIUS * bins * omega + 2

    def rows(views: Floats) -> Any:
        return scipy.fft.rfft(views, axis=-1)[..., columns]

    measured = rows(half)

    def energy(shift: float) -> float:
        moved = scipy.fft.irfft(spectrum * np.exp(2j * shift * frequency), length, axis=-1)[..., :bins]
        share = _measured(bins, shift)
        other = share * moved + (1 - share) * filling
        circle = scipy.fft.fft(np.concatenate([measured, rows(other)], axis=-2), axis=-2)[..., outside]
        return float((circle.real**2 + circle.imag**2).mean())

    return energy
