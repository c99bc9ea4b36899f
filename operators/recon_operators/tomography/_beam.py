"""What every 2-D beam shares: a table of rays, planned once per library and precision, and a norm bound.

    (A f)[k, m] = integral of f along ray (k, m), by Joseph's method (`_rays`)
    ||A||^2 <= max(A 1) max(A^T 1)

The bound is Schur's test; it needs that no entry of A is negative, and holds for every size and geometry.
"""

from __future__ import annotations

import dataclasses
import logging
import math
from abc import abstractmethod
from typing import Any, Self

import numpy as np

from recon.arrays import Array, ArraySpec, as_numpy, from_numpy, namespace
from recon.errors import ArrayError, KernelError, ParameterError
from recon.operator import Operator
from recon_operators.tomography._rays import Floats, RayTable, ray_table

__all__ = ["Beam"]

logger = logging.getLogger("recon")


class Beam(Operator):
    """Base of the beams: frozen dataclasses with at least the fields below, which turn into rays.

    A subclass defines ``_rays()``. Everything else follows: the products, subsets of views, the bound of
    the norm.
    """

    image_shape: tuple[int, int]
    angles: Floats
    n_detectors: int | None
    detector_spacing: float | None
    detector_shift: float
    pixel_size: float

    @abstractmethod
    def _rays(self) -> tuple[Floats, Floats]:
        """Points on the rays and their directions, both (views, bins, 2) with columns x, y."""

    @property
    def domain(self) -> ArraySpec:  # type: ignore[override]
        """Image (N_y, N_x) in 1 / length; row 0 on top."""
        return ArraySpec(self.image_shape)

    @property
    def codomain(self) -> ArraySpec:  # type: ignore[override]
        """Sinogram (views, bins), line integrals without a unit."""
        return ArraySpec((self.angles.size, self._bins))

    @property
    def _bins(self) -> int:
        assert self.n_detectors is not None  # the constructor has put a number
        return self.n_detectors

    @property
    def _bin_offsets(self) -> Floats:
        """Place of each bin on the detector, in the unit of the detector spacing."""
        assert self.detector_spacing is not None
        centred = np.arange(self._bins) - (self._bins - 1) / 2
        return np.asarray((centred + self.detector_shift) * self.detector_spacing)

    def views(self, index: Any) -> Self:
        """The same scan with some of its views.

        Parameters
        ----------
        index
            What selects rows of the sinogram: a slice, a list of numbers, or a mask.

        Raises
        ------
        ParameterError
            When nothing is left.

        Examples
        --------
        >>> A = ParallelBeam.example()
        >>> few = A.views(slice(None, None, 4))  # goes with sinogram[..., ::4, :]
        """
        angles = np.atleast_1d(self.angles[index])
        if angles.size == 0:
            raise ParameterError(
                f"{type(self).__name__}.views index must select one view or more, got none of "
                f"{self.angles.size}. Check start and stop."
            )
        return dataclasses.replace(self, angles=angles)  # type: ignore[type-var]

    def norm_bound(self) -> float:
        """Certified upper bound on the norm, sqrt(max(A 1) max(A^T 1)); costs one application of each."""
        rows, columns = self.absolute_sums(np.ones(()))
        return math.sqrt(float(rows.max()) * float(columns.max()))

    def absolute_sums(self, like: Array) -> tuple[Array, Array]:
        """Sums of |A| over rows (a sinogram) and columns (an image), rounded up: A 1 and A^T 1, as A >= 0."""
        image = from_numpy(np.ones(self.domain.shape), like, dtype=like.dtype)
        sinogram = from_numpy(np.ones(self.codomain.shape), like, dtype=like.dtype)
        terms = sum(self.domain.shape) + sum(self.codomain.shape)  # each may round by eps
        up = 1 + 2 * terms * float(namespace(image).finfo(image.dtype).eps)
        return (self @ image) * up, (self.H @ sinogram) * up

    def plan(self, xp: Any, device: Any, dtype: Any) -> _Bridge:
        """Arrange the rays for the best engine there is: numba, else a sparse matrix of the same weights."""
        if "cpu" not in str(device).lower():
            raise KernelError(
                f"{type(self).__name__} input must be on the CPU, got {device}. "
                "Move it there: this version has no kernel for that device."
            )
        if dtype not in (xp.float32, xp.float64):
            raise ArrayError(
                f"{type(self).__name__} input must be float32 or float64, got {dtype}. Convert it."
            )
        table = ray_table(*self._rays(), self.image_shape, self.pixel_size)
        return _Bridge(_engine(table, np.float32 if dtype == xp.float32 else np.float64))

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.angles.setflags(write=False)  # pickle forgets it


def prepare(beam: Beam) -> None:
    """Put the angles of a new beam into their final form: a private, read-only float64 array."""
    owner = type(beam).__name__
    try:
        angles = np.array(as_numpy(beam.angles), dtype=np.float64)
    except (TypeError, ValueError):
        raise ParameterError(
            f"{owner}.angles must be numbers in radians, got {type(beam.angles).__name__}. "
            "Give a sequence, for example sparse_view(60)."
        ) from None
    if angles.ndim != 1 or angles.size == 0 or not np.isfinite(angles).all():
        raise ParameterError(
            f"{owner}.angles must be one axis of finite numbers in radians, got shape {angles.shape}. "
            "Give a sequence, for example sparse_view(60)."
        )
    if _looks_like_degrees(angles):
        logger.warning(
            "%s.angles span %.0f radians: were degrees meant? Use numpy.deg2rad.", owner, np.ptp(angles)
        )
    angles.setflags(write=False)
    object.__setattr__(beam, "angles", angles)


def _looks_like_degrees(angles: Floats) -> bool:
    """Two turns or more if radians, and whole numbers up to 360 or evenly filling 180 or 360."""
    span = float(np.ptp(angles))
    if span <= 4 * math.pi or np.abs(angles).max() > 360:
        return False
    arcs = (span, span * angles.size / (angles.size - 1))  # with and without the end
    closed = any(math.isclose(arc, full, rel_tol=1e-6) for arc in arcs for full in (180, 360))
    return closed or bool((angles == np.rint(angles)).all())


class _Bridge:
    """A plan: an engine for NumPy arrays with one batch axis, behind arrays of any library on the CPU."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine

    def apply(self, x: Array) -> Array:
        return self._through(self._engine.apply, x)

    def adjoint(self, y: Array) -> Array:
        return self._through(self._engine.adjoint, y)

    @staticmethod
    def _through(product: Any, x: Array) -> Array:
        if getattr(x, "requires_grad", False):
            raise ArrayError(
                "A tomography operator must get data without gradients: its kernels record none. "
                "Give x.detach(), and use A.H as the backward of A."
            )
        values = as_numpy(x)
        batch = values.shape[:-2]
        result = product(values.reshape(-1, *values.shape[-2:]))
        return from_numpy(result.reshape(*batch, *result.shape[1:]), x)


def _engine(table: RayTable, dtype: Any) -> Any:
    try:
        from recon_operators.tomography._joseph_numba import NumbaJoseph
    except ImportError:
        from recon_operators.tomography._joseph_sparse import SparseJoseph

        logger.info("numba is not installed: a sparse matrix projects instead")
        return SparseJoseph(table, dtype)
    return NumbaJoseph(table, dtype)
