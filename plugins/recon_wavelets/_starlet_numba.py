"""One smoothing of the starlet compiled by numba, with what follows from it in the same pass.

    smooth(x, base, out, rest, keep, sign, ...)     out = H x where `keep`;  rest = base + sign H x where sign != 0

Five rows (of planes, where there is a third axis) give one row, which is extended over its borders, smoothed
along itself, and used while it is in cache. x, base, out, rest are (n0, n1, n2); axes that are off are left alone.
"""

# mypy: ignore-errors
# (numba infers the types of what it compiles)

import numpy as np

from recon_wavelets._compile_numba import jit

__all__ = ["smooth"]


@jit
def smooth(x, base, out, rest, keep, sign, on0, on1, step, mirror, weights):
    """See the head of the file; `weights` are those of taps 0, 1 and 2 from the middle, in the precision of x."""
    n0, n1, n2 = x.shape
    plane = np.empty((n1, n2) if on0 else (0, n2), x.dtype)
    across = np.empty(n2, x.dtype)
    wide = np.empty(n2 + 4 * step, x.dtype)
    spare = np.empty(n2, x.dtype)
    for i in range(n0):
        if on0:
            _across(plane.reshape(-1), x.reshape(n0, n1 * n2), i, step, mirror, weights)
        source = plane if on0 else x[i]
        for k in range(n1):
            if on1:
                _across(across, source, k, step, mirror, weights)
            row = across if on1 else source[k]
            _extend(wide, row, 2 * step, mirror)
            smoothed = out[i, k] if keep else spare
            _five(
                smoothed, wide, wide[step:], wide[2 * step :], wide[3 * step :], wide[4 * step :], n2, weights
            )
            if sign != 0:
                _follow(rest[i, k], base[i, k], smoothed, n2, sign)


@jit
def _across(p, x, k, step, mirror, weights):
    n, length = x.shape
    a, b = _place(k - 2 * step, n, mirror), _place(k - step, n, mirror)
    d, e = _place(k + step, n, mirror), _place(k + 2 * step, n, mirror)
    _five(p, x[a], x[b], x[k], x[d], x[e], length, weights)


@jit
def _five(p, a, b, c, d, e, n, weights):
    w0, w1, w2 = weights[0], weights[1], weights[2]
    for i in range(n):
        p[i] = w0 * c[i] + w1 * (b[i] + d[i]) + w2 * (a[i] + e[i])


@jit
def _follow(rest, base, smoothed, n, sign):
    for i in range(n):
        rest[i] = base[i] + sign * smoothed[i]


@jit
def _extend(wide, row, margin, mirror):
    """The row with so many samples beyond each border."""
    n = row.size
    for i in range(margin):
        wide[i] = row[_place(i - margin, n, mirror)]
        wide[margin + n + i] = row[_place(n + i, n, mirror)]
    wide[margin : margin + n] = row


@jit
def _place(i, n, mirror):
    if 0 <= i < n:
        return i
    if not mirror:
        return i % n
    period = max(2 * (n - 1), 1)
    i %= period
    return min(i, period - i)
