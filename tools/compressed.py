"""Block compressed sensing and compressed-sensing MRI on shared images: PSNR of wavelets, TV and plug-and-play.

    python tools/compressed.py [blocks] [mri] [--images N] [--write]

blocks   Set11, 33 x 33 blocks of ISTA-Net's sizes, exact data, nothing set by hand
mri      brain slices 256^2, one coil, variable-density points, 1 % noise of known level

Weights come from the data (``weight="auto"``, or none where the data are exact). DnCNN is the one of
../shared/data/weights, trained for 25/255; BlockMatching needs no training. ``--write`` puts the table into
docs/benchmarks/compressed.json.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
from PIL import Image
from recon_operators.fourier import CartesianMRI, variable_density
from recon_operators.sensing import BlockSensing
from recon_proximal import Hqs, Pdhg, load_dncnn
from recon_wavelets import BlockMatching, Wavelet

import recon
from recon import L1, TV, Problem
from recon.metrics import psnr
from recon.priors import Denoiser

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data"
SET11 = ("Monarch", "barbara", "boats", "cameraman", "house")
ROWS = {"10 %": 109, "25 %": 272, "50 %": 545}  # of ISTA-Net's matrices for 33 x 33 blocks


def exact(operator, data, prior):
    """min prior(x) subject to A x = y: least squares with a weight near 0."""
    small = 1e-3 * float(abs(operator.H @ data).max())
    return recon.solve(Problem(operator, data, small * prior), Pdhg(), stop=600, every=200).x


def blocks(count):
    for name in SET11[:count]:
        image = np.asarray(Image.open(DATA / "images" / "set11" / f"{name}.tif").convert("L"), dtype=float) / 255
        if image.shape != (256, 256):
            continue
        padded = np.pad(image, ((0, 8), (0, 8)), mode="symmetric")
        for ratio, rows in ROWS.items():
            A = BlockSensing(padded.shape, rows / 33**2, block=33)
            y = A @ padded
            methods = {
                "least squares": lambda A=A, y=y: A.H @ y,
                "wavelet": lambda A=A, y=y: exact(A, y, L1() @ Wavelet(A.domain.shape, "sym4", 3)),
                "TV": lambda A=A, y=y: exact(A, y, TV()),
                "DnCNN": lambda A=A, y=y: plug(A, y, network(), None),
                "block matching": lambda A=A, y=y: plug(A, y, Denoiser(BlockMatching(stride=4, reach=10)), None),
            }
            yield from rated("block CS", ratio, name, methods, lambda x, t=image: psnr(np.clip(x[:256, :256], 0, 1), t, data_range=1.0))


def mri(count):
    for path in sorted((DATA / "mri" / "istanet_brain").iterdir())[:: max(1, 25 // count)][:count]:
        image = np.asarray(Image.open(path).convert("L"), dtype=float) / 255
        rng = np.random.default_rng(0)
        for factor in (4, 8):
            A = CartesianMRI(variable_density(image.shape, factor, 16, axes=(-2, -1)))
            sigma = 0.01
            noise = rng.standard_normal((2, *A.codomain.shape))
            y = A @ image.astype(complex) + sigma * (noise[0] + 1j * noise[1])

            def solved(prior, A=A, y=y):
                return recon.solve(Problem(A, y, prior, noise=sigma), weight="auto", stop=300).x

            methods = {
                "least squares": lambda A=A, y=y: A.H @ y,
                "wavelet": lambda f=solved: f(L1() @ Wavelet(image.shape, "sym4", 4, kind="complex")),
                "TV": lambda f=solved: f(TV()),
                "DnCNN": lambda A=A, y=y: plug(A, y, network(), sigma),
                "block matching": lambda A=A, y=y: plug(A, y, Denoiser(BlockMatching(stride=4, reach=10)), sigma),
            }
            yield from rated("MRI", f"R = {factor}", path.stem, methods, lambda x, t=image: psnr(np.clip(abs(x), 0, 1), t, data_range=1.0))


def network():
    return Denoiser(load_dncnn(DATA / "weights" / "dncnn_25.npz"), level=25 / 255)


def plug(A, y, prior, sigma):
    solver = Hqs(steps=60)
    return recon.solve(Problem(A, y, prior, noise=sigma), solver, stop=60, every=60).x


def rated(case, ratio, image, methods, score):
    for name, method in methods.items():
        begin = time.process_time()
        yield {"case": case, "ratio": ratio, "image": image, "method": name, "psnr": round(score(method()), 2), "cpu_s": round(time.process_time() - begin, 1)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", default=["blocks", "mri"], choices=["blocks", "mri", []])
    parser.add_argument("--images", type=int, default=5)
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    rows = []
    for case in arguments.cases or ["blocks", "mri"]:
        for row in {"blocks": blocks, "mri": mri}[case](arguments.images):
            rows.append(row)
            print(*row.values(), sep="\t", flush=True)
    keys = sorted({(r["case"], r["ratio"], r["method"]) for r in rows})
    print("\nmeans")
    for key in keys:
        values = [r["psnr"] for r in rows if (r["case"], r["ratio"], r["method"]) == key]
        print(*key, f"{np.mean(values):.2f} dB", sep="\t")
    if arguments.write:
        target = ROOT / "docs" / "benchmarks" / "compressed.json"
        target.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
