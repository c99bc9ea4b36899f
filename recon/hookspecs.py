"""The six hooks through which everything that is not core arrives; each typed, each with an example.

A plugin is a light module ``_hooks.py`` named by an entry point of the group ``recon``::

    [project.entry-points.recon]
    myplugin = "myplugin._hooks"

It imports only :mod:`recon.entries` and this module, marks functions of these names with :data:`hookimpl`, and
imports anything heavy inside them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pluggy

from recon.entries import Entry

__all__ = [
    "GROUP",
    "hookimpl",
    "hookspec",
    "recon_checks",
    "recon_commands",
    "recon_entries",
    "recon_observers",
    "recon_read",
    "recon_write",
]

GROUP = "recon"

hookspec = pluggy.HookspecMarker(GROUP)
hookimpl = pluggy.HookimplMarker(GROUP)


@hookspec
def recon_entries() -> Iterable[Entry]:
    """Announce operators, priors, losses, solvers, datasets and benchmarks.

    Example
    -------
    >>> @hookimpl
    ... def recon_entries():
    ...     return [Entry("operator", "my-blur", "myplugin.blur:MyBlur", "Blur of my instrument")]
    """
    raise NotImplementedError


@hookspec
def recon_commands() -> Iterable[Callable[..., Any]]:
    """Add click commands to the command line ``recon``.

    Example
    -------
    >>> @hookimpl
    ... def recon_commands():
    ...     import click
    ...     @click.command("hello")
    ...     def hello():
    ...         click.echo("hello")
    ...     return [hello]
    """
    raise NotImplementedError


@hookspec
def recon_checks() -> Iterable[tuple[str, Callable[[], str]]]:
    """Add lines to ``recon doctor``: a title and a function that returns a short text or raises.

    Example
    -------
    >>> @hookimpl
    ... def recon_checks():
    ...     return [("scanner driver", lambda: "version 3 found")]
    """
    raise NotImplementedError


@hookspec
def recon_observers() -> Iterable[Any]:
    """Watch every run of ``recon run``: a sequence of observers (see :mod:`recon.observers`).

    Example
    -------
    >>> @hookimpl
    ... def recon_observers():
    ...     return [lambda state, record: None]
    """
    raise NotImplementedError


@hookspec(firstresult=True)
def recon_read(path: Path) -> dict[str, Any] | None:
    """Read a data file into named arrays, or return None where the file is not of your format.

    Example
    -------
    >>> @hookimpl
    ... def recon_read(path):
    ...     if path.suffix == ".mine":
    ...         return {"data": my_reader(path)}
    """
    raise NotImplementedError


@hookspec(firstresult=True)
def recon_write(path: Path, arrays: dict[str, Any], record: dict[str, Any]) -> bool | None:
    """Write named arrays and their record to ``path``; return True when done, None where it is not your format.

    ``path`` is a temporary name in the destination folder with the final suffix: the caller renames it.

    Example
    -------
    >>> @hookimpl
    ... def recon_write(path, arrays, record):
    ...     if path.suffix == ".mine":
    ...         my_writer(path, arrays["x"])
    ...         return True
    """
    raise NotImplementedError
