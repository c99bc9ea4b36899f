"""Keeping every s-th sample along each axis.

(A x)[i] = x[p + s i]           the adjoint puts zeros between the samples
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from annotated_types import Ge

from recon.arrays import Array, device_of, namespace
from recon.errors import ParameterError
from recon.params import Doc, Parameters, check
from recon_operators.sampling._rows import DataKind, GridShape, OrthogonalRows, per_axis, settle

__all__ = ["Decimate"]

_Step = Annotated[int, Ge(1)]


@dataclass(frozen=True, eq=False, repr=False)
class Decimate(Parameters, OrthogonalRows):
    """Every s-th sample along each axis, without a filter in front: compose it with a blur for an antialiased one.

    Parameters
    ----------
    image_shape
        Axes of the image.
    factor
        s, one number or one per axis; 1 keeps an axis as it is.
    phase
        The sample of the first s that is kept: ``"first"`` (p = 0), ``"centre"`` (p = (s - 1) // 2, the left one
        of the two centres where s is even), or p itself, one number or one per axis.
    kind
        ``"real"`` or ``"complex"``.

    Raises
    ------
    ParameterError
        When an argument breaks its rule.

    Notes
    -----
    Formula: (A x)[i] = x[p + s i] per axis
    Shapes: (n1, ..., nd) -> (m1, ..., md), m = ceil((n - p) / s)
    Units: those of the image
    Cost: one copy of the samples; the adjoint writes the image once
    Source: P. P. Vaidyanathan, "Multirate systems and filter banks", Prentice Hall 1993, section 4.1

    Examples
    --------
    >>> A = Decimate((64, 64), 4, "centre")
    >>> coarse = A @ image  # (16, 16)
    """

    image_shape: GridShape
    factor: Annotated[_Step | tuple[_Step, ...], Doc("s: every s-th sample is kept")]
    phase: Annotated[
        Literal["first", "centre"] | Annotated[int, Ge(0)] | tuple[Annotated[int, Ge(0)], ...],
        Doc("which of the first s samples is kept"),
    ] = "first"
    kind: DataKind = "real"

    def __post_init__(self) -> None:
        check(self)
        factor = per_axis(self.factor, self.image_shape, "Decimate.factor")
        if isinstance(self.phase, str):
            phase = tuple((s - 1) // 2 if self.phase == "centre" else 0 for s in factor)
            phase = tuple(min(p, n - 1) for p, n in zip(phase, self.image_shape, strict=True))
        else:
            phase = per_axis(self.phase, self.image_shape, "Decimate.phase")
        for p, s, n in zip(phase, factor, self.image_shape, strict=True):
            if p >= min(s, n):
                raise ParameterError(
                    f"Decimate.phase must be below the factor {s} and the length {n} of its axis, got {p}. "
                    "Take 'first' or 'centre'."
                )
        triples = zip(phase, self.image_shape, factor, strict=True)
        settle(
            self,
            self.image_shape,
            tuple(len(range(*triple)) for triple in triples),
            factor=factor,
            phase=phase,
        )

    @property
    def _kept(self) -> tuple[slice, ...]:
        return tuple(slice(p, None, s) for p, s in zip(self.phase, self.factor, strict=True))  # type: ignore[arg-type]

    @classmethod
    def example(cls) -> Decimate:
        """A small instance: every other row and every third column of 5 x 7."""
        return cls((5, 7), (2, 3), "centre")

    def _forward(self, x: Array) -> Array:
        return namespace(x).astype(x[(..., *self._kept)], x.dtype)  # which copies

    def _adjoint(self, y: Array) -> Array:
        batch: tuple[Any, ...] = tuple(y.shape[: y.ndim - len(self.image_shape)])
        out = namespace(y).zeros((*batch, *self.image_shape), dtype=y.dtype, device=device_of(y))
        out[(..., *self._kept)] = y
        return out
