"""Endmembers from the pixels of a scene: the vertices of the simplex that the pixels fill.

    vca      the farthest pixel in a random direction orthogonal to those found, p times         pure pixels
    nfindr   the p pixels of largest simplex, by exchanges one at a time                         pure pixels
    sivm     greedy: the pixel that adds most volume                                             pure pixels
    spa      greedy: the longest residual, in the signal subspace                                pure pixels
    atgp     greedy: the longest residual, raw spectra (bright pixels first)                     pure pixels
    minvol   the smallest simplex that explains the pixels                                       without pure pixels

All work on pixels as rows Y (N, L), are seeded where they draw, and give endmembers (p, L), one spectrum per row.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from recon.errors import ParameterError
from recon_unmixing._layout import Layout, as_rows, check_run, spectra_out
from recon_unmixing._subspace import axes, band_noise, homogeneous, principal
from recon_unmixing.minimum_volume import minimum_volume

__all__ = ["Method", "count_endmembers", "extract_endmembers"]

Method = Literal["vca", "nfindr", "spa", "sivm", "atgp", "minvol"]


def extract_endmembers(
    cube: Any,
    n: int,
    seed: int = 0,
    *,
    method: Method = "vca",
    restarts: int = 20,
    denoise: bool = True,
    layout: Layout = "cube",
) -> Any:
    """Endmember spectra of a scene.

    Parameters
    ----------
    cube
        (..., L): pixels with their L bands last, such as (H, W, L); or (L, N) with ``layout="bands_first"``. A
        ``Cube`` brings its mask of pixels and bands with it.
    n
        How many endmembers, 2 <= n <= L and n <= pixels.
    seed
        Of the random directions of ``"vca"`` (and of the starts made with it).
    method
        ``"vca"`` (Nascimento and Bioucas-Dias 2005): O(n^2 N) after an O(L^2 N) covariance; of ``restarts`` runs the
        one of largest volume is kept. ``"nfindr"`` (Winter 1999) starts there and exchanges pixels until no exchange
        enlarges the simplex. ``"sivm"``, ``"spa"`` and ``"atgp"`` are greedy and draw nothing. ``"minvol"`` needs no
        pure pixels: its endmembers lie where no pixel is.
    restarts
        Runs of VCA.
    denoise
        Give the spectra as their projections on the n - 1 principal axes of the scene (VCA: on its n signal axes):
        what is left of a pixel's noise there is about n / L of it. False gives the spectra of the pixels themselves.
    layout
        Where the bands are: ``"cube"`` (last) or ``"bands_first"``. Never guessed.

    Returns
    -------
    numpy.ndarray
        (n, L), or (L, n) with ``layout="bands_first"``.

    Raises
    ------
    ShapeError, ArrayError, ParameterError
        For data that are no scene, or an n that it does not hold.

    References
    ----------
    J. M. P. Nascimento, J. M. Bioucas-Dias, IEEE Trans. Geosci. Remote Sens. 43 (2005) 898,
    doi:10.1109/TGRS.2005.844293 (VCA); M. E. Winter, Proc. SPIE 3753 (1999) 266, doi:10.1117/12.366289 (N-FINDR);
    H. Ren, C.-I. Chang, IEEE Trans. Aerosp. Electron. Syst. 39 (2003) 1232 (ATGP); M. C. U. Araujo et al., Chemom.
    Intell. Lab. Syst. 57 (2001) 65 (SPA); R. Heylen, D. Burazerovic, P. Scheunders, IEEE J. Sel. Top. Signal Process.
    5 (2011) 534 (SiVM).
    """
    Y = as_rows(cube, layout, "extract_endmembers.cube")
    _check_count(n, Y)
    check_run("extract_endmembers", seed, restarts=(restarts, 1))
    rng = np.random.default_rng(seed)
    if method == "minvol":
        return spectra_out(minimum_volume(Y, _vca(Y, n, rng, restarts)[0]), layout)
    if method in ("vca", "nfindr"):
        clean, found = _vca(Y, n, rng, restarts)
        if method == "vca" and denoise:
            return spectra_out(clean, layout)
        found = _exchange(Y, found) if method == "nfindr" else found
    elif method == "sivm":
        found = _sivm(Y, n)
    elif method in ("spa", "atgp"):
        found = _longest(_signal(Y, n) if method == "spa" else Y, n)
    else:
        raise ParameterError(
            "extract_endmembers.method must be 'vca', 'nfindr', 'spa', 'sivm', 'atgp' or 'minvol', "
            f"got {method!r}."
        )
    E = Y[found]
    if denoise:
        mean, vectors, _, _ = axes(Y, n - 1)
        E = mean + (E - mean) @ vectors @ vectors.T
    return spectra_out(E, layout)


def count_endmembers(cube: Any, *, layout: Layout = "cube") -> int:
    """How many endmembers a scene holds, by HySime: axes whose signal outweighs the error that noise puts there.

    With the noise regressed band by band, R_x the correlation of the rest and e_i its eigenvectors, axis i counts
    where  2 e_i^T R_n e_i < e_i^T R_y e_i.  O(N L^2). J. M. Bioucas-Dias, J. M. P. Nascimento, IEEE Trans. Geosci.
    Remote Sens. 46 (2008) 2435, doi:10.1109/TGRS.2008.918089.
    """
    Y = as_rows(cube, layout, "count_endmembers.cube")
    N, L = Y.shape
    if N <= L:
        raise ParameterError(f"count_endmembers.cube must have more pixels than bands, got {N} and {L}.")
    if not Y.any():
        return 0
    noise = band_noise(Y)
    signal = Y - noise
    _, vectors = np.linalg.eigh(signal.T @ signal / N)
    power = np.einsum("li,lk,ki->i", vectors, Y.T @ Y / N, vectors, optimize=True)
    error = np.einsum("li,l,li->i", vectors, np.mean(noise * noise, axis=0), vectors, optimize=True)
    return int(np.sum(2.0 * error < power))


def _check_count(n: Any, Y: Any) -> None:
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or not 2 <= n <= min(Y.shape):
        raise ParameterError(
            f"extract_endmembers.n must be an integer from 2 to the {min(Y.shape)} that {Y.shape[0]} pixels of "
            f"{Y.shape[1]} bands allow, got {n!r}."
        )


def _vca(Y: Any, p: int, rng: np.random.Generator, restarts: int) -> tuple[Any, list[int]]:
    """Denoised spectra of the vertices found, and their pixels: of all runs those of largest volume."""
    N, L = Y.shape
    mean, U, x, _ = axes(Y, p)
    power, kept = float(np.sum(Y * Y)) / N, float(np.sum(x * x)) / N + float(mean @ mean)
    snr = 10.0 * np.log10(max(kept - p / L * power, 1e-300) / max(power - kept, 1e-300))
    if snr < 15.0 + 10.0 * np.log10(
        p
    ):  # the paper's threshold: below it noise spoils the projective projection
        flat = x[:, : p - 1]
        points = np.concatenate([flat, np.full((N, 1), np.sqrt(np.max(np.sum(flat**2, axis=1))))], axis=1)
        clean = mean + flat @ U[:, : p - 1].T
    else:
        V = principal(Y.T @ Y / N)[1][:, :p]
        z = Y @ V
        scale = z @ z.mean(0)
        points = z / np.where(np.abs(scale) > 1e-12 * np.abs(scale).max(), scale, np.inf)[:, None]
        clean = z @ V.T
    best, chosen = -1.0, [0] * p
    h = homogeneous(x[:, : p - 1])
    for _ in range(restarts):
        found = _vertices(points, p, rng)
        volume = abs(float(np.linalg.det(h[found])))
        if volume > best:
            best, chosen = volume, found
    return clean[chosen], chosen


def _vertices(points: Any, p: int, rng: np.random.Generator) -> list[int]:
    basis = np.zeros((p, 0))
    first = np.zeros(p)
    first[-1] = 1.0
    found: list[int] = []
    for k in range(p):
        against = first[:, None] if k == 0 else basis
        f = rng.standard_normal(p)
        Q = np.linalg.qr(against)[0]
        f -= Q @ (Q.T @ f)
        found.append(int(np.argmax(np.abs(points @ f))))
        basis = np.concatenate([basis, points[found[-1]][:, None]], axis=1)
    return found


def _exchange(Y: Any, start: list[int]) -> list[int]:
    """N-FINDR: exchange a vertex for the pixel that enlarges the volume most, until none does.

    Replacing vertex k by pixel x multiplies the volume by |(M^(-1) (1, x))_k|: all exchanges in one product.
    """
    h = homogeneous(axes(Y, len(start) - 1).scores)
    found = list(start)
    for _ in range(100 * len(found)):
        M = h[found].T
        if np.linalg.cond(M) > 1e14:
            found = _sivm(Y, len(found))
            M = h[found].T
            if np.linalg.cond(M) > 1e14:  # fewer dimensions than vertices: all volumes are 0
                return found
        growth = np.abs(h @ np.linalg.inv(M).T)
        pixel, vertex = np.unravel_index(int(np.argmax(growth)), growth.shape)
        if growth[pixel, vertex] <= 1.0 + 1e-9:
            return found
        found[int(vertex)] = int(pixel)
    return found


def _sivm(Y: Any, p: int) -> list[int]:
    """Greedy volume: the pixel farthest from the mean, then the one farthest from the flat through those found."""
    z = axes(Y, p - 1).scores
    found = [int(np.argmax(np.sum(z * z, axis=1)))]
    return found + _longest(z - z[found[0]], p - 1)


def _longest(points: Any, p: int) -> list[int]:
    """Gram-Schmidt with the longest residual first (QR with pivots of the pixels)."""
    left = np.array(points, dtype=np.float64)
    found: list[int] = []
    for _ in range(p):
        lengths = np.sum(left * left, axis=1)
        lengths[found] = -1.0
        found.append(int(np.argmax(lengths)))
        q = left[found[-1]] / max(np.sqrt(lengths[found[-1]]), 1e-300)
        left -= np.outer(left @ q, q)
    return found


def _signal(Y: Any, p: int) -> Any:
    """Coordinates in the p axes of most power."""
    V = principal(Y.T @ Y)[1][:, :p]
    return Y @ V
