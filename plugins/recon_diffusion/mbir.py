"""DiffusionMBIR: a volume from a prior of slices by a long reverse diffusion (Chung et al. 2023).

From level s to s', with the score (D(z, s) - z) / s^2 of every slice:

    predictor    z <- z + (s^2 - s'^2) score(z, s) + sqrt(s^2 - s'^2) n
    corrector    z <- z + e score(z, s') + sqrt(2 e) n,     e = 2 (r ||n|| / ||score||)^2
    data         one iteration of ADMM on  1/2 ||A z - y||^2 + gamma/2 ||z - z0||^2 + rho t ||D z||_1,   from z = z0

and, as an option, after the last level z <- z + A^H (y - A z) / (A^H A 1). D are the differences between slices;
gamma = lambda sigma^2 / s'^2 weighs the prior against noisy data, the paper has none.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Annotated, Any

from annotated_types import Ge, Gt

from recon import Problem
from recon.arrays import Array, ArraySpec, namespace
from recon.params import Doc
from recon_diffusion._each import dots, spread
from recon_diffusion._run import Run
from recon_diffusion.sampler import SamplerState
from recon_diffusion.volumes import Slabs, VolumeSampler, blurred_volume

__all__ = ["DiffusionMbir"]


@dataclass(frozen=True)
class DiffusionMbir(VolumeSampler):
    """Predictor and corrector on the noisy volume, and a data step with a coupling between slices after each.

    Two network calls a slice and step, hundreds to thousands of steps: :class:`Dds3D` needs a small part of that.
    Memory: with ``in_place`` two volumes and some slabs, else four. The data step acts on the noisy volume as it is, so
    that early steps fight the noise. Until the end ``x`` is that noisy volume.

    Parameters
    ----------
    steps, chains, high, low, grid, coupling, threshold, boundary, balance, inner, slab, in_place
        See :class:`VolumeSampler`. The published levels are 378 to 0.01 for images in [0, 1], with a coupling of 0.026
        and a threshold of 0.008. More conjugate gradients or a stronger coupling do harm: the split remembers the
        steps between slices at the level before, noise and all, and the volume is pulled back to them.
    diversity
        Without effect: there is no estimate to push before the data step.
    snr
        r of the corrector. Its step is that of each slice, so that no slice depends on the others.
    final
        Whether a step towards the data alone ends the run, as published; it brings noise of the data back.

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
    H. Chung, D. Ryu, M. T. McCann, M. L. Klasky and J. C. Ye, "Solving 3D inverse problems using pre-trained 2D
    diffusion models", CVPR (2023), arXiv:2211.10655, algorithm 1.
    """

    steps: Annotated[int, Ge(1), Doc("noise levels to walk through")] = 1000
    high: Annotated[float, Gt(0), Doc("first noise level, in units of the prior's scale")] = 150.0
    balance: Annotated[float, Ge(0), Doc("lambda, weight of the prior in the data step")] = 0.0
    inner: Annotated[int, Ge(1), Doc("conjugate gradients of a data step")] = 1
    snr: Annotated[float, Ge(0), Doc("r, signal to noise ratio of the corrector")] = 0.16
    final: Annotated[bool, Doc("whether a step towards the data alone ends the run")] = True

    def begin(self, run: Run, state: SamplerState) -> SamplerState:
        volume = Slabs(run, self.slab)
        for lo, hi in volume.images():
            state.clean[volume.at(lo, hi)] += state.levels[0] * volume.noise(lo, hi, 0, state.clean)
        return replace(state, x=self.mean(state.clean))

    def advance(self, run: Run, state: SamplerState, s: float, after: float) -> SamplerState:
        volume = Slabs(run, self.slab)
        z = self.output(state.clean)
        for lo, hi in volume.images():
            part = volume.at(lo, hi)
            slices = self._predicted(run, state.clean[part], volume.noise(lo, hi, 0, z), s, after)
            if after > 0.0 and self.snr > 0.0:
                slices = self._corrected(run, slices, volume.noise(lo, hi, 1, z), after)
            z[part] = slices
        split = self.data_step(run, z, state.split, after or s)
        if after == 0.0 and self.final:
            self._to_the_data(volume, z)
        calls = state.calls + (2 if after > 0.0 and self.snr > 0.0 else 1)
        return replace(state, z=z, clean=z, split=split, calls=calls)

    def _predicted(self, run: Run, z: Array, noise: Array, s: float, after: float) -> Array:
        clean = run.denoise(z, s)
        return z + (1.0 - (after / s) ** 2) * (clean - z) + math.sqrt(s**2 - after**2) * noise

    def _corrected(self, run: Run, z: Array, noise: Array, s: float) -> Array:
        score = (run.denoise(z, s) - z) * (1.0 / s**2)
        image = ArraySpec(run.domain.shape[1:], run.domain.kind)
        xp = namespace(z)
        squares = dots(score, score, image)
        safe = xp.where(squares > 0, squares, xp.ones_like(squares))
        pace = spread(2.0 * self.snr**2 * dots(noise, noise, image) / safe, z, image)
        return z + pace * score + xp.sqrt(2.0 * pace) * noise

    def _to_the_data(self, volume: Slabs, z: Array) -> None:
        """z <- z + A^H (y - A z) / (A^H A 1), where the data see anything."""
        xp = namespace(z)
        for lo, hi in volume.parts():
            here = z[volume.at(lo, hi)]
            seen: Any = xp.real(volume.normal(xp.ones_like(here)))
            limit = 1e-3 * float(xp.max(seen))
            step = xp.where(seen > limit, 1.0 / xp.where(seen > limit, seen, xp.ones_like(seen)), 0.0 * seen)
            z[volume.at(lo, hi)] = here - step * volume.gradient(here, lo, hi)

    @classmethod
    def example(cls) -> Problem:
        return blurred_volume()
