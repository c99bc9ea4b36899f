"""Random numbers from a seed that are the same on every machine, device and day.

    generator (seed, stream...) = SFC64 seeded by SeedSequence(seed, spawn_key=stream)

Both are frozen parts of NumPy: signs and permutations are made from their raw bits only. Normal numbers come
from Generator.standard_normal in single precision, which NumPy may change one day; a test holds values.
"""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["normals", "permutation", "sign_words", "signs"]


def _source(seed: int, stream: tuple[int, ...]) -> np.random.SFC64:
    return np.random.SFC64(np.random.SeedSequence(seed, spawn_key=stream))


def normals(seed: int, stream: tuple[int, ...], out: np.ndarray[Any, Any]) -> None:
    """Fill a float32 array with N(0, 1)."""
    np.random.Generator(_source(seed, stream)).standard_normal(dtype=np.float32, out=out)


def sign_words(seed: int, stream: tuple[int, ...], rows: int, count: int) -> np.ndarray[Any, Any]:
    """Rows of `count` random bits, 64 to an unsigned number, the lowest first; a row fills whole numbers."""
    words = -(-count // 64)
    return _source(seed, stream).random_raw(rows * words).reshape(rows, words)


def signs(words: np.ndarray[Any, Any], count: int) -> np.ndarray[Any, Any]:
    """The bits of every row as int8 numbers: +1 for 0, -1 for 1."""
    octets = words.astype("<u8", copy=False).view(np.uint8)
    return 1 - 2 * np.unpackbits(octets, axis=-1, count=count, bitorder="little").view(np.int8)


def permutation(seed: int, stream: tuple[int, ...], count: int) -> np.ndarray[Any, Any]:
    """A random order of 0 ... count - 1: that of raw 64-bit keys."""
    return np.argsort(_source(seed, stream).random_raw(count), kind="stable")
