"""Weights of a prior: one number, or one per entry.

An array of weights is broadcast on the axes of a sample from the last one, as NumPy does; axes in front of these
are batch axes. A tuple of arrays serves a tuple of images; one array then serves each of its members.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge

from recon.arrays import Array, Spec, as_numpy, broadcasts, leaves, members, namespace, per_member, tmap
from recon.constants import frozen, real_as
from recon.errors import ParameterError, ShapeError
from recon.params import Doc, Parameters, short

__all__ = ["Weight", "Weighted", "Weights"]

Weight = Annotated[float, Ge(0), Doc("weight of the prior in the objective, >= 0")]
Weights = Annotated[
    float | np.ndarray[Any, Any] | tuple[np.ndarray[Any, Any], ...],
    Ge(0),
    Doc("weight of the prior in the objective, >= 0, or an array of one per entry"),
]


class Weighted(Parameters):
    """Base of priors whose ``weight`` may be an array: its checks, comparison and text."""

    weight: Any

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.weight, float) and math.isfinite(self.weight):
            return
        try:
            weight = tmap(frozen, self.weight)
        except ValueError:  # rows of different length
            weight = None
        for leaf in leaves(weight):
            values = np.asarray(as_numpy(leaf))
            if values.dtype.kind not in "fiu" or not np.isfinite(values).all() or (values < 0).any():
                given = short(self.weight) if np.isscalar(self.weight) else "other entries"
                raise ParameterError(
                    f"{type(self).__name__}.weight must be a finite number >= 0 or an array of such, got {given}."
                )
        object.__setattr__(self, "weight", weight)

    def _weights(self, x: Array) -> Any:
        """The weights for each member of x: a number, or an array in its library and precision."""
        if isinstance(self.weight, float):
            return per_member(self.weight, x)
        return tmap(real_as, per_member(self.weight, x), x)

    def _weighed(self, sizes: Array) -> float:
        """The weighted sum of real sizes."""
        pairs = zip(leaves(self._weights(sizes)), leaves(sizes), strict=True)
        if isinstance(self.weight, float):
            return self.weight * sum(float(namespace(size).sum(size)) for _, size in pairs)
        return sum(float(namespace(size).sum(weight * size)) for weight, size in pairs)

    def check_spec(self, spec: Spec) -> None:
        """Weights must broadcast to the sample, batch axes left aside."""
        self._check_weights([one.shape for one in members(spec)])

    def _check_weights(self, shapes: list[tuple[int, ...]]) -> None:
        if isinstance(self.weight, float):
            return
        given = self.weight if isinstance(self.weight, tuple) else (self.weight,) * len(shapes)
        got = [tuple(one.shape) for one in given]
        samples = [one[max(len(one) - len(shape), 0) :] for one, shape in zip(got, shapes, strict=False)]
        if len(got) != len(shapes) or not all(map(broadcasts, samples, shapes)):
            raise ShapeError(
                f"{type(self).__name__}.weight must broadcast to {', '.join(map(str, shapes))}, "
                f"got {', '.join(map(str, got))}. Give a number, or one weight per entry."
            )

    def _identity(self) -> tuple[Any, ...]:
        def plain(value: Any) -> Any:
            if not hasattr(value, "shape"):
                return tuple(map(plain, value)) if isinstance(value, tuple) else value
            array = as_numpy(value)
            return array.shape, str(array.dtype), array.tobytes()

        return tuple(plain(getattr(self, field.name)) for field in dataclasses.fields(self))  # type: ignore[arg-type]

    def __eq__(self, other: Any) -> bool:
        return type(other) is type(self) and self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash((type(self), self._identity()))

    def __repr__(self) -> str:
        fields = dataclasses.fields(self)  # type: ignore[arg-type]
        return (
            f"{type(self).__name__}({', '.join(f'{f.name}={_text(getattr(self, f.name))}' for f in fields)})"
        )


def _text(value: Any) -> str:
    return f"({', '.join(map(short, value))})" if isinstance(value, tuple) else short(value)
