"""Draw docs/images/wavelets.png: an image, its wavelet coefficients with the names of the bands, its starlet planes.

    python docs/draw_wavelets.py [FILE]
"""

import sys
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from recon_datasets import SheppLogan
from recon_wavelets import Starlet, Wavelet

SIZE = 128
RED = "#b3312c"


def picture():
    """The Shepp-Logan phantom with a few stars on it: edges and round things."""
    image = SheppLogan(size=SIZE, views=4)[0].truth.copy()
    y, x = np.indices(image.shape)
    rng = np.random.default_rng(4)
    for width in (1.0, 1.0, 1.0, 2.5, 2.5, 5.0):
        row, column = rng.uniform(20, SIZE - 20, 2)
        image += 0.6 * np.exp(-((x - column) ** 2 + (y - row) ** 2) / (2 * width**2))
    return image


def show(axes, values, title, limit=None):
    low, high = (None, None) if limit is None else (-limit, limit)
    axes.imshow(values, cmap="gray", vmin=low, vmax=high, interpolation="nearest")
    axes.set_title(title, fontsize=9)
    axes.set_axis_off()


def coefficients(axes, image):
    """Mallat's layout, every band stretched to its own largest value."""
    W = Wavelet(image.shape, "db2", 3)
    c = W @ image
    for (_, letters), part in W.bands(c).items():
        part /= np.abs(part).max() * (0.5 if "d" in letters else 1.0)
    show(axes, c, "Wavelet: one array, bands by (level, letters)", 1.0)
    for (level, letters), part in W.bands(np.indices(image.shape, dtype=float)).items():
        if level <= 2:
            row, column = (float(index.mean()) for index in part)
            style = {"color": RED, "fontsize": 8, "ha": "center", "va": "center", "backgroundcolor": "white"}
            axes.text(column, row, f"{level}, {letters}", **style)


def main(target):
    image = picture()
    figure = Figure(figsize=(9.2, 5.4), layout="constrained")
    FigureCanvasAgg(figure)
    top, bottom = figure.subfigures(2, 1, height_ratios=(3, 2))
    left, right = top.subplots(1, 2)
    show(left, image, "image")
    coefficients(right, image)
    planes = Starlet(image.shape, 4) @ image
    for k, (axes, plane) in enumerate(zip(bottom.subplots(1, 5), planes, strict=True), start=1):
        last = k == len(planes)
        title = f"Starlet: {k - 1}, a" if last else f"Starlet: {k}, d"
        show(axes, plane, title, None if last else 0.6 * np.abs(plane).max())
    figure.savefig(target, dpi=100, metadata={"Software": None})


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent / "images" / "wavelets.png")
