"""Non-Cartesian MRI: the Fourier transform of what every coil sees, at any points of k-space.

    (A x)_{c,m} = N^(-1/2) sum_j S_c(j) x(j) exp(-i k_m . (j - n // 2)),   k in radians per pixel, -pi <= k < pi

On the points k = 2 pi (l - n // 2) / n this is the transform of `CartesianMRI`. The sums are evaluated by FINUFFT (type
2, its adjoint by type 1); A^H A is a convolution and costs two FFTs of twice the size, whatever the points are.
"""

from __future__ import annotations

import logging
import math
from dataclasses import KW_ONLY, dataclass
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge, Gt, Le

from recon.arrays import Array, ArraySpec, device_of, namespace, real_like
from recon.constants import constant, follow
from recon.errors import ParameterError, ShapeError
from recon.operator import Operator
from recon.params import Doc, check
from recon_operators.fourier import _toeplitz
from recon_operators.fourier._coils import checked_maps, combine, expand, largest_sensitivity
from recon_operators.fourier._nufft import Nufft, kernel_of
from recon_operators.fourier.trajectories import golden_radial

__all__ = ["NonCartesianMRI"]

logger = logging.getLogger("recon")

Numbers = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False, repr=False)
class NonCartesianMRI(Operator):
    """MRI along a trajectory (radial, spiral, anything) of a complex image, with one coil or several.

    Needs FINUFFT: ``pip install 'recon-inverse[nufft]'``; for CuPy arrays cufinufft.

    Parameters
    ----------
    points
        Points of k-space (..., d), in radians per pixel, between -pi and pi; d = 1 to 3. The last axis goes with
        the axes of the image, the others become those of the data: (spokes, samples, 2) for example.
    image_shape
        (n_1, ..., n_d) in pixels.
    maps
        Coil sensitivities (coils, *image_shape), complex; by default one coil that sees everything alike.
    eps
        Relative accuracy of the two products, as far as the precision allows. By default 1e-12 in double and 1e-6
        in single precision, so that ``normal`` equals A^H A to rounding; 1e-6 in double halves the time. The
        adjoint is exact, and ``normal`` as accurate as the precision allows, whatever eps is.

    Notes
    -----
    Formula: (A x)_{c,m} = N^(-1/2) sum_j S_c(j) x(j) exp(-i k_m . (j - n // 2))
    Shapes: (*image_shape) complex -> (*points.shape[:-1]) complex, with (coils,) in front where there are maps
    Units: those of the image; k in radians per pixel
    Cost: about 0.1 us per sample and coil in 2-D (0.15 us at 1e-12) and an FFT of 1.5 n points per axis; ``normal``
    two FFTs of 2 n points per axis, whatever the number of samples; memory 1.5^d images and 5 numbers per sample.
    In single precision points are rounded to 24 bits, which alone makes errors of about 1e-5 at n = 256. FINUFFT runs
    in one thread: with more, the last bits of an adjoint would differ from call to call
    Source: A. H. Barnett, J. Magland and L. af Klinteberg, SIAM J. Sci. Comput. 41 (2019) C479,
    doi:10.1137/18M120885X; Toeplitz: J. A. Fessler et al., IEEE Trans. Signal Process. 53 (2005) 3393,
    doi:10.1109/TSP.2005.853152

    Raises
    ------
    ParameterError, ShapeError, ArrayError
        When an argument breaks its rule.
    MissingExtraError
        At the first product, without FINUFFT.

    Examples
    --------
    >>> A = NonCartesianMRI(golden_radial(spokes=100, samples=512), (256, 256), maps)
    >>> y = A @ image  # (coils, 100, 512)
    """

    points: Annotated[Numbers, Doc("points of k-space (..., d) in radians per pixel")]
    image_shape: Annotated[tuple[Annotated[int, Gt(0)], ...], Doc("pixels per axis")]
    maps: Annotated[Numbers | None, Doc("coil sensitivities (coils, *shape); default one uniform coil")] = (
        None
    )
    _: KW_ONLY
    eps: Annotated[float | None, Ge(1e-12), Le(0.1), Doc("accuracy; default 1e-12 double, 1e-6 single")] = (
        None
    )

    def __post_init__(self) -> None:
        check(self)
        object.__setattr__(self, "points", _checked_points(self.points, self.image_shape))
        if self.maps is not None:
            object.__setattr__(self, "maps", checked_maps(self.maps, self.image_shape, "NonCartesianMRI"))

    @property
    def domain(self) -> ArraySpec:  # type: ignore[override]
        """The image."""
        return ArraySpec(self.image_shape, "complex")

    @property
    def codomain(self) -> ArraySpec:  # type: ignore[override]
        """A sample per point, with the coils in front where there are maps."""
        coils = () if self.maps is None else self.maps.shape[:1]
        return ArraySpec((*coils, *self.points.shape[:-1]), "complex")

    def plan(self, xp: Any, device: Any, dtype: Any) -> _Plan:
        """Sort the points and plan the transforms of FINUFFT."""
        single = dtype in (xp.float32, xp.complex64)
        eps = max(self.eps or 0.0, 1e-6 if single else 1e-12)
        flat = self.points.reshape(-1, len(self.image_shape))
        transform = Nufft(flat, self.image_shape, eps, xp, device, dtype)
        maps = None if self.maps is None else follow(self.maps, xp, device, dtype)
        conjugate = None if self.maps is None else follow(self.maps.conj(), xp, device, dtype)
        return _Plan(transform, maps, conjugate, self.points.shape[:-1])

    def normal(self, x: Array) -> Array:
        """A^H A x, as a convolution: two FFTs of twice the size per coil."""
        plan = self._planned(x)
        assert isinstance(plan, _Plan)
        key = f"spectrum {namespace(x).__name__} {device_of(x)} {x.dtype}"
        spectrum = self._once(key, lambda: real_like(self._spectrum, x))
        if plan.maps is None:
            return _toeplitz.convolve(x, spectrum)
        return combine(_toeplitz.convolve(expand(x, plan.maps), spectrum), plan.conjugate)

    def norm_bound(self) -> float:
        """Certified: A^H A is a part of a circular convolution, whose norm is its largest |spectrum|.

        Sums of |A| are not offered: they are far larger than the norm, and steps made of them tiny.
        """
        return math.sqrt(float(np.abs(self._spectrum).max())) * largest_sensitivity(self.maps)

    @property
    def _spectrum(self) -> Numbers:
        shape = self.image_shape
        flat = self.points.reshape(-1, len(shape))
        return self._once(
            "spectrum", lambda: _toeplitz.spectrum_of(kernel_of(flat, shape) / math.prod(shape))
        )

    @classmethod
    def example(cls) -> NonCartesianMRI:
        """A small instance: 8 x 7 pixels, 5 golden-angle spokes of 16 samples."""
        return cls(golden_radial(5, 16), (8, 7))


class _Plan:
    """Transform and maps where the data are."""

    def __init__(self, transform: Nufft, maps: Any, conjugate: Any, samples: tuple[int, ...]) -> None:
        self.transform, self.maps, self.conjugate, self.samples = transform, maps, conjugate, samples
        self.scale = 1 / math.sqrt(math.prod(transform.shape))

    def apply(self, x: Array) -> Array:
        y = self.transform.samples_of(x if self.maps is None else expand(x, self.maps))
        y *= self.scale
        return namespace(y).reshape(y, (*y.shape[:-1], *self.samples))

    def adjoint(self, y: Array) -> Array:
        batch = y.shape[: y.ndim - len(self.samples)]
        x = self.transform.images_of(namespace(y).reshape(y, (*batch, self.transform.samples)))
        x *= self.scale
        return x if self.maps is None else combine(x, self.conjugate)


def _checked_points(points: Any, shape: tuple[int, ...]) -> Numbers:
    values = constant(points, "NonCartesianMRI.points")
    if not 1 <= len(shape) <= 3:
        raise ShapeError(f"NonCartesianMRI.image_shape must have 1 to 3 axes, got {len(shape)}.")
    if values.ndim < 2 or values.shape[-1] != len(shape) or not values.size or values.dtype.kind != "f":
        raise ShapeError(
            f"NonCartesianMRI.points must be real, of shape (..., {len(shape)}), got {values.dtype} "
            f"{values.shape}. The last axis goes with the axes of the image."
        )
    values = np.ascontiguousarray(values, np.float64)
    largest = float(np.abs(values).max())
    if largest > math.pi * (1 + 1e-6):
        raise ParameterError(
            f"NonCartesianMRI.points must be in radians per pixel, within -pi and pi, got {largest:.4g}. "
            "Multiply cycles per pixel by 2 pi, cycles per field of view by 2 pi / n."
        )
    if 0 < largest <= 0.5:
        logger.warning(
            "NonCartesianMRI.points reach %.3g radians per pixel: were cycles meant? Multiply by 2 pi.",
            largest,
        )
    values.setflags(write=False)
    return values
