"""The Fourier-slice beam: exact adjoint, equal to its formula, near analytic data, error texts."""

import math
import sys

import array_api_strict
import numpy as np
import pytest
import torch
from recon_operators.tomography import (
    FourierSliceBeam,
    ParallelBeam,
    backproject,
    fbp,
    golden_angle,
    sparse_view,
)
from test_tomography_analytic import SMOOTH, blob_image, blob_integrals, parallel_lines, relative

from recon.errors import ArrayError, KernelError, MissingExtraError, ParameterError
from recon.testing import check_operator

pytest.importorskip("finufft")

SCANS = {
    "example": FourierSliceBeam.example(),
    "odd, coarse bins": FourierSliceBeam(
        (13, 9), sparse_view(7), 11, detector_spacing=1.7, detector_shift=1.3, pixel_size=0.8
    ),
    "fine bins": FourierSliceBeam((9, 14), golden_angle(5), 31, detector_spacing=0.3, detector_shift=-2.3),
    "one row": FourierSliceBeam((1, 6), sparse_view(4), 8),
    "accurate": FourierSliceBeam((12, 11), sparse_view(5), 16, eps=1e-12),
}


@pytest.mark.parametrize("name", SCANS)
def test_contract(name):
    check_operator(SCANS[name])


@pytest.mark.parametrize(
    "like", [array_api_strict.ones(1), torch.ones(1, dtype=torch.float64)], ids=["strict", "torch"]
)
def test_contract_on_other_libraries(like):
    check_operator(FourierSliceBeam.example(), like=like)


@pytest.mark.parametrize("name", ["odd, coarse bins", "fine bins", "accurate"])
def test_formula_pixel_by_pixel(name):
    """The trigonometric sums of the docstring, over whole spectra, without any fast transform."""
    A = SCANS[name]
    (n_y, n_x), h, ds = A.image_shape, A.pixel_size, A.detector_spacing
    x = np.random.default_rng(0).standard_normal(A.domain.shape)
    length = A._length()
    n = np.arange(-length // 2, length // 2 + 1)
    w = 2 * math.pi * n / length
    share = np.where(abs(n) == length // 2, 0.5, 1.0)  # the two ends are one frequency
    c, r = np.meshgrid(np.arange(n_x) - (n_x - 1) / 2, (n_y - 1) / 2 - np.arange(n_y))
    s = (np.arange(A.n_detectors) - (A.n_detectors - 1) / 2 + A.detector_shift) * ds
    expected = np.zeros(A.codomain.shape)
    for k, theta in enumerate(A.angles):
        a, b = w * h / ds * math.cos(theta), w * h / ds * math.sin(theta)
        spectrum = np.array([np.sum(x * np.exp(-1j * (p * c + q * r))) for p, q in zip(a, b, strict=True)])
        spectrum = spectrum * share * np.sinc(a / 2 / math.pi) * np.sinc(b / 2 / math.pi) * h**2 / ds
        expected[k] = (np.exp(1j * np.outer(s / ds, w)) @ spectrum).real / length
    limit = 1e-10 if A.eps < 1e-10 else 1e-5
    assert relative(A @ x, expected) <= limit


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_gaussians(dtype):
    n, h, angles = 256, 0.3, sparse_view(40)
    A = FourierSliceBeam((n, n), angles, 200, detector_spacing=0.4, detector_shift=3.25, pixel_size=h)
    exact = blob_integrals(*parallel_lines(angles, 200, 0.4, 3.25), n * h / 2)
    assert relative(A @ blob_image(n, h).astype(dtype), exact) <= SMOOTH


def test_near_josephs_method():
    angles = sparse_view(30)
    image = blob_image(64)
    ours = FourierSliceBeam((64, 64), angles, 92) @ image
    assert relative(ours, ParallelBeam((64, 64), angles, 92) @ image) <= 5e-3


def test_direct_inversion_is_that_of_the_geometry():
    A, B = (kind((16, 18), sparse_view(20), 24) for kind in (FourierSliceBeam, ParallelBeam))
    y = np.random.default_rng(2).standard_normal(A.codomain.shape)
    assert np.array_equal(fbp(A, y), fbp(B, y))
    assert np.array_equal(backproject(A, y), backproject(B, y))


def test_it_promises_no_absolute_sums():
    A = FourierSliceBeam.example()
    n = A.shape[1]
    assert (A @ np.eye(n).reshape(n, *A.domain.shape)).min() < -1e-3
    assert not hasattr(A, "absolute_sums")
    assert not hasattr(A, "norm_bound")


def test_views_and_empty_batches():
    A = SCANS["odd, coarse bins"]
    x = np.random.default_rng(1).standard_normal((2, *A.domain.shape))
    few = A.views(slice(1, None, 2))
    np.testing.assert_allclose(few @ x, (A @ x)[:, 1::2], atol=1e-5)
    assert (A @ x[:0]).shape == (0, *A.codomain.shape)


def test_error_texts(monkeypatch):
    A = FourierSliceBeam((5, 4), [0.0])
    with pytest.raises(ParameterError, match="FourierSliceBeam.eps must be > 0, got 0"):
        FourierSliceBeam((5, 4), [0.0], eps=0)
    with pytest.raises(ArrayError, match="FourierSliceBeam input must be float32 or float64, got float16"):
        A @ np.ones((5, 4), np.float16)
    with pytest.raises(
        KernelError, match="FourierSliceBeam input must be on the CPU, got meta. Move it there, or use"
    ):
        A @ torch.ones(5, 4, device="meta")
    with pytest.raises(ArrayError, match="must get data without gradients: its kernels record none"):
        A @ torch.ones(5, 4, requires_grad=True)
    with pytest.raises(
        ArrayError, match="FourierSliceBeam input must be float32 or float64, got torch.float16"
    ):
        A @ torch.ones(5, 4, dtype=torch.float16)
    monkeypatch.setitem(sys.modules, "finufft", None)
    with pytest.raises(
        MissingExtraError,
        match=r"needs finufft, which is not installed. Run: pip install 'recon-inverse\[nufft\]'",
    ):
        FourierSliceBeam((5, 4), [0.0]) @ np.ones((5, 4))
