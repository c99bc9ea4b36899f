"""The general 3-D beam: twelve numbers a view, for any path of source and detector; and those of a circular scan.

    bin (n, m) at  P = D + (m - (N_u - 1) / 2) u + (n - (N_v - 1) / 2) v
    ray through S and P, or through P along d, towards a source far away, where the rays are parallel

One view is S (or d), D, u, v, each x, y, z: ASTRA's "cone_vec" and "parallel3d_vec". Lengths are in the unit of
`pixel_size`. Voxel (k, r, c) has its centre at x = (c - (N_x - 1) / 2) h, y = ((N_y - 1) / 2 - r) h,
z = (k - (N_z - 1) / 2) h: each slice lies as an image of the 2-D beams does, row 0 on top.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
from annotated_types import Gt

from recon.arrays import as_numpy
from recon.constants import constant
from recon.errors import ParameterError
from recon.params import Doc, check, short
from recon_operators.tomography._cone_beam import VolumeBeam, check_detector
from recon_operators.tomography._cone_geometry import Floats
from recon_operators.tomography.angles import sparse_view

__all__ = ["VectorBeam", "circular_vectors"]


@dataclass(frozen=True, eq=False, repr=False)
class VectorBeam(VolumeBeam):
    """X-ray tomography of a volume (N_z, N_y, N_x) into projections (views, N_v, N_u), each view placed freely.

    For wobbling scanners, helical and other paths, tomosynthesis, laminography, tilted parallel beams. The adjoint is
    the exact transpose: quadrature weights are not in it.

    Parameters
    ----------
    volume_shape
        (N_z, N_y, N_x) in voxels.
    vectors
        (views, 12): source, detector centre, step from column to column, step from row to row, each x, y, z. With
        `parallel`, the direction towards the source (of any length) in its place.
    detector_shape
        (N_v, N_u): rows and columns of the detector.
    parallel
        Whether the rays of a view are parallel.
    pixel_size
        Side h of a voxel, in the unit of the vectors. The volume is then in 1 / length, the data without unit.

    Raises
    ------
    ParameterError
        When an argument breaks its rule, a source is inside the volume or lies in the plane of its detector.
    ArrayError
        When the vectors are no finite numbers.

    Notes
    -----
    Formula: (A f)[k, n, m] = integral of f along the line through S_k and P, or through P along d_k; P = D_k +
    (m - (N_u - 1) / 2) u_k + (n - (N_v - 1) / 2) v_k; by Joseph's method, bilinear on each plane that the ray crosses.
    Shapes: (N_z, N_y, N_x) -> (views, N_v, N_u)
    Units: lengths in that of pixel_size, volume in 1 / length, data without unit.
    Cost: where v is parallel to z about 0.6 ns per voxel and view forward, 0.5 ns adjoint (float32, one core with
    512-bit vectors), else 3 to 6 ns; memory a padded copy of volume and data, and 120 bytes per detector column.
    Source: P. M. Joseph, IEEE Trans. Med. Imaging 1 (1982) 192, doi:10.1109/TMI.1982.4307572. Conventions:
    W. van Aarle et al., Opt. Express 24 (2016) 25129, doi:10.1364/OE.24.025129.

    Examples
    --------
    >>> angles = sparse_view(120, arc=2 * numpy.pi)
    >>> vectors = circular_vectors(angles, tilt=numpy.deg2rad(30))  # laminography with parallel rays
    >>> A = VectorBeam((64, 256, 256), vectors, (300, 300), parallel=True)
    """

    volume_shape: Annotated[
        tuple[Annotated[int, Gt(0)], Annotated[int, Gt(0)], Annotated[int, Gt(0)]],
        Doc("slices, rows and columns of the volume"),
    ]
    vectors: Annotated[np.ndarray[Any, Any], Doc("12 numbers a view: source or direction, centre, u, v")]
    detector_shape: Annotated[
        tuple[Annotated[int, Gt(0)], Annotated[int, Gt(0)]], Doc("rows and columns of the detector")
    ]
    _: KW_ONLY
    parallel: Annotated[bool, Doc("whether the rays of a view are parallel")] = False
    pixel_size: Annotated[float, Gt(0), Doc("side of a voxel, any unit of length")] = 1.0
    _per_view: ClassVar[str] = "vectors"

    def __post_init__(self) -> None:
        check(self)
        vectors = constant(np.asarray(as_numpy(self.vectors), dtype=np.float64), "VectorBeam.vectors")
        if vectors.ndim != 2 or vectors.shape[1] != 12 or len(vectors) == 0:
            raise ParameterError(
                f"VectorBeam.vectors must have shape (views, 12), got {vectors.shape}. "
                "One view is source (or direction), detector centre, u and v, each x, y, z."
            )
        object.__setattr__(self, "vectors", vectors)
        check_detector(self)
        if not self.parallel:
            self._check_sources()

    def _check_sources(self) -> None:
        half = np.asarray(self.volume_shape[::-1]) * self.pixel_size / 2
        inside = (np.abs(self.vectors[:, :3]) <= half).all(axis=1)
        if inside.any():
            raise ParameterError(
                f"VectorBeam.vectors must have every source outside the volume, got view {int(np.argmax(inside))} "
                "inside it. Check that it has the unit of pixel_size."
            )

    @classmethod
    def example(cls) -> VectorBeam:
        """A small instance: 6 x 8 x 9 voxels, 5 views of 8 x 10 bins, the axis of rotation tilted by 20 degrees."""
        vectors = circular_vectors(
            sparse_view(5, arc=2 * np.pi),
            source_origin=20.0,
            origin_detector=10.0,
            detector_spacing=1.5,
            tilt=np.deg2rad(20),
        )
        return cls((6, 8, 9), vectors, (8, 10))


def circular_vectors(
    angles: Any,
    *,
    source_origin: float | None = None,
    origin_detector: float = 0.0,
    detector_spacing: float | tuple[float, float] = 1.0,
    detector_shift: tuple[float, float] = (0.0, 0.0),
    tilt: float = 0.0,
    roll: float = 0.0,
) -> Floats:
    """The vectors of a scan on a circle around the z axis, also with a tilted axis: (views, 12).

    With e = (cos theta, sin theta, 0), the direction of the central ray is
    w = (-sin theta cos tilt, cos theta cos tilt, -sin tilt), and

        S = -R w,   D = R_d w + shift_u u + shift_v v
        u = du (cos roll e + sin roll e'),   v = dv (cos roll e' - sin roll e)

    where e' = e x w, which is the z axis if tilt = 0.

    Parameters
    ----------
    angles
        View angles theta in radians, one axis.
    source_origin
        Distance R from source to origin; None for parallel rays (then -w is in the place of S).
    origin_detector
        Distance R_d from origin to detector.
    detector_spacing
        Distance between bins, one number or (between rows dv, between columns du).
    detector_shift
        (shift_v, shift_u): shift of the detector in bins, along its rows' and its columns' numbers.
    tilt
        Angle in radians by which the source is above the plane z = 0, and the detector below it, seen from the origin:
        the axis of rotation leans towards the source. Laminography has 30 to 60 degrees.
    roll
        Angle in radians by which the detector is turned in its own plane, from u towards v. A scanner whose axis leans
        sideways has the same data as one whose detector is turned the other way.

    Returns
    -------
    numpy.ndarray
        For :class:`VectorBeam`; change its rows for a scan that is not quite circular.

    Raises
    ------
    ParameterError
        When spacing or shift are not as many numbers as they should be.

    Examples
    --------
    >>> vectors = circular_vectors(angles, source_origin=500.0, origin_detector=250.0)
    >>> vectors[:, 5] += measured_drift  # z of the detector centre
    """
    theta = np.asarray(as_numpy(angles), dtype=np.float64).reshape(-1)
    zero, one = np.zeros_like(theta), np.ones_like(theta)
    if np.shape(detector_spacing) not in ((), (2,)):
        raise ParameterError(
            f"circular_vectors.detector_spacing must be one number or (dv, du), got {short(detector_spacing)}."
        )
    if np.shape(detector_shift) != (2,):
        raise ParameterError(
            f"circular_vectors.detector_shift must be (shift_v, shift_u), got {short(detector_shift)}."
        )
    dv, du = np.broadcast_to(np.asarray(detector_spacing, dtype=np.float64), 2)
    cos, sin, level, drop = np.cos(theta), np.sin(theta), np.cos(tilt), np.sin(tilt)
    along = np.stack([-sin * level, cos * level, -drop * one], axis=1)
    across = np.stack([cos, sin, zero], axis=1)
    upward = np.stack([-sin * drop, cos * drop, level * one], axis=1)
    u = du * (np.cos(roll) * across + np.sin(roll) * upward)
    v = dv * (np.cos(roll) * upward - np.sin(roll) * across)
    centre = origin_detector * along + detector_shift[1] * u + detector_shift[0] * v
    first = -along if source_origin is None else -source_origin * along
    return np.concatenate([first, centre, u, v], axis=1)
