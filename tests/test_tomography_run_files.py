"""Run files of scans: what is said about a folder, a text file, a ragged list; docstrings keep their sections."""

import re
from pathlib import Path

import numpy as np
import pytest

from recon.config import load_run
from recon.errors import ConfigError, DataError

ROOT = Path(__file__).parents[1]
SCAN = """
[operator]
name = "parallel-beam"
image_shape = [4, 4]
angles = ANGLES
n_detectors = 6
[data]
file = "FILE"
"""


def load(folder, file="y.npy", angles="[0.0, 1.0]", extra=""):
    path = folder / "run.toml"
    path.write_text(SCAN.replace("FILE", file).replace("ANGLES", angles) + extra, encoding="utf-8")
    return load_run(path)


@pytest.fixture
def folder(tmp_path):
    home = tmp_path / "scan.v2"  # a folder with a dot in its name
    home.mkdir()
    np.save(home / "y.npy", np.ones((2, 6)))
    return home


def test_a_folder_is_called_a_folder(folder):
    assert load(folder).problem.data.shape == (2, 6)
    (folder / "sub").mkdir()
    (folder / "a.npy").mkdir()
    text = "must be a data file, got a folder. Name the file in it."
    for name in (".", "sub"):
        with pytest.raises(DataError, match=text):
            load(folder, name)
        with pytest.raises(DataError, match=text):
            load(folder, angles=f'{{file = "{name}"}}')
        with pytest.raises(DataError, match=text):
            load(folder, extra=f'truth = "{name}"')
    with pytest.raises(DataError, match="a.npy must be a file, got a folder. Name the file in it."):
        load(folder, "a.npy")


def test_a_npy_file_of_text(folder):
    np.save(folder / "words.npy", np.array(["a", "b"]))
    with pytest.raises(
        DataError, match="words.npy must hold numbers, got dtype <U1. Save plain numeric"
    ) as e:
        load(folder, "words.npy")
    assert "key" not in str(e.value)


@pytest.mark.parametrize("rows", ["[[1.0, 2.0], [3.0]]", "[[1.0, 2.0], 3.0]"])
def test_a_ragged_matrix(folder, rows):
    path = folder / "run.toml"
    path.write_text(f'operator = {{name = "matrix", matrix = {rows}}}\ndata = {{file = "y.npy"}}\n')
    with pytest.raises(ConfigError) as e:
        load_run(path)
    text = "[operator] matrix must have rows of one length, got rows of different length. Check the brackets."
    assert str(e.value).endswith(text)


def test_docstrings_keep_their_sections():
    """A heading and its line of dashes are two lines: a formatter once joined them."""
    joined = re.compile(
        r"^ *(Parameters|Returns|Raises|Yields|Notes|Examples|Attributes) +-{3,}", re.MULTILINE
    )
    assert joined.search("    Notes ----- Cost")
    sources = [
        path for part in ("recon", "operators", "plugins", "datasets") for path in (ROOT / part).rglob("*.py")
    ]
    assert len(sources) > 50
    assert not [path.name for path in sources if joined.search(path.read_text(encoding="utf-8"))]
