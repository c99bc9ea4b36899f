"""Condat-Vu: primal-dual splitting with a gradient step for the loss (Condat 2013; Vu 2013).

    minimise  f(A x) + g(x) + sum_b h_b(K_b x)       f = the loss; h_b(K_b x) = priors that split, g = the rest

    x   = prox_(t g)(u - t (A^H f'(A u) + sum_b K_b^H v_b))
    y_b = prox_(s_b h_b*)(v_b + s_b K_b (2 x - u))
    u  <- u + r (x - u),   v_b <- v_b + r (y_b - v_b)

    s_b = w L / (2 B ||K_b||^2),   1 / t = (w + 1 / (2 - r)) L / 2

L is the Lipschitz constant of the loss, B the number of blocks, w the balance between dual and primal step. These
steps meet Condat's bound (theorem 3.1), r <= 2 - (L / 2) / (1 / t - sum_b s_b ||K_b||^2), exactly.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

from annotated_types import Gt, Interval

from recon import TV, NonNegative, Problem, Solver, State
from recon.arrays import Array, norm, tmap
from recon.linalg import axpy
from recon.params import Doc
from recon_proximal._dual_blocks import CORRECT_AT, ascend, back, begin, load, squares
from recon_proximal._examples import weighing
from recon_proximal._parts import parts, require_convex
from recon_proximal._smooth import lipschitz, require_smooth

__all__ = ["CondatVu", "CondatVuState"]

_SHARE = 10.0


@dataclass(frozen=True)
class CondatVuState(State):
    """x, the relaxed image and duals, K^H of the duals, the first image, L, ||K_b||^2, and the balance."""

    relaxed: Array
    duals: tuple[Array, ...]
    back: Array
    start: Array
    lipschitz: float
    squares: tuple[float, ...]
    balance: float


@dataclass(frozen=True)
class CondatVu(Solver):
    """Condat-Vu splitting for a smooth loss and any sum of priors.

    Minimises loss(A x, y) + prior(x). The loss is met by its gradient, which uses ``normal`` where the operator
    has one (MRI: half the transforms); priors that split (TV) are taken apart, the rest keep their prox.
    Converges for every convex problem, the objective not monotonically; O(1/k). Per iteration one gradient of
    the loss, one forward and one adjoint of each split, one prox; memory of 6 images and 3 fields per split.

    Parameters
    ----------
    balance
        w > 0. None starts from 1 and corrects w at iterations 10, 20, 40, ... 640 to ten times the ratio of the
        distances that duals and image have travelled, 2 ||K y|| / (L ||x - x0||); the factor was measured on
        deblurring, MRI and CT. Then it stays.
    relaxation
        r in (0, 2); 1 is the plain method. A larger r takes shorter steps t.

    Raises
    ------
    CapabilityError
        When the loss has no Lipschitz gradient, or a prior neither a prox nor a split or is not convex.
    """

    balance: Annotated[float | None, Gt(0), Doc("dual over primal step, in units of L; None finds it")] = None
    relaxation: Annotated[float, Interval(gt=0, lt=2), Doc("over-relaxation; 1 is the plain method")] = 1.45

    state_type = CondatVuState

    def init(self, problem: Problem, x0: Array | None = None, seed: int = 0) -> CondatVuState:
        require_convex(problem, "CondatVu")
        require_smooth(problem, "CondatVu")
        splits, _ = parts(problem, "CondatVu")
        x = problem.start(x0)
        zero = tmap(lambda leaf: 0 * leaf, x)
        return CondatVuState(
            0,
            x,
            x,
            begin(splits, x),
            zero,
            x,
            lipschitz(problem),
            squares(problem, splits),
            self.balance or 1.0,
        )

    def step(self, problem: Problem, state: CondatVuState) -> CondatVuState:
        splits, rest = parts(problem, "CondatVu")
        r, half = self.relaxation, 0.5 * state.lipschitz
        tau = 1.0 / (half * (state.balance + 1.0 / (2.0 - r)))
        steps = [state.balance * half / (len(splits) * n) for n in state.squares]
        slope = axpy(1.0, problem.gradient(state.relaxed), state.back)
        x = axpy(-tau, slope, state.relaxed)
        if rest is not None:
            x = rest.prox(x, tau)
        duals = ascend(splits, state.duals, steps, tmap(lambda a, b: 2.0 * a - b, x, state.relaxed))

        def mixed(old: Array, new: Array) -> Array:
            return new if r == 1.0 else tmap(lambda a, b: a + r * (b - a), old, new)

        state = replace(
            state,
            iteration=state.iteration + 1,
            x=x,
            relaxed=mixed(state.relaxed, x),
            duals=tuple(map(mixed, state.duals, duals)),
            back=mixed(state.back, back(splits, duals, x)),
        )
        if self.balance is None and splits and state.iteration in CORRECT_AT:
            return replace(state, balance=_travelled(state))
        return state

    @classmethod
    def example(cls) -> Problem:
        return weighing(TV(0.5) + NonNegative())


def _travelled(state: CondatVuState) -> float:
    """The w at which |x - x0|^2 / t + |y|^2 / s is least, times the share."""
    primal = norm(axpy(-1.0, state.start, state.x))
    dual = load(state.duals, state.squares)
    return _SHARE * 2.0 * dual / (state.lipschitz * primal) if primal > 0.0 and dual > 0.0 else state.balance
