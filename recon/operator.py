"""The base of all forward operators, and their algebra: adjoint, product, sum, scaling.

    A @ x    y = A x            A.H @ y    x = A^H y, exactly: <A x, y> = <x, A^H y>
    A @ B    composition        a * A      scaling            A + B, A - B, -A

An operator is an immutable, picklable description of a linear map between two specs. It knows no solver, no
norm estimator and no concrete operator. What an operator can do beyond the two products (``normal``,
``norm_bound``, ``row_scale``, ``column_scale``, ``normal_scale``, ``data_prox``, ``pinv``, ``svd``, ``factors``) are
methods that a caller finds by looking.
"""

from __future__ import annotations

import cmath
import math
import numbers
from abc import ABC
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from recon.arrays import Array, Spec, check_array, device_of, leaves, members, namespace, size, tmap
from recon.errors import CapabilityError, ParameterError, ShapeError
from recon.svd import Svd

__all__ = ["Adjoint", "Operator", "Plan", "Product", "Scaled", "Sum", "capability", "total"]


class Plan(Protocol):
    """What ``Operator.plan`` returns: the two products, compiled for one library, device and precision."""

    def apply(self, x: Array) -> Array: ...

    def adjoint(self, y: Array) -> Array: ...


class Operator(ABC):
    """A linear map from ``domain`` to ``codomain``; axes in front of the domain's are batch axes.

    A subclass sets ``domain`` and ``codomain`` (attributes or properties) and then either

    * defines ``_forward(x)`` and ``_adjoint(y)``, written against the array API, or
    * defines ``plan(xp, device, dtype)`` that returns an object with ``apply(x)`` and ``adjoint(y)``. The plan is
      made once per library, device and precision, kept, and left behind by pickle.

    The input of these methods has been checked. They must not change it, nor any field of the operator.
    """

    domain: Spec
    codomain: Spec
    __array_ufunc__ = None  # numpy must leave `array @ A` and `numpy.float64(2) * A` to us

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        # A dataclass would otherwise replace the short text it inherits by one that prints every array.
        inherited = cls.__repr__
        cls.__repr__ = inherited  # type: ignore[method-assign]

    # -- to be defined by a subclass ---------------------------------------------------------------------

    def plan(self, xp: Any, device: Any, dtype: Any) -> Plan:
        """Compile for one array library, device and dtype."""
        raise CapabilityError(
            f"{type(self).__name__} must define _forward and _adjoint, or plan. See 'Write an operator' in the docs."
        )

    def _forward(self, x: Array) -> Array:
        return self._planned(x).apply(x)

    def _adjoint(self, y: Array) -> Array:
        return self._planned(y).adjoint(y)

    # -- for users ---------------------------------------------------------------------------------------

    def __matmul__(self, other: Any) -> Any:
        if isinstance(other, Operator):
            return Product(self, other)
        check_array(other, self.domain, f"{self!s} input")
        return self._forward(other)

    @property
    def H(self) -> Operator:
        """The adjoint: the exact (conjugate) transpose in the Euclidean product."""
        return Adjoint(self)

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns) of the matrix of one sample, as in SciPy."""
        return size(self.codomain), size(self.domain)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the matrix at double precision; the data decide the precision of a product."""
        kinds = {s.kind for s in (*members(self.domain), *members(self.codomain))}
        return np.dtype(np.complex128 if "complex" in kinds else np.float64)

    def __mul__(self, scalar: Any) -> Operator:
        return Scaled(self, _scalar(scalar)) if isinstance(scalar, numbers.Number) else NotImplemented

    __rmul__ = __mul__

    def __truediv__(self, scalar: Any) -> Operator:
        if not isinstance(scalar, numbers.Number):
            return NotImplemented
        return Scaled(self, 1 / _scalar(scalar) if scalar else math.inf)

    def __neg__(self) -> Operator:
        return Scaled(self, -1.0)

    def __add__(self, other: Any) -> Operator:
        return Sum((self, other)) if isinstance(other, Operator) else NotImplemented

    def __sub__(self, other: Any) -> Operator:
        return Sum((self, -other)) if isinstance(other, Operator) else NotImplemented

    def __str__(self) -> str:
        return type(self).__name__

    def __repr__(self) -> str:
        return f"<{self!s}: {_spec_text(self.domain)} -> {_spec_text(self.codomain)}>"

    # -- machinery ---------------------------------------------------------------------------------------

    def _planned(self, x: Array) -> Plan:
        leaf = leaves(x)[0]
        plans: dict[Any, Plan] = self.__dict__.setdefault("_plans", {})
        # a NumPy dtype alone, because making texts of it takes longer than finding the plan
        key = leaf.dtype if type(leaf) is np.ndarray else (type(leaf), str(device_of(leaf)), str(leaf.dtype))
        found = plans.get(key)
        if found is None:
            found = plans.setdefault(key, self.plan(namespace(leaf), device_of(leaf), leaf.dtype))
        return found

    def _once(self, key: str, make: Callable[[], Any]) -> Any:
        """What ``make`` gives, made once and kept beside the plans: pickle leaves it behind."""
        kept: dict[Any, Any] = self.__dict__.setdefault("_plans", {})
        if key not in kept:
            kept[key] = make()
        return kept[key]

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_plans"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        for value in state.values():
            for array in value if isinstance(value, tuple) else (value,):
                if isinstance(array, np.ndarray):
                    array.setflags(write=False)  # pickle forgets it


def capability(owner: Any, name: str) -> Callable[..., Any] | None:
    """The method ``name`` of an operator, prior or loss, or None where it has none."""
    method = getattr(owner, name, None)
    return method if callable(method) else None


def _numbers(spec: Spec) -> int:
    """How many real numbers a sample is."""
    return sum((2 if one.kind == "complex" else 1) * one.size for one in members(spec))


def _scalar(value: Any) -> complex | float:
    number = complex(value)
    return number if number.imag else number.real


def _spec_text(spec: Spec) -> str:
    return str(spec) if not isinstance(spec, tuple) else "(" + "; ".join(map(str, spec)) + ")"


class Adjoint(Operator):
    """The exact adjoint of an operator, made by ``A.H``."""

    def __init__(self, operator: Operator) -> None:
        self.operator = operator
        self.domain, self.codomain = operator.codomain, operator.domain

    def _forward(self, x: Array) -> Array:
        return self.operator._adjoint(x)

    def _adjoint(self, y: Array) -> Array:
        return self.operator._forward(y)

    @property
    def H(self) -> Operator:
        return self.operator

    # A composite has a capability exactly when its parts have: the property raises AttributeError otherwise,
    # so that `hasattr` and `capability` tell the truth.
    @property
    def norm_bound(self) -> Callable[[], float]:
        """Certified upper bound on the norm, where the operator has one."""
        return self.operator.norm_bound  # type: ignore[attr-defined, no-any-return]

    @property
    def row_scale(self) -> Callable[[], float]:
        """The ``column_scale`` of the operator, where A^H A = c I; of a square one it is the ``row_scale``."""
        columns = capability(self.operator, "column_scale")
        if columns:
            return columns
        if _numbers(self.domain) != _numbers(self.codomain):
            raise AttributeError("row_scale")
        return self.operator.row_scale  # type: ignore[attr-defined, no-any-return]

    @property
    def absolute_sums(self) -> Callable[[Array], tuple[Any, Any]]:
        """The sums of the operator, exchanged, where it has them."""
        sums = self.operator.absolute_sums  # type: ignore[attr-defined]
        return lambda like: sums(like)[::-1]

    @property
    def svd(self) -> Callable[[], Svd]:
        """A^H = V diag(s) U^H, where the operator has a decomposition."""
        svd = self.operator.svd  # type: ignore[attr-defined]

        def exchanged() -> Svd:
            U, s, V = svd()
            return Svd(V, s, U)

        return exchanged

    @property
    def pinv(self) -> Callable[[Array], Array]:
        """By the decomposition, where the operator has one."""
        svd = self.svd
        return lambda y: svd().pinv(y)

    @property
    def data_prox(self) -> Callable[[Array, Array, float], Array]:
        """By the decomposition, where the operator has one."""
        svd = self.svd
        return lambda v, data, rho: svd().data_prox(v, data, rho)

    def __str__(self) -> str:
        text = str(self.operator)
        return f"({text}).H" if isinstance(self.operator, Product | Scaled) else f"{text}.H"


class Product(Operator):
    """The composition ``left @ right``: right is applied first."""

    def __init__(self, left: Operator, right: Operator) -> None:
        if left.domain != right.codomain:
            raise ShapeError(
                f"{left!s} @ {right!s} must fit: {left!s} takes {_spec_text(left.domain)}, got "
                f"{_spec_text(right.codomain)} from {right!s}. Check the order."
            )
        self.left, self.right = left, right
        self.domain, self.codomain = right.domain, left.codomain

    def _forward(self, x: Array) -> Array:
        return self.left._forward(self.right._forward(x))

    def _adjoint(self, y: Array) -> Array:
        return self.right._adjoint(self.left._adjoint(y))

    @property
    def norm_bound(self) -> Callable[[], float]:
        """Product of the two bounds, where both have one."""
        left, right = self.left.norm_bound, self.right.norm_bound  # type: ignore[attr-defined]
        return lambda: left() * right()

    @property
    def row_scale(self) -> Callable[[], float]:
        """Product of the two, where both have one."""
        left, right = self.left.row_scale, self.right.row_scale  # type: ignore[attr-defined]
        return lambda: left() * right()

    @property
    def normal(self) -> Callable[[Array], Array]:
        """B^H (A^H A) B, where the left operator has a ``normal``."""
        middle = self.left.normal  # type: ignore[attr-defined]
        return lambda x: self.right._adjoint(middle(self.right._forward(x)))

    @property
    def normal_scale(self) -> Callable[[], float]:
        """Product of that of A and the c of B B^H = c I, where they have these."""
        own, c = self.left.normal_scale, self.right.row_scale  # type: ignore[attr-defined]
        return lambda: own() * c()

    @property
    def data_prox(self) -> Callable[[Array, Array, float], Array]:
        """v + B^H (A.data_prox(B v, y, rho / c) - B v) / c, where A has a ``data_prox`` and B B^H = c I."""
        prox = self.left.data_prox  # type: ignore[attr-defined]
        c = self.right.row_scale()  # type: ignore[attr-defined]
        if not c > 0.0:
            raise AttributeError("data_prox")

        def moved(v: Array, data: Array, rho: float) -> Array:
            before = self.right._forward(v)
            after = prox(before, data, rho / c)
            back = self.right._adjoint(tmap(lambda a, b: (a - b) / c, after, before))
            return tmap(lambda a, b: a + b, v, back)

        return moved

    def __str__(self) -> str:
        return f"{self.left!s} @ {self.right!s}"


class Scaled(Operator):
    """A scalar times an operator."""

    def __init__(self, operator: Operator, scalar: complex | float) -> None:
        kinds = {s.kind for s in (*members(operator.domain), *members(operator.codomain))}
        if not cmath.isfinite(scalar):
            raise ParameterError(f"The scalar of {operator!s} must be finite, got {scalar}. Check for 1 / 0.")
        if isinstance(scalar, complex) and kinds != {"complex"}:
            raise ShapeError(
                f"A real operator must be scaled by a real number, got {scalar} * {operator!s}. "
                "Use an operator whose specs are complex."
            )
        self.operator, self.scalar = operator, scalar
        self.domain, self.codomain = operator.domain, operator.codomain

    def _forward(self, x: Array) -> Array:
        return tmap(lambda leaf: self.scalar * leaf, self.operator._forward(x))

    def _adjoint(self, y: Array) -> Array:
        scalar = self.scalar.conjugate()
        return tmap(lambda leaf: scalar * leaf, self.operator._adjoint(y))

    @property
    def norm_bound(self) -> Callable[[], float]:
        """|scalar| times the bound, where the operator has one."""
        bound = self.operator.norm_bound  # type: ignore[attr-defined]
        return lambda: abs(self.scalar) * bound()

    @property
    def row_scale(self) -> Callable[[], float]:
        """|scalar|^2 times that of the operator, where it has one."""
        own = self.operator.row_scale  # type: ignore[attr-defined]
        return lambda: abs(self.scalar) ** 2 * own()

    @property
    def absolute_sums(self) -> Callable[[Array], tuple[Any, Any]]:
        """|scalar| times the sums, where the operator has them."""
        sums, size = self.operator.absolute_sums, abs(self.scalar)  # type: ignore[attr-defined]
        return lambda like: tuple(tmap(lambda part: size * part, side) for side in sums(like))

    @property
    def normal(self) -> Callable[[Array], Array]:
        """|scalar|^2 A^H A x, where the operator has a ``normal``."""
        normal, square = self.operator.normal, abs(self.scalar) ** 2  # type: ignore[attr-defined]
        return lambda x: tmap(lambda leaf: square * leaf, normal(x))

    @property
    def data_prox(self) -> Callable[[Array, Array, float], Array]:
        """That of A for data / scalar and rho / |scalar|^2, where A has one and the scalar is not 0."""
        prox, c = self.operator.data_prox, self._nonzero("data_prox")  # type: ignore[attr-defined]
        return lambda v, data, rho: prox(v, tmap(lambda leaf: leaf / c, data), rho / abs(c) ** 2)

    @property
    def pinv(self) -> Callable[[Array], Array]:
        """A^+ y / scalar, where the operator has a ``pinv`` and the scalar is not 0."""
        pinv, c = self.operator.pinv, self._nonzero("pinv")  # type: ignore[attr-defined]
        return lambda y: tmap(lambda leaf: leaf / c, pinv(y))

    @property
    def svd(self) -> Callable[[], Svd]:
        """(scalar / |scalar|) U, |scalar| s and V, where the operator has a decomposition."""
        svd, c = self.operator.svd, self._nonzero("svd")  # type: ignore[attr-defined]

        def scaled() -> Svd:
            U, s, V = svd()
            return Svd(U * (c / abs(c)), tmap(lambda part: abs(c) * part, s), V)

        return scaled

    def _nonzero(self, name: str) -> complex | float:
        if self.scalar == 0:
            raise AttributeError(name)
        return self.scalar

    def __str__(self) -> str:
        return f"{self.scalar:g} * {self.operator!s}"


class Sum(Operator):
    """The sum of operators between the same specs."""

    def __init__(self, terms: tuple[Operator, ...]) -> None:
        first = terms[0]
        for term in terms[1:]:
            if (term.domain, term.codomain) != (first.domain, first.codomain):
                raise ShapeError(f"Operators of a sum must have the same specs, got {first!r} and {term!r}.")
        self.terms = terms
        self.domain, self.codomain = first.domain, first.codomain

    def _forward(self, x: Array) -> Array:
        return total([term._forward(x) for term in self.terms])

    def _adjoint(self, y: Array) -> Array:
        return total([term._adjoint(y) for term in self.terms])

    @property
    def norm_bound(self) -> Callable[[], float]:
        """Sum of the bounds, where all have one."""
        bounds = [term.norm_bound for term in self.terms]  # type: ignore[attr-defined]
        return lambda: sum(bound() for bound in bounds)

    def __str__(self) -> str:
        return "(" + " + ".join(map(str, self.terms)) + ")"


def total(parts: list[Array]) -> Array:
    """The sum of arrays, member by member where they are tuples."""
    result = parts[0]
    for part in parts[1:]:
        result = tmap(lambda a, b: a + b, result, part)
    return result
