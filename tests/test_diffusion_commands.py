"""``recon train-prior`` and ``recon priors`` at the command line: what they say, and how they end."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from diffusion_networks import image, plain_folder, scheduler, unet
from recon_diffusion import files, training
from recon_diffusion.files import save_prior
from recon_diffusion.network import Network
from recon_diffusion.notes import Notes
from recon_diffusion.prior import DiffusionPrior

from recon import registry
from recon.cli import main
from recon.testing import check_plugin

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

TOML = """
name = "tiny"
size = 16
fold = 2
widths = [8, 16]
attention = false
steps = 3
batch = 1
held_out = 1
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path


@pytest.fixture
def call(capsys, folder):
    def run(*words, code=0):
        assert main([*map(str, words)]) == code, capsys.readouterr()
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        return (out, err) if code == 0 else err

    return run


def test_train_prior_trains_and_goes_on(call, folder):
    (folder / "tiny.toml").write_text(TOML)
    out, err = call("train-prior", "tiny.toml")
    assert out == "Wrote priors/tiny/tiny\n"
    assert err.startswith("step 3 of 3, loss ")
    (folder / "tiny.toml").write_text(TOML.replace("steps = 3", "steps = 4"))
    out, err = call("train-prior", "tiny.toml")
    assert "step 4 of 4" in err
    assert files.read_notes(folder / "priors" / "tiny" / "tiny").steps == 4
    out, _ = call("train-prior", "tiny.toml", "--export", "--out", "priors/tiny")
    assert out == "Wrote priors/tiny/tiny\n"
    assert DiffusionPrior("priors/tiny/tiny").denoise(np.zeros((16, 16)), 0.3).shape == (16, 16)
    out, _ = call("priors", "show", "priors/tiny/tiny")
    assert "grey, rows and columns multiples of 4" in out
    assert "Error on held-out images" in out


def test_train_prior_says_what_is_wrong(call, folder):
    assert "absent.toml cannot be read: no such file" in call("train-prior", "absent.toml", code=2)
    (folder / "tiny.toml").write_text(TOML + "depth = 3")
    assert "Training has no parameter 'depth'" in call("train-prior", "tiny.toml", code=2)
    (folder / "tiny.toml").write_text(TOML)
    text = "--device must be one that torch has here, got 'tpu9'. Use cpu or cuda."
    assert text in call("train-prior", "tiny.toml", "--device", "tpu9", code=2)
    assert "must hold training.pt, got none" in call("train-prior", "tiny.toml", "--export", code=1)
    assert "Missing argument 'CONFIG'" in call("train-prior", code=2)


def test_shipped_configs_have_names(call, monkeypatch):
    asked = []
    monkeypatch.setattr(
        training, "export", lambda config, out, device: asked.append((config.size, str(out))) or out
    )
    call("train-prior", "probe-64", "--export")
    call("train-prior", "ct-128-gpu", "--export", "--out", "x")
    assert asked == [(64, "priors/probe-64"), (128, "x")]


def test_ctrl_c_ends_with_130(call, folder, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "train", interrupted)
    (folder / "tiny.toml").write_text(TOML)
    assert call("train-prior", "tiny.toml", code=130).strip() == "Interrupted."


def test_a_bar_is_shown_in_a_terminal(monkeypatch):
    import io

    from recon_diffusion import commands
    from rich.console import Console

    stream = io.StringIO()
    monkeypatch.setattr(
        "recon.cli.output.console", lambda stderr: Console(file=stream, force_terminal=True, width=120)
    )
    with commands._Progress(20, 4, 10) as progress:
        progress.report(10, 0.5, 2.0)
        progress.report(20, 0.25, 4.0)
    assert "20/20" in stream.getvalue()
    assert "loss 0.4875" in stream.getvalue()
    assert "20 images/s" in stream.getvalue()


def test_a_line_for_each_checkpoint_where_there_is_no_terminal(monkeypatch, capsys):
    """Reports come every ten steps, checkpoints every seven: none is left out for that."""
    from recon_diffusion import commands

    with commands._Progress(25, 4, 7) as progress:
        for step in (10, 20, 25):
            progress.report(step, 0.5, 0.1 * step)
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(",")[0] for line in lines] == ["step 10 of 25", "step 20 of 25", "step 25 of 25"]


def test_list_and_show(call, folder, monkeypatch):
    monkeypatch.setattr(files, "SHIPPED", folder / "shipped")
    assert call("priors", "list")[0].startswith("No prior is shipped here. Train one: recon train-prior")
    notes = Notes(low=0.0, images="noise", units="counts", defaults={"diffpir": {"steps": 20}})
    save_prior(folder / "shipped" / "mine", unet(), scheduler(), notes)
    out, _ = call("priors", "list")
    for word in ("mine", "noise", "grey", "0 to 1"):
        assert word in out
    (record,) = json.loads(call("priors", "list", "--json")[0])
    assert (record["name"], record["low"], record["kind"]) == ("mine", 0.0, "grey")
    out, _ = call("priors", "show", "mine")
    for word in (
        "prior mine",
        "0 to 1 counts",
        "those of its steps",
        record["sha256"],
        "DiffusionPrior('mine')",
    ):
        assert word in out
    assert "diffpir" in out
    assert json.loads(call("priors", "show", "mine", "--json")[0]) == record
    assert "'nothing', which is not there" in call("priors", "show", "nothing", code=1)
    plain_folder(folder / "plain")
    assert "must hold recon.json, got none. Convert it first" in call("priors", "show", "plain", code=1)


def test_convert_a_folder_of_diffusers(call, folder):
    plain_folder(folder / "plain")
    out, _ = call("priors", "convert", "plain", "mine", "--low", "0", "--high", "1")
    assert out == "Wrote mine\n"
    given = Network.from_diffusers(unet().half().float(), scheduler("v_prediction"), low=0.0, high=1.0)
    got = DiffusionPrior("mine").denoise(image(), 0.2)
    np.testing.assert_allclose(got, DiffusionPrior.of(given).denoise(image(), 0.2), atol=1e-5)
    call("priors", "convert", "plain/unet", "bare", "--prediction", "sample")
    assert DiffusionPrior("bare").network.prediction == "sample"
    plain_folder(folder / "two", 2)
    call("priors", "convert", "two", "waves", "--complex")
    assert DiffusionPrior("waves").network.complex_images


def test_convert_a_checkpoint_of_adm(call, folder):
    from test_diffusion_adm import adm

    torch.save(adm().state_dict(), folder / "model.pt")
    call("priors", "convert", "model.pt", "mine", "--head", "16", "--low", "0", "--size", "16")
    assert DiffusionPrior("mine").network.low == 0.0
    assert "Give it: --head 64 is usual" in call("priors", "convert", "model.pt", "other", code=1)


def test_convert_says_what_is_wrong(call, folder):
    plain_folder(folder / "plain")
    text = call("priors", "convert", "plain", "mine", "--low", "2", code=2)
    assert "--high must be above --low, got 1 and 2. Exchange them." in text
    text = call("priors", "convert", "plain", "mine", "--new-order", code=2)
    assert "--new-order is for ADM checkpoints only, got a folder." in text
    text = call("priors", "convert", "model.pt", "mine", "--prediction", "sample", code=2)
    assert "--prediction is for folders only, got an ADM checkpoint." in text
    assert "must be a checkpoint, got nothing there" in call("priors", "convert", "model.pt", "mine", code=1)
    assert not (folder / "mine").exists()


# -- what the plugin announces -------------------------------------------------------------------------------------


def test_the_hooks(monkeypatch, call):
    from recon_diffusion import _hooks

    assert {command.name for command in _hooks.recon_commands()} == {"train-prior", "priors"}
    ((title, check),) = _hooks.recon_checks()
    assert title == "diffusion priors"
    assert f"torch {torch.__version__.partition('+')[0]}" in check()
    monkeypatch.setattr(_hooks.metadata, "version", _absent)
    assert check().endswith("safetensors is not installed")
    entry = registry.find("prior", "diffusion")
    assert entry.extra == "diffusion"
    if files.shipped():
        assert check_plugin([entry]) == {"prior diffusion": "ok"}


def _absent(name):
    from importlib import metadata

    raise metadata.PackageNotFoundError(name)


def test_help_loads_no_torch():
    code = (
        "import sys; from recon.cli import main\n"
        "for words in ([], ['train-prior', '-h'], ['priors', 'convert', '-h'], ['priors', 'list']):\n"
        "    assert main(words) == 0\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"


def test_a_group_without_a_command_shows_its_help(capsys):
    assert main(["priors"]) == 0
    assert "convert" in capsys.readouterr().out
