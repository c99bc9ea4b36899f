"""DDNM and DDNM+: the null space from the network, the rest from the data (Wang, Yu and Zhang 2023).

    x0  = D(z, s)
    x0' = x0 - lambda A^+ (A x0 - y)
    z'  = x0' + gamma (sqrt(1 - eta^2) (z - x0) / s + eta n)

    noise "ignore"       lambda = 1,                  gamma = s'                          DDNM
    noise "simple"       lambda = min(1, s' / sigma), gamma^2 = s'^2 - lambda^2 sigma^2   DDNM+, equal singular values
    noise "spectral"     the same for each singular coordinate, with sigma_i = sigma / s_i: lambda_i = 1 down to
                         s' = sigma_i, then sqrt(1 - eta^2) s' / sigma_i and new noise eta s' n     DDNM+, in full
    noise "regularised"  x0' = x0 - (A^H A + rho)^-1 A^H (A x0 - y), rho = (sigma / s')^2, gamma = s'

so that data with noise bring no more of it than z' must have. The last is ours, for operators without a
decomposition: its lambda_i = 1 / (1 + (sigma_i / s')^2) lets through at most half of s'.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from annotated_types import Ge, Interval

from recon import Problem
from recon.arrays import Array, namespace, tmap
from recon.operator import capability
from recon.params import Doc
from recon_diffusion._each import conjugate_gradients
from recon_diffusion._examples import gaussian_blur
from recon_diffusion._run import Run
from recon_diffusion.ddrm import beyond, check_svd, unit_svd
from recon_diffusion.sampler import Sampler, SamplerState

__all__ = ["Ddnm"]


@dataclass(frozen=True)
class Ddnm(Sampler):
    """Denoising diffusion null-space restoration: the pseudoinverse puts right what the data say.

    One network call a step. The pseudoinverse is the operator's ``pinv``, or of its ``svd``, or ``inner`` conjugate
    gradients from 0, which leave the null space alone and small singular values out. Memory: eight images per chain,
    and the network. It restores rather than samples. With a Gaussian prior and 30 steps the mean is off by 0.35
    posterior standard deviations (root mean square) with half of the pixels hidden and by 0.8 to 1.0 after blur, and
    the variance is a half to a quarter of the posterior's.

    Parameters
    ----------
    steps, chains, high, low, grid, diversity
        See :class:`Sampler`. The authors take 100 steps, even in those of the linear law.
    noise
        How noise of the data is met. ``"auto"`` is ``"spectral"`` where the operator has an ``svd``, else
        ``"regularised"``. ``"ignore"`` and ``"simple"`` are for singular values that are 0 or nearly equal: they
        multiply noise where some are small, and ``"simple"`` adds no new noise below sigma, hidden pixels included.
    eta
        Share of the noise that is new, 0 to 1.
    inner
        Conjugate gradients of a data step, where there is no closed form.

    Raises
    ------
    CapabilityError
        When the loss is not quadratic, the prior no denoiser, or ``noise="spectral"`` meets an operator without
        ``svd``.
    ParameterError
        When the noise level is not known.

    References
    ----------
    Y. Wang, J. Yu and J. Zhang, "Zero-shot image restoration using denoising diffusion null-space model", ICLR
    (2023), arXiv:2212.00490, sections 3.2 and 3.3 and appendix I.
    """

    noise: Annotated[
        Literal["auto", "spectral", "regularised", "simple", "ignore"],
        Doc("how noise of the data is met; auto is spectral where the operator has an svd, else regularised"),
    ] = "auto"
    eta: Annotated[float, Interval(ge=0, le=1), Doc("share of the noise that is new")] = 0.85
    inner: Annotated[int, Ge(1), Doc("conjugate gradients in the place of a pseudoinverse")] = 5

    def begin(self, run: Run, state: SamplerState) -> SamplerState:
        if self.noise == "spectral":
            check_svd(run, "Ddnm with noise='spectral'", "noise='regularised', DiffPir or Dds")
        return super().begin(run, state)

    def advance(self, run: Run, state: SamplerState, s: float, after: float) -> SamplerState:
        clean = self.guided(run.denoise(state.z, s), state, s, run)
        eps, noise = (state.z - clean) * (1.0 / s), run.noise()
        mixed = math.sqrt(1.0 - self.eta**2) * eps + self.eta * noise
        how = self.noise
        if how == "auto":
            how = "spectral" if capability(run.operator, "svd") else "regularised"
        if how == "spectral":
            fitting, added = self._spectral(run, clean, mixed, noise, after)
        elif how == "regularised":
            fitting = run.prox(clean, (run.sigma / after) ** 2, self.inner) if after > 0.0 else clean
            added = after * mixed
        else:
            share = 1.0 if how == "ignore" else min(1.0, after / run.sigma)
            brought = 0.0 if how == "ignore" else share * run.sigma
            fitting = clean + share * self._inverse(run, clean) if share > 0.0 else clean
            added = math.sqrt(max(after**2 - brought**2, 0.0)) * mixed
        return replace(state, z=fitting + added, clean=fitting)

    def _inverse(self, run: Run, clean: Array) -> Array:
        """A^+ (y - A x0): by the operator, or by a few conjugate gradients from 0, which leave the null space alone."""
        pinv = capability(run.operator, "pinv")
        if pinv is None and capability(run.operator, "svd"):
            pinv = unit_svd(run)[0].pinv
        misfit = tmap(lambda leaf: -leaf, run.residual(clean))
        if pinv:
            return run.timed(pinv, misfit)
        return conjugate_gradients(run.normal, run.adjoint(misfit), run.domain, iterations=self.inner)

    def _spectral(
        self, run: Run, clean: Array, mixed: Array, noise: Array, after: float
    ) -> tuple[Array, Array]:
        """x0' and the noise of z', each singular coordinate by its own lambda and gamma."""
        svd, seen, level, data = unit_svd(run)
        keep = math.sqrt(1.0 - self.eta**2) * after

        def shift(on: Any, level: Any, x: Any, y: Any) -> Any:
            where, some = namespace(level).where, 0.0 * level
            above = level <= after
            share = where(above, 1.0 + some, keep / level)
            by_data = where(above, level, some + keep) * (1.0 / run.sigma)  # share / s_i
            new = by_data * y - share * x
            return where(on, new, 0.0 * new)

        def fresh(on: Any, level: Any, both: Any, new: Any) -> Any:
            where, some = namespace(level).where, 0.0 * level
            above = level <= after
            changed = (where(above, beyond(after, level), some) - after) * both
            changed = changed + where(above, some, some + self.eta * after) * new
            return where(on, changed, 0.0 * changed)

        fitting = clean + svd.V @ tmap(shift, seen, level, svd.V.H @ clean, data)
        added = after * mixed + svd.V @ tmap(fresh, seen, level, svd.V.H @ mixed, svd.V.H @ noise)
        return fitting, added

    @classmethod
    def example(cls) -> Problem:
        return gaussian_blur()
