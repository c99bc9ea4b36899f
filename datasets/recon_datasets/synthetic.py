"""Synthetic scans of ellipse phantoms: exact line integrals, a rasterized truth, and noise by a stated model.

The phantom fills the square [-1, 1] x [-1, 1]: a pixel is h = 2 / size wide and values are per unit length.

    Gaussian     p + noise rms(p) n,  n ~ N(0, 1)
    Beer-Lambert N ~ Poisson(I0 exp(-p)),   data = -ln(max(N, 1) / I0),   sigma = 1 / sqrt(max(N, 1))

Data are the mean of 8 exact lines over every bin and are rounded to multiples of 2^-24, far below any noise:
the last bit of a machine's sine or logarithm does not show, and a seed gives the same bits everywhere.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from annotated_types import Ge, Gt, Le

from recon.dataset import Dataset, Sample
from recon.errors import ParameterError
from recon.params import Doc, Parameters
from recon_datasets.phantoms import fan_sinogram, parallel_sinogram, random_ellipses, rasterize, shepp_logan

__all__ = ["RandomEllipses", "SheppLogan"]

_SOURCE_ORIGIN, _ORIGIN_DETECTOR = 4.0, 2.0  # fan beam; the square has half side 1, so magnification 1.5
_SUBSAMPLES = 8  # lines per bin, and points per side of a pixel
_VIEW_BLOCK = 64  # views integrated at once

_Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class _EllipseScan(Parameters, Dataset):
    """What the synthetic scans share; the parameters are documented on the fields."""

    size: Annotated[int, Ge(2), Doc("rows and columns of the image")] = 256
    views: Annotated[int, Ge(1), Doc("number of views, evenly spread over the arc")] = 60
    detectors: Annotated[
        int | None,
        Ge(1),
        Doc("bins, which always cover the whole image; None: as wide as a pixel at the axis"),
    ] = None
    geometry: Annotated[Literal["parallel", "fan"], Doc("kind of beam")] = "parallel"
    arc: Annotated[
        float | None,
        Gt(0),
        Le(360),
        Doc("degrees of the scan, for a limited angle; None: 180 parallel, 360 fan"),
    ] = None
    start: Annotated[float, Ge(-360), Le(360), Doc("angle of the first view in degrees")] = 0.0
    noise: Annotated[
        float, Ge(0), Le(1e6), Doc("Gaussian noise, relative to the root mean square of the data")
    ] = 0.0
    counts: Annotated[
        float | None, Gt(0), Le(1e15), Doc("photons I0 per bin for Poisson noise; None: no Poisson noise")
    ] = None
    seed: Annotated[int, Ge(0), Doc("seed of whatever is random")] = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.noise > 0 and self.counts is not None:
            raise ParameterError(
                f"{type(self).__name__}.counts must be None where noise > 0, got {self.counts:g}. "
                "Choose Gaussian or Poisson noise."
            )

    @abstractmethod
    def _ellipses(self, index: int) -> _Floats:
        """The phantom of one sample."""

    @property
    def angles(self) -> _Floats:
        """View angles in radians; the end of the arc is not repeated."""
        arc = self.arc if self.arc is not None else (180.0 if self.geometry == "parallel" else 360.0)
        return np.radians(self.start + arc * (np.arange(self.views) / self.views))

    @property
    def pixel_size(self) -> float:
        """Side of a pixel; the image is 2 wide."""
        return 2.0 / self.size

    def _detector(self) -> tuple[int, float]:
        """Number of bins and their width on the detector; they cover the circle around the image."""
        width = self.pixel_size
        if self.geometry == "parallel":
            half = math.sqrt(2.0)
        else:
            width *= (_SOURCE_ORIGIN + _ORIGIN_DETECTOR) / _SOURCE_ORIGIN
            half = (_SOURCE_ORIGIN + _ORIGIN_DETECTOR) * math.tan(math.asin(math.sqrt(2.0) / _SOURCE_ORIGIN))
        # as even or odd as the image, so that the middle line of a parallel beam meets pixels as rows do
        count = self.size + 2 * math.ceil(half / width - self.size / 2)
        return (count, width) if self.detectors is None else (self.detectors, count * width / self.detectors)

    def _operator(self) -> Any:
        from recon_operators.tomography import FanBeam, ParallelBeam

        shape, (bins, spacing) = (self.size, self.size), self._detector()
        common = {"detector_spacing": spacing, "pixel_size": self.pixel_size}
        if self.geometry == "parallel":
            return ParallelBeam(shape, self.angles, bins, **common)
        return FanBeam(
            shape, self.angles, bins, source_origin=_SOURCE_ORIGIN, origin_detector=_ORIGIN_DETECTOR, **common
        )

    def _clean(self, ellipses: _Floats) -> _Floats:
        """The exact sinogram."""
        bins, spacing = self._detector()
        rows = []
        for first in range(0, self.views, _VIEW_BLOCK):
            block = self.angles[first : first + _VIEW_BLOCK]
            if self.geometry == "parallel":
                part = parallel_sinogram(ellipses, block, bins, spacing, subsamples=_SUBSAMPLES)
            else:
                part = fan_sinogram(
                    ellipses, block, bins, _SOURCE_ORIGIN, _ORIGIN_DETECTOR, spacing, subsamples=_SUBSAMPLES
                )
            rows.append(part)
        return _steady(np.concatenate(rows))

    def _noisy(self, clean: _Floats, index: int) -> tuple[_Floats, Any, dict[str, Any]]:
        """Data, their standard deviation (None where exact), and what to note."""
        rng = np.random.default_rng((self.seed, index, 1))
        if self.counts is not None:
            counts = rng.poisson(self.counts * np.exp(-clean))
            seen = np.maximum(counts, 1)
            data = _steady(-np.log(seen / self.counts))
            return data, 1.0 / np.sqrt(seen), {"noise": f"Poisson, I0 = {self.counts:g}", "counts": counts}
        if self.noise > 0:
            sigma = float(f"{self.noise * math.sqrt(np.mean(clean**2)):.12g}")
            data = _steady(clean + sigma * rng.standard_normal(clean.shape))
            return data, sigma, {"noise": f"Gaussian, {self.noise:g} of the root mean square"}
        return clean, None, {"noise": "none"}

    def sample(self, index: int) -> Sample:
        """Operator, data, truth, noise level and notes of one scan."""
        ellipses = self._ellipses(index)
        data, sigma, notes = self._noisy(self._clean(ellipses), index)
        truth = rasterize(ellipses, (self.size, self.size), self.pixel_size, _SUBSAMPLES)
        notes |= {
            "truth": "rasterized phantom, 8 x 8 points per pixel",
            "unit": "per unit length; the image is 2 wide",
            "pixel_size": self.pixel_size,
            "ellipses": ellipses,
        }
        return Sample(self._operator(), data, truth, sigma, notes)


@dataclass(frozen=True)
class SheppLogan(_EllipseScan):
    """One scan of the Shepp-Logan head.

    The data are the exact line integrals of the ten ellipses, the truth is their image; so a reconstruction
    commits no inverse crime. Parameters are listed by ``recon info dataset shepp-logan``.

    ``notes["ellipses"]`` holds the phantom, ``notes["counts"]`` the photons where there are any: they are the
    weights of weighted least squares.

    Raises
    ------
    ParameterError
        For a value that breaks its rule, or both kinds of noise at once.

    References
    ----------
    Shepp and Logan, IEEE Trans. Nucl. Sci. 21 (1974) 21-43; Toft, "The Radon Transform", thesis, 1996.

    Examples
    --------
    >>> SheppLogan(size=64, views=20, counts=1e5)[0].data.shape
    (20, 92)
    """

    variant: Annotated[
        Literal["modified", "original"], Doc("contrast: Toft 1996, or Shepp and Logan 1974")
    ] = "modified"

    def __len__(self) -> int:
        return 1

    def _ellipses(self, index: int) -> _Floats:
        return shepp_logan(self.variant)

    @classmethod
    def example(cls) -> SheppLogan:
        """A small ready instance."""
        return cls(size=64, views=20)


@dataclass(frozen=True)
class RandomEllipses(_EllipseScan):
    """Scans of random bodies with cavities and inclusions, all different, numbered.

    Sample number i depends on ``seed`` and i alone, so a longer dataset begins with the shorter one. The
    phantom is :func:`recon_datasets.phantoms.random_ellipses`; data, truth and notes are as in
    :class:`SheppLogan`. Parameters are listed by ``recon info dataset random-ellipses``.

    Raises
    ------
    ParameterError
        For a value that breaks its rule, or both kinds of noise at once.
    """

    count: Annotated[int, Ge(1), Doc("number of samples")] = 8
    inner: Annotated[int, Ge(0), Doc("ellipses in every body")] = 10

    def __len__(self) -> int:
        return self.count

    def _ellipses(self, index: int) -> _Floats:
        return random_ellipses(np.random.default_rng((self.seed, index, 0)), self.inner)

    @classmethod
    def example(cls) -> RandomEllipses:
        """A small ready instance."""
        return cls(size=64, views=20, count=2)


def _steady(values: _Floats) -> _Floats:
    """Values rounded to multiples of 2^-24."""
    return np.round(values * 2.0**24) / 2.0**24
