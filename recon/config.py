"""Run files: one TOML file that says everything about a reconstruction.

    [data]       a dataset by name, or a file with the measurements
    [operator]   by name, with its parameters (a dataset brings its own)
    [loss]  [prior]  [solver]     by name, with their parameters; several priors as [[prior]] are summed
    [stopping]   iterations, change, gap, seconds, discrepancy
    [output]     folder and formats

Every error names the file, the key and the rule. Relative paths are relative to the run file.
"""

from __future__ import annotations

import dataclasses
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import numpy as np
from annotated_types import Ge, Gt, MinLen

from recon import registry
from recon.arrays import tmap
from recon.dataset import Dataset, Sample
from recon.errors import ConfigError, DataError, ParameterError, ReconError
from recon.losses import LeastSquares, Loss
from recon.operator import Operator
from recon.params import Doc, Parameters, build, fields, nearest, short
from recon.priors import Prior, Total
from recon.problem import Problem
from recon.selection import Name
from recon.solver import Solver
from recon.stopping import Change, Discrepancy, Gap, MaxIterations, MaxSeconds, Rule
from recon.values import TABLES, from_file, make

__all__ = ["Output", "Run", "Stopping", "load_run"]

_SECTIONS = ("data", "operator", "loss", "prior", "solver", "stopping", "output")
_TOP = (*_SECTIONS, "seed", "title")


@dataclass(frozen=True)
class Stopping(Parameters):
    """When to stop: whatever comes first of what is given."""

    iterations: Annotated[int, Ge(0), Doc("most iterations")] = 500
    change: Annotated[float, Ge(0), Doc("relative change of the image per iteration; 0 for never")] = 1e-5
    gap: Annotated[float | None, Gt(0), Doc("relative duality gap, where the solver certifies one")] = None
    seconds: Annotated[float | None, Gt(0), Doc("wall time")] = None
    discrepancy: Annotated[float | None, Gt(0), Doc("||A x - y|| <= this * noise * sqrt(m)")] = None

    def rule(self) -> Rule:
        """The stopping rule."""
        rule: Rule = MaxIterations(self.iterations)
        if self.change > 0:
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
    weight: Name | None = None  # the rule that chooses the factor of the prior


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
            raise where.error(key, "must be a table", f"got {short(table[key])}", f"Write [{key}].")
    seed = table.get("seed", 0)
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise where.error("seed", "must be an integer >= 0", f"got {short(seed)}", "")
    title = table.get("title", file.stem)
    if not isinstance(title, str):
        raise where.error("title", "must be a string", f"got {short(title)}", "")
    stopping = where.build("stopping", Stopping, table.get("stopping", {}))
    output = where.build("output", Output, table.get("output", {}))
    sample = _sample(table, where)
    priors, weight = _chosen_by_rule(table, where)
    problem = _problem(table, priors, sample, where)
    solver = where.named("solver", table["solver"]) if "solver" in table else None
    with where.errors("stopping"):
        stopping.rule().check(problem)
    folder = (file.parent / output.folder).resolve()
    return Run(file, table, problem, sample, solver, stopping, output, folder, seed, title, weight)


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
        for home, cls in (("stopping", Stopping), ("output", Output)):
            if not section and key in {field.name for field in fields(cls)}:
                advice = f"It belongs to [{home}]."
        place = f"[{section}] " if section else ""
        return ConfigError(f"{self.file}: {place}has no key {key!r}. {advice}")

    def errors(self, key: str) -> _Renamed:
        return _Renamed(self.file, key)

    def build(self, key: str, cls: type, values: Mapping[str, Any]) -> Any:
        with self.errors(key):
            return build(cls, values)

    def named(self, kind: str, table: Any, key: str = "") -> Any:
        """The registered thing of a kind that a table names, made with the table's other keys."""
        key = key or kind
        if not isinstance(table, dict):
            raise self.error(key, "must be a table", f"got {short(table)}", f"Write [{key}] with a name.")
        values = dict(table)
        name = values.pop("name", None)
        if not isinstance(name, str):
            got = "none" if name is None else short(name)
            raise self.error(key, "must have a name", f"got {got}", f"`recon list {kind}` shows them.")
        with self.errors(key):
            cls = registry.get(kind, name)
            groups = _groups(cls)
            for k, v in values.items():
                if k in groups and isinstance(v, dict) and "name" not in v:
                    values[k] = self.build(f"{key}.{k}", groups[k], v)
                else:
                    values[k] = self.value(v, kind, key)
            try:
                return make(cls, values)
            except ParameterError:
                for k, v in values.items():
                    if _ragged(v):
                        raise ParameterError(
                            f"{k} must have rows of one length, got rows of different length. Check the brackets."
                        ) from None
                raise

    def value(self, value: Any, kind: str, key: str) -> Any:
        """Plain TOML, what a table of :mod:`recon.values` stands for, or ({name, ...}) one more of the same kind."""
        if isinstance(value, list):
            return [self.value(one, kind, key) for one in value]
        if not isinstance(value, dict):
            return value
        if "name" in value:
            return self.named(kind, value, key)
        for keys, read in TABLES.items():
            if keys[0] in value:
                for one in value:
                    if one not in keys:
                        raise self.unknown(one, keys, key)
                return read(self.file.parent, value)
        known = " or ".join("{" + ", ".join(keys) + "}" for keys in TABLES)
        raise ParameterError(f"A table as a value must be {known}, got {{{', '.join(value)}}}.")


def _groups(cls: Any) -> dict[str, type]:
    """Parameters of a class that are groups of parameters themselves, by name, and what they are made of."""
    if not dataclasses.is_dataclass(cls):
        return {}
    kinds = {field.name: get_args(field.type) or (field.type,) for field in fields(cls)}  # type: ignore[arg-type]
    return {
        name: kind
        for name, options in kinds.items()
        for kind in options
        if isinstance(kind, type) and issubclass(kind, Parameters)
    }


def _ragged(value: Any) -> bool:
    """Whether a value is a list of lists of different lengths."""
    rows = value if isinstance(value, list) else []
    return len({len(row) if isinstance(row, list) else 0 for row in rows}) > 1


class _Renamed:
    """A context in which our errors become ConfigErrors of one section; data errors stay what they are."""

    def __init__(self, file: Path, key: str) -> None:
        self.file, self.key = file, key

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, ReconError) and not isinstance(error, ConfigError | DataError):
            raise ConfigError(f"{self.file}: [{self.key}] {error}") from error


_DATA_KEYS = ("file", "key", "truth", "truth_key", "noise", "precision")


def _sample(table: Mapping[str, Any], where: _Where) -> Sample:
    data = dict(table.get("data", {}))
    if ("dataset" in data) == ("file" in data):
        got = "both" if "file" in data else "neither"
        raise where.error("data", "must have either dataset or file", f"got {got}", "")
    if "dataset" in data:
        return _dataset_sample(data, table, where)
    for key in data:
        if key not in _DATA_KEYS:
            raise where.unknown(key, _DATA_KEYS, "data")
    if "operator" not in table:
        raise where.error("operator", "must be given with a data file", "got none", "`recon list operator`.")
    operator = where.named("operator", table["operator"])
    with where.errors("data"):
        values = _floating(from_file(where.file.parent, data), data, where)
        noise = _noise(data, where)
        truth = None
        if "truth" in data:
            truth = from_file(where.file.parent, {"file": data["truth"], "key": data.get("truth_key")})
            _check_truth(truth, operator, where)
    return Sample(operator, values, truth, noise, {"source": str(data["file"])})


def _check_truth(truth: np.ndarray[Any, Any], operator: Operator, where: _Where) -> None:
    shape = getattr(operator.domain, "shape", ())
    if truth.shape[truth.ndim - len(shape) :] != shape or not np.isfinite(truth).all():
        rule = f"truth must be finite, of the shape {shape} of the image"
        raise where.error("data", rule, f"got {short(truth)}", "")


def _dataset_sample(data: dict[str, Any], table: Mapping[str, Any], where: _Where) -> Sample:
    name, index = data.pop("dataset"), data.pop("index", 0)
    extra = {"precision": data.pop("precision")} if "precision" in data else {}
    dataset: Dataset = where.named("dataset", {**data, "name": name}, "data")
    if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < len(dataset):
        raise where.error("data", f"index must be 0 to {len(dataset) - 1}", f"got {short(index)}", "")
    with where.errors("data"):
        sample = dataset[index]
        values = _floating(sample.data, extra, where)
    operator = where.named("operator", table["operator"]) if "operator" in table else sample.operator
    return Sample(operator, values, sample.truth, sample.noise, sample.notes)


def _floating(values: Any, data: Mapping[str, Any], where: _Where) -> Any:
    """Data of the precision asked for; without one, integers become float64 and floats stay as they are."""
    precision = data.get("precision")
    if precision not in (None, "float32", "float64"):
        raise where.error("data", "precision must be 'float32' or 'float64'", f"got {short(precision)}", "")

    def one(leaf: Any) -> Any:
        if not isinstance(leaf, np.ndarray) or leaf.dtype.kind not in "biufc":
            return leaf
        size = leaf.dtype.itemsize if leaf.dtype.kind in "fc" else 8
        single = precision == "float32" if precision else size <= (8 if leaf.dtype.kind == "c" else 4)
        if leaf.dtype.kind == "c":
            return leaf.astype(np.complex64 if single else np.complex128, copy=False)
        return leaf.astype(np.float32 if single else np.float64, copy=False)

    return tmap(one, values)


def _noise(data: Mapping[str, Any], where: _Where) -> Any:
    noise = data.get("noise")
    if noise is None or noise == "estimate":
        return noise
    if isinstance(noise, dict):
        return where.value(noise, "data", "data")
    number = isinstance(noise, int | float) and not isinstance(noise, bool)
    if not (number and math.isfinite(noise) and noise > 0):
        rule = "noise must be a number > 0, {file, key} or 'estimate'"
        raise where.error("data", rule, f"got {short(noise)}", "")
    return float(noise)


def _chosen_by_rule(table: Mapping[str, Any], where: _Where) -> tuple[list[Any], Name | None]:
    """The tables of the priors with numbers as weights, and the rule where one says ``weight = "auto"``."""
    given = table.get("prior", [])
    tables = given if isinstance(given, list) else [given]
    weights = [one["weight"] for one in tables if isinstance(one, dict) and "weight" in one]
    rules = [weight for weight in weights if isinstance(weight, str)]
    if not rules:
        return tables, None
    if rules[0] not in get_args(Name):
        names = ", ".join(get_args(Name))
        raise where.error("prior", f"weight must be a number or one of {names}", f"got {rules[0]!r}", "")
    if len(weights) > 1:
        rule = f"weight = {rules[0]!r} chooses one factor for all priors, so no other may have a weight"
        raise where.error(
            "prior", rule, f"got {len(weights)} weights", "Give numbers, or leave the others out."
        )
    return [{**one, "weight": 1.0} if one.get("weight") == rules[0] else one for one in tables], rules[0]  # type: ignore[return-value]


def _problem(table: Mapping[str, Any], tables: list[Any], sample: Sample, where: _Where) -> Problem:
    loss: Loss = where.named("loss", table["loss"]) if "loss" in table else LeastSquares()
    priors: list[Prior] = [where.named("prior", one) for one in tables]
    prior = None if not priors else priors[0] if len(priors) == 1 else Total(tuple(priors))
    with where.errors("data"):
        problem = Problem(sample.operator, sample.data, None, LeastSquares(), sample.noise)
    with where.errors("loss"):
        problem = dataclasses.replace(problem, loss=loss)
    with where.errors("prior"):
        return dataclasses.replace(problem, prior=prior)
