"""The starlet: an isotropic undecimated wavelet transform with the B3 spline, for round things such as stars.

    c_0 = x,  c_{j+1} = H_j c_j                                    H_j: B3 spline with taps 2^j apart
    generation 1    w_{j+1} = c_j - c_{j+1}                        x = c_J + sum_j w_j
    generation 2    w_{j+1} = c_j - H_j c_{j+1}                    c_j = H_j c_{j+1} + w_{j+1}, filters >= 0

The frame is not tight: the `synthesis` inverts the transform and is not its adjoint.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Ge, Gt, Le, Len

from recon.arrays import Array, ArraySpec, Kind, check_array, real_like
from recon.operator import Operator
from recon.params import Doc, check
from recon_wavelets._layout import Band, numbers
from recon_wavelets._smoothing import gains
from recon_wavelets._starlet_engines import CompiledStarlet, RolledStarlet

__all__ = ["Starlet"]


@dataclass(frozen=True, eq=False, repr=False)
class Starlet(Operator):
    """Planes of detail by scale, isotropic and undecimated: finest first, the smooth rest last.

    No tight frame: ``W.H`` is the exact transpose, ``synthesis`` the exact inverse, and they differ. Thresholding the
    planes and adding them up is a good denoiser, but not the prox of ||W x||_1.

    Parameters
    ----------
    image_shape
        The sample's axes, 1 to 3, of any length.
    scales
        Number of planes of details.
    generation
        1: planes are differences of smoothings, their sum is the image. 2: the synthesis smooths again, with filters
        >= 0, so that planes >= 0 make an image >= 0.
    boundary
        ``"mirror"`` (the border sample is not repeated) or ``"periodic"``.
    kind
        ``"real"`` or ``"complex"``.

    Raises
    ------
    ParameterError
        When an argument breaks its rule.

    Notes
    -----
    Formula: c_{j+1} = H_j c_j, w_{j+1} = c_j - c_{j+1} (generation 1) or c_j - H_j c_{j+1} (generation 2); c_0 = x
    Shapes: image_shape -> (scales + 1, *image_shape): w_1 (finest) ... w_J, c_J
    Units: those of the image; see ``noise_levels`` for the noise of each plane
    Cost: 10 flops per axis, pixel and scale (generation 2: twice); about 2 ns per pixel and scale, float32
    Source: J.-L. Starck, J. Fadili, F. Murtagh, IEEE Trans. Image Process. 16 (2007) 297, doi:10.1109/TIP.2006.887733
    """

    image_shape: Annotated[
        tuple[Annotated[int, Gt(0)], ...], Len(1, 3), Doc("axes of the image, of any length")
    ]
    scales: Annotated[int, Ge(1), Le(30), Doc("number of planes of details")] = 4
    generation: Annotated[Literal[1, 2], Doc("1: differences of smoothings; 2: synthesis filters >= 0")] = 1
    boundary: Annotated[Literal["mirror", "periodic"], Doc("what lies beyond the borders")] = "mirror"
    kind: Annotated[Kind, Doc("real or complex images")] = "real"

    def __post_init__(self) -> None:
        check(self)

    @property
    def domain(self) -> ArraySpec:  # type: ignore[override]
        """The image."""
        return ArraySpec(self.image_shape, self.kind)

    @property
    def codomain(self) -> ArraySpec:  # type: ignore[override]
        """The stack of planes."""
        return ArraySpec((self.scales + 1, *self.image_shape), self.kind)

    @property
    def _mirror(self) -> bool:
        return self.boundary == "mirror"

    @property
    def _names(self) -> list[Band]:
        return [*((scale, "d") for scale in range(1, self.scales + 1)), (self.scales, "a")]

    def plan(self, xp: Any, device: Any, dtype: Any) -> RolledStarlet | CompiledStarlet:
        """A compiled kernel for NumPy where numba is installed, else indexed reads."""
        if xp.__name__.endswith("numpy"):
            try:
                return CompiledStarlet(self.scales, self.generation, self.image_shape, self._mirror, dtype)
            except ImportError:
                pass
        return RolledStarlet(self.scales, self.generation, len(self.image_shape), self._mirror)

    def synthesis(self, w: Array) -> Array:
        """The image with given planes: ``synthesis(W @ x) == x``. Not the adjoint."""
        check_array(w, self.codomain, "Starlet.synthesis input")
        plan: Any = self._planned(w)
        return plan.synthesis(w)

    def bands(self, w: Array) -> dict[Band, Array]:
        """Views of the planes: (1, "d") is the finest, (scales, "a") the smooth rest."""
        check_array(w, self.codomain, "Starlet.bands input")
        rest = (slice(None),) * len(self.image_shape)
        return {name: w[(..., number, *rest)] for number, name in enumerate(self._names)}

    def spread(self, values: Mapping[Band, float], like: Array | None = None) -> Array:
        """One number per plane, as an array that broadcasts over the coefficients.

        `like` gives library, device and precision; by default NumPy and float64.
        """
        found = np.array(numbers(values, self._names, "Starlet"))
        result = found.reshape(-1, *(1 for _ in self.image_shape))
        return result if like is None else real_like(result, like)

    def frame_bounds(self) -> tuple[float, float]:
        """(A, B) with A ||x||^2 <= ||W x||^2 <= B ||x||^2, from the gains at all frequencies; B = 1.

        With mirror borders they hold for norms that count the first and last sample of each axis half.
        """
        low, total = np.ones(()), np.zeros(())
        for scale in range(self.scales):
            gain = gains(self.image_shape, 2**scale, self._mirror)
            total = total + (low * (1 - (gain if self.generation == 1 else gain**2))) ** 2
            low = low * gain
        total = total + low**2
        return float(total.min()), float(total.max())

    # The norm is 1 for periodic borders only: with mirror borders it is about 1.1 (up to 1.23 per axis), which
    # an estimate finds more tightly than a bound. The property raises AttributeError there, so that `hasattr`
    # and `capability` tell the truth.
    @property
    def norm_bound(self) -> Callable[[], float]:
        """Exactly 1, for periodic borders."""
        if self._mirror:
            raise AttributeError("norm_bound")
        return lambda: 1.0

    @classmethod
    def example(cls) -> Starlet:
        """A small instance: 9 x 12 pixels, two scales."""
        return cls((9, 12), 2)

    def __str__(self) -> str:
        return f"Starlet({self.scales} scales, generation {self.generation}, {self.boundary})"
