"""DAPS: draw the clean image from its posterior, put noise on it, go down (Zhang et al. 2025).

    x  ~ p(x | z, y),    p(x | z) = N(mean, C),   y = A x + sigma n
    z' = x + s' n

For a linear operator the draw is one linear system, no Langevin steps. If it were exact, z would have the law of
p(x + s n | y) at every level, however far apart the levels are. Two choices of mean and C:

    isotropic   C = r^2 I, r = ``prior.spread(s)``: the law is right in the mean over the pixels
                (A^H A / sigma^2 + 1 / r^2) x = A^H (y + sigma n_1) / sigma^2 + (mean + r n_2) / r^2
    jacobian    C = s^2 J, J = dD/dz: the covariance the network itself claims (Tweedie's formula of second order)
                x = D + c + C A^H (A C A^H + sigma^2)^-1 (y + sigma n_1 - A (D + c)),     c = s J^(1/2) n_2
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Annotated, Literal

from annotated_types import Ge

from recon import Problem
from recon.arrays import Array, tmap
from recon.params import Doc
from recon_diffusion._examples import gaussian_blur
from recon_diffusion._root import shifted_inverse, square_root
from recon_diffusion._run import Run, check_problem
from recon_diffusion.laws import noise_levels
from recon_diffusion.sampler import Sampler, SamplerState
from recon_diffusion.transitions import renoise

__all__ = ["Daps"]


@dataclass(frozen=True)
class Daps(Sampler):
    """Decoupled annealing posterior sampling: exact draws given the data, between falling noise levels.

    A sampler. With ``covariance="jacobian"`` it is exact for a Gaussian prior whatever the number of levels, up to
    the start (pure noise of the first level) and to the two iterations. With ``"isotropic"`` it is exact in the limit
    of many steps alone, with an error that falls as 1 / steps: for a Gaussian prior and half of the pixels hidden
    the mean is off by 0.48 (30 steps) and 0.19 (100 steps) posterior standard deviations, root mean square, and the
    variances are 7 % and 2 % too large; after blur and in tomography by 0.06 and 0.03, and 3 % and 1 %.

    The paper has r = s (``radius="level"``) and the end of five Euler steps of the probability flow for the mean
    (``ode_steps=5``), with the levels of ``high=100, low=0.1, grid="karras", steps=200``. For samples these choices
    are worse, and the flow is no better with more steps: its end has the spread of the prior already, to which r is
    added, so that the variance of what the data leave open comes out half as large again (Gaussian prior, 30 steps).

    Cost of a step: ``ode_steps`` network calls, and a closed form where the operator has ``data_prox``, else
    ``inner`` products with A^H A. ``"jacobian"``: one call, lanczos + inner + 1 products with J, each about the cost
    of a call or two and counted as one, and as many pairs of A and A^H as ``inner``; five to ten levels do. Memory:
    six images per chain, and the network; ``"jacobian"`` also its activations for all chains, and ``lanczos`` images
    or ``inner`` data sets.

    Parameters
    ----------
    steps, chains, high, low, grid, diversity
        See :class:`Sampler`. A single chain is a draw, and twice as far from the truth in mean square as the mean of
        many: ``Result.x`` needs eight chains or more.
    covariance
        C in the formula above. ``"jacobian"`` takes J as symmetric and >= 0, which holds for exact denoisers.
    radius
        r of the isotropic C: the prior's own spread, or the noise level s.
    ode_steps
        Network calls for the mean; 1 is D(z, s).
    inner
        Conjugate gradients of a draw, where there is no closed form.
    lanczos
        Products with J that make its square root, of ``"jacobian"``.

    Raises
    ------
    CapabilityError
        When the loss is not quadratic, or the prior no denoiser, or one without ``denoise_vjp`` for ``"jacobian"``.
    ParameterError
        When the noise level is not known.

    References
    ----------
    B. Zhang et al., "Improving diffusion inverse problem solving with decoupled noise annealing", CVPR (2025),
    arXiv:2407.01521, algorithm 1. E. Chow and Y. Saad, "Preconditioned Krylov subspace methods for sampling
    multivariate Gaussian distributions", SIAM J. Sci. Comput. 36, A588 (2014), section 3, for the square root.
    """

    covariance: Annotated[Literal["isotropic", "jacobian"], Doc("C: r^2 I, or s^2 dD/dz")] = "isotropic"
    radius: Annotated[
        Literal["spread", "level"], Doc("r of the isotropic C: of the prior, or the noise level")
    ] = "spread"
    ode_steps: Annotated[int, Ge(1), Doc("network calls for the mean; 1 is D(z, s) itself")] = 1
    inner: Annotated[int, Ge(1), Doc("conjugate gradients of a draw")] = 10
    lanczos: Annotated[int, Ge(1), Doc("products with J for its square root")] = 6

    def init(self, problem: Problem, x0: Array | None = None, seed: int = 0) -> SamplerState:
        check_problem(problem, "Daps", self.covariance == "jacobian")
        return super().init(problem, x0, seed)

    def advance(self, run: Run, state: SamplerState, s: float, after: float) -> SamplerState:
        draw = self._of_jacobian if self.covariance == "jacobian" else self._isotropic
        x = draw(run, state, s)
        return replace(state, z=renoise(x, after, run.noise()), clean=x)

    def _isotropic(self, run: Run, state: SamplerState, s: float) -> Array:
        """A draw from N(mean, r^2) given the data: the minimiser for noisy data and a noisy mean."""
        mean = self.guided(self._mean(run, state, s), state, s, run)
        r = run.spread(s) if self.radius == "spread" else s
        return run.prox(mean + r * run.noise(1), (run.sigma / r) ** 2, self.inner, data=_noisy(run))

    def _mean(self, run: Run, state: SamplerState, s: float) -> Array:
        """Where the probability flow from z leads, by Euler's method down to the last level: D itself in one step."""
        z, low = state.z, state.levels[-2]
        levels: tuple[float, ...] = (s, 0.0)
        if self.ode_steps > 1 and s > low:
            levels = noise_levels(run.problem.prior, "karras", self.ode_steps, s, low)
        for level, below in pairwise(levels):
            clean = run.denoise(z, level)
            z = clean + (below / level) * (z - clean)
        return z

    def _of_jacobian(self, run: Run, state: SamplerState, s: float) -> Array:
        """A draw from N(D, s^2 J) given the data: a draw without them, and its correction (Matheron's rule)."""
        clean, pull = run.denoise_vjp(state.z, s)
        clean = self.guided(clean, state, s, run)
        free = clean + s * square_root(pull, run.noise(1), run.domain, self.lanczos)
        misfit = tmap(lambda w, leaf: -w * leaf, run.reached(), run.residual(free, _noisy(run)))
        dual = shifted_inverse(
            lambda u: run.forward(pull(run.adjoint(u))),
            (run.sigma / s) ** 2,
            misfit,
            run.operator.codomain,
            self.inner,
        )
        return free + pull(run.adjoint(dual))

    @classmethod
    def example(cls) -> Problem:
        return gaussian_blur()


def _noisy(run: Run) -> Array:
    """y + sigma n: what a posterior draw takes for the data."""
    noise = run.noise(2, run.operator.codomain)
    return tmap(lambda a, b: a + run.sigma * b, run.data, noise)
