"""The inner steps of `_inner` for isotropic total variation of a real 2-D image, one pass over memory each.

    x(q) = clip(z - t G^T q),   p = P_w(q + s G x(q)),   q <- p + n / (n + 5) (p - p_old)

P_w shortens every vector of the field to the length w at most.
"""

# mypy: ignore-errors
# (numba infers the types of what it compiles)

import numba
import numpy as np

__all__ = ["ascend"]


def _jit(function):
    """Compile when first called, and keep the machine code on disk if possible."""
    options = {"nogil": True, "error_model": "numpy", "fastmath": {"contract"}}
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:  # neither the package's folder nor the user's cache folder can be written
        return numba.njit(**options)(function)


@_jit
def ascend(z, t, fields, s, weight, steps, lower, upper):
    """x and the field after so many steps, for images (batch, n, m) and fields (batch, 2, n, m)."""
    images, ahead, done = np.empty_like(z), fields.copy(), fields.copy()
    for k in range(z.shape[0]):
        rows = np.empty((2, z.shape[2]), z.dtype)
        for n in range(steps):
            _step(z[k], t, ahead[k], done[k], s, weight, z.dtype.type(n / (n + 5.0)), lower, upper, rows)
        for i in range(z.shape[1]):
            _row(z[k], t, done[k], i, lower, upper, images[k, i])
    return images, done


@_jit
def _row(z, t, q, i, lower, upper, out):
    """Row i of clip(z - t G^T q)."""
    n, m = z.shape
    if i == 0:
        for j in range(m):
            out[j] = q[0, i, j]
    elif i == n - 1:
        for j in range(m):
            out[j] = -q[0, i - 1, j]
    else:
        for j in range(m):
            out[j] = q[0, i, j] - q[0, i - 1, j]
    if n == 1:
        for j in range(m):
            out[j] = 0
    if m > 1:
        out[0] += q[1, i, 0]
        for j in range(1, m - 1):
            out[j] += q[1, i, j] - q[1, i, j - 1]
        out[m - 1] -= q[1, i, m - 2]
    for j in range(m):
        out[j] = min(max(z[i, j] + t * out[j], lower), upper)


@_jit
def _step(z, t, q, p, s, weight, momentum, lower, upper, rows):
    """One ascent step in place: q, where the momentum leads, and p, the field itself.

    Row i of the field needs rows i and i + 1 of x, and row i + 1 of x the old row i of the field.
    """
    n, m = z.shape
    one = z.dtype.type(1)
    _row(z, t, q, 0, lower, upper, rows[0])
    for i in range(n):
        here, below = rows[i % 2], rows[(i + 1) % 2]
        if i < n - 1:
            _row(z, t, q, i + 1, lower, upper, below)
        else:
            below[:] = here
        for j in range(m):
            right = here[j + 1] - here[j] if j < m - 1 else here[j] - here[j]
            a = q[0, i, j] + s * (below[j] - here[j])
            b = q[1, i, j] + s * right
            shrink = weight / max(np.sqrt(a * a + b * b), weight) if weight > 0 else 0 * one
            a *= shrink
            b *= shrink
            q[0, i, j] = a + momentum * (a - p[0, i, j])
            q[1, i, j] = b + momentum * (b - p[1, i, j])
            p[0, i, j] = a
            p[1, i, j] = b
