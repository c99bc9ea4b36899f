"""The undecimated wavelet transform, normalised to a Parseval frame: W^H W = identity for images of any size.

    low[k], high[k] = sum_t h[t] x[k + 2^j t] / sqrt 2, sum_t g[t] x[k + 2^j t] / sqrt 2    per axis and level j

Parseval because |H(w)|^2 + |G(w)|^2 = 2 at every frequency w of an orthonormal pair, and filters with holes
only stretch w: no length has to be a multiple of anything. Where PyWavelets' swtn is defined (lengths that
are multiples of 2^levels), swtn(trim_approx=True, norm=True) gives the same numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge, Gt, Le, Len

from recon.arrays import Array, ArraySpec, Kind, check_array, namespace, real_like
from recon.errors import ParameterError
from recon.operator import Operator, Plan
from recon.params import Doc, check
from recon_wavelets._bank import gather, spread
from recon_wavelets._engines import stacked, unstacked
from recon_wavelets._filters import filters
from recon_wavelets._layout import Band, numbers

__all__ = ["UndecimatedWavelet"]


class _Rolled:
    """The plain version, on any library."""

    def __init__(self, taps: np.ndarray[Any, Any], levels: int, axes: int) -> None:
        self.taps, self.levels, self.axes = taps, levels, axes

    def apply(self, x: Array) -> Array:
        xp, found = namespace(x), []
        for level in range(self.levels):
            parts = [x]
            for axis in range(-self.axes, 0):
                parts = [half for part in parts for half in self._spread(part, axis, 2**level)]
            x = parts[0]
            found.append(parts[1:])
        return xp.stack([x, *(part for parts in reversed(found) for part in parts)], axis=-1 - self.axes)

    def adjoint(self, c: Array) -> Array:
        planes = namespace(c).unstack(c, axis=-1 - self.axes)
        x, details = planes[0], 2**self.axes - 1
        for level in range(self.levels - 1, -1, -1):
            place = 1 + (self.levels - 1 - level) * details
            parts = [x, *planes[place : place + details]]
            for axis in range(-1, -1 - self.axes, -1):
                parts = [
                    self._gather(low, high, axis, 2**level)
                    for low, high in zip(parts[::2], parts[1::2], strict=True)
                ]
            (x,) = parts
        return x

    def _spread(self, x: Array, axis: int, hole: int) -> list[Array]:
        xp = namespace(x)
        return [xp.moveaxis(part, -1, axis) for part in spread(xp.moveaxis(x, axis, -1), self.taps, hole)]

    def _gather(self, low: Array, high: Array, axis: int, hole: int) -> Array:
        xp = namespace(low)
        low, high = xp.moveaxis(low, axis, -1), xp.moveaxis(high, axis, -1)
        return xp.moveaxis(gather(low, high, self.taps, hole), -1, axis)


class _Compiled:
    """The same numbers from compiled kernels, for NumPy."""

    def __init__(self, taps: np.ndarray[Any, Any], levels: int, shape: tuple[int, ...], dtype: Any) -> None:
        from recon_wavelets._undecimated_numba import NumbaStack

        self.shape = shape
        self.sizes = (1,) * (3 - len(shape)) + shape
        self.stack = NumbaStack(taps, np.finfo(dtype).dtype, levels, len(shape))
        self.bands = 1 + levels * self.stack.details

    def apply(self, x: Array) -> Array:
        batch = x.shape[: x.ndim - len(self.shape)]
        values = self.stack.analysis(stacked(x, self.sizes))
        return unstacked(values, x, (*batch, self.bands, *self.shape))

    def adjoint(self, c: Array) -> Array:
        batch = c.shape[: c.ndim - len(self.shape) - 1]
        values = self.stack.synthesis(stacked(c, (self.bands, *self.sizes)))
        return unstacked(values, c, (*batch, *self.shape))


@dataclass(frozen=True, eq=False, repr=False)
class UndecimatedWavelet(Operator):
    """Wavelet coefficients without decimation: a stack of images, one per band, that shifts with the image.

    W^H W = identity (Parseval): the adjoint reconstructs, but W W^H is a projection, so thresholding is not the
    exact prox of ||W x||_1. Better denoising than `Wavelet`, at 1 + levels (2^axes - 1) times the memory.

    Parameters
    ----------
    image_shape
        The sample's axes, 1 to 3, of any length.
    wavelet
        Name of an orthogonal wavelet of PyWavelets: ``haar``, ``db2`` ..., ``sym2`` ..., ``coif1`` ....
    levels
        Number of levels; filters have 2^(level - 1) - 1 holes between taps.
    kind
        ``"real"`` or ``"complex"``; the filters are real.

    Raises
    ------
    ParameterError
        When an argument breaks its rule.

    Notes
    -----
    Formula: low[k] = sum_t h[t] x[k + 2^j t] / sqrt 2 along each axis, high with g, periodic; repeated on low
    Shapes: image_shape -> (1 + levels (2^axes - 1), *image_shape): approximation, then details coarse to fine
    Units: those of the image; see ``noise_levels`` for the noise of each band
    Cost: 12 F flops per pixel and level in 2-D for F taps, about 5 ns for db4; memory one image per band
    Source: G. P. Nason and B. W. Silverman, Lecture Notes in Statistics 103 (1995) 281,
    doi:10.1007/978-1-4612-2544-7_17; M. J. Shensa, IEEE Trans. Signal Process. 40 (1992) 2464, doi:10.1109/78.157290
    """

    image_shape: Annotated[
        tuple[Annotated[int, Gt(0)], ...], Len(1, 3), Doc("axes of the image, of any length")
    ]
    wavelet: Annotated[str, Doc("orthogonal wavelet by its name in PyWavelets")] = "db2"
    levels: Annotated[int, Ge(1), Le(30), Doc("number of levels")] = 3
    kind: Annotated[Kind, Doc("real or complex images")] = "real"

    def __post_init__(self) -> None:
        check(self)
        if not filters(self.wavelet, "UndecimatedWavelet").orthonormal:
            raise ParameterError(
                f"UndecimatedWavelet.wavelet must be orthogonal, got {self.wavelet!r}. Take a symlet, for example "
                "'sym4', or the decimated Wavelet."
            )

    @property
    def domain(self) -> ArraySpec:  # type: ignore[override]
        """The image."""
        return ArraySpec(self.image_shape, self.kind)

    @property
    def codomain(self) -> ArraySpec:  # type: ignore[override]
        """The stack of bands."""
        return ArraySpec((len(self._names), *self.image_shape), self.kind)

    @property
    def _names(self) -> list[Band]:
        letters = ["".join(name) for name in product("ad", repeat=len(self.image_shape))]
        return [
            (self.levels, letters[0]),
            *((level, name) for level in range(self.levels, 0, -1) for name in letters[1:]),
        ]

    def plan(self, xp: Any, device: Any, dtype: Any) -> Plan:
        """Compiled kernels for NumPy where numba is installed, else rolls."""
        taps = filters(self.wavelet, "UndecimatedWavelet").analysis / np.sqrt(2.0)
        if xp.__name__.endswith("numpy"):
            try:
                return _Compiled(taps, self.levels, self.image_shape, dtype)
            except ImportError:
                pass
        return _Rolled(taps, self.levels, len(self.image_shape))

    def bands(self, c: Array) -> dict[Band, Array]:
        """Views of the bands by (level, letters): level 1 is the finest, one letter per axis, a or d."""
        check_array(c, self.codomain, "UndecimatedWavelet.bands input")
        rest = (slice(None),) * len(self.image_shape)
        return {name: c[(..., number, *rest)] for number, name in enumerate(self._names)}

    def spread(self, values: Mapping[Band, float], like: Array | None = None) -> Array:
        """One number per band, as an array that broadcasts over the coefficients.

        `like` gives library, device and precision; by default NumPy and float64.
        """
        found = np.array(numbers(values, self._names, "UndecimatedWavelet"))
        result = found.reshape(-1, *(1 for _ in self.image_shape))
        return result if like is None else real_like(result, like)

    def norm_bound(self) -> float:
        """Exactly 1."""
        return 1.0

    def column_scale(self) -> float:
        """W^H W = I: 1."""
        return 1.0

    def normal(self, x: Array) -> Array:
        """The identity."""
        return x

    def pinv(self, y: Array) -> Array:
        """The adjoint."""
        check_array(y, self.codomain, "UndecimatedWavelet.pinv input")
        return self._adjoint(y)

    def data_prox(self, v: Array, data: Array, rho: float) -> Array:
        """argmin 1/2 ||W x - data||^2 + rho/2 ||x - v||^2 = (W^H data + rho v) / (1 + rho)."""
        return (self._adjoint(data) + rho * v) / (1 + rho)

    @classmethod
    def example(cls) -> UndecimatedWavelet:
        """A small instance: 5 x 6 pixels, two levels."""
        return cls((5, 6), "db2", 2)

    def __str__(self) -> str:
        return f"UndecimatedWavelet({self.wavelet}, {self.levels} levels)"
