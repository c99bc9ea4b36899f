"""Searches along the logarithm of one positive number: where a function is least, and where it is zero.

Both start anywhere and take steps of one factor until they have the place between two numbers, then close in by
a parabola or a straight line.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

__all__ = ["least", "root"]

_APART = 3.0  # ratio of neighbours while a zero is not yet between two of them
_HALVES = 2.0  # the same for a least value
_CLOSE = 1.1  # a weight nearer than this ratio to one that was tried is not tried
_LEVEL = 1e-6  # relative difference of scores that are as good as equal
_MOST = 20  # steps


def least(score: Callable[[float], float], tried: Iterable[float]) -> float:
    """Where a function of log w is least: steps of 2 until it rises on both sides, then parabolas through three.

    Where it is level, as beyond the weights that leave an image of zeros, the steps go on: smaller weights first.
    """
    scores: dict[float, float] = {}

    def at(weight: float) -> None:
        if weight not in scores:
            value = score(weight)
            scores[weight] = math.inf if math.isnan(value) else value

    def lowest() -> list[float]:
        low = min(scores.values())
        return sorted(w for w, value in scores.items() if value <= low + _LEVEL * abs(low))

    for weight in tried:
        at(weight)
    for _ in range(_MOST):
        if lowest()[0] != min(scores):
            break
        at(min(scores) / _HALVES)
    for _ in range(_MOST):
        if lowest()[-1] != max(scores):
            break
        at(max(scores) * _HALVES)
    for _ in range(3):
        ordered = sorted(scores)
        place = ordered.index(min(ordered, key=scores.__getitem__))
        if not 0 < place < len(ordered) - 1:
            break
        near = ordered[place - 1 : place + 2]
        weight = math.exp(_vertex([math.log(w) for w in near], [scores[w] for w in near]))
        if min(max(weight / w, w / weight) for w in near) < _CLOSE:
            break
        at(weight)
    return min(scores, key=scores.__getitem__)


def _vertex(x: list[float], y: list[float]) -> float:
    """Where the parabola through three points is least, of which the middle one is lowest."""
    left, right = (y[0] - y[1]) / (x[1] - x[0]), (y[2] - y[1]) / (x[2] - x[1])  # both >= 0
    if not left + right > 0 or not math.isfinite(left + right):
        return x[1]
    return 0.5 * (left * (x[1] + x[2]) + right * (x[0] + x[1])) / (left + right)


def root(excess: Callable[[float], float], start: float) -> float:
    """Where a rising function of log w is 0: steps of 3 until it changes sign, then regula falsi (Illinois)."""
    weight, value = start, excess(start)
    ratio = _APART if value < 0 else 1 / _APART
    for _ in range(_MOST):
        before, old = weight, value
        weight *= ratio
        value = excess(weight)
        if (value < 0) != (old < 0):
            break
    else:
        return weight  # the misfit never gets there: the nearest end is the answer
    ends = [(math.log(before), old), (math.log(weight), value)]
    best = min(ends, key=lambda end: abs(end[1]))
    for _ in range(_MOST):
        (p, fp), (q, fq) = ends
        if abs(best[1]) < 0.01 or abs(p - q) < math.log(1.01):
            break
        middle = p - fp * (q - p) / (fq - fp)
        f = excess(math.exp(middle))
        if (f < 0) != (fq < 0):
            ends = [(q, fq), (middle, f)]
        else:
            ends = [(p, fp / 2), (middle, f)]
        best = min(best, (middle, f), key=lambda end: abs(end[1]))
    return math.exp(best[0])
