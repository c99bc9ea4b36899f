"""The one loop of the library, and the one verb on top of it.

iterate(problem, solver)      yields states for ever; the caller decides when to stop
solve(problem)                chooses a solver where none is given, stops by rules, returns a Result
"""

from __future__ import annotations

import dataclasses
import logging
import math
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from recon import selection
from recon._version import __version__
from recon.arrays import Array, finite, tmap
from recon.errors import CapabilityError, ParameterError, PluginError
from recon.observers import Observer, as_observers
from recon.operator import capability
from recon.params import describe, short
from recon.problem import Problem
from recon.result import Result
from recon.solver import Fit, Record, Solver, State, Status, relative_change
from recon.stopping import Change, MaxIterations, Rule, as_rule

__all__ = ["choose", "iterate", "select_weight", "solve"]

log = logging.getLogger("recon")

_UNTIL_QUIET = MaxIterations(1000) | Change(3e-5, patience=2)
"""When a run ends that is only to judge a weight."""

_LOST = 1e10
"""A loss that many times the first one never comes back: no working method overshoots like that."""


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
    state = _begin(problem, _checked(problem, solver), state, x0, seed)
    return _steps(problem, solver, state)


def _steps(problem: Problem, solver: Solver, state: State) -> Iterator[State]:
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
    history: Sequence[Record] = (),
    observers: Sequence[Any] = (),
    every: int = 20,
    seed: int = 0,
    weight: selection.Name | None = None,
) -> Result:
    """Solve a problem: the one verb.

    Parameters
    ----------
    problem
        Operator, data, prior, loss.
    solver
        How; by default the installed solver that fits best, named in ``result.provenance["chosen"]`` and the log.
    stop
        A stopping rule, or a number of iterations; by default the solver's own ``default_stop()``, or
        ``MaxIterations(500) | Change(1e-5)``.
    x0
        Start image; zeros by default.
    state
        Go on from the state of an earlier result or checkpoint instead.
    history
        Records of the run that is continued, so that rules which look back (``Change``) and limits of time count
        them too. Without it the continued run has the same iterates, and its own history.
    observers
        Observers or functions ``f(state, record)``.
    every
        Record objective and other figures every so many iterations (and at the last).
    seed
        Of whatever is random in the solver; drawn on the CPU, so equal on every device.
    weight
        Choose the factor of the problem's prior from the data: ``"auto"``, ``"sure"``, ``"discrepancy"``,
        ``"gcv"``, ``"whiteness"`` or ``"lcurve"`` (see :mod:`recon.selection`). The choice and the path to it are in
        ``result.provenance["weight"]``, the problem that was solved has ``prior = weight * problem.prior``.

    Returns
    -------
    Result
        Numerical trouble is a status, not an exception; ``result.check()`` makes it one.

    Raises
    ------
    CapabilityError
        When the solver needs something that operator, prior or loss do not have.
    """
    _check_problem(problem)
    if weight is not None:
        return _with_chosen_weight(problem, weight, solver, stop, x0, state, history, observers, every, seed)
    if isinstance(every, bool) or not isinstance(every, int) or every < 1:
        raise ParameterError(f"solve.every must be an integer >= 1, got {short(every)}.")
    provenance: dict[str, Any] = {"recon": __version__, "seed": seed}
    if solver is None:
        solver, fit = choose(problem)
        provenance["chosen"] = f"{type(solver).__name__}: {fit.reason}"
        log.info("solve chose %s: %s", type(solver).__name__, fit.reason)
    _checked(problem, solver)
    own = capability(solver, "default_stop") if stop is None else None
    rule = own() if own else as_rule(stop)
    rule.check(problem)
    provenance |= {"parameters": describe(solver), "stop": repr(rule)}
    watchers = as_observers(observers)
    begin = time.perf_counter()
    first = [_begin(problem, solver, state, x0, seed)]  # to be given away: a state may be some volumes
    records = [record for record in history if record.iteration <= first[0].iteration]
    begin -= records[-1].seconds if records else 0.0
    state, status = _run(problem, solver, first.pop(), rule, watchers, every, begin, records)
    spread, learned = capability(solver, "variance"), capability(solver, "hyperparameters")
    drawn, remarks = capability(solver, "samples"), capability(solver, "remarks")
    if remarks and (sentences := list(remarks(state))):
        provenance["remarks"] = sentences
    result = Result(
        state.x,
        status,
        tuple(records),
        state,
        time.perf_counter() - begin,
        solver,
        provenance,
        samples=drawn(state) if drawn else None,
        variance=spread(state) if spread else None,
        hyperparameters=learned(state) if learned else {},
    )
    _finish(watchers, result)
    return result


def _with_chosen_weight(
    problem: Problem,
    weight: selection.Name,
    solver: Solver | None,
    stop: Rule | int | None,
    x0: Array | None,
    state: State | None,
    history: Sequence[Record],
    observers: Sequence[Any],
    every: int,
    seed: int,
) -> Result:
    """Choose the weight with quiet runs of the same solver, then solve with it once more in full."""
    if state is not None:
        raise ParameterError(
            "solve.weight must be None where a state is given: the state belongs to a weight that was chosen. "
            "Give the problem the prior with that weight."
        )

    chosen = select_weight(problem, weight, solver, x0=x0, seed=seed)
    assert problem.prior is not None
    problem = dataclasses.replace(problem, prior=chosen.weight * problem.prior)
    result = solve(
        problem, solver, stop=stop, x0=chosen.x, history=history, observers=observers, every=every, seed=seed
    )
    return dataclasses.replace(result, provenance={**result.provenance, "weight": chosen.record()})


def select_weight(
    problem: Problem,
    weight: selection.Name,
    solver: Solver | None = None,
    *,
    x0: Array | None = None,
    seed: int = 0,
) -> selection.Selection:
    """Choose the factor of a problem's prior, by quiet runs of ``solve`` with these arguments.

    Each run goes on from the state of the one before and ends when the image is quiet: a rule that judges images
    which are not finished chooses for images which are not finished. ``solve(problem, weight=...)`` is this and one
    more run. See :func:`recon.selection.choose_weight`.
    """

    def reconstruct(trial: Problem, start: State | None, iterations: int | None) -> State:
        rule = _UNTIL_QUIET if iterations is None else iterations
        begin, first = None, x0
        if start is not None and start.weight_free:
            begin, first = dataclasses.replace(start, iteration=0), None
        elif start is not None:
            first = start.x
        return solve(trial, solver, stop=rule, x0=first, state=begin, every=10, seed=seed).state

    return selection.choose_weight(problem, weight, reconstruct, seed=seed)


def _check_problem(problem: Any) -> None:
    if not isinstance(problem, Problem):
        raise ParameterError(
            f"solve.problem must be a Problem, got {short(problem)}. Write Problem(operator, data, prior)."
        )


def _checked(problem: Problem, solver: Any) -> Solver:
    """The solver, where problem and solver are what they should be."""
    _check_problem(problem)
    if not isinstance(solver, Solver):
        hint = " Make an instance: write Fista(), not Fista." if isinstance(solver, type) else ""
        got = solver.__name__ if isinstance(solver, type) else short(solver)
        raise ParameterError(f"solve.solver must be a Solver, got {got}.{hint}")
    if not dataclasses.is_dataclass(solver):
        raise ParameterError(
            f"solve.solver must be a dataclass, got the plain class {type(solver).__name__}. "
            "Write @dataclass(frozen=True) above it."
        )
    return solver


def _begin(problem: Problem, solver: Solver, state: Any, x0: Array | None, seed: Any) -> State:
    """The state to go on from, or the first one of a new run."""
    if state is None:
        if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
            raise ParameterError(f"solve.seed must be an integer >= 0, got {short(seed)}.")
        return solver.init(problem, x0, seed)
    if not isinstance(state, solver.state_type):
        raise ParameterError(
            f"solve.state must be a {solver.state_type.__name__} of {type(solver).__name__}, "
            f"got {type(state).__name__}. Continue with the solver that made it."
        )
    if x0 is not None:
        raise ParameterError(
            "solve.x0 must be None where a state is given, got both. The state has its own x."
        )
    return state


def _run(
    problem: Problem,
    solver: Solver,
    state: State,
    rule: Rule,
    watchers: list[Observer],
    every: int,
    begin: float,
    history: list[Record],
) -> tuple[State, Status]:
    """Step until a rule decides; observers are told of a broken-off run before its exception goes on."""
    horizons = rule.horizons()

    def measure(current: State, previous: State | None = None) -> None:
        values = {name: float(value) for name, value in solver.measure(problem, current).items()}
        if previous is not None:
            values.setdefault("change", relative_change(current.x, previous.x))
        history.append(Record(current.iteration, time.perf_counter() - begin, values))

    try:
        for watcher in watchers:
            watcher.history = history
            watcher.start(problem, solver, state)
        with np.errstate(over="ignore", invalid="ignore"):  # a diverging run is a status, not warnings
            last = history[-1].iteration if history else -1
            if not history or any(last < horizon <= state.iteration for horizon in horizons):
                measure(state)
        status = rule.decide(problem, history)
        if status is None and getattr(state, "settled", False):
            status = Status.CONVERGED
        while status is None:
            record = previous = None  # a state is a volume or more: let it go before the next step needs room
            with np.errstate(over="ignore", invalid="ignore"):
                previous, state = state, solver.step(problem, state)
                settled = getattr(state, "settled", False)
                if settled or state.iteration % every == 0 or state.iteration in horizons:
                    measure(state, previous)
                    record = history[-1]
            if record is not None:
                lost = _diverged(problem, state, history)
                status = Status.DIVERGED if lost else rule.decide(problem, history)
                if settled and status is None:
                    status = Status.CONVERGED
            for watcher in watchers:
                watcher.update(state, record)
    except BaseException:
        _finish(watchers, None)
        raise
    return state, status


def _finish(watchers: list[Observer], result: Result | None) -> None:
    """Tell every observer that the run has ended, whatever the others do; then raise the first fault.

    A run that was broken off has an exception under way already, which a fault here must not hide.
    """
    faults = []
    for watcher in watchers:
        try:
            watcher.finish(result)
        except Exception as error:
            faults.append(error)
            if result is None:
                log.warning("%s failed when the run was broken off: %s", type(watcher).__name__, error)
    if faults and result is not None:
        raise faults[0]


def _diverged(problem: Problem, state: State, history: list[Record]) -> bool:
    """Whether the image is not finite, or the loss far above where it began."""
    first, last = history[0].values.get("loss", math.inf), history[-1].values.get("loss", 0.0)
    if not finite(state.x) or math.isnan(last):
        return True
    if not 0.0 < first < math.inf or last <= _LOST * first or last == math.inf:
        return False  # an infinite loss is an iterate outside the domain of a Poisson loss, on its way in
    # a run that starts at a solution has next to no loss at first: then the loss of predicting 0 is the measure
    nothing = problem.loss.value(tmap(lambda leaf: 0 * leaf, problem.data), problem.data)
    return last > _LOST * nothing


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
