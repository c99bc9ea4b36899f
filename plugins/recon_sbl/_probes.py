"""Diagonals of operators that are known only by products, from random signs.

    d_i = (A^H A)_ii            e_i = (E^(-1))_ii           z_i Re (M z)_i has mean M_ii: Hutchinson's probes

    e0_i = (1 + q_i) / (1 + k q_i),   q_i = g_i d_i / s2     what e is if a_i^H S_i^(-1) a_i = k d_i / s2 for all i

A few probes give sums over i well and single entries badly. So each estimate is drawn towards the model e0, whose one
number k fits the sum, as far as the scatter of the probes asks for it and the spread around the model allows it
(empirical Bayes: James and Stein 1961). S_i is S without column i; for incoherent columns the model is nearly exact
(it is what approximate message passing takes for granted), and with more probes single entries count for more.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from recon import Diagonal, Kronecker, Matrix, Operator
from recon.arrays import Array, ArraySpec, as_numpy, from_numpy, members, namespace, real_like, zeros
from recon.linalg import normal
from recon.operator import Product, Scaled, capability

__all__ = ["Determined", "column_energy", "determined", "real_part", "signs", "total"]

_UNITS = 1024  # up to so many unknowns the products with all unit vectors are cheap
_DRAWS = 16  # probes for the column energies


def real_part(x: Array) -> Any:
    """x, or its real part where it is complex."""
    xp = namespace(x)
    return xp.real(x) if xp.isdtype(x.dtype, "complex floating") else x


def total(x: Array) -> float:
    """The sum of all entries, in double precision."""
    xp = namespace(x)
    return float(xp.sum(x, dtype=xp.float64))


def signs(spec: ArraySpec, like: Array, count: int, *key: int) -> Array:
    """Random signs (count, ...) of a spec, drawn on the CPU: a key gives the same ones on every device."""
    drawn = np.random.default_rng(key).integers(0, 2, (count, *spec.shape), dtype=np.int8)
    return from_numpy(2 * drawn - 1, like, dtype=zeros(spec, like).dtype)


# --- diag(A^H A) -----------------------------------------------------------------------------------------


def column_energy(operator: Operator, like: Array, seed: int) -> tuple[Array, bool]:
    """diag(A^H A) in the domain's shape, and whether it is exact; else from 16 probes.

    Exact for matrices, Kronecker products and multiples of such, operators with A^H A = c I, and up to 1024 unknowns.
    """
    spec = members(operator.domain)[0]
    values = _known_energy(operator)
    if values is None and spec.size <= _UNITS:
        values = _by_units(operator)
    if values is not None:
        return real_like(np.broadcast_to(values, spec.shape), like), True
    xp = namespace(like)
    first = second = real_like(np.zeros(spec.shape), like)
    for k in range(_DRAWS):
        z = signs(spec, like, 1, seed, 1, k)
        one = real_part(z * normal(operator, z))[0, ...]
        first, second = first + one / _DRAWS, second + one**2 / _DRAWS
    noise = (second - first**2) / (_DRAWS - 1)
    mean = total(first) / spec.size
    spread = max(total((first - mean) ** 2) / spec.size - total(noise) / spec.size, 0.0)
    weight = _share(xp, spread * xp.ones_like(noise), noise)
    return xp.maximum(mean + weight * (first - mean), 0.01 * mean * xp.ones_like(first)), False


def _known_energy(operator: Operator) -> Any:
    """diag(A^H A) as NumPy numbers of the domain's shape or one number; None where the operator does not tell."""
    scale = capability(operator.H, "row_scale")
    if scale:
        return float(scale())
    shape = members(operator.domain)[0].shape
    if isinstance(operator, Diagonal):
        return np.abs(operator.values) ** 2
    if isinstance(operator, Matrix):
        return (np.abs(operator.matrix) ** 2).sum(0).reshape(shape)
    if isinstance(operator, Scaled):
        inner = _known_energy(operator.operator)
        return None if inner is None else abs(operator.scalar) ** 2 * inner
    if isinstance(operator, Kronecker):
        parts = [_known_energy(factor) for factor in operator.factors]
        if any(part is None for part in parts):
            return None
        result: Any = np.ones(())
        for part, factor in zip(parts, operator.factors, strict=True):
            result = result[..., None] * np.broadcast_to(part, members(factor.domain)[0].shape)
        return result
    if isinstance(operator, Product):
        left, right = operator.left, operator.right
        if isinstance(left, Diagonal) and isinstance(right, Matrix):
            rows = np.abs(np.asarray(left.values)).reshape(-1) ** 2
            return (rows @ np.abs(right.matrix) ** 2).reshape(shape)
        if isinstance(right, Diagonal):
            inner = _known_energy(left)
            return None if inner is None else inner * np.abs(right.values) ** 2
    return None


def _by_units(operator: Operator) -> Any:
    spec = members(operator.domain)[0]
    kind = np.complex128 if spec.kind == "complex" else np.float64
    found = []
    for start in range(0, spec.size, 64):
        units = np.eye(spec.size, dtype=kind)[start : start + 64].reshape(-1, *spec.shape)
        images = as_numpy(operator @ units)
        found.append((np.abs(images) ** 2).reshape(len(units), -1).sum(1))
    return np.concatenate(found).reshape(spec.shape)


# --- diag(E^(-1)) ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Determined:
    """How far the data determine each entry, 1 - Sigma_ii / g_i in [0, 1), and the rest to 1, without cancellation."""

    taken: Array
    left: Array


def determined(moved: Array, z: Array, q: Array, pooled: bool, exact: bool, count: int) -> Determined:
    """1 - Sigma_ii / g_i and Sigma_ii / g_i from the probes, where Sigma_ii / g_i = e_i / (1 + q_i).

    Parameters
    ----------
    moved
        E^(-1) z - z, (probes, ...).
    z
        The signs, 0 where pruned.
    q
        g_i d_i / s2, 0 where pruned.
    pooled
        Draw single entries towards the model.
    exact
        Whether d is exact: then e_i >= 1.
    count
        Number of data: sum of 1 - Sigma_ii / g_i is below it.
    """
    xp, probes = namespace(q), z.shape[0]
    each = real_part(z * moved)
    f = xp.mean(each, axis=0)  # e - 1
    share = 1.0 / (1.0 + q)
    most = q * share if exact else 2.0 * q / (1.0 + 2.0 * q)
    if not pooled:
        taken = _clip(xp, (q - f) * share, 0.0 * q, most)
        return Determined(taken, _clip(xp, (1.0 + f) * share, 1.0 - most, xp.ones_like(q)))
    # few probes may tell of more determined numbers than there are data: then nothing would be sparse
    k = _common(q, min(total((q - f) * share), 0.99 * count), count)
    model = 1.0 / (1.0 + k * q)
    noise = (xp.mean(each * each, axis=0) - f * f) / max(probes - 1, 1)
    noise = xp.where(noise > 0.0, noise, xp.zeros_like(noise))
    off = f - (1.0 - k) * q * model
    slope = ((1.0 + q) * model * (k * q * model)) ** 2  # (d e0 / d log k)^2
    steepness = total(slope)
    spread = max((total(off * off) - total(noise)) / steepness, 0.0) if steepness and probes > 1 else 0.0
    shift = share * off * _share(xp, spread * slope, noise)
    least = 0.05 * k * q / (1.0 + 0.05 * k * q)
    taken = _clip(xp, k * q * model - shift, least, xp.maximum(most, least))
    left = _clip(xp, model + shift, xp.minimum(1.0 - most, model), 1.0 / (1.0 + 0.05 * k * q))
    return Determined(taken, left)


def _common(q: Array, goal: float, count: int) -> float:
    """k in (0, 1] with sum k q / (1 + k q) = goal, as near as it can be."""
    size = total(q)
    if not 0.0 < size < math.inf:
        return 1.0
    low, high = math.log(0.1 / (1.0 + size / count)), 0.0
    at = min(max(math.log(max(goal, 1e-30) / size), low), high)
    for _ in range(60):
        m = q * (math.exp(at) / (1.0 + math.exp(at) * q))
        value = total(m)
        low, high = (at, high) if value < goal else (low, at)
        rise = total(m * (1.0 - m))
        new = at + (goal - value) / rise if rise else low
        if not low < new < high:
            new = 0.5 * (low + high)
        if abs(new - at) < 1e-13 or high - low < 1e-13:
            break
        at = new
    return math.exp(at)


def _share(xp: Any, signal: Array, noise: Array) -> Any:
    """signal / (signal + noise), 0 where both are 0."""
    below = signal + noise
    return xp.where(below > 0, signal / xp.where(below > 0, below, xp.ones_like(below)), xp.zeros_like(below))


def _clip(xp: Any, x: Array, low: Array, high: Array) -> Any:
    return xp.minimum(xp.maximum(x, low), high)
