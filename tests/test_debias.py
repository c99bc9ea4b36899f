"""Debiasing on the multiresolution support: the least-squares fit on the support, exactly; flux; real data; texts."""

import numpy as np
import pytest
from recon_operators.convolution import Convolution, wiener
from recon_wavelets import (
    Starlet,
    UndecimatedWavelet,
    Wavelet,
    debias,
    estimate_noise,
    multiresolution_support,
    noise_levels,
)

import recon
from recon import linalg
from recon.arrays import as_numpy
from recon.errors import ArrayError, CapabilityError, ParameterError, ShapeError

SIGMA = 0.005
PLACES = ((14, 16), (15, 46), (44, 18), (47, 44))


def gaussian(shape, center, width):
    r, c = np.indices(shape)
    return np.exp(-((r - center[0]) ** 2 + (c - center[1]) ** 2) / (2 * width**2))


def field(shape=(64, 64)):
    """Four galaxies, blurred, with noise: (A, truth, data)."""
    truth = sum((1 + k) * gaussian(shape, place, 1.5 + 0.5 * k) for k, place in enumerate(PLACES))
    psf = gaussian((15, 15), (7, 7), 1.6)
    A = Convolution(psf / psf.sum(), shape)
    return A, truth, A @ truth + SIGMA * np.random.default_rng(0).standard_normal(shape)


def detected(A, y, W, k=4.0):
    return multiresolution_support(
        A.H @ y, W, {b: SIGMA * s for b, s in noise_levels(W, A, draws=0).items()}, k
    )


def apertures(x, radius=8.0):
    r, c = np.indices(x.shape)
    return np.array([x[np.hypot(r - i, c - j) < radius].sum() for i, j in PLACES])


def test_the_bias_of_a_soft_threshold_is_undone():
    A, truth, y = field()
    W = Starlet((64, 64), 4)
    start = wiener(A, y)
    c = W @ start
    planes = np.arange(5).reshape(-1, 1, 1) < 4
    biased = W.synthesis(np.where(planes, c - np.clip(c, -0.1, 0.1), c))
    found = debias(biased, A, y, detected(A, y, W), W)
    error = (
        np.abs(apertures(biased) / apertures(truth) - 1),
        np.abs(apertures(found.x) / apertures(truth) - 1),
    )
    assert error[0].max() > 0.03
    assert error[1].max() < 0.01
    assert np.linalg.norm(found.x - truth) < 0.5 * np.linalg.norm(biased - truth)
    assert found.residuals[-1] < 0.05 * found.residuals[0]
    assert len(found.residuals) == len(found.losses) <= 11
    assert all(np.diff(found.losses) < 0)


def small(kind="real"):
    rng = np.random.default_rng(1)
    W = Starlet((5, 6), 2, kind=kind)
    matrix = rng.standard_normal((18, 30))
    if kind == "complex":
        matrix = matrix + 1j * rng.standard_normal((18, 30))
    A = recon.Matrix(matrix, domain_shape=(5, 6))
    x, y = rng.standard_normal((5, 6)), rng.standard_normal(18)
    if kind == "complex":
        x, y = x + 1j * rng.standard_normal((5, 6)), y + 1j * rng.standard_normal(18)
    return A, W, x, y, rng.random((3, 5, 6)) < 0.1


@pytest.mark.parametrize("kind", ["real", "complex"])
def test_it_ends_at_the_least_squares_fit_on_the_support(kind, to):
    A, W, x, y, M = small(kind)
    found = debias(to(x), A, to(y), to(M), W, iterations=100, tol=1e-12)
    basis = linalg.dense(W.H)[:, M.ravel()]
    c = np.linalg.lstsq(linalg.dense(A) @ basis, y - A @ x, rcond=None)[0]
    wanted = x + (basis @ c).reshape(5, 6)
    np.testing.assert_allclose(as_numpy(found.x), wanted, rtol=0, atol=1e-8 * np.abs(wanted).max())
    assert np.linalg.norm(M * (W @ (A.H @ (y - A @ wanted)))) <= 1e-10 * found.residuals[0]
    assert found.residuals[-1] <= 1e-12 * found.residuals[0]
    # what is orthogonal to the planes of the support has not moved
    apart = np.eye(30) - basis @ np.linalg.pinv(basis)
    moved = np.abs(apart @ (as_numpy(found.x) - x).ravel())
    assert moved.max() <= 1e-10 * np.abs(as_numpy(found.x) - x).max()


def test_the_record_is_that_of_the_image():
    A, W, x, y, M = small()
    found = debias(x, A, y, M, W, iterations=3)
    assert found.residuals[-1] == pytest.approx(np.linalg.norm(M * (W @ (A.H @ (y - A @ found.x)))), rel=1e-8)
    assert found.losses[-1] == pytest.approx(0.5 * np.linalg.norm(y - A @ found.x) ** 2, rel=1e-10)


def test_with_bounds():
    A, truth, y = field()
    W = Starlet((64, 64), 4, generation=2)
    start = 0.8 * wiener(A, y) - 0.02
    found = debias(start, A, y, detected(A, y, W), W, iterations=20, nonnegative=True)
    assert found.x.min() == 0.0
    assert all(np.diff(found.losses) < 0)
    assert len(found.losses) > 5
    error = np.abs(apertures(found.x) / apertures(truth) - 1).max()
    assert error < 0.5 * np.abs(apertures(start) / apertures(truth) - 1).max()


@pytest.mark.parametrize("nonnegative", [False, True])
def test_single_precision_and_scale(nonnegative):
    A, W, x, y, M = small()
    options = {"iterations": 6, "nonnegative": nonnegative}
    wanted = debias(x, A, y, M, W, **options).x
    for unit in (1e-20, 1e20):
        scaled = debias(unit * x, A, unit * y, M, W, **options).x
        np.testing.assert_allclose(scaled / unit, wanted, rtol=0, atol=1e-9 * np.abs(wanted).max())
    single = debias(x.astype(np.float32), A, y.astype(np.float32), M, W, **options).x
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, wanted, rtol=0, atol=1e-3 * np.abs(wanted).max())


def test_a_batch_shares_its_steps_and_may_share_its_support():
    A, W, x, y, M = small()
    rng = np.random.default_rng(2)
    xs, ys = np.stack([x, rng.standard_normal(x.shape)]), np.stack([y, rng.standard_normal(y.shape)])
    both = debias(xs, A, ys, M, W, iterations=100, tol=1e-13)
    turned = debias(xs[::-1].copy(), A, ys[::-1].copy(), np.stack([M, M]), W, iterations=100, tol=1e-13)
    np.testing.assert_allclose(both.x, turned.x[::-1], rtol=0, atol=1e-9)
    for k in range(2):
        alone = debias(xs[k], A, ys[k], M, W, iterations=100, tol=1e-13)
        np.testing.assert_allclose(both.x[k], alone.x, rtol=0, atol=1e-7)


def test_nothing_to_do():
    A, W, x, y, M = small()
    for support, data in ((0 * M > 0, y), (M, A @ x)):
        found = debias(x, A, data, support, W)
        assert (found.x == x).all()
        assert len(found.residuals) == 1


@pytest.mark.parametrize(
    "W", [Starlet((64, 64), 3), UndecimatedWavelet((64, 64), "haar", 2), Wavelet((64, 64), "db2", 3)], ids=str
)
def test_support(W, to):
    noise = np.random.default_rng(3).standard_normal((2, 64, 64))
    M = as_numpy(multiresolution_support(to(noise), W, 1.0))
    assert M.dtype == bool
    bands = W.bands(M.astype(float))
    for band, part in bands.items():
        if "d" not in band[1]:
            assert part.all()
        elif part.size > 2000:
            assert 0.0005 < part.mean() < 0.006  # P(|n| > 3) = 0.0027
    noise[:, 30, 30] += 1e6
    again = W.bands(as_numpy(multiresolution_support(to(noise), W, 1.0, k=5.0)).astype(float))
    assert all(part.any() for part in again.values())
    levels = dict.fromkeys(bands, 1e9)
    nothing = W.bands(as_numpy(multiresolution_support(to(noise), W, levels)).astype(float))
    assert not any(part.any() for band, part in nothing.items() if "d" in band[1])


def test_support_of_a_back_projection_holds_the_sources():
    A, truth, y = field()
    W = Starlet((64, 64), 4)
    M = detected(A, y, W)[:4]
    bright = truth > 0.5 * truth.max()
    assert M[1:, bright].mean() > 0.9
    empty = detected(A, y - A @ truth, W)[:4]
    assert empty.mean() < 1e-3
    assert estimate_noise(y) == pytest.approx(SIGMA, rel=0.1)


A0, W0, X0, Y0, M0 = small()


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (
            lambda: multiresolution_support(X0, recon.Identity(W0.domain), 1.0),
            CapabilityError,
            "multiresolution_support.transform must have bands, got Identity. Take Starlet",
        ),
        (
            lambda: multiresolution_support(X0, W0, 1.0, k=0.0),
            ParameterError,
            "multiresolution_support.k must be > 0, got 0.0. Take 3 to 5.",
        ),
        (
            lambda: multiresolution_support(X0, W0, 0.0),
            ParameterError,
            "multiresolution_support.noise must be > 0 in every band, got other levels",
        ),
        (
            lambda: multiresolution_support(X0, W0, "loud"),
            ParameterError,
            "multiresolution_support.noise must be a number > 0 or one per band, got 'loud'.",
        ),
        (
            lambda: debias(X0, A0, np.stack([Y0, Y0]), M0, W0),
            ShapeError,
            r"debias.data must have the batch axes \(\) of x, got \(2,\).",
        ),
        (
            lambda: debias(X0, A0, Y0, M0.astype(float), W0),
            ArrayError,
            "debias.support must hold booleans, got .*. Make it with multiresolution_support",
        ),
        (
            lambda: debias(X0, A0, Y0, M0[1:], W0),
            ShapeError,
            r"debias.support must have the shape \(3, 5, 6\) of the coefficients, got \(2, 5, 6\)",
        ),
        (
            lambda: debias(X0, A0, Y0, M0, W0, iterations=0),
            ParameterError,
            "debias.iterations must be an integer >= 1, got 0.",
        ),
        (lambda: debias(X0[0], A0, Y0, M0, W0), ShapeError, "debias.x"),
    ],
)
def test_error_texts(make, error, text):
    with pytest.raises(error, match=text):
        make()
