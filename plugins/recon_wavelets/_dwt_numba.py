"""The decimated transform compiled by numba: one pass over the image per level, each row while it is in cache.

    analysis     rows 2 k + t of a plane -> one low and one high row -> each split along itself -> four bands
    synthesis    every row of the bands joined along itself -> pairs of rows of the plane

A third axis in front is a pass over whole planes. Both directions are sums of shifted rows (`combine`), also
along the row, which is first parted into its two phases x[2 i + t0] and x[2 i + t0 + 1]. The synthesis is the
exact transpose of the analysis with the same filters.
"""

# mypy: ignore-errors
# (numba infers the types of what it compiles)

import numpy as np

from recon_wavelets._compile_numba import combine, fours, jit, periodic

__all__ = ["NumbaBank"]

_CHUNK = 4096
"""Numbers of a row that are finished before the next ones: results stay in the nearest cache."""


class NumbaBank:
    """Analysis with given filters (2, F), and its transpose, on arrays (batch, n0, n1, n2) of one dtype."""

    def __init__(self, taps, dtype):
        self.start = 1 - taps.shape[1] // 2
        self.forward = fours(taps, dtype)
        # phase 0 of the result takes taps 0, 2, ... of both filters, backwards; phase 1 the others
        h, g = self.forward
        phases = [np.stack([h[phase::2], g[phase::2]], axis=1)[::-1] for phase in (0, 1)]
        self.backward = np.stack([np.ravel(phase) for phase in phases])

    def analysis(self, x, steps):
        """Coefficients of x, in the layout of `_layout`."""
        result = np.empty_like(x)
        for number, (_, halved) in enumerate(steps):
            left = tuple(n // 2 if halve else n for n, halve in zip(x.shape[1:], halved, strict=True))
            low = result if number == len(steps) - 1 else np.empty((x.shape[0], *left), x.dtype)
            _analyse(x, result, low, *halved, self.start, *self.forward)
            x = low
        return result

    def synthesis(self, c, steps):
        """The transpose of the analysis."""
        low = c
        for sizes, halved in reversed(steps):
            x = np.empty((c.shape[0], *sizes), c.dtype)
            _synthesise(c, low, x, *halved, self.start, *self.backward)
            low = x
        return low


@jit
def _analyse(x, c, low, halve0, halve1, halve2, start, h, g):
    batch, n0, n1, n2 = x.shape
    buffers = np.empty((2, min(n2 // 2, _CHUNK) + h.size), x.dtype), np.empty((2, n2), x.dtype)
    planes = np.empty((2, n1 * n2 if halve0 else 0), x.dtype)
    count, sides = (n0 // 2, 2) if halve0 else (n0, 1)
    for b in range(batch):
        for k in range(count):
            if halve0:
                _rows(planes[0], planes[1], x[b].reshape(n0, n1 * n2), 2 * k + start, h, g)
            for side in range(sides):
                source = planes[side].reshape(n1, n2) if halve0 else x[b, k]
                target = c[b, side * count + k]
                _plane(source, target, target if side else low[b, k], halve1, halve2, start, h, g, buffers)


@jit
def _plane(x, c, low, halve1, halve2, start, h, g, buffers):
    phases, pair = buffers
    n1 = x.shape[0]
    count, sides = (n1 // 2, 2) if halve1 else (n1, 1)
    for k in range(count):
        if halve1:
            _rows(pair[0], pair[1], x, 2 * k + start, h, g)
        for side in range(sides):
            target = c[side * count + k]
            source = pair[side] if halve1 else x[k]
            _line(source, target, target if side else low[k], halve2, start, h, g, phases)


@jit
def _rows(p, q, x, first, h, g):
    """Two results from the rows first, first + 1, ... of x, periodic."""
    n, length = x.shape
    for begin in range(0, length, _CHUNK):
        end = min(begin + _CHUNK, length)
        for j in range(0, h.size, 4):
            i = first + j
            a, b, c, d = x[i % n], x[(i + 1) % n], x[(i + 2) % n], x[(i + 3) % n]
            combine(
                p[begin:end], q[begin:end], a[begin:end], b[begin:end], c[begin:end], d[begin:end],
                end - begin, h, g, j,
            )  # fmt: skip


@jit
def _line(row, c, low, halve, start, h, g, phases):
    """A row split along itself: low half to `low`, high half into `c`."""
    n = row.size
    if not halve:
        low[:n] = row
        return
    half = n // 2
    a, b = phases[0], phases[1]  # unpacking would forget that rows are contiguous
    for begin in range(0, half, _CHUNK):
        count = min(_CHUNK, half - begin)
        _part(row, 2 * begin + start, a, b, count + h.size // 2)
        p, q = low[begin : begin + count], c[half + begin : half + begin + count]
        for j in range(0, h.size, 4):
            s = j // 2
            combine(p, q, a[s:], b[s:], a[s + 1 :], b[s + 1 :], count, h, g, j)


@jit
def _inside(n, first, count):
    """The range of i < count for which first + 2 i and the next are places of a row of n."""
    inner = min(max((1 - first) // 2, 0), count)
    return inner, min(max((n - first) // 2, inner), count)


@jit
def _part(row, first, a, b, count):
    """a[i], b[i] = row[first + 2 i], row[first + 2 i + 1], periodic."""
    n = row.size
    inner, outer = _inside(n, first, count)
    for i in range(inner):
        a[i], b[i] = row[(first + 2 * i) % n], row[(first + 2 * i + 1) % n]
    # slices that start at 0 spare the test for negative places, so that the loop becomes vector instructions
    middle, a_middle, b_middle = row[first + 2 * inner :], a[inner:], b[inner:]
    for i in range(outer - inner):
        a_middle[i], b_middle[i] = middle[2 * i], middle[2 * i + 1]
    for i in range(outer, count):
        a[i], b[i] = row[(first + 2 * i) % n], row[(first + 2 * i + 1) % n]


@jit
def _weave(row, first, a, b, count):
    """The reverse: row[first + 2 i], row[first + 2 i + 1] = a[i], b[i]."""
    n = row.size
    inner, outer = _inside(n, first, count)
    for i in range(inner):
        row[(first + 2 * i) % n], row[(first + 2 * i + 1) % n] = a[i], b[i]
    middle, a_middle, b_middle = row[first + 2 * inner :], a[inner:], b[inner:]
    for i in range(outer - inner):
        middle[2 * i], middle[2 * i + 1] = a_middle[i], b_middle[i]
    for i in range(outer, count):
        row[(first + 2 * i) % n], row[(first + 2 * i + 1) % n] = a[i], b[i]


@jit
def _synthesise(c, low, x, halve0, halve1, halve2, start, u, v):
    batch, n0, n1, n2 = x.shape
    room = min(n2 // 2, _CHUNK) + u.size
    buffers = np.empty((4, room), x.dtype), np.empty((n1, n2), x.dtype)
    planes = np.empty((n0, n1, n2), x.dtype) if halve0 else np.empty((0, n1, n2), x.dtype)
    half = n0 // 2
    for b in range(batch):
        for i in range(n0):
            front = low[b, i] if i < half or not halve0 else c[b, i]
            back = planes[i] if halve0 else x[b, i]
            _plane_back(c[b, i], front, back, halve1, halve2, start, u, v, buffers)
        if halve0:
            slabs, result = planes.reshape(n0, n1 * n2), x[b].reshape(n0, n1 * n2)
            for k in range(half):
                _rows_back(result, slabs, k, start, u, v)


@jit
def _plane_back(c, low, x, halve1, halve2, start, u, v, buffers):
    phases, joined = buffers
    n1 = x.shape[0]
    half = n1 // 2
    target = joined if halve1 else x
    for r in range(n1):
        front = low[r] if r < half or not halve1 else c[r]
        _line_back(c[r], front, target[r], halve2, start, u, v, phases)
    if halve1:
        for k in range(half):
            _rows_back(x, joined, k, start, u, v)


@jit
def _rows_back(x, c, k, start, u, v):
    """The rows 2 k + start and the next of x, from low rows 0 ... and high rows n / 2 ... of c."""
    n, length = c.shape
    half = n // 2
    p, q = x[(2 * k + start) % n], x[(2 * k + start + 1) % n]
    first = k + 1 - u.size // 2
    for begin in range(0, length, _CHUNK):
        end = min(begin + _CHUNK, length)
        for j in range(0, u.size, 4):
            i, m = (first + j // 2) % half, (first + j // 2 + 1) % half
            combine(
                p[begin:end], q[begin:end],
                c[i, begin:end], c[half + i, begin:end], c[m, begin:end], c[half + m, begin:end],
                end - begin, u, v, j,
            )  # fmt: skip


@jit
def _line_back(c, low, row, halve, start, u, v, phases):
    """A row joined along itself from its low half in `low` and its high half in `c`."""
    n = row.size
    if not halve:
        row[:] = low[:n]
        return
    half = n // 2
    a, b, p, q = phases[0], phases[1], phases[2], phases[3]
    ahead = u.size // 2 - 1
    for begin in range(0, half, _CHUNK):
        count = min(_CHUNK, half - begin)
        periodic(a[: count + ahead], low[:half], begin - ahead)
        periodic(b[: count + ahead], c[half:n], begin - ahead)
        for j in range(0, u.size, 4):
            s = j // 2
            combine(p, q, a[s:], b[s:], a[s + 1 :], b[s + 1 :], count, u, v, j)
        _weave(row, 2 * begin + start, p, q, count)
