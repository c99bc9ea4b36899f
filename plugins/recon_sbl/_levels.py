"""The noise level from the data: the evidence with a price per active entry, level by level from above.

    score(s2) = L(g*(s2), s2) + H log(m) + 2 log C(n, H)        H = sum_i (1 - Sigma_ii / g_i), active entries

g* minimises L at that s2. L alone falls on and on as s2 -> 0: with fewer data than entries some k <= m columns fit
noise as well. That is why the EM updates of s2 collapse. The price is that of the extended Bayes information
criterion: log m for each of H fitted variances, and 2 log of the number of supports of that size. Without choice
(H = n) the second part is 0. For complex data, where L is -log evidence, both are halved. n and H count groups, m all
data of all snapshots.

Levels are mean |y|^2 times 1, 1/2, 1/4, ... The search ends when the score has stayed above its least for three
levels; a parabola through the three best levels gives the one taken.

Source: J. Chen, Z. Chen, Biometrika 95 (2008) 759, doi:10.1093/biomet/asn034 (the criterion).
Its use for the noise level is ours.
"""

from __future__ import annotations

import math

from recon_sbl._noise import FLOOR

__all__ = ["LOOSE", "MOST", "following", "score"]

LOOSE = 1e-3
"""Change of gamma, relative, at which a level has been judged."""
MOST = 100
"""Iterations at a level, at most."""
_LEAST = 7  # levels tried at least: down to 18 dB


def score(cost: float, determined: float, entries: int, data: int, parts: int) -> float:
    """L plus the price of so many determined entries (or groups) out of all, given so many data."""
    k = min(max(determined, 0.0), float(entries))
    supports = math.lgamma(entries + 1.0) - math.lgamma(k + 1.0) - math.lgamma(entries - k + 1.0)
    return cost + 2.0 / parts * (0.5 * k * math.log(parts * data) + supports)


def following(levels: tuple[float, ...], scores: tuple[float, ...]) -> tuple[float, bool]:
    """The next level to use, and whether it is the one to keep, given those tried and their scores."""
    best = min(range(len(scores)), key=scores.__getitem__)
    lower = levels[-1] / 2.0
    if lower >= FLOOR and (len(levels) < _LEAST or len(levels) - 1 - best < 3):
        return lower, False
    shift = 0.0
    if 0 < best < len(scores) - 1:
        left, middle, right = (scores[best + j] for j in (-1, 0, 1))
        bend = left - 2.0 * middle + right
        shift = 0.5 * (left - right) / bend if bend > 0.0 else 0.0
    return levels[best] * 2.0**-shift, True
