"""Pictures of an unmixing: spectra over wavelengths, the residual per band, abundance maps, the guidance map."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from recon.plotting import figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["draw_unmixing"]


def draw_unmixing(unmixing: Any) -> Figure:
    """Above the spectra of the endmembers and the residual, below one map per endmember, 0 to 1.

    Abundances that are no maps (a list of pixels) are drawn as curves.
    """
    A, spectra = np.asarray(unmixing.abundances), np.asarray(unmixing.endmembers)
    if unmixing.layout == "bands_first":
        maps, spectra = A, spectra.T
    else:
        maps = np.moveaxis(A if A.ndim == 3 else A.reshape(-1, A.shape[-1]), -1, 0)
    count = len(spectra) + (unmixing.guidance is not None)
    columns = max(min(count, 5), 2)
    rows = -(-count // columns)
    drawn = figure(2.6 * columns, 2.8 + 2.4 * rows)
    grid = drawn.add_gridspec(rows + 1, 2 * columns)
    waves = unmixing.wavelengths
    bands = np.arange(spectra.shape[1]) if waves is None else waves
    label = "band" if waves is None else f"wavelength / {unmixing.unit}"
    colours = [f"C{k % 10}" for k in range(len(spectra))]
    left, right = drawn.add_subplot(grid[0, :columns]), drawn.add_subplot(grid[0, columns:])
    for k, spectrum in enumerate(spectra):
        left.plot(bands, spectrum, lw=1, color=colours[k], label=str(k + 1))
    left.set_title("endmembers", fontsize=9)
    left.legend(fontsize=6, ncols=2)
    right.plot(bands, unmixing.residual, lw=0.8, color="0.2")
    right.set_title("residual, root mean square", fontsize=9)
    if unmixing.weights is not None:
        twin = right.twinx()
        twin.plot(bands, unmixing.weights, lw=0.6, color="C1")
        twin.set_ylabel("weight", fontsize=7, color="C1")
        twin.tick_params(labelsize=6)
    for axes in (left, right):
        axes.set_xlabel(label, fontsize=8)
        axes.tick_params(labelsize=7)
    panels = [(f"abundance {k + 1}", values) for k, values in enumerate(maps)]
    if unmixing.guidance is not None:
        panels.append(("guidance map", np.asarray(unmixing.guidance)))
    for k, (title, values) in enumerate(panels):
        row, column = divmod(k, columns)
        axes = drawn.add_subplot(grid[row + 1, 2 * column : 2 * column + 2])
        axes.set_title(title, fontsize=9)
        if values.ndim == 2:
            axes.imshow(values, vmin=0, vmax=1, cmap="viridis", interpolation="nearest")
            axes.set_xticks([])
            axes.set_yticks([])
        else:
            axes.plot(values, lw=0.6)
            axes.tick_params(labelsize=6)
    return drawn
