"""The root command: verbs in files of their own, imported when called, and the commands that plugins add."""

from __future__ import annotations

import logging
import sys
from typing import Any

import click

from recon._version import __version__
from recon.params import nearest

__all__ = ["VERBS", "LazyGroup", "plugin_commands", "recon"]

VERBS: dict[str, tuple[str, str]] = {
    "demo": ("recon.cli.demo", "Reconstruct a real scan from few views, and draw it."),
    "run": ("recon.cli.run", "Run the reconstruction that a TOML file describes."),
    "list": ("recon.cli.listing", "List operators, priors, losses, solvers, datasets and benchmarks."),
    "info": ("recon.cli.info", "Describe one of them: formula, parameters, capabilities."),
    "new-plugin": ("recon.cli.new_plugin", "Write an installable plugin to start from."),
    "bench": ("recon.cli.bench", "Time operations against references and other libraries."),
    "doctor": ("recon.cli.doctor", "Look at the installation: packages, GPU, plugins and their faults."),
}
"""Verb to (module, one line for the help). The module defines the click command as ``command``."""


class LazyGroup(click.Group):
    """A click group that imports a verb's module when the verb is called, and the plugins' when none fits."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*VERBS, *plugin_commands()[0]]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in VERBS:
            import importlib

            command: click.Command = importlib.import_module(VERBS[cmd_name][0]).command
            return command
        found = plugin_commands()[0].get(cmd_name)
        return found[1] if found else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        command = None if name.startswith("-") else self.get_command(ctx, name)
        if command is not None:
            return name, command, args[1:]
        near = nearest(name, self.list_commands(ctx))
        advice = f" Did you mean {near!r}?" if near else ""
        raise click.UsageError(f"There is no command {name!r}.{advice}", ctx)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(verb, summary) for verb, (_, summary) in VERBS.items()])
        added = plugin_commands()[0]
        if added:
            with formatter.section("Commands of plugins"):
                formatter.write_dl(
                    [
                        (name, f"{command.get_short_help_str()} ({source})")
                        for name, (source, command) in added.items()
                    ]
                )


def plugin_commands() -> tuple[dict[str, tuple[str, click.Command]], list[tuple[str, str]]]:
    """Commands of plugins, name to (distribution, command), and (distribution, reason) of those refused."""
    from recon import registry

    found: dict[str, tuple[str, click.Command]] = {}
    refused = []
    for source, function in registry.hooks("recon_commands"):
        try:
            commands = list(function())
        except Exception as error:
            refused.append((source, f"recon_commands raised: {type(error).__name__}: {error}"))
            continue
        for command in commands:
            name = getattr(command, "name", None)
            if not isinstance(command, click.Command) or not name:
                refused.append(
                    (source, f"recon_commands must give click commands, got {type(command).__name__}.")
                )
            elif name in VERBS or name in found:
                owner = "recon" if name in VERBS else found[name][0]
                refused.append((source, f"The command {name!r} belongs to {owner}. Choose another name."))
            else:
                found[name] = (source, command)
    return found, refused


@click.group(
    cls=LazyGroup, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(__version__, "-V", "--version", prog_name="recon")
@click.option("-v", "--verbose", count=True, help="Log what happens to standard error; twice for details.")
@click.pass_context
def recon(ctx: click.Context, verbose: int) -> None:
    """Reconstruct images, volumes and signals from few or indirect measurements."""
    if verbose:
        _log_to_stderr(ctx, logging.INFO if verbose == 1 else logging.DEBUG)
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def _log_to_stderr(ctx: click.Context, level: int) -> None:
    logger = logging.getLogger("recon")
    handler: logging.StreamHandler[Any] = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(level)

    @ctx.call_on_close
    def restore() -> None:
        logger.removeHandler(handler)
        logger.setLevel(before)
