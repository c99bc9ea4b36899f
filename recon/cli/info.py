"""``recon info KIND NAME``: what one registered thing is, what it takes and what it can do."""

from __future__ import annotations

import dataclasses
import inspect
import re
from typing import Any

import click

from recon import registry
from recon.arrays import members
from recon.cli.listing import entry_record, plain_kind
from recon.cli.output import console, table, write_json
from recon.entries import Entry
from recon.operator import Operator, capability
from recon.params import Field, fields, short
from recon.problem import Problem
from recon.schema import rule_words, schema, type_words, value_words

__all__ = ["CAPABILITIES", "NOTES", "command"]

CAPABILITIES: dict[str, tuple[str, ...]] = {
    "operator": ("normal", "norm_bound", "data_prox", "pinv", "svd", "factors", "absolute_sums", "plan"),
    "prior": ("value", "prox", "prox_within", "gradient", "curvature", "split", "denoise", "score"),
    "loss": ("value", "gradient", "curvature", "prox"),
    "solver": (),
    "dataset": (),
    "bench": (),
}
"""The methods of each kind that others look for."""

NOTES = ("Formula", "Shapes", "Units", "Cost", "Source")
"""What the Notes of an operator's docstring say, each in one item that begins with the word and a colon."""


@click.command("info")
@click.argument("kind")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with a JSON schema of the parameters.")
def command(kind: str, name: str, as_json: bool) -> None:
    """Describe one thing: its formula, parameters, capabilities and sources.

    KIND is operator, prior, loss, solver, dataset or bench; 'recon list' shows the names.
    """
    entry = registry.find(plain_kind(kind), name)
    target = registry.get(entry.kind, entry.name)
    if as_json:
        write_json(_record(entry, target))
    else:
        _show(entry, target)


def _record(entry: Entry, target: Any) -> dict[str, Any]:
    example, fault = _example(target)
    return {
        **entry_record(entry),
        "doc": inspect.cleandoc(target.__doc__ or ""),
        **{name.lower(): text for name, text in _notes(_doc(target)).items()},
        "parameters": [
            {
                "name": item.name,
                "type": type_words(item.type),
                "rule": rule_words(item),
                "default": value_words(item.default),
                "meaning": item.doc,
            }
            for item in _parameters(target)
        ],
        "schema": schema(target) if _is_declared(target) else None,
        "capabilities": _capabilities(entry, target, example),
        "example": {"fault": fault} if fault else {"text": _text(example), **_specs(example)},
    }


def _show(entry: Entry, target: Any) -> None:
    out = console()
    example, fault = _example(target)
    out.print(f"{entry.kind} {entry.name}: {entry.summary}", style="bold")
    out.print()
    text = _without_rows(_doc(target))
    if text:
        out.print(text)
        out.print()
    rows = [
        [item.name, type_words(item.type), rule_words(item), value_words(item.default), item.doc]
        for item in _parameters(target)
    ]
    if rows:
        out.print(table(["parameter", "type", "rule", "default", "meaning"], rows))
        out.print()
    facts = {name.lower(): text for name, text in _notes(_doc(target)).items()}
    facts["can do"] = ", ".join(_capabilities(entry, target, example))
    facts["chosen by solve()"] = "where it fits best" if entry.automatic else ""
    facts["example"] = fault or _text(example)
    facts |= {f"example's {name}": text for name, text in _specs(example).items()}
    facts["cites"] = "; ".join(entry.cites)
    facts["import"] = "from {} import {}".format(*entry.target.split(":"))
    facts["from"] = registry.source(entry)
    shown = {name: value for name, value in facts.items() if value}
    width = max(map(len, shown))
    for name, value in shown.items():
        out.print(f"{name:<{width}}  {value}", soft_wrap=True)


def _doc(target: Any) -> str:
    """The docstring; a dataclass without one has only its signature, which is no news."""
    text = inspect.cleandoc(target.__doc__ or "")
    return "" if text.startswith(f"{getattr(target, '__name__', '')}(") else text


_MARKUP = re.compile(r"``([^`]+)``|:\w+:`~?(?:recon\.)?([^`]+)`")
_HEADING = re.compile(r"^(\w[\w ]*)\n-{3,}$", re.MULTILINE)
_NOTE = re.compile(  # until the next one, a blank line or the end
    rf"^({'|'.join(NOTES)}): +(.+?)(?=\n(?:{'|'.join(NOTES)}): |\n\s*\n|\Z)\n?", re.MULTILINE | re.DOTALL
)


def _sections(doc: str) -> list[tuple[str, str]]:
    """A numpydoc docstring as (heading, text); the first has no heading."""
    marks = list(_HEADING.finditer(doc))
    ends = [mark.start() for mark in marks[1:]] + [len(doc)]
    first = doc[: marks[0].start()] if marks else doc
    rest = (
        [(mark[1], doc[mark.end() : end].strip("\n")) for mark, end in zip(marks, ends, strict=True)]
        if marks
        else []
    )
    return [("", first.strip()), *rest]


def _notes(doc: str) -> dict[str, str]:
    """Formula, shapes, units, cost and source from the Notes of a docstring, as far as it has them."""
    found = _NOTE.findall(dict(_sections(doc)).get("Notes", ""))
    return {name: _MARKUP.sub(r"\1\2", " ".join(text.split())) for name, text in found}


def _without_rows(doc: str) -> str:
    """The docstring without what is shown in rows: parameters and the items of the notes."""
    kept = [(head, text) for head, text in _sections(doc) if head not in ("Parameters", "Attributes")]
    kept = [(head, _NOTE.sub("", text).strip("\n") if head == "Notes" else text) for head, text in kept]
    text = "\n\n".join(f"{head}\n{'-' * len(head)}\n{text}" if head else text for head, text in kept if text)
    return _MARKUP.sub(r"\1\2", text).strip()


def _is_declared(target: Any) -> bool:
    return isinstance(target, type) and dataclasses.is_dataclass(target)


def _parameters(target: Any) -> list[Field]:
    """Declared parameters, with the docstring's words where the declaration has none."""
    if _is_declared(target):
        found = list(fields(target))
    elif callable(target):
        found = _signature(target)
    else:
        return []
    meanings = _meanings(dict(_sections(_doc(target))).get("Parameters", ""))
    return [
        item if item.doc else dataclasses.replace(item, doc=meanings.get(item.name, "")) for item in found
    ]


def _signature(target: Any) -> list[Field]:
    """The parameters of a class or function that is no dataclass, as far as its signature tells."""
    try:
        parameters = inspect.signature(target, eval_str=True).parameters.values()
    except (TypeError, ValueError, NameError):
        return []
    found = []
    for item in parameters:
        hint = Any if item.annotation is inspect.Parameter.empty else item.annotation
        default = dataclasses.MISSING if item.default is inspect.Parameter.empty else item.default
        if item.kind not in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD):
            found.append(Field(item.name, hint, (), default, ""))
    return found


def _meanings(section: str) -> dict[str, str]:
    """Name to meaning in a numpydoc section; ``a, b`` on one line share their meaning."""
    found: dict[str, str] = {}
    names: list[str] = []
    for line in section.splitlines():
        if line and not line[0].isspace():
            names = [name.strip(" `*") for name in line.partition(":")[0].split(",")]
            found |= dict.fromkeys(names, "")
        else:
            for name in names:
                found[name] = f"{found[name]} {line.strip()}".strip()
    return found


def _example(target: Any) -> tuple[Any, str]:
    """The class's example, or (None, why not)."""
    make = getattr(target, "example", None)
    if make is None:
        return None, "this class defines no example()" if isinstance(target, type) else ""
    try:
        return make(), ""
    except Exception as error:
        return None, f"example() raised {type(error).__name__}: {error}"


def _capabilities(entry: Entry, target: Any, example: Any) -> list[str]:
    owner = target if example is None else example
    found = [name for name in CAPABILITIES[entry.kind] if capability(owner, name)]
    if isinstance(getattr(owner, "factors", None), tuple):  # the one that is no method
        found.append("factors")
    if "plan" in found and getattr(target, "plan", None) is Operator.plan:  # the base's only raises
        found.remove("plan")
    return found


def _text(example: Any) -> str:
    """An example in a few words; of a problem its parts, never its data."""
    if example is None:
        return ""
    if isinstance(example, Problem):
        loss = type(example.loss).__name__
        return f"a problem: {_text(example.operator)}, loss {loss}, prior {short(example.prior)}"
    # the base's repr has names and specs only; that of a dataclass would print its arrays
    return Operator.__repr__(example) if isinstance(example, Operator) else short(example)


def _specs(example: Any) -> dict[str, str]:
    """Domain and codomain of an example that has them, or whose operator has."""
    found = {}
    for side in ("domain", "codomain"):
        spec = getattr(getattr(example, "operator", example), side, None)
        if spec is not None:
            found[side] = "; ".join(map(str, members(spec)))
    return found
