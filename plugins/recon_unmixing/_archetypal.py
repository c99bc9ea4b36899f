"""One descent of archetypal analysis: abundances, spectra as mixtures of pixels, and the objective that never rises.

    J(A, B) = log(sum_n h(||r_n||)) / q + v / 2 log det(Q E E^T Q^T + s^2 I)
    R = Y - A E,  E = B Y,  rows of A and B on the simplex

h is r^2 / 2 (q = 2) or Huber's function of a width (q = 1). The rows of Q (p - 1, p) are orthonormal and sum to 0: the
determinant is the squared volume of the simplex, up to a constant; s^2, the noise, keeps it above 0. One iteration
lowers J three times:

    A        exact, pixel by pixel: h grows with ||r_n||, so it plays no part
    w_n      h'(||r_n||) / ||r_n||: the parabola above h that touches it at r_n (as for log and log det, concave both)
    e_k      of  1/2 tr(E^T H E) - tr(P E^T)  with the others fixed: (P_k - sum_(j != k) H_kj e_j) / H_kk, projected
             onto the convex hull of the pixels;  P = A^T W Y,
             H = A^T W A + q v S Q^T (Q E E^T Q^T + s^2 I)^-1 Q,  S = sum_n h

A step that goes further is taken where J is lower there. Only H (p, p), P (p, L) and the pixels in use (a few per
endmember) are kept: B is never a full matrix. The projection is the fully corrective Frank-Wolfe method: the pixels
with the largest slopes join, and the exact active set solves the small program of those in use.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from recon_unmixing._pixelwise import exact

__all__ = ["Descent", "Fit", "Mixture", "differences", "furthest_sum", "log_volume", "mixtures"]

_JOIN = 12  # pixels that join the ones in use at a time
_ROUNDS = 3  # at most, per projection; the next iteration goes on from there


@dataclass(frozen=True)
class Mixture:
    """A point of the convex hull: the pixels in use and their shares."""

    pixels: Any
    shares: Any


@dataclass(frozen=True)
class Fit:
    """Where a descent ended."""

    endmembers: Any
    abundances: Any
    mixtures: list[Mixture]
    norms: Any  # ||r_n||
    path: list[float]


def differences(count: int) -> Any:
    """Q (count - 1, count): orthonormal rows that sum to 0."""
    rows = np.arange(1, count)
    lower = np.tri(count - 1, count, 0)
    lower[rows - 1, rows] = -rows
    return lower / np.sqrt(rows * (rows + 1.0))[:, None]


def log_volume(E: Any, noise: float = 0.0) -> float:
    """1/2 log det(Q E E^T Q^T + noise^2 I); 0 for one row."""
    D = differences(len(E)) @ E
    return 0.5 * float(np.linalg.slogdet(D @ D.T + noise**2 * np.eye(len(D)))[1]) if len(D) else 0.0


def furthest_sum(Y: Any, count: int, rng: Any, rounds: int = 10) -> list[int]:
    """Pixels far from each other: each has the largest sum of distances to the others (Moerup and Hansen 2012)."""
    squares = np.einsum("nl,nl->n", Y, Y)

    def distances(n: int) -> Any:
        return np.sqrt(np.maximum(squares - 2.0 * (Y @ Y[n]) + squares[n], 0.0))

    chosen = [int(rng.integers(len(Y)))]
    sums = distances(chosen[0])
    for turn in range(count - 1 + rounds):
        if turn >= count - 1:  # the oldest leaves: the start is forgotten
            sums = sums - distances(chosen.pop(0))
        free = sums.copy()
        free[chosen] = -np.inf
        chosen.append(int(np.argmax(free)))
        sums = sums + distances(chosen[-1])
    return chosen


def mixtures(pixels: Any) -> list[Mixture]:
    """Every endmember is one pixel."""
    return [Mixture(np.array([int(n)]), np.ones(1)) for n in pixels]


@dataclass(frozen=True)
class Descent:
    """The objective on the pixels Y (N, L), and its descent.

    ``width`` None: squares. ``volume``: v. ``noise``: s.
    """

    Y: Any
    squares: Any  # ||y_n||^2
    width: float | None
    volume: float = 0.0
    noise: float = 0.0

    @classmethod
    def of(cls, Y: Any, width: float | None, volume: float = 0.0, noise: float = 0.0) -> Descent:
        return cls(Y, np.einsum("nl,nl->n", Y, Y), width, volume, noise)

    @property
    def power(self) -> float:
        return 2.0 if self.width is None else 1.0

    def losses(self, norms: Any) -> Any:
        """h of every pixel."""
        if self.width is None:
            return 0.5 * norms * norms
        small = norms < self.width
        return np.where(small, 0.5 * norms * norms / self.width + 0.5 * self.width, norms)

    def weights(self, norms: Any) -> Any:
        """h'(r) / r of every pixel."""
        return np.ones_like(norms) if self.width is None else 1.0 / np.maximum(norms, self.width)

    def value(self, norms: Any, E: Any) -> float:
        """J."""
        total = max(float(self.losses(norms).sum()), 1e-300)
        bulk = self.volume * log_volume(E, self.noise) if self.volume else 0.0
        return math.log(total) / self.power + bulk

    def abundances(self, E: Any, start: Any = None) -> tuple[Any, Any]:
        """The exact A of these endmembers, and the norms ||r_n||."""
        G, C = E @ E.T, self.Y @ E.T
        A = exact(G, C, 1.0, start)
        squares = self.squares - 2.0 * np.einsum("nk,nk->n", A, C) + np.einsum("nk,nk->n", A @ G, A)
        return A, np.sqrt(np.maximum(squares, 0.0))

    def run(self, start: list[Mixture], iterations: int, tol: float, sweeps: int = 2) -> Fit:
        """Until two iterations in turn lower J by less than ``tol``.

        With A fixed the step is too short, as A follows E. So it goes on ``reach`` times as far while that lowers J.
        """
        mixed = list(start)
        E = np.array([m.shares @ self.Y[m.pixels] for m in mixed])
        A, norms = self.abundances(E)
        path = [self.value(norms, E)]
        reach, small = 1.0, 0
        for _ in range(iterations):
            near, found = self._endmembers(E, A, norms, mixed, sweeps)
            while True:
                trial, mixture = self._further(E, near, found, reach)
                new, lengths = self.abundances(trial, A)
                value = self.value(lengths, trial)
                if value < path[-1] or reach == 1.0:
                    break
                reach = 1.0
            if not value < path[-1]:  # rounding: the descent has ended
                break
            E, A, norms, mixed = trial, new, lengths, mixture
            path.append(value)
            reach = min(1.5 * reach, 50.0)
            small = small + 1 if path[-2] - value < tol else 0
            if small == 2:
                break
        return Fit(E, A, mixed, norms, path)

    def _further(self, E: Any, near: Any, mixed: list[Mixture], reach: float) -> Any:
        """From E to ``near``, and ``reach`` times as far, within the convex hull."""
        if reach == 1.0:
            return near, mixed
        pairs = [
            self._project(E[k] + reach * (near[k] - E[k]), near[k], mixture)
            for k, mixture in enumerate(mixed)
        ]
        return np.array([point for point, _ in pairs]), [mixture for _, mixture in pairs]

    def _endmembers(self, E: Any, A: Any, norms: Any, mixed: list[Mixture], sweeps: int) -> Any:
        """The endmembers of the parabola above J at (A, E), one after the other."""
        AW = A * self.weights(norms)[:, None]
        H, P = AW.T @ A, AW.T @ self.Y
        if self.volume and len(E) > 1:
            Q = differences(len(E))
            gram = Q @ E @ E.T @ Q.T + self.noise**2 * np.eye(len(Q))
            total = float(self.losses(norms).sum())
            H = H + self.power * self.volume * total * (Q.T @ np.linalg.solve(gram, Q))
        E, mixed = E.copy(), list(mixed)
        for _ in range(sweeps):
            for k in range(len(E)):
                if H[k, k] > 1e-13 * np.trace(H):  # else no pixel has a share of it
                    target = E[k] + (P[k] - H[k] @ E) / H[k, k]
                    E[k], mixed[k] = self._project(target, E[k], mixed[k])
        return E, mixed

    def _project(self, target: Any, point: Any, mixture: Mixture) -> tuple[Any, Mixture]:
        """Nearer to the target within the convex hull: the point and its mixture."""
        pixels, shares = mixture.pixels, mixture.shares
        away = target - point
        best = float(away @ away)
        for turn in range(_ROUNDS):
            slopes = self.Y @ away
            slopes[pixels] = -np.inf
            join = np.argpartition(slopes, -_JOIN)[-_JOIN:] if len(slopes) > _JOIN else np.arange(len(slopes))
            join = join[slopes[join] > float(point @ away) + 1e-9 * best]
            if turn and not len(join):  # at first the shares of those in use are not the best, either
                break
            used = np.concatenate([pixels, join])
            rows = self.Y[used]
            row = exact(
                rows @ rows.T, (rows @ target)[None], 1.0, np.append(shares, np.zeros(len(join)))[None]
            )[0]
            kept = row > 0.0
            row = row[kept] / row[kept].sum()
            new = row @ rows[kept]
            length = float((target - new) @ (target - new))
            if not length < best:
                break
            pixels, shares, point, away, best = used[kept], row, new, target - new, length
        return point, Mixture(pixels, shares)
