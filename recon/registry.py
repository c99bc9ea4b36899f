"""The registry: who offers what, found through the entry points ``recon``, imported only when asked for.

Every plugin, ours included, is an installed distribution with an entry point of the group ``recon`` that
names a light module of hooks (:mod:`recon.hookspecs`). Each is loaded, checked and asked for its entries
inside its own ``try``: one that is broken is kept as a :class:`Failure` for ``recon doctor`` and never stops
the others.

    entries(kind)      what there is; imports no implementation
    get(kind, name)    the class or function itself; imports exactly one module
    failures()         what could not be loaded, with reasons

Our own distribution comes first, the others in the order of their names; the first to claim a (kind, name)
has it, so the outcome does not depend on the order of folders on ``sys.path``.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import pluggy

from recon import hookspecs
from recon.entries import KINDS, Entry
from recon.errors import BrokenPluginError, DuplicateNameError, MissingExtraError, UnknownNameError
from recon.params import nearest, short

__all__ = [
    "Failure",
    "Plugin",
    "entries",
    "failures",
    "find",
    "get",
    "hooks",
    "missing",
    "pip_line",
    "plugins",
    "reload",
    "source",
]

OURS = "recon-inverse"

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_TARGET = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


@dataclass(frozen=True)
class Failure:
    """Something a plugin did wrong: where, a one-line reason, and the exception behind it."""

    distribution: str
    entry_point: str
    reason: str
    error: Exception


@dataclass(frozen=True)
class Plugin:
    """One entry point that was loaded: a module of hooks of an installed distribution."""

    distribution: str
    version: str
    entry_point: str
    manager: pluggy.PluginManager  # one per plugin, so that none sees another's mistakes


@dataclass(frozen=True)
class _State:
    plugins: tuple[Plugin, ...]
    entries: dict[tuple[str, str], tuple[Entry, str]]  # (kind, name) -> entry, distribution
    failures: tuple[Failure, ...]


# -- for users -------------------------------------------------------------------------------------------


def entries(kind: str | None = None) -> tuple[Entry, ...]:
    """Every announced entry, or those of one kind, in the order of kinds and names.

    Parameters
    ----------
    kind
        ``"operator"``, ``"prior"``, ``"loss"``, ``"solver"``, ``"dataset"`` or ``"bench"``; None for all.

    Raises
    ------
    UnknownNameError
        When there is no such kind.
    """
    if kind is not None:
        _check_kind(kind)
    found = (entry for entry, _ in _state().entries.values() if kind in (None, entry.kind))
    return tuple(sorted(found, key=lambda entry: (KINDS.index(entry.kind), entry.name)))


def find(kind: str, name: str) -> Entry:
    """The entry of that name; case, hyphens and underscores do not matter: ``"FanBeam"`` is ``fan-beam``.

    Raises
    ------
    UnknownNameError
        With the nearest known name, or all of them where none is near.
    """
    _check_kind(kind)
    table = {entry.name: entry for entry in entries(kind)}
    if name in table:
        return table[name]
    alike = [entry for entry in table.values() if _squash(entry.name) == _squash(name)]
    if len(alike) == 1:
        return alike[0]
    near = alike[0].name if alike else nearest(name, table)
    advice = f"Did you mean {near!r}?" if near else f"Known: {', '.join(table) or 'none'}."
    elsewhere = [k for k in KINDS if k != kind and any(_squash(e.name) == _squash(name) for e in entries(k))]
    if elsewhere:
        advice = f"That name belongs to the kind {elsewhere[0]!r}."
    raise UnknownNameError(f"There is no {kind} named {name!r}. {advice}")


def get(kind: str, name: str) -> Any:
    """The class or function behind a name; imports the one module that defines it.

    Raises
    ------
    UnknownNameError
        Nothing of that name.
    MissingExtraError
        The entry needs a package that is not installed; the text gives the pip line.
    BrokenPluginError
        The module cannot be imported, or does not define what the plugin announced.
    """
    return _load(find(kind, name))


def failures() -> tuple[Failure, ...]:
    """What plugins did wrong, in loading order; empty when all is well."""
    return _state().failures


def plugins() -> tuple[Plugin, ...]:
    """The plugins that were loaded, in loading order."""
    return _state().plugins


def source(entry: Entry) -> str:
    """Name of the distribution that announced an entry."""
    known = _state().entries.get((entry.kind, entry.name))
    if known is None:
        raise UnknownNameError(f"There is no {entry.kind} named {entry.name!r}. Take one of recon.entries().")
    return known[1]


def missing(entry: Entry) -> tuple[str, ...]:
    """The optional packages that an entry needs and that are not installed."""
    return tuple(need for need in entry.needs if not _installed(need))


def pip_line(entry: Entry) -> str:
    """The command that installs what an entry needs."""
    wanted = f'"{source(entry)}[{entry.extra}]"' if entry.extra else " ".join(entry.needs)
    return f"pip install {wanted}"


def hooks(name: str) -> list[tuple[str, Callable[..., Any]]]:
    """Every plugin's own implementation of a hook, as (distribution, function).

    The caller calls each inside its own ``try``, so that one that raises does not lose the results of others.
    The functions take the arguments of the hook in :mod:`recon.hookspecs`; those marked ``tryfirst`` come
    first.
    """
    known = [hook for hook in hookspecs.__all__ if hook.startswith("recon_")]
    if name not in known:
        near = nearest(name, known)
        raise UnknownNameError(f"There is no hook named {name!r}. Did you mean {near or known[0]!r}?")
    found = [
        (impl.tryfirst - impl.trylast, plugin.distribution, _bind(plugin.manager, name, impl))
        for plugin in plugins()
        for impl in _implementations(plugin, name)
    ]
    found.sort(key=lambda item: -item[0])
    return [(distribution, function) for _, distribution, function in found]


def reload() -> None:
    """Forget everything, so that the next question looks at the installed distributions again."""
    importlib.invalidate_caches()
    _state.cache_clear()


# -- loading ---------------------------------------------------------------------------------------------


@functools.cache
def _state() -> _State:
    loaded: list[Plugin] = []
    known: dict[tuple[str, str], tuple[Entry, str]] = {}
    failed: list[Failure] = []
    points, unreadable = _entry_points()
    failed += unreadable
    for point in points:
        distribution = _distribution(point)
        try:
            plugin = _register(point, distribution)
        except (Exception, SystemExit) as error:
            failed.append(_failure(distribution, point.name, error, "cannot be loaded"))
            continue
        loaded.append(plugin)
        failed += _pending(plugin)
        try:
            announced = _announced(plugin)
        except (Exception, SystemExit) as error:
            failed.append(_failure(distribution, point.name, error, "recon_entries raised"))
            continue
        failed += _add(plugin, announced, known)
    return _State(tuple(loaded), known, tuple(failed))


def _entry_points() -> tuple[list[metadata.EntryPoint], list[Failure]]:
    """Entry points of our group in loading order; unreadable metadata loses only its own distribution's."""
    points: dict[tuple[str, str], metadata.EntryPoint] = {}
    failed = []
    for found in metadata.distributions():
        try:
            for point in found.entry_points.select(group=hookspecs.GROUP):
                # the first on sys.path counts, as in imports
                points.setdefault((_distribution(point), point.name), point)
        except Exception as error:
            folder = Path(str(getattr(found, "_path", "unknown")))
            failed.append(_failure(folder.stem, "entry_points.txt", error, "cannot be read"))
    ordered = sorted(points.items(), key=lambda item: (item[0][0] != OURS, *item[0]))
    return [point for _, point in ordered], failed


def _distribution(point: metadata.EntryPoint) -> str:
    """The normalised name of the distribution that declares an entry point."""
    name = point.dist.name if point.dist is not None else None
    return re.sub(r"[-_.]+", "-", name or "unknown").lower()


def _register(point: metadata.EntryPoint, distribution: str) -> Plugin:
    manager = pluggy.PluginManager(hookspecs.GROUP)
    manager.add_hookspecs(hookspecs)
    manager.register(point.load(), name=f"{distribution}:{point.name}")
    version = point.dist.version if point.dist is not None else "unknown"
    return Plugin(distribution, version, point.name, manager)


def _pending(plugin: Plugin) -> Iterator[Failure]:
    """Hooks of an unknown name or of a form that is not called: reported, while the plugin's others stay."""
    hooks_of = vars(plugin.manager.hook)
    known = [name for name, caller in hooks_of.items() if getattr(caller, "spec", None)]
    for name, caller in hooks_of.items():
        if name.startswith("_"):
            continue
        for impl in caller.get_hookimpls():
            if name not in known and not impl.optionalhook:
                near = nearest(name, known)
                advice = f"Did you mean {near!r}?" if near else f"Known: {', '.join(known)}."
                error = BrokenPluginError(f"There is no hook named {name!r}. {advice}")
            elif impl.wrapper or impl.hookwrapper:
                error = BrokenPluginError(f"{name} must be a plain function, got a hook wrapper.")
            else:
                continue
            yield Failure(plugin.distribution, plugin.entry_point, str(error), error)


def _announced(plugin: Plugin) -> list[Any]:
    found: list[Any] = []
    for impl in _implementations(plugin, "recon_entries"):
        found += list(_bind(plugin.manager, "recon_entries", impl)())
    return found


def _implementations(plugin: Plugin, name: str) -> list[pluggy.HookImpl]:
    """The plain implementations of a hook in one plugin (wrappers are refused, see `_pending`)."""
    found = getattr(plugin.manager.hook, name).get_hookimpls()
    return [impl for impl in found if not (impl.wrapper or impl.hookwrapper)]


def _add(
    plugin: Plugin, announced: list[Any], known: dict[tuple[str, str], tuple[Entry, str]]
) -> Iterator[Failure]:
    """Take the sound entries of a plugin into the registry; yield what is wrong with the others."""
    for entry in announced:
        fault = _fault(entry)
        error: Exception
        if fault:
            error = BrokenPluginError(fault)
        elif (entry.kind, entry.name) in known:
            first = known[entry.kind, entry.name][1]
            error = DuplicateNameError(
                f"The {entry.kind} {entry.name!r} is announced by {first} and by {plugin.distribution}. "
                f"{first} came first and keeps it; the other needs a new name."
            )
        else:
            known[entry.kind, entry.name] = (entry, plugin.distribution)
            continue
        yield Failure(plugin.distribution, plugin.entry_point, str(error), error)


def _fault(entry: Any) -> str:
    """What is wrong with an announced entry, in the house's sentence shape; empty when nothing is."""
    if not isinstance(entry, Entry):
        return f"recon_entries must return recon.entries.Entry objects, got {short(entry)}."
    if entry.kind not in KINDS:
        return f"Entry.kind must be one of {', '.join(KINDS)}, got {short(entry.kind)}."
    if not (isinstance(entry.name, str) and _NAME.fullmatch(entry.name)):
        return f"Entry.name must be lower case with hyphens, got {short(entry.name)}."
    owner = f"Entry({entry.name!r})"
    if not (isinstance(entry.target, str) and _TARGET.fullmatch(entry.target)):
        return f"{owner}.target must be 'module:Name', got {short(entry.target)}."
    if not (isinstance(entry.summary, str) and entry.summary.strip() and "\n" not in entry.summary):
        return f"{owner}.summary must be one line of text, got {short(entry.summary)}."
    for what in ("needs", "cites"):
        value = getattr(entry, what)
        if not (isinstance(value, tuple) and all(isinstance(item, str) and item for item in value)):
            return f"{owner}.{what} must be a tuple of strings, got {short(value)}."
    if not isinstance(entry.extra, str):
        return f"{owner}.extra must be a string, got {short(entry.extra)}."
    return ""


def _failure(distribution: str, point: str, error: BaseException, what: str) -> Failure:
    text = " ".join(str(error).split())
    text = text if len(text) <= 300 else f"{text[:300]}..."
    reason = f"{what}: {type(error).__name__}" + (f": {text}" if text else "")
    kept = error if isinstance(error, Exception) else BrokenPluginError(reason)
    return Failure(distribution, point, reason, kept)


# -- looking up ------------------------------------------------------------------------------------------


def _check_kind(kind: str) -> None:
    if kind not in KINDS:
        near = nearest(str(kind), KINDS)
        advice = f"Did you mean {near!r}?" if near else f"Known: {', '.join(KINDS)}."
        raise UnknownNameError(f"There is no kind {kind!r}. {advice}")


def _squash(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", str(name).lower())


def _installed(need: str) -> bool:
    """Whether a package is there; a mere folder of that name (a namespace without origin) does not count."""
    if sys.modules.get(need) is not None:
        return True
    try:
        spec = importlib.util.find_spec(need)
    except (ImportError, ValueError):
        return False
    return spec is not None and spec.loader is not None and spec.origin is not None


def _load(entry: Entry) -> Any:
    absent = missing(entry)
    if absent:
        raise MissingExtraError(
            f"The {entry.kind} {entry.name!r} needs {', '.join(absent)}, which is not installed. "
            f"Run: {pip_line(entry)}"
        )
    module, _, attribute = entry.target.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except ImportError as error:
        if (error.name or "").partition(".")[0] in {need.partition(".")[0] for need in entry.needs}:
            raise MissingExtraError(
                f"The {entry.kind} {entry.name!r} needs {error.name}, which cannot be imported ({error}). "
                f"Run: {pip_line(entry)}"
            ) from error
        raise _broken(entry, error) from error
    except Exception as error:
        raise _broken(entry, error) from error


def _broken(entry: Entry, error: Exception) -> BrokenPluginError:
    return BrokenPluginError(
        f"{source(entry)} is broken: its {entry.kind} {entry.name!r} cannot be loaded from {entry.target} "
        f"({type(error).__name__}: {error}). Reinstall it, or tell its authors."
    )


def _bind(manager: pluggy.PluginManager, name: str, impl: pluggy.HookImpl) -> Callable[..., Any]:
    """An implementation as a function of all arguments of its hook; it may have declared fewer."""
    spec = getattr(manager.hook, name).spec
    names = tuple(spec.argnames)

    @functools.wraps(impl.function)
    def call(*args: Any, **kwargs: Any) -> Any:
        given = {**dict(zip(names, args, strict=False)), **kwargs}
        return impl.function(*(given[wanted] for wanted in impl.argnames))

    return call
