"""Convolution with a product of vectors: h[k_1, ..., k_d] = h_1[k_1] ... h_d[k_d]."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Annotated, Any

import numpy as np
from annotated_types import Len

from recon.arrays import Kind
from recon.constants import constant
from recon.errors import ShapeError
from recon.params import Doc, check
from recon_operators.convolution._borders import Boundary
from recon_operators.convolution._direct import separate
from recon_operators.convolution._invariant import ShiftInvariant
from recon_operators.convolution._kernel import Center, Floats, outer
from recon_operators.convolution.convolution import ImageShape

__all__ = ["SeparableConvolution"]


@dataclass(frozen=True, eq=False, repr=False)
class SeparableConvolution(ShiftInvariant):
    """Convolution with one vector per axis; boundaries and centres as in :class:`Convolution`.

    Where numba is installed and the vectors have up to 100 entries together, NumPy images are filtered axis by
    axis; longer vectors and other libraries go through the transform of the product.

    Parameters
    ----------
    kernels
        One vector per axis of the image.
    image_shape
        Axes of the image, 1 to 3.
    center, boundary, kind
        As in :class:`Convolution`; an index has one number per axis.

    Raises
    ------
    ShapeError, ParameterError
        When kernels, centre and image do not fit each other.

    Notes
    -----
    Formula: y[i] = sum_k h_1[k_1] ... h_d[k_d] x[i - (k - c)], x continued beyond its edges by the boundary
    Shapes: (n_1, ..., n_d) -> the same; for "valid" (n_1 - K_1 + 1, ...)
    Units: y in units of x times the product of the sums of the h_j
    Cost: about 0.03 ns (single precision) or 0.06 ns (double) per pixel and tap, K_1 + ... + K_d taps
    Source: Gonzalez and Woods, Digital Image Processing (4th ed., 2018), section 3.4

    Examples
    --------
    >>> g = np.exp(-(np.arange(-8, 9) ** 2) / 8)
    >>> A = SeparableConvolution((g / g.sum(), g / g.sum()), (512, 512), boundary="symmetric")
    """

    kernels: Annotated[tuple[np.ndarray[Any, Any], ...], Len(1, 3), Doc("one vector per axis")]
    image_shape: ImageShape
    _: KW_ONLY
    center: Annotated[Center, Doc("'middle', 'peak', 'centroid' or the index of the centre")] = "middle"
    boundary: Annotated[Boundary, Doc("what lies outside the image")] = "periodic"
    kind: Annotated[Kind | None, Doc("kind of image; by default that of the kernels")] = None

    def __post_init__(self) -> None:
        check(self)
        vectors = tuple(constant(h, f"SeparableConvolution.kernels[{k}]") for k, h in enumerate(self.kernels))
        if [h.ndim for h in vectors] != [1] * len(self.image_shape):
            raise ShapeError(
                f"SeparableConvolution.kernels must be one vector for each of the {len(self.image_shape)} axes of "
                f"the image, got shapes {[h.shape for h in vectors]}. Put them into a tuple."
            )
        object.__setattr__(self, "kernels", vectors)
        self._prepare(self.kernel)

    @property
    def kernel(self) -> Floats:  # type: ignore[override]
        """The product of the vectors."""
        return self._once("kernel", lambda: outer(self.kernels))  # type: ignore[no-any-return]

    def _few_passes(self) -> list[Floats] | None:
        return separate(self.kernels)

    @classmethod
    def example(cls) -> SeparableConvolution:
        """A small instance: 7 x 9 pixels, vectors of 3 and 4 entries."""
        return cls((np.array([0.25, 0.5, 0.3]), np.array([0.1, 0.4, 0.3, 0.2])), (7, 9), boundary="symmetric")
