"""Counts and line integrals: the law and back, weights that are inverse variances, dead bins, zero counts, texts."""

import array_api_strict
import numpy as np
import pytest
import torch
from recon_operators.tomography import ParallelBeam, line_integrals, transmission

from recon import LeastSquares, Problem
from recon.errors import ArrayError, ParameterError, ShapeError
from recon.losses import WeightedLeastSquares


def rng():
    return np.random.default_rng(7)


def test_there_and_back_without_noise():
    p = np.linspace(0, 5, 24).reshape(2, 3, 4)
    blank, dark = 1e5 * (1 + 0.1 * np.arange(4.0)), np.full((3, 1), 100.0)
    counts = (blank - dark) * np.exp(-p) + dark
    back, weights = line_integrals(counts, blank, dark)
    np.testing.assert_allclose(back, p, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(weights, counts - dark, rtol=1e-12)


@pytest.mark.parametrize(("p", "noise"), [(0.5, 0.0), (3.0, 0.0), (3.0, 30.0)])
def test_weights_are_inverse_variances(p, noise):
    """40 000 draws: the variance of what comes back, times the mean weight, is 1."""
    counts = transmission(np.full(40_000, p), 1e4, rng(), dark=200.0, electronic_noise=noise)
    mean, variance = 1e4 * np.exp(-p), counts.var()
    assert variance == pytest.approx((1e4 - 200) * np.exp(-p) + noise**2, rel=0.03)
    assert counts.mean() == pytest.approx((1e4 - 200) * np.exp(-p) + 200, rel=0.01)
    back, weights = line_integrals(counts, 1e4, 200.0, electronic_noise=noise)
    assert back.mean() == pytest.approx(p, abs=0.01)
    assert back.var() * weights.mean() == pytest.approx(1, rel=0.05)
    assert weights.mean() < mean


def test_nothing_arrived():
    counts = np.array([0.0, 0.4, 1.0, 100.0, -3.0])
    p, weights = line_integrals(counts, 100.0)
    np.testing.assert_allclose(p, [np.log(100)] * 3 + [0, np.log(100)])
    np.testing.assert_array_equal(weights, [0, 0, 1, 100, 0])
    p, weights = line_integrals(counts / 100, 1.0, floor=0.001)  # scaled counts
    assert p[1] == pytest.approx(np.log(250))
    assert weights[1] == pytest.approx(0.004)


def test_dead_bins_are_ignored():
    p, weights = line_integrals(
        np.full((2, 3), 50.0), np.array([100.0, 10.0, 5.0]), np.array([0.0, 10.0, 10.0])
    )
    np.testing.assert_allclose(p, [[np.log(2), 0, 0]] * 2)
    np.testing.assert_allclose(weights, [[50, 0, 0]] * 2)


def test_weights_serve_the_loss():
    """The weighted solution of a starved scan is nearer to the truth than the plain one."""
    A = ParallelBeam((24, 24), np.arange(30) * np.pi / 30, 34)
    truth = np.zeros((24, 24))
    truth[6:18, 6:18] = 0.1
    truth[10:14, 4:20] = 0.5
    p, weights = line_integrals(transmission(A @ truth, 200.0, rng()), 200.0)
    from recon_proximal import Fista

    from recon import NonNegative, solve

    errors = []
    for loss in (LeastSquares(), WeightedLeastSquares(weights / weights.max())):
        result = solve(Problem(A, p, NonNegative(), loss=loss), Fista(), stop=150)
        errors.append(np.linalg.norm(result.x - truth))
    assert errors[1] < 0.8 * errors[0]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("xp", [np, array_api_strict, torch])
def test_libraries(xp, dtype):
    values = np.abs(rng().standard_normal((2, 3, 4))).astype(dtype)
    p = xp.asarray(values)
    counts = transmission(p, 500.0, rng(), electronic_noise=2.0)
    assert type(counts) is type(p)
    assert counts.dtype == p.dtype
    np.testing.assert_array_equal(
        np.asarray(counts), transmission(values, 500.0, rng(), electronic_noise=2.0)
    )
    back, weights = line_integrals(counts, xp.asarray(np.full((1, 4), 500.0)), electronic_noise=2.0)
    expected = line_integrals(np.asarray(counts), 500.0, electronic_noise=2.0)
    for ours, other in zip((back, weights), expected, strict=True):
        assert type(ours) is type(p)
        assert ours.dtype == p.dtype
        np.testing.assert_allclose(np.asarray(ours), other, rtol=1e-6, atol=1e-6)


def test_integers_become_double():
    p, weights = line_integrals(np.array([[10, 20]], np.uint16), 40)
    assert p.dtype == weights.dtype == np.float64
    np.testing.assert_allclose(p, np.log([[4, 2]]))


def test_counts_that_are_scaled_need_another_floor(caplog):
    counts = np.array([0.1, 0.5])
    assert not line_integrals(counts, 1.0)[1].any()
    assert "no count reaches the floor of 1: all weights are 0. Give less for scaled" in caplog.text
    caplog.clear()
    p, weights = line_integrals(counts, 1.0, floor=1e-3)
    np.testing.assert_allclose(p, -np.log(counts))
    np.testing.assert_allclose(weights, counts)
    assert not caplog.records


def test_weights_of_large_float32_counts_do_not_overflow():
    n, sigma = np.array([1e20, 1e30], np.float32), 1e25
    weights = line_integrals(n, 1e35, electronic_noise=sigma)[1]
    exact = n.astype(np.float64) ** 2 / (n.astype(np.float64) + sigma**2)
    np.testing.assert_allclose(weights, exact, rtol=1e-6)


ONES = np.ones((2, 3))


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (
            lambda: line_integrals(1j * ONES, 1.0),
            ArrayError,
            "line_integrals counts must be real numbers, got dtype",
        ),
        (
            lambda: line_integrals(ONES * np.nan, 1.0),
            ArrayError,
            "counts must be finite, got NaN or infinity. Replace",
        ),
        (
            lambda: line_integrals(ONES, np.nan),
            ArrayError,
            "line_integrals blank must be finite, got NaN or infinity",
        ),
        (
            lambda: line_integrals(ONES, "much"),
            ArrayError,
            "blank must be a number or an array of numbers, got 'much'",
        ),
        (
            lambda: line_integrals(ONES, 1j),
            ArrayError,
            "blank must be a number or an array of numbers, got 1j",
        ),
        (lambda: line_integrals(ONES, None), ArrayError, "blank must be a number or an array .*, got None"),
        (
            lambda: transmission(-1e4 * ONES, 1e4, rng()),
            ParameterError,
            "transmission blank must give means below 1e.18, got inf. Check its unit and the sign of p",
        ),
        (
            lambda: line_integrals(ONES, np.ones(2)),
            ShapeError,
            r"blank must broadcast to \(2, 3\), got \(2,\). Average",
        ),
        (lambda: line_integrals(ONES, 1.0, np.ones(2)), ShapeError, "line_integrals dark must broadcast"),
        (
            lambda: line_integrals(ONES, 1.0, floor=0),
            ParameterError,
            "floor must be a number > 0, got 0. It is in",
        ),
        (
            lambda: line_integrals(ONES, 1.0, electronic_noise=-1),
            ParameterError,
            "line_integrals electronic_noise must be a number >= 0, got -1. It is in counts",
        ),
        (
            lambda: transmission(ONES, 1.0, 3),
            ParameterError,
            r"transmission rng must be a numpy.random.Generator, got 3. Give numpy.random.default_rng\(seed\)",
        ),
        (
            lambda: transmission(ONES, 1.0, rng(), dark=2.0),
            ParameterError,
            "transmission blank must be >= dark >= 0, got smaller entries. Check their order",
        ),
    ],
)
def test_error_texts(make, error, text):
    with pytest.raises(error, match=text):
        make()
