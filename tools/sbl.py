"""Accuracy and calibration of Sbl on the seeded problems of ../shared/reference/gen_sbl.py, the tables of docs/sbl.md.

    python tools/sbl.py accuracy [--seeds 5] [--first 0]    NMSE, F1, cost and seconds against MNE and scikit-learn
    python tools/sbl.py coverage [--seeds 50] [--first 0]   how many of the 90 % intervals hold the truth

Peers are run where they are installed (mne, scikit-learn). Seconds are CPU seconds of one process.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from recon_sbl import Sbl

import recon

ROOT = Path(__file__).resolve().parents[1]
CASES = [("gauss", 20, 1), ("gauss", 30, 1), ("spikes", 20, 1), ("corr", 20, 1), ("mmv", 10, 1), ("mmv", 20, 1),
         ("mmv", 30, 1), ("block", 10, 8), ("block", 20, 8), ("block", 30, 8)]  # fmt: skip


def say(text: str) -> None:
    """Write a line at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def generator() -> Any:
    """The module gen_sbl of the reference folder."""
    sys.path.insert(0, str(ROOT.parent / "shared" / "reference"))
    import gen_sbl

    return gen_sbl


def cost(q: Any, gamma: np.ndarray) -> float:
    """L of prior variances at the true noise variance, by dense algebra."""
    S = q.noise_var * np.eye(len(q.A)) + (q.A * gamma) @ q.A.T
    return float(q.Y.shape[1] * np.linalg.slogdet(S)[1] + np.sum(q.Y * np.linalg.solve(S, q.Y)))


def ours(q: Any, group: int, known: bool, **options: Any) -> tuple[np.ndarray, Any]:
    """Sbl's estimate as columns, and its state."""
    joint = q.Y.shape[1] > 1
    data = q.Y.T.copy() if joint else q.Y[:, 0].copy()
    problem = recon.Problem(recon.Matrix(q.A), data, noise=q.noise_var**0.5 if known else None)
    solver = Sbl(joint=joint, groups=None if group == 1 else group, **options)
    result = recon.solve(problem, solver, stop=recon.stopping.MaxIterations(3000), every=100)
    return (result.x.T if joint else result.x[:, None]), result.state


def gamma_map(q: Any, group: int, mode: int) -> tuple[np.ndarray, float]:
    """MNE's estimate, and L of the covariance that its last iteration factored."""
    from mne.inverse_sparse import _gamma_map as module

    kept: list[np.ndarray] = []
    factor = module._safe_svd

    def keep(covariance: np.ndarray, **options: Any) -> Any:
        kept[:] = [covariance.copy()]
        return factor(covariance, **options)

    module._safe_svd = keep
    try:
        active_x, active = module._gamma_map_opt(
            q.Y, q.A, q.noise_var, update_mode=mode, group_size=group, verbose="ERROR"
        )
    finally:
        module._safe_svd = factor
    x = np.zeros_like(q.X)
    x[active] = active_x
    S = kept[0] * np.linalg.norm(q.Y @ q.Y.T, ord="fro")  # undo its scaling of the data
    return x, float(q.Y.shape[1] * np.linalg.slogdet(S)[1] + np.sum(q.Y * np.linalg.solve(S, q.Y)))


def ard(q: Any, group: int) -> tuple[np.ndarray, float]:
    """scikit-learn's ARDRegression, which learns the noise."""
    from sklearn.linear_model import ARDRegression

    if q.Y.shape[1] > 1:
        raise ImportError("one snapshot only")
    return ARDRegression(fit_intercept=False).fit(q.A, q.Y[:, 0]).coef_[:, None], float("nan")


def accuracy(seeds: range, cases: str) -> None:
    """A row per method and case: means over the seeds."""
    gen = generator()

    def sbl(known: bool, **options: Any) -> Any:
        def run(q: Any, group: int) -> tuple[np.ndarray, float]:
            x, state = ours(q, group, known, **options)
            return x, cost(q, state.gamma) if known else state.noise**2 / q.noise_var

        return run

    methods = {
        "oracle": lambda q, group: (gen.oracle(q), float("nan")),
        "Sbl bounding, known": sbl(True),
        "Sbl mackay, known": sbl(True, update="mackay"),
        "Sbl em, known": sbl(True, update="em"),
        "Sbl, learned (last column: s2 / true)": sbl(False),
        "Sbl false_alarms=0.5, known": sbl(True, false_alarms=0.5),
        "Sbl false_alarms=0.5, learned": sbl(False, false_alarms=0.5),
        "MNE mode 1": lambda q, group: gamma_map(q, group, 1),
        "MNE mode 2": lambda q, group: gamma_map(q, group, 2),
        "ARDRegression": ard,
    }
    say(f"{'case':10} {'method':38} {'NMSE mean':>10} {'median':>10} {'F1':>6} {'seconds':>8} {'L mean':>12}")
    for case, snr, group in CASES:
        if cases and case not in cases.split(","):
            continue
        for name, method in methods.items():
            rows = []
            for seed in seeds:
                q = gen.make(case, seed, snr)
                started = time.process_time()
                try:
                    x, value = method(q, group)
                except ImportError:
                    break
                rows.append((gen.nmse(x, q.X), gen.f1(x, q.X), time.process_time() - started, value))
            if rows:
                error, f1, seconds, value = np.array(rows).T
                say(
                    f"{case + ' ' + str(snr):10} {name:38} {error.mean():10.3e} {np.median(error):10.3e} "
                    f"{f1.mean():6.3f} {np.median(seconds):8.3f} {value.mean():12.4f}",
                )


def coverage(seeds: range, cases: str) -> None:
    """Shares of entries whose 90 % interval mean +- 1.645 deviations holds the truth, in percent.

    The last column says by what the deviations must be multiplied, for 90 % of the true nonzeros that were found.
    """
    gen = generator()
    say(
        f"{'case':10} {'noise':8} {'alarms':>6} {'true support':>13} {'estimated':>10} {'all':>7} {'missed':>7} "
        f"{'factor':>7}"
    )
    for case, snr, group in CASES:
        if case not in (cases or "gauss").split(","):
            continue
        for alarms, known in ((None, True), (None, False), (0.5, True), (0.5, False)):
            counts = SimpleNamespace(true=[], found=[], every=[], missed=[])
            errors: list[np.ndarray] = []
            for seed in seeds:
                q = gen.make(case, seed, snr)
                x, state = ours(q, group, known, false_alarms=alarms)
                half = 1.6448536269514722 * np.sqrt(state.variance)[:, None]
                inside = np.abs(x - q.X) <= half
                active = state.gamma > 0
                counts.true.append(inside[q.support].mean())
                counts.found.append(inside[active].mean())
                counts.every.append(inside.mean())
                seen = active & q.support
                errors.append(np.abs(x - q.X)[seen, 0] / half[seen, 0])
                counts.missed.append(1.0 - active[q.support].mean())
            shares = [100 * float(np.mean(v)) for v in vars(counts).values()]
            say(
                f"{case + ' ' + str(snr):10} {'known' if known else 'learned':8} {alarms or '-':>6} "
                f"{shares[0]:13.1f} {shares[1]:10.1f} {shares[2]:7.1f} {shares[3]:7.1f} "
                f"{np.quantile(np.concatenate(errors), 0.9):7.2f}",
            )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["accuracy", "coverage"])
    parser.add_argument("--seeds", type=int, default=0, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--cases", default="", help="names, with commas")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    if given.what == "accuracy":
        accuracy(range(given.first, given.first + (given.seeds or 5)), given.cases)
    else:
        coverage(range(given.first, given.first + (given.seeds or 50)), given.cases)
