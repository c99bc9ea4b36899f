"""The ramp filter of filtered back projection, sampled in space.

    g[0] = 1 / (4 d^2),   g[n odd] = -1 / (pi n d)^2,   g[n even] = 0,   q = d (g * p)

Sampled so, and not as |omega|, it has no offset at zero frequency. Where bins are equally spaced in angle (a
curved detector) g[n] is multiplied with (n a / sin n a)^2, a the angle between two bins. A window on
w = omega / omega_Nyquist makes it smoother: ramp 1, shepp-logan sinc(w / 2), cosine cos(pi w / 2), hamming
0.54 + 0.46 cos(pi w), hann 0.5 + 0.5 cos(pi w).

Source: A. C. Kak, M. Slaney, "Principles of Computerized Tomographic Imaging", IEEE Press 1988, sections 3.3
(parallel), 3.4.1 (equal angles) and 3.4.2 (equal distances).
"""

from __future__ import annotations

import math
from typing import Any, Literal, get_args

import numpy as np

from recon.errors import ParameterError
from recon.params import short

__all__ = ["Filter", "check_filter", "ramp_filter"]

Filter = Literal["ramp", "shepp-logan", "cosine", "hamming", "hann"]
Floats = np.ndarray[Any, Any]


def check_filter(name: Any, owner: str) -> None:
    """Refuse a name that is no filter; `owner` is the function that was called."""
    if name not in get_args(Filter):
        names = ", ".join(get_args(Filter))
        raise ParameterError(f"{owner} filter must be one of {names}, got {short(name)}. Choose one of them.")


def ramp_filter(sinograms: Floats, spacing: float, name: Filter = "ramp", angle: float = 0.0) -> Floats:
    """Convolve along the last axis with the windowed ramp.

    Parameters
    ----------
    sinograms
        NumPy array (..., bins), zero beyond its ends; its precision is kept.
    spacing
        Distance d between bins, at the axis of rotation.
    name
        The window.
    angle
        Angle a between bins that are equally spaced in angle, in radians; 0 for bins on a line.
    """
    import scipy.fft

    bins = sinograms.shape[-1]
    length = scipy.fft.next_fast_len(2 * bins, real=True)
    lags = np.arange(bins)
    half = np.zeros(bins)
    half[0] = 1 / (4 * spacing**2)
    half[1::2] = -1 / (math.pi * lags[1::2] * spacing) ** 2
    if angle:
        half[1:] *= (lags[1:] * angle / np.sin(lags[1:] * angle)) ** 2
    ramp = np.zeros(length)
    ramp[:bins] = half
    ramp[length - bins + 1 :] = half[:0:-1]
    gain = spacing * scipy.fft.rfft(ramp).real
    w = np.linspace(0, 1, gain.size) * (2 * (gain.size - 1) / length)
    window = {
        "ramp": np.ones_like(w),
        "shepp-logan": np.sinc(w / 2),
        "cosine": np.cos(math.pi * w / 2),
        "hamming": 0.54 + 0.46 * np.cos(math.pi * w),
        "hann": 0.5 + 0.5 * np.cos(math.pi * w),
    }[name]
    spectrum = scipy.fft.rfft(sinograms, length, axis=-1) * (gain * window).astype(sinograms.dtype)
    return np.ascontiguousarray(scipy.fft.irfft(spectrum, length, axis=-1)[..., :bins])
