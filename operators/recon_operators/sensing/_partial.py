"""What partial transforms share: random signs, a unitary transform, and some of its coefficients.

    A = R T D      D = diag(+1 or -1) or I,  T unitary,  R keeps rows

The signs (one per sample of x) make a sparse signal spread over all coefficients whatever the basis that it is
sparse in; without them T itself must do that.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import KW_ONLY, dataclass
from typing import Annotated, Any

import array_api_compat as compat
import numpy as np
from annotated_types import Ge, Gt, MinLen

from recon.arrays import Array, ArraySpec, Kind
from recon.constants import follow
from recon.errors import ParameterError
from recon.operator import Operator
from recon.params import Doc, check, short
from recon_operators.sensing._seeded import permutation, sign_words, signs

__all__ = ["PartialUnitary", "chosen_rows"]

_ROWS, _SIGNS = (0,), (1,)  # streams of the seed

Index = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True, eq=False, repr=False)
class PartialUnitary(Operator):
    """Base of the partial transforms; a subclass defines `_transform`, `_inverse` and perhaps the rest below."""

    domain_shape: Annotated[tuple[Annotated[int, Gt(0)], ...], MinLen(1), Doc("axes of a sample")]
    rows: Annotated[
        int | np.ndarray[Any, Any],
        Doc("how many coefficients to draw, or their indices in C order, or a mask of the domain's shape"),
    ]
    _: KW_ONLY
    scramble: Annotated[bool, Doc("whether to give every sample a random sign first")] = False
    seed: Annotated[int, Ge(0), Doc("seed of the rows and signs")] = 0

    def __post_init__(self) -> None:
        check(self)
        self._check_shape()
        owner = f"{type(self).__name__}.rows"
        rows = chosen_rows(self.rows, self.domain_shape, self.seed, owner)
        domain, codomain = ArraySpec(self.domain_shape, self._kinds[0]), ArraySpec(rows.shape, self._kinds[1])
        for name, value in (("rows", rows), ("domain", domain), ("codomain", codomain)):
            object.__setattr__(self, name, value)

    # -- to be defined by a subclass ---------------------------------------------------------------------

    @property
    @abstractmethod
    def _kinds(self) -> tuple[Kind, Kind]:
        """Kind of the domain and of the codomain."""

    @property
    def _scale(self) -> float:
        """The factor that makes `_transform` unitary."""
        return 1.0

    def _check_shape(self) -> None:
        """Refuse shapes that the transform does not know."""

    def _places(self) -> Index:
        """Where the rows are among the coefficients of `_transform`, in C order."""
        assert isinstance(self.rows, np.ndarray)
        return self.rows

    @abstractmethod
    def _transform(self, x: Array) -> Array:
        """All coefficients of (..., *domain_shape), in an array of any shape with the same batch axes."""

    @abstractmethod
    def _inverse(self, z: Array) -> Array:
        """The adjoint of `_transform`, from coefficients in the domain's shape."""

    # -- what follows ------------------------------------------------------------------------------------

    def plan(self, xp: Any, device: Any, dtype: Any) -> _Plan:
        return _Plan(self, xp, device, dtype)


class _Plan:
    """Signs and rows in the library of the data.

    Libraries other than NumPy scatter y by reading from y with a zero at its end.
    """

    def __init__(self, operator: PartialUnitary, xp: Any, device: Any, dtype: Any) -> None:
        self.xp, self.operator = xp, operator
        self.shape, self.places = operator.domain_shape, operator._places()
        self.count = math.prod(self.shape)
        self.signs = None
        if operator.scramble:
            drawn = signs(sign_words(operator.seed, _SIGNS, 1, self.count), self.count)
            self.signs = follow(drawn.reshape(self.shape).astype(np.float64), xp, device, dtype)
        self.source = None
        if compat.is_numpy_namespace(xp):
            # writing in ascending order is far faster, most of all where the order is one of reversed bits
            self.order = np.argsort(self.places)
            self.ascending = self.places[self.order]
        else:
            source = np.full(self.count, self.places.size)
            source[self.places] = np.arange(self.places.size)
            self.source = xp.asarray(source, device=device)
            self.places = xp.asarray(self.places.copy(), device=device)

    def apply(self, x: Array) -> Array:
        batch = tuple(x.shape[: x.ndim - len(self.shape)])
        z = self.operator._transform(self.signed(x))
        kept = self.xp.take(self.xp.reshape(z, (*batch, self.count)), self.places, axis=-1)
        return self._scaled(kept)

    def adjoint(self, y: Array) -> Array:
        z = self.xp.reshape(self._spread(self._scaled(y)), (*y.shape[:-1], *self.shape))
        return self.signed(self.operator._inverse(z))

    def signed(self, x: Array) -> Array:
        """D x."""
        return x if self.signs is None else self.signs * x

    def _scaled(self, y: Array) -> Array:
        return y if self.operator._scale == 1.0 else self.operator._scale * y

    def _spread(self, y: Array) -> Array:
        if self.source is None:
            z = np.zeros((math.prod(y.shape[:-1]), self.count), y.dtype)
            for sample, values in zip(z, y.reshape(-1, y.shape[-1]), strict=True):
                sample[self.ascending] = values[self.order]
            return z
        rest = 0 * y[..., :1]
        return self.xp.take(self.xp.concat([y, rest], axis=-1), self.source, axis=-1)


def chosen_rows(rows: Any, shape: tuple[int, ...], seed: int, owner: str) -> Index:
    """Read-only indices in C order from a number (drawn, ascending), indices, or a mask.

    Raises
    ------
    ParameterError
        When nothing, too much, or something twice is asked for.
    """
    count = math.prod(shape)
    if isinstance(rows, int | np.integer) and not isinstance(rows, bool):
        if not 1 <= rows <= count:
            raise ParameterError(f"{owner} must be 1 to {count}, got {rows}. There is one row per sample.")
        index = np.sort(permutation(seed, _ROWS, count)[:rows])
    else:
        index = np.array(rows)
        if index.dtype == bool and index.shape == shape:
            index = np.flatnonzero(index)
        fits = index.ndim == 1 and index.size > 0 and index.dtype.kind in "iu"
        if not fits or index.min() < 0 or index.max() >= count or np.unique(index).size < index.size:
            raise ParameterError(
                f"{owner} must be a number, different indices from 0 to {count - 1}, or a boolean mask of shape "
                f"{shape} that keeps something, got {short(rows)}."
            )
    index = index.astype(np.int64)
    index.setflags(write=False)
    return index
