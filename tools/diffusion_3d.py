"""Print PSNR, consistency between slices, network calls, seconds and memory of volumes from few views.

    python tools/diffusion_3d.py --prior ct-128 [--slices 64] [--size 128] [--views 8] [--seed 0] [--methods LIST]
                                 [--steps 30] [--dds3d-steps 29] [--mbir-steps 300] [--set METHOD.NAME=VALUE ...]
                                 [--save FILE.npz]

A body (``recon_datasets.bodies``; priors have not seen seeds below a million) is projected slice by slice on a grid
twice as fine, with noise of 1 % of the largest value. METHODS are tv (3-D, weight chosen with the truth), diffpir and
dds (2-D, slice by slice, noise of their own), diffpir-shared (the same noise in all slices), dds3d and mbir.

PSNR has the largest value of the truth as its peak; z-PSNR is that of the differences between neighbouring slices.
Calls are network calls a slice. Peak memory is what NumPy held at most during the run, beyond what was there before, in
volumes of float32; what torch holds for one network batch is not in it.
"""

import argparse
import dataclasses
import gc
import sys
import time
import tracemalloc

import numpy as np
from recon_datasets.bodies import body_slice, random_body
from recon_diffusion import DiffPir, DiffusionPrior
from recon_diffusion.dds3d import Dds3D
from recon_diffusion.mbir import DiffusionMbir
from recon_operators.slices import EachSlice
from recon_operators.tomography import ParallelBeam

from recon import TV, NonNegative, Problem, solve
from recon.params import build, describe

METHODS = ("tv", "diffpir", "diffpir-shared", "dds", "dds3d", "mbir")
WEIGHTS = (0.8, 1.6, 3.2, 6.4)
TV_STEPS = 300


def simulated(seed, slices, size, views):
    """Operator, data, noise level and truth; slices of cubic voxels around the middle of the body."""
    body, fine = random_body(seed), 2 * size
    heights = (np.arange(slices) - 0.5 * (slices - 1)) * 2.0 / size
    angles, bins = np.arange(views) * np.pi / views, int(np.ceil(1.4375 * size))
    exact = ParallelBeam((fine, fine), angles, bins, detector_spacing=1.0, pixel_size=0.5)
    data, truth = [], []
    for z in heights:
        image = body_slice(body, fine, z).astype(np.float64)
        data.append(exact @ image)
        truth.append(image.reshape(size, 2, size, 2).mean(axis=(1, 3)))
    data = np.stack(data)
    sigma = 0.01 * data.max()
    data += sigma * np.random.default_rng((seed, views)).standard_normal(data.shape)
    A = ParallelBeam((size, size), angles, bins)
    return EachSlice(A, slices), data.astype(np.float32), float(sigma), np.stack(truth)


def figures(x, truth):
    """PSNR, and PSNR of the differences along z."""
    peak = truth.max()
    x = np.asarray(x, dtype=np.float64)
    errors = (x - truth, np.diff(x, axis=0) - np.diff(truth, axis=0))
    return [10 * np.log10(peak**2 / np.mean(error**2)) for error in errors]


def total_variation(A, data, sigma, truth):
    """The best of several weights: the result, and the weight in its name."""
    best = None
    for weight in WEIGHTS:
        prior = weight * sigma * TV(1.0, ndim=3) + NonNegative()
        result = solve(Problem(A, data, prior, noise=sigma), stop=TV_STEPS, every=10**9)
        score = figures(result.x, truth)[0]
        if best is None or score > best[0]:
            best = score, result, f"tv {weight:g}"
    return best[1], best[2]


def solver_of(method, options):
    """The sampler of a method, with the settings that were asked for."""
    if method == "dds":
        from recon_diffusion import Dds

        kind, own = Dds, {"steps": options.steps}
    elif method == "mbir":
        kind, own = DiffusionMbir, {"steps": options.mbir_steps, "in_place": True}
    elif method == "dds3d":
        kind, own = Dds3D, {"steps": options.dds3d_steps, "in_place": True}
    else:
        kind, own = DiffPir, {"steps": options.steps}
    for text in options.set:
        name, _, value = text.partition("=")
        owner, _, name = name.partition(".")
        if owner == method:
            known = describe(kind())[name]
            own[name] = (value == "true") if isinstance(known, bool) else type(known)(value)
    return build(kind, own)


def run(method, problem, options, truth):
    """Result, its name in the table, and the peak memory in volumes."""
    A, data, sigma = problem.operator, problem.data, problem.noise
    solver = None if method == "tv" else solver_of(method, options)
    if solver is not None:
        # two slices first: what is compiled and imported at first use is not the method's memory
        two = Problem(EachSlice(A.slice_operator, 2), data[:2], problem.prior, noise=sigma)
        solve(two, dataclasses.replace(solver, steps=2))
    gc.collect()
    tracemalloc.start()
    if method == "tv":
        result, name = total_variation(A, data, sigma, truth)
    else:
        if method == "diffpir-shared":
            problem = dataclasses.replace(problem, operator=A.slice_operator)
        result, name = solve(problem, solver, seed=options.seed, every=10**9), f"{method} {solver.steps}"
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return result, name, peak / (4.0 * truth.size)


def show(line):
    """A line of the table, at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--prior", required=True, help="name of a shipped prior, or a folder")
    parser.add_argument("--device", help="torch device of the network")
    parser.add_argument("--batch", type=int, default=16, help="slices given to the network at once")
    parser.add_argument("--slices", type=int, default=64)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--views", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--steps", type=int, default=30, help="steps of dds and diffpir")
    parser.add_argument("--dds3d-steps", type=int, default=29)
    parser.add_argument("--mbir-steps", type=int, default=300)
    parser.add_argument("--set", action="append", default=[], help="METHOD.NAME=VALUE")
    parser.add_argument("--save", help="write truth and reconstructions to this .npz file")
    options = parser.parse_args()

    A, data, sigma, truth = simulated(options.seed, options.slices, options.size, options.views)
    prior = DiffusionPrior(options.prior, batch=options.batch, device=options.device)
    prior.denoise(np.zeros((1, options.size, options.size), np.float32), prior.scale)  # load it: not counted
    A.slice_operator @ truth[0].astype(np.float32)
    show("method             PSNR   z-PSNR  calls  network s  operator s  total s  peak volumes")
    found = {"truth": truth.astype(np.float32)}
    for method in options.methods.split(","):
        begin = time.perf_counter()
        problem = Problem(A, data, prior, noise=sigma)
        result, name, peak = run(method, problem, options, truth)
        seconds = time.perf_counter() - begin
        last = result.history[-1].values
        shown = [last.get(key, np.nan) for key in ("calls", "network_seconds", "operator_seconds")]
        psnr, along = figures(result.x, truth)
        show(
            f"{name:18s} {psnr:5.2f} {along:8.2f} {shown[0]:6.0f} {shown[1]:10.1f} {shown[2]:11.1f} {seconds:8.1f} "
            f"{peak:13.2f}"
        )
        found[method] = np.asarray(result.x)
    if options.save:
        np.savez(options.save, **found)


if __name__ == "__main__":
    main()
