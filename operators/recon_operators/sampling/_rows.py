"""What most samplings share: rows that are orthogonal and of one length.

    A A^H = gain I
    A^+ = A^H / gain        A = I sqrt(gain) (A^H / sqrt(gain))^H, its singular value decomposition
    argmin 1/2 ||A x - y||^2 + rho/2 ||x - v||^2 = v + A^H (y - A v) / (gain + rho)

and that no entry is negative, so that the sums of |A| are A 1 and A^T 1.
"""

from __future__ import annotations

import math
from typing import Annotated, Any

import numpy as np
from annotated_types import Gt, MinLen

from recon import Identity, Operator
from recon.arrays import Array, ArraySpec, Kind, real_like
from recon.errors import ParameterError
from recon.params import Doc
from recon.svd import Svd

__all__ = ["DataKind", "GridShape", "OrthogonalRows", "along", "per_axis", "settle"]

GridShape = Annotated[tuple[Annotated[int, Gt(0)], ...], MinLen(1), Doc("axes of the image")]
DataKind = Annotated[Kind, Doc("real or complex data")]


class OrthogonalRows(Operator):
    """Base: a subclass has the fields below and the two products; `gain` where it is not 1."""

    image_shape: tuple[int, ...]
    kind: Kind

    @property
    def gain(self) -> float:
        """The number in A A^H = gain I."""
        return 1.0

    def normal(self, x: Array) -> Array:
        """A^H A x: gain times the projection on the rows."""
        return self._adjoint(self._forward(x))

    def norm_bound(self) -> float:
        """sqrt(gain), exactly the norm."""
        return math.sqrt(self.gain)

    def absolute_sums(self, like: Array) -> tuple[Array, Array]:
        """A 1 and A^T 1, exact because no entry is negative."""
        ones = [np.ones(spec.shape, complex if self.kind == "complex" else float) for spec in self._specs]
        return real_like((self @ ones[0]).real, like), real_like((self.H @ ones[1]).real, like)

    @property
    def _specs(self) -> tuple[ArraySpec, ArraySpec]:
        assert isinstance(self.domain, ArraySpec)
        assert isinstance(self.codomain, ArraySpec)
        return self.domain, self.codomain

    def pinv(self, y: Array) -> Array:
        """A^H y / gain: the image of least norm with these data."""
        x = self._adjoint(y)
        return x if self.gain == 1.0 else x / self.gain

    def data_prox(self, v: Array, data: Array, rho: float) -> Array:
        """argmin 1/2 ||A x - data||^2 + rho/2 ||x - v||^2 = v + A^H (data - A v) / (gain + rho)."""
        x = self._adjoint((data - self._forward(v)) / (self.gain + rho))
        x += v
        return x

    def svd(self) -> Svd:
        """U the identity, s = sqrt(gain), V = A^H / sqrt(gain)."""
        root = math.sqrt(self.gain)
        return Svd(Identity(self.codomain), np.asarray(root), self.H if root == 1.0 else self.H / root)


def settle(operator: Any, shape: tuple[int, ...], data_shape: tuple[int, ...], **fields: Any) -> None:
    """Give a new operator its specs, made once because every product reads them, and its fields in final form."""
    specs = {"domain": ArraySpec(shape, operator.kind), "codomain": ArraySpec(data_shape, operator.kind)}
    for name, value in {**specs, **fields}.items():
        object.__setattr__(operator, name, value)


def per_axis(value: Any, shape: tuple[int, ...], owner: str) -> tuple[Any, ...]:
    """One value per axis from one value or a sequence of them."""
    if not isinstance(value, tuple):
        return (value,) * len(shape)
    if len(value) != len(shape):
        raise ParameterError(
            f"{owner} must have one value per axis of {shape}, got {len(value)}. Give {len(shape)}."
        )
    return value


def along(axis: int, index: Any) -> tuple[Any, ...]:
    """The index of `index` along an axis counted from the end (-1 is the last)."""
    return (Ellipsis, index, *[slice(None)] * (-1 - axis))
