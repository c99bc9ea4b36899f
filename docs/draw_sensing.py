"""Draw docs/images/sensing.png: one image measured at 25 % in four ways, and recovered with total variation.

    python docs/draw_sensing.py [FILE]
"""

import sys
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image
from recon_datasets import SheppLogan
from recon_operators.sensing import BlockSensing, PartialHadamard, SinglePixel

import recon
from recon import metrics

SIZE = 128
COUNT = SIZE * SIZE // 4


def operators():
    shape = (SIZE, SIZE)
    yield "sequency", SinglePixel(shape, COUNT) / SIZE
    yield "cake-cutting", SinglePixel(shape, COUNT, "cake-cutting") / SIZE
    yield "scrambled Hadamard", PartialHadamard(shape, COUNT, scramble=True)
    yield "blocks 32 x 32", BlockSensing(shape, 0.25, 32)


def main(target):
    image = SheppLogan(size=SIZE, views=4)[0].truth
    rng = np.random.default_rng(0)
    figure = Figure(figsize=(9.2, 4.7))
    FigureCanvasAgg(figure)
    grid = figure.subplots(2, 5)
    show(grid[0, 0], image, "image")
    grid[1, 0].axis("off")
    for (top, bottom), (name, A) in zip(grid.T[1:], operators(), strict=True):
        y = A @ image
        y = y + 0.01 * rng.standard_normal(y.shape)
        start = A.pinv(y)
        result = recon.solve(recon.Problem(A, y, recon.TV(0.005) + recon.NonNegative()), stop=300)
        show(top, start, f"{name}\nleast norm, {psnr(start, image):.1f} dB")
        show(bottom, result.x, f"TV, {psnr(result.x, image):.1f} dB")
    figure.tight_layout(pad=0.4)
    figure.set_dpi(100)
    figure.canvas.draw()
    grey = np.asarray(figure.canvas.buffer_rgba())[..., 0]  # a third of the size
    Image.fromarray(grey).quantize(32).save(target, optimize=True)


def psnr(x, image):
    return metrics.psnr(x, image, data_range=1.0)


def show(axes, image, title):
    axes.imshow(image, cmap="gray", vmin=0, vmax=0.6)
    axes.set_title(title, fontsize=8.5)
    axes.axis("off")


if __name__ == "__main__":
    here = Path(__file__).resolve().parent
    main(sys.argv[1] if len(sys.argv) > 1 else here / "images" / "sensing.png")
