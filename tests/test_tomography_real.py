"""Measured scans: the tooth from its counts, and the three complete scans of the Helsinki challenge."""

import math
from pathlib import Path

import numpy as np
import pytest
from recon_operators.tomography import FanBeam, ParallelBeam, fbp, find_axis, line_integrals
from test_tomography_fbp import HTC, htc_scan

SHARED = Path(__file__).parents[2] / "shared" / "data" / "ct"
pytestmark = [
    pytest.mark.shared,
    pytest.mark.skipif(not SHARED.exists(), reason="the shared folder is absent"),
]


@pytest.fixture(scope="module")
def tooth():
    """Line integrals (slices, views, bins), their weights, and the angles."""
    h5py = pytest.importorskip("h5py")
    with h5py.File(SHARED / "tooth.h5") as file:
        counts, white, dark = (file[f"exchange/{name}"][:] for name in ("data", "data_white", "data_dark"))
        angles = np.deg2rad(file["exchange/theta"][:])
    p, weights = line_integrals(
        np.moveaxis(counts, 1, 0), white.mean(axis=0)[:, None], dark.mean(axis=0)[:, None]
    )
    return p, weights, angles


def entropy(image):
    """Entropy of the gray levels: lowest where edges are sharp and nothing is doubled."""
    share = np.histogram(image, 200, (-0.004, 0.014))[0] / image.size
    share = share[share > 0]
    return -(share * np.log(share)).sum()


def test_counts_of_the_tooth(tooth):
    p, weights, _ = tooth
    assert p.shape == weights.shape == (2, 181, 640)
    assert abs(np.median(p[:, :, :60])) < 0.02  # air
    assert 1.5 < p.max() < 2.5
    assert weights.min() > 0


def test_axis_of_the_tooth(tooth):
    """Bin 295.9, from both slices and from each; the picture is sharpest there."""
    p, _, angles = tooth
    found = find_axis(p, angles)
    assert 639 / 2 - found == pytest.approx(295.9, abs=0.15)
    for one in p:
        assert find_axis(one, angles) == pytest.approx(found, abs=0.2)

    def image(shift):
        A = ParallelBeam((340, 340), angles, 640, detector_shift=shift)
        return fbp(A, p[0].astype(np.float64), "hann")

    blur = [entropy(image(found + step)) for step in (-1.5, -0.5, 0, 0.5, 1.5)]
    assert int(np.argmin(blur)) == 2
    assert blur[2] < blur[0] - 0.1
    assert blur[1] == pytest.approx(blur[3], abs=0.01)  # the same on both sides: `found` is in the middle
    best = image(found)
    assert np.median(best[:60, :60]) == pytest.approx(0, abs=2e-4)  # air
    assert np.quantile(best, 0.99) == pytest.approx(0.0083, rel=0.05)  # enamel, in 1 / bin


@pytest.mark.parametrize("name", ["ta", "tc", "solid_disc"])
def test_helsinki(name):
    assert HTC.exists()
    scan, sinogram, image = htc_scan(name)
    assert isinstance(scan, FanBeam)
    error = fbp(scan, sinogram) * scan.pixel_size - image
    assert 10 * math.log10(0.005**2 / np.mean(error**2)) >= 50
