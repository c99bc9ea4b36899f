"""Keeping some lines along one axis: slices of a stack, bands of a cube, rows, views.

(A x)[..., k, ...] = x[..., index[k], ...]          the adjoint puts them back, with zeros between
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from recon.errors import ParameterError
from recon.params import Doc, Parameters, check, short
from recon_operators.sampling._places import places
from recon_operators.sampling._rows import DataKind, GridShape, OrthogonalRows, settle

__all__ = ["Select"]


@dataclass(frozen=True, eq=False, repr=False)
class Select(Parameters, OrthogonalRows):
    """Some lines of an axis, in the order given.

    Parameters
    ----------
    image_shape
        Axes of the image.
    axis
        The axis to select from, counted as in NumPy; negative numbers count from the end.
    index
        What to keep: a slice, a range or whole numbers, no line twice; negative ones count from the end. Kept as
        numbers.
    kind
        ``"real"`` or ``"complex"``.

    Raises
    ------
    ParameterError
        When an argument breaks its rule.

    Notes
    -----
    Formula: (A x)[..., k, ...] = x[..., index[k], ...]
    Shapes: (..., n, ...) -> (..., len(index), ...)
    Units: those of the image
    Cost: one copy of what is kept; the adjoint writes the image once
    Source: G. H. Golub and C. F. Van Loan, "Matrix computations", 4th ed., Johns Hopkins 2013, section 1.2
    (rows of the identity)

    Examples
    --------
    >>> A = Select.every((64, 128, 128), axis=0, step=8)  # a stack with an eighth of its slices
    >>> bands = Select((31, 64, 64), 0, [3, 12, 27])
    """

    image_shape: GridShape
    axis: Annotated[int, Doc("axis to select from, as in NumPy")]
    index: Annotated[slice | tuple[int, ...], Doc("what to keep: whole numbers or a slice")]
    kind: DataKind = "real"

    def __post_init__(self) -> None:
        if isinstance(self.index, range):
            object.__setattr__(self, "index", tuple(self.index))
        check(self)
        ndim = len(self.image_shape)
        if not -ndim <= self.axis < ndim:
            raise ParameterError(f"Select.axis must be in {-ndim} ... {ndim - 1}, got {self.axis}.")
        n = self.image_shape[self.axis]
        try:
            index = range(*self.index.indices(n)) if isinstance(self.index, slice) else self.index
        except (TypeError, ValueError) as error:
            raise ParameterError(
                f"Select.index must be a slice of an axis, got {self.index}: {error}."
            ) from None
        kept = tuple(k + n if k < 0 else k for k in index)
        if not kept or min(kept) < 0 or max(kept) >= n or len(set(kept)) < len(kept):
            raise ParameterError(
                f"Select.index must be different numbers in {-n} ... {n - 1}, at least one, got {short(self.index)}."
            )
        shape = list(self.image_shape)
        shape[self.axis] = len(kept)
        settle(self, self.image_shape, tuple(shape), index=kept)

    @classmethod
    def every(
        cls, image_shape: tuple[int, ...], axis: int, step: int, start: int = 0, kind: Any = "real"
    ) -> Select:
        """Every `step`-th line of an axis, from `start` on."""
        if step < 1 or start < 0:
            raise ParameterError(f"Select.every step must be >= 1 and start >= 0, got {step} and {start}.")
        return cls(image_shape, axis, slice(start, None, step), kind)

    @classmethod
    def example(cls) -> Select:
        """A small instance: three of five slices of 3 x 2."""
        return cls((5, 3, 2), 0, (4, 0, 1))

    def plan(self, xp: Any, device: Any, dtype: Any) -> Any:
        ndim = len(self.image_shape)
        return places(self.index, self.image_shape[self.axis], self.axis % ndim - ndim, xp, device)
