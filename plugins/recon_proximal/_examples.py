"""Small problems that the solvers' ``example`` methods share."""

from __future__ import annotations

import numpy as np

import recon


def sparse_recovery(prior: recon.Prior | None = None) -> recon.Problem:
    """A Gaussian matrix 40 x 80 and an image with 5 spikes, 1 % noise (compressed sensing)."""
    rng = np.random.default_rng(0)
    x = np.zeros(80)
    x[rng.choice(80, 5, replace=False)] = rng.standard_normal(5)
    operator = recon.Matrix(rng.standard_normal((40, 80)) / np.sqrt(40))
    data = operator @ x
    data = data + 0.01 * np.abs(data).mean() * rng.standard_normal(40)
    return recon.Problem(operator, data, prior)


def fading(prior: recon.Prior | None = None) -> recon.Problem:
    """24 samples, the later the weaker, of a signal with 4 spikes, 1 % noise: its data_prox is one division."""
    rng = np.random.default_rng(2)
    x = np.zeros(24)
    x[rng.choice(24, 4, replace=False)] = rng.standard_normal(4)
    operator = recon.Diagonal(np.linspace(1.0, 0.2, 24), (24,))
    return recon.Problem(operator, operator @ x + 0.01 * rng.standard_normal(24), prior)


def weighing(prior: recon.Prior | None = None, loss: recon.Loss | None = None) -> recon.Problem:
    """A nonnegative matrix 60 x (6 x 8) on a piecewise constant image, 1 % noise (a toy tomography)."""
    rng = np.random.default_rng(1)
    image = np.zeros((6, 8))
    image[1:4, 2:6] = 1.0
    image[4:, 5:] = 0.5
    matrix = rng.random((60, 48)) * (rng.random((60, 48)) < 0.3)
    operator = recon.Matrix(matrix, domain_shape=(6, 8))
    data = operator @ image
    data = np.abs(data + 0.01 * data.mean() * rng.standard_normal(60))
    return recon.Problem(operator, data, prior, loss or recon.LeastSquares())
