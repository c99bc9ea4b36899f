"""Dense random matrices that are given by a seed: kept in memory, or drawn again block by block in every product.

    gaussian     A = G / sqrt(m)              G[i, j] ~ N(0, 1)
    bernoulli    A = B / sqrt(m)              B[i, j] = +1 or -1
    complex      A = (G1 + i G2) / sqrt(2 m), likewise for B

so that E A^H A = I. The rows come in blocks of at most `_BLOCK` entries (or of one row); block b has its own
generator, seeded by (seed, b): blocks do not depend on each other, nor on how many are kept. G is drawn in single
precision and used as it is in double precision too, and the factor is applied to y: one seed is one matrix, to
the last bit, whatever the precision, library and device of the data. Signs are kept and multiplied as bits where
there is a kernel for it (`_signs_numba`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass
from typing import Annotated, Any, Literal

import array_api_compat as compat
import numpy as np
from annotated_types import Ge, Gt, MinLen

from recon.arrays import ArraySpec, Kind
from recon.operator import Operator
from recon.params import Doc, check
from recon_operators.sensing._dense_plan import DensePlan
from recon_operators.sensing._seeded import normals, sign_words, signs
from recon_operators.sensing._signs_plan import SignsPlan

__all__ = ["RandomMatrix"]

_BLOCK, _STREAM = 2**20, 2
"""Entries of a block, and the stream of the seed: part of what a seed means, not to be changed."""


@dataclass(frozen=True, eq=False, repr=False)
class RandomMatrix(Operator):
    """A random matrix with independent entries of variance 1 / m, real or complex.

    Parameters
    ----------
    m
        Number of rows: measurements.
    domain_shape
        Axes of a sample, read in C order.
    distribution
        "gaussian" or "bernoulli" (signs).
    seed
        Seed of the entries.
    kind
        "real" or "complex" matrix, samples and data.
    stored_limit
        Bytes up to which the matrix is kept in memory, once per library and precision. A larger one is drawn
        again in every product, with one block of it in memory at a time (4 to 16 MB).

    Raises
    ------
    ParameterError
        When an argument breaks its rule.

    Notes
    -----
    Formula: A x = G x / sqrt(m), G with independent N(0, 1) or +-1 entries; complex: (G1 + i G2) x / sqrt(2 m)
    Shapes: domain_shape -> (m,)
    Units: those of x
    Cost: 0.15 ns per entry (float32, one core), bound by reading 4 m n bytes; drawn again 5 to 12 ns per entry.
    Signs, NumPy data: m n / 8 bytes and 0.02 to 0.03 ns per entry with numba, drawn again 0.09 ns
    Source: E. Candes, T. Tao, IEEE Trans. Inf. Theory 52 (2006) 5406, doi:10.1109/TIT.2006.885507; R. Baraniuk,
    M. Davenport, R. DeVore, M. Wakin, Constr. Approx. 28 (2008) 253, doi:10.1007/s00365-007-9003-x

    Examples
    --------
    >>> A = RandomMatrix(614, (2048,))
    >>> y = A @ x  # (614,)
    """

    m: Annotated[int, Gt(0), Doc("number of rows")]
    domain_shape: Annotated[tuple[Annotated[int, Gt(0)], ...], MinLen(1), Doc("axes of a sample")]
    distribution: Annotated[Literal["gaussian", "bernoulli"], Doc("of the entries")] = "gaussian"
    _: KW_ONLY
    seed: Annotated[int, Ge(0), Doc("seed of the entries")] = 0
    kind: Annotated[Kind, Doc("real or complex matrix")] = "real"
    stored_limit: Annotated[float, Ge(0), Doc("bytes up to which the matrix is kept")] = 1e9

    def __post_init__(self) -> None:
        check(self)
        domain, codomain = ArraySpec(self.domain_shape, self.kind), ArraySpec((self.m,), self.kind)
        for name, value in (("domain", domain), ("codomain", codomain)):
            object.__setattr__(self, name, value)

    def plan(self, xp: Any, device: Any, dtype: Any) -> DensePlan | SignsPlan:
        if self.distribution == "bernoulli" and compat.is_numpy_namespace(xp) and SignsPlan.available():
            return SignsPlan(self)
        return DensePlan(self, xp, device, dtype)

    @property
    def scale(self) -> float:
        """The factor between G and A."""
        return 1 / math.sqrt(self._parts * self.m)

    def blocks(self) -> Iterator[np.ndarray[Any, Any]]:
        """The rows of G, the matrix without its factor, block by block: float32 or complex64 arrays (rows, n)."""
        count = self.row_length
        for b, rows in self._block_rows():
            block = np.empty((rows, count), np.float32)
            if self.distribution == "gaussian":
                normals(self.seed, (_STREAM, b), block)
            else:
                block[...] = signs(sign_words(self.seed, (_STREAM, b), rows, count), count)
            yield block.view(np.complex64) if self.kind == "complex" else block

    def words(self) -> Iterator[np.ndarray[Any, Any]]:
        """The same for signs, as bits: 64 of a row in an unsigned number, real before imaginary part."""
        for b, rows in self._block_rows():
            yield sign_words(self.seed, (_STREAM, b), rows, self.row_length)

    @property
    def row_length(self) -> int:
        """Real numbers in a row of G."""
        return self._parts * math.prod(self.domain_shape)

    @property
    def _parts(self) -> int:
        return 2 if self.kind == "complex" else 1

    def _block_rows(self) -> Iterator[tuple[int, int]]:
        rows = max(1, _BLOCK // math.prod(self.domain_shape))
        for b in range(-(-self.m // rows)):
            yield b, min(rows, self.m - b * rows)

    @classmethod
    def example(cls) -> RandomMatrix:
        """A small instance: 6 x 20."""
        return cls(6, (4, 5))
