"""Deconvolve photographs with unknown noise: automatic weights against the best possible Wiener filter.

    python tools/levin.py [--images N] [--kernels N] [--sigma 0.01] [--size 256] [--rule auto]
                           [--methods tv wavelet] [--json FILE]

Set12 pictures of ../shared/data (the middle 256^2), blurred periodically with the kernels of Levin et al. (2009),
white noise. The automatic runs are told neither truth nor noise level: noise="estimate", weight="auto". The Wiener
filter with a Laplacian is given the weight that is best for the truth. PSNR in dB, peak 1.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from recon_operators.convolution import Convolution, wiener
from recon_wavelets import UndecimatedWavelet
from weights import levin, photograph

import recon

IMAGES = ("01", "02", "05", "08", "09", "10")
KERNELS = ("k01", "k02", "k03", "k04")
METHODS = ("tv", "wavelet")


def psnr(x, truth):
    return float(-10 * np.log10(np.mean((x - truth) ** 2)))


def problem(image, kernel, sigma, size, method="tv"):
    """The problem without its weight, and the truth."""
    truth = photograph(f"set12/{IMAGES[image]}", size)
    A = Convolution(levin(KERNELS[kernel]), truth.shape)
    noise = np.random.default_rng([7, image, kernel]).standard_normal(truth.shape)
    prior = recon.TV(1.0) if method == "tv" else recon.L1(1.0) @ UndecimatedWavelet(truth.shape, "db2", 3)
    return recon.Problem(A, A @ truth + sigma * noise, prior, noise="estimate"), truth


def best_wiener(p, truth):
    """The highest PSNR of a Wiener filter with a Laplacian, over all weights."""
    return max(psnr(wiener(p.operator, p.data, w), truth) for w in np.geomspace(1e-5, 10, 49))


def measure(image, kernel, sigma, size, rule="auto", methods=METHODS):
    row = {"image": IMAGES[image], "kernel": KERNELS[kernel]}
    for method in methods:
        p, truth = problem(image, kernel, sigma, size, method)
        result = recon.solve(p, weight=rule)
        row[method] = round(psnr(result.x, truth), 2)
    row["blurred"], row["wiener"] = round(psnr(p.data, truth), 2), round(best_wiener(p, truth), 2)
    return row


def table(rows):
    """Mean PSNR per kernel, and the gain over Wiener."""
    methods = [m for m in METHODS if m in rows[0]]
    names = " | ".join({"tv": "TV", "wavelet": "wavelet l1"}[m] + ", automatic" for m in methods)
    lines = [f"| kernel | blurred | Wiener, best weight | {names} |", "|---|---|---|" + "---|" * len(methods)]
    for kernel in (*dict.fromkeys(row["kernel"] for row in rows), "all"):
        some = [row for row in rows if kernel in (row["kernel"], "all")]
        mean = {key: float(np.mean([row[key] for row in some])) for key in ("blurred", "wiener", *methods)}
        gains = " | ".join(f"{mean[m]:.2f} ({mean[m] - mean['wiener']:+.2f})" for m in methods)
        lines.append(f"| {kernel} | {mean['blurred']:.2f} | {mean['wiener']:.2f} | {gains} |")
    return lines


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=len(IMAGES))
    parser.add_argument("--kernels", type=int, default=len(KERNELS))
    parser.add_argument("--sigma", type=float, default=0.01)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--rule", default="auto")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--json", type=Path, help="file for the figures")
    given = parser.parse_args()
    rows = []
    for kernel in range(given.kernels):
        for image in range(given.images):
            rows.append(measure(image, kernel, given.sigma, given.size, given.rule, given.methods))
            sys.stderr.write(json.dumps(rows[-1]) + "\n")
    sys.stdout.write("\n".join(table(rows)) + "\n")
    if given.json:
        given.json.write_text(json.dumps({"sigma": given.sigma, "size": given.size, "rows": rows}) + "\n")


if __name__ == "__main__":
    main()
