"""Constraints as priors: 0 inside the set, infinite outside; the prox is the projection, whatever the step."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from annotated_types import Gt

from recon.arrays import (
    Array,
    Spec,
    as_numpy,
    broadcasts,
    clip,
    device_of,
    leaves,
    members,
    namespace,
    tmap,
)
from recon.constants import frozen, real_as
from recon.errors import CapabilityError, ParameterError, ShapeError
from recon.params import Doc, Parameters, describe
from recon.priors.base import Prior
from recon.priors.bounds import Separable

__all__ = ["Box", "NonNegative", "Simplex"]


def _slack(x: Any) -> float:
    """What counts as rounding when feasibility is judged: a few units of the last digits."""
    return 64.0 * float(namespace(x).finfo(x.dtype).eps)


class _Interval(Parameters, Separable):
    """lower <= x <= upper, entry by entry."""

    @abstractmethod
    def _bounds(self, x: Any) -> tuple[Any, Any]:
        """Lower and upper bound of an array: None, numbers, or arrays of its library."""

    def value(self, x: Array) -> float:
        for leaf in leaves(x):
            xp = namespace(leaf)
            lower, upper = self._bounds(leaf)
            slack = _slack(leaf) * float(xp.max(xp.abs(leaf)))
            if lower is not None and not bool(xp.all(leaf >= lower - slack)):
                return math.inf
            if upper is not None and not bool(xp.all(leaf <= upper + slack)):
                return math.inf
        return 0.0

    def prox(self, v: Array, t: Any) -> Array:
        """Clip; independent of t."""
        return tmap(lambda leaf: clip(leaf, *self._bounds(leaf)), v)

    def gauge(self, z: Array) -> float:
        """0 where z points to bounds only, else infinite."""

        def free(leaf: Any) -> bool:
            xp = namespace(leaf)
            lower, upper = self._bounds(leaf)
            return bool((upper is None and xp.any(leaf > 0)) or (lower is None and xp.any(leaf < 0)))

        return math.inf if any(map(free, leaves(z))) else 0.0

    def conjugate(self, z: Array) -> float:
        """sum max(lower z, upper z) over finite bounds."""

        def support(leaf: Any) -> float:
            xp = namespace(leaf)
            lower, upper = self._bounds(leaf)
            up, down = clip(leaf, 0.0, None), clip(leaf, None, 0.0)
            total = 0.0 if upper is None else float(xp.sum(upper * up))
            return total if lower is None else total + float(xp.sum(lower * down))

        return sum(map(support, leaves(z)))

    def check_spec(self, spec: Spec) -> None:
        for one in members(spec):
            if one.kind == "complex":
                raise ShapeError(
                    f"{type(self).__name__} must act on real arrays, got a complex spec. Use a real domain."
                )


@dataclass(frozen=True)
class NonNegative(_Interval):
    """x >= 0: attenuation, abundance, intensity."""

    @property
    def interval(self) -> tuple[float | None, float | None]:
        return 0.0, None

    def _bounds(self, x: Any) -> tuple[Any, Any]:
        return self.interval

    @classmethod
    def example(cls) -> NonNegative:
        return cls()


Bound = float | np.ndarray[Any, Any] | None


@dataclass(frozen=True, eq=False, repr=False)
class Box(_Interval):
    """lower <= x <= upper, everywhere the same or pixel by pixel.

    A known support is a bound per pixel: ``Box(0.0, 1.5 * mask)`` is 0 <= x <= 1.5 where the mask is true and
    x = 0 elsewhere. Bounds that are numbers join other priors in one prox (``L1 + Box``, ``TV + Box`` in Fista);
    bounds per pixel do so with :class:`NonNegative` and other boxes of numbers, and stand beside any prior in the
    solvers that split (Pdhg, Admm).

    Parameters
    ----------
    lower, upper
        Bounds in units of x, numbers or arrays that broadcast to the image; None leaves a side open.

    Raises
    ------
    ParameterError
        When a bound is not finite, or a lower bound is above the upper one.
    """

    lower: Annotated[Bound, Doc("smallest value, in units of x, or an array; None leaves it open")] = 0.0
    upper: Annotated[Bound, Doc("largest value, in units of x, or an array; None leaves it open")] = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("lower", "upper"):
            bound = getattr(self, name)
            if bound is None or isinstance(bound, float):
                continue
            values = np.asarray(as_numpy(bound))
            if values.dtype.kind not in "bfiu" or not np.isfinite(values).all():
                raise ParameterError(
                    f"Box.{name} must be None, a number or an array of finite real numbers, got others. "
                    "None leaves a side open."
                )
            object.__setattr__(self, name, frozen(bound))
        if self.lower is None or self.upper is None:
            return
        lower, upper = (np.asarray(as_numpy(bound), dtype=np.float64) for bound in (self.lower, self.upper))
        if lower.ndim == upper.ndim == 0 and lower > upper:
            raise ParameterError(
                f"Box.upper must be >= lower = {self.lower}, got {self.upper}. Swap the bounds."
            )
        if not (broadcasts(lower.shape, upper.shape) or broadcasts(upper.shape, lower.shape)):
            raise ShapeError(
                f"Box.upper must have the shape of lower, {lower.shape}, got {upper.shape}. "
                "Give each bound per pixel, or as a number."
            )
        if (lower > upper).any():
            raise ParameterError(
                f"Box.upper must be >= lower in every pixel, got less in {int((lower > upper).sum())}. "
                "Swap or widen the bounds."
            )

    @property
    def interval(self) -> tuple[float | None, float | None]:
        """Both bounds where they are numbers; bounds per pixel are no interval."""
        if self._per_pixel:
            raise AttributeError("bounds per pixel are no interval")
        return self.lower, self.upper  # type: ignore[return-value]

    @property
    def _per_pixel(self) -> list[Any]:
        return [bound for bound in (self.lower, self.upper) if hasattr(bound, "shape")]

    def _bounds(self, x: Any) -> tuple[Any, Any]:
        lower, upper = (
            real_as(bound, x) if hasattr(bound, "shape") else bound for bound in (self.lower, self.upper)
        )
        return lower, upper

    def prox_within(self, v: Array, t: Any, lower: Any, upper: Any) -> Array:
        """Clip to both; the order does not matter where they overlap."""
        return tmap(lambda leaf: clip(leaf, lower, upper), self.prox(v, t))

    def allows(self, lower: Any, upper: Any) -> bool:
        """Intervals that overlap the bounds of every pixel."""
        own = [
            None if b is None else np.asarray(as_numpy(b) if hasattr(b, "shape") else b)
            for b in (self.lower, self.upper)
        ]
        return not (
            (lower is not None and own[1] is not None and (own[1] < lower).any())
            or (upper is not None and own[0] is not None and (own[0] > upper).any())
        )

    def check_spec(self, spec: Spec) -> None:
        super().check_spec(spec)
        for bound in self._per_pixel:
            for one in members(spec):
                if not broadcasts(tuple(bound.shape), one.shape):
                    raise ShapeError(
                        f"Box bounds must broadcast to the image, {one.shape}, got {tuple(bound.shape)}. "
                        "Give numbers, or one bound per pixel."
                    )

    def __eq__(self, other: Any) -> bool:
        return type(other) is type(self) and describe(other) == describe(self)

    def __hash__(self) -> int:
        return hash(repr(describe(self)))

    def __repr__(self) -> str:
        return f"Box(lower={_text(self.lower)}, upper={_text(self.upper)})"

    @classmethod
    def example(cls) -> Box:
        return cls(-0.5, 0.75)


def _text(bound: Any) -> str:
    return f"<{bound.dtype} {tuple(bound.shape)}>" if hasattr(bound, "shape") else repr(bound)


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

    def gauge(self, z: Array, lower: Any = None, upper: Any = None) -> float:
        """0: finite everywhere."""
        return 0.0

    def conjugate(self, z: Array, lower: Any = None, upper: Any = None) -> float:
        """total times the largest entry of each vector."""
        return self.total * sum(
            float(namespace(leaf).sum(namespace(leaf).max(leaf, axis=self.axis))) for leaf in leaves(z)
        )

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
