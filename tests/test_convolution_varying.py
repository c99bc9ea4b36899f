"""Kernels that change over the image: the contract, the definition, tiles against whole images, low rank, texts."""

import pickle

import array_api_compat.numpy as xp
import numpy as np
import pytest
from recon_operators.convolution import Convolution, VaryingConvolution, bilinear_weights
from recon_operators.convolution._varying import TilePlan, Tiling, WholePlan

from recon import linalg
from recon.errors import ArrayError, ParameterError, ShapeError
from recon.testing import check_operator

BOUNDARIES = ("periodic", "zero", "reflect", "symmetric", "valid")
GRIDS = {
    "two axes": ((13, 11), [[2, 6, 10], [0, 9]], (3, 4)),
    "one axis": ((30,), [[0, 7, 14, 21, 29]], (4,)),
    "three axes": ((6, 5, 4), [[0, 5], [2], [1, 3]], (2, 3, 2)),
}


def draw(shape, seed=0, *, complex_=False):
    rng = np.random.default_rng(seed)
    values = rng.standard_normal(shape)
    return values + 1j * rng.standard_normal(shape) if complex_ else values


def make(name, boundary, complex_=False):
    image, positions, kernel = GRIDS[name]
    weights = bilinear_weights(positions, image)
    kernels = draw((len(weights), *kernel), 1, complex_=complex_)
    return VaryingConvolution(kernels, weights, center="peak", boundary=boundary)


def definition(A, x):
    """The sum over the terms, each an ordinary convolution."""
    terms = zip(A.kernels, A.weights, A.center, strict=True)
    return sum(
        Convolution(h, A.weights.shape[1:], center=c, boundary=A.boundary, kind=A.domain.kind) @ (w * x)
        for h, w, c in terms
    )


def plans(A):
    """Both engines for double precision."""
    half = A.domain.kind == "real"
    dtype = np.float64 if half else np.complex128
    tiling = Tiling(A._layout.image, A.kernels.shape[1:], A.center, A.boundary, A.weights)
    yield TilePlan(tiling, A._layout.data, A.kernels, half, xp, "cpu", dtype)
    yield WholePlan(A._layout, A.kernels, A.weights, half, xp, "cpu", dtype)


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("name", GRIDS)
def test_contract(name, boundary, like):
    check_operator(make(name, boundary), like=like)


def test_contract_complex(like):
    check_operator(make("two axes", "reflect", complex_=True), like=like)
    check_operator(VaryingConvolution.example(), like=like)


@pytest.mark.parametrize("complex_", [False, True])
@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("name", GRIDS)
def test_both_engines_are_the_definition(name, boundary, complex_):
    A = make(name, boundary, complex_)
    x = draw((2, *A.domain.shape), 2, complex_=complex_)
    y = draw((2, *A.codomain.shape), 3, complex_=complex_)
    wanted = np.stack([definition(A, one) for one in x])
    back = A.H @ y
    for plan in plans(A):
        np.testing.assert_allclose(plan.apply(x), wanted, rtol=0, atol=1e-12)
        np.testing.assert_allclose(plan.adjoint(y), back, rtol=0, atol=1e-12)
        gap = np.vdot(y, plan.apply(x)) - np.vdot(plan.adjoint(y), x)
        assert abs(gap) <= 1e-12 * np.linalg.norm(y) * np.linalg.norm(wanted)


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_tiles_are_taken_where_the_weights_are_local(boundary):
    places = np.linspace(0, 95, 9)
    A = VaryingConvolution(draw((81, 5, 5)), bilinear_weights([places, places], (96, 96)), boundary=boundary)
    x = draw((96, 96), 1)
    assert type(A._planned(x)) is TilePlan
    np.testing.assert_allclose(A @ x, definition(A, x), rtol=0, atol=1e-12)
    assert linalg.adjoint_gap(A) <= 1e-13
    assert type(A.low_rank(3)._planned(x)) is WholePlan


def test_equal_kernels_are_one_convolution():
    h = draw((3, 4))
    weights = bilinear_weights([[0, 5, 9], [1, 6]], (10, 8))
    A = VaryingConvolution(np.stack([h] * 6), weights, boundary="zero")
    x = draw((10, 8), 1)
    np.testing.assert_allclose(A @ x, Convolution(h, (10, 8), boundary="zero") @ x, rtol=0, atol=1e-13)


def test_a_pixel_spreads_by_the_kernel_of_its_place():
    """A star at a grid point shows the kernel of that point; half-way between two, their mean."""
    kernels = draw((2, 3, 3))
    A = VaryingConvolution(kernels, bilinear_weights([[4], [3, 11]], (9, 15)), boundary="zero")
    x = np.zeros((3, 9, 15))
    x[0, 4, 3] = x[1, 4, 11] = x[2, 4, 7] = 1.0
    y = A @ x
    np.testing.assert_allclose(y[0, 3:6, 2:5], kernels[0], rtol=0, atol=1e-14)
    np.testing.assert_allclose(y[1, 3:6, 10:13], kernels[1], rtol=0, atol=1e-14)
    np.testing.assert_allclose(y[2, 3:6, 6:9], kernels.mean(axis=0), rtol=0, atol=1e-14)


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_full_rank_loses_nothing(boundary):
    A = make("two axes", boundary)
    x = draw(A.domain.shape, 2)
    B = A.low_rank(6)
    np.testing.assert_allclose(B @ x, A @ x, rtol=0, atol=1e-12)
    check_operator(A.low_rank(2))


def test_low_rank_is_exact_for_kernels_of_that_rank():
    basis, shares = draw((2, 5, 5)), draw((9, 2), 1)
    kernels = np.tensordot(shares, basis, 1)
    places = np.linspace(0, 19, 3)
    A = VaryingConvolution(kernels, bilinear_weights([places, places], (20, 20)), boundary="symmetric")
    x = draw((20, 20), 2)
    wanted = A @ x
    assert A.low_rank(np.int64(2)).kernels.shape == (2, 5, 5)
    np.testing.assert_allclose(A.low_rank(2) @ x, wanted, rtol=0, atol=1e-12)
    assert np.linalg.norm(A.low_rank(1) @ x - wanted) > 0.05 * np.linalg.norm(wanted)


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_bounds(boundary):
    A = make("two axes", boundary)
    matrix = linalg.dense(A)
    assert np.linalg.norm(matrix, 2) <= A.norm_bound()
    positive = VaryingConvolution(np.abs(A.kernels), A.weights, center=A.center, boundary=boundary)
    matrix = linalg.dense(positive)
    for offered, axis in zip(positive.absolute_sums(np.ones(1)), (1, 0), strict=True):
        assert (offered.ravel() >= matrix.sum(axis)).all()
        assert (offered.ravel() <= matrix.sum(axis) * (1 + 1e-5) + 1e-10).all()


def test_bilinear_weights():
    weights = bilinear_weights([[1, 5], [0.5, 2.5, 6]], (8, 7))
    assert weights.shape == (6, 8, 7)
    assert weights.min() == 0
    np.testing.assert_allclose(weights.sum(axis=0), 1, rtol=0, atol=1e-15)
    rows, columns = np.indices((8, 7))
    # they reproduce linear functions between the points
    value = np.tensordot(np.add.outer([1, 5], 10 * np.array([0.5, 2.5, 6])).ravel(), weights, 1)
    inside = (rows >= 1) & (rows <= 5) & (columns >= 1)
    np.testing.assert_allclose(value[inside], (rows + 10 * columns)[inside], rtol=0, atol=1e-13)
    assert (weights[0, 0, 0], weights[5, 7, 6]) == (1, 1)  # constant beyond the edge


def test_pickle():
    A = VaryingConvolution.example()
    x = draw(A.domain.shape)
    y = A @ x
    twin = pickle.loads(pickle.dumps(A))
    assert np.array_equal(twin @ x, y)
    for array in (twin.kernels, twin.weights):
        with pytest.raises(ValueError, match="read-only"):
            array[:] = 0


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (
            lambda: VaryingConvolution(np.ones((2, 3)), np.ones((3, 8))),
            ShapeError,
            r"kernels and weights must be stacks of the same length with 1 to 3 axes each, got shapes \(2, 3\)",
        ),
        (
            lambda: VaryingConvolution(np.ones((2, 3)), np.ones((2, 8, 8))),
            ShapeError,
            "kernels and weights must be stacks",
        ),
        (
            lambda: VaryingConvolution(np.ones((2, 9)), np.ones((2, 8)), boundary="valid"),
            ShapeError,
            "kernels must be no larger than the weight images for boundary 'valid'",
        ),
        (
            lambda: VaryingConvolution(np.ones((2, 3)), np.zeros((2, 8))),
            ParameterError,
            "VaryingConvolution.weights must not all be 0, got zeros",
        ),
        (
            lambda: VaryingConvolution(np.ones((2, 3)), [[np.nan] * 8] * 2),
            ArrayError,
            "VaryingConvolution.weights must be finite",
        ),
        (
            lambda: VaryingConvolution.example().low_rank(5),
            ParameterError,
            "low_rank rank must be an integer from 1 to 4, got 5",
        ),
        (
            lambda: bilinear_weights([[1, 2]], (8, 8)),
            ShapeError,
            "bilinear_weights.positions must be one sequence for each of the 2 axes, got 1",
        ),
        (
            lambda: bilinear_weights([[2, 1]], (8,)),
            ParameterError,
            r"bilinear_weights.positions\[0\] must be increasing numbers, got shape \(2,\). Sort them",
        ),
        (
            lambda: bilinear_weights([["a"]], (8,)),
            ArrayError,
            r"bilinear_weights.positions\[0\] must be numbers, got dtype",
        ),
        (
            lambda: bilinear_weights([[0]], (0,)),
            ShapeError,
            r"bilinear_weights.image_shape must be positive, got \(0,\)",
        ),
    ],
)
def test_error_texts(make, error, text):
    with pytest.raises(error, match=text):
        make()
