"""Losses: what we believe of the difference between a prediction p = A x and the data y.

    LeastSquares            1/2 ||p - y||^2
    WeightedLeastSquares    1/2 sum w |p - y|^2
    Poisson                 sum (p + b) - y + y log(y / (p + b))        (Kullback-Leibler, background b)

Each has ``value(p, y)``, ``gradient(p, y)`` with respect to p, and ``curvature(y)``, the Lipschitz constant of
that gradient (infinite where there is none). ``prox(v, t, y)`` = argmin_p value(p, y) + ||p - v||^2 / (2 t),
where t is a number, an array like the data, or a tuple of these for tuple data.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge

from recon.arrays import (
    Array,
    as_numpy,
    broadcasts,
    is_complex,
    leaves,
    namespace,
    per_member,
    tmap,
    vdot,
)
from recon.constants import frozen, real_as
from recon.errors import ArrayError, ParameterError, ShapeError
from recon.operator import capability
from recon.params import Doc, Parameters

__all__ = ["LeastSquares", "Loss", "Poisson", "WeightedLeastSquares", "loss_prox_conjugate"]


class Loss(ABC):
    """Base of all losses; other methods are optional and found by looking.

    ``prox`` and ``prox_conjugate``; for certificates ``conjugate(v, y)`` = sup_p Re<v, p> - value(p, y), infinite
    outside its domain, and where that is not everything ``gauge(v, y)``, the least r >= 0 with v / r inside.
    """

    @abstractmethod
    def value(self, prediction: Array, data: Array) -> float:
        """The loss, as a Python float."""

    @abstractmethod
    def gradient(self, prediction: Array, data: Array) -> Array:
        """Its gradient with respect to the prediction."""

    def curvature(self, data: Array) -> float:
        """Lipschitz constant of the gradient; infinite where there is none."""
        return math.inf

    def check_data(self, data: Array) -> None:
        """Raise a ParameterError where the data cannot come from this model."""


def loss_prox_conjugate(loss: Loss, v: Array, s: Any, data: Array) -> Array:
    """The prox of s times the convex conjugate of p -> loss(p, data); Moreau's identity where it has no own."""
    own = capability(loss, "prox_conjugate")
    if own:
        return own(v, s, data)
    prox: Any = loss.prox  # type: ignore[attr-defined]
    steps = per_member(s, v)
    inner = prox(tmap(lambda leaf, step: leaf / step, v, steps), tmap(lambda step: 1.0 / step, steps), data)
    return tmap(lambda leaf, part, step: leaf - step * part, v, inner, steps)


@dataclass(frozen=True)
class LeastSquares(Parameters, Loss):
    """1/2 ||p - y||^2: Gaussian noise of one variance."""

    def value(self, prediction: Array, data: Array) -> float:
        residual = tmap(lambda p, y: p - y, prediction, data)
        return 0.5 * vdot(residual, residual).real

    def gradient(self, prediction: Array, data: Array) -> Array:
        return tmap(lambda p, y: p - y, prediction, data)

    def curvature(self, data: Array) -> float:
        return 1.0

    def prox(self, v: Array, t: Any, data: Array) -> Array:
        """(v + t y) / (1 + t)."""
        return tmap(lambda leaf, y, step: (leaf + step * y) / (1.0 + step), v, data, per_member(t, v))

    def prox_conjugate(self, v: Array, s: Any, data: Array) -> Array:
        """(v - s y) / (1 + s)."""
        return tmap(lambda leaf, y, step: (leaf - step * y) / (1.0 + step), v, data, per_member(s, v))

    def conjugate(self, v: Array, data: Array) -> float:
        """1/2 ||v||^2 + Re<v, y>."""
        return 0.5 * vdot(v, v).real + vdot(v, data).real

    @classmethod
    def example(cls) -> LeastSquares:
        return cls()


@dataclass(frozen=True, eq=False)
class WeightedLeastSquares(Parameters, Loss):
    """1/2 sum w |p - y|^2: Gaussian noise of variance 1/w per entry; w = 0 ignores an entry.

    Parameters
    ----------
    weights
        Array like the data (or broadcast to it, or a tuple for tuple data), real, >= 0.
    """

    weights: Annotated[Any, Doc("array like the data, >= 0; inverse variance of each entry")]

    def __post_init__(self) -> None:
        object.__setattr__(self, "weights", tmap(frozen, self.weights))
        for leaf in leaves(self.weights):
            values = as_numpy(leaf)
            if values.dtype.kind not in "fiu" or not np.isfinite(values).all() or (values < 0).any():
                raise ParameterError(
                    "WeightedLeastSquares.weights must be real, finite and >= 0, got other entries. "
                    "Use 0 to ignore an entry."
                )

    def check_data(self, data: Array) -> None:
        parts = leaves(data)
        weights = self.weights if isinstance(self.weights, tuple) else tuple(self.weights for _ in parts)
        shapes = [tuple(np.shape(as_numpy(w))) for w in weights]
        if len(weights) != len(parts) or not all(map(broadcasts, shapes, (tuple(y.shape) for y in parts))):
            raise ShapeError(
                "WeightedLeastSquares.weights must have the shape of the data, "
                f"{', '.join(str(tuple(y.shape)) for y in parts)}, got {', '.join(map(str, shapes))}."
            )

    def value(self, prediction: Array, data: Array) -> float:
        residual = tmap(lambda p, y: p - y, prediction, data)
        return 0.5 * vdot(residual, tmap(lambda w, r: w * r, self._like(residual), residual)).real

    def gradient(self, prediction: Array, data: Array) -> Array:
        return tmap(lambda w, p, y: w * (p - y), self._like(prediction), prediction, data)

    def curvature(self, data: Array) -> float:
        return max(float(as_numpy(leaf).max()) for leaf in leaves(self.weights))

    def prox(self, v: Array, t: Any, data: Array) -> Array:
        """(v + t w y) / (1 + t w)."""

        def pull(w: Any, p: Any, y: Any, step: Any) -> Any:
            return (p + step * w * y) / (1.0 + step * w)

        return tmap(pull, self._like(v), v, data, per_member(t, v))

    def conjugate(self, v: Array, data: Array) -> float:
        """sum |v|^2 / (2 w) + Re<v, y>; infinite where w = 0 and v is not."""

        def square(w: Any, leaf: Any) -> float:
            xp = namespace(leaf)
            w = xp.broadcast_to(w, leaf.shape)
            if bool(xp.any((w == 0) & (leaf != 0))):
                return math.inf
            return 0.5 * float(xp.sum(xp.abs(leaf) ** 2 / xp.where(w > 0, w, xp.ones_like(w))))

        return sum(map(square, leaves(self._like(v)), leaves(v))) + vdot(v, data).real

    def _like(self, x: Array) -> Any:
        """The weights in the library and precision of x; converted only where they differ."""
        return tmap(real_as, per_member(self.weights, x), x)

    @classmethod
    def example(cls) -> WeightedLeastSquares:
        return cls(np.array([1.0, 0.5, 2.0, 0.0]))


@dataclass(frozen=True)
class Poisson(Parameters, Loss):
    """Kullback-Leibler divergence of counts y from a mean p + b: sum (p + b) - y + y log(y / (p + b)).

    Infinite where p + b <= 0 and y > 0, or p + b < 0. It has no Lipschitz gradient: solvers use its prox.

    Parameters
    ----------
    background
        b >= 0, in counts: expected counts that do not come from the image (scatter, dark counts).
    """

    background: Annotated[float, Ge(0), Doc("expected counts that do not come from the image")] = 0.0

    def check_data(self, data: Array) -> None:
        if any(is_complex(y) for y in leaves(data)):
            raise ArrayError("Poisson data must be real counts, got a complex array. Use LeastSquares.")
        if any(bool(namespace(y).any(y < 0)) for y in leaves(data)):
            raise ParameterError(
                "Poisson data must be counts >= 0, got negative entries. Clip or correct the data."
            )

    def value(self, prediction: Array, data: Array) -> float:
        return sum(self._value(p, y) for p, y in zip(leaves(prediction), leaves(data), strict=True))

    def _value(self, p: Any, y: Any) -> float:
        xp = namespace(p, y)
        mean = p + self.background
        counted = y > 0
        if bool(xp.any(mean < 0)) or bool(xp.any(counted & (mean <= 0))):
            return math.inf
        one = xp.ones_like(mean)
        counts = xp.where(counted, xp.maximum(y, 1e-30 * mean), one)
        excess, ratio = mean - y, xp.where(counted, mean, one) / counts
        near = (
            abs(ratio - 1.0) < 0.5
        )  # where excess - y log(ratio) cancels, the log needs the digits of the excess
        logs = xp.where(near, xp.log1p(xp.where(near, excess / counts, 0.0 * one)), xp.log(ratio))
        return float(xp.sum(excess - y * logs))

    def gradient(self, prediction: Array, data: Array) -> Array:
        def one(p: Any, y: Any) -> Any:
            xp = namespace(p, y)
            counted = y > 0  # where nothing was counted the slope is 1, at p + b = 0 too
            mean = xp.where(counted, p + self.background, xp.ones_like(p))
            return 1.0 - xp.where(counted, y / mean, xp.zeros_like(p))

        return tmap(one, prediction, data)

    def gauge(self, v: Array, data: Array) -> float:
        """max v: the conjugate is finite below 1."""
        return max(0.0, *(float(namespace(leaf).max(leaf)) for leaf in leaves(v)))

    def conjugate(self, v: Array, data: Array) -> float:
        """sum -b v - y log(1 - v); infinite where v > 1, or v = 1 and y > 0."""

        def one(leaf: Any, y: Any) -> float:
            xp = namespace(leaf)
            counted, left = y > 0, 1.0 - leaf
            if bool(xp.any(left < 0)) or bool(xp.any(counted & (left <= 0))):
                return math.inf
            logs = xp.log(xp.where(counted, left, xp.ones_like(left)))
            return -float(xp.sum(self.background * leaf + y * logs))

        return sum(map(one, leaves(v), leaves(data)))

    def prox(self, v: Array, t: Any, data: Array) -> Array:
        """Positive root w = p + b of w^2 + (t - v - b) w - t y = 0, in the form without cancellation."""

        def root(leaf: Any, y: Any, step: Any) -> Any:
            xp = namespace(leaf, y)
            a = leaf + self.background - step
            d = xp.sqrt(a * a + 4.0 * step * y)
            safe = xp.where(a < 0, d - a, xp.ones_like(a))
            return xp.where(a < 0, 2.0 * step * y / safe, 0.5 * (a + d)) - self.background

        return tmap(root, v, data, per_member(t, v))

    @classmethod
    def example(cls) -> Poisson:
        return cls(background=0.5)
