"""Draw docs/images/cone.png: a cone beam from above and from the side, and one with a tilted axis, as `plot()` does.

python docs/draw_cone.py [FILE]
"""

import sys
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from recon_operators.tomography import ConeBeam
from recon_operators.tomography._cone_plot import sketches
from recon_operators.tomography._plot import draw_geometry

SCAN = {"source_origin": 100.0, "origin_detector": 60.0, "detector_spacing": 8.0}


def panels(name, **changes):
    scan = ConeBeam((30, 40, 40), np.deg2rad([35.0]), (8, 10), **(SCAN | changes))
    return sketches(scan._geometry, 0, name)


def main(path):
    figure = Figure(figsize=(12, 4.4), layout="constrained")
    FigureCanvasAgg(figure)
    above, beside = panels("ConeBeam")
    tilted = panels("ConeBeam", tilt=np.deg2rad(30))[1]
    titles = (
        "from above, theta = 35 degrees: columns m",
        "from the side: rows n",
        "from the side, tilt = 30 degrees: rows n",
    )
    for axes, sketch, title in zip(figure.subplots(1, 3), (above, beside, tilted), titles, strict=True):
        draw_geometry(axes, sketch)
        axes.set_title(title, fontsize=9)
    figure.savefig(path, dpi=100)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent / "images" / "cone.png")
