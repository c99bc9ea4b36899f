"""Archetypal analysis: optimal projections and abundances, a falling objective, right archetypes, real scenes."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from recon_unmixing import Cube, mixedness
from recon_unmixing._archetypal import Descent, differences, furthest_sum, log_volume, mixtures
from recon_unmixing.archetypal import archetypal_analysis, normalise_pixels
from recon_unmixing.scenes import free_scale_abundances, score_scene, spectral_angles
from scipy.optimize import minimize

from recon.errors import ArrayError, ParameterError, ShapeError

ROOT = Path(__file__).resolve().parents[1]
HSI = ROOT.parent / "shared" / "data" / "hsi"


def scene(seed=0, pixels=300, bands=20, p=3, noise=0.003, outliers=0):
    """Pixels (N, L), endmembers (p, L), abundances (N, p): three pure pixels of each, the rest Dirichlet."""
    rng = np.random.default_rng(seed)
    wave = np.linspace(0.0, 1.0, bands)
    E = np.array([0.4 + 0.35 * np.sin(2.0 * np.pi * (k + 1) * wave / 2.0 + k) for k in range(p)])
    A = rng.dirichlet(np.ones(p), pixels)
    A[: 3 * p] = np.repeat(np.eye(p), 3, axis=0)
    Y = A @ E + noise * rng.standard_normal((pixels, bands))
    if outliers:
        Y[-outliers:] += rng.uniform(-1.0, 1.0, (outliers, bands))
    return Y, E, A


def objective(Y, E, A, width):
    r = np.linalg.norm(Y - A @ E, axis=1)
    if width is None:
        return 0.5 * np.log(np.sum(0.5 * r * r))
    return np.log(np.sum(np.where(r < width, 0.5 * r * r / width + 0.5 * width, r)))


# --- one descent ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [None, 0.01])
@pytest.mark.parametrize("volume", [0.0, 0.2])
def test_the_objective_is_what_it_says_and_never_rises(width, volume):
    Y, _, _ = scene(outliers=5)
    descent = Descent.of(Y, width, volume, 0.01)
    fit = descent.run(mixtures([0, 1, 250]), 60, 1e-12)
    assert len(fit.path) > 5
    assert np.all(np.diff(fit.path) < 0.0)
    Q = differences(3)
    bulk = np.linalg.slogdet(Q @ fit.endmembers @ fit.endmembers.T @ Q.T + 1e-4 * np.eye(2))[1]
    expected = objective(Y, fit.endmembers, fit.abundances, width) + 0.5 * volume * bulk
    assert fit.path[-1] == pytest.approx(expected, abs=1e-9)


def test_endmembers_are_mixtures_of_few_pixels_and_abundances_are_shares():
    Y, _, _ = scene()
    found = archetypal_analysis(Y, 3, restarts=6)
    for E, mixture in zip(found.endmembers, found.mixtures, strict=True):
        assert mixture.shares.sum() == pytest.approx(1.0, abs=1e-12)
        assert mixture.shares.min() > 0.0
        assert len(mixture.pixels) <= Y.shape[1] + 1  # Caratheodory: the active set is independent
        np.testing.assert_allclose(mixture.shares @ Y[mixture.pixels], E, atol=1e-12)
    assert found.abundances.min() >= 0.0
    np.testing.assert_allclose(found.abundances.sum(axis=1), 1.0, atol=1e-10)
    assert np.all(np.diff(found.objective) <= 0.0)
    assert found.restarts[0] == found.objective[-1] == min(found.restarts)


def test_projection_onto_the_hull_is_the_nearest_point():
    rng = np.random.default_rng(3)
    Y = rng.standard_normal((40, 6))
    target = 1.5 * rng.standard_normal(6)
    descent, mixture = Descent.of(Y, None), mixtures([0])[0]
    point = Y[0].copy()
    for _ in range(10):
        point, mixture = descent._project(target, point, mixture)
    away = target - point
    assert np.max(Y @ away) - point @ away < 1e-8  # no pixel lies further towards the target: optimal

    def gap(z):
        shares = np.exp(z - z.max())
        return np.sum((shares / shares.sum() @ Y - target) ** 2)

    best = min(minimize(gap, rng.standard_normal(40), method="L-BFGS-B").fun for _ in range(3))
    assert away @ away <= best + 1e-9


def test_tiny_problem_reaches_the_best_of_all_pairs_on_a_line():
    t = np.array([0.0, 0.1, 0.4, 0.5, 0.9, 1.0])
    Y = np.stack([t, 1.0 - t, 0.5 * np.ones(6)], axis=1)
    found = archetypal_analysis(Y, 2, restarts=4, loss="l2", bands="even", volume=0)
    ends = found.endmembers[np.argsort(found.endmembers[:, 0])]
    np.testing.assert_allclose(ends, Y[[0, 5]], atol=1e-6)


def test_one_endmember_is_the_mean_for_squares():
    Y, _, _ = scene()
    found = archetypal_analysis(Y, 1, restarts=2, loss="l2", bands="even", volume=0)
    np.testing.assert_allclose(found.endmembers[0], Y.mean(axis=0), atol=1e-6)


def test_volume_and_its_differences():
    Q = differences(4)
    np.testing.assert_allclose(Q @ Q.T, np.eye(3), atol=1e-14)
    np.testing.assert_allclose(Q.sum(axis=1), 0.0, atol=1e-14)
    E = np.random.default_rng(0).standard_normal((4, 9))
    D = E[:-1] - E[-1]  # det(D D^T) = p det(Q E E^T Q^T)
    assert log_volume(E) == pytest.approx(0.5 * (np.linalg.slogdet(D @ D.T)[1] - np.log(4)))
    assert log_volume(E[:1]) == 0.0
    assert log_volume(np.ones((3, 5)), 0.1) == pytest.approx(2 * np.log(0.1))


def test_furthest_sum_finds_the_corners():
    rng = np.random.default_rng(1)
    corners = np.array([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    Y = np.concatenate([rng.dirichlet(np.ones(3), 50) @ corners, corners])
    for start in range(5):
        assert sorted(furthest_sum(Y, 3, np.random.default_rng(start))) == [50, 51, 52]


# --- the whole ------------------------------------------------------------------------------------------


def test_finds_the_endmembers_of_a_scene():
    Y, E, A = scene()
    found = archetypal_analysis(Y.reshape(20, 15, -1), 3, restarts=10)
    score = score_scene(found.endmembers, found.abundances.reshape(-1, 3), Y, E, A)
    assert score.sad < 0.5
    assert score.rmse < 1.5
    assert found.abundances.shape == (20, 15, 3)
    assert found.pixel_weights.shape == (20, 15)
    assert found.volume < 0.2


def test_robust_loss_is_for_outlier_pixels():
    Y, E, A = scene(outliers=15)
    good = slice(0, -15)
    sads = {}
    for loss in ("l2", "l21"):
        found = archetypal_analysis(Y, 3, restarts=20, loss=loss, bands="even", volume=0)
        sads[loss] = score_scene(found.endmembers, found.abundances[good], Y[good], E, A[good]).sad
        if loss == "l21":
            assert np.median(found.pixel_weights[-15:]) < 0.1 * np.median(found.pixel_weights[good])
    assert sads["l21"] < 0.7 * sads["l2"]


def test_bad_bands_weigh_less():
    Y, E, A = scene()
    bad = [4, 11]
    Y[:, bad] += 0.1 * np.random.default_rng(5).standard_normal((len(Y), 2))
    even = archetypal_analysis(Y, 3, restarts=10, bands="even")
    found = archetypal_analysis(Y, 3, restarts=10)
    good = np.setdiff1d(np.arange(20), bad)
    assert found.band_weights.mean() == pytest.approx(1.0)
    assert found.band_weights[bad].max() < 0.7 * found.band_weights[good].min()
    errors = [
        score_scene(f.endmembers[:, good], f.abundances, Y[:, good], E[:, good], A).rmse
        for f in (even, found)
    ]
    assert errors[1] < 0.6 * errors[0]


def test_seeds_layouts_and_scale():
    Y, _, _ = scene()
    one = archetypal_analysis(Y, 3, seed=4, restarts=6)
    two = archetypal_analysis(Y, 3, seed=4, restarts=6)
    np.testing.assert_array_equal(one.endmembers, two.endmembers)
    assert one.objective == two.objective
    turned = archetypal_analysis(Y.T, 3, seed=4, restarts=6, layout="bands_first")
    np.testing.assert_allclose(turned.endmembers.T, one.endmembers, atol=1e-12)
    np.testing.assert_allclose(turned.abundances.T, one.abundances, atol=1e-9)
    for factor in (1e6, 1e-6):
        scaled = archetypal_analysis(factor * Y, 3, seed=4, restarts=6)
        np.testing.assert_allclose(scaled.endmembers / factor, one.endmembers, rtol=1e-8)
        assert scaled.volume == pytest.approx(one.volume, rel=1e-8)


def test_a_cube_gives_maps_and_full_spectra():
    Y, _, _ = scene(pixels=60)
    values, mask, bands = np.insert(Y, 5, np.nan, axis=1).reshape(6, 10, -1), np.ones((6, 10), bool), None
    bands, mask[1, 3] = np.arange(values.shape[-1]) != 5, False
    cube = Cube(values, bands=bands, mask=mask)
    found = archetypal_analysis(cube, 3, restarts=4, iterations=5, normalise=True)
    plain = archetypal_analysis(cube.spectra, 3, restarts=4, iterations=5, normalise=True)
    np.testing.assert_array_equal(found.abundances[mask], plain.abundances)
    np.testing.assert_array_equal(found.endmembers[:, bands], plain.endmembers)
    assert np.isnan(found.endmembers[:, 5]).all()
    for whole, part in ((found.pixel_weights, plain.pixel_weights), (found.scale, plain.scale)):
        np.testing.assert_array_equal(whole[mask], part)
        assert np.isnan(whole[1, 3])
    assert np.isnan(found.abundances[1, 3]).all()
    for spectrum, mixture in zip(
        found.endmembers[:, bands], found.mixtures, strict=True
    ):  # of the flat image
        pixels = normalise_pixels(values.reshape(60, -1)[mixture.pixels][:, bands])[0]
        assert np.abs(mixture.shares @ pixels - spectrum).max() < 1e-9


def test_normalised_pixels():
    Y, E, A = scene()
    shade = np.random.default_rng(8).uniform(0.3, 1.0, len(Y))
    unit, norms = normalise_pixels(shade[:, None] * Y)
    np.testing.assert_allclose(np.linalg.norm(unit, axis=1), 1.0)
    np.testing.assert_allclose(unit * norms[:, None], shade[:, None] * Y)
    found = archetypal_analysis(shade[:, None] * Y, 3, restarts=10, normalise=True)
    np.testing.assert_allclose(found.scale, norms)
    clean = archetypal_analysis(Y, 3, restarts=10, normalise=True)
    np.testing.assert_allclose(found.endmembers, clean.endmembers, atol=1e-6)  # brightness is gone
    plain = archetypal_analysis(shade[:, None] * Y, 3, restarts=10)
    scores = [score_scene(f.endmembers, f.abundances, Y, E, A) for f in (found, plain)]
    assert scores[0].sad < 0.5 * scores[1].sad
    assert plain.scale is None


def test_exact_and_degenerate_data():
    Y, E, A = scene(noise=0.0)
    found = archetypal_analysis(Y, 3, restarts=10)
    assert score_scene(found.endmembers, found.abundances, Y, E, A).sad < 0.01
    same = archetypal_analysis(np.ones((12, 4)), 2, restarts=3)
    np.testing.assert_allclose(same.abundances @ same.endmembers, 1.0, atol=1e-9)
    dark = archetypal_analysis(np.zeros((12, 4)), 2, restarts=3)
    np.testing.assert_array_equal(dark.endmembers, 0.0)
    np.testing.assert_allclose(dark.abundances.sum(axis=1), 1.0)


def test_bad_input_is_said():
    Y, E, A = scene(pixels=30)
    with pytest.raises(
        ParameterError, match=r"archetypal_analysis\.n must be an integer, at least 1 .* 30 pixels, got 31\."
    ):
        archetypal_analysis(Y, 31)
    for name, value in (("loss", "l1"), ("bands", "all"), ("volume", -1.0), ("restarts", 0)):
        with pytest.raises(ParameterError, match=rf"archetypal_analysis\.{name} must be .*, got {value!r}\."):
            archetypal_analysis(Y, 3, **{name: value})
    with pytest.raises(ParameterError, match=r"archetypal_analysis\.layout must be"):
        archetypal_analysis(Y, 3, layout="rows")
    with pytest.raises(ShapeError, match=r"archetypal_analysis\.cube must"):
        archetypal_analysis(Y[0], 3)
    broken = Y.copy()
    broken[2, 3] = np.nan
    with pytest.raises(ArrayError, match=r"archetypal_analysis\.cube must be finite"):
        archetypal_analysis(broken, 3)
    broken[2] = 0.0
    with pytest.raises(ArrayError, match="zero in all bands, got 1 such pixels"):
        normalise_pixels(broken)
    with pytest.raises(ArrayError, match="zero in all bands"):
        archetypal_analysis(broken, 3, normalise=True)
    with pytest.raises(ArrayError, match="must have a last axis of bands, got one number"):
        normalise_pixels(1.0)
    for call in (normalise_pixels, mixedness, lambda A: spectral_angles(A, E)):
        with pytest.raises(ArrayError, match=r"must hold real numbers, got complex128\."):
            call(Y + 0j)
    with pytest.raises(
        ArrayError, match=r"cube must hold numbers from 1e-100 to 1e100, got .*e\+149\. Change"
    ):
        archetypal_analysis(Y * 1e150, 3)
    with pytest.raises(ShapeError, match=r"spectral_angles\.second must have the bands"):
        spectral_angles(E, E[:, 1:])
    with pytest.raises(
        ShapeError, match=r"score_scene\.endmembers must be as many as the reference, 3, got 2"
    ):
        score_scene(E[:2], A, Y, E, A)
    with pytest.raises(ShapeError, match=r"score_scene\.abundances must have shape \(30, 3\)"):
        score_scene(E, A[1:], Y, E, A)


def test_scores():
    Y, E, A = scene(noise=0.0)
    order = [2, 0, 1]
    score = score_scene(3.0 * E[order], A[:, order], Y, E, A)
    np.testing.assert_allclose(score.angles, 0.0, atol=1e-5)
    assert score.rmse == 0.0
    np.testing.assert_array_equal(score.order, [1, 2, 0])
    off = score_scene(E, A + 0.02, Y, E, A)
    assert off.rmse == pytest.approx(2.0)
    assert spectral_angles(np.eye(2), np.array([[1.0, 1.0]])) == pytest.approx(45.0)
    shade = np.random.default_rng(0).uniform(0.2, 1.0, (len(Y), 1))
    peaks = E / E.max(axis=1, keepdims=True)
    np.testing.assert_allclose(free_scale_abundances(shade * (A @ peaks), 7.0 * E), A, atol=1e-9)


# --- real scenes ----------------------------------------------------------------------------------------


@pytest.mark.shared
@pytest.mark.skipif(not HSI.is_dir(), reason="needs ../shared/data/hsi")
@pytest.mark.parametrize(
    ("name", "normalise", "limits"), [("samson", True, (1.2, 4.3, 1.3)), ("moffett", False, (2.1, 3.9, 20.0))]
)
def test_real_scenes(name, normalise, limits):
    sys.path.insert(0, str(ROOT / "tools"))
    try:
        from real_scenes import scene as read
    finally:
        sys.path.remove(str(ROOT / "tools"))
    Y, E, A = read(name)
    if name == "samson":  # the reference: NNLS with free pixel scale, reproduced to 0.20
        assert score_scene(E, A, Y, E, A).free_rmse == pytest.approx(0.2012, abs=1e-3)
    found = archetypal_analysis(Y, 3, seed=0, normalise=normalise)
    score = score_scene(found.endmembers, found.abundances, Y, E, A)
    assert np.all(np.diff(found.objective) <= 0.0)
    assert score.sad < limits[0]
    assert score.rmse < limits[1]
    assert score.free_rmse < limits[2]
