"""``recon run FILE``: the reconstruction that a run file describes, with picture, record and resume."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from recon.errors import ConfigError, DataError

__all__ = ["command"]


@click.command("run")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--output",
    "folder",
    type=click.Path(path_type=Path),
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
    folder = folder.resolve() if folder else run.folder
    if check_only:
        click.echo(f"{file} is fine: {run.problem.operator!r}, prior {run.problem.prior!r}.")
        return
    _prepare(folder, overwrite)
    record = _execute(run, folder, resume, quiet=as_json)
    if as_json:
        from recon.cli.output import write_json

        write_json(record)


def _prepare(folder: Path, overwrite: bool) -> None:
    """Refuse early whatever would fail at the end of a long run."""
    existing = [name for name in ("result.npz", "result.zarr") if (folder / name).exists()]
    if existing and not overwrite:
        raise DataError(
            f"{folder / existing[0]} is already there. Use --overwrite, or --output another folder."
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{folder} cannot be made: {(error.strerror or str(error)).lower()}.") from error


def _execute(run: Any, folder: Path, resume: bool, quiet: bool) -> dict[str, Any]:
    from recon.checkpoint import load_state
    from recon.driver import choose, solve
    from recon.observers import Observer, Progress, SaveEvery

    solver, reason = run.solver, "named in the run file"
    if solver is None:
        solver, fit = choose(run.problem)
        reason = f"chosen: {fit.reason}"
    saved = folder / "state.npz"
    state = None
    if resume:
        if not saved.exists():
            raise ConfigError(f"{saved} must be there for --resume, got nothing. Run without --resume.")
        state = load_state(saved, run.problem, solver)
    observers: list[Observer] = [SaveEvery(saved, run.output.save_every), *_plugin_observers()]
    if not quiet:
        click.echo(f"{run.title}: {run.problem.operator!r}")
        click.echo(f"solver {type(solver).__name__} ({reason})")
        observers.append(Progress(run.stopping.iterations))
    with _interruption(saved, run.file):
        result = solve(
            run.problem, solver, stop=run.stopping.rule(), state=state, observers=observers, seed=run.seed
        )
    record = {**_record(run, result), "resumed_from": state.iteration if state is not None else None}
    _write(run, folder, result, record)
    with contextlib.suppress(FileNotFoundError):
        saved.unlink()  # the result is safe: the state of the way there is not needed any more
    if not quiet:
        _report(folder, result, record)
    result.check()
    return record


def _plugin_observers() -> list[Any]:
    from recon import registry

    return [one for _, hook in registry.hooks("recon_observers") for one in hook()]


@contextlib.contextmanager
def _interruption(saved: Path, file: Path) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        if saved.exists():
            click.echo(f"The state is saved in {saved}. Go on with: recon run {file} --resume", err=True)
        raise


def _record(run: Any, result: Any) -> dict[str, Any]:
    from recon.checkpoint import data_digest, result_record
    from recon.cli import machine

    operator = run.problem.operator
    record = {
        "title": run.title,
        "run_file": str(run.file.resolve()),
        "config": run.table,
        "finished": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        **result_record(result),
        "data": {
            "sha256": data_digest(run.problem.data),
            "operator": repr(operator),
            "notes": {k: v for k, v in run.sample.notes.items() if isinstance(v, str | int | float)},
        },
        "machine": {"cpu": machine.cpu(), "cores": machine.cores()},
        "versions": machine.versions(),
    }
    truth = run.sample.truth
    if truth is not None and not isinstance(truth, tuple):
        from recon import metrics
        from recon.arrays import as_numpy

        expected, got = as_numpy(truth), as_numpy(result.x)
        if expected.shape == got.shape:
            spread = float(expected.max() - expected.min())
            record["against_truth"] = {"nrmse": metrics.nrmse(got, expected.astype(got.dtype))}
            if spread > 0:
                record["against_truth"]["psnr"] = metrics.psnr(
                    got, expected.astype(got.dtype), data_range=spread
                )
    return json.loads(json.dumps(record, default=str))  # type: ignore[no-any-return]


def _write(run: Any, folder: Path, result: Any, record: dict[str, Any]) -> None:
    """Every file on its own is whole or absent; the record comes last, as the mark that all is there."""
    from recon.arrays import as_numpy, leaves
    from recon.checkpoint import atomic
    from recon.plotting import plot_result, save_figure

    if "npz" in run.output.formats:
        result.save(folder / "result.npz")
    if "zarr" in run.output.formats:
        _write_by_plugin(folder / "result.zarr", {"x": as_numpy(leaves(result.x)[0])}, record)
    if run.output.picture:
        panels = {} if run.sample.truth is None else {"truth": run.sample.truth}
        save_figure(folder / "result.png", plot_result(result, panels))
    with atomic(folder / "result.json") as temporary:
        temporary.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def _write_by_plugin(path: Path, arrays: dict[str, Any], record: dict[str, Any]) -> None:
    """Through the hook recon_write to a temporary name, then renamed."""
    import os
    import shutil
    import tempfile

    from recon import registry

    temporary = Path(tempfile.mkdtemp(prefix=".recon-", dir=path.parent)) / path.name
    try:
        if not any(write(temporary, arrays, record) for _, write in registry.hooks("recon_write")):
            raise DataError(
                f"{path} must be of a format that a plugin writes, got {path.suffix!r}. Install zarr."
            )
        if path.is_dir():
            shutil.rmtree(path)
        os.replace(temporary, path)
    finally:
        shutil.rmtree(temporary.parent, ignore_errors=True)


def _report(folder: Path, result: Any, record: dict[str, Any]) -> None:
    line = f"{result.status.name} after {result.iterations} iterations, {result.seconds:.1f} s"
    if result.history:
        line += f", objective {result.objective:.6g}"
    if "against_truth" in record:
        line += ", " + ", ".join(f"{k} {v:.4g}" for k, v in record["against_truth"].items())
    click.echo(line)
    click.echo(result.status.value)
    names = sorted(p.name for p in folder.iterdir() if p.name.startswith("result."))
    click.echo(f"written to {folder}: {', '.join(names)}")
