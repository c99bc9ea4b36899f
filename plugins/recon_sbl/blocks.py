"""Block sparse Bayesian learning: whole blocks of unknowns are switched off, entries of a block are correlated.

x_b ~ N(0, g_b B),    B the correlation of an AR(1) sequence, r of it learned for all blocks together
minimise over g >= 0, r    L = log|S| + y^H S^(-1) y,    S = s2 I + sum_b g_b A_b B A_b^H

bo    g_b <- g_b ||C^H A_b^H S^(-1) y|| / sqrt(tr(A_b B A_b^H S^(-1))),    B = C C^H      (a bound of L)
em    g_b <- tr(B^(-1) E[x_b x_b^H]) / h_b
r     argmin of E[-log p(x | g, r)]: the root of a cubic;      s2 <- E||y - A x||^2 / m where it is not known
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Gt, Interval

from recon import Matrix, Problem
from recon.arrays import Array, from_numpy, is_complex, namespace
from recon.errors import ParameterError, ShapeError
from recon.params import Doc, short
from recon_sbl._correlation import Model, best_ar1, model, restored
from recon_sbl._layers import BlockPosterior, Layer, block_posterior, layers_by_label, layers_by_length
from recon_sbl._noise import FLOOR, deviation
from recon_sbl._state import check_model
from recon_sbl._structured import (
    StructuredSolver,
    StructuredState,
    learned,
    next_level,
    nothing,
    pruned,
    relative_change,
    searches,
    updated,
)

__all__ = ["Bsbl", "BsblState"]

LIMIT = 0.99  # of |r|: beyond it B is singular to rounding for long blocks


@dataclass(frozen=True)
class BsblState(StructuredState):
    """StructuredState, and the hyperparameters of the blocks.

    Parameters
    ----------
    scales
        g_b, one per block in the order of the labels (of their first entries); 0 where pruned.
    correlation
        Real and imaginary part of r.
    signal, spread
        |C^H A_b^H S^(-1) y|^2 (mean over snapshots) and tr(A_b B A_b^H S^(-1)), which the next update needs.
    """

    scales: Array
    correlation: tuple[float, float]
    signal: Array
    spread: Array


@dataclass(frozen=True)
class Bsbl(StructuredSolver):
    """Block sparse Bayesian learning with correlation inside the blocks (Zhang and Rao).

    Minimises L of the module's text over the block variances g_b and the AR(1) coefficient r that all blocks share.
    ``result.x`` is the posterior mean, the objective is L, which never rises while nothing is pruned: r and s2 are
    found by an EM step of their own, not by the ratio of diagonals of the paper, for which L may rise. A prior of
    blocks at unknown places is the sum of all blocks of that length, one for each start (``overlap``): then an entry
    takes part in several blocks. Starts at equal variances, whatever x0. Nothing depends on the units.

    Per iteration two times m^2 k + m^3 / 3 flops for m data and k entries of the blocks that are left (k = n h at first
    with ``overlap``), half of that where both noise and correlation are given; memory of 2 m k.

    Parameters
    ----------
    blocks
        Length h of the blocks of successive entries in C order (the last is shorter where h does not divide their
        number), or a label per entry: entries of one label are a block, correlated in their order.
    overlap
        The blocks may start anywhere (EBSBL); h then is the length of a piece, best a little shorter than the blocks.
    update
        ``"bo"``: bound optimisation, fast. ``"em"``: expectation maximisation, slow.
    correlation
        r, if known; 0 for none. None: learned, at most 0.99 in size.
    joint
        Batch axes of the data are snapshots that share g, r and s2; L is the sum over them.
    learn_noise
        How s2 is learned where ``Problem.noise`` is None. ``"penalised"`` tries levels and takes that of least L plus a
        price per active block; L starts anew with each. ``"em"`` is the textbook update, which fits the noise where
        there are fewer data than unknowns.
    prune
        Blocks whose g falls below this part of the largest are left out for good.
    tol
        The method has ended when g changes by less than this, relative.

    Raises
    ------
    ParameterError, ShapeError
        For blocks longer than x, labels that do not fit it, or labels with ``overlap``.
    CapabilityError
        For another loss, a prior, tuples, a batch without ``joint``, or operators too large for a matrix.

    References
    ----------
    Z. Zhang, B. D. Rao, IEEE Trans. Signal Process. 61 (2013) 2009, doi:10.1109/TSP.2013.2241055 (bo, em, the expanded
    model of overlapping blocks). The update of r is the exact EM step instead of the paper's.
    """

    blocks: Annotated[int | tuple[int, ...], Doc("length of the blocks, or a label for every entry")] = 8
    update: Annotated[Literal["bo", "em"], Doc("rule for the block variances")] = "bo"
    overlap: Annotated[bool, Doc("blocks may start anywhere")] = False
    correlation: Annotated[
        float | None, Interval(gt=-1, lt=1), Doc("AR(1) coefficient inside a block; None: learned")
    ] = None
    joint: Annotated[bool, Doc("batch axes are snapshots that share the prior variances")] = False
    learn_noise: Annotated[Literal["penalised", "em"], Doc("how s2 is learned when not given")] = "penalised"
    prune: Annotated[
        float, Interval(ge=0, lt=1), Doc("leave out what falls below this part of the largest")
    ] = 1e-6
    tol: Annotated[
        float, Gt(0), Doc("relative change of the block variances at which the method has ended")
    ] = 1e-4

    state_type = BsblState

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.blocks, int) and self.blocks < 1:
            raise ParameterError(f"Bsbl.blocks must be >= 1, got {self.blocks}. It is the length of a block.")
        if self.overlap and not isinstance(self.blocks, int):
            raise ParameterError(
                f"Bsbl.blocks must be a length where overlap is set, got {short(self.blocks)}. Labels say where "
                "blocks lie, overlap that nobody knows."
            )

    def init(self, problem: Problem, x0: Array | None = None, seed: int = 0) -> BsblState:
        check_model(problem, "Bsbl", joint=self.joint)
        problem.start(x0)
        _, layers = self._layers(problem)
        given = model(problem, "Bsbl")
        s2, searching = searches(given, self.learn_noise)
        scales = self._even(problem, given)
        r = complex(self.correlation or 0.0)
        empty: Any = None  # filled in at once
        state = BsblState(
            0,
            empty,
            empty,
            empty,
            0.0,
            (),
            False,
            s2,
            0,
            searching,
            (),
            (),
            scales,
            (r.real, r.imag),
            empty,
            empty,
        )
        if not given.power or not given.even:
            return _of_nothing(problem, state, given)
        return _filled(problem, state, block_posterior(given, layers, scales, r, s2, False, True))

    def step(self, problem: Problem, state: BsblState) -> BsblState:
        if state.settled:
            return replace(state, iteration=state.iteration + 1)
        given = model(problem, "Bsbl")
        count, layers = self._layers(problem)
        lengths = _lengths(count, layers, state.scales)
        xp = namespace(state.scales)
        scales = updated(self.update, state.scales, state.signal, state.spread, lengths)
        scales = pruned(scales, self.prune, self._start(given))
        change = relative_change(scales, state.scales)
        determined = float(xp.sum(state.scales * state.spread / lengths))
        state, restart = next_level(given, state, change, determined, count)
        r, s2 = complex(*state.correlation), state.level
        if restart:
            scales, r = self._even(problem, given), complex(self.correlation or 0.0)
        learn, fit = learned(given, self.learn_noise, state), self.correlation is None and not restart
        found = block_posterior(given, layers, scales, r, s2, learn, not (learn or fit))
        if learn or fit:
            if fit:
                r = self._correlated(found, r)
            s2 = max(found.s2, FLOOR * given.power) if learn else s2
            found = block_posterior(given, layers, scales, r, s2, False, True)
        state = replace(
            state,
            iteration=state.iteration + 1,
            scales=scales,
            correlation=(r.real, r.imag),
            level=s2,
            settled=change < self.tol and not restart and not state.searching,
        )
        return _filled(problem, state, found)

    def _even(self, problem: Problem, given: Model) -> Array:
        """Equal block variances that explain the power of the data."""
        count, _ = self._layers(problem)
        return from_numpy(np.full(count, self._start(given)), problem.data, dtype=given.real)

    def _start(self, given: Model) -> float:
        length = (
            min(self.blocks, given.A.shape[1] - self.blocks + 1) if self.overlap else 1
        )  # an entry lies in so many
        return given.even / length

    def _correlated(self, found: BlockPosterior, r: complex) -> complex:
        """The r that fits the posterior best; that of before where no block has two entries."""
        count, t0, t2, t1 = found.fit
        return best_ar1(count, t0, t2, t1, LIMIT) if count else r

    def _layers(self, problem: Problem) -> tuple[int, tuple[Layer, ...]]:
        size = problem.operator.shape[1]
        if isinstance(self.blocks, int):
            if self.blocks > size:
                raise ParameterError(
                    f"Bsbl.blocks must be <= the {size} entries of x, got {self.blocks}. Take shorter blocks."
                )
            return layers_by_length(size, self.blocks, self.overlap)
        if len(self.blocks) != size:
            raise ShapeError(
                f"Bsbl.blocks must hold a label for each of the {size} entries of x, got {len(self.blocks)}. "
                "Labels follow C order."
            )
        return layers_by_label(self.blocks)

    def hyperparameters(self, state: BsblState) -> Mapping[str, Any]:
        """gamma, noise and evidence as ever; ``scales`` (g_b), ``correlation`` (r)."""
        r = complex(*state.correlation)
        own = {"scales": state.scales, "correlation": r if is_complex(state.x) else r.real}
        return {**super().hyperparameters(state), **own}

    @classmethod
    def example(cls) -> Problem:
        """A Gaussian matrix 40 x 80, 2 smooth blocks of length 8, 1 % noise."""
        rng = np.random.default_rng(0)
        x = np.zeros(80)
        for start in (16, 56):
            x[start : start + 8] = np.cumsum(rng.standard_normal(8)) + 2.0
        operator = Matrix(rng.standard_normal((40, 80)) / np.sqrt(40))
        data = operator @ x
        noise = 0.01 * float(np.sqrt(np.mean(data**2)))
        return Problem(operator, data + noise * rng.standard_normal(40), noise=noise)


def _lengths(count: int, layers: tuple[Layer, ...], like: Array) -> Array:
    """How many entries each block has."""
    lengths = np.empty(count)
    for layer in layers:
        lengths[layer.places] = layer.entries.shape[1]
    return from_numpy(lengths, like, dtype=like.dtype)


def _filled(problem: Problem, state: BsblState, found: BlockPosterior) -> BsblState:
    """The state with what the posterior says."""
    return replace(
        state,
        x=restored(found.mean, problem, problem.batch),
        variance=restored(found.variance[:, None], problem),
        gamma=restored(found.prior[:, None], problem),
        noise=deviation(state.level, problem.data),
        costs=(*state.costs, found.cost),
        signal=found.signal,
        spread=found.spread,
    )


def _of_nothing(problem: Problem, state: BsblState, given: Model) -> BsblState:
    """For data (or an operator) that are 0: x = 0 for certain, at once."""
    zero = namespace(state.scales).zeros_like(state.scales)
    state = replace(state, scales=zero, signal=zero, spread=zero)
    return nothing(problem, state, given)
