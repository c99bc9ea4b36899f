"""Print PSNR and Matthews correlation of five reconstructions of measured discs from few or one-sided views.

    python tools/htc2022.py FOLDER [SCAN,...] [CASE,...] [SIZE] [METHOD,...]

FOLDER holds the complete scans and segmentations of the Helsinki Tomography Challenge 2022 (doi
10.5281/zenodo.6984868). SIZE divides 512: smaller images take less time, with their bins joined. METHOD is FBP, SIRT,
CGLS, TV or recipe; a scan takes about four minutes of one core. FBP, SIRT (100 steps), CGLS (15) and TV (with bounds)
see the data as they are; TV has the weight of the peers' table, chosen with the truth, the recipe has its own.
PSNR (peak 0.005 per pixel) is that of x times the mean of the reference inside: acrylic is not flat there.
"""

import sys
import time
from pathlib import Path

import numpy as np
import scipy.io
from PIL import Image
from recon_operators.tomography import FanBeam, fbp, fit_hardening, support_disc
from recon_proximal import Cgls, Pdhg, Sirt, one_material

from recon import TV, Box, NonNegative, Problem, solve
from recon.metrics import matthews, otsu, psnr

ROWS = {
    "sparse60": slice(0, 720, 12),
    "sparse30": slice(0, 720, 24),
    "wedge90": slice(0, 181),
    "wedge60": slice(0, 121),
    "wedge30": slice(0, 61),
}


def scan(folder, name, size):
    """Operator and data of all views, reference image and segmentation."""
    stem = folder / f"htc2022_{name}_full"
    file = scipy.io.loadmat(f"{stem}.mat", squeeze_me=True, struct_as_record=False)["CtDataFull"]
    reference = scipy.io.loadmat(f"{stem}_recon_fbp.mat")["reconFullFbp"]
    to_origin, to_detector = (
        float(getattr(file.parameters, f"distanceSource{end}")) for end in ("Origin", "Detector")
    )
    joined = 512 // size
    data = file.sinogram.reshape(len(file.sinogram), -1, joined).mean(axis=-1).astype(np.float32)
    A = FanBeam(
        (size, size),
        np.deg2rad(file.parameters.angles),
        data.shape[1],
        source_origin=to_origin,
        origin_detector=to_detector - to_origin,
        detector_spacing=0.2 * joined,
        pixel_size=0.2 * to_origin / to_detector * joined,
    )
    return A, data, reference, np.asarray(Image.open(f"{stem}_recon_fbp_seg.png")) > 0


def recipe(A, y, law):
    return one_material(A, y, support_disc(A, y).mask(A, A.pixel_size / 2), law=law, iterations=120)


def main(folder, names, cases, size, methods):
    A, y, _, _ = scan(folder, "solid_disc", size)
    A, y = A.views(ROWS["sparse60"]), y[ROWS["sparse60"]]
    law = fit_hardening(A @ support_disc(A, y).mask(A, A.pixel_size / 2).astype(np.float32), y)
    for name in names:
        full, sinogram, reference, truth = scan(folder, name, size)
        unit = full.pixel_size / (512 // size)  # of the reference: a pixel of 512
        level = float(reference[truth].mean()) / unit
        for case in cases:
            A, y = full.views(ROWS[case]), np.ascontiguousarray(sinogram[ROWS[case]])
            weight, box = 3e-5 * len(y) * unit / 0.005, Box(0.0, 0.006 / unit)
            for method, run in {
                "FBP": lambda A, y: fbp(A, y),
                "SIRT": lambda A, y: solve(Problem(A, y, NonNegative()), Sirt(), stop=100).x,
                "CGLS": lambda A, y: solve(Problem(A, y), Cgls(), stop=15).x,
                "TV": lambda A, y, w=weight, b=box: solve(Problem(A, y, TV(w) + b), Pdhg(), stop=150).x,
                "recipe": lambda A, y, level=level: level * recipe(A, y, law).x,
            }.items():
                if methods and method not in methods:
                    continue
                begin = time.process_time()
                x = run(A, y)
                seconds = time.process_time() - begin
                x = np.kron(x, np.ones((512 // size, 512 // size))).astype(np.float64)
                error = psnr(x * unit, reference, data_range=0.005)
                score = matthews(x > otsu(x), truth)
                line = f"{name:10} {case:9} {method:9} {error:6.2f} dB  {score:.4f}  {seconds:6.1f} s"
                sys.stdout.write(line + "\n")
                sys.stdout.flush()


if __name__ == "__main__":
    given = [*sys.argv[1:], "", "", "", ""][:5]
    main(
        Path(given[0]),
        (given[1] or "ta,tc").split(","),
        (given[2] or ",".join(ROWS)).split(","),
        int(given[3] or 512),
        [name for name in given[4].split(",") if name],
    )
