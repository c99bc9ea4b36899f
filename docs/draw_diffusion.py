"""Draw docs/images/diffusion.png: a body from 8 views by TV and by a diffusion prior, with spread and samples.

    python docs/draw_diffusion.py
"""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from recon_datasets import Bodies
from recon_diffusion import Daps, DiffPir, DiffusionPrior

import recon

scan = Bodies(views=8)[6]
prior = DiffusionPrior("ct-128")


def psnr(x):
    return recon.metrics.psnr(scan.truth, x, data_range=float(scan.truth.max()))


def total_variation(weight):
    belief = weight * scan.noise * recon.TV(1.0) + recon.NonNegative()
    return recon.solve(recon.Problem(scan.operator, scan.data, belief), stop=400).x


smooth = max((total_variation(w) for w in (0.3, 0.5, 0.8, 1.2)), key=psnr)
posed = recon.Problem(scan.operator, scan.data.astype(np.float32), prior, noise=scan.noise)
restored = recon.solve(posed, DiffPir(chains=8), seed=0)
drawn = recon.solve(posed, Daps(chains=16, high=3.0, low=0.01), seed=0)
panels = [
    ("truth", scan.truth),
    (f"TV, best weight: {psnr(smooth):.1f} dB", smooth),
    (f"DiffPir, mean of 8: {psnr(restored.x):.1f} dB", restored.x),
    ("Daps, a sample", drawn.samples[0]),
    ("Daps, another", drawn.samples[1]),
    ("Daps, standard deviation x 5", 5 * np.sqrt(drawn.variance)),
]
figure, axes = plt.subplots(1, 6, figsize=(18, 3.4))
for axis, (title, image) in zip(axes, panels, strict=True):
    axis.imshow(image, cmap="gray", vmin=0, vmax=0.8)
    axis.set_title(title, fontsize=10)
    axis.axis("off")
figure.tight_layout()
figure.savefig(Path(__file__).parent / "images" / "diffusion.png", dpi=70)
