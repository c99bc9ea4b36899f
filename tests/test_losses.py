"""Losses: the contract on every library, values by hand, the conjugate prox with steps of every form, texts."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
import torch

from recon.arrays import as_numpy, leaves, tmap
from recon.errors import ArrayError, ParameterError, ShapeError
from recon.losses import LeastSquares, Poisson, WeightedLeastSquares, loss_prox_conjugate
from recon.testing import check_loss
from recon.testing.losses import _DATA

PAIR = np.array([1.5, -0.5])
COMPLEX = np.array([1.0 - 2.0j])
TUPLE = (np.array([[1.0, 2.0]]), np.array([3.0 + 1j, 0.5]))

CASES = {
    "least squares": (LeastSquares(), None),
    "least squares, two numbers": (LeastSquares(), PAIR),
    "least squares, complex": (LeastSquares(), COMPLEX),
    "least squares, tuple": (LeastSquares(), TUPLE),
    "weighted": (WeightedLeastSquares.example(), None),
    "weighted, two numbers": (WeightedLeastSquares(np.array([0.0, 3.0])), PAIR),
    "weighted, one for all": (WeightedLeastSquares(0.3), COMPLEX),
    "weighted, tuple": (WeightedLeastSquares((np.array([2, 1]), 0.5)), TUPLE),
    "poisson": (Poisson.example(), None),
    "poisson, two numbers": (Poisson(), np.array([2.0, 0.0])),
    "poisson with background": (Poisson(1.5), np.array([0.0, 4.0])),
}


@pytest.mark.parametrize("name", CASES)
def test_contract(name):
    check_loss(*CASES[name])


@pytest.mark.parametrize("name", CASES)
def test_contract_in_every_library(name, like, to):
    loss, data = CASES[name]
    check_loss(loss, data, like=like, search=False)
    y = _DATA if data is None else data
    v, moved = tmap(lambda leaf: leaf + 0.7, y), tmap(to, y)
    for function in (lambda p, y: loss.prox(p, 0.8, y), loss.gradient):
        for got, wanted in zip(leaves(function(tmap(to, v), moved)), leaves(function(v, y)), strict=True):
            np.testing.assert_allclose(as_numpy(got), wanted, rtol=1e-13)
    assert loss.value(tmap(to, v), moved) == pytest.approx(loss.value(v, y), rel=1e-13)


def test_values_by_hand(to):
    p, y = to(np.array([1.0, 3.0, 2.0, 0.0])), to(np.array([2.0, 1.0, 2.0, 5.0]))
    assert LeastSquares().value(p, y) == 0.5 * (1 + 4 + 0 + 25)
    assert WeightedLeastSquares(np.array([1.0, 0.5, 7.0, 0.0])).value(p, y) == 0.5 * (1 + 2)
    wanted = sum(m - k + k * math.log(k / m) for m, k in ((1.5, 2), (3.5, 1), (2.5, 2), (0.5, 5)))
    assert Poisson(0.5).value(p, y) == pytest.approx(wanted, rel=1e-14)
    assert LeastSquares().curvature(y) == 1.0
    assert WeightedLeastSquares((3.0, np.array([1, 4]))).curvature(y) == 4.0
    assert Poisson().curvature(y) == math.inf


def test_poisson_is_infinite_outside_its_domain_and_finite_on_its_edge():
    loss = Poisson()
    assert loss.value(np.array([0.0]), np.array([0.0])) == 0.0
    assert loss.value(np.array([0.0]), np.array([1.0])) == math.inf
    assert loss.value(np.array([-0.1]), np.array([0.0])) == math.inf
    assert Poisson(0.5).value(np.array([-0.25]), np.array([1.0])) < math.inf


def test_poisson_value_does_not_cancel_near_large_counts():
    y = np.array([1e6, 4e6, 25.0, 1e-40, 1.0, 0.0], np.float32)
    p = np.array([1.0004e6, 3.9992e6, 25.5, 1e5, 1e-17, 2.0], np.float32)
    counts, mean = y.astype(np.longdouble), p.astype(np.longdouble)
    wanted = mean - counts + counts * np.log(np.where(y > 0, counts / mean, 1))
    for k in range(6):
        got = Poisson().value(p[k : k + 1], y[k : k + 1])
        assert got == pytest.approx(float(wanted[k]), rel=1e-3 if k < 2 else 1e-5)
    exact = Poisson().value(p.astype(float), y.astype(float))
    assert exact == pytest.approx(float(wanted.sum()), rel=1e-13)


def test_poisson_prox_does_not_cancel_at_large_scale():
    v, y, t = np.array([-1e12]), np.array([3.0]), 1.0
    x = Poisson().prox(v, t, y)
    assert x[0] == pytest.approx(3e-12, rel=1e-9)  # root of x^2 + 1e12 x - 3


@pytest.mark.parametrize("single", [False, True])
def test_weights_follow_library_and_precision(to, single):
    dtype = np.float32 if single else np.float64
    weights = np.array([1.0, 2.0])
    weights.setflags(write=False)
    p = to(np.ones(2, dtype))
    for given in (weights, torch.asarray([1.0, 2.0]), to(np.array([1.0, 2.0], dtype))):
        out = WeightedLeastSquares(given).gradient(p, 0 * p)
        assert out.dtype == p.dtype
        np.testing.assert_array_equal(as_numpy(out), [1.0, 2.0])


@pytest.mark.parametrize(
    "make",
    [
        lambda part: LeastSquares(),
        lambda part: WeightedLeastSquares(np.array([1.0, 3.0])[part]),
        lambda part: Poisson(0.5),
    ],
)
def test_steps_may_be_arrays_and_tuples(make):
    v, y, steps = np.array([1.0, -2.0]), np.array([0.5, 3.0]), np.array([0.5, 4.0])
    every = slice(None)
    wanted = np.concatenate(
        [
            loss_prox_conjugate(make(part), v[part], float(steps[part][0]), y[part])
            for part in (slice(0, 1), slice(1, 2))
        ]
    )
    np.testing.assert_allclose(loss_prox_conjugate(make(every), v, steps, y), wanted, rtol=1e-13)
    pair = loss_prox_conjugate(make(every), (v, v), (steps, 0.5), (y, y))
    np.testing.assert_allclose(pair[0], wanted, rtol=1e-13)
    one = loss_prox_conjugate(make(every), (v,), 0.5, (y,))
    np.testing.assert_allclose(pair[1], one[0], rtol=1e-13)


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (
            lambda: WeightedLeastSquares(np.array([1.0, -1.0])),
            ParameterError,
            "WeightedLeastSquares.weights must be real, finite and >= 0, got other entries. Use 0 to ignore",
        ),
        (lambda: WeightedLeastSquares(np.array([np.inf])), ParameterError, "must be real, finite and >= 0"),
        (lambda: WeightedLeastSquares(np.array([1j])), ParameterError, "must be real, finite and >= 0"),
        (
            lambda: WeightedLeastSquares(np.ones(3)).check_data(np.ones(4)),
            ShapeError,
            "WeightedLeastSquares.weights must have the shape of the data, (4,), got (3,).",
        ),
        (
            lambda: WeightedLeastSquares(np.ones((2, 4))).check_data(np.ones(4)),
            ShapeError,
            "(4,), got (2, 4).",
        ),
        (lambda: WeightedLeastSquares((1.0, 1.0)).check_data(np.ones(4)), ShapeError, "(4,), got (), ()."),
        (lambda: Poisson(-1.0), ParameterError, "Poisson.background must be >= 0, got -1.0."),
        (
            lambda: Poisson().check_data(np.array([1.0, -1.0])),
            ParameterError,
            "Poisson data must be counts >= 0, got negative entries. Clip or correct the data.",
        ),
        (
            lambda: Poisson().check_data(np.array([1j])),
            ArrayError,
            "Poisson data must be real counts, got a complex array. Use LeastSquares.",
        ),
    ],
)
def test_refusals(make, error, text):
    with pytest.raises(error, match=re.escape(text)):
        make()


def test_poisson_slope_where_nothing_was_counted_and_nothing_is_expected():
    assert (Poisson().gradient(np.array([0.0, 2.0]), np.array([0.0, 1.0])) == [1.0, 0.5]).all()


def test_weights_are_copied():
    weights = np.ones(3)
    loss = WeightedLeastSquares(weights)
    weights[:] = np.nan
    assert loss.value(np.ones(3), np.zeros(3)) == 1.5
