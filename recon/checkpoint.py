"""Checkpoints and results as single .npz files, without pickle, written so that no half file is ever seen.

A file holds the arrays of a state (members of tuples as ``name.0``, ``name.1``) and one JSON text with its
numbers and the fingerprint of solver and problem. It is written to a temporary name in the same folder,
flushed to disk and renamed: after a crash, a full disk or Ctrl-C there is the old file or the new one.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from recon.arrays import Array, as_numpy, from_numpy, leaves
from recon.errors import CheckpointError, DataError
from recon.operator import Operator
from recon.params import describe
from recon.problem import Problem
from recon.solver import Result, Solver, State

__all__ = ["atomic", "data_digest", "fingerprint", "load_state", "result_record", "save_result", "save_state"]

_KEY = "recon"
_FORMAT = 1


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


def _write(path: Path, arrays: dict[str, np.ndarray[Any, Any]], record: dict[str, Any]) -> None:
    text = np.array(json.dumps(record))
    with atomic(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **{_KEY: text, **arrays})  # type: ignore[arg-type]


# -- states ----------------------------------------------------------------------------------------------


def data_digest(data: Array) -> str:
    """A digest of the data's values, shapes and dtypes."""
    digest = hashlib.sha256()
    for leaf in leaves(data):
        values = np.ascontiguousarray(as_numpy(leaf))
        digest.update(f"{values.shape}{values.dtype}".encode())
        digest.update(values.data if values.size else b"")
    return digest.hexdigest()[:16]


def fingerprint(problem: Problem, solver: Solver) -> dict[str, Any]:
    """What must agree for a state to be continued: solver, its parameters, and the data."""
    return {
        "solver": type(solver).__name__,
        "parameters": describe(solver),
        "operator": _plain(problem.operator),
        "prior": repr(problem.prior),
        "loss": type(problem.loss).__name__,
        "data": data_digest(problem.data),
    }


def _plain(operator: Operator) -> Any:
    """An operator's parameters where they are declared, else its text."""
    return [repr(operator), describe(operator)] if dataclasses.is_dataclass(operator) else repr(operator)


def save_state(path: str | Path, state: State, problem: Problem, solver: Solver) -> None:
    """Write a state atomically; :func:`load_state` gives it back bit by bit.

    Raises
    ------
    DataError
        When it cannot be written.
    """
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    values: dict[str, Any] = {}
    for item in dataclasses.fields(state):
        value = getattr(state, item.name)
        if isinstance(value, tuple):
            values[item.name] = {
                "tuple": [_pack(part, f"{item.name}.{k}", arrays) for k, part in enumerate(value)]
            }
        else:
            values[item.name] = _pack(value, item.name, arrays)
    record = {"format": _FORMAT, "state": values, "run": fingerprint(problem, solver)}
    _write(Path(path), arrays, record)


def load_state(path: str | Path, problem: Problem, solver: Solver) -> State:
    """Read a state and put its arrays in the library and on the device of the problem's data.

    Raises
    ------
    CheckpointError
        When the file is unreadable, or belongs to another solver, other parameters or other data.
    """
    path = Path(path)
    record, arrays = _read(path)
    expected = json.loads(json.dumps(fingerprint(problem, solver)))
    for key, value in expected.items():
        if record.get("run", {}).get(key) != value:
            raise CheckpointError(
                f"{path} must come from the same {key}, got a state of another. "
                "Resume with the problem and solver that wrote it, or start anew."
            )
    fields: dict[str, Any] = {}
    for name, how in record["state"].items():
        if "tuple" in how:
            fields[name] = tuple(
                _unpack(part, f"{name}.{k}", arrays, problem.data) for k, part in enumerate(how["tuple"])
            )
        else:
            fields[name] = _unpack(how, name, arrays, problem.data)
    return solver.state_type(**fields)


def _pack(value: Any, name: str, arrays: dict[str, np.ndarray[Any, Any]]) -> dict[str, Any]:
    """An array goes into ``arrays``; a plain number is written as JSON, which keeps every bit of a float."""
    if hasattr(value, "shape"):
        arrays[name] = as_numpy(value)
        return {"array": True}
    return {"value": value}


def _unpack(how: dict[str, Any], name: str, arrays: dict[str, np.ndarray[Any, Any]], like: Array) -> Any:
    return from_numpy(arrays[name], like) if "array" in how else how["value"]


def _read(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray[Any, Any]]]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            record = json.loads(str(archive[_KEY]))
            arrays = {name: archive[name] for name in archive.files if name != _KEY}
    except FileNotFoundError:
        raise CheckpointError(
            f"{path} does not exist. Give the file that save_state or save-every wrote."
        ) from None
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, EOFError, AttributeError) as error:
        raise CheckpointError(
            f"{path} must be a recon state file, got something unreadable ({error})."
        ) from error
    if record.get("format") != _FORMAT:
        raise CheckpointError(f"{path} must have format {_FORMAT}, got {record.get('format')}. Update recon.")
    return record, arrays


# -- results ---------------------------------------------------------------------------------------------


def save_result(path: Path, result: Result) -> None:
    """Write x, variance, samples and the record of a result as one .npz file, atomically."""
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    for name in ("x", "variance", "samples"):
        value = getattr(result, name)
        if isinstance(value, tuple):
            arrays |= {f"{name}.{k}": as_numpy(part) for k, part in enumerate(value)}
        elif value is not None:
            arrays[name] = as_numpy(value)
    for name in sorted({key for record in result.history for key in record.values}):
        iterations, values = result.series(name)
        arrays[f"history.{name}"] = np.array([iterations, values], dtype=np.float64)
    _write(path, arrays, {"format": _FORMAT, **result_record(result)})


def result_record(result: Result) -> dict[str, Any]:
    """Everything about a result that is not an array, as JSON data."""
    return {
        "status": result.status.name,
        "help": result.status.value,
        "iterations": result.iterations,
        "seconds": result.seconds,
        "solver": {"class": type(result.solver).__name__, **describe(result.solver)},
        "provenance": dict(result.provenance),
        "last": dict(result.history[-1].values) if result.history else {},
    }
