"""DDS: a few conjugate gradients from the denoised image, which stay near the images (Chung, Lee and Ye 2024).

    x0  = D(z, s)
    x0' = conjugate gradients from x0 on (I + g A^H A) x = x0 + g A^H y,    or A^H A x = A^H y without g
    z'  = x0' + s' (sqrt(1 - eta^2) (z - x0) / s + eta n)

The noise of z is that of x0, not of x0': DiffPIR computes it anew.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

from annotated_types import Ge, Gt, Interval

from recon import Problem
from recon.params import Doc
from recon_diffusion._each import conjugate_gradients
from recon_diffusion._examples import gaussian_blur
from recon_diffusion._run import Run
from recon_diffusion.sampler import Sampler, SamplerState
from recon_diffusion.transitions import ddim

__all__ = ["Dds"]


@dataclass(frozen=True)
class Dds(Sampler):
    """Decomposed diffusion sampling, two-dimensional: conjugate gradients on the data between two noise levels.

    One network call and ``inner`` + 1 products with A^H A a step. Memory: seven images per chain, and the network. It
    restores rather than samples, and the last image has been drawn to the data once more: g too large leaves their
    noise in it. With a Gaussian prior, noise of a tenth of the images' spread
    and 30 steps the mean is off by 0.76 posterior standard deviations (root mean square) with half of the pixels
    hidden and g = 10, by 0.63 after blur and 0.28 in tomography with g = 1; the variance is a third to two thirds of
    the posterior's.

    Parameters
    ----------
    steps, chains, high, low, grid, diversity
        See :class:`Sampler`. The authors take 50 to 100 steps, even in those of the linear law.
    weight
        g. The authors' 1 is for operators of their scaling; here that of A is 1 in norm, and 10 does for tomography
        with noise of 1 %. None leaves the data alone in the equation, for data without noise.
    eta
        Share of the noise that is new, 0 to 1.
    inner
        Conjugate gradients of a data step.

    Raises
    ------
    CapabilityError
        When the loss is not quadratic, or the prior no denoiser.
    ParameterError
        When the noise level is not known.

    References
    ----------
    H. Chung, S. Lee and J. C. Ye, "Decomposed diffusion sampler for accelerating large-scale inverse problems", ICLR
    (2024), arXiv:2303.05754, algorithm 1.
    """

    weight: Annotated[float | None, Gt(0), Doc("g, for an operator of norm 1; None: the data alone")] = 10.0
    eta: Annotated[float, Interval(ge=0, le=1), Doc("share of the noise that is new")] = 0.85
    inner: Annotated[int, Ge(1), Doc("conjugate gradients of a data step")] = 5

    def advance(self, run: Run, state: SamplerState, s: float, after: float) -> SamplerState:
        clean = self.guided(run.denoise(state.z, s), state, s, run)
        own = 0.0 if self.weight is None else 1.0 / self.weight
        step = conjugate_gradients(
            lambda x: own * x + run.normal(x), -1.0 * run.gradient(clean), run.domain, iterations=self.inner
        )
        fitting, eps = clean + step, (state.z - clean) * (1.0 / s)
        return replace(state, z=ddim(fitting, eps, after, run.noise(), self.eta), clean=fitting)

    @classmethod
    def example(cls) -> Problem:
        return gaussian_blur()
