"""Projection against line integrals in closed form, and where a pixel lands (helpers serve FBP too)."""

import math

import numpy as np
import pytest
from recon_operators.tomography import FanBeam, ParallelBeam, sparse_view

# value, semi-axes a, b, centre x0, y0 (fractions of half the side), tilt in degrees
SHEPP_LOGAN = [
    (1.0, 0.69, 0.92, 0.0, 0.0, 0.0),
    (-0.8, 0.6624, 0.874, 0.0, -0.0184, 0.0),
    (-0.2, 0.11, 0.31, 0.22, 0.0, -18.0),
    (-0.2, 0.16, 0.41, -0.22, 0.0, 18.0),
    (0.1, 0.21, 0.25, 0.0, 0.35, 0.0),
    (0.1, 0.046, 0.046, 0.0, 0.1, 0.0),
    (0.1, 0.046, 0.046, 0.0, -0.1, 0.0),
    (0.1, 0.046, 0.023, -0.08, -0.605, 0.0),
    (0.1, 0.023, 0.023, 0.0, -0.606, 0.0),
    (0.1, 0.023, 0.046, 0.06, -0.605, 0.0),
]
# value, sigma, x0, y0 (fractions of half the side)
BLOBS = [(1.0, 0.1, 0.2, 0.3), (0.7, 0.15, -0.3, -0.1), (0.5, 0.08, 0.1, -0.4)]
SMOOTH = 2.5e-4  # relative L2 for these blobs at 256 pixels; the error goes with (pixel / sigma)^2


def centres(n, h=1.0, sub=1):
    """x and y of the pixel centres of an n x n image (or of sub x sub points in each)."""
    fine = ((np.arange(n * sub) + 0.5) / sub - n / 2) * h
    return fine[None, :], -fine[:, None]


def blob_image(n, h=1.0):
    x, y = centres(n, h)
    half = n * h / 2
    return sum(
        v * np.exp(-((x - x0 * half) ** 2 + (y - y0 * half) ** 2) / (2 * (s * half) ** 2))
        for v, s, x0, y0 in BLOBS
    )


def ellipse_image(ellipses, n, sub=8):
    x, y = centres(n, sub=sub)
    total = np.zeros((n * sub, n * sub))
    for v, a, b, x0, y0, tilt in ellipses:
        c, s = math.cos(math.radians(tilt)), math.sin(math.radians(tilt))
        u, w = x - x0 * n / 2, y - y0 * n / 2
        total += v * (((u * c + w * s) / a) ** 2 + ((w * c - u * s) / b) ** 2 <= (n / 2) ** 2)
    return total.reshape(n, sub, n, sub).mean(axis=(1, 3))


def blob_integrals(theta, s, half):
    return sum(
        v
        * math.sqrt(2 * math.pi)
        * (g * half)
        * np.exp(-((s - x0 * half * np.cos(theta) - y0 * half * np.sin(theta)) ** 2) / (2 * (g * half) ** 2))
        for v, g, x0, y0 in BLOBS
    )


def ellipse_integrals(ellipses, theta, s, half):
    total = 0.0
    for v, a, b, x0, y0, tilt in ellipses:
        phi = theta - math.radians(tilt)
        width = (a * half * np.cos(phi)) ** 2 + (b * half * np.sin(phi)) ** 2
        t = s - half * (x0 * np.cos(theta) + y0 * np.sin(theta))
        total = total + 2 * v * a * b * half**2 * np.sqrt(np.maximum(width - t**2, 0)) / width
    return total


def parallel_lines(angles, bins, spacing=1.0, shift=0.0):
    """(theta, s) of every ray, written out here a second time."""
    s = (np.arange(bins) - (bins - 1) / 2 + shift) * spacing
    return np.broadcast_arrays(np.asarray(angles)[:, None], s[None, :])


def fan_lines(angles, bins, radius, detector, spacing, shift=0.0):
    """(theta, s) of every ray of a flat fan: the ray through u is atan(u / (R + R_d)) off the axis."""
    u = (np.arange(bins) - (bins - 1) / 2 + shift) * spacing
    tilt = np.arctan(u / (radius + detector))
    return np.asarray(angles)[:, None] - tilt[None, :], np.broadcast_to(
        radius * np.sin(tilt), (len(angles), bins)
    )


def curved_lines(angles, bins, radius, detector, spacing, shift=0.0):
    """(theta, s) of every ray of a curved fan: bins are equally spaced in angle."""
    tilt = (np.arange(bins) - (bins - 1) / 2 + shift) * spacing / (radius + detector)
    return np.asarray(angles)[:, None] - tilt[None, :], np.broadcast_to(
        radius * np.sin(tilt), (len(angles), bins)
    )


LINES = {"flat": fan_lines, "curved": curved_lines}


def relative(a, b):
    return np.linalg.norm(a - b) / np.linalg.norm(b)


def test_gaussians_parallel():
    n, angles = 256, sparse_view(60)
    exact = blob_integrals(*parallel_lines(angles, n), n / 2)
    error = relative(ParallelBeam((n, n), angles, n) @ blob_image(n), exact)
    assert error <= SMOOTH


def test_error_falls_with_the_square_of_the_pixel():
    errors = []
    for n in (64, 128, 256):
        exact = blob_integrals(*parallel_lines(sparse_view(45), n), n / 2)
        errors.append(relative(ParallelBeam((n, n), sparse_view(45), n) @ blob_image(n), exact))
    assert 3.5 < errors[0] / errors[1] < 4.5
    assert 3.5 < errors[1] / errors[2] < 4.5


@pytest.mark.parametrize("detector", LINES)
def test_gaussians_fan(detector):
    n, angles = 256, sparse_view(60, arc=2 * math.pi)
    geometry = {"source_origin": 500.0, "origin_detector": 250.0, "detector_spacing": 1.5}
    A = FanBeam((n, n), angles, 300, **geometry, detector=detector)
    exact = blob_integrals(*LINES[detector](angles, 300, 500.0, 250.0, 1.5), n / 2)
    assert relative(A @ blob_image(n), exact) <= SMOOTH


@pytest.mark.parametrize("shift", [-3.25, 4.5])
def test_units_and_shift(shift):
    """Pixels of 0.3 mm and bins of 0.4 mm off centre: the integral is that of the same blobs in mm."""
    n, h, angles = 256, 0.3, sparse_view(40, arc=2 * math.pi)
    half = n * h / 2
    parallel = ParallelBeam((n, n), angles, 200, detector_spacing=0.4, detector_shift=shift, pixel_size=h)
    exact = blob_integrals(*parallel_lines(angles, 200, 0.4, shift), half)
    assert relative(parallel @ blob_image(n, h), exact) <= SMOOTH
    for detector, lines in LINES.items():
        fan = FanBeam(
            (n, n),
            angles,
            300,
            source_origin=150.0,
            origin_detector=75.0,
            detector_spacing=0.4,
            detector_shift=shift,
            detector=detector,
            pixel_size=h,
        )
        exact = blob_integrals(*lines(angles, 300, 150.0, 75.0, 0.4, shift), half)
        assert relative(fan @ blob_image(n, h), exact) <= SMOOTH


def test_shepp_logan():
    n, angles = 256, sparse_view(60)
    exact = ellipse_integrals(SHEPP_LOGAN, *parallel_lines(angles, n), n / 2)
    assert relative(ParallelBeam((n, n), angles, n) @ ellipse_image(SHEPP_LOGAN, n), exact) <= 0.0135


@pytest.mark.parametrize("row_column", [(5, 40), (50, 9)])
@pytest.mark.parametrize("degrees", [0, 30, 90, 135, 200, 300])
def test_a_bright_pixel_lands_in_the_right_bin(row_column, degrees):
    """The centre of mass of its projection is where its centre projects to, within 1/40 pixel.

    Bins are 1/4 pixel, so an error of half a pixel would be 2 bins, a mirrored axis dozens.
    """
    n, theta = 61, math.radians(degrees)
    image = np.zeros((n, n))
    image[row_column] = 1.0
    x, y = row_column[1] - 30, 30 - row_column[0]
    bins = np.arange(401)

    A = ParallelBeam((n, n), [theta], 401, detector_spacing=0.25)
    line = (A @ image)[0]
    assert line @ bins / line.sum() == pytest.approx(
        200 + (x * math.cos(theta) + y * math.sin(theta)) / 0.25, abs=0.1
    )

    B = FanBeam((n, n), [theta], 401, source_origin=3000.0, origin_detector=1500.0, detector_spacing=0.375)
    line = (B @ image)[0]
    depth = 3000.0 - x * math.sin(theta) + y * math.cos(theta)
    place = (x * math.cos(theta) + y * math.sin(theta)) * 4500.0 / depth
    assert line @ bins / line.sum() == pytest.approx(200 + place / 0.375, abs=0.1)

    C = FanBeam(
        (n, n),
        [theta],
        401,
        source_origin=100.0,
        origin_detector=50.0,
        detector_spacing=0.75,
        detector="curved",
    )
    line = (C @ image)[0]
    depth = 100.0 - x * math.sin(theta) + y * math.cos(theta)
    place = 150.0 * math.atan((x * math.cos(theta) + y * math.sin(theta)) / depth)
    assert line @ bins / line.sum() == pytest.approx(200 + place / 0.75, abs=0.1)


def test_astra_agrees_on_a_smooth_image():
    astra = pytest.importorskip("astra")
    n, angles = 128, sparse_view(50)
    image = blob_image(n).astype(np.float32)
    volume = astra.create_vol_geom(n, n)
    geometry = astra.create_proj_geom("parallel", 1.0, 150, angles)
    peer = astra.OpTomo(astra.create_projector("linear", geometry, volume)).FP(image)
    assert relative(ParallelBeam((n, n), angles, 150) @ image, peer) <= 1e-3
    around = sparse_view(50, arc=2 * math.pi)
    geometry = astra.create_proj_geom("fanflat", 1.5, 150, around, 300.0, 150.0)
    peer = astra.OpTomo(astra.create_projector("line_fanflat", geometry, volume)).FP(image)
    ours = FanBeam((n, n), around, 150, source_origin=300.0, origin_detector=150.0, detector_spacing=1.5)
    assert relative(ours @ image, peer) <= 5e-3  # Siddon's model there, Joseph's here


@pytest.mark.parametrize("row_column", [(5, 40), (50, 9)])
@pytest.mark.parametrize("beam", ["parallel", "fan"])
def test_a_bright_pixel_lands_where_astra_puts_it(beam, row_column):
    astra = pytest.importorskip("astra")
    n, angles = 61, np.deg2rad([0.0, 30.0, 135.0, 200.0, 300.0])
    image = np.zeros((n, n), np.float32)
    image[row_column] = 1.0
    volume = astra.create_vol_geom(n, n)
    if beam == "parallel":
        A = ParallelBeam((n, n), angles, 261, detector_spacing=0.25)
        geometry, model = astra.create_proj_geom("parallel", 0.25, 261, angles), "linear"
    else:
        A = FanBeam((n, n), angles, 261, source_origin=120.0, origin_detector=60.0, detector_spacing=0.375)
        geometry, model = astra.create_proj_geom("fanflat", 0.375, 261, angles, 120.0, 60.0), "line_fanflat"
    theirs = astra.OpTomo(astra.create_projector(model, geometry, volume)).FP(image)
    bins = np.arange(261)
    ours = A @ image
    place, expected = ours @ bins / ours.sum(axis=1), theirs @ bins / theirs.sum(axis=1)
    assert np.ptp(expected) > 60
    np.testing.assert_allclose(place, expected, atol=0.3)  # half a pixel would be 2
