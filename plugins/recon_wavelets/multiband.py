"""Joint deconvolution of coarse bands and a fine broad band (Rubin and Euclid), with starlets.

    u = argmin sum_b ||A_b R u - y_b||^2 / (2 s_b^2) + ||A_E R u - y_E||^2 / (2 s_E^2) + sum w |W u|,   u >= 0
    x = R u

R is a narrow Gaussian, the resolution that is asked for: nothing is restored beyond it, so that noise has no place to
grow (the principle of Magain, Courbin and Sohy 1998). W is the starlet of each band, w[b, j] = k times the noise that
A^H brings into plane j of band b. The noise levels s are those stated, or what a first fit leaves where that is more:
errors of kernels and registration are noise, too. Because the minimiser itself is good, going on does no harm.
"""

from __future__ import annotations

import dataclasses
import math
import numbers
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from recon_operators.convolution import Convolution, Multiband
from recon_proximal import Admm

from recon import L1, Change, MaxIterations, NonNegative, Operator, Problem, Result, linalg, solve
from recon.arrays import Array, ArraySpec, as_numpy, check_array, namespace, norm, real_like
from recon.errors import ParameterError
from recon.params import short
from recon.stopping import Rule
from recon_wavelets.starlet import Starlet
from recon_wavelets.unsplit import Unsplit

__all__ = ["multiband_deconvolution"]

_FIRST = 5  # iterations of the fit that tells the noise


def multiband_deconvolution(
    operator: Multiband,
    data: tuple[Array, Array],
    noise: Any,
    *,
    k: float = 3.0,
    scales: int = 4,
    resolution: float = 2.0,
    stop: Rule | int | None = None,
    observers: Sequence[Any] = (),
) -> Result:
    """Bands at the resolution of the fine grid, from coarse bands and a fine broad band.

    Parameters
    ----------
    operator
        The instrument. Check the centres of its kernels: one pixel halves the quality.
    data
        (coarse bands, broad band); axes in front are a batch, of one noise level per band.
    noise
        Standard deviation of the noise: one per band, then that of the broad band. Where the first fit leaves more,
        that is taken instead.
    k
        Threshold in standard deviations.
    scales
        Planes of the starlet.
    resolution
        Full width at half maximum of R in fine pixels: 2 is what the grid can sample.
    stop
        By default ``Change(0.01) | MaxIterations(25)``, after the first fit of 5 iterations. More iterations change
        the image little.
    observers
        Of the second fit, as in `solve`; their states hold u, and R u is the image.

    Returns
    -------
    Result
        ``x`` holds the bands (..., B, H, W), >= 0; ``provenance["noise"]`` the levels that were taken.

    Raises
    ------
    ParameterError
        When noise has not one number > 0 per band and one more, or k or resolution are not > 0.

    Notes
    -----
    Cost: per iteration two products with A and A^H and one `data_prox` of A in closed form, and some tens of starlets
    Source: operator and data: U. Akhaury et al., Astron. Astrophys. 697 (2025) A136,
    doi:10.1051/0004-6361/202452308; R: P. Magain, F. Courbin and S. Sohy, Astrophys. J. 494 (1998) 472,
    doi:10.1086/305187; sparsity: J.-L. Starck, J. Fadili and F. Murtagh, IEEE Trans. Image Process. 16 (2007) 297,
    doi:10.1109/TIP.2006.887733
    """
    check_array(data, operator.codomain, "multiband_deconvolution.data")
    levels = _levels(noise, operator)
    for name, value in (("k", k), ("resolution", resolution)):
        if not (isinstance(value, numbers.Real) and 0 < value < math.inf):
            raise ParameterError(f"multiband_deconvolution.{name} must be > 0, got {short(value)}.")
    sharp = _blurred(operator, resolution)
    start = _replicated(data[0], operator.factor)
    first = _solve(sharp, data, levels, k, scales, start, MaxIterations(_FIRST))
    levels = np.maximum(levels, _left(sharp, first.x, data))
    rule = stop if stop is not None else Change(0.01) | MaxIterations(25)
    result = _solve(sharp, data, levels, k, scales, first.x, rule, observers)
    provenance = {**result.provenance, "noise": [float(level) for level in levels]}
    return dataclasses.replace(result, x=_gaussian(operator, resolution) @ result.x, provenance=provenance)


@dataclass(frozen=True, eq=False, repr=False)
class _PerBand(Operator):
    """A transform of every band by itself: the bands are batch axes to it."""

    transform: Operator
    bands: int

    @property
    def domain(self) -> ArraySpec:  # type: ignore[override]
        return ArraySpec((self.bands, *self.transform.domain.shape))  # type: ignore[union-attr]

    @property
    def codomain(self) -> ArraySpec:  # type: ignore[override]
        return ArraySpec((self.bands, *self.transform.codomain.shape))  # type: ignore[union-attr]

    def _forward(self, x: Array) -> Array:
        return self.transform @ x

    def _adjoint(self, y: Array) -> Array:
        return self.transform.H @ y


def _solve(
    operator: Multiband,
    data: Any,
    levels: Any,
    k: float,
    scales: int,
    start: Array,
    stop: Rule | int,
    observers: Sequence[Any] = (),
) -> Result:
    """u for given noise levels, by exact steps: the operator and the data are divided by their noise."""
    bands, broad = levels[:-1, None, None], float(levels[-1])
    white = dataclasses.replace(operator, psfs=operator.psfs / bands, broad_psf=operator.broad_psf / broad)
    transform = _PerBand(Starlet(operator.image_shape, scales, generation=2), len(bands))
    weights = k * _noise_in_planes(white, transform)
    weights[:, -1] = 0.0  # the smooth rest is free
    prior = Unsplit(L1(weights) @ transform, tol=0.001) + NonNegative()
    problem = Problem(white, (data[0] / real_like(bands, data[0]), data[1] / broad), prior)
    solver = Admm(penalty=0.01 * linalg.norm(white) ** 2, adapt=False)
    return solve(problem, solver, stop=stop, x0=start, observers=observers, every=1)


def _noise_in_planes(white: Multiband, transform: _PerBand) -> np.ndarray[Any, Any]:
    """The noise of A^H n in each plane of each band, n white of variance 1: ||A W^H e||, e in the middle."""
    shape = transform.codomain.shape
    levels = np.zeros((*shape[:2], 1, 1))
    for plane in np.ndindex(*shape[:2]):
        unit = np.zeros(shape)
        unit[(*plane, shape[2] // 2, shape[3] // 2)] = 1.0
        levels[plane] = norm(white @ (transform.H @ unit))
    return levels


def _left(operator: Multiband, u: Array, data: Any) -> np.ndarray[Any, Any]:
    """Root mean square of what is left in each band and in the broad band."""
    coarse, broad = (as_numpy(y) - as_numpy(p) for y, p in zip(data, operator @ u, strict=True))
    squares = np.moveaxis(coarse, -3, 0) ** 2
    each = [*squares.reshape(len(squares), -1).mean(axis=1), np.mean(broad**2)]
    return np.sqrt(np.asarray(each, dtype=np.float64))


def _levels(noise: Any, operator: Multiband) -> np.ndarray[Any, Any]:
    count = len(operator.fractions) + 1
    try:
        levels = np.asarray(noise, dtype=np.float64)
    except (TypeError, ValueError):
        levels = np.zeros(())
    if levels.shape != (count,) or not ((levels > 0) & np.isfinite(levels)).all():
        raise ParameterError(
            f"multiband_deconvolution.noise must be {count} numbers > 0, one per band and one of the broad band, "
            f"got {short(noise)}."
        )
    return levels


def _gaussian_kernel(width: float) -> np.ndarray[Any, Any]:
    """A Gaussian of full width at half maximum `width` pixels and sum 1."""
    sigma = width / math.sqrt(8 * math.log(2))
    i = np.arange(-math.ceil(5 * sigma), math.ceil(5 * sigma) + 1)
    line = np.exp(-(i**2) / (2 * sigma**2))
    return np.multiply.outer(line, line) / line.sum() ** 2


def _gaussian(operator: Multiband, width: float) -> Convolution:
    """R."""
    return Convolution(_gaussian_kernel(width), operator.image_shape)


def _blurred(operator: Multiband, width: float) -> Multiband:
    """A R, with R in the kernels, so that the closed forms hold."""
    from scipy.signal import fftconvolve

    kernel = _gaussian_kernel(width)
    reach = len(kernel) // 2
    return dataclasses.replace(
        operator,
        psfs=fftconvolve(operator.psfs, kernel[None], axes=(-2, -1)),
        broad_psf=fftconvolve(operator.broad_psf, kernel),
        center=tuple(tuple(i + reach for i in place) for place in operator.center),
        broad_center=tuple(i + reach for i in operator.broad_center),
    )


def _replicated(coarse: Array, factor: int) -> Array:
    """The coarse bands on the fine grid, of the same flux."""
    xp = namespace(coarse)
    rows = xp.repeat(coarse, factor, axis=-2)
    return xp.repeat(rows, factor, axis=-1) / factor**2
