"""Products with a dense random matrix, kept or made again block by block, on any array library.

y = c G x        x = c G^H y        G in blocks of rows; the factor c is applied to y
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from recon.arrays import Array

if TYPE_CHECKING:
    from recon_operators.sensing.random_matrix import RandomMatrix

__all__ = ["DensePlan"]


class DensePlan:
    """The products, by all rows at once or by one block after the other."""

    def __init__(self, A: RandomMatrix, xp: Any, device: Any, dtype: Any) -> None:
        self.A, self.xp, self.device = A, xp, device
        self.columns = math.prod(A.domain_shape)
        single = dtype in (xp.float32, xp.complex64)
        names = ("float32", "complex64") if single else ("float64", "complex128")
        self.dtype = names[A.kind == "complex"]
        self.kept = None
        if A.m * self.columns * np.dtype(self.dtype).itemsize <= A.stored_limit:
            self.kept = self._moved(self._matrix())

    def apply(self, x: Array) -> Array:
        batch = tuple(x.shape[: x.ndim - len(self.A.domain_shape)])
        flat = self.xp.reshape(x, (math.prod(batch), self.columns))
        parts = [self._times(flat, block.T) for block in self._blocks()]
        y = parts[0] if len(parts) == 1 else self.xp.concat(parts, axis=-1)
        return self.xp.reshape(y * self.A.scale, (*batch, self.A.m))

    def adjoint(self, y: Array) -> Array:
        # sum_i conj(G[i]) y[i] = conj(sum_i G[i] conj(y[i])): the matrix itself is not copied
        conj = self.xp.conj if self.A.kind == "complex" else (lambda array: array)
        flat = conj(self.xp.reshape(y, (math.prod(y.shape[:-1]), self.A.m)) * self.A.scale)
        x, start = None, 0
        for block in self._blocks():
            stop = start + block.shape[0]
            part = self._times(flat[:, start:stop], block)
            x, start = part if x is None else x + part, stop
        return self.xp.reshape(conj(x), (*y.shape[:-1], *self.A.domain_shape))

    def _times(self, rows: Array, matrix: Array) -> Array:
        """Rows times matrix; one row as a vector, for which BLAS has the faster routine."""
        if rows.shape[0] != 1:
            return rows @ matrix
        return self.xp.expand_dims(rows[0, :] @ matrix, axis=0)

    def _blocks(self) -> Iterator[Any]:
        if self.kept is not None:
            yield self.kept
            return
        for block in self.A.blocks():
            yield self._moved(block.astype(self.dtype, copy=False))

    def _matrix(self) -> np.ndarray[Any, Any]:
        matrix = np.empty((self.A.m, self.columns), self.dtype)
        start = 0
        for block in self.A.blocks():
            matrix[start : start + len(block)] = block
            start += len(block)
        return matrix

    def _moved(self, block: np.ndarray[Any, Any]) -> Any:
        return self.xp.asarray(block, device=self.device)
