"""FDK: values, orientation, weights of rays, units and precision, on data in closed form."""

import math
import sys

import array_api_strict
import numpy as np
import pytest
import torch
from recon_operators.tomography import ConeBeam, FanBeam, VectorBeam, _redundancy, fbp, fdk, sparse_view
from test_cone_analytic import blob_data, blob_volume, head_data, head_volume
from test_tomography_analytic import relative

from recon.errors import CapabilityError, ParameterError, ShapeError

N = 64
WIDE = {"source_origin": 200.0, "origin_detector": 100.0, "detector_spacing": 1.4}
DELTA = math.atan((96 - 1) / 2 * 1.4 / 300.0)


def scan(angles, n=N, detector=(96, 96), **changes):
    return ConeBeam((n, n, n), angles, detector, **(WIDE | changes))


def around(views, arc=2 * math.pi, start=0.0):
    return start + sparse_view(views, arc=arc)


def middle(volume):
    """Mean of the 8^3 central voxels."""
    core = slice(N // 2 - 4, N // 2 + 4)
    return volume[core, core, core].mean()


def test_centre_of_a_body():
    """An ellipsoid that is not in the middle, so that every mirror image would be seen."""
    body = [(1.3, 0.5, 0.62, 0.55, 0.1, -0.06, 0.05, 20.0)]
    A = scan(around(180))
    data, truth = head_data(A, N / 2, body), head_volume(N, body, sub=2)
    volume = fdk(A, data)
    assert middle(volume) == pytest.approx(1.3, rel=0.01)
    assert relative(volume, truth) <= 0.12
    for axis in range(3):
        assert relative(np.flip(volume, axis), truth) > 0.25


def test_head():
    A = scan(around(180))
    data = head_data(A, N / 2)
    volume, truth = fdk(A, data, "hann"), head_volume(N, sub=2)
    assert middle(volume) == pytest.approx(middle(truth), rel=0.01)
    assert volume[48, 26:30, 26:30].mean() == pytest.approx(truth[48, 26:30, 26:30].mean(), abs=0.02)


@pytest.mark.parametrize("start", [0.0, 5.0])
def test_short_scan_needs_parkers_weights_with_the_right_sign(start, monkeypatch):
    A = scan(around(200, math.pi + 2 * DELTA, start))
    data, truth = blob_data(A, N / 2), blob_volume(N)
    plane = slice(28, 36)  # short scans are good near the plane of the source
    assert relative(fdk(A, data)[plane], truth[plane]) <= 0.045
    assert np.array_equal(fdk(A, data), fdk(A, data, short_scan=True))
    assert relative(fdk(A, data, short_scan=False)[plane], truth[plane]) > 0.15
    right = _redundancy._parker
    monkeypatch.setattr(_redundancy, "_parker", lambda beta, gamma, delta: right(beta, -gamma, delta))
    assert relative(fdk(A, data)[plane], truth[plane]) > 0.1


def test_middle_slice_is_the_fan():
    angles = around(90)
    A = ConeBeam((1, N, N), angles, (3, 96), detector_shift=(0.0, 3.25), **WIDE)
    fan = FanBeam((N, N), angles, 96, detector_shift=3.25, **WIDE)
    data = np.random.default_rng(0).standard_normal(A.codomain.shape)
    np.testing.assert_allclose(fdk(A, data)[0], fbp(fan, data[:, 1]), rtol=0, atol=1e-10)


def test_units_shift_and_precision():
    """Voxels of 0.3 mm, oblong bins, the detector off centre both ways: attenuation per mm."""
    h = 0.3
    A = scan(
        around(180),
        detector=(110, 150),
        source_origin=60.0,
        origin_detector=30.0,
        detector_spacing=(0.42, 0.3),
        detector_shift=(4.5, 7.25),
        pixel_size=h,
    )
    data = blob_data(A, N * h / 2)
    volume = fdk(A, data)
    assert relative(volume, blob_volume(N, h)) <= 0.05
    single = fdk(A, data.astype(np.float32))
    assert single.dtype == np.float32
    assert relative(single, volume) <= 1e-5


def test_displaced_detector():
    """It sees one side only, and the other half a turn later."""
    A = scan(around(180), detector=(96, 64), detector_shift=(0.0, 20.0))
    assert relative(fdk(A, blob_data(A, N / 2)), blob_volume(N)) <= 0.05


@pytest.mark.parametrize("xp", [array_api_strict, torch])
def test_libraries_and_batches(xp):
    A = ConeBeam.example()
    data = np.random.default_rng(1).standard_normal((2, 3, *A.codomain.shape))
    volume = fdk(A, xp.asarray(data))
    assert type(volume) is type(xp.asarray(data))
    assert volume.shape == (2, 3, *A.domain.shape)
    assert np.array_equal(np.asarray(volume)[1, 2], fdk(A, data[1, 2]))


def test_without_numba(monkeypatch):
    A = ConeBeam(
        (7, 8, 9), around(20), (9, 13), **(WIDE | {"source_origin": 20.0, "detector_shift": (0.3, -1.2)})
    )
    data = np.random.default_rng(2).standard_normal(A.codomain.shape)
    expected = fdk(A, data)
    monkeypatch.setitem(sys.modules, "recon_operators.tomography._cone_backproject_numba", None)
    np.testing.assert_allclose(fdk(A, data), expected, rtol=0, atol=1e-12 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (
            lambda A, y: fdk(VectorBeam(A.volume_shape, A.vectors, A.detector_shape), y),
            CapabilityError,
            "fdk operator must be a ConeBeam without tilt and roll, got VectorBeam. Use an iterative",
        ),
        (
            lambda A, y: fdk(scan(A.angles, tilt=0.1), y),
            CapabilityError,
            "without tilt and roll, got one with tilt or roll",
        ),
        (lambda A, y: fdk(A, y, "box"), ParameterError, "fdk filter must be one of ramp, .*, got 'box'"),
        (
            lambda A, y: fdk(A, y, short_scan=1),
            ParameterError,
            "fdk short_scan must be None, True or False, got 1",
        ),
        (lambda A, y: fdk(A, y[:2]), ShapeError, "fdk data must have shape"),
    ],
)
def test_error_texts(make, error, text):
    A = scan(around(6))
    with pytest.raises(error, match=text):
        make(A, np.ones(A.codomain.shape))
