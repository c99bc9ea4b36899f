"""The Huber function of lengths: quadratic near 0, a norm beyond (Huber 1964).

h(s) = s^2 / (2 d)  for s <= d,    s - d / 2  beyond        h -> s for d -> 0
prox of t w h       v (1 - t w / max(|v|, d + t w))
prox of s (w h)*    v / max(1 + s d / w, |v| / w)            w > 0
"""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass
from typing import Annotated, Any

from annotated_types import Gt

from recon.arrays import Array, Spec, clip, leaves, namespace, tmap, vdot
from recon.params import Doc, Parameters
from recon.priors.base import Prior
from recon.priors.norms import check_groups, group_length
from recon.priors.weights import Weight

__all__ = ["Huber", "huber"]


def huber(length: Array, corner: Any) -> Array:
    """h of each length; a corner of 0 (a number) gives the lengths themselves."""
    if isinstance(corner, float) and corner == 0.0:
        return length
    xp = namespace(length)
    return xp.where(length > corner, length - 0.5 * corner, 0.5 * length * (length / corner))


@dataclass(frozen=True)
class Huber(Parameters, Prior):
    """w sum_g h(|x_g|): as L1 or L21, but smooth; small entries are made smaller, not 0.

    Parameters
    ----------
    weight
        w >= 0.
    delta
        The length d > 0 up to which h is quadratic, in units of x.
    axis
        Axis or axes along which the entries of one group lie; by default every entry counts alone.
    """

    weight: Weight = 1.0
    _: KW_ONLY
    delta: Annotated[float, Gt(0), Doc("length up to which the penalty is quadratic, in units of x")]
    axis: Annotated[
        int | tuple[int, ...] | None, Doc("axis or axes of one group, negative; by default single entries")
    ] = None

    def value(self, x: Array) -> float:
        lengths = (group_length(leaf, self.axis) for leaf in leaves(x))
        return self.weight * sum(float(namespace(s).sum(huber(s, self.delta))) for s in lengths)

    def gradient(self, x: Array) -> Array:
        """w x / max(|x|, d)."""
        return tmap(
            lambda leaf: self.weight * leaf / clip(group_length(leaf, self.axis), self.delta, None), x
        )

    def curvature(self) -> float:
        """w / d."""
        return self.weight / self.delta

    def prox(self, v: Array, t: float) -> Array:
        threshold = t * self.weight

        def shrink(leaf: Any) -> Any:
            far = clip(group_length(leaf, self.axis), self.delta + threshold, None)
            return leaf * (1.0 - threshold / far)

        return tmap(shrink, v)

    def prox_conjugate(self, v: Array, s: float) -> Array:
        """Shrunk by 1 + s d / w, then projected on the ball of radius w."""
        if self.weight == 0.0:
            return tmap(lambda leaf: 0.0 * leaf, v)
        least = 1.0 + s * self.delta / self.weight

        def project(leaf: Any) -> Any:
            return leaf / clip(group_length(leaf, self.axis) / self.weight, least, None)

        return tmap(project, v)

    def gauge(self, z: Array) -> float:
        """The largest length of a group over w."""
        largest = max(float(namespace(leaf).max(group_length(leaf, self.axis))) for leaf in leaves(z))
        return largest / self.weight if self.weight else math.inf if largest else 0.0

    def conjugate(self, z: Array) -> float:
        """d / (2 w) ||z||^2 where no group is longer than w."""
        return 0.5 * self.delta / self.weight * vdot(z, z).real if self.weight else 0.0

    def check_spec(self, spec: Spec) -> None:
        check_groups("Huber", self.axis, spec)

    @classmethod
    def example(cls) -> Huber:
        return cls(0.7, delta=0.2)
