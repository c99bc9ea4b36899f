"""A small problem with a Gaussian prior, for examples, tests and ``recon info``."""

from __future__ import annotations

from typing import Any

import numpy as np

from recon import Diagonal, Kronecker, Matrix, Problem
from recon_diffusion.gaussian import GaussianPrior

__all__ = ["cosines", "gaussian_blur", "hidden_pixels", "smooth_images"]


def cosines(size: int) -> Any:
    """The orthonormal cosines of a signal, as columns."""
    k, n = np.arange(size), np.arange(size)
    basis = np.cos(np.pi * (n[:, None] + 0.5) * k[None, :] / size) * np.sqrt(2.0 / size)
    basis[:, 0] *= np.sqrt(0.5)
    return basis


def smooth_images(size: int, decay: float = 3.0) -> GaussianPrior:
    """Images (size, size) around 0.5 whose cosine coefficients have variance (1 + k^2 + l^2)^-decay/2, k, l >= 0."""
    k = np.arange(size)
    variances = (1.0 + k[:, None] ** 2 + k[None, :] ** 2) ** (-0.5 * decay)
    basis = cosines(size)
    return GaussianPrior(np.full((size, size), 0.5), variances, Kronecker((Matrix(basis), Matrix(basis))))


def gaussian_blur(size: int = 8) -> Problem:
    """A blurred smooth image with noise of level 0.02."""
    prior = smooth_images(size)
    rows = np.exp(-0.5 * (np.subtract.outer(np.arange(size), np.arange(size)) / 1.0) ** 2)
    rows /= rows.sum(axis=1, keepdims=True)
    blur = Kronecker((Matrix(rows), Matrix(rows)))
    truth = prior.draw(1, seed=3)[0]
    noise = 0.02 * np.random.default_rng(4).standard_normal((size, size))
    return Problem(blur, blur @ truth + noise, prior, noise=0.02)


def hidden_pixels(size: int = 8) -> Problem:
    """A smooth image with half of its pixels hidden and next to no noise."""
    prior = smooth_images(size)
    seen = Diagonal((np.add.outer(np.arange(size), np.arange(size)) % 2 == 0).astype(np.float64))
    noise = 0.001 * np.random.default_rng(4).standard_normal((size, size))
    return Problem(seen, seen @ (prior.draw(1, seed=3)[0] + noise), prior, noise=0.001)
