"""Noise in the bands of a transform, and the noise level of an image."""

import numpy as np
import pytest
from recon_wavelets import (
    DCT,
    Starlet,
    UndecimatedWavelet,
    Wavelet,
    estimate_noise,
    noise_levels,
    sure_weights,
)

import recon
from recon.errors import ArrayError, CapabilityError, ParameterError, ShapeError


class PeriodicBlur(recon.Operator):
    """Convolution with a short kernel that is not symmetric."""

    def __init__(self, shape):
        self.domain = self.codomain = recon.ArraySpec(shape)
        kernel = np.zeros(shape)
        kernel[0, 0], kernel[0, 1], kernel[2, 0] = 0.5, 0.3, 0.2
        self.gains = np.fft.rfft2(kernel)

    def _forward(self, x):
        return np.fft.irfft2(self.gains * np.fft.rfft2(x), s=self.domain.shape)

    def _adjoint(self, y):
        return np.fft.irfft2(self.gains.conj() * np.fft.rfft2(y), s=self.domain.shape)


# -- levels -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("generation", "table"),
    [
        (1, [0.8908, 0.2007, 0.0855, 0.0412, 0.0204, 0.0150]),
        (2, [0.9429, 0.2300, 0.1003, 0.0486, 0.0241, 0.0150]),
    ],
)
@pytest.mark.parametrize("boundary", ["mirror", "periodic"])
def test_starlet_table(generation, table, boundary):
    """Measured for 5 scales by others; the first value in closed form: 1 - 2 (3/8)^2 + (35/128)^2."""
    levels = noise_levels(Starlet((256, 256), 5, generation, boundary))
    np.testing.assert_allclose(list(levels.values()), table, rtol=0, atol=5.1e-5)
    if generation == 1:
        assert levels[1, "d"] ** 2 == pytest.approx(1 - 2 * (3 / 8) ** 2 + (35 / 128) ** 2, rel=1e-14)


def test_levels_of_orthonormal_and_parseval_transforms():
    np.testing.assert_allclose(list(noise_levels(Wavelet((16, 24), "sym4", 3)).values()), 1.0, rtol=1e-13)
    levels = noise_levels(UndecimatedWavelet((40, 40), "db3", 2))
    assert [levels[1, name] for name in ("ad", "da", "dd")] == pytest.approx([0.5] * 3, rel=1e-13)
    assert sum(level**2 for level in levels.values()) == pytest.approx(
        1.0, rel=1e-13
    )  # trace of W^H W per pixel


@pytest.mark.parametrize("W", [Wavelet((32, 32), "bior2.2", 2), Starlet((32, 32), 3, 2, "periodic")], ids=str)
def test_exact_levels_are_those_of_draws(W):
    drawn = noise_levels(W, recon.Identity(W.domain), draws=100)
    for band, level in noise_levels(W).items():
        assert drawn[band] == pytest.approx(level, rel=0.03)


@pytest.mark.parametrize("W", [Wavelet((16, 16), "db2", 2), Starlet((16, 16), 2, 1, "periodic")], ids=str)
def test_levels_through_a_convolution(W):
    """The exact value holds for every coefficient, the draws come close, and both belong to W A^H."""
    A = PeriodicBlur((16, 16))
    exact = noise_levels(W, A, draws=0)
    drawn = noise_levels(W, A, draws=200, seed=3)
    rows = recon.linalg.dense(W @ A.H)
    true = W.bands(np.linalg.norm(rows, axis=1).reshape(W.codomain.shape))
    for band, part in true.items():
        np.testing.assert_allclose(part, exact[band], rtol=1e-12)
        assert drawn[band] == pytest.approx(exact[band], rel=0.05)


def test_draws_are_repeatable_and_pool_over_the_band():
    W, A = Wavelet((8, 8), "haar", 1), recon.Diagonal(np.linspace(0, 2, 64).reshape(8, 8))
    assert noise_levels(W, A, seed=1) == noise_levels(W, A, seed=1) != noise_levels(W, A, seed=2)
    rows = np.linalg.norm(recon.linalg.dense(W @ A.H), axis=1).reshape(8, 8)
    for band, part in W.bands(rows).items():
        assert noise_levels(W, A, draws=400)[band] == pytest.approx(float((part**2).mean() ** 0.5), rel=0.06)


def test_levels_of_complex_noise_are_of_the_real_part():
    W = Wavelet((8, 8), "haar", 1, "complex")
    assert noise_levels(W, recon.Identity(W.domain), draws=200)[1, "dd"] == pytest.approx(1.0, rel=0.05)
    assert noise_levels(W)[1, "dd"] == pytest.approx(1.0, rel=1e-13)


# -- estimates ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["wavelet", "starlet"])
@pytest.mark.parametrize("shape", [(3, 20001), (3, 151, 130), (3, 42, 41, 40)])
def test_pure_noise(method, shape):
    x = np.array([0.1, 1.0, 30.0]).reshape(3, *(1 for _ in shape[1:])) * np.random.default_rng(
        0
    ).standard_normal(shape)
    sigma = estimate_noise(x, len(shape) - 1, method=method)
    np.testing.assert_allclose(sigma, [0.1, 1.0, 30.0], rtol=0.08)
    assert sigma.dtype == np.float64
    one = estimate_noise(x[1].astype(np.float32), len(shape) - 1, method=method)
    assert isinstance(one, float)
    assert one == pytest.approx(sigma[1], rel=1e-5)


def test_smooth_content_and_point_sources_are_not_seen():
    rng = np.random.default_rng(2)
    y, x = np.indices((128, 128)) / 128
    image = 50 * np.sin(3 * x) * np.cos(2 * y) + 20 * x
    image[[20, 90, 60], [30, 100, 70]] += 1000.0  # stars
    for method in ("wavelet", "starlet"):
        sigma = estimate_noise(image + 0.3 * rng.standard_normal(image.shape), method=method)
        assert sigma == pytest.approx(0.3, rel=0.06)


@pytest.mark.parametrize(("sigma", "wanted"), [(0.05, 0.0541), (0.1, 0.1024), (0.2, 0.2019)])
def test_photograph(sigma, wanted):
    """Values measured by others on the cameraman picture, one draw."""
    data = pytest.importorskip("skimage.data")
    image = data.camera() / 255.0
    noisy = image + sigma * np.random.default_rng(0).standard_normal(image.shape)
    assert estimate_noise(noisy) == pytest.approx(wanted, rel=0.01)
    assert sigma < estimate_noise(noisy, method="starlet") < 1.25 * sigma


def test_complex_and_other_libraries(to):
    rng = np.random.default_rng(3)
    x = rng.standard_normal((2, 64, 64)) + 1j * rng.standard_normal((2, 64, 64))
    np.testing.assert_allclose(estimate_noise(x), 1.0, rtol=0.05)
    real = x.real.copy()
    for method in ("wavelet", "starlet"):
        np.testing.assert_allclose(
            estimate_noise(to(real), method=method), estimate_noise(real, method=method), rtol=1e-12
        )


def test_errors():
    with pytest.raises(
        CapabilityError, match=r"noise_levels\.transform must have bands, got DCT\. Take Wavelet"
    ):
        noise_levels(DCT((4, 4)))
    W = Wavelet((4, 4), "haar")
    with pytest.raises(
        ShapeError, match=r"noise_levels\.operator must act on images \(4, 4\) real, got \(5,\) real"
    ):
        noise_levels(W, recon.Identity(recon.ArraySpec((5,))))
    with pytest.raises(ParameterError, match=r"noise_levels\.draws must be >= 0, got -1\. Take 32"):
        noise_levels(W, recon.Identity(W.domain), draws=-1)
    x = np.zeros((8, 8))
    with pytest.raises(ArrayError, match=r"estimate_noise\.x must be an array, got list\. Convert it"):
        estimate_noise([[1.0, 2.0]])
    with pytest.raises(ParameterError, match=r"estimate_noise\.axes must be 1, 2 or 3, got 4"):
        estimate_noise(x, 4)
    with pytest.raises(
        ShapeError, match=r"estimate_noise\.x must have 3 axes of 2 pixels or more, got shape \(8, 8\)"
    ):
        estimate_noise(x, 3)
    with pytest.raises(ShapeError, match=r"2 axes of 2 pixels or more, got shape \(8, 1\)"):
        estimate_noise(x[:, :1])
    with pytest.raises(
        ParameterError, match=r"estimate_noise\.method must be 'wavelet' or 'starlet', got 'fft'"
    ):
        estimate_noise(x, method="fft")
    with pytest.raises(ParameterError, match=r"wavelet must be orthogonal, got 'bior4\.4'\. Take 'db4'"):
        estimate_noise(x, wavelet="bior4.4")
    with pytest.raises(ParameterError, match=r"estimate_noise\.wavelet must be a discrete wavelet"):
        estimate_noise(x, wavelet="none")


# -- thresholds from the data ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["real", "complex"])
@pytest.mark.parametrize("transform", [Wavelet, UndecimatedWavelet])
def test_each_band_gets_the_threshold_of_least_error(kind, transform):
    """Against the truth, band by band, over a grid of thresholds."""
    rng = np.random.default_rng(5)
    W = transform((128, 128), "db2", 3, kind=kind)
    truth = np.cumsum(
        np.cumsum(rng.standard_normal((2, 128, 128)) * (rng.random((2, 128, 128)) < 0.02), 1), 2
    )
    noisy = truth + rng.standard_normal(truth.shape)
    truth, noisy = (a[0] + 1j * a[1] if kind == "complex" else a[0] for a in (truth, noisy))
    weights = sure_weights(W, noisy, 1.0) + np.zeros(W.codomain.shape)
    c, wanted = W @ noisy, W @ truth

    def errors(threshold):
        shrunk = recon.L1(1.0).prox(c, threshold)
        return {band: np.sum(np.abs(part) ** 2) for band, part in W.bands(shrunk - wanted).items()}

    found = errors(weights)
    levels = W.spread(noise_levels(W))
    grid = [errors(t * levels) for t in np.linspace(0.0, 5.0, 51)]
    assert {len(np.unique(part)) for part in W.bands(weights.astype(c.dtype)).values()} == {1}
    assert weights.max() > 0
    for band in found:
        assert found[band] <= 1.1 * min(e[band] for e in grid) + 0.02 * c[..., 0].size, band
    assert sum(found.values()) < 0.7 * sum(grid[0].values())


def test_bands_of_noise_are_set_to_zero_and_the_scale_is_that_of_the_image(to):
    W = Wavelet((64, 64), "haar", 3)
    noise = np.random.default_rng(0).standard_normal((64, 64))
    weights = sure_weights(W, to(noise), 1.0)
    assert type(weights) is type(to(noise))
    smallest = {band: float(part.min()) for band, part in W.bands(np.asarray(weights)).items()}
    assert smallest[3, "aa"] == 0
    assert smallest[1, "dd"] == pytest.approx(np.sqrt(2 * np.log(32 * 32)))
    scaled = sure_weights(W, to(1e-20 * noise), 1e-20)
    np.testing.assert_allclose(np.asarray(scaled), 1e-20 * np.asarray(weights), rtol=1e-12)


def test_sigma_comes_from_the_image_and_a_batch_shares_the_weights():
    W = Wavelet((64, 64), "haar", 3)
    image = np.add.outer(np.arange(64.0), np.arange(64.0)) + np.random.default_rng(0).standard_normal(
        (64, 64)
    )
    np.testing.assert_array_equal(sure_weights(W, image), sure_weights(W, image, estimate_noise(image)))
    assert sure_weights(W, np.stack([image, image])).shape == (64, 64)


def test_refusals_of_thresholds():
    with pytest.raises(CapabilityError, match=r"sure_weights\.transform must have bands, got DCT"):
        sure_weights(DCT((4, 4)), np.zeros((4, 4)))
    with pytest.raises(ParameterError, match=r"sure_weights\.sigma must be > 0, got 0"):
        sure_weights(Wavelet((4, 4), "haar"), np.zeros((4, 4)), 0.0)
    with pytest.raises(ParameterError, match=r"sure_weights\.sigma must be > 0, got "):
        sure_weights(Wavelet((4, 4), "haar"), np.zeros((4, 4)), np.ones(2))
