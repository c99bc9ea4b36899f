"""Pattern-coupled sparse Bayesian learning: neighbours share their precisions, so that blocks form by themselves.

    1 / g_i = alpha_i + eta sum of alpha_j over the neighbours j of i          g: prior variances of the entries
    alpha_i <- 1 / (w_i + floor max w),    w_i = E|x_i|^2 + eta sum of E|x_j|^2 over the neighbours

Neighbours lie beside each other along the axes of the domain; beyond the border there are none. eta = 0 is EM of
plain sparse Bayesian learning.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Ge, Gt, Interval

from recon import Matrix, Problem
from recon.arrays import Array, from_numpy, namespace
from recon.params import Doc
from recon_sbl._correlation import Model, model
from recon_sbl._factor import square
from recon_sbl._noise import FLOOR, deviation
from recon_sbl._state import check_model
from recon_sbl._structured import (
    StructuredSolver,
    StructuredState,
    learned,
    next_level,
    nothing,
    relative_change,
    searches,
)
from recon_sbl.engines import Direct
from recon_sbl.posterior import Posterior

__all__ = ["PcSbl", "PcSblState"]


@dataclass(frozen=True)
class PcSblState(StructuredState):
    """StructuredState, and what the update of s2 needs.

    Parameters
    ----------
    determined
        1 - variance / gamma without cancellation, of the domain's shape, 0 where pruned.
    """

    determined: Array


@dataclass(frozen=True)
class PcSbl(StructuredSolver):
    """Pattern-coupled sparse Bayesian learning (Fang, Shen, Li, Wang): block-sparse x, blocks unknown.

    An entry is switched off only together with its neighbours, so that nonzero entries gather in blocks of any length
    and place, without a parameter that names them. ``result.x`` is the posterior mean, ``result.variance`` diag(Sigma),
    the objective L(g, s2) of plain sparse Bayesian learning. The M-step is the paper's simple one, of which only a
    range is proved, so that L may rise (with eta = 0 it is exact, and L never rises). Starts at equal variances,
    whatever x0. Nothing depends on the units.

    Per iteration 2 m^2 k + m^3 / 3 flops, or m k^2 + 2 k^3 / 3 where fewer, for m data and k entries that are left;
    memory of 2 m k + m^2. Usually 50 to 300 iterations.

    Parameters
    ----------
    eta
        What a neighbour counts. 0: nothing.
    joint
        Batch axes of the data are snapshots that share g and s2; L is the sum over them.
    learn_noise
        How s2 is learned where ``Problem.noise`` is None. ``"penalised"`` tries levels and takes that of least L plus a
        price per active entry; L starts anew with each. ``"em"`` is the textbook update, which fits the noise where
        there are fewer data than unknowns.
    floor
        Least expected power of an entry in the update, as part of the largest; the role of b in the paper.
    prune
        Entries whose g falls below this part of the largest are set to 0; strong neighbours can bring them back.
    tol
        The method has ended when x changes by less than this, relative.

    Raises
    ------
    CapabilityError
        For another loss, a prior, tuples, a batch without ``joint``, or operators too large for a matrix.

    References
    ----------
    J. Fang, Y. Shen, H. Li, P. Wang, IEEE Trans. Signal Process. 63 (2015) 360, doi:10.1109/TSP.2014.2375133 (with
    a = 1/2; complex data alike).
    """

    eta: Annotated[float, Ge(0), Doc("what a neighbour counts")] = 1.0
    joint: Annotated[bool, Doc("batch axes are snapshots that share the prior variances")] = False
    learn_noise: Annotated[Literal["penalised", "em"], Doc("how s2 is learned when not given")] = "penalised"
    floor: Annotated[float, Interval(ge=0, lt=1), Doc("least expected power, as part of the largest")] = 1e-8
    prune: Annotated[
        float, Interval(ge=0, lt=1), Doc("leave out what falls below this part of the largest")
    ] = 1e-7
    tol: Annotated[float, Gt(0), Doc("relative change of x at which the method has ended")] = 1e-4

    state_type = PcSblState

    def init(self, problem: Problem, x0: Array | None = None, seed: int = 0) -> PcSblState:
        check_model(problem, "PcSbl", joint=self.joint)
        problem.start(x0)
        given = model(problem, "PcSbl")
        s2, searching = searches(given, self.learn_noise)
        gamma = self._even(problem, given)
        empty: Any = None  # filled in at once
        state = PcSblState(0, empty, empty, empty, 0.0, (), False, s2, 0, searching, (), (), empty)
        if not given.power or not given.even:
            return nothing(problem, replace(state, determined=namespace(gamma).zeros_like(gamma)), given)
        return self._posterior(problem, state, given, gamma)

    def step(self, problem: Problem, state: PcSblState) -> PcSblState:
        if state.settled:
            return replace(state, iteration=state.iteration + 1)
        given = model(problem, "PcSbl")
        xp, before = namespace(state.gamma), state
        power = xp.mean(xp.reshape(square(state.x), (-1, *state.gamma.shape)), axis=0) + state.variance
        power = self._coupled(power)
        gamma = 1.0 / self._coupled(1.0 / (power + max(self.floor, FLOOR**2) * float(xp.max(power))))
        gamma = xp.where(gamma > self.prune * xp.max(gamma), gamma, xp.zeros_like(gamma))
        change = relative_change(gamma, state.gamma)
        state, restart = next_level(given, state, change, self._borders(state), given.A.shape[1])
        if restart:
            gamma = self._even(problem, given)
        elif learned(given, self.learn_noise, state):
            state = replace(state, level=self._noise(problem, given, state))
        state = self._posterior(problem, replace(state, iteration=state.iteration + 1), given, gamma)
        moved = float(xp.linalg.vector_norm(state.x - before.x))
        ended = moved < self.tol * float(xp.linalg.vector_norm(state.x))
        return replace(state, settled=ended and not restart and not state.searching)

    def _coupled(self, values: Array) -> Array:
        """Values plus eta times the sum of those beside them, along every axis."""
        xp, total = namespace(values), values
        for axis in range(values.ndim if self.eta else 0):
            at: list[Any] = [slice(None)] * values.ndim
            at[axis] = slice(0, 1)
            edge = xp.zeros_like(values[tuple(at)])
            at[axis] = slice(1, None)
            upper = xp.concat([values[tuple(at)], edge], axis=axis)
            at[axis] = slice(0, -1)
            lower = xp.concat([edge, values[tuple(at)]], axis=axis)
            total = total + self.eta * (upper + lower)
        return total

    def _borders(self, state: PcSblState) -> float:
        """How many borders the pattern of determined entries has: variances inside it are not free."""
        xp, values = namespace(state.determined), state.determined
        total = 0.0
        for axis in range(values.ndim if self.eta else 0):
            at: list[Any] = [slice(None)] * values.ndim
            at[axis] = slice(0, 1)
            edge = xp.zeros_like(values[tuple(at)])
            padded = xp.concat([edge, values, edge], axis=axis)
            at[axis] = slice(1, None)
            upper = padded[tuple(at)]
            at[axis] = slice(0, -1)
            total += float(xp.sum(xp.abs(upper - padded[tuple(at)]))) / values.ndim
        return total if self.eta else float(xp.sum(values))

    def _noise(self, problem: Problem, given: Model, state: PcSblState) -> float:
        """The EM update of s2."""
        xp = namespace(state.x)
        X = xp.reshape(state.x, (-1, given.A.shape[1])).T
        gap = float(xp.sum(square(given.Y - given.A @ X), dtype=xp.float64)) / given.count
        s2 = (gap + state.level * float(xp.sum(state.determined))) / given.A.shape[0]
        return max(s2, FLOOR * given.power)

    def _even(self, problem: Problem, given: Model) -> Array:
        shape = problem.operator.domain.shape  # type: ignore[union-attr]
        return from_numpy(np.full(shape, given.even), problem.data, dtype=given.real)

    def _posterior(self, problem: Problem, state: PcSblState, given: Model, gamma: Array) -> PcSblState:
        """The state for new gamma."""
        xp, shape = namespace(gamma), gamma.shape
        found: Posterior = Direct(given.A, given.Y.T)(xp.reshape(gamma, (-1,)), state.level)
        return replace(
            state,
            x=xp.reshape(found.mean, (*problem.batch, *shape)),
            variance=xp.reshape(found.variance, shape),
            gamma=gamma,
            noise=deviation(state.level, problem.data),
            costs=(*state.costs, given.constant + found.cost),
            determined=xp.reshape(found.determined, shape),
        )

    @classmethod
    def example(cls) -> Problem:
        """A Gaussian matrix 40 x 80, two blocks of 6 and 9 entries, 1 % noise."""
        rng = np.random.default_rng(0)
        x = np.zeros(80)
        x[11:17] = rng.standard_normal(6)
        x[50:59] = rng.standard_normal(9)
        operator = Matrix(rng.standard_normal((40, 80)) / np.sqrt(40))
        data = operator @ x
        noise = 0.01 * float(np.sqrt(np.mean(data**2)))
        return Problem(operator, data + noise * rng.standard_normal(40), noise=noise)
