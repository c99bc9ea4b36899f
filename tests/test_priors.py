"""Norms and sets as priors, and their algebra: the contract, closed forms by hand, every library, every text."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from recon_proximal import Admm, CondatVu, Fista, Pd3o, Pdhg, Pogm

import recon
from recon.arrays import ArraySpec, as_numpy
from recon.errors import CapabilityError, ParameterError, ShapeError
from recon.operator import capability
from recon.priors import (
    L0,
    L1,
    L2,
    L21,
    TGV,
    TV,
    Box,
    NonNegative,
    Nuclear,
    Prior,
    Scaled,
    Simplex,
    TopK,
    Total,
    prox_conjugate,
    terms,
)
from recon.testing import check_prior

RNG = np.random.default_rng(11)

# each prior with s -> the prior s^2 f(x / s)
PRIORS = {
    "l1": (L1(0.7), lambda s: L1(0.7 * s)),
    "l1 of weight 0": (L1(0.0), lambda s: L1(0.0)),
    "l2": (L2(0.7), lambda s: L2(0.7)),
    "l21": (L21(0.7), lambda s: L21(0.7 * s)),
    "l21 along rows": (L21(0.7, axis=-2), lambda s: L21(0.7 * s, axis=-2)),
    "l21 of weight 0": (L21(0.0), lambda s: L21(0.0)),
    "nuclear": (Nuclear(0.7), lambda s: Nuclear(0.7 * s)),
    "nonnegative": (NonNegative(), lambda s: NonNegative()),
    "box": (Box(-0.5, 0.75), lambda s: Box(-0.5 * s, 0.75 * s)),
    "box open below": (Box(None, 0.75), lambda s: Box(None, 0.75 * s)),
    "box open": (Box(None, None), lambda s: Box(None, None)),
    "simplex": (Simplex(1.3), lambda s: Simplex(1.3 * s)),
    "simplex along rows": (Simplex(1.0, axis=-2), lambda s: Simplex(s, axis=-2)),
    "scaled l1": (2.5 * L1(0.3), lambda s: 2.5 * L1(0.3 * s)),
    "scaled l2": (L2(0.3) * 2, lambda s: L2(0.3) * 2),
    "scaled by zero": (0 * L1(0.3), lambda s: 0 * L1(0.3)),
    "scaled box": (3 * Box(-0.5, 0.5), lambda s: Box(-0.5 * s, 0.5 * s)),
    "l1 nonnegative": (L1(0.5) + NonNegative(), lambda s: L1(0.5 * s) + NonNegative()),
    "l1 in a box": (Box(-0.2, 0.6) + 2 * L1(0.2), lambda s: Box(-0.2 * s, 0.6 * s) + L1(0.4 * s)),
    "l2 nonnegative": (L2(0.5) + NonNegative(), lambda s: L2(0.5) + NonNegative()),
    "l21 nonnegative": (L21(0.5) + NonNegative(), lambda s: L21(0.5 * s) + NonNegative()),
    "two intervals": (Box(-0.5, 0.5) + NonNegative(), lambda s: Box(-0.5 * s, 0.5 * s) + NonNegative()),
    "free interval": (L1(0.4) + Box(None, None), lambda s: L1(0.4 * s)),
    "no prox": (L1(0.4) + L2(0.4), None),
}


@pytest.mark.parametrize("name", PRIORS)
def test_contract(name):
    prior, rescale = PRIORS[name]
    check_prior(prior, rescale=rescale)


@pytest.mark.parametrize("name", PRIORS)
def test_contract_in_every_library(name, like):
    prior, rescale = PRIORS[name]
    check_prior(prior, rescale=rescale, like=like, search=False)


@pytest.mark.parametrize("name", PRIORS)
@pytest.mark.parametrize("kind", [np.float64, np.complex128])
def test_libraries_agree_with_numpy(name, kind, to):
    prior, _ = PRIORS[name]
    spec = ArraySpec((3, 4), "complex" if kind is np.complex128 else "real")
    check = capability(prior, "check_spec")
    if kind is np.complex128 and check is not None:
        try:
            check(spec)
        except ShapeError:
            return
    x = RNG.standard_normal((2, 3, 4)).astype(kind)
    for method, arguments in (("value", ()), ("prox", (0.8,)), ("prox_conjugate", (0.8,)), ("gradient", ())):
        function = capability(prior, method)
        if function:
            got, wanted = function(to(x), *arguments), function(x, *arguments)
            np.testing.assert_allclose(as_numpy(got), wanted, rtol=1e-12, atol=1e-13)


# --- by hand -------------------------------------------------------------------------------------------


def test_values_by_hand(to):
    x = to(np.array([[3.0, -4.0], [0.0, 12.0]]))
    assert L1(0.5).value(x) == 9.5
    assert L2(0.5).value(x) == 0.25 * 169
    assert L21(2.0).value(x) == 2 * (5 + 12)
    assert L21(1.0, axis=-2).value(x) == pytest.approx(3 + math.sqrt(160))
    assert Nuclear(2.0).value(to(np.diag([3.0, -4.0]))) == pytest.approx(14.0)
    assert L1(1.0).value(to(np.array([3 + 4j]))) == 5.0
    assert L1(1.0).value((x, to(np.array([1.0])))) == 20.0
    assert NonNegative().value(x) == math.inf
    assert Box(-4, 12).value(x) == 0.0
    assert Box(-4, 11.999).value(x) == math.inf
    assert Box(-3.999, 12).value(x) == math.inf
    assert Simplex(1.0).value(to(np.array([[0.25, 0.75], [1.0, 0.0]]))) == 0.0
    assert Simplex(1.0).value(to(np.array([0.25, 0.76]))) == math.inf
    assert Simplex(1.0).value(to(np.array([-0.25, 1.25]))) == math.inf
    assert (L1(0.5) + Box(None, 20)).value(x) == 9.5
    assert (3 * L1(0.5)).value(x) == 28.5
    assert (0 * NonNegative()).value(x) == 0.0


def test_proxes_by_hand(to):
    v = to(np.array([[3.0, -4.0], [0.3, 0.4]]))

    def prox(prior, t):
        return as_numpy(prior.prox(v, t))

    np.testing.assert_allclose(prox(L1(0.5), 2.0), [[2, -3], [0, 0]])
    np.testing.assert_allclose(prox(L2(0.5), 2.0), as_numpy(v) / 2)
    np.testing.assert_allclose(prox(L21(0.5), 2.0), [[2.4, -3.2], [0, 0]])
    np.testing.assert_allclose(prox(Box(0, 0.35), 2.0), [[0.35, 0], [0.3, 0.35]])
    np.testing.assert_allclose(prox(Simplex(1.0), 2.0), [[1, 0], [0.45, 0.55]])
    np.testing.assert_allclose(prox(L21(0.5) + NonNegative(), 2.0), [[2, 0], [0, 0]])
    u, w = np.linalg.qr(RNG.standard_normal((4, 4)))[0], np.linalg.qr(RNG.standard_normal((3, 3)))[0]
    low = to(u[:, :3] * np.array([5.0, 2.0, 0.5]) @ w)
    np.testing.assert_allclose(
        as_numpy(Nuclear(1.0).prox(low, 1.0)), u[:, :3] * np.array([4.0, 1.0, 0.0]) @ w, atol=1e-12
    )


def test_simplex_of_many_entries_against_bisection():
    v = RNG.standard_normal((50, 40)) * 10.0 ** RNG.integers(-3, 3, (50, 1))
    x = Simplex(2.0).prox(v, 1.0)
    low, high = v.min(1) - 2.0, v.max(1)
    for _ in range(200):  # sum of max(v - level, 0) falls with the level
        level = (low + high) / 2
        above = np.maximum(v - level[:, None], 0).sum(1) > 2.0
        low, high = np.where(above, level, low), np.where(above, high, level)
    np.testing.assert_allclose(x, np.maximum(v - level[:, None], 0), atol=1e-11)
    assert Simplex(2.0).value(x) == 0.0


def test_projections_absorb_values_of_any_size():
    huge = np.array([1e300, -1e300, 1.0])
    np.testing.assert_array_equal(Simplex(1.0).prox(huge, 1.0), [1, 0, 0])
    np.testing.assert_array_equal(Box(-1, 2).prox(huge, 1.0), [2, -1, 1])


def test_steps_may_be_arrays_where_the_prior_is_separable(to):
    v, t = np.array([3.0, -4.0, 0.5]), np.array([1.0, 2.0, 0.0])
    for prior in (L1(0.5), L2(0.5), Box(-1, 1), L1(0.5) + NonNegative()):
        wanted = [float(prior.prox(v[i : i + 1], float(t[i]))[0]) for i in range(3)]
        np.testing.assert_allclose(as_numpy(prior.prox(to(v), to(t))), wanted)


def test_tuples_are_served_member_by_member(to):
    v = (to(np.array([[3.0, 1.0], [2.0, -2.0]])), to(np.array([[1.0, 0.0], [0.0, 1.0]])))
    for prior in (L1(0.5), L2(0.5), L21(0.5), Nuclear(0.5), Box(0, 1), Simplex(1.0), L1(0.5) + NonNegative()):
        both = prior.prox(v, 0.5)
        for got, one in zip(both, v, strict=True):
            np.testing.assert_allclose(as_numpy(got), as_numpy(prior.prox(one, 0.5)))


def test_prox_conjugate_by_moreau_where_there_is_no_own():
    v = RNG.standard_normal(5)
    for prior in (L2(0.5), Box(-1, 1), Simplex(1.0), 2 * L1(0.5)):
        q = prox_conjugate(prior, v, 0.5)
        np.testing.assert_allclose(v, 0.5 * prior.prox(v / 0.5, 2.0) + q, atol=1e-14)
    pair = prox_conjugate(L2(0.5), (v, v), 0.5)
    np.testing.assert_allclose(pair[1], prox_conjugate(L2(0.5), v, 0.5))


# --- algebra -------------------------------------------------------------------------------------------


def test_terms_and_text():
    one, two = L1(0.5), NonNegative()
    assert terms(None) == ()
    assert terms(one) == (one,)
    assert terms(one + two + L2(1.0)) == (one, two, L2(1.0))
    assert terms(one + (two + L2(1.0))) == (one, two, L2(1.0))
    assert repr(2 * one + two) == "2 * L1(weight=0.5) + NonNegative()"


def test_composites_have_exactly_the_capabilities_of_their_parts():
    assert capability(2 * L2(1.0), "gradient") is not None
    assert (2 * L2(0.5)).curvature() == 1.0
    for prior, absent in (
        (2 * L1(1.0), "gradient"),
        (2 * L1(1.0), "curvature"),
        (2 * L1(1.0), "split"),
        (2 * L2(1.0), "check_spec"),
        (2 * Nuclear(1.0), "prox_within"),
        (2 * L1(1.0), "prox_from"),
        (L1(1.0) + L2(1.0), "prox"),
        (Nuclear(1.0) + NonNegative(), "prox"),
        (L1(1.0) + NonNegative(), "prox_from"),
        (TGV(1.0) + NonNegative(), "prox_from"),
        (L1(1.0) + L2(1.0) + NonNegative(), "prox_from"),
        (Scaled(Prior(), 1.0), "value"),
        (Prior() + L1(1.0), "value"),
    ):
        assert capability(prior, absent) is None
    assert capability(2 * TV(1.0), "split") is not None
    assert capability(2 * TV(1.0) + NonNegative(), "prox_from") is not None


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: L1(-1.0), ParameterError, "L1.weight must be >= 0, got -1.0."),
        (lambda: L2(-1.0), ParameterError, "L2.weight must be >= 0, got -1.0."),
        (lambda: -2 * L1(1.0), ParameterError, "A prior must be scaled by a finite number >= 0, got -2.0."),
        (
            lambda: math.inf * L1(1.0),
            ParameterError,
            "A prior must be scaled by a finite number >= 0, got inf.",
        ),
        (lambda: Box(1, 0), ParameterError, "Box.upper must be >= lower = 1.0, got 0.0. Swap the bounds."),
        (lambda: Simplex(0.0), ParameterError, "Simplex.total must be > 0, got 0.0."),
        (
            lambda: (NonNegative() + Box(-2, -1)).prox,
            ParameterError,
            "The intervals of a sum must overlap, got [0.0, -1.0]. Check the bounds.",
        ),
        (
            lambda: L21().check_spec(ArraySpec(())),
            ShapeError,
            "L21.axis must be negative and inside the sample's 0 axes, got -1. Count from the last axis",
        ),
        (lambda: L21(axis=0).check_spec(ArraySpec((3,))), ShapeError, "inside the sample's 1 axes, got 0."),
        (
            lambda: L21(axis=-2).check_spec((ArraySpec((3, 2)), ArraySpec((3,)))),
            ShapeError,
            "1 axes, got -2.",
        ),
        (
            lambda: Simplex(axis=0).check_spec(ArraySpec((3,))),
            ShapeError,
            "Simplex.axis must be negative and inside the sample's 1 real axes, got 0.",
        ),
        (
            lambda: Simplex().check_spec(ArraySpec((3,), "complex")),
            ShapeError,
            "Simplex.axis must be negative",
        ),
        (
            lambda: Nuclear().check_spec(ArraySpec((3,))),
            ShapeError,
            "Nuclear needs matrices: the sample must have 2 axes or more, got (3,).",
        ),
        (
            lambda: NonNegative().check_spec(ArraySpec((3,), "complex")),
            ShapeError,
            "NonNegative must act on real arrays, got a complex spec. Use a real domain.",
        ),
        (
            lambda: (L1() + Box()).check_spec(ArraySpec((3,), "complex")),
            ShapeError,
            "Box must act on real arrays",
        ),
        (
            lambda: L21().prox_within(np.ones(2), 1.0, -1.0, None),
            CapabilityError,
            "L21.prox_within must be asked for lower = 0 without upper, got [-1.0, None]. Use Admm.",
        ),
    ],
)
def test_refusals(make, error, text):
    with pytest.raises(error, match=re.escape(text)):
        make()


def test_every_real_number_scales_a_prior():
    for two in (2, 2.0, np.float32(2), np.int64(2)):
        for scaled in (two * L1(0.5), L1(0.5) * two):
            assert repr(scaled) == "2 * L1(weight=0.5)"
        assert repr(two * (L1(0.5) + L2(1.0))) == "2 * L1(weight=0.5) + 2 * L2(weight=1.0)"


def test_convexity_is_that_of_the_parts():
    W = recon.Identity(ArraySpec((3,)))
    for prior in (L0(), 2 * L0(), L0() @ W, (2 * L0()) @ W, L1() + L0(), 2 * (NonNegative() + TopK(1))):
        assert prior.convex is False
    for prior in (L1(), 2 * L21(), TV() @ recon.Identity(ArraySpec((3, 3))), L1() + NonNegative()):
        assert prior.convex is True


@pytest.mark.parametrize("solver", [Fista(), Pdhg(), Pogm(), CondatVu(), Pd3o()], ids=repr)
def test_convex_solvers_refuse_what_is_not(solver):
    problem = recon.Problem(recon.Identity(ArraySpec((3,))), np.ones(3), 2 * L0(0.5))
    text = "needs a convex prior, which 2 * L0(weight=0.5) is not. Use RelaxedIht or Admm instead."
    with pytest.raises(CapabilityError, match=re.escape(f"{type(solver).__name__} {text}")):
        solver.init(problem)
    assert type(recon.solve(problem, stop=2).solver).__name__ == "RelaxedIht"
    by_hand = recon.solve(problem, Admm(), stop=200)  # 1/2 (x - 1)^2 + [x != 0]: 0 costs 1/2, 1 costs 1
    np.testing.assert_array_equal(by_hand.x, 0.0)


def test_only_numbers_and_priors_join():
    for attempt in (lambda: L1() * "2", lambda: L1() + 2, lambda: L1() * L1()):
        with pytest.raises(TypeError):
            attempt()
    assert isinstance(L1() + L2(), Total)


def test_a_scaled_sum_is_the_sum_of_the_scaled():
    """Solvers take sums apart: they must find every term, scaled, and constraints unchanged."""
    v = np.random.default_rng(0).standard_normal((6, 5))
    total = 0.5 * (TV(1.0) + L1(0.2) + NonNegative())
    assert [type(term) for term in terms(total)] == [Scaled] * 3
    assert all(hasattr(term, "split") or hasattr(term, "prox") for term in terms(total))
    assert total.value(abs(v)) == pytest.approx(0.5 * TV(1.0).value(abs(v)) + 0.1 * abs(v).sum())
    assert total.value(v) == np.inf
    assert repr(2 * (L1(1.0) + L2(1.0))) == "2 * L1(weight=1.0) + 2 * L2(weight=1.0)"
    one = (0.5 * (L1(1.0) + NonNegative())).prox(v, 0.4)
    np.testing.assert_allclose(one, (L1(0.5) + NonNegative()).prox(v, 0.4))
    with pytest.raises(ParameterError, match=r"A prior must be scaled by a finite number >= 0, got -1"):
        -1.0 * (L1() + L2())


@pytest.mark.parametrize("scale", [1e-25, 1e20])
def test_groups_in_single_precision_are_free_of_scale(scale):
    v = np.random.default_rng(0).standard_normal((6, 5)).astype(np.float32)
    expected = L21(0.3).prox(v, 1.0)
    np.testing.assert_allclose(
        L21(0.3).prox(v * np.float32(scale), scale) / np.float32(scale), expected, atol=2e-6
    )
    assert L21(0.3).value(v * np.float32(scale)) == pytest.approx(scale * L21(0.3).value(v), rel=1e-5)


def test_rounding_below_zero_is_not_a_broken_constraint():
    x = np.array([1.0, -1e-15])
    assert NonNegative().value(x) == 0.0
    assert NonNegative().value(np.array([1.0, -1e-12])) == np.inf


def test_intervals_that_do_not_meet_are_refused_when_the_problem_is_made():
    with pytest.raises(ParameterError, match=r"The intervals of a sum must overlap, got \[3.0, 2.0\]"):
        recon.Problem(recon.Identity(recon.ArraySpec((2,))), np.ones(2), Box(1, 2) + Box(3, 4))


def test_simplex_with_an_interval_that_cuts_it_has_no_closed_form():
    with pytest.raises(
        CapabilityError, match=r"Simplex.prox_within must be asked for an interval around \[0, 1.0\]"
    ):
        Simplex().prox_within(np.ones(3), 1.0, 0.0, 0.5)
    assert capability(Simplex() + Box(0, 0.5), "prox") is None
    assert capability(Simplex() + NonNegative(), "prox") is not None
