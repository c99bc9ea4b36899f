"""Training of a small unconditional prior, from a config file to a directory that ``DiffusionPrior.load`` reads.

    minimise over w   E || v_w(x_t, t) - v ||^2,    v = sqrt(a_t) eps - sqrt(1 - a_t) x,    ln s_t ~ N(mean, spread^2)

(v-prediction: Salimans and Ho 2022; normal law of ln s: Karras et al. 2022.) Images are folded by pixel unshuffle
first, so that the network works on fewer, wider pixels. The rate rises, stays, and falls to 0 over the last
``cooldown`` steps; what is kept is the exponential average of the weights. Image number k is always the same image:
a run that is broken off goes on from its last checkpoint with the images it has not seen.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge, Gt, Le

from recon.params import Doc, Parameters
from recon_diffusion.laws import linear_law

__all__ = ["Training", "train"]

HELD_OUT = 1_000_000
"""Seeds below this one are never trained on."""


@dataclass(frozen=True)
class Training(Parameters):
    """What to train, on what, for how long."""

    name: Annotated[str, Doc("of the prior, and of its folder")]
    images: Annotated[str, Doc("what to train on: 'bodies'")] = "bodies"
    size: Annotated[int, Ge(16), Doc("height and width of an image")] = 128
    low: Annotated[float, Doc("value that becomes -1 in the network")] = 0.0
    high: Annotated[float, Doc("value that becomes 1 in the network")] = 1.0
    fold: Annotated[int, Ge(1), Doc("pixel unshuffle in front of the network")] = 4
    widths: Annotated[tuple[int, ...], Doc("channels of each resolution of the network")] = (64, 64, 96, 128)
    layers: Annotated[int, Ge(1), Doc("residual blocks of each resolution")] = 1
    attention: Annotated[bool, Doc("attention at the lowest resolution")] = True
    steps: Annotated[int, Ge(1), Doc("gradient steps")] = 20_000
    batch: Annotated[int, Ge(1), Doc("images of a step")] = 16
    rate: Annotated[float, Gt(0), Doc("learning rate of AdamW")] = 1e-3
    warmup: Annotated[int, Ge(0), Doc("steps in which the rate rises")] = 200
    cooldown: Annotated[float, Gt(0), Le(1), Doc("share of the steps in which the rate falls")] = 0.25
    average: Annotated[float, Gt(0), Le(1), Doc("decay of the exponential average of the weights")] = 0.9995
    mean: Annotated[float, Doc("mean of ln s")] = -0.8
    spread: Annotated[float, Gt(0), Doc("standard deviation of ln s")] = 1.4
    seed: Annotated[int, Ge(0), Doc("of weights, noise and images")] = 0
    save_every: Annotated[int, Ge(1), Doc("steps between checkpoints")] = 500


def train(
    config: Training,
    folder: Path,
    device: str = "cpu",
    report: Callable[[int, float, float], None] | None = None,
) -> Path:
    """Train, going on from a checkpoint in the folder where there is one; return the folder of the finished prior."""
    import torch

    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(config.seed)
    net = make_network(config).to(device)
    weights = list(net.parameters())
    average = [p.detach().clone() for p in weights]
    optimiser = torch.optim.AdamW(weights, config.rate, betas=(0.9, 0.98), weight_decay=1e-4)
    law = linear_law(continuous=True)
    first, losses, begin = 0, [], time.perf_counter()
    spent = 0.0
    checkpoint = folder / "training.pt"
    if checkpoint.exists():
        kept = torch.load(checkpoint, map_location=device, weights_only=True)
        net.load_state_dict(kept["network"])
        optimiser.load_state_dict(kept["optimiser"])
        average = [a.to(device) for a in kept["average"]]
        first, losses, spent = kept["step"], kept["losses"], kept["seconds"]
    batches = _batches(config, first)
    for step in range(first, config.steps):
        rng = np.random.default_rng((config.seed, step))
        x = torch.from_numpy(next(batches)).to(device)
        sigma = np.clip(
            np.exp(rng.normal(config.mean, config.spread, config.batch)), law.levels[0], law.levels[-1]
        )
        t = torch.tensor([law.step(s) for s in sigma], dtype=torch.float32, device=device)
        s = torch.tensor(sigma, dtype=torch.float32, device=device)[:, None, None, None]
        eps = torch.from_numpy(rng.standard_normal(x.shape, dtype=np.float32)).to(device)
        kept_part = torch.rsqrt(1.0 + s * s)
        x, eps = _folded(x, config.fold), _folded(eps, config.fold)
        noisy, target = kept_part * (x + s * eps), kept_part * (eps - s * x)
        with torch.autocast(device, torch.bfloat16):
            out = net(noisy, t).sample
        loss = (out.float() - target).square().mean()
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        for group in optimiser.param_groups:
            group["lr"] = config.rate * _ramp(step, config)
        optimiser.step()
        decay = min(config.average, (1 + step) / (10 + step))
        torch._foreach_lerp_(average, [p.detach() for p in weights], 1.0 - decay)
        losses.append(float(loss.detach()))
        if (step + 1) % config.save_every == 0 or step + 1 == config.steps:
            seconds = spent + time.perf_counter() - begin
            state = {
                "network": net.state_dict(),
                "optimiser": optimiser.state_dict(),
                "average": average,
                "step": step + 1,
                "losses": losses,
                "seconds": seconds,
            }
            torch.save(state, checkpoint.with_suffix(".tmp"))
            os.replace(checkpoint.with_suffix(".tmp"), checkpoint)
            if report:
                report(step + 1, float(np.mean(losses[-config.save_every :])), seconds)
    return folder


def make_network(config: Training) -> Any:
    """The network of a config, as a diffusers UNet2DModel."""
    from diffusers import UNet2DModel

    count = len(config.widths)
    return UNet2DModel(
        sample_size=config.size // config.fold,
        in_channels=config.fold**2,
        out_channels=config.fold**2,
        block_out_channels=config.widths,
        layers_per_block=config.layers,
        down_block_types=("DownBlock2D",) * count,
        up_block_types=("UpBlock2D",) * count,
        norm_num_groups=8,
        add_attention=config.attention,
    )


def _folded(x: Any, fold: int) -> Any:
    import torch

    return torch.nn.functional.pixel_unshuffle(x, fold)


def _ramp(step: int, config: Training) -> float:
    left = (config.steps - step) / max(1.0, config.cooldown * config.steps)
    return min(1.0, (step + 1) / max(1, config.warmup), left)


def _batches(config: Training, first: int) -> Iterator[np.ndarray[Any, Any]]:
    """Batches of images in [-1, 1], of the steps from ``first`` on, drawn one step ahead by another thread."""
    from recon_datasets.bodies import body_slice, random_body

    def image(number: int) -> np.ndarray[Any, Any]:
        seed = HELD_OUT + number
        height = np.random.default_rng((7, seed)).uniform(-0.5, 0.5)
        values = body_slice(random_body(seed), config.size, height)
        return 2.0 * (values - config.low) / (config.high - config.low) - 1.0

    def drawn(step: int) -> np.ndarray[Any, Any]:
        numbers = range(step * config.batch, (step + 1) * config.batch)
        return np.stack([image(config.seed * 1_000_000_000 + n) for n in numbers])[:, None].astype(np.float32)

    with ThreadPoolExecutor(1) as pool:
        ahead = pool.submit(drawn, first)
        for step in range(first, config.steps):
            batch, ahead = ahead.result(), pool.submit(drawn, step + 1)
            yield batch
