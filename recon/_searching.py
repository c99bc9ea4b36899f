"""Searches along the logarithm of one positive number: where a function is least, and where it is zero.

Both start anywhere, take steps of a factor 3 until they have the place between two numbers, and then close in.
"""

from __future__ import annotations

import math
from collections.abc import Callable

__all__ = ["least", "root"]

_APART = 3.0  # ratio of neighbours while the place is not yet between two of them
_CLOSE = 1.1  # ratio of neighbours at which the search for the least ends
_MOST = 20  # steps


def least(score: Callable[[float], float], start: float) -> float:
    """Where a function of log w is least: steps of 3 until it rises on both sides, then a golden section."""
    known_scores = {start: score(start)}

    def at(weight: float) -> float:
        if weight not in known_scores:
            known_scores[weight] = score(weight)
        return known_scores[weight]

    for ratio in (_APART, 1 / _APART):
        weight = min(known_scores, key=known_scores.__getitem__)
        for _ in range(_MOST):
            if at(weight * ratio) >= at(weight):
                break
            weight *= ratio
    best = min(known_scores, key=known_scores.__getitem__)
    low, high = best / _APART, best * _APART
    golden = (math.sqrt(5) - 1) / 2
    a, b = high * (low / high) ** golden, low * (high / low) ** golden
    while high / low > _CLOSE**2:
        if at(a) <= at(b):
            high, b = b, a
            a = high * (low / high) ** golden
        else:
            low, a = a, b
            b = low * (high / low) ** golden
    return min(known_scores, key=known_scores.__getitem__)


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
