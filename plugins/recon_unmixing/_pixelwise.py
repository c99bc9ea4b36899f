"""Constrained least squares of every pixel by itself, through G = E E^T and C = Y E^T.

    minimise  1/2 ||y - a E||^2 = 1/2 a G a^T - c a^T + const      over a >= 0, or a >= 0 and sum a = total

The bands are read once; all that follows works on p numbers per pixel. On the CPU the compiled active set gives the
exact minimiser. Elsewhere accelerated projected gradients run on all pixels at once.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from recon.arrays import as_numpy, device_of, from_numpy, namespace
from recon.errors import KernelError
from recon.priors import NonNegative, Simplex

__all__ = ["correlations", "exact", "half_square", "kkt", "like_data", "projected", "unconstrained"]

_CHUNK = 16_384  # pixels whose spectra are brought to double precision at a time


def correlations(Y: Any, E: Any, weights: Any = None) -> tuple[Any, Any]:
    """G = E W E^T (p, p) and C = Y W E^T (N, p) in double precision, with weights per band if given; NumPy."""
    E = np.ascontiguousarray(E, dtype=np.float64)
    EW = E if weights is None else E * np.asarray(weights, dtype=np.float64)
    C = np.empty((len(Y), len(E)))
    for start in range(0, len(Y), _CHUNK):
        part = slice(start, start + _CHUNK)
        np.matmul(Y[part].astype(np.float64, copy=False), EW.T, out=C[part])
    return EW @ E.T, C


def half_square(Y: Any, A: Any, E: Any) -> float:
    """1/2 ||A E - Y||^2, some pixels at a time: no array of the size of the data is made."""
    rows, total = max(1, 65_536 // max(E.shape[1], 1)), 0.0
    buffer = np.empty((min(rows, len(Y)), E.shape[1]), dtype=np.result_type(A, E))
    for start in range(0, len(Y), rows):
        part = slice(start, start + rows)
        left = np.matmul(A[part], E, out=buffer[: len(Y[part])])
        left -= Y[part]
        total += float(np.vdot(left, left))
    return 0.5 * total


def exact(G: Any, C: Any, total: float | None = None, start: Any = None) -> Any:
    """The exact minimisers A (N, p), NumPy float64; ``start`` (N, p) only makes it faster."""
    from recon_unmixing._active_set_numba import solve_pixels

    C = np.ascontiguousarray(C, dtype=np.float64)
    A = np.zeros_like(C) if start is None else np.array(start, dtype=np.float64, order="C")
    largest = float(np.abs(C).max(initial=0.0))
    length = math.sqrt(float(np.diagonal(G).max(initial=0.0)))
    if length == 0.0 or (largest == 0.0 and total is None):  # nothing to explain, or to explain it with
        return np.zeros_like(C) if total is None else np.full_like(C, total / C.shape[1])
    # each pixel in its own units: one of 1e30 (a value that stands for none) must not spoil the others
    tol = 1e-12 * np.maximum(np.abs(C).max(axis=1) / length, length * (total or 0.0))
    if total is not None:  # a constant where sums are kept; G stays regular where E has p - 1 dimensions
        shift = float(np.mean(np.diagonal(G)))
        G, C = G + shift, C + shift * total
    lost = solve_pixels(np.ascontiguousarray(G), C, A, math.nan if total is None else float(total), tol)
    if (
        lost and kkt(G, C, A, total) > 1e-6
    ):  # at rounding, in degenerate corners, entries may swap places for ever
        raise KernelError(f"{lost} pixels were not solved. Are endmembers or data of extreme scale?")
    return A


def projected(
    G: Any, C: Any, total: float | None = None, start: Any = None, iterations: int = 2000, tol: float = 1e-9
) -> Any:
    """The minimisers by accelerated projected gradients with restarts, on any array library, all pixels at once.

    Ends when no pixel's gradient step moves an abundance by more than ``tol`` times the largest abundance.
    """
    xp = namespace(C)
    step = 1.0 / max(float(np.linalg.norm(as_numpy(G), 2)), 1e-300)
    prior: Any = NonNegative() if total is None else Simplex(total)
    A = xp.zeros_like(C) if start is None else start
    A = prior.prox(A, 1.0)
    ahead, t = A, 1.0
    for _ in range(iterations):
        new = prior.prox(ahead - step * (xp.matmul(ahead, G) - C), 1.0)
        change = new - A
        turned = float(xp.sum((ahead - new) * change)) > 0.0  # O'Donoghue and Candes 2015, gradient scheme
        following = 1.0 if turned else 0.5 * (1.0 + math.sqrt(1.0 + 4.0 * t * t))
        ahead = new if turned else new + ((t - 1.0) / following) * change
        A, t = new, following
        if float(xp.max(xp.abs(change))) <= tol * float(xp.max(xp.abs(new))) and not turned:
            break
    return A


def unconstrained(G: Any, C: Any) -> Any:
    """Least squares of least norm, A = C G^+ by eigenvalues."""
    values, vectors = np.linalg.eigh(G)
    good = values > len(G) * np.finfo(np.float64).eps * max(float(values[-1]), 0.0)
    inverse = np.where(good, 1.0 / np.where(good, values, 1.0), 0.0)
    return (C @ vectors * inverse) @ vectors.T


def kkt(G: Any, C: Any, A: Any, total: float | None = None) -> float:
    """The largest violation of the optimality conditions, relative: 0 at the minimisers.

    With g = a G - c (plus the multiplier of the sum): max(-g, |a g|) over all pixels, in units of max |c|.
    """
    g = A @ G - C
    if total is not None:
        g = g - (np.sum(A * g, axis=1, keepdims=True) / total)
    scale = max(float(np.abs(C).max(initial=0.0)), 1e-300)
    size = max(float(A.max(initial=0.0)), 1e-300)
    return max(float(-g.min(initial=0.0)), float(np.abs(A * g).max(initial=0.0)) / size) / scale


def like_data(A: Any, data: Any) -> Any:
    """Abundances in the library, device and precision of the data."""
    xp = namespace(data)
    if isinstance(data, np.ndarray):
        return A.astype(data.dtype, copy=False)
    return xp.astype(xp.asarray(from_numpy(A, data), device=device_of(data)), data.dtype, copy=False)
