"""The guidance-map model: endmembers, abundances, and a map of how mixed every pixel is, learnt together.

    minimise over E >= 0, A >= 0 with rows of sum 1, 0 <= h <= 1

    F = sum_l sqrt(||r_l||^2 + d^2)                                                       bands, R = Y - A E
        + lambda sum_n { sum_k phi(A_nk, 1 - h_n) + log(p)/2 (1 - h_n)^2 }                sparsity as the map says
        + lambda log(p) s/2 sum_(n~m) c_nm (h_n - h_m)^2                                  neighbours of alike spectra

    phi(a, q) = min(a^q, a e^(q - 1)),  e = 0.01: |a|^q, made linear (still concave) where a < e

h_n = 1 for a pure pixel, where the exponent is 0 and entries are counted; h_n = 0 for one of all endmembers alike,
where it is 1 and sums of 1 feel no sparsity. That needs no rule put on top, it is what the minimiser is: with rows of
sum 1 the derivative of sum_k a_k^(1 - h) is the entropy of a at h = 0, which reaches log(p) for the even mixture only,
and it is 0 for all h where one abundance is 1. F is convex in h alone.

Steps, none of which raises F:

    A     weights w_l = 1 / sqrt(||r_l||^2 + d^2) and the tangents of phi lie above: least squares with weighted bands
          and a weighted l1 term, exact on the simplex by the active set (p numbers per pixel)
    E     given A the bands part, so their weights cancel: nonnegative least squares of every band, exact
    h     chequered: every pixel of one colour takes its exact minimiser, then the other colour

``"accelerated"`` puts momentum on E and drops it when F would rise; ``"multiplicative"`` replaces the two exact
solutions by multiplicative updates.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from recon.errors import ArrayError, ParameterError
from recon_unmixing import _pixelwise
from recon_unmixing._guidance import GuidanceMap, Model, Point, dependence, local_noise
from recon_unmixing._layout import Layout, check_run, real_array
from recon_unmixing.cube import Cube
from recon_unmixing.factorisations import check_number, scaled_rows, start_spectra
from recon_unmixing.unmixing import Unmixing, assemble

__all__ = ["GuidedUnmixing", "guided_unmixing", "mixedness"]

_BEYOND = 3  # bands that endmembers are continued beyond the last good one


@dataclass(frozen=True, eq=False)
class GuidedUnmixing(Unmixing):
    """An ``Unmixing`` (endmembers, abundances, residual, plot) with its guidance map.

    Attributes
    ----------
    guidance
        (H, W) or (N,): h, 1 for a pure pixel, 0 for an even mixture of all endmembers.
    weights
        (L,): how much every band counted at the end, the best one 1.
    outlier_bands
        Indices of the bands whose endmember values were drawn from their neighbours, among the bands in use.
    objective
        F before and after every iteration, for data of root mean square 1; it never rises.
    weight
        lambda, for such data.
    start
        What the run started from.
    seed
        The seed.
    """

    outlier_bands: Any = None
    objective: tuple[float, ...] = ()
    weight: float = 0.0
    start: str = ""
    seed: int = 0


def guided_unmixing(
    cube: Any,
    n: int,
    seed: int = 0,
    *,
    sparsity: float = 10.0,
    smooth: float = 0.25,
    start: Any = "best",
    method: Literal["accelerated", "multiplicative"] = "accelerated",
    repair: float = 5.0,
    iterations: int = 300,
    tol: float = 1e-6,
    layout: Layout = "cube",
) -> GuidedUnmixing:
    """Endmembers, abundances and the guidance map of a scene; outlier bands do little harm.

    Starts are found with bands weighted by their noise (what neighbouring bands do not explain), so that a band of
    noise does not choose the vertices. An iteration reads the data twice: O(N L p), and O(N p) for the map. Memory: the
    data twice, in double precision. F is not convex: what is found depends on the start.

    Parameters
    ----------
    cube
        (..., L): pixels with their bands last, such as (H, W, L), or (L, N) with ``layout="bands_first"``; or a
        ``Cube``. Only pixels on a grid (H, W) have neighbours. Negative entries (noise) are fine as long as most are
        not.
    n
        Number of endmembers p, 2 <= n <= min(N, L).
    seed
        Of the start.
    sparsity
        lambda in units of the noise: lambda = sparsity D r / N, r the median over bands of ||r_l|| at the start, D >= 1
        how many bands of these residuals say what one says (1 for white noise, some tens where the model is wrong).
        Then a pixel's sparsity weighs against its spectrum as in a posterior with prior exp(-sparsity sum_k phi). 0
        gives robust factorisation, and a map that is only a picture of A.
    smooth
        s: how much h is like that of its neighbours of alike spectra; 0 takes every pixel by itself.
    start
        ``"vca"`` or another method of ``extract_endmembers``, ``"random"`` pixels, endmembers in the layout and units
        of the data, or ``"best"``: once from VCA, once from the smallest simplex, which needs no pure pixels; the
        lower F is kept.
    method
        ``"accelerated"``: exact steps with momentum; ``"multiplicative"``: the updates of the literature, slower.
    repair
        A band whose residual is more than this many times the median says nothing about the endmembers: their values
        there are drawn from the neighbouring bands by a cubic spline. math.inf: never.
    iterations, tol
        Limit of iterations; relative fall of F at which to stop.
    layout
        Where the bands are: ``"cube"`` (last) or ``"bands_first"``. Never guessed.

    Raises
    ------
    ShapeError, ArrayError, ParameterError
        For data that are no scene, mostly negative or all zero, an n that they do not hold, options out of range.

    References
    ----------
    F. Zhu, Y. Wang, B. Fan, G. Meng, C. Pan, arXiv:1409.0685 (band-wise l2,1 error, l_p sparsity steered by a learnt
    map). The map's own terms, the linear part of phi and the steps are ours.
    """
    owner = "guided_unmixing"
    check_run(owner, seed, tol, iterations=(iterations, 0))
    Y, size = scaled_rows(cube, n, layout, owner)
    _check(sparsity, smooth, start, method, repair)
    noise = local_noise(Y)
    u = 1.0 / np.maximum(noise, max(float(np.median(noise)), 1e-6))
    u = u / u.mean()
    model = Model(Y, GuidanceMap(Y, _mask(cube, layout), n, smooth, u * u), method == "multiplicative")
    names = ["vca", "minvol"] if isinstance(start, str) and start == "best" else [start]
    points = []
    for name in names:
        unit = u if isinstance(name, str) else np.ones_like(u)
        points.append(
            _begin(model, start_spectra(cube, Y * unit, n, seed, name, size, layout, owner) / unit, u * u)
        )
    model.lam = sparsity * _unit(model, min(points, key=lambda point: point.value))
    runs = [model.run(model.at(p.E, p.A, model.guide.step(p.A, p.h)), iterations, tol) for p in points]
    best = int(np.argmin([point.value for point, _ in runs]))
    point, path = runs[best]
    lengths = model.lengths(point.E, point.gram, point.cross)
    E, outliers = _repaired(point.E, lengths, repair)
    residual = size * lengths / math.sqrt(len(Y))
    made = assemble(cube, layout, point.A, E * size, residual, lengths.min() / lengths, point.h)
    name = names[best] if isinstance(names[best], str) else "given"
    return GuidedUnmixing(
        **vars(made), outlier_bands=outliers, objective=tuple(path), weight=model.lam, start=name, seed=seed
    )


def _mask(cube: Any, layout: Layout) -> Any:
    """Where the pixels lie on a grid, or None."""
    if isinstance(cube, Cube):
        return cube.mask
    return np.ones(np.shape(cube)[:2], bool) if layout == "cube" and np.ndim(cube) == 3 else None


def _begin(model: Model, E: Any, band_weights: Any) -> Point:
    """Endmembers with their abundances; F without its sparsity."""
    E = np.maximum(E, 0.0)
    A = _pixelwise.exact(*_pixelwise.correlations(model.Y, E, band_weights), 1.0)
    if model.multiplicative:  # which leaves zeros where they are
        E, A = np.maximum(E, 1e-6), (A + 1e-3) / (1.0 + 1e-3 * len(E))
    return model.at(E, A, np.zeros(len(A)))


def _unit(model: Model, point: Point) -> float:
    """lambda for a sparsity of 1."""
    lengths = model.lengths(point.E, point.gram, point.cross)
    return dependence(model.Y - point.A @ point.E) * float(np.median(lengths)) / len(model.Y)


def _repaired(E: Any, lengths: Any, factor: float) -> tuple[Any, Any]:
    """The endmembers with outlying bands drawn from the others, and these bands."""
    bad = lengths > factor * np.median(lengths)
    if not bad.any():
        return E, np.flatnonzero(bad)
    from scipy.interpolate import CubicSpline

    good = np.flatnonzero(~bad)
    inside = np.clip(np.flatnonzero(bad), good[0], good[-1])
    beyond = np.clip(
        np.flatnonzero(bad) - inside, -_BEYOND, _BEYOND
    )  # at the ends on a straight line, not for long
    spline = CubicSpline(good, E[:, good], axis=1)
    E = E.copy()
    E[:, bad] = np.maximum(spline(inside) + beyond * spline(inside, 1), 0.0)
    return E, np.flatnonzero(bad)


def mixedness(abundances: Any) -> Any:
    """How mixed pixels are by their abundances (..., p): 0 where one is 1, 1 where all are alike.

    (||a||_1 / ||a||_2 - 1) / (sqrt(p) - 1). P. O. Hoyer, J. Mach. Learn. Res. 5 (2004) 1457 (1 minus this).
    """
    A = real_array(abundances, "mixedness.abundances").astype(np.float64)
    if A.ndim == 0 or A.shape[-1] < 2:
        raise ArrayError(
            f"mixedness.abundances must have at least 2 endmembers on the last axis, got shape {A.shape}."
        )
    length = np.linalg.norm(A, axis=-1)
    ratio = np.abs(A).sum(axis=-1) / np.where(length > 0.0, length, 1.0)
    return np.clip((ratio - 1.0) / (math.sqrt(A.shape[-1]) - 1.0), 0.0, 1.0)


def _check(sparsity: Any, smooth: Any, start: Any, method: Any, repair: Any) -> None:
    check_number(sparsity, "sparsity", "guided_unmixing")
    check_number(smooth, "smooth", "guided_unmixing")
    if method not in ("accelerated", "multiplicative"):
        raise ParameterError(
            f"guided_unmixing.method must be 'accelerated' or 'multiplicative', got {method!r}."
        )
    if not isinstance(repair, int | float) or not repair > 1.0:
        raise ParameterError(
            f"guided_unmixing.repair must be above 1, got {repair!r}. math.inf repairs nothing."
        )
