"""Certificates: never below the true gap, tight where solvers converge, absent where nothing is certain."""

from __future__ import annotations

import math

import array_api_strict as strict
import numpy as np
import pytest
import torch
from recon_proximal import Admm, Cgls, Fista, Pdhg
from recon_wavelets import UndecimatedWavelet, Wavelet

import recon
from recon import (
    L1,
    L2,
    L21,
    TV,
    ArraySpec,
    Box,
    FiniteDifference,
    Identity,
    LeastSquares,
    Matrix,
    NonNegative,
    Nuclear,
    Poisson,
    Prior,
    Problem,
    Simplex,
    WeightedLeastSquares,
    block_diag,
    vstack,
)
from recon.arrays import as_numpy, tmap
from recon.derivatives import Gradient
from recon.duality import certificate
from recon.errors import CapabilityError
from recon.operator import capability
from recon.priors import Huber
from recon.stopping import Gap

SHAPE = (6, 8)


# -- conjugates and gauges -------------------------------------------------------------------------------

PRIORS = {
    "l1": L1(0.7),
    "l1 weights": L1(np.linspace(0.2, 1.0, 8)),
    "l1 >= 0": L1(0.7) + NonNegative(),
    "l1 box": L1(0.7) + Box(-0.4, 0.6),
    "l1 box beside 0": L1(0.7) + Box(0.2, 0.6),
    "l1 half open": L1(0.7) + Box(None, 0.3),
    "l2": L2(0.7),
    "l2 >= 0": 2.0 * (L2(0.7) + NonNegative()),
    "l2 box": L2(0.7) + Box(-0.1, 0.3),
    "l21": L21(0.7, axis=-2),
    "l21 weights": L21(np.linspace(0.2, 1.0, 8)[None], axis=-2),
    "l21 >= 0": L21(0.7) + NonNegative(),
    "huber": Huber(0.7, delta=0.4),
    "huber groups": 3.0 * Huber(0.2, delta=0.4, axis=-1),
    "nuclear": Nuclear(0.7),
    "nonnegative": NonNegative(),
    "box": Box(-0.2, 0.5),
    "half open": Box(None, 0.5),
    "simplex": Simplex(2.0),
    "simplex >= 0": Simplex(2.0, axis=-2) + NonNegative(),
    "scaled": 3.0 * L1(0.2),
}


@pytest.mark.parametrize("name", PRIORS)
def test_conjugate_is_reached_at_the_prox(name, to):
    prior = PRIORS[name]
    rng = np.random.default_rng(0)
    for t in (0.3, 1.0, 4.0):
        v = rng.standard_normal(SHAPE)
        x = as_numpy(prior.prox(to(v), t))
        z = (v - x) / t  # a slope of the prior at x, so that Fenchel and Young's inequality is an equality
        assert prior.gauge(to(z)) <= 1 + 1e-12 or _exact_cone(prior, z)
        inside = z / max(1.0, prior.gauge(to(z))) if math.isfinite(prior.gauge(to(z))) else np.minimum(z, 0)
        equal = prior.value(to(x)) + prior.conjugate(to(inside))
        assert equal == pytest.approx(np.vdot(x, inside), abs=1e-11)
        for _ in range(20):
            other = as_numpy(prior.prox(to(2 * rng.standard_normal(SHAPE)), 0.1))
            assert prior.value(to(other)) + prior.conjugate(to(inside)) >= np.vdot(other, inside) - 1e-11


def _exact_cone(prior, z):
    """Whether z is outside by rounding only: a cone has no multiples of z."""
    return (prior.gauge(np.minimum(z, 0)) == 0) and z.max() < 1e-15


@pytest.mark.parametrize("name", PRIORS)
def test_gauge_is_the_least_that_brings_into_the_domain(name):
    prior = PRIORS[name]
    z = np.random.default_rng(1).standard_normal(SHAPE)
    gauge = prior.gauge(z)

    def highest(z, t):
        """max <z, x> - f(x) over the x that a prox of step t reaches: bounded in t exactly in the domain."""
        x = prior.prox(t * z, t)
        return np.vdot(z, x) - prior.value(x)

    outside = 1.001 * z / gauge if 0 < gauge < math.inf else z
    if gauge:
        assert highest(outside, 1e8) > 10 * abs(highest(outside, 1e5))
    inside = 0.999 * z / gauge if 0 < gauge < math.inf else (np.minimum(z, 0) if name == "nonnegative" else z)
    if gauge < math.inf:
        assert highest(inside, 1e8) <= prior.conjugate(inside) + 1e-5


LOSSES = {
    "least squares": LeastSquares(),
    "weighted": WeightedLeastSquares(np.array([1.0, 0.5, 0.0, 2.0])),
    "poisson": Poisson(0.5),
}


@pytest.mark.parametrize("name", LOSSES)
def test_conjugate_of_losses(name, to):
    loss, data = LOSSES[name], np.array([1.5, 0.0, 2.25, 4.0])
    rng = np.random.default_rng(2)
    for _ in range(5):
        p = np.abs(rng.standard_normal(4)) + 0.1
        v = as_numpy(loss.gradient(to(p), to(data)))
        assert loss.value(to(p), to(data)) + loss.conjugate(to(v), to(data)) == pytest.approx(
            np.vdot(p, v), abs=1e-12
        )
        for _ in range(20):
            q = np.abs(rng.standard_normal(4)) * 3
            assert loss.value(to(q), to(data)) + loss.conjugate(to(v), to(data)) >= np.vdot(q, v) - 1e-12


def test_conjugates_are_infinite_outside_their_domain():
    assert WeightedLeastSquares(np.array([1.0, 0.0])).conjugate(np.array([1.0, 1e-9]), np.ones(2)) == math.inf
    poisson = Poisson()
    assert poisson.conjugate(np.array([1.0, 0.5]), np.array([0.0, 2.0])) == pytest.approx(-2 * np.log(0.5))
    assert poisson.conjugate(np.array([0.5, 1.0]), np.array([0.0, 2.0])) == math.inf
    assert poisson.conjugate(np.array([1.1, 0.5]), np.array([0.0, 2.0])) == math.inf
    assert poisson.gauge(np.array([2.0, -3.0]), np.ones(2)) == 2.0
    assert L1(0.0).gauge(np.ones(2)) == math.inf
    assert L1(0.0).gauge(np.zeros(2)) == 0.0
    assert L1(np.array([0.0, 1.0])).gauge(np.array([1e-9, 1.0])) == math.inf
    assert L21(1.0).gauge(np.ones((2, 2)), -1.0, 1.0) == math.inf


# -- never below the true gap ----------------------------------------------------------------------------


def matrix(rows=60, sign=True):
    rng = np.random.default_rng(3)
    values = rng.random((rows, 48)) * (rng.random((rows, 48)) < 0.3)
    return Matrix(values - 0.15 * sign, domain_shape=SHAPE)


def image():
    x = np.zeros(SHAPE)
    x[1:4, 2:6] = 1.0
    x[4:, 5:] = 0.5
    return x


def noisy(A, x=None, complex_=False):
    clean = A @ (image() if x is None else x)
    rng = np.random.default_rng(4)
    noise = rng.standard_normal(clean.shape) + (1j * rng.standard_normal(clean.shape) if complex_ else 0)
    return clean + 0.05 * np.abs(clean).mean() * noise


def weights():
    w = np.random.default_rng(5).random(60)
    w[::7] = 0.0
    return WeightedLeastSquares(w)


WAVELET, FRAME = Wavelet(SHAPE, "haar", 1), UndecimatedWavelet(SHAPE, "db2", 1)
SIGNED, COUNTING = matrix(), matrix(sign=False)
COUNTS = np.random.default_rng(6).poisson(np.maximum(10 * (COUNTING @ image()), 0)).astype(float)

COMBINATIONS = {
    "l1": (SIGNED, L1(0.3), None),
    "l1 with weights": (SIGNED, L1(np.linspace(0.1, 0.4, 8)), None),
    "l1 >= 0": (SIGNED, L1(0.3) + NonNegative(), None),
    "l1 in a box": (SIGNED, L1(0.3) + Box(-0.1, 0.6), None),
    "l2": (SIGNED, L2(0.3), None),
    "l2 >= 0": (SIGNED, L2(0.3) + NonNegative(), None),
    "groups": (SIGNED, L21(0.3), None),
    "huber": (SIGNED, Huber(0.3, delta=0.1), None),
    "nuclear": (SIGNED, Nuclear(0.3), None),
    "simplex": (SIGNED, Simplex(2.0), None),
    "box": (SIGNED, Box(0.0, 0.8), None),
    "nonnegative": (COUNTING, NonNegative(), None),
    "tv": (SIGNED, TV(0.2), None),
    "anisotropic tv": (SIGNED, TV(0.2, isotropic=False), None),
    "tv of rows": (SIGNED, TV(0.2, ndim=1), None),
    "tv >= 0": (COUNTING, TV(0.2) + NonNegative(), None),
    "tv in a box": (COUNTING, TV(0.2) + Box(0.1, 0.9), None),
    "tv and l1": (SIGNED, TV(0.2) + L1(0.05), None),
    "tv denoising": (Identity(ArraySpec(SHAPE)), 2.0 * TV(0.1), None),
    "wavelets": (SIGNED, L1(0.2) @ WAVELET, None),
    "wavelets >= 0": (COUNTING, L1(0.2) @ WAVELET + NonNegative(), None),
    "wavelets in a box": (COUNTING, L1(0.2) @ WAVELET + Box(0.0, 0.7), None),
    "frame": (SIGNED, L1(0.1) @ FRAME, None),
    "frame >= 0": (COUNTING, L1(0.1) @ FRAME + NonNegative(), None),
    "l1 and nuclear": (SIGNED, L1(0.1) + Nuclear(0.2), None),
    "weighted l1": (SIGNED, L1(0.1), weights()),
    "weighted tv": (SIGNED, TV(0.1), weights()),
    "weighted tv >= 0": (COUNTING, TV(0.1) + NonNegative(), weights()),
    "counts >= 0": (COUNTING, NonNegative(), Poisson(0.5)),
    "counts, l1 >= 0": (COUNTING, L1(0.1) + NonNegative(), Poisson(0.5)),
    "counts, tv >= 0": (COUNTING, TV(0.1) + NonNegative(), Poisson(0.5)),
    "counts, tv in a box": (COUNTING, TV(0.1) + Box(0.0, 12.0), Poisson(0.5)),
    "counts, frame >= 0": (COUNTING, L1(0.1) @ FRAME + NonNegative(), Poisson(0.5)),
}


def runs(problem, iterations=300, every=20):
    """Histories of every solver that takes the problem."""
    found = []
    for solver in (Pdhg(), Admm(inner=30), Fista()):
        try:
            found.append(recon.solve(problem, solver, stop=iterations, every=every).history)
        except CapabilityError:
            continue
    return found


def check_never_below(problem, reached=1e-3, **kwargs):
    histories = runs(problem, **kwargs)
    best = min(record["objective"] for history in histories for record in history)
    for history in histories:
        for record in history:
            assert record["gap"] >= record["objective"] - best, record
    last = min(history[-1]["gap"] / abs(history[-1]["objective"]) for history in histories)
    assert len(histories) > 1
    assert last <= reached


@pytest.mark.parametrize("name", COMBINATIONS)
def test_never_below_the_true_gap(name):
    A, prior, loss = COMBINATIONS[name]
    data = COUNTS if isinstance(loss, Poisson) else noisy(A)
    check_never_below(Problem(A, data, prior, loss or LeastSquares()))


def test_bound_of_iterates_that_are_not_near():
    """Whatever the duals and the image: random ones, and far ones."""
    rng = np.random.default_rng(7)
    for prior in (TV(0.2) + NonNegative(), TV(0.2), L1(0.3), L1(0.2) @ WAVELET, Box(0.0, 0.8)):
        problem = Problem(COUNTING, noisy(COUNTING), prior)
        best = recon.solve(problem, Pdhg(), stop=1000).objective
        for size in (1e-3, 1.0, 1e3):
            x = np.abs(size * rng.standard_normal(SHAPE))
            x = np.clip(x, 0.0, 0.8) if isinstance(prior, Box) else x
            splits = [
                t.split(problem.operator.domain) for t in recon.priors.terms(prior) if capability(t, "split")
            ]
            blocks = [(F, K, size * rng.standard_normal((K @ x).shape)) for F, K in splits]
            rests = [t for t in recon.priors.terms(prior) if not capability(t, "split")]
            dual = size * rng.standard_normal(problem.data.shape)
            objective = problem.objective(x)
            found = certificate(
                problem, x, problem.operator @ x, objective, dual, blocks, rests[0] if rests else None
            )
            assert found["gap"] >= (objective - best) * (1 - 1e-9)


# -- complex images, batches, tuples, stacks -------------------------------------------------------------


def test_complex_images():
    rng = np.random.default_rng(8)
    values = rng.standard_normal((40, 48)) + 1j * rng.standard_normal((40, 48))
    A = Matrix(values, domain_shape=SHAPE)
    x = image() * np.exp(1j * np.linspace(0, 1, 8))
    data = noisy(A, x, complex_=True)
    wavelet = Wavelet(SHAPE, "haar", 1, "complex")
    for prior in (TV(2.0), TV(2.0, isotropic=False), L1(5.0) @ wavelet, L1(5.0), Nuclear(5.0)):
        check_never_below(Problem(A, data, prior), iterations=200)


def test_batches_are_certified_by_their_sum():
    data = np.stack([noisy(SIGNED), 3.0 * noisy(SIGNED, image()[::-1])])
    for prior in (TV(0.2), TV(0.2) + NonNegative(), L1(0.3)):
        check_never_below(Problem(SIGNED, data, prior))


def test_images_of_one_sample_have_sums_of_their_own():
    rng = np.random.default_rng(9)
    A = Matrix(rng.standard_normal((70, 3 * 20)), domain_shape=(3, 4, 5))  # mixes the three images
    x = np.zeros((3, 4, 5))
    x[0, 1:3], x[1, :, 2:], x[2] = 1.0, 2.0, 0.5
    data = noisy(A, x)
    check_never_below(Problem(A, data, TV(1.0)))
    check_never_below(Problem(A, np.stack([data, -data[::-1]]), TV(1.0)))
    many = Problem(Identity(ArraySpec((17, 4, 5))), rng.standard_normal((17, 4, 5)), TV(0.1))
    assert {r["gap"] for r in recon.solve(many, Pdhg(), stop=20).history} == {
        math.inf
    }  # too many, said plainly


def test_tuples_of_images_and_of_data():
    first, second = matrix(30), matrix(25)
    A = block_diag(first, second)
    data = (noisy(first), noisy(second))
    for prior in (L1(0.3), L2(0.3) + NonNegative(), Box(0.0, 0.7)):
        check_never_below(Problem(A, data, prior))
    check_never_below(Problem(vstack(first, second), data, TV(0.2)))
    counting = block_diag(matrix(30, sign=False), matrix(60, sign=False))
    counts = tmap(lambda leaf: np.round(10 * np.abs(leaf)), counting @ (image(), image()))
    check_never_below(Problem(counting, counts, NonNegative(), Poisson(0.5)))


def test_what_the_operator_does_not_see():
    """A sees no constant, or next to none: the sums take care of themselves, or the bound is infinite."""
    differences = FiniteDifference(SHAPE, axis=-1)
    check_never_below(Problem(differences, noisy(differences), TV(0.1)))
    zero = Matrix(np.zeros((5, 48)), domain_shape=SHAPE)
    result = recon.solve(Problem(zero, np.ones(5), TV(0.1)), Pdhg(), stop=20)
    assert 0 <= result.history[-1]["gap"] < 1e-12


# -- precision, libraries --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["l1", "tv", "tv >= 0", "counts, tv >= 0", "wavelets", "nonnegative"])
def test_single_precision_holds_in_single_precision(name):
    A, prior, loss = COMBINATIONS[name]
    data = COUNTS if isinstance(loss, Poisson) else noisy(A)
    wide = Problem(A, data, prior, loss or LeastSquares())
    best = min(r["objective"] for h in runs(wide, 1000, 500) for r in h)
    narrow = Problem(A, data.astype(np.float32), prior, loss or LeastSquares())
    for record in recon.solve(narrow, Pdhg(), stop=400).history:
        assert record["gap"] >= record["objective"] - best
    assert record["gap"] <= 1e-3 * record["objective"]


@pytest.mark.parametrize("other", [strict, torch], ids=["strict", "torch"])
@pytest.mark.parametrize(
    "name", ["l1", "l1 in a box", "tv", "tv >= 0", "counts, tv >= 0", "nonnegative", "huber"]
)
def test_one_gap_on_every_library(name, other):
    A, prior, loss = COMBINATIONS[name]
    data = COUNTS if isinstance(loss, Poisson) else noisy(A)
    gaps = []
    for y in (data, other.asarray(data)):
        problem = Problem(A, y, prior, loss or LeastSquares())
        gaps.append([r["gap"] for r in recon.solve(problem, Pdhg(), stop=60).history])
    assert gaps[1] == pytest.approx(gaps[0], rel=1e-6)


@pytest.mark.parametrize("shape", [(7,), (6, 8), (4, 5, 6), (1, 5)])
@pytest.mark.parametrize("kind", ["real", "complex"])
def test_poisson_equation(shape, kind, to):
    from recon.duality import _poisson

    G = Gradient(shape, kind)
    rng = np.random.default_rng(10)
    e = rng.standard_normal((2, *shape)) + (1j * rng.standard_normal((2, *shape)) if kind == "complex" else 0)
    axes = tuple(range(1, len(shape) + 1))
    e = e - e.mean(axis=axes, keepdims=True)
    u = _poisson(to(e), len(shape))
    np.testing.assert_allclose(as_numpy(G.H @ (G @ u)), e, atol=1e-12)


# -- stopping by it, and where there is none -------------------------------------------------------------


def test_runs_stop_by_the_gap():
    problem = Problem(COUNTING, noisy(COUNTING), TV(0.2) + NonNegative())
    result = recon.solve(problem, stop=Gap(1e-3) | recon.MaxIterations(5000))
    assert result.status is recon.Status.CONVERGED
    assert result.history[-1]["gap"] <= 1e-3 * result.objective < result.history[-2]["gap"]


class Modulus(Prior):
    """A prior that tells nothing of its dual."""

    def value(self, x):
        return float(abs(x).sum())

    def prox(self, v, t):
        return L1(1.0).prox(v, t)


@pytest.mark.parametrize(
    ("prior", "solver"),
    [(Modulus(), Fista()), (Modulus() + NonNegative(), Pdhg()), (0 * L1(1.0), Fista()), (None, Cgls())],
)
def test_no_guess_where_nothing_is_certain(prior, solver):
    problem = Problem(SIGNED, noisy(SIGNED), prior)
    result = recon.solve(problem, solver, stop=40)
    assert all("gap" not in record.values for record in result.history)
    with pytest.raises(
        CapabilityError, match="Gap needs a solver that certifies a duality gap, and this one"
    ):
        recon.solve(problem, solver, stop=Gap(1e-3) | recon.MaxIterations(60))


def test_infinite_where_the_duals_are_too_far_off():
    problem = Problem(SIGNED, noisy(SIGNED), NonNegative())  # no direction lifts where A has both signs
    assert recon.solve(problem, Pdhg(), stop=20).history[0]["gap"] == math.inf
    free = Problem(SIGNED, noisy(SIGNED), L1(np.array([0.0] + 7 * [0.2])))  # weight 0 leaves a column free
    assert recon.solve(free, Pdhg(), stop=20).history[0]["gap"] == math.inf


def test_scaling_of_the_problem_scales_the_gap():
    y = noisy(COUNTING)
    gaps = []
    for s in (1.0, 1e10):
        problem = Problem(COUNTING, s * y, (s * 0.2) * TV(1.0) + NonNegative())
        gaps.append([r["gap"] / s**2 for r in recon.solve(problem, Pdhg(), stop=60).history])
    assert gaps[1] == pytest.approx(gaps[0], rel=1e-5)
