"""What every convolution with a fixed kernel shares: specs, engines, bounds, closed forms.

y = S C_h E x       E: what lies outside the image, C_h: the convolution, S: the part that is seen
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import array_api_compat.numpy as compat_numpy
import numpy as np

from recon.arrays import Array, ArraySpec, Kind, real_like
from recon.errors import ParameterError, ShapeError
from recon.operator import Operator, Plan
from recon_operators.convolution._borders import Boundary
from recon_operators.convolution._direct import DirectPlan, passes
from recon_operators.convolution._fourier import FourierPlan, Layout, layout
from recon_operators.convolution._kernel import Floats, resolve_center, transfer_function

__all__ = ["ShiftInvariant", "kernel_kind"]


def kernel_kind(owner: str, kernel: Floats, kind: Kind | None) -> Kind:
    """The kind of image that a kernel makes, or the one asked for.

    Raises
    ------
    ParameterError
        When a complex kernel shall give real data.
    """
    if kernel.dtype.kind == "c" and kind == "real":
        raise ParameterError(f"{owner}.kind must be 'complex' for a complex kernel, got 'real'.")
    return kind or ("complex" if kernel.dtype.kind == "c" else "real")


def check_kernel(owner: str, kernel: Floats, image: tuple[int, ...], boundary: Boundary) -> None:
    """Raise a ShapeError where a kernel does not fit an image."""
    ndim = len(image)
    if kernel.ndim < ndim or kernel.size == 0:
        raise ShapeError(
            f"{owner}.kernel must have the {ndim} axes of the image (more make a stack), none empty, "
            f"got shape {kernel.shape}."
        )
    shape = kernel.shape[-ndim:]
    if boundary == "valid" and any(k > n for k, n in zip(shape, image, strict=True)):
        raise ShapeError(
            f"{owner}.kernel must be no larger than the image {image} for boundary 'valid', got {shape}. "
            "The image is the larger domain: data + kernel - 1."
        )


class ShiftInvariant(Operator):
    """Base: a subclass has the fields below, of which `kernel` may be computed."""

    kernel: Floats
    image_shape: tuple[int, ...]
    center: Any
    boundary: Boundary
    kind: Kind | None

    def _prepare(self, kernel: Floats) -> None:
        """Check the kernel, and put the resolved centre and kind into their fields."""
        owner = type(self).__name__
        check_kernel(owner, kernel, self.image_shape, self.boundary)
        center = resolve_center(kernel, len(self.image_shape), self.center, owner)
        for name, value in (("center", center), ("kind", kernel_kind(owner, kernel, self.kind))):
            object.__setattr__(self, name, value)

    @property
    def domain(self) -> ArraySpec:  # type: ignore[override]
        """Image, with the axes of a stack in front."""
        return self._spec(self._layout.image)

    @property
    def codomain(self) -> ArraySpec:  # type: ignore[override]
        """Data, smaller than the image by kernel - 1 for boundary "valid"."""
        return self._spec(self._layout.data)

    def _spec(self, shape: tuple[int, ...]) -> ArraySpec:
        assert self.kind is not None  # the constructor has put it
        return ArraySpec((*self.kernel.shape[: -len(shape)], *shape), self.kind)

    @property
    def _layout(self) -> Layout:
        shape = self.kernel.shape[-len(self.image_shape) :]
        return self._once("layout", lambda: layout(self.image_shape, shape, self.center, self.boundary))  # type: ignore[no-any-return]

    def _transfer(self, half: bool) -> Floats:
        return transfer_function(self.kernel, self._layout.origin, self._layout.lengths, half)

    def plan(self, xp: Any, device: Any, dtype: Any) -> Plan:
        """Choose the engine: taps one by one where they are few and numba is there, else transforms."""
        half = bool(xp.isdtype(dtype, "real floating"))

        def fourier() -> FourierPlan:
            return FourierPlan(self._layout, self._transfer(half), half, xp, device, dtype)

        few = self._few_passes() if half and xp is compat_numpy else None
        if few:
            try:
                return DirectPlan(few, self.image_shape, self.center, self.boundary, dtype, fourier)
            except ImportError:  # numba is not installed
                pass
        return fourier()

    def _few_passes(self) -> list[Floats] | None:
        """What to do tap by tap, where that is cheaper."""
        return passes(self.kernel) if self.kernel.ndim == len(self.image_shape) else None

    @property
    def normal(self) -> Callable[[Array], Array]:
        """A^H A x, for boundary "periodic": one pair of transforms, or the taps there and back."""
        self._only_periodic("normal")
        return lambda x: self._planned(x).normal(x)  # type: ignore[attr-defined]

    @property
    def data_prox(self) -> Callable[[Array, Array, float], Array]:
        """argmin 1/2 ||A x - data||^2 + rho/2 ||x - v||^2, for boundary "periodic": three transforms."""
        self._only_periodic("data_prox")
        return lambda v, data, rho: self._planned(v).spectral.data_prox(v, data, rho)  # type: ignore[attr-defined]

    @property
    def pinv(self) -> Callable[[Array], Array]:
        """The least-squares image of least norm, for boundary "periodic"; |hhat| <= 16 eps max |hhat| counts as 0."""
        self._only_periodic("pinv")
        return lambda y: self._planned(y).spectral.pinv(y)  # type: ignore[attr-defined]

    def _only_periodic(self, name: str) -> None:
        if self.boundary != "periodic":
            raise AttributeError(f"{type(self).__name__} has {name} for boundary 'periodic' only.")

    def norm_bound(self) -> float:
        """max |hhat| for boundary "periodic", exactly the norm; else the least of two certified bounds.

        These are ||E|| max |hhat| on the padded grid, and Schur's sqrt(max row sum * max column sum) of |A|.
        """
        largest = float(np.abs(self._transfer(half=False)).max())
        border = self._layout.border
        if border is None:  # A is part of a circulant matrix
            return largest
        rows, columns = self.absolute_sums(np.ones(()))
        schur = math.sqrt(float(rows.max()) * float(columns.max()))
        return min(largest * math.sqrt(border.square_norm()), schur)

    def absolute_sums(self, like: Array) -> tuple[Array, Array]:
        """|A| 1 and |A|^T 1, rounded up: the same operator with the kernel |h|, once forward and once back."""
        twin = _Absolute(self)
        rows, columns = twin @ np.ones(twin.domain.shape), twin.H @ np.ones(twin.codomain.shape)
        up = 1e-12 * float(max(rows.max(), columns.max()))  # rounding of the transforms
        return real_like((rows + up) * (1 + 1e-6), like), real_like((columns + up) * (1 + 1e-6), like)


class _Absolute(ShiftInvariant):
    """|A|, or more where a kernel that wraps around cancels itself: the kernel's absolute values."""

    kind = "real"

    def __init__(self, operator: ShiftInvariant) -> None:
        self.kernel = np.abs(operator.kernel).astype(np.float64)
        self.image_shape, self.center = operator.image_shape, operator.center
        self.boundary = operator.boundary
