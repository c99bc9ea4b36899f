"""The single-pixel camera: one detector sums the image through one Walsh-Hadamard pattern after another.

    signed patterns   y[j] = <h_j, x>              h_j = +1 or -1          A A^T = n I
    0/1 patterns      b[j] = <(h_j + 1) / 2, x> = (y[j] + sum x) / 2

A micromirror device shows 0/1 patterns only. Signed measurements come from each pattern and its complement,
y = b - b', or from the patterns and the sum of the image, y = 2 b - sum x: see :func:`signed_measurements`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from annotated_types import Gt, MinLen

from recon.arrays import Array, ArraySpec, namespace, real_like
from recon.errors import ParameterError, ShapeError
from recon.operator import Operator
from recon.params import Doc, check
from recon_operators._tight import TightRows
from recon_operators.sensing.fwht import fwht
from recon_operators.sensing.orders import Order, hadamard_order
from recon_operators.sensing.partial import PartialHadamard

__all__ = ["SinglePixel", "SinglePixelBinary", "signed_measurements"]


def signed_measurements(
    bright: Array, dark: Array | None = None, *, total: Array | float | None = None
) -> Array:
    """What signed patterns would have measured, from measurements with 0/1 patterns.

    Parameters
    ----------
    bright
        Sums through the patterns (h + 1) / 2, (..., m).
    dark
        Sums through their complements (1 - h) / 2: the differential measurement, which also cancels light that
        does not change. Its noise is sqrt(2) times that of one sum.
    total
        Instead of `dark`, the sum of the image: a number or (..., 1). Where the first pattern is all ones
        (sequency order), that is ``bright[..., :1]``.

    Returns
    -------
    Array
        bright - dark, or 2 bright - total.

    Raises
    ------
    ParameterError, ShapeError
        When not exactly one of `dark` and `total` is given, or `dark` has another shape than `bright`.

    Examples
    --------
    >>> y = signed_measurements(bright, total=bright[..., :1])
    """
    if (dark is None) == (total is None):
        got = "neither" if dark is None else "both"
        raise ParameterError(f"signed_measurements must get dark or total, got {got}. Give one of them.")
    if total is not None:
        return 2 * bright - total
    if dark.shape != bright.shape:  # type: ignore[union-attr]
        raise ShapeError(
            f"signed_measurements.dark must have the shape of bright, {tuple(bright.shape)}, got "
            f"{tuple(dark.shape)}. Give one dark sum per pattern."  # type: ignore[union-attr]
        )
    return bright - dark


@dataclass(frozen=True, eq=False, repr=False)
class _Patterns(Operator):
    """The first patterns of an order, and the transform that measures with them."""

    image_shape: Annotated[
        tuple[Annotated[int, Gt(0)], ...], MinLen(1), Doc("axes of the image, powers of two")
    ]
    count: Annotated[int, Gt(0), Doc("number of patterns")]
    order: Annotated[Order, Doc("which patterns come first")] = "sequency"

    def __post_init__(self) -> None:
        check(self)
        owner = type(self).__name__
        if any(n & (n - 1) for n in self.image_shape):
            raise ParameterError(
                f"{owner}.image_shape must be powers of two, got {self.image_shape}. Pad the image with zeros."
            )
        if self.count > self._pixels:
            raise ParameterError(
                f"{owner}.count must be at most {self._pixels}, got {self.count}. There is one pattern per pixel."
            )
        for name, value in (("domain", ArraySpec(self.image_shape)), ("codomain", ArraySpec((self.count,)))):
            object.__setattr__(self, name, value)

    def patterns(self) -> np.ndarray[Any, Any]:
        """The signed patterns h_j, (count, *image_shape), as int8: for the device, or to look at."""
        signs = np.empty((self.count, self._pixels), np.int8)
        for row, place in zip(signs, self._places(), strict=True):
            unit = np.zeros(self._pixels, np.float32)
            unit[place] = 1.0
            row[:] = fwht(unit)
        return signs.reshape(self.count, *self.image_shape)

    @property
    def _pixels(self) -> int:
        return math.prod(self.image_shape)

    def _places(self) -> np.ndarray[Any, Any]:
        return np.asarray(hadamard_order(self.image_shape, self.order)[: self.count])

    @property
    def _signed(self) -> PartialHadamard:
        """The same patterns divided by sqrt(n)."""
        return self._once("signed", lambda: PartialHadamard(self.image_shape, self._places()))  # type: ignore[no-any-return]


@dataclass(frozen=True, eq=False, repr=False)
class SinglePixel(TightRows, _Patterns):
    """Sums of an image through Walsh-Hadamard patterns of +1 and -1.

    Parameters
    ----------
    image_shape
        Axes of the image, each a power of two.
    count
        Number of patterns m: the first ones of the order.
    order
        Which patterns come first; see :func:`hadamard_order`. "cake-cutting" and "total-variation" take coarse
        patterns first in both directions.

    Raises
    ------
    ParameterError
        When an argument breaks its rule.

    Notes
    -----
    Formula: y[j] = sum_i h_j[i] x[i], h_j the j-th pattern, +1 or -1; A A^T = n I
    Shapes: image_shape -> (count,)
    Units: image unit times pixels: a sum, not a mean
    Cost: one Walsh-Hadamard transform; at 25 % about 1.3 ns per pixel for 512 x 512 float32 on one core, with numba
    Source: M. F. Duarte et al., IEEE Signal Process. Mag. 25 (2008) 83, doi:10.1109/MSP.2007.914730

    Examples
    --------
    >>> A = SinglePixel((128, 128), 4096, "cake-cutting")
    >>> y = signed_measurements(bright, dark)
    >>> image = A.pinv(y)
    """

    @property
    def gain(self) -> float:
        """n: the patterns are orthogonal, of norm sqrt(n)."""
        return float(self._pixels)

    def _forward(self, x: Array) -> Array:
        return self._signed._forward(x) * math.sqrt(self.gain)

    def _adjoint(self, y: Array) -> Array:
        return self._signed._adjoint(y * math.sqrt(self.gain))

    @classmethod
    def example(cls) -> SinglePixel:
        """A small instance: 10 patterns of 4 x 8 pixels."""
        return cls((4, 8), 10)


@dataclass(frozen=True, eq=False, repr=False)
class SinglePixelBinary(_Patterns):
    """Sums of an image through Walsh-Hadamard patterns of 1 and 0, as a micromirror device shows them.

    Parameters
    ----------
    image_shape
        Axes of the image, each a power of two.
    count
        Number of patterns m: the first ones of the order.
    order
        Which patterns come first; see :func:`hadamard_order`.

    Raises
    ------
    ParameterError
        When an argument breaks its rule.

    Notes
    -----
    Formula: b[j] = sum_i (h_j[i] + 1) / 2 x[i], h_j the j-th pattern, +1 or -1
    Shapes: image_shape -> (count,)
    Units: image unit times pixels: a sum, not a mean
    Cost: one Walsh-Hadamard transform; at 25 % about 1.3 ns per pixel for 512 x 512 float32 on one core, with numba
    Source: M. F. Duarte et al., IEEE Signal Process. Mag. 25 (2008) 83, doi:10.1109/MSP.2007.914730

    Examples
    --------
    >>> A = SinglePixelBinary((128, 128), 4096, "cake-cutting")
    >>> bright = A @ image
    """

    def _forward(self, x: Array) -> Array:
        y = self._signed._forward(x) * math.sqrt(self._pixels)
        return (y + self._sum(x)) / 2

    def _adjoint(self, y: Array) -> Array:
        xp, axes = namespace(y), (1,) * len(self.image_shape)
        constant = xp.reshape(xp.sum(y, axis=-1, keepdims=True), (*y.shape[:-1], *axes))
        return (self._signed._adjoint(y * math.sqrt(self._pixels)) + constant) / 2

    def _sum(self, x: Array) -> Array:
        flat = namespace(x).reshape(x, (*x.shape[: x.ndim - len(self.image_shape)], self._pixels))
        return namespace(x).sum(flat, axis=-1, keepdims=True)

    def norm_bound(self) -> float:
        """sqrt(n (m + 1)) / 2, the norm where the pattern of ones is absent, else sqrt(n (m + 4)) / 2, above it.

        A A^T = n / 4 (I + u u^T - e e^T), u = 1 + e, where e marks the pattern of ones, if there is one.
        """
        ones = bool((self._places() == 0).any())
        return math.sqrt(self._pixels * (self.count + (4 if ones else 1))) / 2

    def absolute_sums(self, like: Array) -> tuple[Array, Array]:
        """n / 2 in a row, n for the pattern of ones; A^T 1 in the columns, as no entry is negative."""
        rows = np.where(self._places() == 0, self._pixels, self._pixels / 2)
        return real_like(rows, like), self._adjoint(real_like(np.ones(self.count), like))

    @classmethod
    def example(cls) -> SinglePixelBinary:
        """A small instance: 10 patterns of 4 x 8 pixels."""
        return cls((4, 8), 10)
