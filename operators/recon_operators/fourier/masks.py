"""Sampling masks of Cartesian MRI: where in k-space a scan measures.

    number of samples = round(N / acceleration), with the calibration block among them
    random masks      K places without replacement, with probabilities p(k): the K largest of
                      log p(k) + g(k), g(k) = -log(-log u(k))                          (Gumbel top-K)

Along the chosen `axes` (phase encoding) places are selected; the other axes are read out in full. So the default
`axes=(-1,)` makes lines, `axes=(-2, -1)` makes points of a plane. Frequency 0 is at index n // 2, and the middle
`calibration` places of each of these axes are always sampled.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from recon.errors import ParameterError
from recon_operators.fourier._checks import are_whole, is_number, is_whole, require

__all__ = ["equispaced", "gaussian", "poisson_disc", "uniform", "variable_density"]

Mask = np.ndarray[Any, np.dtype[np.bool_]]
Floats = np.ndarray[Any, np.dtype[np.float64]]


def uniform(
    shape: Sequence[int],
    acceleration: float,
    calibration: int = 24,
    *,
    axes: Sequence[int] = (-1,),
    seed: int = 0,
) -> Mask:
    """Every place outside the calibration block is equally likely.

    Parameters
    ----------
    shape
        Of the mask: that of the image.
    acceleration
        Places per sample, R >= 1.
    calibration
        Side of the block in the middle that is sampled in full; 0 for none.
    axes
        Axes along which places are chosen, a tuple; the mask is constant along the others.
    seed
        Of the draw: one seed, one mask.

    Returns
    -------
    mask
        Booleans of `shape`.

    Raises
    ------
    ParameterError
        When an argument is out of range, or the block alone holds too many samples.

    Examples
    --------
    >>> mask = uniform((256, 256), acceleration=4)
    >>> volume = uniform((160, 256, 256), acceleration=6, axes=(-2, -1))
    """
    grid = _Grid("uniform", shape, axes, acceleration, calibration)
    return grid.draw(np.zeros(grid.shape), seed)


def variable_density(
    shape: Sequence[int],
    acceleration: float,
    calibration: int = 24,
    *,
    power: float = 6.0,
    axes: Sequence[int] = (-1,),
    seed: int = 0,
) -> Mask:
    """Density p(k) proportional to (1 - |k| / k_max)^power.

    Parameters
    ----------
    shape, acceleration, calibration, axes, seed
        As in :func:`uniform`.
    power
        How fast the density falls; 0 is uniform.

    Notes
    -----
    Source: M. Lustig, D. Donoho and J. M. Pauly, Magn. Reson. Med. 58 (2007) 1182, doi:10.1002/mrm.21391.
    """
    _require("variable_density.power", is_number(power) and power >= 0, "a finite number >= 0", power)
    grid = _Grid("variable_density", shape, axes, acceleration, calibration)
    # The floor lets the corners of a plane, where |k| > k_max, be drawn when all else has been.
    return grid.draw(power * np.log(np.maximum(1 - grid.radius, 1e-3)), seed)


def gaussian(
    shape: Sequence[int],
    acceleration: float,
    calibration: int = 24,
    *,
    width: float = 0.3,
    axes: Sequence[int] = (-1,),
    seed: int = 0,
) -> Mask:
    """Density p(k) proportional to exp(-|k|^2 / (2 (width k_max)^2)).

    Parameters
    ----------
    shape, acceleration, calibration, axes, seed
        As in :func:`uniform`.
    width
        Standard deviation, as a fraction of the largest frequency k_max.
    """
    _require("gaussian.width", is_number(width) and width > 0, "a finite number > 0", width)
    grid = _Grid("gaussian", shape, axes, acceleration, calibration)
    return grid.draw(-0.5 * (grid.radius / width) ** 2, seed)


def equispaced(
    shape: Sequence[int],
    acceleration: int | Sequence[int],
    calibration: int = 24,
    *,
    offset: int | Sequence[int] = 0,
    axes: Sequence[int] = (-1,),
) -> Mask:
    """Every `acceleration`-th place, and the calibration block beside them (so the whole is slower than that).

    Parameters
    ----------
    shape, calibration, axes
        As in :func:`uniform`.
    acceleration
        Whole numbers, one per axis of `axes`: (2, 2) takes every other line of both.
    offset
        Index of the first place taken: one number, or one per axis of `axes`.
    """
    grid = _Grid("equispaced", shape, axes, 1, calibration)
    steps, starts = np.atleast_1d(acceleration), np.atleast_1d(offset)
    count = len(grid.axes)
    for name, values, sizes, least in (
        ("acceleration", steps, (count,), 1),
        ("offset", starts, (1, count), 0),
    ):
        whole = values.dtype.kind in "iu" and values.ndim == 1 and values.size in sizes
        _require(
            f"equispaced.{name}",
            whole and (values >= least).all(),
            f"whole numbers >= {least}, one per axis of {tuple(axes)}",
            acceleration if name == "acceleration" else offset,
        )
    chosen = np.ones(grid.shape, bool)
    index = np.indices(grid.shape)
    for axis, step, start in zip(axes, steps, np.broadcast_to(starts, count), strict=True):
        k = index[grid.axes.index(axis % len(grid.whole))]  # the grid has its axes in ascending order
        chosen &= (k >= start) & ((k - start) % step == 0)
    return grid.full(chosen | grid.block)


def poisson_disc(
    shape: Sequence[int],
    acceleration: float,
    calibration: int = 24,
    *,
    growth: float = 2.0,
    axes: Sequence[int] = (-2, -1),
    seed: int = 0,
) -> Mask:
    """Random points of a plane that keep a distance, which grows with |k|: r(k) = r_0 (1 + growth |k| / k_max).

    Two samples outside the calibration block are never closer than the smaller of their r(k). r_0 is the largest
    that leaves room for all samples wanted; the few too many are dropped at random.

    Parameters
    ----------
    shape, acceleration, calibration, seed
        As in :func:`uniform`.
    growth
        Distance at the edge of k-space over that in the middle, minus 1; 0 is uniform.
    axes
        The two axes of the plane.

    Notes
    -----
    Cost: about 0.3 s for a plane of 256 x 256 at R = 4.
    Source: R. L. Cook, ACM Trans. Graph. 5 (1986) 51, doi:10.1145/7529.8927 (dart throwing).
    """
    from recon_operators.fourier._poisson import throw_darts

    _require("poisson_disc.growth", is_number(growth) and growth >= 0, "a finite number >= 0", growth)
    grid = _Grid("poisson_disc", shape, axes, acceleration, calibration)
    _require("poisson_disc.axes", len(grid.shape) == 2, "two axes", tuple(axes))
    rng = grid.generator(seed)
    return grid.full(grid.block | throw_darts(1 + growth * grid.radius, ~grid.block, grid.free, rng))


class _Grid:
    """The places of the chosen axes, those of the calibration block, and how many others may be sampled."""

    def __init__(
        self, owner: str, shape: Sequence[int], axes: Sequence[int], acceleration: float, calibration: int
    ) -> None:
        self.owner = owner
        _require(f"{owner}.shape", are_whole(shape) and min(shape) > 0, "a tuple of whole numbers > 0", shape)
        self.whole = tuple(int(n) for n in shape)
        ndim = len(self.whole)
        inside = are_whole(axes) and all(-ndim <= axis < ndim for axis in axes)
        self.axes = sorted({int(axis) % ndim for axis in axes}) if inside else []
        _require(
            f"{owner}.axes",
            inside and len(self.axes) == len(axes),
            f"a tuple of different axes of {self.whole}",
            axes,
        )
        self.shape = tuple(self.whole[axis] for axis in self.axes)
        _require(
            f"{owner}.calibration",
            is_whole(calibration) and calibration >= 0,
            "a whole number >= 0",
            calibration,
        )
        _require(
            f"{owner}.acceleration",
            is_number(acceleration) and acceleration >= 1,
            "a finite number >= 1",
            acceleration,
        )
        centred = [np.arange(n) - n // 2 for n in self.shape]
        scaled = np.meshgrid(
            *(k / (n // 2 + 1) for k, n in zip(centred, self.shape, strict=True)), indexing="ij"
        )
        self.radius: Floats = np.sqrt(sum(k**2 for k in scaled))
        self.block = np.ones(self.shape, bool)
        for k in np.meshgrid(*centred, indexing="ij"):
            self.block &= (k >= -(calibration // 2)) & (k < calibration - calibration // 2)
        total, held = math.prod(self.shape), int(self.block.sum())
        self.free = round(total / acceleration) - held
        if self.free < 0:
            raise ParameterError(
                f"{owner}.calibration must be so small that its block has no more than {total} / {acceleration:g} "
                f"places, got {calibration} with {held} places. Give a smaller one, or 0 for none."
            )

    def generator(self, seed: int) -> np.random.Generator:
        """The random numbers of a seed."""
        _require(f"{self.owner}.seed", is_whole(seed) and seed >= 0, "a whole number >= 0", seed)
        return np.random.default_rng(seed)

    def draw(self, log_density: Floats, seed: int) -> Mask:
        """The calibration block and as many others as are free, drawn without replacement."""
        gumbel = self.generator(seed).gumbel(size=self.shape)
        keys = np.where(self.block, np.inf, log_density + gumbel).ravel()
        count = int(self.block.sum()) + self.free
        chosen = np.zeros(keys.size, bool)
        chosen[np.argsort(-keys, kind="stable")[:count]] = True
        return self.full(chosen.reshape(self.shape))

    def full(self, chosen: Mask) -> Mask:
        """The mask on all axes: constant along those that are read out."""
        _require(f"{self.owner}.shape", chosen.any(), "large enough that one place is sampled", self.whole)
        shape = tuple(n if axis in self.axes else 1 for axis, n in enumerate(self.whole))
        return np.broadcast_to(chosen.reshape(shape), self.whole).copy()


def _require(what: str, holds: Any, rule: str, got: Any) -> None:
    require(what, holds, rule, got, "See recon_operators.fourier.masks.")
