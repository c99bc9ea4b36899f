"""Draw docs/images/multiband.png: bands, broad band, result and truth of a synthetic scene, and the errors.

python docs/draw_multiband.py [FILE]
"""

import sys
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from recon_operators.convolution import Convolution, Multiband
from recon_proximal import Fista
from recon_wavelets import multiband_deconvolution

import recon

N, LAST = 64, 60
NOISE = np.array([0.03, 0.03, 0.03, 0.006])
COLOURS = ("#2b6cb0", "#2f855a", "#b3312c")


def gaussian(shape, row, column, width):
    r, c = np.indices(shape)
    return np.exp(-((r - row) ** 2 + (c - column) ** 2) / (2 * width**2))


def kernel(width, size=21):
    h = gaussian((size, size), size // 2, size // 2, width)
    return h / h.sum()


def scene():
    """A spiral with knots, bluer than its bulge."""
    bulge = 1.5 * gaussian((N, N), 32, 32, 3.0)
    arms = np.zeros((N, N))
    for k, a in enumerate(np.linspace(0.6, 4.2, 11)):
        for side in (0, np.pi):
            radius = 4 + 5.2 * a
            where = 32 + radius * np.sin(a + side), 32 + radius * np.cos(a + side)
            arms += (0.5 + 0.5 * (k % 3 == 0)) * gaussian((N, N), *where, 1.3 + 0.8 * (k % 2))
    return np.stack([0.5 * bulge + arms, 0.8 * bulge + 0.8 * arms, bulge + 0.4 * arms])


def main(path):
    truth = scene()
    psfs = np.stack([kernel(w) for w in (3.2, 3.0, 2.8)])
    A = Multiband(psfs, kernel(1.0), np.array([0.4, 0.35, 0.25]), (N, N))
    rng = np.random.default_rng(0)
    coarse, broad = A @ truth
    coarse = coarse + NOISE[:3, None, None] * rng.standard_normal(coarse.shape)
    broad = broad + NOISE[3] * rng.standard_normal(broad.shape)
    i = np.arange(-5, 6)
    line = np.exp(-(i**2) * np.log(2))
    R = Convolution(np.multiply.outer(line, line) / line.sum() ** 2, (N, N))

    def errors(x):
        return ((x - truth) ** 2).sum((1, 2)) / (truth**2).sum((1, 2))

    ours, bare = [], []
    data = coarse, broad
    multiband_deconvolution(A, data, NOISE, stop=LAST, observers=[lambda s, r: ours.append(errors(R @ s.x))])
    result = multiband_deconvolution(A, data, NOISE)
    weights = (1 / NOISE[:3, None, None] ** 2, np.full((1, 1), 1 / NOISE[3] ** 2))
    problem = recon.Problem(A, data, recon.NonNegative(), recon.WeightedLeastSquares(weights))
    start = np.kron(coarse, np.ones((2, 2))) / 4
    watch = [lambda s, r: bare.append(errors(s.x))]
    recon.solve(problem, Fista(restart=False), x0=start, stop=4 * LAST, observers=watch)

    figure = Figure(figsize=(11, 2.9), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, 5, width_ratios=(1, 1, 1, 1, 1.5))
    images = (
        (coarse[0] / 4, "coarse, first band"),
        (broad, "broad band"),
        (result.x[0], "result"),
        (truth[0], "truth"),
    )
    for one, (image, title) in zip(axes, images, strict=False):
        one.imshow(image, cmap="magma", vmin=0, vmax=truth[0].max())
        one.set_title(title, fontsize=9)
        one.axis("off")
    for b, colour in enumerate(COLOURS):
        axes[4].loglog(np.arange(1, LAST + 1), np.array(ours)[:, b], color=colour)
        axes[4].loglog(np.arange(1, 4 * LAST + 1), np.array(bare)[:, b], "--", color=colour)
    axes[4].axvline(result.iterations, color="0.6", lw=0.8)
    axes[4].set_title("squared error (dashed: x >= 0 alone)", fontsize=9)
    axes[4].set_xlabel("iteration", fontsize=8)
    axes[4].tick_params(labelsize=7, which="both")
    figure.savefig(path, dpi=80)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent / "images" / "multiband.png")
