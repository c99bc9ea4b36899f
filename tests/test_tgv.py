"""Total generalised variation: linear programs, duality with matrices made here, ramps, the lifted problem."""

from __future__ import annotations

import re

import numpy as np
import pytest
from recon_proximal import Admm, Fista, Pdhg
from scipy.optimize import linprog

import recon
from recon import Diagonal, Identity, Problem
from recon.arrays import ArraySpec, as_numpy
from recon.errors import ParameterError, ShapeError
from recon.linalg import dense
from recon.priors import L2, TGV, TV, NonNegative
from recon.testing import check_operator, check_prior

RNG = np.random.default_rng(8)


def matrices(shape):
    """G (differences that exist) and E (symmetrised differences of slopes that exist), entry by entry.

    Returns G with one row per difference, E with one row per entry of the symmetric matrix (all d^2 of them), and the
    place of each row of E: rows with one place make one length. So do rows of G with one place.
    """
    d, pixels = len(shape), list(np.ndindex(*shape))
    index = {i: n for n, i in enumerate(pixels)}

    def ahead(i, k):
        return (*i[:k], i[k] + 1, *i[k + 1 :])

    slopes = [(k, i) for k in range(d) for i in pixels if ahead(i, k) in index]
    number = {s: n for n, s in enumerate(slopes)}
    G = np.zeros((len(slopes), len(pixels)))
    for n, (k, i) in enumerate(slopes):
        G[n, index[ahead(i, k)]], G[n, index[i]] = 1.0, -1.0
    rows, places = [], []
    for i in pixels:
        for k in range(d):
            for m in range(d):
                row = np.zeros(len(slopes))
                for a, b in ((k, m), (m, k)):
                    if (a, i) in number and (a, ahead(i, b)) in number:
                        row[number[a, ahead(i, b)]] += 0.5
                        row[number[a, i]] -= 0.5
                rows.append(row)
                places.append(i)
    return G, np.array(rows), [i for _, i in slopes], places, slopes


def lengths(values, places):
    found = {}
    for value, place in zip(values, places, strict=True):
        found[place] = found.get(place, 0.0) + abs(value) ** 2
    return np.sqrt(np.array(list(found.values())))


def bounds(x, v, t, weight, ratio, w, q):
    """Objective at (x, w) and a lower bound from q, by the matrices above; t = None: x is fixed, no misfit."""
    shape = x.shape
    G, E, at, bent, slopes = matrices(shape)
    w_rows = np.array([w[(k, *i)] for k, i in slopes])
    d = len(shape)
    q_rows = np.array([q[(k, m, *i)] for i in np.ndindex(*shape) for k in range(d) for m in range(d)])
    q_rows = q_rows / max(1.0, lengths(q_rows, bent).max())  # now |q| <= 1
    p = ratio * E.conj().T @ q_rows
    p = p / max(1.0, lengths(p, at).max())  # M p = E^T q still, now |p| <= 1
    cost = weight * (lengths(G @ x.ravel() - w_rows, at).sum() + ratio * lengths(E @ w_rows, bent).sum())
    pull = (weight * G.conj().T @ p).reshape(shape)
    if t is None:
        return cost, np.vdot(pull, x).real
    primal = cost + 0.5 * np.linalg.norm(x - v) ** 2 / t
    return primal, (np.linalg.norm(v) ** 2 - np.linalg.norm(v - t * pull) ** 2) / (2 * t)


@pytest.mark.parametrize("n", [3, 9])
@pytest.mark.parametrize("ratio", [0.5, 2.0])
def test_value_in_one_dimension_is_a_linear_program(n, ratio):
    x = RNG.standard_normal(n)
    G, E, *_ = matrices((n,))
    m, b = G.shape[0], E.shape[0]
    # variables w, s >= |G x - w|, u >= |E w|
    eye, none = np.eye(m), np.zeros
    rows = np.block(
        [
            [-eye, -eye, none((m, b))],
            [eye, -eye, none((m, b))],
            [E, none((b, m)), -np.eye(b)],
            [-E, none((b, m)), -np.eye(b)],
        ]
    )
    limits = np.concatenate([-G @ x, G @ x, none(2 * b)])
    cost = np.concatenate([none(m), np.ones(m), ratio * np.ones(b)])
    found = linprog(cost, rows, limits, bounds=[(None, None)] * m + [(0, None)] * (m + b))
    prior = TGV(0.7, ratio, ndim=1, tol=1e-7, iterations=50_000)
    assert prior.value(x) == pytest.approx(0.7 * found.fun, rel=1e-6)


@pytest.mark.parametrize("shape", [(7,), (3, 4), (2, 3, 3)])
@pytest.mark.parametrize("t", [0.1, 1.0])
@pytest.mark.parametrize("kind", [float, complex])
def test_prox_reaches_the_lower_bound_of_duality(shape, t, kind):
    v = RNG.standard_normal(shape).astype(kind)
    if kind is complex:
        v += 1j * RNG.standard_normal(shape)
    prior = TGV(0.4, 1.5, len(shape), tol=1e-4)
    x, (w, _, q) = prior.prox_from(v, t, None)
    primal, dual = bounds(x, v, t, 0.4, 1.5, w, q)
    assert -1e-12 * primal <= primal - dual <= 1.01e-4 * primal
    assert prior.value(x) == pytest.approx(primal - 0.5 * np.linalg.norm(x - v) ** 2 / t, abs=2e-4 * primal)


def test_contract():
    check_prior(
        TGV(0.3, ndim=1, tol=1e-6),
        rescale=lambda s: TGV(0.3 * s, ndim=1, tol=1e-6),
        spec=ArraySpec((4,)),
        search=False,
    )
    check_prior(
        2 * TGV(0.2, tol=1e-4), rescale=lambda s: TGV(0.4 * s, tol=1e-4), spec=ArraySpec((3, 3)), search=False
    )


def test_contract_in_every_library(like):
    check_prior(TGV(0.3, ndim=1, tol=0.03), like=like, spec=ArraySpec((3,)), search=False)


def test_libraries_agree_with_numpy(to):
    v = RNG.standard_normal((2, 4, 5))
    prior = TGV(0.3, iterations=60)
    np.testing.assert_allclose(as_numpy(prior.prox(to(v), 0.7)), prior.prox(v, 0.7), atol=1e-12)
    assert prior.value(to(v)) == pytest.approx(prior.value(v), rel=1e-12)


@pytest.mark.parametrize("shape", [(9,), (7, 6), (4, 5, 6)])
def test_affine_images_cost_nothing_and_stay(shape):
    x = 2.0 + sum((k + 1) * 0.1 * axis for k, axis in enumerate(np.indices(shape)))
    prior = TGV(1.0, ndim=len(shape))
    assert prior.value(x) <= 1e-12 * TV(1.0, len(shape)).value(x)
    np.testing.assert_allclose(prior.prox(x, 3.0), x, atol=1e-9)
    assert prior.value(np.full(shape, 3.0)) == 0.0
    v = RNG.standard_normal(shape)
    assert prior.value(v) <= TV(1.0, len(shape)).value(v) * (1 + 1e-4)
    assert prior.value(v + 10 * x) == pytest.approx(prior.value(v), rel=1e-2)


def test_a_ramp_is_denoised_better_than_by_tv():
    x = np.add.outer(np.linspace(0, 1, 16), np.linspace(0, 2, 16))
    v = x + 0.1 * RNG.standard_normal(x.shape)

    def best(prior):
        return min(np.linalg.norm(prior.prox(v, t) - x) for t in (0.03, 0.1, 0.3, 1.0))

    assert best(TGV(1.0, tol=1e-3)) < 0.6 * best(TV(1.0, tol=1e-4))


def test_axes_in_front_are_independent_images():
    v = RNG.standard_normal((3, 3, 4)) * np.array([1, 1e-6, 1e6])[:, None, None]
    prior = TGV(0.3, iterations=50)  # the same steps, so the same numbers
    for one, image in zip(prior.prox(v, 0.5), v, strict=True):
        np.testing.assert_allclose(
            one, TGV(0.3, iterations=50).prox(image, 0.5), atol=3e-2 * abs(image).max()
        )
    total = sum(TGV(0.3, tol=1e-6).value(one) for one in v)
    assert TGV(0.3, tol=1e-6).value(v) == pytest.approx(total, rel=1e-5)


def test_memory_starts_where_the_last_call_ended():
    v, prior = np.random.default_rng(0).standard_normal((4, 5)), TGV(0.3, iterations=60, tol=1e-9)
    memory, gaps = None, []
    for _ in range(10):
        x, memory = prior.prox_from(v, 1.0, memory)
        primal, dual = bounds(x, v, 1.0, 0.3, 2.0, memory[0], memory[2])
        gaps.append(primal - dual)
    assert gaps[-1] < 0.2 * gaps[0]


@pytest.mark.parametrize("solver", [Pdhg(), Admm()])
def test_the_lifted_problem_has_the_same_solution(solver):
    """Against the lower bound of duality, for denoising: no other solver is asked."""
    v = np.add.outer(np.linspace(0, 1, 4), np.linspace(0, 2, 5)) + 0.2 * RNG.standard_normal((4, 5))
    problem = Problem(Identity(ArraySpec((4, 5))), v, 2 * TGV(0.05))
    lifted = TGV.lift(problem)
    x, w = recon.solve(lifted, solver, stop=1000, every=1000).x
    best, (slopes, _, q) = TGV(0.1, tol=1e-5, iterations=20_000).prox_from(v, 1.0, None)
    primal, dual = bounds(best, v, 1.0, 0.1, 2.0, slopes, q)
    assert dual - 1e-9 <= lifted.objective((x, w)) <= dual + 2e-4 * primal
    assert problem.objective(x) <= lifted.objective((x, w)) * (1 + 1e-4)


def test_the_lifted_problem_keeps_the_other_priors():
    mask = Diagonal((RNG.random((4, 5)) < 0.8).astype(float))
    y = mask @ RNG.standard_normal((4, 5))
    problem = Problem(mask, y, TGV(0.1) + NonNegative() + L2(0.01))
    lifted = TGV.lift(problem)
    x = recon.solve(lifted, Pdhg(), stop=1000, every=1000).x[0]
    assert x.min() >= -1e-6
    zero = np.zeros((4, 5)), np.zeros((2, 4, 5))
    assert lifted.objective((abs(y), zero[1])) == pytest.approx(
        0.5 * ((abs(y) * mask.values - y) ** 2).sum() + TV(0.1).value(abs(y)) + 0.005 * (y**2).sum()
    )


def test_fista_starts_every_prox_where_the_last_one_ended():
    v = np.random.default_rng(1).standard_normal((4, 5))
    problem = Problem(Identity(ArraySpec((4, 5))), v, TGV(0.3, iterations=20))
    x = recon.solve(problem, Fista(), stop=40, every=40).x
    wanted = TGV(0.3, tol=1e-6, iterations=20_000).prox(v, 1.0)
    np.testing.assert_allclose(x, wanted, atol=0.02)


def test_lifted_problems_keep_channels_batches_and_kinds(to):
    y = RNG.standard_normal((2, 3, 4, 5)) + 1j * RNG.standard_normal((2, 3, 4, 5))
    lifted = TGV.lift(Problem(Identity(ArraySpec((3, 4, 5), "complex")), to(y), TGV(0.3)))
    x, w = lifted.start()
    assert x.shape == y.shape
    assert w.shape == (2, 3, 2, 4, 5)
    for operator in (lifted.operator, *(term.operator for term in lifted.prior.terms)):
        check_operator(operator, like=to(np.zeros(1)), dense=False)


def test_bending_by_loops():
    lifted = TGV.lift(Problem(Identity(ArraySpec((3, 4))), np.zeros((3, 4)), TGV(0.3)))
    bend = dense(lifted.prior.terms[1].operator)[:, 12:].reshape(2, 2, 3, 4, 2, 3, 4)
    _, E, _, _, slopes = matrices((3, 4))
    wanted = np.zeros((2, 2, 3, 4, 2, 3, 4))
    for n, (i, k, m) in enumerate((i, k, m) for i in np.ndindex(3, 4) for k in range(2) for m in range(2)):
        for c, (a, j) in enumerate(slopes):
            wanted[(k, m, *i, a, *j)] = E[n, c]
    np.testing.assert_allclose(bend, wanted, atol=1e-15)


@pytest.mark.parametrize("prior", [TGV(1.0), TV(1.0)], ids=["tgv", "tv"])
@pytest.mark.parametrize("threshold", [1e-60, 1e-40, 1e-20, 0.0])
def test_thresholds_far_below_rounding_move_nothing(prior, threshold):
    v = np.random.default_rng(0).standard_normal((4, 5)).astype(np.float32)
    np.testing.assert_allclose(prior.prox(v, threshold), v, atol=1e-6)


def test_no_weight_keeps_the_memory_as_it_is():
    v = np.random.default_rng(0).standard_normal((4, 5))
    memory = TGV(0.3).prox_from(1e6 * v, 1.0, None)[1]
    assert TGV(0.0).prox_from(v, 1.0, memory)[1] is memory


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: TGV(-1.0), ParameterError, "TGV.weight must be >= 0, got -1.0."),
        (lambda: TGV(ratio=0), ParameterError, "TGV.ratio must be > 0, got 0.0."),
        (
            lambda: TGV().value(np.ones(3)),
            ShapeError,
            "TGV.ndim must be at most the 1 axes of the image, got 2.",
        ),
        (
            lambda: TGV().prox(np.ones(3), 1.0),
            ShapeError,
            "TGV.ndim must be at most the 1 axes of the image, got 2.",
        ),
        (
            lambda: TGV().check_spec((ArraySpec((3, 3)),)),
            ShapeError,
            "TGV must act on one array, got a tuple. Add one prior per member, or stack the images.",
        ),
        (
            lambda: TGV.lift(Problem(Identity(ArraySpec((3, 3))), np.ones((3, 3)), TV(0.5))),
            ParameterError,
            "TGV.lift must be given a problem of one image with one TGV prior, got TV(",
        ),
    ],
)
def test_refusals(make, error, text):
    with pytest.raises(error, match=re.escape(text)):
        make()
