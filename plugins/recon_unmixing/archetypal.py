"""Archetypal analysis: endmembers that are mixtures of pixels, found together with their abundances.

    minimise over A, B    log(sum_n h(||r_n||_U)) / q + v log vol(B Y),    r_n = y_n - (A B Y)_n
    rows of A (N, p) and B (p, N) nonnegative with sum 1;  endmembers B Y, abundances A,  ||r||_U^2 = sum_l u_l^2 r_l^2

``loss="l2"`` has h = r^2 / 2, q = 2; ``"l21"`` Huber's function, r but near 0, q = 1. With u = 1 and v = 0 that is
archetypal analysis (Cutler and Breiman 1994) and its robust form (Chen, Mairal and Harchaoui 2014). Besides:

    bands="l21"      u_l^2 ~ 1 / sqrt(sum_n w_n r_nl^2), w_n = h'(||r_n||) / ||r_n||: bands that fit badly weigh less,
                     as in the l2,1 norm over bands; from two fits before the last one, then fixed
    volume="auto"    v = 1 / D, D = L^2 / sum_lm c_lm^2 with the correlations c of the residuals of bands: how many
                     independent bands would say as much. Why: abundances uniform on the simplex have the density
                     1 / vol, residuals of unknown scale s in D dimensions s^-D, so a pixel has -log p = log vol +
                     D log s + const. Without the first term archetypes drift to the outermost pixels, noise included
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from recon.errors import ArrayError, ParameterError
from recon_unmixing._archetypal import Descent, Fit, Mixture, furthest_sum, mixtures
from recon_unmixing._layout import Layout, as_rows, check_run, real_array, spectra_out
from recon_unmixing.cube import Cube

__all__ = ["Archetypes", "archetypal_analysis", "normalise_pixels"]

_SCOUTED = 2000  # pixels that restarts are compared on
_KEPT = 8  # starts that go on after the first iterations
_FINALISTS = 3  # of them, that run on all pixels
_WIDTH = 0.3  # Huber's width, in medians of ||r_n||


@dataclass(frozen=True)
class Archetypes:
    """What ``archetypal_analysis`` found.

    Attributes
    ----------
    endmembers
        (p, L), in the units of the data; of norms near 1 where pixels were normalised. (L, p) with
        ``layout="bands_first"``. NaN in bands of a ``Cube`` that are not in use.
    abundances
        (H, W, p), (N, p) of a list of pixels, (p, N) with ``layout="bands_first"``; >= 0 with sum 1. NaN where a pixel
        of a ``Cube`` is not in use, as in all maps here.
    mixtures
        Per endmember the pixels it is mixed of (indices of the flattened image) and their shares.
    objective
        Its value before and after every iteration of the chosen run, for data of rms norm 1; it never rises.
    pixel_weights
        (N,) or (H, W), in (0, 1]: small where a pixel fits badly, and so counts less; 1 for ``loss="l2"``.
    band_weights
        (L,), u^2, of mean 1 over the bands in use.
    volume
        v.
    restarts
        The objectives of the runs on all pixels, best first; only the best ran to the end.
    scale
        (N,) or (H, W), the norms that pixels were divided by; None where they were not.
    seed
        The seed.
    """

    endmembers: Any
    abundances: Any
    mixtures: tuple[Mixture, ...]
    objective: tuple[float, ...]
    pixel_weights: Any
    band_weights: Any
    volume: float
    restarts: tuple[float, ...]
    scale: Any
    seed: int


def normalise_pixels(pixels: Any) -> tuple[Any, Any]:
    """Every pixel divided by its 2-norm over the last axis, and the norms.

    Brightness (illumination, slope, shade) is gone, and so is what differs by brightness alone: dark materials
    whose spectra are mostly noise become as loud as the others. Abundances are then those of the normalised pixels.

    Raises
    ------
    ArrayError
        For a pixel of zeros, which has no direction.
    """
    values = real_array(pixels, "normalise_pixels.pixels").astype(np.float64)
    if values.ndim == 0:
        raise ArrayError("normalise_pixels.pixels must have a last axis of bands, got one number.")
    norms = np.linalg.norm(values, axis=-1)
    zeros = int(np.count_nonzero(norms == 0.0))
    if zeros:
        raise ArrayError(
            f"normalise_pixels.pixels must not be zero in all bands, got {zeros} such pixels. Leave them out."
        )
    return values / norms[..., None], norms


def archetypal_analysis(
    cube: Any,
    n: int,
    seed: int = 0,
    *,
    normalise: bool = False,
    loss: Literal["l2", "l21"] = "l21",
    bands: Literal["even", "l21"] = "l21",
    volume: float | Literal["auto"] = "auto",
    restarts: int = 50,
    iterations: int = 300,
    tol: float = 1e-7,
    layout: Layout = "cube",
) -> Archetypes:
    """Endmembers and abundances of a scene by archetypal analysis from many starts; the lowest objective wins.

    ``loss="l2", bands="even", volume=0`` is plain, ``loss="l21", bands="even", volume=0`` robust archetypal analysis.
    Half of the starts are random pixels, half far pixels (FurthestSum) of a random tenth. All of them run a few
    iterations on at most 2000 random pixels, the better ones more, the best three go on with all pixels, and the
    lowest of them to the end. An iteration reads the data about twenty times. Memory: three times the data, in
    double precision.

    Parameters
    ----------
    cube
        (..., L): pixels with their bands last, or (L, N) with ``layout="bands_first"``; or a ``Cube``.
    n
        Number of endmembers p, at most the number of pixels.
    seed
        Of ``numpy.random.default_rng``: starts and subset.
    normalise
        Divide every pixel by its 2-norm first. Right where the brightness of a material varies by shade (Samson),
        wrong where dark pixels are a material, whose noise it blows up (Moffett). Nothing decides it for you.
    loss
        ``"l21"``: sum of norms, so that no pixel counts by its square; ``"l2"``: sum of squares.
    bands
        ``"l21"``: bands that fit badly weigh less; ``"even"``.
    volume
        Weight v >= 0 of the logarithm of the volume of the simplex, or ``"auto"``: from the residuals.
    restarts, iterations, tol
        Number of starts; limit of iterations of a run; least decrease of the objective to go on.
    layout
        Where the bands are: ``"cube"`` (last) or ``"bands_first"``; endmembers and abundances come in the same.

    Raises
    ------
    ShapeError, ArrayError, ParameterError
        For data that are no image of bands or not finite, n above the number of pixels, options out of range.

    References
    ----------
    A. Cutler, L. Breiman, Technometrics 36 (1994) 338; M. Moerup, L. K. Hansen, Neurocomputing 80 (2012) 54,
    doi:10.1016/j.neucom.2011.06.033; Y. Chen, J. Mairal, Z. Harchaoui, CVPR (2014), doi:10.1109/CVPR.2014.192;
    A. Zouaoui et al., IEEE Trans. Image Process. 32 (2023), doi:10.1109/TIP.2023.3301769 (for unmixing).
    """
    Y = as_rows(cube, layout, "archetypal_analysis.cube")
    check_run("archetypal_analysis", seed, tol, restarts=(restarts, 1), iterations=(iterations, 0))
    _check(len(Y), n, loss, bands, volume)
    scale = None
    if normalise:
        Y, scale = normalise_pixels(Y)
    rules = _Rules(loss, bands, volume, restarts, iterations, tol, seed)
    unit = _size(Y) or 1.0  # units of the data change nothing
    fits, width, band_weights, v = _search(Y / unit, n, rules)
    best = fits[0]
    robust = np.ones_like(best.norms) if width is None else width / np.maximum(best.norms, width)
    endmembers = unit * best.endmembers / np.sqrt(band_weights)
    mixed = best.mixtures
    if isinstance(cube, Cube):
        maps, endmembers, band_weights = (
            cube.maps,
            cube.full_spectra(endmembers),
            cube.full_spectra(band_weights),
        )
        used = np.flatnonzero(cube.mask)
        mixed = [Mixture(used[m.pixels], m.shares) for m in mixed]
    else:
        shape = np.shape(cube)[:-1] if layout == "cube" else (len(Y),)

        def maps(rows: Any) -> Any:
            return rows.reshape(*shape, *rows.shape[1:])

    return Archetypes(
        endmembers=spectra_out(endmembers, layout),
        abundances=best.abundances.T.copy() if layout == "bands_first" else maps(best.abundances),
        mixtures=tuple(mixed),
        objective=tuple(best.path),
        pixel_weights=maps(robust),
        band_weights=band_weights,
        volume=v,
        restarts=tuple(fit.path[-1] for fit in fits),
        scale=None if scale is None else maps(scale),
        seed=seed,
    )


@dataclass(frozen=True)
class _Rules:
    """The options of a call."""

    loss: str
    bands: str
    volume: float | str
    restarts: int
    iterations: int
    tol: float
    seed: int


def _search(Y: Any, n: int, rules: _Rules) -> tuple[list[Fit], float | None, Any, float]:
    """The final runs, best first; Huber's width, the band weights and v."""
    rng = np.random.default_rng(rules.seed)
    rows = np.sort(rng.permutation(len(Y))[:_SCOUTED])
    few = np.ascontiguousarray(Y[rows])
    scouts = _scout(Descent.of(few, None), _starts(few, n, rules.restarts, rng), 10)
    width = None
    if rules.loss == "l21":
        width = _width(scouts[0].norms, few)
        scouts = _scout(Descent.of(few, width), [fit.mixtures for fit in scouts], 30)
    weights = np.ones(Y.shape[1])
    plain = rules.bands == "even" and rules.volume == 0.0
    fits = _finish(
        Descent.of(Y, width), scouts, rows, [], rules if plain else replace(rules, tol=max(rules.tol, 1e-5))
    )
    if plain:
        return fits, width, weights, 0.0
    fit = fits[0]
    for _ in range(
        2 if rules.bands == "l21" else 0
    ):  # bands that spoilt the first fit weigh less in the second
        R = Y - fit.abundances @ (fit.endmembers / np.sqrt(weights))
        weights = _band_weights(R, fit.norms, width)
        if width is not None:
            width = _width(np.linalg.norm(R * np.sqrt(weights), axis=1), Y)
        fit = Descent.of(Y * np.sqrt(weights), width).run(fit.mixtures, rules.iterations, 1e-5)
    u = np.sqrt(weights)
    descent = Descent.of(Y * u, width)
    R = descent.Y - fit.abundances @ fit.endmembers
    v = 1.0 / _degrees(R, descent.weights(fit.norms)) if rules.volume == "auto" else float(rules.volume)
    noise = max(float(np.median(fit.norms)) / len(u) ** 0.5, 1e-6 * _size(Y), 1e-100)
    scouts = _scout(Descent.of(few * u, width, v, noise), [found.mixtures for found in scouts], 40)
    descent = replace(descent, volume=v, noise=noise)
    return _finish(descent, scouts, rows, [fit.mixtures], rules), width, weights, v


def _scout(descent: Descent, starts: list[list[Mixture]], iterations: int) -> list[Fit]:
    """The better half of what the starts lead to, at most a few, different ones, best first."""
    fits = sorted((descent.run(start, iterations, 1e-4) for start in starts), key=lambda fit: fit.path[-1])
    kept = [fits[0]]
    for fit in fits[1:]:
        if len(kept) < _KEPT and fit.path[-1] > kept[-1].path[-1] + 1e-6:
            kept.append(fit)
    return kept


def _finish(
    descent: Descent, scouts: list[Fit], rows: Any, more: list[list[Mixture]], rules: _Rules
) -> list[Fit]:
    """The best scouts on all pixels, best first; the best of all to the end."""
    starts = [[Mixture(rows[m.pixels], m.shares) for m in fit.mixtures] for fit in scouts[:_FINALISTS]]
    fits = [descent.run(start, rules.iterations, max(rules.tol, 1e-4)) for start in [*more, *starts]]
    fits.sort(key=lambda fit: fit.path[-1])
    best = descent.run(fits[0].mixtures, rules.iterations, rules.tol)
    last = fits[0].path[-1]  # of exact data the first value of the new run may differ by rounding
    path = [*fits[0].path, *(value for value in best.path[1:] if value < last)]
    return [replace(best, path=path), *fits[1:]]


def _starts(Y: Any, n: int, restarts: int, rng: Any) -> list[list[Mixture]]:
    """Random pixels and far pixels of random tenths, in turn."""
    starts = []
    for turn in range(restarts):
        if turn % 2:
            starts.append(mixtures(rng.choice(len(Y), n, replace=False)))
        else:
            tenth = rng.permutation(len(Y))[: max(len(Y) // 10, min(len(Y), 3 * n))]
            starts.append(mixtures(tenth[furthest_sum(Y[tenth], n, rng)]))
    return starts


def _size(Y: Any) -> float:
    """Root mean square norm of a pixel."""
    return float(np.sqrt(np.mean(np.einsum("nl,nl->n", Y, Y))))


def _width(norms: Any, Y: Any) -> float:
    """Huber's width: a share of the median residual."""
    return max(_WIDTH * float(np.median(norms)), 1e-6 * _size(Y), 1e-300)


def _band_weights(R: Any, norms: Any, width: float | None) -> Any:
    """u^2 of mean 1: one over the root of the weighted squares of every band."""
    w = np.ones_like(norms) if width is None else 1.0 / np.maximum(norms, width)
    size = np.sqrt(w @ (R * R))
    largest = float(size.max())
    if largest == 0.0:
        return np.ones(R.shape[1])
    weights = 1.0 / np.maximum(size, 1e-3 * largest)
    return weights / weights.mean()


def _degrees(R: Any, w: Any) -> float:
    """L^2 / sum of the squared correlations of the residuals of bands: how many bands would be independent."""
    C = (R * w[:, None]).T @ R
    scale = np.sqrt(np.maximum(np.diagonal(C), 1e-300))
    correlations = C / np.outer(scale, scale)
    return len(C) ** 2 / max(float(np.sum(correlations * correlations)), 1.0)


def _check(pixels: int, n: int, loss: str, bands: str, volume: Any) -> None:
    def wrong(name: str, rule: str, got: Any, remedy: str) -> ParameterError:
        return ParameterError(f"archetypal_analysis.{name} must be {rule}, got {got!r}. {remedy}")

    if isinstance(n, bool) or not isinstance(n, int | np.integer) or not 1 <= n <= pixels:
        raise wrong(
            "n", f"an integer, at least 1 and at most the {pixels} pixels", n, "Ask for fewer endmembers."
        )
    if loss not in ("l2", "l21"):
        raise wrong("loss", "'l2' or 'l21'", loss, "Choose one.")
    if bands not in ("even", "l21"):
        raise wrong("bands", "'even' or 'l21'", bands, "Choose one.")
    if volume != "auto" and not (isinstance(volume, int | float) and 0.0 <= volume < np.inf):
        raise wrong("volume", "a number >= 0 or 'auto'", volume, "Use 0 for none.")
