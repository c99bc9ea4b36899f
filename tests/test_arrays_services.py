"""What operators build on: their own numbers and Fourier transforms."""

import numpy as np
import pytest

from recon.arrays import as_numpy, device_of, namespace
from recon.constants import constant, follow
from recon.errors import ArrayError
from recon.fft import fast_length, fftn, ifftn, irfftn, rfftn


def test_constants_are_private_and_read_only():
    source = np.arange(3)
    kept = constant(source, "A.values")
    source[0] = 9
    assert kept.dtype == np.float64
    assert kept.tolist() == [0, 1, 2]
    assert not kept.flags.writeable


def test_constants_that_are_no_numbers_are_refused():
    with pytest.raises(ArrayError, match=r"A.values must be numbers, got dtype <U1"):
        constant(["a"], "A.values")
    with pytest.raises(ArrayError, match=r"A.values must be finite, got NaN or infinity"):
        constant([np.nan], "A.values")
    with pytest.raises(
        ArrayError, match=r"A.values must be numbers, got 'k.npy'. Read the file first; in a run"
    ):
        constant("k.npy", "A.values")


@pytest.mark.parametrize(
    ("single", "real", "complex_"), [(True, "float32", "complex64"), (False, "float64", "complex128")]
)
def test_constants_follow_the_data(to, single, real, complex_):
    x = to(np.zeros(2, np.complex64 if single else np.float64))
    xp = namespace(x)
    for values, wanted in ((constant([1.5], "a"), real), (constant([1j], "a"), complex_)):
        got = follow(values, xp, device_of(x), x.dtype)
        assert got.dtype == getattr(xp, wanted)
        assert as_numpy(got).tolist() == values.tolist()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("norm", ["backward", "ortho", "forward"])
def test_transforms_agree_with_numpy_and_keep_precision(to, dtype, norm):
    tol = 1e-5 if dtype == np.float32 else 1e-12
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 5, 6)).astype(dtype)
    z = (x + 1j * rng.standard_normal(x.shape)).astype(np.result_type(dtype, np.complex64))
    for got, wanted in (
        (rfftn(to(x), norm=norm), np.fft.rfftn(x, axes=(-2, -1), norm=norm)),
        (fftn(to(x), (-1,), norm), np.fft.fft(x, norm=norm)),
        (fftn(to(z), norm=norm), np.fft.fftn(z, axes=(-2, -1), norm=norm)),
        (fftn(to(z), norm=norm, shape=(8, 4)), np.fft.fftn(z, (8, 4), axes=(-2, -1), norm=norm)),
        (ifftn(to(z), norm=norm), np.fft.ifftn(z, axes=(-2, -1), norm=norm)),
        (irfftn(rfftn(to(x), norm=norm), (5, 6), norm=norm), x),
    ):
        got = as_numpy(got)
        assert got.dtype == (dtype if wanted.dtype.kind == "f" else z.dtype)
        np.testing.assert_allclose(got, wanted, atol=tol * np.abs(wanted).max())


def test_transforms_take_empty_batches(to):
    x = to(np.zeros((0, 5, 6), np.float32))
    for got, shape, kind in (
        (fftn(x), (0, 5, 6), "complex64"),
        (rfftn(x), (0, 5, 4), "complex64"),
        (ifftn(fftn(x), shape=(4, 4)), (0, 4, 4), "complex64"),
        (irfftn(rfftn(x), (5, 6)), (0, 5, 6), "float32"),
    ):
        assert (tuple(got.shape), namespace(got)) == (shape, namespace(x))
        assert as_numpy(got).dtype == kind


def test_fast_lengths():
    assert [fast_length(n) for n in (7, 13, 1021)] == [7, 14, 1024]
    assert fast_length(1021, real=True) == 1024
