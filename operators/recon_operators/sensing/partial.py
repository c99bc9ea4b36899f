"""Some coefficients of a cosine or of a Walsh-Hadamard transform.

    A x = R T D x      T orthonormal, R keeps rows, D = random signs if asked       A A^H = I

Stored is one index per row; a product costs one fast transform.
"""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass
from typing import Annotated, Literal

import numpy as np

from recon.arrays import Array, Kind, namespace
from recon.errors import ParameterError
from recon.params import Doc
from recon_operators._tight import TightRows
from recon_operators.sensing._dct import dct
from recon_operators.sensing._partial import Index, PartialUnitary
from recon_operators.sensing.fwht import fwht
from recon_operators.sensing.orders import Order, hadamard_order

__all__ = ["PartialDct", "PartialHadamard"]


@dataclass(frozen=True, eq=False, repr=False)
class PartialDct(TightRows, PartialUnitary):
    """Some coefficients of the orthonormal cosine transform of a signal, image or volume.

    Parameters
    ----------
    domain_shape
        Axes of a sample; all are transformed.
    rows
        How many coefficients to draw at random, or their indices in C order, or a mask of the domain's shape.
    scramble
        Whether to give every sample a random sign first.
    seed
        Seed of the rows and signs.
    variant
        "II" (the DCT of JPEG) or "III" (its inverse).
    kind
        "real" or "complex" samples.

    Raises
    ------
    ParameterError
        When an argument breaks its rule.

    Notes
    -----
    Formula: (A x)[j] = (C D x)[rows[j]], C the orthonormal DCT along every axis, D = diag(+-1) or I; A A^H = I
    Shapes: domain_shape -> (number of rows,)
    Units: those of x
    Cost: one cosine transform, O(n log n), about 4 ns per sample for a 512 x 512 float32 image on one core
    Source: N. Ahmed, T. Natarajan, K. R. Rao, IEEE Trans. Comput. C-23 (1974) 90, doi:10.1109/T-C.1974.223784;
    random signs: T. T. Do, L. Gan, N. H. Nguyen, T. D. Tran, IEEE Trans. Signal Process. 60 (2012) 139,
    doi:10.1109/TSP.2011.2170977

    Examples
    --------
    >>> A = PartialDct((512, 512), rows=60_000, scramble=True)
    >>> y = A @ image  # (60000,)
    """

    _: KW_ONLY
    variant: Annotated[Literal["II", "III"], Doc("type of the transform")] = "II"
    kind: Annotated[Kind, Doc("real or complex samples")] = "real"

    @property
    def _kinds(self) -> tuple[Kind, Kind]:
        return self.kind, self.kind

    def _transform(self, x: Array) -> Array:
        return dct(x, len(self.domain_shape), self.variant)

    def _inverse(self, z: Array) -> Array:
        return dct(z, len(self.domain_shape), "III" if self.variant == "II" else "II")

    @classmethod
    def example(cls) -> PartialDct:
        """A small instance: 12 of the 5 x 8 coefficients, scrambled."""
        return cls((5, 8), 12, scramble=True)


@dataclass(frozen=True, eq=False, repr=False)
class PartialHadamard(TightRows, PartialUnitary):
    """Some coefficients of the orthonormal Walsh-Hadamard transform; additions only.

    Parameters
    ----------
    domain_shape
        Axes of a sample, each a power of two.
    rows
        How many coefficients to draw at random, or their numbers in `order`, or a mask of the domain's shape.
    scramble
        Whether to give every sample a random sign first.
    seed
        Seed of the rows and signs.
    order
        What row number i means; see :func:`hadamard_order`.
    kind
        "real" or "complex" samples.

    Raises
    ------
    ParameterError
        When an argument breaks its rule.

    Notes
    -----
    Formula: (A x)[j] = (H D x)[order[rows[j]]] / sqrt(n), H = (-1)^popcount(k AND i), D = diag(+-1) or I; A A^H = I
    Shapes: domain_shape -> (number of rows,)
    Units: those of x
    Cost: n log2(n) additions, about 0.8 ns per sample for 2^20 float32 on one core (numba; 20 times that without)
    Source: W. K. Pratt, J. Kane, H. C. Andrews, Proc. IEEE 57 (1969) 58, doi:10.1109/PROC.1969.6869; random signs:
    T. T. Do, L. Gan, N. H. Nguyen, T. D. Tran, IEEE Trans. Signal Process. 60 (2012) 139, doi:10.1109/TSP.2011.2170977

    Examples
    --------
    >>> A = PartialHadamard((1024, 1024), rows=100_000, scramble=True)
    >>> y = A @ image  # (100000,)
    """

    _: KW_ONLY
    order: Annotated[Order, Doc("what row number i means")] = "natural"
    kind: Annotated[Kind, Doc("real or complex samples")] = "real"

    def _check_shape(self) -> None:
        if any(n & (n - 1) for n in self.domain_shape):
            raise ParameterError(
                f"{type(self).__name__}.domain_shape must be powers of two, got {self.domain_shape}. "
                "Pad the samples with zeros."
            )

    @property
    def _kinds(self) -> tuple[Kind, Kind]:
        return self.kind, self.kind

    @property
    def _scale(self) -> float:
        return 1.0 / math.sqrt(math.prod(self.domain_shape))

    def _places(self) -> Index:
        assert isinstance(self.rows, np.ndarray)
        if self.order == "natural":
            return self.rows
        return np.asarray(hadamard_order(self.domain_shape, self.order)[self.rows])

    def _transform(self, x: Array) -> Array:
        # of an array in C order: the transform of every axis
        batch = x.shape[: x.ndim - len(self.domain_shape)]
        return fwht(namespace(x).reshape(x, (*batch, math.prod(self.domain_shape))))

    def _inverse(self, z: Array) -> Array:
        return namespace(z).reshape(self._transform(z), z.shape)

    @classmethod
    def example(cls) -> PartialHadamard:
        """A small instance: 12 of the 4 x 8 coefficients, scrambled."""
        return cls((4, 8), 12, scramble=True)
