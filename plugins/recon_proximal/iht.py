"""RelaxedIht: iterative hard thresholding, for sparse sets and other priors that are not convex.

    v   = z - mu A^H f'(A z)                       f = the loss, L = the Lipschitz constant of its gradient
    x   = prox_mu(v)                               the sparse set's projection: what is reported
    z   = x + r_k (v - x),   r_k = rho^k           what was cut off comes back, less and less of it

rho = 0 is IHT (Blumensath and Davies 2009). For sets mu is normalised (the same, 2010): with S the support of x and
g the gradient, mu = ||g_S||^2 / (L ||A g_S||^2), halved until mu <= 0.99 ||d||^2 / (L ||A d||^2) wherever the support
changes, d = the step. So ||A|| need not be below 1. For penalties (L0, Lp) mu = 0.99 / (L ||A||^2).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any

from annotated_types import Interval

from recon import Problem, Solver, State, linalg
from recon.arrays import Array, namespace, tmap
from recon.errors import CapabilityError
from recon.operator import capability
from recon.params import Doc
from recon.priors import TopK
from recon.solver import Fit
from recon_proximal._batches import along, dots, ratio
from recon_proximal._examples import sparse_recovery

__all__ = ["RelaxedIht", "RelaxedIhtState"]


@dataclass(frozen=True)
class RelaxedIhtState(State):
    """The sparse x, the relaxed z, and the step of penalties (0 for sets, whose step is found anew)."""

    relaxed: Array
    step: float


@dataclass(frozen=True)
class RelaxedIht(Solver):
    """Iterative hard thresholding with normalised steps; the cut may be soft at first.

    Minimises loss(A x, y) over a sparse set (``TopK``, ``NofM``), or with a penalty that is not convex (``L0``,
    ``Lp``). It ends in a fixed point, which is the sparse solution where A preserves the length of sparse images
    well, and otherwise one of many. With rho = 0 the objective never rises. Samples of a batch are independent.
    Per iteration one forward, one adjoint, and for sets one or two forward more for the step; memory of five images.

    Parameters
    ----------
    rho
        r_k = rho^k: 0 cuts hard from the start; 0.95 lets entries that were cut compete for some 50 iterations
        (the soft cut of iterative shrinkage pruning), and finds the support more often (docs: sparse recovery).

    Raises
    ------
    CapabilityError
        When there is no prior with a prox, or the loss has no Lipschitz gradient.
    """

    rho: Annotated[float, Interval(ge=0, lt=1), Doc("what is left of the cut entries; 0 is IHT")] = 0.95

    state_type = RelaxedIhtState

    def init(self, problem: Problem, x0: Array | None = None, seed: int = 0) -> RelaxedIhtState:
        if problem.prior is None:
            raise CapabilityError("RelaxedIht needs a prior such as TopK, got none. Use Cgls instead.")
        problem.require(problem.prior, "prox", "RelaxedIht", "Pdhg")
        curvature = problem.loss.curvature(problem.data)
        if not math.isfinite(curvature):
            raise CapabilityError(
                f"RelaxedIht needs a loss with a Lipschitz gradient, which {type(problem.loss).__name__} has not. "
                "Use LeastSquares."
            )
        project, x, step = capability(problem.prior, "project"), problem.start(x0), 0.0
        if project is None:
            square = curvature * linalg.norm(problem.operator, like=problem.data) ** 2
            step = 0.99 / square if square else 1.0
        else:
            x = project(x)
        return RelaxedIhtState(0, x, x, step)

    def step(self, problem: Problem, state: RelaxedIhtState) -> RelaxedIhtState:
        slope = tmap(lambda leaf: -leaf, problem.gradient(state.relaxed))
        kept = self.rho ** (state.iteration + 1)
        if state.step:
            x, relaxed = _moved(problem, state, slope, state.step, kept)
        else:
            x, relaxed = _normalised(problem, state, slope, kept)
        return RelaxedIhtState(state.iteration + 1, x, relaxed, state.step)

    @classmethod
    def suits(cls, problem: Problem) -> Fit | None:
        rough = problem.prior is not None and not problem.prior.convex
        smooth = math.isfinite(problem.loss.curvature(problem.data))
        if rough and smooth and capability(problem.prior, "prox"):
            return Fit(2.5, "smooth loss and a prior that is not convex")
        return None

    @classmethod
    def example(cls) -> Problem:
        return sparse_recovery(TopK(5))


def _moved(
    problem: Problem, state: RelaxedIhtState, slope: Array, mu: Any, kept: float
) -> tuple[Array, Array]:
    """x and z after a step of length mu: a number, or for sets one number per sample."""
    prior: Any = problem.prior
    if isinstance(mu, float):
        v = linalg.axpy(mu, slope, state.relaxed)
        x = prior.prox(v, mu)
    else:
        v = along(lambda m, s, z: z + m * s, mu, slope, state.relaxed, spec=problem.operator.domain)
        x = prior.project(v)
    relaxed = tmap(lambda a, b: a + kept * (b - a), x, v) if kept else x
    return x, relaxed


def _normalised(problem: Problem, state: RelaxedIhtState, slope: Array, kept: float) -> tuple[Array, Array]:
    """The step of normalised IHT, with a length for every sample."""
    domain, curvature = problem.operator.domain, problem.loss.curvature(problem.data)
    prior: Any = problem.prior

    def longest(move: Array) -> Any:
        """||move||^2 / (L ||A move||^2); 1 where the operator does not see it."""
        image = problem.operator @ move
        seen = dots(image, image, problem.operator.codomain)
        return ratio(dots(move, move, domain), curvature * seen, 1.0)

    empty = dots(state.x, state.x, domain) == 0  # no support yet: that of the gradient
    first = along(
        lambda none, a, b: namespace(b).where(none, b, a), empty, state.x, prior.project(slope), spec=domain
    )
    mu = longest(tmap(_within, slope, first))
    for _ in range(_HALVINGS):
        x, relaxed = _moved(problem, state, slope, mu, kept)
        changed = _changes(x, first, domain)
        if not bool(namespace(changed).any(changed)):
            break
        limit = 0.99 * longest(tmap(lambda a, b: a - b, relaxed, state.relaxed))
        far = changed & (mu > limit)
        if not bool(namespace(far).any(far)):
            break
        mu = namespace(mu).where(far, 0.5 * mu, mu)
    return x, relaxed


_HALVINGS = 60


def _within(slope: Any, x: Any) -> Any:
    xp = namespace(slope)
    return xp.where(x != 0, slope, xp.zeros_like(slope))


def _changes(x: Array, before: Array, domain: Any) -> Any:
    """Whether a sample's support is another one."""

    def other(a: Any, b: Any) -> Any:
        xp = namespace(a)
        return xp.where((a != 0) == (b != 0), xp.zeros_like(a), xp.ones_like(a))

    moved = tmap(other, x, before)
    return dots(moved, moved, domain) > 0
