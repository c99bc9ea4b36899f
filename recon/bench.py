"""Benchmarks: one operation against peers and references, interleaved in one process.

A plugin announces ``Entry("bench", "tomography", "package.module:cases", ...)``; ``cases()`` returns
:class:`Case` objects. Timings are CPU time of the process (machines are shared), medians over interleaved
rounds, and what is reported is the ratio peer / ours with its spread. Nothing here is asserted in tests.

    round 1:  ours ... ours, peer A ... peer A, peer B ... peer B
    round 2:  peer A, peer B, ours                        the order rotates, so that none is always first
    ratio of round r = seconds of the peer in round r / seconds of ours in round r
"""

from __future__ import annotations

import gc
import math
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from recon.errors import ParameterError

__all__ = ["Case", "Measurement", "Spread", "Timing", "measure"]

SHORTEST = 0.02  # seconds of CPU time of one sample: fast operations are repeated until they last so long


@dataclass(frozen=True)
class Case:
    """One operation to time.

    Parameters
    ----------
    name
        What is timed, with its size: ``"parallel forward 512^2 x 180 float32"``.
    ours
        The operation, without arguments; its set-up is done.
    peers
        Name (with version) to the same operation in another library or a reference.
    note
        What differs between them, if anything.
    """

    name: str
    ours: Callable[[], Any]
    peers: Mapping[str, Callable[[], Any]] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True)
class Spread:
    """Median, smallest and largest of some numbers."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: tuple[float, ...]) -> Spread:
        return cls(statistics.median(values), min(values), max(values))


@dataclass(frozen=True)
class Timing:
    """CPU seconds of one call of one operation, one number per round; ``error`` says why there are none."""

    name: str
    seconds: tuple[float, ...] = ()
    repeats: int = 1
    error: str = ""

    @property
    def spread(self) -> Spread | None:
        return Spread.of(self.seconds) if self.seconds else None

    def ratio(self, ours: Timing) -> Spread | None:
        """Seconds of this one per second of ours, round by round; None where either failed."""
        if not self.seconds or not ours.seconds:
            return None
        return Spread.of(tuple(a / b for a, b in zip(self.seconds, ours.seconds, strict=True)))


@dataclass(frozen=True)
class Measurement:
    """What timing one case gave."""

    name: str
    ours: Timing
    peers: tuple[Timing, ...]
    note: str = ""


def measure(case: Case, rounds: int = 7) -> Measurement:
    """Time our operation and its peers in interleaved rounds.

    Every operation is called once before (compilation, caches), then so often per round that a sample lasts
    20 ms of CPU time or more. One that raises gets the reason in its ``error`` and leaves the others alone.

    Parameters
    ----------
    case
        What to time.
    rounds
        Samples per operation, >= 1.

    Returns
    -------
    Measurement
    """
    if rounds < 1:
        raise ParameterError(f"measure.rounds must be >= 1, got {rounds}. Seven give a fair median.")
    runners = [_Runner("ours", case.ours), *(_Runner(name, peer) for name, peer in case.peers.items())]
    for runner in runners:
        runner.prepare()
    for turn in range(rounds):
        first = turn % len(runners)
        for runner in runners[first:] + runners[:first]:
            runner.sample()
    ours, *peers = (runner.timing() for runner in runners)
    return Measurement(case.name, ours, tuple(peers), case.note)


class _Runner:
    """One operation with the samples it has given so far; after an error it gives no more."""

    def __init__(self, name: str, operation: Callable[[], Any]) -> None:
        self.name, self.operation = name, operation
        self.repeats, self.error = 1, ""
        self.samples: list[float] = []

    def prepare(self) -> None:
        """Call once untimed, then find how often a sample must call."""
        self._cpu(1)
        while not self.error:
            started = time.perf_counter()
            seconds = self._cpu(self.repeats)
            # an operation that only waits uses no CPU time: the wall clock ends the search
            if seconds >= SHORTEST or time.perf_counter() - started > 25 * SHORTEST:
                break
            grow = 1.2 * SHORTEST / seconds if seconds > 0 else 4.0
            self.repeats = math.ceil(self.repeats * min(max(grow, 2.0), 100.0))

    def sample(self) -> None:
        seconds = self._cpu(self.repeats)
        # the clock's own step, in case nothing was measurable: ratios stay finite
        self.samples.append(max(seconds, 1e-9) / self.repeats)

    def timing(self) -> Timing:
        if self.error:
            return Timing(self.name, error=self.error)
        return Timing(self.name, tuple(self.samples), self.repeats)

    def _cpu(self, repeats: int) -> float:
        """CPU seconds of so many calls, without the garbage collector; 0 after an error."""
        if self.error:
            return 0.0
        collecting = gc.isenabled()
        gc.disable()
        try:
            started = time.process_time()
            for _ in range(repeats):
                self.operation()
            return time.process_time() - started
        except Exception as error:
            self.error = f"{type(error).__name__}: {error}"
            return 0.0
        finally:
            if collecting:
                gc.enable()
