"""Benchmark of Cofem against the algorithm as published: ``recon bench cofem``.

4096 unknowns of which 256 are not 0, 1024 samples of their cosine synthesis, float32, one thread, noise 20 and 30 dB
below the data. The authors' code does not install here, so :func:`published` is their algorithm in NumPy: each of 50
iterations draws 10 fresh probes and solves all 11 systems together from 0, to a squared relative residual of 1e-7 of
the whole batch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import recon
from recon import Operator, Problem
from recon.bench import Case
from recon_sbl.cofem import Cofem

__all__ = ["Trial", "cases", "make", "nmse", "published"]


@dataclass(frozen=True, eq=False)
class Trial:
    """A problem and its truth."""

    problem: Problem
    truth: np.ndarray[Any, Any]


def make(
    seed: int = 0,
    snr: float = 30.0,
    size: int = 4096,
    data: int = 1024,
    active: int = 256,
    dtype: Any = np.float32,
) -> Trial:
    """Normal coefficients at random places, samples of their inverse cosine transform at random places, and noise.

    The noise has the variance mean(clean data^2) / 10^(snr / 10), and is given.
    """
    from recon_operators.sensing import PartialDct

    rng = np.random.RandomState(20_000 + seed)  # the stream that the reference figures were made with
    rows = np.sort(rng.permutation(size)[:data])
    truth = np.zeros(size)
    truth[rng.permutation(size)[:active]] = rng.randn(active)
    operator = PartialDct((size,), rows, variant="III")
    clean = operator @ truth
    noise = float(np.mean(clean**2) / 10 ** (snr / 10)) ** 0.5
    values = clean + noise * rng.randn(data)
    return Trial(Problem(operator, values.astype(dtype), noise=noise), truth)


def nmse(x: Any, truth: Any) -> float:
    """||x - truth||^2 / ||truth||^2."""
    return float(np.sum((x - truth) ** 2) / np.sum(truth**2))


def published(
    operator: Operator,
    y: Any,
    s2: float,
    iterations: int = 50,
    probes: int = 10,
    most: int = 400,
    seed: int = 0,
) -> tuple[Any, Any]:
    """Mean and variance by covariance-free EM as published (Lin et al. 2022), for NumPy vectors of one axis."""
    rng, n = np.random.default_rng(seed), operator.shape[1]
    precision = np.ones(n, y.dtype)
    correlation = operator.H @ y
    mean = variance = precision
    for _ in range(iterations):
        z = (2 * rng.integers(0, 2, (probes, n)) - 1).astype(y.dtype)
        weight = s2 * precision
        found = _cold(operator, np.concatenate([correlation[None], z]), weight, most)
        mean, variance = found[0], np.maximum(s2 * np.mean(z * found[1:], axis=0), 0)
        precision = 1 / (mean**2 + variance)
    return mean, variance


def _cold(operator: Operator, B: Any, weight: Any, most: int) -> Any:
    """(A^T A + diag(weight)) X = B for all rows of B together, from 0, preconditioned by 1 / (1 + weight)."""
    scale = 1 / (1 + weight)
    X, R = np.zeros_like(B), B.copy()
    Z = scale * R
    P, rho = Z.copy(), np.sum(R * Z, axis=1)
    goal = 1e-7 * np.sum(B * B)
    for _ in range(most):
        W = operator.H @ (operator @ P) + weight * P
        step = (rho / np.sum(P * W, axis=1))[:, None]
        X += step * P
        R -= step * W
        if np.sum(R * R) <= goal:
            break
        Z = scale * R
        before, rho = rho, np.sum(R * Z, axis=1)
        P = Z + (rho / before)[:, None] * P
    return X


def cases() -> list[Case]:
    """The two cases; the note gives the errors of both."""
    return [_case(snr) for snr in (20.0, 30.0)]


def _case(snr: float) -> Case:
    trial = make(0, snr)
    problem, truth = trial.problem, trial.truth
    s2 = float(problem.noise) ** 2  # type: ignore[arg-type]

    def ours() -> Any:
        return recon.solve(problem, Cofem(), stop=100).x

    def peer() -> Any:
        return published(problem.operator, problem.data, s2)[0]

    note = f"NMSE {nmse(ours(), truth):.3e}, as published {nmse(peer(), truth):.3e}"
    peers: dict[str, Callable[[], Any]] = {"as published, 50 iterations, 10 probes": peer}
    return Case(f"CoFEM 4096 x 1024 {snr:.0f} dB float32", ours, peers, note)
