"""BudgetSbl on a partial cosine transform: time, memory, error and intervals.

    OMP_NUM_THREADS=1 python tools/budget.py [--size 1000000 --data 100000 --active 300 --snr 30] [--double] [--learn]

Normal coefficients at random places, samples of their inverse cosine transform at random places, noise (known, or
with --learn unknown). One thread unless --threads says more. "Within reach" are entries above three standard
deviations of their posterior, sqrt(s2 / ||a||^2): smaller ones are lost in the noise for any method.
"""

import argparse
import resource
import sys
import time

import numpy as np
import scipy.fft
from recon_sbl.bench_cofem import make, nmse
from recon_sbl.budget import BudgetSbl
from recon_sbl.cofem import Cofem

import recon
from recon.metrics import coverage


def say(*words):
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def report(name, result, truth, seconds, before, reach):
    on, found = truth != 0, result.x != 0
    low, high = result.interval(0.95)
    say(
        f"{name}: {result.iterations} steps ({result.status.name}), {seconds:.1f} s, {result.state.products} products"
    )
    say(f"  NMSE {nmse(result.x, truth):.3e}, noise {float(result.hyperparameters['noise']):.5e}")
    say(
        f"  {np.sum(found)} entries not 0: {np.sum(found & on)} of {np.sum(on)} true ones, "
        f"{np.sum(found & reach)} of {np.sum(reach)} within reach, {np.sum(found & ~on)} false"
    )
    say(
        f"  95 % intervals hold {coverage(truth[found], low[found], high[found]):.3f} of those it found, "
        f"{coverage(truth[on], low[on], high[on]):.3f} of the support, {coverage(truth, low, high):.6f} of all"
    )
    say(f"  memory: {peak():.2f} GiB at most, {before:.2f} GiB before solving")
    for line in result.provenance.get("remarks", []):
        say(f"  {line}")


def main(given):
    dtype = np.float64 if given.double else np.float32
    trial = make(given.seed, given.snr, given.size, given.data, given.active, dtype)
    problem, truth = trial.problem, trial.truth
    length = (given.data / given.size) ** 0.5
    reach = np.abs(truth) > 3 * problem.noise / length
    say(
        f"{given.size} unknowns, {given.data} data, {given.active} not 0, {given.snr:g} dB, {np.dtype(dtype).name}"
    )
    say(f"noise {problem.noise:.5e}, {'learned' if given.learn else 'known'}; {given.threads} threads")
    bound = np.sum(truth != 0) * (problem.noise / length) ** 2 / np.sum(truth**2)
    say(f"NMSE of least squares on the true support, about {bound:.3e}")
    if given.learn:
        problem = recon.Problem(problem.operator, problem.data)
    solvers = [BudgetSbl(budget=given.budget)]
    if given.cofem:
        solvers.append(Cofem())
    with scipy.fft.set_workers(given.threads):
        for solver in solvers:
            before, started = peak(), time.perf_counter()
            result = recon.solve(problem, solver, stop=200, every=10)
            seconds = time.perf_counter() - started
            report(type(solver).__name__, result, truth, seconds, before, reach)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, value in (
        ("size", 1_000_000),
        ("data", 100_000),
        ("active", 300),
        ("budget", 1000),
        ("seed", 0),
    ):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--snr", type=float, default=30.0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--double", action="store_true", help="double precision")
    parser.add_argument("--learn", action="store_true", help="do not tell the noise")
    parser.add_argument("--cofem", action="store_true", help="Cofem on the same problem after it")
    main(parser.parse_args())
