"""``recon demo``: a real scan reconstructed from few views three ways, with a table and a picture."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

__all__ = ["command"]

CASES = {"sparse60": "60 views over 360 degrees", "wedge90": "181 views over 90 degrees"}
PEAK = 0.005 / 0.14832  # attenuation per mm that PSNR counts as full scale (0.005 per pixel of the challenge)
CGLS_STEPS = 12
TV_STEPS = 150
TV_WEIGHT = 3e-5  # per view, for images in units of PEAK; chosen once on this scan


@dataclass(frozen=True)
class Row:
    """One reconstruction and how good it is."""

    case: str
    method: str
    image: Any
    psnr: float
    matthews: float
    seconds: float


@click.command("demo")
@click.option(
    "--output",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("recon-demo"),
    show_default=True,
    help="Folder for the figure and the reconstructions.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the table as JSON.")
def command(folder: Path, as_json: bool) -> None:
    """Reconstruct a real CT scan from few views with FBP, CGLS and TV, and draw the comparison.

    The scan is phantom "ta" of the Helsinki Tomography Challenge 2022 (shipped with recon, CC BY 4.0). PSNR is
    against the filtered back projection of all 720 views; MCC is Matthews' correlation of the image,
    thresholded by Otsu's rule, with the challenge's segmentation.
    """
    from recon.cli.output import console, table, write_json
    from recon.storage import make_folder

    make_folder(folder)
    reference, rows = reconstruct(lambda text: None if as_json else click.echo(text, err=True))
    figure_path, arrays_path = folder / "recon-demo.png", folder / "recon-demo.npz"
    _draw(figure_path, reference, rows)
    _save(arrays_path, reference, rows)
    if as_json:
        figures = [{k: v for k, v in vars(row).items() if k != "image"} for row in rows]
        write_json({"rows": figures, "figure": str(figure_path), "arrays": str(arrays_path)})
        return
    shown = table(
        ["views", "method", "PSNR dB", "MCC", "seconds"],
        [[CASES[r.case], r.method, f"{r.psnr:.2f}", f"{r.matthews:.4f}", f"{r.seconds:.1f}"] for r in rows],
        right=["PSNR dB", "MCC", "seconds"],
    )
    console().print(shown)
    click.echo(f"\nfigure           {figure_path}\nreconstructions  {arrays_path}")


def reconstruct(say: Callable[[str], None]) -> tuple[Any, list[Row]]:
    """The full-view reference and all reconstructions."""
    from recon import metrics, registry

    dataset_class = registry.get("dataset", "htc2022")
    say("reference: filtered back projection of all 720 views")
    reference = dataset_class(views="full").reference()
    rows = []
    for case, words in CASES.items():
        sample = dataset_class(views=case)[0]
        for name, method in METHODS.items():
            say(f"{words}: {name}")
            begin = time.perf_counter()
            image = method(sample)
            seconds = time.perf_counter() - begin
            quality = metrics.psnr(image, reference, data_range=PEAK)
            mask = image > metrics.otsu(image)
            score = metrics.matthews(mask, sample.notes["segmentation"])
            rows.append(Row(case, name, image, quality, score, seconds))
    return reference, rows


def _fbp(sample: Any) -> Any:
    from recon_operators.tomography import fbp

    return fbp(sample.operator, sample.data, filter="hann")


def _cgls(sample: Any) -> Any:
    from recon_proximal import Cgls

    import recon

    return recon.solve(recon.Problem(sample.operator, sample.data), Cgls(), stop=CGLS_STEPS).x


def _tv(sample: Any) -> Any:
    from recon_proximal import Pdhg

    import recon

    views = sample.data.shape[0]
    # 1/2 ||A (PEAK u) - y||^2 + a views TV(u) for u = x / PEAK, written in x
    prior = recon.TV(TV_WEIGHT * views / PEAK) + recon.Box(0.0, 1.2 * PEAK)
    problem = recon.Problem(sample.operator, sample.data, prior)
    return recon.solve(problem, Pdhg(), stop=TV_STEPS, every=50).x


METHODS: dict[str, Callable[[Any], Any]] = {"FBP (Hann)": _fbp, "CGLS": _cgls, "TV (PDHG)": _tv}


def _draw(path: Path, reference: Any, rows: list[Row]) -> None:
    from recon.plotting import draw_image, figure, save_figure

    columns = len(METHODS) + 1
    drawn = figure(2.9 * columns, 3.2 * len(CASES))
    axes = drawn.subplots(len(CASES), columns)
    limits = (-0.1 * PEAK, 1.2 * PEAK)
    for line, case in zip(axes, CASES, strict=True):
        for place, row in zip(line, (r for r in rows if r.case == case), strict=False):
            draw_image(place, row.image, f"{row.method}\n{row.psnr:.1f} dB, MCC {row.matthews:.3f}", limits)
        line[0].set_ylabel(CASES[case], fontsize=10)
        draw_image(line[-1], reference, "reference\nFBP of all 720 views", limits)
    drawn.suptitle(
        "HTC2022 phantom ta, real fan-beam scan (CC BY 4.0, doi 10.5281/zenodo.6984868)", fontsize=10
    )
    save_figure(path, drawn)


def _save(path: Path, reference: Any, rows: list[Row]) -> None:
    import numpy as np

    from recon.storage import atomic

    images = {f"{row.case} {row.method}": row.image for row in rows}
    with atomic(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, reference=reference, **images)
