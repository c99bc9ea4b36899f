"""What every 2-D scan shares: its two specs, its bins, subsets of its views, and the picture of its geometry."""

from __future__ import annotations

import dataclasses
import logging
import math
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from recon.arrays import ArraySpec, as_numpy
from recon.errors import ParameterError
from recon.operator import Operator
from recon.params import short
from recon_operators.tomography._plot import Sketch, check_view, plot_geometry
from recon_operators.tomography._rays import Floats

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Scan", "prepare"]

logger = logging.getLogger("recon")


class Scan(Operator):
    """Base of the scans of an image: frozen dataclasses with at least the fields below."""

    image_shape: tuple[int, int]
    angles: Floats
    n_detectors: int | None
    detector_spacing: float | None
    detector_shift: float
    pixel_size: float

    @abstractmethod
    def _sketch(self, view: int) -> Sketch:
        """The picture of one view."""

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

    @property
    def _half(self) -> tuple[float, float]:
        """Half the width and half the height of the image, in the unit of `pixel_size`."""
        return self.image_shape[1] * self.pixel_size / 2, self.image_shape[0] * self.pixel_size / 2

    def views(self, index: Any) -> Self:
        """The same scan with some of its views.

        Parameters
        ----------
        index
            What selects rows of the sinogram: a slice, a list of numbers, or a mask.

        Raises
        ------
        ParameterError
            When nothing is left, or there are no such views.

        Examples
        --------
        >>> A = ParallelBeam.example()
        >>> few = A.views(slice(None, None, 4))  # goes with sinogram[..., ::4, :]
        """
        owner = f"{type(self).__name__}.views"
        try:
            angles = np.atleast_1d(self.angles[index])
        except IndexError as error:
            raise ParameterError(
                f"{owner} index must select rows of {self.angles.size} views, got {short(index)}: {error}. "
                "Give a slice, a list of numbers, or a mask."
            ) from None
        if angles.size == 0:
            raise ParameterError(
                f"{owner} index must select one view or more, got none of "
                f"{self.angles.size}. Check start and stop."
            )
        return dataclasses.replace(self, angles=angles)  # type: ignore[type-var]

    def plot(self, view: int = 0) -> Figure:
        """Draw source, rays, detector and image of one view; needs matplotlib.

        Parameters
        ----------
        view
            Number of the view.

        Returns
        -------
        matplotlib.figure.Figure
            With the first and the last bin marked, an arrow the way bin numbers increase, and pixel (0, 0).

        Raises
        ------
        ParameterError
            When there is no such view.
        """
        return plot_geometry((self._sketch(check_view(type(self).__name__, view, self.angles.size)),))


def prepare(scan: Scan) -> None:
    """Put the angles of a new scan into their final form: a private, read-only float64 array."""
    owner = type(scan).__name__
    try:
        angles = np.asarray(as_numpy(scan.angles)).astype(np.float64, casting="same_kind")  # a copy
    except (TypeError, ValueError):
        raise ParameterError(
            f"{owner}.angles must be numbers in radians, got {type(scan.angles).__name__}. "
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
    object.__setattr__(scan, "angles", angles)


def _looks_like_degrees(angles: Floats) -> bool:
    """Two turns or more if radians, and whole numbers up to 360 or evenly filling 180 or 360."""
    span = float(np.ptp(angles))
    if span <= 4 * math.pi or np.abs(angles).max() > 360:
        return False
    arcs = (span, span * angles.size / (angles.size - 1))  # with and without the end
    closed = any(math.isclose(arc, full, rel_tol=1e-6) for arc in arcs for full in (180, 360))
    return closed or bool((angles == np.rint(angles)).all())
