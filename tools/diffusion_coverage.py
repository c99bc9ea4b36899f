"""How honest the spread of the chains is: how often the truth lies within the 90 % interval, per sampler.

    python tools/diffusion_coverage.py --count 100                     about 20 minutes on one core

Held-out bodies (`recon_datasets.Bodies`), parallel beam, 1 % noise, simulated on a finer grid. For each sampler: the
share of pixels whose truth lies within ``Result.interval(0.9)``; the same inside the body, where there is something to
be unsure of; the root mean square of (truth - mean) / spread, near 1 where the spread is right; PSNR of the mean.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
from recon_datasets import Bodies
from recon_diffusion import Daps, Ddnm, Dds, DiffPir, DiffusionPrior, PiGdm, RedDiff

import recon

SAMPLERS = {
    "daps": lambda chains: Daps(chains=chains, high=3.0, low=0.01),
    "diffpir": lambda chains: DiffPir(chains=chains),
    "dds": lambda chains: Dds(chains=chains),
    "ddnm": lambda chains: Ddnm(chains=chains, steps=30),
    "red-diff": lambda chains: RedDiff(chains=chains, steps=30),
    "pigdm": lambda chains: PiGdm(chains=chains, steps=30),
    "pigdm-ancestral": lambda chains: PiGdm(chains=chains, steps=30, transition="ancestral"),
}


def say(text: str) -> None:
    """Write a line at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--prior", default="ct-128")
    parser.add_argument("--precision", default="float32", help="of the network; bfloat16 takes half the time")
    parser.add_argument("--samplers", default=",".join(SAMPLERS))
    parser.add_argument("--views", type=int, default=16)
    parser.add_argument("--chains", type=int, default=16)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    prior = DiffusionPrior(options.prior, precision=options.precision)
    scans = Bodies(views=options.views, size=options.size, count=options.count, first=options.first)
    say("sampler            within  in body   rms z   PSNR   discrepancy  seconds")
    rows = {}
    for name in options.samplers.split(","):
        figures, begin = [], time.perf_counter()
        for index in range(options.count):
            scan = scans[index]
            posed = recon.Problem(scan.operator, scan.data.astype(np.float32), prior, noise=scan.noise)
            result = recon.solve(posed, SAMPLERS[name](options.chains), seed=index, every=1000)
            low, high = result.interval(0.9)
            inside = (scan.truth >= low) & (scan.truth <= high)
            body = scan.truth > 0.05
            z = (scan.truth - result.x)[body] / np.sqrt(result.variance[body] + 1e-12)
            error = np.mean((result.x - scan.truth) ** 2)
            psnr = 10 * np.log10(scan.truth.max() ** 2 / error)
            figures.append(
                (
                    inside.mean(),
                    inside[body].mean(),
                    np.sqrt(np.mean(z**2)),
                    psnr,
                    result.history[-1]["discrepancy"],
                )
            )
        rows[name] = [*np.mean(figures, axis=0), time.perf_counter() - begin]
        shown = rows[name]
        say(
            f"{name:18s} {100 * shown[0]:5.1f} % {100 * shown[1]:5.1f} % {shown[2]:7.2f} {shown[3]:7.2f} "
            f"{shown[4]:10.2f} {shown[5]:9.0f}"
        )
    if options.json:
        options.json.write_text(json.dumps(rows, default=float, indent=1))


if __name__ == "__main__":
    main()
