"""Chains that differ: each estimate is pushed away from its nearest neighbour, where the data allow it.

    p_i = strength sqrt(r / d) max(0, 1 - |x_i - x_j| / (reach r)) (x_i - x_j),     x_j the estimate nearest to x_i
    x_i <- x_i + rho (A^H A + rho)^-1 p_i,                                          rho = (sigma / d)^2

with r the typical standard deviation of a clean image given z at this noise level, d the same where z is all noise,
|.| the root mean square over the pixels, A of norm 1 (after Cohen, Manor, Bahat and Michaeli, "From posterior
sampling to meaningful diversity in image restoration", ICLR 2024). Theirs is p_i with the share of the steps left for
the root and a fixed distance for reach r. With r the push ends where chains already differ by more than the prior
could mend: it can be used with any number of steps, and late pushes, which would show as noise, are left out. The
second line takes from p_i what the data determine, so that the residual stays whether or not a data step follows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from annotated_types import Ge, Gt

from recon.arrays import Array, ArraySpec, namespace, tmap
from recon.params import Doc, Parameters
from recon_diffusion._each import dots, spread

if TYPE_CHECKING:
    from recon_diffusion._run import Run

__all__ = ["Diversity"]

_INNER = 5  # conjugate gradients that take the measured part from a push
_HIGH = 100.0  # a noise level at which nothing is seen, in units of the prior's scale
_LEAST = 1e-8  # rho where the data have next to no noise


@dataclass(frozen=True)
class Diversity(Parameters):
    """Repulsion of the chains of a sampler, ``DiffPir(chains=5, diversity=Diversity())``.

    The samples are no longer draws from the posterior: their mean stays about where it was, their spread is larger
    than the posterior's. In tomography of 128 x 128 pixels, with the prior ct-128 and DiffPir (three bodies), the mean
    distance of five samples grows by 2.0 to 2.3 from 8 views, at a residual larger by 3 to 5 %, and by 1.5 to 1.6 from
    16 views, at 1 %; each is 0.8 to 2.5 dB further from the truth, their mean is not. With strength 0.5 it grows by 3.5
    and 2.2. Methods
    that follow the data closely keep the residual; in others (Ddrm, Ddnm, Daps, PiGdm) pushed parts pull at measured
    ones through the prior, and at 1.6 times the distance of Gaussian samples it is 3 to 10 % larger. Dps with few steps
    has no hold on it. Cost: six products with A^H A a step (one closed form where the operator has ``data_prox``) and
    chains^2 differences of images, no network call. Memory: four more images per chain.

    Parameters
    ----------
    strength
        0 changes nothing; above 1 the estimates leave what the network knows.
    reach
        In units of the typical standard deviation of an image given its noisy version; None pushes however far
        chains are apart.

    References
    ----------
    N. Cohen, H. Manor, Y. Bahat, T. Michaeli, "From posterior sampling to meaningful diversity in image
    restoration", ICLR (2024), arXiv:2310.16047, section 5.
    """

    strength: Annotated[float, Ge(0), Doc("share of the difference that is added at high noise levels")] = 0.3
    reach: Annotated[
        float | None,
        Gt(0),
        Doc("distance of the chains that is enough, in typical standard deviations"),
    ] = 4.0

    def push(self, clean: Array, s: float, run: Run) -> Array:
        """The estimates at level s, chains in front, each pushed away from its nearest neighbour."""
        if clean.shape[0] < 2 or self.strength == 0.0:
            return clean
        typical, alone = run.spread(s), run.spread(_HIGH * run.scale)
        away, distance = _from_nearest(clean, run.domain)
        share = self.strength * (typical / alone) ** 0.5 + 0 * distance
        if self.reach is not None:
            xp = namespace(distance)
            left = 1.0 - distance * (1.0 / (self.reach * typical))
            share = share * xp.where(left > 0, left, 0 * left)
            if not bool(xp.any(share > 0)):
                return clean
        return clean + _unseen(spread(share, clean, run.domain) * away, (run.sigma / alone) ** 2, run)


def _from_nearest(clean: Array, spec: ArraySpec) -> tuple[Array, Any]:
    """x_i - x_j, and its root mean square over the pixels; the mean of x_j where several are equally near."""
    xp = namespace(clean)
    numbers = spec.size * (2 if spec.kind == "complex" else 1)
    ways, distances = [], []
    for i in range(clean.shape[0]):
        others = clean[i, ...] - xp.concat([clean[:i, ...], clean[i + 1 :, ...]])
        squares = dots(others, others, spec)
        least = xp.min(squares, axis=0)
        nearest = xp.where(squares == least, xp.ones_like(squares), 0 * squares)
        ways.append(xp.sum(spread(nearest / xp.sum(nearest, axis=0), others, spec) * others, axis=0))
        distances.append(xp.sqrt(least * (1.0 / numbers)))
    return xp.stack(ways), xp.stack(distances)


def _unseen(push: Array, rho: float, run: Run) -> Array:
    """rho (A^H A + rho)^-1 push: what the data do not determine, directions of gain a kept by rho / (a^2 + rho)."""
    return run.prox(push, max(rho, _LEAST), _INNER, data=tmap(lambda leaf: 0 * leaf, run.data))
