"""Blocks of unknowns as layers of index arrays, and the posterior under a block prior.

    x = sum_b E_b C z_b,    z_b ~ N(0, g_b I),    B = C C^H           E_b: the entries of block b; blocks may overlap
    S = s2 I + sum_b g_b F_b F_b^H,    F_b = A E_b C

A layer holds blocks of one length that share no entry, so that values can be put in their places by one gather.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from recon.arrays import as_numpy, device_of, is_complex, namespace
from recon_sbl._correlation import Model, ar1_factor, moments
from recon_sbl._factor import Cholesky, adjoint, square

__all__ = ["BlockPosterior", "Layer", "block_posterior", "layers_by_label", "layers_by_length"]


@dataclass(frozen=True)
class Layer:
    """Blocks as rows of entries (count, length), and their places among all blocks."""

    entries: np.ndarray[Any, Any]
    places: np.ndarray[Any, Any]


@dataclass(frozen=True)
class BlockPosterior:
    """What the posterior tells of the blocks and, where asked, of the entries.

    ``signal`` is |F_b^H S^(-1) y|^2 (mean over snapshots) and ``spread`` tr(F_b^H S^(-1) F_b), one per block; ``fit``
    holds count, t0, t2, t1 of E[x_b x_b^H] / g_b (see ``best_ar1``).
    """

    mean: Any
    prior: Any
    variance: Any
    cost: float
    s2: float
    signal: Any
    spread: Any
    fit: tuple[float, float, float, complex]


def layers_by_length(size: int, length: int, overlap: bool) -> tuple[int, tuple[Layer, ...]]:
    """The number of blocks of successive entries and their layers; a last block may be shorter, or all may overlap."""
    if overlap:
        starts = np.arange(size - length + 1)
        made = [
            Layer(starts[k::length, None] + np.arange(length), starts[k::length])
            for k in range(min(length, starts.size))
        ]
        return starts.size, tuple(made)
    full = size // length
    made = [Layer(np.arange(full * length).reshape(full, length), np.arange(full))] if full else []
    if size % length:
        made.append(Layer(np.arange(full * length, size)[None], np.array([full])))
    return full + bool(size % length), tuple(made)


def layers_by_label(labels: tuple[int, ...]) -> tuple[int, tuple[Layer, ...]]:
    """Entries of equal labels form a block, in their order; one layer for each length."""
    values, block = np.unique(np.array(labels), return_inverse=True)
    lengths = np.bincount(block)
    order = np.argsort(block, kind="stable")
    ends = np.cumsum(lengths)
    made = []
    for length in np.unique(lengths):
        places = np.flatnonzero(lengths == length)
        made.append(Layer(order[ends[places, None] - length + np.arange(length)], places))
    return values.size, tuple(made)


def block_posterior(
    given: Model, layers: tuple[Layer, ...], scales: Any, r: complex, s2: float, learn: bool, entries: bool
) -> BlockPosterior:
    """The posterior for block variances ``scales`` (0: left out), AR(1) correlation r and noise s2.

    m^2 n + m^3 / 3 for n entries of the blocks that are left (an entry in several blocks counts so often). ``learn``:
    s2 of the answer is the EM update of s2; ``entries``: variances of the entries are wanted.
    """
    xp, A = namespace(given.A), given.A
    active = as_numpy(scales) > 0
    C = ar1_factor(r, max(layer.entries.shape[1] for layer in layers), A)
    kept = [(layer.entries[active[layer.places]], layer.places[active[layer.places]]) for layer in layers]
    kept = [pair for pair in kept if pair[0].size]
    S = s2 * xp.eye(A.shape[0], dtype=A.dtype, device=device_of(A))
    sizes, factors = [], []
    for index, places in kept:
        F = _times(_take(A, index.ravel(), 1), C[: index.shape[1], : index.shape[1]])
        g = _take(scales, np.repeat(places, index.shape[1]), 0)
        S = S + (F * _as(g, F)) @ adjoint(F)
        sizes.append(g)
        factors.append(F)
    R = Cholesky(S)
    u = R.half(given.Y)
    cost = given.constant + given.count * R.logdet + float(xp.sum(square(u), dtype=xp.float64))
    factors = [R.half(F) for F in factors]
    found = _per_block(factors, sizes, kept, u, C, scales, given)
    mean, prior, signal, spread, fit = found
    if learn:
        gap = float(xp.sum(square(given.Y - A @ mean), dtype=xp.float64)) / given.count
        s2 = (gap + s2 * float(xp.sum(scales * spread))) / A.shape[0]
    variance = _variance(factors, sizes, kept, C, prior) if entries else None
    return BlockPosterior(mean, prior, variance, cost, s2, signal, spread, fit)


def _per_block(
    factors: list[Any], sizes: list[Any], kept: list[Any], u: Any, C: Any, scales: Any, given: Model
) -> Any:
    """mean and prior variance of the entries, signal and spread of the blocks, and the moments of the correlation."""
    xp, size = namespace(u), given.A.shape[1]
    mean = xp.zeros((size, given.count), dtype=u.dtype, device=device_of(u))
    prior = xp.zeros((size,), dtype=scales.dtype, device=device_of(u))
    signal, spread = xp.zeros_like(scales), xp.zeros_like(scales)
    count, t0, t2, t1 = 0.0, 0.0, 0.0, 0.0j
    for W, g, (index, places) in zip(factors, sizes, kept, strict=True):
        blocks, h = index.shape
        c = C[:h, :h]
        q = adjoint(W) @ u
        power = xp.mean(square(q), axis=1)
        width = xp.sum(square(W), axis=0)
        back = _places(places, scales.shape[0])
        signal = signal + _put(xp.sum(xp.reshape(power, (blocks, h)), axis=1), back)
        spread = spread + _put(xp.sum(xp.reshape(width, (blocks, h)), axis=1), back)
        back = _places(index.ravel(), size)
        z = xp.reshape(_as(g[:, None], q) * q, (blocks, h, given.count))
        mean = mean + _put(xp.reshape(xp.matmul(c, z), (blocks * h, given.count)), back)
        prior = prior + _put(g, back)
        if h > 1:
            root = _as(xp.sqrt(g), W)
            w = xp.reshape(W * root, (-1, h))
            z = xp.reshape(xp.matrix_transpose(xp.reshape(q * root[:, None], (blocks, h, -1))), (-1, h))
            shrink = _gram(z) / given.count - _gram(w).T
            shrink = shrink + blocks * xp.eye(h, dtype=W.dtype, device=device_of(W))
            a, b, d = moments(c @ shrink @ adjoint(c))
            count, t0, t2, t1 = count + blocks * (h - 1), t0 + a, t2 + b, t1 + d
    return mean, prior, signal, spread, (count, t0, t2, t1)


def _variance(factors: list[Any], sizes: list[Any], kept: list[Any], C: Any, prior: Any) -> Any:
    """prior - diag(P A^H S^(-1) A P), P the prior covariance of the entries; clipped at 0."""
    xp = namespace(prior)
    if not factors:
        return prior
    total = 0.0
    for W, g, (index, _) in zip(factors, sizes, kept, strict=True):
        h = index.shape[1]
        U = _times(W * _as(g, W), adjoint(C[:h, :h]))
        total = total + _put(U.T, _places(index.ravel(), prior.shape[0]))
    lost = xp.sum(square(total), axis=1)
    return xp.where(prior > lost, prior - lost, xp.zeros_like(prior))


def _gram(rows: Any) -> Any:
    """sum of v v^H over rows v."""
    return rows.T @ (namespace(rows).conj(rows) if is_complex(rows) else rows)


def _times(F: Any, C: Any) -> Any:
    """Every block of columns of F times C."""
    xp, h = namespace(F), C.shape[0]
    return xp.reshape(xp.reshape(F, (-1, h)) @ C, F.shape) if h > 1 else F


def _take(x: Any, index: np.ndarray[Any, Any], axis: int) -> Any:
    xp = namespace(x)
    return xp.take(x, xp.asarray(index, device=device_of(x)), axis=axis)


def _places(index: np.ndarray[Any, Any], size: int) -> np.ndarray[Any, Any]:
    """For each of ``size`` places, which value comes there: len(index) for none."""
    back = np.full(size, index.size)
    back[index] = np.arange(index.size)
    return back


def _put(values: Any, back: np.ndarray[Any, Any]) -> Any:
    """Values (rows) at their places, 0 elsewhere."""
    xp = namespace(values)
    return _take(xp.concat([values, xp.zeros_like(values[:1, ...])], axis=0), back, 0)


def _as(x: Any, like: Any) -> Any:
    return namespace(x).astype(x, like.dtype, copy=False)
