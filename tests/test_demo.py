"""``recon demo``: the table, the figure and the arrays; the real one is slow."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from run_files import listing, start

from recon.cli import demo, main

NAMES = ["recon-demo.npz", "recon-demo.png"]


@pytest.fixture
def small(monkeypatch):
    """A demo of toy images in place of the scan; returns the segmentation."""
    segmentation = np.zeros((16, 16), bool)
    segmentation[4:12, 5:11] = True

    class Toy:
        def __init__(self, views):
            self.views = views

        def reference(self):
            return demo.PEAK * segmentation

        def __getitem__(self, index):
            class Sample:
                notes = {"segmentation": segmentation}
                data = np.zeros((3, 4))

            return Sample

    rng = np.random.default_rng(0)

    def method(noise):
        return lambda sample: demo.PEAK * (segmentation + noise * rng.standard_normal((16, 16)))

    monkeypatch.setattr("recon.registry.get", lambda kind, name: Toy)
    methods = {"FBP (Hann)": method(0.2), "CGLS": method(0.1), "TV (PDHG)": method(0.01)}
    monkeypatch.setattr(demo, "METHODS", methods)
    return segmentation


def check_files(folder, case_count=2):
    assert listing(folder) == NAMES
    with Image.open(folder / "recon-demo.png") as picture:
        picture.load()
        assert picture.width > 1000
        assert len(set(picture.convert("L").tobytes())) > 50
    with np.load(folder / "recon-demo.npz", allow_pickle=False) as archive:
        wanted = {f"{case} {name}" for case in demo.CASES for name in demo.METHODS}
        assert set(archive.files) == {"reference", *wanted}
        return {name: archive[name] for name in archive.files}


def test_table_figure_and_arrays(small, tmp_path, capsys):
    folder = tmp_path / "deep" / "demo"
    assert main(["demo", "--output", str(folder)]) == 0
    out, err = capsys.readouterr()
    assert "views" in out
    for words in (*demo.CASES.values(), *demo.METHODS, "PSNR dB", "MCC", "seconds"):
        assert words in out
    assert f"figure           {folder / NAMES[1]}" in out
    assert f"reconstructions  {folder / NAMES[0]}" in out
    assert "60 views over 360 degrees: TV (PDHG)" in err
    images = check_files(folder)
    assert np.array_equal(images["reference"], demo.PEAK * small)
    assert main(["demo", "--output", str(folder)]) == 0  # again, in place of the first


def test_json(small, tmp_path, capsys):
    assert main(["demo", "--output", str(tmp_path), "--json"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    found = json.loads(out)
    assert [(row["case"], row["method"]) for row in found["rows"]] == [
        (case, name) for case in demo.CASES for name in demo.METHODS
    ]
    for row in found["rows"]:
        assert set(row) == {"case", "method", "psnr", "matthews", "seconds"}
    by_method = {row["method"]: row for row in found["rows"]}
    assert by_method["TV (PDHG)"]["psnr"] == pytest.approx(40.0, abs=1.0)
    assert by_method["TV (PDHG)"]["matthews"] == 1.0
    assert found["figure"] == str(tmp_path / NAMES[1])
    assert found["arrays"] == str(tmp_path / NAMES[0])
    check_files(tmp_path)


def test_a_place_that_cannot_be_written_is_refused_before_the_work(small, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(demo, "reconstruct", lambda say: pytest.fail("it ran"))
    (tmp_path / "file").write_text("mine")
    assert main(["demo", "--output", str(tmp_path / "file")]) == 2
    assert "is a file" in capsys.readouterr().err
    assert main(["demo", "--output", str(tmp_path / "file" / "demo")]) == 1
    assert capsys.readouterr().err == (
        f"Error: {tmp_path / 'file' / 'demo'} must be a folder to write to, got an error: not a directory.\n"
    )

    def refuse(**kwargs):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr("recon.storage.tempfile.TemporaryFile", refuse)
    assert main(["demo", "--output", str(tmp_path)]) == 1
    assert "must be a folder to write to, got an error: read-only file system." in capsys.readouterr().err


def test_a_full_disk(small, tmp_path, capsys, monkeypatch):
    def full(path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("recon.storage._flush", full)
    assert main(["demo", "--output", str(tmp_path), "--json"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err == (
        f"Error: {tmp_path / NAMES[1]} cannot be written: no space left on device. Nothing was left there.\n"
    )
    assert listing(tmp_path) == []


def test_ctrl_c(small, tmp_path, capsys, monkeypatch):
    def interrupt(sample):
        raise KeyboardInterrupt

    monkeypatch.setitem(demo.METHODS, "CGLS", interrupt)
    assert main(["demo", "--output", str(tmp_path)]) == 130
    assert capsys.readouterr().err.endswith("Interrupted.\n")
    assert listing(tmp_path) == []


@pytest.mark.slow
def test_the_real_demo(tmp_path):
    """TV beats filtered back projection and CGLS clearly, in both cases."""
    child = start("demo", "--output", tmp_path, "--json")
    out, err = child.communicate(timeout=900)
    assert (child.returncode, err) == (0, "")
    found = json.loads(out)
    figures = {(row["case"], row["method"]): row for row in found["rows"]}
    for case in demo.CASES:
        fbp, cgls, tv = (figures[case, name] for name in demo.METHODS)
        assert tv["psnr"] > fbp["psnr"] + 3.0
        assert tv["psnr"] > cgls["psnr"] + 1.0
        assert tv["matthews"] > fbp["matthews"]
        assert tv["matthews"] > cgls["matthews"]
    images = check_files(tmp_path)
    assert {image.shape for image in images.values()} == {(512, 512)}
    assert all(np.isfinite(image).all() for image in images.values())


@pytest.mark.slow
def test_the_demo_needs_no_network(tmp_path):
    """The scan is in the package: sockets are forbidden while it is read."""
    code = (
        "import socket\n"
        "def refuse(*a, **k): raise OSError('no network')\n"
        "socket.socket.connect = socket.create_connection = refuse\n"
        "from recon import registry\n"
        "sample = registry.get('dataset', 'htc2022')(views='sparse60')[0]\n"
        "assert sample.data.shape == (60, 560)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)
