"""Bounds per pixel: the projection, what it joins, the library and precision of the data, and the texts."""

import math

import numpy as np
import pytest
from recon_proximal import Admm, Pdhg

from recon import L1, TV, ArraySpec, Box, Identity, NonNegative, Problem, solve
from recon.errors import ParameterError, ShapeError
from recon.operator import capability
from recon.priors import Simplex
from recon.testing import check_prior

RNG = np.random.default_rng(5)
LOWER = RNG.uniform(-1, 0, (6, 5))
UPPER = RNG.uniform(0, 1, (6, 5))
SPEC = ArraySpec((6, 5))


@pytest.mark.parametrize(
    "make",
    [
        lambda s: Box(s * LOWER, s * UPPER),
        lambda s: Box(None, s * UPPER),
        lambda s: Box(s * LOWER, None),
        lambda s: Box(-0.3 * s, s * UPPER[0]),
        lambda s: NonNegative() + Box(s * LOWER, s * UPPER),
        lambda s: Box(-0.2 * s, 0.4 * s) + 2 * Box(s * LOWER, s * UPPER),
    ],
)
def test_contract(make, like):
    check_prior(make(1.0), spec=SPEC, rescale=make, like=like, search=False)


def test_projection_value_and_dual():
    v = RNG.standard_normal((3, 6, 5))
    box = Box(LOWER, UPPER)
    x = box.prox(v, 7.0)
    np.testing.assert_array_equal(x, np.minimum(np.maximum(v, LOWER), UPPER))
    assert box.value(x) == 0.0
    assert box.value(x + 1e-9) == math.inf
    assert box.conjugate(v) == pytest.approx(np.maximum(LOWER * v, UPPER * v).sum())
    assert box.gauge(v) == 0.0
    assert Box(None, UPPER).gauge(-np.ones((6, 5))) == math.inf
    assert box.prox(v.astype(np.float32), 1.0).dtype == np.float32


def test_mask_is_a_support():
    mask = LOWER < -0.5
    x = Box(0.0, mask).prox(3 * np.ones((6, 5)), 1.0)
    np.testing.assert_array_equal(x, mask.astype(float))
    mask[:] = True  # the box holds a copy
    assert Box(0.0, mask) != Box(0.0, LOWER < -0.5)


def test_only_numbers_are_an_interval():
    assert Box(0, 1).interval == (0.0, 1.0)
    box = Box(0.0, UPPER)
    assert getattr(box, "interval", None) is None
    assert getattr(2 * box, "interval", None) is None
    assert capability(box + L1(0.1), "prox") is None
    assert capability(box + Simplex(), "prox") is None
    assert capability(Box(0.5, UPPER + 1) + Box(-2, 0.2), "prox") is None  # nothing in common
    assert Box(LOWER, UPPER) == Box(LOWER.copy(), UPPER)
    assert hash(Box(LOWER, UPPER)) == hash(Box(LOWER.copy(), UPPER))
    assert Box(LOWER, UPPER) != Box(LOWER, 1.0)
    assert repr(Box(0, UPPER)) == "Box(lower=0.0, upper=<float64 (6, 5)>)"


@pytest.mark.parametrize("solver", [Pdhg(), Admm()])
def test_beside_other_priors(solver):
    """min 1/2 ||x - y||^2 + 0.2 |x|_1 in the box is the clipped soft threshold."""
    y = 2 * RNG.standard_normal((6, 5))
    problem = Problem(Identity(SPEC), y, L1(0.2) + Box(LOWER, UPPER))
    wanted = np.clip(np.sign(y) * np.maximum(np.abs(y) - 0.2, 0), LOWER, UPPER)
    np.testing.assert_allclose(solve(problem, solver, stop=400).x, wanted, atol=1e-5)
    flat = solve(Problem(Identity(SPEC), y, TV(50.0) + Box(0.0, 1.0 * (UPPER > 0.5))), solver, stop=500).x
    assert not flat[UPPER <= 0.5].any()


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (
            lambda: Box(0.0, UPPER - 2),
            ParameterError,
            r"Box.upper must be >= lower in every pixel, got less in 30",
        ),
        (
            lambda: Box(0.0, UPPER * np.nan),
            ParameterError,
            r"Box.upper must be None, a number or an array of finite",
        ),
        (lambda: Box("x", 1.0), ParameterError, r"Box.lower must be"),
        (
            lambda: Box(LOWER, UPPER[:3]),
            ShapeError,
            r"Box.upper must have the shape of lower, \(6, 5\), got \(3, 5\)",
        ),
        (
            lambda: Problem(Identity(ArraySpec((4,))), np.ones(4), Box(0.0, UPPER)),
            ShapeError,
            r"Box bounds must broadcast to the image, \(4,\), got \(6, 5\)\. Give numbers",
        ),
    ],
)
def test_texts(call, error, text):
    with pytest.raises(error, match=text):
        call()
