"""The collaborative nonnegative lasso in its variational form, by Newton steps on the lengths of the rows.

    min_{A >= 0} 1/2 ||Y - A D||^2 + sum_k lam_k ||A_k||,   A_k: abundances of atom k in all pixels
    lam ||A_k|| = min_eta lam / 2 (||A_k||^2 / eta + eta),  at eta = ||A_k||

For fixed eta every pixel is a nonnegative ridge regression, which the active set solves exactly; what is left is a
convex function F of one number per atom. An iteration is one of three: take atoms in, where the residual calls for
them; eta <- ||A_k||, which never raises F; or a Newton step in log(eta), kept where F falls. Atoms without a row cost
nothing but their correlation with the residual R, now and then. The dual point s R with

    ||max(s R d_k, 0)|| <= lam_k for all k,    gap = objective - (s <R, Y> - s^2 / 2 ||R||^2)

certifies what was reached.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from recon_unmixing._pixelwise import exact
from recon_unmixing._rows_numba import curvature

__all__ = ["Rows", "collaborative"]

_ENTER = 30  # atoms that may enter at a time
_EVERY = 5  # iterations from one time to the next
_FIRST = 30  # iterations without second order at the start, and 10 after a Newton step that failed
_AGAIN = 10
_GONE = 1e-9  # rows shorter than this part of the longest are dropped


@dataclass(frozen=True)
class Rows:
    """Abundances (N, M), the dual value, and the relative gap."""

    A: Any
    dual: float
    gap: float
    iterations: int


@dataclass(frozen=True)
class _Point:
    """The pixels solved for lengths eta of the atoms S: X, its rows' squared lengths, F, <X, C>, <X G, X>."""

    S: Any
    eta: Any
    X: Any
    squares: Any
    value: float
    linear: float
    quadratic: float


class _Scene:
    """What does not change: G, C, the weights and ||Y||^2."""

    def __init__(self, G: Any, C: Any, power: float, lam: Any) -> None:
        self.G, self.C, self.power, self.lam = G, C, power, lam

    def at(self, S: Any, eta: Any, start: Any) -> _Point:
        G = self.G[np.ix_(S, S)]
        C = self.C[:, S]
        X = exact(G + np.diag(self.lam[S] / eta), C, None, start) if len(S) else np.zeros_like(C)
        linear, quadratic = float(np.sum(X * C)), float(np.sum((X @ G) * X))
        squares = np.sum(X * X, axis=0)
        penalty = 0.5 * float(self.lam[S] @ (squares / eta + eta))
        return _Point(
            S,
            eta,
            X,
            squares,
            0.5 * (self.power - 2.0 * linear + quadratic) + penalty,
            linear,
            quadratic,
        )

    def pulls(self, point: _Point, atoms: Any) -> Any:
        """||max(R d_k, 0)|| / lam_k of some atoms: at most 1 at the minimiser."""
        R = self.C[:, atoms] - point.X @ self.G[np.ix_(point.S, atoms)]
        return np.linalg.norm(np.maximum(R, 0.0), axis=0) / self.lam[atoms]

    def certificate(self, point: _Point, largest: float) -> tuple[float, float]:
        """The objective at X and the dual value, when no pull is above ``largest``."""
        square = self.power - 2.0 * point.linear + point.quadratic
        product = self.power - point.linear
        objective = 0.5 * square + float(self.lam[point.S] @ np.sqrt(point.squares))
        s = min(product / max(square, 1e-300), 1.0 / max(largest, 1e-300))
        return objective, s * product - 0.5 * s * s * square


def collaborative(G: Any, C: Any, power: float, lam: Any, start: Any, tol: float, limit: int) -> Rows:
    """The minimiser to a certified relative gap of ``tol``, or as far as ``limit`` iterations lead.

    G (M, M) and C (N, M) are the correlations, ``power`` is ||Y||^2, lam (M,) > 0, start (N, M) >= 0.
    """
    scene, everything = _Scene(G, C, power, lam), np.arange(len(G))
    lengths = np.linalg.norm(start, axis=0)
    S = np.flatnonzero(lengths > _GONE * lengths.max(initial=0.0))
    point = scene.at(S, lengths[S], start[:, S])
    wait, count, objective, dual = _FIRST if len(S) == 0 else 0, 0, power, 0.0
    for count in range(limit + 1):
        entering = count % _EVERY == 0
        own = scene.pulls(point, point.S)
        objective, dual = scene.certificate(point, float(own.max(initial=0.0)))
        if entering or objective - dual <= tol * objective:
            pulls = scene.pulls(point, everything)
            objective, dual = scene.certificate(point, float(pulls.max()))
            if objective - dual <= tol * objective or count == limit:
                break
            wider = _entered(scene, point, pulls)
            if wider is not None:
                point = wider
                continue
        newton = _newton(scene, point) if wait <= 0 else None
        if newton is None:
            wait = _AGAIN if wait <= 0 else wait - 1
            lengths = np.sqrt(point.squares)
            newton = _kept(scene, point, lengths)
        point = newton
    pulls = scene.pulls(point, everything)
    objective, dual = scene.certificate(point, float(pulls.max()))
    A = np.zeros_like(C)
    A[:, point.S] = point.X
    return Rows(A, dual, (objective - dual) / max(objective, 1e-300), count)


def _kept(scene: _Scene, point: _Point, eta: Any) -> _Point:
    """The point at new lengths, without the atoms that have none."""
    keep = eta > _GONE * eta.max(initial=0.0)
    return scene.at(point.S[keep], eta[keep], np.ascontiguousarray(point.X[:, keep]))


def _entered(scene: _Scene, point: _Point, pulls: Any) -> _Point | None:
    """With the atoms taken in that pull most, or None where none pulls."""
    pulls = pulls.copy()
    pulls[point.S] = 0.0
    new = np.argsort(-pulls, kind="stable")[:_ENTER]
    new = new[pulls[new] > 1.0]
    if not len(new):
        return None
    lengths = np.sqrt(point.squares)
    first = (pulls[new] - 1.0) * scene.lam[new] / np.diagonal(scene.G)[new]
    if len(lengths) and lengths.max() > 0.0:
        first = np.minimum(first, 0.1 * lengths.max())
    else:
        first = first / len(new)
    eta = np.concatenate([lengths, first])
    keep = eta > _GONE * eta.max()
    X = np.hstack([point.X, np.zeros((len(scene.C), len(new)))])
    return scene.at(np.concatenate([point.S, new])[keep], eta[keep], np.ascontiguousarray(X[:, keep]))


def _newton(scene: _Scene, point: _Point) -> _Point | None:
    """A Newton step in log(eta), damped by the gradient's size, or None where F would not fall."""
    lam, S = scene.lam[point.S], point.S
    g = 0.5 * lam * (point.eta - point.squares / point.eta)
    H = curvature(np.ascontiguousarray(scene.G[np.ix_(S, S)]), point.X, point.eta, lam)
    H[np.diag_indices(len(S))] += 1e-10 * float(np.abs(H).max(initial=1e-300)) + np.abs(g)
    try:
        step = np.linalg.solve(H, g)
    except np.linalg.LinAlgError:
        return None
    new = _kept(scene, point, point.eta * np.exp(np.clip(-step, -3.0, 1.0)))
    return new if new.value < point.value else None
