"""DPS: guidance by the gradient of the misfit (Chung et al. 2023); MCG: the same, projected onto the data (2022).

    f = 1/2 ||A D(z, s) - y||^2,   r = A D - y,   g = grad_z f = J^T A^H r        J the Jacobian of D at z
    z' = ancestral(z, D, s, s') - c g                                           of each image by itself

Published is x_(t-1) = x' - zeta grad_(x_t) ||y - A D||, in x_t = sqrt(a_t) z: the gradient gains 1 / sqrt(a_t), the
step 1 / sqrt(a_(t-1)), and with s in units of the prior's scale d these roots are sqrt(1 + s^2), so that in z

    "published"   c = zeta d sqrt((1 + s^2 / d^2) (1 + s'^2 / d^2)) / ||r||

meant for 1000 steps and the 256 x 256 x 3 images zeta was tuned for: with fewer steps there is too little of it, and
in smaller images, whose ||r|| is smaller, too much. The exact guidance for p(y|z) = N(A D, v I) is, for any steps,

    "variance"    c = zeta (s^2 - s'^2) / v,   v = max(||r||^2 / m, sigma^2)    m numbers of data that images reach

and with the gradient of ||r|| in the place of that of its square, 1 as the noise alone would have it,

    "deviation"   c = zeta (s^2 - s'^2) / (sigma sqrt(v))

which pulls more while the residual is large. In all c <= ||r||^2 / ||g||^2, twice Polyak's step: where f is convex, no
further step leads nearer to an image that fits, and the few steps that would have exploded do not.

MCG      z' <- z' + A^+ (y + s' A n - A z')       with the noise n of the ancestral step
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, Literal, TypeAlias

import numpy as np
from annotated_types import Ge, Gt

from recon import Problem
from recon.arrays import Array, namespace, tmap
from recon.errors import CapabilityError
from recon.operator import capability
from recon.params import Doc
from recon_diffusion._each import conjugate_gradients, dots, spread
from recon_diffusion._examples import gaussian_blur, hidden_pixels
from recon_diffusion._run import Run
from recon_diffusion.sampler import Sampler, SamplerState
from recon_diffusion.transitions import ancestral

__all__ = ["Dps", "Mcg", "Step"]

Step: TypeAlias = Literal["variance", "deviation", "published"]
"""How long a step along the gradient is."""


@dataclass(frozen=True)
class Dps(Sampler):
    """Diffusion posterior sampling: ancestral steps, each pushed down the gradient of the misfit.

    Per step one network call and one product with its transposed Jacobian (together about 2.2 calls, and the memory of
    the network's activations), one product with A and one with A^H. It takes the covariance of the data given z as a
    multiple of the identity: where ||A x|| differs much between images of one norm (CT, blur) strong modes are pushed
    too far and weak ones too little.

    For Gaussian images (6 x 6 and 8 x 8; masks, blur, CT) the mean of many chains is off by up to 0.4 posterior
    standard deviations with 30 steps, 0.35 with 100, and no less with 1000; variances are 0.7 to 1.35 times the
    posterior's. With networks more steps help more: 30 are too few.

    Parameters
    ----------
    steps, chains, high, low, grid, diversity
        See :class:`Sampler`.
    zeta
        Strength of the guidance.
    rule
        ``"variance"``, the step for any number of steps and any size of image; ``"deviation"``, the same with more pull
        from afar: with zeta 3 better by 0.5 dB for masks and 1 dB for CT, worse for blur; ``"published"``, that of the
        paper: zeta 0.3 for blur and super-resolution, 0.5 for inpainting, with 1000 steps.

    Raises
    ------
    CapabilityError
        When the loss is not quadratic, or the prior has no ``denoise_vjp``.
    ParameterError
        When the noise level is not known.

    References
    ----------
    H. Chung et al., "Diffusion posterior sampling for general noisy inverse problems", ICLR (2023), arXiv:2209.14687,
    algorithm 1.
    """

    steps: Annotated[int, Ge(1), Doc("noise levels to walk through")] = 100
    zeta: Annotated[float, Gt(0), Doc("strength of the guidance")] = 1.0
    rule: Annotated[Step, Doc("how long a step along the gradient is")] = "variance"

    needs_vjp: ClassVar[bool] = True

    def advance(self, run: Run, state: SamplerState, s: float, after: float) -> SamplerState:
        clean, pull = run.denoise_vjp(state.z, s)
        residual = run.residual(clean)
        gradient = pull(run.adjoint(residual))
        clean = self.guided(clean, state, s, run)
        noise = run.noise()
        shift = self._length(run, residual, gradient, s, after) * gradient
        z = self._projected(run, ancestral(state.z, clean, s, after, noise) - shift, after, noise)
        return replace(state, z=z, clean=clean - shift if after else z)

    def _projected(self, run: Run, z: Array, after: float, noise: Array) -> Array:
        """z itself: a place for MCG."""
        return z

    def _length(self, run: Run, residual: Array, gradient: Array, s: float, after: float) -> Any:
        """c of each image, with axes to be multiplied with one."""
        spec = run.problem.operator.codomain
        seen = run.reached()
        square = dots(tmap(lambda w, r: w * r, seen, residual), residual, spec)
        slope = dots(gradient, gradient, run.domain)
        xp = namespace(square)
        tiny = float(np.finfo(np.float32).tiny)
        if self.rule != "published":
            floor = max(run.sigma**2, tiny)
            v = xp.clip(square / run.count_reached(), floor, None)
            wanted = (s**2 - after**2) / (v if self.rule == "variance" else xp.sqrt(floor * v))
        else:
            roots = np.hypot(1.0, s / run.scale) * np.hypot(1.0, after / run.scale)
            wanted = run.scale * float(roots) / xp.sqrt(xp.clip(square, tiny, None))
        limit = square / xp.clip(slope, tiny, None)
        return spread(xp.minimum(self.zeta * wanted, limit), gradient, run.domain)

    @classmethod
    def example(cls) -> Problem:
        return gaussian_blur()


@dataclass(frozen=True)
class Mcg(Dps):
    """Manifold constrained gradient: DPS whose every z is projected onto what the data say; for data without noise.

    The projection takes A^+ from the operator where it has ``pinv``, else ``inner`` conjugate gradients. The image
    comes out with the data's noise in it, multiplied by A^+: blur and CT blow it up, so that only a noise of ``limit``
    is let in. Cost as DPS, and one or ``inner`` products more with A and A^H.

    Parameters
    ----------
    steps, chains, high, low, grid, diversity
        See :class:`Sampler`.
    zeta, rule
        See :class:`Dps`.
    inner
        Conjugate gradients of a projection.
    limit
        Largest noise level over ||A||, in units of the prior's scale.

    Raises
    ------
    CapabilityError
        As DPS, and when the data are noisier than ``limit``.

    References
    ----------
    H. Chung, B. Sim, D. Ryu, J. C. Ye, "Improving diffusion models for inverse problems using manifold constraints",
    NeurIPS (2022), arXiv:2206.00941, equations 14 and 15.
    """

    inner: Annotated[int, Ge(1), Doc("conjugate gradients of a projection")] = 10
    limit: Annotated[float, Gt(0), Doc("largest noise level over ||A||, in units of the prior's scale")] = (
        0.02
    )

    def begin(self, run: Run, state: SamplerState) -> SamplerState:
        if run.sigma > self.limit * run.scale:
            raise CapabilityError(
                f"Mcg needs data with noise of at most {self.limit:g} of ||A|| times the prior's scale, got "
                f"{run.sigma / run.scale:.3g}. Use Dps or PiGdm instead."
            )
        return super().begin(run, state)

    def _projected(self, run: Run, z: Array, after: float, noise: Array) -> Array:
        missing = tmap(lambda y, seen: y - seen, run.data, run.forward(z - after * noise))
        inverse = capability(run.operator, "pinv")
        if inverse:
            return z + inverse(missing)
        return z + conjugate_gradients(run.normal, run.adjoint(missing), run.domain, iterations=self.inner)

    @classmethod
    def example(cls) -> Problem:
        return hidden_pixels()
