"""Sparse sets and the count of nonzeros: what l1 stands in for, with their exact proxes (none is convex).

L0      w #{x_i != 0}                            prox: keep |v_i| > sqrt(2 t w)
TopK    at most k nonzeros in a sample           prox: keep the k largest |v_i|
NofM    at most n nonzeros in every block of m   prox: keep the n largest |v_i| of each block

Equal entries: the one of lower index is kept. The last two are sets; their prox is a projection, whatever t.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge

from recon.arrays import Array, ArraySpec, Spec, device_of, leaves, members, namespace, tmap
from recon.errors import ParameterError, ShapeError
from recon.params import Doc, Parameters
from recon.priors.bounds import Moduli
from recon.priors.weights import Weight

__all__ = ["L0", "NofM", "TopK", "one_sample"]

Ndim = Annotated[int, Ge(1), Doc("how many axes one sample has; axes in front are batch axes")]


def one_sample(owner: Any, spec: Spec, ndim: int) -> None:
    """Raise a ShapeError where a prior that counts over whole samples would count over other axes."""
    name = type(owner).__name__
    if not isinstance(spec, ArraySpec):
        raise ShapeError(
            f"{name} must act on one array, got a tuple of {len(spec)}. Use L1 or Lp for tuples."
        )
    if spec.ndim != ndim:
        raise ShapeError(
            f"{name} must count over the sample's {spec.ndim} axes, got {ndim}. Give it ndim={spec.ndim}."
        )


def largest(size: Any, k: int) -> Any:
    """Where the k largest of the last axis are; of equal ones those of lower index."""
    xp, count = namespace(size), size.shape[-1]
    if k >= count:
        return xp.ones_like(size, dtype=xp.bool)
    if isinstance(size, np.ndarray):
        level = np.partition(size, count - k, axis=-1)[..., count - k, None]
    else:
        level = xp.sort(size, axis=-1)[..., count - k : count - k + 1]
    above, equal = size > level, size == level
    rank = xp.cumulative_sum(xp.astype(equal, xp.int64), axis=-1)
    room = k - xp.sum(xp.astype(above, xp.int64), axis=-1, keepdims=True)
    return above | (equal & (rank <= room))


def _nonzeros(x: Any) -> Any:
    """1 where an entry is not 0, as integers."""
    xp = namespace(x)
    return xp.astype(x != 0, xp.int64)


def _only(keep: Any, v: Any) -> Any:
    return namespace(v).where(keep, v, namespace(v).zeros_like(v))


@dataclass(frozen=True)
class L0(Parameters, Moduli):
    """w times the number of nonzeros: sparse images, without the bias of l1. Not convex.

    Parameters
    ----------
    weight
        w >= 0, in units of the objective per nonzero.
    """

    convex = False

    weight: Weight = 1.0

    def value(self, x: Array) -> float:
        return self.weight * sum(float(namespace(leaf).sum(_nonzeros(leaf))) for leaf in leaves(x))

    def prox(self, v: Array, t: Any) -> Array:
        """Hard threshold at sqrt(2 t w) (Blumensath and Davies 2008)."""
        level = (2.0 * self.weight * t) ** 0.5
        return tmap(lambda leaf: _only(namespace(leaf).abs(leaf) > level, leaf), v)

    @classmethod
    def example(cls) -> L0:
        return cls(0.7)


@dataclass(frozen=True)
class TopK(Parameters, Moduli):
    """At most k nonzeros in a sample: 0 where that holds, infinite elsewhere. Not convex.

    Parameters
    ----------
    k
        Most nonzeros, >= 1.
    ndim
        How many axes one sample has; axes in front are batch axes, each sample with its own k.
    """

    convex = False

    k: Annotated[int, Ge(1), Doc("most nonzeros in a sample")]
    ndim: Ndim = 1

    def value(self, x: Array) -> float:
        counts = namespace(x).sum(_nonzeros(self._flat(x)), axis=-1)
        return 0.0 if int(namespace(x).max(counts)) <= self.k else math.inf

    def prox(self, v: Array, t: Any) -> Array:
        """The projection, whatever t."""
        return self.project(v)

    def project(self, v: Array) -> Array:
        """The k entries of largest modulus; O(n)."""
        keep = largest(namespace(v).abs(self._flat(v)), self.k)
        return _only(namespace(v).reshape(keep, v.shape), v)

    def _flat(self, x: Any) -> Any:
        return namespace(x).reshape(x, (*x.shape[: x.ndim - self.ndim], -1))

    def check_spec(self, spec: Spec) -> None:
        one_sample(self, spec, self.ndim)

    @classmethod
    def example(cls) -> TopK:
        return cls(1)


@dataclass(frozen=True)
class NofM(Parameters, Moduli):
    """At most n nonzeros in every block of m consecutive entries along an axis. Not convex.

    Structured sparsity (n of m atoms, antennas, weights). Blocks are counted from the start of the axis; a tail
    shorter than m is a block of its own, with n nonzeros at most too.

    Parameters
    ----------
    n, m
        1 <= n <= m.
    axis
        The axis that is cut into blocks; negative, so that batch axes may go in front.
    """

    convex = False

    n: Annotated[int, Ge(1), Doc("most nonzeros in a block")] = 2
    m: Annotated[int, Ge(1), Doc("entries of a block")] = 4
    axis: Annotated[int, Doc("axis that is cut into blocks; negative")] = -1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n > self.m:
            raise ParameterError(f"NofM.n must be <= m = {self.m}, got {self.n}. Swap them?")

    def value(self, x: Array) -> float:
        def most(leaf: Any) -> int:
            xp = namespace(leaf)
            return int(xp.max(xp.sum(_nonzeros(self._blocks(leaf)), axis=-1)))

        return 0.0 if max(map(most, leaves(x))) <= self.n else math.inf

    def prox(self, v: Array, t: Any) -> Array:
        """The projection, whatever t."""
        return self.project(v)

    def project(self, v: Array) -> Array:
        """The n entries of largest modulus in each block; O(size)."""

        def one(leaf: Any) -> Any:
            xp = namespace(leaf)
            keep = largest(self._blocks(xp.abs(leaf)), self.n)
            keep = xp.reshape(keep, (*keep.shape[:-2], -1))[..., : leaf.shape[self.axis]]
            return _only(xp.moveaxis(keep, -1, self.axis), leaf)

        return tmap(one, v)

    def _blocks(self, x: Any) -> Any:
        """(..., blocks, m): the axis last, filled up with zeros, which come after every entry of the tail."""
        xp = namespace(x)
        x = xp.moveaxis(x, self.axis, -1)
        missing = -x.shape[-1] % self.m
        if missing:
            fill = xp.zeros((*x.shape[:-1], missing), dtype=x.dtype, device=device_of(x))
            x = xp.concat([x, fill], axis=-1)
        return xp.reshape(x, (*x.shape[:-1], -1, self.m))

    def check_spec(self, spec: Spec) -> None:
        for one in members(spec):
            if not -one.ndim <= self.axis < 0:
                raise ShapeError(
                    f"NofM.axis must be negative and inside the sample's {one.ndim} axes, got {self.axis}. "
                    "Count from the last axis: batch axes go in front."
                )

    @classmethod
    def example(cls) -> NofM:
        return cls(1, 2)
