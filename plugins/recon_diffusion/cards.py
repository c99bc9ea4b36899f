"""Model cards: the README of a prior's folder, written from what is known and measured."""

from __future__ import annotations

from typing import Any

from recon_diffusion.notes import Notes

__all__ = ["card"]

SAID = ("name", "about", "units", "held_out")
"""Settings that the card says elsewhere."""


def card(notes: Notes, numbers: int, size: int) -> str:
    """The model card of a prior.

    Parameters
    ----------
    notes
        What its ``recon.json`` says.
    numbers
        Numbers of the network.
    size
        Bytes of the weights file.
    """
    parts = [
        f"# {notes.name}",
        "A diffusion prior for `recon_diffusion`: an unconditional network that removes Gaussian noise of any level.",
        _table("What", "", _facts(notes, numbers, size)),
    ]
    if notes.spreads:
        parts += [
            "## How well it removes noise",
            f"Root mean square error of its estimate on {notes.training.get('held_out', 'some')} images that it was "
            "not trained on. Levels and errors in network values: the range of the images is 2.",
            _table("noise level", "error", [(f"{s:g}", f"{e:.4f}") for s, e in notes.spreads], right=True),
        ]
    if notes.training:
        parts += ["## How it was trained", _table("setting", "value", _training(notes))]
    if notes.defaults:
        parts += ["## Tuned parameters", _table("solver", "parameters", _pairs(notes.defaults))]
    parts += ["## Limits", "\n".join(f"- {line}" for line in _limits(notes)), "## Licence", _licence(notes)]
    return "\n\n".join(parts) + "\n"


def _facts(notes: Notes, numbers: int, size: int) -> list[tuple[str, str]]:
    kind = (
        "complex" if notes.complex_images else "grey" if notes.channels == 1 else f"{notes.channels} channels"
    )
    units = f", {notes.units}" if notes.units else ""
    return [
        ("images", f"{kind}, rows and columns multiples of {notes.multiple}"),
        ("values", f"{notes.low:g} to {notes.high:g}{units}"),
        ("trained on", notes.images or "not known"),
        (
            "network",
            f"UNet2DModel of diffusers, {numbers / 1e6:.2f} million numbers, pixel unshuffle {notes.fold}",
        ),
        ("weights", f"{size / 1e6:.2f} MB in safetensors, SHA-256 {notes.sha256}"),
    ]


def _training(notes: Notes) -> list[tuple[str, str]]:
    known = dict(notes.training)
    config = known.pop("config", {})
    words = {
        "images_seen": ("images seen", lambda v: f"{v:,}"),
        "seconds": ("time", lambda v: f"{v / 60:.0f} minutes" if v >= 120 else f"{v:.0f} seconds"),
        "machine": ("machine", str),
        "loss": ("loss at the end", lambda v: f"{v:.5f}"),
        "held_out": ("held-out images", str),
        "torch": ("torch", str),
    }
    rows = [("gradient steps", f"{notes.steps:,}")]
    rows += [(words[key][0], words[key][1](value)) for key, value in known.items() if key in words]
    return rows + [(f"`{key}`", _short(value)) for key, value in config.items() if key not in SAID]


def _limits(notes: Notes) -> list[str]:
    lines = [
        "It knows images like those it was trained on. On others it may draw what it knows instead of what is there: "
        "compare with a reconstruction without it.",
        "Structures that are rare among its training images, small lesions above all, may be left out or made up.",
    ]
    if notes.continuous:
        lines.append(
            "It was trained on noise levels from 0.01 to 157 in network values, hardly on those above 20."
        )
    if "bodies" in notes.images:
        lines.append(
            "Its images are drawn, not scanned: no anatomy is real, and it is not for any clinical use."
        )
    return lines


def _licence(notes: Notes) -> str:
    if not notes.training:
        return "That of the weights it was made from."
    if "bodies" in notes.images:
        return "BSD-3-Clause, as the package; the images were drawn by the package itself."
    return "That of the images it was trained on, and BSD-3-Clause of the package."


def _pairs(values: dict[str, Any]) -> list[tuple[str, str]]:
    return [(name, _short(value)) for name, value in values.items()]


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} = {_short(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_short, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _table(left: str, right_head: str, rows: list[tuple[str, str]], right: bool = False) -> str:
    lines = [f"| {left} | {right_head} |", "| ---: | ---: |" if right else "| --- | --- |"]
    return "\n".join(lines + [f"| {a} | {b} |" for a, b in rows])
