"""Pictures: what is drawn of which result, without pyplot, and written whole or not at all."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from PIL import Image
from recon_proximal import Fista

import recon
from recon import L1, ArraySpec, Identity, Problem
from recon.errors import DataError
from recon.plotting import draw_image, figure, save_figure
from recon.solver import Record

IMAGE = np.arange(30.0).reshape(5, 6)


@pytest.fixture
def result():
    problem = Problem(Identity(ArraySpec((5, 6))), IMAGE, L1(0.5))
    return recon.solve(problem, Fista(), stop=30)


def titles(drawn) -> list[str]:
    return [axes.get_title() for axes in drawn.axes]


def shown(axes) -> np.ndarray:
    return np.asarray(axes.images[0].get_array())


def test_a_result_beside_other_images_and_its_objective(result, tmp_path):
    drawn = result.plot(truth=IMAGE, error=np.abs(result.x - IMAGE))
    assert titles(drawn) == ["Fista", "truth", "error", "objective, 30 iterations"]
    assert np.array_equal(shown(drawn.axes[0]), result.x)
    assert np.array_equal(shown(drawn.axes[1]), IMAGE)
    line = drawn.axes[-1].lines[0]
    assert list(line.get_xdata()) == [0, 20, 30]
    assert list(line.get_ydata()) == result.series("objective")[1]
    assert drawn.axes[-1].get_yscale() == "log"
    save_figure(tmp_path / "a.png", drawn)
    with Image.open(tmp_path / "a.png") as picture:
        picture.load()
        assert picture.width > 1.5 * picture.height
        assert len(set(picture.convert("L").tobytes())) > 10


def test_the_standard_deviation_is_drawn_where_it_is_known(result):
    drawn = dataclasses.replace(result, variance=np.full((5, 6), 4.0)).plot()
    assert titles(drawn)[:2] == ["Fista", "standard deviation"]
    assert np.array_equal(shown(drawn.axes[1]), np.full((5, 6), 2.0))


@pytest.mark.parametrize(
    ("image", "wanted"),
    [
        (torch.as_tensor(IMAGE), IMAGE),
        (3j * IMAGE, 3 * IMAGE),
        (np.stack([0 * IMAGE, IMAGE, 2 * IMAGE]), IMAGE),
        (np.stack([0 * IMAGE, IMAGE])[None], IMAGE),
        ((IMAGE, 2 * IMAGE), IMAGE),
        (np.full((3, 4), np.nan), np.full((3, 4), np.nan)),
        (np.full((3, 4), 2.0), np.full((3, 4), 2.0)),
        (np.where(IMAGE > 25, np.inf, IMAGE), np.where(IMAGE > 25, np.inf, IMAGE)),
        (IMAGE > 3, IMAGE > 3),
    ],
    ids=["torch", "complex", "stack", "batch of stacks", "tuple", "nan", "flat", "inf", "mask"],
)
def test_images_of_every_form(image, wanted, tmp_path):
    drawn = figure(3, 3)
    axes = drawn.subplots()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        draw_image(axes, image, "title")
        save_figure(tmp_path / "a.png", drawn, dpi=40)
    got = np.asarray(axes.images[0].get_array().filled(np.nan) if np.ma.isMA(shown(axes)) else shown(axes))
    finite = np.isfinite(wanted)
    assert np.array_equal(np.where(finite, got, 0), np.where(finite, wanted, 0))
    low, high = axes.images[0].get_clim()
    assert low < high


@pytest.mark.parametrize("signal", [np.arange(4.0), 1j * np.arange(4.0), np.float64(3.0)])
def test_signals_are_lines(signal):
    axes = figure(3, 3).subplots()
    draw_image(axes, np.asarray(signal))
    assert np.array_equal(axes.lines[0].get_ydata(), np.atleast_1d(np.abs(signal)))


def test_outliers_do_not_decide_the_grey_levels():
    image = np.random.default_rng(0).random((100, 100))
    image[0, 0] = 1e9
    axes = figure(3, 3).subplots()
    draw_image(axes, image)
    assert axes.images[0].get_clim()[1] <= 1.0
    draw_image(axes, image, limits=(0.25, 0.5))
    assert axes.images[1].get_clim() == (0.25, 0.5)


@pytest.mark.parametrize("values", [[], [np.inf, np.nan], [3.0, -1.0], [np.nan, 2.0, 1.0]])
def test_objectives_of_every_sort(result, values, tmp_path):
    records = tuple(Record(k, 0.0, {"objective": value}) for k, value in enumerate(values))
    drawn = dataclasses.replace(result, history=records).plot()
    axes, good = drawn.axes[-1], [v for v in values if np.isfinite(v)]
    assert [text.get_text() for text in axes.texts] == ([] if good else ["not finite"])
    assert [list(line.get_ydata()) for line in axes.lines] == ([good] if good else [])
    assert axes.get_yscale() == ("linear" if not good or min(good) <= 0 else "log")
    save_figure(tmp_path / "a.png", drawn, dpi=40)


def test_a_picture_that_cannot_be_written_leaves_nothing(tmp_path, monkeypatch):
    drawn = figure(2, 2)
    with pytest.raises(DataError, match=r"a.png cannot be written: no such file or directory."):
        save_figure(tmp_path / "no" / "a.png", drawn)

    def full(path, dpi):
        path.write_bytes(b"half a picture")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(drawn, "savefig", full)
    with pytest.raises(
        DataError, match=r"a.png cannot be written: no space left on device. Nothing was left"
    ):
        save_figure(tmp_path / "a.png", drawn)
    assert list(tmp_path.iterdir()) == []


def test_no_window_and_no_pyplot(tmp_path):
    """In a process of its own: the tests of other files may have loaded pyplot."""
    code = (
        "import sys, numpy, recon\n"
        "from recon.plotting import *\n"
        "drawn = figure(2, 2); draw_image(drawn.subplots(), numpy.eye(3)); save_figure(sys.argv[1], drawn)\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    path = str(tmp_path / "a.png")
    subprocess.run([sys.executable, "-c", code, path], check=True, env={"MPLBACKEND": "tkagg"})


def test_colours_are_drawn_as_colours():
    values = np.random.default_rng(0).random((3, 6, 8, 3))
    for image, expected in ((values[1], values[1]), (values, values[1])):  # of a batch the middle one
        axes = figure(2, 2).add_subplot()
        draw_image(axes, image, limits=(0.0, 1.0))
        np.testing.assert_array_equal(axes.images[0].get_array(), expected)
    axes = figure(2, 2).add_subplot()
    draw_image(axes, values[:, :, :, 0])  # a volume is none
    np.testing.assert_array_equal(axes.images[0].get_array(), values[1, :, :, 0])
