"""The guidance-map model on synthetic scenes with outlier bands and varying mixedness, beside other blind methods.

    python tools/guidance.py [--seeds 5] [--table outliers|noise|map|start|rank]

The scenes: 40 x 40 pixels, 4 endmembers of 224 bands, Dirichlet abundances whose concentration varies smoothly over the
image from near 0.1 (almost pure) to 5 (all mixed), white noise, and 20 bands with noise three times the deviation of
the data and an offset of twice. SAD in degrees over all bands, RMSE in points of 100 (``recon_unmixing.scenes``).
No run uses the truth; the defaults (sparsity, e) were chosen on such scenes and on two real ones.
"""

import argparse
import math
import sys
import time

import numpy as np
from recon_unmixing._pixelwise import correlations, exact
from recon_unmixing.endmembers import extract_endmembers
from recon_unmixing.factorisations import collaborative_nmf, nmf, sparse_nmf
from recon_unmixing.guidance import guided_unmixing, mixedness
from recon_unmixing.scenes import score_scene, spectral_angles

SIDE, BANDS, MEMBERS = 40, 224, 4


def field(rng, side, width):
    """A smooth random image of mean 0 and deviation 1."""
    k = np.fft.fftfreq(side)
    low = np.exp(-2 * (np.pi * width) ** 2 * (k[:, None] ** 2 + k[None, :] ** 2))
    image = np.real(np.fft.ifft2(np.fft.fft2(rng.standard_normal((side, side))) * low))
    return (image - image.mean()) / image.std()


def spectra(rng, count, bands):
    """Slopes with broad humps and narrow absorptions, at least 5 degrees apart."""
    t = np.linspace(0, 1, bands)
    made = np.empty((0, bands))
    while len(made) < count:
        s = rng.uniform(0.25, 0.75) + rng.uniform(-0.25, 0.25) * t
        for _ in range(3):
            s = s + rng.uniform(-0.3, 0.3) * np.exp(-0.5 * ((t - rng.random()) / rng.uniform(0.1, 0.25)) ** 2)
        for _ in range(rng.integers(2, 6)):
            dip = np.exp(-0.5 * ((t - rng.random()) / rng.uniform(0.008, 0.038)) ** 2)
            s = s * (1 - rng.uniform(0.1, 0.7) * dip)
        s = np.clip(s, 0.03, 0.97)[None]
        if not len(made) or spectral_angles(made, s).min() > 5:
            made = np.concatenate([made, s])
    return made


def scene(seed, side=SIDE, count=MEMBERS, bands=BANDS, snr=30.0, outliers=20):
    """Cube without and with outlier bands (H, W, L), endmembers (p, L), abundances (H, W, p), the outlier bands."""
    rng = np.random.default_rng(seed)
    E = spectra(rng, count, bands)
    concentration = np.exp(field(rng, side, 3.0) - 0.7)
    shares = np.exp(np.stack([field(rng, side, 5.0) for _ in range(count)], -1))
    shares = count * shares / shares.sum(-1, keepdims=True)
    drawn = rng.standard_gamma(np.maximum(shares * concentration[..., None], 0.02)) + 1e-12
    A = drawn / drawn.sum(-1, keepdims=True)
    Y0 = A @ E
    clean = Y0 + np.sqrt(np.mean(Y0**2) / 10 ** (snr / 10)) * rng.standard_normal(Y0.shape)
    bad = np.sort(rng.permutation(bands)[:outliers])
    spoilt = clean.copy()
    spoilt[..., bad] += Y0.std() * (3 * rng.standard_normal((side, side, outliers)) + 2)
    return clean, spoilt, E, A, bad


def vca(Y, n, seed):
    rows = Y.reshape(-1, Y.shape[-1])
    E = extract_endmembers(rows, n, seed)
    return E, exact(*correlations(rows, E), 1.0)


def of(unmixing, **options):
    def run(Y, n, seed):
        found = unmixing(Y, n, seed, **options)
        return found.endmembers, found.abundances

    return run


METHODS = {
    "VCA + FCLS": vca,
    "NMF": of(nmf),
    "L1/2-NMF": of(sparse_nmf),
    "R-CoNMF": of(collaborative_nmf),
    "guided_unmixing": of(guided_unmixing),
    "guided_unmixing, multiplicative": of(guided_unmixing, method="multiplicative", iterations=1000),
}


def score(E, A, Y, true_E, true_A):
    p, L = true_E.shape
    found = score_scene(E, A.reshape(-1, p), Y.reshape(-1, L), true_E, true_A.reshape(-1, p))
    return found.sad, found.rmse


def cell(values):
    return f"{np.mean(values):.3f} +- {np.std(values):.3f}"


def outliers(seeds):
    yield "| method | clean: SAD | RMSE | 20 outlier bands: SAD | SAD in the good bands | RMSE | seconds |"
    yield "|---|---|---|---|---|---|---|"
    for name, run in METHODS.items():
        rows, spent = [], 0.0
        for seed in range(seeds):
            clean, spoilt, E, A, bad = scene(seed)
            good = np.setdiff1d(np.arange(BANDS), bad)
            first = score(*run(clean, MEMBERS, seed), clean, E, A)
            begun = time.perf_counter()
            found, shares = run(spoilt, MEMBERS, seed)
            spent += time.perf_counter() - begun
            sad, rmse = score(found, shares, spoilt, E, A)
            rows.append(
                (*first, sad, score(found[:, good], shares, spoilt[..., good], E[:, good], A)[0], rmse)
            )
        yield f"| {name} | {' | '.join(cell(column) for column in np.transpose(rows))} | {spent / seeds:.2f} |"


def noise(seeds):
    yield "| SNR, endmembers | VCA + FCLS, clean: SAD | RMSE | guided, clean: SAD | RMSE | outlier bands: SAD | RMSE |"
    yield "|---|---|---|---|---|---|---|"
    for snr in (20, 30, 40):
        for count in (3, 6):
            rows = []
            for seed in range(seeds):
                clean, spoilt, E, A, _ = scene(seed, snr=snr, count=count)
                rows.append([])
                for run, Y in ((vca, clean), (of(guided_unmixing), clean), (of(guided_unmixing), spoilt)):
                    rows[-1] += score(*run(Y, count, seed), Y, E, A)
            yield f"| {snr} dB, {count} | {' | '.join(cell(column) for column in np.transpose(rows))} |"


def guidance(seeds):
    from scipy.stats import spearmanr

    yield "| sparsity, smooth | correlation with 1 - mixedness | rank correlation | with max abundance | SAD | RMSE |"
    yield "|---|---|---|---|---|---|"
    for sparsity, smooth in ((0, 0.25), (1, 0.25), (3, 0.25), (10, 0), (10, 0.25), (10, 1), (30, 0.25)):
        rows = []
        for seed in range(seeds):
            _, Y, E, A, _ = scene(seed)
            found = guided_unmixing(Y, MEMBERS, seed, sparsity=float(sparsity), smooth=float(smooth))
            h, pure = found.guidance.ravel(), 1 - mixedness(A).ravel()
            rows.append(
                (np.corrcoef(h, pure)[0, 1], spearmanr(h, pure)[0], np.corrcoef(h, A.max(-1).ravel())[0, 1])
            )
            rows[-1] += score(found.endmembers, found.abundances, Y, E, A)
        yield f"| {sparsity}, {smooth} | {' | '.join(cell(column) for column in np.transpose(rows))} |"


def start(seeds):
    yield "| start, method | final F | iterations | SAD | RMSE | largest rise of F |"
    yield "|---|---|---|---|---|---|"
    for begin in ("random", "vca", "minvol", "best"):
        for method, limit in (("accelerated", 300), ("multiplicative", 3000)):
            rows = []
            for seed in range(seeds):
                _, Y, E, A, _ = scene(seed)
                found = guided_unmixing(Y, MEMBERS, seed, start=begin, method=method, iterations=limit)
                fit = score(found.endmembers, found.abundances, Y, E, A)
                rise = max(np.diff(found.objective), default=-math.inf)
                rows.append((found.objective[-1], len(found.objective) - 1, *fit, rise))
            *columns, rises = np.transpose(rows)
            yield f"| {begin}, {method} | {' | '.join(cell(column) for column in columns)} | {max(rises):.1e} |"


def rank(seeds):
    yield "| R-CoNMF from 8 endmembers, true number | found, per seed | SAD of those nearest |"
    yield "|---|---|---|"
    for count in (3, 4, 5):
        sizes, angles = [], []
        for seed in range(seeds):
            clean, _, E, _, _ = scene(seed, count=count)
            found = collaborative_nmf(clean, 8, seed).endmembers
            sizes.append(len(found))
            angles.append(spectral_angles(E, found).min(axis=1).mean())
        yield f"| {count} | {', '.join(map(str, sizes))} | {cell(angles)} |"


TABLES = {"outliers": outliers, "noise": noise, "map": guidance, "start": start, "rank": rank}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--table", choices=list(TABLES))
    options = parser.parse_args()
    for name, table in TABLES.items():
        if options.table in (None, name):
            for line in table(options.seeds):
                sys.stdout.write(line + "\n")
                sys.stdout.flush()
            sys.stdout.write("\n")


if __name__ == "__main__":
    main()
