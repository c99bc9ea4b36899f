"""Make datasets/recon_datasets/data/htc2022_ta.npz from the published HTC 2022 scan (for maintainers).

    python tools/make_htc2022.py ../shared/data/ct/htc2022

The 721 x 560 sinogram is quantised to 16 bits between its extremes, differenced along the views (modulo 2^16,
so this step loses nothing), and split into high and low bytes, which zlib packs better than the words.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import scipy.io
from PIL import Image

TARGET = Path(__file__).parents[1] / "datasets" / "recon_datasets" / "data" / "htc2022_ta.npz"


def main(folder: Path) -> None:
    """Read the original files in ``folder`` and write the packed file."""
    matlab = scipy.io.loadmat(folder / "htc2022_ta_full.mat", struct_as_record=False, squeeze_me=True)
    scan = matlab["CtDataFull"]
    sinogram = np.asarray(scan.sinogram, dtype=np.float64)
    if sinogram.shape != (721, 560) or not np.array_equal(scan.parameters.angles, np.arange(721) / 2):
        raise SystemExit("The scan must hold 721 views of 560 bins, half a degree apart.")
    offset = float(sinogram.min())
    step = float(np.ptp(sinogram)) / 65535
    words = np.rint((sinogram - offset) / step).astype(np.uint16)
    differences = np.diff(words, axis=0, prepend=np.zeros((1, 560), np.uint16))
    with Image.open(folder / "htc2022_ta_full_recon_fbp_seg.png") as picture:
        segmentation = np.asarray(picture).astype(bool)
    TARGET.parent.mkdir(exist_ok=True)
    np.savez_compressed(
        TARGET,
        high=(differences >> 8).astype(np.uint8),
        low=(differences & 255).astype(np.uint8),
        offset=np.float64(offset),
        step=np.float64(step),
        segmentation=np.packbits(segmentation),
    )
    error = words * step + offset - sinogram
    sys.stdout.write(
        f"{TARGET.name}: {TARGET.stat().st_size} bytes, error at most {np.abs(error).max():.3g}, "
        f"root mean square {np.sqrt(np.mean(error**2)):.3g}\n"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
