"""The undecimated transform compiled by numba: one pass over the image per level, four bands written at once.

    spread    rows k + hole t of a plane -> a low and a high row -> each filtered along itself -> four bands
    gather    its transpose: rows of the bands filtered along themselves, then across

A third axis in front is a pass over whole planes. Everything is periodic, for any length and any hole.
"""

# mypy: ignore-errors
# (numba infers the types of what it compiles)

import numpy as np

from recon_wavelets._compile_numba import add_up, combine, fours, jit, periodic

__all__ = ["NumbaStack"]

_CHUNK = 4096
"""Numbers of a row that are finished before the next ones: results stay in the nearest cache."""


class NumbaStack:
    """Analysis into a stack (batch, bands, n0, n1, n2) of one dtype, and its transpose; `taps` are (2, F)."""

    def __init__(self, taps, dtype, levels, axes):
        self.start = 1 - taps.shape[1] // 2
        self.h, self.g = fours(taps, dtype)
        self.both = fours(np.ravel(taps.T), dtype)  # low, high, low, high, ...
        self.levels, self.details = levels, 2**axes - 1
        self.on = tuple(axis >= 3 - axes for axis in range(2))

    def analysis(self, x):
        """The bands: approximation, then details from coarse to fine."""
        bands = 1 + self.levels * self.details
        result = np.empty((x.shape[0], bands, *x.shape[1:]), x.dtype)
        for level in range(self.levels):
            low = result[:, 0] if level == self.levels - 1 else np.empty_like(x)
            place = self._place(level)
            for b in range(x.shape[0]):
                _spread(x[b], result[b, place:], low[b], *self.on, self.start, 2**level, self.h, self.g)
            x = low
        return result

    def synthesis(self, c):
        """The transpose of the analysis."""
        low = c[:, 0]
        for level in range(self.levels - 1, -1, -1):
            x = np.empty((c.shape[0], *c.shape[2:]), c.dtype)
            place = self._place(level)
            for b in range(c.shape[0]):
                _gather(c[b, place:], low[b], x[b], *self.on, self.start, 2**level, self.both)
            low = x
        return low

    def _place(self, level):
        return 1 + (self.levels - 1 - level) * self.details


@jit
def _spread(x, c, low, on0, on1, start, hole, h, g):
    n0, n1, n2 = x.shape
    row = np.empty(n2 + hole * h.size, x.dtype)
    pair = np.empty((2, n2), x.dtype)
    planes = np.empty((2, n1 * n2 if on0 else 0), x.dtype)
    sides0, sides1 = 1 + on0, 1 + on1
    for i in range(n0):
        if on0:
            _across(planes[0], planes[1], x.reshape(n0, n1 * n2), i + hole * start, hole, h, g)
        for s in range(sides0):
            plane = planes[s].reshape(n1, n2) if on0 else x[i]
            for k in range(n1):
                if on1:
                    _across(pair[0], pair[1], plane, k + hole * start, hole, h, g)
                for r in range(sides1):
                    periodic(row, pair[r] if on1 else plane[k], hole * start)
                    code = 2 * (s * sides1 + r)
                    p = low[i, k] if code == 0 else c[code - 1, i, k]
                    for j in range(0, h.size, 4):
                        at = hole * j
                        combine(
                            p, c[code, i, k], row[at:], row[at + hole :], row[at + 2 * hole :],
                            row[at + 3 * hole :], n2, h, g, j,
                        )  # fmt: skip


@jit
def _across(p, q, x, first, hole, h, g):
    """Two results from the rows first, first + hole, ... of x, periodic."""
    n, length = x.shape
    for begin in range(0, length, _CHUNK):
        end = min(begin + _CHUNK, length)
        for j in range(0, h.size, 4):
            i = first + hole * j
            a, b, c, d = i % n, (i + hole) % n, (i + 2 * hole) % n, (i + 3 * hole) % n
            combine(
                p[begin:end], q[begin:end],
                x[a, begin:end], x[b, begin:end], x[c, begin:end], x[d, begin:end],
                end - begin, h, g, j,
            )  # fmt: skip


@jit
def _gather(c, low, x, on0, on1, start, hole, w):
    n0, n1, n2 = x.shape
    taps = w.size // 2
    rows = np.empty((2, n2 + hole * taps), x.dtype)
    pair = np.empty((2, n1, n2), x.dtype)
    planes = np.empty((2, n0 if on0 else 0, n1, n2), x.dtype)
    sides0, sides1 = 1 + on0, 1 + on1
    for s in range(sides0):
        for i in range(n0):
            plane = planes[s, i] if on0 else x[i]
            for r in range(sides1):
                code = 2 * (s * sides1 + r)
                target = pair[r] if on1 else plane
                for k in range(n1):
                    # row i holds place i - hole (start + taps - 1): tap t is read at hole (taps - 1 - t)
                    first = -hole * (start + taps - 1)
                    periodic(rows[0], low[i, k] if code == 0 else c[code - 1, i, k], first)
                    periodic(rows[1], c[code, i, k], first)
                    for j in range(0, w.size, 4):
                        at = hole * (taps - 1 - j // 2)
                        add_up(
                            target[k], rows[0, at:], rows[1, at:], rows[0, at - hole :], rows[1, at - hole :],
                            n2, w, j,
                        )  # fmt: skip
            if on1:
                for k in range(n1):
                    _across_back(plane[k], pair[0], pair[1], k - hole * start, hole, w)
    if on0:
        low0, high0 = planes[0].reshape(n0, n1 * n2), planes[1].reshape(n0, n1 * n2)
        for i in range(n0):
            _across_back(x[i].reshape(-1), low0, high0, i - hole * start, hole, w)


@jit
def _across_back(p, low, high, first, hole, w):
    """A result from the rows first, first - hole, ... of low and high, periodic."""
    n, length = low.shape
    for begin in range(0, length, _CHUNK):
        end = min(begin + _CHUNK, length)
        for j in range(0, w.size, 4):
            i = first - hole * (j // 2)
            a, b = i % n, (i - hole) % n
            add_up(
                p[begin:end], low[a, begin:end], high[a, begin:end], low[b, begin:end], high[b, begin:end],
                end - begin, w, j,
            )  # fmt: skip
