"""Coarse images in several bands and a fine one in a broad band that covers them all.

y_b = D (h_b * x_b)          b = 1, ..., B: each band blurred and summed over blocks of s pixels
y_E = h_E * sum_b a_b x_b    the bands added with their fractions of the flux, blurred by another kernel
"""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass
from typing import Annotated, Any

import numpy as np
from annotated_types import Gt

from recon.arrays import Array, ArraySpec, device_of, namespace
from recon.constants import constant
from recon.errors import ParameterError, ShapeError
from recon.operator import Operator
from recon.params import Doc, check
from recon_operators.convolution._aliases import Aliases
from recon_operators.convolution._kernel import Center, transfer_function
from recon_operators.convolution.convolution import Convolution
from recon_operators.convolution.downsample import BlurDownsample

__all__ = ["Multiband"]


@dataclass(frozen=True, eq=False, repr=False)
class Multiband(Operator):
    """Ground-based bands and a space-based broad band of one scene (Rubin and Euclid), periodic.

    The data are a tuple: the coarse bands, and the broad band. Noise levels do not belong here: give them to the loss,
    ``WeightedLeastSquares((1 / sigma_bands[:, None, None] ** 2, 1 / sigma_broad**2))``, which broadcasts.

    Parameters
    ----------
    psfs
        h_b: (B, K, K), one kernel per band.
    broad_psf
        h_E: (K', K').
    fractions
        a_b: (B,), the share of each band in the broad band (they sum to 1 for a flux-preserving chain).
    image_shape
        (H, W) of the fine grid, multiples of `factor`.
    factor
        s: a coarse pixel is the sum of s x s fine ones, so that flux is kept.
    center, broad_center
        Centres of `psfs` and `broad_psf` as in :class:`Convolution`; each band has its own. Measured kernels rarely
        have their peak at the same index: the default finds it.

    Raises
    ------
    ShapeError, ParameterError
        When the parts do not fit each other.

    Notes
    -----
    Formula: y_b = D (h_b * x_b), y_E = h_E * sum_b a_b x_b, D sums blocks of s x s
    Shapes: (B, H, W) -> ((B, H / s, W / s), (H, W))
    Units: y in units of x (flux per pixel of each grid)
    Cost: B blurs with downsampling and one blur of a fine image; `data_prox` twice that and B transforms each way
    Source: U. Akhaury et al., Joint multiband deconvolution for Euclid and Vera C. Rubin images, Astron. Astrophys.
        697 (2025) A136, doi:10.1051/0004-6361/202452308

    Examples
    --------
    >>> A = Multiband(rubin_psfs, euclid_psf, fractions, (64, 64), 2)
    >>> rubin, euclid = A @ bands
    """

    psfs: Annotated[np.ndarray[Any, Any], Doc("kernels of the bands, (B, K, K)")]
    broad_psf: Annotated[np.ndarray[Any, Any], Doc("kernel of the broad band, (K', K')")]
    fractions: Annotated[np.ndarray[Any, Any], Doc("share of each band in the broad band, (B,)")]
    image_shape: Annotated[tuple[Annotated[int, Gt(0)], Annotated[int, Gt(0)]], Doc("fine grid")]
    factor: Annotated[int, Gt(0), Doc("side of the blocks that make a coarse pixel")] = 2
    _: KW_ONLY
    center: Annotated[Center, Doc("centre of psfs")] = "peak"
    broad_center: Annotated[Center, Doc("centre of broad_psf")] = "peak"

    def __post_init__(self) -> None:
        for name in ("psfs", "broad_psf", "fractions"):
            object.__setattr__(self, name, constant(getattr(self, name), f"Multiband.{name}"))
        check(self)
        shapes = self.psfs.shape, self.broad_psf.shape, self.fractions.shape
        if [len(s) for s in shapes] != [3, 2, 1] or shapes[0][0] != shapes[2][0]:
            raise ShapeError(
                "Multiband.psfs, broad_psf and fractions must have shapes (B, K, K), (K', K') and (B,), "
                f"got {shapes[0]}, {shapes[1]} and {shapes[2]}."
            )
        if "c" in {part.dtype.kind for part in (self.psfs, self.broad_psf, self.fractions)}:
            raise ParameterError("Multiband.psfs, broad_psf and fractions must be real, got complex numbers.")
        bands, broad = self._parts
        for name, value in (("center", bands.center), ("broad_center", broad.center)):
            object.__setattr__(self, name, value)

    @property
    def _parts(self) -> tuple[BlurDownsample, Convolution]:
        """The chain of the bands, and the blur of the broad band."""
        return self._once("parts", self._make_parts)  # type: ignore[no-any-return]

    def _make_parts(self) -> tuple[BlurDownsample, Convolution]:
        bands = BlurDownsample(self.psfs, self.image_shape, self.factor, how="sum", center=self.center)
        return bands, Convolution(self.broad_psf, self.image_shape, center=self.broad_center)

    @property
    def domain(self) -> ArraySpec:  # type: ignore[override]
        """The bands on the fine grid."""
        return self._parts[0].domain

    @property
    def codomain(self) -> tuple[ArraySpec, ArraySpec]:  # type: ignore[override]
        """Coarse bands; broad band."""
        bands, broad = self._parts
        return bands.codomain, broad.codomain

    def _forward(self, x: Array) -> Array:
        bands, broad = self._parts
        together = sum(float(a) * x[..., b, :, :] for b, a in enumerate(self.fractions))
        return bands._forward(x), broad._forward(together)

    def _adjoint(self, y: Array) -> Array:
        bands, broad = self._parts
        shared = broad._adjoint(y[1])
        return bands._adjoint(y[0]) + namespace(shared).stack(
            [float(a) * shared for a in self.fractions], axis=-3
        )

    def data_prox(self, v: Array, data: Array, rho: float) -> Array:
        """argmin 1/2 ||A x - data||^2 + rho/2 ||x - v||^2, exactly: two transforms of all bands beside A and A^H."""
        rest = tuple(y - p for y, p in zip(data, self._forward(v), strict=True))
        aliases = self._aliases(v)
        return v + aliases.filter(self._adjoint(rest), 1.0 / (aliases.values + rho))

    def _aliases(self, like: Array) -> Aliases:
        """A^H A taken apart, once for each library, device and precision."""
        key = f"aliases {type(like)} {device_of(like)} {like.dtype}"
        return self._once(key, lambda: self._make_aliases(like))  # type: ignore[no-any-return]

    def _make_aliases(self, like: Array) -> Aliases:
        bands, broad = self._parts
        wide = transfer_function(self.broad_psf, np.asarray(broad.center), self.image_shape, half=False)
        where = namespace(like), device_of(like), like.dtype
        return Aliases(bands._transfer(), wide, self.fractions, self.factor, *where)

    def norm_bound(self) -> float:
        """sqrt(max_b ||A_b||^2 + ||h_E||^2 sum a_b^2), certified."""
        bands, broad = self._parts
        return math.hypot(bands.norm_bound(), broad.norm_bound() * float(np.linalg.norm(self.fractions)))

    def absolute_sums(self, like: Array) -> tuple[Array, Array]:
        """Sums of |A| over rows (a tuple) and columns, rounded up."""
        bands, broad = self._parts
        (rows, columns), (broad_rows, broad_columns) = bands.absolute_sums(like), broad.absolute_sums(like)
        size = np.abs(self.fractions)
        shares = namespace(columns).stack([float(a) * broad_columns for a in size], axis=0)
        return (rows, float(size.sum()) * broad_rows), columns + shares

    @classmethod
    def example(cls) -> Multiband:
        """A small instance: two bands on 8 x 6 pixels."""
        y, x = np.indices((4, 4)) - 1
        wide = [np.exp(-(x**2 + y**2) / (2 * s**2)) for s in (0.9, 1.1)]
        return cls(np.array(wide), np.exp(-(x**2 + y**2)), np.array([0.4, 0.6]), (8, 6))
