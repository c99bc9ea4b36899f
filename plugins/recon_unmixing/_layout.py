"""Scenes as rows of pixels: (..., L) or (L, N) in, as said, never guessed.

"cube"           bands last: (H, W, L), (N, L)        endmembers (p, L)      abundances (H, W, p)
"bands_first"    papers' matrices: (L, N)             endmembers (L, p)      abundances (p, N)
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from recon.arrays import as_numpy
from recon.errors import ArrayError, ParameterError, ShapeError

__all__ = ["Layout", "as_rows", "check_run", "real_array", "spectra_in", "spectra_out"]

Layout = Literal["cube", "bands_first"]


def as_rows(data: Any, layout: Layout, owner: str) -> np.ndarray[Any, Any]:
    """The pixels of a scene as rows (N, L), float64; for a ``Cube`` those that are not masked, in its good bands.

    Raises
    ------
    ParameterError, ShapeError, ArrayError
        For another layout, a wrong number of axes, or entries that are not finite.
    """
    check_layout(layout, owner.split(".")[0])
    if hasattr(data, "spectra"):
        if layout == "bands_first":
            raise ParameterError(
                f"{owner} is a Cube, whose bands are last, got layout 'bands_first'. Leave it out."
            )
        return _of_ordinary_size(np.asarray(data.spectra, dtype=np.float64), owner)
    values = real_array(data, owner)
    if layout == "bands_first":
        if values.ndim != 2:
            raise ShapeError(
                f"{owner} must have shape (bands, pixels) with layout 'bands_first', got {values.shape}."
            )
        values = values.T
    elif values.ndim < 2:
        raise ShapeError(f"{owner} must have shape (..., bands), got {values.shape}.")
    if 0 in values.shape:
        raise ShapeError(f"{owner} must hold at least one pixel and band, got {values.shape}.")
    rows = np.ascontiguousarray(values.reshape(-1, values.shape[-1]), dtype=np.float64)
    bad = int(np.sum(~np.isfinite(rows).all(axis=1)))
    if bad:
        raise ArrayError(
            f"{owner} must be finite, got NaN or infinity in {bad} of {len(rows)} pixels. "
            "Mask them: Cube(values, mask=...), or set them to 0."
        )
    return _of_ordinary_size(rows, owner)


def real_array(values: Any, owner: str) -> np.ndarray[Any, Any]:
    """As NumPy array of real numbers, or an ArrayError."""
    found = as_numpy(values)
    if found.dtype.kind not in "fiu":
        raise ArrayError(f"{owner} must hold real numbers, got {found.dtype}.")
    return found


def _of_ordinary_size(rows: Any, owner: str) -> Any:
    """The rows, where their squares neither overflow nor vanish."""
    largest = max(float(rows.max()), -float(rows.min()))
    if largest > 1e100 or 0.0 < largest < 1e-100:
        raise ArrayError(
            f"{owner} must hold numbers from 1e-100 to 1e100, got {largest:.3g}. Change the units."
        )
    return rows


def spectra_in(endmembers: Any, layout: Layout, bands: int, owner: str) -> np.ndarray[Any, Any]:
    """Endmembers as rows (p, L), float64, that fit the bands of the scene."""
    values = as_numpy(endmembers)
    if values.ndim != 2 or 0 in values.shape:
        raise ShapeError(
            f"{owner} must have shape (p, bands), or (bands, p) with 'bands_first', got {values.shape}."
        )
    rows = values.T if layout == "bands_first" else values
    if rows.shape[1] != bands:
        hint = " They seem to be turned: give their transpose." if rows.shape[0] == bands else ""
        raise ShapeError(f"{owner} must have the {bands} bands of the scene, got {rows.shape[1]}.{hint}")
    if values.dtype.kind not in "fiu" or not np.isfinite(values).all():
        raise ArrayError(f"{owner} must be real and finite, got other entries.")
    return np.ascontiguousarray(rows, dtype=np.float64)


def spectra_out(E: Any, layout: Layout) -> Any:
    """Endmembers (p, L) in the layout of the scene."""
    return np.ascontiguousarray(E.T) if layout == "bands_first" else E


def check_layout(layout: Any, owner: str) -> None:
    """Refuse an unknown layout."""
    if layout not in ("cube", "bands_first"):
        raise ParameterError(f"{owner}.layout must be 'cube' or 'bands_first', got {layout!r}.")


def check_run(owner: str, seed: Any, tol: Any = 0.0, **counts: tuple[Any, int]) -> None:
    """Refuse a seed, a tolerance, or counts (value, least value) that no run can have."""
    if not isinstance(seed, int | np.integer) or isinstance(seed, bool) or seed < 0:
        raise ParameterError(f"{owner}.seed must be an integer >= 0, got {seed!r}.")
    if isinstance(tol, bool) or not isinstance(tol, int | float) or not tol >= 0.0:
        raise ParameterError(f"{owner}.tol must be a number >= 0, got {tol!r}.")
    for name, (value, least) in counts.items():
        if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < least:
            raise ParameterError(f"{owner}.{name} must be an integer >= {least}, got {value!r}.")
