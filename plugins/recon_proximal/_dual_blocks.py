"""The terms h_b(K_b x) of a primal-dual method: their norms, their dual steps, and how far the duals have travelled.

    y_b = prox_(s_b h_b*)(v_b + s_b K_b x),   back = sum_b K_b^H y_b,   load = sqrt(B sum_b ||K_b||^2 ||y_b||^2)

B is the number of blocks: dual steps s_b = c / (B ||K_b||^2) give every block the same share of the bound
sum_b s_b ||K_b||^2 = c.
"""

from __future__ import annotations

from typing import Any

from recon import Problem
from recon.arrays import Array, norm, tmap
from recon.linalg import axpy
from recon.linalg import norm as operator_norm
from recon.operator import Operator, total
from recon.priors import prox_conjugate

__all__ = ["CORRECT_AT", "Splits", "ascend", "back", "begin", "load", "squares"]

Splits = list[tuple[Any, Operator]]

CORRECT_AT = frozenset(10 * 2**k for k in range(7))
"""Iterations at which the balance is corrected; then it stays, so that convergence is that of fixed steps."""


def squares(problem: Problem, splits: Splits) -> tuple[float, ...]:
    """||K_b||^2, 1 for an empty operator."""
    return tuple(operator_norm(k, like=problem.data) ** 2 or 1.0 for _, k in splits)


def begin(splits: Splits, x: Array) -> tuple[Array, ...]:
    """Zero duals."""
    return tuple(tmap(lambda leaf: 0 * leaf, k @ x) for _, k in splits)


def ascend(splits: Splits, duals: tuple[Array, ...], steps: list[float], x: Array) -> tuple[Array, ...]:
    """The dual step of every block."""
    return tuple(
        prox_conjugate(outer, axpy(s, k @ x, v), s)
        for (outer, k), v, s in zip(splits, duals, steps, strict=True)
    )


def back(splits: Splits, duals: tuple[Array, ...], x: Array) -> Array:
    """sum_b K_b^H y_b, zeros like x without blocks."""
    parts = [k.H @ y for (_, k), y in zip(splits, duals, strict=True)]
    return total(parts) if parts else tmap(lambda leaf: 0 * leaf, x)


def load(duals: tuple[Array, ...], norms: tuple[float, ...]) -> float:
    """The length of all duals, in units of the image."""
    return float((len(norms) * sum(n * norm(y) ** 2 for y, n in zip(duals, norms, strict=True))) ** 0.5)
