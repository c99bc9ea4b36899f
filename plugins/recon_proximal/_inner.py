"""The inner problem of Pdhg: a step for priors that split, by a few steps on its dual from where the last ended.

minimise  G(x) + sum_b F_b(K_b x) + ||x - z||^2 / (2 t)

x(q) = prox_(t G)(z - t sum_b K_b^H q_b)
p_b  = prox_(s_b F_b*)(q_b + s_b K_b x(q)),   s_b = 1 / (t B ||K_b||^2),   B = number of blocks
q    = p + n / (n + 5) (p - p_old)            (momentum of Chambolle and Dossal, JOTA 166 (2015), a = 4)
"""

from __future__ import annotations

from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np

from recon.arrays import Array, namespace, tmap
from recon.derivatives import Gradient
from recon.linalg import absolute_sums, axpy
from recon.operator import Operator
from recon.priors import L21, Prior, prox_conjugate
from recon_proximal._parts import is_interval

__all__ = ["descend", "square_bounds"]

Splits = list[tuple[Any, Operator]]


def square_bounds(splits: Splits, like: Array) -> tuple[float, ...]:
    """A bound of ||K_b||^2 for each block: largest row sum times largest column sum of |K_b|, or its norm's."""
    sums = (absolute_sums(operator, like) for _, operator in splits)
    return tuple(_largest(rows) * _largest(columns) or 1.0 for rows, columns in sums)


def _largest(sums: Any) -> float:
    if isinstance(sums, tuple):
        return max(map(_largest, sums))
    return float(namespace(sums).max(sums)) if hasattr(sums, "shape") else float(sums)


def descend(
    splits: Splits,
    rest: Prior | None,
    z: Array,
    t: Any,
    duals: tuple[Array, ...],
    bounds: tuple[float, ...],
    steps: int,
) -> tuple[Array, tuple[Array, ...]]:
    """x and the duals after so many steps; without splits x is exact.

    Parameters
    ----------
    splits, rest
        (F_b, K_b), and G with its prox or None.
    z, t
        The point and the step; t is a number where there are splits.
    duals
        q_b to start from.
    bounds
        ||K_b||^2 or more.
    steps
        How many; each takes one product with K_b and one with K_b^H.
    """
    if not splits:
        return _image(splits, rest, z, t, ()), ()
    sizes = [1.0 / (t * len(splits) * bound) for bound in bounds]
    if _compiled(splits, rest, z):
        return _ascended_tv(splits[0][0], rest, z, t, duals[0], sizes[0], steps)
    before = ahead = duals
    for n in range(steps):
        x = _image(splits, rest, z, t, ahead)
        now = tuple(
            prox_conjugate(outer, axpy(s, operator @ x, q), s)
            for (outer, operator), q, s in zip(splits, ahead, sizes, strict=True)
        )
        momentum = partial(_with_momentum, n / (n + 5.0))
        ahead = tuple(map(momentum, now, before)) if n and n < steps - 1 else now
        before = now
    return _image(splits, rest, z, t, before), before


def _image(splits: Splits, rest: Any, z: Array, t: Any, duals: tuple[Array, ...]) -> Array:
    """x(q)."""
    for (_, operator), dual in zip(splits, duals, strict=True):
        z = axpy(-t, operator.H @ dual, z)
    return z if rest is None else rest.prox(z, t)


def _with_momentum(momentum: float, now: Array, before: Array) -> Array:
    """now + momentum (now - before), in one temporary."""

    def one(a: Any, b: Any) -> Any:
        ahead = a - b
        ahead *= momentum
        ahead += a
        return ahead

    return tmap(one, now, before)


# -- isotropic TV of real NumPy images, compiled ---------------------------------------------------------


def _compiled(splits: Splits, rest: Any, z: Array) -> bool:
    """Whether this is one weight times the lengths of the gradient in the last two axes, and bounds at most."""
    if len(splits) > 1 or not (rest is None or is_interval(rest)):
        return False
    outer, operator = splits[0]
    return (
        isinstance(z, np.ndarray)
        and z.dtype in (np.float32, np.float64)
        and type(operator) is Gradient
        and operator.ndim == 2
        and type(outer) is L21
        and outer.axis == -3
        and isinstance(outer.weight, float | int)
        and find_spec("numba") is not None
    )


def _ascended_tv(
    outer: L21, rest: Any, z: Any, t: float, dual: Any, s: float, steps: int
) -> tuple[Array, tuple[Array, ...]]:
    from recon_proximal._tv_numba import ascend

    number = z.dtype.type
    lower, upper = (None, None) if rest is None else rest.interval
    x, field = ascend(
        np.ascontiguousarray(z).reshape(-1, *z.shape[-2:]),
        number(t),
        np.ascontiguousarray(dual).reshape(-1, 2, *z.shape[-2:]),
        number(s),
        number(outer.weight),
        steps,
        number(-np.inf if lower is None else lower),
        number(np.inf if upper is None else upper),
    )
    return x.reshape(z.shape), (field.reshape(dual.shape),)
