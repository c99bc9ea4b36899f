"""Metrics against scikit-image, against values worked out by hand, and the text of every refusal."""

from __future__ import annotations

import dataclasses
import math
import subprocess
import sys
from fractions import Fraction

import array_api_strict
import numpy as np
import pytest
import torch
from skimage.filters import threshold_otsu
from skimage.metrics import normalized_root_mse, peak_signal_noise_ratio, structural_similarity

from recon import metrics
from recon.arrays import as_numpy
from recon.errors import ArrayError, ParameterError, ShapeError
from recon.metrics._detection import _correlation

LIBRARIES = {"numpy": np.asarray, "strict": array_api_strict.asarray, "torch": torch.asarray}
GAUSSIAN = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}


@pytest.fixture(params=list(LIBRARIES))
def to(request):
    """A function that carries a NumPy array to one library."""
    return LIBRARIES[request.param]


@pytest.fixture(params=["float32", "float64"])
def dtype(request):
    return request.param


def smooth(shape, seed=0):
    """An image in about [0, 1] that varies slowly, and a noisy estimate of it."""
    rng = np.random.default_rng(seed)
    grids = np.meshgrid(*(np.linspace(0, 3, n) for n in shape), indexing="ij")
    truth = 0.5 + 0.4 * np.prod([np.sin(g + 0.3 * i) for i, g in enumerate(grids)], axis=0)
    return truth, truth + 0.05 * rng.standard_normal(shape)


# --- distances -----------------------------------------------------------------------------------------


def test_distances_by_hand(to, dtype):
    truth = to(np.array([[3.0, 0.0], [0.0, 4.0]], dtype=dtype))
    x = to(np.array([[3.0, 1.0], [0.0, 2.0]], dtype=dtype))  # error 0, 1, 0, -2: squares sum to 5
    values = {
        1.25: metrics.mse(x, truth),
        math.sqrt(5) / 5: metrics.nrmse(x, truth),
        math.sqrt(1.25) / 4: metrics.nrmse(x, truth, normalization="range"),
        math.sqrt(1.25) / 1.75: metrics.nrmse(x, truth, normalization="mean"),
        10 * math.log10(100 / 1.25): metrics.psnr(x, truth, data_range=10),
        10 * math.log10(25 / 5): metrics.sre(x, truth),
    }
    for wanted, got in values.items():
        assert type(got) is float
        assert got == pytest.approx(wanted, rel=1e-14)


def test_distances_of_complex_data_by_hand(to):
    for precision in ("complex64", "complex128"):
        truth = to(np.array([3 + 4j, 0, 1j, 1], dtype=precision))
        x = to(np.array([3 + 4j, 2j, 1j, 1 + 1j], dtype=precision))  # |error|^2: 0, 4, 0, 1
        assert metrics.mse(x, truth) == pytest.approx(1.25)
        assert metrics.nrmse(x, truth) == pytest.approx(math.sqrt(5 / 27))
        assert metrics.nrmse(x, truth, normalization="range") == pytest.approx(math.sqrt(1.25) / 5)
        assert metrics.nrmse(x, truth, normalization="mean") == pytest.approx(
            math.sqrt(1.25) / abs(1 + 1.25j)
        )
        assert metrics.psnr(x, truth, data_range=2.0) == pytest.approx(10 * math.log10(4 / 1.25))
        assert metrics.sre(x, truth) == pytest.approx(10 * math.log10(27 / 5))


def test_real_estimate_of_a_complex_truth(to):
    assert metrics.mse(to(np.array([1.0, 1.0])), to(np.array([1.0, 1.0 + 2j]))) == pytest.approx(2.0)


@pytest.mark.parametrize("shape", [(40,), (16, 20), (9, 10, 11)])
def test_distances_equal_scikit_image(to, dtype, shape):
    truth, x = (array.astype(dtype) for array in smooth(shape))
    wide_truth, wide_x = truth.astype("float64"), x.astype("float64")
    wanted = peak_signal_noise_ratio(wide_truth, wide_x, data_range=1.0)
    assert metrics.psnr(to(x), to(truth), data_range=1.0) == pytest.approx(wanted, rel=1e-12)
    for ours, theirs in {"truth": "euclidean", "range": "min-max", "mean": "mean"}.items():
        wanted = normalized_root_mse(wide_truth, wide_x, normalization=theirs)
        assert metrics.nrmse(to(x), to(truth), normalization=ours) == pytest.approx(wanted, rel=1e-12)


def test_unsigned_integers_do_not_wrap(to):
    truth, x = to(np.array([250, 3], dtype="uint8")), to(np.array([0, 5], dtype="uint8"))
    assert metrics.mse(x, truth) == (250**2 + 2**2) / 2
    assert metrics.psnr(x, truth, data_range=255) == pytest.approx(10 * math.log10(255**2 * 2 / 62504))


def test_exact_estimates_and_empty_truths():
    zero, one = np.zeros(3), np.ones(3)
    assert metrics.mse(one, one) == 0.0
    assert metrics.psnr(one, one, data_range=1) == math.inf
    assert metrics.sre(one, one) == math.inf
    assert metrics.sre(zero, zero) == math.inf
    assert metrics.sre(one, zero) == -math.inf
    assert metrics.nrmse(zero, zero) == 0.0
    assert metrics.nrmse(one, zero) == math.inf
    assert metrics.nrmse(2 * one, one, normalization="range") == math.inf
    assert metrics.nrmse(one, np.array([1.0, -1.0, 0.0]), normalization="mean") == math.inf


def test_what_is_not_a_number_stays_so():
    x, truth = np.array([1.0, math.nan]), np.zeros(2)
    values = [metrics.mse(x, truth), metrics.psnr(x, truth, data_range=1), metrics.sre(x, truth)]
    values += [metrics.nrmse(x, truth, normalization=n) for n in ("truth", "range", "mean")]
    assert all(math.isnan(value) for value in values)
    assert metrics.psnr(np.array([math.inf, 0.0]), truth, data_range=1) == -math.inf


def test_extreme_scales_leave_psnr_alone():
    truth, x = np.zeros(4), np.full(4, 1e-3)
    assert metrics.psnr(x, truth, data_range=1) == pytest.approx(60)
    for scale in (1e-150, 1e150):
        assert metrics.psnr(scale * x, truth, data_range=scale) == pytest.approx(60)
    assert metrics.psnr(x, truth, data_range=1e200) == pytest.approx(4060)


# --- spectral angle ------------------------------------------------------------------------------------


def test_sad_by_hand(to, dtype):
    truth = np.array([[1, 0, 0], [1, 1, 0], [1, 0, 0], [1, 2, 3], [0, 0, 0], [0, 0, 0]], dtype=dtype)
    x = np.array([[0, 2, 0], [3, 0, 0], [-5, 0, 0], [2, 4, 6], [0, 1, 0], [0, 0, 0]], dtype=dtype)
    wanted = [math.pi / 2, math.pi / 4, math.pi, 0.0, math.pi / 2, 0.0]
    for axis, turned in ((-1, False), (1, False), (0, True)):
        a, b = (x.T, truth.T) if turned else (x, truth)
        angle = metrics.sad(to(a.copy()), to(b.copy()), axis=axis)
        assert type(angle) is type(to(x))
        assert str(angle.dtype).rsplit(".", 1)[-1] == dtype
        assert angle.shape == (6,)
        np.testing.assert_allclose(as_numpy(angle), wanted, atol=1e-7)


def test_sad_of_one_spectrum_has_no_axes_left(to):
    angle = metrics.sad(to(np.array([1, 0])), to(np.array([1, 1])))
    assert angle.shape == ()
    assert float(angle) == pytest.approx(math.pi / 4, rel=1e-15)


def test_sad_keeps_its_digits_at_tiny_angles(to):
    tiny = 1e-10  # the arccosine of 1 - 5e-21 is 0
    angle = metrics.sad(to(np.array([1.0, tiny])), to(np.array([1.0, 0.0])))
    assert float(angle) == pytest.approx(tiny, rel=1e-9)


def test_sad_equals_the_arccosine_on_a_cube(to):
    rng = np.random.default_rng(1)
    truth, x = rng.random((4, 5, 30)), rng.random((4, 5, 30))
    cosine = (x * truth).sum(-1) / np.linalg.norm(x, axis=-1) / np.linalg.norm(truth, axis=-1)
    np.testing.assert_allclose(as_numpy(metrics.sad(to(x), to(truth))), np.arccos(cosine), rtol=1e-12)


# --- structural similarity -----------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(50,), (24, 31), (13, 12, 14)])
@pytest.mark.parametrize("window", ["uniform", "gaussian"])
def test_ssim_equals_scikit_image(to, dtype, shape, window):
    truth, x = (array.astype(dtype) for array in smooth(shape))
    options = GAUSSIAN if window == "gaussian" else {}
    wide = {"im1": truth.astype("float64"), "im2": x.astype("float64")}
    wanted, picture = structural_similarity(**wide, data_range=1.0, full=True, **options)
    score = metrics.ssim(to(x), to(truth), data_range=1.0, window=window)
    assert type(score) is float
    assert score == pytest.approx(wanted, abs=1e-12)
    again, ours = metrics.ssim(to(x), to(truth), data_range=1.0, window=window, return_map=True)
    assert again == pytest.approx(score, rel=1e-14)
    assert type(ours) is type(to(x))
    assert str(ours.dtype).rsplit(".", 1)[-1] == dtype
    np.testing.assert_allclose(as_numpy(ours), picture, atol=1e-7 if dtype == "float32" else 1e-11)
    # in single precision scikit-image subtracts large squares in single precision: measured, off by 1.4e-6
    theirs = structural_similarity(truth, x, data_range=1.0, **options)
    assert score == pytest.approx(theirs, abs=1e-5 if dtype == "float32" else 1e-12)


@pytest.mark.parametrize(("size", "data_range"), [(3, 0.5), (5, 1.0), (11, 255.0)])
def test_ssim_of_other_sizes_and_ranges(size, data_range):
    truth, x = smooth((20, 30))
    wanted = structural_similarity(truth, x, data_range=data_range, win_size=size)
    assert metrics.ssim(x, truth, data_range=data_range, size=size) == pytest.approx(wanted, abs=1e-12)
    wanted = structural_similarity(truth, x, data_range=data_range, **(GAUSSIAN | {"sigma": size / 5}))
    got = metrics.ssim(x, truth, data_range=data_range, window="gaussian", sigma=size / 5)
    assert got == pytest.approx(wanted, abs=1e-12)


def test_the_usual_sizes_are_the_default():
    truth, x = smooth((20, 30))
    for window, size in (("uniform", 7), ("gaussian", 11)):
        explicit = metrics.ssim(x, truth, data_range=1, window=window, size=size)
        assert explicit == metrics.ssim(x, truth, data_range=1, window=window)
    cut = metrics.ssim(x, truth, data_range=1, window="gaussian", size=7)
    assert cut != metrics.ssim(x, truth, data_range=1, window="gaussian")
    wide = metrics.ssim(x, truth, data_range=1, window="gaussian", size=7, sigma=1e6)  # flat: NP, not NP - 1
    flat = structural_similarity(truth, x, data_range=1, win_size=7, use_sample_covariance=False)
    assert wide == pytest.approx(flat, abs=1e-9)


def test_ssim_over_some_axes_equals_channels(to):
    truth, x = smooth((14, 15, 3))
    wanted = structural_similarity(truth, x, data_range=1.0, channel_axis=2)
    for axes in ((0, 1), [1, 0], (-3, -2)):
        assert metrics.ssim(to(x), to(truth), data_range=1.0, axes=axes) == pytest.approx(wanted, abs=1e-12)
    pairs = zip(truth[..., 0], x[..., 0], strict=True)
    rows = np.mean([structural_similarity(t, e, data_range=1.0) for t, e in pairs])
    got = metrics.ssim(to(x[..., 0].copy()), to(truth[..., 0].copy()), data_range=1.0, axes=1)
    assert got == pytest.approx(rows, abs=1e-12)


def test_ssim_of_integers_and_of_equal_images(to):
    rng = np.random.default_rng(2)
    truth, x = rng.integers(0, 256, (2, 16, 16)).astype("uint8")
    wanted = structural_similarity(truth, x, data_range=255)
    assert metrics.ssim(to(x), to(truth), data_range=255) == pytest.approx(wanted, abs=1e-12)
    assert metrics.ssim(to(x), to(x), data_range=255) == pytest.approx(1.0, abs=1e-15)


def test_ssim_by_hand():
    # one window holds everything: means 1/3 and 1, variances 1/3 and 1 (divided by 2), covariance 1/2
    x, truth, c1, c2 = np.array([0.0, 0.0, 1.0]), np.array([0.0, 1.0, 2.0]), 0.02**2, 0.06**2
    wanted = (2 / 3 + c1) * (1 + c2) / ((1 / 9 + 1 + c1) * (1 / 3 + 1 + c2))
    assert metrics.ssim(x, truth, data_range=2, size=3) == pytest.approx(wanted, rel=1e-14)


# --- supports and masks --------------------------------------------------------------------------------


def test_support_recovery_by_hand(to, dtype):
    truth = to(np.array([1, 0, -2, 0, 3, 0], dtype=dtype))
    x = to(np.array([0.9, 0.3, -0.2, 0, 0, 0], dtype=dtype))
    got = metrics.support_recovery(x, truth)  # found 0, 1, 2; true 0, 2, 4
    assert dataclasses.astuple(got) == (2 / 3, 2 / 3, 2 / 3, False)
    got = metrics.support_recovery(x, truth, threshold=0.5)
    assert dataclasses.astuple(got) == (1.0, 1 / 3, 0.5, False)
    got = metrics.support_recovery(to(np.array([5, 0, 1, 0, -1, 0], dtype=dtype)), truth)
    assert dataclasses.astuple(got) == (1.0, 1.0, 1.0, True)
    with pytest.raises(dataclasses.FrozenInstanceError):
        got.f1 = 0.0


def test_support_recovery_of_complex_data_and_masks(to):
    x, truth = to(np.array([0.3 + 0.4j, 1j, 0])), to(np.array([0, 1, 0j]))
    assert metrics.support_recovery(x, truth, threshold=0.5).exact
    assert metrics.support_recovery(x, truth).precision == 0.5
    mask = to(np.array([True, False]))
    assert metrics.support_recovery(mask, mask).exact


def test_support_recovery_of_empty_supports():
    zero, one = np.zeros(3), np.ones(3)
    assert dataclasses.astuple(metrics.support_recovery(zero, zero)) == (1.0, 1.0, 1.0, True)
    for x, truth in ((zero, one), (one, zero), (np.array([1.0, 0]), np.array([0, 1.0]))):
        assert dataclasses.astuple(metrics.support_recovery(x, truth)) == (0.0, 0.0, 0.0, False)


def test_matthews_by_hand(to):
    truth = to(np.array([1, 1, 1, 0, 0, 0, 0, 0], dtype=bool))
    found = to(np.array([1, 1, 0, 1, 0, 0, 0, 0], dtype=bool))  # tp 2, fp 1, fn 1, tn 4
    assert metrics.matthews(found, truth) == pytest.approx(7 / 15, rel=1e-15)
    assert metrics.matthews(truth, truth) == 1.0
    assert metrics.matthews(~truth, truth) == -1.0
    for constant in (truth & ~truth, truth | ~truth):
        assert metrics.matthews(constant, truth) == 0.0
        assert metrics.matthews(truth, constant) == 0.0
        assert metrics.matthews(constant, constant) == 0.0


def test_matthews_equals_the_correlation_of_two_masks():
    truth, found = np.random.default_rng(3).random((2, 30, 30)) < 0.3
    assert metrics.matthews(found, truth) == pytest.approx(np.corrcoef(found.ravel(), truth.ravel())[0, 1])


def test_matthews_counts_that_overflow_64_bits():
    n = 10**12
    assert _correlation(n, 0, 0, n) == 1.0
    assert _correlation(0, n, n, 0) == -1.0
    wanted = Fraction(4 * n * n - n * n) / Fraction(9 * n * n)
    assert _correlation(2 * n, n, n, 2 * n) == pytest.approx(float(wanted), rel=1e-15)


@pytest.mark.parametrize("seed", range(4))
def test_otsu_equals_scikit_image(to, dtype, seed):
    rng = np.random.default_rng(seed)
    x = np.concatenate([rng.normal(0.2, 0.1, 300), rng.normal(1.5, 0.3, 200)]).reshape(20, 25).astype(dtype)
    for bins in (256, 100, 2):
        wanted = float(threshold_otsu(x, nbins=bins))
        got = metrics.otsu(to(x), bins=bins)
        assert type(got) is float
        assert got == pytest.approx(wanted, rel=1e-6 if dtype == "float32" else 1e-13)


def test_otsu_of_values_on_the_edges_of_bins(to, dtype):
    x = (np.random.default_rng(4).integers(0, 57, (30, 30)) / 56 * 0.7).astype(dtype)
    for bins in (7, 8, 56, 112):
        wanted = float(threshold_otsu(x, nbins=bins))
        assert metrics.otsu(to(x), bins=bins) == pytest.approx(wanted, rel=1e-6)


def test_otsu_of_integers(to):
    rng = np.random.default_rng(5)
    x = np.concatenate([rng.poisson(20, 300), rng.poisson(90, 100)])
    for kind in ("uint8", "int16", "int64"):
        assert metrics.otsu(to(x.astype(kind))) == float(threshold_otsu(x.astype(kind)))
    assert metrics.otsu(to(np.array([-5, -5, 2_000_000_000, 2_000_000_000]))) == -5.0
    assert metrics.otsu(to(np.array([True, False, True]))) == 0.0


def test_otsu_by_hand(to):
    assert metrics.otsu(to(np.array([0.0, 0.0, 10.0])), bins=10) == 0.5  # the first cut that splits 0 from 10
    assert metrics.otsu(to(np.full((3, 3), 2.5))) == 2.5
    next_one = np.nextafter(1.0, 2.0)  # most of the 256 bins are empty by rounding
    assert 1.0 <= metrics.otsu(to(np.array([1.0, 1.0, next_one]))) <= next_one


def test_coverage_by_hand(to, dtype):
    truth = to(np.array([[0, 1], [2, math.nan]], dtype=dtype))
    lower = to(np.array([[0, 1.5], [1, 0]], dtype=dtype))
    upper = to(np.array([[0, 2], [3, 1]], dtype=dtype))
    assert metrics.coverage(truth, lower, upper) == 0.5
    rng = np.random.default_rng(6)
    draws = rng.standard_normal(20_000)
    band = np.full(20_000, 1.959964)
    assert metrics.coverage(draws, -band, band) == pytest.approx(0.95, abs=0.01)


# --- what is refused -----------------------------------------------------------------------------------

PAIRS = {
    "mse": metrics.mse,
    "nrmse": metrics.nrmse,
    "psnr": lambda x, truth: metrics.psnr(x, truth, data_range=1.0),
    "sre": metrics.sre,
    "sad": metrics.sad,
    "ssim": lambda x, truth: metrics.ssim(x, truth, data_range=1.0),
    "support_recovery": metrics.support_recovery,
}
A = np.ones((8, 9))
MASK = A > 0


def refusal(kind, function, *arguments, **options):
    """The text of the error that a call raises, one line and without the numbers of an array."""
    with pytest.raises(kind) as caught:
        function(*arguments, **options)
    text = str(caught.value)
    assert "\n" not in text
    assert text.endswith(".")
    assert len(text) < 220
    return text


@pytest.mark.parametrize("name", PAIRS)
def test_arrays_that_do_not_belong_together(name):
    metric = PAIRS[name]
    assert refusal(ShapeError, metric, A, A.T) == (
        f"{name}.x must have the shape of {name}.truth, (9, 8), got (8, 9). "
        "Cut or transpose one of them: metrics do not broadcast."
    )
    assert refusal(ShapeError, metric, A[0], A).startswith(
        f"{name}.x must have the shape of {name}.truth, (8, 9)"
    )
    assert refusal(ArrayError, metric, torch.ones(8, 9), A) == (
        f"{name}.x must be of the same library as {name}.truth, which is numpy, got torch. "
        "Convert one of them."
    )
    assert refusal(ArrayError, metric, A, [[1.0]]) == (
        f"{name}.truth must be one array, got list. Convert it with numpy.asarray."
    )
    assert refusal(ArrayError, metric, (A, A), A) == (
        f"{name}.x must be one array, got tuple. Convert it with numpy.asarray."
    )
    assert refusal(ShapeError, metric, A[:0], A[:0]) == (
        f"{name}.truth must have at least one entry, got shape (0, 9). Check how it was cut out."
    )
    elsewhere = array_api_strict.ones((8, 9), device=array_api_strict.Device("device1"))
    assert refusal(ArrayError, metric, elsewhere, array_api_strict.ones((8, 9))) == (
        f"{name}.x must be on the same device as {name}.truth, array_api_strict.Device('CPU_DEVICE'), "
        "got array_api_strict.Device('device1'). Move one of them."
    )
    assert refusal(ArrayError, metric, A.astype(str), A).startswith(f"{name}.x must be ")


def test_masks_and_intervals_that_do_not_belong_together():
    assert refusal(ShapeError, metrics.matthews, MASK.T, MASK).startswith(
        "matthews.prediction must have the shape of matthews.truth, (8, 9), got (9, 8)."
    )
    assert refusal(ArrayError, metrics.matthews, torch.ones(8, 9), MASK).startswith(
        "matthews.prediction must be of the same library as matthews.truth, which is numpy, got torch."
    )
    assert refusal(ArrayError, metrics.matthews, A, MASK) == (
        "matthews.prediction must be bool, got dtype float64. Threshold it first, for example x > otsu(x)."
    )
    assert refusal(ShapeError, metrics.coverage, A, A, A[0]).startswith(
        "coverage.upper must have the shape of coverage.truth, (8, 9), got (9,)."
    )
    assert refusal(ArrayError, metrics.coverage, A, torch.ones(8, 9), A).startswith(
        "coverage.lower must be of the same library as coverage.truth, which is numpy, got torch."
    )
    lower = A.copy()
    lower[0, :3] = 5.0
    assert refusal(ArrayError, metrics.coverage, A, lower, A) == (
        "coverage.lower must be at most coverage.upper, got 3 entries above it. "
        "Check the order of the arguments: truth, lower, upper."
    )


def test_complex_values_where_they_mean_nothing():
    z = A + 1j
    for name, metric in (("sad", metrics.sad), ("ssim", PAIRS["ssim"])):
        assert refusal(ArrayError, metric, z, A) == (
            f"{name}.x must be real, got dtype complex128. Pass its real part or its magnitude."
        )
    assert refusal(ArrayError, metrics.otsu, z).startswith("otsu.x must be real, got dtype complex128.")
    assert refusal(ArrayError, metrics.coverage, z, A, A).startswith("coverage.truth must be real, got")


@pytest.mark.parametrize("name", ["psnr", "ssim"])
@pytest.mark.parametrize("wrong", [0, -1.0, math.nan, math.inf, None, "1", True, np.float64(-2.0)])
def test_data_range(name, wrong):
    text = refusal(ParameterError, getattr(metrics, name), A, A, data_range=wrong)
    assert text == (
        f"{name}.data_range must be a finite number > 0, got {wrong!r}. Use 1.0 for images in [0, 1]."
    )


def test_data_range_may_come_from_an_array_but_be_none():
    for one in (np.float32(1.0), np.array(1.0), torch.tensor(1.0, requires_grad=True)):
        assert metrics.psnr(2 * A, A, data_range=one) == 0.0
    assert refusal(ParameterError, metrics.psnr, A, A, data_range=A) == (
        "psnr.data_range must be a finite number > 0, got an array of shape (8, 9) and dtype float64. "
        "Use 1.0 for images in [0, 1]."
    )


def test_other_numbers_and_words():
    assert refusal(ParameterError, metrics.nrmse, A, A, normalization="max") == (
        "nrmse.normalization must be 'truth' or 'range' or 'mean', got 'max'. Choose one of these."
    )
    assert refusal(ParameterError, metrics.ssim, A, A, data_range=1, window="box") == (
        "ssim.window must be 'uniform' or 'gaussian', got 'box'. Choose one of these."
    )
    for size in (6, 1, -3, 7.0, True):
        assert refusal(ParameterError, metrics.ssim, A, A, data_range=1, size=size) == (
            f"ssim.size must be an odd integer >= 3, got {size}. 7 is usual."
        )
    assert refusal(ParameterError, metrics.ssim, A, A, data_range=1, window="gaussian", sigma=0) == (
        "ssim.sigma must be a finite number > 0, got 0. 1.5 is usual."
    )
    assert refusal(ParameterError, metrics.support_recovery, A, A, threshold=-1) == (
        "support_recovery.threshold must be a finite number >= 0, got -1. 0.0 counts every non-zero entry."
    )
    for bins in (1, 2.5, "many"):
        assert refusal(ParameterError, metrics.otsu, A, bins=bins) == (
            f"otsu.bins must be an integer >= 2, got {bins!r}. 256 is usual."
        )


def test_axes():
    for axes in ((0, 0), (0, 2), -3, (), "yx", (0, -2)):
        assert refusal(ParameterError, metrics.ssim, A, A, data_range=1, axes=axes) == (
            f"ssim.axes must be different axes of an array with 2, got {axes!r}. "
            "Count them from 0 to 1, or from the end with -1."
        )
    assert refusal(ParameterError, metrics.sad, A, A, axis=2).startswith(
        "sad.axis must be different axes of an array with 2, got (2,)."
    )
    point = np.array(1.0)
    for name in ("sad", "ssim"):
        assert refusal(ShapeError, PAIRS[name], point, point) == (
            f"{name}.truth must have at least one axis, got shape (). Pass a whole signal."
        )


def test_images_smaller_than_the_window():
    assert refusal(ShapeError, metrics.ssim, A, A, data_range=1, size=9) == (
        "ssim.truth must be at least 9 long on axes (0, 1), got shape (8, 9). "
        "Give a smaller size, or the axes that the window should span."
    )
    assert metrics.ssim(A, A, data_range=1, size=9, axes=1) == pytest.approx(1.0)


def test_otsu_of_values_that_are_not_finite():
    for value in (math.nan, math.inf, -math.inf):
        x = A.copy()
        x[0, 0] = value
        assert refusal(ArrayError, metrics.otsu, x) == (
            "otsu.x must be finite, got NaN or infinite values. Replace or cut them out first."
        )
    assert refusal(ShapeError, metrics.otsu, A[:0]).startswith("otsu.x must have at least one entry")


# --- habits --------------------------------------------------------------------------------------------


def test_arguments_stay_as_they_were_and_gradients_are_not_recorded():
    truth, x = smooth((12, 12))
    before = truth.copy(), x.copy()
    for metric in PAIRS.values():
        metric(x, truth)
    metrics.ssim(x, truth, data_range=1, return_map=True)
    metrics.otsu(x)
    np.testing.assert_array_equal(x, before[1])
    np.testing.assert_array_equal(truth, before[0])
    tensor = torch.asarray(x).requires_grad_()
    for metric in PAIRS.values():
        metric(tensor, torch.asarray(truth))
    assert not metrics.sad(tensor, torch.asarray(truth)).requires_grad
    metrics.otsu(tensor)


def test_importing_metrics_is_light():
    code = "import sys, recon.metrics; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"scipy", "skimage", "torch", "cupy", "numba", "matplotlib"} & set(done.stdout.split())


def test_everything_listed_is_documented():
    for name in metrics.__all__:
        text = getattr(metrics, name).__doc__
        assert "Parameters\n" in text
