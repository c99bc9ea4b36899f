"""Nonnegative matrix factorisations of a scene: Y ~ A E, endmembers and abundances both unknown and nonnegative.

    nmf                  1/2 ||Y - A E||^2 + D(A)                                             the baseline
    sparse_nmf           1/2 ||Y - A E||^2 + D(A) + lambda sum_nk sqrt(A_nk)                  L1/2-NMF
    collaborative_nmf    1/2 ||Y - A E||^2 + alpha sum_k ||A_.k|| + beta/2 ||E - P||^2        R-CoNMF, sums are 1

    D(A) = delta^2/2 sum_n (sum_k A_nk - 1)^2: sums of 1, softly; the row of delta that papers append to Y and E

Pixels are rows: Y (N, L), A (N, p), E (p, L). Inside, data have a root mean square of 1, so that lambda, alpha, beta
and delta mean the same in all units.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from recon.errors import ArrayError, ParameterError
from recon_unmixing import _pixelwise
from recon_unmixing._layout import Layout, as_rows, check_run, spectra_in
from recon_unmixing._multiplicative import nonnegative_step
from recon_unmixing.cube import Cube
from recon_unmixing.endmembers import extract_endmembers
from recon_unmixing.unmixing import Unmixing, assemble

__all__ = ["Factors", "collaborative_nmf", "nmf", "sparse_nmf"]

_LEAST = 1e-9  # what an entry of the start is at least: multiplicative updates never leave 0


@dataclass(frozen=True, eq=False)
class Factors(Unmixing):
    """An ``Unmixing`` (endmembers, abundances, residual, plot) found by factorisation; abundances have sums of 1.

    Attributes
    ----------
    objective
        Its value before and after every iteration, for data of root mean square 1; it never rises.
    weight
        lambda or alpha, for such data; 0 for ``nmf``.
    seed
        The seed.
    """

    objective: tuple[float, ...] = ()
    weight: float = 0.0
    seed: int = 0


def nmf(
    cube: Any,
    n: int,
    seed: int = 0,
    *,
    start: Any = "vca",
    delta: float = 15.0,
    iterations: int = 500,
    tol: float = 1e-6,
    layout: Layout = "cube",
) -> Factors:
    """Nonnegative matrix factorisation with sums near 1, by multiplicative updates: the baseline.

    Minimises 1/2 ||Y - A E||^2 + delta^2/2 sum_n (sum_k A_nk - 1)^2 over A, E >= 0. Nothing in it says which of the
    many simplices around the pixels is meant, so the result leans on the start. An iteration takes O(N L p).

    Parameters
    ----------
    cube
        (..., L): pixels with their bands last, or (L, N) with ``layout="bands_first"``; or a ``Cube``. Negative entries
        (noise) are fine as long as most are not.
    n
        Number of endmembers p, 2 <= n <= min(N, L).
    seed
        Of the start.
    start
        ``"vca"`` (and the other methods of ``extract_endmembers``, with fully constrained abundances), ``"random"``
        pixels, or endmembers in the layout.
    delta
        Weight of the sums, for data of root mean square 1.
    iterations, tol
        Limit of iterations; relative fall of the objective at which to stop.
    layout
        Where the bands are: ``"cube"`` (last) or ``"bands_first"``.

    Raises
    ------
    ShapeError, ArrayError, ParameterError
        For data that are no scene, mostly negative or all zero, an n that they do not hold, options out of range.

    References
    ----------
    D. D. Lee, H. S. Seung, NIPS 13 (2001) 556 (updates); D. C. Heinz, C.-I. Chang, IEEE Trans. Geosci. Remote Sens. 39
    (2001) 529, doi:10.1109/36.911111 (the row of delta).
    """
    return _half(cube, n, seed, start, 0.0, delta, iterations, tol, layout, "nmf")


def sparse_nmf(
    cube: Any,
    n: int,
    seed: int = 0,
    *,
    weight: float | None = None,
    start: Any = "vca",
    delta: float = 15.0,
    iterations: int = 500,
    tol: float = 1e-6,
    layout: Layout = "cube",
) -> Factors:
    """L1/2-NMF: the factorisation with few endmembers in a pixel, at the same strength in all pixels.

    Minimises 1/2 ||Y - A E||^2 + delta^2/2 sum_n (sum_k A_nk - 1)^2 + lambda sum_nk sqrt(A_nk) over A, E >= 0 by
    multiplicative updates. The tangent of the root lies above it, so the objective never rises.

    Parameters
    ----------
    weight
        lambda, for data of root mean square 1. None: the paper's rule, from how sparse the bands are,
        1 / sqrt(L) sum_l (sqrt(N) - |y_l|_1 / |y_l|_2) / (sqrt(N) - 1).
    cube, n, seed, start, delta, iterations, tol, layout
        As in ``nmf``.

    Raises
    ------
    ShapeError, ArrayError, ParameterError
        As in ``nmf``.

    References
    ----------
    Y. Qian, S. Jia, J. Zhou, A. Robles-Kelly, IEEE Trans. Geosci. Remote Sens. 49 (2011) 4282,
    doi:10.1109/TGRS.2011.2144605.
    """
    return _half(cube, n, seed, start, weight, delta, iterations, tol, layout, "sparse_nmf")


def _half(
    cube: Any,
    n: int,
    seed: int,
    start: Any,
    weight: float | None,
    delta: float,
    iterations: int,
    tol: float,
    layout: Layout,
    owner: str,
) -> Factors:
    check_run(owner, seed, tol, iterations=(iterations, 0))
    Y, size = scaled_rows(cube, n, layout, owner)
    check_number(delta, "delta", owner)
    lam = _sparseness(Y) if weight is None else check_number(weight, "weight", owner)
    E = np.maximum(start_spectra(cube, Y, n, seed, start, size, layout, owner), _LEAST)
    A = np.maximum(_pixelwise.exact(*_pixelwise.correlations(Y, E), 1.0), _LEAST)
    square = float(np.sum(Y * Y))
    extra = delta * delta

    def value(E: Any, gram: Any, cross: Any, A: Any) -> float:
        sums = A.sum(axis=1) - 1.0
        fit = _fit(square, E, gram, cross)
        return fit + 0.5 * extra * float(sums @ sums) + lam * float(np.sum(np.sqrt(A)))

    gram, cross = A.T @ A, Y.T @ A
    path = [value(E, gram, cross, A)]
    for _ in range(iterations):
        G, C = _pixelwise.correlations(Y, E)
        root = np.sqrt(A)  # A c / (A G + lambda / 2 A^(-1/2)), times root above and below: 0 stays 0
        slope = root * (A @ (G + extra)) + 0.5 * lam
        A = A * root * np.maximum(C + extra, 0.0) / np.maximum(slope, 1e-300)
        gram, cross = A.T @ A, Y.T @ A
        E = nonnegative_step(E.T, gram, cross).T
        path.append(value(E, gram, cross, A))
        if path[-2] - path[-1] <= tol * abs(path[-1]):
            break
    return _factors(cube, layout, Y, A, E, size, path, lam, seed)


def _fit(square: float, E: Any, gram: Any, cross: Any) -> float:
    """1/2 ||Y - A E||^2 from ||Y||^2, A^T A and Y^T A."""
    return 0.5 * square - float(np.sum(cross.T * E)) + 0.5 * float(np.sum(gram * (E @ E.T)))


def _sparseness(Y: Any) -> float:
    N, L = Y.shape
    if N == 1:
        return 0.0
    length = np.linalg.norm(Y, axis=0)
    ratio = np.abs(Y).sum(axis=0) / np.where(length > 0.0, length, 1.0)
    return float(np.sum(math.sqrt(N) - ratio)) / (math.sqrt(N) - 1.0) / math.sqrt(L)


def collaborative_nmf(
    cube: Any,
    n: int,
    seed: int = 0,
    *,
    group: float = 100.0,
    anchor: float = 0.1,
    start: Any = "vca",
    least: float = 0.01,
    iterations: int = 2000,
    tol: float = 1e-7,
    layout: Layout = "cube",
) -> Factors:
    """R-CoNMF: endmembers and abundances with more endmembers than needed, of which the idle ones vanish.

    Minimises 1/2 ||Y - A E||^2 + alpha sum_k ||A_.k||_2 + beta/2 ||E - P||^2 over E >= 0 and rows of A on the simplex;
    P is the start. By turns, both exact: A by the active set with the squares that lie above the norms, E by
    nonnegative least squares of every band. The objective never rises. (The paper takes proximal steps instead.)

    Parameters
    ----------
    n
        The most endmembers there may be. How many are left is the last axis of the abundances (the first with
        ``"bands_first"``).
    group
        alpha / (s2 sqrt(N)), s2 the mean square of the residual at the start.
    anchor
        beta n / N: how firmly endmembers are held at the start.
    least
        An endmember whose abundance has a root mean square below this is dropped.
    iterations
        Limit. Idle endmembers vanish slowly: 100 to 1000 iterations, and what is counted before that is too many.
    cube, seed, start, tol, layout
        As in ``nmf``.

    Raises
    ------
    ShapeError, ArrayError, ParameterError
        As in ``nmf``.

    References
    ----------
    J. Li, J. M. Bioucas-Dias, A. Plaza, L. Liu, IEEE Trans. Geosci. Remote Sens. 54 (2016) 6076,
    doi:10.1109/TGRS.2016.2580702.
    """
    owner = "collaborative_nmf"
    check_run(owner, seed, tol, iterations=(iterations, 0))
    for name, number in (("group", group), ("anchor", anchor), ("least", least)):
        check_number(number, name, owner)
    Y, size = scaled_rows(cube, n, layout, owner)
    P = np.maximum(start_spectra(cube, Y, n, seed, start, size, layout, owner), 0.0)
    A = _pixelwise.exact(*_pixelwise.correlations(Y, P), 1.0)
    alpha = group * float(np.mean((Y - A @ P) ** 2)) * math.sqrt(len(Y))
    beta = anchor * len(Y) / n
    square, E, floor = float(np.sum(Y * Y)), P, 1e-10 * len(Y)

    def value(E: Any, gram: Any, cross: Any) -> float:
        fit = _fit(square, E, gram, cross)
        groups = float(np.sum(np.sqrt(np.diagonal(gram) + floor)))
        return fit + alpha * groups + 0.5 * beta * float(np.sum((E - P) ** 2))

    gram, cross = A.T @ A, Y.T @ A
    path = [value(E, gram, cross)]
    for _ in range(iterations):
        G, C = _pixelwise.correlations(Y, E)
        A = _pixelwise.exact(G + np.diag(alpha / np.sqrt(np.diagonal(gram) + floor)), C, 1.0, A)
        gram, cross = A.T @ A, Y.T @ A
        E = _pixelwise.exact(gram + beta * np.eye(n), cross + beta * P.T, None, E.T).T
        path.append(value(E, gram, cross))
        if path[-2] - path[-1] <= tol * abs(path[-1]):
            break
    kept = np.sqrt(np.diagonal(gram)) > least * math.sqrt(len(Y))
    E = E[kept]
    A = _pixelwise.exact(*_pixelwise.correlations(Y, E), 1.0)
    return _factors(cube, layout, Y, A, E, size, path, alpha, seed)


def scaled_rows(cube: Any, n: Any, layout: Layout, owner: str) -> tuple[Any, float]:
    """Pixels as rows with a root mean square of 1, and that number; or an error that says why."""
    Y = as_rows(cube, layout, f"{owner}.cube")
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or not 2 <= n <= min(Y.shape):
        raise ParameterError(
            f"{owner}.n must be an integer from 2 to the {min(Y.shape)} that {Y.shape[0]} pixels of {Y.shape[1]} bands "
            f"allow, got {n!r}. Is the layout right?"
        )
    negative = float(np.mean(Y < 0.0))
    if negative > 0.5:
        raise ArrayError(
            f"{owner}.cube must be nonnegative but for noise, got {100 * negative:.0f} % negative entries. "
            "Give radiance or reflectance without the mean removed."
        )
    size = float(np.sqrt(np.mean(Y * Y)))
    if size == 0.0:
        raise ArrayError(f"{owner}.cube must not be zero everywhere, got zeros. Is it the right variable?")
    return Y / size, size


def start_spectra(
    cube: Any, Y: Any, n: int, seed: int, start: Any, size: float, layout: Layout, owner: str
) -> Any:
    """Endmembers (n, L) to start from: a method's name, or spectra in the layout and units of the data."""
    if not isinstance(start, str):
        if isinstance(cube, Cube) and np.ndim(start) == 2 and np.shape(start)[1] == cube.bands.size:
            start = np.asarray(start)[:, cube.bands]
        E = spectra_in(start, layout, Y.shape[1], f"{owner}.start") / size
        if len(E) != n:
            raise ParameterError(f"{owner}.start must hold {n} endmembers, got {len(E)}. Change n or start.")
        return E
    if start == "random":
        return Y[np.random.default_rng(seed).choice(len(Y), n, replace=False)]
    if start not in ("vca", "nfindr", "spa", "sivm", "atgp", "minvol"):
        raise ParameterError(
            f"{owner}.start must be endmembers, 'random' or a method of extract_endmembers, got {start!r}."
        )
    return extract_endmembers(Y, n, seed, method=start)  # type: ignore[arg-type]


def check_number(value: Any, name: str, owner: str) -> float:
    """A finite number >= 0, or a ParameterError."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0.0 <= value < math.inf:
        raise ParameterError(f"{owner}.{name} must be a finite number >= 0, got {value!r}.")
    return float(value)


def _factors(
    cube: Any,
    layout: Layout,
    Y: Any,
    A: Any,
    E: Any,
    size: float,
    path: list[float],
    weight: float,
    seed: int,
) -> Factors:
    residual = size * np.sqrt(np.mean((Y - A @ E) ** 2, axis=0))
    sums = A.sum(axis=1, keepdims=True)
    A = np.where(sums > 0.0, A / np.where(sums > 0.0, sums, 1.0), 1.0 / len(E))
    made = assemble(cube, layout, A, E * size, residual)
    return Factors(**vars(made), objective=tuple(path), weight=weight, seed=seed)
