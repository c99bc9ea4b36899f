"""Phantoms against independent references: integrals along segments, point counting, closed-form masses."""

from __future__ import annotations

import hashlib
import math

import numpy as np
import pytest
from recon_datasets import phantoms

from recon.errors import ParameterError, ShapeError

TABLE = np.array(
    [
        (1.3, 0.5, 0.2, 0.1, -0.2, 0.4),
        (-0.4, 0.1, 0.3, -0.3, 0.25, -1.1),
        (2.0, 0.07, 0.07, 0.6, 0.5, 0.0),
    ]
)
BLOBS = np.array([(1.0, 0.2, 0.15, -0.1), (-0.6, 0.11, -0.3, 0.3)])


def indicator(x, y, table):
    """The ellipse image at points, from the definition: rotate the point back, compare with 1."""
    total = np.zeros(np.broadcast(x, y).shape)
    for value, a, b, x0, y0, tilt in table:
        turned = ((x - x0) + 1j * (y - y0)) * np.exp(-1j * tilt)
        total += value * ((turned.real / a) ** 2 + (turned.imag / b) ** 2 <= 1)
    return total


def bumps(x, y, blobs):
    return sum(v * np.exp(-((x - x0) ** 2 + (y - y0) ** 2) / (2 * s * s)) for v, s, x0, y0 in blobs)


def segment(function, start, end, table, count):
    """The integral of a function along a segment, by the midpoint rule."""
    fraction = (np.arange(count) + 0.5) / count
    points = start + fraction[:, None] * (end - start)
    return function(points[:, 0], points[:, 1], table).mean() * np.linalg.norm(end - start)


def test_line_integrals_match_counting_along_the_line():
    rng = np.random.default_rng(3)
    for theta, s in zip(rng.uniform(-7, 7, 12), rng.uniform(-0.9, 0.9, 12), strict=True):
        normal, along = np.array([np.cos(theta), np.sin(theta)]), np.array([-np.sin(theta), np.cos(theta)])
        counted = segment(indicator, s * normal - 2 * along, s * normal + 2 * along, TABLE, 40_000)
        assert phantoms.line_integrals(TABLE, theta, s) == pytest.approx(counted, abs=1e-3)


def test_gaussian_integrals_match_quadrature():
    rng = np.random.default_rng(4)
    for theta, s in zip(rng.uniform(-7, 7, 6), rng.uniform(-0.9, 0.9, 6), strict=True):
        normal, along = np.array([np.cos(theta), np.sin(theta)]), np.array([-np.sin(theta), np.cos(theta)])
        exact = segment(bumps, s * normal - 4 * along, s * normal + 4 * along, BLOBS, 2000)
        assert phantoms.gaussian_integrals(BLOBS, theta, s) == pytest.approx(exact, abs=1e-12)


def test_fan_rays_are_the_lines_from_source_to_bin():
    """Source and bins are placed here from the convention; the integral is taken along the segment."""
    angles, bins, near, far, spacing, shift = np.array([0.0, 0.7, 3.0]), 7, 3.0, 1.5, 0.4, 0.25
    sinogram = phantoms.fan_sinogram(
        BLOBS, angles, bins, near, far, spacing, shift, integrals=phantoms.gaussian_integrals
    )
    for k, t in enumerate(angles):
        source = near * np.array([np.sin(t), -np.cos(t)])
        for m in range(bins):
            u = (m - (bins - 1) / 2 + shift) * spacing
            place = -far * np.array([np.sin(t), -np.cos(t)]) + u * np.array([np.cos(t), np.sin(t)])
            start, end = source - 3 * (place - source), place + 3 * (place - source)
            assert sinogram[k, m] == pytest.approx(segment(bumps, start, end, BLOBS, 6000), abs=1e-10)


def test_a_fan_ray_is_the_parallel_ray_of_the_same_line():
    theta, s = phantoms.fan_rays([0.3, 2.0], 5, 3.0, 1.5, 0.3)
    fan = phantoms.fan_sinogram(TABLE, [0.3, 2.0], 5, 3.0, 1.5, 0.3)
    for k in range(2):
        for m in range(5):
            one = phantoms.parallel_sinogram(TABLE, [theta[k, m, 0]], 1, 1.0, s[0, m, 0])
            assert fan[k, m] == pytest.approx(one[0, 0], abs=1e-14)


def test_a_distant_source_is_a_parallel_beam():
    far = phantoms.fan_sinogram(TABLE, [0.4], 9, 1e7, 0.0, 0.2)
    np.testing.assert_allclose(far, phantoms.parallel_sinogram(TABLE, [0.4], 9, 0.2), atol=1e-3)


def test_every_view_holds_the_mass():
    angles = np.linspace(0, np.pi, 7)
    views = phantoms.parallel_sinogram(TABLE, angles, 400, 0.01, subsamples=8).sum(axis=1) * 0.01
    np.testing.assert_allclose(views, np.sum(TABLE[:, 0] * np.pi * TABLE[:, 1] * TABLE[:, 2]), rtol=1e-4)
    smooth = phantoms.parallel_sinogram(BLOBS, angles, 150, 0.02, integrals=phantoms.gaussian_integrals)
    np.testing.assert_allclose(smooth.sum(axis=1) * 0.02, np.sum(BLOBS[:, 0] * 2 * np.pi * BLOBS[:, 1] ** 2))


def test_subsamples_average_over_the_bin():
    fine = phantoms.parallel_sinogram(TABLE, [0.2], 24, 0.05)
    coarse = phantoms.parallel_sinogram(TABLE, [0.2], 8, 0.15, subsamples=3)
    np.testing.assert_allclose(coarse, fine.reshape(1, 8, 3).mean(axis=-1), atol=1e-14)


def test_rasterize_counts_points():
    shape, h = (9, 12), 0.17
    points = (np.arange(4) + 0.5) / 4
    rows = (np.arange(9)[:, None] + points).ravel()
    columns = (np.arange(12)[:, None] + points).ravel()
    dense = indicator((columns[None, :] - 6) * h, ((4.5 - rows) * h)[:, None], TABLE)
    counted = dense.reshape(9, 4, 12, 4).mean(axis=(1, 3))
    np.testing.assert_allclose(phantoms.rasterize(TABLE, shape, h, 4), counted, atol=1e-12)


def test_rasterize_in_blocks_is_the_same(monkeypatch):
    whole = phantoms.rasterize(TABLE, (33, 20), 0.1)
    monkeypatch.setattr(phantoms, "_BLOCK", 500)
    assert np.array_equal(phantoms.rasterize(TABLE, (33, 20), 0.1), whole)


def test_rasterize_puts_plus_x_right_and_plus_y_up():
    image = phantoms.rasterize([(1.0, 0.05, 0.05, 0.5, 0.6, 0.0)], (64, 64), 2 / 64)
    row, column = np.unravel_index(np.argmax(image), image.shape)
    assert row < 20
    assert column > 44
    total = image.sum()
    x = (np.arange(64) - 31.5) * (2 / 64)
    assert (image.sum(axis=0) @ x) / total == pytest.approx(0.5, abs=1e-3)
    assert (image.sum(axis=1) @ -x) / total == pytest.approx(0.6, abs=1e-3)


def test_rasterize_turns_from_x_towards_y():
    image = phantoms.rasterize([(1.0, 0.6, 0.05, 0.0, 0.0, math.pi / 4)], (32, 32), 2 / 32)
    assert image[10, 21] > 0.5  # up and right
    assert image[10, 10] == 0


def test_images_hold_the_mass():
    h = 2 / 128
    mass = np.sum(TABLE[:, 0] * np.pi * TABLE[:, 1] * TABLE[:, 2])
    assert phantoms.rasterize(TABLE, (128, 128), h).sum() * h**2 == pytest.approx(mass, rel=1e-4)
    wide = phantoms.gaussian_image(BLOBS, (160, 150), 0.03)
    assert wide.sum() * 0.03**2 == pytest.approx(
        np.sum(BLOBS[:, 0] * 2 * np.pi * BLOBS[:, 1] ** 2), rel=1e-10
    )


def test_gaussian_image_is_the_mean_over_the_pixel():
    n, h, fine = 12, 0.15, 40
    x = ((np.arange(n * fine) + 0.5) / fine - n / 2) * h
    dense = bumps(x[None, :], -x[:, None], BLOBS).reshape(n, fine, n, fine).mean(axis=(1, 3))
    np.testing.assert_allclose(phantoms.gaussian_image(BLOBS, (n, n), h), dense, atol=1e-4)


def test_ellipses_outside_the_image_are_cut():
    assert not phantoms.rasterize([(1.0, 0.1, 0.1, 5.0, 0.0, 0.0)], (8, 8), 0.25).any()
    half = phantoms.rasterize([(1.0, 0.5, 0.5, 1.0, 0.0, 0.0)], (64, 64), 2 / 64).sum() * (2 / 64) ** 2
    assert half == pytest.approx(np.pi * 0.25 / 2, rel=1e-3)


def test_shepp_logan_has_the_published_grey_levels():
    original = phantoms.rasterize(phantoms.shepp_logan("original"), (200, 200), 0.01)
    modified = phantoms.rasterize(phantoms.shepp_logan(), (200, 200), 0.01)
    assert (original[:8, 100] == 0).all()
    assert original[9, 99] == pytest.approx(2.0)  # skull
    assert original[140, 99] == pytest.approx(1.02)  # brain
    assert original[99, 122] == pytest.approx(1.00)  # ventricle
    assert original[65, 99] == pytest.approx(1.03)  # large tumour
    assert modified[140, 99] == pytest.approx(0.2)
    assert modified[99, 122] == pytest.approx(0.0)
    assert modified[65, 99] == pytest.approx(0.3)
    assert modified.min() >= -1e-12
    # the ventricles open upwards, and the left one is wider
    assert modified[75, 130] == pytest.approx(0.0)
    assert modified[75, 118] > 0.1
    assert (np.abs(modified[99, :100]) < 1e-12).sum() > (np.abs(modified[99, 100:]) < 1e-12).sum()


def test_random_ellipses_are_inside_and_not_negative():
    for seed in range(5):
        table = phantoms.random_ellipses(np.random.default_rng(seed))
        image = phantoms.rasterize(table, (80, 80), 2 / 80, 2)
        body = phantoms.rasterize(table[:1], (80, 80), 2 / 80, 2)
        assert table.shape == (11, 6)
        assert image.min() >= -1e-12
        assert not image[body == 0].any()
        assert image[body == 1].std() > 0.05
        assert (table[1:, 0] < 0).sum() == 4


def test_random_ellipses_are_the_same_bits_everywhere():
    table = phantoms.random_ellipses(np.random.default_rng((0, 0, 0)))
    words = np.asarray(table * 2.0**20)
    assert (words == np.rint(words)).all()
    assert hashlib.sha256(words.astype("<i8").tobytes()).hexdigest()[:16] == "90687fcc5fbce0cc"


def test_errors_say_what_to_do():
    with pytest.raises(
        ParameterError, match=r"shepp_logan.variant must be 'modified' or 'original', got 'toft'"
    ):
        phantoms.shepp_logan("toft")
    with pytest.raises(
        ShapeError, match=r"rasterize.ellipses must have shape \(n, 6\), got \(5,\). Give one row"
    ):
        phantoms.rasterize(np.zeros(5), (4, 4), 1.0)
    with pytest.raises(ParameterError, match=r"line_integrals.ellipses must be finite with widths > 0"):
        phantoms.line_integrals([(1.0, 0.0, 1.0, 0.0, 0.0, 0.0)], 0.0, 0.0)
    with pytest.raises(ShapeError, match=r"gaussian_image.blobs must have shape \(n, 4\)"):
        phantoms.gaussian_image(TABLE, (4, 4), 1.0)
