"""Norms as priors: l1, squared l2, l2,1 and nuclear, with their proximal maps.

L1        w sum |x|                  prox: shrink each entry by t w
L2        w/2 sum |x|^2              prox: v / (1 + t w)
L21       w sum_g ||x_g||            prox: shrink the length of each group by t w
Nuclear   w sum of singular values   prox: shrink the singular values by t w
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any

from annotated_types import Ge

from recon.arrays import Array, ArraySpec, Spec, clip, is_complex, leaves, namespace, tmap, vdot
from recon.errors import CapabilityError, ShapeError
from recon.params import Doc, Parameters
from recon.priors.base import Prior, Separable

__all__ = ["L1", "L2", "L21", "Nuclear"]

Weight = Annotated[float, Ge(0), Doc("weight of the prior in the objective, >= 0")]


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


@dataclass(frozen=True)
class L1(Parameters, Separable):
    """w ||x||_1 = w sum |x| (complex: moduli). Sparse images.

    Parameters
    ----------
    weight
        w >= 0.
    """

    weight: Weight = 1.0

    def value(self, x: Array) -> float:
        return self.weight * sum(float(namespace(leaf).sum(namespace(leaf).abs(leaf))) for leaf in leaves(x))

    def prox(self, v: Array, t: Any) -> Array:
        """Soft threshold at t w (Donoho 1995); one pass, exact at every scale."""
        return tmap(lambda leaf: self._soft(leaf, t * self.weight), v)

    @staticmethod
    def _soft(v: Any, threshold: Any) -> Any:
        if is_complex(v):
            return v * _shrink_factor(namespace(v).abs(v), threshold)
        return v - clip(v, -threshold, threshold)

    def prox_conjugate(self, v: Array, s: Any) -> Array:
        """Projection on the ball |x| <= w, whatever s."""
        if is_complex(v):
            return tmap(lambda leaf: leaf - leaf * _shrink_factor(namespace(leaf).abs(leaf), self.weight), v)
        return tmap(lambda leaf: clip(leaf, -self.weight, self.weight), v)

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

    @classmethod
    def example(cls) -> L2:
        return cls(0.7)


@dataclass(frozen=True)
class L21(Parameters, Prior):
    """w sum_g ||x_g||: groups of entries along ``axis`` vanish together (group lasso; joint sparsity).

    Parameters
    ----------
    weight
        w >= 0.
    axis
        The axis along which the entries of one group lie.
    """

    weight: Weight = 1.0
    axis: Annotated[int, Doc("axis along which the entries of one group lie")] = -1

    def _length(self, x: Any) -> Any:
        xp = namespace(x)
        scale = _scale_of_squares(x)
        if scale != 1.0:
            return self._length(x / scale) * scale
        square = xp.real(xp.conj(x) * x) if is_complex(x) else x * x
        return xp.sqrt(xp.sum(square, axis=self.axis, keepdims=True))

    def value(self, x: Array) -> float:
        return self.weight * sum(float(namespace(leaf).sum(self._length(leaf))) for leaf in leaves(x))

    def prox(self, v: Array, t: Any) -> Array:
        """Group soft threshold at t w (Yuan and Lin 2006)."""
        return tmap(lambda leaf: leaf * _shrink_factor(self._length(leaf), t * self.weight), v)

    def prox_conjugate(self, v: Array, s: Any) -> Array:
        """Projection of each group on the ball of radius w, whatever s."""
        if self.weight == 0.0:
            return tmap(lambda leaf: 0.0 * leaf, v)

        def project(leaf: Any) -> Any:
            return leaf / clip(self._length(leaf) / self.weight, 1.0, None)

        return tmap(project, v)

    def allows(self, lower: Any, upper: Any) -> bool:
        """Only x >= 0 keeps the prox in closed form."""
        return bool(lower == 0 and upper is None)

    def prox_within(self, v: Array, t: Any, lower: Any, upper: Any) -> Array:
        """Prox of value + indicator of x >= 0: clip, then shrink the groups."""
        if self.allows(lower, upper):
            return self.prox(tmap(lambda leaf: clip(leaf, 0.0, None), v), t)
        raise CapabilityError(
            f"L21.prox_within must be asked for lower = 0 without upper, got [{lower}, {upper}]. Use Pdhg or Admm."
        )

    def check_spec(self, spec: Spec) -> None:
        for one in spec if isinstance(spec, tuple) else (spec,):
            if not -one.ndim <= self.axis < 0:
                raise ShapeError(
                    f"L21.axis must be negative and inside the sample's {one.ndim} axes, got {self.axis}. "
                    "Count from the last axis: batch axes go in front."
                )

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

    def check_spec(self, spec: Spec) -> None:
        for one in spec if isinstance(spec, tuple) else (spec,):
            if isinstance(one, ArraySpec) and one.ndim < 2:
                raise ShapeError(
                    f"Nuclear needs matrices: the sample must have 2 axes or more, got {one.shape}."
                )

    @classmethod
    def example(cls) -> Nuclear:
        return cls(0.7)
