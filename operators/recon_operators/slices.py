"""One operator on every slice of a volume: stacks of scans, frames of a film, bands of a cube.

    (A x)[k] = A0 x[k],   k = 0 ... count - 1

Operators take axes in front of an image as batch axes, so that the slices need no loop here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from annotated_types import Gt

from recon import Operator
from recon.arrays import Array, ArraySpec, namespace
from recon.errors import ShapeError
from recon.params import Doc, check
from recon.svd import Svd

__all__ = ["EachSlice"]


@dataclass(frozen=True, eq=False, repr=False)
class EachSlice(Operator):
    """An operator on images, applied to every slice of a volume.

    What the operator on a slice can do, this one can: ``normal``, ``norm_bound``, ``row_scale``, ``normal_scale``,
    ``absolute_sums``, ``data_prox``, ``pinv``, ``svd``. Solvers that go through a volume part by part find it under
    ``slice_operator``.

    Parameters
    ----------
    slice_operator
        A0, the operator on one slice.
    count
        How many slices; they are the first axis of a volume, and of its data.

    Raises
    ------
    ShapeError
        When the operator's images or data are a tuple.
    ParameterError
        When an argument breaks its rule.

    Notes
    -----
    Formula: (A x)[k] = A0 x[k]
    Shapes: (count, ...) -> (count, ...), in front of the axes of a slice and of its data
    Units: those of A0
    Cost: count times that of A0; no memory of its own
    Source: G. H. Golub and C. F. Van Loan, "Matrix computations", 4th ed., Johns Hopkins 2013, section 1.3.6
    (identity (x) A0)

    Examples
    --------
    >>> A = EachSlice(ParallelBeam((128, 128), sparse_view(8)), 64)  # 64 slices, each seen from 8 sides
    """

    slice_operator: Annotated[Operator, Doc("operator on one slice")]
    count: Annotated[int, Gt(0), Doc("number of slices")]

    def __post_init__(self) -> None:
        check(self)
        specs = []
        for name in ("domain", "codomain"):
            spec = getattr(self.slice_operator, name)
            if not isinstance(spec, ArraySpec):
                raise ShapeError(
                    f"EachSlice.slice_operator must have one array as its {name}, got a tuple of {len(spec)}. "
                    "Make an EachSlice of each part and stack these."
                )
            specs.append(ArraySpec((self.count, *spec.shape), spec.kind))
        object.__setattr__(self, "domain", specs[0])
        object.__setattr__(self, "codomain", specs[1])

    def _forward(self, x: Array) -> Array:
        return self.slice_operator._forward(x)

    def _adjoint(self, y: Array) -> Array:
        return self.slice_operator._adjoint(y)

    def __str__(self) -> str:
        return f"EachSlice({self.slice_operator!s}, {self.count})"

    # A property raises AttributeError where the operator on a slice has no such method: `capability` understands.

    @property
    def norm_bound(self) -> Callable[[], float]:
        """That of a slice: the norms are the same."""
        return self._method("norm_bound")

    @property
    def row_scale(self) -> Callable[[], float]:
        """That of a slice."""
        return self._method("row_scale")

    @property
    def normal_scale(self) -> Callable[[], float]:
        """That of a slice."""
        return self._method("normal_scale")

    @property
    def normal(self) -> Callable[[Array], Array]:
        """A0^H A0 of every slice."""
        return self._method("normal")

    @property
    def pinv(self) -> Callable[[Array], Array]:
        """The pseudoinverse of every slice."""
        return self._method("pinv")

    @property
    def data_prox(self) -> Callable[[Array, Array, float], Array]:
        """That of every slice."""
        return self._method("data_prox")

    @property
    def absolute_sums(self) -> Callable[[Array], tuple[Any, Any]]:
        """The sums of a slice, for every slice."""
        own = self._method("absolute_sums")

        def repeated(sums: Any) -> Any:
            if not getattr(sums, "shape", ()):
                return sums
            return namespace(sums).broadcast_to(sums[None, ...], (self.count, *sums.shape))

        return lambda like: tuple(repeated(sums) for sums in own(like))

    @property
    def svd(self) -> Callable[[], Svd]:
        """U and V of a slice on every slice, and its singular values."""
        own = self._method("svd")

        def repeated() -> Svd:
            U, s, V = own()
            return Svd(EachSlice(U, self.count), s, EachSlice(V, self.count))

        return repeated

    def _method(self, name: str) -> Callable[..., Any]:
        method: Callable[..., Any] = getattr(self.slice_operator, name)
        if not callable(method):
            raise AttributeError(name)
        return method

    @classmethod
    def example(cls) -> EachSlice:
        """A small instance: every third entry hidden in each of two slices of 3 x 4."""
        import numpy as np

        from recon_operators.sampling import Mask

        return cls(Mask((np.arange(12) % 3 > 0).reshape(3, 4)), 2)
