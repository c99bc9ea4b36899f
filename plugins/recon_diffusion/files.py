"""Priors on disk: a diffusers UNet beside a ``recon.json`` that says how to read it.

    FOLDER/unet/config.json, diffusion_pytorch_model.safetensors      as diffusers writes them
    FOLDER/scheduler/scheduler_config.json                            the noise law
    FOLDER/recon.json                                                 range, fold, levels between the steps, spreads
    FOLDER/README.md                                                  the model card

Folders without ``recon.json`` are read too: a diffusers pipeline (``model_index.json``), or a bare UNet. Their values
are those of the network, -1 to 1. Weights are read from safetensors only; nothing is unpickled, no code of a folder is
run, and no network is asked.
"""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recon.errors import DataError, MissingExtraError, ParameterError
from recon.params import build
from recon_diffusion.cards import card
from recon_diffusion.network import Network, Prediction
from recon_diffusion.notes import Notes

__all__ = ["digest_of", "load_network", "read_notes", "save_prior", "shipped"]

SHIPPED = Path(__file__).parent / "shipped"
WEIGHTS = "diffusion_pytorch_model.safetensors"
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
LAW = (
    "num_train_timesteps",
    "beta_start",
    "beta_end",
    "beta_schedule",
    "trained_betas",
    "rescale_betas_zero_snr",
    "prediction_type",
)
"""What of a scheduler's config says its noise law and prediction; the rest is how diffusers samples."""
MOST_STEPS = 1_000_000
EDM = ("sigma_min", "sigma_max", "sigma_data", "prediction_type")


# -- reading ---------------------------------------------------------------------------------------------


def shipped() -> list[str]:
    """Names of the priors that come with the package."""
    return sorted(path.parent.name for path in SHIPPED.glob("*/recon.json"))


def load_network(
    source: str | Path,
    *,
    low: float = -1.0,
    high: float = 1.0,
    prediction: Prediction | None = None,
    complex_images: bool = False,
) -> Network:
    """The network of a shipped prior or of a folder.

    Parameters
    ----------
    source
        Name of a shipped prior, or path of a folder: ours, a diffusers pipeline, or a bare UNet.
    low, high, complex_images
        Values of an image that are -1 and 1 in the network, and whether its two channels are a complex one. A folder
        with ``recon.json`` says both itself.
    prediction
        What a UNet without a scheduler predicts; its law is then the linear one of 1000 steps.

    Raises
    ------
    MissingExtraError
        When torch, diffusers or safetensors is not installed.
    DataError
        When there is no such prior, its files are not what they should be, or they would run code.
    """
    need_extra()
    folder = prior_folder(source)
    given = Notes(low=low, high=high, complex_images=complex_images)
    notes = read_notes(folder) if (folder / "recon.json").is_file() else given  # no pipe
    _check_pipeline(folder)
    unet = _unet_folder(folder)
    module = _read_unet(unet)
    digest = digest_of(folder)
    if notes.sha256 and notes.sha256 != digest:
        raise DataError(
            f"{folder} must hold the weights that its recon.json names, got others. Convert it anew."
        )
    try:
        found = Network.from_diffusers(
            module,
            read_scheduler(folder, prediction),
            low=notes.low,
            high=notes.high,
            fold=notes.fold,
            complex_images=notes.complex_images,
            continuous=notes.continuous,
            spreads=notes.spreads or None,
            digest=digest,
        )
    except ParameterError as error:
        raise DataError(f"{folder} cannot be read as a prior: {error}") from error
    return dataclasses.replace(found, multiple=max(found.multiple, notes.multiple))


def read_notes(folder: Path) -> Notes:
    """What the ``recon.json`` of a folder says.

    Raises
    ------
    DataError
        When it is no JSON object of these keys.
    """
    found = _read_json(folder / "recon.json")
    if found.get("format", 1) != 1:
        raise DataError(f"{folder / 'recon.json'} must have format 1, got {found['format']!r}. Update recon.")
    try:
        return build(Notes, found)  # type: ignore[no-any-return]
    except ParameterError as error:
        raise DataError(f"{folder / 'recon.json'} cannot be read: {error}") from error


def digest_of(source: str | Path) -> str:
    """SHA-256 of the weights file of a prior; of several files, of their digests in the order of their names."""
    digests = []
    for path in _weights(_unet_folder(prior_folder(source))):
        with path.open("rb") as stream:
            digests.append(hashlib.file_digest(stream, "sha256").hexdigest())
    return digests[0] if len(digests) == 1 else hashlib.sha256(" ".join(digests).encode()).hexdigest()


def need_extra() -> None:
    """Refuse to go on where a package of the extra is missing.

    Raises
    ------
    MissingExtraError
        With the line that installs it.
    """
    from recon import registry

    entry = registry.find("prior", "diffusion")
    absent = registry.missing(entry)
    if absent:
        raise MissingExtraError(
            f"A diffusion prior needs {', '.join(absent)}, which is not installed. Run: {registry.pip_line(entry)}"
        )


def prior_folder(source: str | Path) -> Path:
    """The folder of a shipped prior or of a path, which must be there."""
    try:
        if (SHIPPED / str(source) / "recon.json").is_file():
            return SHIPPED / str(source)
        folder = Path(source).expanduser()
        file, there = folder.is_file(), folder.is_dir()
    except (OSError, RuntimeError, ValueError) as error:  # too long a name, no such user
        raise DataError(
            f"A prior must be the path of a folder, got {str(source)[:60]!r}. {error}."[:300]
        ) from error
    if file:
        advice = "'recon priors convert' reads those of guided-diffusion." if folder.suffix in PICKLES else ""
        raise DataError(f"A prior must be a folder, got the file {folder}. {advice}".rstrip())
    if not there:
        known = f"one of {', '.join(shipped())}, or " if shipped() else ""
        raise DataError(
            f"A prior must be {known}a folder, got {str(source)!r}, which is not there. "
            "Check the path: nothing is downloaded."
        )
    return folder


def _unet_folder(folder: Path) -> Path:
    for unet in (folder / "unet", folder):
        if (unet / "config.json").is_file():
            return unet
    raise DataError(f"{folder} must hold unet/config.json, got none. Give a folder of 'recon train-prior'.")


def _check_pipeline(folder: Path) -> None:
    """Refuse a pipeline that is more than a UNet and a scheduler of diffusers: its parts may be code."""
    path = folder / "model_index.json"
    if not path.is_file():
        return
    index = _read_json(path)
    parts = {name: part for name, part in index.items() if not name.startswith("_")}
    ours = isinstance(index.get("_class_name"), str) and set(parts) == {"unet", "scheduler"}
    if not ours or any(not isinstance(part, list) or part[:1] != ["diffusers"] for part in parts.values()):
        raise DataError(
            f"{path} must name a UNet and a scheduler of diffusers and nothing else, got another pipeline. "
            "Give its unet folder instead."
        )


def _read_unet(unet: Path) -> Any:
    """The UNet2DModel of a folder in float32, for estimates only; torch's random numbers stay where they were.

    Not by ``from_pretrained``: it fills what is missing with noise, draws progress bars and may ask a network. The
    network is made without memory first: what its config asks for beyond the weights at hand costs nothing.
    """
    import torch
    from diffusers.models import UNet2DModel
    from safetensors.torch import load_file

    config = _read_json(unet / "config.json")
    name = config.get("_class_name")
    if name != "UNet2DModel":
        raise DataError(
            f"{unet / 'config.json'} must be of a UNet2DModel, got {name!r}. Other networks have no reader."
        )
    paths = _weights(unet)
    known = inspect.signature(UNet2DModel.__init__).parameters
    try:
        found = {_renamed(key): value for path in paths for key, value in load_file(path).items()}
        if config.get("layers_per_block", 2) * len(config.get("block_out_channels", ())) > len(found):
            raise _other_weights(unet)  # before as many layers are made
        with torch.device("meta"):
            module = UNet2DModel(**{key: value for key, value in config.items() if key in known})
    except DataError:
        raise
    except Exception as error:  # a damaged file can make safetensors, torch and diffusers raise anything
        raise DataError(
            f"{unet} must hold a UNet2DModel in safetensors, got something unreadable ({type(error).__name__})."
        ) from error
    if not all(value.is_floating_point() for value in found.values()):
        raise _other_weights(unet)
    try:
        own = {key: value.to(torch.float32, copy=True) for key, value in found.items()}  # aligned: same bits
        module.load_state_dict(own, assign=True)
    except RuntimeError as error:
        raise _other_weights(unet) from error
    if any(value.is_meta for value in (*module.parameters(), *module.buffers())):
        raise DataError(f"{unet} must hold all of its network, got a kind of blocks that has no reader.")
    if not all(bool(value.isfinite().all()) for value in module.parameters()):
        raise DataError(f"{unet} must hold finite weights, got NaN or infinity. Take an earlier checkpoint.")
    module = module.to(memory_format=torch.channels_last)  # a tenth less time on a CPU, gradients too
    return module.eval().requires_grad_(False)


def _other_weights(unet: Path) -> DataError:
    return DataError(f"{unet} must hold the weights of its config.json, got others. Copy or convert it anew.")


def _renamed(name: str) -> str:
    """The name that a weight of attention has since diffusers 0.15."""
    old = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
    front, _, kind = name.rpartition(".")
    front, _, layer = front.rpartition(".")
    return f"{front}.{old[layer]}.{kind}" if layer in old and ".attentions." in front else name


def _weights(unet: Path) -> list[Path]:
    """The files of the weights: one, one of float16, or the parts that an index names."""
    for name in (WEIGHTS, WEIGHTS.replace(".safe", ".fp16.safe")):
        if (unet / name).is_file():
            return [unet / name]
    index = unet / f"{WEIGHTS}.index.json"
    if not index.is_file():
        raise _no_weights(unet)
    parts = _read_json(index).get("weight_map")
    names = sorted({Path(str(name)).name for name in parts.values()}) if isinstance(parts, dict) else []
    lost = [name for name in names if not name.endswith(".safetensors") or not (unet / name).is_file()]
    if lost or not names:
        raise DataError(
            f"{index} must name files of safetensors beside it, got {', '.join(lost[:3]) or 'none'}."
        )
    return [unet / name for name in names]


def _no_weights(unet: Path) -> DataError:
    pickles = sorted(path.name for path in unet.iterdir() if path.suffix in PICKLES)
    if pickles:
        return DataError(
            f"{unet} must hold weights in safetensors, got {pickles[0]}, a pickle, which can run code. "
            "Save it anew with diffusers' safe_serialization."
        )
    return DataError(f"{unet} must hold {WEIGHTS}, got none. Copy the whole folder.")


def read_scheduler(folder: Path, prediction: Prediction | None) -> Any:
    """A scheduler that holds the law of the folder's, whatever way of sampling that one stands for."""
    import diffusers.schedulers as known

    path = folder / "scheduler" / "scheduler_config.json"
    if not path.is_file():
        if prediction is None:
            raise DataError(
                f"{folder} must hold scheduler/scheduler_config.json, got none. "
                "Say prediction='epsilon' or another to load_network, or to 'recon priors convert'."
            )
        return known.DDIMScheduler(prediction_type=prediction)
    config = _read_json(path)
    name = str(config.get("_class_name"))
    edm = name.startswith("EDM") and hasattr(known, name)
    if not edm and "beta_schedule" not in config and "trained_betas" not in config:
        raise DataError(
            f"{path} must be of a scheduler with betas, or of EDM, got {name}. Others have no reader."
        )
    steps = config.get("num_train_timesteps", 1000)
    if not isinstance(steps, int) or not 1 <= steps <= MOST_STEPS:
        raise DataError(f"{path} must have 1 to {MOST_STEPS} num_train_timesteps, got {str(steps)[:20]}.")
    made = getattr(known, name) if edm else known.DDIMScheduler
    try:
        return made(**{key: config[key] for key in (EDM if edm else LAW) if key in config})
    except Exception as error:  # diffusers checks nothing: torch and numpy raise what they like
        said = str(error).partition("\n")[0][:200]
        raise DataError(f"{path} cannot be read: {said or type(error).__name__}.") from error


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{path} must be there, got nothing. Copy the whole folder.") from None
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(
            f"{path} must be a JSON file, got something unreadable ({type(error).__name__})."
        ) from None
    if not isinstance(found, dict):
        raise DataError(f"{path} must hold a JSON object, got another value.")
    return found


# -- writing ---------------------------------------------------------------------------------------------


def save_prior(
    folder: str | Path, module: Any, scheduler: Any, notes: Notes | None = None, *, half: bool = True
) -> Path:
    """Write a prior that :class:`recon_diffusion.DiffusionPrior` reads: whole, or not at all.

    Parameters
    ----------
    folder
        Where; a folder that is a prior is replaced, another is refused.
    module
        A diffusers ``UNet2DModel``; it is not changed.
    scheduler
        The diffusers scheduler of its training.
    notes
        What else to know; ``multiple`` and ``sha256`` are filled in.
    half
        Store weights in float16, half the bytes; computing is in float32 either way. Weights beyond its range keep
        float32.

    Raises
    ------
    DataError
        When it cannot be written, or something else is there.
    """
    need_extra()
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    notes = notes or Notes()
    folder = Path(folder)
    if folder.exists() and not (folder / "recon.json").is_file():
        raise DataError(f"{folder} must be a new folder or a prior, got something else. Choose another name.")
    weights = {name: value.detach().cpu().contiguous() for name, value in module.state_dict().items()}
    if half and all(bool((value.abs() < 65504).all()) for value in weights.values()):
        weights = {name: value.to(torch.float16) for name, value in weights.items()}
    aside = folder.parent / f".{folder.name}-{os.urandom(4).hex()}"
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        (aside / "unet").mkdir(parents=True)
        module.save_config(aside / "unet")
        save_file(weights, aside / "unet" / WEIGHTS, metadata={"format": "pt"})
        scheduler.save_config(aside / "scheduler")
        multiple = notes.fold * 2 ** (len(module.config["block_out_channels"]) - 1)
        notes = dataclasses.replace(
            notes, multiple=multiple, sha256=digest_of(aside), name=notes.name or folder.name
        )
        _write_json(aside / "recon.json", dataclasses.asdict(notes))
        shutil.copymode(aside / "recon.json", aside / "unet" / WEIGHTS)  # safetensors makes it ours alone
        if notes.fold == 1 and not notes.complex_images:
            _write_json(aside / "model_index.json", _index(module, scheduler))
        _write_card(aside, notes, module)
        _exchange(aside, folder)
    except SafetensorError as error:  # a full disk, from safetensors
        raise DataError(f"{folder} cannot be written: {str(error).lower()}.") from error
    except OSError as error:
        raise DataError(f"{folder} cannot be written: {(error.strerror or str(error)).lower()}.") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return folder


def _write_card(folder: Path, notes: Notes, module: Any) -> None:
    numbers = sum(value.numel() for value in module.state_dict().values())
    size = (folder / "unet" / WEIGHTS).stat().st_size
    (folder / "README.md").write_text(card(notes, numbers, size), encoding="utf-8")


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def _index(module: Any, scheduler: Any) -> dict[str, Any]:
    """What makes the folder a diffusers pipeline too."""
    return {
        "_class_name": "DDIMPipeline",
        "_diffusers_version": module.config.get("_diffusers_version"),
        "scheduler": ["diffusers", type(scheduler).__name__],
        "unet": ["diffusers", "UNet2DModel"],
    }


def _exchange(aside: Path, folder: Path) -> None:
    """Rename; a prior that was there is moved away first, and back when the rename fails."""
    if not folder.exists():
        os.replace(aside, folder)
        return
    old = folder.parent / f".{folder.name}-{os.urandom(4).hex()}"
    os.replace(folder, old)
    try:
        os.replace(aside, folder)
    except OSError:
        os.replace(old, folder)
        raise
    shutil.rmtree(old, ignore_errors=True)
