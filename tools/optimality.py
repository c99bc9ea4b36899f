"""The five convex problems of docs/certificates.md, each solved by two algorithms, with the gap that each certifies.

    python tools/optimality.py [problem ...] [--small] [--tol 1e-6]

Prints a line per run: how far its objective ends above the best that either algorithm has reached, and the gap that
it certifies, both relative to the objective.
"""

from __future__ import annotations

import argparse
import sys
import time

import numpy as np
from recon_operators.convolution import Convolution
from recon_operators.fourier import CartesianMRI, masks
from recon_operators.tomography import ParallelBeam
from recon_proximal import Admm, Fista, Pdhg
from recon_wavelets import Wavelet

import recon
from recon import L1, TV, ArraySpec, Identity, Matrix, NonNegative, Problem


def phantom(size: int) -> np.ndarray:
    """An image between 0 and 1: the Shepp-Logan head on a smooth background."""
    head = recon.get("dataset", "shepp-logan")(size=size, views=2)[0].truth
    rows, columns = np.mgrid[:size, :size] / size
    return np.asarray(head, float) + 0.1 * np.sin(3 * rows) * np.cos(2 * columns)


def lasso(n: int = 2048, m: int = 614) -> Problem:
    """30 % Gaussian measurements of a vector with 5 % spikes, 1 % noise; w = 0.05 max |A^T y|."""
    rng = np.random.default_rng(1)
    matrix = rng.standard_normal((m, n)) / np.sqrt(m)
    x = np.zeros(n)
    x[rng.choice(n, n // 20, replace=False)] = rng.standard_normal(n // 20)
    data = matrix @ x
    data += 0.01 * np.linalg.norm(data) / np.sqrt(m) * rng.standard_normal(m)
    return Problem(Matrix(matrix), data, L1(0.05 * float(np.abs(matrix.T @ data).max())))


def denoising(size: int = 256) -> Problem:
    """TV denoising at 10 % noise."""
    image = phantom(size)
    noise = 0.1 * np.random.default_rng(2).standard_normal(image.shape)
    return Problem(Identity(ArraySpec(image.shape)), image + noise, TV(0.1))


def tomography(size: int = 256, views: int = 60) -> Problem:
    """TV and x >= 0 from sparse views, 1 % noise."""
    A = ParallelBeam((size, size), np.linspace(0, np.pi, views, endpoint=False))
    data = A @ np.maximum(phantom(size), 0)
    data += 0.01 * data.max() * np.random.default_rng(3).standard_normal(data.shape)
    return Problem(A, data, TV(1e-3 * float(np.abs(A.H @ data).max())) + NonNegative())


def deconvolution(size: int = 512) -> Problem:
    """Gaussian blur of 2 pixels, 1 % noise, l1 of orthonormal wavelet coefficients."""
    rows = np.arange(-8, 9)
    kernel = np.exp(-(rows[:, None] ** 2 + rows**2) / 8.0)
    A = Convolution(kernel / kernel.sum(), (size, size))
    data = A @ phantom(size)
    data += 0.01 * np.random.default_rng(4).standard_normal(data.shape)
    return Problem(A, data, L1(1e-3) @ Wavelet((size, size), "sym4", 4))


def mri(size: int = 256) -> Problem:
    """A fourth of the lines of k-space of a complex image, 1 % noise, l1 of wavelet coefficients."""
    image = phantom(size) * np.exp(0.5j * np.linspace(0, 1, size))
    A = CartesianMRI(masks.variable_density((size, size), acceleration=4, calibration=size // 10, seed=0))
    rng = np.random.default_rng(5)
    noise = 0.01 * (rng.standard_normal(image.shape) + 1j * rng.standard_normal(image.shape))
    return Problem(A, A @ image + A.mask * noise, L1(2e-2) @ Wavelet((size, size), "db4", 4, "complex"))


# problem: (how to make it, arguments of a small one, two algorithms, iterations of each)
PROBLEMS = {
    "lasso": (lasso, (400, 120), (Fista(), Pdhg()), (2000, 4000)),
    "denoising": (denoising, (32,), (Pdhg(), Admm()), (4000, 1500)),
    "tomography": (tomography, (32, 16), (Pdhg(), Admm()), (6000, 1500)),
    "deconvolution": (deconvolution, (48,), (Fista(), Admm()), (4000, 1000)),
    "mri": (mri, (48,), (Fista(), Admm()), (2000, 600)),
}


def results(name: str, small: bool = False, tol: float = 1e-6) -> tuple[list[recon.Result], list[float]]:
    """What both algorithms reach, each until it certifies a relative gap of tol or its iterations are up.

    With the CPU seconds of each.
    """
    make, size, solvers, iterations = PROBLEMS[name]
    problem = make(*size) if small else make()
    found, seconds = [], []
    for solver, limit in zip(solvers, iterations, strict=True):
        started = time.process_time()
        found.append(recon.solve(problem, solver, stop=recon.Gap(tol) | recon.MaxIterations(limit)))
        seconds.append(time.process_time() - started)
    return found, seconds


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", help=", ".join(PROBLEMS))
    parser.add_argument("--small", action="store_true", help="the sizes of the tests")
    parser.add_argument("--tol", type=float, default=1e-6, help="certified relative gap at which a run stops")
    args = parser.parse_args()
    sys.stdout.write(
        "| problem | algorithm | iterations | above the best of both | certified | seconds (CPU) |\n"
    )
    sys.stdout.write("|---|---|---|---|---|---|\n")
    for name in args.names or PROBLEMS:
        found, seconds = results(name, args.small, args.tol)
        best = min(record["objective"] for result in found for record in result.history)
        for result, cpu in zip(found, seconds, strict=True):
            last = result.history[-1]
            above, gap = (value / abs(last["objective"]) for value in (last["objective"] - best, last["gap"]))
            row = [
                name,
                type(result.solver).__name__,
                result.iterations,
                f"{above:.1e}",
                f"{gap:.1e}",
                f"{cpu:.0f}",
            ]
            sys.stdout.write(f"| {' | '.join(map(str, row))} |\n")


if __name__ == "__main__":
    main()
