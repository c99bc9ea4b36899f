"""The two products of `FourierSliceBeam` on NumPy arrays, with FINUFFT.

Forward: type 2 of the image, times a table, inverse FFT along the detector. Adjoint: zero-filled views, FFT, times
the conjugate table and the weights c_n / L (c = 1 at n = 0 and L / 2, else 2, because half a spectrum stands for
both halves), type 1, real part. Both transforms spread with the same kernel, so they are transposes of each other.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from recon.errors import MissingExtraError

__all__ = ["SliceEngine"]


class SliceEngine:
    """Plans of one scan in one precision; samples of a batch go through them one by one.

    One thread: with more the sums of the adjoint would depend on how many there are.
    """

    def __init__(self, beam: Any, dtype: Any) -> None:
        try:
            import finufft
        except ImportError:
            raise MissingExtraError(
                "FourierSliceBeam needs finufft, which is not installed. Run: pip install 'recon-inverse[nufft]'"
            ) from None
        self._real = np.dtype(dtype)
        self._complex = np.result_type(self._real, np.complex64)
        self._image_shape, self._scan_shape = beam.domain.shape, beam.codomain.shape
        self._length = beam._length()
        points, self._table = _points_and_table(beam, self._length, self._complex)
        eps = max(beam.eps, 3e-5) if self._real == np.float32 else beam.eps
        # a fine grid of 1.25 n is the cheapest (up to five times), and good to about 1e-8
        fine = 1.25 if eps >= 1e-8 else 2.0
        settings = {"eps": eps, "dtype": self._complex.name, "nthreads": 1, "upsampfac": fine}
        self._to_points = finufft.Plan(2, self._image_shape, isign=-1, **settings)
        self._to_pixels = finufft.Plan(1, self._image_shape, isign=1, **settings)
        points = [axis.astype(self._real) for axis in points]
        for plan in (self._to_points, self._to_pixels):
            plan.setpts(*points)
        self._weights = np.full(self._length // 2 + 1, 2 / self._length, self._real)
        self._weights[[0, -1]] /= 2

    def apply(self, images: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """(batch, N_y, N_x) -> (batch, views, bins)."""
        result = np.empty((len(images), *self._scan_shape), self._real)
        for image, views in zip(images, result, strict=True):
            views[...] = self._forward(image)
        return result

    def adjoint(self, sinograms: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """(batch, views, bins) -> (batch, N_y, N_x)."""
        result = np.empty((len(sinograms), *self._image_shape), self._real)
        for views, image in zip(sinograms, result, strict=True):
            image[...] = self._adjoint(views)
        return result

    def _forward(self, image: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        import scipy.fft

        spectrum = self._to_points.execute(image.astype(self._complex, order="C"))
        views = spectrum.reshape(self._table.shape) * self._table
        return scipy.fft.irfft(views, self._length, axis=-1)[:, : self._scan_shape[1]]

    def _adjoint(self, views: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        import scipy.fft

        spectrum = scipy.fft.rfft(views, self._length, axis=-1) * (self._weights * self._table.conj())
        return self._to_pixels.execute(np.ascontiguousarray(spectrum).ravel()).real


def _points_and_table(beam: Any, length: int, dtype: Any) -> Any:
    """Frequencies (rows, columns) of every point, and what its value is multiplied with.

    The table holds the pixel's transform and two phases: FINUFFT counts pixels from N // 2, not from the middle
    (N - 1) / 2, and the inverse FFT counts bins from 0, not from s = 0.
    """
    w = 2 * math.pi * np.arange(length // 2 + 1) / length
    h, ds = beam.pixel_size, beam.detector_spacing
    down, right = (-np.sin(beam.angles)[:, None] * w * h / ds, np.cos(beam.angles)[:, None] * w * h / ds)
    n_y, n_x = beam.image_shape
    middle = down * (n_y // 2 - (n_y - 1) / 2) + right * (n_x // 2 - (n_x - 1) / 2)
    first = float(beam._bin_offsets[0]) / ds
    pixel = h**2 / ds * np.sinc(down / (2 * math.pi)) * np.sinc(right / (2 * math.pi))
    table = (pixel * np.exp(1j * (w * first - middle))).astype(dtype)
    turn = 2 * math.pi  # the sum over pixels repeats itself; FINUFFT wants one period
    return [(np.mod(axis + math.pi, turn) - math.pi).ravel() for axis in (down, right)], table
