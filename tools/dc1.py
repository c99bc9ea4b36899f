"""Library unmixing of DC1 (75 x 75 pixels, 240 spectra of which 5 are in the scene): signal to reconstruction error.

    python tools/dc1.py [--seeds 41000] [--only WORD] [--synthetic]

White noise, full image; SRE = 20 log10(||X|| / ||X_hat - X||) in dB. Every weight follows from the noise level s (its
standard deviation), which is the true one, or, "estimated", what the scene itself shows (``estimate_sigma``).
"--synthetic" takes the generated scenes of ../shared/reference, every third row and column, instead.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import recon_unmixing as ru
from scipy.io import loadmat

import recon
from recon import L1, NonNegative, Problem

SHARED = Path(__file__).resolve().parents[2] / "shared"


def evidence(mixing, cube, s, **options):
    return recon.solve(Problem(mixing, cube, NonNegative(), noise=s), ru.EvidenceUnmixing(**options))


def estimated(mixing, cube, s):
    return evidence(mixing, cube, None)


def spatial(mixing, cube, s):
    return recon.solve(Problem(mixing, cube, L1(s**2) + NonNegative()), ru.SpatialLasso())


def independent(mixing, cube, s):
    return evidence(mixing, cube, s, abundances="independent")


METHODS = {
    "SpatialLasso, weight s^2": spatial,
    "EvidenceUnmixing, independent": independent,
    "EvidenceUnmixing": evidence,
    "EvidenceUnmixing, noise estimated": estimated,
}


def dc1(snr, seed):
    """Cube, library (M, L), truth (N, M), standard deviation of the noise."""
    folder = SHARED / "data" / "hsi" / "dc1"
    D, X = loadmat(folder / "EE.mat")["EE"], loadmat(folder / "XT.mat")["XT"].reshape(240, -1)
    clean = D @ X
    s = np.sqrt((clean**2).mean() / 10 ** (snr / 10))
    noisy = clean + s * np.random.RandomState(seed).randn(*clean.shape)
    return np.ascontiguousarray(noisy.T).reshape(75, 75, -1), D.T, X.T, float(s)


def synthetic(case):
    """The same of a generated scene."""

    def make(snr, seed):
        sys.path.insert(0, str(SHARED / "reference"))
        import gen_unmixing

        c = gen_unmixing.thin(gen_unmixing.make(case, seed, snr), 3)
        s = np.sqrt((gen_unmixing.make(case, seed, snr).Y0 ** 2).mean() / 10 ** (snr / 10))
        return np.ascontiguousarray(c.Y.T).reshape(c.H, c.W, -1), c.D.T, c.X.T, float(s)

    return make


def sre(A, truth):
    return 20.0 * np.log10(np.linalg.norm(truth) / np.linalg.norm(A.reshape(truth.shape) - truth))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seeds", default="", help="of the noise; 41000 (of the scene: 0) by default")
    parser.add_argument("--only", default="", help="methods whose name holds this")
    parser.add_argument("--synthetic", action="store_true")
    options = parser.parse_args()
    scenes = (
        {"library": synthetic("library"), "smooth": synthetic("smooth")}
        if options.synthetic
        else {"dc1": dc1}
    )
    seeds = options.seeds or ("0" if options.synthetic else "41000")
    sys.stdout.write(
        "| scene | seed | method | 20 dB | 30 dB | 40 dB | seconds |\n|---|---|---|---|---|---|---|\n"
    )
    for name, make in scenes.items():
        for seed in map(int, seeds.split(",")):
            data = [make(snr, seed) for snr in (20, 30, 40)]
            for method, run in METHODS.items():
                if options.only not in method or ("estimated" in method and options.synthetic):
                    continue
                cells, start = [], time.process_time()
                for cube, D, truth, s in data:
                    result = run(ru.Mixing(D, pixels=cube.shape[:2]), cube, s)
                    atoms = np.count_nonzero(np.any(result.x != 0, axis=(0, 1)))
                    cells.append(f"{sre(result.x, truth):.2f} ({atoms})")
                spent = (time.process_time() - start) / len(data)
                sys.stdout.write(f"| {name} | {seed} | {method} | {' | '.join(cells)} | {spent:.2f} |\n")
                sys.stdout.flush()


if __name__ == "__main__":
    main()
