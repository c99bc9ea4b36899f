"""DiffPIR: plug-and-play restoration with a diffusion prior (Zhu et al. 2023).

    x0  = D(z, s)
    x0' = argmin 1/2 ||A x - y||^2 + rho/2 ||x - x0||^2,     rho = lambda sigma^2 / s^2
    z'  = x0' + s' (sqrt(1 - zeta) eps' + sqrt(zeta) n),     eps' = (z - x0') / s

In the last step there is no new noise. zeta = 0 is half-quadratic splitting with a falling noise level, 1 draws all
noise anew.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Annotated

from annotated_types import Ge, Gt, Interval

from recon import Problem
from recon.params import Doc
from recon_diffusion._examples import gaussian_blur
from recon_diffusion._run import Run
from recon_diffusion.sampler import Sampler, SamplerState
from recon_diffusion.transitions import ddim

__all__ = ["DiffPir"]


@dataclass(frozen=True)
class DiffPir(Sampler):
    """Diffusion plug-and-play restoration: a proximal data step between two noise levels.

    One network call and one proximal map of the data a step: in closed form where the operator has ``data_prox``
    (masks, circular blur, decimation), else by ``inner`` conjugate gradients from the denoised image, each a product
    with A^H A. Memory: six images per chain, and the network. It restores rather than samples. With a
    Gaussian prior, noise of a tenth of the images' spread and 30 steps the mean is off by 0.45 (half of the pixels
    hidden), 0.68 (blur) and 0.50 (tomography) posterior standard deviations, root mean square, and the variance is
    0.3 of the posterior's; with ``balance=1`` it is 0.33, 0.11 and 0.09, and the variance is half.

    Parameters
    ----------
    steps, chains, high, low, grid, diversity
        See :class:`Sampler`.
    balance
        lambda: the larger, the more the prior counts.
    zeta
        Share of the noise that is new, 0 to 1.
    inner
        Conjugate gradients of a data step; three from the denoised image do, one does not.

    Raises
    ------
    CapabilityError
        When the loss is not quadratic, or the prior no denoiser.
    ParameterError
        When the noise level is not known.

    References
    ----------
    Y. Zhu et al., "Denoising diffusion models for plug-and-play image restoration", CVPR workshops (2023),
    arXiv:2305.08995, algorithm 1.
    """

    balance: Annotated[float, Gt(0), Doc("lambda, weight of the prior in the data step")] = 0.3
    zeta: Annotated[float, Interval(ge=0, le=1), Doc("share of the noise that is new")] = 1.0
    inner: Annotated[int, Ge(1), Doc("conjugate gradients of a data step")] = 4

    def advance(self, run: Run, state: SamplerState, s: float, after: float) -> SamplerState:
        clean = self.guided(run.denoise(state.z, s), state, s, run)
        fitting = run.prox(clean, self.balance * (run.sigma / s) ** 2, self.inner)
        eps = (state.z - fitting) * (1.0 / s)
        return replace(state, z=ddim(fitting, eps, after, run.noise(), math.sqrt(self.zeta)), clean=fitting)

    @classmethod
    def example(cls) -> Problem:
        return gaussian_blur()
