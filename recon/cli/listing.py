"""``recon list [KIND]``: what is registered, without importing any of it."""

from __future__ import annotations

from typing import Any

import click

from recon import registry
from recon.cli.output import console, table, write_json
from recon.entries import KINDS, Entry

__all__ = ["command", "entry_record", "plain_kind"]


@click.command("list")
@click.argument("kind", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON for a program.")
def command(kind: str | None, as_json: bool) -> None:
    """List what is registered, or one KIND of it: operator, prior, loss, solver, dataset or bench."""
    found = registry.entries(None if kind is None else plain_kind(kind))
    if as_json:
        write_json([entry_record(entry) for entry in found])
        return
    if not found:
        click.echo(f"Nothing is registered{f' of the kind {kind}' if kind else ''}. See 'recon doctor'.")
    else:
        lacking = any(registry.missing(entry) for entry in found)
        columns = ["kind", "name", "what it is", "from"] + ["not installed"] * lacking
        rows = [
            [entry.kind, entry.name, entry.summary, registry.source(entry)]
            + [", ".join(registry.missing(entry))] * lacking
            for entry in found
        ]
        console().print(table(columns, rows))
    faults = len(registry.failures())
    if faults:
        plugins = "One problem" if faults == 1 else f"{faults} problems"
        click.echo(f"{plugins} with plugins. See 'recon doctor'.", err=True)


def plain_kind(kind: str) -> str:
    """A kind as people type it: any case, singular or plural."""
    lowered = kind.lower()
    plural = {"losses": "loss", "benches": "bench", **{f"{k}s": k for k in KINDS}}
    return plural.get(lowered, lowered)


def entry_record(entry: Entry) -> dict[str, Any]:
    """An entry as plain data."""
    absent = registry.missing(entry)
    return {
        "kind": entry.kind,
        "name": entry.name,
        "summary": entry.summary,
        "distribution": registry.source(entry),
        "target": entry.target,
        "needs": list(entry.needs),
        "missing": list(absent),
        "install": registry.pip_line(entry) if absent else None,
        "cites": list(entry.cites),
        "automatic": entry.automatic,
    }
