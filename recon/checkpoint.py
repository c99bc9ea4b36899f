"""Checkpoints as single .npz files, without pickle, written so that no half file is ever seen.

A file holds the arrays of a state (members of tuples as ``name.0``, ``name.1``) and one JSON text with its
numbers, the history of the run, and the fingerprint of solver and problem. It is written aside and renamed:
after a crash, a full disk or Ctrl-C there is the old file or the new one.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from recon.arrays import Array, ArraySpec, as_numpy, from_numpy, leaves, namespace
from recon.errors import CheckpointError
from recon.losses import Loss
from recon.operator import Operator, capability
from recon.params import describe
from recon.priors.base import Prior
from recon.problem import Problem
from recon.solver import Record, Solver, State
from recon.storage import RECORD, write_npz

__all__ = [
    "data_digest",
    "fingerprint",
    "load_history",
    "load_state",
    "save_state",
    "write_state",
]

_FORMAT = 1


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
    """What must agree for a state to be continued: solver, its parameters, and every part of the problem."""
    parts = {
        "solver": type(solver).__name__,
        "parameters": describe(solver),
        "operator": _identity(problem.operator),
        "prior": _identity(problem.prior),
        "loss": _identity(problem.loss),
        "noise": _identity(problem.noise),
        "data": data_digest(problem.data),
    }
    return json.loads(json.dumps(parts))  # type: ignore[no-any-return]


def _identity(part: Any) -> Any:
    """Class and contents of a part of a problem as JSON data; arrays as digests."""
    if part is None or isinstance(part, bool | int | float | str):
        return part
    if isinstance(part, tuple | list):
        return [_identity(one) for one in part]
    if isinstance(part, dict):
        return [[_identity(name), _identity(value)] for name, value in part.items()]
    if isinstance(part, Operator | Prior | Loss | ArraySpec) or dataclasses.is_dataclass(part):
        if dataclasses.is_dataclass(part):
            contents = {field.name: getattr(part, field.name) for field in dataclasses.fields(part)}
        else:  # plans and cached properties come and go
            cached = {
                n for c in type(part).__mro__ for n, v in vars(c).items() if isinstance(v, cached_property)
            }
            contents = {name: value for name, value in vars(part).items() if name not in {"_plans", *cached}}
        own = capability(part, "digest")  # of what lies behind the fields: the weights in a folder
        if own:
            contents["digest"] = own()
        return {
            "class": f"{type(part).__module__}.{type(part).__qualname__}",
            **{name: _identity(v) for name, v in contents.items()},
        }
    if hasattr(part, "shape") and hasattr(part, "dtype"):
        return data_digest(part)
    return repr(part) if isinstance(part, complex) else type(part).__qualname__


def save_state(
    path: str | Path, state: State, problem: Problem, solver: Solver, history: Sequence[Record] = ()
) -> None:
    """Write a state atomically; :func:`load_state` gives it back bit by bit.

    Parameters
    ----------
    path
        The file, by custom of suffix .npz.
    state, problem, solver
        What to save, and what it belongs to.
    history
        Records of the run so far, for :func:`load_history`.

    Raises
    ------
    DataError
        When it cannot be written.
    """
    write_state(path, state, fingerprint(problem, solver), history)


def write_state(path: str | Path, state: State, run: dict[str, Any], history: Sequence[Record] = ()) -> None:
    """As :func:`save_state`, with the fingerprint of problem and solver at hand."""
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    values = {
        item.name: _pack(getattr(state, item.name), item.name, arrays) for item in dataclasses.fields(state)
    }
    rows = [[one.iteration, one.seconds, dict(one.values)] for one in history]
    write_npz(Path(path), arrays, {"format": _FORMAT, "state": values, "run": run, "history": rows})


def load_state(path: str | Path, problem: Problem, solver: Solver) -> State:
    """Read a state and put its arrays in the library and on the device of the problem's data.

    Raises
    ------
    CheckpointError
        When the file is unreadable, or belongs to another solver, other parameters or other data.
    """
    path = Path(path)
    record, arrays = _read(path)
    for key, value in fingerprint(problem, solver).items():
        if record["run"].get(key) != value:
            raise CheckpointError(
                f"{path} must come from the same {key}, got a state of another. "
                "Resume with the problem and solver that wrote it, or start anew."
            )
    try:
        packed = record["state"].items()
        fields = {name: _unpack(how, name, arrays, problem.data) for name, how in packed}
        return solver.state_type(**fields)
    except (KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"{path} must hold a {solver.state_type.__name__} of this version, got another. Start anew."
        ) from error


def load_history(path: str | Path) -> tuple[Record, ...]:
    """The records that were saved with a state.

    Raises
    ------
    CheckpointError
        When the file is unreadable.
    """
    rows = _read(Path(path))[0].get("history", [])
    return tuple(Record(iteration, seconds, values) for iteration, seconds, values in rows)


def _pack(value: Any, name: str, arrays: dict[str, np.ndarray[Any, Any]]) -> dict[str, Any]:
    """How a value is stored: an array in ``arrays``, a plain number as JSON, which keeps every bit of a float."""
    if isinstance(value, tuple):
        return {"tuple": [_pack(part, f"{name}.{k}", arrays) for k, part in enumerate(value)]}
    if isinstance(value, complex) and not hasattr(value, "shape"):
        return {"complex": [value.real, value.imag]}
    if not hasattr(value, "shape"):
        return {"value": value}
    array = as_numpy(value)
    # The order of axes in memory decides the order of sums, and so the last bit of what comes after.
    order = sorted(range(array.ndim), key=lambda axis: -abs(array.strides[axis]))
    arrays[name] = np.ascontiguousarray(array.transpose(order)) if array.ndim else array
    return {"axes": order}


def _unpack(how: dict[str, Any], name: str, arrays: dict[str, np.ndarray[Any, Any]], like: Array) -> Any:
    if "tuple" in how:
        return tuple(_unpack(part, f"{name}.{k}", arrays, like) for k, part in enumerate(how["tuple"]))
    if "complex" in how:
        return complex(*how["complex"])
    if "value" in how:
        return how["value"]
    array, order = from_numpy(arrays[name], like), how["axes"]
    if order == sorted(order):
        return array
    return namespace(array).permute_dims(array, tuple(order.index(axis) for axis in range(len(order))))


def _read(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray[Any, Any]]]:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            record = json.loads(str(archive[RECORD]))
            arrays = {name: archive[name] for name in archive.files if name != RECORD}
    except FileNotFoundError:
        raise CheckpointError(
            f"{path} does not exist. Give the file that save_state or SaveEvery wrote."
        ) from None
    except Exception as error:  # a foreign or damaged file can make zip, NumPy and JSON raise anything
        raise CheckpointError(
            f"{path} must be a recon state file, got something unreadable ({type(error).__name__})."
        ) from error
    if not isinstance(record, dict) or record.get("format") != _FORMAT:
        version = record.get("format") if isinstance(record, dict) else None
        raise CheckpointError(f"{path} must have format {_FORMAT}, got {version}. Update recon.")
    if "state" not in record or not isinstance(record.get("run"), dict):
        raise CheckpointError(
            f"{path} must be a recon state file, got another one of recon, such as a result."
        )
    return record, arrays
