"""The usual sets of view angles, in radians: sparse, limited, and golden-angle.

    sparse_view(K)                theta_k = k pi / K
    limited_angle(start, stop, K) theta_k = start + k (stop - start) / K
    golden_angle(K)               theta_k = k pi / phi  mod pi,   phi = (1 + sqrt 5) / 2   (111.25 degrees)

A parallel beam sees everything over pi (the default); for a fan beam take ``arc=2 * math.pi``. A
sparse-view or limited-angle scan is the same operator with other angles, never a class of its own.

Source of the golden angle: Winkelmann et al., IEEE Trans. Med. Imaging 26 (2007) 68,
doi:10.1109/TMI.2006.885337.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from recon.errors import ParameterError
from recon.params import short

__all__ = ["golden_angle", "limited_angle", "sparse_view"]

Floats = np.ndarray[Any, np.dtype[np.float64]]


def sparse_view(K: int, *, arc: float = math.pi) -> Floats:
    """K equally spaced angles over [0, arc), the end excluded.

    Raises
    ------
    ParameterError
        When K is not 1 or more.
    """
    return limited_angle(0.0, arc, K)


def limited_angle(start: float, stop: float, K: int) -> Floats:
    """K equally spaced angles over [start, stop), the end excluded."""
    return start + _count(K) * (stop - start) / K


def golden_angle(K: int, *, arc: float = math.pi) -> Floats:
    """K angles in steps of arc / phi, modulo arc: any number of first views covers the arc almost evenly."""
    return np.mod(_count(K) * arc * 2 / (1 + math.sqrt(5)), arc)


def _count(K: int) -> Floats:
    if isinstance(K, bool) or not isinstance(K, int | np.integer) or K < 1:
        raise ParameterError(f"K must be an integer >= 1, got {short(K)}. It is the number of views.")
    return np.arange(K, dtype=np.float64)
