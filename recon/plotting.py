"""Pictures: a reconstruction beside whatever one compares it with, and the course of the objective.

Figures are made without pyplot, so that nothing global is touched and no window is opened.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from recon.arrays import Array, as_numpy, leaves
from recon.storage import atomic

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw_image", "draw_run", "figure", "gray_levels", "save_figure"]

_WIDEST = 6  # panels of a row


def figure(width: float, height: float) -> Figure:
    """A figure with its own canvas, in inches, that notebooks show as a picture."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    class Picture(Figure):
        def _repr_png_(self) -> bytes:
            buffer = io.BytesIO()
            self.savefig(buffer, format="png", dpi=100)
            return buffer.getvalue()

    made = Picture(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(made)
    return made


def save_figure(path: Path, drawn: Figure, dpi: int = 150) -> None:
    """Write a figure atomically."""
    with atomic(path) as temporary:
        drawn.savefig(temporary, dpi=dpi)


def draw_image(
    axes: Axes,
    image: Array,
    title: str = "",
    limits: tuple[float, float] | None = None,
    band: tuple[Array, Array] | None = None,
) -> None:
    """One image (row 0 on top) or one signal; of a stack the middle member, of complex data the modulus.

    Images are gray, or of red, green and blue where their last axis is 3.

    ``band``, the ends of an interval around every entry, is drawn for signals.
    """
    values = _shown(image)
    axes.set_title(title, fontsize=9)
    if values.ndim < 2:
        values = np.atleast_1d(values)
        axes.plot(values, lw=0.8)
        if band is not None:
            bottom, top = (np.atleast_1d(as_numpy(leaves(end)[0])) for end in band)
            axes.fill_between(np.arange(values.size), bottom, top, alpha=0.3, lw=0)
        return
    low, high = limits or _limits(values)
    if values.ndim == 3:
        values = np.clip((values.astype(np.float64) - low) / (high - low), 0.0, 1.0)
    axes.imshow(values, cmap="gray", vmin=low, vmax=high, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])


def gray_levels(image: Array) -> tuple[float, float]:
    """Values of black and white for :func:`draw_image`, to draw several images alike."""
    return _limits(_shown(image))


def _shown(image: Array) -> np.ndarray[Any, Any]:
    """What is drawn of an image: its modulus, the middle of a stack, with the three colours where it has them."""
    values = as_numpy(leaves(image)[0])
    if np.iscomplexobj(values):
        values = np.abs(values)
    colours = values.ndim > 2 and values.shape[-1] == 3 < min(values.shape[-3:-1])
    while values.ndim > 2 + colours:
        values = values[len(values) // 2]
    return values


def _limits(values: np.ndarray[Any, Any]) -> tuple[float, float]:
    """Gray levels that a few outliers do not decide."""
    good = values[np.isfinite(values)].astype(np.float64)  # a mask has no quantiles
    if good.size == 0:
        return 0.0, 1.0
    low, high = (float(v) for v in np.quantile(good, (0.001, 0.999)))
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def draw_run(
    images: Mapping[str, Array],
    iterations: Sequence[int],
    objective: Sequence[float],
    bands: Mapping[str, tuple[Array, Array]] | None = None,
    levels: Mapping[str, tuple[float, float]] | None = None,
) -> Figure:
    """Images by title, side by side (in rows where they are many), and the course of the objective.

    Parameters
    ----------
    images
        Title to image, for example ``{"truth": x_true}``.
    iterations, objective
        Where the objective was recorded, and what it was.
    bands
        Title to the ends of an interval, drawn where that image is a signal.
    levels
        Title to the values of black and white; where there are none, the image decides.
    """
    count = len(images) + 1
    rows = math.ceil(count / _WIDEST)
    columns = math.ceil(count / rows)
    drawn = figure(3.2 * columns, 3.2 * rows)
    axes = drawn.subplots(rows, columns, squeeze=False).ravel()
    for place, (title, image) in zip(axes, images.items(), strict=False):
        draw_image(place, image, title, (levels or {}).get(title), (bands or {}).get(title))
    for empty in axes[count:]:
        empty.remove()
    _draw_course(axes[count - 1], iterations, objective)
    return drawn


def _draw_course(axes: Axes, iterations: Sequence[int], objective: Sequence[float]) -> None:
    shown = [(k, v) for k, v in zip(iterations, objective, strict=True) if math.isfinite(v)]
    last = f", {iterations[-1]} iterations" if iterations else ""
    axes.set_title(f"objective{last}", fontsize=9)
    axes.set_xlabel("iteration", fontsize=8)
    axes.tick_params(labelsize=7)
    if not shown:
        axes.text(0.5, 0.5, "not finite", ha="center", transform=axes.transAxes)
        return
    axes.plot(*zip(*shown, strict=True), lw=1)
    if all(v > 0 for _, v in shown):
        axes.set_yscale("log")
