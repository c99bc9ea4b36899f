"""Observers: progress on the terminal, JSON lines, states saved on the way, or any function.

An observer overrides any of ``start(problem, solver, state)``, ``update(state, record)`` (every iteration; ``record``
is None between measurements) and ``finish(result)`` (``result`` is None when the run was broken off). A plain
function ``f(state, record)`` is an observer too. Observers never change a run.
"""

from __future__ import annotations

import contextlib
import errno
import io
import json
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from recon.checkpoint import fingerprint, write_state
from recon.errors import DataError, ParameterError
from recon.problem import Problem
from recon.result import Result
from recon.solver import Record, Solver, State

__all__ = ["BetweenSteps", "JsonLines", "Observer", "Progress", "SaveEvery", "as_observers"]


class Observer:
    """Base with three empty methods; override what you need. ``history`` holds the records so far."""

    history: Sequence[Record] = ()

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
    if not isinstance(given, Iterable):
        raise ParameterError(
            f"solve.observers must be a list, got {type(given).__name__}. Write observers=[...]."
        )
    made = []
    for one in given:
        if isinstance(one, type):
            raise ParameterError(
                f"An observer must be an Observer or a function, got the class {one.__name__}. "
                "Make an instance."
            )
        if isinstance(one, Observer):
            made.append(one)
        elif callable(one):
            made.append(_Call(one))
        else:
            raise ParameterError(f"An observer must be an Observer or a function, got {type(one).__name__}.")
    return made


class BetweenSteps(Observer):
    """Let the first Ctrl-C wait for the end of the step; a second one does not wait.

    A step that is broken off anywhere leaves nothing behind, but the exception may be lost on the way through
    compiled code. Only in the main thread, and only where Ctrl-C has Python's own handler.
    """

    def __init__(self) -> None:
        self._asked = False
        self._before: Any = None

    def start(self, problem: Problem, solver: Solver, state: State) -> None:
        usual = signal.getsignal(signal.SIGINT) is signal.default_int_handler
        if usual and threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._ask)

    def _ask(self, number: int, frame: Any) -> None:
        if self._asked:
            signal.default_int_handler(number, frame)
        self._asked = True

    def update(self, state: State, record: Record | None) -> None:
        if self._asked:
            raise KeyboardInterrupt

    def finish(self, result: Result | None) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
            self._before = None


class Progress(Observer):
    """A rich progress bar with the objective on standard error, shown after ``delay`` seconds, to terminals only.

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
        self._due, self._bar = time.perf_counter() + self.delay, None
        self._name = self.label or type(solver).__name__

    def update(self, state: State, record: Record | None) -> None:
        if self._bar is None:
            if time.perf_counter() < self._due:
                return
            self._open()
            if self._bar is None:
                return
        shown = {"completed": state.iteration}
        if record is not None and "objective" in record.values:
            self._bar.update(self._task, objective=f"{record['objective']:.6g}", **shown)
        else:
            self._bar.update(self._task, **shown)

    def _open(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        screen = Console(stderr=True)
        if not (screen.is_terminal or screen.is_jupyter):
            self._due = math.inf  # in a log a bar is noise
            return
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("objective {task.fields[objective]}"),
        )
        self._bar = Progress(*columns, console=screen, transient=True)
        self._task = self._bar.add_task(self._name, total=self.total, objective="...")
        self._bar.start()

    def finish(self, result: Result | None) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


class JsonLines(Observer):
    """One JSON object per record, appended to a file that can be followed while the run goes on.

    NaN and infinity, which JSON does not have, become null. A line is there whole or not at all.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._file: io.FileIO | None = None

    def start(self, problem: Problem, solver: Solver, state: State) -> None:
        with self._faults():
            self._file = io.FileIO(self.path, "a")

    def update(self, state: State, record: Record | None) -> None:
        if record is None or self._file is None:
            return
        values = {name: value if math.isfinite(value) else None for name, value in record.values.items()}
        line = {"iteration": record.iteration, "seconds": round(record.seconds, 6), **values}
        text = (json.dumps(line) + "\n").encode()
        with self._faults():
            before = os.fstat(self._file.fileno()).st_size
            if self._file.write(text) < len(text):  # the disk took the first part only
                self._file.truncate(before)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def finish(self, result: Result | None) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    @contextlib.contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise DataError(
                f"{self.path} cannot be written: {(error.strerror or str(error)).lower()}."
            ) from error


class SaveEvery(Observer):
    """Write state and history to ``path`` every ``every`` iterations and when the run ends.

    A run that is broken off (Ctrl-C, an exception) is saved too; ``at_end=False`` saves no other end.

    The write is atomic: ``path`` always holds a complete state. Go on with
    ``solve(problem, solver, state=load_state(path, problem, solver), history=load_history(path))``: the result
    is bit-identical to that of an uninterrupted run.
    """

    def __init__(self, path: str | Path, every: int = 50, *, at_end: bool = True) -> None:
        if isinstance(every, bool) or not isinstance(every, int) or every < 1:
            raise ParameterError(f"SaveEvery.every must be an integer >= 1, got {every!r}.")
        self.path, self.every, self.at_end = Path(path), every, at_end
        self._last: State | None = None

    def start(self, problem: Problem, solver: Solver, state: State) -> None:
        self._run = fingerprint(problem, solver)
        self._last, self._saved = state, state.iteration

    def update(self, state: State, record: Record | None) -> None:
        self._last = state
        if state.iteration % self.every == 0:
            self._save(state)

    def finish(self, result: Result | None) -> None:
        if self._last is None or self._last.iteration == self._saved or (result and not self.at_end):
            return
        # A broken-off run already has an exception under way; a full disk must not hide it.
        with contextlib.suppress(DataError) if result is None else contextlib.nullcontext():
            self._save(self._last)

    def _save(self, state: State) -> None:
        write_state(self.path, state, self._run, self.history)
        self._saved = state.iteration
