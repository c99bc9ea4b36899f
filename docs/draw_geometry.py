"""Draw docs/images/geometry.png: one view of every beam, as `operator.plot()` draws it.

    python docs/draw_geometry.py [FILE]
"""

import io
import sys
from pathlib import Path

import numpy as np
from PIL import Image
from recon_operators.tomography import ConeBeam, FanBeam, ParallelBeam

THETA = np.deg2rad([35.0])
FAN = {"source_origin": 60.0, "origin_detector": 45.0, "detector_spacing": 1.4}
BEAMS = [
    [
        ParallelBeam((40, 50), THETA, 60),
        FanBeam((40, 50), THETA, 72, **FAN),
        FanBeam((40, 50), THETA, 72, **FAN, detector="curved"),
    ],
    [ConeBeam((30, 40, 50), THETA, (42, 72), **FAN)],
]


def picture(beam):
    """What `beam.plot()` shows, as an image."""
    file = io.BytesIO()
    beam.plot().savefig(file, dpi=85)
    return Image.open(file).convert("RGB")


def main(target):
    rows = [[picture(beam) for beam in row] for row in BEAMS]
    width = max(sum(one.width for one in row) for row in rows)
    made = Image.new("RGB", (width, sum(row[0].height for row in rows)), "white")
    top = 0
    for row in rows:
        left = 0
        for one in row:
            made.paste(one, (left, top))
            left += one.width
        top += row[0].height
    made.quantize(128).save(target, optimize=True)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent / "images" / "geometry.png")
