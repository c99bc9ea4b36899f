"""Bodies: the same for good, one image at any resolution, and scans of them without an inverse crime."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from recon_datasets import Bodies
from recon_datasets.bodies import HELD_OUT, body_slice, body_volume, random_body

from recon.errors import ParameterError, ShapeError
from recon.testing import check_dataset

# of the shapes of some bodies, rounded: priors were trained on bodies of these numbers
KNOWN = {0: "63a03cb77205", 7: "3020f47f2d72", 1_000_000: "f09bdb550f76"}


def digest(shapes) -> str:
    return hashlib.sha256(np.round(shapes * 2.0**20).astype("<i8").tobytes()).hexdigest()[:12]


def coarser(image, factor: int) -> np.ndarray:
    """Means over blocks of the last two axes."""
    *front, size, _ = image.shape
    return image.astype(np.float64).reshape(*front, size // factor, factor, -1, factor).mean(axis=(-3, -1))


def test_numbers_keep_their_bodies():
    assert {number: digest(random_body(number)) for number in KNOWN} == KNOWN


def test_a_body_is_the_same_every_time_and_no_two_are_alike():
    images = [body_slice(random_body(seed), 64) for seed in range(8)]
    assert all(np.array_equal(image, body_slice(random_body(seed), 64)) for seed, image in enumerate(images))
    for k, one in enumerate(images):
        assert all(np.abs(one - other).mean() > 0.01 for other in images[:k])


def test_values_are_scaled_attenuation():
    images = np.stack([body_slice(random_body(seed), 64) for seed in range(20)])
    assert images.dtype == np.float32
    assert images.min() >= 0.0
    assert images.max() <= 1.2
    assert (images[:, [0, -1]] == 0.0).mean() > 0.9  # air around the body
    inside = images[images > 0.2]
    assert 0.36 < np.median(inside) < 0.5  # soft tissue
    assert (images > 0.6).any(axis=(1, 2)).mean() > 0.5  # bone in most


@pytest.mark.parametrize("seed", [0, 3, 11])
def test_the_resolution_does_not_change_the_body(seed):
    """A coarse image is about the mean of a fine one; a shift by a pixel is many times further off."""
    shapes = random_body(seed)
    finest, fine, image = (body_slice(shapes, size, 0.1) for size in (512, 256, 128))
    off = np.sqrt(np.mean((coarser(fine, 2) - image) ** 2))
    shifted = np.sqrt(np.mean((np.roll(image, 1, axis=1) - image) ** 2))
    assert off < 0.2 * shifted
    assert (
        np.sqrt(np.mean((coarser(finest, 2) - fine) ** 2)) < 0.6 * off
    )  # edges are resolved better and better


def test_edges_are_anti_aliased():
    """A step as wide as a pixel has values between air and skin on the whole outline."""
    image = body_slice(random_body(0), 128)
    row = image[64]
    first = int(np.argmax(row > 0.25))
    assert 0.0 < row[first - 1] < 0.25
    between = np.mean((image > 0.03) & (image < 0.25))
    assert 0.005 < between < 0.15


def test_slices_vary_smoothly_and_a_volume_is_its_slices():
    shapes = random_body(4)
    volume = body_volume(shapes, 6, 64)
    assert volume.shape == (6, 64, 64)
    assert np.array_equal(volume[2], body_slice(shapes, 64, -0.5 * 2.0 / 64))
    steps = np.sqrt(np.mean(np.diff(volume, axis=0) ** 2, axis=(1, 2)))
    apart = np.sqrt(np.mean((body_slice(shapes, 64, 0.5) - volume[0]) ** 2))
    assert steps.max() < 0.05
    assert steps.min() > 0.0
    assert apart > 2.0 * steps.max()


@pytest.mark.parametrize(
    "options", [{}, {"slices": 3}, {"arc": 90.0, "noise": 0.0}], ids=["image", "volume", "limited angle"]
)
def test_the_scans_keep_the_contract(options):
    check_dataset(Bodies(size=32, views=6, count=3, **options))


@pytest.mark.parametrize("slices", [None, 4])
def test_the_data_are_those_of_the_truth(slices):
    """The model's own error is far below 1 % noise; what remains is noise of the stated level."""
    options = {"size": 128, "views": 8, "slices": slices, "count": 3}
    for exact, noisy in zip(Bodies(noise=0.0, **options), Bodies(noise=0.01, **options), strict=True):
        assert exact.noise is None
        assert noisy.noise == pytest.approx(0.01 * exact.data.max(), rel=1e-5)
        assert np.array_equal(exact.truth, noisy.truth)
        model = exact.operator @ exact.truth - exact.data
        assert 0.0 < np.sqrt(np.mean(model**2)) < 0.2 * noisy.noise
        drawn = (noisy.data - exact.data) / noisy.noise
        assert np.std(drawn) == pytest.approx(1.0, abs=0.07)
        assert abs(np.mean(drawn)) < 0.1


def test_a_sample_is_the_body_of_its_number():
    sample = Bodies(size=32, views=4, count=3)[2]
    assert sample.notes["body"] == 2
    assert np.array_equal(sample.truth, coarser(body_slice(random_body(2), 64), 2))
    later = Bodies(size=32, views=4, count=1, first=2)[0]
    assert np.array_equal(sample.data, later.data)
    volume = Bodies(size=32, views=4, slices=2, first=2, count=1)[0]
    wanted = coarser(body_volume(random_body(2), 4, 64), 2).reshape(2, 2, 32, 32).mean(axis=1)
    assert np.array_equal(volume.truth, wanted)
    assert volume.data.shape == (2, *sample.data.shape)


def test_the_detector_covers_the_image():
    seen = Bodies(size=32, views=9, count=1)[0].operator @ np.ones((32, 32))
    assert seen[:, [0, -1]].max() < 0.15 * seen.max()


def test_bodies_that_priors_are_trained_on_are_refused():
    with pytest.raises(
        ParameterError,
        match=rf"Bodies.first \+ count must be at most {HELD_OUT}, got {HELD_OUT + 1}. Priors are",
    ):
        Bodies(first=HELD_OUT - 99)
    assert len(Bodies(first=HELD_OUT - 100)) == 100


def test_shapes_that_are_none_are_refused():
    """The compiled loops would read past their end."""
    for shapes in (np.zeros((2, 36)), np.zeros(37), random_body(0)[:, :5]):
        with pytest.raises(ShapeError, match=r"body_slice.shapes must be of shape \(shapes, 37\), got"):
            body_slice(shapes, 8)
    with pytest.raises(ParameterError, match="body_slice.size must be 1 or more, got 0"):
        body_slice(random_body(0), 0)
    with pytest.raises(ParameterError, match="body_volume.slices must be 1 or more, got 0"):
        body_volume(random_body(0), 0, 8)
    assert np.array_equal(body_slice(np.asfortranarray(random_body(0)), 8), body_slice(random_body(0), 8))
