"""The one loop of the library, and the one verb on top of it.

iterate(problem, solver)      yields states for ever; the caller decides when to stop
solve(problem)                chooses a solver where none is given, stops by rules, returns a Result
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from recon._version import __version__
from recon.arrays import Array, finite
from recon.errors import CapabilityError, ParameterError, PluginError
from recon.observers import Observer, as_observers
from recon.params import describe
from recon.problem import Problem
from recon.solver import Fit, Record, Result, Solver, State, Status
from recon.stopping import Rule, as_rule

__all__ = ["choose", "iterate", "solve"]

log = logging.getLogger("recon")


def iterate(
    problem: Problem,
    solver: Solver,
    state: State | None = None,
    *,
    x0: Array | None = None,
    seed: int = 0,
) -> Iterator[State]:
    """Yield the states after each step, for ever.

    >>> for state in iterate(problem, solver):
    ...     if state.iteration == 100:
    ...         break

    Parameters
    ----------
    problem, solver
        What to solve and how.
    state
        Where to go on; by default ``solver.init(problem, x0, seed)``.
    x0, seed
        Start image and seed of a new run.
    """
    if state is None:
        state = solver.init(problem, x0, seed)
    while True:
        state = solver.step(problem, state)
        yield state


def solve(
    problem: Problem,
    solver: Solver | None = None,
    *,
    stop: Rule | int | None = None,
    x0: Array | None = None,
    state: State | None = None,
    observers: Sequence[Any] = (),
    every: int = 10,
    seed: int = 0,
) -> Result:
    """Solve a problem: the one verb.

    Parameters
    ----------
    problem
        Operator, data, prior, loss.
    solver
        How; by default the installed solver that fits best, named in ``result.provenance["chosen"]`` and the log.
    stop
        A stopping rule, or a number of iterations; by default ``MaxIterations(500) | Change(1e-5)``.
    x0
        Start image; zeros by default.
    state
        Go on from the state of an earlier result or checkpoint instead.
    observers
        Observers or functions ``f(state, record)``.
    every
        Record objective and other figures every so many iterations (and at the last).
    seed
        Of whatever is random in the solver; drawn on the CPU, so equal on every device.

    Returns
    -------
    Result
        Numerical trouble is a status, not an exception; ``result.check()`` makes it one.

    Raises
    ------
    CapabilityError
        When the solver needs something that operator, prior or loss do not have.
    """
    if not isinstance(problem, Problem):
        raise ParameterError(f"solve.problem must be a Problem, got {type(problem).__name__}.")
    if every < 1:
        raise ParameterError(f"solve.every must be >= 1, got {every}.")
    provenance: dict[str, Any] = {"recon": __version__, "seed": seed}
    if solver is None:
        solver, fit = choose(problem)
        provenance["chosen"] = f"{type(solver).__name__}: {fit.reason}"
        log.info("solve chose %s: %s", type(solver).__name__, fit.reason)
    if not isinstance(solver, Solver):
        hint = " Make an instance: write Fista(), not Fista." if isinstance(solver, type) else ""
        raise ParameterError(f"solve.solver must be a Solver, got {type(solver).__name__}.{hint}")
    rule = as_rule(stop)
    rule.check(problem)
    provenance |= {"parameters": describe(solver), "stop": repr(rule)}
    watchers = as_observers(observers)
    begin = time.perf_counter()
    if state is None:
        state = solver.init(problem, x0, seed)
    elif not isinstance(state, solver.state_type):
        raise ParameterError(
            f"solve.state must be a {solver.state_type.__name__} of {type(solver).__name__}, "
            f"got {type(state).__name__}. Continue with the solver that made it."
        )
    state, status, history = _run(problem, solver, state, rule, watchers, every, begin)
    result = Result(state.x, status, tuple(history), state, time.perf_counter() - begin, solver, provenance)
    for watcher in watchers:
        watcher.finish(result)
    return result


def _run(
    problem: Problem,
    solver: Solver,
    state: State,
    rule: Rule,
    watchers: list[Observer],
    every: int,
    begin: float,
) -> tuple[State, Status, list[Record]]:
    """Step until a rule decides; observers are told of a broken-off run before its exception goes on."""
    horizon = rule.horizon()

    def measured(current: State) -> Record:
        values = solver.measure(problem, current)
        return Record(current.iteration, time.perf_counter() - begin, values)

    try:
        for watcher in watchers:
            watcher.start(problem, solver, state)
        history = [measured(state)]
        status = rule.decide(problem, history)
        while status is None:
            record = None
            with np.errstate(over="ignore", invalid="ignore"):  # a diverging run is a status, not warnings
                state = solver.step(problem, state)
                if state.iteration % every == 0 or state.iteration == horizon:
                    record = measured(state)
            if record is not None:
                history.append(record)
                status = rule.decide(problem, history) if finite(state.x) else Status.DIVERGED
            for watcher in watchers:
                watcher.update(state, record)
    except BaseException:
        for watcher in watchers:
            watcher.finish(None)
        raise
    return state, status, history


def choose(problem: Problem) -> tuple[Solver, Fit]:
    """The installed solver that suits a problem best, with the reason.

    Every registered solver marked ``automatic`` is asked by its ``suits``; broken ones are passed over.

    Raises
    ------
    CapabilityError
        When none suits.
    """
    from recon.registry import entries, get

    offers: list[tuple[float, str, Solver, Fit]] = []
    for entry in entries("solver"):
        if not entry.automatic:
            continue
        try:
            solver_class = get("solver", entry.name)
        except PluginError as error:
            log.warning("solver %s was passed over: %s", entry.name, error)
            continue
        fit = solver_class.suits(problem)
        if fit is not None:
            offers.append((-fit.score, entry.name, solver_class(), fit))
    if not offers:
        raise CapabilityError(
            f"No installed solver suits {problem.operator!s} with prior {problem.prior!r} and "
            f"{type(problem.loss).__name__}. Give one: solve(problem, solver); `recon list solver` shows all."
        )
    _, _, solver, fit = min(offers, key=lambda offer: offer[:2])
    return solver, fit
