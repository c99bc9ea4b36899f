"""The contract checks catch what they say they catch: one broken object per rule, and its sentence."""

from __future__ import annotations

import importlib
import re
from dataclasses import dataclass
from typing import Any, ClassVar

import array_api_strict
import numpy as np
import pytest

from recon import registry
from recon.algebra import Diagonal, Identity, Matrix
from recon.arrays import ArraySpec, as_numpy, is_complex, namespace
from recon.dataset import Dataset, Sample
from recon.entries import Entry
from recon.errors import ArrayError, CapabilityError, ShapeError
from recon.losses import LeastSquares, Loss
from recon.operator import Operator
from recon.params import Parameters
from recon.priors import L1, L2, Box, Prior
from recon.problem import Problem
from recon.solver import Fit, Solver, State
from recon.testing import (
    check_dataset,
    check_loss,
    check_operator,
    check_plugin,
    check_prior,
    check_solver,
)

M = np.random.default_rng(13).standard_normal((4, 3))


def caught(check, broken, text, **options):
    with pytest.raises(AssertionError, match=re.escape(text)) as caught:
        check(broken, **options)
    assert str(caught.value).count("\n") == 0


# --- operators -----------------------------------------------------------------------------------------


class Good(Operator):
    """A matrix, from which each broken operator below differs in one thing."""

    domain, codomain = ArraySpec((3,)), ArraySpec((4,))

    def __repr__(self):
        return type(self).__name__

    def _forward(self, x):
        return as_numpy(x) @ M.astype(as_numpy(x).dtype).T

    def _adjoint(self, y):
        return as_numpy(y) @ M.astype(as_numpy(y).dtype)


def broken(name, **methods):
    return type(name, (Good,), {"__module__": __name__, **methods})()


def affine(self, x):
    return Good._forward(self, x) + 1


def one_entry_off(self, y):
    out = Good._adjoint(self, y).copy()
    out[..., 0] += 4e-12 * y[..., 0]
    return out


def almost(self, y):
    return Good._adjoint(self, y) * (1 + 1e-9)


def joint(self, x):
    return Good._forward(self, x) if x.ndim == 1 else Good._forward(self, x + 0 * x) * 0 + x.sum()


def changing(self, x):
    x[...] = 0
    return Good._forward(self, x)


def doubling(self, x):
    return Good._forward(self, x).astype(np.float64)


def random(self, x):
    return Good._forward(self, x) * (1 + 1e-13 * np.random.default_rng().standard_normal())


def welcoming(self, x):
    return Good._forward(self, np.asarray(x, x.dtype if x.dtype.kind == "f" else float)[..., :3])


def bumpy(self, other):
    if other.dtype.kind != "f":
        raise ArrayError("no integers")
    return Good._forward(self, other)


def dropping(self, x):
    return Good._forward(self, x).reshape(-1, 4)[0]


class Forgetful(Good):
    """Its pickle loses the gain."""

    gain = 1.0

    def __init__(self):
        self.gain = 2.0

    def __getstate__(self):
        return {}

    def _forward(self, x):
        return self.gain * super()._forward(x)

    def _adjoint(self, y):
        return self.gain * super()._adjoint(y)


class Moving(Diagonal):
    """An operator whose result is on another device."""

    def _forward(self, x):
        return array_api_strict.asarray(super()._forward(x), device=array_api_strict.Device("device1"))


def text(value):
    return lambda self: value


OPERATORS = {
    "Affine must be linear: A @ x of a sum is not the sum": broken("Affine", _forward=affine),
    "Almost must have an exact adjoint: the gap is": broken("Almost", _adjoint=almost),
    "OneOff must have the conjugate transpose as its adjoint: entry (0, 0)": broken("OneOff", _adjoint=one_entry_off),
    "Joint must treat the axes in front as batch axes: A @ x of a batch differs": broken("Joint", _forward=joint),
    "Changing must leave its arguments as they are: A @ x changed x": broken("Changing", _forward=changing),
    "Doubling must keep the precision of its input: A @ x gave float64 instead of float32":
        broken("Doubling", _forward=doubling),
    "Random must give the same bits for the same input: a second A @ x differs": broken("Random", _forward=random),
    "Welcoming must raise ArrayError in A @ x for an integer array": broken("Welcoming", __matmul__=welcoming),
    "Bumpy must raise ShapeError in A @ x for a wrong shape, not ValueError": broken("Bumpy", __matmul__=bumpy),
    "Shouting must have a repr of one line, at most 300 characters": broken("Shouting", __repr__=text("a\nb")),
    "Listing must have a str of one line": broken("Listing", __str__=text("array([1.0])")),
    "Narrow must give arrays of its specs: A @ x result must have shape (..., 4), got (3,)":
        broken("Narrow", _forward=lambda self, x: 1 * x),
    "Specless must have a domain that is an ArraySpec": broken("Specless", domain=(3,)),
    "Dropping must keep the batch axes (2, 3): A @ x of a batch gave ()": broken("Dropping", _forward=dropping),
    "Forgetful must be the same after a round trip through pickle: A @ x differs": Forgetful(),
    "Swapped must have an adjoint A.H whose specs are those of A, exchanged":
        broken("Swapped", H=property(lambda self: self)),
    "Lazy must survive pickle": broken("Lazy", __getstate__=lambda self: {"f": lambda: 0}),
    "Low must have a norm_bound that is no less than its norm": broken("Low", norm_bound=lambda self: 1e-3),
    "Endless must give a finite number >= 0 from norm_bound()": broken("Endless", norm_bound=lambda self: np.inf),
    "Fast must have a normal(x) that equals A.H @ (A @ x)": broken("Fast", normal=lambda self, x: 2 * x),
    "Proxy must have a data_prox that solves": broken("Proxy", data_prox=lambda self, v, y, rho: v),
    "Zero must have a pinv whose result is a least-squares solution": broken("Zero", pinv=lambda self, y: y[..., :3]),
    "Summing must have absolute_sums that are no less than its row sums":
        broken("Summing", absolute_sums=lambda self, like: (0.1, 100.0)),
    "Columns must have absolute_sums that are no less than its column sums":
        broken("Columns", absolute_sums=lambda self, like: (100.0, 0.1)),
}  # fmt: skip


@pytest.mark.parametrize("text", OPERATORS)
def test_check_operator_catches(text):
    # pickle finds classes by name; those above live in a table
    operator = OPERATORS[text]
    globals()[type(operator).__name__] = type(operator)
    caught(check_operator, operator, text)


def test_check_operator_on_good_and_on_strange_things():
    check_operator(Good())
    caught(check_operator, M, "ndarray must be a subclass of recon.Operator")
    caught(
        check_operator,
        Identity(ArraySpec((2000,))),
        "must be small for the dense check. Give a smaller operator",
    )
    check_operator(Identity(ArraySpec((2000,))), dense=False)


def test_check_operator_wants_plans_left_behind():
    class Keeping(Diagonal):
        def __getstate__(self):
            return dict(vars(self))

    globals()["Keeping"] = Keeping
    Keeping.__qualname__ = "Keeping"
    with pytest.raises(AssertionError, match="leave its plans behind when it is pickled|survive pickle"):
        check_operator(Keeping(np.ones(3)))


def test_check_operator_wants_the_library_kept(like):
    class Numpy(Good):
        pass

    globals()["Numpy"] = Numpy
    Numpy.__qualname__ = "Numpy"
    if isinstance(like, np.ndarray):
        check_operator(Numpy(), like=like)
    else:
        with pytest.raises(AssertionError, match="must stay in one array library: A @ x of .* gave numpy"):
            check_operator(Numpy(), like=like)


def test_check_operator_wants_the_device_kept():
    like = array_api_strict.asarray([0.0])
    text = "must stay on the device: A @ x moved from"
    caught(check_operator, Moving(np.ones(2)), text, like=like)


def test_a_single_precision_like_keeps_to_it():
    class Single(Good):
        def _forward(self, x):
            assert x.dtype == np.float32
            return super()._forward(x)

    globals()["Single"] = Single
    Single.__qualname__ = "Single"
    check_operator(Single(), like=np.zeros(1, np.float32))


# --- priors --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Wrong(Parameters, Prior):
    """L1 with a soft threshold that is off by a factor."""

    weight: float
    factor: float = 1.01

    def value(self, x):
        return L1(self.weight).value(x)

    def prox(self, v, t):
        return L1(self.weight).prox(v, t * self.factor)


class Hard(Prior):
    """Number of entries that are not 0: not convex; ``threshold`` may be the wrong one that was once published."""

    def __init__(self, wrong=False):
        self.wrong = wrong

    def __repr__(self):
        return "Hard"

    def value(self, x):
        return float(as_numpy(namespace(x).astype(x != 0, x.dtype)).real.sum())

    def prox(self, v, t):
        limit = t if self.wrong else (2 * t) ** 0.5
        return namespace(v).where(abs(v) > limit, v, 0 * v)


class Rounding(L1):
    """A soft threshold that rounds to 15 decimals, so that small units vanish."""

    def prox(self, v, t):
        return np.round(super().prox(v, t), 15)


class Vertex(Prior):
    """The simplex of two entries with a prox that only knows its corners."""

    def __repr__(self):
        return "Vertex"

    def check_spec(self, spec):
        if spec.kind == "complex" or spec.ndim < 1 or spec.shape[-1] == 1:
            raise ShapeError("no")

    def value(self, x):
        ok = abs(x.sum(-1) - 1) < 1e-5
        return 0.0 if ok.all() and (x > -1e-6).all() else float("inf")

    def prox(self, v, t):
        return np.where(v == v.max(-1, keepdims=True), np.ones_like(v), np.zeros_like(v))


class Tilted(L2):
    def gradient(self, x):
        return 1.001 * super().gradient(x)


class Calm(L2):
    def curvature(self):
        return 0.5 * self.weight


class Split(L1):
    def split(self, spec):
        return L1(2 * self.weight), Identity(spec)


class Unsplit(L1):
    def split(self, spec):
        return Prior(), Identity(spec)


class Mirror(L1):
    def prox_conjugate(self, v, s):
        return -super().prox_conjugate(v, s)


class Within(L1):
    def prox_within(self, v, t, lower, upper):
        return self.prox(np.clip(v, lower, upper), t + 0.5)


class Loose(L1):
    def prox_within(self, v, t, lower, upper):
        return self.prox(v, t)


class Arrays(L1):
    def value(self, x):
        return np.asarray(super().value(x))


class Eager(L1):
    def prox(self, v, t):
        v *= 0.5
        return v


class Upcast(L1):
    def prox(self, v, t):
        return super().prox(v, t).astype(np.complex128 if is_complex(v) else np.float64)


class Whole(L1):
    def prox(self, v, t):
        return v - np.mean(v)


class Grim(L1):
    def check_spec(self, spec):
        raise RuntimeError("no")


class Fussy(L1):
    def check_spec(self, spec):
        raise ShapeError("no")


class Restless(L1):
    def prox(self, v, t):
        return super().prox(v, t) * (1 + 1e-9 * np.random.default_rng().standard_normal())


class Bare(Prior):
    """Whatever methods it is given."""

    def __init__(self, **methods):
        vars(self).update(methods)

    def __repr__(self):
        return "Bare"


class Shifted(L1):
    def value(self, x):
        return super().value(x) + 1.0


class Halves(L1):
    def split(self, spec):
        return self, np.eye(3)


class Reluctant(L1):
    def prox_within(self, v, t, lower, upper):
        raise CapabilityError("not today")


class Infeasible(Box):
    def prox(self, v, t):
        return super().prox(v, t) + 1.0


@pytest.mark.parametrize(
    ("prior", "text", "options"),
    [
        (L1, "L1 must be given as an instance. Write L1(...).", {}),
        (3, "int must be a subclass of recon.Prior", {}),
        (Prior(), "must have at least one of value, prox, gradient", {}),
        (Wrong(0.7), "must have a prox that minimises value(x) + ||x - v||^2 / (2 t): prox(v,", {}),
        (
            Wrong(0.7, factor=1 + 1e-7),
            "must have a prox p with f(z) >= f(p) + <v - p, z - p>/t for every z",
            {},
        ),
        (Hard(), "be firmly nonexpansive in its prox", {}),
        (Hard(wrong=True), "must have a prox that minimises value(x)", {"convex": False}),
        (Vertex(), "must have a prox that minimises value(x)", {"convex": False}),
        (
            Rounding(0.7),
            "must be scale equivariant: prox of s^2 f(x/s)",
            {"rescale": lambda s: Rounding(0.7 * s)},
        ),
        (L1(0.7), "must be scale equivariant", {"rescale": lambda s: L1(0.7)}),
        (Tilted(0.7), "must have a gradient that agrees with central differences of its value", {}),
        (Calm(0.7), "must have a curvature that bounds the change of its gradient", {}),
        (Split(0.7), "must split truly: value(x) is not the outer value of K x", {}),
        (Unsplit(0.7), "must split into a prior with a prox, which Prior has not", {}),
        (Mirror(0.7), "must keep Moreau's identity v = prox(v, t) + t prox_conjugate(v/t, 1/t)", {}),
        (Within(0.7), "must have a prox that minimises value(x) + ||x - v||^2 / (2 t): prox_within(v,", {}),
        (Loose(0.7), "must keep the bounds [0.0, None] in prox_within", {}),
        (Arrays(0.7), "must give a Python float from value(x), not a ndarray. Write float(...)", {}),
        (Eager(0.7), "must leave its arguments as they are: prox(v, t) changed x. Work on a copy.", {}),
        (Upcast(0.7), "must keep the precision of its input: prox(v, t) gave", {}),
        (Whole(0.7), "must treat the axes in front as batch axes: prox(v, t) of a batch differs", {}),
        (Grim(0.7), "must refuse a spec by a ReconError in check_spec, not by RuntimeError", {}),
        (Fussy(0.7), "must accept one of the shapes (4, 3), (6,)", {}),
        (Restless(0.7), "must give the same bits for the same input: a second prox(v, t) differs", {}),
        (
            Shifted(0.7),
            "must be scale equivariant: the rescaled value is not",
            {"rescale": lambda s: Shifted(0.7 * s)},
        ),
        (Halves(0.7), "must give a Prior and an Operator from split(spec)", {}),
        (Reluctant(0.7), "must offer prox_within for x >= 0 at least. Else leave the method out.", {}),
        (
            Bare(value=L2().value, prox_conjugate=L1().prox_conjugate),
            "must have a prox where it has a prox_conjugate",
            {},
        ),
        (Bare(value=L2().value, curvature=lambda: 1.0), "must have a gradient where it has a curvature", {}),
        (Bare(gradient=L2().gradient), "must have a value where it has a gradient", {}),
        (
            Bare(value=L2().value, gradient=L2().gradient, curvature=lambda: None),
            "or infinity) from curvature",
            {},
        ),
        (Infeasible(0, 1), "must have a finite value at its own prox", {}),
    ],
)
def test_check_prior_catches(prior, text, options):
    caught(check_prior, prior, text, **options)


def test_check_prior_takes_a_nonconvex_prox_that_is_right():
    check_prior(Hard(), convex=False)


# --- losses --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Half(LeastSquares):
    """Least squares whose prox, gradient or value may forget the 1/2."""

    what: str = ""

    def value(self, prediction, data):
        value = super().value(prediction, data)
        return np.asarray(value) if self.what == "float" else value

    def gradient(self, prediction, data):
        if self.what == "bits":
            return super().gradient(prediction, data) + 1e-12 * np.random.default_rng().standard_normal()
        return (2 if self.what == "gradient" else 1) * super().gradient(prediction, data)

    def curvature(self, data):
        return 0.9 if self.what == "curvature" else 1.0

    def prox(self, v, t, data):
        return super().prox(v, 2 * t if self.what == "prox" else t, data)

    def prox_conjugate(self, v, s, data):
        return super().prox_conjugate(v, 2 * s if self.what == "conjugate" else s, data)


@pytest.mark.parametrize(
    ("what", "text"),
    [
        ("gradient", "must have a gradient that agrees with central differences of its value"),
        ("curvature", "must have a curvature that bounds the change of its gradient"),
        ("prox", "must have a prox that minimises value(x) + ||x - v||^2 / (2 t)"),
        (
            "conjugate",
            "must have prox_conjugate(v, s, y) = v - s prox(v/s, 1/s, y) (Moreau), which fails at s = 0.2",
        ),
        ("float", "must give a Python float from value(p, y), not a ndarray"),
        ("bits", "must give the same bits for the same input: a second gradient(p, y) differs"),
    ],
)
def test_check_loss_catches(what, text):
    caught(check_loss, Half(what), text)
    check_loss(Half())


def test_check_loss_wants_a_prox_beside_a_prox_conjugate():
    class Lame(Half):
        prox = None

    caught(check_loss, Lame(), "must have a prox where it has a prox_conjugate")


def test_check_loss_wants_a_loss():
    caught(check_loss, L1(), "L1 must be a subclass of recon.Loss")


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
        (entry("prior", "Good"), "The prior 'mine' must be a subclass of recon.Prior"),
        (entry("operator", "NoExample"), "The operator 'mine' must have a classmethod example()"),
        (entry("loss", "WrongExample"), "must give a WrongExample from example(), not a LeastSquares"),
        (entry("solver", "Good"), "The solver 'mine' must be a subclass of recon.Solver"),
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


@pytest.mark.parametrize("package", ["recon", "recon_operators", "recon_proximal", "recon_datasets"])
def test_our_own_entries_keep_the_contract(package):
    found = list(importlib.import_module(f"{package}._hooks").recon_entries())
    outcome = check_plugin(found)
    assert len(outcome) == len(found)
    assert set(outcome.values()) == {"ok"}
