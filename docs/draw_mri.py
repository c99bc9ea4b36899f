"""Draw docs/images/mri.png: a real 8-coil brain scan with one sample in eight, from zero-filled to SENSE.

    python docs/draw_mri.py KSPACE.npy [FILE]

KSPACE.npy holds (coils, rows, columns), 0 where nothing was measured. The picture in the docs is made of
data/cartesian_ksp.npy of github.com/mikgroup/sigpy-mri-tutorial (BSD-3-Clause).
"""

import sys
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image
from recon_operators.fourier import CartesianMRI, espirit, sum_of_squares

from recon.linalg import cgls


def main(source, target):
    kspace = np.load(source)
    mask = (kspace != 0).any(axis=0)
    maps = espirit(kspace, calibration=24)
    zero_filled = sum_of_squares(CartesianMRI(mask).H @ kspace)
    image = abs(cgls(CartesianMRI(mask, maps), kspace, damp=0.01, iterations=40, tol=1e-4))
    mosaic = np.concatenate([np.concatenate(list(abs(maps[i : i + 2, ::2, ::2])), axis=1) for i in range(0, 8, 2)])
    figure = Figure(figsize=(9.6, 3.7), dpi=75, layout="constrained")
    figure.get_layout_engine().set(h_pad=0.1)
    FigureCanvasAgg(figure)
    panels = [
        (f"mask, R = {mask.size / mask.sum():.1f}", mask.astype(float)),
        ("zero-filled", zero_filled),
        ("|sensitivities|, ESPIRiT", mosaic),
        ("SENSE", image),
    ]
    widths = [1, 1, mosaic.shape[1] / mosaic.shape[0] * mask.shape[0] / mask.shape[1], 1]
    for axes, (title, picture) in zip(figure.subplots(1, 4, width_ratios=widths), panels, strict=True):
        axes.imshow(picture, cmap="gray", vmin=0, vmax=np.quantile(picture, 0.995), interpolation="antialiased")
        axes.set_title(title, fontsize=10)
        axes.axis("off")
    figure.canvas.draw()
    Image.fromarray(np.asarray(figure.canvas.buffer_rgba())).convert("L").save(target, optimize=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else Path(__file__).parent / "images" / "mri.png")
