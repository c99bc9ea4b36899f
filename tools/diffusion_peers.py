"""Print PSNR and time per step of our samplers and deepinv's, with one network on the same data in one process.

    python tools/diffusion_peers.py PRIOR [--images 4] [--first 0] [--rounds 5] [--time-only | --psnr-only] [--tune]
                                    [--precision float32]

PRIOR is a shipped prior or a folder, of images [0, 1] of 128 x 128 pixels. Truths are slices of bodies that no prior
was trained on; operators, noise and the adaptor of the network are those of ``recon bench diffusion``. Every method
gets the calls of the network that STEPS says; parameters are in OURS and THEIRS, the best of a grid on other bodies
(--tune prints the grid). --precision is that of our network; deepinv's stays in float32. Times are CPU time of whole
runs of TIMED steps on one thread, divided by those: medians over interleaved rounds, and of the ratio ours / theirs,
round by round.

deepinv is not among our extras, and installing it plainly replaces torch. A folder for it alone, beside an environment
with recon[diffusion]:

    pip install --target FOLDER --no-deps deepinv==0.5.0 torchvision==0.28.0 torchmetrics natsort lightning-utilities \
        einops h5py requests
    PYTHONPATH=FOLDER OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1 python tools/diffusion_peers.py ct-128

(torchvision 0.28 belongs to torch 2.13; of its compiled operators, which a CPU build of torch cannot load, two names
are declared below.)
"""

import argparse
import itertools
import sys
import warnings

import numpy as np
import torch
from recon_datasets.bodies import body_slice, random_body
from recon_diffusion import DiffPir, DiffusionPrior
from recon_diffusion.bench import PROBLEMS, decomposed, network_alone, problem, theirs
from recon_diffusion.ddrm import Ddrm
from recon_diffusion.dps import Dps

from recon import solve
from recon.bench import Case, measure
from recon.metrics import psnr

STEPS = {"DiffPir": 30, "Ddrm": 20, "Dps": 100}
TIMED = 10
SOLVERS = {"DiffPir": DiffPir, "Ddrm": Ddrm, "Dps": Dps}
PAIRS = [(name, method) for name in PROBLEMS for method in SOLVERS if (name, method) != ("ct", "Ddrm")]

OURS = {
    ("inpainting", "DiffPir"): {"balance": 0.6},
    ("blur", "DiffPir"): {"balance": 0.6},
    ("ct", "DiffPir"): {"balance": 0.3},
    ("inpainting", "Ddrm"): {"temperature": 0.2, "high": 1.0},
    ("inpainting", "Dps"): {"rule": "deviation", "zeta": 3.0, "grid": "karras", "low": 0.045},
    ("blur", "Dps"): {"zeta": 0.5, "grid": "uniform", "low": 0.045},
    ("ct", "Dps"): {"rule": "deviation", "zeta": 3.0},
}
THEIRS = {
    ("inpainting", "DiffPir"): {"lambda_": 4.0, "zeta": 1.0},
    ("blur", "DiffPir"): {"lambda_": 2.0, "zeta": 1.0},
    ("ct", "DiffPir"): {"lambda_": 2.0, "zeta": 1.0},
    ("inpainting", "Ddrm"): {"sigmas": (0.5, 0.01)},
    ("blur", "Ddrm"): {"sigmas": (1.5, 0.01)},
    ("inpainting", "Dps"): {"weight": 4000.0},
    ("blur", "Dps"): {"weight": 600.0},
    ("ct", "Dps"): {"weight": 600.0},
}

GRIDS = {
    "DiffPir": (
        {"balance": (0.3, 0.6, 1.0, 2.0), "zeta": (0.3, 0.6, 1.0)},
        {"lambda_": (0.5, 1.0, 2.0, 4.0, 7.0), "zeta": (0.3, 0.6, 1.0)},
    ),
    "Ddrm": (
        {"temperature": (0.2, 0.5, 0.7), "eta": (0.5, 0.7, 0.85), "high": (1.0, 3.0, 10.0)},
        {
            "eta": (0.5, 0.7, 0.85),
            "sigmas": tuple(itertools.product((0.5, 1.5, 5.0), (0.01, 0.03))),
        },
    ),
    "Dps": (
        {
            "rule": ("variance", "deviation"),
            "zeta": (0.5, 1.0, 3.0),
            "grid": ("log", "karras", "uniform"),
            "low": (0.02, 0.045),
        },
        {"weight": (30.0, 100.0, 300.0, 600.0, 1000.0, 2000.0, 4000.0, 8000.0)},
    ),
}


def declare_torchvision():
    """Say what the two operators are that torchvision names when it is imported; nothing here calls them."""
    try:
        import torchvision  # noqa: F401
    except RuntimeError:
        for name in ("nms", "qnms"):
            LIBRARY.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")


LIBRARY = torch.library.Library("torchvision", "FRAGMENT")


def ours(name, method, posed, options, steps=None):
    solver = SOLVERS[method](steps=steps or STEPS[method], **options)
    posed = decomposed(posed) if method == "Ddrm" else posed
    return lambda: solve(posed, solver, every=1000).x


def peer(name, method, posed, options, steps=None):
    options, steps = dict(options), steps or STEPS[method]
    if "sigmas" in options:
        options["sigmas"] = np.geomspace(*options["sigmas"], steps)
    return theirs(name, method, posed, steps, **options)


def score(maker, name, method, options, prior, seeds):
    """Mean PSNR over bodies."""
    found = []
    for seed in seeds:
        truth = body_slice(random_body(seed), 128)
        x = maker(name, method, problem(name, truth, prior, seed), options)()
        found.append(psnr(x, truth.astype(x.dtype), data_range=1.0))
    return float(np.mean(found))


def tune(prior, seeds):
    for name, method in PAIRS:
        for who, maker, grid in zip(("ours", "deepinv"), (ours, peer), GRIDS[method], strict=True):
            rows = []
            for values in itertools.product(*grid.values()):
                options = dict(zip(grid, values, strict=True))
                rows.append((score(maker, name, method, options, prior, seeds), options))
            for value, options in sorted(rows, key=lambda row: -row[0])[:4]:
                say(f"{name} {method} {who}: {value:.2f} {options}")


def compare(prior, full, seeds, methods):
    say("| problem | method | calls | ours dB | deepinv dB | difference |\n|---|---|---|---|---|---|")
    for name, method in PAIRS:
        if method not in methods:
            continue
        a = score(ours, name, method, OURS.get((name, method), {}), prior, seeds)
        b = score(peer, name, method, THEIRS.get((name, method), {}), full, seeds)
        say(f"| {name} | {method} | {STEPS[method]} | {a:.2f} | {b:.2f} | {a - b:+.2f} |")


def clock(prior, full, rounds):
    say(
        "| problem | method | ours ms/step | deepinv ms/step | network ms/call | ours / deepinv (min to max) |\n"
        "|---|---|---|---|---|---|"
    )
    truth = body_slice(random_body(500), 128)
    for name, method in PAIRS:
        posed, other, steps = problem(name, truth, prior), problem(name, truth, full), TIMED
        case = Case(
            method,
            ours(name, method, posed, OURS.get((name, method), {}), steps),
            {
                "deepinv": peer(name, method, other, THEIRS.get((name, method), {}), steps),
                "network": network_alone(full.network, 128, steps),
            },
        )
        found = measure(case, rounds)
        deepinv, alone = found.peers
        each = [1e3 * timing.spread.median / steps for timing in (found.ours, deepinv, alone)]
        ratio = found.ours.ratio(deepinv)
        say(
            f"| {name} | {method} | {each[0]:.1f} | {each[1]:.1f} | {each[2]:.1f} "
            f"| {ratio.median:.2f} ({ratio.low:.2f} to {ratio.high:.2f}) |"
        )


def say(text):
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("prior")
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--first", type=int, default=0, help="seed of the first body")
    parser.add_argument("--methods", default=",".join(STEPS), help="of those whose PSNR is compared")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--precision", default="float32", help="what our network computes in")
    parser.add_argument(
        "--tune", action="store_true", help="print the best of each grid, on bodies from 500 on"
    )
    parser.add_argument("--psnr-only", action="store_true")
    parser.add_argument("--time-only", action="store_true")
    given = parser.parse_args()
    declare_torchvision()
    warnings.filterwarnings("ignore", module="deepinv|torchvision")
    torch.set_num_threads(given.threads)
    prior, full = DiffusionPrior(given.prior, precision=given.precision), DiffusionPrior(given.prior)
    if given.tune:
        tune(full, range(500, 500 + given.images))
        return
    if not given.time_only:
        compare(prior, full, range(given.first, given.first + given.images), given.methods.split(","))
    if not given.psnr_only:
        clock(prior, full, given.rounds)


if __name__ == "__main__":
    main()
