"""What recon_datasets announces: four datasets, and readers and writers of common files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from recon.entries import Entry
from recon.hookspecs import hookimpl


@hookimpl
def recon_entries() -> list[Entry]:
    """The datasets."""
    return [
        Entry(
            "dataset",
            "shepp-logan",
            "recon_datasets.synthetic:SheppLogan",
            "Shepp-Logan head, parallel or fan beam, exact line integrals, optional noise",
            cites=("Shepp, Logan, IEEE Trans. Nucl. Sci. 21 (1974) 21, doi 10.1109/TNS.1974.6499235",),
        ),
        Entry(
            "dataset",
            "random-ellipses",
            "recon_datasets.synthetic:RandomEllipses",
            "Random ellipse phantoms by seed and number, exact line integrals, optional noise",
        ),
        Entry(
            "dataset",
            "bodies",
            "recon_datasets.bodies:Bodies",
            "Textured CT-like bodies that no prior was trained on, parallel beam on slices or volumes, with noise",
        ),
        Entry(
            "dataset",
            "htc2022",
            "recon_datasets.htc2022:Htc2022",
            "Real fan-beam scan (Helsinki Tomography Challenge 2022, ta): full, sparse or limited angle",
            cites=(
                "Meaney, Silva de Moura, Siltanen, HTC 2022, Zenodo, doi 10.5281/zenodo.6984868, CC BY 4.0",
            ),
        ),
    ]


@hookimpl
def recon_read(path: Path) -> dict[str, Any] | None:
    """Read .npy, .npz, .mat, .png, .tif, .tiff and .zarr."""
    from recon_datasets.files import read

    return read(path)


@hookimpl
def recon_write(path: Path, arrays: dict[str, Any], record: dict[str, Any]) -> bool | None:
    """Write .npy, .npz, .mat, .png, .tif, .tiff and .zarr."""
    from recon_datasets.files import write

    return write(path, arrays, record)
