"""The structural similarity index: means, variances and covariance in a sliding window.

    S = (2 mx mt + C1) (2 cxt + C2) / ((mx^2 + mt^2 + C1) (vx + vt + C2))
    C1 = (0.01 R)^2, C2 = (0.03 R)^2

mx, mt are the window's means of estimate and truth, vx, vt their variances, cxt their covariance, R the data
range. The index is the mean of S over all places where the window lies inside the image.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, overload

from recon.arrays import Array
from recon.errors import ShapeError
from recon.metrics._arguments import axis_numbers, choice, integer, number, prepare

__all__ = ["ssim"]

_K1, _K2 = 0.01, 0.03
_GAUSSIAN_RADIUS = 3.5  # in units of sigma, as scikit-image cuts it


@overload
def ssim(
    x: Array,
    truth: Array,
    *,
    data_range: float,
    window: Literal["uniform", "gaussian"] = ...,
    size: int | None = ...,
    sigma: float = ...,
    axes: int | Sequence[int] | None = ...,
    return_map: Literal[False] = ...,
) -> float: ...


@overload
def ssim(
    x: Array,
    truth: Array,
    *,
    data_range: float,
    window: Literal["uniform", "gaussian"] = ...,
    size: int | None = ...,
    sigma: float = ...,
    axes: int | Sequence[int] | None = ...,
    return_map: Literal[True],
) -> tuple[float, Array]: ...


def ssim(
    x: Array,
    truth: Array,
    *,
    data_range: float,
    window: Literal["uniform", "gaussian"] = "uniform",
    size: int | None = None,
    sigma: float = 1.5,
    axes: int | Sequence[int] | None = None,
    return_map: bool = False,
) -> float | tuple[float, Array]:
    """Structural similarity index, the mean of S (see the top of the module) over the image.

    ``window="uniform"`` takes the sample covariance (divided by the count less one), ``"gaussian"`` the
    weighted one: the same numbers as scikit-image's ``structural_similarity`` by default, and with
    ``gaussian_weights=True, sigma=1.5, use_sample_covariance=False`` (Wang's original). The cost is
    proportional to ``size``, not to its power.

    Parameters
    ----------
    x, truth
        Real arrays of the same shape.
    data_range
        Difference between the largest and the smallest value that the data can take, in units of the data.
    window
        Equal weights, or Gaussian ones.
    size
        Odd length of the window along every axis, 3 or more. By default 7 for the uniform window and
        2 round(3.5 sigma) + 1 for the Gaussian one (11 at sigma 1.5).
    sigma
        Standard deviation of the Gaussian window, in pixels; the uniform window does not read it.
    axes
        The axes that the window spans, all by default. The mean goes over the others as well, so
        ``axes=(0, 1)`` scores a colour image (height, width, channel) band by band.
    return_map
        Give S at every pixel too.

    Returns
    -------
    float or (float, Array)
        The index, at most 1. With ``return_map`` also S, of the shape and library of ``x`` and in its
        precision (double for integers); near the border its window sees the image reflected, and the index
        leaves these places out.

    Raises
    ------
    ArrayError, ShapeError
        When the arrays do not belong together, or are smaller than the window.
    ParameterError
        For a data range, window, size, sigma or axes that cannot be.

    References
    ----------
    Z. Wang, A. C. Bovik, H. R. Sheikh, E. P. Simoncelli, "Image quality assessment: from error visibility to
    structural similarity", IEEE Transactions on Image Processing 13 (2004) 600-612, equation 13.
    """
    xp, t, estimate = prepare("ssim", "real", truth=truth, x=x)
    peak = number("ssim", "data_range", data_range, zero=False, advice="Use 1.0 for images in [0, 1].")
    along = axis_numbers("ssim", "axes", axes, t.ndim)
    taps = _taps(window, size, sigma)
    if min(t.shape[axis] for axis in along) < len(taps):
        raise ShapeError(
            f"ssim.truth must be at least {len(taps)} long on axes {along}, got shape {tuple(t.shape)}. "
            "Give a smaller size, or the axes that the window should span."
        )
    inside = [slice(None)] * t.ndim
    if return_map:
        radius = len(taps) // 2
        for axis in along:
            estimate, t = _reflect(xp, estimate, radius, axis), _reflect(xp, t, radius, axis)
            inside[axis] = slice(radius, x.shape[axis] - radius)
    count = len(taps) ** len(along)
    unbias = count / (count - 1) if window == "uniform" else 1.0
    similarity = _similarity(estimate, t, taps, along, unbias, peak)
    score = float(xp.mean(similarity[tuple(inside)]))
    if not return_map:
        return score
    precise = x.dtype if xp.isdtype(x.dtype, "real floating") else xp.float64
    return score, xp.astype(similarity, precise, copy=False)


def _taps(window: str, size: int | None, sigma: float) -> tuple[float, ...]:
    """The window along one axis: weights that sum to 1."""
    choice("ssim", "window", window, ("uniform", "gaussian"))
    width = number("ssim", "sigma", sigma, zero=False, advice="1.5 is usual.")
    if size is None:
        length = 7 if window == "uniform" else max(3, 2 * int(_GAUSSIAN_RADIUS * width + 0.5) + 1)
    else:
        length = integer("ssim", "size", size, least=3, odd=True, advice="7 is usual.")
    if window == "uniform":
        return (1.0 / length,) * length
    radius = length // 2
    weights = [math.exp(-0.5 * (k / width) ** 2) for k in range(-radius, radius + 1)]
    total = math.fsum(weights)
    return tuple(weight / total for weight in weights)


def _similarity(
    x: Array, t: Array, taps: tuple[float, ...], axes: tuple[int, ...], unbias: float, peak: float
) -> Array:
    """S wherever the window lies inside the arrays."""
    mx, mt = _filter(x, taps, axes), _filter(t, taps, axes)
    vx = unbias * (_filter(x * x, taps, axes) - mx * mx)
    vt = unbias * (_filter(t * t, taps, axes) - mt * mt)
    cxt = unbias * (_filter(x * t, taps, axes) - mx * mt)
    c1, c2 = (_K1 * peak) * (_K1 * peak), (_K2 * peak) * (_K2 * peak)
    return (2 * mx * mt + c1) * (2 * cxt + c2) / ((mx * mx + mt * mt + c1) * (vx + vt + c2))


def _filter(x: Array, taps: tuple[float, ...], axes: tuple[int, ...]) -> Array:
    """Weighted sums in the window, axis after axis; every axis gets shorter by the window less one."""
    for axis in axes:
        places = x.shape[axis] - len(taps) + 1
        before = (slice(None),) * axis
        total: Any = 0.0
        for k, weight in enumerate(taps):
            total = total + weight * x[(*before, slice(k, k + places), ...)]
        x = total
    return x


def _reflect(xp: Any, x: Array, radius: int, axis: int) -> Array:
    """Mirror ``radius`` entries outward at both ends, the end itself included: b a | a b c ..."""
    before = (slice(None),) * axis
    head = xp.flip(x[(*before, slice(0, radius), ...)], axis=axis)
    tail = xp.flip(x[(*before, slice(x.shape[axis] - radius, None), ...)], axis=axis)
    return xp.concat([head, x, tail], axis=axis)
