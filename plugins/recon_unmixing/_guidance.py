"""The objective of the guidance-map model and the steps that lower it (``guidance`` says which).

F(E, A, h) of pixels as rows Y (N, L), endmembers E (p, L), abundances A (N, p), map h (N,).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from recon_unmixing import _pixelwise
from recon_unmixing._multiplicative import nonnegative_step, simplex_step

__all__ = ["GuidanceMap", "Model", "Point", "dependence", "local_noise"]

_LINEAR = 0.01  # e: below, an abundance is penalised in proportion


class GuidanceMap:
    """The step of h, and its part of F. ``mask`` (H, W) says where the pixels lie; None: they have no neighbours."""

    def __init__(self, Y: Any, mask: Any, count: int, smooth: float, band_weights: Any):
        self.reward = math.log(count)
        self.links: tuple[Any, Any] | None = None
        if mask is None or smooth == 0.0:
            return
        self.mask = mask
        cube = np.full((*mask.shape, Y.shape[1]), np.nan)
        cube[mask] = Y * np.sqrt(band_weights)
        apart = [np.sum(np.diff(cube, axis=axis) ** 2, axis=-1) for axis in (0, 1)]
        both = np.concatenate([d[np.isfinite(d)] for d in apart])
        width = float(np.median(both)) if both.size else 0.0
        alike = [np.exp(-d / (2.0 * width)) if width > 0.0 else np.ones_like(d) for d in apart]
        down, right = (
            smooth * self.reward * np.where(np.isfinite(d), c, 0.0) for d, c in zip(apart, alike, strict=True)
        )
        self.links = (down, right)

    def value(self, A: Any, h: Any) -> float:
        total = float(np.sum(_phi(A, h)) + 0.5 * self.reward * np.sum((1.0 - h) ** 2))
        if self.links is not None:
            image = self._image(h)
            for axis, link in enumerate(self.links):
                total += 0.5 * float(np.sum(link * np.diff(image, axis=axis) ** 2))
        return total

    def step(self, A: Any, h: Any) -> Any:
        growth = -np.log(np.maximum(A, _LINEAR))
        if self.links is None:
            return _roots(A, growth, self.reward, self.reward)
        image = self._image(h)
        rows, columns = np.nonzero(self.mask)
        for colour in (0, 1):
            chosen = (rows + columns) % 2 == colour
            where = rows[chosen], columns[chosen]
            strength, pull = (x[where] for x in self._neighbours(image))
            image[where] = _roots(A[chosen], growth[chosen], self.reward + strength, self.reward + pull)
        return image[self.mask]

    def _image(self, h: Any) -> Any:
        image = np.zeros(self.mask.shape)
        image[self.mask] = h
        return image

    def _neighbours(self, image: Any) -> tuple[Any, Any]:
        """Sums of c_nm, and of c_nm h_m, over the neighbours m of every pixel."""
        strength, pull = np.zeros(image.shape), np.zeros(image.shape)
        down, right = self.links or (0.0, 0.0)
        for link, here, there in (
            (down, np.s_[1:], np.s_[:-1]),
            (down, np.s_[:-1], np.s_[1:]),
            (right, np.s_[:, 1:], np.s_[:, :-1]),
            (right, np.s_[:, :-1], np.s_[:, 1:]),
        ):
            strength[here] += link
            pull[here] += link * image[there]
        return strength, pull


def _phi(A: Any, h: Any) -> Any:
    return A * np.exp(h[:, None] * -np.log(np.maximum(A, _LINEAR)))


def _tangents(A: Any, h: Any) -> Any:
    """d phi / d a at A: the weights of the l1 term."""
    slope = np.maximum(A, _LINEAR) ** -h[:, None]
    return np.where(A < _LINEAR, slope, (1.0 - h[:, None]) * slope)


def _roots(A: Any, growth: Any, curvature: Any, pull: Any) -> Any:
    """The h in [0, 1] where sum_k a_k t_k e^(t_k h) + curvature h - pull = 0, or the nearer end.

    The left side is convex and rises, so Newton's method falls from h = 1 onto the root without overshoot.
    """
    h = np.ones(len(A))
    slope = A * growth
    for _ in range(30):
        grown = slope * np.exp(h[:, None] * growth)
        excess = grown.sum(axis=1) + curvature * h - pull
        move = np.maximum(excess, 0.0) / ((grown * growth).sum(axis=1) + curvature)
        h = h - move
        if float(move.max(initial=0.0)) < 1e-12:
            break
    return np.clip(h, 0.0, 1.0)


@dataclass(frozen=True)
class Point:
    """Where the run is, and F there, with the products that the next step needs."""

    E: Any
    A: Any
    h: Any
    gram: Any  # A^T A (p, p)
    cross: Any  # Y^T A (L, p)
    value: float


class Model:
    """F for one scene."""

    def __init__(self, Y: Any, guide: GuidanceMap, multiplicative: bool):
        self.Y, self.guide, self.multiplicative = Y, guide, multiplicative
        self.squares = np.einsum("nl,nl->l", Y, Y)
        self.floor = 1e-12 * float(self.squares.mean())  # d^2
        self.lam = 0.0

    def lengths(self, E: Any, gram: Any, cross: Any) -> Any:
        """sqrt(||r_l||^2 + d^2) of every band, from products: the data are not read."""
        fit = np.einsum("kl,kj,jl->l", E, gram, E, optimize=True) - 2.0 * np.einsum("lk,kl->l", cross, E)
        return np.sqrt(np.maximum(self.squares + fit, 0.0) + self.floor)

    def at(self, E: Any, A: Any, h: Any) -> Point:
        gram, cross = A.T @ A, self.Y.T @ A
        return self._point(E, A, h, gram, cross)

    def _point(self, E: Any, A: Any, h: Any, gram: Any, cross: Any) -> Point:
        value = float(np.sum(self.lengths(E, gram, cross))) + self.lam * self.guide.value(A, h)
        return Point(E, A, h, gram, cross, value)

    def step(self, point: Point, ahead: Any) -> Point:
        """A, then E, then h, the weights of the bands taken at endmembers ``ahead``."""
        weights = 1.0 / self.lengths(ahead, point.gram, point.cross)
        G, C = _pixelwise.correlations(self.Y, ahead, weights)
        C = C - self.lam * _tangents(point.A, point.h)
        if self.multiplicative:
            A = simplex_step(point.A, G, C)
        else:
            A = _pixelwise.exact(G, C, 1.0, point.A)
        gram, cross = A.T @ A, self.Y.T @ A
        if self.multiplicative:
            E = nonnegative_step(ahead.T, gram, cross).T
        else:
            E = _pixelwise.exact(gram, cross, None, ahead.T).T
        return self._point(E, A, self.guide.step(A, point.h), gram, cross)

    def run(self, point: Point, iterations: int, tol: float) -> tuple[Point, list[float]]:
        """Steps with momentum on E; a step that would raise F is taken again without it."""
        path, before, t = [point.value], point.E, 1.0
        for _ in range(iterations):
            following = 0.5 * (1.0 + math.sqrt(1.0 + 4.0 * t * t))
            push = 0.0 if self.multiplicative else (t - 1.0) / following
            new = self.step(point, np.maximum(point.E + push * (point.E - before), 0.0))
            if new.value > point.value and push > 0.0:
                following, new = 1.0, self.step(point, point.E)
            if new.value > point.value:  # rounding, at the end
                break
            calm = point.value - new.value <= tol * abs(new.value)
            before, point, t = point.E, new, following
            path.append(point.value)
            if calm:
                break
        return point, path


def local_noise(Y: Any, reach: int = 3) -> Any:
    """Standard deviation per band of what its neighbours in the spectrum (``reach`` to each side) do not explain.

    O(N L reach^2), and of use with fewer pixels than bands.
    """
    N, L = Y.shape
    found = np.empty(L)
    for band in range(L):
        near = [k for k in range(max(band - reach, 0), min(band + reach + 1, L)) if k != band]
        X = np.concatenate([np.ones((N, 1)), Y[:, near]], axis=1)
        G = X.T @ X
        G[np.diag_indices_from(G)] *= 1.0 + 1e-10
        left = Y[:, band] - X @ np.linalg.lstsq(G, X.T @ Y[:, band], rcond=None)[0]
        found[band] = np.sqrt(np.mean(left * left))
    return found


def dependence(R: Any) -> float:
    """How many bands of residuals R (N, L) say what one says: mean sum of squared correlations, 1 for white noise."""
    N, L = R.shape
    lengths = np.linalg.norm(R, axis=0)
    R = R / np.where(lengths > 0.0, lengths, 1.0)
    C = R.T @ R
    return max(float(np.sum(C * C)) / float(L) - float(L) / float(N), 1.0)
