"""Coil sensitivities from the calibration block of k-space: ESPIRiT, and a low-resolution estimate.

Windows of k-space of all coils, p_r = (y_c(r + o))_{c,o}, lie in a small subspace. With P the projector on it,

    (W y)(k) = 1/|o| sum_r R_r^H P R_r y  = y            R_r cuts window r out, R_r^H puts it back

holds for every noiseless scan y_c = F(S_c x). W is a convolution, so in the image it is a coils x coils matrix

    W_{c,c'}(x) = sum_d w_{c,c'}(d) exp(2 pi i d x / n),   w_{c,c'}(d) = 1/|o| sum_{o-o'=d} P[(c,o),(c',o')]

at every pixel, and the sensitivities are its eigenvector of eigenvalue 1.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Sequence
from typing import Any

import numpy as np

from recon.arrays import Array, as_numpy, namespace
from recon.errors import ArrayError, ParameterError, ShapeError
from recon.fft import ifftn
from recon_operators.fourier._checks import is_number, is_whole, require

__all__ = ["espirit", "low_resolution_maps", "sum_of_squares"]

logger = logging.getLogger("recon")

Numbers = np.ndarray[Any, Any]


def espirit(
    kspace: Array,
    calibration: int | Sequence[int] = 24,
    kernel: int = 6,
    *,
    threshold: float = 0.02,
    crop: float = 0.95,
) -> Numbers:
    """Coil sensitivities by ESPIRiT, one set of maps.

    Parameters
    ----------
    kspace
        (coils, *shape) complex, frequency 0 at index n // 2 of every axis, with a fully sampled block there;
        0 where nothing was measured.
    calibration
        Side of that block, one number or one per axis.
    kernel
        Side of the window.
    threshold
        Singular values of the calibration matrix below this fraction of the largest count as noise.
    crop
        Pixels whose eigenvalue is below this get no sensitivity: there is nothing but noise.

    Returns
    -------
    maps
        (coils, *shape) in the precision of `kspace`: sum_c |S_c|^2 is 1, or 0 outside the object. The phase,
        which no scan can tell, is that of the strongest combination of coils: its sensitivity is real.

    Raises
    ------
    ShapeError, ArrayError, ParameterError
        When an argument breaks its rule or the block is not fully sampled.

    Notes
    -----
    Cost: one eigenvalue problem of size coils kernel^d, coils^2 / 2 FFTs and one coils x coils eigenvalue problem
    per pixel; memory 2 coils^2 images. 8 coils, 256 x 256: about 1 s.
    Source: M. Uecker et al., "ESPIRiT - an eigenvalue approach to autocalibrating parallel MRI", Magn. Reson. Med.
    71 (2014) 990, doi:10.1002/mrm.24751; thresholds as in the authors' demonstration.

    Examples
    --------
    >>> maps = espirit(kspace, calibration=24)
    >>> A = CartesianMRI(mask, maps)
    """
    y, sides = _checked(kspace, calibration, "espirit")
    require(
        "espirit.kernel",
        is_whole(kernel) and 1 < kernel <= min(sides),
        f"a whole number > 1 and <= {min(sides)}",
        kernel,
        "It must fit into the calibration block.",
    )
    require("espirit.threshold", is_number(threshold) and 0 < threshold < 1, "in (0, 1)", threshold)
    require("espirit.crop", is_number(crop) and 0 <= crop < 1, "in [0, 1)", crop)
    block = _middle(y, sides).astype(np.complex128)
    operators = _pixel_operators(_convolution(block, kernel, threshold), y.shape[1:])
    values, vectors = np.linalg.eigh(operators)
    value, vector = values[..., -1], vectors[..., -1]
    del values, vectors, operators
    # phase: the strongest combination u of coils in the block sees u^H S >= 0
    flat = block.reshape(len(block), -1)
    strongest = np.linalg.eigh(flat @ flat.conj().T)[1][:, -1]
    seen = vector @ strongest.conj()
    turn = np.where(seen == 0, 1.0, seen.conj() / np.where(seen == 0, 1.0, np.abs(seen)))
    maps = np.moveaxis(vector * (turn * (value > crop))[..., None], -1, 0)
    return np.ascontiguousarray(maps, dtype=y.dtype)


def low_resolution_maps(kspace: Array, calibration: int | Sequence[int] = 24) -> Numbers:
    """Coil images of the calibration block, smoothed by a Hann window, over their root sum of squares.

    Parameters
    ----------
    kspace, calibration
        As in :func:`espirit`.

    Returns
    -------
    maps
        (coils, *shape) in the precision of `kspace`, with sum_c |S_c|^2 = 1 and the phase of the image in them.

    Notes
    -----
    Source: P. B. Roemer et al., "The NMR phased array", Magn. Reson. Med. 16 (1990) 192,
    doi:10.1002/mrm.1910160203.
    """
    y, sides = _checked(kspace, calibration, "low_resolution_maps")
    block = np.zeros_like(y)
    window = np.ones((), y.real.dtype)
    for side in sides:
        hann = np.cos(np.pi * (np.arange(side) - side // 2) / (side + 1)) ** 2
        window = np.multiply.outer(window, hann.astype(y.real.dtype))
    _middle(block, sides)[...] = window * _middle(y, sides)
    axes = tuple(range(1, y.ndim))
    images = np.fft.fftshift(ifftn(np.fft.ifftshift(block, axes), axes), axes)
    size = sum_of_squares(images, ndim=y.ndim - 1)
    return images / np.where(size == 0, 1, size)


def sum_of_squares(images: Array, ndim: int = 2) -> Array:
    """Root sum of squares over the coils, sqrt(sum_c |x_c|^2): a magnitude image without sensitivities.

    Parameters
    ----------
    images
        (..., coils, *shape), of any array library.
    ndim
        Number of axes of `shape`.

    Examples
    --------
    >>> zero_filled = sum_of_squares(CartesianMRI(mask).H @ kspace)  # coils as a batch axis
    """
    xp = namespace(images)
    if images.ndim <= ndim:
        raise ShapeError(
            f"sum_of_squares.images must have {ndim + 1} axes or more, got {images.ndim}. "
            "Put the coils in front of the image's axes."
        )
    size = xp.abs(images)
    # over the strongest coil: squares of single precision end at 1e-19 and 1e19
    largest = xp.max(size, axis=-ndim - 1, keepdims=True)
    share = size / xp.where(largest == 0, xp.ones_like(largest), largest)
    return xp.squeeze(largest, axis=-ndim - 1) * xp.sqrt(xp.sum(share**2, axis=-ndim - 1))


def _convolution(block: Numbers, kernel: int, threshold: float) -> Numbers:
    """w[c, c', d] on differences d from -(kernel - 1) to kernel - 1, along every axis."""
    coils, ndim = len(block), block.ndim - 1
    windows = np.lib.stride_tricks.sliding_window_view(
        block, (kernel,) * ndim, axis=tuple(range(1, ndim + 1))
    )
    places = np.moveaxis(windows, 0, ndim).reshape(-1, coils * kernel**ndim)
    squares, vectors = np.linalg.eigh(places.T @ places.conj())  # sum_r p_r p_r^H
    kept = vectors[:, squares > threshold**2 * squares[-1]]
    projector = (kept @ kept.conj().T).reshape((coils, *(kernel,) * ndim) * 2)
    w = np.zeros((coils, coils, *(2 * kernel - 1,) * ndim), np.complex128)
    every = (slice(None),)
    for offset in itertools.product(range(kernel), repeat=ndim):
        row = projector[every + offset]  # (coils, coils, *kernel), over o'
        place = tuple(slice(o, o + kernel) for o in offset)
        w[every * 2 + place] += np.flip(row, axis=tuple(range(2, ndim + 2)))  # d = o - o'
    return w / kernel**ndim


def _pixel_operators(w: Numbers, shape: tuple[int, ...]) -> Numbers:
    """W(x), (*shape, coils, coils), from the convolution that it is in k-space."""
    coils, ndim = len(w), len(shape)
    centre = [length // 2 for length in w.shape[2:]]
    result = np.empty((*shape, coils, coils), np.complex128)
    phase = np.ones((), np.complex128)
    for n, c in zip(shape, centre, strict=True):  # the sum starts at d = -c, and x at -(n // 2)
        phase = np.multiply.outer(phase, np.exp(-2j * np.pi * c * (np.arange(n) - n // 2) / n))
    axes = tuple(range(-ndim, 0))
    for a in range(coils):
        for b in range(a + 1):
            images = ifftn(_wrapped(w[a, b], shape), axes, norm="forward")
            images = np.fft.fftshift(images) * phase
            result[..., a, b] = images
            result[..., b, a] = images.conj()
    return result


def _wrapped(values: Numbers, shape: tuple[int, ...]) -> Numbers:
    """Values from index 0 on a grid; what is longer than the grid is folded back, as its transform repeats."""
    grid = np.zeros(shape, values.dtype)
    index = np.ix_(*(np.arange(length) % n for length, n in zip(values.shape, shape, strict=True)))
    np.add.at(grid, index, values)
    return grid


def _middle(y: Numbers, sides: tuple[int, ...]) -> Numbers:
    """A view of the block around index n // 2, as the masks place it."""
    starts = [n // 2 - side // 2 for n, side in zip(y.shape[1:], sides, strict=True)]
    return y[(slice(None), *(slice(s, s + side) for s, side in zip(starts, sides, strict=True)))]


def _checked(kspace: Array, calibration: int | Sequence[int], owner: str) -> tuple[Numbers, tuple[int, ...]]:
    y = as_numpy(kspace)
    if y.dtype.kind != "c" or not np.isfinite(y).all():
        got = y.dtype if y.dtype.kind != "c" else "NaN or infinity"
        raise ArrayError(f"{owner}.kspace must be complex and finite, got {got}. Check where it comes from.")
    if not 2 <= y.ndim <= 4:
        raise ShapeError(
            f"{owner}.kspace must have shape (coils, *shape), got {y.shape}. Leave batch axes out."
        )
    asked = np.array(calibration)
    fits = asked.dtype.kind in "iu" and asked.shape in ((), (y.ndim - 1,))
    require(
        f"{owner}.calibration",
        fits and (asked >= 1).all() and (asked <= y.shape[1:]).all(),
        f"a whole number or one per axis, within {y.shape[1:]}",
        calibration,
        f"The first axis, {y.shape[0]}, counts the coils.",
    )
    sides = tuple(int(n) for n in np.broadcast_to(asked, (y.ndim - 1,)))
    sampled = (_middle(y, sides) != 0).any(axis=0)
    if not sampled.all():
        empty = sampled.size - int(sampled.sum())
        raise ParameterError(
            f"{owner}.calibration must be the side of a fully sampled block in the middle of k-space, got "
            f"{'x'.join(map(str, sides))} with {empty} empty places. Give a smaller one, and k-space with frequency 0 "
            "at n // 2 (numpy.fft.fftshift)."
        )
    if np.abs(_middle(y, sides)).max() < np.abs(y).max():
        logger.warning(
            "%s.kspace is strongest outside its calibration block: must it be centred with numpy.fft.fftshift?",
            owner,
        )
    return y, sides
