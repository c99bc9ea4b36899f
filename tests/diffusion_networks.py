"""Tiny networks with random weights: exactness needs no training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

WIDTHS = (8, 16)


def unet(channels: int = 1, outputs: int | None = None, seed: int = 0, **options: Any) -> Any:
    """A UNet2DModel of two resolutions, whose last layer is not zero."""
    import torch
    from diffusers.models import UNet2DModel

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = UNet2DModel(
            **{
                "sample_size": 8,
                "in_channels": channels,
                "out_channels": outputs or channels,
                "block_out_channels": WIDTHS,
                "layers_per_block": 1,
                "down_block_types": ("DownBlock2D",) * 2,
                "up_block_types": ("UpBlock2D",) * 2,
                "norm_num_groups": 4,
                "add_attention": False,
                **options,
            }
        )
    return made.eval().requires_grad_(False)


def scheduler(prediction: str = "epsilon", **options: Any) -> Any:
    from diffusers.schedulers import DDIMScheduler

    return DDIMScheduler(prediction_type=prediction, clip_sample=False, **options)


def image(*shape: int, seed: int = 0, dtype: Any = np.float64) -> Any:
    values = np.random.default_rng(seed).standard_normal(shape or (8, 8))
    return values.astype(dtype)


def plain_folder(folder: Path, channels: int = 1, prediction: str = "v_prediction") -> Path:
    """What diffusers writes: a pipeline's folder."""
    unet(channels).save_pretrained(folder / "unet", safe_serialization=True)
    scheduler(prediction).save_pretrained(folder / "scheduler")
    parts = {"unet": ["diffusers", "UNet2DModel"], "scheduler": ["diffusers", "DDIMScheduler"]}
    index = {"_class_name": "DDIMPipeline", "_diffusers_version": "0.30.0", **parts}
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder
