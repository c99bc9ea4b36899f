"""HQS: half-quadratic splitting (Zoran and Weiss 2011) with a denoiser of falling level (DPIR, Zhang et al. 2022).

    x_k = argmin 1/2 ||A x - y||^2 + r_k/2 ||x - z_(k-1)||^2          r_k = l sigma^2 / s_k^2
    z_k = D(x_k, s_k)                                                 D = the denoiser, s_k = its noise level

s_k falls from ``first`` to the noise of the image, sigma / ||A||, evenly in its logarithm, in ``steps`` iterations,
and stays there; sigma is the noise of the data. The image reported is z_k. For a weighted loss read W^(1/2) A,
W^(1/2) y and the noise of these.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
from annotated_types import Ge, Gt

from recon import TV, Problem, Solver, State
from recon.arrays import Array, is_complex, norm, random_normal, size, tmap, vdot
from recon.params import Doc
from recon_proximal._examples import weighing
from recon_proximal._plug import denoised, noise_level, require_denoiser
from recon_proximal._quadratic import proximal, weighed
from recon_proximal._smooth import lipschitz

__all__ = ["Hqs", "HqsState"]

_EXACT = 0.01
"""The last level over the first where the data are exact: 40 dB below the image."""


@dataclass(frozen=True)
class HqsState(State):
    """z as reported, the image x of the data step, the first and the last level, and the noise of the data."""

    near: Array
    first: float
    last: float
    sigma: float


@dataclass(frozen=True)
class Hqs(Solver):
    """Plug-and-play reconstruction in a few iterations, for a quadratic loss and a denoiser.

    The denoiser is the prior: one with ``denoise(v, sigma)``, as :class:`recon.priors.Denoiser`, or any with a
    prox, which is asked for sigma^2; bounds may stand beside it. It minimises no objective: the one recorded is the
    loss, plus the prior's value where it has one. The data step is in closed form where the operator has
    ``data_prox`` (periodic blur, MRI with one coil, masks), else ``inner`` conjugate gradients. Per iteration one data
    step and one call of the denoiser, which treats samples of a batch as it likes; all share one level. Without
    ``x0`` it starts from the constant image that fits the data best.

    Parameters
    ----------
    steps
        Iterations until the level has reached the noise; stop there. 8 do for deblurring; compressed sensing, where
        most of the image is missing at first, gains up to 80.
    first
        First level of the denoiser, in units of the image; DPIR's for images in [0, 1] is 49/255. None takes the
        standard deviation of the image, were it white: that of one data step, over the root of the part of a white
        image that this step gives back. For blur this is two or three times too much, which costs little.
    weight
        l: trust in the denoiser against the data.
    sigma
        Noise level of the data; None takes ``Problem.noise``. Where that is None too the data are taken as exact: the
        last level is a hundredth of the first.
    inner, tol
        Most conjugate gradients of a data step, and their relative residual.

    Raises
    ------
    CapabilityError
        When the loss is not quadratic or the prior no denoiser.
    """

    steps: Annotated[int, Ge(1), Doc("iterations until the level has reached the noise")] = 8
    first: Annotated[
        float | None, Gt(0), Doc("first level of the denoiser, in units of the image; None estimates it")
    ] = None
    weight: Annotated[float, Gt(0), Doc("trust in the denoiser against the data")] = 0.23
    sigma: Annotated[float | None, Gt(0), Doc("noise level of the data; None takes Problem.noise")] = None
    inner: Annotated[int, Ge(1), Doc("most conjugate gradients of a data step")] = 20
    tol: Annotated[float, Gt(0), Doc("relative residual at which they stop")] = 1e-5

    state_type = HqsState

    def init(self, problem: Problem, x0: Array | None = None, seed: int = 0) -> HqsState:
        require_denoiser(problem, "Hqs")
        gain = math.sqrt(lipschitz(problem, margin=1.0))
        exact = self.sigma is None and problem.noise is None
        last = 0.0 if exact else noise_level(problem, "Hqs", self.sigma) / gain
        constant = _constant(problem)
        first = self.first or self._spread(problem, constant, gain, last)
        last = last or _EXACT * first
        x = constant if x0 is None else problem.start(x0)
        return HqsState(0, x, x, max(first, last), last, gain * last)

    def step(self, problem: Problem, state: HqsState) -> HqsState:
        share = min(state.iteration / (self.steps - 1), 1.0) if self.steps > 1 else 1.0
        level = state.first ** (1.0 - share) * state.last**share
        rho = self.weight * (state.sigma / level) ** 2
        near = proximal(problem, state.x, rho, state.near, self.inner, self.tol)
        return replace(state, iteration=state.iteration + 1, x=denoised(problem, near, level), near=near)

    def _spread(self, problem: Problem, constant: Array, gain: float, last: float) -> float:
        """The standard deviation of the image beside a constant, were it white; 1 where the data show none."""
        residual = tmap(lambda y, p: y - p, problem.data, problem.operator @ constant)
        pixels = math.sqrt(size(problem.operator.domain) * math.prod(problem.batch))
        least = norm(residual) / (gain * pixels)
        if not least:
            return 1.0
        rho = self.weight * (gain * max(last, _EXACT * least) / least) ** 2
        nothing = tmap(lambda leaf: 0 * leaf, constant)

        def seen(data: Array) -> float:
            """The length of the image of one data step from 0."""
            same = replace(problem, data=data, noise=None)
            return norm(proximal(same, nothing, rho, nothing, self.inner, self.tol))

        white = random_normal(problem.operator.domain, problem.data, np.random.default_rng(0), problem.batch)
        part = seen(problem.operator @ white) / norm(white)
        return seen(residual) / (part * pixels) if part else 1.0

    @classmethod
    def example(cls) -> Problem:
        given = weighing(TV(0.3))
        return Problem(given.operator, given.data, given.prior, noise=0.05)


def _constant(problem: Problem) -> Array:
    """The constant image that fits the data best, of the whole batch; 0 where the operator does not see it."""
    one = tmap(lambda leaf: 0 * leaf + 1, problem.start())
    seen = problem.operator @ one
    pull = weighed(problem, seen)
    below = vdot(pull, seen).real
    height = vdot(pull, problem.data) / below if below > 0.0 else 0.0
    height = height if is_complex(one) else height.real
    return tmap(lambda leaf: height * leaf, one)
