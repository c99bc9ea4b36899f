"""Observers: progress on the terminal, JSON lines, states saved on the way, or any function.

An observer has any of ``start(problem, solver, state)``, ``update(state, record)`` (every iteration; ``record``
is None between measurements) and ``finish(result)`` (``result`` is None when the run was broken off). A plain
function ``f(state, record)`` is an observer too. Observers never change a run.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO, Any

from recon.checkpoint import save_state
from recon.errors import DataError, ParameterError
from recon.problem import Problem
from recon.solver import Record, Result, Solver, State

__all__ = ["JsonLines", "Observer", "Progress", "SaveEvery", "as_observers"]


class Observer:
    """Base with three empty methods; override what you need."""

    def start(self, problem: Problem, solver: Solver, state: State) -> None:
        """Before the first step."""

    def update(self, state: State, record: Record | None) -> None:
        """After each step."""

    def finish(self, result: Result | None) -> None:
        """After the last step; None when the run was broken off by an exception or Ctrl-C."""


class _Call(Observer):
    def __init__(self, function: Callable[[State, Record | None], Any]) -> None:
        self.function = function

    def update(self, state: State, record: Record | None) -> None:
        self.function(state, record)


def as_observers(given: Iterable[Any]) -> list[Observer]:
    """Observers from observers and plain functions."""
    made = []
    for one in given:
        if isinstance(one, Observer):
            made.append(one)
        elif callable(one):
            made.append(_Call(one))
        else:
            raise ParameterError(f"An observer must be an Observer or a function, got {type(one).__name__}.")
    return made


class Progress(Observer):
    """A rich progress bar with the objective, shown after ``delay`` seconds.

    Parameters
    ----------
    total
        Iterations expected, for the bar; None shows a pulse.
    delay
        Seconds of work before anything is drawn.
    label
        Text in front of the bar; the solver's name by default.
    """

    def __init__(self, total: int | None = None, *, delay: float = 1.0, label: str | None = None) -> None:
        self.total, self.delay, self.label = total, delay, label
        self._bar: Any = None

    def start(self, problem: Problem, solver: Solver, state: State) -> None:
        import time

        self._began, self._bar = time.perf_counter(), None
        self._name = self.label or type(solver).__name__
        self._clock = time.perf_counter

    def update(self, state: State, record: Record | None) -> None:
        if self._bar is None:
            if self._clock() - self._began < self.delay:
                return
            self._open()
        shown = {"completed": state.iteration}
        if record is not None and "objective" in record.values:
            self._bar.update(self._task, objective=f"{record['objective']:.6g}", **shown)
        else:
            self._bar.update(self._task, **shown)

    def _open(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("objective {task.fields[objective]}"),
        )
        self._bar = Progress(*columns, console=Console(stderr=True), transient=True)
        self._task = self._bar.add_task(self._name, total=self.total, objective="...")
        self._bar.start()

    def finish(self, result: Result | None) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


class JsonLines(Observer):
    """One JSON object per record, appended to a file that can be followed while the run goes on."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._file: IO[str] | None = None

    def start(self, problem: Problem, solver: Solver, state: State) -> None:
        try:
            self._file = self.path.open("a", encoding="utf-8")
        except OSError as error:
            raise DataError(
                f"{self.path} cannot be written: {(error.strerror or str(error)).lower()}."
            ) from error

    def update(self, state: State, record: Record | None) -> None:
        if record is None or self._file is None:
            return
        line = {"iteration": record.iteration, "seconds": round(record.seconds, 6), **record.values}
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()

    def finish(self, result: Result | None) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


class SaveEvery(Observer):
    """Write the state to ``path`` every ``every`` iterations and when the run ends, broken off or not.

    The write is atomic: ``path`` always holds a complete state. Resume with
    ``solve(problem, solver, state=load_state(path, problem, solver))``: the result is bit-identical.
    """

    def __init__(self, path: str | Path, every: int = 50) -> None:
        if every < 1:
            raise ParameterError(f"SaveEvery.every must be >= 1, got {every}.")
        self.path, self.every = Path(path), every

    def start(self, problem: Problem, solver: Solver, state: State) -> None:
        self._problem, self._solver, self._last, self._saved = problem, solver, state, state.iteration

    def update(self, state: State, record: Record | None) -> None:
        self._last = state
        if state.iteration % self.every == 0:
            self._save()

    def finish(self, result: Result | None) -> None:
        if self._last.iteration == self._saved:
            return
        # A broken-off run already has an exception under way; a full disk must not hide it.
        with contextlib.suppress(DataError) if result is None else contextlib.nullcontext():
            self._save()

    def _save(self) -> None:
        save_state(self.path, self._last, self._problem, self._solver)
        self._saved = self._last.iteration
