"""Draw docs/images/htc2022-tomography.png: three measured scans by FBP and by total variation from 60 views.

    python docs/draw_htc2022.py FOLDER [FILE]

FOLDER holds the complete scans of the Helsinki Tomography Challenge 2022 (htc2022_ta_full.mat and so on; doi
10.5281/zenodo.6984868, CC BY 4.0).
"""

import io
import sys
from pathlib import Path

import numpy as np
import scipy.io
from PIL import Image
from recon_operators.tomography import FanBeam, fbp
from recon_proximal import Fista

from recon import TV, NonNegative, Problem, solve
from recon.plotting import draw_image, figure

NAMES = ("ta", "tc", "solid_disc")
SIZE = 400
LIMITS = (0.0, 0.045)  # gray levels, in 1 / mm


def scan(path):
    """Operator and line integrals of all 720 views; lengths in mm."""
    file = scipy.io.loadmat(path, squeeze_me=True, struct_as_record=False)["CtDataFull"]
    to_origin, to_detector = (
        float(getattr(file.parameters, f"distanceSource{end}")) for end in ("Origin", "Detector")
    )
    A = FanBeam(
        (SIZE, SIZE),
        np.deg2rad(file.parameters.angles[:720]),
        file.sinogram.shape[1],
        source_origin=to_origin,
        origin_detector=to_detector - to_origin,
        detector_spacing=0.2,
        pixel_size=0.2 * to_origin / to_detector * 512 / SIZE,
    )
    return A, file.sinogram[:720].astype(np.float32)


def main(folder, target):
    drawn = figure(9, 9.4)
    for row, name in zip(drawn.subplots(3, 3), NAMES, strict=True):
        A, data = scan(Path(folder) / f"htc2022_{name}_full.mat")
        few, part = A.views(slice(None, None, 12)), np.ascontiguousarray(data[::12])
        images = {
            f"{name}: FBP, 720 views": fbp(A, data),
            "FBP, 60 views": fbp(few, part),
            "TV, 60 views": solve(Problem(few, part, TV(0.05) + NonNegative()), Fista(), stop=100).x,
        }
        for axes, (title, image) in zip(row, images.items(), strict=True):
            draw_image(axes, image, title, LIMITS)
    picture = io.BytesIO()
    drawn.savefig(picture, dpi=65)
    Image.open(picture).convert("L").quantize(16).save(target, optimize=True)  # small enough for the docs


if __name__ == "__main__":
    images = Path(__file__).parent / "images"
    main(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else images / "htc2022-tomography.png")
