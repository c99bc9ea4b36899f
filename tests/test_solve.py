"""The loop and what hangs on it: solve and iterate, stopping rules, observers, checkpoints, results."""

from __future__ import annotations

import dataclasses
import errno
import functools
import io
import json
import math
import os
import pickle
import signal
import sys
import threading
import zipfile
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from recon_proximal import Cgls, Fista, Pdhg

import recon
from recon import L1, TV, ArraySpec, Identity, Matrix, Problem, Solver, State, Status
from recon.checkpoint import data_digest, fingerprint, load_history, load_state, save_state
from recon.errors import (
    ArrayError,
    CapabilityError,
    CheckpointError,
    ConvergenceError,
    DataError,
    ParameterError,
    ShapeError,
)
from recon.observers import BetweenSteps, JsonLines, Observer, Progress, SaveEvery, as_observers
from recon.solver import Record, relative_change
from recon.stopping import Change, Discrepancy, Gap, MaxIterations, MaxSeconds, Target, as_rule
from recon.storage import atomic, make_folder, unbroken

solve_10 = functools.partial(recon.solve, every=10)
RNG = np.random.default_rng(11)
MATRIX, DATA = RNG.standard_normal((12, 8)), RNG.standard_normal(12)


def problem(**changes) -> Problem:
    return Problem(**{"operator": Matrix(MATRIX), "data": DATA, "prior": L1(0.1), **changes})


@dataclass(frozen=True)
class Halving(Solver):
    """x -> x / 2 from ones, with figures that a test can choose; stands still from iteration ``freeze`` on."""

    freeze: int = 10**9
    fail_at: int = 10**9
    figures: str = "objective loss change"

    def init(self, problem, x0=None, seed=0):
        return State(0, problem.start(x0) + 1.0)

    def step(self, problem, state):
        if state.iteration + 1 == self.fail_at:
            raise RuntimeError("a bug in a step")
        x = state.x if state.iteration >= self.freeze else 0.5 * state.x
        return State(state.iteration + 1, x)

    def measure(self, problem, state):
        level = float(abs(state.x).max())
        moving = 1.0 if state.iteration <= self.freeze else 0.0
        known = {"objective": level, "loss": level, "gap": level, "change": moving}
        return {name: known[name] for name in self.figures.split()}


def still(**changes) -> Problem:
    return Problem(**{"operator": Identity(ArraySpec((3,))), "data": np.zeros(3), **changes})


def iterations(result) -> list[int]:
    return [record.iteration for record in result.history]


# -- what is given to solve ----------------------------------------------------------------------------------


def test_wrong_parts_are_one_sentence():
    for given in (None, DATA, "problem"):
        with pytest.raises(ParameterError, match=r"solve.problem must be a Problem, got .* Write Problem\("):
            recon.solve(given)
    with pytest.raises(ParameterError, match=r"got an array of shape \(12,\)"):
        recon.solve(DATA, Fista())
    with pytest.raises(ParameterError, match=r"solve.solver must be a Solver, got Fista. Make an instance"):
        recon.solve(problem(), Fista)
    with pytest.raises(ParameterError, match=r"solve.solver must be a Solver, got 'fista'"):
        recon.solve(problem(), "fista")
    with pytest.raises(ParameterError, match=r"solve.solver must be a Solver, got 'fista'"):
        recon.iterate(problem(), "fista")

    class Plain(Solver):
        init = Halving.init
        step = Halving.step

    with pytest.raises(
        ParameterError, match=r"must be a dataclass, got the plain class Plain. Write @dataclass"
    ):
        recon.solve(problem(), Plain())


@pytest.mark.parametrize("every", [0, -1, 1.5, True, "10"])
def test_every_is_checked(every):
    with pytest.raises(ParameterError, match=r"solve.every must be an integer >= 1, got "):
        recon.solve(problem(), Fista(), every=every)


@pytest.mark.parametrize("seed", [-1, 1.5, True, "a"])
def test_seed_is_checked(seed):
    with pytest.raises(ParameterError, match=r"solve.seed must be an integer >= 0, got "):
        recon.solve(problem(), Fista(), seed=seed)


@pytest.mark.parametrize("stop", [True, 1.5, "soon", [3], -1])
def test_stop_is_checked(stop):
    rule = r"solve.stop must be a stopping rule or a number of iterations|MaxIterations.limit must be >= 0, got -1"
    with pytest.raises(ParameterError, match=rule):
        recon.solve(problem(), Fista(), stop=stop)


def test_arrays_are_checked():
    with pytest.raises(ShapeError, match=r"Problem.data must have shape \(..., 12\), got \(11,\)"):
        problem(data=DATA[:11])
    with pytest.raises(ArrayError, match=r"Problem.data must be finite, got 1 of 12 entries NaN or infinite"):
        problem(data=np.where(np.arange(12) == 3, np.nan, DATA))
    with pytest.raises(ArrayError, match=r"must be real floating point, got complex128"):
        problem(data=DATA + 0j)
    with pytest.raises(ArrayError, match=r"must be real floating point, got int64"):
        problem(data=DATA.astype(np.int64))
    with pytest.raises(
        ArrayError, match=r"must be an array of NumPy, CuPy, torch or another array-API library, got list"
    ):
        problem(data=DATA.tolist())
    for x0, rule in {
        "torch": r"Arrays of one call must come from one library, got numpy and torch",
        "short": r"The start x0 must have shape \(..., 8\), got \(7,\)",
        "batch": r"The start x0 must have the batch axes \(\) of the data, got \(2,\)",
        "single": r"The start x0 must have the precision of the data, float64, got float32",
        "nan": r"The start x0 must be finite",
        "int": r"The start x0 must be real floating point, got int64",
    }.items():
        given = {
            "torch": torch.zeros(8, dtype=torch.float64),
            "short": np.zeros(7),
            "batch": np.zeros((2, 8)),
            "single": np.zeros(8, np.float32),
            "nan": np.full(8, np.nan),
            "int": np.zeros(8, int),
        }[x0]
        with pytest.raises((ArrayError, ShapeError), match=rule):
            recon.solve(problem(), Fista(), x0=given)
    with pytest.raises(
        ArrayError, match=r"Arrays of one call must come from one library, got numpy and torch"
    ):
        recon.solve(problem(data=torch.asarray(DATA)), Fista(), x0=np.zeros(8))


def test_states_are_checked():
    result = recon.solve(problem(), Fista(), stop=3)
    with pytest.raises(
        ParameterError, match=r"solve.state must be a CglsState of Cgls, got FistaState. Continue"
    ):
        recon.solve(problem(prior=None), Cgls(), state=result.state)
    with pytest.raises(ParameterError, match=r"solve.state must be a FistaState of Fista, got Result"):
        recon.solve(problem(), Fista(), state=result)
    with pytest.raises(ParameterError, match=r"solve.x0 must be None where a state is given, got both"):
        recon.solve(problem(), Fista(), state=result.state, x0=result.x)
    with pytest.raises(ParameterError, match=r"solve.state must be"):
        recon.iterate(problem(), Fista(), state=3)


def test_observers_are_checked():
    with pytest.raises(
        ParameterError, match=r"solve.observers must be a list, got Progress. Write observers=\["
    ):
        recon.solve(problem(), Fista(), observers=Progress())
    with pytest.raises(ParameterError, match=r"An observer must be an Observer or a function, got int"):
        recon.solve(problem(), Fista(), observers=[3])
    with pytest.raises(ParameterError, match=r"got the class Progress. Make an instance"):
        recon.solve(problem(), Fista(), observers=[Progress])


# -- the loop ------------------------------------------------------------------------------------------------


def test_iterate_never_stops_by_itself_and_goes_on_from_a_state():
    states = recon.iterate(still(), Halving())
    first = [next(states) for _ in range(600)]
    assert [state.iteration for state in first] == list(range(1, 601))
    again = recon.iterate(still(), Halving(), first[9])
    assert next(again).iteration == 11
    assert np.array_equal(next(again).x, first[11].x)


def test_records_are_every_so_often_and_at_the_end():
    result = solve_10(still(), Halving(), stop=17)
    assert result.iterations == 17
    assert iterations(result) == [0, 10, 17]
    assert iterations(solve_10(still(), Halving(), stop=4, every=1)) == [0, 1, 2, 3, 4]
    assert iterations(solve_10(still(), Halving(), stop=4, every=100)) == [0, 4]
    assert iterations(solve_10(still(), Halving(), stop=0)) == [0]
    assert result.status is Status.MAX_ITERATIONS


def test_a_start_from_x0_and_the_default_rule():
    result = solve_10(still(), Halving(freeze=0), x0=np.full(3, 4.0))
    assert np.array_equal(result.x, np.full(3, 5.0))
    assert result.provenance["stop"] == "MaxIterations(limit=500) | Change(tol=1e-05, patience=3)"
    assert result.status is Status.CONVERGED
    assert iterations(result) == [0, 10, 20, 30]


def test_going_on_counts_iterations_in_all_and_keeps_the_history():
    straight = solve_10(problem(), Fista(), stop=40)
    part = solve_10(problem(), Fista(), stop=17)
    rest = solve_10(problem(), Fista(), stop=40, state=part.state)
    assert rest.iterations == 40
    assert rest.x.tobytes() == straight.x.tobytes()
    assert iterations(rest) == [17, 20, 30, 40]
    rest = solve_10(problem(), Fista(), stop=40, state=part.state, history=part.history)
    assert iterations(rest) == [0, 10, 17, 20, 30, 40]
    assert rest.seconds >= part.seconds
    assert all(a.seconds <= b.seconds for a, b in zip(rest.history, rest.history[1:], strict=False))
    done = solve_10(problem(), Fista(), stop=30, state=rest.state, history=rest.history)
    assert (done.iterations, done.status) == (40, Status.MAX_ITERATIONS)
    lower = solve_10(problem(), Fista(), stop=15, state=part.state, history=part.history[:1])
    assert iterations(lower) == [0, 17]


def test_a_rule_that_looks_back_stops_a_continued_run_where_it_stops_a_straight_one():
    """Change needs three quiet records; those before the break must count."""
    solver = Halving(freeze=12)
    straight = solve_10(still(), solver)
    assert iterations(straight) == [0, 10, 20, 30, 40]
    broken = solve_10(still(), solver, stop=25)
    records = [record for record in broken.history if record.iteration % 10 == 0]
    rest = solve_10(still(), solver, state=broken.state, history=records)
    assert (rest.iterations, rest.status) == (straight.iterations, straight.status)
    assert iterations(rest) == iterations(straight)
    later = solve_10(still(), solver, state=broken.state)
    assert later.iterations == 40  # by chance of the record at 25


def test_records_after_the_state_are_dropped():
    part = solve_10(still(), Halving(), stop=20)
    early = solve_10(still(), Halving(), stop=15).state
    assert iterations(solve_10(still(), Halving(), stop=30, state=early, history=part.history)) == [
        0,
        10,
        20,
        30,
    ]


def test_a_diverging_run_is_a_status_without_warnings():
    result = recon.solve(problem(data=1e300 * DATA), Fista(step_size=1e6), stop=50)
    assert result.status is Status.DIVERGED
    assert not math.isfinite(result.objective)
    with pytest.raises(
        ConvergenceError, match=r"Fista ended with status DIVERGED after \d+ iterations. The iterates"
    ):
        result.check()


def test_a_start_at_the_solution_of_the_data_term_is_no_divergence():
    """The loss begins at rounding and rises to what the prior asks for."""
    square = MATRIX[:8] + 3.0 * np.eye(8)
    made = Problem(Matrix(square), DATA[:8], L1(0.5))
    result = recon.solve(made, Fista(), x0=np.linalg.solve(square, DATA[:8]), stop=2000)
    assert 0.0 < result.history[0]["loss"] < 1e-20 < 1e-6 < result.history[-1]["loss"]
    assert result.status is Status.MAX_ITERATIONS
    np.testing.assert_allclose(result.x, recon.solve(made, Fista(), stop=2000).x, atol=1e-3)


def test_provenance():
    result = recon.solve(problem(), Fista(restart=False), stop=1, seed=4)
    assert dict(result.provenance) == {
        "recon": recon.__version__,
        "seed": 4,
        "parameters": {"step_size": None, "restart": False, "line_search": False},
        "stop": "MaxIterations(limit=1)",
    }
    assert recon.solve(problem(), stop=1).provenance["chosen"].startswith("ActiveSet: ")


# -- stopping rules ------------------------------------------------------------------------------------------


def records(**series) -> list[Record]:
    count = len(next(iter(series.values())))
    return [
        Record(10 * k, float(k), {name: values[k] for name, values in series.items()}) for k in range(count)
    ]


def test_change_needs_patience_in_a_row():
    rule = Change(1e-3)
    quiet, loud = 1e-4, 1.0
    for changes, ends in {
        (quiet,): False,
        (quiet, quiet): False,
        (quiet, quiet, quiet): True,
        (quiet, quiet, loud): False,
        (quiet, loud, quiet, quiet): False,
        (loud, quiet, quiet, quiet): True,
        (quiet, quiet, math.nan): False,
    }.items():
        found = rule.decide(still(), records(change=changes))
        assert found is (Status.CONVERGED if ends else None), changes
    assert Change(1e-3, patience=1).decide(still(), records(change=(quiet,))) is Status.CONVERGED
    assert rule.decide(still(), records(objective=(1.0, 1.0, 1.0))) is None
    first = [Record(0, 0.0, {}), *records(change=(quiet, quiet))]
    assert rule.decide(still(), first) is None


def test_gap_is_relative_to_the_objective():
    rule = Gap(0.1)
    assert rule.decide(still(), records(gap=[1.0], objective=[10.0])) is Status.CONVERGED
    assert rule.decide(still(), records(gap=[1.0], objective=[-10.0])) is Status.CONVERGED
    assert rule.decide(still(), records(gap=[1.01], objective=[10.0])) is None
    assert rule.decide(still(), records(objective=[10.0])) is None
    assert rule.decide(still(), records(objective=[math.inf])) is None
    assert rule.decide(still(), records(gap=[math.nan], objective=[1.0])) is None
    assert rule.decide(still(), records(gap=[1.0])) is None


def test_target():
    assert Target(2.0).decide(still(), records(objective=[2.0])) is Status.TARGET
    assert Target(2.0).decide(still(), records(objective=[2.1])) is None
    assert Target(2.0).decide(still(), records(objective=[math.nan])) is None
    assert Target(2.0).decide(still(), records(loss=[1.0])) is None
    result = recon.solve(still(), Halving(), stop=Target(0.1) | MaxIterations(50), every=1)
    assert (result.status, result.iterations) == (Status.TARGET, 4)


def test_max_seconds():
    assert MaxSeconds(2.0).decide(still(), records(loss=[0.0] * 3)) is Status.TIME
    assert MaxSeconds(2.1).decide(still(), records(loss=[0.0] * 3)) is None
    result = recon.solve(still(), Halving(), stop=MaxSeconds(1e-9))
    assert (result.status, result.iterations) == (Status.TIME, 0)


def test_discrepancy_meets_the_noise_level():
    y = np.full(8, 3.0)

    def decide(loss, **parts):
        made = Problem(Identity(ArraySpec((8,), parts.pop("kind", "real"))), **parts)
        rule = Discrepancy(1.5)
        rule.check(made)
        return rule.decide(made, records(loss=[loss]))

    level = 0.5 * 1.5**2 * 0.2**2 * 8
    assert decide(level * 1.0001, data=y, noise=0.2) is None
    assert decide(level * 0.9999, data=y, noise=0.2) is Status.DISCREPANCY
    sigmas = np.linspace(0.1, 0.8, 8)
    level = 0.5 * 1.5**2 * float((sigmas**2).sum())
    assert decide(level * 1.0001, data=y, noise=sigmas) is None
    assert decide(level * 0.9999, data=y, noise=sigmas) is Status.DISCREPANCY
    assert decide(level * 0.9999, data=torch.asarray(y), noise=torch.asarray(sigmas)) is Status.DISCREPANCY
    level = 0.5 * 1.5**2 * 2 * 0.2**2 * 8  # sigma in the real and in the imaginary part
    assert decide(level * 1.0001, data=y + 1j, noise=0.2, kind="complex") is None
    assert decide(level * 0.9999, data=y + 1j, noise=0.2, kind="complex") is Status.DISCREPANCY
    assert decide(level * 0.4999, data=np.stack([y, y]), noise=0.2) is Status.DISCREPANCY  # a batch of two


def test_discrepancy_of_tuples():
    two = recon.vstack(Identity(ArraySpec((2,))), Identity(ArraySpec((2,))))
    y = (np.ones(2), np.ones(2))
    for noise, energy in ((0.1, 0.04), ((np.full(2, 0.1), np.array([0.2, 0.3])), 0.02 + 0.04 + 0.09)):
        made = Problem(two, y, noise=noise)
        assert Discrepancy().decide(made, records(loss=[0.5 * energy * 1.001])) is None
        assert Discrepancy().decide(made, records(loss=[0.5 * energy * 0.999])) is Status.DISCREPANCY


def test_discrepancy_is_checked_before_the_run():
    with pytest.raises(ParameterError, match=r"Discrepancy needs the noise level: .* got None"):
        recon.solve(problem(), Fista(), stop=MaxIterations(3) | Change() & Discrepancy())
    few = problem(operator=Matrix(MATRIX[:2]), data=DATA[:2], noise="estimate")
    with pytest.raises(ParameterError, match=r"Noise can be estimated from three entries or more"):
        recon.solve(few, Fista(), stop=Discrepancy())
    assert recon.solve(
        problem(noise="estimate"), Fista(), stop=MaxIterations(3) | Discrepancy(5.0)
    ).status.good
    weighted = recon.WeightedLeastSquares(np.ones(12))
    with pytest.raises(
        ParameterError, match=r"Discrepancy needs LeastSquares, got WeightedLeastSquares. Use Change"
    ):
        recon.solve(problem(loss=weighted, noise=0.1), Fista(), stop=Discrepancy())
    assert Discrepancy().decide(problem(noise=1.0), records(objective=[0.0])) is None


def test_rules_join():
    def ends(rule, **options):
        result = solve_10(still(), Halving(freeze=12), stop=rule, **options)
        return result.iterations, result.status

    assert ends(MaxIterations(17) | Change()) == (17, Status.MAX_ITERATIONS)
    assert ends(Change() | MaxIterations(100)) == (40, Status.CONVERGED)
    assert ends(MaxIterations(23) & MaxIterations(37)) == (37, Status.MAX_ITERATIONS)
    assert ends(Change() & MaxIterations(55)) == (55, Status.CONVERGED)
    assert ends((MaxIterations(13) & Target(-1.0)) | MaxIterations(47), every=20) == (
        47,
        Status.MAX_ITERATIONS,
    )
    assert ends(MaxIterations(13) & (Target(-1.0) | MaxIterations(47)), every=20)[0] == 47
    assert ends(Target(-1.0) | MaxIterations(5), every=1000) == (5, Status.MAX_ITERATIONS)


def test_rules_say_what_they_are():
    a, b, c = MaxIterations(1), Change(0.1), Target()
    assert repr(a | b & c) == "MaxIterations(limit=1) | Change(tol=0.1, patience=3) & Target(value=0.0)"
    assert repr((a | b) & c) == "(MaxIterations(limit=1) | Change(tol=0.1, patience=3)) & Target(value=0.0)"
    assert (a | b & c).horizons() == {1}
    assert Change().horizons() == frozenset()
    with pytest.raises(TypeError, match=r"unsupported operand type\(s\) for \|: 'MaxIterations' and 'int'"):
        a | 5
    with pytest.raises(TypeError, match="unsupported operand"):
        a & None
    assert as_rule(3) == MaxIterations(3)
    assert as_rule(b) is b


# -- observers -----------------------------------------------------------------------------------------------


class Diary(Observer):
    """Writes down what it is told."""

    def __init__(self, log, name="", fail=""):
        self.log, self.name, self.fail = log, name, fail

    def note(self, what, *rest):
        self.log.append((self.name + what, *rest))
        if self.fail == what:
            raise OSError(f"{what} of {self.name} failed")

    def start(self, problem, solver, state):
        self.note("start", state.iteration)

    def update(self, state, record):
        assert record is None or record is self.history[-1]
        self.note("update", state.iteration, record.iteration if record else None)

    def finish(self, result):
        self.note("finish", result.status if result else None)


def test_observers_are_called_in_order():
    log, calls = [], []
    watch = [Diary(log, "a"), lambda state, record: calls.append((state.iteration, record)), Diary(log, "b")]
    result = recon.solve(still(), Halving(), stop=3, every=2, observers=watch)
    per_step = [[("aupdate", k, r), ("bupdate", k, r)] for k, r in ((1, None), (2, 2), (3, 3))]
    assert log[:2] == [("astart", 0), ("bstart", 0)]
    assert log[2:-2] == [entry for step in per_step for entry in step]
    assert log[-2:] == [("afinish", Status.MAX_ITERATIONS), ("bfinish", Status.MAX_ITERATIONS)]
    assert [k for k, _ in calls] == [1, 2, 3]
    assert [r for _, r in calls] == [None, *result.history[1:]]


def test_every_observer_hears_of_a_broken_run_and_the_first_exception_goes_on(caplog):
    for where in ("start", "update"):
        log = []
        watch = [Diary(log, "a", fail="finish"), Diary(log, "b", fail=where), Diary(log, "c")]
        with pytest.raises(OSError, match=f"{where} of b failed"):
            recon.solve(still(), Halving(), stop=3, observers=watch)
        assert log[-3:] == [("afinish", None), ("bfinish", None), ("cfinish", None)]
        assert "Diary failed when the run was broken off: finish of a failed" in caplog.text
    log = []
    with pytest.raises(RuntimeError, match="a bug in a step"):
        recon.solve(still(), Halving(fail_at=2), stop=3, observers=[Diary(log)])
    assert log[-1] == ("finish", None)


def test_a_fault_at_the_end_is_raised_after_all_have_heard():
    log = []
    watch = [Diary(log, "a", fail="finish"), Diary(log, "b")]
    with pytest.raises(OSError, match="finish of a failed"):
        recon.solve(still(), Halving(), stop=3, observers=watch)
    assert log[-1] == ("bfinish", Status.MAX_ITERATIONS)


def test_ctrl_c_tells_observers():
    log = []

    def interrupt(state, record):
        if state.iteration == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        recon.solve(still(), Halving(), stop=30, observers=[interrupt, Diary(log)])
    assert log[-1] == ("finish", None)


def test_observers_do_not_change_a_run(tmp_path):
    watch = [Progress(30, delay=0.0), JsonLines(tmp_path / "a.jsonl"), SaveEvery(tmp_path / "s.npz", 7)]
    watched = recon.solve(problem(), Fista(), stop=30, observers=watch)
    assert watched.x.tobytes() == recon.solve(problem(), Fista(), stop=30).x.tobytes()


def test_as_observers():
    diary = Diary([])
    assert as_observers([diary]) == [diary]
    assert as_observers(iter([])) == []


def test_progress_writes_nothing_where_nobody_looks(capsys, monkeypatch):
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    for total in (30, None):
        recon.solve(
            still(), Halving(), stop=30, observers=[Progress(total, delay=0.0, label="[bold]a[/b] [x]")]
        )
    out, err = capsys.readouterr()
    assert out == ""
    assert err == ""


def test_progress_on_a_terminal_shows_the_objective(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    bar = Progress(30, delay=0.0, label="[tv] scan [/]")
    recon.solve(still(), Halving(), stop=30, observers=[bar])
    shown = screen.getvalue()
    assert "[tv] scan [/]" in shown
    assert "objective" in shown
    assert shown.count("\x1b[?25l") == shown.count("\x1b[?25h")  # the cursor is given back
    assert bar._bar is None


def test_progress_waits_before_it_draws(capsys, monkeypatch):
    bar = Progress(30)
    monkeypatch.setattr(bar, "_open", lambda: pytest.fail("too early"))
    recon.solve(still(), Halving(), stop=30, observers=[bar])


def test_progress_without_a_standard_error(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    recon.solve(still(), Halving(), stop=3, observers=[Progress(3, delay=0.0)])


def test_a_broken_off_run_clears_the_progress():
    bar = Progress(30, delay=0.0)
    with pytest.raises(RuntimeError, match="a bug"):
        recon.solve(still(), Halving(fail_at=9), stop=30, observers=[bar])
    assert bar._bar is None


def test_json_lines_append_whole_lines_of_json(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text('{"old": 1}\n')
    solve_10(still(), Halving(), stop=25, observers=[JsonLines(path)])
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert rows[0] == {"old": 1}
    assert [row["iteration"] for row in rows[1:]] == [10, 20, 25]
    assert all(set(row) == {"iteration", "seconds", "objective", "loss", "change"} for row in rows[1:])


def test_json_lines_have_no_nan(tmp_path):
    path = tmp_path / "log.jsonl"
    recon.solve(problem(data=1e300 * DATA), Fista(step_size=1e6), stop=20, observers=[JsonLines(path)])
    rows = [json.loads(line, parse_constant=pytest.fail) for line in path.read_text().splitlines()]
    assert rows[-1]["objective"] is None


def test_json_lines_that_cannot_be_opened(tmp_path):
    for path, why in ((tmp_path / "no" / "a", "no such file or directory"), (tmp_path, "is a directory")):
        with pytest.raises(DataError, match=rf"{path} cannot be written: {why}\."):
            recon.solve(still(), Halving(), stop=3, observers=[SaveEvery(tmp_path / "s"), JsonLines(path)])


def test_json_lines_on_a_full_disk_leave_whole_lines(tmp_path, monkeypatch):
    path = tmp_path / "log.jsonl"
    watch = JsonLines(path)

    class Full(io.FileIO):
        def write(self, data):
            if os.fstat(self.fileno()).st_size < 80:
                return super().write(data)
            return super().write(data[: len(data) // 2])  # what a disk with room for half a line does

    monkeypatch.setattr("recon.observers.io.FileIO", Full)
    with pytest.raises(DataError, match=r"log.jsonl cannot be written: no space left on device."):
        solve_10(still(), Halving(), stop=30, observers=[watch])
    text = path.read_text()
    assert text.endswith("}\n")
    assert [json.loads(line)["iteration"] for line in text.splitlines()] == [10]


@pytest.mark.parametrize("every", [0, 1.5, True])
def test_save_every_checks_its_number(every):
    with pytest.raises(ParameterError, match=r"SaveEvery.every must be an integer >= 1, got "):
        SaveEvery("s.npz", every)


def test_save_every_saves_on_the_way_and_at_the_end(tmp_path, monkeypatch):
    path, seen = tmp_path / "s.npz", []
    monkeypatch.setattr(
        "recon.observers.write_state", lambda path, state, run, history: seen.append(state.iteration)
    )
    recon.solve(still(), Halving(), stop=25, observers=[SaveEvery(path, 10)])
    assert seen == [10, 20, 25]
    seen.clear()
    recon.solve(still(), Halving(), stop=20, observers=[SaveEvery(path, 10)])
    assert seen == [10, 20]
    seen.clear()
    recon.solve(still(), Halving(), stop=25, observers=[SaveEvery(path, 10, at_end=False)])
    assert seen == [10, 20]
    seen.clear()
    with pytest.raises(RuntimeError, match="a bug"):
        recon.solve(still(), Halving(fail_at=15), stop=25, observers=[SaveEvery(path, 10, at_end=False)])
    assert seen == [10, 14]


@pytest.mark.parametrize("solver", [Fista, Pdhg])
def test_a_run_that_was_broken_off_goes_on_bit_for_bit(tmp_path, solver):
    path, made = tmp_path / "s.npz", solver.example()
    straight = solve_10(made, solver())

    def interrupt(state, record):
        if state.iteration == 33:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        solve_10(made, solver(), observers=[interrupt, SaveEvery(path, 10)])
    state, history = load_state(path, made, solver()), load_history(path)
    assert state.iteration == 32
    assert [record.iteration for record in history] == [0, 10, 20, 30]
    rest = solve_10(made, solver(), state=state, history=history)
    assert rest.x.tobytes() == straight.x.tobytes()
    assert iterations(rest) == iterations(straight)
    assert [r.values for r in rest.history] == [r.values for r in straight.history]


def test_a_full_disk_does_not_hide_ctrl_c(tmp_path, full_disk):
    def interrupt(state, record):
        full_disk()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        recon.solve(still(), Halving(), observers=[SaveEvery(tmp_path / "s.npz"), interrupt])
    assert list(tmp_path.iterdir()) == []


# -- checkpoints ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Everything(State):
    pair: tuple
    nested: tuple
    single: object
    spectrum: object
    counts: object
    scalar: object
    file: object
    flag: bool
    nothing: None
    number: float
    tiny: float
    large: float
    whole: int
    root: complex
    word: str


@dataclass(frozen=True)
class Keeper(Solver):
    state_type = Everything

    def init(self, problem, x0=None, seed=0):
        raise NotImplementedError

    def step(self, problem, state):
        raise NotImplementedError


def everything(to=lambda a: a) -> Everything:
    rng = np.random.default_rng(2)
    real = to(rng.standard_normal((3, 4)))
    return Everything(
        iteration=17, x=real, pair=(to(rng.standard_normal(2)), to(rng.standard_normal((2, 2)))),
        nested=((to(rng.standard_normal(2)), 3), ()), single=to(rng.standard_normal(5).astype(np.float32)),
        spectrum=to(rng.standard_normal(3) + 1j), counts=to(np.arange(4)), scalar=to(np.array(2.5)),
        file=to(np.array([np.nan, np.inf, -0.0, 5e-324])), flag=True, nothing=None, number=0.1 + 0.2,
        tiny=1e-320, large=math.inf, whole=2**70, root=1e-320 + 2j, word="a\u00e4",
    )  # fmt: skip


def same(a, b) -> bool:
    if isinstance(a, tuple):
        return isinstance(b, tuple) and len(a) == len(b) and all(map(same, a, b))
    if hasattr(a, "shape"):
        a, b = np.asarray(a), np.asarray(b)
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    return type(a) is type(b) and a == b


@pytest.mark.parametrize("convert", [np.asarray, torch.as_tensor], ids=["numpy", "torch"])
def test_states_come_back_bit_by_bit(tmp_path, convert):
    made = still(data=convert(np.zeros(3)))
    state = everything(convert)
    save_state(tmp_path / "s.npz", state, made, Keeper(), [Record(0, 0.5, {"a": math.inf, "b": 1e-320})])
    found = load_state(tmp_path / "s.npz", made, Keeper())
    for field in dataclasses.fields(state):
        assert same(getattr(state, field.name), getattr(found, field.name)), field.name
    assert type(found.x) is type(made.data)
    assert type(found.pair[0]) is type(made.data)
    (record,) = load_history(tmp_path / "s.npz")
    assert record == Record(0, 0.5, {"a": math.inf, "b": 1e-320})


def test_states_move_between_libraries(tmp_path):
    save_state(tmp_path / "s.npz", everything(), still(), Keeper())
    found = load_state(tmp_path / "s.npz", still(data=torch.zeros(3, dtype=torch.float64)), Keeper())
    assert isinstance(found.x, torch.Tensor)
    assert found.single.dtype == torch.float32
    assert same(everything().spectrum, found.spectrum)


@pytest.mark.parametrize("convert", [np.asarray, torch.as_tensor], ids=["numpy", "torch"])
def test_the_order_of_axes_in_memory_is_kept(tmp_path, convert):
    """Sums run in the order of memory: another order would change the last bit of what comes after."""
    block = convert(np.random.default_rng(0).standard_normal((4, 5, 6)))
    for axes in ((0, 1, 2), (2, 1, 0), (1, 0, 2), (2, 0, 1)):
        moved = np.moveaxis(block, axes, (0, 1, 2)) if isinstance(block, np.ndarray) else block.permute(axes)
        state = State(1, moved)
        made = still(data=convert(np.zeros(3)))
        save_state(tmp_path / "s.npz", state, made, Halving())
        found = load_state(tmp_path / "s.npz", made, Halving()).x
        strides = (lambda a: a.strides) if isinstance(block, np.ndarray) else (lambda a: a.stride())
        assert strides(found) == strides(moved)
        assert same(found, moved)


def test_nothing_is_pickled(tmp_path):
    path = tmp_path / "s.npz"
    save_state(path, everything(), still(), Keeper())
    with np.load(path, allow_pickle=False) as archive:
        assert all(archive[name].dtype.kind in "biufcU" for name in archive.files)
    with pytest.raises(ValueError, match="Object arrays cannot be saved"):
        save_state(path, State(1, np.array([object()])), still(), Halving())
    assert [p.name for p in tmp_path.iterdir()] == ["s.npz"]
    np.savez(tmp_path / "evil.npz", recon=np.array([{"a": 1}], dtype=object))
    with pytest.raises(CheckpointError, match="must be a recon state file, got something unreadable"):
        load_state(tmp_path / "evil.npz", still(), Halving())


def test_a_state_of_another_run_is_refused_by_name(tmp_path):
    path = tmp_path / "s.npz"
    made = problem(noise=0.1)
    save_state(path, recon.solve(made, Fista(), stop=3).state, made, Fista())
    other = MATRIX.copy()
    other[0, 0] += 1e-9
    for part, changed in {
        "operator": problem(operator=Matrix(other), noise=0.1),
        "prior": problem(prior=L1(0.2), noise=0.1),
        "loss": problem(loss=recon.WeightedLeastSquares(np.ones(12)), noise=0.1),
        "noise": problem(noise=0.2),
        "data": problem(data=2 * DATA, noise=0.1),
    }.items():
        with pytest.raises(
            CheckpointError, match=rf"s.npz must come from the same {part}, got a state of another"
        ):
            load_state(path, changed, Fista())
    with pytest.raises(CheckpointError, match="the same parameters"):
        load_state(path, made, Fista(restart=False))
    with pytest.raises(CheckpointError, match="the same solver"):
        load_state(path, made, Cgls())


def test_fingerprints_tell_parts_apart_and_are_the_same_in_every_process():
    class Plain(recon.Prior):
        def __init__(self, weight):
            self.weight, self._cache = weight, object()

    def print_of(**changes):
        return fingerprint(problem(**changes), Fista())

    assert print_of(prior=Plain(1.0)) == print_of(prior=Plain(1.0))
    assert print_of(prior=Plain(1.0)) != print_of(prior=Plain(2.0))
    assert print_of(prior=2 * L1(1.0)) != print_of(prior=3 * L1(1.0))
    a, b = Matrix(MATRIX), Matrix(MATRIX + 1)
    assert print_of(operator=2.0 * a) != print_of(operator=2.0 * b)
    assert print_of(operator=a + b) != print_of(operator=b + b)
    assert print_of(operator=a) == print_of(operator=pickle.loads(pickle.dumps(a)))
    weights = np.linspace(1, 2, 12)
    assert print_of(loss=recon.WeightedLeastSquares(weights)) != print_of(
        loss=recon.WeightedLeastSquares(weights[::-1])
    )
    used = Matrix(MATRIX)
    used @ np.zeros(8)
    assert print_of(operator=used) == print_of(operator=a)
    assert "0x" not in json.dumps(print_of(prior=Plain(1.0)))


def test_data_digest_sees_values_shape_and_dtype():
    same_bytes = [
        np.zeros(4),
        np.zeros((2, 2)),
        np.zeros(4, np.int64),
        (np.zeros(2), np.zeros(2)),
        np.ones(4),
    ]
    assert len({data_digest(data) for data in same_bytes}) == 5
    assert data_digest(torch.zeros(4, dtype=torch.float64)) == data_digest(np.zeros(4))
    assert data_digest(np.zeros((0, 3))) == data_digest(np.zeros((0, 3)))


def test_files_that_are_no_states(tmp_path):
    path = tmp_path / "s.npz"

    def refused(text):
        with pytest.raises(CheckpointError, match=text) as caught:
            load_state(path, still(), Halving())
        assert "\n" not in str(caught.value)

    refused(r"s.npz does not exist. Give the file that save_state or SaveEvery wrote.")
    unreadable = r"s.npz must be a recon state file, got something unreadable"
    for content in (b"", b"hello", b"PK\x03\x04 no zip", b"\x93NUMPY broken", pickle.dumps({"a": 1})):
        path.write_bytes(content)
        refused(unreadable)
    with path.open("wb") as file:
        np.save(file, np.zeros(3))
    refused(unreadable)
    np.savez(path, x=np.zeros(3))
    refused(unreadable)
    np.savez(path, recon=np.array("no json"))
    refused(unreadable)
    np.savez(path, recon=np.array("[1]"))
    refused(r"must have format 1, got None. Update recon.")
    np.savez(path, recon=np.array('{"format": 2}'))
    refused(r"must have format 1, got 2. Update recon.")
    recon.solve(still(), Halving(), stop=1).save(path)
    refused(r"must be a recon state file, got another one of recon, such as a result")
    path.unlink()
    path.mkdir()
    refused(unreadable)


def test_states_of_another_version(tmp_path):
    path, made = tmp_path / "s.npz", still()
    run = fingerprint(made, Halving())

    def write(state, **arrays):
        record = {"format": 1, "state": state, "run": run, "history": []}
        np.savez(path, recon=np.array(json.dumps(record)), **arrays)

    good = {"iteration": {"value": 1}, "x": {"axes": [0]}}
    write(good, x=np.zeros(3))
    assert load_state(path, made, Halving()).iteration == 1
    for bad, arrays in (
        (good, {}),
        ({**good, "more": {"value": 1}}, {"x": np.zeros(3)}),
        ({"x": {"axes": [0]}}, {"x": np.zeros(3)}),
        ({**good, "x": {"array": True}}, {"x": np.zeros(3)}),
        ([1], {}),
    ):
        write(bad, **arrays)
        with pytest.raises(
            CheckpointError, match=r"must hold a State of this version, got another. Start anew."
        ):
            load_state(path, made, Halving())


def test_damage_is_noticed(tmp_path):
    path, made = tmp_path / "s.npz", problem()
    state = recon.solve(made, Fista(), stop=3).state
    save_state(path, state, made, Fista())
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    noticed = 0
    for k in range(120):
        broken = bytearray(whole)
        if k < 60:
            broken = broken[: int(rng.integers(len(whole)))]
        else:
            broken[int(rng.integers(len(whole)))] ^= 1 << int(rng.integers(8))
        path.write_bytes(broken)
        try:
            found = load_state(path, made, Fista())
        except CheckpointError:
            noticed += 1
        else:
            assert same(found.x, state.x)
            assert same(found.previous, state.previous)
    assert noticed > 100


# -- writing -------------------------------------------------------------------------------------------------


@pytest.fixture
def full_disk(monkeypatch):
    """A function that fills the disk: from then on every archive takes 300 bytes and no more."""

    def fill():
        monkeypatch.setattr("recon.storage.zipfile.ZipFile", _limited_zip(300))

    return fill


def _limited_zip(room):
    class Disk(io.FileIO):
        left = room

        def write(self, data):
            if len(data) > self.left:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self.left -= len(data)
            return super().write(data)

    class Full(zipfile.ZipFile):
        def __init__(self, path, mode="r"):
            self.disk = Disk(path, mode)
            super().__init__(self.disk, mode)

        def close(self):
            try:
                super().close()
            finally:
                self.disk.close()

    return Full


def test_a_full_disk_leaves_the_old_file_or_none(tmp_path, full_disk):
    result = recon.solve(still(), Halving(), stop=3)
    path, other = tmp_path / "s.npz", tmp_path / "r.npz"
    save_state(path, result.state, still(), Halving())
    before = path.read_bytes()
    full_disk()
    sentence = r"{} cannot be written: no space left on device. Nothing was left there."
    with pytest.raises(DataError, match=sentence.format("s.npz")):
        save_state(path, result.state, still(), Halving())
    with pytest.raises(DataError, match=sentence.format("r.npz")):
        result.save(other)
    assert [p.name for p in tmp_path.iterdir()] == ["s.npz"]
    assert path.read_bytes() == before


def test_a_run_on_a_full_disk_is_one_sentence(tmp_path, full_disk):
    full_disk()
    with pytest.raises(DataError, match=r"s.npz cannot be written: no space left on device."):
        recon.solve(
            still(), Halving(), observers=[SaveEvery(tmp_path / "s.npz", 5), JsonLines(tmp_path / "l")]
        )
    assert [p.name for p in tmp_path.iterdir()] == ["l"]


class Killed(BaseException):
    """Stands for whatever ends a process between two instructions, as far as Python can tell."""


@pytest.mark.parametrize("where", ["recon.storage.os.replace", "recon.storage._flush"])
@pytest.mark.parametrize("cause", [Killed, KeyboardInterrupt])
def test_a_write_that_is_killed_leaves_the_old_file(tmp_path, monkeypatch, where, cause):
    path = tmp_path / "s.npz"
    save_state(path, State(1, np.zeros(3)), still(), Halving())
    before = path.read_bytes()

    def kill(*args):
        raise cause

    with monkeypatch.context() as patch:
        patch.setattr(where, kill)
        with pytest.raises(cause):
            save_state(path, State(2, np.ones(3)), still(), Halving())
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["s.npz"]


def test_a_write_that_is_killed_in_the_middle_of_the_arrays(tmp_path, monkeypatch):
    path = tmp_path / "s.npz"
    save_state(path, State(1, np.zeros(3)), still(), Halving())
    before, seen = path.read_bytes(), []

    def kill(stream, values, allow_pickle):
        assert [p.suffix for p in tmp_path.iterdir() if p != path] == [".npz"]
        seen.append(values)
        if len(seen) == 2:
            raise Killed

    monkeypatch.setattr(np.lib.format, "write_array", kill)
    with pytest.raises(Killed):
        save_state(path, State(2, np.ones(3)), still(), Halving())
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["s.npz"]


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_ctrl_c_waits_for_the_end_of_a_write(tmp_path):
    path = tmp_path / "a"

    def write(times):
        with atomic(path) as temporary:
            for _ in range(times):
                signal.raise_signal(signal.SIGINT)
            temporary.write_text("whole")

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        write(1)
    assert path.read_text() == "whole"
    path.unlink()
    with pytest.raises(KeyboardInterrupt):
        write(2)
    assert list(tmp_path.iterdir()) == []
    assert signal.getsignal(signal.SIGINT) is before
    write(0)
    assert path.read_text() == "whole"


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_other_ways_with_ctrl_c_are_left_alone():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with unbroken():
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        seen = []
        signal.signal(signal.SIGINT, lambda number, frame: seen.append(number))
        with unbroken():
            signal.raise_signal(signal.SIGINT)
            assert seen == []
        assert seen == [signal.SIGINT]
    finally:
        signal.signal(signal.SIGINT, before)


def test_writing_in_another_thread(tmp_path):
    state = State(1, np.zeros(3))
    thread = threading.Thread(target=save_state, args=(tmp_path / "s.npz", state, still(), Halving()))
    thread.start()
    thread.join()
    assert load_state(tmp_path / "s.npz", still(), Halving()).iteration == 1


def test_atomic_refuses_places_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("a")
    for path, why in {
        tmp_path / "no" / "a.npz": "no such file or directory",
        tmp_path / "file" / "a.npz": "not a directory",
        tmp_path / ("a" * 300): "file name too long",
    }.items():
        with pytest.raises(DataError, match=rf"cannot be written: {why}"), atomic(path):
            pytest.fail("entered")
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(DataError, match=r"cannot be written: is a directory."), atomic(folder) as temporary:
        temporary.write_text("a")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder"]


def test_atomic_lets_other_errors_pass_and_follows_the_umask(tmp_path):
    with pytest.raises(DataError, match="mine"), atomic(tmp_path / "a"):
        raise DataError("mine")
    with pytest.raises(KeyError), atomic(tmp_path / "a"):
        raise KeyError("mine")
    assert list(tmp_path.iterdir()) == []
    before = os.umask(0o027)
    try:
        with atomic(tmp_path / "a.txt") as temporary:
            assert temporary.name.startswith(".a-")
            assert temporary.suffix == ".txt"
            temporary.write_text("new")
    finally:
        os.umask(before)
    assert (tmp_path / "a.txt").stat().st_mode & 0o777 == 0o640


def test_make_folder(tmp_path, monkeypatch):
    make_folder(tmp_path / "a" / "b")
    assert list((tmp_path / "a" / "b").iterdir()) == []
    (tmp_path / "file").write_text("a")
    for path, why in ((tmp_path / "file", "file exists"), (tmp_path / "file" / "a", "not a directory")):
        with pytest.raises(DataError, match=rf"{path} must be a folder to write to, got an error: {why}."):
            make_folder(path)

    def refuse(**kwargs):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("recon.storage.tempfile.TemporaryFile", refuse)
    with pytest.raises(DataError, match=r"must be a folder to write to, got an error: permission denied."):
        make_folder(tmp_path)


# -- results -------------------------------------------------------------------------------------------------


def test_result_says_what_it_is():
    result = recon.solve(still(), Halving(), stop=3)
    assert repr(result).startswith(
        "<Result of Halving: x (3,), MAX_ITERATIONS after 3 iterations, objective 0.125, "
    )
    assert result.objective == 0.125
    assert result.check() is result
    assert result.series("objective") == ([0, 3], [1.0, 0.125])
    assert result.series("nothing") == ([], [])
    pair = dataclasses.replace(result, x=(np.zeros(2), np.zeros((3, 1))))
    assert "x ((2,), (3, 1))" in repr(pair)


@dataclass(frozen=True)
class Counter(State):
    settled: bool


@dataclass(frozen=True)
class Ending(Halving):
    """Halving that comes to its own end after three steps, and tells what it has learned."""

    state_type = Counter

    def init(self, problem, x0=None, seed=0):
        return Counter(0, problem.start(x0) + 1.0, False)

    def step(self, problem, state):
        return Counter(state.iteration + 1, 0.5 * state.x, state.iteration >= 2)

    def variance(self, state):
        return 0.01 + 0.0 * state.x

    def hyperparameters(self, state):
        return {"gamma": state.x**2, "noise": 0.5}

    def remarks(self, state):
        return ["It was halved."] if state.iteration else []


def test_a_method_that_has_settled_ends_the_run():
    result = recon.solve(still(), Ending(), every=20)
    assert (result.status, result.iterations) == (Status.CONVERGED, 3)
    assert iterations(result) == [0, 3]
    assert recon.solve(still(), Ending(), state=result.state).iterations == 3
    assert recon.solve(still(), Ending(), stop=2).status is Status.MAX_ITERATIONS


def test_what_a_solver_learned_is_in_the_result(tmp_path):
    result = recon.solve(still(), Ending())
    assert result.hyperparameters["gamma"].tolist() == [1 / 64] * 3
    assert result.provenance["remarks"] == ["It was halved."]
    assert "remarks" not in recon.solve(still(), Ending(), stop=0).provenance
    assert "remarks" not in recon.solve(still(), Halving(), stop=1).provenance
    assert recon.solve(still(), Halving(), stop=1).hyperparameters == {}
    result.save(tmp_path / "r.npz")
    with np.load(tmp_path / "r.npz", allow_pickle=False) as archive:
        assert archive["hyperparameters.gamma"].tolist() == [1 / 64] * 3
        assert archive["hyperparameters.noise"] == 0.5


def test_support_is_where_x_is_not_zero():
    result = dataclasses.replace(recon.solve(still(), Halving(), stop=1), x=np.array([0.0, -1.0, 1e-9]))
    assert result.support.tolist() == [False, True, True]


def test_plot_shows_the_intervals_of_a_signal():
    result = recon.solve(still(), Ending())
    axes = result.plot().axes
    assert [one.get_title() for one in axes] == ["Ending", "standard deviation", "objective, 3 iterations"]
    (band,) = axes[0].collections
    low, high = result.interval(0.9)
    heights = band.get_paths()[0].vertices[:, 1]
    assert heights.min() == pytest.approx(low[0])
    assert heights.max() == pytest.approx(high[0])


def test_a_solver_without_an_objective():
    result = recon.solve(still(), Halving(figures="change"), stop=Target() | MaxIterations(3))
    assert result.status is Status.MAX_ITERATIONS
    assert "objective" not in repr(result)
    assert [record.values for record in result.history] == [{"change": 1.0}, {"change": 1.0}]
    bare = recon.solve(still(), Halving(figures=""), stop=3)
    assert bare.series("objective") == ([], [])


def test_gap_needs_a_solver_that_certifies_one():
    with pytest.raises(
        CapabilityError, match="Gap needs a solver that certifies a duality gap, and this one"
    ):
        recon.solve(dataclasses.replace(problem(), prior=None), Cgls(), stop=Gap(1e-3))


def test_status_texts_and_goodness():
    assert [status for status in Status if not status.good] == [Status.DIVERGED]
    assert all(status.value.endswith((".", ")")) for status in Status)


def test_result_is_saved_and_read_back(tmp_path):
    result = solve_10(problem(), Fista(), stop=25)
    full = dataclasses.replace(result, variance=np.ones(8), samples=np.zeros((2, 8)))
    full.save(tmp_path / "r.npz")
    with np.load(tmp_path / "r.npz", allow_pickle=False) as archive:
        assert archive["x"].tobytes() == result.x.tobytes()
        assert archive["variance"].shape == (8,)
        assert archive["samples"].shape == (2, 8)
        assert archive["history.objective"].shape == (2, 4)
        assert archive["history.change"][0].tolist() == [10, 20, 25]
        record = json.loads(str(archive["recon"]))
    assert record["status"] == "MAX_ITERATIONS"
    assert record["help"] == Status.MAX_ITERATIONS.value
    assert record["iterations"] == 25
    assert record["solver"] == {"class": "Fista", "step_size": None, "restart": True, "line_search": False}
    assert record["provenance"] == dict(result.provenance)
    assert record["last"] == dict(result.history[-1].values)


def test_results_of_tuples_and_torch_are_saved(tmp_path):
    two = recon.block_diag(Identity(ArraySpec((2,))), Identity(ArraySpec((3,))))
    y = (torch.ones(2, dtype=torch.float32), torch.zeros(3, dtype=torch.float32))
    result = recon.solve(Problem(two, y, L1(0.1)), Fista(), stop=20)
    result.save(tmp_path / "r")
    with np.load(tmp_path / "r", allow_pickle=False) as archive:
        assert archive["x.0"].dtype == np.float32
        assert archive["x.1"].shape == (3,)


def test_tuple_states_go_on_bit_for_bit(tmp_path):
    two = recon.hstack(Matrix(MATRIX), Identity(ArraySpec((12,))))
    made = Problem(two, DATA, L1(0.1))
    for solver in (Fista(), Pdhg()):
        part = recon.solve(made, solver, stop=17)
        save_state(tmp_path / "s.npz", part.state, made, solver)
        state = load_state(tmp_path / "s.npz", made, solver)
        rest, straight = (recon.solve(made, solver, stop=40, **more) for more in ({"state": state}, {}))
        assert same(rest.x, straight.x)


def test_permuted_states_go_on_bit_for_bit(tmp_path):
    rng = np.random.default_rng(0)
    operator = recon.Kronecker(tuple(Matrix(rng.standard_normal((n + 2, n))) for n in (5, 6, 7)))
    made = Problem(operator, rng.standard_normal(operator.codomain.shape), TV(0.1, ndim=3))
    for solver in (Pdhg(), Fista()):
        part = recon.solve(made, solver, stop=17)
        save_state(tmp_path / "s.npz", part.state, made, solver)
        state = load_state(tmp_path / "s.npz", made, solver)
        rest, straight = (recon.solve(made, solver, stop=30, **more) for more in ({"state": state}, {}))
        assert same(rest.x, straight.x)


def test_relative_change():
    one = np.ones(4)
    assert relative_change(one, one) == 0.0
    assert relative_change(2 * one, one) == 0.5
    assert relative_change(0 * one, one) == 1.0
    assert relative_change(0 * one, 0 * one) == 0.0
    assert relative_change((one, one), (one, 0 * one)) == pytest.approx(math.sqrt(0.5))


def test_ctrl_c_waits_for_the_end_of_the_step():
    """The step in which it comes is finished, its state saved by those who watch, and the handler put back."""
    seen = []

    @dataclasses.dataclass(frozen=True)
    class Pressed(Halving):
        def step(self, problem, state):
            if state.iteration == 4:
                signal.raise_signal(signal.SIGINT)
            return super().step(problem, state)

    watchers = [lambda state, record: seen.append(state.iteration), BetweenSteps()]
    with pytest.raises(KeyboardInterrupt):
        recon.solve(still(), Pressed(), stop=50, observers=watchers)
    assert seen == [1, 2, 3, 4, 5]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
