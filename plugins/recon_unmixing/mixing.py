"""The linear mixing model: every pixel's spectrum is a sum of endmember spectra.

y[l] = sum_k a[k] E[k, l]          Y = A E for pixels as rows
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from recon import Matrix, Operator
from recon.arrays import Array, ArraySpec
from recon.constants import constant
from recon.errors import ArrayError, ShapeError

__all__ = ["Mixing"]


@dataclass(frozen=True, eq=False)
class Mixing(Operator):
    """Abundances to spectra: a -> a E; adjoint y -> y E^T.

    A cube (H, W, bands) is data with (H, W) as batch axes; abundances are (H, W, p). Where a prior couples pixels
    (rows of a library, smooth maps) name them as ``pixels``: then they are axes of one sample.

    Parameters
    ----------
    endmembers
        (p, L) real: one spectrum of L bands per row.
    pixels
        Axes of the pixels that belong to a sample; none by default.

    Notes
    -----
    Formula: y[..., l] = sum_k a[..., k] E[k, l]
    Shapes: (*pixels, p) -> (*pixels, L)
    Units: those of the spectra (abundances have none)
    Cost: 2 p L flops per pixel each way; memory: E
    Source: J. M. Bioucas-Dias et al., IEEE J. Sel. Top. Appl. Earth Obs. Remote Sens. 5 (2012) 354,
    doi:10.1109/JSTARS.2012.2194696, equation 1
    """

    endmembers: np.ndarray[Any, Any]
    pixels: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        E = constant(self.endmembers, "Mixing.endmembers")
        if E.ndim != 2 or 0 in E.shape:
            raise ShapeError(
                f"Mixing.endmembers must have shape (p, bands), got {E.shape}. Give one spectrum per row."
            )
        if E.dtype.kind == "c":
            raise ArrayError("Mixing.endmembers must be real, got complex numbers.")
        pixels = ArraySpec(self.pixels).shape
        for name, value in (
            ("endmembers", E),
            ("pixels", pixels),
            ("domain", ArraySpec((*pixels, E.shape[0]))),
            ("codomain", ArraySpec((*pixels, E.shape[1]))),
            ("_matrix", Matrix(E.T)),
        ):
            object.__setattr__(self, name, value)

    def _forward(self, x: Array) -> Array:
        return self._matrix._forward(x)

    def _adjoint(self, y: Array) -> Array:
        return self._matrix._adjoint(y)

    def norm_bound(self) -> float:
        """The largest singular value of E, with a margin for rounding."""
        return float(self._matrix.svd().s[0]) * (1.0 + 1e-12)

    def absolute_sums(self, like: Array) -> tuple[Array, Array]:
        """Sums of |E| over endmembers and over bands."""
        return self._matrix.absolute_sums(like)  # they broadcast over the pixels

    @property
    def normal(self) -> Callable[[Array], Array]:
        """a -> a E E^T, where the p x p matrix pays."""
        return self._matrix.normal

    @property
    def data_prox(self) -> Callable[[Array, Array, float], Array]:
        """argmin 1/2 ||a E - data||^2 + rho/2 ||a - v||^2 of every pixel, in closed form."""
        return self._matrix.data_prox

    def pinv(self, y: Array) -> Array:
        """Unconstrained least squares, of least norm."""
        return self._matrix.pinv(y)

    @classmethod
    def example(cls) -> Mixing:
        """A small instance: 3 endmembers in 8 bands."""
        return cls(np.random.default_rng(0).uniform(0.1, 0.9, (3, 8)))
