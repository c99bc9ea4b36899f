"""The contract of solvers.

    pure          init and step leave their arguments alone, and give the same bits for the same arguments
    state         a frozen dataclass of arrays, tuples of arrays and plain numbers, from which a run goes on
                  bit by bit after it was saved and loaded
    honest        measure() gives "objective" and "loss" as the problem's own objects compute them
    useful        the objective is finite and lower after 50 iterations than at the start
    precision     a float32 problem stays float32

The solver's own ``example()`` is the problem, unless another is given.
"""

from __future__ import annotations

import dataclasses
import json
import math
import pickle
import tempfile
from pathlib import Path
from typing import Any

from recon.arrays import Array, as_numpy, from_numpy, is_complex, leaves, members, namespace, tmap
from recon.checkpoint import load_state, save_state
from recon.driver import solve
from recon.errors import ShapeError
from recon.params import describe
from recon.problem import Problem
from recon.solver import Solver, State, Status
from recon.testing._common import (
    Guard,
    at_precision,
    check_kept,
    expect,
    fail,
    likes,
    numbers_only,
    quiet_division,
    same_bits,
)

__all__ = ["check_solver"]

_PLAIN = (bool, int, float, str, type(None))


def check_solver(
    solver: Solver, problem: Problem | None = None, *, like: Array | None = None, iterations: int = 50
) -> None:
    """Check that a solver keeps the contract of :class:`recon.Solver`.

    Parameters
    ----------
    solver
        An instance.
    problem
        A small problem that it solves, in double precision; ``type(solver).example()`` by default.
    like
        An array to whose library and device the data are brought first.
    iterations
        After how many iterations the objective must be lower than at the start.

    Raises
    ------
    AssertionError
        One sentence that names the solver and the rule it breaks.
    """
    _check_class(solver)
    if problem is None:
        problem = type(solver).example()
    if not isinstance(problem, Problem):
        fail(type(solver), "give a Problem from example()")
    if like is not None:
        problem = _moved(problem, likes(like)[0])
    with quiet_division():
        state = _check_init(solver, problem)
        _check_step(solver, problem, state)
        _check_descent(solver, problem, state, iterations)
        _check_measure(solver, problem, state)
        _check_resume(solver, problem, state)
        _check_stop(solver, problem)
        _check_single(solver, problem)


def _check_class(solver: Solver) -> None:
    expect(solver, Solver)
    kind: Any = type(solver)
    if not _frozen(kind):
        fail(kind, "be a frozen dataclass", "Write @dataclass(frozen=True) above the class.")
    state: Any = kind.state_type
    if not (isinstance(state, type) and issubclass(state, State)):
        fail(kind, "name a subclass of recon.State as its state_type")
    if not _frozen(state):
        fail(state, "be a frozen dataclass", "Write @dataclass(frozen=True) above the class.")
    try:
        json.dumps(describe(solver))
        pickle.loads(pickle.dumps(solver))
    except Exception as error:
        fail(
            kind,
            f"have parameters that survive JSON and pickle, which raised {type(error).__name__}: {error}",
        )


def _frozen(kind: type) -> bool:
    """Whether a class is itself decorated as a frozen dataclass (not only one of its bases)."""
    own = vars(kind).get("__dataclass_params__")
    return own is not None and bool(own.frozen)


def _moved(problem: Problem, like: Any) -> Problem:
    """The problem with its data (and noise) in the library, device and precision of ``like``."""
    xp = namespace(like)
    real, wide = (xp.float32, xp.complex64) if at_precision(like, 0.0, 1.0) else (xp.float64, xp.complex128)

    def move(leaf: Any) -> Any:
        return from_numpy(as_numpy(leaf), like, dtype=wide if is_complex(leaf) else real)

    noise = problem.noise
    if isinstance(noise, tuple) or hasattr(noise, "shape"):
        noise = tmap(move, noise)
    return dataclasses.replace(problem, data=tmap(move, problem.data), noise=noise)


def _arrays(state: State) -> dict[str, Any]:
    return {item.name: getattr(state, item.name) for item in dataclasses.fields(state)}


def _same_states(a: State, b: State) -> bool:
    return type(a) is type(b) and all(same_bits(v, getattr(b, name)) for name, v in _arrays(a).items())


def _check_state(solver: Solver, problem: Problem, state: Any, call: str, iteration: int) -> None:
    if not isinstance(state, solver.state_type):
        fail(
            solver,
            f"give its state_type {solver.state_type.__name__} from {call}, not {type(state).__name__}",
        )
    if state.iteration != iteration or not isinstance(state.iteration, int):
        fail(solver, f"count its iterations: {call} must give iteration {iteration}, got {state.iteration!r}")
    for name, value in _arrays(state).items():
        for part in leaves(value):
            plain = type(part) in _PLAIN
            if not plain and not hasattr(part, "__array_namespace__") and not _is_array(part):
                fail(
                    solver,
                    f"keep arrays, plain numbers and tuples of them in its state: {name} holds a "
                    f"{type(part).__name__}",
                )
    check_kept(solver, f"{call}: x", state.x, problem.operator.domain, problem.data, problem.batch)


def _is_array(part: Any) -> bool:
    import array_api_compat

    return bool(array_api_compat.is_array_api_obj(part)) and getattr(part, "shape", None) is not None


def _check_init(solver: Solver, problem: Problem) -> State:
    guard = Guard(data=problem.data, noise=problem.noise)
    state = solver.init(problem, None, 0)
    guard.check(solver, "init")
    _check_state(solver, problem, state, "init", 0)
    if not _same_states(state, solver.init(problem, None, 0)):
        fail(solver, "be pure: a second init with the same seed gives other bits")
    x0 = tmap(lambda leaf: leaf + 0.5, problem.start())
    guard = Guard(data=problem.data, x0=x0)
    solver.step(problem, solver.init(problem, x0, 0))
    guard.check(solver, "init with x0, or the step after it,")
    if all(one.ndim for one in members(problem.operator.domain)):
        xp = namespace(*leaves(x0))
        wrong = tmap(lambda leaf: xp.concat([leaf, leaf], axis=-1), x0)
        try:
            solver.init(problem, wrong, 0)
        except ShapeError:
            return state
        except Exception as error:
            fail(solver, f"raise ShapeError in init for an x0 of wrong shape, not {type(error).__name__}")
        fail(solver, "raise ShapeError in init for an x0 of wrong shape", "Use problem.start(x0).")
    return state


def _check_step(solver: Solver, problem: Problem, state: State) -> None:
    for iteration in (1, 2, 3):
        parts = {
            "the data": problem.data,
            "the noise": problem.noise,
        }  # a state may have fields of these names
        guard = Guard(**parts, **_arrays(state))
        after = solver.step(problem, state)
        guard.check(solver, "step")
        _check_state(solver, problem, after, "step", iteration)
        if not _same_states(after, solver.step(problem, state)):
            fail(solver, "be pure: a second step from the same state gives other bits")
        state = after


def _run(solver: Solver, problem: Problem, state: State, steps: int) -> State:
    for _ in range(steps):
        state = solver.step(problem, state)
    return state


def _check_descent(solver: Solver, problem: Problem, state: State, iterations: int) -> None:
    first = solver.measure(problem, state).get("objective", math.nan)
    last = solver.measure(problem, _run(solver, problem, state, iterations)).get("objective", math.nan)
    if not last < first or not math.isfinite(last):
        fail(
            solver,
            f"have a lower, finite objective after {iterations} iterations: {last:.6g} against {first:.6g}",
            "Give a problem whose start is not its solution.",
        )


def _check_measure(solver: Solver, problem: Problem, state: State) -> None:
    state = _run(solver, problem, state, 4)
    guard = Guard(**{"the data": problem.data}, **_arrays(state))
    figures = solver.measure(problem, state)
    guard.check(solver, "measure")
    for name in ("objective", "loss"):
        if name not in figures:
            fail(solver, f'give "objective" and "loss" from measure: {name!r} is not there')
    numbers_only(solver, "measure", figures)
    loss = problem.loss.value(problem.operator @ state.x, problem.data)
    honest = {"loss": loss}
    if problem.prior is not None and problem.valued:  # without one, a solver may count a prior of its own
        honest["objective"] = loss + problem.penalty(state.x)
    for name, value in honest.items():
        if not (figures[name] == value or abs(figures[name] - value) <= 1e-8 * (abs(value) + 1e-12)):
            fail(solver, f"measure the {name} of the problem at x: {figures[name]:.9g} against {value:.9g}")


def _check_resume(solver: Solver, problem: Problem, state: State) -> None:
    middle = _run(solver, problem, state, 9)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "state.npz"
        save_state(path, middle, problem, solver)
        loaded = load_state(path, problem, solver)
    if not _same_states(middle, loaded):
        fail(solver, "have a state that a checkpoint gives back bit by bit")
    if not _same_states(_run(solver, problem, middle, 8), _run(solver, problem, loaded, 8)):
        fail(solver, "go on from a checkpoint bit by bit: 8 steps after loading differ")


def _check_stop(solver: Solver, problem: Problem) -> None:
    result = solve(problem, solver, stop=7, every=5)
    if getattr(result.state, "settled", False) and result.status is Status.CONVERGED:
        return  # a method that comes to an end of its own
    if result.iterations != 7 or result.status is not Status.MAX_ITERATIONS:
        fail(solver, f"stop when it is asked: stop=7 ended at {result.iterations} with {result.status.name}")


def _check_single(solver: Solver, problem: Problem) -> None:
    like = likes(problem.data)[-1]
    problem = _moved(problem, like)
    state = _run(solver, problem, solver.init(problem, None, 0), 3)
    _check_state(solver, problem, state, "a step in single precision", 3)
    xp = namespace(like)
    for name, value in _arrays(state).items():
        for part in leaves(value):
            if hasattr(part, "dtype") and part.dtype in (xp.float64, xp.complex128):
                fail(solver, f"keep single precision: its state's {name} became {part.dtype}")
