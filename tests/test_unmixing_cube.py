"""Scenes: files to maps, masks and bad bands, layouts, the plot, bad input."""

from __future__ import annotations

import sys

import h5py
import numpy as np
import pytest
from recon_unmixing import Cube, extract_endmembers, read_cube, unmix
from scipy.io import savemat
from spectral.io import envi

from recon.errors import ArrayError, DataError, MissingExtraError, ParameterError, ShapeError

RNG = np.random.default_rng(4)
WAVES = np.linspace(400.0, 2400.0, 25)
E = np.array([0.4 + 0.3 * np.sin((k + 1) * WAVES / 500.0) for k in range(3)])
TRUTH = RNG.dirichlet(np.ones(3), (5, 7))
TRUTH[0, :3] = np.eye(3)
SCENE = TRUTH @ E


# -- files -----------------------------------------------------------------------------------------------------


def test_an_envi_file_to_maps_in_six_lines(tmp_path):
    envi.save_image(
        str(tmp_path / "scene.hdr"),
        SCENE.astype(np.float32),
        metadata={"wavelength": WAVES.tolist(), "wavelength units": "Nanometers", "bbl": [1] * 24 + [0]},
    )
    cube = read_cube(tmp_path / "scene.hdr")
    endmembers = extract_endmembers(cube, 3)
    found = unmix(cube, endmembers)
    found.plot().savefig(tmp_path / "maps.png")
    assert cube.shape == (5, 7, 25)
    assert (cube.wavelengths == WAVES).all()
    assert cube.bands.tolist() == [True] * 24 + [False]
    assert cube.unit == "nm"
    assert found.abundances.shape == (5, 7, 3)
    order = found.abundances[0, :3].argmax(0)
    assert np.abs(found.abundances[..., np.argsort(order)] - TRUTH).max() < 1e-3
    assert np.isnan(found.endmembers[:, -1]).all()
    assert (tmp_path / "maps.png").stat().st_size > 10_000


def test_a_value_to_ignore_masks_its_pixels(tmp_path):
    values = SCENE.copy()
    values[2, 3] = -9999.0
    envi.save_image(str(tmp_path / "scene.hdr"), values, metadata={"data ignore value": -9999.0})
    cube = read_cube(tmp_path / "scene.hdr")
    assert not cube.mask[2, 3]
    assert cube.mask.sum() == 34
    assert cube.wavelengths is None


@pytest.mark.parametrize("order", ["C", "F"])
def test_matrices_of_matlab_are_folded_as_said(tmp_path, order):
    rows = SCENE.reshape(-1, 25) if order == "C" else SCENE.swapaxes(0, 1).reshape(-1, 25)
    savemat(tmp_path / "m.mat", {"Y": rows.T, "E": E})
    cube = read_cube(
        tmp_path / "m.mat", "Y", shape=(5, 7), layout="bands_first", order=order, wavelengths=WAVES
    )
    assert (cube.values == SCENE).all()
    savemat(tmp_path / "n.mat", {"Y": rows})
    assert (read_cube(tmp_path / "n.mat", "Y", shape=(5, 7), order=order).values == SCENE).all()


def test_the_only_cube_of_a_matlab_file_needs_no_name(tmp_path):
    savemat(tmp_path / "m.mat", {"Y": SCENE, "E": E})
    assert (read_cube(tmp_path / "m.mat").values == SCENE).all()
    savemat(tmp_path / "first.mat", {"Y": np.moveaxis(SCENE, -1, 0)})
    assert (read_cube(tmp_path / "first.mat", layout="bands_first").values == SCENE).all()


def test_matlab_files_of_version_73_are_read(tmp_path):
    with h5py.File(tmp_path / "m.mat", "w", userblock_size=512) as file:
        file["Y"] = SCENE.T
    with (tmp_path / "m.mat").open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM")
    assert (read_cube(tmp_path / "m.mat", "Y").values == SCENE).all()


@pytest.mark.parametrize(
    ("name", "arguments", "text"),
    [
        ("none.mat", {}, "none.mat must be a file, got nothing of that name."),
        ("bad.mat", {}, "bad.mat cannot be read as a MATLAB file"),
        ("bad.hdr", {}, "bad.hdr cannot be read as ENVI"),
        ("bad.tif", {}, r"bad.tif must be an ENVI header \(.hdr\) or a MATLAB file"),
        ("two.mat", {}, r"two.mat: a variable must be named that is there, got A \(5, 7, 25\), B"),
        ("two.mat", {"variable": "C"}, "two.mat: the variable 'C' must be named that is there"),
        ("flat.mat", {"variable": "Y"}, r"flat.mat holds a matrix \(35, 25\). Say shape"),
        (
            "flat.mat",
            {"variable": "Y", "shape": (5, 8)},
            "flat.mat: 5 x 8 pixels must be 35, as layout 'cube' reads",
        ),
        ("flat.mat", {"variable": "Y", "shape": (5, 7), "layout": "bands_first"}, "5 x 7 pixels must be 25"),
    ],
)
def test_files_that_are_no_scenes(tmp_path, name, arguments, text):
    for bad in ("bad.mat", "bad.hdr", "bad.tif"):
        (tmp_path / bad).write_bytes(b"ENVI\nnothing = 1\n" if bad.endswith("hdr") else b"nothing")
    savemat(tmp_path / "two.mat", {"A": SCENE, "B": SCENE})
    savemat(tmp_path / "flat.mat", {"Y": SCENE.reshape(-1, 25)})
    with pytest.raises(DataError, match=text):
        read_cube(tmp_path / name, **arguments)


def test_readers_that_are_not_installed_are_named(tmp_path, monkeypatch):
    (tmp_path / "scene.hdr").write_bytes(b"ENVI\n")
    monkeypatch.setitem(sys.modules, "spectral.io", None)
    with pytest.raises(MissingExtraError, match="pip install 'recon-inverse"):
        read_cube(tmp_path / "scene.hdr")
    with h5py.File(tmp_path / "m.mat", "w", userblock_size=512) as file:
        file["Y"] = SCENE
    with (tmp_path / "m.mat").open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM")
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(MissingExtraError, match="h5py for MATLAB files of version 7.3"):
        read_cube(tmp_path / "m.mat")


# -- cubes -----------------------------------------------------------------------------------------------------


def test_masked_pixels_and_bad_bands_change_nothing_else():
    values = SCENE.copy()
    values[1, 1] = np.nan
    values[..., 4] = np.inf
    cube = Cube(values, WAVES, bands=np.arange(25) != 4)
    assert not cube.mask[1, 1]
    found = unmix(cube, E, loss="l2")
    assert np.isnan(found.abundances[1, 1]).all()
    assert np.abs(found.abundances - TRUTH)[cube.mask].max() < 1e-9
    assert np.isnan(found.residual[4])
    assert np.abs(unmix(cube, E[:, cube.bands], loss="l2").abundances - TRUTH)[cube.mask].max() < 1e-9


def test_bands_are_left_out_by_wavelength():
    cube = Cube(SCENE, WAVES).without_bands((1340, 1460), (1790, 1960))
    assert cube.bands.sum() == sum(not (1340 <= w <= 1460 or 1790 <= w <= 1960) for w in WAVES)
    assert "5 x 7 pixels (35 in use), 25 bands (" in repr(cube)
    with pytest.raises(ArrayError, match="Cube.without_bands needs wavelengths"):
        Cube(SCENE).without_bands((1, 2))


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        (
            {"values": SCENE[0]},
            ShapeError,
            r"Cube.values must have shape \(rows, columns, bands\), got \(7, 25\).",
        ),
        ({"values": SCENE + 0j}, ArrayError, "Cube.values must be real numbers, got complex128."),
        (
            {"wavelengths": WAVES[1:]},
            ShapeError,
            r"Cube.wavelengths must hold one entry per band, 25, got shape",
        ),
        ({"bands": np.ones(25)}, ArrayError, "Cube.bands must be booleans"),
        ({"bands": np.zeros(25, bool)}, ArrayError, "at least one true"),
        ({"mask": np.ones((7, 5), bool)}, ShapeError, r"Cube.mask must be booleans of shape \(5, 7\)"),
        ({"values": np.full((2, 2, 3), np.nan)}, ArrayError, "Cube.mask must leave at least one pixel"),
        (
            {"values": np.full((2, 2, 3), np.nan), "mask": np.ones((2, 2), bool)},
            ArrayError,
            "Cube.values must be finite where the mask is true",
        ),
    ],
)
def test_parts_that_do_not_fit(arguments, error, text):
    with pytest.raises(error, match=text):
        Cube(**{"values": SCENE, **arguments})


# -- unmix -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["l21", "l2", "band_ml", "l21_pixels"])
@pytest.mark.parametrize("constraint", ["sum-to-one", "nonnegative", "none", "free-scale"])
def test_exact_mixtures_are_unmixed(loss, constraint):
    found = unmix(SCENE, E, constraint=constraint, loss=loss)
    scaled = TRUTH * E.max(1) if constraint == "free-scale" else TRUTH
    assert np.abs(found.abundances - scaled / scaled.sum(-1, keepdims=True)).max() < 1e-8


def test_layouts_are_said():
    found = unmix(SCENE.reshape(-1, 25).T, E.T, layout="bands_first")
    flat = found.abundances
    assert flat.shape == (3, 35)
    assert (found.endmembers == E.T).all()
    assert [len(line.get_xdata()) for line in found.plot().axes[0].lines] == [25, 25, 25]
    with pytest.raises(ParameterError, match=r"unmix\.cube is a Cube, whose bands are last"):
        unmix(Cube(SCENE), E.T, layout="bands_first")
    assert np.abs(flat - TRUTH.reshape(-1, 3).T).max() < 1e-8
    assert unmix(SCENE.reshape(-1, 25), E).abundances.shape == (35, 3)


def test_brightness_counts_unless_it_is_asked_away():
    shaded = SCENE * RNG.uniform(0.3, 1.0, (5, 7, 1))
    lengths = np.linalg.norm(E, axis=1)
    truth = TRUTH * lengths
    truth /= truth.sum(-1, keepdims=True)
    free = unmix(shaded, E / E.max(1, keepdims=True), constraint="free-scale", loss="l2")
    peaks = TRUTH * E.max(1)
    assert np.abs(free.abundances - peaks / peaks.sum(-1, keepdims=True)).max() < 1e-9
    plain = np.abs(unmix(shaded, E, loss="l2").abundances - truth).mean()
    assert np.abs(unmix(shaded, E, loss="l2", normalise=True).abundances - truth).mean() < 0.3 * plain


def test_bad_bands_lose_their_weight_and_the_plot_shows_it():
    spoiled = SCENE + 0.001 * RNG.standard_normal(SCENE.shape)
    spoiled[..., [3, 9]] += 2.0
    found = unmix(Cube(spoiled, WAVES), E)
    assert np.abs(found.abundances - TRUTH).max() < 0.02
    assert set(np.argsort(found.weights)[:2]) == {3, 9}
    titles = [axes.get_title() for axes in found.plot().axes]
    assert titles == [
        "endmembers",
        "residual, root mean square",
        "",
        "abundance 1",
        "abundance 2",
        "abundance 3",
    ]
    assert unmix(SCENE.reshape(-1, 25), E, loss="l2").plot().axes[0].get_xlabel() == "band"


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        (
            {"endmembers": E.T},
            ShapeError,
            "must have the 25 bands of the scene, got 3. They seem to be turned",
        ),
        (
            {"endmembers": E[:, 1:]},
            ShapeError,
            "unmix.endmembers must have the 25 bands of the scene, got 24.",
        ),
        ({"endmembers": E[0]}, ShapeError, r"unmix.endmembers must have shape \(p, bands\)"),
        (
            {"endmembers": np.where(E > 0.5, np.nan, E)},
            ArrayError,
            "unmix.endmembers must be real and finite",
        ),
        (
            {"cube": np.moveaxis(SCENE, -1, 0)},
            ShapeError,
            "unmix.endmembers must have the 7 bands of the scene, got 25",
        ),
        ({"cube": np.where(SCENE > 0.6, np.nan, SCENE)}, ArrayError, "Mask them: Cube"),
        ({"constraint": "sum"}, ParameterError, "unmix.constraint must be 'sum-to-one'"),
        (
            {"loss": "huber"},
            ParameterError,
            "unmix.loss must be 'l21', 'l2', 'band_ml' or 'l21_pixels', got 'huber'.",
        ),
        ({"layout": "rows"}, ParameterError, "unmix.layout must be 'cube' or 'bands_first', got 'rows'."),
    ],
)
def test_bad_input_is_one_sentence(arguments, error, text):
    with pytest.raises(error, match=text):
        unmix(**{"cube": SCENE, "endmembers": E, **arguments})


def test_zero_pixels_and_dependent_endmembers_are_answered():
    scene = SCENE.copy()
    scene[0, 0] = 0.0
    for constraint in ("sum-to-one", "nonnegative", "free-scale"):
        found = unmix(scene, np.concatenate([E, E[:1]]), constraint=constraint, normalise=True)
        assert np.isfinite(found.abundances).all()
    assert (unmix(scene, E, constraint="free-scale").abundances[0, 0] == 0).all()
