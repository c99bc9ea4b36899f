"""HuberTV, vectorial TV and Huber: the contract, general optimisers, limits, every text."""

from __future__ import annotations

import re

import numpy as np
import pytest
from recon_proximal import Admm, Fista, Pdhg
from scipy.optimize import minimize

import recon
from recon.arrays import ArraySpec, as_numpy
from recon.derivatives import Gradient
from recon.errors import ParameterError, ShapeError
from recon.linalg import dense
from recon.operator import capability
from recon.priors import L1, L21, TV, Box, Huber, HuberTV
from recon.testing import check_operator, check_prior

RNG = np.random.default_rng(5)

HUBERS = {
    "entries": (Huber(0.7, delta=0.3), lambda s: Huber(0.7 * s, delta=0.3 * s)),
    "rows": (Huber(0.7, delta=0.3, axis=-1), lambda s: Huber(0.7 * s, delta=0.3 * s, axis=-1)),
    "of weight 0": (Huber(0.0, delta=0.3), lambda s: Huber(0.0, delta=0.3 * s)),
    "scaled": (2 * Huber(0.7, delta=0.3), lambda s: 2 * Huber(0.7 * s, delta=0.3 * s)),
    "groups of two axes": (L21(0.7, axis=(-2, -1)), lambda s: L21(0.7 * s, axis=(-2, -1))),
}


@pytest.mark.parametrize("name", HUBERS)
def test_contract_of_huber(name, like):
    prior, rescale = HUBERS[name]
    check_prior(prior, rescale=rescale, like=like, search=isinstance(like, np.ndarray))


# (prior, s -> s^2 f(x / s), shape)
VARIATIONS = {
    "huber": (lambda s: HuberTV(0.3 * s, delta=0.2 * s, tol=1e-10), (4, 5)),
    "huber 1-D": (lambda s: HuberTV(0.3 * s, 1, delta=0.2 * s, tol=1e-10), (7,)),
    "huber anisotropic": (lambda s: HuberTV(0.3 * s, 2, False, delta=0.2 * s, tol=1e-10), (4, 5)),
    "huber in a box": (
        lambda s: HuberTV(0.3 * s, delta=0.2 * s, tol=1e-10) + Box(-0.2 * s, 0.4 * s),
        (4, 3),
    ),
    "channels": (lambda s: TV(0.3 * s, channels=True, tol=1e-10), (3, 3, 4)),
    "channels anisotropic": (lambda s: TV(0.3 * s, 1, False, channels=True, tol=1e-10), (3, 4)),
    "huber channels": (lambda s: HuberTV(0.3 * s, delta=0.2 * s, channels=True, tol=1e-10), (2, 3, 4)),
}


@pytest.mark.parametrize("name", VARIATIONS)
def test_contract(name):
    make, shape = VARIATIONS[name]
    search = name in (
        "huber",
        "huber in a box",
        "channels anisotropic",
    )  # the general optimiser below checks all
    check_prior(make(1.0), rescale=make, spec=ArraySpec(shape), search=search)


@pytest.mark.parametrize("prior", [HuberTV(0.3, delta=0.2, tol=1e-3), TV(0.3, 1, channels=True, tol=1e-3)])
@pytest.mark.parametrize("kind", ["real", "complex"])
def test_contract_in_every_library(prior, kind, like):
    check_prior(prior, like=like, spec=ArraySpec((2, 2), kind), search=False)  # strict arrays are slow


@pytest.mark.parametrize("name", [n for n in VARIATIONS if "box" not in n])
def test_libraries_agree_with_numpy(name, to):
    make, shape = VARIATIONS[name]
    v, prior = RNG.standard_normal((2, *shape)), make(1.0)
    assert prior.value(to(v)) == pytest.approx(prior.value(v), rel=1e-13)
    np.testing.assert_allclose(as_numpy(prior.prox(to(v), 0.7)), prior.prox(v, 0.7), atol=1e-10)


def by_hand(x, weight, delta, ndim, isotropic, channels):
    """sum h(|G x|) with loops over numpy.diff; independent of the library's differences."""
    axes = range(x.ndim - ndim, x.ndim)
    parts = [np.diff(x, axis=a, append=np.take(x, [-1], axis=a)) for a in axes]
    square = np.stack(parts) ** 2
    if channels:
        square = square.sum(axis=x.ndim - ndim, keepdims=True)
    if isotropic:
        square = square.sum(axis=0)
    s = np.sqrt(square)
    return weight * (np.where(s <= delta, s**2 / (2 * delta), s - delta / 2) if delta else s).sum()


@pytest.mark.parametrize("name", [n for n in VARIATIONS if "box" not in n])
@pytest.mark.parametrize("t", [0.3, 3.0])
def test_value_and_prox_equal_a_general_optimiser(name, t):
    make, shape = VARIATIONS[name]
    prior, v = make(1.0), RNG.standard_normal(shape)
    form = (prior.weight, getattr(prior, "delta", 0.0), prior.ndim, prior.isotropic, prior.channels)
    assert prior.value(v) == pytest.approx(by_hand(v, *form), rel=1e-12)

    def cost(x):
        return by_hand(x, *form) + ((x - v) ** 2).sum() / (2 * t)

    x = prior.prox(v, t)
    start, best = v, np.inf
    for _ in range(3):  # a method of no gradients, restarted
        found = minimize(
            lambda z: cost(z.reshape(shape)),
            start.ravel(),
            method="Powell",
            options={"xtol": 1e-9, "ftol": 1e-13},
        )
        start, best = found.x, min(best, found.fun)
    assert cost(x) <= best * (1 + 1e-9)


def test_small_corners_give_tv_and_large_ones_tikhonov():
    v = RNG.standard_normal((6, 7))
    np.testing.assert_allclose(
        HuberTV(0.3, delta=1e-9, tol=1e-10).prox(v, 1.0), TV(0.3, tol=1e-10).prox(v, 1.0), atol=1e-5
    )
    K = dense(Gradient((6, 7)))
    smooth = np.linalg.solve(np.eye(42) + 0.3 / 50 * K.T @ K, v.ravel()).reshape(6, 7)
    np.testing.assert_allclose(HuberTV(0.3, delta=50.0, tol=1e-12).prox(v, 1.0), smooth, atol=1e-6)


def test_channels_that_are_equal_count_once():
    """C equal channels: the length is sqrt(C) times that of one, and coupled edges are cheaper than separate ones."""
    x = RNG.standard_normal((5, 6))
    both = np.stack([x, x, x])
    joint = TV(0.3, channels=True)
    assert joint.value(both) == pytest.approx(np.sqrt(3) * TV(0.3).value(x))
    moved = np.stack([x, np.roll(x, 2, axis=-1), np.roll(x, 4, axis=-1)])
    assert joint.value(moved) > joint.value(both)
    np.testing.assert_allclose(joint.prox(both, 1.0)[0], TV(0.3 / np.sqrt(3)).prox(x, 1.0), atol=2e-3)
    np.testing.assert_allclose(joint.prox(x[None], 1.0)[0], TV(0.3).prox(x, 1.0), atol=2e-3)


def test_images_of_a_batch_are_independent():
    v = RNG.standard_normal((3, 2, 6, 6)) * np.array([1, 1e-6, 1e6])[:, None, None, None]
    for prior in (TV(0.3, channels=True, tol=1e-12), HuberTV(0.3, delta=0.1, channels=True, tol=1e-12)):
        for one, image in zip(prior.prox(v, 1.0), v, strict=True):
            np.testing.assert_allclose(one, prior.prox(image, 1.0), atol=1e-5 * abs(image).max())


@pytest.mark.parametrize("prior", [HuberTV(0.3, delta=0.1), TV(0.3, channels=True)])
def test_solvers_agree(prior):
    shape = (2, 8, 8)
    y = np.cumsum(RNG.standard_normal(shape), axis=-1)
    mask = recon.Diagonal((RNG.random(shape) < 0.7).astype(float))
    problem = recon.Problem(mask, mask @ y, prior)
    values = [
        problem.objective(recon.solve(problem, solver, stop=600, every=600).x)
        for solver in (Pdhg(), Admm(), Fista())
    ]
    assert max(values) <= min(values) * (1 + 1e-4)


def test_what_each_offers():
    assert capability(TV(0.3), "gradient") is None
    assert HuberTV(0.3, delta=0.1).curvature() == pytest.approx(24.0)
    assert HuberTV(0.3, 3, delta=0.1).curvature() == pytest.approx(36.0)
    outer, K = TV(0.3, channels=True).split(ArraySpec((3, 4, 5)))
    assert outer == L21(0.3, axis=(-4, -3))
    assert K.domain == ArraySpec((3, 4, 5))
    assert TV(0.3, 1, False, channels=True).split(ArraySpec((3, 4)))[0] == L21(0.3, axis=-3)
    assert TV(0.3, 1, False).split(ArraySpec((3, 4)))[0] == L1(0.3)
    assert HuberTV(0.3, delta=0.1).split(ArraySpec((3, 4)))[0] == Huber(0.3, delta=0.1, axis=-3)
    check_operator(Gradient((2, 3, 4), ndim=2))
    check_operator(Gradient((2, 3, 4), "complex", ndim=1))


@pytest.mark.parametrize("power", [-83, 66])
def test_single_precision_is_free_of_scale(power):
    v = RNG.standard_normal((2, 6, 7)).astype(np.float32)
    scale = np.float32(2.0) ** power
    one, other = HuberTV(0.3, delta=0.1), HuberTV(0.3, delta=0.1 * float(scale))
    assert (other.prox(v * scale, float(scale)) / scale == one.prox(v, 1.0)).all()
    assert other.value(v * scale) == pytest.approx(float(scale) * one.value(v), rel=1e-5)


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: Huber(0.1, delta=0.0), ParameterError, "Huber.delta must be > 0, got 0.0."),
        (lambda: HuberTV(0.1, delta=-1), ParameterError, "HuberTV.delta must be > 0, got -1.0."),
        (
            lambda: Huber(0.1, delta=1.0, axis=-2).check_spec(ArraySpec((3,))),
            ShapeError,
            "Huber.axis must be negative and inside the sample's 1 axes, got -2. Count from the last axis",
        ),
        (
            lambda: L21(0.1, axis=(-1, -2)).check_spec(ArraySpec((3,))),
            ShapeError,
            "L21.axis must be negative and inside the sample's 1 axes, got (-1, -2).",
        ),
        (
            lambda: TV(0.1, channels=True).check_spec(ArraySpec((3, 3))),
            ShapeError,
            "TV.channels must be False for images without an axis in front of the last 2, got True for 2 axes. "
            "Add an axis of length 1.",
        ),
        (
            lambda: HuberTV(0.1, delta=1.0).value(np.ones(3)),
            ShapeError,
            "HuberTV.ndim must be at most the 1 axes of the image, got 2. Lower it.",
        ),
        (
            lambda: HuberTV(0.1, delta=1.0).check_spec((ArraySpec((3, 3)),)),
            ShapeError,
            "HuberTV must act on one array, got a tuple.",
        ),
        (
            lambda: Gradient((3, 4), ndim=3),
            ShapeError,
            "Gradient.ndim must be 1 to 3 and at most 2 axes, got 3.",
        ),
    ],
)
def test_refusals(make, error, text):
    with pytest.raises(error, match=re.escape(text)):
        make()
