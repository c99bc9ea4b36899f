"""The 2-D fan beam: line integrals of an image along rays from a point source to a flat or a curved detector.

    source S = R (sin theta, -cos theta),    ray m along  cos gamma_m a + sin gamma_m e
    a = (-sin theta, cos theta)              from the source to the origin
    e = (cos theta, sin theta)               across, the way bin numbers increase
    flat     gamma_m = atan(u_m / (R + R_d))      bin m at  D + u_m e,  D = R_d a
    curved   gamma_m = u_m / (R + R_d)            an arc around the source through D: u is arc length
    u_m = (m - (M - 1) / 2 + shift) du

R is the distance from source to origin, R_d from origin to detector, (R + R_d) / R the magnification.
Pixels lie as for the parallel beam: x to the right, y up, row 0 on top, origin in the middle; at theta = 0
the source is below the image. For the flat detector these are ASTRA's conventions ("fanflat").

Scans whose geometry is given as: source at R (cos b, sin b), detector axis (-sin b, cos b) with the bin
number increasing along it, first coordinate = row number, second = column number (both increasing with the
index). That is this geometry with theta = b, the image as stored, neither transposed nor flipped: the first
coordinate is -y and the second x, so the source is at x = R sin b, y = -R cos b, and the axis is (cos b,
sin b). The Helsinki Tomography Challenge 2022 (doi:10.5281/zenodo.6984868) is such a scan, in millimetres,
with angles 0, 0.5, ..., 360 degrees, first and last equal:

    FanBeam((512, 512), numpy.deg2rad(angles), 560, source_origin=410.66, origin_detector=553.74 - 410.66,
            detector_spacing=0.2, pixel_size=0.2 * 410.66 / 553.74)

Its reference image is in attenuation per pixel: divide by `pixel_size` before projecting, multiply an own
result with it before comparing. Projected in this way the reference agrees with the measured sinogram to
3.5 %.
"""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Ge, Gt

from recon.errors import ParameterError
from recon.params import Doc, check
from recon_operators.tomography._beam import Beam
from recon_operators.tomography._plot import Sketch
from recon_operators.tomography._rays import Floats
from recon_operators.tomography._scan import prepare
from recon_operators.tomography.angles import sparse_view

__all__ = ["FanBeam"]


@dataclass(frozen=True, eq=False, repr=False)
class FanBeam(Beam):
    """Fan-beam tomography of an image (N_y, N_x) into a sinogram (views, bins), flat or curved detector.

    The adjoint is the exact transpose: quadrature weights are not in it (see :func:`fbp` for them).

    Parameters
    ----------
    image_shape
        (N_y, N_x) in pixels.
    angles
        View angles theta in radians, one axis; a full scan covers 2 pi.
    n_detectors
        Number of bins M.
    source_origin
        Distance R from source to origin, in the unit of `pixel_size`; the source must be outside the image.
    origin_detector
        Distance R_d from origin to detector; 0 puts the detector through the origin.
    detector_spacing
        Distance du between bins on the detector (not scaled down to the origin); arc length where it is curved.
    detector_shift
        Shift of the detector in bins: positive moves every bin to larger u.
    detector
        ``"flat"``, or ``"curved"``: an arc around the source, through the detector centre, whose bins are
        equally spaced in angle.
    pixel_size
        Side of a pixel, in any unit of length. The image is then in 1 / length, the sinogram without unit.

    Raises
    ------
    ParameterError
        When an argument breaks its rule.

    Notes
    -----
    Formula: (A f)[k, m] = integral of f from the source S_k along direction cos gamma_m a_k + sin gamma_m e_k,
    S = -R a, a = (-sin theta, cos theta), e = (cos theta, sin theta), gamma = atan(u / (R + R_d)) (flat) or
    u / (R + R_d) (curved), u_m = (m - (M - 1) / 2 + shift) du; by Joseph's method.
    Shapes: (N_y, N_x) -> (views, bins)
    Units: lengths in that of pixel_size, image in 1 / length, sinogram without unit, angles in radians.
    Cost: about 0.5 ns per pixel and view forward, 0.7 ns adjoint (float32, one core with 512-bit vectors);
    memory about 40 bytes per ray and four padded copies of the image, kept for the next call.
    Source: P. M. Joseph, IEEE Trans. Med. Imaging 1 (1982) 192, doi:10.1109/TMI.1982.4307572. Conventions:
    W. van Aarle et al., Opt. Express 24 (2016) 25129, doi:10.1364/OE.24.025129.
    """

    image_shape: Annotated[
        tuple[Annotated[int, Gt(0)], Annotated[int, Gt(0)]], Doc("rows and columns of the image")
    ]
    angles: Annotated[np.ndarray[Any, Any], Doc("view angles in radians")]
    n_detectors: Annotated[int, Gt(0), Doc("number of bins")]
    _: KW_ONLY
    source_origin: Annotated[float, Gt(0), Doc("distance from source to origin, unit of pixel_size")]
    origin_detector: Annotated[float, Ge(0), Doc("distance from origin to detector, unit of pixel_size")]
    detector_spacing: Annotated[
        float, Gt(0), Doc("distance between bins on the detector, unit of pixel_size")
    ]
    detector_shift: Annotated[float, Doc("shift of the detector, in bins")] = 0.0
    detector: Annotated[Literal["flat", "curved"], Doc("flat, or an arc around the source")] = "flat"
    pixel_size: Annotated[float, Gt(0), Doc("side of a pixel, any unit of length")] = 1.0

    def __post_init__(self) -> None:
        check(self)
        prepare(self)
        radius = math.hypot(*self.image_shape) * self.pixel_size / 2
        if self.source_origin <= radius:
            raise ParameterError(
                f"FanBeam.source_origin must be > {radius:g} (half the diagonal of the image), got "
                f"{self.source_origin:g}. Check that it has the unit of pixel_size."
            )
        edge = math.pi / 2 * (self.source_origin + self.origin_detector) / self.detector_spacing
        reach = self._bins / 2 + abs(self.detector_shift)
        if self.detector == "curved" and reach >= edge:
            raise ParameterError(
                f"FanBeam.n_detectors / 2 + |detector_shift| must be < {edge:g} for this curved detector (90 degrees a "
                f"side), got {reach:g}. Check that detector_spacing is an arc length."
            )

    @classmethod
    def example(cls) -> FanBeam:
        """A small instance: 16 x 16 pixels, 12 views over the full circle, magnification 1.5."""
        return cls(
            (16, 16),
            sparse_view(12, arc=2 * math.pi),
            24,
            source_origin=32.0,
            origin_detector=16.0,
            detector_spacing=1.5,
        )

    @property
    def _fan_angles(self) -> Floats:
        """Angle gamma of each ray from the central one, in radians, increasing with the bin number."""
        ratio = self._bin_offsets / (self.source_origin + self.origin_detector)
        return ratio if self.detector == "curved" else np.arctan(ratio)

    def _rays(self) -> tuple[Floats, Floats]:
        cos, sin = np.cos(self.angles)[:, None], np.sin(self.angles)[:, None]
        along, across = np.cos(self._fan_angles), np.sin(self._fan_angles)
        directions = np.stack([across * cos - along * sin, across * sin + along * cos], axis=-1)
        source = np.stack([self.source_origin * sin, -self.source_origin * cos], axis=-1)
        return np.broadcast_to(source, directions.shape), directions

    def _sketch(self, view: int) -> Sketch:
        theta, gamma = float(self.angles[view]), self._fan_angles
        source = self.source_origin * np.array([math.sin(theta), -math.cos(theta)])
        reach = np.full(gamma.size, self.source_origin + self.origin_detector)
        if self.detector == "flat":
            reach = reach / np.cos(gamma)
        turned = theta - gamma
        bins = source + reach[:, None] * np.stack([-np.sin(turned), np.cos(turned)], axis=1)
        return Sketch(
            half=self._half,
            pixel=(self.pixel_size, self.pixel_size),
            detector=bins,
            origins=np.broadcast_to(source, bins.shape),
            source=(float(source[0]), float(source[1])),
            theta=theta,
            title=f"FanBeam, {self.detector} detector, view {view}: theta = {math.degrees(theta):.0f} degrees",
        )
