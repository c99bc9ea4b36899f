"""Measuring: who is called when, and what is reported of those that fail. No time is asserted."""

from __future__ import annotations

import gc
import itertools

import pytest

from recon import bench
from recon.bench import Case, Spread, Timing, measure
from recon.errors import ParameterError


@pytest.fixture(autouse=True)
def short_samples(monkeypatch):
    monkeypatch.setattr(bench, "SHORTEST", 1e-4)


def work(n: int = 300) -> int:
    return sum(range(n))


def test_rounds_are_interleaved_and_rotate(monkeypatch):
    calls: list[str] = []
    ticks = itertools.count()

    def clock() -> float:  # every sample lasts exactly one second
        return float(next(ticks))

    monkeypatch.setattr(bench.time, "process_time", clock)
    case = Case(
        "x", lambda: calls.append("o"), {"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}
    )
    found = measure(case, rounds=3)
    assert "".join(calls) == "oo" + "aa" + "bb" + "oab" + "abo" + "boa"  # warm up, calibrate, three rounds
    assert found.ours.seconds == (1.0, 1.0, 1.0)
    assert found.peers[0].ratio(found.ours) == Spread(1.0, 1.0, 1.0)


def test_fast_operations_are_repeated():
    found = measure(Case("x", work, {"slower": lambda: work(3000)}), rounds=2)
    assert found.ours.repeats > 1
    assert len(found.ours.seconds) == 2
    assert all(seconds > 0 for seconds in found.ours.seconds)


def test_ratios_are_taken_round_by_round():
    ours, peer = Timing("ours", (1.0, 2.0, 4.0)), Timing("peer", (3.0, 2.0, 8.0))
    assert peer.ratio(ours) == Spread(median=2.0, low=1.0, high=3.0)
    assert peer.spread == Spread(3.0, 2.0, 8.0)


def test_one_that_raises_leaves_the_others_alone():
    state = {"left": 5}

    def fails_late():
        state["left"] -= 1
        if not state["left"]:
            raise MemoryError("full")
        work(100_000)

    def fails():
        raise ValueError("no such size")

    found = measure(Case("x", work, {"early": fails, "late": fails_late, "fine": work}), rounds=5)
    early, late, fine = found.peers
    assert early == Timing("early", error="ValueError: no such size")
    assert late.error == "MemoryError: full"
    assert (late.spread, late.ratio(found.ours)) == (None, None)
    assert len(fine.seconds) == 5
    assert gc.isenabled()


def test_ours_may_fail_too():
    found = measure(Case("x", lambda: 1 / 0, {"peer": work}), rounds=1)
    assert found.ours.error == "ZeroDivisionError: division by zero"
    assert found.peers[0].ratio(found.ours) is None


def test_an_operation_that_uses_no_cpu_ends(monkeypatch):
    monkeypatch.setattr(bench.time, "process_time", lambda: 0.0)
    found = measure(Case("x", work), rounds=2)
    assert found.ours.seconds
    assert all(seconds > 0 for seconds in found.ours.seconds)


def test_rounds_must_be_positive():
    with pytest.raises(
        ParameterError, match=r"measure.rounds must be >= 1, got 0. Seven give a fair median."
    ):
        measure(Case("x", work), rounds=0)
