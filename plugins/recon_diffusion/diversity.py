"""Chains that differ: repulsion between the estimates of a step, and a choice of the most different samples.

    x_i <- x_i + strength (s / s_0)^p (x_i - x_j)      x_j the nearest other estimate, where it is near

(Cohen, Manor, Bahat and Michaeli, "From posterior sampling to meaningful diversity in image restoration", ICLR 2024.)
It acts before the data step, so that what the data say is put right again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from annotated_types import Ge, Gt

from recon.arrays import Array
from recon.params import Doc, Parameters

if TYPE_CHECKING:
    from recon_diffusion._run import Run

__all__ = ["Diversity"]


@dataclass(frozen=True)
class Diversity(Parameters):
    """Repulsion of the chains of a sampler."""

    strength: Annotated[float, Ge(0), Doc("share of the difference that is added at the first level")] = 0.1
    reach: Annotated[
        float | None,
        Gt(0),
        Doc("distance beyond which chains are left alone"),
    ] = None

    def push(self, clean: Array, progress: float, run: Run) -> Array:
        """The estimates, chains in front, each pushed away from its nearest neighbour."""
        raise NotImplementedError
