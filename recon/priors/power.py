"""Lp with 0 < p < 1: between the count of nonzeros and l1, by its exact prox (generalised shrinkage).

    prox(v, t) = argmin_x w |x|^p + |x - v|^2 / (2 t)

With s = (2 t w (1 - p))^(1 / (2 - p)), x = s z and |v| = s q the minimiser is 0 up to q = 1 + p / (2 (1 - p)), and
beyond it the larger root of z + c z^(p - 1) = q, c = p / (2 (1 - p)): z jumps from 0 to 1 there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any

from annotated_types import Interval

from recon.arrays import Array, leaves, namespace, tmap
from recon.params import Doc, Parameters
from recon.priors.bounds import Moduli
from recon.priors.weights import Weight

__all__ = ["Lp"]


@dataclass(frozen=True)
class Lp(Parameters, Moduli):
    """w sum |x|^p with 0 < p < 1 (complex: moduli): sparser than l1, and large entries keep their size. Not convex.

    The prox is the global minimiser: closed for p = 1/2 (Xu et al. 2012) and p = 2/3 (Cao et al. 2013), by Newton's
    method otherwise (Zuo et al. 2013), which falls monotonically to the root from z = q.

    Parameters
    ----------
    weight
        w >= 0.
    p
        Exponent, 0 < p < 1.
    """

    convex = False

    weight: Weight = 1.0
    p: Annotated[float, Interval(gt=0, lt=1), Doc("exponent")] = 0.5

    def value(self, x: Array) -> float:
        return self.weight * sum(
            float(namespace(leaf).sum(namespace(leaf).abs(leaf) ** self.p)) for leaf in leaves(x)
        )

    def prox(self, v: Array, t: Any) -> Array:
        """Generalised shrinkage, exact at every scale."""
        scale = (2.0 * t * self.weight * (1.0 - self.p)) ** (1.0 / (2.0 - self.p))
        return tmap(lambda leaf: self._shrunk(leaf, scale), v) if scale else v

    def _shrunk(self, v: Any, scale: float) -> Any:
        xp = namespace(v)
        q = xp.abs(v) / scale
        kept = q > 1.0 + self._c
        z = self._root(xp.where(kept, q, xp.full_like(q, 2.0 + self._c)))
        factor = xp.where(kept, z / xp.where(kept, q, xp.ones_like(q)), xp.zeros_like(q))
        return v * factor

    @property
    def _c(self) -> float:
        return self.p / (2.0 * (1.0 - self.p))

    def _root(self, q: Any) -> Any:
        """The larger root of z + c z^(p - 1) = q, for q > 1 + c."""
        xp = namespace(q)
        if self.p == 0.5:  # the cubic y^3 - q y + 1/2 = 0 of y = sqrt(z)
            angle = xp.acos(-0.75 * math.sqrt(3.0) * q**-1.5) / 3.0
            return 4.0 / 3.0 * q * xp.cos(angle) ** 2
        if self.p == 2 / 3:  # the quartic y^4 - q y + 1 = 0 of y = z^(1/3), by its resolvent cubic
            a = (0.5 * (1.0 + xp.sqrt(1.0 - 256.0 / 27.0 * q**-4.0))) ** (1.0 / 3.0) * q ** (2.0 / 3.0)
            m = a + 4.0 / 3.0 / a
            root = xp.sqrt(m)
            return (0.5 * (root + xp.sqrt(2.0 * q / root - m))) ** 3
        z = q
        for _ in range(_NEWTON):
            power = self._c * z ** (self.p - 1.0)
            z = z - (z + power - q) / (1.0 + (self.p - 1.0) * power / z)
        return z

    @classmethod
    def example(cls) -> Lp:
        return cls(0.7)


_NEWTON = 8  # the slope lies between 1 - p / 2 and 1: rounding is reached in 7 steps for every p and q
