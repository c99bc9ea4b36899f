"""Stopping rules: pure functions of the history, joined with ``|`` (either) and ``&`` (both).

    stop = MaxIterations(300) | Change(1e-5) & MaxSeconds(60)

A rule is asked whenever something was recorded; ``horizons`` are the iterations at which it must be asked.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Gt

from recon import noise
from recon.errors import CapabilityError, ParameterError
from recon.losses import LeastSquares
from recon.params import Doc, Parameters
from recon.problem import Problem
from recon.solver import Record, Status

__all__ = ["Change", "Discrepancy", "Gap", "MaxIterations", "MaxSeconds", "Rule", "Target", "as_rule"]


class Rule(ABC):
    """Base of all stopping rules."""

    @abstractmethod
    def decide(self, problem: Problem, history: Sequence[Record]) -> Status | None:
        """How the run ends now, or None to go on; ``history`` is not empty."""

    def horizons(self) -> frozenset[int]:
        """Iterations at which the rule must be asked, whatever the interval of the records."""
        return frozenset()

    def check(self, problem: Problem) -> None:
        """Raise where the rule cannot judge this problem."""

    def __or__(self, other: Rule) -> Rule:
        return _Either((self, other)) if isinstance(other, Rule) else NotImplemented

    def __and__(self, other: Rule) -> Rule:
        return _Both((self, other)) if isinstance(other, Rule) else NotImplemented


class _Joined(Rule):
    def __init__(self, rules: tuple[Rule, ...]) -> None:
        self.rules = rules

    def horizons(self) -> frozenset[int]:
        return frozenset().union(*(rule.horizons() for rule in self.rules))

    def check(self, problem: Problem) -> None:
        for rule in self.rules:
            rule.check(problem)


class _Either(_Joined):
    def decide(self, problem: Problem, history: Sequence[Record]) -> Status | None:
        for rule in self.rules:
            status = rule.decide(problem, history)
            if status:
                return status
        return None

    def __repr__(self) -> str:
        return " | ".join(map(repr, self.rules))


class _Both(_Joined):
    def decide(self, problem: Problem, history: Sequence[Record]) -> Status | None:
        found = [rule.decide(problem, history) for rule in self.rules]
        return found[0] if all(found) else None

    def __repr__(self) -> str:
        return " & ".join(f"({r!r})" if isinstance(r, _Either) else repr(r) for r in self.rules)


@dataclass(frozen=True)
class MaxIterations(Parameters, Rule):
    """Stop after ``limit`` iterations in all (those of a resumed run's past included)."""

    limit: Annotated[int, Ge(0), Doc("iterations in all")] = 500

    def decide(self, problem: Problem, history: Sequence[Record]) -> Status | None:
        return Status.MAX_ITERATIONS if history[-1].iteration >= self.limit else None

    def horizons(self) -> frozenset[int]:
        return frozenset({self.limit})


@dataclass(frozen=True)
class MaxSeconds(Parameters, Rule):
    """Stop at the first record after ``limit`` seconds."""

    limit: Annotated[float, Gt(0), Doc("wall seconds")] = 60.0

    def decide(self, problem: Problem, history: Sequence[Record]) -> Status | None:
        return Status.TIME if history[-1].seconds >= self.limit else None


@dataclass(frozen=True)
class Change(Parameters, Rule):
    """Stop when the image moves by less than ``tol`` relative per iteration, at ``patience`` records in a row."""

    tol: Annotated[float, Gt(0), Doc("||x_k - x_(k-1)|| / ||x_k||")] = 1e-5
    patience: Annotated[int, Ge(1), Doc("records in a row")] = 3

    def decide(self, problem: Problem, history: Sequence[Record]) -> Status | None:
        recent = [record.values.get("change", math.inf) for record in history[-self.patience :]]
        quiet = all(change <= self.tol for change in recent)  # not max: a NaN is not quiet
        return Status.CONVERGED if len(recent) == self.patience and quiet else None


@dataclass(frozen=True)
class Gap(Parameters, Rule):
    """Stop when the objective is certainly within ``tol`` relative of its minimum, by the ``gap`` of the solver.

    Fista, Pogm, Pdhg, Admm and ActiveSet record one where the problem allows it (see :mod:`recon.duality`); where
    it does not, the rule raises a CapabilityError. ``Gap(tol) | MaxIterations(n)`` keeps a bound on the time.
    """

    tol: Annotated[float, Gt(0), Doc("duality gap / |objective|")] = 1e-4

    def decide(self, problem: Problem, history: Sequence[Record]) -> Status | None:
        values = history[-1].values
        if "gap" not in values and history[-1].iteration > history[0].iteration:
            raise CapabilityError(
                "Gap needs a solver that certifies a duality gap, and this one records none. Use Change instead."
            )
        gap, objective = values.get("gap", math.inf), values.get("objective", math.nan)
        sure = math.isfinite(objective) and gap <= self.tol * abs(objective)
        return Status.CONVERGED if sure else None


@dataclass(frozen=True)
class Target(Parameters, Rule):
    """Stop when the objective is at or below ``value``."""

    value: Annotated[float, Doc("objective to reach")] = 0.0

    def decide(self, problem: Problem, history: Sequence[Record]) -> Status | None:
        return Status.TARGET if history[-1].values.get("objective", math.inf) <= self.value else None


@dataclass(frozen=True)
class Discrepancy(Parameters, Rule):
    """Stop when ||A x - y|| <= factor * sigma sqrt(m) (Morozov 1966), for early-stopped least squares.

    Needs ``LeastSquares`` and ``Problem.noise``: a number, an array or ``"estimate"``. The noise is that of real
    and imaginary parts each, so that m counts complex data twice.
    """

    factor: Annotated[float, Gt(0), Doc("1 fits to the noise level; a little more is safer")] = 1.0

    def check(self, problem: Problem) -> None:
        if not isinstance(problem.loss, LeastSquares):
            raise ParameterError(
                f"Discrepancy needs LeastSquares, got {type(problem.loss).__name__}. Use Change or MaxIterations."
            )
        noise.known(problem, "Discrepancy")

    def decide(self, problem: Problem, history: Sequence[Record]) -> Status | None:
        goal = 0.5 * self.factor**2 * noise.energy(problem, "Discrepancy")
        return Status.DISCREPANCY if history[-1].values.get("loss", math.inf) <= goal else None


def as_rule(stop: Rule | int | None) -> Rule:
    """A rule from what ``solve(stop=...)`` takes: a rule, a number of iterations, or None for the default."""
    if stop is None:
        return MaxIterations(500) | Change(1e-5)
    if isinstance(stop, bool) or not isinstance(stop, int | Rule):
        raise ParameterError(
            f"solve.stop must be a stopping rule or a number of iterations, got {stop!r}. "
            "Write for example MaxIterations(300) | Change(1e-5)."
        )
    return MaxIterations(stop) if isinstance(stop, int) else stop
