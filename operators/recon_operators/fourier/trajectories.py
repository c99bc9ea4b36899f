"""Trajectories of non-Cartesian MRI: points (shots, samples, 2) in radians per pixel, in [-pi, pi).

    radial    k = r (sin theta, cos theta),  r = 2 pi (i - n // 2) / n;  theta = l pi / spokes, or l golden angles
    spiral    k = r (sin theta, cos theta),  r = pi sqrt(u),  theta = 2 pi (turns sqrt(u) + l / arms),  u = i / n

The first coordinate goes with the rows of an image, the second with its columns: theta = 0 is along a row.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from recon.arrays import as_numpy
from recon.errors import ParameterError, ShapeError
from recon.params import short
from recon_operators.fourier._checks import is_number, is_whole, require

__all__ = ["golden_radial", "radial", "radial_weights", "spiral"]

Floats = np.ndarray[Any, np.dtype[np.float64]]

GOLDEN = math.pi * (math.sqrt(5) - 1) / 2  # 111.246 degrees


def golden_radial(spokes: int, samples: int) -> Floats:
    """Spokes through the middle, each turned by 111.246 degrees: any run of them covers all directions well.

    Parameters
    ----------
    spokes, samples
        How many spokes, and samples on each; twice the pixels of a row is usual.

    Returns
    -------
    points
        (spokes, samples, 2) in radians per pixel.

    Notes
    -----
    Source: S. Winkelmann et al., IEEE Trans. Med. Imaging 26 (2007) 68, doi:10.1109/TMI.2006.885337.
    """
    _check("golden_radial", spokes=spokes, samples=samples)
    return _spokes(GOLDEN * np.arange(spokes), samples)


def radial(spokes: int, samples: int) -> Floats:
    """Spokes through the middle, evenly spread over half a turn.

    Parameters
    ----------
    spokes, samples
        As in :func:`golden_radial`. About pi / 2 times the pixels of a row are needed for full sampling.
    """
    _check("radial", spokes=spokes, samples=samples)
    return _spokes(np.pi / spokes * np.arange(spokes), samples)


def spiral(arms: int, samples: int, turns: float) -> Floats:
    """Archimedean spirals from the middle to the edge, with nearly even steps along each arm.

    Parameters
    ----------
    arms, samples
        How many arms, and samples on each.
    turns
        Turns of an arm. Full sampling of n x n pixels needs arms * turns >= n / 2.
    """
    _check("spiral", arms=arms, samples=samples)
    require(
        "spiral.turns",
        is_number(turns) and turns > 0,
        "a finite number > 0",
        turns,
        "Take n / (2 arms) for full sampling.",
    )
    root = np.sqrt(np.arange(samples) / samples)
    angle = 2 * np.pi * (turns * root + np.arange(arms)[:, None] / arms)
    return np.stack([np.pi * root * np.sin(angle), np.pi * root * np.cos(angle)], axis=-1)


def radial_weights(points: Any, image_shape: tuple[int, int]) -> Floats:
    """Density compensation |k| of radial points, for the gridding image A^H (w y): never a part of A^H itself.

    A weight is the area of k-space that belongs to the sample, so that A^H (w y) of a fully sampled scan shows the
    image at its true size. The sample in the middle, which all spokes share, has a quarter of the next one's area.

    Parameters
    ----------
    points
        (..., 2) as :func:`radial` and :func:`golden_radial` make them.
    image_shape
        Of the image to be seen.

    Returns
    -------
    w
        The shape of `points` without its last axis.
    """
    values = as_numpy(points)
    if values.ndim < 2 or values.shape[-1] != 2:
        raise ShapeError(
            f"radial_weights.points must have shape (..., 2), got {values.shape}. "
            "Other trajectories have other weights."
        )
    if np.shape(image_shape) != (2,):
        raise ShapeError(f"radial_weights.image_shape must be (rows, columns), got {short(image_shape)}.")
    size = np.sqrt((values**2).sum(axis=-1))
    away = size > 1e-9
    if not away.any():
        raise ParameterError("radial_weights.points must have a point beside 0, got none. Give a trajectory.")
    weights = np.where(away, size, size[away].min() / 4)
    return weights * (math.pi / 4 * math.prod(image_shape) / weights.sum())  # a disc in a square


def _spokes(angles: Floats, samples: int) -> Floats:
    r = 2 * np.pi * (np.arange(samples) - samples // 2) / samples
    return np.stack([np.outer(np.sin(angles), r), np.outer(np.cos(angles), r)], axis=-1)


def _check(owner: str, **counts: int) -> None:
    for name, value in counts.items():
        require(f"{owner}.{name}", is_whole(value) and value >= 1, "a whole number >= 1", value)
