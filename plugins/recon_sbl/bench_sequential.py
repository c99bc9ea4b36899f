"""Sequential sparse Bayesian learning against 200 iterations of expectation maximisation, M = 128, N = 256, K = 20.

The names of the peers carry what each reaches, the mean NMSE over five seeds. The peers are the
textbook EM with one Cholesky factorisation per iteration, written out here, and this package's own batch EM.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import recon
from recon.bench import Case
from recon_sbl.sequential import SequentialSbl

__all__ = ["cases"]

SEEDS, ITERATIONS = range(5), 200


def cases() -> list[Case]:
    """At 20 and 30 dB, with the default and with the test of the paper."""
    return [_case(db, alarms) for db in (20, 30) for alarms in (0.5, None)]


def _problems(db: float) -> list[tuple[recon.Problem, Any]]:
    found = []
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        matrix = rng.standard_normal((128, 256)) / np.sqrt(128)
        x = np.zeros(256)
        x[rng.choice(256, 20, replace=False)] = rng.standard_normal(20)
        clean = matrix @ x
        sigma = float(np.sqrt(np.mean(clean**2) / 10 ** (db / 10)))
        data = clean + sigma * rng.standard_normal(128)
        found.append((recon.Problem(recon.Matrix(matrix), data, noise=sigma), x))
    return found


def _case(db: float, alarms: float | None) -> Case:
    problems = _problems(db)
    solver = SequentialSbl(false_alarms=alarms)

    def ours() -> list[Any]:
        return [recon.solve(problem, solver).x for problem, _ in problems]

    def textbook() -> list[Any]:
        return [expectation_maximisation(problem) for problem, _ in problems]

    peers: dict[str, Callable[[], Any]] = {f"EM, Cholesky, NMSE {_nmse(problems, textbook()):.3e}": textbook}
    try:
        from recon_sbl.batch import Sbl
    except ImportError:
        pass
    else:

        def batch() -> list[Any]:
            stop = recon.MaxIterations(ITERATIONS)
            return [recon.solve(problem, Sbl(update="em"), stop=stop).x for problem, _ in problems]

        peers[f"recon Sbl(em), NMSE {_nmse(problems, batch()):.3e}"] = batch
    name = f"gauss {db} dB, false_alarms={alarms}, five seeds"
    return Case(name, ours, peers, f"NMSE of ours {_nmse(problems, ours()):.3e}")


def _nmse(problems: Any, found: list[Any]) -> float:
    pairs = [(x, truth) for x, (_, truth) in zip(found, problems, strict=True)]
    return float(np.mean([np.sum((x - truth) ** 2) / np.sum(truth**2) for x, truth in pairs]))


def expectation_maximisation(problem: recon.Problem) -> Any:
    """g_i <- mu_i^2 + Sigma_ii, so many times, all g = 1 at first."""
    from scipy.linalg import cholesky, solve_triangular

    matrix, data = problem.operator.matrix, problem.data  # type: ignore[attr-defined]
    gamma, mean = np.ones(matrix.shape[1]), np.zeros(matrix.shape[1])
    for _ in range(ITERATIONS):
        cov = (matrix * gamma) @ matrix.T
        cov.flat[:: len(cov) + 1] += problem.noise**2  # type: ignore[operator]
        root = cholesky(cov, lower=True, check_finite=False)
        whitened = solve_triangular(root, matrix, lower=True, check_finite=False)
        mean = gamma * (whitened.T @ solve_triangular(root, data, lower=True, check_finite=False))
        gamma = mean**2 + gamma - gamma**2 * np.sum(whitened**2, axis=0)
    return mean
