"""``recon doctor``: what is installed, what works, and what is wrong with which plugin."""

from __future__ import annotations

import os
import platform
import sys
from typing import Any

import click

from recon import registry
from recon.cli import machine
from recon.cli.group import plugin_commands
from recon.cli.listing import entry_record
from recon.cli.output import console, table, write_json

__all__ = ["command"]


@click.command("doctor")
@click.option("--deep", is_flag=True, help="Import every entry and make its example.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for a program.")
@click.pass_context
def command(ctx: click.Context, deep: bool, as_json: bool) -> None:
    """Look at the installation. The exit code is 1 when a plugin or a check failed."""
    report = _examine(deep)
    if as_json:
        write_json(report)
    else:
        _show(report)
    ctx.exit(0 if report["ok"] else 1)


def _examine(deep: bool) -> dict[str, Any]:
    failures = [
        {"distribution": f.distribution, "entry_point": f.entry_point, "reason": f.reason}
        for f in registry.failures()
    ]
    failures += [
        {"distribution": source, "entry_point": "recon_commands", "reason": reason}
        for source, reason in plugin_commands()[1]
    ]
    checks, broken = _checks()
    failures += broken
    entries = [entry_record(entry) for entry in registry.entries()]
    examined = _deep() if deep else []
    report = {
        "system": _system(),
        "packages": machine.versions(),
        "plugins": _plugins(failures, entries),
        "failures": failures,
        "missing": [record for record in entries if record["missing"]],
        "checks": checks,
        "deep": examined,
    }
    faults = [*failures, *(item for item in (*checks, *examined) if not item["ok"])]
    return {"ok": not faults, **report}


def _system() -> dict[str, Any]:
    return {
        "python": platform.python_version(),
        "executable": sys.executable,
        "platform": platform.platform(),
        "cpu": machine.cpu(),
        "cores": machine.cores(),
        "threads": {name: os.environ[name] for name in machine.THREAD_VARIABLES if name in os.environ},
        "gpus": machine.gpus(),
    }


def _plugins(failures: list[dict[str, str]], entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    faulty = {failure["distribution"] for failure in failures}
    loaded: dict[str, dict[str, Any]] = {}
    for plugin in registry.plugins():
        known = loaded.setdefault(
            plugin.distribution,
            {"distribution": plugin.distribution, "version": plugin.version, "entry_points": []},
        )
        known["entry_points"].append(plugin.entry_point)
    for name in sorted(faulty - loaded.keys()):
        loaded[name] = {"distribution": name, "version": None, "entry_points": []}
    for name, known in loaded.items():
        known["entries"] = sum(record["distribution"] == name for record in entries)
        known["ok"] = name not in faulty
    return list(loaded.values())


def _checks() -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
    """The lines that plugins add, and what went wrong with the hook itself."""
    lines: list[dict[str, Any]] = []
    broken = []
    for source, function in registry.hooks("recon_checks"):
        try:
            checks = [(str(title), check) for title, check in function()]
        except Exception as error:
            reason = f"recon_checks raised: {type(error).__name__}: {error}"
            broken.append({"distribution": source, "entry_point": "recon_checks", "reason": reason})
            continue
        for title, check in checks:
            try:
                ok, text = True, str(check())
            except Exception as error:
                ok, text = False, f"{type(error).__name__}: {error}"
            lines.append({"distribution": source, "title": title, "ok": ok, "text": text})
    return lines, broken


def _deep() -> list[dict[str, Any]]:
    """Import every entry whose packages are there, and make its example."""
    lines = []
    for entry in registry.entries():
        if registry.missing(entry):
            continue
        try:
            target = registry.get(entry.kind, entry.name)
            ok, text = True, "imports"
            if entry.kind != "bench":
                target.example()
                text = "imports, and its example can be made"
        except Exception as error:
            ok, text = False, f"{type(error).__name__}: {error}"
        lines.append({"kind": entry.kind, "name": entry.name, "ok": ok, "text": text})
    return lines


# -- printing ----------------------------------------------------------------------------------------------


def _show(report: dict[str, Any]) -> None:
    out = console()
    system = report["system"]
    threads = ", ".join(f"{name}={value}" for name, value in system["threads"].items())
    facts = [
        ["Python", f"{system['python']} ({system['executable']})"],
        ["platform", system["platform"]],
        ["processor", f"{system['cpu']}, {system['cores']} usable cores"],
        ["thread limits", threads or "none set"],
        ["CUDA devices", ", ".join(system["gpus"]) or "none visible"],
    ]
    packages = [[name, version or "not installed"] for name, version in report["packages"].items()]
    plugins = [
        [p["distribution"], p["version"] or "", str(p["entries"]), _verdict(p)] for p in report["plugins"]
    ]
    problems = [[f["distribution"], f["entry_point"], f["reason"]] for f in report["failures"]]
    absent = [
        [m["distribution"], f"{m['kind']} {m['name']}", ", ".join(m["missing"]), m["install"]]
        for m in report["missing"]
    ]
    checks = [[c["title"], _word(c), c["text"]] for c in report["checks"]]
    deep = [[f"{e['kind']} {e['name']}", _word(e), e["text"]] for e in report["deep"]]
    for title, columns, rows in (
        ("System", ["", ""], facts),
        ("Packages", ["package", "version"], packages),
        ("Plugins", ["plugin", "version", "entries", ""], plugins),
        ("Problems", ["plugin", "where", "what is wrong"], problems),
        ("Not installed", ["plugin", "entry", "needs", "install it with"], absent),
        ("Checks", ["check", "", "what it says"], checks),
        ("Entries", ["entry", "", "what happened"], deep),
    ):
        if rows:
            out.print(table(columns, rows, title=title, right=["entries"]))
            out.print()
    out.print("All is well." if report["ok"] else "Something failed; see above.")


def _word(line: dict[str, Any]) -> str:
    return "ok" if line["ok"] else "failed"


def _verdict(plugin: dict[str, Any]) -> str:
    if plugin["ok"]:
        return "ok"
    return "has problems" if plugin["entries"] else "failed"
