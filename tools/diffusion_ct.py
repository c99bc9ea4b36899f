"""Print what priors and solvers reach in tomography from 8, 16 and 32 directions: PSNR, SSIM, network calls, seconds.

    python tools/diffusion_ct.py PRIOR [--images 8] [--first 0] [--views 8,16,32] [--methods NAME,...] [--json FILE]
    python tools/diffusion_ct.py PRIOR --tune NAME [--images 4]

PRIOR is a shipped prior or a folder, of images [0, 1] of 128 x 128 pixels. Truths are slices of bodies that no prior
was trained on (seeds from --first on), 128^2 block means of 256^2 images; parallel beams with 184 bins of a pixel; data
are simulated on the 256^2 grid, with noise of 1 % of their maximum. Out of distribution: real slices of a head
(../shared/data/ct/ge_head_slices_01_12.npz or --heads FILE), left out where the file is not there.

FBP has the best of its five filters, TV and wavelets the weight that is best for the very image, to a factor 2^(1/4)
(both constrained to x >= 0 and run to a relative change of 3e-5): no rule could choose better ones. The samplers'
parameters are in SAMPLERS, found on other bodies: --tune prints the grid of GRIDS on the bodies from seed 500 on. Calls
are those of the network for one image, chains counted one by one; products with its transposed Jacobian, which Dps and
PiGdm need, count as calls too. Values range over 1 in PSNR and SSIM. Seconds are wall time with --threads threads (1).
"""

import argparse
import itertools
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from recon_datasets.bodies import body_slice, random_body
from recon_diffusion import DiffPir, DiffusionPrior
from recon_diffusion.daps import Daps
from recon_diffusion.ddnm import Ddnm
from recon_diffusion.dds import Dds
from recon_diffusion.dps import Dps
from recon_diffusion.pigdm import PiGdm
from recon_diffusion.red_diff import RedDiff
from recon_operators.tomography import ParallelBeam, fbp
from recon_wavelets import UndecimatedWavelet, noise_levels

from recon import L1, TV, NonNegative, Problem, solve
from recon.linalg import cgls
from recon.metrics import psnr, ssim
from recon.stopping import Change, MaxIterations

SIZE, BINS, LEVEL = 128, 184, 0.01
HEADS = Path(__file__).resolve().parents[2] / "shared" / "data" / "ct" / "ge_head_slices_01_12.npz"
QUIET, ROUGH = (MaxIterations(2000) | Change(tol, patience=2) for tol in (3e-5, 1e-4))

SAMPLERS = {
    "DiffPir, 1 chain of 30": DiffPir(steps=30, balance=0.3),
    "DiffPir, mean of 2 chains of 15": DiffPir(steps=15, chains=2, balance=0.5),
    "DiffPir, mean of 3 chains of 10": DiffPir(steps=10, chains=3, balance=0.7),
    "DiffPir, high 1, mean of 2 chains of 15": DiffPir(steps=15, chains=2, balance=0.5, high=1.0, inner=8),
    "DiffPir, high 0.3, mean of 6 chains of 5 from CG": DiffPir(
        steps=5, chains=6, balance=0.7, high=0.3, inner=8
    ),
    "DiffPir, mean of 8 chains of 30": DiffPir(steps=30, chains=8, balance=0.3),
    "Dds, 1 chain of 30": Dds(steps=30),
    "Dds, mean of 3 chains of 10": Dds(steps=10, chains=3),
    "Ddnm, 1 chain of 30": Ddnm(steps=30),
    "Ddnm, mean of 3 chains of 10": Ddnm(steps=10, chains=3),
    "PiGdm, 30 steps": PiGdm(steps=30),
    "Daps, 1 chain of 30": Daps(steps=30, high=3.0, low=0.01),
    "Daps, mean of 8 chains of 30": Daps(steps=30, chains=8, high=3.0, low=0.01),
    "RedDiff, 100 steps": RedDiff(steps=100),
    "Dps, 100 steps": Dps(steps=100),
    "Dps, 1000 steps": Dps(steps=1000),
}
GRIDS = {
    "DiffPir": {"balance": (0.5, 1.0, 1.5), "high": (1.0, 3.0, 10.0), "low": (0.01, 0.02, 0.05)},
    "Dds": {"weight": (1.0, 3.0, 10.0, 30.0), "eta": (0.5, 0.85, 1.0)},
    "PiGdm": {"eta": (0.5, 1.0), "low": (0.01, 0.02, 0.05)},
    "Daps": {"high": (3.0, 10.0), "low": (0.02, 0.05, 0.1)},
    "RedDiff": {"weight": (0.1, 0.25, 0.5, 1.0), "rate": (0.03, 0.05, 0.1)},
    "Dps": {"zeta": (0.1, 0.3, 1.0, 3.0)},
}


# -- data ------------------------------------------------------------------------------------------------


def block_mean(image, factor):
    rows, columns = (n // factor for n in image.shape)
    return image.reshape(rows, factor, columns, factor).mean(axis=(1, 3))


def bodies(first, images):
    """Pairs of seed and fine image."""
    return [
        (seed, body_slice(random_body(seed), 2 * SIZE).astype(np.float64))
        for seed in range(first, first + images)
    ]


def heads(path, images):
    hu = np.load(path)["hu"].astype(np.float64)
    chosen = np.unique(np.linspace(0, len(hu) - 1, images).round().astype(int))
    return [(10_000 + int(k), block_mean(np.maximum((hu[k] + 1000.0) / 2500.0, 0.0), 2)) for k in chosen]


def scan(fine, seed, views, prior=None):
    """The problem, from data simulated on the fine grid, and the truth on the coarse one."""
    angles = np.arange(views) * np.pi / views
    A = ParallelBeam((SIZE, SIZE), angles, BINS)
    clean = ParallelBeam(fine.shape, angles, BINS, detector_spacing=1.0, pixel_size=SIZE / len(fine)) @ fine
    sigma = LEVEL * float(clean.max())
    data = clean + sigma * np.random.default_rng((seed, views)).standard_normal(clean.shape)
    return Problem(A, data.astype(np.float32), prior, noise=sigma), block_mean(fine, len(fine) // SIZE)


# -- methods: (problem without prior, prior, truth) to (image, calls, seconds, in the network, in the operator) ------


def quality(x, truth):
    return psnr(x.astype(np.float64), truth, data_range=1.0), ssim(
        x.astype(np.float64), truth, data_range=1.0
    )


def back_projection(posed, _, truth):
    filters = ("ramp", "shepp-logan", "cosine", "hamming", "hann")
    images = [fbp(posed.operator, posed.data, filter=name) for name in filters]
    return max(images, key=lambda x: quality(x, truth)[0]), 0, None, None, None


def best_weight(make, posed, truth, middle):
    """The best image over weights, a factor 2 apart at first and 2^(1/4) in the end, and the seconds of its run."""
    tried = {}

    def run(step, rule=ROUGH, start=None):
        prior = middle * 2.0 ** (step / 4) * posed.noise * make + NonNegative()
        return solve(
            Problem(posed.operator, posed.data, prior, noise=posed.noise), x0=start, stop=rule, every=10
        )

    def score(step):
        if step not in tried:
            near = min(tried, key=lambda other: abs(other - step), default=None)
            tried[step] = run(step, start=None if near is None else tried[near].x)
        return quality(tried[step].x, truth)[0]

    best, stride = 0, 4
    while stride:
        found = max((best, best - stride, best + stride), key=score)
        if found == best:
            stride //= 2
        best = found
    final = run(best, QUIET)
    return final.x, 0, final.seconds, None, None


def total_variation(posed, _, truth):
    return best_weight(TV(1.0), posed, truth, 0.3)


def wavelets(posed, _, truth):
    W = UndecimatedWavelet((SIZE, SIZE), "haar", 4)
    penalty = W.spread({band: float("d" in band[1]) for band in noise_levels(W)})
    return best_weight(L1(penalty) @ W, posed, truth, 0.3)


def sampled(solver):
    def run(posed, prior, _):
        full = Problem(posed.operator, posed.data, prior, noise=posed.noise)
        x0 = cgls(posed.operator, posed.data, iterations=8) if solver.high < 1.0 else None
        found = solve(full, solver, every=10_000, x0=x0)
        last = found.history[-1].values
        calls = int(last["calls"]) * solver.chains
        return found.x, calls, found.seconds, last["network_seconds"], last["operator_seconds"]

    return run


METHODS = {
    "FBP": back_projection,
    "Wavelets": wavelets,
    "TV": total_variation,
    **{name: sampled(solver) for name, solver in SAMPLERS.items()},
}


# -- tables ----------------------------------------------------------------------------------------------


def measure(method, images, views, prior):
    """Means over the images: dict of PSNR, SSIM, calls, seconds."""
    rows = []
    for seed, fine in images:
        posed, truth = scan(fine, seed, views)
        x, *rest = method(posed, prior, truth)
        rows.append((*quality(x, truth), *(np.nan if value is None else value for value in rest)))
    names = ("psnr", "ssim", "calls", "seconds", "network", "operator")
    return dict(zip(names, np.mean(rows, axis=0).tolist(), strict=True)) | {"each": [row[0] for row in rows]}


def line(name, found):
    """A row of the table; seconds are those of the last number of views."""
    cells = [f"{one['psnr']:.2f} / {one['ssim']:.3f}" for one in found.values()]
    last = list(found.values())[-1]
    spent = [last[key] for key in ("seconds", "network", "operator")]
    times = " / ".join("-" if np.isnan(value) else f"{value:.2f}" for value in spent)
    return f"| {name} | {last['calls']:.0f} | {' | '.join(cells)} | {times} |"


def table(title, images, views, methods, prior, kept):
    yield f"\n{title}, {len(images)} images; PSNR in dB / SSIM\n"
    yield f"| method | calls | {' | '.join(f'{v} views' for v in views)} | s total / network / operator |"
    yield "|---" * (len(views) + 3) + "|"
    for name in methods:
        kept[name] = {v: measure(METHODS[name], images, v, prior) for v in views}
        yield line(name, kept[name])
    few = [name for name in methods if 0 < kept[name][views[0]]["calls"] <= 30]
    if few and "TV" in kept:
        gains = [max(kept[name][v]["psnr"] for name in few) - kept["TV"][v]["psnr"] for v in views]
        yield f"\nBest with at most 30 calls over TV: {', '.join(f'{gain:+.2f} dB' for gain in gains)}"


def tune(name, images, views, prior):
    """All combinations of a grid, best first."""
    for label, solver in SAMPLERS.items():
        if label.split(",")[0] != name or solver.steps == 1000:
            continue
        grid, rows = GRIDS[name], []
        for values in itertools.product(*grid.values()):
            options = dict(zip(grid, values, strict=True))
            found = {v: measure(sampled(replace(solver, **options)), images, v, prior) for v in views}
            rows.append((np.mean([one["psnr"] for one in found.values()]), line(f"{label} {options}", found)))
        yield from (text for _, text in sorted(rows, reverse=True))


def say(text):
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("prior")
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--first", type=int, default=0, help="seed of the first body")
    parser.add_argument("--views", default="8,16,32")
    parser.add_argument("--methods", default="", help="names, or their beginnings, with ; between them")
    parser.add_argument("--heads", type=Path, default=HEADS)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--tune", choices=GRIDS)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    views = [int(v) for v in given.views.split(",")]
    prior = DiffusionPrior(given.prior)
    if given.tune:
        for text in tune(given.tune, bodies(500, given.images), views, prior):
            say(text)
        return
    asked = [part.strip() for part in given.methods.split(";") if part.strip()]
    methods = [name for name in METHODS if not asked or any(name.startswith(part) for part in asked)]
    sets = {"Bodies": bodies(given.first, given.images)}
    if given.heads.is_file():
        sets["Heads (real slices, out of distribution)"] = heads(given.heads, given.images)
    found = {}
    for title, images in sets.items():
        for text in table(title, images, views, methods, prior, found.setdefault(title, {})):
            say(text)
        if given.json:
            given.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
