"""The way back to diffusers: a prior as a pipeline that draws images without data."""

from __future__ import annotations

from typing import Any

from recon.errors import CapabilityError
from recon_diffusion.prior import DiffusionPrior

__all__ = ["as_pipeline"]


def as_pipeline(prior: DiffusionPrior) -> Any:
    """A diffusers ``DDIMPipeline`` of the prior's network, for images without data.

    Raises
    ------
    CapabilityError
        When the network works on folded or complex images, or is no UNet2DModel with a noise law of betas: a
        pipeline would draw something else.
    """
    net = prior.network
    config = getattr(net.module, "config", None)
    if net.fold > 1 or net.complex_images or net.prediction == "edm" or config is None:
        raise CapabilityError(
            f"DiffusionPrior {prior.source!r} has no diffusers pipeline: its network needs fold = 1, real images and "
            "a law of betas. Sample with recon, from a problem with much noise."
        )
    if config["out_channels"] != config["in_channels"]:
        raise CapabilityError(
            f"DiffusionPrior {prior.source!r} has no diffusers pipeline: its network gives a variance too. "
            "Convert it first."
        )
    import numpy as np
    from diffusers import DDIMPipeline, DDIMScheduler

    kept = 1.0 / (1.0 + np.asarray(net.law.levels) ** 2)
    betas = 1.0 - kept / np.concatenate([[1.0], kept[:-1]])
    scheduler = DDIMScheduler(
        num_train_timesteps=len(betas),
        trained_betas=betas,
        prediction_type=net.prediction,
        clip_sample=False,
        timestep_spacing="trailing",
        set_alpha_to_one=False,
    )
    return DDIMPipeline(net.module, scheduler)
