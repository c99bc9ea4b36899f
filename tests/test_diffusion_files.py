"""Priors on disk: what is read, what is refused, and that nothing is asked, run, printed or left half written."""

from __future__ import annotations

import json
import os
import pickle
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from diffusion_networks import image, plain_folder, scheduler, unet
from recon_diffusion import files
from recon_diffusion.files import digest_of, load_network, read_notes, save_prior, shipped
from recon_diffusion.network import Network
from recon_diffusion.notes import Notes
from recon_diffusion.pipeline import as_pipeline
from recon_diffusion.prior import DiffusionPrior

from recon import registry
from recon.errors import CapabilityError, DataError, MissingExtraError, ParameterError

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")


@pytest.fixture
def own(tmp_path):
    """A folder of ours, with float32 weights."""
    notes = Notes(low=0.0, high=2.0, spreads=((0.1, 0.05), (1.0, 0.2)), name="own", images="noise")
    return save_prior(tmp_path / "own", unet(), scheduler("v_prediction"), notes, half=False)


def refused(source, text, **options):
    with pytest.raises(DataError) as caught:
        load_network(source, **options)
    assert text in str(caught.value), str(caught.value)
    assert "\n" not in str(caught.value)


# -- what is read ------------------------------------------------------------------------------------------------


def test_ours_comes_back(own):
    made = DiffusionPrior(str(own))
    given = DiffusionPrior.of(Network.from_diffusers(unet(), scheduler("v_prediction"), low=0.0, high=2.0))
    np.testing.assert_allclose(made.denoise(image(), 0.4), given.denoise(image(), 0.4), atol=2e-6)
    assert made.network.spreads == ((0.1, 0.05), (1.0, 0.2))
    assert made.network.multiple == 2
    assert not any(p.requires_grad for p in made.network.module.parameters())
    assert made.digest() == read_notes(own).sha256 == digest_of(own) == made.network.digest
    assert {path.name for path in own.iterdir()} == {
        "unet",
        "scheduler",
        "recon.json",
        "README.md",
        "model_index.json",
    }


def test_weights_are_stored_in_half_and_computed_in_single(tmp_path):
    module = unet()
    folder = save_prior(tmp_path / "half", module, scheduler())
    assert next(module.parameters()).dtype == torch.float32
    size = sum(p.numel() for p in module.parameters())
    assert (folder / "unet" / files.WEIGHTS).stat().st_size < 3 * size
    loaded = load_network(folder).module
    for ours, theirs in zip(loaded.parameters(), module.parameters(), strict=True):
        assert ours.dtype == torch.float32
        assert torch.equal(ours, theirs.half().float())
    module.conv_in.weight.fill_(1e5)  # beyond the range of float16
    folder = save_prior(tmp_path / "large", module, scheduler())
    assert torch.equal(load_network(folder).module.conv_in.weight, module.conv_in.weight)


def test_a_folder_of_diffusers_has_the_values_of_its_network(tmp_path):
    plain = plain_folder(tmp_path / "plain")
    made, given = DiffusionPrior(str(plain)), Network.from_diffusers(unet(), scheduler("v_prediction"))
    np.testing.assert_allclose(
        made.denoise(image(), 0.4), DiffusionPrior.of(given).denoise(image(), 0.4), atol=2e-6
    )
    assert (made.network.low, made.network.high) == (-1.0, 1.0)
    other = load_network(plain, low=0.0, high=255.0)
    assert other.scale == 127.5
    bare = load_network(plain / "unet", prediction="epsilon")
    assert bare.prediction == "epsilon"
    assert len(bare.law.levels) == 1000
    complex_ones = load_network(plain_folder(tmp_path / "two", 2), complex_images=True)
    assert complex_ones.complex_images


def test_weights_of_a_variant_and_of_several_files(tmp_path):
    plain = plain_folder(tmp_path / "plain")
    expected = load_network(plain)
    weights = plain / "unet" / files.WEIGHTS
    weights.rename(weights.with_name("diffusion_pytorch_model.fp16.safetensors"))
    assert load_network(plain).digest == expected.digest
    unet().save_pretrained(tmp_path / "many" / "unet", max_shard_size="20KB")
    assert len(list((tmp_path / "many" / "unet").glob("*.safetensors"))) > 1
    several = load_network(tmp_path / "many", prediction="v_prediction")
    z = torch.from_numpy(image(1, 1, 8, 8)).float()
    assert torch.equal(several.estimate(z, 0.5), expected.estimate(z, 0.5))
    assert len(several.digest) == 64


def test_old_names_of_attention_are_read(tmp_path):
    from safetensors.torch import load_file, save_file

    module = unet(add_attention=True, attention_head_dim=8)
    module.save_pretrained(tmp_path)
    names = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    old = {}
    for name, value in load_file(tmp_path / files.WEIGHTS).items():
        for new, then in names.items():
            name = name.replace(f".{new}.", f".{then}.")
        old[name] = value
    assert "mid_block.attentions.0.proj_attn.bias" in old
    save_file(old, tmp_path / files.WEIGHTS)
    got = load_network(tmp_path, prediction="epsilon").module.state_dict()
    assert all(torch.equal(value, got[name]) for name, value in module.state_dict().items())


def test_parts_that_an_index_names_must_be_there(tmp_path):
    unet().save_pretrained(tmp_path, max_shard_size="20KB")
    index = tmp_path / f"{files.WEIGHTS}.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "../elsewhere.bin"}}))
    refused(tmp_path, "must name files of safetensors beside it, got elsewhere.bin.", prediction="epsilon")


def test_schedulers_are_read_for_their_law(tmp_path):
    from diffusers.schedulers import DPMSolverMultistepScheduler, EDMEulerScheduler, EulerDiscreteScheduler

    plain = plain_folder(tmp_path / "plain")
    for other in (DPMSolverMultistepScheduler(beta_end=0.01), EulerDiscreteScheduler(beta_end=0.01)):
        other.save_pretrained(plain / "scheduler")
        kept = np.asarray(other.alphas_cumprod)
        np.testing.assert_allclose(load_network(plain).law.levels, np.sqrt(1 / kept - 1), rtol=5e-4)
    EDMEulerScheduler(sigma_max=50.0).save_pretrained(plain / "scheduler")
    assert load_network(plain).law.level(1e6) == 50.0


def test_nothing_is_asked_printed_or_changed(own, monkeypatch, capfd):
    def refuse(*_, **__):
        raise AssertionError("a network was asked")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    before = torch.random.get_rng_state()
    DiffusionPrior(str(own)).denoise(image(), 0.4)
    refused("google/ddpm-cat-256", "got 'google/ddpm-cat-256', which is not there")
    assert torch.equal(torch.random.get_rng_state(), before)
    assert capfd.readouterr() == ("", "")


def test_saving_changes_nothing_and_replaces_whole_folders(own, monkeypatch):
    before = digest_of(own)

    def broken(*_, **__):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(files, "_write_card", broken)
        with pytest.raises(DataError, match="own cannot be written: no space left on device"):
            save_prior(own, unet(seed=1), scheduler())
    assert digest_of(own) == before
    assert os.listdir(own.parent) == ["own"]
    replace = os.replace

    def second(source, target):
        if Path(target) == own and second.calls == 0:
            second.calls += 1
            raise OSError(13, "Permission denied")
        return replace(source, target)

    second.calls = 0
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", second)
        with pytest.raises(DataError, match="permission denied"):
            save_prior(own, unet(seed=1), scheduler())
    assert digest_of(own) == before
    save_prior(own, unet(seed=1), scheduler())
    assert digest_of(own) != before
    assert os.listdir(own.parent) == ["own"]
    (own.parent / "mine").mkdir()
    with pytest.raises(DataError, match="mine must be a new folder or a prior, got something else"):
        save_prior(own.parent / "mine", unet(), scheduler())


# -- what is refused ---------------------------------------------------------------------------------------------


def test_pickles_are_refused(tmp_path, own):
    class Evil:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "run"),))

    weights = own / "unet" / files.WEIGHTS
    weights.unlink()
    (own / "unet" / "diffusion_pytorch_model.bin").write_bytes(pickle.dumps(Evil()))
    refused(
        own, "must hold weights in safetensors, got diffusion_pytorch_model.bin, a pickle, which can run code"
    )
    (own / "unet" / "diffusion_pytorch_model.bin").unlink()
    refused(own, f"must hold {files.WEIGHTS}, got none. Copy the whole folder.")
    torch.save({"a": Evil()}, weights)
    refused(own, "must hold a UNet2DModel in safetensors, got something unreadable (")
    assert not (tmp_path / "run").exists()
    (tmp_path / "ffhq.pt").write_bytes(b"")
    refused(tmp_path / "ffhq.pt", "ffhq.pt. 'recon priors convert' reads those of guided-diffusion.")
    weights.unlink()
    with pytest.raises(DataError, match="got none"):
        digest_of(own)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("_class_name", ["pipeline", "MyPipeline"]),
        ("unet", ["my_module", "UNet2DModel"]),
        ("unet", ["transformers", "AutoModel"]),
        ("scheduler", "DDIMScheduler"),
        ("vae", ["diffusers", "AutoencoderKL"]),
    ],
)
def test_code_of_others_is_refused(tmp_path, name, value):
    plain = plain_folder(tmp_path / "plain")
    (plain / "pipeline.py").write_text("raise SystemExit('code was run')")
    index = json.loads((plain / "model_index.json").read_text()) | {name: value}
    (plain / "model_index.json").write_text(json.dumps(index))
    refused(plain, "must name a UNet and a scheduler of diffusers and nothing else, got another pipeline")


def test_other_networks_are_refused(own):
    config = own / "unet" / "config.json"
    told = json.loads(config.read_text())
    config.write_text(json.dumps(told | {"_class_name": "UNet2DConditionModel"}))
    refused(own, "must be of a UNet2DModel, got 'UNet2DConditionModel'")
    config.write_text(json.dumps(told | {"block_out_channels": [8, 32]}))
    refused(own, "must hold the weights of its config.json, got others")
    config.write_text(json.dumps(told | {"block_out_channels": [8, 31]}))
    refused(own, "must hold a UNet2DModel in safetensors, got something unreadable")
    config.write_text(json.dumps(told | {"layers_per_block": 2}))
    refused(own, "must hold the weights of its config.json, got others")
    config.write_text(json.dumps(told | {"num_class_embeds": 0, "add_attention": True}))
    refused(own, "must hold the weights of its config.json, got others")


def test_other_schedulers_are_refused(own):
    path = own / "scheduler" / "scheduler_config.json"
    told = json.loads(path.read_text())
    path.write_text(json.dumps({"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 1.0}))
    refused(own, "must be of a scheduler with betas, or of EDM, got FlowMatchEulerDiscreteScheduler")
    path.write_text(json.dumps(told | {"beta_schedule": "mine"}))
    refused(own, "scheduler_config.json cannot be read: ")
    path.write_text(json.dumps(told | {"prediction_type": "flow"}))
    refused(own, "cannot be read as a prior: A scheduler's prediction_type must be")
    path.unlink()
    refused(own, "must hold scheduler/scheduler_config.json, got none. Say prediction='epsilon'")


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"num_train_timesteps": -5}, "must have 1 to 1000000 num_train_timesteps, got -5"),
        ({"num_train_timesteps": 10**12}, "num_train_timesteps, got 1000000000000"),
        ({"num_train_timesteps": "x"}, "num_train_timesteps, got x"),
        ({"trained_betas": [0.0, 0.0]}, "betas of a DDIMScheduler must be above 0 and at most 1"),
        ({"trained_betas": [-0.1, 0.2]}, "betas of a DDIMScheduler must be above 0 and at most 1"),
        ({"trained_betas": [0.1, float("nan")]}, "betas of a DDIMScheduler must be above 0 and at most 1"),
        ({"trained_betas": []}, "betas of a DDIMScheduler must be above 0 and at most 1"),
        ({"trained_betas": "abc"}, "scheduler_config.json cannot be read: "),
    ],
)
def test_betas_that_are_no_law_are_refused(tmp_path, change, text):
    plain = plain_folder(tmp_path / "plain")
    path = plain / "scheduler" / "scheduler_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    refused(plain, text)


@pytest.mark.parametrize("change", [{"sigma_min": 0.0}, {"sigma_min": 90.0}, {"sigma_data": -1.0}])
def test_levels_of_edm_that_cannot_be_are_refused(tmp_path, change):
    plain = plain_folder(tmp_path / "plain")
    told = {"_class_name": "EDMEulerScheduler", "sigma_min": 0.002, "sigma_max": 80.0, "sigma_data": 0.5}
    (plain / "scheduler" / "scheduler_config.json").write_text(json.dumps(told | change))
    refused(plain, "An EDM scheduler must have 0 < sigma_min < sigma_max and sigma_data > 0")


def test_weights_that_cannot_be_are_refused(tmp_path):
    from safetensors.torch import load_file, save_file

    path = plain_folder(tmp_path / "plain") / "unet" / files.WEIGHTS
    sound = load_file(path)
    for value, text in (
        (torch.full((8,), float("nan")), "must hold finite weights, got NaN or infinity"),
        (torch.zeros(8, dtype=torch.int64), "must hold the weights of its config.json, got others"),
        (torch.zeros(8, dtype=torch.complex64), "must hold the weights of its config.json, got others"),
    ):
        save_file(sound | {"conv_in.bias": value}, path)
        refused(tmp_path / "plain", text)


def test_a_config_that_asks_for_a_huge_network_costs_nothing(tmp_path):
    """400 million channels: more memory than any machine has, and refused for its weights, not for that."""
    path = plain_folder(tmp_path / "plain") / "unet" / "config.json"
    told = json.loads(path.read_text())
    for change in ({"block_out_channels": [200_000_000] * 2}, {"layers_per_block": 10**9}):
        path.write_text(json.dumps(told | change))
        refused(tmp_path / "plain", "must hold the weights of its config.json, got others")
    path.write_text("[" * 200_000)
    refused(tmp_path / "plain", "config.json must be a JSON file, got something unreadable (RecursionError)")


def test_changed_and_broken_notes_are_refused(own):
    path = own / "recon.json"
    told = json.loads(path.read_text())
    for change, text in (
        ({"sha256": "0" * 64}, "must hold the weights that its recon.json names, got others"),
        ({"format": 2}, "must have format 1, got 2. Update recon."),
        ({"fold": 0}, "recon.json cannot be read: Notes.fold must be >= 1, got 0"),
        ({"folds": 2}, "has no parameter 'folds'. Did you mean 'fold'?"),
        ({"fold": 3}, "cannot be read as a prior: A UNet2DModel must have fold^2 channels"),
        ({"low": 2.0}, "Notes.high must be above low, got 2 and 2"),
        ({"spreads": [[0.0, 0.1]]}, "Notes.spreads must be pairs of positive numbers, levels rising"),
        (
            {"spreads": [[1.0, 0.2], [0.1, 0.1]]},
            "Notes.spreads must be pairs of positive numbers, levels rising",
        ),
        ({"spreads": [[1.0, -0.2]]}, "Notes.spreads must be pairs of positive numbers, levels rising"),
    ):
        path.write_text(json.dumps(told | change))
        refused(own, text)
    path.write_text("[1]")
    refused(own, "recon.json must hold a JSON object, got another value")
    path.write_text("{")
    refused(own, "recon.json must be a JSON file, got something unreadable (JSONDecodeError)")
    with pytest.raises(DataError, match="must be there, got nothing"):
        read_notes(own.parent)


def test_folders_that_are_none(tmp_path):
    refused(tmp_path, "must hold unet/config.json, got none. Give a folder of 'recon train-prior'.")
    refused(tmp_path / "absent", "absent', which is not there. Check the path: nothing is downloaded.")
    refused("google/ddpm-cifar10-32", "which is not there. Check the path: nothing is downloaded.")
    refused("x" * 5000, "A prior must be the path of a folder, got 'xxx")
    refused("~nobody-of-this-name/a", "A prior must be the path of a folder, got '~nobody")
    with pytest.raises(ParameterError, match="DiffusionPrior.source must"):
        DiffusionPrior("")
    (tmp_path / "note.txt").write_text("")
    refused(tmp_path / "note.txt", "A prior must be a folder, got the file")


def test_old_notes_are_enough(own):
    (own / "recon.json").write_text(json.dumps({"low": 0.0, "high": 2.0, "continuous": True, "multiple": 4}))
    made = load_network(own)
    assert made.law.continuous
    assert made.multiple == 4
    assert made.spreads is None


@pytest.mark.parametrize("name", shipped())
def test_shipped_priors_are_small_sound_and_described(name):
    made = DiffusionPrior(name)
    folder = files.SHIPPED / name
    assert (folder / "unet" / files.WEIGHTS).stat().st_size <= 10e6
    assert made.digest() == read_notes(folder).sha256
    assert made.network.spreads
    assert f"# {name}" in (folder / "README.md").read_text()


# -- without the extra -------------------------------------------------------------------------------------------


def test_without_torch_the_first_use_says_what_to_install(own, monkeypatch, capsys):
    from recon.cli import main

    found = registry._installed
    monkeypatch.setattr(registry, "_installed", lambda need: need != "torch" and found(need))
    made = DiffusionPrior(str(own))
    text = (
        'A diffusion prior needs torch, which is not installed. Run: pip install "recon-inverse[diffusion]"'
    )
    for use in (
        lambda: made.denoise(image(), 0.5),
        lambda: made.denoise_vjp(image(), 0.5),
        lambda: made.scale,
    ):
        with pytest.raises(MissingExtraError) as caught:
            use()
        assert str(caught.value) == text
    with pytest.raises(MissingExtraError):
        save_prior(own, None, None)
    assert made.digest() == digest_of(own)
    assert repr(made) == f"DiffusionPrior({str(own)!r})"
    assert main(["info", "solver", "diffpir"]) == 0
    assert main(["info", "prior", "diffusion"]) == 1
    assert 'Run: pip install "recon-inverse[diffusion]"' in capsys.readouterr().err


def test_the_plugin_is_light_and_needs_no_more_than_its_extra(own):
    code = """
import sys, json
import recon, recon_diffusion._hooks, recon_diffusion
for name in recon_diffusion.__all__:
    getattr(recon_diffusion, name)
import recon_diffusion.files, recon_diffusion.cards, recon_diffusion.adm, recon_diffusion.training
import recon_diffusion.commands
first = {name for name in ("torch", "diffusers", "safetensors", "matplotlib", "numba") if name in sys.modules}
import numpy as np
recon_diffusion.DiffusionPrior(sys.argv[1]).denoise(np.zeros((8, 8)), 0.5)
later = {name for name in ("torchvision", "transformers", "accelerate", "peft") if name in sys.modules}
print(json.dumps([sorted(first), sorted(later)]))
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, str(own)], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == [[], []]
    assert done.stderr == ""


# -- the way back ------------------------------------------------------------------------------------------------


def test_as_pipeline_samples_with_the_same_law(own, capfd):
    made = as_pipeline(DiffusionPrior(str(own)))
    levels = np.sqrt(1 / np.asarray(made.scheduler.alphas_cumprod) - 1)
    np.testing.assert_allclose(levels, load_network(own).law.levels, rtol=1e-3)
    assert made.scheduler.config.prediction_type == "v_prediction"
    made.set_progress_bar_config(disable=True)
    drawn = made(num_inference_steps=2, output_type="np", generator=torch.Generator().manual_seed(0)).images
    assert drawn.shape == (1, 8, 8, 1)


def test_as_pipeline_refuses_what_it_would_draw_wrong():
    folded = Network.from_diffusers(unet(4), scheduler(), fold=2)
    with pytest.raises(CapabilityError, match="needs fold = 1, real images and a law of betas"):
        as_pipeline(DiffusionPrior.of(folded))
    with pytest.raises(CapabilityError, match="its network gives a variance too"):
        as_pipeline(DiffusionPrior.of(Network.from_diffusers(unet(1, 2), scheduler())))
