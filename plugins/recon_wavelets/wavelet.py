"""The decimated wavelet transform: as many coefficients as pixels, orthonormal for orthogonal wavelets.

    low[k], high[k] = sum_t h[t] x[2 k + t], sum_t g[t] x[2 k + t]     per axis, periodic; again on the low band

PyWavelets calls it wavedecn with mode "periodization"; the coefficients are the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge, Gt, Len

from recon.algebra import Identity
from recon.arrays import Array, ArraySpec, Kind, check_array, real_like
from recon.operator import Operator
from recon.params import Doc, check
from recon.svd import Svd
from recon_wavelets._engines import CompiledBank, RolledBank
from recon_wavelets._filters import Filters, filters
from recon_wavelets._layout import Band, Step, bands, default_levels, numbers, steps

__all__ = ["Wavelet"]


class _Plan:
    """Analysis, its transpose and its inverse with one engine; for orthogonal wavelets the last two are one."""

    def __init__(self, engine: Callable[[Any], Any], found: Filters) -> None:
        forward = engine(found.analysis)
        self.apply, self.adjoint = forward.analysis, forward.synthesis
        self.inverse = self.adjoint if found.orthonormal else engine(found.synthesis).synthesis


@dataclass(frozen=True, eq=False, repr=False)
class Wavelet(Operator):
    """Wavelet coefficients of an image (or signal, or volume), in one array of the image's shape.

    For an orthogonal wavelet W^H W = W W^H = identity: thresholding the coefficients is then the exact prox of
    ||W x||_1. For a biorthogonal one the adjoint ``W.H`` and the ``inverse`` differ.

    Parameters
    ----------
    image_shape
        The sample's axes, 1 to 3, all transformed. An axis is halved while its length is even, so give lengths
        with many factors of 2; odd axes are left alone, and one axis at least must be even.
    wavelet
        Name of a discrete wavelet of PyWavelets: ``haar``, ``db2`` ... ``db38``, ``sym2`` ..., ``coif1`` ...,
        ``bior1.1`` ..., ``rbio1.1`` .... Not ``dmey``, which is no exact wavelet.
    levels
        How often to halve. By default as long as the filter fits into the shortest axis.
    kind
        ``"real"`` or ``"complex"``; the filters are real.

    Raises
    ------
    ParameterError
        When an argument breaks its rule.

    Notes
    -----
    Formula: low[k] = sum_t h[t] x[2k+t], high[k] = sum_t g[t] x[2k+t] along each axis, periodic; repeated on low
    Shapes: image_shape -> image_shape, bands in Mallat's layout (see ``bands``)
    Units: those of the image (orthonormal: white noise keeps its standard deviation in every coefficient)
    Cost: 2 F d flops per pixel for F taps and d axes, times 4/3 in 2-D; about 3 ns per pixel for db4
    Source: S. Mallat, IEEE Trans. PAMI 11 (1989) 674, doi:10.1109/34.192463; I. Daubechies, Comm. Pure Appl. Math.
    41 (1988) 909, doi:10.1002/cpa.3160410705; filters of PyWavelets, G. R. Lee et al., JOSS 4 (2019) 1237,
    doi:10.21105/joss.01237

    Examples
    --------
    >>> W = Wavelet((256, 256), "sym4", levels=4)
    >>> c = W @ image
    >>> c_threshold = recon.L1().prox(c, 0.1)
    >>> denoised = W.H @ c_threshold
    """

    image_shape: Annotated[
        tuple[Annotated[int, Gt(0)], ...], Len(1, 3), Doc("axes of the image; halved while even")
    ]
    wavelet: Annotated[str, Doc("discrete wavelet by its name in PyWavelets")] = "db4"
    levels: Annotated[int | None, Ge(1), Doc("how often to halve; by default while the filter fits")] = None
    kind: Annotated[Kind, Doc("real or complex images")] = "real"

    def __post_init__(self) -> None:
        check(self)
        length = self._filters.length  # refuses unknown names
        steps(self.image_shape, self.levels or 1)  # refuses odd shapes, and more levels than halvings
        if self.levels is None:
            object.__setattr__(self, "levels", default_levels(self.image_shape, length))

    @property
    def domain(self) -> ArraySpec:  # type: ignore[override]
        """The image."""
        return ArraySpec(self.image_shape, self.kind)

    @property
    def codomain(self) -> ArraySpec:  # type: ignore[override]
        """The coefficients, in the same shape."""
        return self.domain

    @property
    def orthonormal(self) -> bool:
        """Whether the adjoint is the inverse."""
        return self._filters.orthonormal

    @property
    def _filters(self) -> Filters:
        return filters(self.wavelet, "Wavelet")

    @property
    def _steps(self) -> tuple[Step, ...]:
        assert self.levels is not None  # the constructor has put a number
        return steps(self.image_shape, self.levels)

    def plan(self, xp: Any, device: Any, dtype: Any) -> _Plan:
        """Compiled kernels for NumPy where numba is installed, else rolls."""
        if xp.__name__.endswith("numpy"):
            try:
                return _Plan(lambda taps: CompiledBank(taps, self._steps, dtype), self._filters)
            except ImportError:
                pass
        return _Plan(lambda taps: RolledBank(taps, self._steps), self._filters)

    def inverse(self, c: Array) -> Array:
        """The image with given coefficients: W^-1 c, for orthogonal wavelets the same as ``W.H @ c``.

        The tables of bior4.4, 5.5 and 6.8 (and rbio) invert themselves to about 1e-12 per level.
        """
        check_array(c, self.codomain, "Wavelet.inverse input")
        plan = self._planned(c)
        assert isinstance(plan, _Plan)
        return plan.inverse(c)

    def pinv(self, y: Array) -> Array:
        """The inverse."""
        return self.inverse(y)

    def bands(self, c: Array) -> dict[Band, Array]:
        """Views of the sub-bands by (level, letters): level 1 is the finest, one letter per axis, a or d.

        ``(4, "aa")`` is the approximation after 4 levels, ``(1, "dd")`` the finest diagonal details. The order is
        from coarse to fine. Writing to a view changes c.
        """
        check_array(c, self.codomain, "Wavelet.bands input")
        return {band: c[(..., *place)] for band, place in bands(self._steps).items()}

    def spread(self, values: Mapping[Band, float], like: Array | None = None) -> Array:
        """One number per band, as an array over all coefficients: for thresholds per band.

        `like` gives library, device and precision; by default NumPy and float64.
        """
        places = bands(self._steps)
        result = np.empty(self.image_shape)
        for place, value in zip(places.values(), numbers(values, places, "Wavelet"), strict=True):
            result[place] = value
        return result if like is None else real_like(result, like)

    # Only an orthonormal transform has these: the properties raise AttributeError otherwise, so that
    # `hasattr` and `capability` tell the truth.
    @property
    def norm_bound(self) -> Callable[[], float]:
        """Exactly 1."""
        self._require_orthonormal("norm_bound")
        return lambda: 1.0

    @property
    def row_scale(self) -> Callable[[], float]:
        """1: W W^H = I."""
        self._require_orthonormal("row_scale")
        return lambda: 1.0

    @property
    def normal(self) -> Callable[[Array], Array]:
        """The identity."""
        self._require_orthonormal("normal")
        return lambda x: x

    @property
    def data_prox(self) -> Callable[[Array, Array, float], Array]:
        """argmin 1/2 ||W x - data||^2 + rho/2 ||x - v||^2 = (W^H data + rho v) / (1 + rho)."""
        self._require_orthonormal("data_prox")
        return lambda v, data, rho: (self._adjoint(data) + rho * v) / (1 + rho)

    @property
    def svd(self) -> Callable[[], Svd]:
        """U = identity, s = 1, V = W^H."""
        self._require_orthonormal("svd")
        return lambda: Svd(Identity(self.codomain), np.ones(1), self.H)

    def _require_orthonormal(self, name: str) -> None:
        if not self.orthonormal:
            raise AttributeError(name)

    @classmethod
    def example(cls) -> Wavelet:
        """A small instance: 8 x 12 pixels, two levels."""
        return cls((8, 12), "db2", 2)

    def __str__(self) -> str:
        return f"Wavelet({self.wavelet}, {self.levels} levels)"
