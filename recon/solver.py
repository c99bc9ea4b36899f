"""Solvers: frozen parameters, a pure ``init`` and a pure ``step``; states and records.

    state = solver.init(problem)
    while not enough: state = solver.step(problem, state)

That loop exists once, in :func:`recon.iterate`; :func:`recon.solve` adds stopping, observers and a result.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, ClassVar

from recon.arrays import Array, norm, tmap
from recon.params import Parameters
from recon.problem import Problem

__all__ = ["Fit", "Record", "Solver", "State", "Status", "relative_change"]


class Status(Enum):
    """How a run ended; the value is the help text."""

    CONVERGED = "The stopping rule of convergence was met."
    DISCREPANCY = "The residual fell to the noise level: going on would fit the noise."
    MAX_ITERATIONS = (
        "The iteration limit came first. Raise it or loosen the tolerance; in Python, "
        "solve(problem, solver, state=result.state) goes on from here."
    )
    TIME = "The time limit came first. Start again from result.state to go on."
    TARGET = "The target value of the objective was reached."
    DIVERGED = (
        "The iterates are not finite, or the loss has grown beyond all bounds. Likely causes: a step size larger "
        "than the method allows, an operator whose adjoint is not exact (check with "
        "recon.testing.check_operator), or data of extreme scale."
    )

    @property
    def good(self) -> bool:
        """Whether the run ended as asked (limits count as good: the user set them)."""
        return self is not Status.DIVERGED


@dataclass(frozen=True)
class State:
    """Everything a solver needs to go on: arrays (or tuples of arrays) and plain numbers, nothing else.

    ``weight_free`` says that it can go on with another weight of the prior; else only its image can. A method that
    comes to an end of its own has a field ``settled: bool``: once it is true ``solve`` stops there, as converged.
    """

    weight_free: ClassVar[bool] = True

    iteration: int
    x: Array


@dataclass(frozen=True)
class Record:
    """What was measured at one iteration."""

    iteration: int
    seconds: float
    values: Mapping[str, float]

    def __getitem__(self, name: str) -> float:
        return self.values[name]


@dataclass(frozen=True)
class Fit:
    """How well a solver suits a problem, as answered by ``Solver.suits``: higher scores are chosen first."""

    score: float
    reason: str


class Solver(Parameters, ABC):
    """Base of all solvers: a frozen dataclass of parameters with pure ``init`` and ``step``.

    A subclass names its ``state_type``. Neither method changes its arguments; a step returns a new state.
    """

    state_type: ClassVar[type[State]] = State

    @abstractmethod
    def init(self, problem: Problem, x0: Array | None = None, seed: int = 0) -> State:
        """The state before the first step; raises CapabilityError where the problem is not for this solver."""

    @abstractmethod
    def step(self, problem: Problem, state: Any) -> State:
        """The next state."""

    def measure(self, problem: Problem, state: Any) -> dict[str, float]:
        """Figures for history, stopping rules and observers: at least ``objective`` and ``loss``.

        For a prior without a value (a plugged-in denoiser) the objective is the loss alone.

        Called every few iterations. Override it where A x is already at hand, or to add a certificate
        (``"gap"``, ``"residual"``). What else a solver knows it offers by methods of these names, all of the state:
        ``variance`` becomes ``Result.variance``, ``hyperparameters`` (a mapping of names to arrays and numbers)
        ``Result.hyperparameters``, ``samples`` ``Result.samples``, and ``remarks`` (sentences a user should read)
        ``provenance["remarks"]``. ``default_stop()``, without a state, is the rule where the user gives none.
        """
        prediction = problem.operator @ state.x
        loss = problem.loss.value(prediction, problem.data)
        return {"objective": loss + (problem.penalty(state.x) if problem.valued else 0.0), "loss": loss}

    @classmethod
    def suits(cls, problem: Problem) -> Fit | None:
        """Whether ``solve(problem)`` may choose this class, and how gladly; None for no."""
        return None

    @classmethod
    def example(cls) -> Problem:
        """A small problem that this solver solves, for tests, docs and ``recon info``."""
        raise NotImplementedError(f"{cls.__name__}.example must return a small Problem.")


def relative_change(new: Array, old: Array) -> float:
    """||new - old|| / ||new||, 0 where both are 0."""
    if new is old:  # a solver that works in place, or has nothing left to do
        return 0.0
    size = norm(new)
    change = norm(tmap(lambda a, b: a - b, new, old))
    return change / size if size else (1.0 if change else 0.0)
