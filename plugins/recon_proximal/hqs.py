"""HQS: half-quadratic splitting (Zoran and Weiss 2011) with a denoiser of falling level (DPIR, Zhang et al. 2022).

    x_k = argmin 1/2 ||A x - y||^2 + r_k/2 ||x - z_(k-1)||^2          r_k = l sigma^2 / s_k^2
    z_k = D(x_k, s_k)                                                 D = the denoiser, s_k = its noise level

s_k falls from ``first`` to the noise level sigma of the data, evenly in its logarithm, in ``steps`` iterations, and
stays there. The image reported is z_k.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Gt

from recon import TV, Problem, Solver, State
from recon.arrays import Array
from recon.params import Doc
from recon_proximal._examples import weighing
from recon_proximal._plug import denoised, noise_level, require_denoiser
from recon_proximal._quadratic import proximal

__all__ = ["Hqs", "HqsState"]


@dataclass(frozen=True)
class HqsState(State):
    """z as reported, the image x of the data step, and the noise level of the data."""

    near: Array
    sigma: float


@dataclass(frozen=True)
class Hqs(Solver):
    """Plug-and-play reconstruction in a few iterations, for a quadratic loss and a denoiser.

    The denoiser is the prior: one with ``denoise(v, sigma)``, as :class:`recon.priors.Denoiser`, or any with a
    prox, which is asked for sigma^2; bounds may stand beside it. It minimises no objective: the one recorded is the
    loss, plus the prior's value where it has one. The data step is in closed form where the operator has
    ``data_prox`` (periodic blur, MRI with one coil, masks), else ``inner`` conjugate gradients. Per iteration one data
    step and one call of the denoiser, which treats samples of a batch as it likes.

    Parameters
    ----------
    steps
        Iterations until the level has reached the noise; stop there.
    first
        First level of the denoiser, in units of the image; DPIR's for images in [0, 1].
    weight
        l: trust in the denoiser against the data.
    sigma
        Noise level of the data; None takes ``Problem.noise``.
    inner, tol
        Most conjugate gradients of a data step, and their relative residual.

    Raises
    ------
    CapabilityError
        When the loss is not quadratic or the prior no denoiser.
    ParameterError
        When the noise level is not known.
    """

    steps: Annotated[int, Ge(1), Doc("iterations until the level has reached the noise")] = 8
    first: Annotated[float, Gt(0), Doc("first level of the denoiser, in units of the image")] = 49 / 255
    weight: Annotated[float, Gt(0), Doc("trust in the denoiser against the data")] = 0.23
    sigma: Annotated[float | None, Gt(0), Doc("noise level of the data; None takes Problem.noise")] = None
    inner: Annotated[int, Ge(1), Doc("most conjugate gradients of a data step")] = 20
    tol: Annotated[float, Gt(0), Doc("relative residual at which they stop")] = 1e-5

    state_type = HqsState

    def init(self, problem: Problem, x0: Array | None = None, seed: int = 0) -> HqsState:
        require_denoiser(problem, "Hqs")
        x = problem.start(x0)
        return HqsState(0, x, x, self.sigma or noise_level(problem, "Hqs"))

    def step(self, problem: Problem, state: HqsState) -> HqsState:
        share = min(state.iteration / max(self.steps - 1, 1), 1.0)
        level = max(self.first, state.sigma) ** (1.0 - share) * state.sigma**share
        rho = self.weight * (state.sigma / level) ** 2
        near = proximal(problem, state.x, rho, state.near, self.inner, self.tol)
        return HqsState(state.iteration + 1, denoised(problem, near, level), near, state.sigma)

    @classmethod
    def example(cls) -> Problem:
        given = weighing(TV(1.0))
        return Problem(given.operator, given.data, given.prior, noise=0.05)
