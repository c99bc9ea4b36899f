"""Measure what a second thread brings to the projectors: wall time with 1 and with 2 threads, and equal bits.

    python tools/threads.py [REPETITIONS]

Takes the shortest of several repetitions, alternating between the two. Wall times mean nothing on a busy machine: the
load average is printed first, and should be near 0.
"""

import math
import os
import sys
import time

import numba
import numpy as np
from recon_operators.tomography import FanBeam, ParallelBeam, fbp, sparse_view

SIZE, VIEWS = 512, 180


def cases():
    """Name to operation: forward, adjoint and filtered back projection, float32."""
    rng = np.random.default_rng(0)
    image = rng.random((SIZE, SIZE), dtype=np.float32)
    sinogram = rng.random((VIEWS, SIZE), dtype=np.float32)
    parallel = ParallelBeam((SIZE, SIZE), sparse_view(VIEWS), SIZE)
    fan = FanBeam(
        (SIZE, SIZE),
        sparse_view(VIEWS, arc=2 * math.pi),
        SIZE,
        source_origin=2.0 * SIZE,
        origin_detector=2.0 * SIZE,
        detector_spacing=2.0,
    )
    return {
        "parallel forward": lambda: parallel @ image,
        "parallel adjoint": lambda: parallel.H @ sinogram,
        "parallel FBP": lambda: fbp(parallel, sinogram),
        "fan forward": lambda: fan @ image,
        "fan adjoint": lambda: fan.H @ sinogram,
    }


def measure(operation, repetitions):
    """Shortest wall time with one and with two threads, and whether the results have the same bits."""
    results, best = [], [math.inf, math.inf]
    for threads in (1, 2):
        numba.set_num_threads(threads)
        results.append(operation())  # compiles, too
    for _ in range(repetitions):
        for k in range(2):
            numba.set_num_threads(k + 1)
            started = time.perf_counter()
            operation()
            best[k] = min(best[k], time.perf_counter() - started)
    return *best, np.array_equal(*results)


def report(line):
    """One line, at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main(repetitions):
    """Measure and print a table."""
    if numba.config.NUMBA_NUM_THREADS < 2:
        sys.exit(
            "numba may use one thread only here: unset NUMBA_NUM_THREADS, or take a machine with two cores."
        )
    report(f"{SIZE}^2 x {VIEWS} float32, load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    report(f"{'operation':<18}{'1 thread':>10}{'2 threads':>11}{'ratio':>7}  same bits")
    for name, operation in cases().items():
        one, two, same = measure(operation, repetitions)
        report(
            f"{name:<18}{1e3 * one:>7.1f} ms{1e3 * two:>8.1f} ms{one / two:>7.2f}  {'yes' if same else 'NO'}"
        )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 30)
