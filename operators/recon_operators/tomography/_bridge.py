"""From arrays of any library and batch to an engine: what `plan` of every projector returns.

An engine has ``apply`` and ``adjoint`` for arrays with one batch axis, of NumPy on the CPU or of CuPy on a CUDA device.
It is made by ``make(precision, on_device)``: at once on the CPU, and at the first product on a device, on the device
and stream of the data.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from recon.arrays import Array, as_numpy, from_numpy
from recon.errors import ArrayError, KernelError
from recon_operators._cuda import on_cuda, through

__all__ = ["Bridge", "bridge"]


def bridge(owner: str, axes: int, where: tuple[Any, Any, Any], make: Callable[[Any, bool], Any]) -> Bridge:
    """The plan of a projector.

    Parameters
    ----------
    owner
        What error texts name.
    axes
        Number of axes of one image and of its data.
    where
        (xp, device, dtype), what ``plan`` is given.
    make
        Makes the engine.

    Raises
    ------
    KernelError, ArrayError
        When no engine works on the device or in the precision.
    """
    xp, device, dtype = where
    if "cpu" not in str(device).lower() and not on_cuda(device):
        raise KernelError(f"{owner} input must be on the CPU or a CUDA device, got {device}. Move it there.")
    if dtype not in (xp.float32, xp.float64):
        raise ArrayError(f"{owner} input must be float32 or float64, got {dtype}. Convert it.")
    precision = np.float32 if dtype == xp.float32 else np.float64
    if on_cuda(device):
        return _CudaBridge(axes, partial(make, precision, True))
    return Bridge(axes, make(precision, False))


class Bridge:
    """A plan: an engine for NumPy arrays behind arrays of any library on the CPU."""

    def __init__(self, axes: int, engine: Any) -> None:
        self._axes, self._engine = axes, engine

    def apply(self, x: Array) -> Array:
        return self._through("apply", x)

    def adjoint(self, y: Array) -> Array:
        return self._through("adjoint", y)

    def _through(self, name: str, x: Array) -> Array:
        _refuse_gradients(x)
        return from_numpy(self._batched(name, as_numpy(x)), x)

    def _batched(self, name: str, x: Any) -> Any:
        """A product that takes one batch axis, on an array with any number of them."""
        batch = x.shape[: x.ndim - self._axes]
        result = getattr(self._engine, name)(x.reshape(-1, *x.shape[x.ndim - self._axes :]))
        return result.reshape(*batch, *result.shape[1:])


class _CudaBridge(Bridge):
    """The same for an engine for CuPy arrays."""

    def __init__(self, axes: int, make: Callable[[], Any]) -> None:
        super().__init__(axes, None)
        self._make = make

    def _through(self, name: str, x: Array) -> Array:
        _refuse_gradients(x)
        return through(partial(self._batched, name), x)

    def _batched(self, name: str, x: Any) -> Any:
        if self._engine is None:
            import cupy

            self._engine = self._make()
            cupy.cuda.get_current_stream().synchronize()  # the next product may come on another stream
        return super()._batched(name, x)


def _refuse_gradients(x: Array) -> None:
    if getattr(x, "requires_grad", False):
        raise ArrayError(
            "A tomography operator must get data without gradients: its kernels record none. "
            "Give x.detach(), and use A.H as the backward of A."
        )
