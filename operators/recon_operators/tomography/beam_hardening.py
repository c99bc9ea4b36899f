"""Beam hardening of one material: line integrals that grow less than the path, and the law that straightens them.

    p = b + c_1 L + c_2 L^2 (+ ...)       L: length of the path in the material,  b: what air measures

A tube sends soft and hard rays; the soft ones are absorbed first, so that p / L falls with L, and a homogeneous
disc comes out with a bright rim. ``fit_hardening`` learns the law from paths that are known: of a disc without holes
(a calibration scan), or of an image that is nearly right. ``law.paths(p)`` then is the sinogram that a linear
operator can explain, and ``law(L)`` what the scanner would measure.

Source: G. T. Herman, Phys. Med. Biol. 24 (1979) 81, doi:10.1088/0031-9155/24/1/008 (correction by a polynomial).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recon.arrays import Array, as_numpy, clip, real_like
from recon.errors import ParameterError, ShapeError
from recon.params import short

__all__ = ["Hardening", "fit_hardening"]

_TABLE = (
    4096  # points of the table that inverts the law; its error is that of a chord, 1e-8 of the longest path
)


@dataclass(frozen=True)
class Hardening:
    """p = air + c_1 L + c_2 L^2 + ...: the line integral that a path of length L in one material gives.

    Parameters
    ----------
    air
        b, what a ray measures that meets nothing.
    coefficients
        c_1, c_2, ...; c_1 is the attenuation of the unhardened beam, in 1 / length.
    longest
        The longest path for which the law holds; it must rise that far.

    Raises
    ------
    ParameterError
        When the law falls somewhere before its longest path.
    """

    air: float
    coefficients: tuple[float, ...]
    longest: float

    def __post_init__(self) -> None:
        if not self.longest > 0 or not (np.diff(self(self._table)) > 0).all():
            raise ParameterError(
                f"Hardening.coefficients must give a law that rises up to longest = {self.longest:g}, got "
                f"{short(self.coefficients)}. Fit a lower degree, or longer paths."
            )

    @property
    def _table(self) -> np.ndarray:  # type: ignore[type-arg]
        return np.linspace(0.0, self.longest, _TABLE)

    def __call__(self, lengths: Array) -> Array:
        """What a scanner measures along paths of these lengths."""
        total = 0.0 * lengths
        for coefficient in reversed(self.coefficients):
            total = (total + coefficient) * lengths
        return total + self.air

    def paths(self, sinogram: Array) -> Array:
        """The lengths that explain a sinogram: 0 below air, on the last slope beyond the longest path."""
        p = np.asarray(as_numpy(sinogram), dtype=np.float64)
        lengths = self._table
        values = np.asarray(self(lengths))
        slope = (values[-1] - values[-2]) / (lengths[-1] - lengths[-2])
        first = (values[1] - values[0]) / (lengths[1] - lengths[0])
        inside = np.interp(p, values, lengths)
        inside = inside + clip(p - values[-1], 0.0, None) / slope + clip(p - values[0], None, 0.0) / first
        return real_like(inside, sinogram)

    def scaled(self, gain: float) -> Hardening:
        """The same law with all coefficients times a factor: more, or denser, of the same material."""
        return Hardening(self.air, tuple(gain * c for c in self.coefficients), self.longest)


def fit_hardening(lengths: Array, sinogram: Array, degree: int = 2) -> Hardening:
    """Fit the law to paths that are known, by least squares.

    Parameters
    ----------
    lengths
        Path of every ray in the material: ``operator @ mask``, with the mask of a disc or of a segmented image.
    sinogram
        What was measured along them, of the same shape; rays through air included.
    degree
        Of the polynomial, 1 (no hardening) to 4. More than 2 changes next to nothing on the acrylic of
        the Helsinki discs.

    Returns
    -------
    Hardening

    Raises
    ------
    ShapeError
        When the shapes differ.
    ParameterError
        For another degree, where no ray meets the material, or where the fitted law falls.
    """
    path = np.asarray(as_numpy(lengths), dtype=np.float64)
    p = np.asarray(as_numpy(sinogram), dtype=np.float64)
    if path.shape != p.shape:
        raise ShapeError(
            f"fit_hardening.lengths must have the shape of the sinogram, {p.shape}, got {path.shape}. "
            "Give operator @ mask."
        )
    if isinstance(degree, bool) or degree not in (1, 2, 3, 4):
        raise ParameterError(f"fit_hardening.degree must be 1, 2, 3 or 4, got {short(degree)}.")
    longest = float(path.max(initial=0.0))
    if not longest > 0:
        raise ParameterError("fit_hardening.lengths must be > 0 for some rays, got none. Check the mask.")
    powers = np.stack([(path.ravel() / longest) ** k for k in range(degree + 1)], axis=1)
    fit = np.linalg.lstsq(powers, p.ravel(), rcond=None)[0]
    return Hardening(float(fit[0]), tuple(float(c / longest**k) for k, c in enumerate(fit) if k), longest)
