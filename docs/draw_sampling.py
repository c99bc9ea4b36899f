"""Draw docs/images/sampling.png: what each way of making an image smaller does to fine detail, and inpainting.

python docs/draw_sampling.py [FILE]
"""

import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from recon_datasets import SheppLogan
from recon_operators.sampling import Bicubic, BlockMean, Decimate, Mask
from recon_proximal import Pdhg

import recon

N, FACTOR = 160, 4


def main(target):
    y, x = np.mgrid[-1 : 1 : N * 1j, -1 : 1 : N * 1j]
    rings = 0.5 + 0.5 * np.cos(55 * (x**2 + y**2))
    head = SheppLogan(size=N)[0].truth
    head = head / head.max()
    mask = Mask(np.random.default_rng(0).random((N, N)) < 0.3)
    seen = mask @ head
    inpainted = recon.solve(recon.Problem(mask, seen, recon.TV(0.005)), Pdhg(), stop=300).x

    panels = [
        ("rings", rings),
        ("Decimate: aliases", Decimate((N, N), FACTOR) @ rings),
        ("BlockMean", BlockMean((N, N), FACTOR) @ rings),
        ("Bicubic", Bicubic((N, N), FACTOR) @ rings),
        ("head", head),
        ("Mask: 30 % seen", seen),
        ("with TV(0.005)", inpainted),
        ("what is left, x 10", 0.5 + 10 * (inpainted - head)),
    ]
    figure, axes = plt.subplots(2, 4, figsize=(8.4, 4.5), layout="constrained")
    for axis, (title, image) in zip(axes.ravel(), panels, strict=True):
        axis.imshow(image, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        axis.set_title(title, fontsize=9)
        axis.set_axis_off()
    figure.savefig(target, dpi=80)


if __name__ == "__main__":
    default = Path(__file__).parent / "images" / "sampling.png"
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else default)
