"""Sparse sets, Lp, the group envelope and the balls: the contract, brute force, closed forms, every text."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import scipy.optimize

from recon import ArraySpec, L1Ball, ResidualBall
from recon.arrays import as_numpy
from recon.errors import CapabilityError, ParameterError, ShapeError
from recon.priors import L0, GroupEnvelope, Lp, NofM, NonNegative, TopK
from recon.testing import check_prior
from recon.testing._prox import check_on_grid, check_sweeps

PAIRS = np.arange(2)[:, None]  # rows of two
# each prior with s -> the prior s^2 f(x / s)
PRIORS = {
    "l0": (L0(0.7), lambda s: L0(0.7 * s * s)),
    "top 1": (TopK(1), lambda s: TopK(1)),
    "top 2 of images": (TopK(2, ndim=2), lambda s: TopK(2, ndim=2)),
    "1 of 2": (NofM(1, 2), lambda s: NofM(1, 2)),
    "2 of 3 with a tail": (NofM(2, 3, axis=-2), lambda s: NofM(2, 3, axis=-2)),
    "lp 1/2": (Lp(0.7), lambda s: Lp(0.7 * s**1.5)),
    "lp 2/3": (Lp(0.7, 2 / 3), lambda s: Lp(0.7 * s ** (4 / 3), 2 / 3)),
    "lp 0.3": (Lp(0.7, 0.3), lambda s: Lp(0.7 * s**1.7, 0.3)),
    "lp nonnegative": (Lp(0.7, 0.8) + NonNegative(), lambda s: Lp(0.7 * s**1.2, 0.8) + NonNegative()),
    "l0 of weight 0": (L0(0.0), lambda s: L0(0.0)),
    "lp of weight 0": (Lp(0.0), lambda s: Lp(0.0)),
    "envelope": (GroupEnvelope(1.5, 0.7), lambda s: GroupEnvelope(1.5, 0.7)),
    "envelope of weight 0": (GroupEnvelope(1, 0.0), lambda s: GroupEnvelope(1, 0.0)),
    "l1 ball": (L1Ball(1.2), lambda s: L1Ball(1.2 * s)),
    "l1 ball of images": (L1Ball(0.8, ndim=2), lambda s: L1Ball(0.8 * s, ndim=2)),
}


@pytest.mark.parametrize("name", PRIORS)
def test_contract(name):
    prior, rescale = PRIORS[name]
    slow = isinstance(prior, GroupEnvelope) or "weight 0" in name  # global searches: below, and above
    check_prior(prior, rescale=rescale, search=not slow)


@pytest.mark.parametrize("name", PRIORS)
def test_contract_in_every_library(name, like):
    prior, rescale = PRIORS[name]
    check_prior(prior, rescale=rescale, like=like, search=False)


@pytest.mark.parametrize("costs", [1.0, [0.5, 1.7]])
def test_contract_of_grouped_envelopes(costs, like):
    prior = GroupEnvelope(1, 0.7, groups=PAIRS, costs=costs)
    check_prior(prior, rescale=lambda s: prior, like=like, spec=ArraySpec((2, 3)), search=False)


def test_marks_of_convexity():
    assert GroupEnvelope(1).convex
    assert L1Ball(1.0).convex
    assert not any(prior.convex for prior in (L0(), TopK(1), NofM(), Lp()))


# -- projections against every mask ----------------------------------------------------------------------


def best_mask(v, masks):
    """The nearest of v times each mask; of equally near ones the first."""
    return min((v * mask for mask in masks), key=lambda x: round(((x - v) ** 2).sum(), 12))


def masks_of(count, kept):
    """Every mask with so many ones, those with ones at low places first."""
    for places in itertools.combinations(range(count), kept):
        mask = np.zeros(count)
        mask[list(places)] = 1
        yield mask


@pytest.mark.parametrize("k", [1, 2, 3, 5, 6, 9])
def test_top_k_equals_brute_force(k, to):
    rng = np.random.default_rng(k)
    for v in (rng.standard_normal(6), rng.integers(-2, 3, 6).astype(float)):
        got = as_numpy(TopK(k).prox(to(v), 0.3))
        np.testing.assert_array_equal(got, best_mask(v, masks_of(6, min(k, 6))))
        np.testing.assert_array_equal(as_numpy(TopK(k).project(to(got))), got)


def test_of_equal_entries_the_first_are_kept(to):
    v = to(np.array([1.0, -2.0, 2.0, 2.0, -1.0]))
    np.testing.assert_array_equal(as_numpy(TopK(2).prox(v, 1.0)), [0, -2, 2, 0, 0])
    np.testing.assert_array_equal(as_numpy(TopK(4).prox(v, 1.0)), [1, -2, 2, 2, 0])
    np.testing.assert_array_equal(as_numpy(NofM(1, 2).prox(v, 1.0)), [0, -2, 2, 0, -1])


@pytest.mark.parametrize(("n", "m"), [(1, 2), (2, 4), (1, 4), (3, 4), (2, 8)])
@pytest.mark.parametrize("length", [8, 11])
def test_n_of_m_equals_brute_force_in_every_block(n, m, length, to):
    v = np.random.default_rng(n + m).standard_normal((2, length, 3))
    got = as_numpy(NofM(n, m, axis=-2).prox(to(v), 1.0))
    for i, j in itertools.product(range(2), range(3)):
        for start in range(0, length, m):
            block = v[i, start : start + m, j]
            wanted = best_mask(block, masks_of(block.size, min(n, block.size)))
            np.testing.assert_array_equal(got[i, start : start + m, j], wanted)
            assert np.count_nonzero(got[i, start : start + m, j]) == min(n, block.size)
    assert NofM(n, m, axis=-2).value(to(got)) == 0.0
    assert NofM(n, m, axis=-2).value(to(v)) == math.inf


def test_values_by_hand(to):
    x = to(np.array([[3.0, -4.0, 0.0], [0.0, 0.0, 16.0]]))
    assert L0(0.5).value(x) == 1.5
    assert Lp(2.0).value(to(np.array([4.0, -9.0, 0.0]))) == 10.0
    assert TopK(2).value(x) == 0.0
    assert TopK(1).value(x) == math.inf
    assert TopK(2, ndim=2).value(x) == math.inf
    assert TopK(3, ndim=2).value(x) == 0.0
    assert L1Ball(7.0, ndim=1).value(x) == math.inf
    assert L1Ball(16.0, ndim=1).value(x) == 0.0
    assert L0(1.0).value((x, x)) == 6.0
    assert TopK(1).value(to(np.array([0, 3 + 4j]))) == 0.0


def test_samples_of_a_batch_have_their_own_budget(to):
    v = np.array([[[4.0, 3], [2, 1]], [[1, 2], [3, 40]]])
    got = as_numpy(TopK(1, ndim=2).prox(to(v), 1.0))
    np.testing.assert_array_equal(got, [[[4, 0], [0, 0]], [[0, 0], [0, 40]]])


# -- lp --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("p", [0.02, 0.3, 0.5, 2 / 3, 0.8, 0.99])
@pytest.mark.parametrize("weight", [0.01, 0.7, 30.0])
def test_lp_equals_a_dense_global_search(p, weight):
    prior = Lp(weight, p)
    for v in np.concatenate([np.linspace(0.01, 8, 23), [100.0]]):
        x = float(prior.prox(np.array([-v]), 0.6)[0])
        grid = np.concatenate([[0.0], np.linspace(1e-9, v, 4001)])
        cost = weight * grid**p + (grid - v) ** 2 / 1.2
        own = weight * abs(x) ** p + (abs(x) - v) ** 2 / 1.2
        assert x <= 0
        assert own <= cost.min() * (1 + 1e-12)


@pytest.mark.parametrize("p", [0.1, 0.5, 2 / 3, 0.9])
def test_lp_jumps_at_the_threshold(p):
    jump = (2 * 0.7 * (1 - p)) ** (1 / (2 - p))  # (2 t w (1 - p))^(1 / (2 - p))
    threshold = jump * (1 + p / (2 * (1 - p)))
    below, above = Lp(0.7, p).prox(threshold * np.array([1 - 1e-12, 1 + 1e-12]), 1.0)
    assert below == 0.0
    assert above == pytest.approx(jump, rel=1e-9)
    tie = 0.7 * jump**p + (jump - threshold) ** 2 / 2
    assert tie == pytest.approx(threshold**2 / 2, rel=1e-12)


@pytest.mark.parametrize("p", [0.5, 2 / 3])
def test_closed_forms_equal_newton(p):
    v = np.concatenate([-np.logspace(-3, 12, 200), np.logspace(-3, 12, 200)])
    near = p * (1 + 4e-16)
    assert near != p
    np.testing.assert_allclose(Lp(0.7, p).prox(v, 1.0), Lp(0.7, near).prox(v, 1.0), rtol=1e-13)


# -- the envelope ----------------------------------------------------------------------------------------


def objective(prior, x, v, t):
    return prior.value(x) + ((x - v) ** 2).sum() / (2 * t)


@pytest.mark.parametrize("seed", range(4))
def test_envelope_prox_equals_a_generic_optimiser(seed):
    """Joint minimisation over x and u, with u eliminated in x: v_g u / (l + u), then SLSQP over u."""
    rng = np.random.default_rng(seed)
    labels, costs = rng.permutation(np.repeat(np.arange(4), [3, 1, 2, 4])), rng.uniform(0.3, 2.0, 4)
    v, t, k = rng.standard_normal(10), [0.05, 0.5, 1.0, 4.0][seed], 2.2
    prior = GroupEnvelope(k, 0.8, groups=labels, costs=costs)
    squares = np.array([(v[labels == g] ** 2).sum() for g in range(4)])
    step = 0.8 * t

    def reached(
        u,
    ):  # min over x of 0.8/2 ||x_g||^2 / u_g + ||x_g - v_g||^2 / (2 t) = ||v_g||^2 l / (2 t (u_g + l))
        return float((squares / (u + step)).sum() * step / (2 * t))

    best = min(
        scipy.optimize.minimize(
            reached, rng.uniform(0, 0.4, 4), method="SLSQP", bounds=[(0, 1)] * 4,
            constraints={"type": "ineq", "fun": lambda u: k - costs @ u},
            options={"ftol": 1e-15, "maxiter": 500},
        ).fun
        for _ in range(4)
    )  # fmt: skip
    got = objective(prior, prior.prox(v, t), v, t)
    assert got == pytest.approx(best, rel=1e-8)
    assert got <= best * (1 + 1e-10)


def test_envelope_prox_equals_a_dense_search_of_pairs():
    grid = np.linspace(-3, 3, 1201)
    a, b = grid[:, None], grid[None, :]
    for v in ((1.7, -0.6), (0.25, 0.2), (-1.1, 2.3)):
        for t in (0.4, 2.5):
            cost = 0.35 * (abs(a) + abs(b)) ** 2 + ((a - v[0]) ** 2 + (b - v[1]) ** 2) / (2 * t)
            prior = GroupEnvelope(1, 0.7)
            assert objective(prior, prior.prox(np.array(v), t), np.array(v), t) <= cost.min() + 1e-12


def k_support_norm(x, k):
    """Argyriou, Foygel and Srebro 2012, proposition 2.1."""
    z = np.sort(np.abs(x))[::-1]
    for r in range(k):
        tail = z[k - r - 1 :].sum() / (r + 1)
        before = math.inf if k - r - 2 < 0 else z[k - r - 2]
        if before > tail >= z[k - r - 1]:
            return math.sqrt((z[: k - r - 1] ** 2).sum() + tail * (r + 1) * tail)
    raise AssertionError("no r found")


@pytest.mark.parametrize("k", [1, 2, 4, 7])
def test_envelope_of_single_entries_is_half_the_squared_k_support_norm(k, to):
    x = np.random.default_rng(k).standard_normal(7)
    half = 0.5 * k_support_norm(x, k) ** 2
    assert GroupEnvelope(k).value(to(x)) == pytest.approx(half, rel=1e-12)
    if k == 1:
        assert half == pytest.approx(0.5 * np.abs(x).sum() ** 2)
    if k == 7:
        assert half == pytest.approx(0.5 * (x**2).sum())


def test_envelope_is_monotone_in_k_and_exact_on_its_set():
    x = np.random.default_rng(0).standard_normal((5, 6))
    x[2:] = 0
    values = [GroupEnvelope(k, groups=np.arange(5)[:, None]).value(x) for k in (0.5, 1, 1.5, 2, 3, 9)]
    assert (np.diff(values) <= 1e-12).all()
    assert values[0] > values[1] > values[3]
    assert values[3] == values[5] == pytest.approx(0.5 * (x**2).sum())


def test_envelope_degenerate_cases(to):
    prior = GroupEnvelope(2, 0.5)
    zero = to(np.zeros(4))
    assert (as_numpy(prior.prox(zero, 1.0)) == 0).all()
    assert prior.value(zero) == 0.0
    v = np.array([1.0, 0.0, -3.0, 0.0])
    np.testing.assert_allclose(
        as_numpy(prior.prox(to(v), 1.0)), v / 1.5
    )  # two groups fit the budget: a ridge
    np.testing.assert_array_equal(as_numpy(GroupEnvelope(2, 0.0).prox(to(v), 1.0)), v)
    np.testing.assert_allclose(as_numpy(prior.prox(to(np.ones(4)), 1.0)), np.full(4, 0.5))  # u = 1/2 each


@pytest.mark.parametrize("labels", [np.array([0, 1, 0, 2, 2, 1]), np.array([[0], [1]])], ids=str)
def test_envelope_groups_in_every_library(labels, to):
    v = np.random.default_rng(0).standard_normal((3, 6) if labels.ndim == 1 else (3, 2, 4))
    prior = GroupEnvelope(1.2, 0.5, groups=labels)
    np.testing.assert_allclose(as_numpy(prior.prox(to(v), 0.7)), prior.prox(v, 0.7), rtol=1e-13)
    assert prior.value(to(v)) == pytest.approx(prior.value(v), rel=1e-13)
    assert prior.value(v) == pytest.approx(sum(prior.value(one) for one in v))


def test_envelope_of_complex_rows_depends_on_moduli():
    v = np.random.default_rng(0).standard_normal((3, 4)) * np.exp(1j * np.arange(12).reshape(3, 4))
    prior = GroupEnvelope(1.0, groups=np.arange(3)[:, None])
    assert prior.value(v) == pytest.approx(prior.value(np.abs(v)))
    np.testing.assert_allclose(np.abs(prior.prox(v, 0.4)), prior.prox(np.abs(v), 0.4), rtol=1e-13)


# -- balls -----------------------------------------------------------------------------------------------


def test_l1_ball_projection_is_optimal(to):
    rng = np.random.default_rng(0)
    v = 3 * rng.standard_normal((2, 5, 4))
    x = as_numpy(L1Ball(2.0, ndim=2).prox(to(v), 1.0))
    np.testing.assert_allclose(np.abs(x).sum((1, 2)), 2.0)
    for k in range(2):  # variational inequality: <v - x, z - x> <= 0 for the corners z of the ball
        assert 2.0 * np.abs(v[k] - x[k]).max() <= ((v[k] - x[k]) * x[k]).sum() + 1e-12
    inside = 0.01 * v
    np.testing.assert_array_equal(as_numpy(L1Ball(9.0, ndim=2).prox(to(inside), 1.0)), inside)
    np.testing.assert_array_equal(as_numpy(L1Ball(0.0, ndim=2).prox(to(v), 1.0)), 0 * v)


def test_l1_ball_of_many_entries_in_single_precision():
    """A running sum of 10^5 single-precision numbers is off by 1e-5."""
    v = np.random.default_rng(0).uniform(0.5, 1.5, 100_000).astype(np.float32)
    x = L1Ball(9e4).prox(v, 1.0)
    assert x.dtype == np.float32
    assert x.astype(float).sum() == pytest.approx(9e4, rel=1e-7)
    assert L1Ball(9e4).value(x) == 0.0
    assert L1Ball(9e4).value(x * np.float32(1.0001)) == math.inf


@pytest.mark.parametrize("data", [[1.5], [1.5, 0.3], [1.5, 0.3, -2.0, 0.5]], ids=str)
def test_residual_ball_prox_is_the_global_minimum(data):
    data = np.array(data)
    loss, spec, like = ResidualBall(0.5, tol=0.0), ArraySpec(data.shape), np.zeros(1)
    parts = (lambda v, t: loss.prox(v, t, data), lambda p: loss.value(p, data), spec, like, 0.0)
    check_sweeps(loss, *parts)
    if data.size <= 2:
        check_on_grid(loss, *parts, True)


@pytest.mark.parametrize("kind", [np.float64, np.complex128])
def test_residual_ball_prox_in_another_metric(kind, to):
    rng = np.random.default_rng(0)
    y, d = rng.standard_normal((2, 50)).astype(kind)
    d = d * np.exp(1j) if kind is np.complex128 else d
    t = rng.uniform(0.01, 5.0, 50)
    p = as_numpy(ResidualBall(2.0).prox(to(y + d), to(t), to(y)))
    assert np.linalg.norm(p - y) == pytest.approx(2.0, rel=1e-12)
    m = (y + d - p) / t / (p - y)  # stationarity: (v - p) / t = m (p - y) with one m > 0
    np.testing.assert_allclose(m, np.full(50, m[0].real), rtol=1e-8)
    assert m[0].real > 0
    np.testing.assert_allclose(as_numpy(ResidualBall(99.0).prox(to(y + d), to(t), to(y))), y + d)
    np.testing.assert_array_equal(as_numpy(ResidualBall(0.0).prox(to(y + d), to(t), to(y))), y)


def test_residual_ball_of_tuples_and_batches(to):
    rng = np.random.default_rng(0)
    y = (to(rng.standard_normal(4)), to(rng.standard_normal((2, 3))))
    v = tuple(2.0 + one for one in y)
    p = ResidualBall(1.0).prox(v, 0.5, y)
    total = sum(float((as_numpy(a - b) ** 2).sum()) for a, b in zip(p, y, strict=True))
    assert total == pytest.approx(1.0)
    assert ResidualBall(1.0).value(p, y) == 0.0
    assert ResidualBall(0.99).value(p, y) == math.inf
    many, far = to(rng.standard_normal((3, 5))), to(np.array([[0.1], [2.0], [5.0]]))
    each = as_numpy(ResidualBall(1.0, ndim=1).prox(many + far, 0.5, many)) - as_numpy(many)
    np.testing.assert_allclose(np.linalg.norm(each, axis=1), [0.1 * 5**0.5, 1.0, 1.0])


def test_residual_ball_is_scale_equivariant():
    rng = np.random.default_rng(0)
    y, v = rng.standard_normal((2, 20))
    wanted = ResidualBall(1.0).prox(v, 1.0, y)
    for s in (1e20, 1e-20):
        np.testing.assert_allclose(ResidualBall(s).prox(s * v, 1.0, s * y) / s, wanted, rtol=1e-13)
        assert ResidualBall(s).value(s * wanted, s * y) == 0.0


# -- texts -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: NofM(3, 2), ParameterError, "NofM.n must be <= m = 2, got 3"),
        (lambda: TopK(0), ParameterError, "TopK.k must be >= 1, got 0"),
        (lambda: Lp(1.0, 1.0), ParameterError, "Lp.p must be"),
        (lambda: TopK(2).check_spec(ArraySpec((3, 4))), ShapeError, "TopK must count over the sample's 2 axes"),
        (lambda: L1Ball(2.0).check_spec((ArraySpec((3,)),) * 2), ShapeError, "L1Ball must act on one array"),
        (lambda: NofM(1, 2, axis=0).check_spec(ArraySpec((3,))), ShapeError, "NofM.axis must be negative and inside"),
        (lambda: L0().prox_within(np.ones(2), 1.0, -1, 1), CapabilityError, "L0.prox_within must be asked for"),
        (lambda: GroupEnvelope(1, groups=[0, 2]), ParameterError, "groups must be integers that use every"),
        (lambda: GroupEnvelope(1, groups=[0.5]), ParameterError, "GroupEnvelope.groups must be integers"),
        (lambda: GroupEnvelope(1, groups=[0, 1], costs=[1.0]), ShapeError, "costs must be one number or 2, one per"),
        (lambda: GroupEnvelope(1, costs=[1.0, 2.0]), ShapeError, "costs must be one number where there are no groups"),
        (lambda: GroupEnvelope(1, costs=-1.0), ParameterError, "GroupEnvelope.costs must be > 0 and finite"),
        (lambda: GroupEnvelope(1, groups=PAIRS).check_spec(ArraySpec((3, 3))), ShapeError, "groups must fit"),
        (lambda: GroupEnvelope(0.0), ParameterError, "GroupEnvelope.k must be > 0"),
        (lambda: ResidualBall(1.0, ndim=3).check_data(np.ones((2, 2))), ShapeError, "at most the 2 axes of the data"),
        (lambda: ResidualBall(1.0).gradient(1, 2), CapabilityError, "ResidualBall.gradient must not be asked for"),
    ],
)  # fmt: skip
def test_refusals(make, error, text):
    with pytest.raises(error) as caught:
        make()
    assert text in str(caught.value)
