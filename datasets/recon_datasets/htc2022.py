"""A real scan: phantom "ta" of the Helsinki Tomography Challenge 2022, whole or in the usual parts.

A flat fan of 560 bins, 721 views half a degree apart (the last repeats the first), already log-transformed:
data are line integrals. Lengths are in mm, so images are attenuation per mm; the challenge's own images are
attenuation per pixel: divide them by 0.14832 mm to compare.

The original geometry, with first axis = image row and second = column, puts the source at
SOD (cos b, sin b) and the detector axis along (-sin b, cos b). With x = column and y = -row that is our fan,
S = R (sin t, -cos t) and e = (cos t, sin t), at t = b: nothing is mirrored, reversed or transposed, and
reconstructions lie exactly as the reference segmentation does.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from importlib import resources
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from annotated_types import Ge

from recon.dataset import Dataset, Sample
from recon.errors import DataError
from recon.params import Doc, Parameters

__all__ = ["ATTRIBUTION", "DOI", "LICENCE", "Htc2022"]

DOI = "10.5281/zenodo.6984868"
LICENCE = "CC BY 4.0, https://creativecommons.org/licenses/by/4.0/"
ATTRIBUTION = (
    'Alexander Meaney, Fernando Silva de Moura, Samuli Siltanen: "Helsinki Tomography Challenge 2022 open '
    f'tomographic dataset (HTC 2022)", Zenodo, 2022, doi {DOI}. Changed: phantom ta only, sinogram quantised '
    "to 16 bits, segmentation packed to one bit per pixel."
)

_SOURCE_ORIGIN, _SOURCE_DETECTOR, _BIN = 410.66, 553.74, 0.2  # mm
_PIXEL = _BIN * _SOURCE_ORIGIN / _SOURCE_DETECTOR  # 0.14832 mm: a bin, seen at the axis of rotation
_VIEWS, _BINS, _SIZE = 721, 560, 512

# rows of the 721-row sinogram
_ROWS = {
    "full": slice(0, 720),
    "sparse60": slice(0, 720, 12),
    "sparse30": slice(0, 720, 24),
    "wedge90": slice(0, 181),
    "wedge60": slice(0, 121),
    "wedge30": slice(0, 61),
}


@dataclass(frozen=True)
class Htc2022(Parameters, Dataset):
    """Phantom "ta" of the Helsinki Tomography Challenge 2022: one measured fan-beam scan.

    ``views`` takes rows of the sinogram: ``"full"`` the 720 distinct views, ``"sparse60"`` and ``"sparse30"``
    every 12th and 24th of them, ``"wedge90"``, ``"wedge60"`` and ``"wedge30"`` the first 181, 121 and 61
    (that is 90, 60 and 30 degrees). No noise is added. ``recon info dataset htc2022`` lists the parameters.

    Units: data are line integrals without unit; the operator is in mm; images are attenuation per mm.

    ``notes["segmentation"]`` is the reference segmentation (boolean, True = acrylic; other image sizes take
    the nearest pixel). ``truth`` is None unless ``with_truth``: nobody knows the image of a real object,
    there is only the reconstruction from all views. The object hardens the beam, so even that one leaves a
    residual of 3.5 percent.

    Notes
    -----
    The package holds the sinogram in 16 bits: the error against the original is at most 1.68e-5 and 9.7e-6
    root mean square, where the noise is about 1e-2.

    References
    ----------
    Meaney, Silva de Moura, Siltanen, "Helsinki Tomography Challenge 2022 open tomographic dataset
    (HTC 2022)", Zenodo, doi 10.5281/zenodo.6984868, CC BY 4.0.
    """

    views: Annotated[
        Literal["full", "sparse60", "sparse30", "wedge90", "wedge60", "wedge30"], Doc("which views to take")
    ] = "full"
    image_size: Annotated[int, Ge(8), Doc("rows and columns of the image, which is always 75.94 mm wide")] = (
        512
    )
    with_truth: Annotated[
        bool, Doc("put the full-view filtered back projection into the sample as truth")
    ] = False

    def __len__(self) -> int:
        return 1

    @property
    def rows(self) -> npt.NDArray[np.int64]:
        """Rows of the original 721-row sinogram that the sample holds."""
        return np.arange(_VIEWS)[_ROWS[self.views]]

    @property
    def angles(self) -> npt.NDArray[np.float64]:
        """View angles in radians."""
        return np.radians(self.rows / 2)

    @property
    def pixel_size(self) -> float:
        """Side of a pixel in mm."""
        return _PIXEL * _SIZE / self.image_size

    def _operator(self) -> Any:
        from recon_operators.tomography import FanBeam

        return FanBeam(
            (self.image_size, self.image_size),
            self.angles,
            _BINS,
            source_origin=_SOURCE_ORIGIN,
            origin_detector=_SOURCE_DETECTOR - _SOURCE_ORIGIN,
            detector_spacing=_BIN,
            pixel_size=self.pixel_size,
        )

    def sample(self, index: int) -> Sample:
        """Operator, data and notes of the scan."""
        sinogram, segmentation, error = _scan()
        notes = {
            "source": ATTRIBUTION,
            "doi": DOI,
            "licence": LICENCE,
            "unit": "attenuation per mm; lengths in mm",
            "pixel_size": self.pixel_size,
            "rows": self.rows,
            "segmentation": segmentation[_nearest(self.image_size)],
            "quantisation": f"16 bits, error at most {error:.3g}",
            "noise": "about 0.01 root mean square by the repeated first view; beam hardening weighs more",
        }
        truth = None
        if self.with_truth:
            truth = self.reference()
            notes["truth"] = "filtered back projection of all 720 views, not a ground truth"
        return Sample(self._operator(), sinogram[_ROWS[self.views]].copy(), truth, None, notes)

    def reference(self) -> npt.NDArray[np.float64]:
        """The filtered back projection of all 720 views, in attenuation per mm; computed once per process.

        Returns
        -------
        Image of shape (image_size, image_size), read-only.
        """
        return _reference(self.image_size)

    @classmethod
    def example(cls) -> Htc2022:
        """A small ready instance."""
        return cls(views="sparse30", image_size=128)


@functools.cache
def _reference(image_size: int) -> npt.NDArray[np.float64]:
    from recon_operators.tomography import fbp

    dataset = Htc2022(image_size=image_size)
    image: npt.NDArray[np.float64] = fbp(dataset._operator(), _scan()[0][_ROWS["full"]])
    image.flags.writeable = False
    return image


@functools.cache
def _scan() -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_], float]:
    """Sinogram (721, 560), segmentation (512, 512) and the largest quantisation error, read-only."""
    name = "htc2022_ta.npz"
    try:
        with (
            (resources.files("recon_datasets") / "data" / name).open("rb") as stream,
            np.load(stream, allow_pickle=False) as packed,
        ):
            high, low, offset, step, bits = (
                packed[k] for k in ("high", "low", "offset", "step", "segmentation")
            )
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise DataError(
            f"Htc2022.data must be {name} of the package, got {type(error).__name__}. Reinstall recon."
        ) from error
    differences = (high.astype(np.uint16) << 8) | low
    words = np.cumsum(differences, axis=0, dtype=np.uint16)  # modulo 2^16, as it was packed
    sinogram: npt.NDArray[np.float64] = words * np.float64(step) + np.float64(offset)
    segmentation: npt.NDArray[np.bool_] = np.unpackbits(bits).astype(bool).reshape(_SIZE, _SIZE)
    sinogram.flags.writeable = segmentation.flags.writeable = False
    return sinogram, segmentation, float(step) / 2


def _nearest(size: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Row and column indices of the 512-pixel image nearest to the pixel centres of another size."""
    index = np.floor((np.arange(size) + 0.5) * _SIZE / size).astype(np.int64)
    return index[:, None], index[None, :]
