"""Coil sensitivities: ESPIRiT of a simulated scan with known maps, against SigPy, and of real scans."""

import logging
from pathlib import Path

import array_api_strict
import numpy as np
import pytest
import torch
from recon_operators.fourier import CartesianMRI, espirit, low_resolution_maps, masks, sum_of_squares

from recon.errors import ArrayError, ParameterError, ShapeError
from recon.linalg import cgls

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "mri"
COILS = 6


def scan(shape):
    """An object of smooth parts in air, coils around it, and all of its k-space without noise."""
    coordinates = np.stack([2 * k / n - 1 for k, n in zip(np.indices(shape), shape, strict=True)])
    r2 = (coordinates**2).sum(0)
    image = (r2 < 0.6) * (1 + 0.5 * np.cos(3 * coordinates[0]) + 0.3j * coordinates[-1])
    maps = []
    for a in np.arange(COILS) * 2 * np.pi / COILS:
        place = np.zeros(len(shape))
        place[0], place[-1] = 1.3 * np.sin(a), 1.3 * np.cos(a) if len(shape) > 1 else 1.3 * np.sin(a)
        away = ((coordinates.T - place).T ** 2).sum(0)
        maps.append(np.exp(-away / 2 + 1j * (a + np.sin(a) * coordinates[0])))
    maps = np.stack(maps)
    maps = maps / np.sqrt((abs(maps) ** 2).sum(0))
    return image, maps, CartesianMRI(np.ones(shape), maps) @ image


def projection_error(found, truth, inside):
    """How far the true maps are from the lines that the found ones span, pixel by pixel."""
    along = (found.conj() * truth).sum(0) * found
    return np.linalg.norm((truth - along)[:, inside]) / np.linalg.norm(truth[:, inside])


@pytest.mark.parametrize("shape", [(72, 60), (61, 75), (96,), (24, 26, 28)])
def test_espirit_finds_the_maps_of_a_simulated_scan(shape):
    image, truth, y = scan(shape)
    three = len(shape) == 3
    maps = espirit(y, calibration=12 if three else 24, kernel=4 if three else 6)
    inside = image != 0
    found = (abs(maps) ** 2).sum(0)
    assert np.all(found[inside] == pytest.approx(1, abs=1e-12))
    assert np.all((abs(found) < 1e-12) | (abs(found - 1) < 1e-12))
    assert projection_error(maps, truth, inside) < 0.01


def test_espirit_needs_the_calibration_block_only():
    _, _, y = scan((72, 60))
    mask = masks.uniform((72, 60), 3, 24, axes=(0, 1))
    assert np.array_equal(espirit(mask * y), espirit(y))
    assert np.allclose(espirit(mask * y, (24, 20)), espirit(y, (24, 20)))


def test_espirit_follows_the_precision_and_takes_any_library():
    _, _, y = scan((40, 44))
    maps = espirit(y)
    assert espirit(y.astype(np.complex64)).dtype == np.complex64
    for xp in (array_api_strict, torch):
        assert np.array_equal(espirit(xp.asarray(y)), maps)


def test_phase_reference_is_smooth():
    """Neighbours inside the object differ little, though eigenvectors have no phase of their own."""
    image, _, y = scan((72, 60))
    maps = espirit(y)
    inside = (image != 0)[:-1] & (image != 0)[1:]
    assert abs(np.diff(maps, axis=1)[:, inside]).max() < 0.1


def test_phase_is_that_of_the_strongest_combination():
    image, _, y = scan((72, 60))
    maps = espirit(y, 24)
    block = y[:, 24:48, 18:42].reshape(COILS, -1)
    strongest = np.linalg.svd(block)[0][:, 0]
    seen = np.tensordot(strongest.conj(), maps, 1)
    turned = seen / seen[36, 30]  # its own phase is that of a singular vector, hence any
    assert abs(turned.imag).max() < 1e-10
    assert turned.real.min() > -1e-10
    assert turned.real[image != 0].min() > 0.1


def test_air_gets_no_sensitivity():
    image, _, y = scan((72, 60))
    noise = np.random.default_rng(1).standard_normal((2, *y.shape))
    y = y + 0.05 * (noise[0] + 1j * noise[1])
    away = sum((2 * k / n - 1) ** 2 for k, n in zip(np.indices((72, 60)), (72, 60), strict=True)) > 1.2
    assert (abs(espirit(y, 24)).max(0)[away] == 0).mean() > 0.5
    assert (abs(espirit(y, 24)).max(0)[image != 0] > 0).mean() > 0.95
    assert (abs(espirit(y, 24, crop=0)).max(0) > 0).all()


def test_espirit_agrees_with_sigpy():
    app = pytest.importorskip("sigpy.mri.app")
    rng = np.random.default_rng(0)
    _, _, y = scan((48, 50))
    y = y + 0.01 * (rng.standard_normal(y.shape) + 1j * rng.standard_normal(y.shape))
    settings = {"calib_width": 20, "thresh": 0.02, "kernel_width": 5, "crop": 0.9}
    theirs = app.EspiritCalib(y, max_iter=300, show_pbar=False, **settings).run()
    ours = espirit(y, 20, 5, threshold=0.02, crop=0.9)
    both = (abs(theirs).sum(0) > 0) & (abs(ours).sum(0) > 0)
    assert both.sum() > 0.98 * (abs(theirs).sum(0) > 0).sum()
    assert projection_error(ours, theirs, both) < 1e-3


def test_low_resolution_maps_are_good_inside():
    _, truth, y = scan((72, 60))
    maps = low_resolution_maps(y, 16)
    r2 = ((np.indices((72, 60)).T / np.array([36, 30]) - 1) ** 2).sum(-1).T
    assert (abs(maps) ** 2).sum(0) == pytest.approx(1)
    assert projection_error(maps, truth, r2 < 0.4) < 0.02
    assert low_resolution_maps(y.astype(np.complex64), 16).dtype == np.complex64


def test_low_resolution_maps_are_windowed_by_hann():
    _, _, y = scan((25, 27))
    window = np.zeros((25, 27))
    window[8:17, 9:18] = np.multiply.outer(np.hanning(11)[1:-1], np.hanning(11)[1:-1])
    images = np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(window * y, axes=(1, 2))), axes=(1, 2))
    wanted = images / np.sqrt((abs(images) ** 2).sum(0))
    assert np.allclose(low_resolution_maps(y, 9), wanted, rtol=0, atol=1e-12)


def test_sum_of_squares(to):
    images = np.array([[[3.0, 1.0]], [[4.0j, 1.0]]])
    assert np.asarray(sum_of_squares(to(images))) == pytest.approx(np.array([[5.0, np.sqrt(2)]]))
    assert sum_of_squares(np.ones((5, 2, 3)), ndim=1).shape == (5, 3)
    with pytest.raises(
        ShapeError, match="sum_of_squares.images must have 3 axes or more, got 2. Put the coils"
    ):
        sum_of_squares(np.ones((4, 4)))
    with pytest.raises(ArrayError, match="must come from NumPy, .* got list"):
        sum_of_squares([[1.0]])


@pytest.mark.parametrize("scale", [1e-30, 1e-20, 1e20, 1e37])
def test_no_scale_of_single_precision_is_lost(scale):
    image, _, y = scan((40, 44))
    images = (np.array([[[3.0]], [[4.0j]], [[0.0]]]) * scale).astype(np.complex64)
    assert sum_of_squares(images) == pytest.approx(5 * scale, rel=1e-6, abs=0)
    maps = low_resolution_maps((y * (scale / abs(y).max())).astype(np.complex64), 16)
    inside = image != 0  # elsewhere they are those of rounding
    assert np.allclose(maps[:, inside], low_resolution_maps(y, 16)[:, inside], rtol=0, atol=1e-4)
    assert np.all(sum_of_squares(np.zeros((2, 3, 3), np.complex64)) == 0)


def test_espirit_warns_of_kspace_that_is_not_centred(caplog):
    _, _, y = scan((40, 44))
    with caplog.at_level(logging.WARNING, "recon"):
        espirit(y, 16)
        assert not caplog.text
        espirit(np.fft.ifftshift(y, axes=(1, 2)), 16)
    assert "espirit.kspace is strongest outside its calibration block: must it be centred" in caplog.text


BLOCK = np.ones((2, 16, 16), complex)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: espirit(np.ones((2, 16, 16)), 8), ArrayError,
         "espirit.kspace must be complex and finite, got float64"),
        (lambda: espirit(np.ones(16, complex), 8), ShapeError,
         r"kspace must have shape \(coils, \*shape\), got \(16,\)"),
        (lambda: espirit(BLOCK, 24), ParameterError,
         r"espirit.calibration must be a whole number or one per axis, within \(16, 16\), got 24"),
        (lambda: espirit(BLOCK, (8, 8, 8)), ParameterError, "espirit.calibration must be a whole number or one per"),
        (lambda: espirit(BLOCK, 8.7), ParameterError, "espirit.calibration must be a whole number .*, got 8.7"),
        (lambda: espirit(BLOCK, None), ParameterError, "espirit.calibration must be a whole number .*, got None"),
        (lambda: espirit(np.moveaxis(BLOCK, 0, -1), 8), ParameterError,
         r"within \(16, 2\), got 8. The first axis, 16, counts the coils"),
        (lambda: espirit(BLOCK * np.nan, 8), ArrayError, "kspace must be complex and finite, got NaN or infinity"),
        (lambda: espirit(BLOCK, 8, 5.0), ParameterError, "espirit.kernel must be a whole number > 1 .* got 5.0"),
        (lambda: espirit(BLOCK, 8, (5, 5)), ParameterError, r"espirit.kernel must be a whole .*, got \(5, 5\)"),
        (lambda: espirit(BLOCK, 8, threshold=None), ParameterError, "espirit.threshold must be .* got None"),
        (lambda: espirit(BLOCK * (np.arange(16) % 2), 8), ParameterError,
         "espirit.calibration must be the side of a fully sampled block in the middle of k-space, "
         r"got 8x8 with 32 empty places. Give a smaller one, and k-space with frequency 0 at n // 2"),
        (lambda: espirit(BLOCK, 5), ParameterError,
         "espirit.kernel must be a whole number > 1 and <= 5, got 6. It must fit"),
        (lambda: espirit(BLOCK, 8, threshold=0), ParameterError, r"espirit.threshold must be in \(0, 1\), got 0"),
        (lambda: espirit(BLOCK, 8, crop=1.0), ParameterError, r"espirit.crop must be in \[0, 1\), got 1.0"),
    ],
)  # fmt: skip
def test_error_texts(call, error, text):
    with pytest.raises(error, match=text):
        call()


# -- real scans -------------------------------------------------------------------------------------------------


def real_scan(name):
    path = DATA / name
    if not path.is_file():
        pytest.skip(f"{name} is not there")
    y = np.load(path)
    return np.ascontiguousarray(np.moveaxis(y, -1, 0) if y.shape[-1] == 8 else y)


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "side"), [("espirit_brain_und2x2_ksp.npy", 20), ("sigpy_cartesian_ksp.npy", 24)]
)
def test_sense_of_a_real_brain(name, side):
    """SENSE explains the data, and predicts samples that it was not given, which zero filling cannot."""
    y = real_scan(name)
    mask = (y != 0).any(axis=0)
    maps = espirit(y, side)
    x = cgls(CartesianMRI(mask, maps), y, damp=1e-3, iterations=40, tol=1e-4)
    assert x.dtype == np.complex64
    A = CartesianMRI(mask, maps)
    assert np.linalg.norm(A @ x - y) < 0.06 * np.linalg.norm(y)
    # air is dark: aliased copies of the head would be there
    zero_filled = sum_of_squares(CartesianMRI(mask).H @ y)
    corner = (slice(0, 25), slice(0, 25))
    assert np.mean(abs(x)[corner]) < 0.25 * np.mean(zero_filled[corner])
    centre = np.array([[[n // 2]] for n in mask.shape])
    strong = np.hypot(*(np.indices(mask.shape) - centre)) < 30  # beyond it, most samples are noise
    held = mask & (np.random.default_rng(0).random(mask.shape) < 0.1)
    held[tuple(slice(n // 2 - side // 2, n // 2 + side // 2) for n in mask.shape)] = False
    few = CartesianMRI(mask & ~held, maps)
    x = cgls(few, few.mask * y, damp=1e-3, iterations=40, tol=1e-4)
    there = held & strong
    assert there.sum() > 30
    missed = (CartesianMRI(there, maps) @ x - y)[:, there]
    assert np.linalg.norm(missed) < 0.35 * np.linalg.norm(y[:, there])
