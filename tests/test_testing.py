"""The checks of operators, priors and losses catch what they say: one broken object per rule, and its sentence."""

from __future__ import annotations

import re
from dataclasses import dataclass

import array_api_strict
import numpy as np
import pytest

from recon.algebra import Diagonal, Identity, Matrix
from recon.arrays import ArraySpec, as_numpy, is_complex, namespace
from recon.errors import ArrayError, CapabilityError, ShapeError
from recon.losses import LeastSquares
from recon.operator import Operator
from recon.params import Parameters
from recon.priors import L1, L2, Box, Prior
from recon.testing import (
    check_loss,
    check_operator,
    check_prior,
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


def wide_forward(self, x):
    return as_numpy(x) @ M[:2].astype(as_numpy(x).dtype).T


def wide_adjoint(self, y):
    return as_numpy(y) @ M[:2].astype(as_numpy(y).dtype)


def sloppy_pinv(self, y):
    """A least-squares solution with 0 in the last place: not the shortest one."""
    solved = y @ np.linalg.inv(M[:2, :2]).T.astype(y.dtype)
    return np.concatenate([solved, 0 * y[..., :1]], axis=-1)


def svd_of(change):
    return change(*Matrix(M).svd())


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
    "Rows must have a row_scale() c with A A^H = c I": broken("Rows", row_scale=lambda self: 1.0),
    "Boundless must give a finite number >= 0 from row_scale()": broken("Boundless", row_scale=lambda self: -1.0),
    "Fast must have a normal(x) that equals A.H @ (A @ x)": broken("Fast", normal=lambda self, x: 2 * x),
    "Proxy must have a data_prox that solves": broken("Proxy", data_prox=lambda self, v, y, rho: v),
    "Zero must have a pinv whose result is a least-squares solution": broken("Zero", pinv=lambda self, y: y[..., :3]),
    "Sloppy must have a pinv whose result is of least norm: it has a part in the null space of A":
        broken("Sloppy", _forward=wide_forward, _adjoint=wide_adjoint, codomain=ArraySpec((2,)), pinv=sloppy_pinv),
    "Alone must have an svd() = (U, s, V) with U and V from the same coefficients":
        broken("Alone", svd=lambda self: (Identity(ArraySpec((4,))), np.ones(4), Identity(ArraySpec((3,))))),
    "Negative must have real singular values >= 0 in its svd()":
        broken("Negative", svd=lambda self: svd_of(lambda U, s, V: (U, -s, V))),
    "Longer must have an svd() whose U has orthonormal columns":
        broken("Longer", svd=lambda self: svd_of(lambda U, s, V: (2 * U, s / 2, V))),
    "Skew must have an svd() whose V has orthonormal columns":
        broken("Skew", svd=lambda self: svd_of(lambda U, s, V: (U, 2 * s, V / 2))),
    "Halved must have an svd() for which U diag(s) V^H is the operator":
        broken("Halved", svd=lambda self: svd_of(lambda U, s, V: (U, s / 2, V))),
    "Single must have factors that are a tuple of operators, one per axis": broken("Single", factors=Matrix(M)),
    "Turned must have factors whose Kronecker product has its specs": broken("Turned", factors=(Matrix(M).H,)),
    "Double must have factors whose Kronecker product is the operator": broken("Double", factors=(Matrix(2 * M),)),
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


def test_sums_may_be_rounded_to_the_precision_of_like():
    check_operator(Matrix(M), like=np.zeros(1, np.float32))


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
        if self.what == "prox":  # consistent with the wrong prox
            return v - s * self.prox(v / s, 1 / s, data)
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
