"""Convolution with one kernel: the contract, both engines, SciPy for every boundary, the centre."""

import itertools
import sys

import numpy as np
import pytest
import scipy.ndimage
import scipy.signal
from recon_operators.convolution import (
    Convolution,
    SeparableConvolution,
)
from recon_operators.convolution._direct import DirectPlan
from recon_operators.convolution._fourier import FourierPlan

from recon.testing import check_operator

BOUNDARIES = ("periodic", "zero", "reflect", "symmetric", "valid")
NDIMAGE = {"periodic": "wrap", "zero": "constant", "reflect": "mirror", "symmetric": "reflect"}
PAD = {"periodic": "wrap", "zero": "constant", "reflect": "reflect", "symmetric": "symmetric"}


def draw(shape, seed=0, dtype=float):
    rng = np.random.default_rng(seed)
    values = rng.standard_normal(shape)
    return values + 1j * rng.standard_normal(shape) if dtype is complex else values.astype(dtype)


def transformed(A):
    """The same operator by Fourier transforms: complex images are never filtered tap by tap."""
    return Convolution(A.kernel, A.image_shape, center=A.center, boundary=A.boundary, kind="complex")


def engine(A):
    return type(A._planned(np.zeros(A.domain.shape)))


# -- the contract -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize(
    ("image", "kernel"),
    [
        ((9,), (4,)),
        ((7, 10), (3, 4)),
        ((11, 12), (11, 12)),
        ((1, 6), (1, 2)),
        ((1,), (1,)),
        ((4, 3, 5), (2, 3, 1)),
    ],
    ids=str,
)
def test_contract(image, kernel, boundary, like):
    check_operator(Convolution(draw(kernel), image, center="peak", boundary=boundary), like=like)


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_contract_complex(boundary, like):
    check_operator(Convolution(draw((3, 4), dtype=complex), (6, 7), boundary=boundary), like=like)
    check_operator(Convolution(draw((3, 2)), (5, 4), boundary=boundary, kind="complex"), like=like)


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("center", ["middle", ((0, 0), (2, 3), (1, 1))], ids=str)
def test_contract_of_stacks(boundary, center, like):
    check_operator(Convolution(draw((3, 3, 4)), (7, 6), center=center, boundary=boundary), like=like)


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_contract_of_separable_kernels(boundary, like):
    check_operator(SeparableConvolution((draw(3), draw(4, 1)), (6, 7), boundary=boundary), like=like)
    check_operator(SeparableConvolution((draw(2), np.array([1.5]), draw(2)), (3, 2, 5), boundary=boundary))


@pytest.mark.parametrize("boundary", BOUNDARIES[:4])
def test_kernels_larger_than_the_image(boundary):
    check_operator(Convolution(draw((9, 13)), (4, 3), boundary=boundary))
    A = Convolution(draw((5, 4)), (3, 2), boundary=boundary)  # few taps
    assert engine(A) is DirectPlan
    check_operator(A)


@pytest.mark.parametrize("cls", [Convolution, SeparableConvolution])
def test_examples(cls, like):
    check_operator(cls.example(), like=like)


# -- the engines ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize(
    ("kernel", "expected"),
    [
        (draw((5, 6)), DirectPlan),
        (np.outer(draw(21), draw(16, 1)), DirectPlan),
        (np.outer([2.0], draw(31, 1)), DirectPlan),
        (np.outer(draw(31), [2.0]), DirectPlan),
        (np.outer(draw(21), draw(16, 1)) + 1e-13, FourierPlan),
        (draw((11, 12)), FourierPlan),
    ],
    ids=["small", "separable", "row", "column", "nearly separable", "large"],
)
def test_engines_agree(kernel, expected, boundary):
    A = Convolution(kernel, (35, 40), center="peak", boundary=boundary)
    assert engine(A) is expected
    x, y = draw(A.domain.shape), draw(A.codomain.shape, 1)
    B = transformed(A)
    assert engine_of_complex(B) is FourierPlan
    np.testing.assert_allclose(A @ x, (B @ (x + 0j)).real, rtol=0, atol=1e-12 * np.abs(A @ x).max())
    np.testing.assert_allclose(A.H @ y, (B.H @ (y + 0j)).real, rtol=0, atol=1e-12 * np.abs(A.H @ y).max())


def engine_of_complex(B):
    return type(B._planned(np.zeros(B.domain.shape, complex)))


def test_without_numba_transforms_do_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "recon_operators.convolution._direct_numba", None)
    A = Convolution(draw((3, 3)), (8, 8))
    assert engine(A) is FourierPlan
    check_operator(A)


def test_strided_and_read_only_images():
    A = Convolution(draw((3, 4)), (12, 20), boundary="valid")
    x = draw((20, 12, 4)).T
    assert np.array_equal(A @ x, A @ np.ascontiguousarray(x))
    x.setflags(write=False)
    assert np.array_equal(A @ x, A @ x.copy())


@pytest.mark.parametrize("shape", [(3, 4), (11, 12)], ids=str)
def test_no_images_and_many(shape):
    A = Convolution(draw(shape), (12, 13), boundary="reflect")
    x = draw((3, 0, 12, 13))
    assert (A @ x).shape == (3, 0, 12, 13)
    assert (A.H @ x).shape == (3, 0, 12, 13)
    x = draw((3, 2, 12, 13))
    assert np.array_equal((A @ x)[2, 1], A @ x[2, 1])
    assert np.array_equal((A.H @ x)[2, 1], A.H @ x[2, 1])


def test_results_own_their_memory():
    for A in (
        Convolution(draw((5, 5)), (9, 9), boundary="zero"),
        Convolution(draw((11, 12)), (19, 19), boundary="zero"),
    ):
        y = A @ draw(A.domain.shape)
        assert y.base is None or y.base.size == y.size


# -- SciPy ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", [(3, 3), (4, 5), (2, 6), (11, 12)], ids=str)
@pytest.mark.parametrize("boundary", NDIMAGE)
def test_ndimage(boundary, kernel):
    """scipy.ndimage.convolve has its centre at K // 2."""
    h, x = draw(kernel), draw((13, 15), 1)
    A = Convolution(h, x.shape, center=tuple(k // 2 for k in kernel), boundary=boundary)
    wanted = scipy.ndimage.convolve(x, h, mode=NDIMAGE[boundary])
    np.testing.assert_allclose(A @ x, wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kernel", [(3, 3), (4, 5), (2, 6), (11, 12)], ids=str)
@pytest.mark.parametrize(
    ("boundary", "options"),
    [
        ("zero", {"mode": "same"}),
        ("valid", {"mode": "valid"}),
        ("periodic", {"mode": "same", "boundary": "wrap"}),
        ("symmetric", {"mode": "same", "boundary": "symm"}),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_signal(boundary, options, kernel):
    """scipy.signal has the centre of "same" at (K - 1) // 2: our "middle"."""
    h, x = draw(kernel), draw((13, 15), 1)
    A = Convolution(h, x.shape, boundary=boundary)
    np.testing.assert_allclose(A @ x, scipy.signal.convolve2d(x, h, **options), rtol=0, atol=1e-12)


@pytest.mark.parametrize("kernel", [(3, 2), (4, 5)], ids=str)
@pytest.mark.parametrize("boundary", PAD)
def test_every_centre(boundary, kernel):
    """E is numpy.pad, S C_h the "valid" part: for every place of the centre."""
    h, x = draw(kernel), draw((6, 7), 1)
    for center in itertools.product(*map(range, kernel)):
        A = Convolution(h, x.shape, center=center, boundary=boundary)
        pads = [(k - 1 - c, c) for k, c in zip(kernel, center, strict=True)]
        wanted = scipy.signal.convolve(np.pad(x, pads, PAD[boundary]), h, mode="valid")
        np.testing.assert_allclose(A @ x, wanted, rtol=0, atol=1e-12)
        np.testing.assert_allclose((transformed(A) @ (x + 0j)).real, wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("boundary", PAD)
def test_borders_wider_than_the_image(boundary):
    h, x = draw(20), draw(3, 1)
    A = Convolution(h, (3,), center=(4,), boundary=boundary)
    wanted = np.convolve(np.pad(x, (15, 4), PAD[boundary]), h, mode="valid")
    np.testing.assert_allclose(A @ x, wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("boundary", ["zero", "periodic"])
def test_three_axes(boundary):
    h, x = draw((3, 4, 2)), draw((6, 5, 7), 1)
    A = Convolution(h, x.shape, center=(1, 2, 1), boundary=boundary)
    np.testing.assert_allclose(
        A @ x, scipy.ndimage.convolve(x, h, mode=NDIMAGE[boundary]), rtol=0, atol=1e-12
    )


def test_separable_is_the_product_of_its_vectors():
    g, h, x = draw(5), draw(4, 1), draw((9, 8), 2)
    A = SeparableConvolution((g, h), x.shape, center=(2, 2), boundary="reflect")
    assert np.array_equal(A.kernel, np.outer(g, h))
    wanted = scipy.ndimage.convolve1d(
        scipy.ndimage.convolve1d(x, g, axis=0, mode="mirror"), h, axis=1, mode="mirror"
    )
    np.testing.assert_allclose(A @ x, wanted, rtol=0, atol=1e-12)
    long = SeparableConvolution((draw(60), draw(60, 1)), (61, 62))
    assert engine(long) is FourierPlan
    check_operator(long, dense=False)


# -- the centre -------------------------------------------------------------------------------------------


def test_a_pixel_lands_on_the_centre():
    """The convolution of a pixel is the kernel with its centre on that pixel."""
    h = draw((3, 4))
    h[0, 3] = 9.0
    A = Convolution(h, (9, 9), center="peak", boundary="zero")
    assert A.center == (0, 3)
    x = np.zeros((9, 9))
    x[4, 5] = 1.0
    np.testing.assert_allclose((A @ x)[4:7, 2:6], h, rtol=0, atol=1e-15)


@pytest.mark.parametrize(
    ("kernel", "center", "found"),
    [
        (np.ones((4, 5)), "middle", (1, 2)),
        (np.ones((1, 2)), "middle", (0, 0)),
        (np.array([1.0, -3.0, 3.0]), "peak", (1,)),
        (np.array([0.0, 1.0, 1.0, 0.0]), "centroid", (2,)),  # 1.5: halves go up
        (np.array([3.0, 1.0, 0.0]), "centroid", (0,)),
        (np.eye(3)[::-1] * [0, 0, 1], "centroid", (0, 2)),
        (np.ones(3), (2,), (2,)),
        (np.ones(3), np.array([2]), (2,)),
    ],
)
def test_resolved_centre(kernel, center, found):
    A = Convolution(kernel, (6,) * kernel.ndim, center=center if isinstance(center, str) else tuple(center))
    assert A.center == found
    again = Convolution(kernel, (6,) * kernel.ndim, center=A.center)
    assert again.center == found


def test_centres_of_a_stack():
    h = np.zeros((2, 3, 3))
    h[0, 0, 1] = h[1, 2, 2] = 1.0
    A = Convolution(h, (5, 4), center="peak", boundary="reflect")
    assert A.center == ((0, 1), (2, 2))
    x = draw((2, 5, 4))
    np.testing.assert_allclose(A @ x, x, rtol=0, atol=1e-14)


def test_each_image_of_a_stack_has_its_kernel():
    h, x = draw((3, 4, 3)), draw((3, 7, 8), 1)
    A = Convolution(h, (7, 8), boundary="symmetric")
    for one, image, kernel in zip(A @ x, x, h, strict=True):
        np.testing.assert_allclose(
            one, Convolution(kernel, (7, 8), boundary="symmetric") @ image, rtol=0, atol=1e-12
        )
