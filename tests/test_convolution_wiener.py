"""One-step deconvolution: the dense solution, generalised cross-validation against a grid and the dense formula."""

import math

import numpy as np
import pytest
import torch
from recon_operators.convolution import Convolution, SeparableConvolution, gcv_weight, wiener

from recon import linalg
from recon.arrays import as_numpy
from recon.errors import ParameterError, ShapeError


def draw(shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def laplacian(shape, kind):
    kernel = np.zeros((3,) * len(shape))
    centre = (1,) * len(shape)
    kernel[centre] = 2 * len(shape)
    for axis in range(len(shape)):
        for side in (0, 2):
            kernel[tuple(side if k == axis else 1 for k in range(len(shape)))] = -1
    return linalg.dense(Convolution(kernel, shape, center=centre, kind=kind))


@pytest.mark.parametrize("weight", [1e-3, 0.7])
@pytest.mark.parametrize("regularizer", ["laplacian", "identity"])
@pytest.mark.parametrize(
    ("kernel", "shape", "kind"),
    [
        ((3, 4), (7, 8), "real"),
        ((5,), (9,), "real"),
        ((2, 3, 2), (4, 3, 5), "real"),
        ((3, 3), (5, 6), "complex"),
    ],
    ids=str,
)
def test_wiener_is_the_dense_solution(kernel, shape, kind, regularizer, weight):
    h = draw(kernel) + (1j * draw(kernel, 5) if kind == "complex" else 0)
    A = Convolution(h, shape)
    y = draw(shape, 1) + (1j * draw(shape, 2) if kind == "complex" else 0)
    M = linalg.dense(A)
    G = laplacian(shape, kind) if regularizer == "laplacian" else np.eye(M.shape[1])
    wanted = np.linalg.solve(M.conj().T @ M + weight * G.T @ G, M.conj().T @ y.ravel())
    x = wiener(A, y, weight, regularizer=regularizer)
    np.testing.assert_allclose(x.ravel(), wanted, rtol=0, atol=1e-10 * np.abs(wanted).max())


def scene():
    """A smooth scene with edges, blurred, with 2 % noise."""
    rows, columns = np.indices((40, 45))
    x = np.exp(-((rows - 15) ** 2 + (columns - 20) ** 2) / 60) + (abs(rows - 28) < 6) * (
        abs(columns - 30) < 8
    )
    i = np.arange(-5, 6)
    h = np.exp(-(i[:, None] ** 2 + i**2) / (2 * 1.6**2))
    A = Convolution(h / h.sum(), x.shape)
    return A, x, A @ x + 0.02 * draw(x.shape, 3)


@pytest.mark.parametrize("regularizer", ["laplacian", "identity"])
def test_gcv_is_the_minimum_of_the_dense_formula(regularizer):
    """Against (1/m) ||(I - H) y||^2 / (tr(I - H) / m)^2 with the influence matrix H, on a fine grid of weights."""
    rng = np.random.default_rng(0)
    A = Convolution(np.outer([0.2, 0.6, 0.2], [0.3, 0.5, 0.2]), (8, 9))
    smooth = np.add.outer(np.sin(np.arange(8) * math.pi / 4), np.cos(np.arange(9) * math.tau / 9))
    y = A @ smooth + 0.1 * rng.standard_normal((8, 9))
    M = linalg.dense(A)
    G = laplacian((8, 9), "real") if regularizer == "laplacian" else np.eye(72)
    exponents = np.arange(-4, 3, 0.02)

    def value(weight):
        rest = np.eye(72) - M @ np.linalg.solve(M.T @ M + weight * G.T @ G, M.T)
        return np.mean((rest @ y.ravel()) ** 2) / (np.trace(rest) / 72) ** 2

    best = exponents[np.argmin([value(10.0**e) for e in exponents])]
    assert exponents[0] < best < exponents[-1]
    assert math.log10(gcv_weight(A, y, regularizer=regularizer)) == pytest.approx(best, abs=0.015)


def test_gcv_is_near_the_best_weight():
    """On a blurred scene with noise the error is within 5 % of the smallest over all weights."""
    A, x, y = scene()
    errors = [np.linalg.norm(wiener(A, y, 10.0**e) - x) for e in np.arange(-7, 3, 0.1)]
    found = np.linalg.norm(wiener(A, y) - x)
    assert found <= 1.05 * min(errors)
    assert found <= 0.8 * np.linalg.norm(y - x)


def test_every_image_has_its_own_weight():
    A, _, y = scene()
    batch = np.stack([y, A @ draw(y.shape, 8), y])
    weights = gcv_weight(A, batch)
    assert weights.shape == (3,)
    assert weights[0] == weights[2] == gcv_weight(A, y)
    together = wiener(A, batch)
    for one, image, weight in zip(together, batch, weights, strict=True):
        np.testing.assert_allclose(one, wiener(A, image, weight), rtol=0, atol=1e-12)


def test_stacks_of_kernels():
    kernels = np.abs(draw((2, 3, 3)))
    A, y = Convolution(kernels, (8, 9)), draw((4, 2, 8, 9), 1)
    x = wiener(A, y, draw((4, 2), 2) ** 2 + 0.1)
    assert x.shape == y.shape
    assert gcv_weight(A, y).shape == (4, 2)
    alone = Convolution(kernels[1], (8, 9))
    weight = float(draw((4, 2), 2)[3, 1] ** 2 + 0.1)
    np.testing.assert_allclose(x[3, 1], wiener(alone, y[3, 1], weight), rtol=0, atol=1e-12)


def test_lost_frequencies_stay_empty():
    """The difference kernel and the Laplacian both lose the mean."""
    A = Convolution([1.0, -1.0], (8,), center=(0,))
    y = draw(8) + 5.0
    x = wiener(A, y, 0.1)
    assert np.isfinite(x).all()
    assert abs(x.mean()) <= 1e-14
    M, G = linalg.dense(A), laplacian((8,), "real")
    residual = M.T @ (M @ x - y) + 0.1 * G.T @ G @ x
    assert np.abs(residual).max() <= 1e-13


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_mean_that_is_lost_but_for_rounding(dtype):
    """A kernel whose sum is 0 to rounding: the noise in the mean of the data is not divided by that rounding."""
    h = np.random.default_rng(0).random((3, 3))
    A = Convolution(h - h.mean(), (8, 9))
    assert 0 < abs(A._transfer(half=False)[0, 0]) < 1e-15
    y = (draw((8, 9)) + 5.0).astype(dtype)
    for weight in ("gcv", 1e-3, 0.0):
        x = wiener(A, y, weight)
        assert abs(x.mean()) <= 1e-6
        assert np.abs(x).max() <= 100 * np.abs(y).max()


def test_weight_nothing_is_the_pseudo_inverse_and_much_is_the_mean():
    A = Convolution(np.ones((4, 3)) / 12, (8, 9))  # with zeros in the transfer function
    y = draw((8, 9))
    wanted = np.linalg.pinv(linalg.dense(A), rcond=1e-10) @ y.ravel()
    np.testing.assert_allclose(wiener(A, y, 0.0).ravel(), wanted, rtol=0, atol=1e-10)
    np.testing.assert_allclose(wiener(A, y, 1e300), np.full((8, 9), y.mean()), rtol=0, atol=1e-12)


@pytest.mark.parametrize("unit", [1e-20, 1e20])
def test_units_of_the_kernel_beyond_the_squares_of_single_precision(unit):
    h = draw((3, 3)) + 3 * np.eye(3)
    y = draw((8, 9), 1).astype(np.float32)
    A, scaled = Convolution(h, (8, 9)), Convolution(unit * h, (8, 9))
    for solve in (wiener, lambda A, y: A.pinv(y)):
        wanted = solve(A, y)
        np.testing.assert_allclose(
            solve(scaled, y) * np.float32(unit), wanted, rtol=0, atol=1e-5 * np.abs(wanted).max()
        )


def test_gcv_of_data_without_noise_or_structure():
    A, x, _ = scene()
    exact = wiener(A, A @ x)
    assert np.linalg.norm(exact - x) <= 0.1 * np.linalg.norm(A @ x - x)
    flat = np.full(x.shape, 3.0)
    np.testing.assert_allclose(wiener(A, flat), flat, rtol=1e-12)
    assert (wiener(A, 0 * flat) == 0).all()
    zero = Convolution(np.zeros((3, 3)), x.shape)
    assert (wiener(zero, flat) == 0).all()
    np.testing.assert_allclose(wiener(Convolution([2.0], (1,)), np.array([4.0])), [2.0])


def test_libraries(to):
    A, y = Convolution(np.abs(draw((2, 3, 4))), (8, 9)), draw((5, 2, 8, 9), 1)
    for weight in ("gcv", 0.0, draw((5, 2)) ** 2):
        np.testing.assert_allclose(
            as_numpy(wiener(A, to(y), weight)), wiener(A, y, weight), rtol=0, atol=1e-9
        )


def test_separable_kernels_and_libraries():
    A = SeparableConvolution((np.ones(3) / 3, np.ones(4) / 4), (8, 9))
    y = draw((8, 9))
    wanted = wiener(Convolution(A.kernel, (8, 9)), y, 0.1)
    np.testing.assert_allclose(wiener(A, y, 0.1), wanted, rtol=0, atol=1e-12)
    single = wiener(A, y.astype(np.float32))
    assert single.dtype == np.float32
    foreign = wiener(A, torch.asarray(y))
    assert foreign.dtype == torch.float64
    np.testing.assert_allclose(foreign.numpy(), wiener(A, y), rtol=0, atol=1e-10)


A = Convolution(np.ones(3), (8,))


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (
            lambda: wiener(Convolution(np.ones(3), (8,), boundary="zero"), np.ones(8)),
            ParameterError,
            "wiener.operator must be a Convolution with boundary 'periodic', got .*. For other boundaries solve",
        ),
        (lambda: gcv_weight("blur", np.ones(8)), ParameterError, "gcv_weight.operator must be a Convolution"),
        (lambda: wiener(A, np.ones(9)), ShapeError, "wiener data must have shape"),
        (
            lambda: wiener(A, np.ones(8), -1.0),
            ParameterError,
            r"wiener.weight must be 'gcv' or numbers >= 0, one or as many as images \(\), got -1.0",
        ),
        (
            lambda: wiener(A, np.ones(8), "lcurve"),
            ParameterError,
            "wiener.weight must be 'gcv' or numbers >= 0",
        ),
        (
            lambda: wiener(A, np.ones((2, 8)), np.ones(3)),
            ParameterError,
            r"as many as images \(2,\), got an array",
        ),
        (
            lambda: wiener(A, np.ones(8), 1.0, regularizer="gradient"),
            ParameterError,
            "wiener.regularizer must be 'laplacian' or 'identity', got 'gradient'",
        ),
    ],
)
def test_error_texts(make, error, text):
    with pytest.raises(error, match=text):
        make()
