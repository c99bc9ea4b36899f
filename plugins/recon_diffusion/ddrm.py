"""DDRM: denoising and data in the singular basis of the operator (Kawar et al. 2022).

Each coordinate of V^H z is measured, as yb_i = (U^H y)_i / s_i with noise of level sigma_i = sigma / s_i, or not at
all (s_i = 0, and what lies outside V). With xb = V^H D(z, s):

    transition "ddrm"
    not measured     D + s' (sqrt(1 - eta^2) (z - D) / s + eta n)
    s' <  sigma_i    xb + s' (sqrt(1 - eta^2) (yb - xb) / sigma_i + eta n)
    s' >= sigma_i    (1 - eta_b) xb + eta_b yb + sqrt(s'^2 - eta_b^2 sigma_i^2) n

    transition "ancestral", with t(a, l) = D + q (a - D) + sqrt(s'^2 (1 - q) + (1 - q)^2 r^2) n, q = (s' / l)^2
    not measured     t(z, s)
    s' <  sigma_i    t(z, s), or t(yb, sigma_i) where sigma_i lies between s and s'
    s' >= sigma_i    yb + sqrt(s'^2 - sigma_i^2) n

t is the law of z' given z where x given z is N(D, r^2); yb is taken for z at level sigma_i.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from annotated_types import Interval

from recon import Problem
from recon.arrays import Array, as_numpy, clip, from_numpy, leaves, namespace, real_like, tmap
from recon.errors import CapabilityError
from recon.operator import capability
from recon.params import Doc
from recon.svd import Svd
from recon_diffusion._examples import gaussian_blur
from recon_diffusion._run import Run
from recon_diffusion.sampler import Sampler, SamplerState

__all__ = ["Coordinates", "Ddrm", "beyond", "check_svd", "unit_svd"]


class Coordinates(NamedTuple):
    """The unit operator's singular basis: which coordinates are measured, sigma_i of these (else 1), and U^H y.

    ``seen`` and ``level`` are arrays as the data are; ``data`` has the chains in front.
    """

    svd: Svd
    seen: Any
    level: Any
    data: Any


class Weights(NamedTuple):
    """z' = x_share xb + z_share V^H z + data_share U^H y + noise n, for each singular coordinate."""

    x_share: Any
    z_share: Any
    data_share: Any
    noise: Any


@dataclass(frozen=True)
class Ddrm(Sampler):
    """Denoising diffusion restoration: every singular coordinate of the operator by its own noise level.

    One network call and three changes of basis a step; memory: eight images per chain, and the network.

    As published (``transition="ddrm"``) it restores rather than samples: with many steps eta = 0 leads to the data
    and eta = 1 to the prior's mean wherever the data are noisier than z. With a Gaussian prior and 20 steps the mean
    is off by 0.65 (half of the pixels hidden, or blur) posterior standard deviations, root mean square, and the
    variance is 0.57 and 0.25 of the posterior's. Since it does not sample, it draws half of the noise by default:
    with ``ct-128`` an image is 0.4 to 1.2 dB better, and the variance is a quarter of those.

    ``transition="ancestral"`` samples. Where the prior's coordinates in V are independent (blur or denoising of
    images whose Fourier or cosine coefficients are) it is exact in the limit of many steps: with 30, 100 and 300
    steps the covariance is off by 4, 1.3 and 0.4 %. Elsewhere the data say nothing about other coordinates above
    their noise, and that is not made good below: with half of the pixels of smooth images hidden the mean is off by
    0.8 standard deviations and the variance by 17 %, with any number of steps. Take Daps there.

    Parameters
    ----------
    steps, chains, high, low, grid, diversity
        See :class:`Sampler`. The authors take 20 steps, even in those of the linear law. The push for diversity acts
        on what is not measured.
    transition
        As published, or that of a sampler.
    eta, eta_b
        Of ``"ddrm"``: share of new noise, and of the data above their noise.
    temperature
        Of ``"ddrm"``: scale of all noise that is drawn; 1 as published. Below 1 z has less noise than the network is
        told of, which errs towards its mean.

    Raises
    ------
    CapabilityError
        When the operator has no ``svd``, the loss is not quadratic, or the prior no denoiser.
    ParameterError
        When the noise level is not known.

    References
    ----------
    B. Kawar, M. Elad, S. Ermon and J. Song, "Denoising diffusion restoration models", NeurIPS (2022),
    arXiv:2201.11793, equations 4 to 8.
    """

    transition: Annotated[Literal["ddrm", "ancestral"], Doc("as published, or that of a sampler")] = "ddrm"
    eta: Annotated[float, Interval(ge=0, le=1), Doc("share of new noise, of ddrm")] = 0.85
    eta_b: Annotated[float, Interval(ge=0, le=1), Doc("share of the data above their noise, of ddrm")] = 1.0
    temperature: Annotated[float, Interval(ge=0, le=1), Doc("scale of all noise that is drawn, of ddrm")] = (
        0.5
    )

    def begin(self, run: Run, state: SamplerState) -> SamplerState:
        check_svd(run, "Ddrm", "DiffPir, Dds or Daps")
        high = state.levels[0]
        noise = self._noise(run)
        free = state.clean + high * noise
        z = self._measured(run, state.clean, free, noise, free, math.inf, high)
        return replace(state, z=z)

    def advance(self, run: Run, state: SamplerState, s: float, after: float) -> SamplerState:
        clean = run.denoise(state.z, s)
        free, noise = self.guided(clean, state, s, run), self._noise(run)
        away = state.z - free
        if self.transition == "ddrm":
            keep = after / s * math.sqrt(1.0 - self.eta**2)
            moved = free + keep * away + (after * self.eta) * noise
        else:
            q = (after / s) ** 2
            moved = free + q * away + float(_fresh(q, after, run.spread(s))) * noise
        z = self._measured(run, clean, state.z, noise, moved, s, after)
        return replace(state, z=z, clean=free if after > 0.0 else z)

    def _noise(self, run: Run) -> Array:
        noise = run.noise()
        return noise if self.transition == "ancestral" else self.temperature * noise

    def _measured(
        self, run: Run, clean: Array, z: Array, noise: Array, moved: Array, s: float, after: float
    ) -> Array:
        """``moved``, with the coordinates that are measured as the data say."""
        svd, seen, level, data = unit_svd(run)
        weigh = _ddrm_weights if self.transition == "ddrm" else _ancestral_weights
        r = run.spread(min(s, run.scale * 1e3) if self.transition == "ancestral" else after)

        def mix(on: Any, level: Any, x: Any, now: Any, y: Any, n: Any, other: Any) -> Any:
            w = weigh(self, level, run.sigma, s, after, r)
            new = w.x_share * x + w.data_share * y + w.noise * n - other
            if now is not x:
                new = new + w.z_share * now
            return namespace(new).where(on, new, 0.0 * new)

        x = svd.V.H @ clean
        now = x if self.transition == "ddrm" else svd.V.H @ z  # of no weight in ddrm
        change = tmap(mix, seen, level, x, now, data, svd.V.H @ noise, svd.V.H @ moved)
        return moved + svd.V @ change

    @classmethod
    def example(cls) -> Problem:
        return gaussian_blur()


def check_svd(run: Run, owner: str, others: str) -> None:
    """Refuse an operator without ``svd``: its own, or what is left of it where the entries differ in noise."""
    if capability(run.operator, "svd"):
        return
    if capability(run.problem.operator, "svd"):
        raise CapabilityError(
            f"{owner} needs one noise level for all data, got levels of their own for each. Use {others} instead."
        )
    raise CapabilityError(
        f"{owner} needs {run.problem.operator!s}.svd, which it has not. Use {others} instead."
    )


def unit_svd(run: Run) -> Coordinates:
    """The singular basis of the unit operator and what the data say there. Kept with the problem.

    Singular values that are rounding in the precision of the data count as 0, as in ``Svd.pinv``.
    """
    found: Coordinates = run.problem.kept(
        f"unit svd {run.norm!r}, {run.chains} chains", lambda: _unit_svd(run)
    )
    return found


def _unit_svd(run: Run) -> Coordinates:
    svd: Svd = run.operator.svd()  # type: ignore[attr-defined]
    largest = max(float(np.max(s)) for s in leaves(svd.s))
    eps = float(np.finfo(as_numpy(leaves(run.problem.data)[0]).dtype).eps)
    limit = largest * max(svd.U.shape[0], svd.V.shape[0]) * eps
    data = svd.U.H @ run.data

    def measured(s: Any, like: Any) -> Any:
        return from_numpy(np.asarray(s) > limit, like, dtype=namespace(like).bool)

    def level(s: Any, like: Any) -> Any:
        s = np.asarray(s, dtype=np.float64)
        return real_like(run.sigma / np.where(s > limit, s, run.sigma), like)

    return Coordinates(svd, tmap(measured, svd.s, data), tmap(level, svd.s, data), data)


def _fresh(q: Any, after: float, r: float) -> Any:
    """Level of the new noise in t: that of a step between two known images, and what is not known of x."""
    return (after**2 * (1.0 - q) + (1.0 - q) ** 2 * r**2) ** 0.5


def beyond(after: float, level: Any) -> Any:
    """sqrt(s'^2 - level^2), 0 where the level is higher."""
    return clip(after**2 - level**2, 0.0, None) ** 0.5


def _ddrm_weights(method: Ddrm, level: Any, sigma: float, s: float, after: float, r: float) -> Weights:
    where, some = namespace(level).where, 0.0 * level
    above = level <= after
    keep = math.sqrt(1.0 - method.eta**2) * after
    return Weights(
        where(above, some + (1.0 - method.eta_b), 1.0 - keep / level),
        some,
        where(above, method.eta_b * level, some + keep) * (1.0 / sigma),  # 1 / s_i is level / sigma
        where(above, beyond(after, method.eta_b * level), some + method.eta * after),
    )


def _ancestral_weights(method: Ddrm, level: Any, sigma: float, s: float, after: float, r: float) -> Weights:
    where, some = namespace(level).where, 0.0 * level
    above, below = level <= after, level > s
    q = where(below, some + (after / s) ** 2, (after / level) ** 2)
    q = where(above, some, q)
    # between: the last coordinate above the noise of its data was yb with more noise, and q / s_i is q level / sigma
    data_share = where(below, some, q * level)
    return Weights(
        where(above, some, 1.0 - q),
        where(below, q, some),
        where(above, level, data_share) * (1.0 / sigma),
        where(above, beyond(after, level), _fresh(q, after, r)),
    )
