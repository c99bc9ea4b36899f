"""Cofem on cosine samples: against the algorithm as published, and with a million unknowns.

    python tools/cofem.py dct [--seeds N]               4096 unknowns, 1024 data, 256 not 0; 20 and 30 dB
    python tools/cofem.py million [--size N] [--snr S] [--threads T] [--probes P]     N unknowns, N/4 data, N/40 not 0

Both with the true noise level, in float32. Times are CPU seconds of the process (dct) and wall seconds (million).
"""

import argparse
import resource
import sys
import time

import numpy as np
import scipy.fft
from recon_sbl.bench_cofem import make, nmse, published
from recon_sbl.cofem import Cofem

import recon
from recon.metrics import coverage


def say(line):
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def clock(function):
    """What a function gives, and the least CPU time of three calls."""
    seconds = []
    for _ in range(3):
        started = time.process_time()
        found = function()
        seconds.append(time.process_time() - started)
    return found, min(seconds)


def dct(seeds):
    say("snr  seed  Cofem NMSE  iterations  CPU s   as published NMSE  CPU s   ratio")
    for snr in (20, 30):
        for seed in range(seeds):
            trial = make(seed, snr)
            problem = trial.problem
            ours, fast = clock(lambda p=problem: recon.solve(p, Cofem(), stop=100))
            theirs, slow = clock(lambda p=problem: published(p.operator, p.data, p.noise**2)[0])
            say(
                f"{snr:3d}  {seed:4d}  {nmse(ours.x, trial.truth):.4e}  {ours.iterations:10d}  {fast:5.3f}   "
                f"{nmse(theirs, trial.truth):.4e}         {slow:5.3f}   {slow / fast:4.1f}",
            )


def million(size, snr, threads, probes):
    trial = make(0, snr, size, size // 4, size // 40)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    with scipy.fft.set_workers(threads):
        result = recon.solve(trial.problem, Cofem(probes=probes), stop=100, every=10)
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    on = trial.truth != 0
    found = np.abs(result.x) > 1e-2 * np.abs(result.x).max()
    f1 = 2 * np.sum(found & on) / (np.sum(found) + np.sum(on))
    low, high = result.interval(0.9)
    say(f"{size} unknowns, {size // 4} data, {size // 40} not 0, {snr:g} dB, float32, {threads} threads")
    say(
        f"{result.iterations} iterations ({result.status.name}), {seconds:.0f} s, {result.state.products} products"
    )
    say(f"NMSE {nmse(result.x, trial.truth):.3e}, F1 (1e-2) {f1:.3f}")
    say(
        f"90 % intervals hold {coverage(trial.truth[on], low[on], high[on]):.3f} of the support and "
        f"{coverage(trial.truth, low, high):.3f} of all entries"
    )
    say(f"memory: {peak / 2**20:.2f} GiB at most, {before / 2**20:.2f} GiB before solving")
    for line in result.provenance.get("remarks", []):
        say(line)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("case", choices=("dct", "million"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--size", type=int, default=1_000_000)
    parser.add_argument("--snr", type=float, default=30.0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--probes", type=int, default=4)
    given = parser.parse_args()
    if given.case == "dct":
        dct(given.seeds)
    else:
        million(given.size, given.snr, given.threads, given.probes)
