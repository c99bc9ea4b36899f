"""Readers and writers: round trips, and one clear sentence for whatever is wrong with a file."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from recon_datasets import _hooks, files

from recon.errors import DataError, MissingExtraError

X = np.random.default_rng(0).normal(size=(9, 7))
RECORD = {"solver": "fista", "steps": [1, 2.5], "nothing": None}


@pytest.mark.parametrize("suffix", [".npz", ".zarr", ".mat"])
def test_many_arrays_round_trip(tmp_path, suffix):
    if suffix == ".zarr":
        pytest.importorskip("zarr")
    path = tmp_path / f"a{suffix}"
    arrays = {
        "x": X,
        "spectrum": X + 1j * X[::-1],
        "mask": X > 0,
        "levels": np.arange(5),
        "band": (X, X[:3]),
        "file": X[0],
    }
    assert _hooks.recon_write(path, arrays, RECORD) is True
    found = _hooks.recon_read(path)
    assert found.pop("record") == RECORD
    joint = "_" if suffix == ".mat" else "."
    wanted = {k: v for k, v in arrays.items() if k != "band"} | {f"band{joint}0": X, f"band{joint}1": X[:3]}
    assert set(found) == set(wanted)
    for name, value in wanted.items():
        assert np.array_equal(found[name].reshape(value.shape), value)
        assert found[name].dtype.kind == value.dtype.kind or suffix == ".mat"


def test_npy_round_trip(tmp_path):
    for value in (X, X.astype(np.complex64), np.asfortranarray(X), np.float64(3.0)):
        assert files.write(tmp_path / "a.npy", {"x": value}, RECORD)
        assert np.array_equal(files.read(tmp_path / "a.npy")["data"], value)


def test_png_keeps_sixteen_bits_and_the_range(tmp_path):
    assert files.write(tmp_path / "a.PNG", {"x": X, "variance": X}, RECORD)
    found = files.read(tmp_path / "a.PNG")
    black, white = found["record"]["black"], found["record"]["white"]
    assert (black, white) == (X.min(), X.max())
    assert found["data"].dtype == np.uint16
    np.testing.assert_allclose(
        black + found["data"] * (white - black) / 65535, X, atol=(white - black) / 65535 / 1.9
    )
    assert found["record"]["solver"] == "fista"
    assert files.write(tmp_path / "flat.png", {"x": np.ones((3, 3))})
    assert not files.read(tmp_path / "flat.png")["data"].any()


def test_tiff_round_trip_with_pages(tmp_path):
    for suffix in (".tif", ".tiff"):
        for value in (X, np.stack([X, -X, 2 * X])):
            assert files.write(tmp_path / f"a{suffix}", {"x": value}, RECORD)
            found = files.read(tmp_path / f"a{suffix}")
            assert np.array_equal(found["data"], value.astype(np.float32))
            assert found["record"] == RECORD


def test_pictures_are_read_as_stored(tmp_path):
    from PIL import Image

    colour = np.arange(36, dtype=np.uint8).reshape(3, 4, 3)
    Image.fromarray(colour).save(tmp_path / "c.png")
    found = files.read(tmp_path / "c.png")
    assert set(found) == {"data"}
    assert np.array_equal(found["data"], colour)


def test_mat_structs_are_walked(tmp_path):
    import scipy.io

    path = tmp_path / "s.mat"
    scan = {
        "sinogram": X,
        "parameters": {"angles": np.arange(3.0), "name": "a"},
        "cells": np.array([1, "b"], object),
    }
    scipy.io.savemat(path, {"scan": scan})
    found = files.read(path)
    assert set(found) == {"scan.sinogram", "scan.parameters.angles", "scan.parameters.name"}
    assert np.array_equal(found["scan.sinogram"], X)


def test_torch_arrays_are_written(tmp_path):
    torch = pytest.importorskip("torch")
    assert files.write(tmp_path / "t.npz", {"x": torch.asarray(X)}, {})
    assert np.array_equal(files.read(tmp_path / "t.npz")["x"], X)


def test_other_formats_are_left_to_others(tmp_path):
    assert _hooks.recon_read(tmp_path / "a.mine") is None
    assert _hooks.recon_write(tmp_path / "a.mine", {"x": X}, {}) is None
    assert not (tmp_path / "a.mine").exists()


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"The data file must exist, got .*none\.npy\. Check the path\."):
        files.read(tmp_path / "none.npy")


def test_pickles_are_refused(tmp_path):
    objects = np.array([{"a": 1}, None], dtype=object)
    np.save(tmp_path / "a.npy", objects, allow_pickle=True)
    np.savez(tmp_path / "a.npz", fine=X, bad=objects)
    for name in ("a.npy", "a.npz"):
        with pytest.raises(
            DataError, match=f"{name} must be readable without pickle, got pickled objects. Save"
        ):
            files.read(tmp_path / name)


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".mat", ".png"])
@pytest.mark.parametrize("part", [0.0, 0.3, 0.9])
def test_truncated_files_are_refused(tmp_path, suffix, part):
    path = tmp_path / f"a{suffix}"
    files.write(path, {"x": X}, RECORD)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(part * len(whole))])
    with pytest.raises(
        DataError, match=rf"a\{suffix} must be a readable \{suffix} file, got a damaged or foreign"
    ):
        files.read(path)


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".mat", ".png", ".tif", ".zarr"])
def test_foreign_files_are_refused(tmp_path, suffix):
    if suffix == ".zarr":
        pytest.importorskip("zarr")
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"this is a letter to my aunt\n" * 20)
    with pytest.raises(DataError, match="got a damaged or foreign one"):
        files.read(path)


def test_version_7_3_of_matlab_is_named(tmp_path):
    path = tmp_path / "a.mat"
    header = b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + b"\x89HDF\r\n\x1a\n" + b"\0" * 400
    path.write_bytes(header)
    with pytest.raises(
        DataError, match=r"a.mat must be a MATLAB file of version 7.2 or less, got 7.3. Save it with"
    ):
        files.read(path)


def test_a_picture_bomb_is_refused(tmp_path, monkeypatch):
    from PIL import Image

    files.write(tmp_path / "a.png", {"x": X})
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(DataError, match=r"a.png must be a picture of below 179 million pixels, got more"):
        files.read(tmp_path / "a.png")


@pytest.mark.parametrize(
    ("name", "arrays", "text"),
    [
        ("a.npy", {"x": X, "y": X}, r"a.npy must get one array, got 2. Write .npz"),
        ("a.png", {"a": X, "b": X}, r"a.png must get one array, got 2"),
        ("a.png", {"x": np.stack([X, X])}, r"a.png must get an image of two axes, got 3. Write .tif"),
        (
            "a.png",
            {"x": X + 1j},
            r"a.png must get a finite real image, got shape \(9, 7\) and dtype complex128",
        ),
        ("a.tif", {"x": X * np.nan}, r"a.tif must get a finite real image"),
        ("a.npz", {"x": np.array([None])}, r"a.npz: array 'x' must be plain numbers, got objects. Save"),
        ("a.npz", {"record": X}, r"a.npz: a name must be free of '/' and not 'record', got 'record'. Rename"),
        ("a.npz", {"a/b": X}, r"a.npz: a name must be free of '/' and not 'record', got 'a/b'"),
        ("a.mat", {"my array": X}, r"a.mat: names must be MATLAB identifiers, got my array"),
        ("a.mat", {"x.0": X, "x_0": X}, r"a.mat: names must be MATLAB identifiers"),
        ("no/a.npy", {"x": X}, r"a.npy must be writable, got FileNotFoundError"),
    ],
)
def test_what_cannot_be_written_says_why(tmp_path, name, arrays, text):
    with pytest.raises(DataError, match=text):
        files.write(tmp_path / name, arrays)


def test_a_record_must_be_json(tmp_path):
    with pytest.raises(DataError, match=r"a.npz: the record must be JSON data, got something else"):
        files.write(tmp_path / "a.npz", {"x": X}, {"when": object()})


def test_zarr_that_is_not_installed_gives_the_pip_line(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "zarr", None)
    with pytest.raises(MissingExtraError, match=r"Run: pip install 'recon-inverse\[batch\]'"):
        files.write(tmp_path / "a.zarr", {"x": X})
