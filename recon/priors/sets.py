"""Constraints as priors: 0 inside the set, infinite outside; the prox is the projection, whatever the step."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any

from annotated_types import Gt

from recon.arrays import Array, Spec, clip, device_of, leaves, namespace, tmap
from recon.errors import CapabilityError, ParameterError, ShapeError
from recon.params import Doc, Parameters
from recon.priors.base import Prior, Separable

__all__ = ["Box", "NonNegative", "Simplex"]


def _slack(x: Any) -> float:
    """What counts as rounding when feasibility is judged: a few units of the last digits."""
    return 64.0 * float(namespace(x).finfo(x.dtype).eps)


class _Interval(Parameters, Separable):
    """lower <= x <= upper, entry by entry."""

    interval: tuple[float | None, float | None]

    def value(self, x: Array) -> float:
        lower, upper = self.interval
        for leaf in leaves(x):
            xp = namespace(leaf)
            smallest, largest = float(xp.min(leaf)), float(xp.max(leaf))
            slack = _slack(leaf) * max(abs(smallest), abs(largest))
            if lower is not None and not smallest >= lower - slack:
                return math.inf
            if upper is not None and not largest <= upper + slack:
                return math.inf
        return 0.0

    def prox(self, v: Array, t: Any) -> Array:
        """Clip; independent of t."""
        lower, upper = self.interval
        return tmap(lambda leaf: clip(leaf, lower, upper), v)

    def check_spec(self, spec: Spec) -> None:
        for one in spec if isinstance(spec, tuple) else (spec,):
            if one.kind == "complex":
                raise ShapeError(
                    f"{type(self).__name__} must act on real arrays, got a complex spec. Use a real domain."
                )


@dataclass(frozen=True)
class NonNegative(_Interval):
    """x >= 0: attenuation, abundance, intensity."""

    @property
    def interval(self) -> tuple[float | None, float | None]:  # type: ignore[override]
        return 0.0, None

    @classmethod
    def example(cls) -> NonNegative:
        return cls()


@dataclass(frozen=True)
class Box(_Interval):
    """lower <= x <= upper.

    Parameters
    ----------
    lower, upper
        Bounds in units of x; None leaves a side open.
    """

    lower: Annotated[float | None, Doc("smallest value, in units of x; None leaves it open")] = 0.0
    upper: Annotated[float | None, Doc("largest value, in units of x; None leaves it open")] = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.lower is not None and self.upper is not None and self.lower > self.upper:
            raise ParameterError(
                f"Box.upper must be >= lower = {self.lower}, got {self.upper}. Swap the bounds."
            )

    @property
    def interval(self) -> tuple[float | None, float | None]:  # type: ignore[override]
        return self.lower, self.upper

    @classmethod
    def example(cls) -> Box:
        return cls(-0.5, 0.75)


@dataclass(frozen=True)
class Simplex(Parameters, Prior):
    """x >= 0 and sum of x along ``axis`` = total: abundances, probabilities.

    Projection by sorting (Held, Wolfe and Crowder 1974): O(n log n) per vector.

    Parameters
    ----------
    total
        The sum, > 0.
    axis
        The axis that sums up.
    """

    total: Annotated[float, Gt(0), Doc("what the entries sum to")] = 1.0
    axis: Annotated[int, Doc("axis that sums up; negative, so that batch axes may go in front")] = -1

    def value(self, x: Array) -> float:
        for leaf in leaves(x):
            xp = namespace(leaf)
            slack = _slack(leaf) * self.total * leaf.shape[self.axis]
            total = xp.sum(leaf, axis=self.axis)
            if float(xp.min(leaf)) < -slack or float(xp.max(xp.abs(total - self.total))) > slack:
                return math.inf
        return 0.0

    def prox(self, v: Array, t: Any) -> Array:
        """Euclidean projection; independent of t."""
        return tmap(self._project, v)

    def allows(self, lower: Any, upper: Any) -> bool:
        """Intervals that hold the whole simplex already."""
        return (lower is None or lower <= 0.0) and (upper is None or upper >= self.total)

    def prox_within(self, v: Array, t: Any, lower: Any, upper: Any) -> Array:
        """The projection itself: the interval changes nothing."""
        if not self.allows(lower, upper):
            raise CapabilityError(
                f"Simplex.prox_within must be asked for an interval around [0, {self.total}], got [{lower}, {upper}]. "
                "Use Pdhg or Admm."
            )
        return self.prox(v, t)

    def _project(self, v: Any) -> Any:
        xp = namespace(v)
        v = xp.moveaxis(v, self.axis, -1)
        count = v.shape[-1]
        # entries far below the largest are zero whatever the total: shifting by it keeps the sums exact
        v = v - xp.max(v, axis=-1, keepdims=True)
        falling = xp.sort(v, axis=-1, descending=True)
        ranks = xp.astype(xp.arange(1, count + 1, device=device_of(v)), v.dtype)
        levels = (xp.cumulative_sum(falling, axis=-1) - self.total) / ranks
        active = xp.sum(xp.astype(falling > levels, xp.int64), axis=-1, keepdims=True)
        level = xp.take_along_axis(levels, active - 1, axis=-1)
        return xp.moveaxis(clip(v - level, 0.0, None), -1, self.axis)

    def check_spec(self, spec: Spec) -> None:
        for one in spec if isinstance(spec, tuple) else (spec,):
            if one.kind == "complex" or not -one.ndim <= self.axis < 0:
                raise ShapeError(
                    f"Simplex.axis must be negative and inside the sample's {one.ndim} real axes, got {self.axis}."
                )

    @classmethod
    def example(cls) -> Simplex:
        return cls(total=1.0, axis=-1)
