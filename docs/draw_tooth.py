"""Draw docs/images/tooth-tomography.png: a measured tooth from its counts, by FBP, CGLS and total variation.

    python docs/draw_tooth.py tooth.h5 [FILE]

tooth.h5 is the example file of TomoPy (source/tomopy/data, BSD-style licence, UChicago Argonne): 181 parallel views
of two slices, with flat and dark fields. Needs h5py. The same steps, one by one, are in tomography.md.
"""

import io
import sys
from pathlib import Path

import h5py
import numpy as np
from PIL import Image
from recon_operators.tomography import ParallelBeam, fbp, find_axis, line_integrals
from recon_proximal import Cgls, Fista

from recon import TV, NonNegative, Problem, solve
from recon.losses import WeightedLeastSquares
from recon.plotting import draw_image, figure

SIZE, EVERY, TV_WEIGHT = 340, 6, 0.03
LIMITS = (-0.0005, 0.0095)  # gray levels, in 1 / bin


def tooth(path):
    """Line integrals and weights of one slice, (views, bins), the angles, and the shift of the detector."""
    with h5py.File(path) as file:
        counts, white, dark = (file[f"exchange/{name}"][:] for name in ("data", "data_white", "data_dark"))
        angles = np.deg2rad(file["exchange/theta"][:])
    p, weights = line_integrals(counts, white.mean(axis=0), dark.mean(axis=0))
    slices = np.moveaxis(p, 1, 0)
    shift = find_axis(slices, angles)
    return slices[0], np.ascontiguousarray(weights[:, 0]), angles, shift


def reconstructions(p, weights, angles, shift):
    """Title to image: FBP of all views, and of every sixth view FBP, CGLS and TV."""
    A = ParallelBeam((SIZE, SIZE), angles, p.shape[1], detector_shift=shift)
    few, data = A.views(slice(None, None, EVERY)), np.ascontiguousarray(p[::EVERY])
    loss = WeightedLeastSquares(weights[::EVERY] / weights.mean())
    return {
        "FBP, 181 views": fbp(A, p),
        "FBP, 31 views": fbp(few, data),
        "CGLS, 12 iterations, 31 views": solve(Problem(few, data), Cgls(), stop=12).x,
        "TV, 31 views": solve(Problem(few, data, TV(TV_WEIGHT) + NonNegative(), loss=loss), Fista(), stop=150).x,
    }


def main(source, target):
    p, weights, angles, shift = tooth(source)
    images = reconstructions(p, weights, angles, shift)
    drawn = figure(3.1 * len(images), 3.3)
    for axes, (title, image) in zip(drawn.subplots(1, len(images)), images.items(), strict=True):
        draw_image(axes, image, title, LIMITS)
    picture = io.BytesIO()
    drawn.savefig(picture, dpi=80)
    Image.open(picture).convert("L").quantize(20).save(target, optimize=True)  # small enough for the docs
    print(f"detector_shift {shift:.2f}: the axis falls on bin {(p.shape[1] - 1) / 2 - shift:.2f}")


if __name__ == "__main__":
    images = Path(__file__).parent / "images"
    main(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else images / "tooth-tomography.png")
