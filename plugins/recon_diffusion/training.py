"""Training of a small unconditional prior, from a config to a folder that :class:`DiffusionPrior` reads.

    minimise over w   E || v_w(x_t, t) - v ||^2,    v = sqrt(a_t) eps - sqrt(1 - a_t) x,    ln s_t ~ N(mean, spread^2)

(v-prediction: Salimans and Ho 2022; normal law of ln s: Karras et al. 2022.) Images are folded by pixel unshuffle
first, so that the network works on fewer, wider pixels. The rate rises, stays, and falls to 0 over the last
``cooldown`` steps; what is kept is the exponential average of the weights. Image number k is always the same image,
and noise belongs to its step: a run that is broken off goes on as if nothing had been.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from recon.errors import ConfigError, DataError, ParameterError
from recon.params import describe
from recon.storage import atomic, make_folder, unbroken
from recon_diffusion._training_batches import drawn_ahead, scaled
from recon_diffusion._training_config import Training, load_config
from recon_diffusion.files import need_extra, save_prior
from recon_diffusion.images import Source, source_of
from recon_diffusion.laws import linear_law
from recon_diffusion.network import Network
from recon_diffusion.notes import Notes

__all__ = ["Training", "denoising_table", "export", "load_config", "make_network", "train"]

CHECKPOINT = "training.pt"
PARTS = {"network", "optimiser", "average", "step", "losses", "seconds"}
"""What it holds at least."""
LEVELS = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Noise levels of a model card, in network values."""
REPORT_EVERY = 10
"""Steps between calls of ``report``: each waits for the device."""
FREE = ("name", "steps", "save_every", "workers", "units", "about", "held_out")
"""What of a config may change when a training goes on."""

Floats32 = npt.NDArray[np.float32]
Report = Callable[[int, float, float], None]


def train(
    config: Training,
    folder: Path,
    device: str = "cpu",
    report: Report | None = None,
    images: Source | None = None,
) -> Path:
    """Train, going on from a checkpoint in the folder where there is one.

    Cost: about 3 forward passes of the network for each image. On a CPU with the same number of threads, a run that
    was broken off ends with the same weights, bit by bit, as one that was not. Ctrl-C saves a checkpoint first.

    Parameters
    ----------
    config
        What to train.
    folder
        For ``training.pt``, the checkpoint; ``loss.png``, the loss; and at the end the prior, in a folder of its name.
    device
        Where torch runs it, such as ``"cuda"``.
    report
        Called every ten steps as ``report(step, loss, seconds)``.
    images
        A source of images, in the place of the one that the config names.

    Returns
    -------
    The folder of the prior.

    Raises
    ------
    MissingExtraError
        When torch, diffusers or safetensors is not installed.
    ConfigError
        When the checkpoint there is of another config.
    DataError
        When images cannot be read or are far from ``low`` to ``high``, results cannot be written, or another training
        writes to the folder.
    ParameterError
        When the loss is no longer finite.
    """
    need_extra()
    make_folder(folder)
    made = folder / config.name
    if made.exists() and not (made / "recon.json").is_file():
        raise DataError(f"{made} must be free for the prior, got something else there. Choose another name.")
    source = source_of(config) if images is None else images
    run = _Run(config, folder, device)
    batches = drawn_ahead(config, source, run.step, parallel=images is None)
    begin = time.perf_counter()
    spent = run.seconds
    try:
        while run.step < config.steps:
            with unbroken():  # Ctrl-C waits for the end of the step
                run.advance(next(batches))
                run.seconds = spent + time.perf_counter() - begin
                last = run.step == config.steps
                if run.step % config.save_every == 0 or last:
                    run.save()
                if report and (run.step % REPORT_EVERY == 0 or last):
                    report(run.step, float(run.losses[-1]), run.seconds)
    except KeyboardInterrupt:
        run.save()
        raise
    finally:
        batches.close()
    return run.export(source)


def export(config: Training, folder: Path, device: str = "cpu", images: Source | None = None) -> Path:
    """Write the prior of the last checkpoint of a folder, finished or not; return the prior's folder.

    Raises
    ------
    DataError
        When there is no checkpoint.
    """
    need_extra()
    if not (folder / CHECKPOINT).is_file():
        raise DataError(f"{folder} must hold {CHECKPOINT}, got none. Train first.")
    return _Run(config, folder, device).export(source_of(config) if images is None else images)


def make_network(config: Training) -> Any:
    """The network of a config, as a diffusers UNet2DModel with random weights of its seed."""
    import torch
    from diffusers.models import UNet2DModel

    count = len(config.widths)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return UNet2DModel(
            sample_size=config.size // config.fold,
            in_channels=config.channels * config.fold**2,
            out_channels=config.channels * config.fold**2,
            block_out_channels=config.widths,
            layers_per_block=config.layers,
            down_block_types=("DownBlock2D",) * count,
            up_block_types=("UpBlock2D",) * count,
            norm_num_groups=config.groups,
            add_attention=config.attention,
        )


def denoising_table(
    network: Network, images: Any, seed: int = 0, batch: int = 8
) -> tuple[tuple[float, float], ...]:
    """Pairs (noise level, root mean square error of D), in network values.

    Parameters
    ----------
    network
        The network; its module says the device.
    images
        Torch images (images, channels, rows, columns) in network values, on that device, float32.
    seed
        Of the noise.
    batch
        Images at once.
    """
    import torch

    rows = []
    for k, level in enumerate(LEVELS):
        drawn = np.random.default_rng((seed, k)).standard_normal(tuple(images.shape), dtype=np.float32)
        noise = torch.from_numpy(drawn).to(images.device)
        with torch.no_grad():
            parts = zip(torch.split(images, batch), torch.split(noise, batch), strict=True)
            errors = [(network.estimate(x + level * n, level) - x).square().sum() for x, n in parts]
        rows.append((level, float(torch.stack(errors).sum() / images.numel()) ** 0.5))
    return tuple(rows)


# -- one training ------------------------------------------------------------------------------------------


class _Run:
    """Weights, their average, the optimiser, and where it is: what a checkpoint holds."""

    def __init__(self, config: Training, folder: Path, device: str) -> None:
        import torch

        self.config, self.folder, self.device = config, folder, torch.device(device)
        self.network = make_network(config).to(self.device)
        self.weights = list(self.network.parameters())
        self.average = [p.detach().clone() for p in self.weights]
        self.optimiser = torch.optim.AdamW(self.weights, config.rate, betas=(0.9, 0.98), weight_decay=1e-4)
        self.law = linear_law(continuous=True)
        self.step, self.seconds = 0, 0.0
        self.losses: list[Any] = []
        self.machine = _machine(self.device)
        self.stamp = self._stamp()
        if self.stamp:
            self._resume(folder / CHECKPOINT)

    def _stamp(self) -> tuple[int, int] | None:
        """Which file the checkpoint is; None where there is none."""
        path = self.folder / CHECKPOINT
        return (path.stat().st_mtime_ns, path.stat().st_ino) if path.exists() else None

    def _resume(self, path: Path) -> None:
        import torch

        try:
            kept = torch.load(path, map_location=self.device, weights_only=True)
        except Exception as error:  # a damaged file can make torch raise anything
            raise DataError(
                f"{path} must be a checkpoint of a training, got something unreadable ({type(error).__name__}). "
                "Give another folder."
            ) from error
        ours = describe(self.config)
        if not isinstance(kept, dict) or not kept.keys() >= PARTS:
            raise DataError(
                f"{path} must be a checkpoint of a training, got another file. Give another folder."
            )
        before = {**ours, **kept.get("config", {})}
        for key, value in ours.items():
            if key not in FREE and before[key] != value:
                raise ConfigError(
                    f"{path} must come from the same config, got another {key}: {before[key]!r}, now {value!r}. "
                    "Give another folder."
                )
        try:
            self.network.load_state_dict(kept["network"])
            self.optimiser.load_state_dict(kept["optimiser"])
            for own, one in zip(self.average, kept["average"], strict=True):
                own.copy_(one)
        except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
            raise ConfigError(f"{path} must hold this network, got another. Give another folder.") from error
        self.step, self.losses, self.seconds = kept["step"], list(kept["losses"]), kept["seconds"]
        self.machine = kept.get("machine", self.machine)

    def advance(self, batch: Floats32) -> None:
        """One gradient step."""
        import torch

        config = self.config
        rng = np.random.default_rng((config.seed, self.step))
        sigma = np.exp(rng.normal(config.mean, config.spread, len(batch)))
        sigma = np.clip(sigma, self.law.levels[0], self.law.levels[-1])
        drawn = rng.standard_normal(batch.shape, dtype=np.float32)
        t = self._tensor(np.array([self.law.step(s) for s in sigma], dtype=np.float32))
        s = self._tensor(sigma.astype(np.float32))[:, None, None, None]
        x, eps = (
            torch.nn.functional.pixel_unshuffle(self._tensor(one), config.fold) for one in (batch, drawn)
        )
        kept = torch.rsqrt(1.0 + s * s)
        noisy, target = kept * (x + s * eps), kept * (eps - s * x)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=config.precision == "bfloat16"):
            out = self.network(noisy, t).sample
        loss = (out.float() - target).square().mean()
        self.optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.weights, 1.0)
        for group in self.optimiser.param_groups:
            group["lr"] = config.rate * _ramp(self.step, config)
        self.optimiser.step()
        decay = min(config.average, (1 + self.step) / (10 + self.step))
        torch._foreach_lerp_(self.average, [p.detach() for p in self.weights], 1.0 - decay)
        self.losses.append(loss.detach())
        self.step += 1

    def _tensor(self, values: npt.NDArray[Any]) -> Any:
        import torch

        return torch.from_numpy(values).to(self.device, non_blocking=True)

    def save(self) -> None:
        """Write the checkpoint and the picture of the loss; a loss that is not finite is refused."""
        import torch

        self.losses = [float(loss) for loss in self.losses]
        if not np.isfinite(self.losses[-self.config.save_every :]).all():
            raise ParameterError(
                f"Training.rate must be small enough for the loss to stay finite, got {self.config.rate:g}. "
                "Lower it; the last checkpoint is sound."
            )
        state = {
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "average": self.average,
            "step": self.step,
            "losses": self.losses,
            "seconds": self.seconds,
            "machine": self.machine,
            "config": describe(self.config),
        }
        if self._stamp() not in (None, self.stamp):
            raise DataError(
                f"{self.folder} must be of one training at a time, got a checkpoint of another. Give another folder."
            )
        with atomic(self.folder / CHECKPOINT) as temporary:
            try:
                torch.save(state, temporary)
            except RuntimeError as error:  # a full disk, from torch's writer of archives
                raise DataError(
                    f"{self.folder / CHECKPOINT} cannot be written: is the disk full? The one before is sound."
                ) from error
        self.stamp = self._stamp()
        _draw(self.losses, self.folder / "loss.png", self.config.name)

    def export(self, source: Source) -> Path:
        """Measure the averaged network on held-out images and write it as a prior."""
        import torch
        from diffusers.schedulers import DDIMScheduler

        config = self.config
        _draw([float(loss) for loss in self.losses], self.folder / "loss.png", config.name)
        module = make_network(config)
        for weight, average in zip(module.parameters(), self.average, strict=True):
            weight.data.copy_(average)
        module = module.half().float().eval().requires_grad_(False).to(self.device)  # as it will be stored
        scheduler = DDIMScheduler(
            num_train_timesteps=1000,
            beta_start=1e-4,
            beta_end=0.02,
            beta_schedule="linear",
            prediction_type="v_prediction",
            clip_sample=False,
            timestep_spacing="trailing",
            set_alpha_to_one=False,
        )
        network = Network.from_diffusers(
            module, scheduler, fold=config.fold, complex_images=config.complex_images, continuous=True
        )
        held_out = np.stack([scaled(source(k, True), config) for k in range(config.held_out)])
        table = denoising_table(network, torch.from_numpy(held_out).to(self.device), config.seed)
        notes = Notes(
            low=config.low,
            high=config.high,
            fold=config.fold,
            channels=config.channels,
            complex_images=config.complex_images,
            continuous=True,
            spreads=table,
            name=config.name,
            units=config.units,
            images=config.about or config.images,
            seed=config.seed,
            steps=self.step,
            training=self._figures(),
        )
        return save_prior(self.folder / config.name, module, scheduler, notes)

    def _figures(self) -> dict[str, Any]:
        """What the model card says of this training; no paths of this machine."""
        import torch

        return {
            "images_seen": self.step * self.config.batch,
            "seconds": round(self.seconds, 1),
            "machine": self.machine,
            **({"loss": float(np.mean([float(loss) for loss in self.losses[-500:]]))} if self.losses else {}),
            "held_out": self.config.held_out,
            "torch": str(torch.__version__),
            "config": describe(self.config),
        }


def _machine(device: Any) -> str:
    """What kind of machine this is: the model of its processor, no names and no paths."""
    import torch

    from recon.cli.machine import cpu

    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    count = torch.get_num_threads()
    return f"{cpu()}, {count} {'thread' if count == 1 else 'threads'}"


def _ramp(step: int, config: Training) -> float:
    left = (config.steps - step) / max(1.0, config.cooldown * config.steps)
    return min(1.0, (step + 1) / max(1, config.warmup), left)


def _draw(losses: list[float], path: Path, name: str) -> None:
    """The loss of each step, smoothed, as a picture."""
    from recon.plotting import figure, save_figure

    if not losses:  # broken off before the first step
        return
    drawn = figure(6.0, 3.5)
    axes = drawn.add_subplot()
    values = np.asarray(losses)
    width = max(1, len(values) // 100)
    kept = values[: len(values) // width * width].reshape(-1, width).mean(axis=1)
    axes.plot((np.arange(len(kept)) + 0.5) * width, kept)
    axes.set(yscale="log", xlabel="step", ylabel="loss", title=name)
    axes.grid(visible=True, which="both", alpha=0.3)
    save_figure(path, drawn)
