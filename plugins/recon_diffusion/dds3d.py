"""DDS-3D: decomposed diffusion sampling of a volume with a prior of slices (Chung, Lee and Ye 2024).

    x0  = D(z, s)                                                                     slice by slice
    x0' = one iteration of ADMM on  1/2 ||A x - y||^2 + gamma/2 ||x - x0||^2 + rho t ||D x||_1,   from x0
    z'  = x0' + s' (sqrt(1 - eta^2) eps + eta n),   eps = (z - x0) / s

D are the differences between slices; their split and multiplier go on from level to level. gamma = lambda sigma^2 / s^2
is the pull of the prior; the paper, for data without noise, has none.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Annotated

from annotated_types import Interval

from recon import Problem
from recon.arrays import namespace
from recon.params import Doc
from recon_diffusion._run import Run
from recon_diffusion.sampler import SamplerState
from recon_diffusion.volumes import Slabs, VolumeSampler, blurred_volume

__all__ = ["Dds3D"]


@dataclass(frozen=True)
class Dds3D(VolumeSampler):
    """Diffusion in volumes with a prior of slices, data and coupling between slices on the denoised volume.

    One network call a slice and step, and ``inner`` products with A^H A. Memory: with ``in_place`` two volumes for
    eta = 1, three below, and some slabs; else a step holds twice that. Slices are denoised by themselves; what couples
    them is the total variation between them.

    Parameters
    ----------
    steps, chains, high, low, grid, diversity, coupling, threshold, boundary, balance, inner, slab, in_place
        See :class:`VolumeSampler`.
    eta
        Share of the noise that is new; 1 draws all anew.

    Raises
    ------
    ShapeError
        When the image is no volume.
    CapabilityError
        When the loss is not quadratic, or the prior no denoiser.
    ParameterError
        When the noise level is not known.

    References
    ----------
    H. Chung, S. Lee and J. C. Ye, "Decomposed diffusion sampler for accelerating large-scale inverse problems", ICLR
    (2024), arXiv:2303.05754, algorithm 3.
    """

    eta: Annotated[float, Interval(ge=0, le=1), Doc("share of the noise that is new")] = 1.0

    def advance(self, run: Run, state: SamplerState, s: float, after: float) -> SamplerState:
        volume = Slabs(run, self.slab)
        new = s if state.iteration == 0 else self.eta * s
        old = after / s * math.sqrt(1.0 - self.eta**2)
        clean = self.output(state.clean)
        kept = None
        if old > 0.0:
            kept = state.z if self.in_place and state.iteration else namespace(clean).empty_like(clean)
        for lo, hi in volume.images():
            part = volume.at(lo, hi)
            z = volume.noise(lo, hi, 0, state.z)
            z *= new
            z += state.z[part]
            slices = run.denoise(z, s)
            if kept is not None:
                z -= slices
                kept[part] = old * z
            clean[part] = slices
        if self.diversity is not None:
            clean = self.guided(clean, state, s, run)
        split = self.data_step(run, clean, state.split, s)
        if kept is not None:
            kept += clean
        return replace(
            state, z=clean if kept is None else kept, clean=clean, split=split, calls=state.calls + 1
        )

    @classmethod
    def example(cls) -> Problem:
        return blurred_volume()
