"""Constraints of a given size: the residual in a ball, the image in an l1 ball.

    ResidualBall(r)   ||A x - y|| <= r as a loss       min prior(x) s.t. ||A x - y|| <= r   (basis pursuit denoising)
    L1Ball(r)         ||x||_1 <= r as a prior          min loss(A x, y) s.t. ||x||_1 <= r   (the lasso's first form)

Each is 0 inside and infinite outside; the prox is the projection. ``Pdhg`` and ``Admm`` take a ``ResidualBall`` with
any convex prior, ``Fista`` takes an ``L1Ball`` with any smooth loss.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any

from annotated_types import Ge

from recon.arrays import Array, Spec, clip, device_of, leaves, namespace, per_member, tmap
from recon.errors import CapabilityError, ShapeError
from recon.losses import Loss
from recon.params import Doc, Parameters
from recon.priors.bounds import Moduli
from recon.priors.cardinality import Ndim, one_sample

__all__ = ["L1Ball", "ResidualBall"]


@dataclass(frozen=True)
class ResidualBall(Parameters, Loss):
    """0 where ||A x - y|| <= r, infinite elsewhere: fit the data to the noise and no closer.

    For Gaussian noise of standard deviation sigma, r = sigma sqrt(m) for m real data. Without a gradient it is not
    for ``Fista``. The problem with any convex prior has the solutions of the one with ``LeastSquares`` and the weight
    that gives this residual (``solve(weight="discrepancy")`` finds that weight).

    Parameters
    ----------
    radius
        r >= 0, in units of the data; 0 asks for A x = y.
    ndim
        How many axes one sample of the data has; axes in front are batch axes, each sample with its own ball. None:
        everything in one ball, tuples of data too.
    tol
        ``value`` counts a residual up to r (1 + tol) as inside: iterates come to the ball from both sides.
    """

    radius: Annotated[float, Ge(0), Doc("largest residual ||A x - y||, in units of the data")]
    ndim: Annotated[int | None, Ge(1), Doc("axes of one sample of the data; None: one ball for all")] = None
    tol: Annotated[float, Ge(0), Doc("relative excess of the residual that still counts as inside")] = 1e-6

    def value(self, prediction: Array, data: Array) -> float:
        distance = self._lengths(tmap(lambda p, y: p - y, prediction, data))
        xp = namespace(distance)
        slack = 64.0 * float(xp.finfo(distance.dtype).eps) * self._lengths(data)
        return 0.0 if bool(xp.all(distance <= self.radius * (1.0 + self.tol) + slack)) else math.inf

    def check_data(self, data: Array) -> None:
        axes = min(leaf.ndim for leaf in leaves(data))
        if self.ndim is not None and self.ndim > axes:
            raise ShapeError(
                f"ResidualBall.ndim must be at most the {axes} axes of the data, got {self.ndim}. Lower it."
            )

    def gradient(self, prediction: Array, data: Array) -> Array:
        raise CapabilityError(
            "ResidualBall.gradient must not be asked for: a set has none. Use Pdhg or Admm."
        )

    def prox(self, v: Array, t: Any, data: Array) -> Array:
        """The projection y + (v - y) / (1 + m t), in the metric of t where that is an array.

        m >= 0 is such that the length is r: for a number t in closed form, else by Newton's method for 1 / length,
        which is concave in m, so that it rises to the root from m = 0 without passing it.
        """
        d = tmap(lambda p, y: p - y, v, data)
        steps = per_member(t, v)
        if not any(hasattr(step, "shape") and tuple(step.shape) for step in leaves(steps)):
            length = self._lengths(d)
            xp = namespace(length)
            outside = length > self.radius
            factor = xp.where(
                outside, self.radius / xp.where(outside, length, xp.ones_like(length)), xp.ones_like(length)
            )
            return tmap(lambda y, part: y + self._beside(factor, part) * part, data, d)
        if not self.radius:
            return data
        m = self._multiplier(d, steps)
        return tmap(lambda y, part, step: y + part / (1.0 + self._beside(m, part) * step), data, d, steps)

    def _multiplier(self, d: Array, steps: Any) -> Any:
        m = 0.0 * self._lengths(d)
        xp = namespace(m)
        close = self.radius * (1.0 + 8.0 * float(xp.finfo(m.dtype).eps))
        for _ in range(_NEWTON):
            damped = self._damped(steps, m, d)
            length = self._lengths(tmap(lambda part, f: part / f[0], d, damped))
            slope = self._lengths(tmap(lambda part, f: part * (f[1] / f[0]) ** 0.5 / f[0], d, damped))
            outside = length > close
            if not bool(xp.any(outside)):
                break
            safe = xp.where(outside, slope, xp.ones_like(slope))
            rise = (length / safe) ** 2 * (length / self.radius - 1.0)
            m = m + xp.where(outside, rise, xp.zeros_like(rise))
        return m

    def _damped(self, steps: Any, m: Any, d: Array) -> Any:
        """(1 + m t, t) of every member."""
        pairs = [
            (1.0 + self._beside(m, part) * step, step)
            for part, step in zip(leaves(d), leaves(steps), strict=True)
        ]
        return tuple(pairs) if isinstance(d, tuple) else pairs[0]

    def _lengths(self, x: Array) -> Any:
        """||x|| of every sample: of all that lies behind its batch axes."""
        total: Any = None
        scale = max(float(namespace(leaf).max(namespace(leaf).abs(leaf))) for leaf in leaves(x)) or 1.0
        for leaf in leaves(x):
            xp = namespace(leaf)
            batch = leaf.shape[: leaf.ndim - self.ndim] if self.ndim else ()
            part = xp.reshape(xp.abs(leaf) / scale, (*batch, -1))
            square = xp.sum(part * part, axis=-1)
            total = square if total is None else total + square
        return scale * namespace(total).sqrt(total)

    def _beside(self, values: Any, x: Any) -> Any:
        """One number per sample, to be multiplied with an array of all."""
        return namespace(values).reshape(values, (*values.shape, *(1,) * (x.ndim - values.ndim)))

    @classmethod
    def example(cls) -> ResidualBall:
        return cls(0.5)


_NEWTON = 60


@dataclass(frozen=True)
class L1Ball(Parameters, Moduli):
    """||x||_1 <= r of every sample (complex: moduli).

    Parameters
    ----------
    radius
        r >= 0, in units of x.
    ndim
        How many axes one sample has; axes in front are batch axes, each sample with its own ball.
    """

    radius: Annotated[float, Ge(0), Doc("largest sum of |x|")] = 1.0
    ndim: Ndim = 1

    def value(self, x: Array) -> float:
        size = self._sizes(x)
        xp = namespace(size)
        slack = 1.0 + 64.0 * float(xp.finfo(x.dtype).eps) + 1e-14 * size.shape[-1]
        return 0.0 if bool(xp.all(xp.sum(size, axis=-1) <= self.radius * slack)) else math.inf

    def prox(self, v: Array, t: Any) -> Array:
        """The projection, whatever t."""
        return self.project(v)

    def project(self, v: Array) -> Array:
        """Soft threshold at the level that brings the sum to r, found by sorting (Duchi et al. 2008): O(n log n)."""
        size = self._sizes(v)
        xp, count = namespace(size), size.shape[-1]
        falling = xp.sort(size, axis=-1, descending=True)
        ranks = xp.astype(xp.arange(1, count + 1, device=device_of(v)), size.dtype)
        levels = (xp.cumulative_sum(falling, axis=-1) - self.radius) / ranks
        active = xp.sum(xp.astype(falling > levels, xp.int64), axis=-1, keepdims=True)
        level = xp.take_along_axis(levels, active - xp.astype(active > 0, xp.int64), axis=-1)
        level = clip(level, 0.0, None)
        above = size > level
        factor = xp.where(above, 1.0 - level / xp.where(above, size, xp.ones_like(size)), xp.zeros_like(size))
        return v * xp.astype(xp.reshape(factor, v.shape), v.dtype)

    def _sizes(self, x: Any) -> Any:
        """|x| of each sample, in double precision: a running sum of many entries."""
        xp = namespace(x)
        return xp.astype(xp.reshape(xp.abs(x), (*x.shape[: x.ndim - self.ndim], -1)), xp.float64)

    def check_spec(self, spec: Spec) -> None:
        one_sample(self, spec, self.ndim)

    @classmethod
    def example(cls) -> L1Ball:
        return cls(1.0)
