"""From an estimate x of the clean image at level s to an image z at the next level s' < s.

    eps = (z - x) / s                                     the noise that an estimate x sees in z
    ddim       x + s' (sqrt(1 - eta^2) eps + eta n)       Song, Meng and Ermon 2021, equation 12, in these units
    ancestral  x + (s' / s)^2 (z - x) + s' sqrt(1 - (s' / s)^2) n     exact for p(z' | z, x)
    renoise    x + s' n

with n standard normal. ``eta`` = 1 in ddim is renoising; ancestral is ddim with eta = sqrt(1 - (s' / s)^2).
"""

from __future__ import annotations

import math

from recon.arrays import Array

__all__ = ["ancestral", "ddim", "renoise"]


def ddim(x: Array, eps: Array, after: float, noise: Array, eta: float) -> Array:
    """x + s' (sqrt(1 - eta^2) eps + eta n)."""
    if after == 0.0:
        return x
    return x + after * (math.sqrt(1.0 - eta**2) * eps + eta * noise)


def ancestral(z: Array, x: Array, s: float, after: float, noise: Array) -> Array:
    """A draw from p(z' | z, x), where z is z' with more noise."""
    share = (after / s) ** 2
    return x + share * (z - x) + after * math.sqrt(1.0 - share) * noise


def renoise(x: Array, after: float, noise: Array) -> Array:
    """x + s' n."""
    return x + after * noise
