"""Norms as priors: l1, squared l2, l2,1 and nuclear, with their proximal maps.

L1        w sum |x|                  prox: shrink each entry by t w
L2        w/2 sum |x|^2              prox: v / (1 + t w)
L21       w sum_g ||x_g||            prox: shrink the length of each group by t w
Nuclear   w sum of singular values   prox: shrink the singular values by t w

w of L1 and L21 may be an array: one weight per entry or group (see :mod:`recon.priors.weights`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any

from recon.arrays import (
    Array,
    ArraySpec,
    Spec,
    clip,
    is_complex,
    leaves,
    members,
    namespace,
    per_member,
    tmap,
    vdot,
)
from recon.errors import ShapeError
from recon.params import Doc, Parameters
from recon.priors.base import Prior
from recon.priors.bounds import Moduli, Separable
from recon.priors.weights import Weight, Weighted, Weights

__all__ = ["L1", "L2", "L21", "Nuclear", "check_groups", "group_length"]


def _shrink_factor(length: Any, threshold: Any) -> Any:
    """max(1 - threshold / length, 0), with 0 where the length is 0."""
    xp = namespace(length)
    above = length > threshold
    return xp.where(
        above, 1.0 - threshold / xp.where(above, length, xp.ones_like(length)), xp.zeros_like(length)
    )


def _scale_of_squares(x: Any) -> float:
    """What x must be divided by so that its squares are numbers: 1, but for single precision near its limits."""
    xp = namespace(x)
    if x.dtype not in (xp.float32, xp.complex64) or not math.prod(x.shape):
        return 1.0
    largest = float(xp.max(xp.abs(x)))
    return 1.0 if largest == 0.0 or not math.isfinite(largest) or 1e-15 < largest < 1e15 else largest


def _any(x: Any) -> bool:
    return bool(namespace(x).any(x != 0))


def _largest_ratio(sizes: Array, weights: Any) -> float:
    """max sizes / weights for sizes >= 0, where a size > 0 over weight 0 is infinite."""

    def largest(size: Any, weight: Any) -> float:
        xp = namespace(size)
        if isinstance(weight, float):
            top = float(xp.max(size))
            return top / weight if weight else math.inf if top else 0.0
        weight = xp.broadcast_to(weight, size.shape)
        if bool(xp.any((weight == 0) & (size > 0))):
            return math.inf
        return float(xp.max(size / xp.where(weight > 0, weight, xp.ones_like(weight))))

    return max(map(largest, leaves(sizes), leaves(weights)))


def group_length(x: Any, axis: int | tuple[int, ...] | None) -> Any:
    """The length of each group along ``axis``, which stays as an axis of length 1; None: of each entry."""
    xp = namespace(x)
    if axis is None:
        return xp.abs(x)
    scale = _scale_of_squares(x)
    if scale != 1.0:
        return group_length(x / scale, axis) * scale
    square = xp.real(xp.conj(x) * x) if is_complex(x) else x * x
    return xp.sqrt(xp.sum(square, axis=axis, keepdims=True))


def check_groups(owner: str, axis: int | tuple[int, ...] | None, spec: Spec) -> list[tuple[int, ...]]:
    """The shapes of the groups' lengths; a ShapeError where the axis is not one of the sample."""
    axes = axis if isinstance(axis, tuple) else () if axis is None else (axis,)
    groups = []
    for one in members(spec):
        if not all(-one.ndim <= k < 0 for k in axes):
            raise ShapeError(
                f"{owner}.axis must be negative and inside the sample's {one.ndim} axes, got {axis}. "
                "Count from the last axis: batch axes go in front."
            )
        groups.append(tuple(1 if k - one.ndim in axes else n for k, n in enumerate(one.shape)))
    return groups


@dataclass(frozen=True, eq=False, repr=False)
class L1(Weighted, Separable):
    """w ||x||_1 = sum w |x| (complex: moduli). Sparse images.

    Parameters
    ----------
    weight
        w >= 0: a number, or an array of weights that broadcasts to the sample (a tuple of arrays for a tuple of
        images); weight 0 leaves an entry free.
    """

    weight: Weights = 1.0

    def value(self, x: Array) -> float:
        return self._weighed(tmap(lambda leaf: namespace(leaf).abs(leaf), x))

    def prox(self, v: Array, t: Any) -> Array:
        """Soft threshold at t w (Donoho 1995); one pass, exact at every scale."""
        return tmap(lambda leaf, w: self._soft(leaf, t * w), v, self._weights(v))

    @staticmethod
    def _soft(v: Any, threshold: Any) -> Any:
        if is_complex(v):
            return v * _shrink_factor(namespace(v).abs(v), threshold)
        return v - clip(v, -threshold, threshold)

    def prox_conjugate(self, v: Array, s: Any) -> Array:
        """Projection on the ball |x| <= w, whatever s."""

        def project(leaf: Any, w: Any) -> Any:
            if is_complex(leaf):
                return leaf - leaf * _shrink_factor(namespace(leaf).abs(leaf), w)
            return clip(leaf, -w, w)

        return tmap(project, v, self._weights(v))

    def gauge(self, z: Array, lower: Any = None, upper: Any = None) -> float:
        """max |z| / w; with bounds, of the entries that grow without one."""

        def open_part(leaf: Any) -> Any:
            return namespace(leaf).abs(
                clip(leaf, None if lower is None else 0.0, None if upper is None else 0.0)
            )

        return _largest_ratio(tmap(open_part, z), self._weights(z))

    def conjugate(self, z: Array, lower: Any = None, upper: Any = None) -> float:
        """0 in the ball |z| <= w; with bounds, z x - w |x| is largest at one of them, or nearest to 0."""
        if lower is None and upper is None:
            return 0.0

        def largest(leaf: Any, w: Any) -> float:
            xp = namespace(leaf)
            inner = min(max(0.0, -math.inf if lower is None else lower), math.inf if upper is None else upper)
            best = leaf * inner - w * abs(inner)
            for bound in (lower, upper):
                if bound is not None:
                    best = xp.maximum(best, leaf * bound - w * abs(bound))
            return float(xp.sum(best))

        return sum(map(largest, leaves(z), leaves(self._weights(z))))

    @classmethod
    def example(cls) -> L1:
        return cls(0.7)


@dataclass(frozen=True)
class L2(Parameters, Separable):
    """w/2 ||x||^2 = w/2 sum |x|^2 (Tikhonov). Small images.

    Parameters
    ----------
    weight
        w >= 0.
    """

    weight: Weight = 1.0

    def value(self, x: Array) -> float:
        return 0.5 * self.weight * vdot(x, x).real

    def gradient(self, x: Array) -> Array:
        return tmap(lambda leaf: self.weight * leaf, x)

    def curvature(self) -> float:
        """Lipschitz constant of the gradient: w."""
        return self.weight

    def prox(self, v: Array, t: Any) -> Array:
        """v / (1 + t w)."""
        return tmap(lambda leaf: leaf / (1.0 + t * self.weight), v)

    def gauge(self, z: Array, lower: Any = None, upper: Any = None) -> float:
        """0: finite everywhere."""
        return 0.0 if self.weight or not any(map(_any, leaves(z))) else math.inf

    def conjugate(self, z: Array, lower: Any = None, upper: Any = None) -> float:
        """||z||^2 / (2 w); with bounds, at the x nearest to z / w."""
        if not self.weight:
            return 0.0
        x = tmap(lambda leaf: clip(leaf / self.weight, lower, upper), z)
        return vdot(z, x).real - self.value(x)

    @classmethod
    def example(cls) -> L2:
        return cls(0.7)


@dataclass(frozen=True, eq=False, repr=False)
class L21(Weighted, Moduli):
    """sum_g w_g ||x_g||: groups of entries along ``axis`` vanish together (group lasso; joint sparsity).

    Parameters
    ----------
    weight
        w >= 0: a number, or an array of weights that broadcasts to the sample with length 1 along ``axis``.
    axis
        The axis, or axes, along which the entries of one group lie.
    """

    weight: Weights = 1.0
    axis: Annotated[
        int | tuple[int, ...], Doc("axis or axes along which the entries of one group lie; negative")
    ] = -1

    def _length(self, x: Any) -> Any:
        return group_length(x, self.axis)

    def value(self, x: Array) -> float:
        return self._weighed(tmap(self._length, x))

    def prox(self, v: Array, t: Any) -> Array:
        """Group soft threshold at t w (Yuan and Lin 2006)."""

        def shrink(leaf: Any, w: Any) -> Any:
            return leaf * _shrink_factor(self._length(leaf), t * w)

        return tmap(shrink, v, self._weights(v))

    def prox_conjugate(self, v: Array, s: Any) -> Array:
        """Projection of each group on the ball of radius w, whatever s."""

        def project(leaf: Any, w: Any) -> Any:
            length = self._length(leaf)
            if isinstance(w, float) and w > 0.0:
                return leaf / clip(length / w, 1.0, None)
            xp = namespace(leaf)
            outside = length > w
            ones = xp.ones_like(length)
            return leaf * xp.where(outside, w / xp.where(outside, length, ones), ones)

        return tmap(project, v, self._weights(v))

    def gauge(self, z: Array, lower: Any = None, upper: Any = None) -> float:
        """The largest length of a group over w; for x >= 0, of its positive part; infinite for other bounds."""
        if lower is not None or upper is not None:
            if not self.allows(lower, upper):
                return math.inf
            z = tmap(lambda leaf: clip(leaf, 0.0, None), z)
        return _largest_ratio(tmap(lambda leaf: self._length(leaf), z), self._weights(z))

    def conjugate(self, z: Array, lower: Any = None, upper: Any = None) -> float:
        """0 where no group is longer than w."""
        return 0.0

    def check_spec(self, spec: Spec) -> None:
        self._check_weights(check_groups("L21", self.axis, spec))

    @classmethod
    def example(cls) -> L21:
        return cls(0.7, axis=-1)


@dataclass(frozen=True)
class Nuclear(Parameters, Prior):
    """w ||X||_* = w times the sum of the singular values of the last two axes. Low-rank matrices.

    An SVD of cost O(m n min(m, n)) per value and prox.

    Parameters
    ----------
    weight
        w >= 0.
    """

    weight: Weight = 1.0

    def value(self, x: Array) -> float:
        return self.weight * sum(
            float(namespace(leaf).sum(namespace(leaf).linalg.svdvals(leaf))) for leaf in leaves(x)
        )

    def prox(self, v: Array, t: Any) -> Array:
        """Singular value threshold at t w (Cai, Candes and Shen 2010)."""

        def shrink(leaf: Any) -> Any:
            xp = namespace(leaf)
            u, s, vh = xp.linalg.svd(leaf, full_matrices=False)
            s = clip(s - t * self.weight, 0.0, None)
            return (u * xp.astype(s, u.dtype)[..., None, :]) @ vh

        return tmap(shrink, v)

    def gauge(self, z: Array) -> float:
        """The largest singular value over w."""
        largest = tmap(lambda leaf: namespace(leaf).linalg.svdvals(leaf), z)
        return _largest_ratio(largest, per_member(self.weight, z))

    def conjugate(self, z: Array) -> float:
        """0 where no singular value is larger than w."""
        return 0.0

    def check_spec(self, spec: Spec) -> None:
        for one in spec if isinstance(spec, tuple) else (spec,):
            if isinstance(one, ArraySpec) and one.ndim < 2:
                raise ShapeError(
                    f"Nuclear needs matrices: the sample must have 2 axes or more, got {one.shape}."
                )

    @classmethod
    def example(cls) -> Nuclear:
        return cls(0.7)
