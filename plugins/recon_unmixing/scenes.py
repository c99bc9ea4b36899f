"""Scores of blind unmixing against reference endmembers and abundances.

    SAD         mean angle in degrees between reference and estimate, pairs chosen so that it is smallest (Hungarian)
    RMSE        100 sqrt(mean (A - A_ref)^2) over all abundances, in that order
    free RMSE   the same with A = NNLS of the pixels on the estimated endmembers, each scaled to a maximum of 1, divided
                by its sum: a pixel's brightness is free, as in the published references of Samson and Jasper Ridge

Angles do not depend on how endmembers are scaled; abundances do, so RMSE of different papers need not be comparable.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from recon.errors import ShapeError
from recon_unmixing._layout import as_rows, real_array, spectra_in
from recon_unmixing._pixelwise import correlations, exact

__all__ = ["SceneScore", "free_scale_abundances", "score_scene", "spectral_angles"]


@dataclass(frozen=True)
class SceneScore:
    """How far an unmixing is from the reference.

    Attributes
    ----------
    angles
        (p,) degrees, per reference endmember.
    sad
        Their mean.
    rmse, free_rmse
        Of the abundances given, and of those with free pixel scale; in points of 100.
    order
        (p,) for every reference endmember the index of its estimate.
    """

    angles: Any
    sad: float
    rmse: float
    free_rmse: float
    order: Any


def spectral_angles(first: Any, second: Any) -> Any:
    """Angles in degrees (p, q) between the rows of (p, L) and (q, L); 90 with a row of zeros."""
    a = real_array(first, "spectral_angles.first").astype(np.float64)
    b = real_array(second, "spectral_angles.second").astype(np.float64)
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise ShapeError(
            f"spectral_angles.second must have the bands of the first, got shapes {a.shape} and {b.shape}. "
            "Give one spectrum per row."
        )
    a, b = (x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-300) for x in (a, b))
    return np.degrees(np.arccos(np.clip(a @ b.T, -1.0, 1.0)))


def free_scale_abundances(pixels: Any, endmembers: Any) -> Any:
    """NNLS of pixels (N, L) on endmembers (p, L) scaled to maxima of 1, divided by the sums (where not 0); (N, p)."""
    Y = as_rows(pixels, "cube", "free_scale_abundances.pixels")
    E = spectra_in(endmembers, "cube", Y.shape[1], "free_scale_abundances.endmembers")
    peak = np.max(np.abs(E), axis=1, keepdims=True)
    A = exact(*correlations(Y, E / np.where(peak > 0.0, peak, 1.0)))
    sums = A.sum(axis=1, keepdims=True)
    return A / np.where(sums > 0.0, sums, 1.0)


def score_scene(
    endmembers: Any, abundances: Any, pixels: Any, true_endmembers: Any, true_abundances: Any
) -> SceneScore:
    """Score endmembers (p, L) and abundances (N, p) of pixels (N, L) against a reference of the same shapes."""
    from scipy.optimize import linear_sum_assignment

    angles = spectral_angles(true_endmembers, endmembers)
    if angles.shape[0] != angles.shape[1]:
        raise ShapeError(
            f"score_scene.endmembers must be as many as the reference, {angles.shape[0]}, got {angles.shape[1]}. "
            "Unmix with that number."
        )
    _, order = linear_sum_assignment(angles)
    own, true = (real_array(x, "score_scene.abundances") for x in (abundances, true_abundances))
    wanted = (len(as_rows(pixels, "cube", "score_scene.pixels")), len(order))
    if own.shape != true.shape or own.shape != wanted:
        raise ShapeError(
            f"score_scene.abundances must have shape {wanted} as the reference, got {own.shape} "
            f"and {true.shape}. Give pixels as rows."
        )
    free = free_scale_abundances(pixels, endmembers)
    found = angles[np.arange(len(order)), order]
    rmse, free_rmse = (float(100.0 * np.sqrt(np.mean((A[:, order] - true) ** 2))) for A in (own, free))
    return SceneScore(found, float(found.mean()), rmse, free_rmse, order)
