"""Run files: one TOML file that says everything about a reconstruction.

    [data]       a dataset by name, or a file with the measurements
    [operator]   by name, with its parameters (a dataset brings its own)
    [loss]  [prior]  [solver]     by name, with their parameters; several priors as [[prior]] are summed
    [stopping]   iterations, change, gap, seconds, discrepancy
    [output]     folder and formats

Every error names the file, the key and the rule. Relative paths are relative to the run file.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Ge, Gt, MinLen

from recon import registry
from recon.dataset import Dataset, Sample
from recon.errors import ConfigError, DataError, ParameterError, ReconError
from recon.losses import LeastSquares, Loss
from recon.params import Doc, Parameters, build, nearest
from recon.priors import Prior, Total
from recon.problem import Problem
from recon.solver import Solver
from recon.stopping import Change, Discrepancy, Gap, MaxIterations, MaxSeconds, Rule

__all__ = ["Output", "Run", "Stopping", "load_run", "read_arrays"]

_SECTIONS = ("data", "operator", "loss", "prior", "solver", "stopping", "output")
_TOP = (*_SECTIONS, "seed", "title")


@dataclass(frozen=True)
class Stopping(Parameters):
    """When to stop: whatever comes first of what is given."""

    iterations: Annotated[int, Ge(0), Doc("most iterations")] = 500
    change: Annotated[float | None, Gt(0), Doc("relative change of the image per iteration")] = 1e-5
    gap: Annotated[float | None, Gt(0), Doc("relative duality gap, where the solver certifies one")] = None
    seconds: Annotated[float | None, Gt(0), Doc("wall time")] = None
    discrepancy: Annotated[float | None, Gt(0), Doc("||A x - y|| <= this * noise * sqrt(m)")] = None

    def rule(self) -> Rule:
        """The stopping rule."""
        rule: Rule = MaxIterations(self.iterations)
        if self.change is not None:
            rule = rule | Change(self.change)
        if self.gap is not None:
            rule = rule | Gap(self.gap)
        if self.seconds is not None:
            rule = rule | MaxSeconds(self.seconds)
        if self.discrepancy is not None:
            rule = rule | Discrepancy(self.discrepancy)
        return rule


@dataclass(frozen=True)
class Output(Parameters):
    """Where results go: ``folder/result.npz``, ``.png``, ``.json`` and, while it runs, ``state.npz``."""

    folder: Annotated[str, MinLen(1), Doc("folder of the results, made if it is missing")] = "results"
    formats: Annotated[tuple[Literal["npz", "zarr"], ...], Doc("array files to write")] = ("npz",)
    picture: Annotated[bool, Doc("draw result.png")] = True
    save_every: Annotated[int, Ge(1), Doc("iterations between saved states, for --resume")] = 100


@dataclass(frozen=True)
class Run:
    """A checked run: everything that ``recon run`` needs."""

    file: Path
    table: Mapping[str, Any]
    problem: Problem
    sample: Sample
    solver: Solver | None
    stopping: Stopping
    output: Output
    folder: Path
    seed: int = 0
    title: str = ""


def load_run(path: str | Path) -> Run:
    """Read and check a run file.

    Raises
    ------
    ConfigError
        Naming the file, the key and the rule.
    DataError
        When a data file cannot be read.
    """
    file = Path(path)
    table = _parse(file)
    where = _Where(file)
    for key in table:
        if key not in _TOP:
            raise where.unknown(key, _TOP)
    for key in _SECTIONS:
        wanted = (dict, list) if key == "prior" else (dict,)
        if key in table and not isinstance(table[key], wanted):
            raise where.error(key, "must be a table", f"got {table[key]!r}", f"Write [{key}].")
    seed = table.get("seed", 0)
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise where.error("seed", "must be an integer >= 0", f"got {seed!r}", "")
    stopping = where.build("stopping", Stopping, table.get("stopping", {}))
    output = where.build("output", Output, table.get("output", {}))
    sample = _sample(table, where)
    problem = _problem(table, sample, where)
    solver = where.named("solver", "solver", table["solver"]) if "solver" in table else None
    with where.errors("stopping"):
        stopping.rule().check(problem)
    folder = (file.parent / output.folder).resolve()
    title = str(table.get("title", file.stem))
    return Run(file, table, problem, sample, solver, stopping, output, folder, seed, title)


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
    for _, read in registry.hooks("recon_read"):
        arrays: dict[str, Any] | None = read(path)
        if arrays is not None:
            return arrays
    raise DataError(
        f"{path} must be of a format that a plugin reads, got {path.suffix or 'no suffix'!r}. "
        "Convert it to .npz or .npy, or install a plugin with a recon_read hook."
    )


# -- the parts -------------------------------------------------------------------------------------------


def _parse(file: Path) -> dict[str, Any]:
    try:
        with file.open("rb") as stream:
            return tomllib.load(stream)
    except FileNotFoundError:
        raise ConfigError(f"{file} must be a run file, got nothing there. Check the path.") from None
    except IsADirectoryError:
        raise ConfigError(f"{file} must be a run file, got a folder. Name the .toml file in it.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} must be a TOML file, got a fault: {error}.") from None
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {(error.strerror or str(error)).lower()}.") from None


class _Where:
    """Turns errors of a part into ConfigErrors that name file and key."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def error(self, key: str, rule: str, got: str, advice: str) -> ConfigError:
        return ConfigError(f"{self.file}: [{key}] {rule}, {got}. {advice}".rstrip())

    def unknown(self, key: str, known: tuple[str, ...], section: str = "") -> ConfigError:
        near = nearest(key, known)
        advice = f"Did you mean {near!r}?" if near else f"Known: {', '.join(known)}."
        place = f"[{section}] " if section else ""
        return ConfigError(f"{self.file}: {place}has no key {key!r}. {advice}")

    def errors(self, key: str) -> _Renamed:
        return _Renamed(self.file, key)

    def build(self, key: str, cls: type, values: Mapping[str, Any]) -> Any:
        with self.errors(key):
            return build(cls, values)

    def named(self, key: str, kind: str, table: Mapping[str, Any]) -> Any:
        """The registered thing that a table names, made with the table's other keys."""
        values = dict(table)
        name = values.pop("name", None)
        if not isinstance(name, str):
            raise self.error(key, "must have a name", f"got {name!r}", f"`recon list {kind}` shows them.")
        with self.errors(key):
            cls = registry.get(kind, name)
            return build(cls, {k: self._value(v) for k, v in values.items()})

    def _value(self, value: Any) -> Any:
        """Plain TOML, or an array: {file, key} from a file, {start, stop, count, unit} evenly spaced."""
        if not isinstance(value, dict):
            return value
        if "file" in value:
            return _array(self.file.parent / str(value["file"]), value.get("key"))
        if {"start", "stop", "count"} <= set(value):
            spaced = np.linspace(value["start"], value["stop"], int(value["count"]), endpoint=False)
            return np.deg2rad(spaced) if value.get("unit", "degrees") == "degrees" else spaced
        raise ParameterError(
            f"A table as a value must be {{file, key}} or {{start, stop, count, unit}}, got {sorted(value)}."
        )


class _Renamed:
    """A context in which our errors become ConfigErrors of one section; data errors stay what they are."""

    def __init__(self, file: Path, key: str) -> None:
        self.file, self.key = file, key

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, ReconError) and not isinstance(error, ConfigError | DataError):
            raise ConfigError(f"{self.file}: [{self.key}] {error}") from error


def _array(path: Path, key: Any) -> np.ndarray[Any, Any]:
    arrays = read_arrays(path)
    numbers = {name: value for name, value in arrays.items() if getattr(value, "dtype", None) is not None}
    if key is None and len(numbers) == 1:
        return np.asarray(next(iter(numbers.values())))
    if key not in numbers:
        raise DataError(
            f"{path} must hold the array {key!r}, got {', '.join(numbers) or 'none'}. Name one with key."
        )
    return np.asarray(numbers[key])


def _sample(table: Mapping[str, Any], where: _Where) -> Sample:
    data = dict(table.get("data", {}))
    if ("dataset" in data) == ("file" in data):
        raise where.error(
            "data", "must have either dataset or file", f"got {sorted(data)}", "`recon list dataset`."
        )
    if "dataset" in data:
        return _dataset_sample(data, table, where)
    known = ("file", "key", "truth", "truth_key", "noise", "precision")
    for key in data:
        if key not in known:
            raise where.unknown(key, known, "data")
    if "operator" not in table:
        raise where.error("operator", "must be given with a data file", "got none", "`recon list operator`.")
    operator = where.named("operator", "operator", table["operator"])
    folder = where.file.parent
    values = _floating(_array(folder / str(data["file"]), data.get("key")), data, where)
    truth = None
    if "truth" in data:
        truth = _array(folder / str(data["truth"]), data.get("truth_key"))
    return Sample(operator, values, truth, _noise(data, where), {"source": str(data["file"])})


def _dataset_sample(data: dict[str, Any], table: Mapping[str, Any], where: _Where) -> Sample:
    name, index = data.pop("dataset"), data.pop("index", 0)
    extra = {"precision": data.pop("precision")} if "precision" in data else {}
    dataset: Dataset = where.named("data", "dataset", {"name": name, **data})
    if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < len(dataset):
        raise where.error("data", f"index must be 0 to {len(dataset) - 1}", f"got {index!r}", "")
    sample = dataset[index]
    operator = (
        where.named("operator", "operator", table["operator"]) if "operator" in table else sample.operator
    )
    values = _floating(sample.data, extra, where)
    return Sample(operator, values, sample.truth, sample.noise, sample.notes)


def _floating(values: Any, data: Mapping[str, Any], where: _Where) -> Any:
    precision = data.get("precision", "float64")
    if precision not in ("float32", "float64"):
        raise where.error("data", "precision must be 'float32' or 'float64'", f"got {precision!r}", "")
    if isinstance(values, tuple) or values.dtype.kind not in "iufc":
        return values
    single = precision == "float32"
    if values.dtype.kind == "c":
        return values.astype(np.complex64 if single else np.complex128)
    return values.astype(np.float32 if single else np.float64)


def _noise(data: Mapping[str, Any], where: _Where) -> Any:
    noise = data.get("noise")
    if noise is None or noise == "estimate":
        return noise
    if (
        isinstance(noise, bool)
        or not isinstance(noise, int | float)
        or not (math.isfinite(noise) and noise > 0)
    ):
        raise where.error("data", "noise must be a number > 0 or 'estimate'", f"got {noise!r}", "")
    return float(noise)


def _problem(table: Mapping[str, Any], sample: Sample, where: _Where) -> Problem:
    loss: Loss = where.named("loss", "loss", table["loss"]) if "loss" in table else LeastSquares()
    given = table.get("prior", [])
    priors: list[Prior] = [
        where.named("prior", "prior", one) for one in (given if isinstance(given, list) else [given])
    ]
    prior = None if not priors else priors[0] if len(priors) == 1 else Total(tuple(priors))
    with where.errors("data"):
        return Problem(sample.operator, sample.data, prior, loss, sample.noise)
