"""Blind unmixing of two real scenes, all methods: mean and spread over seeds of SAD, RMSE and free-scale RMSE.

    python tools/real_scenes.py [--seeds 5] [--only WORD]

SAD in degrees, RMSE in points of 100 (``recon_unmixing.scenes`` says how). "@l2": every pixel divided by its 2-norm
first, the one option that is set per scene. The reference abundances are products of other methods: Samson's are NNLS
with free pixel scale, Moffett's FCLS. Runs are chosen by their objective; the methods' defaults were made
with these two scenes in view.
"""

import argparse
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import recon_unmixing
from recon_unmixing._pixelwise import correlations, exact
from recon_unmixing.archetypal import archetypal_analysis, normalise_pixels
from recon_unmixing.scenes import score_scene
from scipy.io import loadmat

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "hsi"


def scene(name):
    """Pixels (N, L), endmembers (p, L), abundances (N, p); pixels in the order of MATLAB, down the columns."""
    content = loadmat(DATA / f"{name}.mat")
    p = len(content["GT"])
    abundances = content["S_GT"].transpose(1, 0, 2).reshape(-1, p)
    return np.ascontiguousarray(content["Y"].T), content["GT"].astype(float), abundances


def vca(Y, p, seed):
    E = recon_unmixing.extract_endmembers(Y, p, seed=seed)
    return E, exact(*correlations(Y, E), 1.0)


def archetypes(Y, p, seed, **options):
    found = archetypal_analysis(Y, p, seed=seed, **options)
    return found.endmembers, found.abundances


def blind(Y, p, seed, method, **options):
    found = method(Y, p, seed, **options)
    return found.endmembers, found.abundances


METHODS = {
    "VCA + FCLS": vca,
    "NMF": partial(blind, method=recon_unmixing.nmf),
    "L1/2-NMF": partial(blind, method=recon_unmixing.sparse_nmf),
    "R-CoNMF": partial(blind, method=recon_unmixing.collaborative_nmf),
    "guided_unmixing(start='vca')": partial(blind, method=recon_unmixing.guided_unmixing, start="vca"),
    "guided_unmixing()": partial(blind, method=recon_unmixing.guided_unmixing),
    "archetypal analysis": partial(archetypes, loss="l2", bands="even", volume=0),
    "robust archetypal analysis": partial(archetypes, bands="even", volume=0),
    "robust, volume": partial(archetypes, bands="even"),
    "robust, bands": partial(archetypes, volume=0),
    "archetypal_analysis()": archetypes,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", default="", help="methods whose name holds this")
    options = parser.parse_args()
    write = sys.stdout.write
    write(
        "| scene | method | SAD | RMSE | free-scale RMSE | angles | seconds |\n|---|---|---|---|---|---|---|\n"
    )
    for name, p in (("samson", 3), ("moffett", 3)):
        Y, E, A = scene(name)
        for suffix, pixels in (("", Y), (" @l2", normalise_pixels(Y)[0])):
            for method, run in METHODS.items():
                if options.only not in method + suffix:
                    continue
                rows, start = [], time.perf_counter()
                for seed in range(options.seeds):
                    score = score_scene(*run(pixels, p, seed), pixels, E, A)
                    rows.append((score.sad, score.rmse, score.free_rmse, *score.angles))
                spent = (time.perf_counter() - start) / options.seeds
                mean, spread = np.mean(rows, axis=0), np.std(rows, axis=0)
                cells = [f"{m:.3f} +- {s:.3f}" for m, s in zip(mean[:3], spread[:3], strict=True)]
                cells.append(" / ".join(f"{angle:.2f}" for angle in mean[3:]))
                write(f"| {name} | {method}{suffix} | {' | '.join(cells)} | {spent:.1f} |\n")
                sys.stdout.flush()


if __name__ == "__main__":
    main()
