"""The simplex of least volume that explains the pixels, for scenes without pure pixels.

    minimise  1/2 ||Z - A V||_F^2 + lambda/2 log det(V_c^T V_c)        rows of A on the simplex

Z (N, p - 1) are the pixels in their principal axes, V (p, p - 1) the vertices there, V_c = V less its mean. By turns:

    A    exact, by the active set
    V    (A^T A) V + lambda J V W = A^T Z,   W = (V_c^T V_c)^(-1) at the V before, J = I - 1 1^T / p

log det is concave in V_c^T V_c, so its tangent lies above: the objective never rises (Fu et al. 2016, Leplat et al.
2019). From a simplex around all pixels lambda falls to its end value, which comes from the noise alone: too fast and it
stands still around them, too slow and it collapses. So several schedules are run, and the least objective wins.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from recon_unmixing import _pixelwise
from recon_unmixing._subspace import axes, homogeneous

__all__ = ["minimum_volume"]

_STARTS = (3e-2, 1e-2, 3e-3, 1e-3)
"""First lambda / (N times the variance of the pixels) of each schedule."""


def minimum_volume(Y: Any, start: Any, *, weight: float = 0.3, stage: int = 30, last: int = 150) -> Any:
    """Endmembers (p, L) of the smallest simplex, from pixels (N, L) and a first guess (p, L), such as VCA's.

    Parameters
    ----------
    Y, start
        Pixels as rows, and endmembers as rows.
    weight
        lambda / (N s2) at the end, s2 the noise variance per principal axis, read off the axes beyond p - 1 (but at
        least 1e-6 of the variance of the pixels).
    stage, last
        Iterations while lambda falls, for each third of it, and at its end value.

    Returns
    -------
    numpy.ndarray
        (p, L). O(N p^2) per iteration: half a second for 4096 pixels and 5 endmembers.

    References
    ----------
    X. Fu, K. Huang, B. Yang, W.-K. Ma, N. D. Sidiropoulos, IEEE Trans. Signal Process. 64 (2016) 6254 (log det);
    V. Leplat, A. M. S. Ang, N. Gillis, ICASSP (2019) 3402 (its majorisation).
    """
    p = len(start)
    frame = axes(Y, p - 1)
    size = float(np.sqrt(np.mean(frame.scores**2)))
    if size <= 1e-14 * float(np.abs(Y).max()):  # all pixels alike
        return np.array(start, dtype=np.float64)
    Z, end = frame.scores / size, weight * max(frame.rest / size**2, 1e-6)
    first = _around(Z, (start - frame.mean) @ frame.vectors / size)
    best, found = np.inf, first
    for top in _STARTS:
        schedule = [max(top, end)]
        while schedule[-1] > end:
            schedule.append(max(schedule[-1] / 3.0, end))
        V = first
        for lam in schedule:
            V, value = _descend(Z, V, lam * len(Z), last if lam == end else stage)
        if value < best:
            best, found = value, V
    return frame.mean + size * found @ frame.vectors.T


def _around(Z: Any, V: Any) -> Any:
    """The simplex blown up about its centre until (all but a thousandth of) the pixels are inside."""
    p = len(V)
    corners = homogeneous(V)
    if np.linalg.cond(corners) > 1e12:  # a flat guess: a regular simplex around the pixels instead
        turned = np.linalg.qr(np.random.default_rng(0).standard_normal((p, p)))[0]
        V = (np.eye(p) - 1.0 / p) @ turned[:, : p - 1] * np.sqrt(np.max(np.sum(Z * Z, axis=1)))
        corners = homogeneous(V)
    least = np.min(homogeneous(Z) @ np.linalg.inv(corners), axis=1)
    centre = V.mean(0)
    return centre + (1.0 - p * min(float(np.quantile(least, 0.001)), 0.0)) * (V - centre)


def _descend(Z: Any, V: Any, lam: float, iterations: int) -> tuple[Any, float]:
    """Turns of A and V with momentum, which starts anew whenever the objective would rise."""
    before, value, t = V, np.inf, 1.0
    A = None
    for _ in range(iterations):
        following = 0.5 * (1.0 + np.sqrt(1.0 + 4.0 * t * t))
        ahead = V + (t - 1.0) / following * (V - before)
        A = _pixelwise.exact(ahead @ ahead.T, Z @ ahead.T, 1.0, A)
        new = _vertices(Z, A, ahead, lam)
        objective = 0.5 * float(np.sum((Z - A @ new) ** 2)) + 0.5 * lam * _log_volume(new)
        if objective > value:
            before, t, value = V, 1.0, (np.inf if t == 1.0 else value)
            if value == np.inf:
                break
            continue
        calm = value - objective <= 1e-7 * abs(objective)
        before, V, value, t = V, new, objective, following
        if calm:
            break
    A = _pixelwise.exact(V @ V.T, Z @ V.T, 1.0, A)
    return V, 0.5 * float(np.sum((Z - A @ V) ** 2)) + 0.5 * lam * _log_volume(V)


def _vertices(Z: Any, A: Any, V: Any, lam: float) -> Any:
    p, k = V.shape
    centred = V - V.mean(0)
    S = centred.T @ centred
    W = np.linalg.inv(S + 1e-9 * np.trace(S) / k * np.eye(k))
    J = np.eye(p) - 1.0 / p
    system = np.kron(A.T @ A, np.eye(k)) + lam * np.kron(J, W)  # p (p - 1) unknowns: small
    return np.linalg.solve(system, (A.T @ Z).ravel()).reshape(p, k)


def _log_volume(V: Any) -> float:
    centred = V - V.mean(0)
    S = centred.T @ centred
    return float(np.linalg.slogdet(S + 1e-9 * np.trace(S) / len(S) * np.eye(len(S)))[1])
