"""Noise in the bands of a transform: how large white noise becomes there, and how large it is in an image.

noise_levels(W)         standard deviation of each band of W n, n white of unit variance: ||W^H e|| for a unit
                        coefficient e, as a coefficient is the product of n with that row of W
noise_levels(W, A)      the same of W A^H n, n white in the data
estimate_noise(x)       sigma = median |d| / 0.67449, d the finest diagonal details: blind to smooth content
"""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np

from recon.arrays import Array, as_numpy, is_complex, namespace, norm, random_normal, zeros
from recon.errors import ArrayError, CapabilityError, ParameterError, ShapeError
from recon.noise import from_details
from recon.operator import Operator, capability
from recon_wavelets._bank import split
from recon_wavelets._filters import filters
from recon_wavelets._layout import Band
from recon_wavelets._smoothing import smooth

__all__ = ["estimate_noise", "noise_levels"]


def noise_levels(
    transform: Operator, operator: Operator | None = None, *, draws: int = 32, seed: int = 0
) -> dict[Band, float]:
    """Standard deviation, in each band of a transform, of white noise of unit variance.

    Parameters
    ----------
    transform
        An operator with ``bands``: `Wavelet`, `UndecimatedWavelet` or `Starlet`.
    operator
        None for noise in the image. A forward operator A for noise in the data: the levels are then those of
        W A^H n, the noise in the transform of a gradient (times 1 / L for a step 1 / L).
    draws
        With an operator: number of noise realisations, pooled over each band. 0 takes instead the exact value
        ||A W^H e|| at the middle of each band, which holds everywhere if A is a periodic convolution.
    seed
        Of the draws.

    Returns
    -------
    dict
        Band to level, in the order of ``transform.bands``. For complex noise: of its real part. Without an operator
        exact; with mirror borders (`Starlet`) for pixels away from the border.

    Raises
    ------
    CapabilityError
        When the transform has no bands.
    ShapeError
        When operator and transform do not act on the same image.
    ParameterError
        When draws < 0.
    """
    bands: Any = capability(transform, "bands")
    if bands is None:
        raise CapabilityError(
            f"noise_levels.transform must have bands, got {transform!s}. Take Wavelet, UndecimatedWavelet or Starlet."
        )
    if operator is not None and operator.domain != transform.domain:
        raise ShapeError(
            f"noise_levels.operator must act on images {transform.domain}, got {operator.domain}. "
            "Make the transform for the domain of the operator."
        )
    if draws < 0:
        raise ParameterError(f"noise_levels.draws must be >= 0, got {draws}. Take 32 for levels within 1 %.")
    if operator is None or draws == 0:
        return _exact(transform, bands, operator)
    squares: dict[Band, float] = {}
    rng = np.random.default_rng(seed)
    for _ in range(draws):
        noise = random_normal(operator.codomain, np.zeros(1), rng)
        for band, part in bands(transform @ (operator.H @ noise)).items():
            share = part.size * draws * (2 if is_complex(part) else 1)
            squares[band] = squares.get(band, 0.0) + float(norm(part)) ** 2 / share
    return {band: math.sqrt(square) for band, square in squares.items()}


def _exact(transform: Operator, bands: Any, operator: Operator | None) -> dict[Band, float]:
    """The norm of the row of (the transform of A^H) that belongs to the middle of each band."""
    unit = zeros(transform.codomain, np.zeros(1))
    levels = {}
    for band, view in bands(unit).items():
        middle = tuple(n // 2 for n in view.shape)
        view[middle] = 1.0
        row = transform.H @ unit
        levels[band] = norm(row if operator is None else operator @ row)
        view[middle] = 0.0
    return levels


def estimate_noise(
    x: Array, axes: int = 2, *, method: Literal["wavelet", "starlet"] = "wavelet", wavelet: str = "db4"
) -> Any:
    """Standard deviation of white noise in images, from their finest details (median absolute deviation).

    Texture is taken for noise: on a photograph the estimate is some 8 % too high at a noise of 1/20 of the grey
    range, and 1 % too high at 1/5. The wavelet method, diagonal details, sees less of the image than the starlet.

    Parameters
    ----------
    x
        Images; axes in front of the last `axes` are batch axes. Complex: the noise of the real and imaginary parts,
        taken as equal.
    axes
        Number of axes of a sample, 1 to 3.
    method
        ``"wavelet"``: details of all axes. ``"starlet"``: the finest starlet plane, better for point sources.
    wavelet
        An orthogonal wavelet of PyWavelets, for the first method.

    Returns
    -------
    float or numpy.ndarray
        One number per sample: a float without batch axes.

    Raises
    ------
    ParameterError
        When an argument breaks its rule.
    ArrayError, ShapeError
        When x is no array, has too few axes, or a sample less than 2 pixels along one.

    Notes
    -----
    Source: D. L. Donoho and I. M. Johnstone, Biometrika 81 (1994) 425, doi:10.1093/biomet/81.3.425

    Examples
    --------
    >>> sigma = estimate_noise(image)
    """
    if not hasattr(x, "ndim"):
        raise ArrayError(
            f"estimate_noise.x must be an array, got {type(x).__name__}. Convert it with numpy.asarray."
        )
    if axes not in (1, 2, 3):
        raise ParameterError(f"estimate_noise.axes must be 1, 2 or 3, got {axes}. Images have 2.")
    if x.ndim < axes or min(x.shape[-axes:]) < 2:
        raise ShapeError(
            f"estimate_noise.x must have {axes} axes of 2 pixels or more, got shape {tuple(x.shape)}. "
            "Count the axes of a sample in `axes`."
        )
    if method == "wavelet":
        details, gain = _diagonal(x, axes, wavelet), 1.0
    elif method == "starlet":
        details = x - smooth(x, axes, 1, mirror=True)
        # ||delta - h||^2 of the separable kernel: h(0) = 3/8 and ||h||^2 = 70/256 per axis
        gain = math.sqrt(1 - 2 * (3 / 8) ** axes + (70 / 256) ** axes)
    else:
        raise ParameterError(
            f"estimate_noise.method must be 'wavelet' or 'starlet', got {method!r}. Take 'wavelet' for images."
        )
    flat = as_numpy(details).reshape(*x.shape[: x.ndim - axes], -1)
    sigma = from_details(flat) / gain
    return sigma if sigma.ndim else float(sigma)


def _diagonal(x: Array, axes: int, wavelet: str) -> Array:
    """The finest details along all axes, without those that see two opposite borders, and without an odd last row."""
    found = filters(wavelet, "estimate_noise")
    if not found.orthonormal:
        raise ParameterError(
            f"estimate_noise.wavelet must be orthogonal, got {wavelet!r}. Take 'db4' or another of that family."
        )
    xp = namespace(x)
    for axis in range(-axes, 0):
        x = xp.moveaxis(x, axis, -1)
        _, details = split(x[..., : x.shape[-1] // 2 * 2], found.analysis)
        count, edge = details.shape[-1], found.length // 4
        inside = details[..., edge : count - edge] if count > 2 * edge else details
        x = xp.moveaxis(inside, -1, axis)
    return x
