"""The frame of the Langevin samplers: smoothed gradient, burn-in, running moments, effective number of draws.

U(x) = (loss(A x, y) + g_l(x)) / T,    g_l = the prior where it is smooth, else its Moreau envelope

grad U(x) = (A^H loss'(A x, y) + (x - prox_(l g)(x)) / l) / T
"""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import Annotated, Any, cast

from annotated_types import Ge, Gt

from recon import L1, Problem, Solver
from recon.arrays import Array, leaves, namespace, tmap
from recon.errors import CapabilityError
from recon.linalg import axpy
from recon.operator import capability
from recon.params import Doc
from recon_proximal._examples import sparse_recovery
from recon_proximal._posterior import PosteriorState, draw_noise, square, temperature, updated, variance
from recon_proximal._smooth import lipschitz, prior_prox

__all__ = ["Langevin", "LangevinState"]


@dataclass(frozen=True)
class LangevinState(PosteriorState):
    """The moments of the chain, those of its finished blocks, and what the steps need.

    ``block`` is the sum of the draws of the present block, ``center`` the mean of the means of the finished ones,
    ``between`` the sum of their squared distances from it. ``temperature`` is T, ``width`` the l of the envelope,
    ``lipschitz`` the constant of grad U, ``memory`` that of the prox.
    """

    block: Array
    center: Array
    between: Array
    blocks: int
    temperature: float
    width: float
    lipschitz: float
    memory: Array | None


@dataclass(frozen=True)
class Langevin(Solver):
    """Base of the Langevin samplers, which differ in the transition from one draw to the next."""

    step_size: Annotated[float, Gt(0), Doc("step, as a fraction of the largest stable one")] = 0.1
    burn_in: Annotated[int, Ge(1), Doc("first draws, which are thrown away")] = 100
    smoothing: Annotated[
        float | None, Gt(0), Doc("l of the prior's Moreau envelope; None: 1 / L of the loss")
    ] = None

    state_type = LangevinState

    @abstractmethod
    def transition(self, problem: Problem, state: LangevinState, noise: Array) -> tuple[Array, Array | None]:
        """The next draw, made with standard normal noise, and the memory of the prox."""

    def init(self, problem: Problem, x0: Array | None = None, seed: int = 0) -> LangevinState:
        owner, prior = type(self).__name__, cast(Any, problem.prior)
        heat = temperature(problem, owner)
        if not math.isfinite(problem.loss.curvature(problem.data)):
            raise CapabilityError(
                f"{owner} needs a loss with a Lipschitz gradient, which {type(problem.loss).__name__} has not. "
                "Use WeightedLeastSquares instead."
            )
        steep = lipschitz(problem)
        width = self.smoothing or 1.0 / steep
        if prior is not None and not _smooth(prior):
            problem.require(prior, "prox", owner, "a prior with a prox or a gradient")
            steep += 1.0 / width
        elif prior is not None:
            steep += prior.curvature()
        x = problem.start(x0)
        zero = tmap(lambda leaf: 0.0 * leaf, x)
        still = square(zero)
        return LangevinState(0, x, x, still, 0, seed, zero, zero, still, 0, heat, width, steep / heat, None)

    def step(self, problem: Problem, state: LangevinState) -> LangevinState:
        noise = draw_noise(problem.operator.domain, problem, state.seed, state.iteration)
        draw, memory = self.transition(problem, state, noise)
        state = replace(state, iteration=state.iteration + 1, draw=draw, memory=memory)
        if state.iteration <= self.burn_in:
            return replace(state, x=draw)
        draws = state.draws + 1
        mean, spread = updated(state.x, state.spread, draw, draws)
        state = replace(state, x=mean, spread=spread, draws=draws, block=axpy(1.0, state.block, draw))
        return state if draws % self.burn_in else self._with_finished_block(state)

    def _with_finished_block(self, state: LangevinState) -> LangevinState:
        blocks = state.blocks + 1
        mean = tmap(lambda b: b / self.burn_in, state.block)
        center, between = updated(state.center, state.between, mean, blocks)
        empty = tmap(lambda b: 0.0 * b, mean)
        return replace(state, block=empty, center=center, between=between, blocks=blocks)

    def slope(
        self, problem: Problem, state: LangevinState, x: Array, memory: Array | None
    ) -> tuple[Array, Array | None]:
        """grad U at x, and the memory of the prox for the next call."""
        slope, prior = problem.gradient(x), cast(Any, problem.prior)
        if prior is not None and _smooth(prior):
            slope = axpy(1.0, prior.gradient(x), slope)
        elif prior is not None:
            near, memory = prior_prox(prior, x, state.width, memory)
            slope = axpy(1.0 / state.width, axpy(-1.0, near, x), slope)
        return tmap(lambda leaf: leaf / state.temperature, slope), memory

    def measure(self, problem: Problem, state: LangevinState) -> dict[str, float]:
        values = super().measure(problem, state) | {"draws": float(state.draws)}
        if state.blocks < 4:
            return values
        within, between = _total(state.spread) / (state.draws - 1), _total(state.between) / (state.blocks - 1)
        if between > 0.0:  # batch means: Flegal and Jones, Ann. Stat. 38 (2010) 1034
            values["effective_draws"] = min(state.draws * within / (self.burn_in * between), state.draws)
        return values

    def variance(self, state: LangevinState) -> Array | None:
        """Pointwise posterior variance, for ``Result.variance``."""
        return variance(state.spread, state.draws - 1)

    @classmethod
    def example(cls) -> Problem:
        return replace(sparse_recovery(L1(0.002)), noise=0.01)


def _smooth(prior: Any) -> bool:
    return bool(capability(prior, "gradient") and capability(prior, "curvature"))


def _total(x: Array) -> float:
    return sum(float(namespace(leaf).sum(leaf)) for leaf in leaves(x))
