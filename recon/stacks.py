"""Operators side by side.

vstack(A, B)      x -> (A x, B x)          several measurements of one image
hstack(A, B)      (x, y) -> A x + B y      one measurement of several images
block_diag(A, B)  (x, y) -> (A x, B y)     independent measurements
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar

from recon import linalg
from recon.arrays import Array, ArraySpec, Spec
from recon.errors import ParameterError, ShapeError
from recon.operator import Operator, capability, total
from recon.svd import Svd

__all__ = ["block_diag", "hstack", "vstack"]


class _Stack(Operator):
    """Operators side by side; the members of a tuple meet the operators in order."""

    verb: ClassVar[str]  # what makes one

    def __init__(self, operators: tuple[Operator, ...]) -> None:
        if not operators:
            raise ShapeError("A stack must hold at least one operator, got none.")
        for operator in operators:
            if not isinstance(operator, Operator):
                raise ParameterError(
                    f"A stack must hold operators, got {type(operator).__name__}. "
                    f"Write {self.verb}(A, B), and recon.Matrix(M) for a matrix M."
                )
        self.operators = operators

    def _methods(self, name: str) -> list[Callable[..., Any]]:
        """The method of every part; AttributeError, which `capability` understands, where one has it not."""
        return [getattr(a, name) for a in self.operators]

    def __str__(self) -> str:
        return f"{self.verb}({', '.join(map(str, self.operators))})"


def _single(spec: Spec, what: str) -> ArraySpec:
    if isinstance(spec, tuple):
        raise ShapeError(f"{what} must be one array, got a tuple: specs have one level. Flatten the stack.")
    return spec


class _VStack(_Stack):
    verb = "vstack"

    def __init__(self, operators: tuple[Operator, ...]) -> None:
        super().__init__(operators)
        for other in operators[1:]:
            if other.domain != operators[0].domain:
                raise ShapeError(f"vstack operators must share a domain, got {operators[0]!r} and {other!r}.")
        self.domain = operators[0].domain
        self.codomain = tuple(_single(a.codomain, "A codomain in vstack") for a in operators)

    def _forward(self, x: Array) -> Array:
        return tuple(a._forward(x) for a in self.operators)

    def _adjoint(self, y: Array) -> Array:
        return total([a._adjoint(part) for a, part in zip(self.operators, y, strict=True)])

    @property
    def norm_bound(self) -> Callable[[], float]:
        """sqrt of the sum of squares of the bounds, where all have one."""
        bounds = self._methods("norm_bound")
        return lambda: math.hypot(*(bound() for bound in bounds))

    @property
    def absolute_sums(self) -> Callable[[Array], tuple[Any, Any]]:
        """Rows of every part, columns added up, where all have sums."""
        parts = self._methods("absolute_sums")

        def stacked(like: Array) -> tuple[Any, Any]:
            rows, columns = zip(*(part(like) for part in parts), strict=True)
            return rows, total(list(columns))

        return stacked

    @property
    def normal(self) -> Callable[[Array], Array]:
        """The sum of A^H A x over the parts, where at least one has a ``normal`` of its own."""
        if not any(capability(a, "normal") for a in self.operators):
            raise AttributeError("normal")
        return lambda x: total([linalg.normal(a, x) for a in self.operators])


class _HStack(_Stack):
    verb = "hstack"

    def __init__(self, operators: tuple[Operator, ...]) -> None:
        super().__init__(operators)
        for other in operators[1:]:
            if other.codomain != operators[0].codomain:
                raise ShapeError(
                    f"hstack operators must share a codomain, got {operators[0]!r} and {other!r}."
                )
        self.codomain = operators[0].codomain
        self.domain = tuple(_single(a.domain, "A domain in hstack") for a in operators)

    def _forward(self, x: Array) -> Array:
        return total([a._forward(part) for a, part in zip(self.operators, x, strict=True)])

    def _adjoint(self, y: Array) -> Array:
        return tuple(a._adjoint(y) for a in self.operators)

    @property
    def norm_bound(self) -> Callable[[], float]:
        """sqrt of the sum of squares of the bounds, where all have one."""
        bounds = self._methods("norm_bound")
        return lambda: math.hypot(*(bound() for bound in bounds))

    @property
    def absolute_sums(self) -> Callable[[Array], tuple[Any, Any]]:
        """Columns of every part, rows added up, where all have sums."""
        parts = self._methods("absolute_sums")

        def stacked(like: Array) -> tuple[Any, Any]:
            rows, columns = zip(*(part(like) for part in parts), strict=True)
            return total(list(rows)), columns

        return stacked


class _BlockDiag(_Stack):
    verb = "block_diag"

    def __init__(self, operators: tuple[Operator, ...]) -> None:
        super().__init__(operators)
        self.domain = tuple(_single(a.domain, "A domain in block_diag") for a in operators)
        self.codomain = tuple(_single(a.codomain, "A codomain in block_diag") for a in operators)

    def _forward(self, x: Array) -> Array:
        return tuple(a._forward(part) for a, part in zip(self.operators, x, strict=True))

    def _adjoint(self, y: Array) -> Array:
        return tuple(a._adjoint(part) for a, part in zip(self.operators, y, strict=True))

    @property
    def norm_bound(self) -> Callable[[], float]:
        """The largest of the bounds, where all have one."""
        bounds = self._methods("norm_bound")
        return lambda: max(bound() for bound in bounds)

    @property
    def absolute_sums(self) -> Callable[[Array], tuple[Any, Any]]:
        """Rows and columns of every part, where all have sums."""
        parts = self._methods("absolute_sums")
        return lambda like: tuple(zip(*(part(like) for part in parts), strict=True))  # type: ignore[return-value]

    @property
    def normal(self) -> Callable[[Array], Array]:
        """A^H A of every part, where at least one has a ``normal`` of its own."""
        if not any(capability(a, "normal") for a in self.operators):
            raise AttributeError("normal")
        return lambda x: tuple(linalg.normal(a, part) for a, part in zip(self.operators, x, strict=True))

    @property
    def pinv(self) -> Callable[[Array], Array]:
        """The pseudoinverse of every part, where all have one."""
        parts = self._methods("pinv")
        return lambda y: tuple(pinv(part) for pinv, part in zip(parts, y, strict=True))

    @property
    def data_prox(self) -> Callable[[Array, Array, float], Array]:
        """That of every part, where all have one."""
        parts = self._methods("data_prox")
        return lambda v, data, rho: tuple(prox(a, b, rho) for prox, a, b in zip(parts, v, data, strict=True))

    @property
    def svd(self) -> Callable[[], Svd]:
        """U, s and V of every part in a block each, where all have a decomposition."""
        parts = self._methods("svd")

        def decomposed() -> Svd:
            U, s, V = zip(*(part() for part in parts), strict=True)
            return Svd(block_diag(*U), s, block_diag(*V))

        return decomposed


def vstack(*operators: Operator) -> Operator:
    """x -> (A x, B x, ...): several measurements of one image; the codomain is a tuple."""
    return _VStack(operators)


def hstack(*operators: Operator) -> Operator:
    """(x, y, ...) -> A x + B y + ...: one measurement of several images; the domain is a tuple."""
    return _HStack(operators)


def block_diag(*operators: Operator) -> Operator:
    """(x, y, ...) -> (A x, B y, ...): independent measurements; domain and codomain are tuples."""
    return _BlockDiag(operators)
