"""Objects of one material: the disc around them, the law of their hardening, and the recipe; also on measured scans."""

import math

import array_api_strict
import numpy as np
import pytest
import torch
from recon_operators.tomography import Disc, FanBeam, Hardening, ParallelBeam, fit_hardening, support_disc
from recon_proximal import Pdhg, one_material
from test_tomography_fbp import HTC, htc_scan

from recon import TV, NonNegative, Problem, solve
from recon.errors import ParameterError, ShapeError
from recon.metrics import matthews, otsu

SIZE = 64
LAW = Hardening(0.02, (0.04, -0.0001), 70.0)


def fan(degrees, views, size=SIZE, bins=120):
    return FanBeam(
        (size, size),
        np.deg2rad(np.linspace(20, 20 + degrees, views)),
        bins,
        source_origin=410.0,
        origin_detector=140.0,
        detector_spacing=96.0 / bins,
        pixel_size=70.0 / size,
    )


def discs(operator):
    """A disc of radius 30 at (-1.5, 2) with a large and a small hole."""
    body = Disc(-1.5, 2.0, 30.0).mask(operator)
    return body & ~Disc(-10.0, 5.0, 9.0).mask(operator) & ~Disc(12.0, -6.0, 4.0).mask(operator)


def chords(operator, disc):
    """Exact paths of the rays in a disc."""
    origins, directions = operator._rays()
    away = np.array([disc.x, disc.y]) - origins
    distance = away[..., 0] * directions[..., 1] - away[..., 1] * directions[..., 0]
    return 2 * np.sqrt(np.maximum(disc.radius**2 - distance**2, 0))


# -- the disc --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("beam", ["fan", "parallel"])
@pytest.mark.parametrize("degrees", [30, 340])
def test_disc_from_exact_paths(beam, degrees):
    A = fan(degrees, 40)
    if beam == "parallel":
        A = ParallelBeam((SIZE, SIZE), A.angles, 120, detector_spacing=0.7, pixel_size=70 / SIZE)
    body = Disc(-1.5, 2.0, 30.0)
    p = 0.04 * (chords(A, body) - chords(A, Disc(-10.0, 5.0, 9.0)))
    rng = np.random.default_rng(3)
    found = support_disc(A, p + 0.03 + 0.002 * rng.standard_normal(p.shape))
    assert math.hypot(found.x + 1.5, found.y - 2.0) < 0.15  # a seventh of a pixel
    assert found.radius == pytest.approx(30.0, abs=0.1)


def test_mask_of_a_disc():
    A = ParallelBeam((6, 8), np.zeros(1))
    mask = Disc(-3.5, 2.5, 0.1).mask(A)  # the pixel in the upper left corner
    assert mask[0, 0]
    assert mask.sum() == 1
    assert Disc(-3.5, 2.5, 0.1).mask(A, 1.0).sum() == 3
    assert Disc(0.0, 0.0, 1.0).mask(A, -2.0).sum() == 0


def test_no_disc():
    A = fan(30, 5)
    with pytest.raises(
        ParameterError, match=r"support_disc.sinogram must show the whole object, .* got 0\. Give"
    ):
        support_disc(A, np.zeros(A.codomain.shape))
    with pytest.raises(ParameterError, match=r"in 2 views or more, got 0\."):
        support_disc(A, np.where(np.arange(120) > 60, 1.0, 0.0) + np.zeros((5, 1)))
    with pytest.raises(ShapeError, match=r"support_disc.sinogram must have shape"):
        support_disc(A, np.zeros((5, 7)))


# -- the law ---------------------------------------------------------------------------------------------


def test_law_there_and_back():
    lengths = np.linspace(0, 70, 50)
    np.testing.assert_allclose(LAW(lengths), 0.02 + 0.04 * lengths - 0.0001 * lengths**2)
    np.testing.assert_allclose(LAW.paths(LAW(lengths)), lengths, atol=1e-5)
    assert LAW.paths(LAW(np.array([70.0])) + 0.026)[0] == pytest.approx(
        71.0, abs=1e-3
    )  # the last slope, 0.026
    assert LAW.paths(np.array([0.02 - 0.04]))[0] == pytest.approx(-1.0, abs=1e-3)  # the first slope
    double = LAW.scaled(2.0)
    np.testing.assert_allclose(double(lengths) - 0.02, 2 * (LAW(lengths) - 0.02))


@pytest.mark.parametrize("degree", [1, 2, 3, 4])
def test_fit_of_the_law(degree):
    true = Hardening(0.01, (0.04, -1e-4, 1e-7, 1e-9)[:degree], 60.0)
    lengths = np.random.default_rng(0).uniform(0, 60, (20, 30))
    found = fit_hardening(lengths, true(lengths), degree)
    np.testing.assert_allclose(found(lengths), true(lengths), rtol=1e-9)
    assert found.longest == lengths.max()


@pytest.mark.parametrize("make", [np.asarray, array_api_strict.asarray, torch.asarray])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_library_and_precision_of_the_law(make, dtype):
    p = make(np.linspace(0, 2, 6).astype(dtype))
    lengths = LAW.paths(p)
    assert type(lengths) is type(p)
    assert lengths.dtype == p.dtype
    assert LAW(lengths).dtype == p.dtype


def test_texts_of_the_law():
    with pytest.raises(
        ParameterError, match=r"coefficients must give a law that rises up to longest = 70, got"
    ):
        Hardening(0.0, (0.04, -0.0005), 70.0)
    with pytest.raises(ShapeError, match=r"lengths must have the shape of the sinogram, \(3,\), got \(2,\)"):
        fit_hardening(np.ones(2), np.ones(3))
    with pytest.raises(ParameterError, match=r"degree must be 1, 2, 3 or 4, got 0"):
        fit_hardening(np.ones(2), np.ones(2), 0)
    with pytest.raises(ParameterError, match=r"must be > 0 for some rays, got none\. Check the mask"):
        fit_hardening(np.zeros(2), np.ones(2))


# -- the recipe ------------------------------------------------------------------------------------------


def scan(degrees, views, gain=1.0, law=LAW):
    """Operator, what it measures of the discs on a grid twice as fine, hardened and noisy, and the truth."""
    A = fan(degrees, views)
    fine = fan(degrees, views, 2 * SIZE)
    p = law.scaled(gain)(fine @ discs(fine).astype(np.float64))
    return A, p + 0.005 * np.random.default_rng(1).standard_normal(p.shape), discs(A)


def test_recipe_beats_tv_from_60_degrees():
    A, y, truth = scan(60, 31, gain=0.96)
    support = support_disc(A, y).mask(A)
    found = one_material(A, y, support, law=LAW, iterations=100)
    assert found.provenance["gain"] == pytest.approx(0.96, abs=0.025)
    share = matthews(found.x > otsu(found.x), truth)
    plain = solve(Problem(A, y, TV(0.002) + NonNegative()), Pdhg(), stop=150).x
    assert share > 0.97
    assert share > matthews(plain > otsu(plain), truth) + 0.03
    assert 0 <= found.x.min() <= found.x.max() <= 1
    assert not found.x[~support].any()


def test_recipe_without_hardening_finds_the_attenuation():
    A = fan(340, 40)
    fine = fan(340, 40, 2 * SIZE)
    y = 0.035 * (fine @ discs(fine).astype(np.float64))
    y = y + 0.003 * np.random.default_rng(1).standard_normal(y.shape)
    found = one_material(A, y, support_disc(A, y).mask(A), iterations=100)
    assert found.provenance["gain"] == pytest.approx(0.035, rel=0.03)  # steps of 1 %
    assert matthews(found.x > 0.5, discs(A)) > 0.95


def test_weight_follows_the_missing_angles():
    weights = []
    for degrees, views in ((60, 31), (339, 40)):
        A, y, _ = scan(degrees, views)
        weights.append(
            one_material(A, y, support_disc(A, y).mask(A), law=LAW, iterations=1).provenance["tv_weight"]
        )
    assert weights[0] == pytest.approx(30 * (60 + 180 / 31) ** 2 / 180**2, rel=1e-6)
    assert 28 < weights[1] < 30


def test_data_without_noise():
    A = fan(60, 11)
    truth = discs(A)
    y = 0.04 * (A @ truth.astype(np.float64))
    found = one_material(A, y, Disc(-1.5, 2.0, 30.0).mask(A), iterations=50)
    assert np.isfinite(found.x).all()
    assert matthews(found.x > 0.5, truth) > 0.9


def test_recipe_in_torch():
    A, y, _ = scan(60, 31)
    support = support_disc(A, y).mask(A)
    one = one_material(A, y, support, law=LAW, weight=0.5, iterations=20)
    other = one_material(A, torch.asarray(y), torch.asarray(support), law=LAW, weight=0.5, iterations=20)
    assert isinstance(other.x, torch.Tensor)
    np.testing.assert_allclose(other.x.numpy(), one.x, atol=1e-8)
    assert other.provenance["tv_weight"] == 0.5


def test_nothing_to_find():
    A = fan(60, 5)
    with pytest.raises(
        ParameterError, match=r"one_material.sinogram must show material inside the support, got none"
    ):
        one_material(A, np.zeros(A.codomain.shape), np.ones((SIZE, SIZE)))
    with pytest.raises(ShapeError, match=r"one_material.support must have shape"):
        one_material(A, np.ones(A.codomain.shape), np.ones((3, 3)))


# -- measured scans --------------------------------------------------------------------------------------


@pytest.mark.shared
@pytest.mark.skipif(not HTC.exists(), reason="the shared folder is absent")
def test_measured_wedge():
    """60 degrees of `ta` on a coarse grid: peers come to 0.852 with the weight that the truth prefers."""

    def coarse(name, rows):
        full, sinogram, _ = htc_scan(name)
        small = FanBeam(
            (256, 256),
            full.angles[rows],
            280,
            source_origin=full.source_origin,
            origin_detector=full.origin_detector,
            detector_spacing=2 * full.detector_spacing,
            pixel_size=2 * full.pixel_size,
        )
        return small, sinogram[rows].reshape(-1, 280, 2).mean(axis=-1).astype(np.float32)

    solid, p = coarse("solid_disc", slice(0, 720, 12))
    law = fit_hardening(solid @ support_disc(solid, p).mask(solid).astype(np.float32), p)
    A, y = coarse("ta", slice(0, 121, 3))
    found = one_material(A, y, support_disc(A, y).mask(A), law=law, iterations=100)
    imread = pytest.importorskip("PIL.Image").open
    truth = np.asarray(imread(HTC / "htc2022_ta_full_recon_fbp_seg.png")) > 0
    x = np.kron(found.x, np.ones((2, 2)))
    assert matthews(x > otsu(x), truth) > 0.93
