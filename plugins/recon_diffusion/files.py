"""Priors on disk: a diffusers UNet beside a ``recon.json`` that says how to read it.

    FOLDER/unet/config.json, diffusion_pytorch_model.safetensors      as diffusers writes them
    FOLDER/scheduler/scheduler_config.json                            the noise law
    FOLDER/recon.json                                                 range, fold, levels between the steps, spreads
    FOLDER/README.md                                                  the model card

Weights are read from safetensors only; nothing is unpickled and no code of a folder is run.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from recon.errors import DataError
from recon_diffusion.laws import NoiseLaw, levels_of_scheduler
from recon_diffusion.network import Network

__all__ = ["load_network", "shipped"]

SHIPPED = Path(__file__).parent / "shipped"


def shipped() -> list[str]:
    """Names of the priors that come with the package."""
    return sorted(path.parent.name for path in SHIPPED.glob("*/recon.json"))


def load_network(source: str) -> Network:
    """The network of a shipped prior or of a folder."""
    from diffusers import DDIMScheduler, UNet2DModel

    folder = SHIPPED / source if (SHIPPED / source / "recon.json").exists() else Path(source)
    if not (folder / "recon.json").exists():
        raise DataError(
            f"A prior must be one of {', '.join(shipped())}, or a folder with recon.json, got {source!r}."
        )
    notes = json.loads((folder / "recon.json").read_text())
    module = UNet2DModel.from_pretrained(
        folder / "unet", local_files_only=True, use_safetensors=True, low_cpu_mem_usage=False
    ).float()
    module.eval().requires_grad_(False)
    scheduler = DDIMScheduler.from_pretrained(folder / "scheduler", local_files_only=True)
    law = NoiseLaw(levels_of_scheduler(scheduler), notes.get("continuous", False))
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    return Network(
        module,
        law,
        scheduler.config.prediction_type,
        notes["low"],
        notes["high"],
        notes.get("fold", 1),
        notes.get("channels", 1),
        notes.get("complex_images", False),
        notes["multiple"],
        tuple((float(a), float(b)) for a, b in notes.get("spreads") or ()) or None,
        hashlib.sha256(weights.read_bytes()).hexdigest(),
    )
