"""The config of a training, and its file."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge, Gt, Le, MinLen

from recon.errors import ConfigError, ParameterError
from recon.params import Doc, Parameters, build
from recon_diffusion.images import Turns

__all__ = ["Training", "load_config"]


@dataclass(frozen=True)
class Training(Parameters):
    """What to train, on what, for how long."""

    name: Annotated[str, MinLen(1), Doc("of the prior, and of its folder")]
    images: Annotated[str, Doc("what to train on: 'bodies', or files such as 'scans/*.npy'")] = "bodies"
    size: Annotated[int, Ge(16), Doc("height and width of an image")] = 128
    low: Annotated[float, Doc("value that becomes -1 in the network")] = 0.0
    high: Annotated[float, Doc("value that becomes 1 in the network")] = 1.0
    fold: Annotated[int, Ge(1), Doc("pixel unshuffle in front of the network")] = 4
    widths: Annotated[tuple[int, ...], MinLen(2), Doc("channels of each resolution of the network")] = (
        64,
        64,
        96,
        128,
    )
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
    channels: Annotated[int, Ge(1), Doc("of an image; 2 for real and imaginary part")] = 1
    complex_images: Annotated[bool, Doc("whether images are complex")] = False
    turns: Annotated[Turns, Doc("of images from files: 'none', 'sides' (mirrored by chance) or 'all'")] = (
        "none"
    )
    precision: Annotated[Literal["bfloat16", "float32"], Doc("of the network's products in training")] = (
        "bfloat16"
    )
    workers: Annotated[int, Ge(0), Doc("processes that draw images; 0 for a thread of this one")] = 0
    held_out: Annotated[int, Ge(1), Doc("images that the model card is measured on")] = 32
    units: Annotated[str, Doc("what the values of an image are, for the model card")] = ""
    about: Annotated[str, Doc("what the images are, for the model card")] = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not re.fullmatch(r"\w[\w.+-]*", self.name) or self.name in ("training.pt", "loss.png"):
            raise ParameterError(
                f"Training.name must be letters, digits and any of '._+-' behind the first, got {self.name!r}. "
                "It becomes the name of a folder."
            )
        down = self.fold * 2 ** (len(self.widths) - 1)
        if self.size % down:
            raise ParameterError(
                f"Training.size must be a multiple of {down} with this fold and these widths, got {self.size}. "
                "Take fewer widths, or another size."
            )
        if self.groups < 4 or min(self.widths) < 4:
            raise ParameterError(f"Training.widths must be multiples of 4, got {self.widths}. Round them.")
        if not self.high > self.low:
            raise ParameterError(
                f"Training.high must be above low, got {self.high:g} and {self.low:g}. Exchange them."
            )
        if self.complex_images != (self.channels == 2):
            raise ParameterError(
                f"Training.channels must be 2 for complex images and only for them, got {self.channels}. "
                "Set complex_images too."
            )

    @property
    def groups(self) -> int:
        """Groups of the normalisations: 8, or what divides all widths."""
        return int(np.gcd.reduce([8, *self.widths]))


def load_config(path: Path) -> Training:
    """Read a config file: one TOML table with the parameters of :class:`Training`.

    Raises
    ------
    ConfigError
        Naming the file, the key and the rule.
    """
    try:
        with path.open("rb") as stream:
            return build(Training, tomllib.load(stream))  # type: ignore[no-any-return]
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} must be a TOML file, got a fault: {error}.") from None
    except ParameterError as error:
        raise ConfigError(f"{path}: {error}") from error
    except OSError as error:
        said = (error.strerror or str(error)).lower()
        raise ConfigError(
            f"{path} cannot be read: {said}. Give a file, or a config that is shipped, such as ct-128."
        ) from None
