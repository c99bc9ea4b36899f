"""Values of a run file that TOML itself has not: arrays, specs, and instances of registered classes.

{file, key}                  an array of a data file; the key is needed where there are several
{start, stop, count, unit}   evenly spaced values, stop left out; degrees (the default unit) become radians
{shape, kind}                an ArraySpec
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Ge

from recon import registry
from recon.arrays import ArraySpec
from recon.errors import DataError, ParameterError, ReconError
from recon.params import Parameters, build, check, nearest, short

__all__ = ["TABLES", "from_file", "make", "read_arrays"]


def read_arrays(path: Path) -> dict[str, Any]:
    """The named arrays of a data file, by the first plugin that knows its format.

    Raises
    ------
    DataError
        When there is no such file, no plugin reads it, or it is damaged.
    """
    if not path.exists():
        raise DataError(
            f"{path} must exist, got nothing there. Check the path: it is relative to the run file."
        )
    for source, read in registry.hooks("recon_read"):
        try:
            arrays: dict[str, Any] | None = read(path)
        except ReconError:
            raise
        except Exception as error:
            raise DataError(
                f"{path} must be readable, got {type(error).__name__} from {source}: {error}. "
                "Check the file, or tell the plugin's authors."
            ) from error
        if arrays is not None:
            return arrays
    if path.is_dir():
        raise DataError(f"{path} must be a data file, got a folder. Name the file in it.")
    raise DataError(
        f"{path} must be of a format that a plugin reads, got {path.suffix or 'no suffix'!r}. "
        "Convert it to .npz or .npy, or install a plugin with a recon_read hook."
    )


def make(cls: Any, values: dict[str, Any]) -> Any:
    """An instance from plain data; whatever a plugin's class raises becomes one sentence."""
    try:
        if not (isinstance(cls, type) and dataclasses.is_dataclass(cls)):
            known = tuple(inspect.signature(cls).parameters)
            for key in values:
                if key not in known:
                    near = nearest(key, known)
                    advice = f"Did you mean {near!r}?" if near else f"Known: {', '.join(known) or 'none'}."
                    raise ParameterError(f"{cls.__name__} has no parameter {key!r}. {advice}")
            return cls(**values)
        made = build(cls, values)
        check(made)
        return made
    except ReconError:
        raise
    except Exception as error:
        given, why = ", ".join(values) or "nothing", str(error).rstrip(".")
        raise ParameterError(
            f"{cls.__name__} cannot be made of {given}: {type(error).__name__}: {why}."
        ) from error


def from_file(folder: Path, table: Mapping[str, Any]) -> np.ndarray[Any, Any]:
    """{file, key}: an array of a data file; key is needed where there are several."""
    name, key = table["file"], table.get("key")
    for what, text in (("file", name), ("key", key)):
        if text is not None and not isinstance(text, str):
            raise ParameterError(f"{what} must be a string, got {short(text)}.")
    path = folder / name
    arrays = read_arrays(path)
    numbers = {
        k: v for k, v in arrays.items() if getattr(getattr(v, "dtype", None), "kind", "") in tuple("biufc")
    }
    if key is None and len(numbers) == 1:
        return np.asarray(next(iter(numbers.values())))
    if key not in numbers:
        rule = "one array, or be given with a key" if key is None else f"the array {key!r}"
        raise DataError(f"{path} must hold {rule}, got {', '.join(numbers) or 'none'}. Name one with key.")
    return np.asarray(numbers[key])


def _spaced(folder: Path, table: Mapping[str, Any]) -> np.ndarray[Any, Any]:
    """{start, stop, count, unit}: evenly spaced values, stop left out; degrees become radians."""
    given = build(Spaced, table)
    values = np.linspace(given.start, given.stop, given.count, endpoint=False)
    return np.deg2rad(values) if given.unit == "degrees" else values


@dataclass(frozen=True)
class Spaced(Parameters):
    """The keys of evenly spaced values."""

    start: float
    stop: float
    count: Annotated[int, Ge(1)]
    unit: Literal["degrees", "radians", "none"] = "degrees"


def _spec(folder: Path, table: Mapping[str, Any]) -> ArraySpec:
    """{shape, kind}."""
    return ArraySpec(table["shape"], table.get("kind", "real"))


TABLES: dict[tuple[str, ...], Callable[[Path, Mapping[str, Any]], Any]] = {
    ("file", "key"): from_file,
    ("start", "stop", "count", "unit"): _spaced,
    ("shape", "kind"): _spec,
}
"""The keys of a table, and what makes the value of it, in the folder of the run file."""
