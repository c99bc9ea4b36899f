"""Draw docs/images/limited-angle.png: a measured disc from 60 degrees by FBP, total variation and `one_material`.

    python docs/draw_limited_angle.py FOLDER [FILE]

FOLDER holds the complete scans of the Helsinki Tomography Challenge 2022 with their segmentations (doi
10.5281/zenodo.6984868, CC BY 4.0).
"""

import io
import sys
from pathlib import Path

import numpy as np
from draw_htc2022 import scan
from PIL import Image
from recon_operators.tomography import fbp, fit_hardening, support_disc
from recon_proximal import Pdhg, one_material

from recon import TV, Box, Problem, solve
from recon.plotting import draw_image, figure

HIGHEST = 0.045  # of the gray levels, in 1 / mm; also what the bound of TV is about


def mask(A, y):
    return support_disc(A, y).mask(A, A.pixel_size / 2)


def main(folder, target):
    A, y = scan(folder / "htc2022_solid_disc_full.mat")
    A, y = A.views(slice(None, None, 12)), np.ascontiguousarray(y[::12])
    law = fit_hardening(A @ mask(A, y).astype(np.float32), y)
    A, y = scan(folder / "htc2022_ta_full.mat")
    A, y = A.views(slice(0, 121)), np.ascontiguousarray(y[:121])
    images = {
        "segmentation of 720 views": np.asarray(
            Image.open(folder / "htc2022_ta_full_recon_fbp_seg.png")
        ).astype(float),
        "60 degrees: FBP": fbp(A, y),
        "TV within bounds": solve(Problem(A, y, TV(0.11) + Box(0.0, HIGHEST)), Pdhg(), stop=150).x,
        "one_material": one_material(A, y, mask(A, y), law=law, iterations=120).x,
    }
    drawn = figure(12, 3.3)
    for axes, (title, image) in zip(drawn.subplots(1, 4), images.items(), strict=True):
        share = image.max() if title.startswith(("seg", "one")) else HIGHEST
        draw_image(axes, image, title, (0.0, share))
    picture = io.BytesIO()
    drawn.savefig(picture, dpi=80)
    Image.open(picture).convert("L").quantize(16).save(target, optimize=True)


if __name__ == "__main__":
    images = Path(__file__).parent / "images"
    main(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else images / "limited-angle.png")
