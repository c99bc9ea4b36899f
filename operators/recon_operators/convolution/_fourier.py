"""Convolution through the Fourier transform: y = S F^-1 diag(hhat) F E x, and its exact transpose.

    periodic           E = S = 1: the grid of the transform is the image
    zero               E pads with zeros at the end, S crops: the zeros serve both ends of a circular grid
    reflect, symmetric E writes the border, S crops
    valid              E = 1, S crops

``Layout`` holds the sizes, ``FourierPlan`` does the work for one library, device and precision.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from recon.arrays import Array
from recon.constants import follow
from recon.fft import fast_length, fftn, ifftn, irfftn, rfftn
from recon_operators.convolution import _spectrum
from recon_operators.convolution._borders import Border, Boundary, crop
from recon_operators.convolution._kernel import Floats

__all__ = ["FourierPlan", "Grid", "Layout", "layout"]


@dataclass(frozen=True)
class Layout:
    """Where things lie: the image and data, the grid of the transform, the border, the index that becomes 0."""

    image: tuple[int, ...]
    data: tuple[int, ...]
    lengths: tuple[int, ...]
    border: Border | None
    origin: Floats


def layout(image: tuple[int, ...], kernel: tuple[int, ...], center: Any, boundary: Boundary) -> Layout:
    """The layout of a convolution; `kernel` is the shape of one kernel, `center` may be a stack of indices."""
    centers = np.asarray(center)
    widest = centers.reshape(-1, len(image))
    before = tuple(k - 1 - int(c) for k, c in zip(kernel, widest.min(axis=0), strict=True))
    after = tuple(int(c) for c in widest.max(axis=0))
    if boundary == "periodic":
        return Layout(image, image, image, None, centers)
    if boundary == "valid":
        data = tuple(n - k + 1 for n, k in zip(image, kernel, strict=True))
        lengths = tuple(fast_length(n, real=True) for n in image)
        return Layout(image, data, lengths, None, np.broadcast_to(np.array(kernel) - 1, centers.shape))
    lengths = tuple(fast_length(n + b + a, real=True) for n, b, a in zip(image, before, after, strict=True))
    if boundary == "zero":
        return Layout(image, image, lengths, None, centers)
    return Layout(image, image, lengths, Border(image, before, after, boundary, lengths), centers + before)


class Grid:
    """Transforms of the last axes on a fixed grid: half spectra for real data, full ones for complex data."""

    def __init__(self, lengths: Sequence[int], half: bool) -> None:
        self.lengths, self.half = tuple(lengths), half
        self.axes = tuple(range(-len(self.lengths), 0))

    def forward(self, x: Array) -> Any:
        """F x, padded with zeros to the grid."""
        return (rfftn if self.half else fftn)(x, self.axes, shape=self.lengths)

    def inverse(self, spectrum: Any) -> Array:
        """F^-1 of a spectrum, which may be overwritten."""
        if isinstance(spectrum, np.ndarray):
            return self._inverse_in_place(spectrum)
        if self.half:
            return irfftn(spectrum, self.lengths, self.axes)
        return ifftn(spectrum, self.axes)

    def _inverse_in_place(self, spectrum: Any) -> Array:
        """The same through scipy.fft, 10 to 25 % faster: its irfftn would not work in place."""
        import scipy.fft

        if not self.half:
            return scipy.fft.ifftn(spectrum, axes=self.axes, overwrite_x=True)
        if len(self.axes) > 1:
            spectrum = scipy.fft.ifftn(spectrum, axes=self.axes[:-1], overwrite_x=True)
        return scipy.fft.irfft(spectrum, n=self.lengths[-1], overwrite_x=True)


class FourierPlan:
    """The two products, and for periodic boundaries what has a closed form.

    Parameters
    ----------
    parts
        Sizes and border.
    transfer
        hhat on the grid, double precision, NumPy.
    half
        Whether it is the half spectrum of real data.
    xp, device, dtype
        As for ``Operator.plan``.
    """

    def __init__(self, parts: Layout, transfer: Floats, half: bool, xp: Any, device: Any, dtype: Any) -> None:
        self.grid = Grid(parts.lengths, half)
        self.border = parts.border
        self.image = tuple(slice(0, n) for n in parts.image)
        self.data = tuple(slice(0, n) for n in parts.data)
        self.exact, self._to = transfer, (xp, device, dtype)
        self.transfer = follow(transfer, *self._to)
        self.conjugate = follow(transfer.conj(), *self._to)

    @property
    def spectral(self) -> FourierPlan:
        """The plan that has the closed forms: itself."""
        return self

    def apply(self, x: Array) -> Array:
        return crop(self._filter(self.border.extend(x) if self.border else x, self.transfer), self.data)

    def adjoint(self, y: Array) -> Array:
        x = self._filter(y, self.conjugate)
        return self.border.fold(x) if self.border else crop(x, self.image)

    def _filter(self, x: Array, factor: Any) -> Array:
        return self.grid.inverse(_spectrum.multiply(self.grid.forward(x), factor))

    # -- periodic boundaries only: diag(hhat) is all there is --------------------------------------------

    @cached_property
    def power(self) -> Any:
        """|hhat|^2."""
        return follow(_spectrum.power(self.exact), *self._to)

    def normal(self, x: Array) -> Array:
        return self._filter(x, self.power)

    def data_prox(self, v: Array, data: Array, rho: float) -> Array:
        spectra = self.grid.forward(v), self.grid.forward(data)
        return self.grid.inverse(_spectrum.proximal(*spectra, self.conjugate, self.power, rho))

    def pinv(self, y: Array) -> Array:
        """1 / hhat, and 0 where hhat is rounding."""
        return self.wiener(y, np.zeros(()))

    def wiener(self, y: Array, penalty: Floats) -> Array:
        """F^-1 diag(conj(hhat) / (|hhat|^2 + penalty)) F y, and 0 where that sum is rounding in the data's precision.

        `penalty` may differ from image to image. The filter is made in double precision: |hhat|^2 may leave the range
        of single precision where hhat does not.
        """
        xp, _, dtype = self._to
        square = _spectrum.power(self.exact)
        rounding = (16 * float(xp.finfo(dtype).eps)) ** 2 * square.max(axis=self.grid.axes, keepdims=True)
        total = square + penalty
        inverse = np.divide(1.0, total, out=np.zeros_like(total), where=total > rounding)
        return self._filter(y, follow(self.exact.conj() * inverse, *self._to))
