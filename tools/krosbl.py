"""Kronecker-structured SBL on the problems of ../shared/reference/gen_krosbl.py: error, support, time over seeds.

    python tools/krosbl.py [single | table | unknown | speed | million | robust] [--seeds FIRST:END] [--solver NAME]

single    the authors' single trials beside KroSbl.published: NMSE and its relative difference
table     5 to 30 dB, known noise: mean and median NMSE, worst NMSE, support recovery, iterations, seconds
unknown   the same with learned noise; and the ratio of learned to true variance
speed     seconds of one paper trial and of `large` (N = 64,000, M = 17,920)
million   N = 1,000,000 unknowns, M = 210,000 data: seconds and peak memory
robust    trials with NMSE above 0.1 over many seeds (--seeds 200:500 by default)

Solvers: default, svd, am, ksbl (the authors' settings with that M-step). Times are CPU seconds of one thread.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import importlib.util
import resource
import sys
import time
from pathlib import Path

import numpy as np
from recon_sbl import KroSbl

from recon import Kronecker, Matrix, Problem, solve

REFERENCE = Path(__file__).resolve().parents[2] / "shared" / "reference" / "gen_krosbl.py"
SOLVERS = {"default": KroSbl(), **{name: KroSbl.published(name) for name in ("svd", "am", "ksbl")}}
SINGLE = {
    ("small", 0, "svd"): {10: 4.88030321e-2, 20: 3.33078869e-3, 30: 1.47412601e-5},
    ("small", 0, "am"): {10: 8.01231074e-2, 20: 1.48666405e-4, 30: 1.47415214e-5},
    ("small", 0, "ksbl"): {10: 4.12756868e-2, 20: 1.48666405e-4, 30: 1.47415216e-5},
    ("small", 1, "svd"): {10: 9.46302376e-3, 20: 1.29895087e-3, 30: 1.59918149e-4},
    ("small", 1, "am"): {10: 3.02937542e-2, 20: 1.89162055e-2, 30: 1.73024596e-2},
    ("paper", 0, "svd"): {20: 6.90273904e-4},
    ("paper", 0, "am"): {20: 7.05478039e-4},
}


def say(*parts):
    """Write a line at once."""
    sys.stdout.write(" ".join(map(str, parts)) + "\n")
    sys.stdout.flush()


def generator():
    spec = importlib.util.spec_from_file_location("gen_krosbl", REFERENCE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(solver, made, known=True):
    """NMSE, support recovery, learned over true noise variance, iterations, CPU seconds."""
    A = Kronecker(tuple(map(Matrix, made.A)))
    problem = Problem(
        A, made.y.reshape(A.codomain.shape), noise=float(made.noise_var**0.5) if known else None
    )
    begin = time.process_time()
    result = solve(problem, solver)
    seconds = time.process_time() - begin
    x, make = result.x.ravel(), generator()
    ratio = result.hyperparameters["noise"] ** 2 / made.noise_var
    return make.nmse(x, made.x), make.srr(x, made.x), ratio, result.iterations, seconds


def table(solver, seeds, known, separable=True):
    say("  dB  mean NMSE  median     worst      support  its  median s  max s   noise")
    for snr in (5, 10, 20, 30):
        rows = np.array([run(solver, generator().make(s, snr, "paper", separable), known) for s in seeds])
        error, support, ratio, its, seconds = rows.T
        say(
            f"  {snr:2d}  {error.mean():.3e}  {np.median(error):.3e}  {error.max():.3e}  {support.mean():.3f}  "
            f"{its.mean():5.0f}  {np.median(seconds):.3f}     {seconds.max():.3f}   {np.median(ratio):.3f}",
        )


def single():
    for (size, seed, name), figures in SINGLE.items():
        for snr, wanted in figures.items():
            error, support, *_ = run(SOLVERS[name], generator().make(seed, snr, size))
            say(
                f"  {size} {seed} {name:4s} {snr} dB  {error:.8e}  {error / wanted - 1:+.1e}  support {support:.6f}"
            )


def speed(solver):
    for size in ("paper", "large"):
        rows = np.array([run(solver, generator().make(seed, 20, size)) for seed in (0, 0, 1, 2)])[1:]
        for error, support, _, its, seconds in rows:
            say(f"  {size}  NMSE {error:.3e}  support {support:.3f}  {its:.0f} iterations  {seconds:.3f} s")


def million(solver):
    rng = np.random.default_rng(0)
    A = Kronecker(tuple(Matrix(rng.standard_normal((m, 100))) for m in (50, 60, 70)))
    parts = []
    for _ in range(3):
        parts.append(np.zeros(100))
        parts[-1][rng.permutation(100)[:5]] = rng.standard_normal(5)
    truth = np.multiply.outer(np.multiply.outer(*parts[:2]), parts[2])
    y = A @ truth
    noise = 0.1 * float(np.sqrt(np.mean(y**2)))
    y = y + noise * rng.standard_normal(y.shape)
    for level in (noise, None):
        begin = time.process_time()
        result = solve(Problem(A, y, noise=level), solver)
        seconds = time.process_time() - begin
        error = np.sum((result.x - truth) ** 2) / np.sum(truth**2)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
        say(
            f"  noise {'known' if level else 'learned'}: NMSE {error:.3e}  {seconds:.2f} s  peak {peak:.0f} MiB"
        )


def robust(solver, seeds):
    for snr in (10, 20, 30):
        errors = {seed: run(solver, generator().make(seed, snr))[0] for seed in seeds}
        bad = {seed: f"{error:.2f}" for seed, error in errors.items() if error > 0.1}
        values = list(errors.values())
        say(
            f"  {snr} dB  mean {np.mean(values):.3e}  median {np.median(values):.3e}  above 0.1: {len(bad)} {bad}"
        )


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    what = ["single", "table", "unknown", "speed", "million", "robust"]
    parser.add_argument("what", nargs="?", default="table", choices=what)
    parser.add_argument("--seeds", default="")
    parser.add_argument("--solver", default="default", choices=list(SOLVERS))
    given = parser.parse_args()
    if given.what != "million" and not REFERENCE.exists():
        sys.exit(f"{REFERENCE} is not there.")
    solver = SOLVERS[given.solver]
    seeds = range(*map(int, (given.seeds or ("200:500" if given.what == "robust" else "0:20")).split(":")))
    say(given.what, given.solver, seeds)
    if given.what == "single":
        single()
    elif given.what == "unknown":
        table(solver, seeds, known=False)
        say("  free values on a product support")
        table(solver, seeds, known=False, separable=False)
    elif given.what == "table":
        table(solver, seeds, known=True)
    elif given.what == "robust":
        robust(solver, seeds)
    else:
        {"speed": speed, "million": million}[given.what](solver)


if __name__ == "__main__":
    main()
