"""Filtered back projection: errors on analytic data, weights of views and rays, and a measured scan."""

import logging
import math
import sys
from pathlib import Path

import array_api_strict
import numba
import numpy as np
import pytest
import torch
from recon_operators.tomography import FanBeam, ParallelBeam, fbp, golden_angle, limited_angle, sparse_view
from recon_operators.tomography import _redundancy as redundancy
from test_tomography import each_beam
from test_tomography_analytic import (
    LINES,
    SHEPP_LOGAN,
    blob_image,
    blob_integrals,
    ellipse_image,
    ellipse_integrals,
    fan_lines,
    parallel_lines,
    relative,
)

from recon.errors import CapabilityError, ParameterError, ShapeError

N = 256
HTC = Path(__file__).parents[2] / "shared" / "data" / "ct" / "htc2022"
R, R_D, BINS = 600.0, 300.0, 480  # a fan with 1.5-fold magnification and bins of 1.5 pixels
EDGE = (BINS - 1) / 2 * 1.5 / (R + R_D)
DELTA = {"flat": math.atan(EDGE), "curved": EDGE}  # half the fan angle
each_detector = pytest.mark.parametrize("detector", LINES)


@pytest.fixture(scope="module")
def phantom():
    return ellipse_image(SHEPP_LOGAN, N)


def inside(image):
    """The figures of merit look at a disc of 0.42 N."""
    r = np.hypot(*(np.indices(image.shape) - (N - 1) / 2))
    return image[r < 0.42 * N]


def quality(image, truth):
    """Relative L2 error, and ratio of the means of the 16 x 16 central pixels."""
    core = slice(N // 2 - 8, N // 2 + 8)
    return relative(inside(image), inside(truth)), image[core, core].mean() / truth[core, core].mean()


def fan(angles, detector="flat"):
    geometry = {"source_origin": R, "origin_detector": R_D, "detector_spacing": 1.5}
    return FanBeam((N, N), angles, BINS, **geometry, detector=detector)


def fan_data(angles, detector="flat"):
    return ellipse_integrals(SHEPP_LOGAN, *LINES[detector](angles, BINS, R, R_D, 1.5), N / 2)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("ramp", 0.071), ("shepp-logan", 0.078), ("cosine", 0.109), ("hamming", 0.132), ("hann", 0.140)],
)
def test_parallel_filters(phantom, name, expected):
    angles = sparse_view(720)
    data = ellipse_integrals(SHEPP_LOGAN, *parallel_lines(angles, N), N / 2)
    error, centre = quality(fbp(ParallelBeam((N, N), angles, N), data, name), phantom)
    assert 0.95 * expected <= error <= expected + 5e-4
    assert centre == pytest.approx(1, abs=1e-3)


@each_detector
def test_fan_full_circle(phantom, detector):
    angles = sparse_view(1440, arc=2 * math.pi)
    error, centre = quality(fbp(fan(angles, detector), fan_data(angles, detector)), phantom)
    assert error <= 0.075
    assert centre == pytest.approx(1, abs=1e-3)


@each_detector
def test_fan_with_uneven_views(phantom, detector):
    angles = np.sort(np.random.default_rng(5).uniform(0, 2 * math.pi, 1800))
    error, centre = quality(fbp(fan(angles, detector), fan_data(angles, detector)), phantom)
    assert error <= 0.075
    assert centre == pytest.approx(1, abs=1e-3)


def test_a_curved_detector_is_not_a_flat_one(phantom):
    """The wrong one of the two is seen: the fan here is 44 degrees wide."""
    angles = sparse_view(720, arc=2 * math.pi)
    for right, wrong in (("flat", "curved"), ("curved", "flat")):
        data = fan_data(angles, right)
        assert quality(fbp(fan(angles, wrong), data), phantom)[0] > 0.1


@each_detector
def test_fan_short_scan_needs_parkers_weights_with_the_right_sign(phantom, monkeypatch, detector):
    angles = sparse_view(1000, arc=math.pi + 2 * DELTA[detector])
    A, data = fan(angles, detector), fan_data(angles, detector)
    error, centre = quality(fbp(A, data), phantom)
    assert error <= 0.075
    assert centre == pytest.approx(1, abs=1e-3)
    assert np.array_equal(fbp(A, data), fbp(A, data, short_scan=True))

    without, _ = quality(fbp(A, data, short_scan=False), phantom)
    assert without > 0.2
    right = redundancy._parker
    monkeypatch.setattr(redundancy, "_parker", lambda beta, gamma, delta: right(beta, -gamma, delta))
    wrong, _ = quality(fbp(A, data), phantom)
    assert wrong > 0.2


@pytest.mark.parametrize("start", [0.0, 1.0, 5.0])
def test_short_scan_may_start_anywhere_and_be_longer(phantom, start):
    angles = start + sparse_view(1000, arc=math.radians(280))
    assert quality(fbp(fan(angles), fan_data(angles)), phantom)[0] <= 0.075
    turned = angles[::-1].copy()
    assert quality(fbp(fan(turned), fan_data(turned)), phantom)[0] <= 0.075


def test_parker_shares_add_up_to_one():
    """Ray (beta, gamma) is ray (beta + pi + 2 gamma, -gamma)."""
    delta = 0.3
    gamma = np.linspace(-0.29, 0.29, 59)[None, :]
    beta = np.linspace(1e-3, math.pi + 2 * delta - 1e-3, 400)[:, None]
    again = beta + math.pi + 2 * gamma
    again = np.where(again > math.pi + 2 * delta, beta - math.pi + 2 * gamma, again)
    measured_again = (again >= 0) & (again <= math.pi + 2 * delta)
    total = redundancy._parker(beta, gamma, delta)
    total = total + np.where(measured_again, redundancy._parker(again, -gamma, delta), 0)
    np.testing.assert_allclose(total, 1, atol=1e-12)
    assert 0.05 < measured_again.mean() < 0.95


@pytest.mark.parametrize("beam", ["parallel", *LINES])
def test_units_shift_and_precision(beam):
    """Pixels of 0.3 mm, bins of 0.25 mm, detector off centre: attenuation per mm, precision of the data."""
    h, n, shift = 0.3, 128, 7.25
    angles = sparse_view(720, arc=2 * math.pi)
    if beam == "parallel":
        A = ParallelBeam((n, n), angles, 260, detector_spacing=0.25, detector_shift=shift, pixel_size=h)
        lines = parallel_lines(angles, 260, 0.25, shift)
    else:
        A = FanBeam(
            (n, n),
            angles,
            400,
            source_origin=90.0,
            origin_detector=45.0,
            detector_spacing=0.25,
            detector_shift=shift,
            detector=beam,
            pixel_size=h,
        )
        lines = LINES[beam](angles, 400, 90.0, 45.0, 0.25, shift)
    data = blob_integrals(*lines, n * h / 2)
    image = fbp(A, data)
    assert relative(image, blob_image(n, h)) <= 0.005
    single = fbp(A, data.astype(np.float32))
    assert single.dtype == np.float32
    assert relative(single, image) <= 1e-5


def test_views_measured_twice_count_half():
    n = 128
    truth = blob_image(n)
    for angles in (sparse_view(360), sparse_view(720, arc=2 * math.pi), np.append(sparse_view(360), math.pi)):
        data = blob_integrals(*parallel_lines(angles, 180), n / 2)
        assert relative(fbp(ParallelBeam((n, n), angles, 180), data), truth) <= 0.005
    closed = np.append(sparse_view(360, arc=2 * math.pi), 2 * math.pi)
    A = FanBeam((n, n), closed, 260, source_origin=300.0, origin_detector=150.0, detector_spacing=1.5)
    data = blob_integrals(*fan_lines(closed, 260, 300.0, 150.0, 1.5), n / 2)
    both, once = fbp(A, data), fbp(A.views(slice(None, -1)), data[:-1])
    np.testing.assert_allclose(both, once, rtol=0, atol=1e-12)
    assert relative(both, truth) <= 0.005


def test_uneven_views_get_the_arc_they_stand_for():
    n, rng = 128, np.random.default_rng(1)
    truth = blob_image(n)
    for angles in (rng.permutation(golden_angle(377)), np.sort(rng.uniform(0, math.pi, 900))):
        data = blob_integrals(*parallel_lines(angles, 180), n / 2)
        assert relative(fbp(ParallelBeam((n, n), angles, 180), data), truth) <= 0.01
        assert redundancy.arc_weights(angles, math.pi).sum() == pytest.approx(math.pi)


def test_limited_angle_gives_nothing_to_what_is_missing():
    weights = redundancy.arc_weights(limited_angle(0.5, 2.0, 30), math.pi)
    np.testing.assert_allclose(weights, 1.5 / 30)
    around = redundancy.arc_weights(limited_angle(2.5, 4.0, 30), math.pi)  # the arc crosses pi
    np.testing.assert_allclose(around, 1.5 / 30)
    fan_ = redundancy.fan_weights(limited_angle(0.5, 2.0, 30), np.linspace(-0.1, 0.1, 7), 1.0, None)
    np.testing.assert_allclose(fan_, 1.5 / 30)  # nothing was measured twice


def half_fan(angles, bins=70, shift=30, detector="flat"):
    """A small fan that sees the image on one side only, and the data of the smooth phantom."""
    geometry = {"source_origin": 128.0, "origin_detector": 64.0, "detector_spacing": 1.2}
    A = FanBeam((64, 64), angles, bins, detector_shift=shift, detector=detector, **geometry)
    return A, blob_integrals(*LINES[detector](angles, bins, 128.0, 64.0, 1.2, shift), 32)


def half_curved(angles, shift=30):
    return half_fan(angles, shift=shift, detector="curved")


def half_parallel(angles, bins=60, shift=25):
    A = ParallelBeam((64, 64), angles, bins, detector_shift=shift)
    return A, blob_integrals(*parallel_lines(angles, bins, 1.0, shift), 32)


@pytest.mark.parametrize("scan", [half_fan, half_curved, half_parallel])
@pytest.mark.parametrize("turn", [1, -1])
def test_displaced_detector(scan, turn, caplog):
    """Rays that are seen once count in full: before, the error was above 60 %."""
    shift = {half_fan: 30, half_curved: 30, half_parallel: 25}[scan] * turn
    A, data = scan(sparse_view(360, arc=2 * math.pi), shift=shift)
    assert relative(fbp(A, data), blob_image(64)) <= 0.012
    assert not caplog.text


@pytest.mark.parametrize("bins", [70, 90, 110])
@pytest.mark.parametrize("shift", [0, 0.5, 3, 10, 25])
def test_shares_of_a_displaced_detector(bins, shift):
    u = np.arange(bins) - (bins - 1) / 2 + shift
    share = redundancy._detector_share(u)
    both = np.interp(-u, u, share, left=0, right=0)
    twice = -u >= u.min()
    np.testing.assert_allclose((share + both)[twice], 1, atol=1e-12)
    np.testing.assert_array_equal(share[~twice], 1)
    assert np.ptp(share) == 0 if shift == 0 else share.max() == 1


@pytest.mark.parametrize("scan", [half_fan, half_parallel])
def test_a_displaced_detector_needs_a_full_circle(scan, caplog):
    A, data = scan(sparse_view(180))
    fbp(A, data)
    assert "the detector is displaced and the views are no full circle" in caplog.text


def test_a_displaced_detector_with_air_on_its_far_side_is_no_trouble(caplog):
    angles = sparse_view(120)
    A = ParallelBeam((64, 64), angles, 120, detector_shift=20)
    data = blob_integrals(*parallel_lines(angles, 120, 1.0, 20), 32)
    rng = np.random.default_rng(6)
    assert relative(fbp(A, data), blob_image(64)) <= 0.012
    fbp(A, data + 0.02 * data.max() * rng.standard_normal(data.shape))
    assert not caplog.text


def test_a_detector_beside_the_middle_is_noticed(caplog):
    A, data = half_fan(sparse_view(36, arc=2 * math.pi), shift=40)
    assert np.isfinite(fbp(A, data)).all()
    assert "the detector does not see the middle of the image; check detector_shift" in caplog.text


def without(*gaps):
    """Views 0 to 359 over a full circle but for those between the given ones."""
    keep = np.ones(360, bool)
    for start, stop in gaps:
        keep[start:stop] = False
    return sparse_view(360, arc=2 * math.pi)[keep]


def test_a_fan_fills_several_gaps_from_the_other_side():
    def error(angles):
        return relative(fbp(*half_fan(angles, 110, 0)), blob_image(64))

    complete = error(without())
    assert error(without((100, 110), (200, 210))) <= 1.05 * complete  # was 5 times as much
    assert error(without((100, 130), (200, 230))) <= 1.05 * complete
    assert error(without((100, 110), (280, 290))) <= 0.035  # opposite: no one saw these rays


def test_false_is_a_full_circle_whatever_the_arc():
    u = np.linspace(-40.0, 40.0, 9)
    weights = redundancy.fan_weights(limited_angle(0, math.radians(300), 150), u, 128.0, False)
    np.testing.assert_allclose(weights, math.radians(1.0))  # 2 degrees a view, half each


def test_gaps_of_a_parallel_scan_belong_to_the_views_beside_them():
    angles = without((100, 110), (200, 210)) / 2
    A, data = half_parallel(angles, 92, 0)
    assert relative(fbp(A, data), blob_image(64)) <= 0.015  # 0.0097 without gaps, 0.11 with no one's gaps


@pytest.mark.parametrize(("width", "gain"), [(3, 15), (10, 5), (20, 1.8)])
def test_a_narrow_gap_of_a_parallel_scan_is_filled(width, gain, monkeypatch):
    angles = sparse_view(360)
    angles = angles[(angles < 1) | (angles >= 1 + math.radians(width))]
    data = blob_integrals(*parallel_lines(angles, 200), 64)

    def error():
        return relative(inside(fbp(ParallelBeam((128, 128), angles, 200), data)), inside(blob_image(128)))

    filled = error()
    monkeypatch.setattr(redundancy, "_NARROW", 0.0)  # to nobody, as a wide one
    assert filled <= error() / gain


def test_a_wide_gap_of_a_parallel_scan_is_a_limited_angle():
    wide = limited_angle(0, math.radians(140), 280)
    np.testing.assert_allclose(redundancy.parallel_weights(wide, np.arange(-5.0, 6.0)), math.radians(0.5))


@pytest.mark.parametrize(
    ("arc", "text"), [(360, "full circle"), (230, "short scan over 230.0"), (120, "limited angle, 120.0")]
)
def test_the_choice_is_logged(arc, text, caplog):
    angles = sparse_view(90, arc=math.radians(arc))
    A = fan(angles)
    with caplog.at_level(logging.INFO, logger="recon"):
        fbp(A, np.ones(A.codomain.shape))
    assert text in caplog.text


@each_beam
def test_libraries_and_batches(A):
    y = np.random.default_rng(2).standard_normal((2, 3, *A.codomain.shape))
    image = fbp(A, y)
    assert image.shape == (2, 3, *A.domain.shape)
    np.testing.assert_allclose(image[1, 2], fbp(A, y[1, 2]), rtol=0, atol=1e-13)
    for xp in (array_api_strict, torch):
        other = fbp(A, xp.asarray(y))
        assert type(other) is type(xp.asarray(y))
        assert np.array_equal(np.asarray(other), image)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@each_beam
def test_without_numba_the_same_image(A, dtype, monkeypatch):
    y = np.random.default_rng(3).standard_normal(A.codomain.shape).astype(dtype)
    compiled = fbp(A, y)
    monkeypatch.setitem(sys.modules, "recon_operators.tomography._backproject_numba", None)
    plain = fbp(A, y)
    assert plain.dtype == dtype
    limit = 1e-12 if dtype == np.float64 else 1e-5
    np.testing.assert_allclose(plain, compiled, rtol=0, atol=limit * np.abs(compiled).max())


@each_detector
def test_threads_give_the_same_bits(detector):
    if numba.config.NUMBA_NUM_THREADS < 2:
        pytest.skip("numba is limited to one thread here")
    A = fan(sparse_view(40, arc=2 * math.pi), detector)
    y = np.random.default_rng(4).standard_normal(A.codomain.shape)
    before, images = numba.get_num_threads(), []
    try:
        for threads in (1, 2):
            numba.set_num_threads(threads)
            images.append(fbp(A, y))
    finally:
        numba.set_num_threads(before)
    assert np.array_equal(*images)


def test_error_texts():
    A = FanBeam.example()
    y = np.ones(A.codomain.shape)
    for wrong in ("no", "banana", 1):
        with pytest.raises(
            ParameterError, match=f"fbp short_scan must be None, True or False, got {wrong!r}"
        ):
            fbp(A, y, short_scan=wrong)
    P = ParallelBeam.example()
    for given in (True, False):
        with pytest.raises(
            ParameterError, match=f"short_scan must be None for a ParallelBeam, got {given}. Only fans"
        ):
            fbp(P, np.ones(P.codomain.shape), short_scan=given)
    with pytest.raises(
        CapabilityError, match="fbp operator must be a ParallelBeam, FourierSliceBeam or FanBeam, got Adj"
    ):
        fbp(A.H, y)
    with pytest.raises(
        ParameterError, match=r"fbp filter must be one of ramp, shepp-logan, .* got 'ram-lak'"
    ):
        fbp(A, y, "ram-lak")
    with pytest.raises(ShapeError, match=r"fbp sinogram must have shape \(..., 12, 24\)"):
        fbp(A, y[:-1])
    with pytest.raises(ParameterError, match="short_scan must be False or None for views over a full circle"):
        fbp(A, y, short_scan=True)
    with pytest.raises(
        ParameterError, match=r"short_scan needs an arc of at least 219\.5 degrees, got 150\.0"
    ):
        fbp(A.views(slice(0, 5)), y[:5], short_scan=True)


def htc_scan(name="ta"):
    """The operator of all 721 views, sinogram and reference image of a scan; lengths in mm."""
    scipy_io = pytest.importorskip("scipy.io")
    scan = scipy_io.loadmat(HTC / f"htc2022_{name}_full.mat", squeeze_me=True, struct_as_record=False)[
        "CtDataFull"
    ]
    image = scipy_io.loadmat(HTC / f"htc2022_{name}_full_recon_fbp.mat")["reconFullFbp"]
    to_origin = float(scan.parameters.distanceSourceOrigin)
    to_detector = float(scan.parameters.distanceSourceDetector)
    A = FanBeam(
        image.shape,
        np.deg2rad(scan.parameters.angles),
        scan.sinogram.shape[1],
        source_origin=to_origin,
        origin_detector=to_detector - to_origin,
        detector_spacing=0.2,
        pixel_size=0.2 * to_origin / to_detector,
    )
    return A, scan.sinogram, image


@pytest.mark.shared
@pytest.mark.skipif(not HTC.exists(), reason="the shared folder is absent")
def test_measured_scan():
    """The geometry of the docstring of `fan`: nothing transposed or flipped, theta = the stored angle."""
    A, sinogram, reference = htc_scan()
    projected = A @ (reference / A.pixel_size)
    assert relative(projected, sinogram) <= 0.042
    mirrored = A @ (np.ascontiguousarray(reference[:, ::-1]) / A.pixel_size)
    assert relative(mirrored, sinogram) > 0.1

    def psnr(image):
        return 10 * math.log10(0.005**2 / np.mean((image * A.pixel_size - reference) ** 2))

    assert psnr(fbp(A, sinogram)) >= 50
    assert psnr(fbp(A.views(slice(0, 720)), sinogram[:720])) >= 50
    assert (
        psnr(fbp(A.views(slice(0, 480)), sinogram[:480])) >= 25
    )  # a short scan, for comparison 7 at 90 degrees
