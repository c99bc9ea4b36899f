"""The checks of solvers, datasets and plugins catch what they say: one broken object per rule, and its sentence."""

from __future__ import annotations

import importlib
import re
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest

from recon import registry
from recon.algebra import Identity, Matrix
from recon.arrays import ArraySpec
from recon.dataset import Dataset, Sample
from recon.entries import Entry
from recon.errors import ArrayError
from recon.losses import LeastSquares, Loss
from recon.operator import Operator
from recon.params import Parameters
from recon.priors import L1, L2
from recon.problem import Problem
from recon.solver import Fit, Solver, State
from recon.testing import (
    check_dataset,
    check_plugin,
    check_solver,
)

M = np.random.default_rng(13).standard_normal((4, 3))


def caught(check, broken, text, **options):
    with pytest.raises(AssertionError, match=re.escape(text)) as caught:
        check(broken, **options)
    assert str(caught.value).count("\n") == 0


# --- solvers -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class DescentState(State):
    memory: Any = None


@dataclass(frozen=True)
class Ageing(DescentState):
    """A state that is not what it was made from."""

    def __post_init__(self):
        object.__setattr__(self, "memory", (self.memory or 0) + 1)


@dataclass(frozen=True)
class Descent(Solver):
    """x <- x - 0.1 A^H (A x - y), or a broken version of it."""

    fault: str = ""
    state_type: ClassVar[type[State]] = DescentState
    calls: ClassVar[list[int]] = [0]
    known: ClassVar[list[Any]] = []
    extra: Any = None

    def init(self, problem, x0=None, seed=0):
        if self.fault == "init data":
            problem.data[...] = 1.0
        x = np.asarray(x0) if self.fault in ("x0", "x0 crash") and x0 is not None else problem.start(x0)
        if self.fault == "x0 crash":
            x = x + np.zeros(3)
        if self.fault == "random":
            x = x + np.random.default_rng().standard_normal(x.shape)
        memory = {"list": [1], "dict": {}, "tuple": ([1.0],), "numpy": np.float32(1)}.get(self.fault)
        Descent.known.append(x)
        return (State if self.fault == "type" else DescentState)(
            0, x, *([] if self.fault == "type" else [memory])
        )

    def step(self, problem, state):
        Descent.calls[0] += 1
        x, slope = state.x, problem.gradient(state.x)
        if self.fault == "in place":
            x -= 0.1 * slope
        elif self.fault == "hidden":
            x = x - 0.1 * slope / Descent.calls[0]
        elif self.fault == "identity" and not any(x is one for one in Descent.known):
            x = x - 0.05 * slope
        elif self.fault == "blink":
            x = x if state.memory is None else state.memory
            x = x - 0.1 * problem.gradient(x)
            return DescentState(state.iteration + 1, x * np.nan if state.iteration == 4 else x, x)
        elif self.fault == "upwards":
            x = x + 0.1 * slope
        elif self.fault == "double":
            x = x - 0.1 * np.asarray(slope, dtype=np.float64)
        else:
            x = x - 0.1 * slope
        Descent.known.append(x)
        memory = {"memory": np.float64(2) * np.ones(1)}.get(self.fault, state.memory)
        return DescentState(state.iteration + (2 if self.fault == "count" else 1), x, memory)

    def measure(self, problem, state):
        figures = super().measure(problem, state)
        if self.fault == "stale":
            figures["loss"] *= 1.01
        if self.fault == "objective":
            figures["objective"] += 0.5
        if self.fault == "numbers":
            figures["extra"] = np.ones(1)
        if self.fault == "no loss":
            del figures["loss"]
        return figures

    @classmethod
    def suits(cls, problem):
        return Fit(1.0, "test")

    @classmethod
    def example(cls):
        return Problem(Matrix(M), np.arange(4.0), L2(0.1))


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        ("init data", "must leave its arguments as they are: init changed data"),
        ("x0", "must raise ShapeError in init for an x0 of wrong shape. Use problem.start(x0)."),
        ("random", "must be pure: a second init with the same seed gives other bits"),
        ("type", "must give its state_type DescentState from init, not State"),
        ("list", "must keep arrays, plain numbers and tuples of them in its state: memory holds a list"),
        ("dict", "must keep arrays, plain numbers and tuples of them in its state: memory holds a dict"),
        ("tuple", "must keep arrays, plain numbers and tuples of them in its state: memory holds a"),
        ("in place", "must leave its arguments as they are"),
        ("hidden", "must be pure: a second step from the same state gives other bits"),
        ("upwards", "must have a lower, finite objective after 50 iterations"),
        ("double", "must keep the precision of its input: a step in single precision: x gave float64"),
        ("memory", "must keep single precision: its state's memory became float64"),
        ("count", "must count its iterations: step must give iteration 1, got 2"),
        ("stale", "must measure the loss of the problem at x"),
        ("objective", "must measure the objective of the problem at x"),
        ("numbers", "must give plain numbers: measure['extra'] is a ndarray. Write float(...)."),
        ("x0 crash", "must raise ShapeError in init for an x0 of wrong shape, not ValueError"),
        ("identity", "must go on from a checkpoint bit by bit: 8 steps after loading differ"),
        ("blink", "must stop when it is asked: stop=7 ended at 5 with DIVERGED"),
        ("no loss", 'must give "objective" and "loss" from measure: \'loss\' is not there'),
    ],
)
def test_check_solver_catches(fault, text):
    caught(check_solver, Descent(fault), text)


def test_check_solver_on_good_ones(like):
    check_solver(Descent())
    check_solver(Descent(), like=like)
    check_solver(Descent(), Problem(Matrix(M), np.arange(8.0).reshape(2, 4)))


def test_check_solver_wants_frozen_dataclasses():
    class Bare(Descent):
        pass

    class Stateful(State):
        pass

    @dataclass(frozen=True)
    class Loose(Descent):
        state_type: ClassVar[type[State]] = Stateful

    @dataclass(frozen=True)
    class Typeless(Descent):
        state_type: ClassVar[Any] = dict

    @dataclass(frozen=True)
    class Empty(Descent):
        @classmethod
        def example(cls):
            return None

    caught(
        check_solver,
        Bare(),
        "Bare must be a frozen dataclass. Write @dataclass(frozen=True) above the class.",
    )
    caught(check_solver, L1(), "L1 must be a subclass of recon.Solver")
    globals().update(Loose=Loose, Typeless=Typeless, Empty=Empty)
    for one in (Loose, Typeless, Empty):
        one.__qualname__ = one.__name__
    caught(check_solver, Loose(), "Stateful must be a frozen dataclass")
    caught(check_solver, Typeless(), "Typeless must name a subclass of recon.State as its state_type")
    caught(check_solver, Empty(), "Empty must give a Problem from example()")


# --- datasets ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Numbers(Parameters, Dataset):
    """Two samples of three numbers, or a broken version of them."""

    fault: str = ""

    def __len__(self):
        return 0 if self.fault == "empty" else 2

    def __getitem__(self, index):
        return self.sample(index % 2) if self.fault == "round" else super().__getitem__(index)

    def sample(self, index):
        data = np.arange(3.0) + index
        if self.fault == "random":
            data = data + np.random.default_rng().standard_normal(3)
        if self.fault == "shape":
            data = data[:2]
        if self.fault == "plain":
            return data
        truth = (
            np.full(3, np.nan) if self.fault == "truth" else np.ones(2 if self.fault == "truth shape" else 3)
        )
        if self.fault == "notes change":
            return Sample(Identity(ArraySpec((3,))), data, notes={str(np.random.default_rng().random()): 1})
        notes = {1: "one"} if self.fault == "notes" else {"source": "test"}
        return Sample(Identity(ArraySpec((3,))), data, truth, 0.1, notes)

    @classmethod
    def example(cls):
        return cls()


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        ("empty", "must hold at least one sample"),
        ("round", "must raise IndexError for index 2. Leave __getitem__ to the base class."),
        ("random", "must be deterministic: sample 0: a second reading has other bits in its data"),
        (
            "shape",
            "give samples whose parts fit, but sample 0 does not: Problem.data must have shape (..., 3)",
        ),
        ("plain", "must give a recon.Sample, not a ndarray"),
        ("truth", "must have a finite truth in sample 0"),
        ("truth shape", "sample 0 does not: The truth must have shape (..., 3), got (2,)"),
        (
            "notes change",
            "must be deterministic: sample 0: a second reading has another operator or other notes",
        ),
        ("notes", "must give notes with names (a mapping from strings)"),
    ],
)
def test_check_dataset_catches(fault, text):
    caught(check_dataset, Numbers(fault), text)
    check_dataset(Numbers())


def test_check_dataset_wants_a_dataset():
    caught(check_dataset, [1], "list must be a subclass of recon.Dataset")


# --- plugins -------------------------------------------------------------------------------------------


class NoExample(Operator):
    domain = codomain = ArraySpec((2,))


class WrongExample(Loss):
    def value(self, prediction, data):
        return 0.0

    gradient = value

    @classmethod
    def example(cls):
        return LeastSquares()


@dataclass(frozen=True)
class Needy(Descent):
    needed: Any = None

    def __post_init__(self):
        if self.needed is None:
            raise ArrayError("give it")


@dataclass(frozen=True)
class Shy(Descent):
    @classmethod
    def suits(cls, problem):
        return None


@dataclass(frozen=True)
class Vague(Descent):
    @classmethod
    def suits(cls, problem):
        return 1.0


def cases():
    return []


not_callable = 3


def entry(kind, target, **more):
    return Entry(kind, "mine", f"{__name__}:{target}", "test", **more)


def test_check_plugin_runs_the_check_of_every_kind():
    outcome = check_plugin(
        [
            Entry("operator", "one", "recon.algebra:Diagonal", "test"),
            Entry("prior", "one", "recon.priors:L1", "test"),
            Entry("loss", "one", "recon.losses:Poisson", "test"),
            Entry("solver", "one", f"{__name__}:Descent", "test", automatic=True),
            Entry("dataset", "one", f"{__name__}:Numbers", "test"),
            Entry("bench", "one", f"{__name__}:cases", "test"),
            Entry("prior", "two", "nowhere:Absent", "test", needs=("nosuchpackage",)),
        ]
    )
    kinds = ("operator", "prior", "loss", "solver", "dataset", "bench")
    assert outcome == {f"{kind} one": "ok" for kind in kinds} | {
        "prior two": "left out: nosuchpackage is not installed"
    }


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (entry("operator", "Absent"), "The operator 'mine' must load from"),
        (
            Entry("prior", "mine", "nowhere:Absent", "t"),
            "which raised ModuleNotFoundError: No module named 'nowhere'",
        ),
        (entry("prior", "NoExample"), "The prior 'mine' must be a subclass of recon.Prior"),
        (entry("operator", "NoExample"), "The operator 'mine' must have a classmethod example()"),
        (entry("loss", "WrongExample"), "must give a WrongExample from example(), not a LeastSquares"),
        (entry("solver", "NoExample"), "The solver 'mine' must be a subclass of recon.Solver"),
        (
            entry("solver", "Needy"),
            "must have a default for every parameter, but Needy() raised ArrayError: give it",
        ),
        (
            entry("solver", "Shy", automatic=True),
            "must suit its own example(), since solve(problem) may choose it",
        ),
        (entry("solver", "Vague"), "must answer suits(problem) with a recon.solver.Fit or None, not a float"),
        (entry("bench", "not_callable"), "must be a function that gives recon.bench.Case objects"),
    ],
)
def test_check_plugin_catches(given, text):
    caught(check_plugin, [given], text)


def test_check_plugin_by_name(monkeypatch):
    from importlib import metadata

    class Hooks:
        @registry.hookspecs.hookimpl
        def recon_entries(self):
            return [Entry("prior", "l1", "recon.priors:L1", "test")]

    class Point:
        """An installed entry point."""

        group = "recon"

        def __init__(self, name, thing):
            self.name, self.thing = name, thing
            self.dist = type("D", (), {"name": "My_Plugin", "version": "1"})()

        def load(self):
            if isinstance(self.thing, Exception):
                raise self.thing
            return self.thing

    def install(*points):
        chosen = type("P", (), {"select": lambda self, group: list(points)})()
        distribution = type("D", (), {"entry_points": chosen})()
        monkeypatch.setattr(metadata, "distributions", lambda: [distribution])
        registry.reload()

    try:
        install(Point("hooks", Hooks()))
        assert check_plugin("my.plugin") == check_plugin("hooks") == {"prior l1": "ok"}
        caught(
            check_plugin,
            "other",
            "The plugin other must be installed with an entry point of the group 'recon'. Inst",
        )
        install(Point("hooks", ImportError("no wheel")))
        caught(check_plugin, "my-plugin", "The plugin my-plugin must load, but hooks of my-plugin does not: ")
    finally:
        monkeypatch.undo()
        registry.reload()


PACKAGES = ["operators", "proximal", "datasets", "wavelets", "sbl", "unmixing", "diffusion"]


@pytest.mark.parametrize("package", ["recon", *(f"recon_{name}" for name in PACKAGES)])
def test_our_own_entries_keep_the_contract(package):
    found = list(importlib.import_module(f"{package}._hooks").recon_entries())
    outcome = check_plugin(found)
    assert len(outcome) == len(found)
    assert set(outcome.values()) == {"ok"}
