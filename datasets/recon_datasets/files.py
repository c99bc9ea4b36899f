"""Readers and writers of common files, behind the hooks ``recon_read`` and ``recon_write``.

============= ======================================= ===================================================
suffix        read                                    write
============= ======================================= ===================================================
.npy          ``{"data": array}``                     one array
.npz          every array                             every array
.mat          numeric arrays, MATLAB 5 to 7.2         every array (version 5)
              (``"scan.angles"`` for struct fields)
.png          ``{"data": array}`` as stored           ``x``, 16-bit grey between its extremes
.tif, .tiff   ``{"data": array}``, pages first        ``x``, float32, one page per leading index
.zarr         every array (needs zarr)                every array (needs zarr)
============= ======================================= ===================================================

The record of a run travels as JSON: under ``"record"`` in .npz, .mat and .zarr attributes, in a text field of
pictures, not in .npy; readers give it back under ``"record"``. Nothing is ever unpickled. Arrays may live in
any library; MATLAB knows no array of fewer than two axes, so those come back from .mat as one row.
"""

from __future__ import annotations

import json
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from recon.arrays import as_numpy
from recon.errors import DataError, MissingExtraError

__all__ = ["read", "write"]

_RECORD = "record"
# what the libraries raise for files that are damaged or not what their suffix says
_DAMAGE = (
    OSError,
    EOFError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    NotImplementedError,
    SyntaxError,  # Pillow, for a damaged PNG
    AttributeError,  # zarr and SciPy, for parts that are missing
    struct.error,
    tokenize.TokenError,  # NumPy, for a damaged header
    zipfile.BadZipFile,
    zlib.error,
)


def read(path: Path) -> dict[str, Any] | None:
    """Read a file into named arrays.

    Parameters
    ----------
    path
        The file; its suffix says the format.

    Returns
    -------
    Arrays by name (and the run's record under ``"record"`` where there is one), or None for a suffix that is
    not in the table above.

    Raises
    ------
    DataError
        When the file is missing, a folder, damaged, or holds pickled objects or (.npy) no numbers.
    MissingExtraError
        For .zarr without zarr.
    """
    path = Path(path)
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        return None
    if not path.exists():
        raise DataError(f"The data file must exist, got {path}. Check the path.")
    if path.is_dir() and reader is not _read_zarr:
        raise DataError(f"{path.name} must be a file, got a folder. Name the file in it.")
    try:
        return reader(path)
    except (DataError, MissingExtraError):
        raise
    except _DAMAGE as error:
        raise DataError(
            f"{path.name} must be a readable {path.suffix} file, got a damaged or foreign one "
            f"({type(error).__name__}). Make or download it again."
        ) from error


def write(path: Path, arrays: Mapping[str, Any], record: Mapping[str, Any] | None = None) -> bool | None:
    """Write named arrays and their record to ``path``.

    Parameters
    ----------
    path
        The file; its suffix says the format.
    arrays
        Arrays of any library by name; members of a tuple are written as ``name.0``, ``name.1``.
    record
        JSON data that describe them.

    Returns
    -------
    True when done, None for a suffix that is not in the table above.

    Raises
    ------
    DataError
        When the format cannot hold these arrays, or the file cannot be written.
    MissingExtraError
        For .zarr without zarr.
    """
    path = Path(path)
    writer = _WRITERS.get(path.suffix.lower())
    if writer is None:
        return None
    plain = _plain(path, arrays)
    try:
        text = json.dumps(dict(record or {}))
    except (TypeError, ValueError) as error:
        raise DataError(
            f"{path.name}: the record must be JSON data, got something else ({error})."
        ) from error
    try:
        writer(path, plain, text)
    except (DataError, MissingExtraError):
        raise
    except (OSError, ValueError, TypeError) as error:
        raise DataError(f"{path.name} must be writable, got {type(error).__name__}: {error}.") from error
    return True


_ADVICE = "Save plain numeric arrays."
_SPLIT = "Read it in parts, or save it as .npy."


def _plain(path: Path, arrays: Mapping[str, Any]) -> dict[str, np.ndarray[Any, Any]]:
    """The arrays in NumPy, with the members of tuples numbered; checked."""
    plain: dict[str, np.ndarray[Any, Any]] = {}
    for name, value in arrays.items():
        parts = {f"{name}.{i}": v for i, v in enumerate(value)} if isinstance(value, tuple) else {name: value}
        plain.update({key: np.asarray(as_numpy(part)) for key, part in parts.items()})
    for name, array in plain.items():
        if name == _RECORD or not name or "/" in name or "\\" in name:
            raise DataError(
                f"{path.name}: a name must be free of '/' and not 'record', got {name!r}. Rename it."
            )
        if array.dtype.hasobject:
            raise DataError(f"{path.name}: array {name!r} must be plain numbers, got objects. {_ADVICE}")
    return plain


def _only(path: Path, arrays: Mapping[str, np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
    """The single array."""
    if len(arrays) != 1:
        raise DataError(f"{path.name} must get one array, got {len(arrays)}. Write .npz for several.")
    return next(iter(arrays.values()))


def _image(path: Path, arrays: Mapping[str, np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
    """The array ``x``, or the only one, as something to look at."""
    image = arrays["x"] if "x" in arrays else _only(path, arrays)
    if image.ndim < 2 or image.size == 0 or image.dtype.kind not in "biuf" or not np.isfinite(image).all():
        raise DataError(
            f"{path.name} must get a finite real image, got shape {image.shape} and dtype {image.dtype}. "
            "Write .npz for anything else."
        )
    return image


# -- NumPy ---------------------------------------------------------------------------------------------------


def _read_npy(path: Path) -> dict[str, Any]:
    with path.open("rb") as stream:
        data = _read_array(path, stream)
    if data.dtype.kind not in "biufc":
        raise DataError(f"{path.name} must hold numbers, got dtype {data.dtype}. {_ADVICE}")
    return {"data": data}


def _read_array(path: Path, stream: Any) -> np.ndarray[Any, Any]:
    try:
        return np.lib.format.read_array(stream, allow_pickle=False)
    except ValueError as error:
        if "allow_pickle" not in str(error):
            raise
        raise DataError(
            f"{path.name} must be readable without pickle, got pickled objects. {_ADVICE}"
        ) from error


def _write_npy(path: Path, arrays: Mapping[str, np.ndarray[Any, Any]], record: str) -> None:
    with path.open("wb") as stream:
        np.save(stream, _only(path, arrays), allow_pickle=False)


def _read_npz(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    with zipfile.ZipFile(path) as archive:
        for member in archive.namelist():
            if member.endswith(".npy"):
                with archive.open(member) as stream:
                    found[member.removesuffix(".npy")] = _read_array(path, stream)
    return _decode(found)


def _write_npz(path: Path, arrays: Mapping[str, np.ndarray[Any, Any]], record: str) -> None:
    # not numpy.savez: it takes no array that is named "file"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, value in {**arrays, _RECORD: np.array(record)}.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as stream:
                np.lib.format.write_array(stream, value, allow_pickle=False)


def _decode(found: dict[str, Any]) -> dict[str, Any]:
    """The record as JSON data where it is JSON text."""
    text = found.get(_RECORD)
    if isinstance(text, np.ndarray) and text.size == 1:
        text = text.ravel()[0]
    if isinstance(text, str):
        try:
            found[_RECORD] = json.loads(text)
        except ValueError:
            found[_RECORD] = text
    return found


# -- MATLAB --------------------------------------------------------------------------------------------------


def _read_mat(path: Path) -> dict[str, Any]:
    import scipy.io  # type: ignore[import-untyped]

    try:
        raw = scipy.io.loadmat(path, squeeze_me=False, struct_as_record=True)
    except NotImplementedError as error:
        raise DataError(
            f"{path.name} must be a MATLAB file of version 7.2 or less, got 7.3. Save it with -v7 in MATLAB."
        ) from error
    except scipy.io.matlab.MatReadError as error:
        raise ValueError("no MATLAB file") from error
    found: dict[str, Any] = {}
    for name, value in raw.items():
        if not name.startswith("__"):
            _collect(name, value, found)
    return _decode(found)


def _collect(name: str, value: Any, found: dict[str, Any]) -> None:
    """Add numeric and text arrays; walk into structs of one element; leave cells and objects out."""
    if not isinstance(value, np.ndarray):
        return
    if value.dtype.names:
        if value.size == 1:
            for key in value.dtype.names:
                _collect(f"{name}.{key}", value[key].ravel()[0], found)
    elif value.dtype != object:
        found[name] = value


def _write_mat(path: Path, arrays: Mapping[str, np.ndarray[Any, Any]], record: str) -> None:
    import scipy.io

    named = {name.replace(".", "_"): value for name, value in arrays.items()}
    if len(named) < len(arrays) or not all(name.isidentifier() and len(name) < 32 for name in named):
        raise DataError(
            f"{path.name}: names must be MATLAB identifiers, got {', '.join(arrays)}. Rename them."
        )
    scipy.io.savemat(path, {**named, _RECORD: record}, appendmat=False, do_compression=True)


# -- pictures ------------------------------------------------------------------------------------------------


def _read_picture(path: Path) -> dict[str, Any]:
    from PIL import Image, ImageSequence

    try:
        opened = Image.open(path)
    except Image.DecompressionBombError as error:
        raise DataError(
            f"{path.name} must be a picture of below 179 million pixels, got more. {_SPLIT}"
        ) from error
    with opened as picture:
        text = getattr(picture, "text", {}).get(_RECORD)
        if text is None and hasattr(picture, "tag_v2"):
            text = picture.tag_v2.get(270)  # ImageDescription
        pages = []
        for page in ImageSequence.Iterator(picture):
            page.load()
            pages.append(np.array(page))
    data = pages[0] if len(pages) == 1 else np.stack(pages)
    return _decode({"data": data, _RECORD: text} if isinstance(text, str) else {"data": data})


def _write_png(path: Path, arrays: Mapping[str, np.ndarray[Any, Any]], record: str) -> None:
    from PIL import Image, PngImagePlugin

    image = _image(path, arrays).astype(np.float64)
    if image.ndim != 2:
        raise DataError(
            f"{path.name} must get an image of two axes, got {image.ndim}. Write .tif for a stack."
        )
    low, high = float(image.min()), float(image.max())
    grey = np.rint((image - low) * (65535 / (high - low if high > low else 1.0))).astype(np.uint16)
    fields = PngImagePlugin.PngInfo()
    fields.add_text(_RECORD, json.dumps({**json.loads(record), "black": low, "white": high}))
    Image.fromarray(grey).save(path, format="PNG", pnginfo=fields)


def _write_tiff(path: Path, arrays: Mapping[str, np.ndarray[Any, Any]], record: str) -> None:
    from PIL import Image, TiffImagePlugin

    image = _image(path, arrays).astype(np.float32)
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[270] = record  # ImageDescription
    first, *rest = (Image.fromarray(page) for page in image.reshape(-1, *image.shape[-2:]))
    first.save(path, format="TIFF", save_all=True, append_images=rest, tiffinfo=tags)


# -- zarr ----------------------------------------------------------------------------------------------------


def _zarr() -> Any:
    try:
        import zarr
    except ImportError as error:
        raise MissingExtraError(
            "A .zarr store must have zarr, which is not installed. Run: pip install 'recon-inverse[batch]'."
        ) from error
    return zarr


def _read_zarr(path: Path) -> dict[str, Any]:
    group = _zarr().open_group(str(path), mode="r")
    found = {name: np.asarray(array[...]) for name, array in group.arrays()}
    if _RECORD in group.attrs:
        found[_RECORD] = group.attrs[_RECORD]
    return found


def _write_zarr(path: Path, arrays: Mapping[str, np.ndarray[Any, Any]], record: str) -> None:
    group = _zarr().open_group(str(path), mode="w")
    for name, value in arrays.items():
        group.create_array(name, data=value)
    group.attrs[_RECORD] = json.loads(record)


_READERS: dict[str, Callable[[Path], dict[str, Any]]] = {
    ".npy": _read_npy,
    ".npz": _read_npz,
    ".mat": _read_mat,
    ".png": _read_picture,
    ".tif": _read_picture,
    ".tiff": _read_picture,
    ".zarr": _read_zarr,
}

_WRITERS: dict[str, Callable[[Path, Mapping[str, np.ndarray[Any, Any]], str], None]] = {
    ".npy": _write_npy,
    ".npz": _write_npz,
    ".mat": _write_mat,
    ".png": _write_png,
    ".tif": _write_tiff,
    ".tiff": _write_tiff,
    ".zarr": _write_zarr,
}
