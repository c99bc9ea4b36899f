"""Endmembers: exact recovery of pure pixels, simplices without them, seeds, layouts, bad input."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

import numpy as np
import pytest
from recon_unmixing import count_endmembers, extract_endmembers
from scipy.optimize import linear_sum_assignment

from recon.errors import ArrayError, ParameterError, ShapeError

REFERENCE = Path(__file__).parents[2] / "shared" / "reference"
METHODS = ["vca", "nfindr", "spa", "sivm", "atgp", "minvol"]


def scene(p=4, pixels=600, noise=0.0, pure=True, seed=0):
    rng = np.random.default_rng(seed)
    waves = np.linspace(0, 1, 40)
    E = np.array([0.4 + 0.35 * np.sin(2 * np.pi * (k + 1) * waves + k) for k in range(p)])
    A = rng.dirichlet(np.ones(p), 4 * pixels)
    A = A[A.max(1) < 0.8][:pixels]
    if pure:
        A[:p] = np.eye(p)
    return E, A @ E + noise * rng.standard_normal((len(A), 40))


def angles(found, truth):
    cosines = (found / np.linalg.norm(found, axis=1)[:, None]) @ (
        truth / np.linalg.norm(truth, axis=1)[:, None]
    ).T
    degrees = np.degrees(np.arccos(np.clip(cosines, -1, 1)))
    return degrees[linear_sum_assignment(degrees)]


@pytest.mark.parametrize("method", METHODS)
def test_pure_pixels_are_found(method):
    E, Y = scene()
    found = extract_endmembers(Y, 4, method=method)
    assert found.shape == (4, 40)
    assert angles(found, E).max() < (0.2 if method == "minvol" else 1e-4)


@pytest.mark.parametrize("method", ["vca", "nfindr", "minvol"])
def test_noise_is_survived(method):
    E, Y = scene(noise=0.01)
    assert angles(extract_endmembers(Y, 4, method=method), E).max() < 1.0


def test_the_minimum_volume_needs_no_pure_pixels():
    E, Y = scene(noise=0.002, pure=False)
    assert angles(extract_endmembers(Y, 4, method="minvol"), E).mean() < 0.5
    assert angles(extract_endmembers(Y, 4, method="nfindr"), E).mean() > 2.0


def test_nfindr_has_the_largest_of_all_simplices():
    _, Y = scene(3, 14, noise=0.05, pure=False)
    found = extract_endmembers(Y, 3, method="nfindr", denoise=False)
    centred = Y - Y.mean(0)
    z = centred @ np.linalg.svd(centred, full_matrices=False)[2][:2].T
    volume = {
        t: abs(np.linalg.det(np.c_[np.ones(3), z[list(t)]])) for t in itertools.combinations(range(len(z)), 3)
    }
    best = max(volume, key=volume.get)
    assert {tuple(row) for row in found} == {tuple(row) for row in Y[list(best)]}


def test_denoised_spectra_are_projections_of_pixels():
    E, Y = scene(noise=0.02)
    raw = extract_endmembers(Y, 4, method="sivm", denoise=False)
    clean = extract_endmembers(Y, 4, method="sivm")
    assert all((row == Y).all(1).any() for row in raw)
    assert angles(clean, E).mean() < 0.6 * angles(raw, E).mean()


def test_a_seed_gives_the_same_endmembers():
    _, Y = scene(noise=0.05)
    one, same = (extract_endmembers(Y, 4, 3, restarts=1) for _ in range(2))
    others = [extract_endmembers(Y, 4, seed, restarts=1) for seed in range(8)]
    assert (one == same).all()
    assert any((one != other).any() for other in others)


def test_units_do_not_matter():
    _, Y = scene(noise=0.01)
    for method in METHODS:
        same = extract_endmembers(2.0**20 * Y, 4, method=method) / 2.0**20
        assert np.abs(same - extract_endmembers(Y, 4, method=method)).max() < 1e-6


def test_layouts_are_said():
    _, Y = scene(noise=0.01)
    cube = Y.reshape(20, 30, 40)
    E = extract_endmembers(cube, 4)
    assert (extract_endmembers(Y, 4) == E).all()
    assert (extract_endmembers(Y.T, 4, layout="bands_first") == E.T).all()


@pytest.mark.parametrize("p", [2, 3, 5])
def test_the_number_of_endmembers_is_counted(p):
    _, Y = scene(p, 2000, noise=0.01)
    assert count_endmembers(Y) == p


@pytest.mark.parametrize("method", METHODS)
def test_degenerate_scenes_give_finite_spectra(method):
    _, Y = scene(3, 50)
    flat = np.concatenate([Y, np.zeros((5, 40))])
    flat[:, 7] = 0.25
    assert np.isfinite(extract_endmembers(flat, 5, method=method)).all()  # more than the scene has dimensions


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        (
            {"n": 1},
            ParameterError,
            "extract_endmembers.n must be an integer from 2 to the 6 that 6 pixels of 40",
        ),
        ({"n": 7}, ParameterError, "extract_endmembers.n must be an integer from 2 to the 6"),
        ({"n": 2.0}, ParameterError, "extract_endmembers.n must be an integer"),
        ({"method": "pca"}, ParameterError, "extract_endmembers.method must be 'vca', 'nfindr'"),
        ({"restarts": 0}, ParameterError, "extract_endmembers.restarts must be an integer >= 1, got 0."),
        (
            {"layout": "matrix"},
            ParameterError,
            "extract_endmembers.layout must be 'cube' or 'bands_first', got 'matrix'",
        ),
        (
            {"cube": np.ones(5)},
            ShapeError,
            r"extract_endmembers.cube must have shape \(..., bands\), got \(5,\).",
        ),
        ({"cube": np.ones((0, 5))}, ShapeError, "must hold at least one pixel and band"),
        ({"cube": np.ones((2, 3, 4)), "layout": "bands_first"}, ShapeError, r"\(bands, pixels\) with layout"),
        ({"cube": np.full((6, 40), np.nan)}, ArrayError, "got NaN or infinity in 6 of 6 pixels. Mask them"),
        ({"cube": np.ones((6, 40), complex)}, ArrayError, "must hold real numbers, got complex128."),
    ],
)
def test_bad_input_is_one_sentence(change, error, text):
    arguments = {"cube": scene(3, 6)[1], "n": 3, **change}
    with pytest.raises(error, match=text):
        extract_endmembers(**arguments)


def test_scenes_of_one_spectrum_or_none():
    assert count_endmembers(np.zeros((30, 5))) == 0
    flat = np.full((30, 5), 0.5)
    assert np.abs(extract_endmembers(flat, 3, method="minvol") - 0.5).max() < 1e-12


def test_counting_needs_more_pixels_than_bands():
    with pytest.raises(ParameterError, match="must have more pixels than bands, got 6 and 40."):
        count_endmembers(scene(3, 6)[1])


# -- figures of the reference ----------------------------------------------------------------------------------


@pytest.mark.shared
@pytest.mark.parametrize(
    ("case", "rows"),
    [("dirichlet", (0.942, 0.310, 0.098)), ("smooth", (1.407, 0.418, 0.184)), ("mixed", None)],
)
def test_angles_against_the_reference(case, rows):
    if not REFERENCE.is_dir():
        pytest.skip("needs ../shared/reference")
    sys.path.insert(0, str(REFERENCE))
    import gen_unmixing

    sys.path.remove(str(REFERENCE))
    for k, snr in enumerate((20, 30, 40)):
        scenes = [gen_unmixing.make(case, seed, snr) for seed in range(1 if rows is None else 3)]
        if rows is None:
            found = [angles(extract_endmembers(c.Y.T, 5, method="minvol"), c.E.T).mean() for c in scenes]
            assert np.mean(found) < 1.0  # VCA over three seeds: 4.8
            continue
        for method in ("vca", "nfindr"):
            found = [
                angles(extract_endmembers(c.Y.T, 5, s, method=method), c.E.T).mean()
                for s, c in enumerate(scenes)
            ]
            assert np.mean(found) <= 1.05 * rows[k]
        assert [count_endmembers(c.Y.T) for c in scenes] == [5, 5, 5]
