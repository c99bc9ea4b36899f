"""Draw docs/images/geometry.png: the parallel and the fan beam at one angle, from the formulas of geometry.md.

    python docs/draw_geometry.py [FILE]
"""

import sys
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Arc, Rectangle

THETA = np.deg2rad(35)
ACROSS = np.array([np.cos(THETA), np.sin(THETA)])  # along the detector, bin number increasing
ALONG = np.array([-np.sin(THETA), np.cos(THETA)])  # along the central ray, away from the source
HALF = 1.0  # half side of the image
BLUE, RED, GREY = "#1f5fa8", "#b3312c", "0.55"


def image_and_axes(axes, title):
    axes.add_patch(Rectangle((-HALF, -HALF), 2 * HALF, 2 * HALF, fill=False, lw=1.2))
    for k in range(1, 4):
        axes.plot([-HALF, HALF], [HALF * (1 - k / 2)] * 2, color="0.85", lw=0.6, zorder=0)
        axes.plot([-HALF + k / 2] * 2, [-HALF, HALF], color="0.85", lw=0.6, zorder=0)
    axes.text(-0.97, 0.68, "pixel\n(0, 0)", fontsize=7, color="0.25")
    for end, name in (((1.45, 0), "x"), ((0, 1.45), "y")):
        axes.annotate("", end, (0, 0), arrowprops={"arrowstyle": "->", "lw": 0.9})
        axes.text(end[0] + 0.05, end[1] + 0.05, name, fontsize=10)
    axes.set_title(title, fontsize=10)
    axes.set_aspect("equal")
    axes.axis("off")


def angle(axes, name="theta"):
    axes.add_patch(Arc((0, 0), 1.1, 1.1, theta2=np.rad2deg(THETA), color=RED, lw=1.2))
    axes.text(0.5, -0.17, name, color=RED, fontsize=8)
    axes.plot(*zip((0, 0), 1.55 * ACROSS, strict=True), color=RED, lw=0.8, ls=":")


def detector(axes, centre, offsets, label):
    ends = [centre + 1.12 * o * ACROSS for o in (offsets[0], offsets[-1])]
    axes.annotate("", ends[1], ends[0], arrowprops={"arrowstyle": "->", "color": BLUE, "lw": 1.4})
    places = centre + offsets[:, None] * ACROSS
    axes.plot(places[:, 0], places[:, 1], "o", color=BLUE, ms=3.5)
    for m in (0, len(offsets) - 1):
        name = "m = 0" if m == 0 else "m = M - 1"
        axes.text(*(places[m] + 0.12 * ALONG - 0.12 * ACROSS), name, color=BLUE, fontsize=8, ha="right")
    axes.text(*(ends[1] + 0.1 * ACROSS), label, color=BLUE, fontsize=10)
    return places


def parallel(axes):
    image_and_axes(axes, "ParallelBeam: ray m is  x cos theta + y sin theta = s_m")
    angle(axes)
    offsets = (np.arange(7) - 3) * 0.42
    places = detector(axes, 1.75 * ALONG, offsets, "s")
    for place in places:
        start = place - 3.5 * ALONG
        axes.annotate("", place, start, arrowprops={"arrowstyle": "->", "color": GREY, "lw": 0.8})
    axes.set_xlim(-2.6, 2.3)
    axes.set_ylim(-2.5, 2.6)


def fan(axes):
    image_and_axes(axes, "FanBeam: ray m runs from the source S to bin m")
    angle(axes)
    source, centre = -2.6 * ALONG, 1.75 * ALONG
    offsets = (np.arange(7) - 3) * 0.62
    places = detector(axes, centre, offsets, "u")
    for place in places:
        axes.annotate("", place, source, arrowprops={"arrowstyle": "->", "color": GREY, "lw": 0.8})
    axes.plot(*source, "o", color=RED, ms=6)
    axes.text(source[0] + 0.1, source[1] - 0.12, "S = R (sin theta, -cos theta)", color=RED, fontsize=9)
    axes.text(*(0.62 * source + 0.09 * ACROSS), "R", color=RED, fontsize=10)
    axes.text(*(0.72 * centre + 0.1 * ACROSS), "R_d", color=BLUE, fontsize=10)
    axes.text(*(centre + 0.28 * ALONG - 0.1 * ACROSS), "D", color=BLUE, fontsize=10)
    axes.set_xlim(-3.2, 3.4)
    axes.set_ylim(-2.6, 3.2)


def main(path):
    figure = Figure(figsize=(10, 4.6), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    parallel(left)
    fan(right)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent / "images" / "geometry.png")
