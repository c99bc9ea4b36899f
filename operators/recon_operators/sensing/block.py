"""Block compressed sensing: the image is cut into B x B blocks, and one small matrix measures each of them.

    y[k] = Phi x_k,   Phi of shape (ceil(gamma B^2), B^2),  Phi Phi^T = I,   x_k = block k in C order

With `permute` the pixels of the whole image are shuffled first, and block k is the k-th run of B^2 of them: every
measurement then sees pixels from everywhere. Either way A A^T = I, and all blocks go through one matrix product.
"""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge, Gt, Le

from recon.arrays import Array, ArraySpec
from recon.constants import follow
from recon.errors import ParameterError
from recon.params import Doc, check
from recon_operators._tight import TightRows
from recon_operators.sensing._orthonormal import orthonormal_rows
from recon_operators.sensing._seeded import permutation

__all__ = ["BlockSensing"]

_PIXELS = (4,)  # stream of the seed


@dataclass(frozen=True, eq=False, repr=False)
class BlockSensing(TightRows):
    """Every block of an image measured by the same random matrix with orthonormal rows.

    Parameters
    ----------
    image_shape
        (N_y, N_x), both multiples of `block`: pad the image where they are not.
    ratio
        Measurements per pixel gamma, 0 < gamma <= 1; a block gives ceil(gamma B^2) of them. For an exact number q
        write q / B**2: the matrices of ISTA-Net have 10, 43, 109, 272, 327, 436, 545 rows for B = 33.
    block
        Side B of a block.
    permute
        Whether to shuffle the pixels of the whole image first.
    seed
        Seed of the matrix and the permutation.

    Raises
    ------
    ParameterError
        When an argument breaks its rule.

    Notes
    -----
    Formula: y[i, j] = Phi vec(x[B i : B i + B, B j : B j + B]), Phi Phi^T = I; A A^T = I
    Shapes: image_shape -> (N_y / B, N_x / B, ceil(gamma B^2))
    Units: those of x
    Cost: 2 gamma B^2 flops per pixel in one matrix product; the matrix has gamma B^4 entries
    Source: L. Gan, "Block compressed sensing of natural images", DSP 2007, doi:10.1109/ICDSP.2007.4288604; protocol:
    J. Zhang, B. Ghanem, "ISTA-Net", CVPR 2018, doi:10.1109/CVPR.2018.00196; permutation: B. Chen et al.,
    "Invertible diffusion models for compressed sensing", arXiv:2403.17006

    Examples
    --------
    >>> A = BlockSensing((264, 264), 0.25, block=33)
    >>> y = A @ image  # (8, 8, 273)
    >>> start = A.H @ y  # the least-norm image
    """

    image_shape: Annotated[
        tuple[Annotated[int, Gt(0)], Annotated[int, Gt(0)]], Doc("rows and columns of the image")
    ]
    ratio: Annotated[float, Gt(0), Le(1), Doc("measurements per pixel")] = 0.25
    block: Annotated[int, Gt(0), Doc("side of a block")] = 32
    _: KW_ONLY
    permute: Annotated[bool, Doc("whether to shuffle all pixels first")] = False
    seed: Annotated[int, Ge(0), Doc("seed of the matrix and the permutation")] = 0

    def __post_init__(self) -> None:
        check(self)
        padded = tuple(-(-n // self.block) * self.block for n in self.image_shape)
        if padded != self.image_shape:
            raise ParameterError(
                f"BlockSensing.image_shape must be multiples of block = {self.block}, got {self.image_shape}. "
                f"Pad the image to {padded}."
            )
        measured = ArraySpec((*self.blocks, self._count))
        for name, value in (("domain", ArraySpec(self.image_shape)), ("codomain", measured)):
            object.__setattr__(self, name, value)

    @property
    def blocks(self) -> tuple[int, int]:
        """Rows and columns of blocks."""
        return self.image_shape[0] // self.block, self.image_shape[1] // self.block

    @property
    def _count(self) -> int:
        """ceil(gamma B^2), where gamma = q / B^2 gives q whatever the rounding of the quotient."""
        return max(1, math.ceil(self.ratio * self.block**2 - 1e-9))

    @property
    def matrix(self) -> np.ndarray[Any, Any]:
        """Phi, read-only, in double precision."""
        return np.asarray(self._once("matrix", self._made))

    def _made(self) -> np.ndarray[Any, Any]:
        matrix = orthonormal_rows(self._count, self.block**2, self.seed)
        matrix.setflags(write=False)
        return matrix

    def plan(self, xp: Any, device: Any, dtype: Any) -> _Plan:
        matrix = follow(self.matrix, xp, device, dtype)
        if not self.permute:
            return _Plan(self, xp, matrix)
        order = permutation(self.seed, _PIXELS, math.prod(self.image_shape))
        return _Permuted(
            self, xp, matrix, xp.asarray(order, device=device), xp.asarray(np.argsort(order), device=device)
        )

    @classmethod
    def example(cls) -> BlockSensing:
        """A small instance: 2 x 3 blocks of 4 x 4 pixels."""
        return cls((8, 12), 0.3, block=4)


class _Plan:
    """The two products; the blocks of a batch are rows of one matrix."""

    def __init__(self, A: BlockSensing, xp: Any, matrix: Any) -> None:
        self.A, self.xp, self.matrix = A, xp, matrix

    def apply(self, x: Array) -> Array:
        batch = tuple(x.shape[:-2])
        blocks = self.xp.reshape(self._cut(x), (-1, self.A.block**2))
        return self.xp.reshape(blocks @ self.matrix.T, (*batch, *self.A.blocks, self.matrix.shape[0]))

    def adjoint(self, y: Array) -> Array:
        blocks = self.xp.reshape(y, (-1, y.shape[-1])) @ self.matrix
        return self._join(blocks, tuple(y.shape[:-3]))

    def _cut(self, x: Array) -> Array:
        return self._swapped(x, (self.A.block, self.A.blocks[1], self.A.block), x.shape[:-2])

    def _join(self, blocks: Array, batch: tuple[int, ...]) -> Array:
        x = self._swapped(blocks, (self.A.blocks[1], self.A.block, self.A.block), batch)
        return self.xp.reshape(x, (*batch, *self.A.image_shape))

    def _swapped(self, x: Array, axes: tuple[int, ...], batch: tuple[int, ...]) -> Array:
        """The middle two of the axes (rows of blocks, *axes) exchanged."""
        x = self.xp.reshape(x, (*batch, self.A.blocks[0], *axes))
        return self.xp.moveaxis(x, -3, -2)


class _Permuted(_Plan):
    """Shuffled pixels instead of square blocks."""

    def __init__(self, A: BlockSensing, xp: Any, matrix: Any, order: Any, back: Any) -> None:
        super().__init__(A, xp, matrix)
        self.order, self.back = order, back

    def _cut(self, x: Array) -> Array:
        flat = self.xp.reshape(x, (*x.shape[:-2], math.prod(self.A.image_shape)))
        return self.xp.take(flat, self.order, axis=-1)

    def _join(self, blocks: Array, batch: tuple[int, ...]) -> Array:
        flat = self.xp.reshape(blocks, (*batch, math.prod(self.A.image_shape)))
        return self.xp.reshape(self.xp.take(flat, self.back, axis=-1), (*batch, *self.A.image_shape))
