"""Exact nonnegative quadratic programs of many pixels, compiled.

    minimise  1/2 x^T G x - c^T x    subject to x >= 0 and, where a total is given, sum x = total

One Gram matrix G = A^T A for all pixels, one c per pixel. Each is solved by the active-set method of Lawson and Hanson
(1974, chapter 23), with the equality by elimination (Haskell and Hanson 1981):

    P        the entries in use, R R^T = G_PP
    x_P      G_PP^(-1) (c_P - nu 1),   nu = (1^T G_PP^(-1) c_P - total) / (1^T G_PP^(-1) 1), or 0 without a total
    step     towards x_P until an entry meets 0, which leaves P;  when x_P >= 0, x = x_P
    enter    the largest w_j = c_j - G_jP x_P - nu; at w <= tol for all j outside P the optimum is reached

R gains a row when an entry enters (k^2 flops) and is rotated back to a triangle when one leaves (as many). A column
that depends on those in use (its pivot is rounding) enters by a step along the null direction, until another one
leaves: so rank-deficient libraries are solved, too. With a total the caller adds a constant to all of G (and that times
the total to c), which changes nothing where the sum is kept; so null directions keep the sum.

Work per pixel: about |P| (k m + k^2) flops, m the number of columns.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

__all__ = ["solve_pixels"]

_SMALL = 50_000  # entries of C: some ten milliseconds of work


@numba.njit(cache=True)
def _extend(R: Any, k: int, G: Any, P: Any, j: int) -> float:
    """Write row k of R for column j; its squared pivot."""
    square = G[j, j]
    for a in range(k):
        value = G[j, P[a]]
        for b in range(a):
            value -= R[k, b] * R[a, b]
        value /= R[a, a]
        R[k, a] = value
        square -= value * value
    return square


@numba.njit(cache=True)
def _solve(R: Any, k: int, rhs: Any, out: Any) -> None:
    """out = (R R^T)^(-1) rhs, of the first k entries."""
    for a in range(k):
        value = rhs[a]
        for b in range(a):
            value -= R[a, b] * out[b]
        out[a] = value / R[a, a]
    for a in range(k - 1, -1, -1):
        value = out[a]
        for b in range(a + 1, k):
            value -= R[b, a] * out[b]
        out[a] = value / R[a, a]


@numba.njit(cache=True)
def _drop(R: Any, k: int, G: Any, P: Any, inside: Any, place: int) -> int:
    """Take the entry at a place out of P; the new count."""
    inside[P[place]] = False
    for a in range(place, k - 1):
        P[a] = P[a + 1]
        for b in range(a + 2):
            R[a, b] = R[a + 1, b]
    for a in range(place, k - 1):  # each row has one entry too many: a rotation of two columns takes it away
        length = np.sqrt(R[a, a] ** 2 + R[a, a + 1] ** 2)
        cosine, sine = R[a, a] / length, R[a, a + 1] / length
        R[a, a] = length
        for b in range(a + 1, k - 1):
            left, right = R[b, a], R[b, a + 1]
            R[b, a] = cosine * left + sine * right
            R[b, a + 1] = cosine * right - sine * left
    return k - 1


@numba.njit(cache=True)
def _minimiser(R: Any, k: int, c: Any, P: Any, total: float, work: Any, z: Any, ones: Any) -> float:
    """z = the minimiser on P with its signs free; nu. With a total, c less a constant: large c would hide the sum."""
    summed = not np.isnan(total)
    base = c[P[0]] if summed else 0.0
    for a in range(k):
        work[a] = c[P[a]] - base
    _solve(R, k, work, z)
    if not summed:
        return 0.0
    for a in range(k):
        work[a] = 1.0
    _solve(R, k, work, ones)
    above, below = -total, 0.0
    for a in range(k):
        above += z[a]
        below += ones[a]
    nu = above / below
    for a in range(k):
        z[a] -= nu * ones[a]
    return float(nu + base)


@numba.njit(cache=True)
def _towards(x: Any, z: Any, k: int, P: Any) -> int:
    """x on P moves towards z; the place of the entry that meets 0 first, -1 when z is reached."""
    reach, first = 1.0, -1
    for a in range(k):
        if z[a] <= 0.0:
            before = x[P[a]]
            share = before / (before - z[a]) if before > z[a] else 0.0
            if first < 0 or share < reach:  # a share may round to 1, and still must leave
                reach, first = share, a
    for a in range(k):  # z itself at the end: a start may be far off
        x[P[a]] = z[a] if first < 0 else max(x[P[a]] + reach * (z[a] - x[P[a]]), 0.0)
    if first >= 0:
        x[P[first]] = 0.0
    return first


@numba.njit(cache=True)
def _slide(x: Any, k: int, G: Any, P: Any, R: Any, j: int, buffers: Any) -> int:
    """A step along the null direction of a dependent column j; the place that leaves, -1 where none does."""
    work, d = buffers[0], buffers[1]
    for a in range(k):
        work[a] = -G[P[a], j]
    _solve(R, k, work, d)
    reach, first = np.inf, -1
    for a in range(k):
        if d[a] < 0.0 and -x[P[a]] / d[a] < reach:
            reach, first = -x[P[a]] / d[a], a
    if first < 0:
        return -1
    for a in range(k):
        x[P[a]] += reach * d[a]
    x[P[first]] = 0.0
    x[j] = reach
    return first


@numba.njit(cache=True)
def _append(R: Any, k: int, G: Any, P: Any, inside: Any, j: int, square: float) -> int:
    """Put column j, whose row of R is written, into P; the new count."""
    R[k, k] = np.sqrt(max(square, 1e-300))
    P[k] = j
    inside[j] = True
    return k + 1


@numba.njit(cache=True)
def _begin(G: Any, c: Any, x: Any, total: float, R: Any, P: Any, inside: Any) -> int:
    """P of the start: its entries > 0 as far as they are independent, scaled to the total; the best vertex for none."""
    k, size = 0, 0.0
    for j in range(c.size):
        if x[j] > 0.0:
            square = _extend(R, k, G, P, j)
            if square > 1e-11 * G[j, j] and square > 0.0:
                k = _append(R, k, G, P, inside, j, square)
                size += x[j]
            else:
                x[j] = 0.0
    if np.isnan(total):
        return k
    if k > 0:
        for a in range(k):
            x[P[a]] *= total / size
        return k
    best, place = np.inf, 0
    for j in range(c.size):
        value = 0.5 * total * total * G[j, j] - total * c[j]
        if value < best:
            best, place = value, j
    x[place] = total
    return _append(R, 0, G, P, inside, place, G[place, place])


@numba.njit(cache=True)
def _candidate(
    G: Any, c: Any, x: Any, nu: float, tol: float, k: int, P: Any, inside: Any, banned: Any, buffers: Any
) -> int:
    """The column that lowers the objective fastest per length; -1 where none does by more than tol."""
    w, inverse = buffers[2], buffers[6]
    for i in range(c.size):
        w[i] = c[i] - nu
    for a in range(k):  # rows of G, which lie in one piece
        value, row = x[P[a]], G[P[a]]
        for i in range(c.size):
            w[i] -= value * row[i]
    largest, best = tol, -1
    for i in range(c.size):
        if inside[i] or banned[i]:
            continue
        slope = w[i] * inverse[i]
        if slope > largest:
            largest, best = slope, i
    return best


@numba.njit(cache=True)
def _pixel(
    G: Any, c: Any, x: Any, total: float, tol: float, R: Any, P: Any, inside: Any, buffers: Any
) -> int:
    """Solve one pixel from the start x, in place; how many entries entered, negative when that is too many."""
    z, work, ones = buffers[3], buffers[4], buffers[5]
    inside[:] = False
    banned = np.zeros(c.size, np.bool_)
    k = _begin(G, c, x, total, R, P, inside)
    entered, last, nu = 0, -1, 0.0
    while True:
        while k > 0:
            nu = _minimiser(R, k, c, P, total, work, z, ones)
            place = _towards(x, z, k, P)
            if place < 0:
                break
            k = _drop(R, k, G, P, inside, place)
        if last >= 0:  # one that rounding let enter, and that left at once, would do so for ever
            if inside[last]:
                banned[:] = False
            else:
                banned[last] = True
        if k == 0:
            nu = 0.0
        if entered >= 10 * c.size + 30:
            return -entered
        while True:
            j = _candidate(G, c, x, nu, tol, k, P, inside, banned, buffers)
            if j < 0:
                return entered
            square = _extend(R, k, G, P, j)
            if square <= 1e-11 * G[j, j]:
                place = _slide(x, k, G, P, R, j, buffers)
                if place < 0:
                    banned[j] = True
                    continue
                k = _drop(R, k, G, P, inside, place)
                square = _extend(R, k, G, P, j)
            k = _append(R, k, G, P, inside, j, square)
            break
        entered, last = entered + 1, j


@numba.njit(cache=True)
def _solve_range(G: Any, C: Any, X: Any, total: float, tol: Any, start: int, stop: int) -> int:
    """Pixels start to stop; how many ran out of work."""
    m = C.shape[1]
    R = np.empty((m + 1, m + 1))
    P = np.empty(m + 1, np.int64)
    inside = np.empty(m, np.bool_)
    buffers = np.empty((7, m + 1))
    for i in range(m):
        buffers[6, i] = 1.0 / max(np.sqrt(G[i, i]), 1e-300)
    lost = 0
    for n in range(start, stop):
        if _pixel(G, C[n], X[n], total, tol[n], R, P, inside, buffers) < 0:
            lost += 1
    return lost


@numba.njit(cache=True, parallel=True)
def _solve_blocks(G: Any, C: Any, X: Any, total: float, tol: Any, blocks: int) -> int:
    N = C.shape[0]
    lost = np.zeros(blocks, np.int64)
    for block in numba.prange(blocks):
        lost[block] = _solve_range(G, C, X, total, tol, block * N // blocks, (block + 1) * N // blocks)
    return int(lost.sum())


def solve_pixels(G: Any, C: Any, X: Any, total: float, tol: Any) -> int:
    """Solve every row of C (N, m) from the start X (N, m), in place; how many ran out of work (0 but for overflow).

    Parameters
    ----------
    G, C, X
        (m, m), (N, m) and (N, m), float64, C order. X >= 0; entries > 0 are taken to be in use.
    total
        What a pixel sums to; NaN without that constraint.
    tol
        (N,): per pixel the bound of c_j - G_jP x_P - nu outside P, over sqrt(G_jj).
    """
    if C.size < _SMALL:  # waking threads would take longer
        return int(_solve_range(G, C, X, total, tol, 0, len(C)))
    return int(_solve_blocks(G, C, X, total, tol, 64))
