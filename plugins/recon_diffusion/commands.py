"""``recon train-prior`` and ``recon priors``: torch is imported only when one of them needs it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

__all__ = ["COMMANDS", "priors", "train_prior"]

OPTION_NAMES = ("head", "heads", "new_order", "size", "steps", "law")
"""Options of ``convert`` that only checkpoints of guided-diffusion have."""


@click.command("train-prior")
@click.argument("config")
@click.option(
    "--out", type=click.Path(path_type=Path), help="Folder of the training; by default priors/NAME."
)
@click.option("--device", default="cpu", show_default=True, help="Where torch runs it, such as cuda.")
@click.option(
    "--export", "only_export", is_flag=True, help="Write the prior of the last checkpoint, and stop."
)
def train_prior(config: str, out: Path | None, device: str, only_export: bool) -> None:
    """Train a diffusion prior, or go on with one that was broken off.

    CONFIG is a TOML file, or the name of one that is shipped: ct-128, probe-64, ct-128-gpu, probe-64-gpu. The folder
    gets a checkpoint, the curve of the loss and at the end the prior. Ctrl-C saves a checkpoint; the same command goes
    on from there.
    """
    from recon.errors import ParameterError
    from recon_diffusion.files import SHIPPED, need_extra
    from recon_diffusion.training import export, load_config, train

    own = SHIPPED / f"{config}.toml"
    chosen = load_config(own if own.is_file() and not Path(config).is_file() else Path(config))
    folder = out or Path("priors") / chosen.name
    need_extra()
    if not _has_device(device):
        raise ParameterError(f"--device must be one that torch has here, got {device!r}. Use cpu or cuda.")
    if only_export:
        click.echo(f"Wrote {export(chosen, folder, device)}")
        return
    with _Progress(chosen.steps, chosen.batch, chosen.save_every) as progress:
        made = train(chosen, folder, device, progress.report)
    click.echo(f"Wrote {made}")


def _has_device(name: str) -> bool:
    import torch

    try:
        torch.empty(1, device=name)
    except (RuntimeError, AssertionError):  # no such kind, no driver, not compiled for it
        return False
    return True


class _Progress:
    """A bar in a terminal, else a line for each checkpoint."""

    def __init__(self, steps: int, batch: int, every: int) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self.steps, self.batch, self.every = steps, batch, every
        from recon.cli.output import console

        out = console(stderr=True)
        self.shown = out.is_terminal
        self.bar = Progress(
            TextColumn("loss {task.fields[loss]}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[speed]} images/s"),
            TimeRemainingColumn(),
            console=out,
            disable=not self.shown,
        )
        self.task = self.bar.add_task("training", total=steps, loss="", speed="")
        self.begin: tuple[int, float] | None = None
        self.smooth, self.done = 0.0, 0

    def __enter__(self) -> _Progress:
        self.bar.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self.bar.stop()

    def report(self, step: int, loss: float, seconds: float) -> None:
        self.smooth = loss if not self.smooth else 0.95 * self.smooth + 0.05 * loss
        self.begin = self.begin or (step - 1, seconds - seconds / step)
        elapsed = max(seconds - self.begin[1], 1e-9)
        speed = f"{(step - self.begin[0]) * self.batch / elapsed:.0f}"
        self.bar.update(self.task, completed=step, loss=f"{self.smooth:.4f}", speed=speed)
        done = step // self.every
        if not self.shown and (done > self.done or step == self.steps):
            self.done = done
            click.echo(f"step {step} of {self.steps}, loss {self.smooth:.5f}, {seconds:.0f} s", err=True)


# -- priors ------------------------------------------------------------------------------------------------


@click.group("priors")
def priors() -> None:
    """List, describe and convert diffusion priors."""


@priors.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for a program.")
def list_priors(as_json: bool) -> None:
    """List the priors that come with the package."""
    from recon.cli.output import console, table, write_json
    from recon_diffusion.files import shipped

    records = [_record(name) for name in shipped()]
    if as_json:
        write_json(records)
        return
    if not records:
        click.echo("No prior is shipped here. Train one: recon train-prior probe-64.")
        return
    rows = [
        [r["name"], r["images"], r["kind"], f"{r['low']:g} to {r['high']:g}", f"{r['megabytes']:.1f} MB"]
        for r in records
    ]
    console().print(table(["name", "trained on", "images", "values", "weights"], rows, right=["weights"]))


@priors.command("show")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for a program.")
def show_prior(name: str, as_json: bool) -> None:
    """Describe the prior NAME: one that is shipped, or a folder."""
    from recon.cli.output import console, table, write_json

    record = _record(name)
    if as_json:
        write_json(record)
        return
    out = console()
    out.print(f"prior {record['name']}", style="bold")
    out.print()
    facts = {
        "images": f"{record['kind']}, rows and columns multiples of {record['multiple']}",
        "values": f"{record['low']:g} to {record['high']:g} {record['units']}".strip(),
        "trained on": record["images"],
        "steps": f"{record['steps']:,}" if record["steps"] else "",
        "time": f"{record['training'].get('seconds', 0) / 60:.0f} minutes" if record["training"] else "",
        "machine": record["training"].get("machine", ""),
        "noise levels": "all between 0.01 and 157" if record["continuous"] else "those of its steps",
        "fold": str(record["fold"]),
        "weights": f"{record['megabytes']:.2f} MB, SHA-256 {record['sha256']}",
        "tuned": ", ".join(record["defaults"]),
        "use": f"DiffusionPrior({name!r})",
    }
    shown = {key: text for key, text in facts.items() if text}
    width = max(map(len, shown))
    for key, text in shown.items():
        out.print(f"{key:<{width}}  {text}", soft_wrap=True)
    if record["spreads"]:
        rows = [[f"{s:g}", f"{e:.4f}"] for s, e in record["spreads"]]
        columns = ["noise level", "error"]
        out.print()
        out.print("Error on held-out images, in network values (their range is 2)")
        out.print(table(columns, rows, right=columns))


def _record(source: str) -> dict[str, Any]:
    """What is known of a prior without loading its network."""
    import dataclasses

    from recon.errors import DataError
    from recon_diffusion.files import digest_of, prior_folder, read_notes

    folder = prior_folder(source)
    if not (folder / "recon.json").is_file():
        raise DataError(f"{folder} must hold recon.json, got none. Convert it first: recon priors convert.")
    notes = read_notes(folder)
    kind = (
        "complex" if notes.complex_images else "grey" if notes.channels == 1 else f"{notes.channels} channels"
    )
    size = sum(path.stat().st_size for path in (folder / "unet").glob("*.safetensors"))
    known = dataclasses.asdict(notes) | {
        "name": notes.name or folder.name,
        "kind": kind,
        "megabytes": size / 1e6,
    }
    return known | {"sha256": notes.sha256 or digest_of(folder)}


@priors.command("convert")
@click.argument("src", type=click.Path(path_type=Path))
@click.argument("dst", type=click.Path(path_type=Path))
@click.option("--low", default=-1.0, show_default=True, help="Value of an image that is -1 in the network.")
@click.option("--high", default=1.0, show_default=True, help="Value of an image that is 1 in the network.")
@click.option(
    "--prediction",
    type=click.Choice(["epsilon", "v_prediction", "sample"]),
    help="What a UNet without a scheduler predicts.",
)
@click.option("--complex", "complex_images", is_flag=True, help="Two channels are real and imaginary part.")
@click.option(
    "--head", type=click.IntRange(min=1), help="ADM: channels of an attention head (num_head_channels)."
)
@click.option("--heads", type=click.IntRange(min=1), help="ADM: attention heads (num_heads).")
@click.option("--new-order", is_flag=True, help="ADM: the model was made with use_new_attention_order.")
@click.option("--size", type=click.IntRange(min=1), help="ADM: height and width of the training images.")
@click.option("--steps", type=click.IntRange(min=2), help="ADM: steps of the noise law; 1000 by default.")
@click.option("--law", type=click.Choice(["linear", "cosine"]), help="ADM: noise law; linear by default.")
def convert(src: Path, dst: Path, low: float, high: float, **options: Any) -> None:
    """Write the prior folder DST from SRC, once.

    SRC is a checkpoint of guided-diffusion (ADM, a .pt file), a folder of a diffusers pipeline, or of a UNet. Images
    from 0 to 1 need --low 0 --high 1. Files that would have to run code are refused.
    """
    from recon.errors import ParameterError

    if not high > low:
        raise ParameterError(f"--high must be above --low, got {high:g} and {low:g}. Exchange them.")
    complex_images, prediction = options.pop("complex_images"), options.pop("prediction")
    chosen = {name: options[name] for name in OPTION_NAMES if options[name]}
    if src.is_dir():
        if chosen:
            raise ParameterError(
                f"--{next(iter(chosen)).replace('_', '-')} is for ADM checkpoints only, got a folder."
            )
        made = _convert_folder(src, dst, low, high, complex_images, prediction)
    else:
        from recon_diffusion.adm import AdmOptions, convert_adm

        if prediction:
            raise ParameterError("--prediction is for folders only, got an ADM checkpoint. Leave it out.")
        made = convert_adm(src, dst, AdmOptions(low=low, high=high, complex_images=complex_images, **chosen))
    click.echo(f"Wrote {made}")


def _convert_folder(
    src: Path, dst: Path, low: float, high: float, complex_images: bool, prediction: Any
) -> Path:
    from recon_diffusion.files import load_network, read_scheduler, save_prior
    from recon_diffusion.notes import Notes

    network = load_network(src, low=low, high=high, prediction=prediction, complex_images=complex_images)
    notes = Notes(
        low=low,
        high=high,
        channels=network.channels,
        complex_images=complex_images,
        images=f"those of {src.name}, a folder of diffusers",
    )
    return save_prior(dst, network.module, read_scheduler(src, prediction), notes)


COMMANDS = (train_prior, priors)
