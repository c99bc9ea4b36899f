"""Weights per entry: the contract, a loop over single entries as reference, reweighting, every text."""

from __future__ import annotations

import json
import pickle
import re

import numpy as np
import pytest
from recon_proximal import Admm, Fista, Pdhg
from scipy.optimize import lsq_linear

import recon
from recon.arrays import ArraySpec, as_numpy
from recon.checkpoint import fingerprint
from recon.errors import ParameterError, ShapeError
from recon.params import describe
from recon.priors import L1, L21, NonNegative
from recon.testing import check_prior

RNG = np.random.default_rng(4)
PAIR = np.array([0.7, 0.2])
ROWS = np.array([[0.7], [0.0], [2.0]])

PRIORS = {
    "entries": (L1(PAIR), lambda s: L1(PAIR * s), ArraySpec((3, 2))),
    "complex entries": (L1(PAIR), lambda s: L1(PAIR * s), ArraySpec((3, 2), "complex")),
    "rows": (L1(ROWS), lambda s: L1(ROWS * s), ArraySpec((3, 2))),
    "groups": (L21(ROWS), lambda s: L21(ROWS * s), ArraySpec((3, 2))),
    "groups along rows": (L21(PAIR, axis=-2), lambda s: L21(PAIR * s, axis=-2), ArraySpec((3, 2))),
    "nonnegative": (L1(PAIR) + NonNegative(), lambda s: L1(PAIR * s) + NonNegative(), ArraySpec((3, 2))),
    "scaled": (2 * L1(PAIR), lambda s: 2 * L1(PAIR * s), ArraySpec((3, 2))),
}


@pytest.mark.parametrize("name", PRIORS)
def test_contract(name, like):
    prior, rescale, spec = PRIORS[name]
    search = isinstance(like, np.ndarray) and name not in ("rows", "groups")  # three rows fit no small array
    check_prior(prior, rescale=rescale, spec=spec, like=like, search=search)


@pytest.mark.parametrize("kind", [float, complex])
def test_entries_are_those_of_single_priors(kind, to):
    v, w = RNG.standard_normal((2, 3, 4)).astype(kind), RNG.random((3, 4))
    if kind is complex:
        v += 1j * RNG.standard_normal(v.shape)
    for prior, single, shape in ((L1(w), L1, (3, 4)), (L21(w[:, :1]), L21, (3,))):
        for method, arguments in (("prox", (0.8,)), ("prox_conjugate", (0.8,))):
            wanted = np.empty_like(v)
            for place in np.ndindex(2, *shape):
                weight = float(w[place[1:]]) if len(shape) == 2 else float(w[place[1], 0])
                one = getattr(single(weight), method)(np.atleast_1d(v[place]), *arguments)
                wanted[place] = one if len(shape) == 1 else one[0]
            np.testing.assert_allclose(
                as_numpy(getattr(prior, method)(to(v), *arguments)), wanted, atol=1e-14
            )
    assert L1(w).value(to(v)) == pytest.approx((w * abs(v)).sum())
    length = np.linalg.norm(v, axis=-1)
    assert L21(w[:, :1]).value(to(v)) == pytest.approx((w[:, 0] * length).sum())


def test_axes_in_front_are_batch_axes_and_steps_may_be_arrays(to):
    v, w = RNG.standard_normal((2, 3)), RNG.random((2, 3))
    both = L1(w).prox(to(v), 0.5)
    for got, one, weight in zip(as_numpy(both), v, w, strict=True):
        np.testing.assert_array_equal(got, L1(weight).prox(one, 0.5))
    steps = RNG.random(3)
    np.testing.assert_allclose(
        as_numpy(L1(w[0]).prox(to(v), to(steps))), L1(w[0] * steps).prox(v, 1.0), atol=1e-15
    )


def test_tuples_take_a_tuple_of_weights_or_one_for_all(to):
    v = (RNG.standard_normal((3, 2)), RNG.standard_normal(2))
    w = (RNG.random((3, 2)), RNG.random(2))
    moved = tuple(map(to, v))
    for got, one, weight in zip(L1(w).prox(moved, 0.5), v, w, strict=True):
        np.testing.assert_array_equal(as_numpy(got), L1(weight).prox(one, 0.5))
    for got, one in zip(L1(w[1]).prox(moved, 0.5), v, strict=True):
        np.testing.assert_array_equal(as_numpy(got), L1(w[1]).prox(one, 0.5))
    assert L1(w).value(moved) == pytest.approx(L1(w[0]).value(v[0]) + L1(w[1]).value(v[1]))
    L1(w).check_spec((ArraySpec((3, 2)), ArraySpec((2,))))


def test_precision_follows_the_data(to):
    v = to(RNG.standard_normal(4).astype(np.float32))
    out = L1(np.arange(4)).prox(v, 0.5)
    assert out.dtype == v.dtype
    assert L21(to(np.ones(1))).prox(v, 0.5).dtype == v.dtype


@pytest.mark.parametrize("solver", [Fista(), Pdhg(), Admm()])
def test_solvers_find_the_weighted_lasso(solver):
    """Optimality of min 1/2 ||A x - y||^2 + sum w |x|: |A^T r| <= w, and A^T r = w sign(x) where x is not 0."""
    A, w = RNG.standard_normal((12, 8)), RNG.uniform(0.1, 3.0, 8)
    y = A @ np.array([2.0, 0, 0, -1, 0, 0, 0.5, 0]) + 0.1 * RNG.standard_normal(12)
    x = recon.solve(recon.Problem(recon.Matrix(A), y, L1(w)), solver, stop=4000, every=1000).x
    pull = A.T @ (y - A @ x)
    held = abs(x) > 1e-9
    assert 0 < held.sum() < 8
    np.testing.assert_allclose(pull[held], (w * np.sign(x))[held], rtol=1e-6)
    assert (abs(pull) <= w * (1 + 1e-6)).all()


def test_weights_on_wavelets_equal_bounded_least_squares():
    """prox of sum w |W x|: its dual is min ||v - t W^T (w p)|| over |p| <= 1."""
    from recon_wavelets import Wavelet

    W = Wavelet((4, 4), "haar", 2)
    w = W.spread({band: 0.0 if band[1] == "aa" else 0.3 * band[0] for band in W.bands(np.zeros((4, 4)))})
    v, K = RNG.standard_normal((4, 4)), recon.linalg.dense(W)
    active = w.ravel() > 0
    rows = (K * w.ravel()[:, None])[active]
    dual = lsq_linear(rows.T, v.ravel(), bounds=(-1, 1), method="bvls", tol=1e-15)
    wanted = v.ravel() - rows.T @ dual.x
    np.testing.assert_allclose((L1(w) @ W).prox(v, 1.0).ravel(), wanted, atol=1e-12)


def test_comparison_text_and_digests():
    w = np.array([1.0, 2.0])
    one, same, other = L1(w), L1(w.copy()), L1(np.array([1.0, 3.0]))
    w[0] = 9.0  # a copy was kept
    assert one == same
    assert hash(one) == hash(same)
    assert one != other
    assert one != L1(1.0)
    assert L1((w, w)) == L1((w, w))
    assert L1(1) == L1(1.0)
    assert hash(L21(0.5)) != hash(L21(0.5, axis=-3))
    assert repr(one) == "L1(weight=an array of shape (2,) and dtype float64)"
    assert repr(L21((w, w))) == (
        "L21(weight=(an array of shape (2,) and dtype float64, an array of shape (2,) and dtype float64), axis=-1)"
    )
    assert not L1([1.0, 2.0]).weight.flags.writeable
    assert json.dumps(describe(one)) == json.dumps(describe(same))
    assert describe(one) != describe(other)
    assert pickle.loads(pickle.dumps(one)) == one
    problem = recon.Problem(recon.Identity(ArraySpec((2,))), np.ones(2), one)
    prints = [
        fingerprint(recon.Problem(problem.operator, problem.data, p), Fista()) for p in (one, same, other)
    ]
    assert prints[0] == prints[1] != prints[2]


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (
            lambda: L1(np.array([1.0, -1.0])),
            ParameterError,
            "L1.weight must be a finite number >= 0 or an array of such, got other entries.",
        ),
        (lambda: L1(np.array([1.0, np.nan])), ParameterError, "or an array of such, got other entries."),
        (lambda: L21(np.array([1j])), ParameterError, "L21.weight must be a finite number >= 0 or an array"),
        (lambda: L1([[1.0], [1.0, 2.0]]), ParameterError, "or an array of such, got other entries."),
        (
            lambda: L1("0.3"),
            ParameterError,
            "L1.weight must be a finite number >= 0 or an array of such, got '0.3'.",
        ),
        (lambda: L1(float("inf")), ParameterError, "got inf."),
        (
            lambda: L1(np.ones(3)).check_spec(ArraySpec((3, 2))),
            ShapeError,
            "L1.weight must broadcast to (3, 2), got (3,). Give a number, or one weight per entry.",
        ),
        (
            lambda: L21(np.ones(2)).check_spec(ArraySpec((3, 2))),
            ShapeError,
            "L21.weight must broadcast to (3, 1), got (2,).",
        ),
        (
            lambda: L1((np.ones(2),)).check_spec((ArraySpec((2,)), ArraySpec((3,)))),
            ShapeError,
            "L1.weight must broadcast to (2,), (3,), got (2,).",
        ),
    ],
)
def test_refusals(make, error, text):
    with pytest.raises(error, match=re.escape(text)):
        make()
