"""Block matching: patches that look alike are denoised together, as one sparse group (Dabov et al. 2007, BM3D).

    group        of every 3rd patch: the 16 patches nearest to it in a window, coefficients of an 8 x 8 cosine transform
    stage 1      Walsh-Hadamard transform along the group, hard threshold at 2.7 sigma, back
    stage 2      matched on the result of stage 1 (32 patches), Wiener weights g^2 / (g^2 + sigma^2) from it
    image        weighted mean of all estimates of a pixel; weights 1 / kept coefficients, 1 / sum of weights^2

The best denoiser here that needs no training; with the plug-and-play solvers it is a prior for any operator.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Ge, Le

from recon.arrays import Array, as_numpy, broadcasts, from_numpy, is_complex, tmap
from recon.errors import ArrayError, ParameterError, ShapeError
from recon.params import Doc, Parameters

__all__ = ["BlockMatching"]

_SIDE = 8
_THRESHOLD = 2.7  # of Dabov et al., table I


@dataclass(frozen=True)
class BlockMatching(Parameters):
    """A denoiser ``d(x, sigma)`` for images that repeat themselves: textures, edges, flat regions.

    Takes any number of images in front of the last two axes; complex ones part by part. It is computed by NumPy
    and numba on the CPU, whatever the library of x. Scale equivariant: d(s x, s sigma) = s d(x, sigma).

    Parameters
    ----------
    stages
        1: hard threshold only, half the time and 0.3 to 0.5 dB less. 2: and Wiener weights.
    stride
        Step between reference patches.
    reach
        Patches are matched up to so many pixels away along each axis.

    Raises
    ------
    ShapeError, ArrayError
        For images of fewer than 8 x 8 pixels or of integers; for noise levels that are not one per image.
    ParameterError
        For a noise level that is negative or not finite.

    Notes
    -----
    Cost: about 2 us per pixel and stage with the defaults, 0.5 s for 256^2; most of it is matching, which goes with
    (2 reach + 1)^2 / stride^2. Memory: 4 times 64 numbers per pixel.

    References
    ----------
    K. Dabov, A. Foi, V. Katkovnik, K. Egiazarian, "Image denoising by sparse 3-D transform-domain collaborative
    filtering", IEEE Trans. Image Process. 16 (2007) 2080, doi:10.1109/TIP.2007.901238. Other than there: cosine
    transforms in both stages, and always the nearest patches, however far.
    """

    stages: Annotated[Literal[1, 2], Doc("1: hard threshold; 2: and Wiener weights")] = 2
    stride: Annotated[int, Ge(1), Le(_SIDE), Doc("step between reference patches")] = 3
    reach: Annotated[int, Ge(1), Doc("how far patches are matched, in pixels along each axis")] = 19

    def __call__(self, x: Array, sigma: Any) -> Array:
        """The denoised images; sigma is the standard deviation of the noise, one number or one per image."""
        return tmap(lambda leaf: self._denoised(leaf, sigma), x)

    def _denoised(self, x: Any, sigma: Any) -> Any:
        values = as_numpy(x)
        if values.dtype.kind not in "fc":
            raise ArrayError(
                f"BlockMatching must get floating-point images, got {values.dtype}. Convert them, sigma in their unit."
            )
        if values.ndim < 2 or min(values.shape[-2:]) < _SIDE:
            raise ShapeError(
                f"BlockMatching must get images of {_SIDE} x {_SIDE} pixels or more, got {values.shape}. Use a wavelet."
            )
        levels = np.asarray(as_numpy(sigma) if hasattr(sigma, "shape") else sigma, dtype=np.float64)
        if not (np.isfinite(levels).all() and (levels >= 0).all()):
            raise ParameterError("BlockMatching.sigma must be finite and >= 0, got other values.")
        if not broadcasts(levels.shape, values.shape[:-2]):
            raise ShapeError(
                f"BlockMatching.sigma must be a number or have the batch axes {values.shape[:-2]}, got {levels.shape}."
            )
        levels = np.broadcast_to(levels, values.shape[:-2])
        if is_complex(x):
            parts = [self._images(np.ascontiguousarray(part), levels) for part in (values.real, values.imag)]
            return from_numpy((parts[0] + 1j * parts[1]).astype(values.dtype), x)
        return from_numpy(self._images(values, levels), x)

    def _images(self, values: np.ndarray[Any, Any], levels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        result = np.empty_like(values)
        for index in np.ndindex(levels.shape):
            level = levels[index]
            if level <= 1e-3 * np.finfo(values.dtype).eps * np.abs(values[index]).max():
                level = 0.0  # far below rounding: nothing to take away, and squares in its unit overflow
            # in units of the noise no square over- or underflows
            unit = np.ascontiguousarray(values[index] / level if level else values[index]).astype(
                values.dtype
            )
            result[index] = level * self._image(unit) if level else unit
        return result

    def _image(self, image: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """One image with noise of variance 1."""
        from recon_wavelets import _block_matching_numba as compiled

        basis, window = (part.astype(image.dtype) for part in _basis_and_window())
        rows, columns = (self._references(n) for n in image.shape)
        noisy = compiled.patches(image, basis)
        guide, estimate = noisy, image
        for stage in range(self.stages):
            total, weight = np.zeros_like(noisy), np.zeros(noisy.shape[:2], image.dtype)
            one, most = image.dtype.type(1.0), 16 << stage
            threshold, variance = (one * _THRESHOLD, 0 * one) if stage == 0 else (0 * one, one)
            compiled.shrink(noisy, guide, total, weight, rows, columns, self.reach, most, threshold, variance)
            estimate = np.zeros_like(image)
            compiled.aggregate(total, weight, basis, window, estimate)
            if stage + 1 < self.stages:
                guide = compiled.patches(estimate, basis)
        return estimate

    def _references(self, n: int) -> np.ndarray[Any, Any]:
        """Where reference patches begin along an axis of n pixels: every stride-th, and the last."""
        last = n - _SIDE
        return np.unique(np.append(np.arange(0, last + 1, self.stride), last))

    @classmethod
    def example(cls) -> BlockMatching:
        return cls(stride=4, reach=8)


@cache
def _basis_and_window() -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """The orthonormal cosine transform of 8 samples, and the Kaiser window (beta = 2) of a patch."""
    from scipy.fft import dct

    taper = np.kaiser(_SIDE, 2.0)
    return dct(np.eye(_SIDE), axis=0, norm="ortho"), np.outer(taper, taper)
