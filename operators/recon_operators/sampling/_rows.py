"""What most samplings share: rows that are orthogonal and of one length, without a negative entry.

The first gives the closed forms (`_tight`), the second the sums of |A|: A 1 and A^T 1.
"""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from annotated_types import Gt, MinLen

from recon.arrays import Array, ArraySpec, Kind, real_like
from recon.errors import ParameterError
from recon.params import Doc
from recon_operators._tight import TightRows

__all__ = ["DataKind", "GridShape", "OrthogonalRows", "along", "per_axis", "settle"]

GridShape = Annotated[tuple[Annotated[int, Gt(0)], ...], MinLen(1), Doc("axes of the image")]
DataKind = Annotated[Kind, Doc("real or complex data")]


class OrthogonalRows(TightRows):
    """Base: a subclass has the fields below and the two products; `gain` where it is not 1."""

    image_shape: tuple[int, ...]
    kind: Kind

    def absolute_sums(self, like: Array) -> tuple[Array, Array]:
        """A 1 and A^T 1, exact because no entry is negative."""
        specs = (self.domain, self.codomain)
        number = complex if self.kind == "complex" else float
        x, y = (np.ones(spec.shape, number) for spec in specs if isinstance(spec, ArraySpec))
        return real_like((self @ x).real, like), real_like((self.H @ y).real, like)


def settle(operator: Any, shape: tuple[int, ...], data_shape: tuple[int, ...], **fields: Any) -> None:
    """Give a new operator its specs, made once because every product reads them, and its fields in final form."""
    specs = {"domain": ArraySpec(shape, operator.kind), "codomain": ArraySpec(data_shape, operator.kind)}
    for name, value in {**specs, **fields}.items():
        object.__setattr__(operator, name, value)


def per_axis(value: Any, shape: tuple[int, ...], owner: str) -> tuple[Any, ...]:
    """One value per axis from one value or a sequence of them."""
    if not isinstance(value, tuple):
        return (value,) * len(shape)
    if len(value) != len(shape):
        raise ParameterError(
            f"{owner} must have one value per axis of {shape}, got {len(value)}. Give {len(shape)}."
        )
    return value


def along(axis: int, index: Any) -> tuple[Any, ...]:
    """The index of `index` along an axis counted from the end (-1 is the last)."""
    return (Ellipsis, index, *[slice(None)] * (-1 - axis))
