"""The engines of the non-uniform Fourier transform: FINUFFT on the CPU, cuFINUFFT for CuPy arrays.

    type 2    y_m = sum_j x_j exp(-i k_m . (j - n // 2))        image to samples
    type 1    x_j = sum_m y_m exp(+i k_m . (j - n // 2))        its exact adjoint: the same spreading, transposed

Both plans are made once and kept; a stack of images goes through them one by one.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from recon.arrays import as_numpy, from_numpy, namespace
from recon.errors import ArrayError, KernelError, MissingExtraError

__all__ = ["UPSAMPLING", "Nufft", "kernel_of"]

Numbers = np.ndarray[Any, Any]

# Fine grids of 1.5 n points: as exact as 2 n down to 1e-12, and smaller. (2 n is often a power of two, the worst
# case for the strides of FFTW's quick plans: three times the time at 256 x 256 in single precision.)
UPSAMPLING = 1.5


class Nufft:
    """Both transforms at fixed points, for arrays of one library, device and precision."""

    def __init__(
        self,
        points: Numbers,
        shape: tuple[int, ...],
        eps: float,
        xp: Any,
        device: Any,
        dtype: Any,
    ) -> None:
        self.shape, self.samples = shape, len(points)
        single = dtype in (xp.float32, xp.complex64)
        settings = {"eps": eps, "dtype": "complex64" if single else "complex128"}
        real = points.astype(np.float32 if single else np.float64)
        if "cupy" in xp.__name__:
            maker, coordinates = _cufinufft(), [xp.asarray(axis.copy()) for axis in real.T]
            self._on_device = True
        elif "cpu" in str(device).lower():
            maker, coordinates = _finufft(), [axis.copy() for axis in real.T]
            settings |= {"nthreads": 1, "upsampfac": UPSAMPLING}
            self._on_device = False
        else:
            raise KernelError(
                f"NonCartesianMRI input must be on the CPU or a CuPy array, got {device}. Move it there."
            )
        self._type1 = maker(1, shape, isign=1, **settings)
        self._type2 = maker(2, shape, isign=-1, **settings)
        for plan in (self._type1, self._type2):
            plan.setpts(*coordinates)

    def samples_of(self, images: Any) -> Any:
        """Type 2 of (..., *shape): (..., M)."""
        return self._each(self._type2, images, self.shape, (self.samples,))

    def images_of(self, samples: Any) -> Any:
        """Type 1 of (..., M): (..., *shape)."""
        return self._each(self._type1, samples, (self.samples,), self.shape)

    def _each(self, plan: Any, x: Any, source: tuple[int, ...], target: tuple[int, ...]) -> Any:
        if getattr(x, "requires_grad", False):
            raise ArrayError(
                "NonCartesianMRI must get data without gradients: its transforms record none. "
                "Give x.detach(), and use A.H as the backward of A."
            )
        values = x if self._on_device else as_numpy(x)
        xp = namespace(values)
        batch = values.shape[: values.ndim - len(source)]
        stack = xp.reshape(values, (math.prod(batch), *source))
        result = xp.empty((len(stack), *target), dtype=values.dtype)
        for one, out in zip(stack, result, strict=True):
            plan.execute(xp.asarray(one, order="C"), out=out)
        result = xp.reshape(result, (*batch, *target))
        return result if self._on_device else from_numpy(result, x)


def kernel_of(points: Numbers, shape: tuple[int, ...]) -> Numbers:
    """sum_m exp(i k_m . d) on the differences d from -(n - 1) to n - 1 of every axis, as exact as double allows."""
    plan = _finufft()(1, tuple(2 * n - 1 for n in shape), isign=1, eps=1e-14, upsampfac=2.0, nthreads=1)
    plan.setpts(*(axis.copy() for axis in points.T))
    return plan.execute(np.ones(len(points), np.complex128))


def _finufft() -> Any:
    try:
        import finufft
    except ImportError:
        raise MissingExtraError(
            "NonCartesianMRI needs finufft, which is not installed. Run: pip install 'recon-inverse[nufft]'"
        ) from None
    return finufft.Plan


def _cufinufft() -> Any:
    try:
        import cufinufft
    except ImportError:
        raise KernelError(
            "NonCartesianMRI of CuPy arrays needs cufinufft, which cannot be imported. Run: pip install cufinufft"
        ) from None
    return cufinufft.Plan
