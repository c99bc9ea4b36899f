"""Draw docs/images/convolution.png: what lies outside an image, and blurs with their inverse, from convolution.md.

python docs/draw_convolution.py [FILE]
"""

import sys
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from recon_operators.convolution import Convolution, VaryingConvolution, bilinear_weights, wiener

N, PAD = 96, 24
RED = "#b3312c"
PADS = {"periodic": "wrap", "zero": "constant", "reflect": "reflect", "symmetric": "symmetric"}


def gaussian(radius, width, stretch=1.0, tilt=0.0):
    """A Gaussian of unit sum, stretched along a direction."""
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    along, across = x * np.cos(tilt) + y * np.sin(tilt), y * np.cos(tilt) - x * np.sin(tilt)
    kernel = np.exp(-((along / stretch) ** 2 + across**2) / (2 * width**2))
    return kernel / kernel.sum()


def scene():
    """A house off the middle: it tells up from down and left from right."""
    r, c = np.indices((N, N))
    x = 0.15 + 0.25 * r / N
    x[(r > 40) & (r < 84) & (c > 14) & (c < 62)] = 0.75
    x[(r > 14) & (r <= 40) & (abs(c - 38) < (r - 14))] = 1.0
    x[(r > 52) & (r < 68) & (c > 24) & (c < 38)] = 0.1
    x[(r - 20) ** 2 + (c - 80) ** 2 < 81] = 1.0
    return x


def show(axes, image, title, frame=False):
    axes.imshow(image, cmap="gray", vmin=0, vmax=1)
    axes.set_title(title, fontsize=9)
    axes.axis("off")
    if frame:
        axes.add_patch(Rectangle((PAD - 0.5, PAD - 0.5), N, N, fill=False, ec=RED, lw=1.3))


def boundaries(row, x):
    for axes, (name, mode) in zip(row, PADS.items(), strict=False):
        show(axes, np.pad(x, PAD, mode=mode), f'"{name}"', frame=True)
    unknown = np.full((N + 2 * PAD,) * 2, 0.5)
    unknown[PAD:-PAD, PAD:-PAD] = x
    show(row[4], unknown, '"valid": unknown', frame=True)
    step = 12
    for k in range(0, N + 2 * PAD, step):
        if PAD <= k < N + PAD:
            continue
        row[4].text(
            (N + 2 * PAD) / 2, k + step / 2, "?   ?   ?   ?   ?", fontsize=6, ha="center", va="center"
        )


def blurs(row, x):
    psf = gaussian(12, 1.2, 3.0, 0.6)
    A = Convolution(psf, x.shape)
    y = A @ x + 0.01 * np.random.default_rng(0).standard_normal(x.shape)
    show(row[0], psf / psf.max(), "a kernel")
    show(row[1], y, "its blur, 1 % noise")
    show(row[2], wiener(A, y), "wiener(A, y)")
    places = np.linspace(8, N - 9, 5)
    angles = np.add.outer(places - N / 2, 1j * (places - N / 2)).ravel()
    psfs = np.stack([gaussian(12, 0.9, 1 + abs(z) / 20, np.angle(1j * np.conj(z))) for z in angles])
    V = VaryingConvolution(psfs, bilinear_weights([places, places], x.shape), boundary="zero")
    stars = np.zeros((N, N))
    stars[np.ix_(np.arange(6, N, 12), np.arange(6, N, 12))] = 1.0
    show(row[3], 12 * (V @ stars), "a kernel that varies, on stars")
    show(row[4], V @ x, "and on the image")


def main(path):
    figure = Figure(figsize=(11, 4.9), layout="constrained")
    FigureCanvasAgg(figure)
    rows = figure.subplots(2, 5)
    x = scene()
    boundaries(rows[0], x)
    blurs(rows[1], x)
    figure.savefig(path, dpi=80)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent / "images" / "convolution.png")
