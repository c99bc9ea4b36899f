"""Pictures of a scan's geometry: the image with its first pixel, the source, the detector and its bins, theta.

A scan describes itself by one `Sketch` per panel (two-dimensional: one; a cone beam: from above and from the
side); `plot_geometry` draws them side by side.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from recon.errors import ParameterError
from recon.params import short
from recon.plotting import figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Sketch", "check_view", "draw_geometry", "plot_geometry"]

Floats = np.ndarray[Any, Any]

_BLUE, _RED, _GREY = "#1f5fa8", "#b3312c", "0.6"
_RAYS = 7


@dataclass(frozen=True)
class Sketch:
    """One panel, in the unit of the pixel size.

    Parameters
    ----------
    half
        Half the width and half the height of the image.
    pixel
        Width and height of a pixel.
    detector
        Places of the bins (M, 2), in the order of their numbers.
    origins
        Where the ray to each bin begins, (M, 2).
    source
        Place of the source, or None for parallel rays.
    theta
        View angle in radians, drawn from the first axis; None for none.
    title, labels, corner
        Texts: of the panel, of the two axes, and of the pixel in the upper left corner.
    """

    half: tuple[float, float]
    pixel: tuple[float, float]
    detector: Floats
    origins: Floats
    source: tuple[float, float] | None = None
    theta: float | None = None
    title: str = ""
    labels: tuple[str, str] = ("x", "y")
    corner: str = "row 0\ncolumn 0"


def check_view(owner: str, view: Any, views: int) -> int:
    """The number of a view, or an error that names the scan."""
    if isinstance(view, bool) or not isinstance(view, int | np.integer) or not -views <= view < views:
        raise ParameterError(
            f"{owner}.plot view must be an integer from {-views} to {views - 1}, got {short(view)}."
        )
    return int(view)


def plot_geometry(sketches: tuple[Sketch, ...]) -> Figure:
    """A figure with one panel per sketch."""
    drawn = figure(5.2 * len(sketches), 4.8)
    for axes, sketch in zip(drawn.subplots(1, len(sketches), squeeze=False)[0], sketches, strict=True):
        draw_geometry(axes, sketch)
    return drawn


def draw_geometry(axes: Axes, sketch: Sketch) -> None:
    """Draw one panel."""
    axes.set_title(sketch.title, fontsize=9)
    axes.set_aspect("equal")
    axes.axis("off")
    size = max(*sketch.half, float(np.ptp(sketch.detector, axis=0).max()) / 2)
    _draw_rays(axes, sketch)
    _draw_detector(axes, sketch, size)
    _draw_image(axes, sketch, size)
    if sketch.source is not None:
        axes.plot(*sketch.source, "o", color=_RED, ms=6)
        _label(axes, sketch.source, "source", _RED, ("center", "top"), (0, -7))
    axes.margins(0.12)


def _draw_image(axes: Axes, sketch: Sketch, size: float) -> None:
    from matplotlib.patches import Arc, Rectangle

    (x, y), (w, h) = sketch.half, sketch.pixel
    axes.add_patch(Rectangle((-x, -y), 2 * x, 2 * y, fc="white", ec="black", lw=1.2, alpha=0.75, zorder=2))
    # a pixel of a large image would not be seen
    w, h = max(w, 0.12 * x), max(h, 0.12 * y)
    axes.add_patch(Rectangle((-x, y - h), w, h, fc="0.3", ec="none", zorder=3))
    _label(axes, (-x, y - h), sketch.corner, "0.3", ("left", "top"), (2, -2))
    reach = 0.3 * size
    for end, name, sides in (
        ((x + reach, 0.0), sketch.labels[0], ("right", "bottom")),
        ((0.0, y + reach), sketch.labels[1], ("left", "center")),
    ):
        axes.annotate("", end, (0, 0), arrowprops={"arrowstyle": "->", "lw": 0.9}, zorder=4)
        _label(axes, end, name, "black", sides, (4, 3) if end[0] == 0 else (0, 3))
    if sketch.theta is not None:
        radius = 0.55 * min(x, y)
        degrees = float(np.mod(np.rad2deg(sketch.theta), 360))
        across = np.array([np.cos(sketch.theta), np.sin(sketch.theta)])
        axes.add_patch(Arc((0, 0), 2 * radius, 2 * radius, theta2=degrees, color=_RED, lw=1.2, zorder=4))
        axes.plot(*zip((0, 0), 1.5 * radius * across, strict=True), color=_RED, lw=0.9, ls=":", zorder=4)
        half = np.array([np.cos(sketch.theta / 2), np.sin(sketch.theta / 2)])
        _label(axes, 1.12 * radius * half, "theta", _RED, ("left", "center"))


def _draw_detector(axes: Axes, sketch: Sketch, size: float) -> None:
    places = sketch.detector
    shown = places[_some(len(places))]
    axes.plot(*places.T, color=_BLUE, lw=1.4)
    axes.plot(*shown.T, "o", color=_BLUE, ms=3.5)
    step = places[-1] - places[-2] if len(places) > 1 else np.zeros(2)
    length = float(np.hypot(*step))
    if length > 0:
        end = places[-1] + 0.18 * size * step / length
        axes.annotate("", end, places[-1], arrowprops={"arrowstyle": "->", "color": _BLUE, "lw": 1.4})
        axes.plot(*end, alpha=0)  # for the limits
    for m in sorted({0, len(places) - 1}):
        x, y = places[m] / max(
            float(np.hypot(*places[m])), 1e-9
        )  # away from the image, whichever side that is
        sides = ("left" if x > 0.4 else "right" if x < -0.4 else "center", "center")
        _label(axes, places[m], f"bin {m}", _BLUE, sides, (8 * x, 12 * y))


def _draw_rays(axes: Axes, sketch: Sketch) -> None:
    arrow = {"arrowstyle": "->", "color": _GREY, "lw": 0.8, "shrinkA": 0, "shrinkB": 0}
    for m in _some(len(sketch.detector)):
        axes.plot(
            *zip(sketch.origins[m], sketch.detector[m], strict=True), color=_GREY, lw=0
        )  # for the limits
        axes.annotate("", sketch.detector[m], sketch.origins[m], arrowprops=arrow)


def _some(bins: int) -> Floats:
    """Numbers of a few bins, the first and the last among them."""
    return np.unique(np.rint(np.linspace(0, bins - 1, _RAYS)).astype(int))


def _label(
    axes: Axes,
    place: Any,
    text: str,
    color: str,
    sides: tuple[str, str],
    offset: tuple[float, float] = (0, 0),
) -> None:
    """Text whose `sides` (horizontal, vertical) touch a place, some points off, on white: no ray crosses."""
    axes.annotate(
        text,
        place,
        xytext=offset,
        textcoords="offset points",
        color=color,
        fontsize=8,
        ha=sides[0],
        va=sides[1],
        zorder=5,
        bbox={"fc": "white", "ec": "none", "pad": 0.8, "alpha": 0.8},
    )
