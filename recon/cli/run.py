"""``recon run FILE``: the reconstruction that a run file describes, with picture, record and resume."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import platform
import shlex
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from recon.cli.output import finite_json, write_json
from recon.errors import ConfigError, DataError, MissingExtraError, ReconError

if TYPE_CHECKING:
    from recon.config import Run
    from recon.problem import Problem
    from recon.result import Result
    from recon.solver import Solver

__all__ = ["command"]

log = logging.getLogger("recon")


@click.command("run")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--output",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of the results, instead of the file's.",
)
@click.option("--overwrite", is_flag=True, help="Replace results that are there.")
@click.option("--resume", is_flag=True, help="Go on from the state that an interrupted run saved.")
@click.option("--check", "check_only", is_flag=True, help="Only check the file and the data; run nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the record as JSON; no progress.")
def command(
    file: Path, folder: Path | None, overwrite: bool, resume: bool, check_only: bool, as_json: bool
) -> None:
    """Run the reconstruction that the TOML file FILE describes.

    \b
    A whole run file:
        [data]
        dataset = "htc2022"
        views = "sparse60"
        [[prior]]
        name = "tv"
        weight = 0.05
        [[prior]]
        name = "nonnegative"
        [stopping]
        iterations = 300
        [output]
        folder = "ta-sparse60"

    Writes result.npz (arrays), result.png (picture) and result.json (everything needed to repeat it). A state
    is saved now and then and on Ctrl-C: `recon run FILE --resume` goes on from it, bit for bit.
    """
    from recon.config import load_run

    run = load_run(file)
    if check_only:
        _report_check(run, as_json)
        return
    chosen = folder.resolve() if folder else run.folder
    _prepare(run, chosen, overwrite, resume)
    again = ["recon", "run", str(file), *(["--output", str(folder)] if folder else []), "--resume"]
    again += ["--overwrite"] if overwrite else []
    result, record = _execute(run, chosen, resume, shlex.join(again), quiet=as_json)
    if as_json:
        write_json(record)
    else:
        _report(chosen, result, record)
    result.check()


def _report_check(run: Run, as_json: bool) -> None:
    operator, prior = repr(run.problem.operator), repr(run.problem.prior)
    if as_json:
        write_json({"file": str(run.file), "operator": operator, "prior": prior, "config": _plain(run.table)})
    else:
        click.echo(f"{run.file} is fine: {operator}, prior {prior}.")


_RESULTS = ("result.npz", "result.zarr", "result.png", "result.json")


def _prepare(run: Run, folder: Path, overwrite: bool, resume: bool) -> None:
    """Refuse early whatever would fail at the end of a long run."""
    from importlib.util import find_spec

    from recon.storage import make_folder

    existing = [name for name in _RESULTS if (folder / name).exists()]
    if existing and not overwrite:
        raise DataError(
            f"{folder / existing[0]} is already there. Use --overwrite, or --output another folder."
        )
    saved = folder / "state.npz"
    if resume and not saved.exists():
        raise ConfigError(f"{saved} must be there for --resume, got nothing. Run without --resume.")
    if saved.exists() and not (resume or overwrite):
        raise DataError(
            f"{saved} holds the state of an interrupted run. Go on with --resume, or start anew with --overwrite."
        )
    if "zarr" in run.output.formats and find_spec("zarr") is None:
        raise MissingExtraError(
            "output.formats = ['zarr'] needs zarr, which is not installed. Run: pip install 'recon-inverse[batch]'"
        )
    make_folder(folder)


def _execute(
    run: Run, folder: Path, resume: bool, command_line: str, quiet: bool
) -> tuple[Result, dict[str, Any]]:
    from recon.checkpoint import load_history, load_state, save_state
    from recon.driver import choose, solve
    from recon.observers import BetweenSteps, Observer, Progress, SaveEvery

    solver, reason = run.solver, "named in the run file"
    if solver is None:
        solver, fit = choose(run.problem)
        reason = f"chosen: {fit.reason}"
    saved = folder / "state.npz"
    problem, chosen = _with_weight(run, solver, folder / "weight.json", resume, quiet)
    state = load_state(saved, problem, solver) if resume else None
    history = load_history(saved) if resume else ()
    keeper = SaveEvery(saved, run.output.save_every, at_end=False)
    observers: list[Observer] = [keeper, *_plugin_observers(), BetweenSteps()]
    if not quiet:
        click.echo(f"{run.title}: {run.problem.operator!r}")
        click.echo(f"solver {type(solver).__name__} ({reason})")
        observers.append(Progress(run.stopping.iterations))
    with _interruption(saved, command_line):
        how: dict[str, Any] = {"stop": run.stopping.rule(), "observers": observers, "seed": run.seed}
        result = solve(problem, solver, state=state, history=history, **how)
        result = replace(result, provenance={**result.provenance, **chosen})
        try:
            record = {**_record(run, result), "resumed_from": None if state is None else state.iteration}
            _write(run, folder, result, record)
        except BaseException:  # the work is not lost: --resume writes the result without another step
            with contextlib.suppress(DataError):
                save_state(saved, result.state, problem, solver, result.history)
            raise
    for file in (saved, folder / "weight.json"):
        file.unlink(missing_ok=True)  # the result is safe: the state of the way there is not needed any more
    return result, record


def _with_weight(
    run: Run, solver: Solver, kept: Path, resume: bool, quiet: bool
) -> tuple[Problem, dict[str, Any]]:
    """The problem with the weight that the run file's rule chooses, kept on disk for --resume; else as it is."""
    from recon.driver import select_weight
    from recon.storage import atomic

    if run.weight is None:
        return run.problem, {}
    if resume and kept.exists():
        record = json.loads(kept.read_text(encoding="utf-8"))
    else:
        record = select_weight(run.problem, run.weight, solver, seed=run.seed).record()
        with atomic(kept) as temporary:
            temporary.write_text(json.dumps(record), encoding="utf-8")
    if not quiet:
        click.echo(f"weight {record['weight']:.4g} chosen by {record['rule']}, {len(record['path'])} tried")
    assert run.problem.prior is not None
    return replace(run.problem, prior=record["weight"] * run.problem.prior), {"weight": record}


def _plugin_observers() -> list[Any]:
    """The observers that plugins add; one that cannot be made is reported and left out."""
    from recon import registry
    from recon.observers import as_observers

    found = []
    for source, hook in registry.hooks("recon_observers"):
        try:
            found += as_observers(list(hook()))
        except Exception as error:
            log.warning("recon_observers of %s raised %s: %s", source, type(error).__name__, error)
    return found


@contextlib.contextmanager
def _interruption(saved: Path, command_line: str) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        if saved.exists():
            click.echo(f"The state is saved in {saved}. Go on with: {command_line}", err=True)
        raise


def _record(run: Run, result: Result) -> dict[str, Any]:
    """Everything needed to repeat the run, and what came out, as JSON data."""
    from recon import registry
    from recon.checkpoint import data_digest
    from recon.cli import machine

    notes = {k: v for k, v in run.sample.notes.items() if isinstance(v, str | int | float)}
    record = {
        "title": run.title,
        "run_file": str(run.file.resolve()),
        "config": run.table,
        "seed": run.seed,
        "finished": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        **result.record(),
        "data": {
            "sha256": data_digest(run.problem.data),
            "operator": repr(run.problem.operator),
            "notes": notes,
        },
        "machine": {"cpu": machine.cpu(), "cores": machine.cores(), "platform": platform.platform()},
        "versions": {"python": platform.python_version(), **machine.versions()},
        "plugins": {plugin.distribution: plugin.version for plugin in registry.plugins()},
        **_against_truth(run.sample.truth, result.x),
    }
    return _plain(record)  # type: ignore[no-any-return]


def _plain(value: Any) -> Any:
    """JSON data; dates and the like as text, NaN and infinity as null."""
    return finite_json(json.loads(json.dumps(value, default=str)))


def _against_truth(truth: Any, x: Any) -> dict[str, Any]:
    """Figures of merit where there is a truth of the same form that they are defined for."""
    from recon import metrics
    from recon.arrays import as_numpy

    if truth is None or isinstance(truth, tuple) or isinstance(x, tuple):
        return {}
    expected, got = as_numpy(truth), as_numpy(x)
    if expected.shape != got.shape or expected.dtype.kind not in "biuf" or got.dtype.kind != "f":
        return {}
    expected = expected.astype(got.dtype)
    figures = {}
    with contextlib.suppress(ReconError):  # an image that is not finite, a truth that is zero
        figures["nrmse"] = metrics.nrmse(got, expected)
        spread = float(expected.max() - expected.min())
        if spread > 0:
            figures["psnr"] = metrics.psnr(got, expected, data_range=spread)
    figures = {name: value for name, value in figures.items() if math.isfinite(value)}
    return {"against_truth": figures} if figures else {}


def _write(run: Run, folder: Path, result: Result, record: dict[str, Any]) -> None:
    """All files into a folder beside their places, then each to its place: a full disk leaves what was there."""
    from recon.arrays import leaves
    from recon.plotting import save_figure
    from recon.storage import atomic, unbroken

    with _aside(folder) as aside:
        if "npz" in run.output.formats:
            result.save(aside / "result.npz")
        if "zarr" in run.output.formats:
            parts = leaves(result.x)
            names = ["x"] if len(parts) == 1 else [f"x.{k}" for k in range(len(parts))]
            _write_by_plugin(aside / "result.zarr", dict(zip(names, parts, strict=True)), record)
        if run.output.picture:
            panels = {} if run.sample.truth is None else {"truth": run.sample.truth}
            save_figure(aside / "result.png", result.plot(**panels))
        with atomic(aside / "result.json") as temporary:
            temporary.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        with unbroken():
            _put(aside, folder)


def _put(aside: Path, folder: Path) -> None:
    """Each result to its place; the record comes last, as the mark that all is there."""
    for name in _RESULTS:
        if (folder / name).is_dir():
            shutil.rmtree(folder / name)
        if (aside / name).exists():
            os.replace(aside / name, folder / name)
        else:
            (folder / name).unlink(missing_ok=True)  # of an earlier run, with other formats


@contextlib.contextmanager
def _aside(folder: Path) -> Iterator[Path]:
    """A hidden folder for files in the making, gone when the block ends."""
    aside = folder / f".recon-{os.urandom(4).hex()}"
    try:
        aside.mkdir()
        yield aside
        shutil.rmtree(aside)
    except BaseException as error:
        _remove(aside)
        if isinstance(error, DataError):
            raise DataError(str(error).replace(str(aside), str(folder))) from error
        if isinstance(error, OSError):
            why = (error.strerror or str(error)).lower()
            raise DataError(f"{folder} cannot be written: {why}. Nothing was left there.") from error
        raise


def _remove(folder: Path) -> None:
    """Remove a folder for good: the threads of zarr go on writing for a moment after one of them has failed."""
    quiet, end = 0, time.monotonic() + 5.0
    while quiet < 10 and time.monotonic() < end:
        shutil.rmtree(folder, ignore_errors=True)
        quiet = 0 if folder.exists() else quiet + 1
        time.sleep(0.02)


def _write_by_plugin(path: Path, arrays: dict[str, Any], record: dict[str, Any]) -> None:
    """Through the hook recon_write."""
    from recon import registry

    if not any(write(path, arrays, record) for _, write in registry.hooks("recon_write")):
        raise DataError(f"{path.name} must be of a format that a plugin writes, got {path.suffix!r}.")


def _report(folder: Path, result: Result, record: dict[str, Any]) -> None:
    line = f"{result.status.name} after {result.iterations} iterations, {result.seconds:.1f} s"
    if "objective" in record["last"]:
        line += f", objective {result.objective:.6g}"
    if "against_truth" in record:
        line += ", " + ", ".join(f"{k} {v:.4g}" for k, v in record["against_truth"].items())
    click.echo(line)
    click.echo(result.status.value)
    names = sorted(name for name in _RESULTS if (folder / name).exists())
    click.echo(f"written to {folder}: {', '.join(names)}")
