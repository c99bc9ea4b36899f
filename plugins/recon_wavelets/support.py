"""Debiasing on the multiresolution support: what a prior took from the detected coefficients is put back.

    M          where |W u| exceeds k times its noise, u an image or A^H y          (the support)
    minimise   1/2 ||A x - y||^2     over x = x_0 + W^H M c, any coefficients c on the support

At the minimum the residual has no coefficient left inside the support: M W A^H (y - A x) = 0. Nothing else is
fitted: with B = W^H M W the image moves in the range of B only. Conjugate gradients preconditioned by B:

    z = B A^H r,  rho = <A^H r, z> = ||M W A^H r||^2,  p = z + (rho / rho_old) p,  x += rho / ||A p||^2 p

Every step is the exact minimum along its direction, so ||A x - y|| cannot grow.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from recon.arrays import (
    Array,
    batch_of,
    check_array,
    clip,
    leaves,
    namespace,
    norm,
    real_like,
)
from recon.errors import ArrayError, CapabilityError, ParameterError, ShapeError
from recon.linalg import axpy
from recon.operator import Operator, capability
from recon.params import short
from recon_wavelets._layout import Band
from recon_wavelets.noise import noise_levels

__all__ = ["Debiased", "debias", "multiresolution_support"]


def multiresolution_support(
    image: Array, transform: Operator, noise: float | Mapping[Band, float], k: float = 3.0
) -> Array:
    """Where the coefficients of an image exceed the noise: |W image| > k sigma of their band.

    Parameters
    ----------
    image
        An image, or A^H y; axes in front of the transform's are a batch.
    transform
        W: `Starlet`, `UndecimatedWavelet` or `Wavelet`.
    noise
        Standard deviation of white noise in the image, or the level of every band: for A^H y that is
        ``{band: sigma * level for band, level in noise_levels(W, A).items()}``.
    k
        Detection threshold in standard deviations, > 0.

    Returns
    -------
    array
        Booleans of the coefficients' shape. The smooth rest counts as detected everywhere.

    Raises
    ------
    CapabilityError, ParameterError
        When the transform has no bands; when noise or k are not > 0.

    Notes
    -----
    Source: J.-L. Starck, F. Murtagh and A. Bijaoui, Graph. Models Image Process. 57 (1995) 420,
    doi:10.1006/gmip.1995.1036.
    """
    spread: Any = capability(transform, "spread")
    if spread is None:
        raise CapabilityError(
            f"multiresolution_support.transform must have bands, got {transform!s}. "
            "Take Starlet, UndecimatedWavelet or Wavelet."
        )
    if not (isinstance(k, numbers.Real) and 0 < k < math.inf):
        raise ParameterError(f"multiresolution_support.k must be > 0, got {short(k)}. Take 3 to 5.")
    if not isinstance(noise, Mapping | numbers.Real):
        raise ParameterError(
            f"multiresolution_support.noise must be a number > 0 or one per band, got {short(noise)}."
        )
    if not isinstance(noise, Mapping):
        noise = {band: float(noise) * level for band, level in noise_levels(transform).items()}
    if not all(0 < level < math.inf for level in noise.values()):
        raise ParameterError(
            "multiresolution_support.noise must be > 0 in every band, got other levels. Take estimate_noise(image)."
        )
    coefficients = transform @ image
    levels = {band: k * level if "d" in band[1] else -1.0 for band, level in noise.items()}
    return namespace(coefficients).abs(coefficients) > spread(levels, _real(coefficients))


@dataclass(frozen=True)
class Debiased:
    """What :func:`debias` returns.

    Parameters
    ----------
    x
        The image.
    residuals
        ||M W A^H (y - A x)|| before the first step and after each.
    losses
        1/2 ||A x - y||^2 at the same times; never rising.
    """

    x: Array
    residuals: tuple[float, ...]
    losses: tuple[float, ...]


def debias(
    x: Array,
    operator: Operator,
    data: Array,
    support: Array,
    transform: Operator,
    *,
    iterations: int = 10,
    tol: float = 1e-6,
    nonnegative: bool = False,
) -> Debiased:
    """Fit the data with the coefficients of a support, from any image: after a solver, a filter or a network.

    Parameters
    ----------
    x
        x_0, the biased image.
    operator, data
        A and y. Where the noise is not white, scale both by 1 / sigma.
    support
        M, booleans of the shape of W x (batch axes may be left out): :func:`multiresolution_support`.
    transform
        W.
    iterations
        Most steps. Few are enough: at a blur the late ones fit the noise of the weak coefficients.
    tol
        Stop when the residual inside the support has fallen to `tol` times what it was.
    nonnegative
        Keep x >= 0: steps along z alone, clipped, until the first that would raise ||A x - y||.

    Returns
    -------
    Debiased
        The image and the record. Samples of a batch share their step sizes.

    Raises
    ------
    ShapeError, ArrayError, ParameterError
        When the parts do not fit each other.

    Notes
    -----
    Formula: argmin 1/2 ||A x - y||^2 over x in x_0 + range(W^H M)
    Cost: one A, one A^H, one W and one W^H per step; five images
    Source: multiresolution support: J.-L. Starck, F. Murtagh and A. Bijaoui, Graph. Models Image Process. 57 (1995)
        420, doi:10.1006/gmip.1995.1036; after a network: U. Akhaury, P. Jablonka, J.-L. Starck and F. Courbin, Astron.
        Astrophys. (2024), arXiv:2405.07842, with the synthesis in place of W^H: the same points at rest, and no norm
        in which every step is safe.

    Examples
    --------
    >>> M = multiresolution_support(A.H @ y, W, {b: sigma * s for b, s in noise_levels(W, A).items()})
    >>> better = debias(x, A, y, M, W).x
    """
    batch = check_array(x, operator.domain, "debias.x")
    if check_array(data, operator.codomain, "debias.data") != batch:
        raise ShapeError(
            f"debias.data must have the batch axes {batch} of x, got {batch_of(data, operator.codomain)}."
        )
    mask = _mask(support, transform @ x)
    if isinstance(iterations, bool) or not isinstance(iterations, int) or iterations < 1:
        raise ParameterError(f"debias.iterations must be an integer >= 1, got {short(iterations)}.")

    def restricted(gradient: Array) -> tuple[Array, float]:
        """B g and ||M W g||."""
        inside = mask * (transform @ gradient)
        return transform.H @ inside, float(norm(inside))

    if nonnegative:
        x = clip(x, 0.0, None)
    r = axpy(-1.0, operator @ x, data)
    z, size = restricted(operator.H @ r)
    residuals, losses = [size], [0.5 * float(norm(r)) ** 2]
    p, goal = z, tol * size
    while len(residuals) <= iterations and residuals[-1] > goal:
        ahead = operator @ p
        length = float(norm(ahead))
        if length == 0.0:
            break
        step = (residuals[-1] / length) ** 2
        if nonnegative:
            moved = clip(axpy(step, p, x), 0.0, None)
            left = axpy(-1.0, operator @ moved, data)
        else:
            moved, left = axpy(step, p, x), axpy(-step, ahead, r)
        loss = 0.5 * float(norm(left)) ** 2
        if nonnegative and loss >= losses[-1]:
            break
        x, r = moved, left
        z, size = restricted(operator.H @ r)
        p = z if nonnegative else axpy((size / residuals[-1]) ** 2, p, z)
        residuals.append(size)
        losses.append(loss)
    return Debiased(x, tuple(residuals), tuple(losses))


def _mask(support: Array, coefficients: Array) -> Array:
    """The support as numbers like the coefficients."""
    xp = namespace(coefficients)
    if (
        len(leaves(support)) != 1
        or not hasattr(support, "dtype")
        or str(support.dtype).split(".")[-1] != "bool"
    ):
        raise ArrayError(
            f"debias.support must hold booleans, got {short(support)}. Make it with multiresolution_support."
        )
    shape, target = tuple(support.shape), tuple(coefficients.shape)
    if shape != target[len(target) - len(shape) :]:
        raise ShapeError(
            f"debias.support must have the shape {target} of the coefficients, got {shape}. "
            "Make it with the same transform."
        )
    return xp.astype(support, _real(coefficients).dtype)


def _real(x: Array) -> Array:
    """An array that shows library, device and real precision of x."""
    return real_like(0.0, x)
