"""``recon new-plugin NAME``: an installable package with an operator, a prior, a solver and their tests.

The files are templates in ``recon/templates/plugin``; ``$name``, ``$package`` and ``$version`` are filled in.
They are written into a temporary folder beside the destination, which is renamed when all are there.
"""

from __future__ import annotations

import contextlib
import importlib.util
import keyword
import os
import re
import shlex
import shutil
import string
import sys
import tempfile
from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

import click

from recon._version import __version__
from recon.errors import ParameterError

__all__ = ["command", "write_plugin"]

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]*([-_][A-Za-z0-9]+)*")


@click.command("new-plugin")
@click.argument("name")
@click.option(
    "--directory",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=Path(),
    help="Folder in which the package's own folder is made.  [default: the current one]",
)
def command(name: str, directory: Path) -> None:
    """Write an installable plugin called NAME: an operator, a prior, a solver, their tests and a README."""
    made = write_plugin(name, directory)
    click.echo(f"Wrote {made}. Next:")
    click.echo(f'  cd {shlex.quote(str(made))} && pip install -e ".[test]" && pytest')
    click.echo("  recon list")


def write_plugin(name: str, directory: Path) -> Path:
    """Write the package ``name`` into ``directory/name`` and return that folder.

    Raises
    ------
    ParameterError
        When the name cannot be that of a package, or the folder exists.
    OSError
        When the files cannot be written; nothing is left behind.
    """
    package = _package(name)
    name = package.replace("_", "-")
    destination = directory / name
    if destination.exists() or destination.is_symlink():
        raise ParameterError(
            f"new-plugin's folder must not exist, got {destination}. Choose another name or --directory."
        )
    words = {"name": name, "package": package, "version": __version__}
    scratch = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=directory))
    try:
        for relative, text in _templates(files("recon") / "templates" / "plugin"):
            path = scratch / relative.replace("package/", f"{package}/", 1)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(string.Template(text).substitute(words), encoding="utf-8")
        scratch.chmod(0o777 & ~_umask())
        scratch.rename(destination)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise
    return destination


def _package(name: str) -> str:
    """The import name for a plugin's name, or a ParameterError."""
    package = name.replace("-", "_").lower()
    if not _NAME.fullmatch(name) or keyword.iskeyword(package):
        raise ParameterError(
            f"new-plugin's NAME must be letters, digits and hyphens, beginning with a letter, got {name!r}. "
            "Write it like my-scanner."
        )
    taken = package in sys.stdlib_module_names or package == "tests" or package.split("_")[0] == "recon"
    if taken or _importable(package):
        raise ParameterError(
            f"new-plugin's NAME must be free, got {name!r}, which is the name of another package. "
            "Choose another one."
        )
    return package


def _importable(package: str) -> bool:
    with contextlib.suppress(ImportError, ValueError):
        spec = importlib.util.find_spec(package)
        return spec is not None and spec.origin is not None
    return False


def _templates(folder: Traversable, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Relative path, without the suffix .txt, and text of each template."""
    for item in sorted(folder.iterdir(), key=lambda item: item.name):
        if item.is_dir():
            yield from _templates(item, f"{prefix}{item.name}/")
        elif item.name.endswith(".txt"):
            yield f"{prefix}{item.name.removesuffix('.txt')}", item.read_text(encoding="utf-8")


def _umask() -> int:
    current = os.umask(0o022)
    os.umask(current)
    return current
