"""A sampling pattern that was learned: any set of places of a grid, kept as numbers.

    (A x)[k] = x.ravel()[indices[k]]

Training (deep probabilistic subsampling and its kin) finds the places; afterwards the pattern is an ordinary,
exact operator.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np

from recon.arrays import Array, Kind, as_numpy
from recon.errors import ParameterError
from recon.params import Doc, Parameters, check, short
from recon_operators.sampling._places import places
from recon_operators.sampling._rows import DataKind, GridShape, OrthogonalRows, settle

__all__ = ["LearnedSubsampling"]


@dataclass(frozen=True, eq=False, repr=False)
class LearnedSubsampling(Parameters, OrthogonalRows):
    """The entries of an image at given places, as a vector.

    Parameters
    ----------
    image_shape
        Axes of the image, or of its spectrum.
    indices
        Places in the flattened image (C order), none twice; the data come in this order.
    kind
        ``"real"`` or ``"complex"``.

    Raises
    ------
    ParameterError
        When the places are no such numbers.

    Notes
    -----
    Formula: (A x)[k] = x.ravel()[indices[k]]
    Shapes: image_shape -> (number of places,)
    Units: those of the image
    Cost: one read per place, about 1 ns; the adjoint writes the image once
    Source: I. A. M. Huijben, B. S. Veeling and R. J. G. van Sloun, "Deep probabilistic subsampling for
    task-adaptive compressed sensing", ICLR 2020

    Examples
    --------
    >>> A = LearnedSubsampling.from_scores(logits, 512)  # the 512 places with the highest scores
    >>> data = A @ spectrum
    """

    image_shape: GridShape
    indices: Annotated[np.ndarray[Any, Any], Doc("places in the flattened image, none twice")]
    kind: DataKind = "real"

    def __post_init__(self) -> None:
        check(self)
        size = math.prod(self.image_shape)
        indices = np.array(as_numpy(self.indices))
        if (
            indices.ndim != 1
            or indices.size == 0
            or indices.dtype.kind not in "iu"
            or indices.min() < 0
            or indices.max() >= size
            or np.unique(indices).size < indices.size
        ):
            raise ParameterError(
                f"LearnedSubsampling.indices must be one axis of different whole numbers in 0 ... {size - 1}, "
                f"got {short(self.indices)}. Of a mask take numpy.flatnonzero."
            )
        indices = indices.astype(np.int64)
        indices.setflags(write=False)
        settle(self, self.image_shape, (indices.size,), indices=indices)

    @classmethod
    def from_scores(cls, scores: Array, count: int, kind: Kind = "real") -> LearnedSubsampling:
        """The `count` places with the highest scores (logits), in C order; of equal ones the first."""
        values = np.asarray(as_numpy(scores))
        if values.dtype.kind not in "iuf" or np.isnan(values).any():
            raise ParameterError(
                f"LearnedSubsampling.from_scores scores must be real numbers, none of them NaN, got {short(scores)}."
            )
        whole = isinstance(count, int | np.integer) and not isinstance(count, bool)
        if not (whole and 1 <= count <= values.size):
            raise ParameterError(
                f"LearnedSubsampling.from_scores count must be an integer in 1 ... {values.size}, got {short(count)}."
            )
        best = np.argsort(-values.astype(np.float64), axis=None, kind="stable")[:count]
        return cls(values.shape, np.sort(best), kind)

    @property
    def pattern(self) -> np.ndarray[Any, Any]:
        """The places as an array of booleans on the grid."""
        seen = np.zeros(self.image_shape, bool)
        seen.ravel()[self.indices] = True
        return seen

    @classmethod
    def example(cls) -> LearnedSubsampling:
        """A small instance: five places of 4 x 3."""
        return cls((4, 3), np.array([7, 0, 3, 11, 4]))

    def plan(self, xp: Any, device: Any, dtype: Any) -> _FlatPlan:
        return _FlatPlan(
            places(self.indices, math.prod(self.image_shape), -1, xp, device), self.image_shape, xp
        )


class _FlatPlan:
    def __init__(self, flat: Any, shape: tuple[int, ...], xp: Any) -> None:
        self.flat, self.shape, self.xp = flat, shape, xp

    def apply(self, x: Array) -> Array:
        batch = tuple(x.shape[: x.ndim - len(self.shape)])
        return self.flat.apply(self.xp.reshape(x, (*batch, math.prod(self.shape))))

    def adjoint(self, y: Array) -> Array:
        return self.xp.reshape(self.flat.adjoint(y), (*tuple(y.shape[:-1]), *self.shape))
