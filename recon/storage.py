"""Files that are whole or absent: written aside, flushed to disk, and renamed."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from recon.errors import DataError

__all__ = ["RECORD", "atomic", "make_folder", "write_npz"]

RECORD = "recon"
"""Name of the JSON text among the arrays of a file that :func:`write_npz` wrote."""


@contextlib.contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A temporary name beside ``path`` with its suffix, renamed to ``path`` when the block ends well.

    Raises
    ------
    DataError
        When the folder is missing, not writable, or the disk is full; nothing is left behind.
    """
    path = Path(path)
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent)
        os.close(handle)
    except OSError as error:
        raise DataError(f"{path} cannot be written: {_why(error)}.") from error
    temporary = Path(name)
    try:
        yield temporary
        _flush(temporary)
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)  # mkstemp makes private files; a result follows the user's umask
        os.replace(temporary, path)
    except OSError as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path} cannot be written: {_why(error)}. Nothing was left there.") from error
    finally:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()


def _flush(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _why(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


def make_folder(path: Path) -> None:
    """Make a folder where there is none, and prove that files can be written there.

    Raises
    ------
    DataError
        When they cannot: now rather than at the end of a long run.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path).close()
    except OSError as error:
        raise DataError(f"{path} must be a folder to write to, got an error: {_why(error)}.") from error


def write_npz(path: Path, arrays: dict[str, np.ndarray[Any, Any]], record: dict[str, Any]) -> None:
    """Write named arrays and one JSON record as an .npz file without pickle, atomically.

    Raises
    ------
    DataError
        When it cannot be written.
    """
    # not numpy.savez: it takes no array that is named "file"
    with atomic(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name, values in {RECORD: np.array(json.dumps(record)), **arrays}.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as stream:
                np.lib.format.write_array(stream, values, allow_pickle=False)
