"""The 2-D parallel beam by the Fourier slice theorem and a non-uniform FFT, for many views.

    P[k, n] = h^2 / ds  sinc(kappa_n cos theta_k / 2 pi) sinc(kappa_n sin theta_k / 2 pi)  F(kappa_n, theta_k)
    F(kappa, theta) = sum f[r, c] exp(-i kappa (x cos theta + y sin theta) / h),      kappa_n = w_n h / ds
    (A f)[k, m] = (1 / L) sum_n P[k, n] exp(i w_n s_m / ds),                          w_n = 2 pi n / L

over |n| <= L / 2: the one-dimensional spectrum of a view is a line through the image's two-dimensional one. Pixels
are squares (the sinc factors), and views are cut off at the bins' Nyquist frequency. L is twice the detector or
the image, whichever is longer, so that nothing wraps round. x, y, s, h, ds as in `parallel`.

The adjoint takes every step back, with the transposed transform: it is exact to rounding whatever its accuracy.
"""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass
from typing import Annotated, Any

import numpy as np
from annotated_types import Gt, Le

from recon.errors import ArrayError, KernelError
from recon.params import Doc
from recon_operators.tomography._bridge import Bridge
from recon_operators.tomography.angles import sparse_view
from recon_operators.tomography.parallel import ParallelScan

__all__ = ["FourierSliceBeam"]


@dataclass(frozen=True, eq=False, repr=False)
class FourierSliceBeam(ParallelScan):
    """Parallel-beam tomography through Fourier space: the geometry of :class:`ParallelBeam`, another model of it.

    A view costs about M log M instead of M N, so it wins for large images with many views; setting it up costs a few
    products. Entries of the matrix may be negative: there are no absolute sums, and methods that need them
    (SIRT, MLEM) want :class:`ParallelBeam`.

    Parameters
    ----------
    image_shape
        (N_y, N_x) in pixels.
    angles
        View angles theta in radians, one axis.
    n_detectors
        Number of bins M; by default as many as cover the diagonal of the image.
    detector_spacing
        Distance ds between bins, in the unit of `pixel_size`; by default one pixel.
    detector_shift
        Shift of the detector in bins: positive moves every bin to larger s.
    pixel_size
        Side h of a pixel, in any unit of length. The image is then in 1 / length, the sinogram without unit.
    eps
        Relative accuracy of the non-uniform transform; single precision reaches about 1e-5.

    Raises
    ------
    ParameterError
        When an argument breaks its rule.
    MissingExtraError
        At the first product, where finufft is not installed.

    Notes
    -----
    Formula: (A f)[k] = inverse FFT over n of h^2 / ds sinc(kappa_n cos theta / 2 pi) sinc(kappa_n sin theta / 2 pi)
    F(kappa_n, theta_k), F the Fourier transform of the pixels at kappa_n (cos theta_k, sin theta_k) / h.
    Shapes: (N_y, N_x) -> (views, bins)
    Units: lengths in that of pixel_size, image in 1 / length, sinogram without unit, angles in radians.
    Cost: one non-uniform FFT with views * max(bins, diagonal) points and an FFT a view, about 100 ns a point together
    (float32, one thread, on the CPU); memory about 80 bytes a point.
    Source: slice theorem: A. C. Kak, M. Slaney, "Principles of Computerized Tomographic Imaging", IEEE Press 1988,
    section 3.2. Transform: A. H. Barnett, J. Magland, L. af Klinteberg, SIAM J. Sci. Comput. 41 (2019) C479,
    doi:10.1137/18M120885X.
    """

    _: KW_ONLY
    eps: Annotated[float, Gt(0), Le(0.1), Doc("relative accuracy of the non-uniform transform")] = 1e-6

    @classmethod
    def example(cls) -> FourierSliceBeam:
        """A small instance: 16 x 16 pixels, 12 views."""
        return cls((16, 16), sparse_view(12))

    def plan(self, xp: Any, device: Any, dtype: Any) -> Bridge:
        """Plan the transforms for one precision."""
        if "cpu" not in str(device).lower():
            raise KernelError(
                f"FourierSliceBeam input must be on the CPU, got {device}. Move it there, or use ParallelBeam."
            )
        if dtype not in (xp.float32, xp.float64):
            raise ArrayError(f"FourierSliceBeam input must be float32 or float64, got {dtype}. Convert it.")
        from recon_operators.tomography._slice_finufft import SliceEngine

        return Bridge(2, SliceEngine(self, np.float32 if dtype == xp.float32 else np.float64))

    def _length(self) -> int:
        """L: even, fast, and long enough that image and detector do not meet themselves again."""
        import scipy.fft

        assert self.detector_spacing is not None
        diagonal = 2 * math.hypot(*self._half) / self.detector_spacing
        seen = self._bins + 2 * abs(self.detector_shift)
        return 2 * int(scipy.fft.next_fast_len(math.ceil(max(seen, diagonal)) + 2, real=True))
