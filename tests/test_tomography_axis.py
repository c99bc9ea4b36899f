"""The axis of rotation: found within a fraction of a bin, with noise, few views, cut-off objects and full circles."""

import math

import numpy as np
import pytest
import torch
from recon_operators.tomography import ParallelBeam, fbp, find_axis, golden_angle, sparse_view
from test_tomography_analytic import SHEPP_LOGAN, ellipse_integrals, parallel_lines

from recon.errors import ArrayError, ParameterError, ShapeError

BINS = 160


def scan(angles, shift, size=0.8, noise=0.0, seed=0):
    """A sinogram of the head phantom, `size` times as wide as the detector."""
    data = ellipse_integrals(SHEPP_LOGAN, *parallel_lines(angles, BINS, 1.0, shift), BINS / 2 * size)
    return data + noise * data.max() * np.random.default_rng(seed).standard_normal(data.shape)


@pytest.mark.parametrize("shift", [0.0, -17.3, 25.5])
@pytest.mark.parametrize(
    ("angles", "options", "limit"),
    [
        (sparse_view(120), {}, 0.2),
        (sparse_view(120), {"noise": 0.05}, 0.4),
        (sparse_view(120), {"size": 1.4, "noise": 0.01}, 0.4),  # beyond the detector on both sides
        (sparse_view(20), {}, 0.3),
        (sparse_view(240, arc=2 * math.pi), {"noise": 0.01}, 0.25),
        (1.0 + sparse_view(90)[::-1], {}, 0.2),  # anywhere, and backwards
        (golden_angle(144), {}, 0.3),
        (np.linspace(0, math.pi, 121), {}, 0.2),  # the last view is the first one turned round
    ],
    ids=["clean", "noisy", "cut off", "few views", "full circle", "backwards", "golden", "closed"],
)
def test_found(angles, options, limit, shift):
    found = find_axis(scan(angles, shift, **options), angles)
    assert isinstance(found, float)
    assert abs(found - shift) <= limit


def test_what_is_found_makes_the_image_sharp():
    angles = sparse_view(120)
    data = scan(angles, -17.3, noise=0.01)
    made = [
        fbp(ParallelBeam((128, 128), angles, BINS, detector_shift=s), data)
        for s in (-17.3, find_axis(data, angles))
    ]
    wrong = fbp(ParallelBeam((128, 128), angles, BINS, detector_shift=-15.3), data)
    assert np.linalg.norm(made[1] - made[0]) <= 0.3 * np.linalg.norm(wrong - made[0])


def test_slices_share_one_axis():
    """Noise that hides the axis in one slice averages out over twelve."""
    angles = sparse_view(60)
    slices = np.stack([scan(angles, 9.4, noise=0.25, seed=seed) for seed in range(12)])
    assert abs(find_axis(slices, angles) - 9.4) <= 0.8
    assert find_axis(torch.asarray(slices[0]), angles) == find_axis(slices[0], angles)


DISCS = np.array(
    [(5, -8, 40, 1.0), (20, 10, 8, 1.0), (-15, 5, 4, 2.0), (0, 30, 3, 3.0)]
)  # x, y, radius, value


@pytest.mark.parametrize("shift", [0.0, -17.3, 7.7])
@pytest.mark.parametrize("size", [0.8, 1.6, 2.2], ids=["inside", "fills the detector", "beyond it"])
def test_sharp_discs(size, shift):
    """Steep edges far from the axis: what tells energy of the object from that of a wrong guess."""
    angles = sparse_view(120)
    s = np.arange(BINS) - (BINS - 1) / 2 + shift
    data = np.zeros((angles.size, BINS))
    for x, y, radius, value in DISCS * [size, size, size, 1]:
        distance = s - (x * np.cos(angles) + y * np.sin(angles))[:, None]
        data += 2 * value * np.sqrt(np.maximum(radius**2 - distance**2, 0))
    assert abs(find_axis(data, angles) - shift) <= 0.1


def test_reach(caplog):
    angles = sparse_view(60)
    assert abs(find_axis(scan(angles, 25.5), angles, reach=0.3) - 25.5) <= 0.3
    assert not caplog.records
    assert abs(find_axis(scan(angles, 25.5), angles, reach=0.15)) <= 25
    assert "the best shift of all is the largest, 24 bins. The axis may be beyond" in caplog.text
    for shift in (
        55.0,
        -55.0,
    ):  # where it turns out of sight, the filling must not be taken for a perfect fit
        assert abs(find_axis(scan(angles, shift, size=0.3), angles, reach=0.4) - shift) <= 0.3
    assert abs(find_axis(scan(angles, 70.0, size=2.0), angles, reach=0.49) - 70) <= 0.3


def test_error_texts():
    angles = sparse_view(60)
    data = scan(angles, 0.0)
    for reach in (0, 0.5, True, "far"):
        with pytest.raises(
            ParameterError, match=r"find_axis reach must be in \(0, 0.5\), got .* fraction of the bins"
        ):
            find_axis(data, angles, reach=reach)
    with pytest.raises(
        ParameterError,
        match="must go round half a circle with gaps below 12 degrees, got one of 60. Find the shift",
    ):
        find_axis(data[:41], angles[:41])
    with pytest.raises(
        ShapeError, match=r"find_axis sinogram must have shape \(..., 60, 160\), got \(59, 160\)"
    ):
        find_axis(data[1:], angles)
    with pytest.raises(ShapeError, match="find_axis sinogram must have shape"):
        find_axis(data[0], angles)
    with pytest.raises(
        ShapeError, match="find_axis sinogram must have 16 bins or more, got 9. Bins are the last axis"
    ):
        find_axis(data[:, :9], angles)
    with pytest.raises(
        ArrayError, match="find_axis sinogram must be finite and not constant, got NaN, infinity or nothing"
    ):
        find_axis(np.where(data > 1, np.nan, data), angles)
    with pytest.raises(
        ArrayError, match="must be finite and not constant, .* Replace those entries, or take"
    ):
        find_axis(np.ones_like(data), angles)
    with pytest.raises(ArrayError, match="must be finite and not constant"):
        find_axis(data[None][:0], angles)
    with pytest.raises(ArrayError, match="find_axis angles must be finite, got NaN"):
        find_axis(data, np.where(angles > 3, np.nan, angles))
    for wrong, text in (
        ("abc", "must be numbers, got 'abc'"),
        ([], r"got \[\]. Give one a view"),
        (1j * angles, "must be real numbers in radians, got an"),
    ):
        with pytest.raises(ArrayError, match=f"find_axis angles.*{text}"):
            find_axis(data, wrong)
