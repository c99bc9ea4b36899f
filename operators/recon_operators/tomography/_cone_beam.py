"""What the 3-D beams share: twelve numbers a view turn into products, a norm bound, subsets of views and a picture.

    (A f)[k, n, m] = integral of f along the ray of bin (n, m) in view k, by Joseph's method (`_cone_reference`)
    ||A||^2 <= max(A 1) max(A^T 1)

The bound is Schur's test; it needs that no entry of A is negative, and holds for every size and geometry.
"""

from __future__ import annotations

import dataclasses
import logging
import math
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from recon.arrays import Array, ArraySpec, from_numpy, namespace
from recon.errors import ParameterError
from recon.operator import Operator
from recon_operators.tomography import _cone_reference
from recon_operators.tomography._bridge import Bridge, bridge
from recon_operators.tomography._cone_geometry import ConeGeometry, Floats
from recon_operators.tomography._cone_plot import sketches
from recon_operators.tomography._plot import check_view, plot_geometry

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["VolumeBeam", "check_detector"]

logger = logging.getLogger("recon")


class VolumeBeam(Operator):
    """Base of the 3-D beams: frozen dataclasses with the fields below, and with `vectors` and `parallel`."""

    volume_shape: tuple[int, int, int]
    detector_shape: tuple[int, int]
    pixel_size: float
    _per_view: ClassVar[str]
    """The field with one entry a view."""

    @property
    def domain(self) -> ArraySpec:  # type: ignore[override]
        """Volume (N_z, N_y, N_x) in 1 / length; row 0 is at the largest y, slice 0 at the smallest z."""
        return ArraySpec(self.volume_shape)

    @property
    def codomain(self) -> ArraySpec:  # type: ignore[override]
        """Projections (views, N_v, N_u), line integrals without a unit."""
        return ArraySpec((len(getattr(self, self._per_view)), *self.detector_shape))

    @property
    def _geometry(self) -> ConeGeometry:
        """The geometry in voxels, as the kernels want it."""
        vectors = np.ascontiguousarray(self.vectors / self.pixel_size)  # type: ignore[attr-defined]
        return ConeGeometry(
            vectors,
            self.parallel,  # type: ignore[attr-defined]
            self.volume_shape,
            self.detector_shape,
            self.pixel_size,
        )

    def views(self, index: Any) -> Self:
        """The same scan with some of its views.

        Parameters
        ----------
        index
            What selects views of the data: a slice, a number, a list of numbers, or a mask.

        Raises
        ------
        ParameterError
            When nothing is left.

        Examples
        --------
        >>> A = ConeBeam.example()
        >>> few = A.views(slice(None, None, 4))  # goes with data[..., ::4, :, :]
        """
        every = getattr(self, self._per_view)
        some = every[np.atleast_1d(np.arange(len(every))[index])]
        if len(some) == 0:
            raise ParameterError(
                f"{type(self).__name__}.views index must select one view or more, got none of {len(every)}. "
                "Check start and stop."
            )
        return dataclasses.replace(self, **{self._per_view: some})  # type: ignore[type-var]

    def norm_bound(self) -> float:
        """Certified upper bound on the norm, sqrt(max(A 1) max(A^T 1)); costs one application of each."""
        rows, columns = self.absolute_sums(np.ones(()))
        return math.sqrt(float(rows.max()) * float(columns.max()))

    def absolute_sums(self, like: Array) -> tuple[Array, Array]:
        """Sums of |A| over rows (data) and columns (a volume), rounded up: A 1 and A^T 1, as A >= 0."""
        volume = from_numpy(np.ones(self.domain.shape), like, dtype=like.dtype)
        data = from_numpy(np.ones(self.codomain.shape), like, dtype=like.dtype)
        terms = sum(self.domain.shape) + sum(self.codomain.shape)  # each may round by eps
        up = 1 + 2 * terms * float(namespace(volume).finfo(volume.dtype).eps)
        return (self @ volume) * up, (self.H @ data) * up

    def plot(self, view: int = 0) -> Figure:
        """Draw source, rays, detector and volume of one view, from above and from the side; needs matplotlib.

        Parameters
        ----------
        view
            Number of the view.

        Returns
        -------
        matplotlib.figure.Figure
            Left the rays of the middle detector row, right those of the middle detector column.

        Raises
        ------
        ParameterError
            When there is no such view.
        """
        number = check_view(type(self).__name__, view, self.codomain.shape[0])
        return plot_geometry(sketches(self._geometry, number, type(self).__name__))

    def plan(self, xp: Any, device: Any, dtype: Any) -> Bridge:
        """Arrange the rays for the best engine there is: CUDA kernels; on the CPU numba, else plain array code."""

        def make(precision: Any, on_device: bool) -> Any:
            return (_cuda_engine if on_device else _engine)(self._geometry, precision)

        return bridge(type(self).__name__, 3, (xp, device, dtype), make)


def check_detector(beam: VolumeBeam) -> None:
    """Refuse a source in the plane of its detector: some ray would have no direction."""
    first, middle, u, v = np.moveaxis(beam._geometry.vectors.reshape(-1, 4, 3), 1, 0)
    d = first if beam._geometry.parallel else middle - first
    sizes = np.linalg.norm(d, axis=1) * np.linalg.norm(u, axis=1) * np.linalg.norm(v, axis=1)
    flat = np.abs(np.sum(d * np.cross(u, v), axis=1)) <= 1e-9 * sizes
    if flat.any():
        what = "the direction of the rays" if beam._geometry.parallel else "the source"
        raise ParameterError(
            f"{type(beam).__name__} must have {what} outside the plane of the detector, got view "
            f"{int(np.argmax(flat))} in it. Check that u and v are not parallel, and the order of the 12 numbers."
        )


class _PlainCone:
    """The reference as an engine: hundreds of times slower, for where numba is missing."""

    def __init__(self, geometry: ConeGeometry) -> None:
        self._geometry = geometry

    def apply(self, volumes: Floats) -> Floats:
        return np.asarray(_cone_reference.forward(self._geometry, volumes))

    def adjoint(self, data: Floats) -> Floats:
        return np.asarray(_cone_reference.adjoint(self._geometry, data))


def _cuda_engine(geometry: ConeGeometry, dtype: Any) -> Any:
    from recon_operators.tomography._cone_cupy import CupyCone

    return CupyCone(geometry, dtype)


def _engine(geometry: ConeGeometry, dtype: Any) -> Any:
    try:
        from recon_operators.tomography._cone_numba import NumbaCone
    except ImportError:
        logger.warning("numba is not installed: 3-D projection takes hundreds of times longer without it")
        return _PlainCone(geometry)
    return NumbaCone(geometry, dtype)
