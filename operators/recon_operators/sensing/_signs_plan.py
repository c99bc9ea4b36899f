"""Products with a random matrix of signs that stays packed in bits, for NumPy arrays.

    real       y = c S x                         x = c S^T y
    complex    G = S1 + i S2, whose columns alternate in S = [s1, s2, s1, s2, ...]; with x = a + i b

        Re y / c = S [a, -b, ...]                Re x / c = S1^T Re y + S2^T Im y
        Im y / c = S [b,  a, ...]                Im x / c = S1^T Im y - S2^T Re y

so that the one real product of `_signs_numba` serves both.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from recon_operators.sensing.random_matrix import RandomMatrix

__all__ = ["SignsPlan"]

Values = np.ndarray[Any, Any]


class SignsPlan:
    """The products, by all bits at once or by one block after the other."""

    def __init__(self, A: RandomMatrix) -> None:
        from recon_operators.sensing import _signs_numba as kernel

        self.A, self.kernel = A, kernel
        size = 8 * A.m * -(-A.row_length // 64)
        self.kept = np.concatenate(list(A.words())) if size <= A.stored_limit else None

    @staticmethod
    def available() -> bool:
        """Whether the kernel can be imported; it reads bits as little-endian machines keep them."""
        try:
            from recon_operators.sensing import _signs_numba  # noqa: F401
        except ImportError:
            return False
        return sys.byteorder == "little"

    def apply(self, x: Values) -> Values:
        batch = x.shape[: x.ndim - len(self.A.domain_shape)]
        flat = np.ascontiguousarray(x).reshape(math.prod(batch), math.prod(self.A.domain_shape))
        if self.A.kind == "real":
            y = self._signs_times(flat)
        else:
            y = self._signs_times(flat.conj().view(flat.real.dtype)) + 0j
            y.imag = self._signs_times((1j * flat.conj()).view(flat.real.dtype))
        y *= self.A.scale
        return y.reshape(*batch, self.A.m)

    def adjoint(self, y: Values) -> Values:
        flat = y.reshape(math.prod(y.shape[:-1]), self.A.m) * y.real.dtype.type(self.A.scale)
        if self.A.kind == "real":
            x = self._times_signs(flat)
        else:
            real, imag = self._times_signs(flat.real), self._times_signs(flat.imag)
            x = np.empty((len(flat), math.prod(self.A.domain_shape)), y.dtype)
            x.real, x.imag = real[:, ::2] + imag[:, 1::2], imag[:, ::2] - real[:, 1::2]
        return x.reshape(*y.shape[:-1], *self.A.domain_shape)

    def _signs_times(self, x: Values) -> Values:
        parts = [self.kernel.signs_times(words, x) for words in self._words()]
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)

    def _times_signs(self, y: Values) -> Values:
        total, start = None, 0
        for words in self._words():
            stop = start + len(words)
            part = self.kernel.times_signs(words, y[:, start:stop], self.A.row_length)
            total, start = part if total is None else total + part, stop
        assert total is not None
        return total

    def _words(self) -> Iterator[Values]:
        if self.kept is None:
            yield from self.A.words()
        else:
            yield self.kept
