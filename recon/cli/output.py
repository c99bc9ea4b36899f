"""What every verb prints with: a rich console that survives pipes, and plain JSON."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import click
from rich.console import Console
from rich.table import Table

__all__ = ["console", "finite_json", "table", "write_json"]

PIPE_WIDTH = 200  # where nobody looks at a terminal, lines are not folded to 80 columns


def console(stderr: bool = False) -> Console:
    """A console for one command. Square brackets are text, not markup; NO_COLOR is respected by rich."""
    stream = sys.stderr if stderr else sys.stdout
    shown = stream is not None and stream.isatty()
    width = None if shown or os.environ.get("COLUMNS") else PIPE_WIDTH
    return Console(stderr=stderr, markup=False, emoji=False, highlight=False, width=width)


def table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], title: str = "", right: Sequence[str] = ()
) -> Table:
    """A table without vertical lines; the columns named in ``right`` are aligned to the right."""
    from rich import box

    made = Table(
        title=title or None,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        show_header=any(columns),
        show_edge=False,
        pad_edge=False,
    )
    for column in columns:
        made.add_column(column, justify="right" if column in right else "left", overflow="fold")
    for row in rows:
        made.add_row(*row)
    return made


def write_json(value: Any) -> None:
    """Print one JSON value. NaN and infinity, which JSON does not have, become null."""
    click.echo(json.dumps(finite_json(value), indent=2))


def finite_json(value: Any) -> Any:
    """The value with NaN and infinity replaced by None."""
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    if isinstance(value, dict):
        return {key: finite_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite_json(item) for item in value]
    return value
