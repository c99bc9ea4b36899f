"""Compressed sensing against numbers from elsewhere: SciPy's transforms, counting, statistics, plain loops."""

import hashlib

import array_api_strict
import numpy as np
import pytest
import scipy.fft
import scipy.linalg
import scipy.ndimage
from recon_operators.sensing import (
    BlockSensing,
    PartialDct,
    PartialFourier,
    PartialFourierReal,
    PartialHadamard,
    RandomMatrix,
    RandomProjection,
    SinglePixel,
    SinglePixelBinary,
    fwht,
    hadamard_order,
    signed_measurements,
)
from recon_operators.sensing._dct import dct

from recon.arrays import as_numpy

# -- transforms -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["II", "III"])
@pytest.mark.parametrize("shape", [(1,), (2,), (9,), (16,), (5, 8), (3, 1, 4)], ids=str)
def test_dct_by_fourier_is_that_of_scipy(shape, kind):
    x = np.random.default_rng(0).standard_normal((2, *shape))
    axes = tuple(range(1, x.ndim))
    truth = scipy.fft.dctn(x, type=2 if kind == "II" else 3, axes=axes, norm="ortho")
    ours = dct(array_api_strict.asarray(x), len(shape), kind)
    assert np.abs(as_numpy(ours) - truth).max() <= 1e-14 * np.abs(truth).max() * x[0].size
    turned = dct(array_api_strict.asarray(x + 1j * x[::-1]), len(shape), kind)
    assert np.abs(as_numpy(turned) - truth - 1j * truth[::-1]).max() <= 1e-13 * np.abs(truth).max()


@pytest.mark.parametrize("scramble", [False, True])
def test_partial_dct_takes_rows_of_scipys(scramble):
    A = PartialDct((6, 5), [29, 0, 7], scramble=scramble, seed=1)
    x = np.random.default_rng(1).standard_normal((4, 6, 5))
    signs = np.ones((6, 5))
    if scramble:  # all coefficients give x back, with its signs
        every = PartialDct((6, 5), np.arange(30), scramble=True, seed=1)
        ones = scipy.fft.idctn((every @ np.ones((6, 5))).reshape(6, 5), norm="ortho")
        signs = np.rint(ones)
        assert np.allclose(ones, signs)
        assert set(signs.ravel()) == {-1.0, 1.0}
    truth = scipy.fft.dctn(signs * x, axes=(1, 2), norm="ortho").reshape(4, 30)[:, [29, 0, 7]]
    assert np.allclose(A @ x, truth, rtol=0, atol=1e-13)


@pytest.mark.parametrize("p", range(8))
def test_fwht_is_the_hadamard_matrix(p, to):
    x = np.random.default_rng(2).standard_normal((3, 2**p))
    assert np.allclose(as_numpy(fwht(to(x))), x @ scipy.linalg.hadamard(2**p), rtol=0, atol=1e-12)


def test_partial_hadamard_of_an_image_is_the_product_along_both_axes():
    A = PartialHadamard((4, 8), np.arange(32))
    x = np.random.default_rng(3).standard_normal((4, 8))
    truth = scipy.linalg.hadamard(4) @ x @ scipy.linalg.hadamard(8) / np.sqrt(32)
    assert np.allclose((A @ x).reshape(4, 8), truth, rtol=0, atol=1e-13)


@pytest.mark.parametrize("cls", [PartialFourier, PartialFourierReal])
def test_partial_fourier_takes_rows_of_numpys(cls):
    mask = np.random.default_rng(4).random((5, 6)) < 0.4
    A, B = cls((5, 6), mask), cls((5, 6), np.flatnonzero(mask))
    x = np.random.default_rng(5).standard_normal((5, 6))
    x = x + 1j * x.T.reshape(5, 6) if cls is PartialFourier else x
    assert np.allclose(A @ x, np.fft.fft2(x, norm="ortho")[mask], rtol=0, atol=1e-13)
    assert np.array_equal(A @ x, B @ x)


# -- orders ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 8, 64])
def test_sequency_counts_changes_of_sign(n):
    rows = scipy.linalg.hadamard(n)[hadamard_order(n, "sequency")]
    assert (np.diff(rows, axis=1) != 0).sum(axis=1).tolist() == list(range(n))


@pytest.mark.parametrize("p", [1, 3, 6])
def test_dyadic_order_is_that_of_products_of_rademacher_functions(p):
    """Paley: function number k is the product of the Rademacher functions of its binary digits."""
    n = 2**p
    t = np.arange(n)
    rademacher = [1 - 2 * (t >> (p - 1 - bit) & 1) for bit in range(p)]
    rows = scipy.linalg.hadamard(n)[hadamard_order((n,), "dyadic")]
    for k in range(n):
        product = np.prod([rademacher[bit] for bit in range(p) if k >> bit & 1], axis=0, initial=1.0)
        assert np.array_equal(rows[k], product * np.ones(n))


def pieces(pattern):
    return sum(scipy.ndimage.label(pattern == sign)[1] for sign in (1, -1))


def total_variation(pattern):
    return sum((np.diff(pattern, axis=k) != 0).sum() for k in range(pattern.ndim))


@pytest.mark.parametrize(("order", "count"), [("cake-cutting", pieces), ("total-variation", total_variation)])
@pytest.mark.parametrize("shape", [(8,), (8, 8), (4, 16), (2, 4, 4)], ids=str)
def test_image_orders_ascend(shape, order, count):
    patterns = SinglePixel(shape, int(np.prod(shape)), order).patterns()
    numbers = [count(pattern) for pattern in patterns]
    assert numbers == sorted(numbers)
    assert (patterns[0] == 1).all()


def test_orders_are_permutations():
    for order in ("natural", "dyadic", "sequency", "cake-cutting", "total-variation"):
        assert sorted(hadamard_order((4, 8), order)) == list(range(32))


# -- single pixel ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["natural", "dyadic", "sequency", "cake-cutting", "total-variation"])
def test_single_pixel_sums_through_its_patterns(order):
    x = np.random.default_rng(6).random((3, 8, 4))
    signed, binary = SinglePixel((8, 4), 20, order), SinglePixelBinary((8, 4), 20, order)
    patterns = signed.patterns().astype(float)
    assert np.array_equal(
        patterns, scipy.linalg.hadamard(32)[hadamard_order((8, 4), order)[:20]].reshape(20, 8, 4)
    )
    assert np.allclose(signed @ x, np.tensordot(x, patterns, ([1, 2], [1, 2])), rtol=0, atol=1e-12)
    assert np.allclose(binary @ x, np.tensordot(x, (patterns + 1) / 2, ([1, 2], [1, 2])), rtol=0, atol=1e-12)


def test_binary_measurements_become_signed_ones():
    A, x = SinglePixelBinary((8, 8), 30), np.random.default_rng(7).random((8, 8))
    patterns = (A.patterns() + 1) / 2
    bright, dark = A @ x, np.tensordot(1 - patterns, x, 2)
    truth = SinglePixel((8, 8), 30) @ x
    assert np.allclose(signed_measurements(bright, dark), truth, rtol=0, atol=1e-12)
    assert np.allclose(signed_measurements(bright, total=x.sum()), truth, rtol=0, atol=1e-12)
    assert np.allclose(signed_measurements(bright, total=bright[..., :1]), truth, rtol=0, atol=1e-12)


@pytest.mark.parametrize("order", ["natural", "sequency"])
def test_norm_bound_of_binary_patterns_is_close(order):
    for count in (1, 5, 16):
        A = SinglePixelBinary((4, 4), count, order)
        norm = np.linalg.norm((A.patterns().reshape(count, 16) + 1) / 2, 2)
        assert norm <= A.norm_bound() <= 1.12 * norm


# -- random matrices ------------------------------------------------------------------------------------


def matrix_of(A):
    unit = np.eye(A.domain.size, dtype=A.dtype)
    return (A @ unit.reshape(-1, *A.domain.shape)).T


@pytest.mark.parametrize("kind", ["real", "complex"])
@pytest.mark.parametrize("distribution", ["gaussian", "bernoulli"])
def test_moments_and_column_norms(distribution, kind):
    m, n = 400, 500
    entries = matrix_of(RandomMatrix(m, (20, 25), distribution, kind=kind, seed=1)) * np.sqrt(m)
    parts = [entries] if kind == "real" else [entries.real, entries.imag]
    for part in parts:
        variance = 1 / len(parts)
        assert abs(part.mean()) <= 5 * np.sqrt(variance / (m * n))
        assert (part**2).mean() == pytest.approx(variance, rel=0.02)
        fourth = 3.0 if distribution == "gaussian" else 1.0
        assert (part**4).mean() == pytest.approx(fourth * variance**2, rel=0.03)
        if distribution == "bernoulli":
            assert np.allclose(np.abs(part), np.sqrt(variance), rtol=0, atol=1e-12)
    norms = np.linalg.norm(entries / np.sqrt(m), axis=0)
    assert abs(norms - 1).max() <= 5 / np.sqrt(2 * m)
    singular = np.linalg.svd(entries / np.sqrt(m), compute_uv=False)
    edge = 1 + np.sqrt(n / m)  # Bai and Yin; Marchenko and Pastur
    assert singular[0] == pytest.approx(edge, rel=0.05)


def test_sparse_vectors_keep_their_length():
    """The restricted isometry, sampled: 300 random vectors with 10 entries of 1000."""
    rng = np.random.default_rng(2)
    x = np.zeros((300, 1000))
    for row in x:
        row[rng.permutation(1000)[:10]] = rng.standard_normal(10)
    for A in (
        RandomMatrix(300, (1000,)),
        RandomMatrix(300, (1000,), "bernoulli"),
        np.sqrt(1000 / 300) * RandomProjection(300, (1000,)),
        np.sqrt(1000 / 300) * PartialDct((1000,), 300, scramble=True),
    ):
        stretch = np.linalg.norm(A @ x, axis=1) / np.linalg.norm(x, axis=1)
        assert 0.75 <= stretch.min() <= stretch.max() <= 1.25


def test_the_two_paths_use_one_matrix():
    """70 rows of 2^15 entries are three blocks; the last one is not full."""
    for distribution in ("gaussian", "bernoulli"):
        for kind in ("real", "complex"):
            kept = RandomMatrix(70, (2, 2**14), distribution, kind=kind, seed=4)
            drawn = RandomMatrix(70, (2, 2**14), distribution, kind=kind, seed=4, stored_limit=0)
            assert [len(block) for block in kept.blocks()] == [32, 32, 6]
            x = np.random.default_rng(3).standard_normal((2, 2, 2**14)).astype(kept.dtype)
            y = kept @ x
            assert np.abs(y - drawn @ x).max() <= 1e-12 * np.abs(y).max()
            back = kept.H @ y
            assert np.abs(back - drawn.H @ y).max() <= 1e-12 * np.abs(back).max()


def test_blocks_do_not_depend_on_the_number_of_rows():
    few, many = RandomMatrix(33, (2**15,), seed=5), RandomMatrix(70, (2**15,), seed=5)
    first, second = (list(A.blocks()) for A in (few, many))
    assert np.array_equal(first[0], second[0])
    assert np.array_equal(first[1], second[1][:1])


def test_precision_does_not_change_the_matrix():
    A, e = RandomMatrix(16, (16,), seed=6), np.eye(16)
    assert np.array_equal((A @ e).astype(np.float32), A @ e.astype(np.float32))


def digest(values):
    return hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()[:16]


def test_seeds_mean_the_same_for_ever():
    """A change here changes the meaning of every seed that anybody has written down."""
    gaussian = next(RandomMatrix(2, (3,), seed=7).blocks())
    known = np.array([[0.8208, 0.8815, 0.8086], [-0.2129, 0.0843, 1.6713]], np.float32)
    assert np.abs(gaussian - known).max() < 1e-4
    assert digest(next(RandomMatrix(64, (100,), seed=7).blocks())) == "e2185d977af5206d"
    assert digest(next(RandomMatrix(64, (100,), "bernoulli", seed=7).blocks())) == "f2e5888696bc25a4"
    assert PartialDct((100,), 10, seed=7).rows.tolist() == [2, 8, 27, 29, 32, 54, 57, 64, 77, 80]
    signs = scipy.fft.idct(PartialDct((8,), 8, scramble=True, seed=7) @ np.ones(8), norm="ortho")
    assert np.rint(signs).tolist() == [1, 1, -1, -1, -1, -1, -1, -1]
    blocks = BlockSensing((2, 4), 1.0, 2, permute=True, seed=7)
    order = (blocks @ np.arange(8.0).reshape(2, 4)).reshape(2, 4) @ blocks.matrix
    assert np.abs(order - [[6, 3, 4, 5], [2, 0, 7, 1]]).max() < 1e-12
    known = [[-0.3146, 0.0134, -0.9124, 0.2616], [0.9391, -0.1287, -0.3172, 0.0296]]
    assert np.abs(BlockSensing((2, 2), 0.5, 2, seed=7).matrix - known).max() < 1e-4


def test_seeds_differ():
    for cls, arguments in (
        (RandomMatrix, (4, (6,))),
        (RandomProjection, (4, (6,))),
        (PartialDct, ((64,), 20)),
    ):
        A, B = cls(*arguments, seed=0), cls(*arguments, seed=1)
        x = np.random.default_rng(0).standard_normal(A.domain.shape)
        assert not np.allclose(A @ x, B @ x)


# -- blocks ---------------------------------------------------------------------------------------------


def test_blocks_are_measured_one_by_one():
    A = BlockSensing((6, 9), 0.5, 3, seed=2)
    x = np.random.default_rng(8).standard_normal((2, 6, 9))
    y = A @ x
    assert y.shape == (2, 2, 3, 5)
    for i in range(2):
        for j in range(3):
            block = x[1, 3 * i : 3 * i + 3, 3 * j : 3 * j + 3]
            assert np.allclose(y[1, i, j], A.matrix @ block.reshape(-1), rtol=0, atol=1e-13)
    assert np.allclose(A.matrix @ A.matrix.T, np.eye(5), rtol=0, atol=1e-13)
    with pytest.raises(ValueError, match="read-only"):
        A.matrix[0, 0] = 1.0


def test_permuted_blocks_see_a_shuffled_image():
    """With all measurements, Phi^T y are the pixels themselves, in another order."""
    A = BlockSensing((6, 6), 1.0, 3, permute=True, seed=3)
    x = np.random.default_rng(9).random((6, 6))
    shuffled = (A @ x).reshape(4, 9) @ A.matrix
    assert np.allclose(np.sort(shuffled.ravel()), np.sort(x.ravel()), rtol=0, atol=1e-13)
    assert not np.allclose(shuffled, (BlockSensing((6, 6), 1.0, 3, seed=3) @ x).reshape(4, 9) @ A.matrix)


@pytest.mark.parametrize(
    "count", [10, 43, 109, 272, 327, 436, 545, 1089, 11, 19, 82]
)  # the last three round up
def test_exact_numbers_of_measurements(count):
    assert BlockSensing((33, 33), count / 33**2, 33).codomain.shape == (1, 1, count)


def test_ratio_is_rounded_up():
    assert BlockSensing((32, 32), 0.1, 32).codomain.shape == (1, 1, 103)
    assert BlockSensing((4, 4), 1e-6, 4).codomain.shape == (1, 1, 1)
