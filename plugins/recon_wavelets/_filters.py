"""The filters of a wavelet, by PyWavelets' names and conventions.

    low[k]  = sum_t analysis[0, t] x[2 k + t]        t = t0 ... t0 + F - 1,  t0 = 1 - F / 2
    high[k] = sum_t analysis[1, t] x[2 k + t]
    x[2 k + t] += synthesis[0, t] low[k] + synthesis[1, t] high[k]

For an orthogonal wavelet both are the same numbers, and sum_t h[t] h[t + 2 m] = 1 for m = 0, else 0.
PyWavelets' tables keep that rule to 1e-11 only (sym20); it is restored here to rounding by Newton's method,
which moves no coefficient by more than the table's own error.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from recon.errors import ParameterError
from recon.params import nearest

__all__ = ["Filters", "filters"]

_TABLE_ERROR = 1e-9
"""Orthogonal in name only, and refused, where the table is worse than this: 'dmey', at 2e-3."""


@dataclass(frozen=True)
class Filters:
    """Filters (2, F) of one wavelet, low pass first, in ascending order of t."""

    analysis: np.ndarray[Any, Any]
    synthesis: np.ndarray[Any, Any]
    orthonormal: bool

    def __post_init__(self) -> None:
        for taps in (self.analysis, self.synthesis):
            taps.setflags(write=False)  # shared by everyone through the cache

    @property
    def length(self) -> int:
        return int(self.analysis.shape[1])


@cache
def filters(name: str, owner: str) -> Filters:
    """The filters of a wavelet that PyWavelets knows; ``owner`` is what an error text names.

    Raises
    ------
    ParameterError
        For an unknown name, and for 'dmey', which does not invert itself.
    """
    import pywt

    known = pywt.wavelist(kind="discrete")
    if name not in known:
        hint = nearest(name, known)
        advice = f"Did you mean {hint!r}?" if hint else "See pywt.wavelist(kind='discrete')."
        raise ParameterError(
            f"{owner}.wavelet must be a discrete wavelet of PyWavelets, got {name!r}. {advice}"
        )
    wavelet = pywt.Wavelet(name)
    dec_lo, dec_hi, rec_lo, rec_hi = (np.array(taps) for taps in wavelet.filter_bank)
    if not wavelet.orthogonal:
        return Filters(np.stack([dec_lo[::-1], dec_hi[::-1]]), np.stack([rec_lo, rec_hi]), False)
    if np.abs(_autocorrelation(rec_lo)).max() > _TABLE_ERROR:
        raise ParameterError(
            f"{owner}.wavelet must invert itself, got {name!r}, whose filter does so to 2e-3 only. "
            "Use a long symlet, for example 'sym16'."
        )
    low = _orthonormalised(rec_lo)
    signs = np.where(np.arange(low.size) % 2, -1.0, 1.0)
    taps = np.stack([low, signs * low[::-1]])
    return Filters(taps, taps, True)


def _autocorrelation(h: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """sum_t h[t] h[t + 2 m] for m = 0, 1, ..., minus what it should be."""
    full = np.correlate(h, h, "full")[h.size - 1 :: 2].copy()
    full[0] -= 1.0
    return full


def _orthonormalised(h: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The nearest filter that is orthonormal to rounding: Newton steps of least norm."""
    size = h.size
    for _ in range(3):
        padded = np.pad(h, size)
        slope = np.stack(
            [
                padded[size + 2 * m : 2 * size + 2 * m] + padded[size - 2 * m : 2 * size - 2 * m]
                for m in range(size // 2)
            ]
        )
        h = h - np.linalg.lstsq(slope, _autocorrelation(h), rcond=None)[0]
    return h
