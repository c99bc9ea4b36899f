"""Blind unmixing: the guidance-map model, NMF, L1/2-NMF, R-CoNMF: objectives, scenes with outlier bands, bad input."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from recon_unmixing import Cube, extract_endmembers, score_scene
from recon_unmixing._guidance import GuidanceMap, Model, dependence, local_noise
from recon_unmixing._multiplicative import nonnegative_step, simplex_step
from recon_unmixing._pixelwise import correlations, exact
from recon_unmixing.factorisations import collaborative_nmf, nmf, sparse_nmf
from recon_unmixing.guidance import guided_unmixing, mixedness

from recon.errors import ArrayError, ParameterError, ShapeError

SIDE, BANDS, MEMBERS = 20, 60, 3
ALL = [nmf, sparse_nmf, collaborative_nmf, guided_unmixing]


def scene(seed=0, outliers=0, noise=0.01):
    """Mixedness from almost pure on the left to even on the right; spectra with humps and dips."""
    rng = np.random.default_rng(seed)
    t = np.linspace(0, 1, BANDS)
    E = 0.5 + 0.3 * np.sin(2 * np.pi * (np.arange(1, MEMBERS + 1)[:, None] * t + rng.random((MEMBERS, 1))))
    spread = np.geomspace(0.05, 8, SIDE)[None, :, None] * np.ones((SIDE, 1, MEMBERS))
    A = rng.standard_gamma(spread) + 1e-9
    A /= A.sum(-1, keepdims=True)
    Y = A @ E + noise * rng.standard_normal((SIDE, SIDE, BANDS))
    bad = rng.permutation(BANDS)[:outliers]
    Y[..., bad] += 0.6 * rng.standard_normal((SIDE, SIDE, outliers)) + 0.4
    return Y, E, A, np.sort(bad)


def score(E, A, truth):
    Y, true_E, true_A, _ = truth
    return score_scene(E, A.reshape(-1, len(E)), Y.reshape(-1, BANDS), true_E, true_A.reshape(-1, MEMBERS))


# --- multiplicative updates ----------------------------------------------------------------------------


def quadratics(seed=0):
    rng = np.random.default_rng(seed)
    B = rng.random((4, 9))
    return B @ B.T, rng.standard_normal((30, 4)) + 2.0, rng.dirichlet(np.ones(4), 30)


def value(X, G, C):
    return 0.5 * np.sum((X @ G) * X, axis=1) - np.sum(C * X, axis=1)


def test_multiplicative_steps_never_rise_and_end_at_the_minimum():
    G, C, X = quadratics()
    for step, total in ((nonnegative_step, None), (simplex_step, 1.0)):
        Z = X
        for _ in range(4000):
            new = step(Z, G, C)
            assert (value(new, G, C) <= value(Z, G, C) + 1e-12).all()
            assert new.min() >= 0.0
            Z = new
        best = value(exact(G, C, total), G, C)
        np.testing.assert_allclose(value(Z, G, C), best, atol=2e-3)
        if total:
            np.testing.assert_allclose(Z.sum(1), 1.0, atol=1e-12)


def test_a_simplex_step_is_the_minimiser_of_its_bound():
    G, C, X = quadratics(1)
    X[:, 1] = 0.0  # zeros stay
    X /= X.sum(1, keepdims=True)
    found = simplex_step(X, G, C)
    assert (found[:, 1] == 0).all()
    curve = (X @ G) / np.where(X > 0, X, 1.0)
    bound = lambda z: np.sum(0.5 * curve * z * z - C * z, axis=1)  # noqa: E731
    rng = np.random.default_rng(0)
    for _ in range(200):
        other = rng.dirichlet(np.ones(4) * rng.choice([0.2, 1.0]), 30)
        other[:, 1] = 0.0
        other /= other.sum(1, keepdims=True)
        assert (bound(found) <= bound(other) + 1e-12).all()


# --- the guidance map ----------------------------------------------------------------------------------


def test_the_map_is_one_for_pure_pixels_and_zero_for_even_ones():
    A = np.array([[1, 0, 0], [1 / 3, 1 / 3, 1 / 3], [0.5, 0.5, 0], [0.9, 0.1, 0]])
    guide = GuidanceMap(A, None, 3, 0.0, np.ones(3))
    h = guide.step(A, np.zeros(4))
    np.testing.assert_allclose(h[:2], [1.0, 0.0], atol=1e-9)
    assert h[1] < h[2] < h[3] < h[0]
    grid = np.linspace(0, 1, 2001)
    for k in range(4):  # the minimiser, by brute force
        values = [guide.value(A[k : k + 1], np.array([g])) for g in grid]
        assert abs(grid[int(np.argmin(values))] - h[k]) < 1e-3


def test_neighbours_pull_the_map_and_its_step_never_raises():
    Y, _, A, _ = scene()
    A = A.reshape(-1, MEMBERS)
    mask = np.ones((SIDE, SIDE), bool)
    mask[3:7, 4] = False
    kept = mask.ravel()
    guide = GuidanceMap(Y[mask], mask, MEMBERS, 2.0, np.ones(BANDS))
    h = np.random.default_rng(0).random(kept.sum())
    before = guide.value(A[kept], h)
    for _ in range(60):
        h = guide.step(A[kept], h)
        now = guide.value(A[kept], h)
        assert now <= before + 1e-9
        before = now
    for k in (0, 57, 200):  # no single pixel can do better
        for change in (-1e-3, 1e-3):
            other = h.copy()
            other[k] = np.clip(h[k] + change, 0, 1)
            assert guide.value(A[kept], other) >= before - 1e-9
    alone = GuidanceMap(Y[mask], mask, MEMBERS, 0.0, np.ones(BANDS)).step(A[kept], h)
    assert np.std(alone) > np.std(h)


def test_the_objective_is_the_one_in_the_docstring():
    Y, E, A, _ = scene()
    rows, A = Y.reshape(-1, BANDS), A.reshape(-1, MEMBERS)
    h = np.random.default_rng(1).random(len(A))
    model = Model(rows, GuidanceMap(rows, None, MEMBERS, 0.25, np.ones(BANDS)), False)
    model.lam = 0.3
    bands = np.sqrt(np.sum((rows - A @ E) ** 2, axis=0) + model.floor).sum()
    q = 1.0 - h[:, None]
    phi = np.minimum(A**q, A * 0.01 ** (q - 1.0))
    expected = bands + 0.3 * (phi.sum() + 0.5 * math.log(MEMBERS) * np.sum((1 - h) ** 2))
    assert model.at(E, A, h).value == pytest.approx(expected, rel=1e-9)


# --- whole runs ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["accelerated", "multiplicative"])
@pytest.mark.parametrize("start", ["vca", "minvol", "random"])
def test_the_guided_objective_never_rises(method, start):
    found = guided_unmixing(scene(outliers=8)[0], MEMBERS, start=start, method=method, iterations=60, tol=0.0)
    assert len(found.objective) > 5
    assert max(np.diff(found.objective)) <= 0.0
    assert found.abundances.min() >= 0.0
    np.testing.assert_allclose(found.abundances.sum(-1), 1.0, atol=1e-8)
    assert found.guidance.shape == (SIDE, SIDE)
    assert 0.0 <= found.guidance.min() <= found.guidance.max() <= 1.0


@pytest.mark.parametrize("method", [nmf, sparse_nmf, collaborative_nmf])
def test_factorisations_never_rise_and_are_nonnegative(method):
    Y = scene(outliers=4, noise=0.1)[0]  # with negative entries
    assert (Y < 0).any()
    found = method(Y, MEMBERS, tol=0.0, iterations=80)
    assert max(np.diff(found.objective)) <= 1e-9 * found.objective[0]
    assert found.objective[-1] < found.objective[0]
    assert found.endmembers.min() >= 0.0
    assert found.abundances.min() >= 0.0
    np.testing.assert_allclose(found.abundances.sum(-1), 1.0, atol=1e-8)


def test_guidance_beats_the_others_with_outlier_bands_and_stays_near_its_clean_result():
    rows = []
    for seed in range(3):
        truth = scene(seed, outliers=8)
        Y = truth[0]
        V = extract_endmembers(Y, MEMBERS, seed)
        scores = [score(V, exact(*correlations(Y.reshape(-1, BANDS), V), 1.0), truth)]
        for method in (nmf, sparse_nmf, guided_unmixing):
            found = method(Y, MEMBERS, seed)
            scores.append(score(found.endmembers, found.abundances, truth))
        np.testing.assert_array_equal(found.outlier_bands, truth[3])
        clean = scene(seed)
        best = guided_unmixing(clean[0], MEMBERS, seed)
        scores.append(score(best.endmembers, best.abundances, clean))
        pure = 1.0 - mixedness(truth[2]).ravel()
        rows.append(
            [s.sad for s in scores]
            + [s.rmse for s in scores]
            + [np.corrcoef(found.guidance.ravel(), pure)[0, 1]]
        )
    mean = np.mean(rows, axis=0)
    sad, rmse, correlation = mean[:5], mean[5:10], mean[10]
    assert sad[3] < 0.3 * sad[:3].min()
    assert rmse[3] < 0.3 * rmse[:3].min()
    assert sad[3] < 1.5 * sad[4]
    assert correlation > 0.8


def test_the_accelerated_variant_gets_lower_in_fewer_iterations():
    Y = scene(outliers=8)[0]
    fast = guided_unmixing(Y, MEMBERS, start="vca", iterations=30)
    slow = guided_unmixing(Y, MEMBERS, start="vca", method="multiplicative", iterations=200)
    assert fast.objective[-1] < slow.objective[-1]


@pytest.mark.parametrize("method", ALL)
@pytest.mark.parametrize(
    ("factor", "given"), [(2.0**-20, False), (2.0**20, False), (1e-6, True), (1e6, True)]
)
def test_units_change_nothing_but_units(method, factor, given):
    Y = scene(outliers=5)[0]
    starts = [extract_endmembers(scene()[0], MEMBERS) * f if given else "vca" for f in (1.0, factor)]
    one, other = (
        method(f * Y, MEMBERS, start=start, iterations=25)
        for f, start in zip((1.0, factor), starts, strict=True)
    )
    np.testing.assert_allclose(other.endmembers / factor, one.endmembers, rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(other.abundances, one.abundances, atol=1e-8)
    np.testing.assert_allclose(other.residual / factor, one.residual, rtol=1e-8)
    np.testing.assert_allclose(other.objective, one.objective, rtol=1e-8)


@pytest.mark.parametrize("method", ALL)
def test_seeds_and_layouts(method):
    Y = scene(noise=0.05)[0]
    one, same = (method(Y, MEMBERS, 3, iterations=10) for _ in range(2))
    np.testing.assert_array_equal(one.endmembers, same.endmembers)
    assert one.seed == 3
    first = method(Y, MEMBERS, 0, start="random", iterations=2)
    assert not np.allclose(first.endmembers, method(Y, MEMBERS, 1, start="random", iterations=2).endmembers)
    options = {"smooth": 0.0} if method is guided_unmixing else {}
    one = method(Y, MEMBERS, 3, iterations=10, **options)
    turned = method(Y.reshape(-1, BANDS).T, MEMBERS, 3, iterations=10, layout="bands_first", **options)
    np.testing.assert_allclose(turned.abundances, one.abundances.reshape(-1, MEMBERS).T, atol=1e-9)
    np.testing.assert_allclose(turned.endmembers.T, one.endmembers, atol=1e-9)
    assert len(turned.plot().axes[0].lines) == MEMBERS


@pytest.mark.parametrize("method", ALL)
def test_a_cube_keeps_its_mask_and_bands(method):
    Y = scene()[0]
    bands, mask = np.ones(BANDS, bool), np.ones((SIDE, SIDE), bool)
    bands[7:10], mask[2, 3] = False, False
    Y[2, 3], Y[..., 8] = np.nan, np.nan
    found = method(Cube(Y, bands=bands, mask=mask), MEMBERS, iterations=10)
    assert found.abundances.shape == (SIDE, SIDE, MEMBERS)
    assert np.isnan(found.abundances[2, 3]).all()
    assert np.isfinite(found.abundances[mask]).all()
    assert np.isnan(found.endmembers[:, 7:10]).all()
    assert np.isfinite(found.endmembers[:, bands]).all()
    begun = method(Cube(Y, bands=bands, mask=mask), MEMBERS, start=found.endmembers, iterations=3)
    assert begun.objective[-1] <= found.objective[0]


def test_collaborative_nmf_lets_idle_endmembers_vanish():
    Y = scene()[0]
    for seed in range(3):
        found = collaborative_nmf(Y, 6, seed)
        assert len(found.endmembers) == MEMBERS
    assert found.abundances.shape == (SIDE, SIDE, MEMBERS)
    assert len(collaborative_nmf(Y, 6, group=0.0).endmembers) == 6


def test_more_weight_makes_l_half_abundances_sparser():
    Y = scene(noise=0.05)[0]
    shares = [
        np.mean(sparse_nmf(Y, MEMBERS, weight=w, iterations=200).abundances < 1e-3) for w in (0.0, 1.0, 10.0)
    ]
    assert shares[0] < shares[1] < shares[2]


def test_noise_and_dependence_of_bands():
    rng = np.random.default_rng(0)
    waves = np.linspace(0, 1, 50)
    smooth = rng.dirichlet(np.ones(3), 400) @ np.array([np.sin(k * waves) + 1 for k in (1, 2, 3)])
    deviation = np.where(np.arange(50) == 20, 0.3, 0.01)
    found = local_noise(smooth + deviation * rng.standard_normal((400, 50)))
    assert 0.2 < found[20] < 0.4
    assert np.all(found[np.arange(50) != 20] < 0.03)
    assert dependence(rng.standard_normal((400, 50))) == pytest.approx(1.0, abs=0.05)
    assert dependence(np.outer(rng.standard_normal(400), np.ones(50))) > 45.0


def test_mixedness_of_known_pixels():
    np.testing.assert_allclose(
        mixedness([[1, 0, 0, 0], [0.25] * 4, [0.5, 0.5, 0, 0]]), [0, 1, math.sqrt(2) - 1]
    )
    with pytest.raises(ArrayError, match="mixedness.abundances must have at least 2 endmembers"):
        mixedness([[1.0]])


def test_without_repair_outlying_bands_stay_as_fitted():
    Y, _, _, bad = scene(outliers=6)
    raw, drawn = (guided_unmixing(Y, MEMBERS, repair=r, iterations=20) for r in (math.inf, 5.0))
    assert raw.outlier_bands.size == 0
    good = np.setdiff1d(np.arange(BANDS), bad)
    np.testing.assert_array_equal(raw.endmembers[:, good], drawn.endmembers[:, good])
    assert raw.endmembers[:, bad].mean() > drawn.endmembers[:, bad].mean() + 0.2  # the offset of the outliers
    assert raw.weights[bad].max() < 0.1
    assert raw.weights.max() == 1.0


# --- bad input -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ALL)
def test_bad_input_is_told_in_one_sentence(method):
    name, Y = method.__name__, scene()[0]
    hole = Y.copy()
    hole[1, 2, 3] = np.nan
    for data, n, error, text in (
        (hole, 3, ArrayError, f"{name}.cube must be finite, got NaN or infinity in 1 of 400 pixels"),
        (-Y, 3, ArrayError, f"{name}.cube must be nonnegative but for noise, got 100 % negative entries"),
        (0 * Y, 3, ArrayError, f"{name}.cube must not be zero everywhere"),
        (
            Y[0, :2],
            3,
            ParameterError,
            f"{name}.n must be an integer from 2 to the 2 that 2 pixels of 60 bands",
        ),
        (
            Y[..., :2],
            3,
            ParameterError,
            f"{name}.n must be an integer from 2 to the 2 that 400 pixels of 2 bands",
        ),
        (Y, 1, ParameterError, f"{name}.n must be an integer from 2"),
        (Y, 2.5, ParameterError, f"{name}.n must be an integer from 2"),
        (Y[0, 0], 2, ShapeError, f"{name}.cube must have shape"),
    ):
        with pytest.raises(error, match=text):
            method(data, n)
    with pytest.raises(ShapeError, match="They seem to be turned"):
        method(Y, 3, start=np.ones((BANDS, 3)))
    with pytest.raises(ParameterError, match=f"{name}.start must hold 3 endmembers, got 2"):
        method(Y, 3, start=np.ones((2, BANDS)))
    with pytest.raises(ParameterError, match=f"{name}.start must be endmembers, 'random' or a method"):
        method(Y, 3, start="pca")
    with pytest.raises(ShapeError, match="with layout 'bands_first'"):
        method(Y, 3, layout="bands_first")


@pytest.mark.parametrize(
    ("method", "options", "text"),
    [
        (nmf, {"delta": -1.0}, "nmf.delta must be a finite number >= 0, got -1.0"),
        (sparse_nmf, {"weight": math.nan}, "sparse_nmf.weight must be a finite number >= 0, got nan"),
        (collaborative_nmf, {"group": -1.0}, "collaborative_nmf.group must be a finite number >= 0"),
        (guided_unmixing, {"sparsity": -1.0}, "guided_unmixing.sparsity must be a finite number >= 0"),
        (guided_unmixing, {"smooth": math.inf}, "guided_unmixing.smooth must be a finite number >= 0"),
        (
            guided_unmixing,
            {"method": "fast"},
            "guided_unmixing.method must be 'accelerated' or 'multiplicative'",
        ),
        (guided_unmixing, {"seed": -1}, "guided_unmixing.seed must be an integer >= 0, got -1"),
        (nmf, {"tol": math.nan}, "nmf.tol must be a number >= 0, got nan"),
        (
            collaborative_nmf,
            {"iterations": 2.5},
            "collaborative_nmf.iterations must be an integer >= 0, got 2.5",
        ),
        (guided_unmixing, {"repair": 0.5}, "guided_unmixing.repair must be above 1"),
    ],
)
def test_options_out_of_range(method, options, text):
    with pytest.raises(ParameterError, match=text):
        method(scene()[0], 3, **options)


@pytest.mark.parametrize(("method", "zeros"), list(itertools.product(ALL, [1, 30])))
def test_pixels_of_zeros_are_survived(method, zeros):
    Y = scene()[0]
    Y.reshape(-1, BANDS)[:zeros] = 0.0
    found = method(Y, MEMBERS, iterations=20)
    assert np.isfinite(found.endmembers).all()
    assert np.isfinite(found.abundances).all()


def test_a_scene_without_noise_and_one_with_few_pixels():
    Y = scene(noise=0.0)[0]
    found = guided_unmixing(Y, MEMBERS)
    assert np.isfinite(found.objective).all()
    assert max(np.diff(found.objective), default=0.0) <= 0.0
    few = guided_unmixing(scene()[0][0, :4], MEMBERS)
    assert few.guidance.shape == (4,)
    assert np.isfinite(few.endmembers).all()


def test_the_result_draws_itself():
    drawn = guided_unmixing(scene()[0], MEMBERS, iterations=3, start="vca").plot()
    assert len(drawn.axes) == 2 + 1 + MEMBERS + 1  # spectra, residual with its weights, maps, guidance
