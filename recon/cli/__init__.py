"""The command line ``recon``: one place where errors become a sentence and an exit code.

    0    done
    1    the run failed
    2    wrong usage, run file, name or parameter
    130  interrupted (Ctrl-C)

A user's mistake never shows a traceback; ``RECON_TRACEBACK=1`` in the environment shows every one.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Sequence
from typing import Any

__all__ = ["main"]

INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; ``sys.exit(main())`` is the script ``recon``."""
    _replace_unprintable()
    code = _run(None if arguments is None else [*arguments])
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError) as error:
            _abandon(stream)
            if not isinstance(error, BrokenPipeError):
                _complain(_os_text(error) if isinstance(error, OSError) else str(error))
            code = code or 1
    return code


def _run(arguments: list[str] | None) -> int:
    import click

    from recon.cli.group import recon

    show = os.environ.get("RECON_TRACEBACK", "") not in ("", "0")
    try:
        code = recon.main(args=arguments, prog_name="recon", standalone_mode=False)
    except (KeyboardInterrupt, click.Abort):
        return _complain("Interrupted.", INTERRUPTED, label="")
    except getattr(
        click.exceptions, "NoArgsIsHelpError", ()
    ) as error:  # of click 8.2: a group without a command
        click.echo(error.ctx.get_help())
        return 0
    except click.ClickException as error:
        return _complain(_click_text(error), error.exit_code)
    except BrokenPipeError:
        _abandon(sys.stdout)
        return 1
    except SystemExit as error:  # click and rich leave this way when the reader of a pipe has gone
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    except Exception as error:
        if show:
            raise
        return _explain(error)
    return code if isinstance(code, int) else 0


def _explain(error: Exception) -> int:
    """The sentence and the exit code of an exception that is no wrong usage of click."""
    from recon.errors import ConfigError, ParameterError, ReconError, UnknownNameError

    if isinstance(error, ConfigError | ParameterError | UnknownNameError):
        return _complain(str(error), 2)
    if isinstance(error, ReconError):
        return _complain(str(error))
    if isinstance(error, OSError):
        return _complain(_os_text(error))
    if isinstance(error, MemoryError):
        return _complain(f"Not enough memory. {error}".strip())
    return _complain(
        f"internal error: {type(error).__name__}: {error}. "
        "Run with RECON_TRACEBACK=1 to see the traceback and report it."
    )


def _complain(text: str, code: int = 1, label: str = "Error: ") -> int:
    import click

    with contextlib.suppress(OSError, ValueError):
        click.echo(label + " ".join(text.split()), err=True)
    return code


def _click_text(error: Any) -> str:
    text = str(error.format_message()).rstrip()
    context = getattr(error, "ctx", None)
    if context is not None and context.command.get_help_option(context) is not None:
        text = f"{text} See '{context.command_path} --help'."
    return text


def _os_text(error: OSError) -> str:
    reason = error.strerror or str(error) or type(error).__name__
    return f"{reason}: {error.filename}" if error.filename else reason


def _replace_unprintable() -> None:
    """Print a question mark where the terminal's encoding has no such character, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _abandon(stream: Any) -> None:
    """Send what is left to nowhere: the reader has gone, and Python would complain again when it exits."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
