"""Hiding entries of an image: inpainting, dead pixels, missing traces.

    (A x)[i] = m[i] x[i],  m[i] = 0 or 1

The data keep the shape of the image and are 0 where it is hidden. A = A^H = A^2, a projection.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np

from recon import Identity, Operator
from recon.arrays import Array, as_numpy, real_like
from recon.constants import follow
from recon.errors import ParameterError
from recon.params import Doc, Parameters, check, short
from recon.svd import Svd
from recon_operators.sampling._rows import DataKind, settle

__all__ = ["Mask"]


class _MaskPlan:
    def __init__(self, values: Any) -> None:
        self.values = values

    def apply(self, x: Array) -> Array:
        return self.values * x

    adjoint = apply


@dataclass(frozen=True, eq=False, repr=False)
class Mask(Parameters, Operator):
    """An image with some of its entries set to 0.

    Parameters
    ----------
    mask
        Array of the image's shape: 1 or True where the image is seen, 0 or False where it is hidden.
    kind
        ``"real"`` or ``"complex"``.

    Raises
    ------
    ParameterError
        When the mask holds anything else.

    Notes
    -----
    Formula: (A x)[i] = m[i] x[i], m[i] = 0 or 1
    Shapes: image shape -> image shape, 0 where hidden
    Units: those of the image
    Cost: one multiplication per entry each way; memory: the mask in the precision of the data
    Source: M. Bertalmio et al., "Image inpainting", SIGGRAPH 2000, 417, doi:10.1145/344779.344972

    Examples
    --------
    >>> A = Mask(np.random.default_rng(0).random((64, 64)) < 0.3)
    >>> data = A @ image
    """

    mask: Annotated[np.ndarray[Any, Any], Doc("1 where the image is seen, 0 where it is hidden")]
    kind: DataKind = "real"

    def __post_init__(self) -> None:
        check(self)
        try:
            values = np.asarray(as_numpy(self.mask))
            mask = values.astype(bool)
            binary = values.ndim > 0 and values.size > 0 and bool((mask == values).all())
        except (TypeError, ValueError):
            binary = False
        if not binary:
            raise ParameterError(
                f"Mask.mask must be an array of 0 and 1, or of booleans, got {short(self.mask)}. "
                "Use Diagonal for weights."
            )
        mask.setflags(write=False)
        settle(self, mask.shape, mask.shape, mask=mask)

    @classmethod
    def example(cls) -> Mask:
        """A small instance: 5 x 4 entries, every third hidden."""
        return cls((np.arange(20) % 3 > 0).reshape(5, 4))

    def plan(self, xp: Any, device: Any, dtype: Any) -> _MaskPlan:
        return _MaskPlan(follow(self.mask.astype(np.float32), xp, device, dtype))

    def normal(self, x: Array) -> Array:
        """A x, for A^H A = A."""
        return self._forward(x)

    def norm_bound(self) -> float:
        """1, or 0 where everything is hidden: exactly the norm."""
        return float(self.mask.any())

    def absolute_sums(self, like: Array) -> tuple[Array, Array]:
        """The mask, in rows and columns."""
        sums = real_like(self.mask.astype(float), like)
        return sums, sums

    def pinv(self, y: Array) -> Array:
        """A y: the image that is 0 where nothing was seen."""
        return self._forward(y)

    def data_prox(self, v: Array, data: Array, rho: float) -> Array:
        """(data + rho v) / (1 + rho) where the image is seen, v where it is hidden."""
        x = self._forward(data - v)
        x *= 1.0 / (1.0 + rho)
        x += v
        return x

    def svd(self) -> Svd:
        """The identity, the mask and the identity."""
        return Svd(Identity(self.domain), self.mask.astype(float), Identity(self.domain))
