"""Values of an image between its grid points: resampling, warping, scattered measurements.

    (A x)[k] = sum_j x[j] h(p_k1 - j1) ... h(p_kd - jd)

    order 1   h(t) = max(0, 1 - |t|)        linear in each axis
    order 3   h = the cubic c of Keys with a = -1/2, exact for quadratics

Points are in pixels: (0, ..., 0) is the centre of the first one. The image is 0 outside its pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np

from recon import Operator, SparseMatrix
from recon.arrays import Array
from recon.constants import constant
from recon.errors import ParameterError
from recon.params import Doc, Parameters, check
from recon_operators.sampling._resize import cubic
from recon_operators.sampling._rows import DataKind, GridShape, settle

__all__ = ["Interpolate"]


@dataclass(frozen=True, eq=False, repr=False)
class Interpolate(Parameters, Operator):
    """The image at arbitrary points, by linear or cubic interpolation; 1 to 3 axes.

    The weights are kept as a sparse matrix: see :class:`recon.SparseMatrix`, also for why the adjoint gives the same
    bits in every run.

    Parameters
    ----------
    image_shape
        Axes of the image, 1 to 3.
    points
        (K, d) coordinates in pixels, one row per point, in the order of the axes; (K,) for one axis.
    order
        1 (linear) or 3 (cubic convolution).
    kind
        ``"real"`` or ``"complex"``.

    Raises
    ------
    ParameterError, ArrayError
        When an argument breaks its rule.

    Notes
    -----
    Formula: (A x)[k] = sum_j x[j] prod_a h(p[k, a] - j_a), h(t) = max(0, 1 - |t|) or the cubic c(t); 0 outside
    Shapes: (n1, ..., nd) -> (K,)
    Units: those of the image; points in pixels
    Cost: 2^d or 4^d products per point each way, about 1 ns each; memory 8 to 12 bytes for each of them
    Source: R. G. Keys, "Cubic convolution interpolation for digital image processing", IEEE Trans. Acoust.
    Speech Signal Process. 29 (1981) 1153, equation 15, doi:10.1109/TASSP.1981.1163711

    Examples
    --------
    >>> A = Interpolate((64, 64), np.random.default_rng(0).uniform(0, 63, (500, 2)))
    >>> values = A @ image  # (500,)
    """

    image_shape: GridShape
    points: Annotated[np.ndarray[Any, Any], Doc("(K, d) coordinates in pixels")]
    order: Annotated[Literal[1, 3], Doc("1 linear, 3 cubic")] = 1
    kind: DataKind = "real"

    def __post_init__(self) -> None:
        check(self)
        ndim = len(self.image_shape)
        if ndim > 3:
            raise ParameterError(f"Interpolate.image_shape must have 1 to 3 axes, got {self.image_shape}.")
        points = constant(self.points, "Interpolate.points")
        if points.ndim == 1 and ndim == 1:
            points = points[:, None]
        if points.ndim != 2 or points.shape[1] != ndim or len(points) == 0 or points.dtype.kind == "c":
            raise ParameterError(
                f"Interpolate.points must be real numbers of shape (K, {ndim}), got shape {points.shape} and dtype "
                f"{points.dtype}. Give one row per point."
            )
        settle(self, self.image_shape, (len(points),), points=points)

    @classmethod
    def example(cls) -> Interpolate:
        """A small instance: six points in and around 5 x 4 pixels."""
        points = [[0.0, 0.0], [1.5, 2.25], [3.75, 0.5], [4.5, 3.0], [-0.25, 1.0], [9.0, 9.0]]
        return cls((5, 4), np.array(points))

    @property
    def matrix(self) -> SparseMatrix:
        """The weights as a sparse matrix, made once."""
        return self._once("matrix", self._weights)  # type: ignore[no-any-return]

    def _weights(self) -> SparseMatrix:
        import scipy.sparse

        count = len(self.points)
        place, weight = np.zeros((count, 1), np.int64), np.ones((count, 1))
        inside = np.ones((count, 1), bool)
        for axis, n in enumerate(self.image_shape):  # one more axis of taps at a time, in C order
            along, share = self._taps(self.points[:, axis], n)
            seen = (along >= 0) & (along < n)
            place = (place[:, :, None] * n + np.where(seen, along, 0)[:, None, :]).reshape(count, -1)
            weight = (weight[:, :, None] * share[:, None, :]).reshape(count, -1)
            inside = (inside[:, :, None] & seen[:, None, :]).reshape(count, -1)
        inside &= weight != 0
        row = np.broadcast_to(np.arange(count)[:, None], place.shape)
        entries = (weight[inside], (row[inside], place[inside]))
        shape = (count, math.prod(self.image_shape))
        return SparseMatrix(scipy.sparse.coo_array(entries, shape=shape), self.image_shape, None, self.kind)

    def _taps(self, p: Any, n: int) -> tuple[Any, Any]:
        """Grid points (K, taps) beside the coordinates on an axis of length n, and their weights."""
        p = np.clip(p, -3.0, n + 2.0)  # out of reach of every pixel, and an integer can hold it
        first = np.floor(p).astype(np.int64)
        along = first[:, None] + (np.arange(2) if self.order == 1 else np.arange(-1, 3))
        distance = p[:, None] - along
        return along, (1.0 - np.abs(distance)) if self.order == 1 else cubic(distance)

    def plan(self, xp: Any, device: Any, dtype: Any) -> Any:
        return self.matrix.plan(xp, device, dtype)

    def norm_bound(self) -> float:
        """sqrt(||A||_1 ||A||_inf), certified."""
        return self.matrix.norm_bound()

    def absolute_sums(self, like: Array) -> tuple[Array, Array]:
        """Sums of |A| over points and over pixels."""
        return self.matrix.absolute_sums(like)
