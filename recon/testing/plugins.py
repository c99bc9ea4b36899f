"""The contract of plugins: every entry loads, is what its kind says, and keeps the contract of that kind."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterable
from typing import Any

from recon.dataset import Dataset
from recon.entries import Entry
from recon.losses import Loss
from recon.operator import Operator
from recon.priors.base import Prior
from recon.registry import entries, failures, missing, plugins, source
from recon.solver import Fit, Solver
from recon.testing._common import fail
from recon.testing.datasets import check_dataset
from recon.testing.losses import check_loss
from recon.testing.operators import check_operator
from recon.testing.priors import check_prior
from recon.testing.solvers import check_solver

__all__ = ["check_plugin"]

_BASES: dict[str, tuple[type, Callable[[Any], None]]] = {
    "operator": (Operator, check_operator),
    "prior": (Prior, check_prior),
    "loss": (Loss, check_loss),
    "dataset": (Dataset, check_dataset),
}


def check_plugin(plugin: str | Iterable[Entry]) -> dict[str, str]:
    """Check every entry of a plugin by the check of its kind, on the class's own ``example()``.

    Parameters
    ----------
    plugin
        Name of an installed distribution or of an entry point of the group ``recon``; or entries, which need
        not be installed.

    Returns
    -------
    dict
        ``"kind name"`` to ``"ok"``, or to why it was left out (an optional package that is not installed).

    Raises
    ------
    AssertionError
        One sentence that names the entry and the rule it breaks.
    """
    found = _announced(plugin) if isinstance(plugin, str) else tuple(plugin)
    outcome = {}
    for entry in found:
        absent = missing(entry)
        if absent:
            outcome[f"{entry.kind} {entry.name}"] = f"left out: {', '.join(absent)} is not installed"
            continue
        _check_entry(entry)
        outcome[f"{entry.kind} {entry.name}"] = "ok"
    return outcome


def _announced(name: str) -> tuple[Entry, ...]:
    """The entries of a distribution or entry point; fails where the registry met a failure of it."""
    squashed = re.sub(r"[-_.]+", "-", name).lower()
    for failure in failures():
        if squashed == failure.distribution or name == failure.entry_point:
            fail(
                f"The plugin {name}",
                f"load, but {failure.entry_point} of {failure.distribution} does not: "
                f"{failure.reason.rstrip('.')}",
            )
    found = [p for p in plugins() if squashed == p.distribution or name == p.entry_point]
    if not found:
        known = sorted({p.distribution for p in plugins()} | {p.entry_point for p in plugins()})
        fail(
            f"The plugin {name}",
            "be installed with an entry point of the group 'recon'",
            f"Installed: {', '.join(known) or 'none'}.",
        )
    own = {(e.kind, e.name) for p in found for group in p.manager.hook.recon_entries() for e in group}
    homes = {p.distribution for p in found}
    return tuple(e for e in entries() if (e.kind, e.name) in own and source(e) in homes)


def _check_entry(entry: Entry) -> None:
    owner = f"The {entry.kind} {entry.name!r}"
    module, _, name = entry.target.partition(":")
    try:
        target = getattr(importlib.import_module(module), name)
    except (Exception, SystemExit) as error:
        fail(owner, f"load from {entry.target}, which raised {type(error).__name__}: {error}")
    if entry.kind == "bench":
        if not callable(target):
            fail(owner, "be a function that gives recon.bench.Case objects")
        return
    if entry.kind == "solver":
        _check_solver_class(owner, entry, target)
        return
    base, check = _BASES[entry.kind]
    example = _example(owner, target, base)
    if getattr(example, "nested", False):
        check_prior(example, search=False)
    else:
        check(example)


def _example(owner: str, target: Any, base: type) -> Any:
    if not (isinstance(target, type) and issubclass(target, base)):
        fail(owner, f"be a subclass of recon.{base.__name__}")
    maker: Any = getattr(target, "example", None)
    if maker is None:
        fail(owner, "have a classmethod example() that gives a small ready instance")
    made = maker()
    if not isinstance(made, target):
        fail(owner, f"give a {target.__name__} from example(), not a {type(made).__name__}")
    return made


def _check_solver_class(owner: str, entry: Entry, target: Any) -> None:
    if not (isinstance(target, type) and issubclass(target, Solver)):
        fail(owner, "be a subclass of recon.Solver")
    try:
        solver: Any = target()
    except Exception as error:
        fail(
            owner,
            f"have a default for every parameter, but {target.__name__}() raised "
            f"{type(error).__name__}: {error}",
        )
    check_solver(solver)
    fit = target.suits(target.example())
    if fit is not None and not isinstance(fit, Fit):
        fail(owner, f"answer suits(problem) with a recon.solver.Fit or None, not a {type(fit).__name__}")
    if entry.automatic and fit is None:
        fail(owner, "suit its own example(), since solve(problem) may choose it")
