"""Convolution with one kernel: closed forms, bounds, smaller kernels, error texts, the registry, the benchmark."""

import importlib
import pickle

import numpy as np
import pytest
import torch
from recon_operators.convolution import (
    Convolution,
    SeparableConvolution,
    frequency_sparse_convolution,
    partial_convolution,
)

from recon import linalg
from recon.errors import ArrayError, ParameterError, ShapeError
from recon.operator import capability
from recon.testing import check_operator

BOUNDARIES = ("periodic", "zero", "reflect", "symmetric", "valid")


def draw(shape, seed=0, dtype=float):
    rng = np.random.default_rng(seed)
    values = rng.standard_normal(shape)
    return values + 1j * rng.standard_normal(shape) if dtype is complex else values.astype(dtype)


# -- closed forms and bounds ------------------------------------------------------------------------------


@pytest.mark.parametrize("rho", [0.03, 2.0])
@pytest.mark.parametrize("shape", [(3, 4), (11, 12), (2, 3, 3)], ids=str)
def test_data_prox_is_what_conjugate_gradients_find(shape, rho):
    A = Convolution(draw(shape), (9, 14))
    v, y = draw(A.domain.shape, 1), draw(A.codomain.shape, 2)
    b = A.H @ y + rho * v
    wanted = linalg.cg(lambda x: A.H @ (A @ x) + rho * x, b, iterations=2000, tol=1e-14)
    x = A.data_prox(v, y, rho)
    assert np.linalg.norm(x - wanted) <= 1e-8 * np.linalg.norm(wanted)


@pytest.mark.parametrize(
    "kernel", [draw((3, 4)), np.ones((1, 2)), np.ones((11, 12)) / 132], ids=["", "zeros", "box"]
)
def test_pinv_is_numpys(kernel):
    A = Convolution(kernel, (12, 12), center=(0, 0))
    y = draw((12, 12))
    wanted = np.linalg.pinv(linalg.dense(A), rcond=1e-13) @ y.ravel()
    np.testing.assert_allclose(A.pinv(y).ravel(), wanted, rtol=0, atol=1e-9 * np.abs(wanted).max())


@pytest.mark.parametrize("shape", [(3, 4), (9, 9), (11, 12)], ids=str)
def test_normal(shape):
    A = Convolution(draw(shape), (13, 14))
    x = draw((2, 13, 14))
    np.testing.assert_allclose(A.normal(x), A.H @ (A @ x), rtol=0, atol=1e-11)


@pytest.mark.parametrize("boundary", BOUNDARIES[1:])
def test_closed_forms_are_offered_only_where_they_hold(boundary):
    A = Convolution(draw((3, 3)), (6, 6), boundary=boundary)
    assert [name for name in ("normal", "data_prox", "pinv") if capability(A, name)] == []
    with pytest.raises(AttributeError, match="Convolution has pinv for boundary 'periodic' only"):
        A.pinv(np.ones((6, 6)))


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("kernel", [draw((3, 4)), np.abs(draw((4, 4)))], ids=["signed", "positive"])
def test_norm_bound(kernel, boundary):
    A = Convolution(kernel, (8, 9), boundary=boundary)
    true = np.linalg.norm(linalg.dense(A), 2)
    assert true <= A.norm_bound() * (1 + 1e-12)
    assert A.norm_bound() <= 2.0 * true
    if boundary == "periodic":
        assert A.norm_bound() == pytest.approx(true, rel=1e-12)


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_absolute_sums_are_tight(boundary):
    A = Convolution(draw((3, 4)), (8, 9), boundary=boundary)
    matrix = np.abs(linalg.dense(Convolution(np.abs(A.kernel), (8, 9), boundary=boundary)))
    for offered, axis in zip(A.absolute_sums(np.ones(1)), (1, 0), strict=True):
        true = matrix.sum(axis=axis)
        assert (offered.ravel() >= true).all()
        assert (offered.ravel() <= true * (1 + 1e-5)).all()


# -- smaller kernels --------------------------------------------------------------------------------------


def test_partial_convolution():
    h = draw((7, 8))
    A = partial_convolution(h, (9, 9), (3, 4), center=(3, 6), boundary="zero")
    kept = np.zeros_like(h)
    kept[2:5, 5:8] = h[2:5, 5:8]  # the fourth column would lie outside the kernel
    assert A.kernel.shape == (3, 3)
    x = draw((9, 9), 1)
    B = Convolution(kept, (9, 9), center=(3, 6), boundary="zero")
    np.testing.assert_allclose(A @ x, B @ x, rtol=0, atol=1e-13)
    check_operator(A)


@pytest.mark.parametrize("dtype", [float, complex])
def test_frequency_sparse_convolution(dtype, like):
    h = draw((3, 4), dtype=dtype)
    A = frequency_sparse_convolution(h, (9, 8), 0.25, center="peak")
    check_operator(A, like=like)
    x = draw((9, 8), 1, dtype)
    rows, columns = np.abs(np.fft.fftfreq(9)), np.abs(np.fft.fftfreq(8))
    low = (rows[:, None] <= 0.25) & (columns <= 0.25)
    wanted = np.fft.ifft2(low * np.fft.fft2(Convolution(h, (9, 8), center="peak") @ x))
    np.testing.assert_allclose(A @ x, wanted, rtol=0, atol=1e-13)
    assert 0 < low.sum() < low.size


# -- the object -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", [Convolution, SeparableConvolution])
def test_pickle_and_private_numbers(cls):
    A = cls.example()
    x = draw(A.domain.shape)
    y = A @ x
    twin = pickle.loads(pickle.dumps(A))
    assert np.array_equal(twin @ x, y)
    assert (twin.center, twin.boundary, twin.kind) == (A.center, A.boundary, A.kind)
    array = twin.kernel if cls is Convolution else twin.kernels[0]
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 1.0


def test_later_changes_of_the_kernel_do_not_reach_the_operator():
    h = np.ones((3, 3))
    A = Convolution(h, (5, 5))
    h[:] = 0
    assert (A @ np.ones((5, 5))).max() == pytest.approx(9.0)
    assert repr(A) == "<Convolution: (5, 5) real -> (5, 5) real>"


def test_gradients_flow_through_the_transforms():
    A = Convolution(draw((3, 4)), (6, 7), boundary="reflect")
    x = torch.tensor(draw((6, 7), 1), requires_grad=True)
    y = torch.tensor(draw((6, 7), 2))
    ((A @ x) * y).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), A.H @ y.numpy(), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (
            lambda: Convolution(np.ones(3), (4, 4)),
            ShapeError,
            r"Convolution.kernel must have the 2 axes of the image",
        ),
        (
            lambda: Convolution(np.ones((0, 3)), (4, 4)),
            ShapeError,
            r"more make a stack\), none empty, got shape \(0, 3\)",
        ),
        (lambda: Convolution([[np.nan]], (4, 4)), ArrayError, "Convolution.kernel must be finite"),
        (
            lambda: Convolution(np.ones((3, 5)), (4, 4), boundary="valid"),
            ShapeError,
            r"no larger than the image \(4, 4\) for boundary 'valid', got \(3, 5\). The image is the larger",
        ),
        (
            lambda: Convolution(np.ones(3), (4,), boundary="wrap"),
            ParameterError,
            "boundary must be one of 'periodic'",
        ),
        (
            lambda: Convolution(np.ones(3), (4, 4, 4, 4)),
            ParameterError,
            "image_shape must be of length 3 or less",
        ),
        (lambda: Convolution(np.ones(3), (0,)), ParameterError, r"image_shape\[0\] must be > 0, got 0"),
        (
            lambda: Convolution(1j * np.ones(3), (4,), kind="real"),
            ParameterError,
            "kind must be 'complex' for a complex",
        ),
        (
            lambda: Convolution(np.ones(3), (4,), center=(3,)),
            ParameterError,
            r"center must be 'middle', 'peak', 'centroid' or an index inside the kernel's \(3,\), got \(3,\). Count",
        ),
        (
            lambda: Convolution(np.ones(3), (4,), center=(1, 1)),
            ParameterError,
            "Count from 0, one number per axis",
        ),
        (
            lambda: Convolution(np.ones(3), (4,), center=(1.5,)),
            ParameterError,
            "or an index inside the kernel",
        ),
        (
            lambda: Convolution(np.ones((2, 3)), (4,), center=((1,), (1,), (1,))),
            ParameterError,
            "Count from 0",
        ),
        (
            lambda: Convolution(np.ones((2, 3)), (4,), center=((1,), (1, 1))),
            ParameterError,
            "or an index inside",
        ),
        (
            lambda: Convolution(np.ones(3), (4,), center="max"),
            ParameterError,
            "center must be one of 'middle', 'peak'",
        ),
        (
            lambda: Convolution(np.zeros(3), (4,), center="centroid"),
            ParameterError,
            "center must be an index for a kernel of zeros, got 'centroid'. Give the index",
        ),
        (
            lambda: SeparableConvolution((np.ones(3),), (4, 4)),
            ShapeError,
            r"one vector for each of the 2 axes of the image, got shapes \[\(3,\)\]. Put them into a tuple",
        ),
        (
            lambda: SeparableConvolution((np.ones(3), np.array([np.inf])), (4, 4)),
            ArrayError,
            r"SeparableConvolution.kernels\[1\] must be finite",
        ),
        (
            lambda: partial_convolution(np.ones(3), (4,), 0),
            ParameterError,
            r"n_taps must be integers > 0, one or one per axis of a single kernel, got 0 for a kernel of shape \(3,\)",
        ),
        (
            lambda: partial_convolution(np.ones((2, 3)), (4,), 2),
            ParameterError,
            "one per axis of a single kernel",
        ),
        (
            lambda: frequency_sparse_convolution(np.ones(3), (4,), 0.6),
            ParameterError,
            r"band must lie in \(0, 0.5\] cycles per pixel, got 0.6",
        ),
        (
            lambda: frequency_sparse_convolution(np.ones(3), (4,), float("nan")),
            ParameterError,
            r"band must lie in \(0, 0.5\] cycles per pixel, got nan",
        ),
        (
            lambda: Convolution(np.ones(3), (4,)) @ np.ones(5),
            ShapeError,
            r"Convolution input must have shape",
        ),
    ],
)
def test_error_texts(make, error, text):
    with pytest.raises(error, match=text):
        make()


def test_numbers_and_sequences_of_numpy_are_taken():
    h = np.outer([1.0, 2.0, 1.0], [1.0, 3.0, 1.0])
    kept = partial_convolution(h, (8, 8), [2, np.int64(1)]).kernel
    np.testing.assert_array_equal(kept, h[1:3, 1:2])
    half, double = (frequency_sparse_convolution(h, (8, 8), kind(0.25)) for kind in (np.float32, float))
    np.testing.assert_array_equal(half.kernel, double.kernel)
    assert Convolution(h, (8, 8), center=np.array([1, 2])).center == (1, 2)


# -- registry and bench -----------------------------------------------------------------------------------


def test_announced_entries_exist():
    from recon_operators._hooks import recon_entries

    ours = [entry for entry in recon_entries() if entry.target.startswith("recon_operators.convolution")]
    operators = {
        "convolution",
        "separable-convolution",
        "varying-convolution",
        "blur-downsample",
        "multiband",
    }
    assert {entry.name for entry in ours if entry.kind == "operator"} == operators
    assert [entry.name for entry in ours if entry.kind == "bench"] == ["convolution"]
    for entry in ours:
        module, _, name = entry.target.partition(":")
        target = getattr(importlib.import_module(module), name)
        assert entry.cites
        if entry.kind == "operator":
            check_operator(target.example(), dense=False)


def test_bench_compares_like_with_like():
    from recon_operators.convolution.bench import cases

    made = cases()
    assert len({case.name for case in made}) == len(made) == 18
    compared = 0
    for case in made:
        ours = case.ours()
        for name, peer in case.peers.items():
            if "transforms" in name or "Wiener" in case.name:  # a bound, and another treatment of the kernel
                continue
            other = np.reshape(peer(), ours.shape)
            assert np.linalg.norm(ours - other) <= 1e-5 * np.linalg.norm(other), (case.name, name)
            compared += 1
    assert compared >= 10
