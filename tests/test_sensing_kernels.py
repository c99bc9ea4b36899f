"""The compiled kernels of compressed sensing: equal to the plain formula for any size, layout, number of threads."""

import sys

import numpy as np
import pytest
from recon_operators.sensing import PartialHadamard, RandomMatrix, fwht
from recon_operators.sensing import _fwht_numba as kernel
from recon_operators.sensing import _signs_numba as bits
from recon_operators.sensing._seeded import sign_words, signs
from recon_operators.sensing.fwht import _plain


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex64, np.complex128])
@pytest.mark.parametrize("p", [0, 1, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 15])
def test_bits_of_the_plain_formula(p, dtype):
    x = np.random.default_rng(p).standard_normal((2, 3, 2**p))
    x = (x + 1j * x[::-1]).astype(dtype) if np.dtype(dtype).kind == "c" else x.astype(dtype)
    before = x.copy()
    y = fwht(x)
    assert y.dtype == dtype
    assert np.array_equal(y, _plain(x))
    assert np.array_equal(x, before)


@pytest.mark.parametrize("p", [16, 17, 19, 21])
def test_bits_beyond_the_caches(p):
    x = np.random.default_rng(p).standard_normal(2**p).astype(np.float32)
    assert np.array_equal(fwht(x), _plain(x))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_threads_change_nothing(dtype):
    x = np.random.default_rng(0).standard_normal(2**19).astype(dtype)
    results = []
    for blocks, columns in (
        (kernel._blocks_serial, kernel._columns_serial),
        (kernel._blocks_parallel, kernel._columns_parallel),
    ):
        y = np.empty_like(x)
        blocks(x, y, 2**16)
        columns(y, 2**16, 8)
        results.append(y)
    assert np.array_equal(*results)
    assert np.array_equal(results[0], fwht(x))


def test_strided_empty_and_read_only_input():
    x = np.random.default_rng(1).standard_normal((64, 6)).T
    assert np.array_equal(fwht(x), fwht(np.ascontiguousarray(x)))
    x.setflags(write=False)
    assert np.array_equal(fwht(x[::2]), fwht(x)[::2])
    assert fwht(np.zeros((0, 32))).shape == (0, 32)


def test_without_numba_the_plain_formula_is_used(monkeypatch):
    x = np.random.default_rng(2).standard_normal(64)
    with_kernel = fwht(x)
    monkeypatch.setitem(sys.modules, "recon_operators.sensing._fwht_numba", None)
    assert np.array_equal(fwht(x), with_kernel)
    A = PartialHadamard((8, 8), 20)
    assert np.allclose(A @ (A.H @ np.ones(20)), np.ones(20))


def test_sums_of_integers_are_exact():
    x = np.random.default_rng(3).integers(-8, 8, 2**14).astype(np.float32)
    assert np.array_equal(fwht(fwht(x)), 2**14 * x)


# -- signs ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("m", "n"), [(1, 1), (3, 64), (4, 65), (6, 129), (9, 200), (64, 1000)])
def test_products_with_bits_are_those_with_signs(m, n, dtype):
    words = sign_words(3, (1,), m, n)
    matrix, rng = signs(words, n).astype(float), np.random.default_rng(4)
    assert matrix.shape == (m, n)
    x, y = rng.standard_normal((3, n)).astype(dtype), rng.standard_normal((3, m)).astype(dtype)
    tol = 10 * np.finfo(dtype).eps * (m + n)
    assert np.abs(bits.signs_times(words, x) - x @ matrix.T).max() <= tol
    assert np.abs(bits.times_signs(words, y, n) - y @ matrix).max() <= tol


def test_threads_change_no_product_with_bits():
    words, rng = sign_words(5, (1,), 37, 500), np.random.default_rng(5)
    octets = words.view(np.uint8)
    x, y = rng.standard_normal((2, 512)), rng.standard_normal((2, 37))
    rows, columns = [], []
    for by_row, by_column in (
        (bits._rows_serial, bits._columns_serial),
        (bits._rows_parallel, bits._columns_parallel),
    ):
        rows.append(np.empty_like(y))
        columns.append(np.empty_like(x))
        by_row(octets, x, rows[-1])
        by_column(octets, y, columns[-1])
    assert np.array_equal(*rows)
    assert np.array_equal(*columns)
    assert np.array_equal(rows[0], bits.signs_times(words, x))


@pytest.mark.parametrize("kind", ["real", "complex"])
@pytest.mark.parametrize("limit", [0.0, 1e9])
def test_signs_without_the_kernel_are_the_same(monkeypatch, kind, limit):
    rng = np.random.default_rng(6)
    make = [RandomMatrix(70, (2, 2**14), "bernoulli", kind=kind, stored_limit=limit) for _ in range(2)]
    x = rng.standard_normal((2, 2, 2**14)).astype(make[0].dtype)
    x = x + 1j * x[::-1] if kind == "complex" else x
    fast = make[0] @ x
    back = make[0].H @ fast
    monkeypatch.setitem(sys.modules, "recon_operators.sensing._signs_numba", None)
    monkeypatch.delattr("recon_operators.sensing._signs_numba")
    slow = make[1] @ x
    assert np.abs(fast - slow).max() <= 1e-13 * np.abs(slow).max()
    assert np.abs(back - make[1].H @ slow).max() <= 1e-13 * np.abs(back).max()
    names = [type(next(iter(A.__dict__["_plans"].values()))).__name__ for A in make]
    assert names == ["SignsPlan", "DensePlan"]
