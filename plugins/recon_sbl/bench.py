"""Batch sparse Bayesian learning against MNE's gamma_map and scikit-learn's ARDRegression, at equal data.

Everyone runs to an own end with equal tolerance (1e-6 of the prior variances for gamma_map and Sbl, defaults for
ARDRegression). The notes give the error ||x - truth||^2 / ||truth||^2 and the number of iterations of ours. Sbl keeps
L of every iteration and brings pruned entries back at the end; the peers do neither.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

import recon
from recon.bench import Case
from recon_sbl.batch import Sbl

__all__ = ["cases"]

STOP = recon.stopping.MaxIterations(10000)


def cases() -> list[Case]:
    """128 x 256 at 20 and 30 dB with the noise known and learned, 8 snapshots, and 256 x 1024."""
    return [
        _known("128 x 256, 20 nonzeros, 20 dB", 128, 256, 20, 20.0),
        _known("128 x 256, 20 nonzeros, 30 dB", 128, 256, 20, 30.0),
        _known("40 x 120, 15 nonzeros, 20 dB, 8 snapshots", 40, 120, 15, 20.0, 8),
        _known("256 x 1024, 30 nonzeros, 30 dB", 256, 1024, 30, 30.0),
        _learned("128 x 256, 20 nonzeros, 20 dB, noise learned", 128, 256, 20, 20.0),
    ]


def _data(m: int, n: int, k: int, level: float, snapshots: int) -> tuple[Any, Any, Any, float]:
    """Matrix, truth and data as columns, and the noise variance."""
    rng = np.random.default_rng(0)
    A = rng.standard_normal((m, n)) / np.sqrt(m)
    x = np.zeros((n, snapshots))
    x[rng.choice(n, k, replace=False)] = rng.standard_normal((k, snapshots))
    clean = A @ x
    s2 = float(np.mean(clean**2)) / 10 ** (level / 10)
    return A, x, clean + s2**0.5 * rng.standard_normal(clean.shape), s2


def _run(A: Any, Y: Any, solver: Sbl, noise: float | None) -> Callable[[], Any]:
    data = Y.T.copy() if solver.joint else Y[:, 0].copy()

    def run() -> Any:  # a new operator each time: nothing is kept from run to run
        problem = recon.Problem(recon.Matrix(A), data, noise=noise)
        return recon.solve(problem, solver, stop=STOP, every=10**6)

    return run


def _error(x: Any, truth: Any) -> float:
    return float(np.sum((x - truth) ** 2) / np.sum(truth**2))


def _known(name: str, m: int, n: int, k: int, level: float, snapshots: int = 1) -> Case:
    A, truth, Y, s2 = _data(m, n, k, level, snapshots)
    joint = snapshots > 1
    ours = _run(A, Y, Sbl(joint=joint), s2**0.5)
    mackay = _run(A, Y, Sbl(joint=joint, update="mackay"), s2**0.5)
    strict = _run(A, Y, Sbl(joint=joint, false_alarms=0.5), s2**0.5)
    result, other = ours(), strict()
    note = f"ours: {result.iterations} iterations, error {_error(result.x.reshape(-1, n).T, truth):.3e}"
    note += f"; false_alarms: {other.iterations}, {_error(other.x.reshape(-1, n).T, truth):.3e}"
    peers = {"Sbl(update='mackay')": mackay, "Sbl(false_alarms=0.5)": strict}
    if importlib.util.find_spec("mne") is not None:
        for mode in (1, 2):
            peer = _gamma_map(A, Y, s2, mode)
            note += f"; gamma_map mode {mode}: {_error(peer(), truth):.3e}"
            peers[f"MNE gamma_map mode {mode}"] = peer
    return Case(f"Sbl {name}", ours, peers, note)


def _gamma_map(A: Any, Y: Any, s2: float, mode: int) -> Callable[[], Any]:
    from mne.inverse_sparse import _gamma_map as module

    def run() -> Any:
        active_x, active = module._gamma_map_opt(Y, A, s2, update_mode=mode, verbose="ERROR")
        x = np.zeros((A.shape[1], Y.shape[1]))
        x[active] = active_x
        return x

    return run


def _learned(name: str, m: int, n: int, k: int, level: float) -> Case:
    A, truth, Y, _ = _data(m, n, k, level, 1)
    ours = _run(A, Y, Sbl(), None)
    result = ours()
    note = f"ours: {result.iterations} iterations, error {_error(result.x, truth[:, 0]):.3e}"
    peers = {}
    if importlib.util.find_spec("sklearn") is not None:
        from sklearn.linear_model import ARDRegression

        def ard() -> Any:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return ARDRegression(fit_intercept=False).fit(A, Y[:, 0]).coef_

        note += f"; ARDRegression: {_error(ard(), truth[:, 0]):.3e}"
        peers["scikit-learn ARDRegression"] = ard
    return Case(f"Sbl {name}", ours, peers, note)
