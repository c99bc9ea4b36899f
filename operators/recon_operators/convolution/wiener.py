"""Deconvolution in one step: Tikhonov's or Wiener's filter, and its weight by generalised cross-validation.

xhat = argmin 1/2 ||h * x - y||^2 + w/2 ||g * x||^2 = F^-1 [ conj(hhat) yhat / (|hhat|^2 + w |ghat|^2) ]

GCV(w) = mean |r yhat|^2 / (mean r)^2,   r = w |ghat|^2 / (|hhat|^2 + w |ghat|^2)     (the residual's filter)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from recon.arrays import Array, as_numpy, check_array
from recon.errors import ParameterError
from recon.params import short
from recon_operators.convolution._fourier import FourierPlan
from recon_operators.convolution._invariant import ShiftInvariant
from recon_operators.convolution._kernel import Floats

__all__ = ["gcv_weight", "wiener"]

Regularizer = Literal["laplacian", "identity"]


def wiener(
    operator: ShiftInvariant,
    data: Array,
    weight: float | Array | Literal["gcv"] = "gcv",
    *,
    regularizer: Regularizer = "laplacian",
) -> Array:
    """The minimiser of 1/2 ||A x - data||^2 + weight/2 ||g * x||^2 in closed form, for periodic boundaries.

    Parameters
    ----------
    operator
        A :class:`Convolution` (or separable one) with boundary "periodic".
    data
        y; axes in front are a batch.
    weight
        >= 0: one number, an array with one per image (batch and stack axes), or ``"gcv"``: :func:`gcv_weight`, for
        each image its own. With 0 it is the pseudo-inverse.
    regularizer
        g: ``"laplacian"`` (4 in the middle, -1 at the neighbours, in 2-D) for smooth images, ``"identity"`` for small
        ones. With the identity and weight = noise variance / image variance it is Wiener's filter for white images.

    Returns
    -------
    array
        The image, like the data. Where hhat vanishes, and ghat or the weight too, it has no component: where
        |hhat|^2 + weight |ghat|^2 <= (16 eps max |hhat|)^2, eps that of the data.

    Notes
    -----
    Two transforms. Source: P. C. Hansen, J. G. Nagy and D. P. O'Leary, Deblurring Images (SIAM 2006), chapters 6
    and 7, doi:10.1137/1.9780898718874.

    Examples
    --------
    >>> A = Convolution(psf, y.shape, center="peak")
    >>> x = wiener(A, y)
    """
    plan = _plan(operator, data, "wiener")
    weights = gcv_weight(operator, data, regularizer=regularizer) if _is_gcv(weight) else weight
    values = as_numpy(weights) if hasattr(weights, "shape") else weights
    try:
        sizes = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        sizes = np.asarray(math.nan)
    ndim = len(operator.image_shape)
    images = tuple(data.shape[: data.ndim - ndim])
    if sizes.shape not in ((), images) or not (np.isfinite(sizes) & (sizes >= 0)).all():
        raise ParameterError(
            f"wiener.weight must be 'gcv' or numbers >= 0, one or as many as images {images}, got {short(weight)}."
        )
    penalty = sizes.reshape(*sizes.shape, *[1] * ndim) * _roughness(operator, regularizer, plan.grid.half)
    return plan.wiener(data, penalty)


def gcv_weight(operator: ShiftInvariant, data: Array, *, regularizer: Regularizer = "laplacian") -> Any:
    """The weight of :func:`wiener` that minimises generalised cross-validation.

    Needs no noise level. Searched between 1e-12 and 1e6 times max |hhat|^2 / max |ghat|^2: a grid of half decades, then
    golden section to 1 %.

    Parameters
    ----------
    operator, data, regularizer
        As for :func:`wiener`.

    Returns
    -------
    float or numpy.ndarray
        A number for one image, else an array with one per image (batch and stack axes).

    Notes
    -----
    About 50 passes over the half spectrum. Source: G. H. Golub, M. Heath and G. Wahba, Technometrics 21 (1979) 215,
    doi:10.1080/00401706.1979.10489751.
    """
    plan = _plan(operator, data, "gcv_weight")
    ndim, half = len(operator.image_shape), plan.grid.half
    rough = _roughness(operator, regularizer, half)
    seen = np.abs(plan.exact) ** 2
    spectrum = as_numpy(plan.grid.forward(data)).astype(np.complex128)
    energy = np.abs(spectrum) ** 2
    images = energy.shape[: energy.ndim - ndim]
    seen = np.broadcast_to(seen, energy.shape)
    often = _multiplicity(energy.shape[-ndim:], operator.image_shape, half)
    found = np.empty(images)
    for image in np.ndindex(*images):
        found[image] = _best(
            _gcv(seen[image], rough, energy[image], often), seen[image].max() / (rough.max() or 1.0)
        )
    return found if images else float(found)


def _plan(operator: Any, data: Array, owner: str) -> FourierPlan:
    if not isinstance(operator, ShiftInvariant) or operator.boundary != "periodic":
        raise ParameterError(
            f"{owner}.operator must be a Convolution with boundary 'periodic', got {short(operator)}. "
            "For other boundaries solve a Problem, for example with Cgls."
        )
    check_array(data, operator.codomain, f"{owner} data")
    return operator._planned(data).spectral  # type: ignore[attr-defined, no-any-return]


def _is_gcv(weight: Any) -> bool:
    return isinstance(weight, str) and weight == "gcv"


def _roughness(operator: ShiftInvariant, regularizer: str, half: bool) -> Floats:
    """|ghat|^2 on the grid."""
    shape = operator.image_shape
    lengths = [*shape[:-1], shape[-1] // 2 + 1] if half else list(shape)
    if regularizer == "identity":
        return np.ones(lengths)
    if regularizer != "laplacian":
        raise ParameterError(
            f"wiener.regularizer must be 'laplacian' or 'identity', got {short(regularizer)}."
        )
    total = np.zeros(lengths)
    for axis, (n, m) in enumerate(zip(shape, lengths, strict=True)):
        along = 2.0 - 2.0 * np.cos(2.0 * math.pi * np.arange(m) / n)
        total += along.reshape([-1 if k == axis else 1 for k in range(len(shape))])
    return np.asarray(total**2)


def _multiplicity(lengths: tuple[int, ...], shape: tuple[int, ...], half: bool) -> Floats:
    """How often each kept frequency occurs in the full spectrum, along the last axis."""
    often = np.full(lengths[-1], 2.0 if half else 1.0)
    often[0] = 1.0
    if half and shape[-1] % 2 == 0:
        often[-1] = 1.0
    return often


def _gcv(seen: Floats, rough: Floats, energy: Floats, often: Floats) -> Callable[[float], float]:
    """log GCV as a function of the weight."""
    count = float(np.broadcast_to(often, seen.shape).sum())

    def value(weight: float) -> float:
        left = weight * rough
        left /= np.maximum(seen + left, np.finfo(float).tiny)
        mean = float((left * often).sum()) / count
        left *= left
        left *= energy
        return math.log(max(float((left * often).sum()) / count, 1e-300)) - 2.0 * math.log(max(mean, 1e-300))

    return value


def _best(function: Callable[[float], float], unit: float) -> float:
    """The minimiser over weights, on a logarithmic scale."""
    grid = np.arange(-12.0, 6.25, 0.5)

    def at(exponent: float) -> float:
        return function(unit * 10.0**exponent)

    k = int(np.argmin([at(e) for e in grid]))
    low, high = grid[max(k - 1, 0)], grid[min(k + 1, grid.size - 1)]
    golden = (math.sqrt(5.0) - 1.0) / 2.0
    a, b = high - golden * (high - low), low + golden * (high - low)
    at_a, at_b = at(a), at(b)
    while high - low > 0.004:
        if at_a <= at_b:
            high, b, at_b = b, a, at_a
            a = high - golden * (high - low)
            at_a = at(a)
        else:
            low, a, at_a = a, b, at_b
            b = low + golden * (high - low)
            at_b = at(b)
    return float(unit * 10.0 ** ((low + high) / 2))
