"""Block compressed sensing and compressed-sensing MRI on shared images: PSNR of wavelets, TV and plug-and-play.

    python tools/compressed.py [blocks | mri] [--images N]

blocks   Set11, 33 x 33 blocks with ISTA-Net's numbers of rows, exact data
mri      brain slices 256^2, one coil, variable-density points, noise of 1 % of white in each part

Nothing is set by hand: weights come from the data (``weight="auto"``; near 0 where the data are exact). The
networks are those of ../shared/data/weights. FFDNet takes any noise level. DnCNN knows only 25/255: it starts from
the TV image, and removes lower levels s as Tweedie's formula has it, v + (s / level)^2 (D(v) - v). BlockMatching
needs no training.
"""

import argparse
import sys
import time
from collections import defaultdict
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image
from recon_operators.fourier import CartesianMRI, masks
from recon_operators.sensing import BlockSensing
from recon_proximal import Hqs, Pdhg, load_dncnn, load_ffdnet
from recon_wavelets import BlockMatching, Wavelet

import recon
from recon import L1, TV, Problem
from recon.metrics import psnr
from recon.priors import Denoiser

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
SET11 = ("Monarch", "barbara", "boats", "cameraman", "house")
ROWS = {"10 %": 109, "25 %": 272, "50 %": 545}
LEVEL, STEPS, SIGMA = 25 / 255, 80, 0.01


def read(path):
    return np.asarray(Image.open(path).convert("L"), dtype=float) / 255


def blocks(count):
    """Case, image, truth, problem without prior, and how images of priors are made."""
    for ratio, rows in ROWS.items():
        for name in SET11[:count]:
            image = read(DATA / "images" / "set11" / f"{name}.tif")
            padded = np.pad(image, ((0, 8), (0, 8)), mode="symmetric")
            operator = BlockSensing(padded.shape, rows / 33**2, block=33)
            yield f"block CS {ratio}", name, image, Problem(operator, operator @ padded), exactly


def mri(count):
    for path in sorted((DATA / "mri" / "istanet_brain").iterdir())[:count]:
        image = read(path)
        for factor in (4, 8):
            operator = CartesianMRI(masks.variable_density(image.shape, factor, 16, axes=(-2, -1)))
            parts = np.random.default_rng([1, factor]).standard_normal((2, *operator.codomain.shape))
            data = operator @ image.astype(complex) + SIGMA * (parts[0] + 1j * parts[1])
            yield f"MRI R = {factor}", path.stem, image, Problem(operator, data, noise=SIGMA), automatically


def exactly(problem, prior):
    """min prior(x) subject to A x = y: least squares with a weight near 0."""
    small = 1e-3 * float(abs(problem.operator.H @ problem.data).max())
    return recon.solve(Problem(problem.operator, problem.data, small * prior), Pdhg(), stop=400, every=100).x


def automatically(problem, prior):
    return recon.solve(Problem(problem.operator, problem.data, prior, noise=SIGMA), weight="auto").x


def plugged(problem, denoiser, solver, x0=None):
    problem = Problem(problem.operator, problem.data, Denoiser(denoiser), noise=problem.noise)
    return recon.solve(problem, solver, x0=x0, stop=solver.steps, every=solver.steps).x


@cache
def networks():
    return load_dncnn(DATA / "weights" / "dncnn_25.npz"), load_ffdnet(DATA / "weights" / "ffdnet_gray.npz")


def dncnn(v, sigma):
    return v + min(1.0, (sigma / LEVEL) ** 2) * (networks()[0](v, LEVEL) - v)


def images(problem, solved):
    """Name and image of every method."""
    spec = problem.operator.domain
    yield "least squares", problem.operator.H @ problem.data
    yield "wavelet", solved(problem, L1() @ Wavelet(spec.shape, "sym4", 3, kind=spec.kind))
    tv = solved(problem, TV())
    yield "TV", tv
    yield "DnCNN", plugged(problem, dncnn, Hqs(steps=12, first=LEVEL / 2), tv)
    yield "FFDNet", plugged(problem, networks()[1], Hqs(steps=STEPS))
    yield "block matching", plugged(problem, BlockMatching(stride=4, reach=10), Hqs(steps=STEPS))


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("case", choices=["blocks", "mri"])
    parser.add_argument("--images", type=int, default=5)
    arguments = parser.parse_args()
    means = defaultdict(lambda: defaultdict(list))
    for case, name, truth, problem, solved in {"blocks": blocks, "mri": mri}[arguments.case](
        arguments.images
    ):
        begin = time.process_time()
        for method, x in images(problem, solved):
            rows, columns = truth.shape
            value = psnr(
                np.clip(abs(x) if x.dtype.kind == "c" else x, 0, 1)[:rows, :columns], truth, data_range=1.0
            )
            means[case][method].append(value)
            sys.stdout.write(
                f"{case}\t{name}\t{method}\t{value:.2f} dB\t{time.process_time() - begin:.1f} s\n"
            )
            sys.stdout.flush()
            begin = time.process_time()
    for case, methods in means.items():
        for method, values in methods.items():
            sys.stdout.write(f"mean\t{case}\t{method}\t{np.mean(values):.2f} dB\t{len(values)} images\n")


if __name__ == "__main__":
    main()
