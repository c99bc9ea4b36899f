"""PD3O: primal-dual three-operator splitting (Yan 2018), with Davis-Yin splitting as its case K = I.

    minimise  f(A x) + g(x) + sum_b h_b(K_b x)       f = the loss; h_b(K_b x) = priors that split, g = the rest

    x   = prox_(t g)(u - t (d + sum_b K_b^H y_b))          u, d: the x before and its gradient A^H f'(A u)
    y_b = prox_(s_b h_b*)(y_b + s_b K_b (2 x - u + t d - t A^H f'(A x)))

    t < 2 / L,   s_b = 1 / (t B ||K_b||^2)

(Yan's algorithm 1, in its form with x.) Unlike Condat-Vu the primal step does not shrink with the dual one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

from annotated_types import Gt

from recon import TV, NonNegative, Problem, Solver, State
from recon.arrays import Array, norm, tmap
from recon.linalg import axpy
from recon.params import Doc
from recon_proximal._dual_blocks import CORRECT_AT, ascend, back, begin, load, squares
from recon_proximal._examples import weighing
from recon_proximal._parts import parts, require_convex
from recon_proximal._smooth import lipschitz, require_smooth

__all__ = ["Pd3o", "Pd3oState"]

_SHARE = 0.1
_LONGEST = 1.9


@dataclass(frozen=True)
class Pd3oState(State):
    """x, its gradient, duals, K^H of the duals, the first image, the step t, its bound, and ||K_b||^2."""

    gradient: Array
    duals: tuple[Array, ...]
    back: Array
    start: Array
    step: float
    longest: float
    squares: tuple[float, ...]


@dataclass(frozen=True)
class Pd3o(Solver):
    """Three-operator splitting for a smooth loss and any sum of priors.

    Minimises loss(A x, y) + prior(x). The loss is met by its gradient, which uses ``normal`` where the operator
    has one (MRI: half the transforms); priors that split (TV) are taken apart, the rest keep their prox.
    Converges for every convex problem, the objective not monotonically; O(1/k). Per iteration one gradient of
    the loss, one forward and one adjoint of each split, one prox; memory of 6 images and 3 fields per split.

    Parameters
    ----------
    step_size
        t in (0, 2 / L). None starts from 1.9 / L and corrects t at iterations 10, 20, 40, ... 640 to a tenth of
        the ratio of the distances that image and duals have travelled, never above 1.9 / L; the share was
        measured on deblurring and MRI. Then it stays.

    Raises
    ------
    CapabilityError
        When the loss has no Lipschitz gradient, or a prior neither a prox nor a split or is not convex.
    """

    step_size: Annotated[float | None, Gt(0), Doc("primal step t < 2 / L; None finds it")] = None

    state_type = Pd3oState

    def init(self, problem: Problem, x0: Array | None = None, seed: int = 0) -> Pd3oState:
        require_convex(problem, "Pd3o")
        require_smooth(problem, "Pd3o")
        splits, _ = parts(problem, "Pd3o")
        x = problem.start(x0)
        longest = _LONGEST / lipschitz(problem)
        zero = tmap(lambda leaf: 0 * leaf, x)
        return Pd3oState(
            0, x, problem.gradient(x), begin(splits, x), zero, x,
            self.step_size or longest, longest, squares(problem, splits),
        )  # fmt: skip

    def step(self, problem: Problem, state: Pd3oState) -> Pd3oState:
        splits, rest = parts(problem, "Pd3o")
        t = state.step
        ahead = tmap(lambda u, d, k: u - t * (d + k), state.x, state.gradient, state.back)
        x = ahead if rest is None else rest.prox(ahead, t)
        gradient = problem.gradient(x)
        point = tmap(
            lambda new, old, d, g: 2.0 * new - old + t * (d - g), x, state.x, state.gradient, gradient
        )
        duals = ascend(splits, state.duals, [1.0 / (t * len(splits) * n) for n in state.squares], point)
        state = replace(
            state,
            iteration=state.iteration + 1,
            x=x,
            gradient=gradient,
            duals=duals,
            back=back(splits, duals, x),
        )
        if self.step_size is None and splits and state.iteration in CORRECT_AT:
            return replace(state, step=_travelled(state))
        return state

    @classmethod
    def example(cls) -> Problem:
        return weighing(TV(0.5) + NonNegative())


def _travelled(state: Pd3oState) -> float:
    """The t at which |x - x0|^2 / t + |y|^2 / s is least, times the share."""
    primal = norm(axpy(-1.0, state.start, state.x))
    dual = load(state.duals, state.squares)
    return min(_SHARE * primal / dual, state.longest) if primal > 0.0 and dual > 0.0 else state.step
