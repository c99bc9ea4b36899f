"""One call from a scene to its maps: ``unmix(cube, endmembers)``.

    sum-to-one     FCLS: a >= 0, sum a = 1                                              the linear mixing model
    nonnegative    NNLS: a >= 0
    none           UCLS
    free-scale     NNLS with endmembers scaled to a maximum of 1, then a / sum a        brightness of a pixel is free

Underneath are ``Problem(Mixing(E), pixels, prior, loss)`` and the solvers ``Abundances`` and ``RobustAbundances``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from recon import LeastSquares, NonNegative, Problem, Simplex, solve
from recon.errors import ArrayError, ParameterError
from recon_unmixing._layout import Layout, as_rows, spectra_in, spectra_out
from recon_unmixing.abundances import Abundances, RobustAbundances
from recon_unmixing.cube import Cube
from recon_unmixing.losses import BandL21, BandLog
from recon_unmixing.mixing import Mixing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Unmixing", "unmix"]

Constraint = Literal["sum-to-one", "nonnegative", "none", "free-scale"]
LossName = Literal["l21", "l2", "band_ml", "l21_pixels"]


@dataclass(frozen=True, eq=False)
class Unmixing:
    """Abundances, endmembers, and how well they explain the scene.

    Attributes
    ----------
    abundances
        (H, W, p) of a cube, NaN where a pixel is not in use; (p, N) with ``layout="bands_first"``.
    endmembers
        (p, L), one spectrum per row, in all bands of the scene (NaN in those not in use); (L, p) with
        ``layout="bands_first"``.
    residual
        (L,) root mean square of what is left in every band.
    weights
        (L,) how much a band counted, the best 1; None for losses that count all alike.
    wavelengths, unit
        Of the scene, for the plot.
    guidance
        (H, W) the guidance map of a blind method, (N,) for a list of pixels, or None.
    layout
        Of abundances and endmembers.
    """

    abundances: Any
    endmembers: Any
    residual: Any
    weights: Any = None
    wavelengths: Any = None
    unit: str = "nm"
    guidance: Any = None
    layout: Layout = "cube"

    def plot(self) -> Figure:
        """Endmember spectra, the residual per band, and the abundance maps (and the guidance map)."""
        from recon_unmixing.plots import draw_unmixing

        return draw_unmixing(self)


def unmix(
    cube: Any,
    endmembers: Any,
    *,
    constraint: Constraint = "sum-to-one",
    loss: LossName = "l21",
    normalise: bool = False,
    layout: Layout = "cube",
) -> Unmixing:
    """Abundances of every pixel, for given endmembers.

    Parameters
    ----------
    cube
        (..., L) with bands last, a ``Cube``, or (L, N) with ``layout="bands_first"``.
    endmembers
        (p, L), one spectrum per row ((L, p) with ``"bands_first"``); of a ``Cube`` all of its bands or the good ones.
    constraint
        ``"sum-to-one"``, ``"nonnegative"``, ``"none"``, or ``"free-scale"``: nonnegative, then each pixel divided by
        its sum, with endmembers scaled to a maximum of 1 (so were the published references of Samson and Jasper
        Ridge made).
    loss
        ``"l21"``: sum over bands of the residual's norm, which bad bands do not spoil (the default); ``"l2"``: 1/2 of
        its squares; ``"band_ml"``: maximum likelihood with a noise variance per band, best where the endmembers are
        exact; ``"l21_pixels"``: sum over pixels of the residual's norm, for given endmembers the same as ``"l2"``.
    normalise
        Divide each pixel and each endmember by its 2-norm first: the shape of spectra counts, not their brightness.
        Never done unasked: it makes some scenes and ruins others.
    layout
        Where the bands are; never guessed.

    Returns
    -------
    Unmixing

    Raises
    ------
    ShapeError, ArrayError, ParameterError
        When scene and endmembers do not fit.
    """
    Y = as_rows(cube, layout, "unmix.cube")
    E = _endmembers(endmembers, cube, layout, Y.shape[1])
    if constraint not in ("sum-to-one", "nonnegative", "none", "free-scale"):
        raise ParameterError(
            f"unmix.constraint must be 'sum-to-one', 'nonnegative', 'none' or 'free-scale', got {constraint!r}."
        )
    losses: dict[str, Any] = {
        "l21": BandL21(), "l2": LeastSquares(), "band_ml": BandLog(), "l21_pixels": LeastSquares()
    }  # fmt: skip
    if not isinstance(loss, str) or loss not in losses:
        raise ParameterError(f"unmix.loss must be 'l21', 'l2', 'band_ml' or 'l21_pixels', got {loss!r}.")
    pixels, spectra = Y, E
    if normalise:
        pixels, spectra = _unit(pixels), _unit(spectra)
    if constraint == "free-scale":
        peak = np.max(np.abs(spectra), axis=1, keepdims=True)
        spectra = spectra / np.where(peak > 0, peak, 1.0)
    prior = {"sum-to-one": Simplex(), "none": None}.get(constraint, NonNegative())
    robust = not isinstance(losses[loss], LeastSquares)
    result = solve(
        Problem(Mixing(spectra), pixels, prior, losses[loss]), RobustAbundances() if robust else Abundances()
    )
    A = result.x
    left = pixels - A @ spectra
    if constraint == "free-scale":
        total = A.sum(axis=1, keepdims=True)
        A = np.where(total > 0, A / np.where(total > 0, total, 1.0), 0.0)
    weights = result.hyperparameters.get("weights")
    return assemble(cube, layout, A, E, np.sqrt(np.mean(left * left, axis=0)), weights)


def assemble(
    cube: Any, layout: Layout, A: Any, E: Any, residual: Any, weights: Any = None, guidance: Any = None
) -> Unmixing:
    """Rows of abundances (and the rest) in the shapes of the scene they came from."""
    if isinstance(cube, Cube):
        in_all = cube.full_spectra
        return Unmixing(
            cube.maps(A),
            in_all(E),
            in_all(residual),
            None if weights is None else in_all(weights),
            cube.wavelengths,
            cube.unit,
            None if guidance is None else cube.maps(guidance),
        )
    pixels = tuple(np.shape(cube))[:-1]
    if layout == "bands_first":
        turned = np.ascontiguousarray(A.T), spectra_out(E, layout)
        return Unmixing(*turned, residual, weights, guidance=guidance, layout=layout)
    map_of = None if guidance is None else np.reshape(guidance, pixels)
    return Unmixing(A.reshape(*pixels, -1), E, residual, weights, guidance=map_of)


def _endmembers(endmembers: Any, cube: Any, layout: Layout, bands: int) -> Any:
    """Endmembers as rows, in the bands in use."""
    if isinstance(cube, Cube) and np.ndim(endmembers) == 2 and np.shape(endmembers)[1] == cube.bands.size:
        endmembers = np.asarray(endmembers)[:, cube.bands]
    return spectra_in(endmembers, layout, bands, "unmix.endmembers")


def _unit(rows: Any) -> Any:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    if not np.isfinite(lengths).all():
        raise ArrayError("unmix.cube must have pixels of finite length, got overflow. Scale the data.")
    return rows / np.where(lengths > 0, lengths, 1.0)
