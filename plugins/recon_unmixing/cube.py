"""A hyperspectral scene with what belongs to it: wavelengths, good bands, and which pixels to use; and its readers.

cube = read_cube("scene.hdr")                                        ENVI header and data
cube = read_cube("samson.mat", "Y", shape=(95, 95), layout="bands_first", order="F")
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from recon.arrays import as_numpy
from recon.errors import ArrayError, DataError, MissingExtraError, ShapeError
from recon_unmixing._layout import Layout, check_layout

__all__ = ["Cube", "read_cube"]


@dataclass(frozen=True, eq=False)
class Cube:
    """A scene (H, W, L): bands last.

    Parameters
    ----------
    values
        (H, W, L) real.
    wavelengths
        (L,) in the unit ``unit``, or None.
    bands
        (L,) booleans: the bands to use; all by default. Unmixing leaves the others out, plots leave a gap.
    mask
        (H, W) booleans: the pixels to use; by default those whose good bands are all finite.
    unit, name
        For plots.

    Raises
    ------
    ShapeError, ArrayError
        When the parts do not fit each other, or a pixel that is used is not finite.
    """

    values: Any
    wavelengths: Any = None
    bands: Any = None
    mask: Any = None
    unit: str = "nm"
    name: str = ""

    def __post_init__(self) -> None:
        values = as_numpy(self.values)
        if values.ndim != 3 or 0 in values.shape:
            raise ShapeError(f"Cube.values must have shape (rows, columns, bands), got {values.shape}.")
        if values.dtype.kind not in "fiu":
            raise ArrayError(f"Cube.values must be real numbers, got {values.dtype}.")
        count = values.shape[-1]
        waves = None if self.wavelengths is None else _vector(self.wavelengths, count, "wavelengths")
        bands = np.ones(count, bool) if self.bands is None else _vector(self.bands, count, "bands")
        if bands.dtype.kind != "b" or not bands.any():
            raise ArrayError("Cube.bands must be booleans, one per band, at least one true.")
        if self.mask is None:
            mask = np.isfinite(values[..., bands]).all(-1)
        else:
            mask = as_numpy(self.mask)
            if mask.shape != values.shape[:2] or mask.dtype.kind != "b":
                raise ShapeError(
                    f"Cube.mask must be booleans of shape {values.shape[:2]}, got {mask.dtype} {mask.shape}."
                )
        if not mask.any():
            raise ArrayError("Cube.mask must leave at least one pixel whose good bands are finite, got none.")
        if not np.isfinite(values[mask][:, bands]).all():
            raise ArrayError("Cube.values must be finite where the mask is true, got NaN or infinity there.")
        for name, value in (("values", values), ("wavelengths", waves), ("bands", bands), ("mask", mask)):
            object.__setattr__(self, name, value)

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.values.shape)

    @property
    def spectra(self) -> np.ndarray[Any, Any]:
        """The pixels in use, in their good bands: (N, good bands), float64."""
        return np.ascontiguousarray(self.values[self.mask][:, self.bands], dtype=np.float64)

    def without_bands(self, *ranges: tuple[float, float]) -> Cube:
        """The cube with further bands out of use: those whose wavelengths lie in any of the ranges."""
        if self.wavelengths is None:
            raise ArrayError(
                "Cube.without_bands needs wavelengths, which this cube has not. Give Cube.bands instead."
            )
        good = self.bands.copy()
        for low, high in ranges:
            good &= ~((self.wavelengths >= low) & (self.wavelengths <= high))
        return replace(self, bands=good)

    def maps(self, rows: Any) -> np.ndarray[Any, Any]:
        """Numbers per used pixel (N, ...) as maps (H, W, ...); NaN where a pixel is not in use."""
        rows = np.asarray(rows)
        made = np.full((*self.mask.shape, *rows.shape[1:]), np.nan, dtype=np.result_type(rows, np.float32))
        made[self.mask] = rows
        return made

    def full_spectra(self, spectra: Any) -> np.ndarray[Any, Any]:
        """Spectra (p, good bands) in all bands; NaN in the others."""
        spectra = np.asarray(spectra)
        made = np.full((*spectra.shape[:-1], self.bands.size), np.nan)
        made[..., self.bands] = spectra
        return made

    def __repr__(self) -> str:
        rows, columns, count = self.shape
        return (
            f"<Cube {self.name or ''}: {rows} x {columns} pixels ({int(self.mask.sum())} in use), "
            f"{count} bands ({int(self.bands.sum())} in use)>"
        ).replace("<Cube :", "<Cube:")


def read_cube(
    path: str | Path,
    variable: str | None = None,
    *,
    shape: tuple[int, int] | None = None,
    layout: Layout = "cube",
    order: Literal["C", "F"] = "C",
    wavelengths: Any = None,
) -> Cube:
    """Read a scene.

    Parameters
    ----------
    path
        An ENVI header (``.hdr``, its data file beside it; needs the extra ``io``) or a MATLAB file (``.mat``).
    variable
        Name of the array in a MATLAB file; needed where it holds more than one that could be a scene.
    shape, layout, order
        For a matrix: rows and columns of the scene, ``"cube"`` for (pixels, bands) or ``"bands_first"`` for (bands,
        pixels), and how pixels are counted: ``"F"`` column by column, as MATLAB does, ``"C"`` row by row.
    wavelengths
        Of the bands, where the file has none.

    Raises
    ------
    DataError
        When the file is not there, unreadable, or does not hold such an array.
    """
    path = Path(path)
    check_layout(layout, "read_cube")
    if not path.is_file():
        raise DataError(f"{path} must be a file, got nothing of that name.")
    if path.suffix.lower() == ".hdr":
        return _envi(path, wavelengths)
    if path.suffix.lower() != ".mat":
        raise DataError(
            f"{path} must be an ENVI header (.hdr) or a MATLAB file (.mat). Read it, and make a Cube."
        )
    values = _matlab(path, variable)
    if values.ndim == 2:
        values = _folded(values, shape, layout, order, path)
    elif layout != "cube":
        values = np.moveaxis(values, 0, -1)
    return Cube(values, wavelengths, name=path.stem)


def _envi(path: Path, wavelengths: Any) -> Cube:
    try:
        from spectral.io import envi
    except ImportError:
        raise MissingExtraError(
            "read_cube needs the package spectral for ENVI files. pip install 'recon-inverse[io]'"
        ) from None
    try:
        file = envi.open(str(path))
        values = np.asarray(file.load(dtype=np.float64))
    except Exception as error:  # spectral raises many kinds of its own
        raise DataError(f"{path} cannot be read as ENVI: {error}") from error
    meta = file.metadata
    found = wavelengths if wavelengths is not None else (file.bands.centers or None)
    bands = np.array([int(float(b)) != 0 for b in meta["bbl"]]) if "bbl" in meta else None
    ignore = meta.get("data ignore value")
    if ignore is not None:
        values = np.where(values == float(ignore), np.nan, values)
    unit = {"nanometers": "nm", "micrometers": "um"}.get(str(meta.get("wavelength units", "")).lower(), "nm")
    return Cube(values, found, bands, unit=unit, name=path.stem)


def _matlab(path: Path, variable: str | None) -> np.ndarray[Any, Any]:
    from scipy.io import loadmat

    try:
        content = loadmat(path)
    except NotImplementedError:
        content = _matlab73(path)
    except Exception as error:
        raise DataError(f"{path} cannot be read as a MATLAB file: {error}") from error
    arrays = {
        name: value
        for name, value in content.items()
        if isinstance(value, np.ndarray)
        and value.dtype.kind in "fiu"
        and value.ndim in (2, 3)
        and value.size > 1
    }
    listed = ", ".join(f"{name} {value.shape}" for name, value in arrays.items())
    cubes = [name for name, value in arrays.items() if value.ndim == 3]
    if variable is None and len(cubes) == 1:
        variable = cubes[0]
    if variable not in arrays:
        asked = "a variable" if variable is None else f"the variable {variable!r}"
        raise DataError(
            f"{path}: {asked} must be named that is there, got {listed}. Say read_cube(path, name)."
        )
    return arrays[variable]


def _matlab73(path: Path) -> dict[str, Any]:
    try:
        import h5py
    except ImportError:
        raise MissingExtraError(
            "read_cube needs the package h5py for MATLAB files of version 7.3. pip install 'recon-inverse[io]'"
        ) from None
    with h5py.File(path) as file:  # HDF5 has MATLAB's axes in reverse
        return {name: np.asarray(item).T for name, item in file.items() if isinstance(item, h5py.Dataset)}


def _folded(values: Any, shape: Any, layout: Layout, order: Any, path: Path) -> np.ndarray[Any, Any]:
    """A matrix as a cube."""
    if shape is None:
        raise DataError(
            f"{path} holds a matrix {values.shape}. Say shape=(rows, columns) of the scene, and its layout."
        )
    rows = values.T if layout == "bands_first" else values
    if len(rows) != shape[0] * shape[1]:
        raise DataError(
            f"{path}: {shape[0]} x {shape[1]} pixels must be {len(rows)}, as layout {layout!r} reads {values.shape}. "
            "Check shape and layout."
        )
    return (
        rows.reshape(*shape, -1, order=order)
        if order == "C"
        else rows.reshape(*shape[::-1], -1).swapaxes(0, 1)
    )


def _vector(values: Any, count: int, name: str) -> np.ndarray[Any, Any]:
    vector = np.asarray(as_numpy(values) if hasattr(values, "shape") else values)
    if vector.shape != (count,):
        raise ShapeError(f"Cube.{name} must hold one entry per band, {count}, got shape {vector.shape}.")
    return vector
