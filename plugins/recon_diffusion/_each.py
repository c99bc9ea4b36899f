"""Numbers of each image by itself: products and conjugate gradients whose steps differ from image to image.

An image must not depend on the others of its batch, nor on the number of chains.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from recon.arrays import Array, is_complex, leaves, members, namespace, tmap

__all__ = ["conjugate_gradients", "dots", "spread"]


def dots(x: Array, y: Array, spec: Any) -> Any:
    """Re <x, y> of every image or data set, in the shape of the axes in front of the spec's."""
    total: Any = 0.0
    for a, b, one in zip(leaves(x), leaves(y), members(spec), strict=True):
        xp = namespace(a)
        product = xp.real(xp.conj(a) * b) if is_complex(a) else a * b
        total = total + xp.sum(xp.reshape(product, (*a.shape[: a.ndim - one.ndim], -1)), axis=-1)
    return total


def spread(values: Any, x: Array, spec: Any) -> Array:
    """One number for each image, with axes of length 1 behind, to be multiplied with x."""

    def shaped(leaf: Any, ndim: int) -> Any:
        return namespace(values).reshape(values, (*leaf.shape[: leaf.ndim - ndim], *(1,) * ndim))

    if isinstance(x, tuple):
        return tuple(shaped(leaf, one.ndim) for leaf, one in zip(x, members(spec), strict=True))
    return shaped(x, members(spec)[0].ndim)


def conjugate_gradients(
    apply: Callable[[Array], Array],
    b: Array,
    spec: Any,
    *,
    x0: Array | None = None,
    iterations: int = 10,
    tol: float = 1e-6,
) -> Array:
    """Solve M x = b for each image, M Hermitian positive (semi)definite; one product with M per iteration.

    An image whose residual has fallen to tol ||b||, or whose search direction M does not see, stays as it is.
    """
    x = tmap(lambda leaf: 0 * leaf, b) if x0 is None else x0
    r = b if x0 is None else tmap(lambda u, v: u - v, b, apply(x0))
    p, rho = r, dots(r, r, spec)
    xp = namespace(rho)
    goal = tol**2 * dots(b, b, spec)
    for _ in range(iterations):
        active = rho > goal
        if not bool(xp.any(active)):
            break
        q = apply(p)
        curvature = dots(p, q, spec)
        active = active & (curvature > 0)
        one = xp.ones_like(rho)
        alpha = xp.where(active, rho / xp.where(active, curvature, one), 0 * rho)
        x = tmap(lambda u, d, a: u + a * d, x, p, spread(alpha, p, spec))
        r = tmap(lambda u, d, a: u - a * d, r, q, spread(alpha, q, spec))
        new = dots(r, r, spec)
        beta = xp.where(active, new / xp.where(rho > 0, rho, one), 0 * rho)
        rho = xp.where(active, new, 0 * rho)  # an image without curvature has come to its end
        p = tmap(lambda u, d, a: u + a * d, r, p, spread(beta, p, spec))
    return x
