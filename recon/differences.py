"""Forward differences with Neumann boundary and their exact adjoint, on any array library.

(G x)[k] = x shifted by -1 along axis k - x,  0 in the last line        G: (..., n1..nd) -> (..., d, n1..nd)
G^T y    = sum_k (y[k] shifted by +1 along axis k - y[k]), the last line of y[k] ignored
"""

from __future__ import annotations

from typing import Any

import numpy as np

from recon.arrays import Array, device_of, namespace

__all__ = ["gradient", "gradient_adjoint"]


def _lines(ndim: int, axis: int) -> tuple[Any, Any, Any]:
    """Index tuples for all lines but the last, all but the first, and the last, along one of the last axes."""

    def at(line: Any) -> Any:
        return (Ellipsis, *(line if k == axis else slice(None) for k in range(ndim)))

    return at(slice(None, -1)), at(slice(1, None)), at(slice(-1, None))


def gradient(x: Array, ndim: int) -> Array:
    """Differences along the last ``ndim`` axes, stacked on a new axis in front of these."""
    xp = namespace(x)
    split = x.ndim - ndim
    out = xp.empty((*x.shape[:split], ndim, *x.shape[split:]), dtype=x.dtype, device=device_of(x))
    for k in range(ndim):
        head, tail, last = _lines(ndim, k)
        part = out[(Ellipsis, k, *[slice(None)] * ndim)]
        if isinstance(x, np.ndarray):
            np.subtract(x[tail], x[head], out=part[head])  # saves a temporary and a pass
        else:
            part[head] = x[tail] - x[head]
        part[last] = 0.0
    return out


def gradient_adjoint(y: Array, ndim: int) -> Array:
    """The exact transpose of :func:`gradient` (minus the divergence)."""
    xp = namespace(y)
    split = y.ndim - ndim - 1
    out = xp.empty((*y.shape[:split], *y.shape[split + 1 :]), dtype=y.dtype, device=device_of(y))
    for k in range(ndim):
        head, tail, last = _lines(ndim, k)
        part = y[(Ellipsis, k, *[slice(None)] * ndim)][head]
        if k == 0:  # the first axis writes, which saves clearing the result
            out[head] = -part
            out[last] = 0.0
        else:
            out[head] -= part
        out[tail] += part
    return out
