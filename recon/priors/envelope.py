"""The convex envelope of "small and few groups": a budget for groups without l1's bias on the strong ones.

(Weighted group sparse envelope: Refael, Arbel and Huleihel 2022, arXiv:2212.12921.)

    S_k(x) = largest convex function below  1/2 ||x||^2 + indicator{sum of d_g over groups g with x_g != 0 <= k}
           = min  1/2 sum_g ||x_g||^2 / u_g   over  0 <= u_g <= 1,  sum_g d_g u_g <= k            (0 / 0 = 0)

    prox of l S_k at v:   v_g u_g / (l + u_g),   u_g = clip(b ||v_g|| / sqrt(d_g) - l, 0, 1),   sum_g d_g u_g = k

The sum rises in b, in straight pieces between 2 G known points: they are sorted and searched, O(G log G). The
value is found the same way with l = 0. Every entry its own group, d = 1: half the squared k-support norm (Argyriou,
Foygel and Srebro 2012); k = 1: half the squared l1 norm.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from annotated_types import Gt

from recon.arrays import Array, Spec, as_numpy, clip, from_numpy, is_complex, namespace, real_like
from recon.errors import ParameterError, ShapeError
from recon.params import Doc, Parameters
from recon.priors.bounds import Moduli
from recon.priors.cardinality import Ndim, one_sample
from recon.priors.weights import Weight

__all__ = ["GroupEnvelope"]


@dataclass(frozen=True, eq=False)
class GroupEnvelope(Parameters, Moduli):
    """w S_k(x): the groups that matter, k in all; weak groups vanish, strong ones are only scaled by 1 / (1 + t w).

    Without ``groups`` every entry is its own group, and the value is w / 2 times the squared k-support norm. Rows
    of an abundance matrix: ``GroupEnvelope(k, groups=np.arange(rows)[:, None])``. Convex.

    Parameters
    ----------
    k
        Budget > 0: how many groups, or how much of the costs, may be used.
    weight
        w >= 0.
    groups
        Labels 0 ... G - 1, integers of as many axes as one sample; an axis of length 1 means that all entries along
        it belong together. None: every entry is a group.
    costs
        d_g > 0: what group g takes from the budget; (G,), or one number for all.
    ndim
        How many axes one sample has, where there are no ``groups`` to tell.
    """

    k: Annotated[float, Gt(0), Doc("budget: how many groups, or how much of the costs, may be used")]
    weight: Weight = 1.0
    groups: Annotated[Any, Doc("label of each entry's group; None: every entry is a group")] = None
    costs: Annotated[Any, Doc("what a group takes from the budget: (G,), or one number")] = 1.0
    ndim: Ndim = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        costs = np.array(as_numpy(self.costs), dtype=np.float64)
        if self.groups is not None:
            labels = np.array(as_numpy(self.groups))
            count = int(labels.max()) + 1 if labels.size and labels.dtype.kind in "iu" else 0
            if not count or labels.ndim < 1 or set(np.unique(labels)) != set(range(count)):
                raise ParameterError(
                    "GroupEnvelope.groups must be integers that use every label 0 ... G - 1, got others. "
                    "Use numpy.unique(..., return_inverse=True)."
                )
            if costs.shape not in ((), (count,)):
                raise ShapeError(
                    f"GroupEnvelope.costs must be one number or {count}, one per group, got shape {costs.shape}."
                )
            labels.setflags(write=False)
            object.__setattr__(self, "groups", labels)
            object.__setattr__(self, "ndim", labels.ndim)
        elif costs.shape:
            raise ShapeError(
                f"GroupEnvelope.costs must be one number where there are no groups, got shape {costs.shape}."
            )
        if not (np.isfinite(costs) & (costs > 0)).all():
            raise ParameterError("GroupEnvelope.costs must be > 0 and finite, got other numbers.")
        costs.setflags(write=False)
        object.__setattr__(self, "costs", costs if costs.shape else float(costs))

    def value(self, x: Array) -> float:
        xp = namespace(x)
        size, scale = self._sizes(x)
        share = _shares(size, self._costs(x), self.k, 0.0)
        used = share > 0
        parts = xp.where(used, size * size / xp.where(used, share, xp.ones_like(share)), xp.zeros_like(size))
        each = as_numpy(xp.sum(self._costs(x) * parts, axis=-1, keepdims=True)).astype(np.float64)
        return 0.5 * self.weight * float(np.sum(each * as_numpy(scale).astype(np.float64) ** 2))

    def prox(self, v: Array, t: Any) -> Array:
        """See the module's text; one sort of 2 G numbers a sample."""
        step = float(t) * self.weight
        if step == 0.0:
            return v
        size, _ = self._sizes(v)
        share = _shares(size, self._costs(v), self.k, step)
        return self._spread(share / (step + share), v)

    # -- groups ------------------------------------------------------------------------------------------

    def _sizes(self, x: Any) -> tuple[Any, Any]:
        """||x_g|| / sqrt(d_g) in units of each sample's largest entry, (..., G), and that entry, (..., 1)."""
        xp = namespace(x)
        flat = xp.reshape(xp.abs(x), (*x.shape[: x.ndim - self.ndim], -1))
        scale = xp.max(flat, axis=-1, keepdims=True)
        scale = xp.where(scale > 0, scale, xp.ones_like(scale))
        flat = flat / scale
        if self.groups is not None:
            square = xp.reshape(flat * flat, x.shape)
            together = tuple(
                k - self.groups.ndim for k, length in enumerate(self.groups.shape) if length == 1
            )
            if together:
                square = xp.sum(square, axis=together, keepdims=True)
            flat = xp.sqrt(_summed(xp.reshape(square, (*flat.shape[:-1], -1)), self.groups))
        return flat / self._costs(x) ** 0.5, scale

    def _costs(self, x: Any) -> Any:
        return self.costs if isinstance(self.costs, float) else real_like(self.costs, x)

    def _spread(self, factor: Any, v: Any) -> Any:
        """v with every group times its factor."""
        xp = namespace(v)
        batch = v.shape[: v.ndim - self.ndim]
        if self.groups is None:
            factor = xp.reshape(factor, v.shape)
        else:
            labels = from_numpy(self.groups.reshape(-1), v)
            factor = xp.reshape(xp.take(factor, labels, axis=-1), (*batch, *self.groups.shape))
        return v * (xp.astype(factor, v.dtype) if is_complex(v) else factor)

    def check_spec(self, spec: Spec) -> None:
        one_sample(self, spec, self.ndim)
        if self.groups is not None and any(
            have not in (1, length)
            for have, length in zip(self.groups.shape, spec.shape, strict=True)  # type: ignore[union-attr]
        ):
            raise ShapeError(
                f"GroupEnvelope.groups must fit the sample's shape {spec.shape}, got {self.groups.shape}."  # type: ignore[union-attr]
            )

    @classmethod
    def example(cls) -> GroupEnvelope:
        return cls(1.5, 0.7)


def _summed(square: Any, labels: np.ndarray[Any, Any]) -> Any:
    """Sums over the entries of each label, (..., G)."""
    order = labels.reshape(-1)
    count = int(order.max()) + 1
    if count == order.size and (order == np.arange(count)).all():
        return square
    xp = namespace(square)
    members = [from_numpy(np.flatnonzero(order == g), square) for g in range(count)]
    return xp.stack([xp.sum(xp.take(square, one, axis=-1), axis=-1) for one in members], axis=-1)


def _shares(size: Any, costs: Any, k: float, shift: float) -> Any:
    """u_g = clip(b size_g - shift, 0, 1) with sum of costs_g u_g = k; 1 for all nonzero groups where that is less."""
    xp = namespace(size)
    used = size > 0
    safe = xp.where(used, size, xp.ones_like(size))
    zero = xp.zeros_like(size)

    def shares(b: Any) -> Any:
        return xp.where(used, clip(b * safe - shift, 0.0, 1.0), zero)

    def spent(b: Any) -> Any:
        return xp.sum(costs * shares(b), axis=-1, keepdims=True)

    enough = xp.sum(costs * xp.astype(used, size.dtype), axis=-1, keepdims=True) <= k
    begins, ends = xp.where(used, shift / safe, zero), xp.where(used, (1.0 + shift) / safe, zero)
    points = xp.sort(xp.concat([begins, ends], axis=-1), axis=-1)
    low = xp.zeros_like(xp.sum(points, axis=-1, keepdims=True), dtype=xp.int64)
    high = low + (points.shape[-1] - 1)
    for _ in range(points.shape[-1].bit_length()):  # spent(points[low]) < k <= spent(points[high])
        middle = (low + high) // 2
        less = spent(xp.take_along_axis(points, middle, axis=-1)) < k
        low, high = xp.where(less, middle, low), xp.where(less, high, middle)
    left, right = (xp.take_along_axis(points, at, axis=-1) for at in (low, high))
    full, rising = used & (ends <= left), used & (begins <= left) & (ends > left)
    weighed = [xp.where(rising, costs + zero, zero), xp.where(full, costs + zero, zero)]
    slope = xp.sum(weighed[0] * size, axis=-1, keepdims=True)
    b = (
        k - xp.sum(weighed[1], axis=-1, keepdims=True) + shift * xp.sum(weighed[0], axis=-1, keepdims=True)
    ) / (xp.where(slope > 0, slope, xp.ones_like(slope)))
    b = clip(xp.where(slope > 0, b, right), left, right)
    return xp.where(enough, xp.astype(used, size.dtype), shares(b))
