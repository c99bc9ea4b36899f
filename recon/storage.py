"""Files that are whole or absent: written aside, flushed to disk, and renamed."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import tempfile
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from recon.errors import DataError

__all__ = ["RECORD", "atomic", "make_folder", "unbroken", "write_npz"]

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
    temporary = path.parent / f".{path.stem}-{os.urandom(4).hex()}{path.suffix}"
    with unbroken():
        try:
            temporary.open("xb").close()
            yield temporary
            _flush(temporary)
            os.replace(temporary, path)
        except DataError:
            raise
        except OSError as error:
            raise DataError(f"{path} cannot be written: {_why(error)}. Nothing was left there.") from error
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink()


@contextlib.contextmanager
def unbroken() -> Iterator[None]:
    """Let the first Ctrl-C wait until the block has ended; a second one does not wait.

    An archive that is broken off in the middle raises its own errors instead of KeyboardInterrupt.
    """
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield
        return
    caught: list[Any] = []

    def later(number: int, frame: Any) -> None:
        caught.append(frame)
        if len(caught) > 1:
            before(number, frame)

    signal.signal(signal.SIGINT, later)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if len(caught) == 1:
            before(signal.SIGINT, caught[0])


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
