"""Convolution of images with a kernel: y = S C_h E x.

    y[i] = sum_k h[k] x[i - (k - c)]        c = the centre of the kernel: h = delta_c leaves the image as it is

E says what lies outside the image, S what of the result is seen.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Annotated, Any

import numpy as np
from annotated_types import Gt, Len

from recon.arrays import Kind
from recon.constants import constant
from recon.params import Doc, check
from recon_operators.convolution._borders import Boundary
from recon_operators.convolution._invariant import ShiftInvariant
from recon_operators.convolution._kernel import Center

__all__ = ["Convolution"]

ImageShape = Annotated[
    tuple[Annotated[int, Gt(0)], ...], Len(1, 3), Doc("axes of one image, the last 1 to 3 of the domain")
]


@dataclass(frozen=True, eq=False, repr=False)
class Convolution(ShiftInvariant):
    """Convolution with a kernel of 1 to 3 axes, with a stated centre and boundary.

    What lies outside the image, for a b c d, and the name that others have for it:

    ============  =================  =============  ===================  =================
    boundary      outside            numpy.pad      scipy.ndimage        scipy.signal
    ============  =================  =============  ===================  =================
    "periodic"    c d|a b c d|a b    "wrap"         "wrap"               boundary="wrap"
    "zero"        0 0|a b c d|0 0    "constant"     "constant"           mode="same"
    "reflect"     c b|a b c d|c b    "reflect"      "mirror"             --
    "symmetric"   b a|a b c d|d c    "symmetric"    "reflect"            boundary="symm"
    "valid"       not used           --             --                   mode="valid"
    ============  =================  =============  ===================  =================

    With "valid" nothing is assumed: the image is larger than the data by kernel - 1 along each axis, and what
    lies beyond the edge of the data is part of the unknown. Data pixel 0 then sees image pixels 0 to K - 1, and
    lies on image pixel K - 1 - c.

    The adjoint is the exact transpose: it correlates with conj(h) and adds the border back into the image.

    Parameters
    ----------
    kernel
        h, with the axes of the image. Axes in front of these make a stack: kernel i blurs image i, and domain and
        codomain have the same axes in front (stamps, each with its own point-spread function).
    image_shape
        Axes of one image, 1 to 3. For "valid" it must be at least as large as the kernel.
    center
        Index of the entry that leaves a pixel where it is, or a rule: ``"middle"`` is (K - 1) // 2 per axis, as in
        ``scipy.signal.convolve(mode="same")`` (``scipy.ndimage.convolve`` and ``fftshift`` take K // 2, which
        differs for even K); ``"peak"`` the largest ``|h|``; ``"centroid"`` the centroid of ``|h|``, rounded,
        halves up. ``operator.center`` is always the index that was found.
    boundary
        What lies outside the image.
    kind
        ``"real"`` or ``"complex"`` images; by default that of the kernel.

    Raises
    ------
    ShapeError, ParameterError
        When kernel, centre and image do not fit each other.

    Notes
    -----
    Formula: y[i] = sum_k h[k] x[i - (k - c)], x continued beyond its edges by the boundary
    Shapes: (stack..., n_1, ..., n_d) -> the same; for "valid" (stack..., n_1 - K_1 + 1, ...)
    Units: y in units of x times the sum of h; a flux-preserving kernel sums to 1
    Cost: two real transforms of the (padded) image, about 4 ns per pixel in single precision; for NumPy images and up
        to 100 taps (those of a product of vectors added up) about 0.03 ns per pixel and tap instead. Memory: the
        spectrum, and the transfer function twice
    Source: P. C. Hansen, J. G. Nagy and D. P. O'Leary, Deblurring Images (SIAM 2006), chapter 4,
        doi:10.1137/1.9780898718874

    Examples
    --------
    >>> A = Convolution(psf, (512, 512), center="peak", boundary="zero")
    >>> A.center  # what "peak" was
    >>> blurred = A @ image
    """

    kernel: Annotated[np.ndarray[Any, Any], Doc("the kernel, with the axes of the image; more make a stack")]
    image_shape: ImageShape
    _: KW_ONLY
    center: Annotated[Center, Doc("'middle', 'peak', 'centroid' or the index of the centre")] = "middle"
    boundary: Annotated[Boundary, Doc("what lies outside the image")] = "periodic"
    kind: Annotated[Kind | None, Doc("kind of image; by default that of the kernel")] = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "kernel", constant(self.kernel, f"{type(self).__name__}.kernel"))
        check(self)
        self._prepare(self.kernel)

    @classmethod
    def example(cls) -> Convolution:
        """A small instance: 9 x 8 pixels, a kernel of 3 x 4 with its centre off the middle."""
        kernel = np.array([[0.0, 0.1, 0.2, 0.0], [0.1, 0.4, 1.0, 0.1], [0.0, 0.1, 0.3, 0.05]])
        return cls(kernel, (9, 8), center="peak")
