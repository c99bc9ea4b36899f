"""Finite differences as operators.

Gradient            (G x)[k] = x[i + 1] - x[i] along axis k, every axis; the last difference is 0
FiniteDifference    (D x)[i] = 1/h^p sum_k w[k] x[i + k] along one axis, order p

    order 1   forward  x[i+1] - x[i]             backward  x[i] - x[i-1]            centered  (x[i+1] - x[i-1]) / 2
    order 2   forward  x[i+2] - 2 x[i+1] + x[i]  backward  x[i] - 2 x[i-1] + x[i-2] centered  x[i+1] - 2 x[i] + x[i-1]

Beyond its ends the signal goes on with its last value ("neumann"), with 0 ("zero") or around ("periodic").
"""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Gt, MinLen

from recon.arrays import Array, ArraySpec, Kind, device_of, namespace, real_like
from recon.differences import gradient, gradient_adjoint
from recon.errors import ParameterError, ShapeError
from recon.operator import Operator
from recon.params import Doc, Parameters, check

__all__ = ["FiniteDifference", "Gradient"]


@dataclass(frozen=True, eq=False, repr=False)
class Gradient(Operator):
    """Forward differences along every axis of an image, with Neumann boundary (the last difference is 0).

    Parameters
    ----------
    image_shape
        The sample's axes.
    kind
        ``"real"`` or ``"complex"``.
    ndim
        How many of the last axes are differentiated, 1 to 3; axes in front of these hold channels. By default all.

    Notes
    -----
    Formula: (G x)[k, i] = x[i + 1 along axis k] - x[i], and 0 in the last line of axis k
    Shapes: (n1, ..., nd) -> (d, n1, ..., nd), with channels (c, n1, ..., nd) -> (c, d, n1, ..., nd)
    Units: those of x, per sample; divide by the spacing for a derivative
    Cost: d passes over the data each way, no temporary with NumPy; ||G||^2 <= 4 d
    Source: A. Chambolle, J. Math. Imaging Vis. 20 (2004) 89, section 2, doi:10.1023/B:JMIV.0000011325.36760.1e
    """

    image_shape: tuple[int, ...]
    kind: Kind = "real"
    ndim: int | None = None

    def __post_init__(self) -> None:
        domain = ArraySpec(self.image_shape, self.kind)
        ndim = domain.ndim if self.ndim is None else self.ndim
        if self.ndim is None and not 1 <= ndim <= 3:
            raise ShapeError(f"Gradient.image_shape must have 1 to 3 axes, got {domain.shape}.")
        if not 1 <= ndim <= min(3, domain.ndim):
            raise ShapeError(f"Gradient.ndim must be 1 to 3 and at most {domain.ndim} axes, got {ndim}.")
        split = domain.ndim - ndim
        codomain = ArraySpec((*domain.shape[:split], ndim, *domain.shape[split:]), self.kind)
        for name, value in (
            ("image_shape", domain.shape),
            ("ndim", ndim),
            ("domain", domain),
            ("codomain", codomain),
        ):
            object.__setattr__(self, name, value)

    @property
    def _axes(self) -> int:
        assert self.ndim is not None  # the constructor has put a number
        return self.ndim

    def _forward(self, x: Array) -> Array:
        return gradient(x, self._axes)

    def _adjoint(self, y: Array) -> Array:
        return gradient_adjoint(y, self._axes)

    def absolute_sums(self, like: Array) -> tuple[float, float]:
        """At most 2 in a row, and 2 d in a column."""
        return 2.0, 2.0 * self._axes

    def norm_bound(self) -> float:
        """2 sqrt(d), certified; reached as the image grows."""
        return 2.0 * math.sqrt(sum(1 for n in self.image_shape[-self._axes :] if n > 1))

    @classmethod
    def example(cls) -> Gradient:
        """A small instance: 6 x 5 pixels."""
        return cls((6, 5))


Scheme = Literal["forward", "backward", "centered"]
Boundary = Literal["neumann", "zero", "periodic"]

# weights by offset, and their common factor
_STENCILS: dict[tuple[int, str], tuple[dict[int, int], float]] = {
    (1, "forward"): ({1: 1, 0: -1}, 1.0),
    (1, "backward"): ({0: 1, -1: -1}, 1.0),
    (1, "centered"): ({1: 1, -1: -1}, 0.5),
    (2, "forward"): ({2: 1, 1: -2, 0: 1}, 1.0),
    (2, "backward"): ({0: 1, -1: -2, -2: 1}, 1.0),
    (2, "centered"): ({1: 1, 0: -2, -1: 1}, 1.0),
}


@dataclass(frozen=True, eq=False, repr=False)
class FiniteDifference(Parameters, Operator):
    """Differences of order 1 or 2 along one axis.

    Parameters
    ----------
    image_shape
        The sample's axes.
    axis
        The axis to differentiate, counted as in NumPy; negative numbers count from the end.
    order
        1 for the first derivative, 2 for the second.
    scheme
        ``"forward"``, ``"backward"`` or ``"centered"``: the neighbours that enter.
    boundary
        How the signal goes on beyond its ends: ``"neumann"`` with its last value, ``"zero"`` with 0,
        ``"periodic"`` around.
    spacing
        Distance h between samples; the result is divided by h^order.
    kind
        ``"real"`` or ``"complex"``.

    Raises
    ------
    ParameterError
        When an argument breaks its rule.

    Notes
    -----
    Formula: (D x)[i] = 1/h^p sum_k w[k] x[i + k]; w = (-1, 1), (-1, 0, 1)/2 or (1, -2, 1) by order p and scheme
    Shapes: image_shape -> image_shape
    Units: those of x per unit of the spacing, to the power of the order
    Cost: 2 to 4 passes over the data each way, no memory but the result
    Source: R. J. LeVeque, "Finite difference methods for ordinary and partial differential equations", SIAM
    2007, chapter 1, doi:10.1137/1.9780898717839
    """

    image_shape: Annotated[tuple[Annotated[int, Gt(0)], ...], MinLen(1), Doc("axes of a sample")]
    axis: Annotated[int, Doc("axis to differentiate, as in NumPy")] = -1
    _: KW_ONLY
    order: Annotated[Literal[1, 2], Doc("order of the derivative")] = 1
    scheme: Annotated[Scheme, Doc("neighbours that enter")] = "forward"
    boundary: Annotated[Boundary, Doc("how the signal goes on: last value, 0, around")] = "neumann"
    spacing: Annotated[float, Gt(0), Doc("distance between samples, any unit")] = 1.0
    kind: Annotated[Kind, Doc("real or complex data")] = "real"

    def __post_init__(self) -> None:
        check(self)
        ndim = len(self.image_shape)
        if not -ndim <= self.axis < ndim:
            raise ParameterError(
                f"FiniteDifference.axis must be in {-ndim} ... {ndim - 1} for {ndim} axes, got {self.axis}."
            )
        spec = ArraySpec(self.image_shape, self.kind)
        object.__setattr__(self, "domain", spec)
        object.__setattr__(self, "codomain", spec)

    @property
    def _factor(self) -> float:
        return _STENCILS[self.order, self.scheme][1] / self.spacing**self.order

    def _forward(self, x: Array) -> Array:
        return self._applied(x, self._pieces)

    def _adjoint(self, y: Array) -> Array:
        return self._applied(y, [(columns, rows, w) for rows, columns, w in self._pieces])

    def _applied(self, x: Array, pieces: list[_Piece]) -> Array:
        """The sum of weight * x[source] at target over the pieces."""
        behind = self._behind * (slice(None),)
        xp = namespace(x)
        if not pieces:
            return xp.zeros_like(x)
        out = xp.empty(x.shape, dtype=x.dtype, device=device_of(x))
        for k, (target, source, weight) in enumerate(pieces):
            to, value = out[..., target, *behind], x[..., source, *behind]
            if k == 0:
                _fill(to, weight, value)
                out[..., : target.start, *behind] = 0.0
                out[..., target.stop :, *behind] = 0.0
            elif weight == 1:
                to += value
            elif weight == -1:
                to -= value
            else:
                to += weight * value
        if self._factor != 1.0:
            out *= self._factor
        return out

    @property
    def _behind(self) -> int:
        """How many axes stand behind ours."""
        return len(self.image_shape) - 1 - self.axis % len(self.image_shape)

    @property
    def _pieces(self) -> list[_Piece]:
        n, stencil = self.image_shape[self.axis], _STENCILS[self.order, self.scheme][0]
        return self._once("pieces", lambda: _pieces(n, stencil, self.boundary))  # type: ignore[no-any-return]

    def absolute_sums(self, like: Array) -> tuple[Array, Array]:
        """Row and column sums of |D|."""
        sums = np.zeros((2, self.image_shape[self.axis]))
        for rows, columns, weight in self._pieces:
            sums[0, rows] += abs(weight) * self._factor
            sums[1, columns] += abs(weight) * self._factor
        wide = [np.broadcast_to(one.reshape(-1, *[1] * self._behind), self.image_shape) for one in sums]
        return real_like(wide[0], like), real_like(wide[1], like)

    def norm_bound(self) -> float:
        """sqrt(||D||_1 ||D||_inf), certified (Schur test); a long periodic signal reaches it."""
        rows, columns = self.absolute_sums(np.ones(1))
        return math.sqrt(float(rows.max()) * float(columns.max()))

    @classmethod
    def example(cls) -> FiniteDifference:
        """A small instance: second differences down the rows of 6 x 5 pixels."""
        return cls((6, 5), 0, order=2, scheme="centered")


_Piece = tuple[slice, slice, int]


def _pieces(n: int, stencil: dict[int, int], boundary: Boundary) -> list[_Piece]:
    """The n x n matrix as runs of equal weights along its diagonals (rows, columns, weight).

    The first has the most to write: it needs no cleared result and, with NumPy, no temporary.
    """
    inside = np.arange(n)
    row = np.tile(inside, len(stencil))
    column = np.concatenate([inside + offset for offset in stencil])
    weight = np.repeat(list(stencil.values()), n)
    if boundary == "zero":
        kept = (column >= 0) & (column < n)
        row, column, weight = row[kept], column[kept], weight[kept]
    column = np.clip(column, 0, n - 1) if boundary == "neumann" else column % n
    place, inverse = np.unique((column - row + n) * n + row, return_inverse=True)  # along diagonals
    weight = np.bincount(inverse, weight).astype(np.int64)
    place, weight = place[weight != 0], weight[weight != 0]
    diagonal, row = place // n - n, place % n
    breaks = np.flatnonzero((np.diff(diagonal) != 0) | (np.diff(weight) != 0) | (np.diff(row) != 1)) + 1
    found = []
    for run in np.split(np.arange(place.size), breaks) if place.size else []:
        first, last, shift = int(row[run[0]]), int(row[run[-1]]) + 1, int(diagonal[run[0]])
        found.append((slice(first, last), slice(first + shift, last + shift), int(weight[run[0]])))
    return sorted(found, key=lambda piece: (piece[0].start - piece[0].stop) * abs(piece[2]))


def _fill(out: Any, weight: int, x: Any) -> None:
    if isinstance(out, np.ndarray):
        np.multiply(x, weight, out=out)
    else:
        out[...] = weight * x
