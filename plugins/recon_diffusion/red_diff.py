"""RED-diff: one image that fits the data and that the denoiser leaves alone at every level (Mardani et al. 2024).

    g = A^H (A mu - y) + sum over the levels s of a step  w(s) (mu - D(mu + s n, s)),     mu <- mu - Adam(g)

the gradient of 1/2 ||A mu - y||^2 + sum_t w_t <sg[eps_hat - n], mu> in variance-exploding units, where
eps_hat - n = (mu - D) / s: regularisation by denoising with falling levels and fresh noise n. Sums, not means, and
||A|| = 1. With s in units of the prior's scale and w_t the paper's weight of a level

    "linear"    w_t = lambda s      w(s) = lambda          the paper's choice
    "square", "sqrt", "log", "constant"                    w_t = lambda s^2, s^(1/2), log(1 + s), 1,  w(s) = w_t / s
    "posterior" w(s) = lambda sigma^2 / s^2                for lambda = 1 g is the gradient of -sigma^2 log p_s(mu|y),

p_s the density of images smoothed by s: as s falls mu goes to the most probable image. There no level below the noise
sigma of the data is used, where the denoiser would say nothing any more and mu follow the noise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, Protocol, TypeAlias

import numpy as np
from annotated_types import Ge, Gt, Interval

from recon import Problem
from recon.arrays import Array, is_complex, namespace
from recon.errors import ParameterError
from recon.params import Doc, short
from recon_diffusion._examples import gaussian_blur
from recon_diffusion._run import Run
from recon_diffusion.sampler import Sampler, SamplerState

__all__ = ["RedDiff", "RedDiffState", "Scene", "Weighting"]

Weighting: TypeAlias = Literal["linear", "square", "sqrt", "log", "constant", "posterior"]
"""How the weight of the prior depends on the noise level."""


class Scene(Protocol):
    """An image that is a differentiable function of parameters theta: a network, splines, splats."""

    def start(self, x: Array) -> Array:
        """theta to begin with, one for each image in x (any axes in front): as near to x as is easy."""

    def render(self, theta: Array) -> tuple[Array, Callable[[Array], Array]]:
        """The images of theta, and the function c -> J^H c of its Jacobian."""


@dataclass(frozen=True)
class RedDiffState(SamplerState):
    """theta (the image itself without a scene), and Adam's two moments of its gradient."""

    theta: Array
    first: Array
    second: Array


@dataclass(frozen=True)
class RedDiff(Sampler):
    """Regularisation by denoising with a diffusion prior: an optimiser, whose image is sharp and whose chains agree.

    Per step ``levels_per_step`` network calls and one product with A and A^H, and one call more for the start; no
    Jacobian. Memory: five images per chain, and the network. It starts from the damped least-squares image about what
    the prior expects, by ``inner`` conjugate gradients at most. It does not sample: the spread of the chains is that of
    their noise.

    For Gaussian images (6 x 6 and 8 x 8; masks, blur, CT), weight 1 and one chain the result is within 0.8 posterior
    standard deviations of the mean after 100 steps, 0.4 after 300.

    Parameters
    ----------
    steps, chains, high, low, grid, diversity
        See :class:`Sampler`. Diversity pushes what the denoiser gives.
    weight
        lambda: the larger, the more the prior counts.
    weighting
        How the weight depends on the noise level.
    rate
        Adam's step, in units of the prior's scale.
    beta1, beta2
        Adam's memories of the gradient and of its square.
    decay
        Whether Adam's step falls evenly to 0, so that the noise of the last levels is averaged; the paper's does not.
    levels_per_step
        Levels whose pulls are averaged in a step, spread evenly over all: their network calls may run side by side.
    polish
        Whether the last image is denoised once more, at the last level.
    inner
        Conjugate gradients for the start.
    scene
        Where the image is a function of other parameters, that function; Adam then works on these, with ``rate`` in
        their units.

    Raises
    ------
    CapabilityError
        When the loss is not quadratic, or the prior no denoiser.
    ParameterError
        When the noise level is not known.

    References
    ----------
    M. Mardani, J. Song, J. Kautz, A. Vahdat, "A variational perspective on solving inverse problems with diffusion
    models", ICLR (2024), arXiv:2305.04391, algorithm 1 and equation 11.
    """

    steps: Annotated[int, Ge(1), Doc("noise levels to walk through")] = 100
    weight: Annotated[float, Gt(0), Doc("lambda, weight of the prior")] = 1.0
    weighting: Annotated[Weighting, Doc("how the weight depends on the noise level")] = "posterior"
    rate: Annotated[float, Gt(0), Doc("Adam's step, in units of the prior's scale")] = 0.05
    beta1: Annotated[float, Interval(ge=0, lt=1), Doc("Adam's memory of the gradient")] = 0.9
    beta2: Annotated[float, Interval(ge=0, lt=1), Doc("Adam's memory of its square")] = 0.99
    decay: Annotated[bool, Doc("let Adam's step fall to 0")] = True
    levels_per_step: Annotated[int, Ge(1), Doc("levels averaged in a step")] = 1
    polish: Annotated[bool, Doc("denoise the last image once more")] = False
    inner: Annotated[int, Ge(1), Doc("conjugate gradients for the start")] = 10
    scene: Annotated[Any, Doc("the function that makes the image, where it is not free")] = None

    state_type = RedDiffState

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.scene is not None and not (hasattr(self.scene, "start") and hasattr(self.scene, "render")):
            raise ParameterError(
                f"RedDiff.scene must have start and render, got {short(self.scene)}. See Scene."
            )

    def init(self, problem: Problem, x0: Array | None = None, seed: int = 0) -> RedDiffState:
        state = super().init(problem, x0, seed)
        run = Run(problem, state.norm, self.chains, seed, 0)
        start = state.clean
        if x0 is None:
            high = state.levels[0]
            expected = run.denoise(start + high * run.noise(), high)
            start = run.prox(expected, (run.sigma / run.scale) ** 2, self.inner)
        theta = start if self.scene is None else self.scene.start(start)
        image = self._rendered(theta)[0]
        return RedDiffState(
            0,
            namespace(image).mean(image, axis=0),
            image,
            image,
            state.levels,
            run.calls[0],
            state.norm,
            seed,
            False,
            theta,
            0.0 * theta,
            0.0 * _square(theta),
        )

    def begin(self, run: Run, state: SamplerState) -> SamplerState:
        return state

    def advance(self, run: Run, state: Any, s: float, after: float) -> RedDiffState:
        image, pull = self._rendered(state.theta)
        gradient = run.gradient(image)
        levels = self._levels(state, run.sigma if self.weighting == "posterior" else 0.0)
        for use, level in enumerate(levels):
            clean = run.denoise(image + level * run.noise(use), level)
            clean = self.guided(clean, state, level, run)
            gradient = gradient + self._weight(run, level) / len(levels) * (image - clean)
        gradient = pull(gradient)
        k = state.iteration + 1
        first = self.beta1 * state.first + (1.0 - self.beta1) * gradient
        second = self.beta2 * state.second + (1.0 - self.beta2) * _square(gradient)
        rate = self.rate * (run.scale if self.scene is None else 1.0)
        if self.decay:
            rate *= 1.0 - state.iteration / (len(state.levels) - 1)
        xp = namespace(second)
        root = xp.sqrt(second / (1.0 - self.beta2**k))
        tiny = float(xp.finfo(second.dtype).smallest_normal) ** 0.5  # less squares to 0
        theta = state.theta - rate / (1.0 - self.beta1**k) * first / (root + tiny)
        image = self._rendered(theta)[0]
        if self.polish and after == 0.0:
            image = run.denoise(image, s)
        return replace(state, z=image, clean=image, theta=theta, first=first, second=second)

    def _levels(self, state: RedDiffState, floor: float = 0.0) -> list[float]:
        """Those of this step: the next one, and others as far from each other as they can be."""
        count = len(state.levels) - 1
        at = [state.iteration + (j * count) // self.levels_per_step for j in range(self.levels_per_step)]
        known = state.levels[:-1]
        lowest = min((s for s in known if s >= floor), default=known[0])
        return [max(known[k % count], lowest) for k in at]

    def _weight(self, run: Run, level: float) -> float:
        s = level / run.scale
        if self.weighting == "posterior":
            return self.weight * min((run.sigma / level) ** 2, 1.0)
        of_level = {"linear": s, "square": s**2, "sqrt": s**0.5, "log": float(np.log1p(s)), "constant": 1.0}
        return self.weight * of_level[self.weighting] / s

    def _rendered(self, theta: Array) -> tuple[Array, Callable[[Array], Array]]:
        if self.scene is None:
            return theta, lambda gradient: gradient
        image, pull = self.scene.render(theta)
        return image, pull

    @classmethod
    def example(cls) -> Problem:
        return gaussian_blur()


def _square(x: Array) -> Array:
    """|x|^2 of every entry."""
    if not is_complex(x):
        return x * x
    xp = namespace(x)
    return xp.real(x * xp.conj(x))
