"""Coils: the two pointwise steps between an image and what every coil sees of it.

    expand     z_c = S_c x
    combine    x = sum_c conj(S_c) z_c

Image axes are the last ones, coils come before them, and whatever stands in front is batch.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from recon.constants import constant
from recon.errors import ArrayError, ShapeError
from recon_operators._pointwise import combine, expand

__all__ = ["checked_maps", "combine", "expand", "largest_sensitivity"]

Numbers = np.ndarray[Any, Any]


def checked_maps(maps: Any, shape: tuple[int, ...], owner: str) -> Numbers:
    """Coil sensitivities as a complex, read-only array (coils, *shape)."""
    values = constant(maps, f"{owner}.maps")
    if values.dtype.kind != "c":
        raise ArrayError(f"{owner}.maps must be complex, got {values.dtype}. Convert them with astype.")
    if values.ndim != len(shape) + 1 or values.shape[1:] != shape or not len(values):
        raise ShapeError(
            f"{owner}.maps must have shape (coils, {', '.join(map(str, shape))}), got {values.shape}. "
            "The coils come first, then the axes of the image."
        )
    return values


def largest_sensitivity(maps: Numbers | None) -> float:
    """max over pixels of sqrt(sum_c |S_c|^2): the norm of `expand`; 1 without maps."""
    if maps is None:
        return 1.0
    return math.sqrt(float((np.abs(maps).astype(np.float64) ** 2).sum(axis=0).max()))
