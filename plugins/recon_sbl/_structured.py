"""What the structured solvers share: their state, and the search for the noise level where it is not known.

Levels of s2 are tried from above, each to rest from the same start, and scored (see :mod:`recon_sbl._levels`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np

from recon import Problem
from recon.arrays import namespace, real_like
from recon_sbl import _levels
from recon_sbl._correlation import Model
from recon_sbl._noise import FLOOR, START, deviation, parts
from recon_sbl._state import SblSolver, SblState

__all__ = [
    "StructuredSolver",
    "StructuredState",
    "learned",
    "next_level",
    "nothing",
    "pruned",
    "relative_change",
    "searches",
    "updated",
]


@dataclass(frozen=True)
class StructuredState(SblState):
    """SblState, and where the search for the noise level stands.

    Parameters
    ----------
    level
        s2 in use.
    since
        Iterations since that level was taken.
    searching
        Whether levels are still being tried.
    levels, scores
        Noise levels tried, as parts of mean |y|^2, and what each scored; empty where s2 is known.
    """

    level: float
    since: int
    searching: bool
    levels: tuple[float, ...]
    scores: tuple[float, ...]


class StructuredSolver(SblSolver):
    """Base of the structured solvers."""

    state_type = StructuredState

    def remarks(self, state: StructuredState) -> list[str]:
        """What a user should know of a run that learned its noise."""
        if not state.levels or state.searching or min(state.levels) > 2.0 * FLOOR:
            return []
        return ["No noise was found in the data: s2 was learned down to its floor of 1e-10 mean |y|^2."]


S = TypeVar("S", bound=StructuredState)


def searches(given: Model, rule: str) -> tuple[float, bool]:
    """s2 at the start, and whether levels are to be tried."""
    if given.s2 is not None:
        return given.s2, False
    return (given.power if rule == "penalised" else START * given.power), rule == "penalised"


def learned(given: Model, rule: str, state: StructuredState) -> bool:
    """Whether s2 is to be learned by its EM update."""
    return given.s2 is None and rule == "em" and state.since > 0


def next_level(given: Model, state: S, change: float, determined: float, entries: int) -> tuple[S, bool]:
    """The state with the next noise level, once this one is at rest, and whether it was.

    ``determined`` of so many ``entries`` are fixed by the data.
    """
    state = replace(state, since=state.since + 1)
    if not state.searching or (change >= _levels.LOOSE and state.since < _levels.MOST):
        return state, False
    size = given.Y.shape[0] * given.count
    score = _levels.score(state.costs[-1], determined, entries, size, parts(given.Y))
    levels, scores = (*state.levels, state.level / given.power), (*state.scores, score)
    level, final = _levels.following(levels, scores)
    s2 = max(level, FLOOR) * given.power
    return replace(state, level=s2, since=0, searching=not final, levels=levels, scores=scores), True


def updated(rule: str, g: Any, signal: Any, spread: Any, lengths: Any) -> Any:
    """The next prior variances of blocks (or rows) of these lengths.

    ``"bo"``: g sqrt(signal / spread), where signal is sum |q|^2 and spread sum a^H S^(-1) a; ``"em"``:
    g + g^2 (signal - spread) / length.
    """
    if rule == "em":
        return g + g * (g * (signal - spread)) / lengths
    xp = namespace(g)
    known = spread > 0
    ratio = signal / xp.where(known, spread, xp.ones_like(g))
    return g * xp.sqrt(xp.where(known, ratio, xp.zeros_like(g)))


def relative_change(new: Any, old: Any) -> float:
    """||new - old|| / ||old||; 0 where old is 0: all is switched off, and stays so."""
    xp = namespace(old)
    top = float(xp.max(xp.abs(old)))
    if not top:
        return 0.0
    new, old = new / top, old / top  # squares of variances may be below single precision
    return float(xp.linalg.vector_norm(new - old)) / float(xp.linalg.vector_norm(old))


def pruned(g: Any, part: float, even: float) -> Any:
    """g, and 0 where it is not above a part of the largest and of ``even``: for mere noise all g shrink for ever."""
    xp = namespace(g)
    return xp.where(g > part * max(float(xp.max(g)), even), g, xp.zeros_like(g))


def nothing(problem: Problem, state: S, given: Model) -> S:
    """For data (or an operator) that are 0: x = 0 for certain, at once; L is 0 where there is no noise either."""
    x = problem.start()
    entries = real_like(np.zeros(problem.operator.domain.shape), x)  # type: ignore[union-attr]
    level = given.power if given.s2 is None else given.s2
    cost = 0.0
    if level:
        cost = given.constant + given.Y.shape[0] * given.count * (math.log(level) + given.power / level)
    return replace(
        state,
        x=x,
        variance=entries,
        gamma=entries,
        noise=deviation(level, problem.data),
        costs=(cost,),
        settled=True,
        level=level,
        searching=False,
    )
