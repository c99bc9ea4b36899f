"""Two kinds of priors that know their prox with bounds on the entries.

Separable    sum f(x_i), convex, real                   x >= a, x <= b    clip the prox
Moduli       of the |x_i|, rising with each of them     x >= 0            prox of the positive part
"""

from __future__ import annotations

from typing import Any

from recon.arrays import Array, clip, tmap
from recon.errors import CapabilityError
from recon.priors.base import Prior

__all__ = ["Moduli", "Separable"]


class Separable(Prior):
    """A prior that is a sum of one convex function over single real entries.

    The minimiser of a convex function of one variable over an interval is the projection of its free minimiser. As
    each entry is on its own, the step t may be an array.
    """

    def prox_within(self, v: Array, t: Any, lower: Any, upper: Any) -> Array:
        """Prox of value + indicator of [lower, upper] (None: unbounded)."""
        return tmap(lambda leaf: clip(leaf, lower, upper), self.prox(v, t))  # type: ignore[attr-defined]


class Moduli(Prior):
    """A prior of the moduli |x_i| that never falls as one of them grows.

    So its prox keeps signs and zeros, and the prox with x >= 0 is the prox of the positive part.
    """

    def allows(self, lower: Any, upper: Any) -> bool:
        """Only x >= 0 keeps the prox in closed form."""
        return bool(lower == 0 and upper is None)

    def prox_within(self, v: Array, t: Any, lower: Any, upper: Any) -> Array:
        """Prox of value + indicator of x >= 0."""
        if self.allows(lower, upper):
            return self.prox(tmap(lambda leaf: clip(leaf, 0.0, None), v), t)  # type: ignore[attr-defined]
        raise CapabilityError(
            f"{type(self).__name__}.prox_within must be asked for lower = 0 without upper, got [{lower}, {upper}]. "
            "Use Admm."
        )
