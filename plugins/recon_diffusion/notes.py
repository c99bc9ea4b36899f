"""What the ``recon.json`` beside a network says of it."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Annotated, Any

from annotated_types import Ge

from recon.errors import ParameterError
from recon.params import Doc, Parameters

__all__ = ["Notes"]


@dataclass(frozen=True)
class Notes(Parameters):
    """What ``recon.json`` says of a prior."""

    low: Annotated[float, Doc("value of an image that is -1 in the network")] = -1.0
    high: Annotated[float, Doc("value of an image that is 1 in the network")] = 1.0
    fold: Annotated[int, Ge(1), Doc("pixel unshuffle in front of the network")] = 1
    channels: Annotated[int, Ge(1), Doc("of an image; 2 for real and imaginary part")] = 1
    complex_images: Annotated[bool, Doc("whether images are complex")] = False
    multiple: Annotated[int, Ge(1), Doc("of which rows and columns must be multiples")] = 8
    continuous: Annotated[bool, Doc("whether levels between the steps were trained too")] = False
    spreads: Annotated[
        tuple[tuple[float, float], ...], Doc("noise levels and root mean square errors, in network values")
    ] = ()
    name: Annotated[str, Doc("of the prior")] = ""
    units: Annotated[str, Doc("what the values of an image are")] = ""
    images: Annotated[str, Doc("what it was trained on")] = ""
    seed: Annotated[int | None, Doc("of the training")] = None
    steps: Annotated[int, Ge(0), Doc("gradient steps of the training")] = 0
    training: Annotated[dict[str, Any], Doc("settings and figures of the training")] = field(
        default_factory=dict
    )
    defaults: Annotated[dict[str, Any], Doc("tuned parameters of solvers, by solver")] = field(
        default_factory=dict
    )
    sha256: Annotated[str, Doc("of the weights")] = ""
    format: Annotated[int, Doc("of this file")] = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.high > self.low:
            raise ParameterError(
                f"Notes.high must be above low, got {self.high:g} and {self.low:g}. Exchange them."
            )
        levels = [0.0, *(level for level, _ in self.spreads)]
        rising = all(one < two for one, two in itertools.pairwise(levels))
        if not rising or not all(error > 0.0 for _, error in self.spreads):
            raise ParameterError(
                "Notes.spreads must be pairs of positive numbers, levels rising, got others. Measure them anew."
            )
