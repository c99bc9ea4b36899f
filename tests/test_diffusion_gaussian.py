"""Gaussian priors and mixtures of them: complex images, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from recon_diffusion._examples import smooth_images
from recon_diffusion.gaussian import GaussianPrior, MixturePrior

from recon import Identity, Matrix, Problem
from recon.arrays import ArraySpec
from recon.errors import ParameterError, ShapeError


def rotation(size=4):
    """A unitary matrix."""
    rng = np.random.default_rng(0)
    return np.linalg.qr(rng.standard_normal((size, size)) + 1j * rng.standard_normal((size, size)))[0]


def test_variances_of_complex_images_are_those_of_each_part():
    variances = np.array([4.0, 1.0, 0.25, 0.0])
    mean = np.array([1.0 + 2.0j, 0.0, -1.0j, 3.0])
    V = rotation()
    prior = GaussianPrior(mean, variances, Matrix(V))
    drawn = prior.draw(20_000, seed=1)
    assert drawn.dtype == np.complex128
    coefficients = (drawn - mean) @ V.conj()
    for part in (coefficients.real, coefficients.imag):
        np.testing.assert_allclose(part.var(0), variances, atol=0.2)
    v, s = drawn[0], 0.5
    wanted = mean + V @ (variances / (variances + s**2) * (V.conj().T @ (v - mean)))
    np.testing.assert_allclose(prior.denoise(v, s), wanted, atol=1e-12)


def test_a_complex_mixture_weighs_by_its_density():
    """Density of n complex numbers of variance c per part: (2 pi c)^-n exp(-|v|^2 / 2c); no square root."""
    narrow, wide = GaussianPrior(np.zeros(3) + 0j, 0.1), GaussianPrior(np.zeros(3) + 0j, 2.0)
    prior = MixturePrior((narrow, wide), (0.3, 0.7))
    v, s = np.array([0.4 + 0.3j, -0.2j, 0.5]), 0.2
    totals = np.array([0.1, 2.0]) + s**2
    density = np.array([0.3, 0.7]) * totals**-3.0 * np.exp(-0.5 * np.sum(np.abs(v) ** 2) / totals)
    share = density / density.sum()
    wanted = (share[0] * 0.1 / totals[0] + share[1] * 2.0 / totals[1]) * v
    np.testing.assert_allclose(prior.denoise(v, s), wanted, atol=1e-12)
    assert prior.scale == pytest.approx(np.sqrt(0.3 * 0.1 + 0.7 * 2.0))


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: GaussianPrior(0.0, -1.0), ParameterError, "variances must be real, >= 0 and not all 0"),
        (lambda: GaussianPrior(0.0, np.ones(3) * 1j), ParameterError, "variances must be real"),
        (lambda: GaussianPrior(0.0, 1.0, 3), ParameterError, "basis must be an Operator, got 3"),
        (
            lambda: GaussianPrior(np.zeros((8, 8)), 1.0, smooth_images(6).basis),
            ShapeError,
            r"mean must have the shape \(6, 6\) of its basis, got \(8, 8\)",
        ),
        (
            lambda: GaussianPrior(0.0, np.ones((7, 7)), smooth_images(6).basis),
            ShapeError,
            r"variances must have the shape \(6, 6\) of its basis, got \(7, 7\)",
        ),
        (
            lambda: GaussianPrior.of_covariance(np.zeros(5), np.eye(4)),
            ShapeError,
            r"needs a covariance of shape \(5, 5\) for a mean of shape \(5,\), got \(4, 4\)",
        ),
        (lambda: MixturePrior((1, 2)), ParameterError, "parts must be GaussianPriors"),
        (
            lambda: MixturePrior((GaussianPrior(0.0, 1.0),)),
            ShapeError,
            r"parts must have means of the image's shape, got \(\)",
        ),
        (
            lambda: MixturePrior((GaussianPrior(np.zeros(2), 1.0), GaussianPrior(np.zeros(3), 1.0))),
            ShapeError,
            r"got \(2,\) and \(3,\)",
        ),
    ],
)
def test_what_is_refused(make, error, text):
    with pytest.raises(error, match=text):
        make()


@pytest.mark.parametrize(
    "make",
    [lambda p: p, lambda p: 2.0 * p, lambda p: MixturePrior((p, p))],
    ids=["prior", "scaled", "mixture"],
)
def test_images_that_do_not_fit_are_refused_with_the_problem(make):
    with pytest.raises(ShapeError, match=r"GaussianPrior is of images of shape \(8, 8\), got \(6, 6\)"):
        Problem(Identity(ArraySpec((6, 6))), np.zeros((6, 6)), make(smooth_images(8)))
    with pytest.raises(ShapeError, match="GaussianPrior is of real images, got complex ones"):
        Problem(Identity(ArraySpec((8, 8), "complex")), np.zeros((8, 8)) + 0j, make(smooth_images(8)))


def test_axes_in_front_are_images_of_their_own():
    volume = Problem(Identity(ArraySpec((3, 6, 6))), np.zeros((3, 6, 6)), smooth_images(6))
    assert volume.prior.denoise(volume.data, 0.1).shape == (3, 6, 6)
