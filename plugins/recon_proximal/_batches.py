"""Sums per sample: what methods need whose steps differ from sample to sample of a batch."""

from __future__ import annotations

from typing import Any

from recon.arrays import Array, Spec, is_complex, leaves, members, namespace, tmap

__all__ = ["along", "dots", "ratio", "spread"]


def dots(x: Array, y: Array, spec: Spec) -> Any:
    """Re <x, y> of every sample, in the shape of the batch axes."""
    total: Any = 0.0
    for a, b, one in zip(leaves(x), leaves(y), members(spec), strict=True):
        xp = namespace(a)
        product = xp.real(xp.conj(a) * b) if is_complex(a) else a * b
        total = total + xp.sum(xp.reshape(product, (*a.shape[: a.ndim - one.ndim], -1)), axis=-1)
    return total


def spread(values: Any, x: Array, spec: Spec) -> Any:
    """One number per sample, with axes of length 1 behind for every member of x."""

    def shaped(leaf: Any, ndim: int) -> Any:
        return namespace(values).reshape(values, (*leaf.shape[: leaf.ndim - ndim], *(1,) * ndim))

    if isinstance(x, tuple):
        return tuple(shaped(leaf, one.ndim) for leaf, one in zip(x, members(spec), strict=True))
    return shaped(x, members(spec)[0].ndim)


def ratio(above: Any, below: Any, otherwise: float) -> Any:
    """above / below, and another number where below is 0."""
    xp = namespace(below)
    fine = below > 0
    return xp.where(fine, above / xp.where(fine, below, xp.ones_like(below)), xp.full_like(below, otherwise))


def along(function: Any, values: Any, *xs: Array, spec: Spec) -> Array:
    """``tmap(function, values, *xs)`` with one value per sample."""
    return tmap(function, spread(values, xs[0], spec), *xs)
