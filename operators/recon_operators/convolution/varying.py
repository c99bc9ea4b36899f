"""Convolution with a kernel that changes over the image.

    A x = sum_j h_j * (w_j x)

With w_j a partition of unity and h_j the kernel at place j this interpolates the kernels; with few terms from a
singular value decomposition it is the low-rank (PCA) form.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge

from recon.arrays import Array, ArraySpec, real_like
from recon.constants import constant
from recon.errors import ParameterError, ShapeError
from recon.operator import Operator, Plan
from recon.params import Doc, check, short
from recon_operators.convolution._borders import Boundary
from recon_operators.convolution._fourier import Layout, layout
from recon_operators.convolution._kernel import Center, Floats, resolve_center, transfer_function
from recon_operators.convolution._varying import TilePlan, Tiling, WholePlan

__all__ = ["VaryingConvolution", "bilinear_weights"]


@dataclass(frozen=True, eq=False, repr=False)
class VaryingConvolution(Operator):
    """Convolution with a kernel that changes over the image: a sum of kernels times weight images.

    Where the weights are local (interpolation between many kernels), each term acts on the tile where its weight
    is not 0; else all act on the whole image and are summed in the spectrum. The cheaper way is taken; both are
    the same map to rounding, with exact adjoints.

    Parameters
    ----------
    kernels
        h_j: (J, K_1, ..., K_d).
    weights
        w_j: (J, n_1, ..., n_d), images of the weights; :func:`bilinear_weights` makes those of a grid.
    center, boundary
        As in :class:`Convolution`. Weights are continued beyond the edges as the image is.

    Raises
    ------
    ShapeError, ParameterError
        When kernels, weights and centre do not fit each other.

    Notes
    -----
    Formula: A x = sum_j h_j * (w_j x): pixel x spreads by the kernel sum_j w_j(x) h_j
    Shapes: (n_1, ..., n_d) -> the same; for "valid" (n_1 - K_1 + 1, ...)
    Units: y in units of x times the sum of the kernels
    Cost: J + 1 real transforms of the image, or two per tile; memory J spectra, or all tiles
    Source: J. G. Nagy and D. P. O'Leary, SIAM J. Sci. Comput. 19 (1998) 1063, doi:10.1137/S106482759528507X
        (interpolation); T. R. Lauer, Proc. SPIE 4847 (2002) 167, doi:10.1117/12.461035 (low rank)

    Examples
    --------
    >>> weights = bilinear_weights([[0, 255, 511], [0, 255, 511]], (512, 512))
    >>> A = VaryingConvolution(psfs, weights, center="peak")  # nine kernels, row by row
    >>> B = A.low_rank(3)  # cheaper, nearly the same
    """

    kernels: Annotated[np.ndarray[Any, Any], Doc("kernels (J, K_1, ..., K_d)")]
    weights: Annotated[np.ndarray[Any, Any], Doc("weight images (J, n_1, ..., n_d)")]
    _: KW_ONLY
    center: Annotated[Center, Doc("'middle', 'peak', 'centroid' or the index of the centre")] = "middle"
    boundary: Annotated[Boundary, Doc("what lies outside the image")] = "periodic"

    def __post_init__(self) -> None:
        for name in ("kernels", "weights"):
            object.__setattr__(self, name, constant(getattr(self, name), f"VaryingConvolution.{name}"))
        check(self)
        kernels, weights = self.kernels, self.weights
        fits = kernels.ndim == weights.ndim and kernels.shape[:1] == weights.shape[:1] and kernels.size
        if not (fits and 2 <= kernels.ndim <= 4):
            raise ShapeError(
                "VaryingConvolution.kernels and weights must be stacks of the same length with 1 to 3 axes each, "
                f"got shapes {kernels.shape} and {weights.shape}."
            )
        if self.boundary == "valid" and (np.array(kernels.shape) > weights.shape)[1:].any():
            raise ShapeError(
                "VaryingConvolution.kernels must be no larger than the weight images for boundary 'valid', "
                f"got shapes {kernels.shape} and {weights.shape}."
            )
        if not weights.any():
            raise ParameterError("VaryingConvolution.weights must not all be 0, got zeros.")
        center = resolve_center(kernels, kernels.ndim - 1, self.center, "VaryingConvolution")
        object.__setattr__(self, "center", center)

    @property
    def domain(self) -> ArraySpec:  # type: ignore[override]
        """The image, real unless kernels or weights are complex."""
        return ArraySpec(self._layout.image, self._kind)

    @property
    def codomain(self) -> ArraySpec:  # type: ignore[override]
        """The data, smaller than the image for boundary "valid"."""
        return ArraySpec(self._layout.data, self._kind)

    @property
    def _kind(self) -> Any:
        return "complex" if "c" in (self.kernels.dtype.kind, self.weights.dtype.kind) else "real"

    @property
    def _layout(self) -> Layout:
        shapes = self.weights.shape[1:], self.kernels.shape[1:]
        return self._once("layout", lambda: layout(*shapes, self.center, self.boundary))  # type: ignore[no-any-return]

    def plan(self, xp: Any, device: Any, dtype: Any) -> Plan:
        """Tiles where they are fewer entries to transform, else the whole image."""
        parts, half = self._layout, self._kind == "real"
        tiling = Tiling(parts.image, self.kernels.shape[1:], self.center, self.boundary, self.weights)
        if tiling.cost < (len(self.kernels) + 1) * math.prod(parts.lengths):
            return TilePlan(tiling, parts.data, self.kernels, half, xp, device, dtype)
        return WholePlan(parts, self.kernels, self.weights, half, xp, device, dtype)

    def low_rank(self, rank: int) -> VaryingConvolution:
        """The operator with the kernels replaced by their best approximation of a rank (PCA, no mean removed).

        h_j = sum_r U[j, r] s_r e_r gives A = sum_r e_r * (a_r x) with a_r = s_r sum_j U[j, r] w_j: `rank` terms
        instead of J. Nothing is lost at rank J.

        Parameters
        ----------
        rank
            Number of terms, 1 to J.
        """
        count, shape = len(self.kernels), self.kernels.shape[1:]
        if isinstance(rank, bool) or not isinstance(rank, int | np.integer) or not 1 <= rank <= count:
            raise ParameterError(
                f"VaryingConvolution.low_rank rank must be an integer from 1 to {count}, got {short(rank)}."
            )
        # "valid" sees no centre; else the kernels are moved so that theirs meet
        centers = np.asarray(self.center) * (self.boundary != "valid")
        common = centers.max(axis=0)
        room = [int(k) for k in np.array(shape) + common - centers.min(axis=0)]
        aligned = np.zeros((count, *room), self.kernels.dtype)
        for kernel, center, place in zip(self.kernels, centers, aligned, strict=True):
            place[tuple(slice(a, a + k) for a, k in zip(common - center, shape, strict=True))] = kernel
        u, s, e = np.linalg.svd(aligned.reshape(count, -1), full_matrices=False)
        rank = min(int(rank), s.size)
        weights = np.tensordot((u[:, :rank] * s[:rank]).T, self.weights, 1)
        kernels = e[:rank].reshape(rank, *room)
        return dataclasses.replace(
            self, kernels=kernels, weights=weights, center=tuple(int(c) for c in common)
        )

    def norm_bound(self) -> float:
        """The least of two certified bounds.

        Schur's sqrt(max row sum * max column sum) of |A|, and ||E|| max_f |hhat(f)| max_x |w(x)|, where |.| is the
        Euclidean length over the terms.
        """
        transfer = transfer_function(self.kernels, self._layout.origin, self._layout.lengths, half=False)
        lengths = [np.sqrt((np.abs(values) ** 2).sum(axis=0)).max() for values in (transfer, self.weights)]
        border = self._layout.border
        joint = float(lengths[0] * lengths[1]) * math.sqrt(border.square_norm() if border else 1.0)
        rows, columns = self.absolute_sums(np.ones(()))
        return min(joint, math.sqrt(float(rows.max()) * float(columns.max())))

    def absolute_sums(self, like: Array) -> tuple[Array, Array]:
        """At least |A| 1 and |A|^T 1: the operator with |h_j| and |w_j|, once forward and once back."""
        twin = dataclasses.replace(self, kernels=np.abs(self.kernels), weights=np.abs(self.weights))
        rows, columns = twin @ np.ones(twin.domain.shape), twin.H @ np.ones(twin.codomain.shape)
        up = 1e-12 * float(max(rows.max(), columns.max()))  # rounding of the transforms
        return real_like((rows + up) * (1 + 1e-6), like), real_like((columns + up) * (1 + 1e-6), like)

    @classmethod
    def example(cls) -> VaryingConvolution:
        """A small instance: 12 x 10 pixels, four kernels of 3 x 3 that widen from corner to corner."""
        width = np.array([0.5, 0.8, 0.8, 1.4])[:, None, None]
        y, x = np.indices((3, 3)) - 1
        kernels = np.exp(-(x**2 + y**2) / (2 * width**2))
        kernels /= kernels.sum(axis=(1, 2), keepdims=True)
        return cls(kernels, bilinear_weights([[0, 11], [0, 9]], (12, 10)), boundary="reflect")


def bilinear_weights(
    positions: Sequence[Sequence[float]], image_shape: Sequence[Annotated[int, Ge(1)]]
) -> Floats:
    """Weights that interpolate linearly between the points of a grid, and are constant beyond its edge.

    Parameters
    ----------
    positions
        Per axis the coordinates of the grid, in pixels, increasing.
    image_shape
        Axes of the image.

    Returns
    -------
    numpy.ndarray
        (J, n_1, ..., n_d), J the number of grid points, the last axis fastest. They are >= 0 and sum to 1.
    """
    if len(positions) != len(image_shape):
        raise ShapeError(
            f"bilinear_weights.positions must be one sequence for each of the {len(image_shape)} axes, "
            f"got {len(positions)}."
        )
    if min(image_shape) < 1:
        raise ShapeError(f"bilinear_weights.image_shape must be positive, got {tuple(image_shape)}.")
    hats: Floats = np.ones((1,) * (1 + len(image_shape)))
    for axis, (places, n) in enumerate(zip(positions, image_shape, strict=True)):
        grid = constant(places, f"bilinear_weights.positions[{axis}]")
        if grid.ndim != 1 or grid.size == 0 or (np.diff(grid) <= 0).any():
            raise ParameterError(
                f"bilinear_weights.positions[{axis}] must be increasing numbers, got shape {grid.shape}. Sort them."
            )
        along = np.stack([np.interp(np.arange(n), grid, unit) for unit in np.eye(grid.size)])
        shape = [n if k == axis else 1 for k in range(len(image_shape))]
        hats = (hats[:, None] * along.reshape(grid.size, *shape)).reshape(-1, *_joint(hats.shape[1:], shape))
    return np.asarray(hats)


def _joint(first: Sequence[int], second: Sequence[int]) -> tuple[int, ...]:
    return np.broadcast_shapes(tuple(first), tuple(second))
