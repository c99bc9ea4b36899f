"""Thresholds from the data: the soft threshold of each band that has the least estimated risk.

    risk of t     sum_i min(|c_i|, t)^2 + 2 s^2 #{|c_i| > t} - n s^2           c = s noise + what is looked for
    t             where that is least among 0 and the |c_i|;  s sqrt(2 ln n), which lets next to no noise through,
                  where its estimate is no more than s^2 sqrt(n) / 2 above the least: within the scatter of both

The estimate is without bias for any transform, as each coefficient is thresholded by itself (Stein 1981); complex
coefficients have 2 - t / |c_i| in place of 1 in the count, and twice the noise. SureShrink decides for the large
threshold by the energy of the band; that took bands of texture for noise wherever sigma was 3 % too large (up to
0.9 dB lost on photographs).

Source: D. L. Donoho, I. M. Johnstone, J. Am. Stat. Assoc. 90 (1995) 1200, doi:10.1080/01621459.1995.10476626
"""

from __future__ import annotations

import math
import numbers
from typing import Any

import numpy as np

from recon.arrays import Array, as_numpy, is_complex
from recon.errors import CapabilityError, ParameterError
from recon.operator import Operator, capability
from recon.params import short
from recon_wavelets.noise import estimate_noise, noise_levels

__all__ = ["sure_weights"]


def sure_weights(transform: Operator, image: Array, sigma: float | None = None) -> Array:
    """The weight of every coefficient of ``L1(weights) @ transform`` for denoising an image, one per band.

    Parameters
    ----------
    transform
        `Wavelet`, `UndecimatedWavelet` or `Starlet`.
    image
        Noisy images; batch axes share the weights.
    sigma
        Standard deviation of the white noise (complex images: of real and imaginary part each). By default that
        of :func:`estimate_noise`, root mean square over a batch.

    Returns
    -------
    Array
        Real, one number per band, 0 in the coarsest; of the shape of one sample's coefficients or broadcast to it.

    Raises
    ------
    CapabilityError
        When the transform has no bands.
    ParameterError
        When sigma is not > 0.

    Notes
    -----
    Cost: one transform and a sort of its coefficients.

    Examples
    --------
    >>> weights = sure_weights(W, image)
    >>> denoised = W.H @ recon.L1(weights).prox(W @ image, 1.0)
    """
    bands: Any = capability(transform, "bands")
    spread: Any = capability(transform, "spread")
    if bands is None or spread is None:
        raise CapabilityError(
            f"sure_weights.transform must have bands, got {transform!s}. Take Wavelet, UndecimatedWavelet or Starlet."
        )
    if sigma is None:
        axes = len(transform.domain.shape)  # type: ignore[union-attr]
        sigma = float(np.sqrt(np.mean(np.asarray(estimate_noise(image, axes)) ** 2)))
    if not (isinstance(sigma, numbers.Real) and sigma > 0):
        raise ParameterError(
            f"sure_weights.sigma must be > 0, got {short(sigma)}. An image without noise needs no threshold."
        )
    levels = noise_levels(transform)
    parts = bands(transform @ image)
    weights = {band: _threshold(as_numpy(c).ravel(), sigma * levels[band]) for band, c in parts.items()}
    coarsest = next(iter(parts))
    return spread(weights | {coarsest: 0.0}, image)


def _threshold(c: Any, sigma: float) -> float:
    """The threshold of one band, in units in which its noise is 1."""
    parts = 2 if is_complex(c) else 1
    size = np.sort(np.abs(c).astype(np.float64)) / sigma
    n = size.size
    candidates = np.concatenate([[0.0], size])
    above = np.concatenate([[n], n - 1.0 - np.arange(n)])  # how many lie above each
    freedom = above
    if parts == 2:
        inverse = np.cumsum((1 / np.where(size > 0, size, np.inf))[::-1])[::-1]
        freedom = 2 * above - candidates * np.concatenate([inverse, [0.0]])
    risk = np.cumsum(candidates**2) + above * candidates**2 + 2 * freedom
    best = int(np.argmin(risk))
    universal = math.sqrt(2 * math.log(max(n, 2)))
    if risk[np.searchsorted(candidates, universal) - 1] <= risk[best] + 0.5 * math.sqrt(n):
        return sigma * universal
    return sigma * float(candidates[best])
