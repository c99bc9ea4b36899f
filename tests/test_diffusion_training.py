"""Training: resumed is uninterrupted bit by bit, images by number, the finished folder, and errors."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import tomllib

import numpy as np
import pytest
from recon_diffusion import _training_batches, training
from recon_diffusion.files import SHIPPED, read_notes
from recon_diffusion.images import FIRST_BODY, Bodies, Files, source_of
from recon_diffusion.prior import DiffusionPrior
from recon_diffusion.training import Training, denoising_table, export, load_config, make_network, train

from recon.errors import ConfigError, DataError, ParameterError

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

TINY = Training(
    "tiny", size=16, fold=2, widths=(8, 16), attention=False, steps=6, batch=2, save_every=3, held_out=2
)


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch):
    """Drawing takes longer than these trainings; the finished one below is drawn, being made before."""
    monkeypatch.setattr(training, "_draw", lambda *_: None)


def kept(folder):
    return torch.load(folder / training.CHECKPOINT, weights_only=True)


def same(one, two):
    if isinstance(one, torch.Tensor):
        return torch.equal(one, two)
    if isinstance(one, dict):
        return one.keys() == two.keys() and all(same(one[key], two[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(two) and all(map(same, one, two))
    return one == two


class Noticing:
    """A source that notes which images were asked for."""

    def __init__(self):
        self.numbers = []

    def __call__(self, number, held_out=False):
        if not held_out:
            self.numbers.append(number)
        return Bodies(16)(number, held_out)


# -- going on ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_broken_off_and_resumed_is_uninterrupted(tmp_path, precision, monkeypatch):
    config = dataclasses.replace(TINY, precision=precision)
    state = torch.random.get_rng_state()
    whole, parts = Noticing(), Noticing()
    train(config, tmp_path / "whole", images=whole)

    def stop(step, loss, seconds):
        if step == 4:
            os.kill(os.getpid(), signal.SIGINT)  # Ctrl-C

    monkeypatch.setattr(training, "REPORT_EVERY", 1)
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "parts", report=stop, images=parts)
    assert kept(tmp_path / "parts")["step"] == 4
    assert not (tmp_path / "parts" / "tiny").exists()
    parts.numbers.clear()
    train(config, tmp_path / "parts", images=parts)
    assert parts.numbers == [8, 9, 10, 11]
    assert whole.numbers == list(range(12))
    one, two = kept(tmp_path / "whole"), kept(tmp_path / "parts")
    for key in ("network", "optimiser", "average", "step", "losses", "config"):
        assert same(one[key], two[key]), key
    digests = [DiffusionPrior(str(tmp_path / run / "tiny")).digest() for run in ("whole", "parts")]
    assert digests[0] == digests[1]
    assert torch.equal(torch.random.get_rng_state(), state)


def test_several_processes_draw_the_same_images():
    alone = _training_batches.drawn_ahead(TINY, source_of(TINY), 4, parallel=True)
    several = _training_batches.drawn_ahead(
        dataclasses.replace(TINY, workers=1), source_of(TINY), 4, parallel=True
    )
    for one, two in zip(alone, several, strict=True):
        np.testing.assert_array_equal(one, two)
        assert one.dtype == np.float32


def test_a_checkpoint_of_the_first_kind_is_read(tmp_path):
    """One without config and machine, as older versions wrote it."""
    train(TINY, tmp_path, images=Noticing())
    state = kept(tmp_path)
    del state["config"], state["machine"]
    torch.save(state, tmp_path / training.CHECKPOINT)
    assert export(TINY, tmp_path) == tmp_path / "tiny"


# -- what comes out ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    told = []
    folder = tmp_path_factory.mktemp("train")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "REPORT_EVERY", 2)
        made = train(TINY, folder, report=lambda *values: told.append(values))
    return folder, made, told


def test_the_finished_folder(finished):
    folder, made, told = finished
    assert {path.name for path in folder.iterdir()} == {"training.pt", "loss.png", "tiny"}
    assert [step for step, _, _ in told] == [2, 4, 6]
    assert all(np.isfinite(loss) for _, loss, _ in told)
    assert (folder / "loss.png").read_bytes().startswith(b"\x89PNG")
    notes = read_notes(made)
    assert (notes.low, notes.high, notes.fold, notes.continuous, notes.steps) == (0.0, 1.0, 2, True, 6)
    assert notes.multiple == 4
    assert notes.training["images_seen"] == 12
    assert [level for level, _ in notes.spreads] == list(training.LEVELS)
    text = (made / "README.md").read_text()
    assert "| images seen | 12 |" in text
    assert "## Limits" in text
    assert "BSD-3-Clause" in text
    for word in (str(folder), os.path.expanduser("~") + "/", os.uname().nodename):
        assert word not in text + (made / "recon.json").read_text()


def test_the_prior_is_the_average_of_the_weights(finished):
    folder, made, _ = finished
    module = DiffusionPrior(str(made)).network.module
    for ours, average in zip(module.parameters(), kept(folder)["average"], strict=True):
        assert torch.equal(ours, average.half().float())
    assert not torch.equal(kept(folder)["average"][0], kept(folder)["network"]["conv_in.weight"])


def test_the_table_is_the_error_on_held_out_images(finished):
    made = finished[1]
    prior = DiffusionPrior(str(made))
    images = np.stack([Bodies(16)(k, True)[0] for k in range(2)]).astype(np.float64)
    for k in (0, 5):
        level, error = read_notes(made).spreads[k]
        noise = np.random.default_rng((0, k)).standard_normal((2, 1, 16, 16), dtype=np.float32)[:, 0]
        got = prior.denoise(images + 0.5 * level * noise, 0.5 * level)
        assert 2 * np.sqrt(np.mean((got - images) ** 2)) == pytest.approx(error, rel=1e-4)
    x = torch.zeros(3, 1, 16, 16)
    one, all_ = (np.array(denoising_table(prior.network, x, batch=size)) for size in (1, 8))
    np.testing.assert_allclose(one, all_, rtol=1e-4)


def test_training_learns():
    """Forty steps on one image take a quarter of the loss away: gradient, target and rate belong together."""
    config = dataclasses.replace(TINY, steps=40, warmup=5, batch=4, rate=3e-3)
    run = training._Run(config, SHIPPED / "nowhere", "cpu")
    batch = _training_batches._drawn(config, lambda number, held_out: Bodies(16)(0), 0)
    for _ in range(config.steps):
        run.advance(batch)
    losses = np.array([float(loss) for loss in run.losses])
    assert losses[-15:].mean() < 0.75 * losses[:5].mean()


def test_the_target_is_that_of_v_prediction(monkeypatch):
    """A network that gives eps sqrt(a) - x sqrt(1 - a) exactly has no loss: seen from what it is given."""
    config = dataclasses.replace(TINY, precision="float32", fold=1, widths=(8, 16))
    run = training._Run(config, SHIPPED / "nowhere", "cpu")
    x = np.zeros((2, 1, 16, 16), np.float32)
    seen = {}

    def exact(noisy, t):
        seen.update(noisy=noisy, t=t)
        levels = np.interp(t.numpy(), np.arange(1000), np.log(run.law.levels))
        s = torch.from_numpy(np.exp(levels)).float()[:, None, None, None]
        return type("Out", (), {"sample": (noisy / s).requires_grad_(True)})  # x = 0: noisy = sqrt(1 - a) eps

    run.network = exact
    run.advance(x)
    assert float(run.losses[-1]) < 1e-6
    assert seen["t"].min() >= 0


# -- images ------------------------------------------------------------------------------------------------------


def test_bodies_are_never_those_held_out(monkeypatch):
    import recon_datasets.bodies

    seeds = []
    draw = recon_datasets.bodies.random_body
    monkeypatch.setattr(recon_datasets.bodies, "random_body", lambda seed: seeds.append(seed) or draw(seed))
    source = source_of(TINY)
    first = source(0, False)
    source(3, True)
    assert seeds[0] >= FIRST_BODY > seeds[1] >= 100_000
    assert first.shape == (1, 16, 16)
    assert first.dtype == np.float32
    np.testing.assert_array_equal(source(0, False), first)


def test_images_from_files(tmp_path):
    values = np.arange(21 * 20 * 24, dtype=np.float32).reshape(21, 20, 24)
    np.save(tmp_path / "a.npy", values[:20])
    np.save(tmp_path / "b.npy", values[20])
    source = Files(str(tmp_path / "*.npy"), 16, seed=4)
    trained = [source(k, False) for k in range(60)]
    held = [source(k, True) for k in range(20)]
    np.testing.assert_array_equal(source(7, False), trained[7])
    owner = [{int(part.min()) // 480, int(part.max()) // 480} for part in trained]
    assert all(len(one) == 1 for one in owner)
    assert {one for ones in owner for one in ones} <= set(range(1, 20))
    assert {int(part.min()) // 480 for part in held} == {0, 20}
    assert len({float(part[0, 0, 0]) for part in trained}) > 30
    turned = dataclasses.replace(source, turns="all")
    corners = {
        tuple(np.sign(np.diff(turned(k, False)[0, [0, 0, 15], [0, 15, 15]])).astype(int)) for k in range(60)
    }
    assert len(corners) > 2
    mirrored = dataclasses.replace(source, turns="sides")
    assert {float(np.sign(mirrored(k, False)[0, 0, 1] - mirrored(k, False)[0, 0, 0])) for k in range(20)} == {
        -1.0,
        1.0,
    }


def test_colour_and_complex_images_are_channels(tmp_path):
    rng = np.random.default_rng(0)
    np.save(tmp_path / "colour.npy", rng.random((3, 16, 16, 3)).astype(np.float32))
    np.save(tmp_path / "complex.npy", rng.random((3, 16, 16)) + 1j * rng.random((3, 16, 16)))
    colour, waves = np.load(tmp_path / "colour.npy"), np.load(tmp_path / "complex.npy")
    got = Files(str(tmp_path / "colour.npy"), 16, 3)(0, True)
    np.testing.assert_array_equal(got, np.moveaxis(colour[0], -1, 0))
    got = Files(str(tmp_path / "complex.npy"), 16, 2, True)(0, True)
    np.testing.assert_array_equal(got, np.stack([waves[0].real, waves[0].imag]).astype(np.float32))
    config = dataclasses.replace(
        TINY, images=str(tmp_path / "complex.npy"), channels=2, complex_images=True, steps=1
    )
    made = DiffusionPrior(str(train(config, tmp_path / "run")))
    assert made.denoise(np.ones((16, 16), complex), 0.5).dtype == complex


def test_files_that_do_not_fit(tmp_path):
    def refused(text, *options):
        with pytest.raises(DataError) as caught:
            Files(str(tmp_path / "*.np*"), 16, *options)(0, False)
        assert text in str(caught.value)

    refused("must give two images or more, got 0. Check the path: it is relative to the current folder.")
    np.save(tmp_path / "a.npy", np.zeros((3, 8, 16)))
    refused(
        "a.npy must hold images of 1 channels, 16 x 16 or larger, got shape (3, 8, 16). Check size and channels."
    )
    refused("a.npy must hold images of 3 channels", 3)
    refused("a.npy must hold complex numbers, got dtype float64. Check complex_images.", 2, True)
    np.savez(tmp_path / "a.npz", one=np.zeros((16, 16)), two=np.zeros((16, 16)))
    (tmp_path / "a.npy").unlink()
    refused("a.npz must hold one array, or one named data, got one, two. Name it data.")


# -- configs and errors --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("*.toml")), ids=lambda path: path.stem)
def test_shipped_configs_are_small_enough_to_ship(path):
    config = load_config(path)
    assert path.stem.removesuffix("-gpu") == config.name
    assert 2 * sum(p.numel() for p in make_network(config).parameters()) <= 9.9e6


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (
            {"size": 20, "fold": 2, "widths": (8, 16, 24)},
            "Training.size must be a multiple of 8 with this fold",
        ),
        ({"widths": (8, 18)}, "Training.widths must be multiples of 4, got (8, 18). Round them."),
        ({"low": 1.0}, "Training.high must be above low, got 1 and 1. Exchange them."),
        ({"channels": 2}, "Training.channels must be 2 for complex images and only for them, got 2."),
        (
            {"complex_images": True},
            "Training.channels must be 2 for complex images and only for them, got 1.",
        ),
        ({"batch": 0}, "Training.batch must be >= 1, got 0."),
    ],
)
def test_configs_that_cannot_be(change, text):
    with pytest.raises(ParameterError) as caught:
        dataclasses.replace(TINY, **change)
    assert text in str(caught.value)


def test_config_files_that_cannot_be(tmp_path):
    path = tmp_path / "a.toml"
    for text, error in (
        ("name = ", "a.toml must be a TOML file, got a fault: "),
        ('name = "a"\nwidth = [8]', "a.toml: Training has no parameter 'width'. Did you mean 'widths'?"),
        ("size = 16", "a.toml: Training needs 'name'"),
    ):
        path.write_text(text)
        with pytest.raises(ConfigError) as caught:
            load_config(path)
        assert error in str(caught.value)
    with pytest.raises(ConfigError, match="absent.toml cannot be read: no such file"):
        load_config(tmp_path / "absent.toml")
    assert tomllib.loads((SHIPPED / "ct-128.toml").read_text())["name"] == "ct-128"


def test_checkpoints_that_do_not_fit(tmp_path, finished):
    folder = finished[0]
    with pytest.raises(
        ConfigError, match="must come from the same config, got another rate: 0.001, now 0.1. Give"
    ):
        train(dataclasses.replace(TINY, rate=0.1), folder)
    state = kept(folder)
    del state["config"]
    torch.save(state, tmp_path / training.CHECKPOINT)
    with pytest.raises(ConfigError, match="must hold this network, got another"):
        train(dataclasses.replace(TINY, widths=(16, 16)), tmp_path)
    for damaged in ([1, 2], {}, {"network": {}, "step": 1}):
        torch.save(damaged, tmp_path / training.CHECKPOINT)
        with pytest.raises(DataError, match="must be a checkpoint of a training, got another file"):
            train(TINY, tmp_path)
    torch.save(state | {"average": state["average"][1:]}, tmp_path / training.CHECKPOINT)
    with pytest.raises(ConfigError, match="must hold this network, got another"):
        train(TINY, tmp_path)
    (tmp_path / training.CHECKPOINT).write_bytes(b"PK")
    with pytest.raises(DataError, match="must be a checkpoint of a training, got something unreadable"):
        train(TINY, tmp_path)
    with pytest.raises(DataError, match="must hold training.pt, got none. Train first."):
        export(TINY, tmp_path / "absent")


def test_a_loss_that_is_not_finite_leaves_the_last_checkpoint(tmp_path, monkeypatch):
    advance = training._Run.advance

    def broken(run, batch):
        advance(run, batch)
        if run.step > 3:
            run.losses[-1] = torch.tensor(float("nan"))

    monkeypatch.setattr(training._Run, "advance", broken)
    with pytest.raises(
        ParameterError, match="Training.rate must be small enough for the loss to stay finite"
    ):
        train(TINY, tmp_path, images=Bodies(16))
    state = kept(tmp_path)
    assert state["step"] == 3
    assert np.isfinite(state["losses"]).all()
    assert json.dumps(state["config"])


@pytest.mark.parametrize(
    ("factor", "text"),
    [
        (255.0, "must have values around 0 to 1, got 0 to "),
        (np.nan, "must be finite, got NaN or infinity"),
    ],
)
def test_images_in_other_units_are_refused_at_once(tmp_path, factor, text):
    """Not trained on for an hour."""
    images = np.stack([Bodies(16)(k)[0] for k in range(4)]) * factor
    np.save(tmp_path / "a.npy", images)
    config = dataclasses.replace(TINY, images=str(tmp_path / "a.npy"))
    with pytest.raises(DataError, match=text):
        train(config, tmp_path / "out")


def test_widths_are_positive():
    for widths in ((8, 0), (-8, 16)):
        with pytest.raises(ParameterError, match="Training.widths must be multiples of 4"):
            dataclasses.replace(TINY, widths=widths)


def test_a_name_is_that_of_a_folder():
    for name in ("../elsewhere", "a/b", "..", ".hidden", "", "training.pt", "a\\b"):
        with pytest.raises(ParameterError, match="Training.name must"):
            dataclasses.replace(TINY, name=name)


def test_what_is_in_the_way_is_said_before_the_training(tmp_path):
    (tmp_path / "tiny").mkdir()
    with pytest.raises(DataError, match="tiny must be free for the prior, got something else there"):
        train(TINY, tmp_path)
    assert not (tmp_path / training.CHECKPOINT).exists()


def test_two_trainings_in_one_folder_are_noticed(tmp_path):
    """The one that saves second would go on from, and overwrite, what the other has learned."""
    first, second = (training._Run(TINY, tmp_path, "cpu") for _ in range(2))
    second.save()
    with pytest.raises(DataError, match="must be of one training at a time, got a checkpoint of another"):
        first.save()
    second.save()
    assert kept(tmp_path)["step"] == 0


def test_a_full_disk_leaves_the_last_checkpoint(tmp_path, monkeypatch):
    import resource

    run = training._Run(TINY, tmp_path, "cpu")
    run.save()
    before = kept(tmp_path)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        with pytest.raises(DataError, match=r"training\.pt cannot be written"):
            run.save()
        with pytest.raises(DataError, match="tiny cannot be written"):
            run.export(Bodies(16))  # nothing learned yet: its card tells no loss
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert same(kept(tmp_path), before)
    assert [path.name for path in tmp_path.iterdir()] == [training.CHECKPOINT]
