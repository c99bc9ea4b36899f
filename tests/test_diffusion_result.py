"""Results of samplers: panels of samples, intervals from few samples, files."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from recon_diffusion._examples import gaussian_blur
from recon_diffusion.diffpir import DiffPir
from recon_diffusion.gaussian import GaussianPrior
from recon_proximal import Fista

import recon
from recon import L1, ArraySpec, Identity, Problem
from recon.errors import CapabilityError
from recon.metrics import coverage
from recon.plotting import draw_run, gray_levels, save_figure

SAMPLES = np.random.default_rng(0).random((5, 8, 8))


@pytest.fixture
def result():
    return recon.solve(gaussian_blur(), DiffPir(steps=8, chains=5), seed=0)


def titles(drawn) -> list[str]:
    return [axes.get_title() for axes in drawn.axes]


def shown(axes) -> np.ndarray:
    return np.asarray(axes.images[0].get_array())


def test_mean_spread_and_some_samples_are_drawn_alike(result, tmp_path):
    drawn = result.plot(truth=SAMPLES[0])
    assert titles(drawn) == [
        "DiffPir, mean of 5", "standard deviation", "sample 1", "sample 2", "sample 3", "sample 4", "truth",
        "objective, 8 iterations",
    ]  # fmt: skip
    assert np.array_equal(shown(drawn.axes[0]), result.samples.mean(axis=0))
    assert shown(drawn.axes[1]) == pytest.approx(result.samples.std(axis=0, ddof=1))
    for k in range(4):
        assert np.array_equal(shown(drawn.axes[2 + k]), result.samples[k])
        assert drawn.axes[2 + k].images[0].get_clim() == gray_levels(result.x)
    assert drawn.axes[0].images[0].get_clim() == gray_levels(result.x)
    save_figure(tmp_path / "a.png", drawn, dpi=40)


def test_one_sample_is_x_itself():
    drawn = recon.solve(gaussian_blur(), DiffPir(steps=4), seed=0).plot()
    assert titles(drawn) == ["DiffPir", "objective, 4 iterations"]


def test_two_samples_are_both_drawn():
    drawn = recon.solve(gaussian_blur(), DiffPir(steps=4, chains=2), seed=0).plot()
    assert titles(drawn)[2:4] == ["sample 1", "sample 2"]
    assert len(drawn.axes) == 5


@pytest.mark.parametrize("form", ["complex", "torch", "batch", "signal"])
def test_samples_of_every_form(form, result, tmp_path):
    change = {
        "complex": lambda a: a * (1 + 1j),
        "torch": torch.as_tensor,
        "batch": lambda a: a,
        "signal": lambda a: a[..., 0],
    }[form]
    samples = change(np.stack([SAMPLES] * 2, axis=1) if form == "batch" else SAMPLES)
    mean = samples.mean(0)
    variance = change(SAMPLES.var(axis=0, ddof=1)).real if form != "batch" else SAMPLES[:2]
    drawn = dataclasses.replace(result, x=mean, samples=samples, variance=variance).plot()
    assert titles(drawn)[2] == "sample 1"
    if form == "signal":
        assert np.array_equal(drawn.axes[2].lines[0].get_ydata(), SAMPLES[0, :, 0])
    else:
        assert shown(drawn.axes[2]) == pytest.approx(SAMPLES[0] * (2**0.5 if form == "complex" else 1.0))
    save_figure(tmp_path / "a.png", drawn, dpi=30)


def test_many_panels_go_into_rows():
    images = {str(k): SAMPLES[0] for k in range(12)}
    drawn = draw_run(images, [0, 1], [2.0, 1.0], levels={"3": (0.25, 0.5)})
    assert len(drawn.axes) == 13
    assert titles(drawn)[-1] == "objective, 1 iterations"
    assert drawn.axes[3].images[0].get_clim() == (0.25, 0.5)
    rows = {round(axes.get_subplotspec().rowspan.start) for axes in drawn.axes}
    assert rows == {0, 1, 2}


@pytest.mark.parametrize("chains", [2, 5, 20])
def test_intervals_from_few_samples_hold_the_truth(chains, result):
    """Truth and samples of one law, as in a posterior: 90 % of 40 000 truths lie inside, however few the samples."""
    rng = np.random.default_rng(chains)
    samples, truth = rng.standard_normal((chains, 200, 200)), rng.standard_normal((200, 200))
    found = dataclasses.replace(
        result, x=samples.mean(axis=0), samples=samples, variance=samples.var(axis=0, ddof=1)
    )
    for level in (0.5, 0.9):
        assert coverage(truth, *found.interval(level)) == pytest.approx(level, abs=0.01)
    normal = dataclasses.replace(found, samples=None).interval(0.9)
    assert normal[1] - found.x == pytest.approx(1.6448536 * np.sqrt(found.variance))


def test_one_chain_has_no_interval_and_is_told_what_has():
    alone = recon.solve(gaussian_blur(), DiffPir(steps=4), seed=0)
    with pytest.raises(CapabilityError, match="or several chains of a diffusion sampler"):
        alone.interval()


@pytest.mark.parametrize("kind", ["real", "complex"])
def test_a_saved_result_has_the_samples(kind, tmp_path):
    problem = gaussian_blur()
    if kind == "complex":
        spec = ArraySpec((8, 8), "complex")
        prior = GaussianPrior(np.zeros((8, 8)), 1.0)
        data = SAMPLES[0] + 1j * SAMPLES[1]
        problem = Problem(Identity(spec), data, prior, noise=0.3)
    found = recon.solve(problem, DiffPir(steps=6, chains=3), seed=0)
    found.save(tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz") as kept:
        for name in ("x", "samples", "variance"):
            assert np.array_equal(kept[name], getattr(found, name))
            assert kept[name].dtype == getattr(found, name).dtype
        assert kept["samples"].shape == (3, 8, 8)
        assert np.array_equal(kept["history.discrepancy"], np.array(found.series("discrepancy")))
    assert np.iscomplexobj(found.samples) == (kind == "complex")
    assert not np.iscomplexobj(found.variance)


def test_other_solvers_are_drawn_as_before():
    found = recon.solve(Problem(Identity(ArraySpec((8, 8))), SAMPLES[0], L1(0.1)), Fista(), stop=5)
    assert titles(found.plot(truth=SAMPLES[0])) == ["Fista", "truth", "objective, 5 iterations"]
