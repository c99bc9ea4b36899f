"""``recon bench [NAME]``: our operations against references and peers, in one process with one thread.

Libraries read their thread limits when they are loaded, so the command runs itself again in a child process
whose environment has them.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import subprocess
import sys
from typing import Any

import click

from recon import registry
from recon.bench import Measurement, Spread, Timing, measure
from recon.cli import INTERRUPTED, machine
from recon.cli.output import console, table, write_json
from recon.entries import Entry

__all__ = ["command"]

CHILD = "RECON_BENCH_CHILD"


@click.command("bench")
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON for a program.")
@click.option(
    "--rounds", type=click.IntRange(min=1), default=7, show_default=True, help="Samples per operation."
)
@click.pass_context
def command(ctx: click.Context, name: str | None, as_json: bool, rounds: int) -> None:
    """Time operations against references and other libraries: all benchmarks, or the one called NAME.

    One process, one thread, CPU time; medians over interleaved rounds. The ratio says how many times more CPU
    time the peer takes than we do.
    """
    chosen = registry.entries("bench") if name is None else (registry.find("bench", name),)
    if CHILD not in os.environ:
        ctx.exit(_again(name, as_json, rounds))
    reports = [_bench(entry, rounds) for entry in chosen]
    if as_json:
        write_json({**_machine(), "rounds": rounds, "benchmarks": reports})
    else:
        _show(reports, rounds)
    ours_failed = any(case["ours"]["error"] for report in reports for case in report["cases"])
    ctx.exit(1 if ours_failed or any(report["error"] for report in reports) else 0)


def _again(name: str | None, as_json: bool, rounds: int) -> int:
    """Run this command in a child process with one thread, and return its exit code."""
    environment = {
        **os.environ,
        **dict.fromkeys(machine.THREAD_VARIABLES, "1"),
        CHILD: "1",
        "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path),
    }
    arguments = [
        "bench",
        *([name] if name else []),
        *(["--json"] if as_json else []),
        "--rounds",
        str(rounds),
    ]
    # -P: the child finds what this process finds, and nothing that lies in the current folder by chance
    child = subprocess.Popen([sys.executable, "-P", "-m", "recon.cli", *arguments], env=environment)
    try:
        code = child.wait()
    except KeyboardInterrupt:
        # Ctrl-C in a terminal reaches the child too, which then ends; a signal to this process alone does not
        with contextlib.suppress(subprocess.TimeoutExpired):
            return child.wait(timeout=2)
        child.terminate()
        child.wait()
        return INTERRUPTED
    return code if code >= 0 else 128 - code


def _bench(entry: Entry, rounds: int) -> dict[str, Any]:
    """The cases of one benchmark as plain data; one that cannot be set up says why."""
    report: dict[str, Any] = {"name": entry.name, "summary": entry.summary, "error": "", "cases": []}
    try:
        cases = list(registry.get("bench", entry.name)())
    except Exception as error:
        return {**report, "error": f"{type(error).__name__}: {error}"}
    progress = console(stderr=True)
    for case in cases:
        with (
            progress.status(f"{entry.name}: {case.name}")
            if progress.is_terminal
            else contextlib.nullcontext()
        ):
            report["cases"].append(_case_record(measure(case, rounds)))
    return report


def _case_record(found: Measurement) -> dict[str, Any]:
    return {
        "name": found.name,
        "note": found.note,
        "ours": _timing_record(found.ours, None),
        "peers": [_timing_record(peer, found.ours) for peer in found.peers],
    }


def _timing_record(timing: Timing, ours: Timing | None) -> dict[str, Any]:
    record: dict[str, Any] = {
        "name": timing.name,
        "error": timing.error,
        "seconds": _spread_record(timing.spread),
        "repeats": timing.repeats,
    }
    return record if ours is None else {**record, "ratio": _spread_record(timing.ratio(ours))}


def _spread_record(spread: Spread | None) -> dict[str, float] | None:
    return None if spread is None else {"median": spread.median, "min": spread.low, "max": spread.high}


def _machine() -> dict[str, Any]:
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "cpu": machine.cpu(),
        "cores": machine.cores(),
        "python": sys.version.split()[0],
        "threads": 1,
        "versions": {name: version for name, version in machine.versions().items() if version},
    }


# -- printing ----------------------------------------------------------------------------------------------


def _show(reports: list[dict[str, Any]], rounds: int) -> None:
    out = console()
    if not reports:
        click.echo("No plugin offers a benchmark.")
        return
    out.print(f"{machine.cpu()}, one thread, CPU time, median of {rounds} rounds (smallest to largest)")
    columns = ["case", "operation", "time", "times ours"]
    for report in reports:
        out.print()
        if report["error"]:
            out.print(f"{report['name']}: failed: {report['error']}")
            continue
        rows = [row for case in report["cases"] for row in _rows(case)]
        out.print(table(columns, rows, title=f"{report['name']}: {report['summary']}", right=columns[2:]))
        for note in dict.fromkeys(case["note"] for case in report["cases"] if case["note"]):
            named = ", ".join(case["name"] for case in report["cases"] if case["note"] == note)
            out.print(f"{named}: {note}")


def _rows(case: dict[str, Any]) -> list[list[str]]:
    rows = [[case["name"], "ours", _time_text(case["ours"]), ""]]
    for peer in case["peers"]:
        ratio = peer["ratio"]
        text = f"{ratio['median']:.2f} ({ratio['min']:.2f} to {ratio['max']:.2f})" if ratio else ""
        rows.append(["", peer["name"], _time_text(peer), text])
    return rows


def _time_text(timing: dict[str, Any]) -> str:
    seconds = timing["seconds"]
    if seconds is None:
        return f"failed: {timing['error']}"
    unit, factor = next(
        (u, f) for u, f in (("s", 1.0), ("ms", 1e3), ("us", 1e6)) if seconds["median"] * f >= 1 or u == "us"
    )
    low, middle, high = (seconds[key] * factor for key in ("min", "median", "max"))
    return f"{middle:.3g} {unit} ({low:.3g} to {high:.3g})"
