"""Plugins for tests: real distributions (a dist-info folder beside modules) in a folder of their own."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

ABSENT = "a_library_that_is_not_there"

GOOD = {
    "good_plugin/__init__.py": "",
    "good_plugin/_hooks.py": """
        from recon.entries import Entry
        from recon.hookspecs import hookimpl

        @hookimpl
        def recon_entries():
            return [
                Entry("operator", "good-scale", "good_plugin.things:GoodScale", "Multiply by a number",
                      cites=("A paper (2024)",)),
                Entry("prior", "good-prior", "good_plugin.things:GoodPrior", "Squares"),
                Entry("bench", "good-bench", "good_plugin.things:cases", "A sum"),
            ]

        @hookimpl
        def recon_commands():
            from good_plugin.commands import commands
            return commands

        @hookimpl
        def recon_checks():
            return [("good driver", lambda: "version 3 found")]

        @hookimpl
        def recon_observers():
            return [lambda state, record: None]

        @hookimpl
        def recon_read(path):
            return {"data": path.read_text()} if path.suffix == ".good" else None

        @hookimpl
        def recon_write(path, arrays):
            if path.suffix == ".good":
                path.write_text(repr(arrays))
                return True
    """,
    "good_plugin/things.py": '''
        """Things of the good plugin."""
        from dataclasses import dataclass
        from typing import Annotated, Literal

        from annotated_types import Ge, Gt
        from recon.arrays import ArraySpec
        from recon.bench import Case
        from recon.operator import Operator
        from recon.params import Doc, Parameters
        from recon.priors import Prior

        @dataclass(frozen=True)
        class GoodScale(Parameters, Operator):
            """y = f x, entry by entry.

            Parameters
            ----------
            size
                Number of samples,
                at least one.
            factor
                Not shown: the declaration has its own words.

            Notes
            -----
            Exact.
            """

            size: Annotated[int, Ge(1)]
            factor: Annotated[float, Gt(0), Doc("the factor f")] = 2.0
            mode: Literal["fast", "slow"] = "fast"
            spacing: tuple[float, ...] | None = None

            @property
            def domain(self):
                return ArraySpec((self.size,))

            codomain = domain

            def _forward(self, x):
                return self.factor * x

            _adjoint = _forward

            def norm_bound(self):
                return self.factor

            @classmethod
            def example(cls):
                return cls(5)

        class GoodPrior(Prior):
            def __init__(self, weight: float = 1.0, label: str = "a") -> None:
                self.weight = weight

            def value(self, x):
                return self.weight * float((x * x).sum())

            @classmethod
            def example(cls):
                raise RuntimeError("no example today")

        def cases():
            """One case."""
            def bad():
                raise ValueError("peer is [out] of order")
            numbers = list(range(1000))
            peers = {"loop": lambda: [n + 1 for n in numbers], "bad": bad}
            return [Case("sum of 1000", lambda: sum(numbers), peers, note="toy")]
    ''',
    "good_plugin/commands.py": '''
        import errno, os, time
        import click
        from recon.errors import ConfigError, DataError

        FAILURES = {
            "config": ConfigError("run.toml: solver.name must be known, got 'x'."),
            "data": DataError("scan.mat cannot be read."),
            "full": OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "out.npz"),
            "memory": MemoryError("Unable to allocate 3 TiB"),
            "bug": KeyError("bins"),
            "interrupt": KeyboardInterrupt(),
            "pipe": BrokenPipeError(),
            "exit": SystemExit(7),
        }

        @click.command("fail")
        @click.argument("how")
        def fail(how):
            """Fail on purpose."""
            if how == "wait":
                click.echo("waiting")
                time.sleep(60)
            raise FAILURES[how]

        @click.command("log")
        def log():
            """Log two lines."""
            import logging
            logging.getLogger("recon").info("coarse")
            logging.getLogger("recon.part").debug("fine")

        commands = [fail, log]
    ''',
}

BROKEN = {
    "bad-import": f"import {ABSENT}",
    "bad-signature": """
        from recon.hookspecs import hookimpl

        @hookimpl
        def recon_read(path, colour):
            return None
    """,
    "bad-twin": """
        from recon.entries import Entry
        from recon.hookspecs import hookimpl

        @hookimpl
        def recon_entries():
            return [
                Entry("operator", "good-scale", "json:loads", "Not the real one"),
                Entry("operator", "twin-only", "json:loads", "Of the twin alone"),
            ]
    """,
    "bad-extra": f'''
        from recon.entries import Entry
        from recon.hookspecs import hookimpl

        @hookimpl
        def recon_entries():
            needs = ("{ABSENT}",)
            return [Entry("solver", "fast-one", "json:loads", "Needs a GPU", needs=needs, extra="gpu")]
    ''',
    "bad-hook": """
        from recon.hookspecs import hookimpl

        @hookimpl
        def recon_entries():
            raise RuntimeError("boom on purpose")
    """,
}


def install(folder: Path, distribution: str, files: dict[str, str], hooks: str, version: str = "1.0") -> None:
    """Lay a distribution into ``folder`` as pip would: its modules, its metadata, its entry point."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text).lstrip())
    metadata = folder / f"{distribution.replace('-', '_')}-{version}.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
    (metadata / "entry_points.txt").write_text(f"[recon]\n{distribution} = {hooks}\n")


def install_module(folder: Path, distribution: str, source: str) -> None:
    """A distribution of one module of hooks."""
    module = distribution.replace("-", "_") + "_hooks"
    install(folder, distribution, {f"{module}.py": source}, module)


def install_good(folder: Path) -> None:
    install(folder, "a-good-plugin", GOOD, "good_plugin._hooks", version="1.2")


def install_broken(folder: Path) -> None:
    for distribution, source in BROKEN.items():
        install_module(folder, distribution, source)


def command_line(
    *arguments: str, path: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """``recon ...`` in a process of its own that also sees the distributions in ``path``."""
    return subprocess.run(
        [sys.executable, "-P", "-m", "recon.cli", *arguments],
        env=child_environment(path, **environment),
        capture_output=True,
        text=True,
        timeout=120,
    )


def child_environment(path: Path | None = None, **environment: str) -> dict[str, str]:
    folders = [str(path)] if path is not None else []
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("RECON_")},
        "PYTHONPATH": os.pathsep.join([*folders, *(folder for folder in sys.path if folder)]),
        **environment,
    }
