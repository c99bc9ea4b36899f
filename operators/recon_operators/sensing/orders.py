"""Orders of the Walsh-Hadamard patterns: which row of the natural matrix comes first, second, ...

    natural           i -> i                              H_2n = [[H_n, H_n], [H_n, -H_n]]
    dyadic (Paley)    i -> bit-reverse(i)
    sequency (Walsh)  i -> bit-reverse(i XOR i >> 1)      row i changes its sign i times
    cake-cutting      by the number of pieces that the pattern cuts the image into
    total-variation   by the number of neighbouring pixels of different sign

The last two look at patterns as images. A pattern is the product of one Walsh function per axis; with s_k
changes of sign along axis k of length n_k it has prod_k (s_k + 1) pieces, and sum_k s_k n / n_k neighbours
differ. Patterns with equal numbers follow in the order of s_0, then s_1, ...
"""

from __future__ import annotations

import math
from typing import Any, Literal, TypeAlias

import numpy as np

from recon.errors import ParameterError

__all__ = ["Order", "hadamard_order"]

Order: TypeAlias = Literal["natural", "dyadic", "sequency", "cake-cutting", "total-variation"]


def hadamard_order(shape: int | tuple[int, ...], order: Order = "sequency") -> np.ndarray[Any, Any]:
    """Natural index of the i-th pattern, for i = 0 ... n - 1.

    Parameters
    ----------
    shape
        Shape of the image, or the length of a vector; every axis a power of two. "natural", "dyadic" and
        "sequency" depend on the number of pixels only (in C order).
    order
        One of the names above.

    Returns
    -------
    numpy.ndarray
        A permutation of 0 ... n - 1.

    Raises
    ------
    ParameterError
        When an axis is no power of two, or the order is unknown.

    Notes
    -----
    Source: W.-K. Yu, Sensors 19 (2019) 4122, doi:10.3390/s19194122 (cake-cutting); X. Yu, R. I. Stantchev, F. Yang,
    E. Pickwell-MacPherson, Sci. Rep. 10 (2020) 9338, doi:10.1038/s41598-020-66371-5 (total variation).
    """
    sizes = tuple(np.atleast_1d(shape).tolist())
    if not sizes or any(not isinstance(n, int) or n < 1 or n & (n - 1) for n in sizes):
        raise ParameterError(
            f"hadamard_order.shape must be powers of two, got {sizes}. Pad the image with zeros."
        )
    count = math.prod(sizes)
    if order == "natural":
        return np.arange(count)
    if order == "dyadic":
        return _reverse_bits(np.arange(count), count)
    if order == "sequency":
        return _by_sequency(count)
    if order not in ("cake-cutting", "total-variation"):
        raise ParameterError(
            f"hadamard_order.order must be one of natural, dyadic, sequency, cake-cutting, total-variation, "
            f"got {order!r}."
        )
    changes = np.indices(sizes).reshape(len(sizes), count)
    natural = np.ravel_multi_index([_by_sequency(n)[s] for n, s in zip(sizes, changes, strict=True)], sizes)
    if order == "cake-cutting":
        rank = np.prod(changes + 1, axis=0)
    else:
        rank = sum(s * (count // n) for s, n in zip(changes, sizes, strict=True))
    return natural[np.argsort(rank, kind="stable")]


def _by_sequency(n: int) -> np.ndarray[Any, Any]:
    i = np.arange(n)
    return _reverse_bits(i ^ (i >> 1), n)


def _reverse_bits(values: np.ndarray[Any, Any], n: int) -> np.ndarray[Any, Any]:
    result = np.zeros_like(values)
    for bit in range(n.bit_length() - 1):
        result = 2 * result + (values >> bit & 1)
    return result
