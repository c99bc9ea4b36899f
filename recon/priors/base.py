"""The base of all priors, and their algebra: a * f, f + g and f @ W.

prox of a f       prox_f(v, a t)
prox of f @ W     v + W^H (prox_f(W v, c t) - W v) / c, where W W^H = c I
prox of f + i_C   prox_f(v, t) clipped to the interval C, where f is a sum over single entries
prox of s f*      v - s prox_f(v / s, 1 / s)                                   (Moreau)
"""

from __future__ import annotations

import math
from abc import ABC
from collections.abc import Callable
from numbers import Real
from typing import Any

from recon.arrays import Array, Spec, clip, tmap
from recon.errors import ParameterError, ShapeError
from recon.linalg import norm
from recon.operator import Operator, capability

__all__ = ["Analysis", "Prior", "Scaled", "Total", "prox_conjugate", "terms"]


class Prior(ABC):
    """Base of all priors. It defines only the algebra; everything else is optional and found by looking.

    ``value(x) -> float``; ``prox(v, t)``, where t is a number (of a ``Separable`` prior also an array);
    ``gradient(x)`` and ``curvature() -> float`` where smooth; ``prox_within(v, t, lower, upper)``, the prox of
    value + indicator of an interval, for the intervals that ``allows(lower, upper)`` admits (all, where there is
    no such method); ``split(spec) -> (prior, operator)`` where value(x) = prior.value(operator @ x);
    ``check_spec(spec)`` raises where the prior cannot act on such arrays. For certificates ``conjugate(z)`` =
    sup_x Re<z, x> - value(x) for z in its domain, and ``gauge(z)``, the least r >= 0 with z / r in that domain;
    both may take bounds of x as ``lower, upper``.
    """

    convex = True
    """Whether value is convex: Moreau's identity, most solvers and all certificates need that."""

    __array_ufunc__ = None  # numpy must leave `numpy.float64(2) * prior` to us

    def __add__(self, other: Any) -> Prior:
        return Total((*terms(self), *terms(other))) if isinstance(other, Prior) else NotImplemented

    def __mul__(self, scalar: Any) -> Prior:
        return Scaled(self, float(scalar)) if isinstance(scalar, Real) else NotImplemented

    __rmul__ = __mul__

    def __matmul__(self, operator: Any) -> Prior:
        """x -> value(W x): the prior of what an operator makes of the image."""
        return Analysis(self, operator) if isinstance(operator, Operator) else NotImplemented


def terms(prior: Prior | None) -> tuple[Prior, ...]:
    """The summands of a prior: none, itself, or the members of a sum."""
    if prior is None:
        return ()
    return prior.terms if isinstance(prior, Total) else (prior,)


def prox_conjugate(prior: Prior, v: Array, s: Any) -> Array:
    """The prox of s times the convex conjugate of a prior; Moreau's identity where it has no own."""
    own = capability(prior, "prox_conjugate")
    if own:
        return own(v, s)
    inner = prior.prox(tmap(lambda leaf: leaf / s, v), 1.0 / s)  # type: ignore[attr-defined]
    return tmap(lambda leaf, part: leaf - s * part, v, inner)


class Scaled(Prior):
    """A positive number times a prior.

    A composite has a capability exactly when its parts have: the properties below raise AttributeError
    otherwise, so that looking for a method tells the truth.
    """

    def __init__(self, prior: Prior, factor: float) -> None:
        if not 0 <= factor < math.inf:
            raise ParameterError(f"A prior must be scaled by a finite number >= 0, got {factor}.")
        self.prior, self.factor, self.convex = prior, factor, prior.convex

    @property
    def value(self) -> Callable[[Array], float]:
        inner = self.prior.value  # type: ignore[attr-defined]
        return lambda x: self.factor * inner(x) if self.factor else 0.0

    @property
    def prox(self) -> Callable[[Array, Any], Array]:
        inner = self.prior.prox  # type: ignore[attr-defined]
        return lambda v, t: inner(v, self.factor * t) if self.factor else v

    @property
    def prox_within(self) -> Callable[..., Array]:
        inner = self.prior.prox_within  # type: ignore[attr-defined]
        return lambda v, t, lower, upper: inner(v, self.factor * t, lower, upper)

    @property
    def allows(self) -> Callable[[Any, Any], bool]:
        return self.prior.allows  # type: ignore[attr-defined, no-any-return]

    @property
    def interval(self) -> tuple[float | None, float | None]:
        """That of the prior: a constraint times a positive number is the constraint."""
        if not self.factor:
            raise AttributeError("0 times a constraint is none")
        return self.prior.interval  # type: ignore[attr-defined, no-any-return]

    @property
    def prox_from(self) -> Callable[..., tuple[Array, Array]]:
        inner = self.prior.prox_from  # type: ignore[attr-defined]
        return lambda v, t, memory, *bounds: inner(v, self.factor * t, memory, *bounds)

    @property
    def gradient(self) -> Callable[[Array], Array]:
        inner = self.prior.gradient  # type: ignore[attr-defined]
        return lambda x: tmap(lambda leaf: self.factor * leaf, inner(x))

    @property
    def curvature(self) -> Callable[[], float]:
        inner = self.prior.curvature  # type: ignore[attr-defined]
        return lambda: self.factor * inner()

    @property
    def gauge(self) -> Callable[..., float]:
        """(a f)* (z) = a f*(z / a), finite on a times the domain of f*."""
        return self._dual("gauge", 1.0)

    @property
    def conjugate(self) -> Callable[..., float]:
        return self._dual("conjugate", self.factor)

    def _dual(self, name: str, outer: float) -> Callable[..., float]:
        inner = getattr(self.prior, name)
        if not self.factor:
            raise AttributeError("0 times a prior tells nothing of its dual")
        return lambda z, *bounds: outer * inner(tmap(lambda leaf: leaf / self.factor, z), *bounds)

    @property
    def denoise(self) -> Callable[[Array, float], Array]:
        """That of the prior: it is told the noise level, whatever the weight."""
        return self.prior.denoise  # type: ignore[attr-defined, no-any-return]

    @property
    def split(self) -> Callable[[Any], tuple[Prior, Any]]:
        inner = self.prior.split  # type: ignore[attr-defined]

        def scaled(spec: Any) -> tuple[Prior, Any]:
            outer, operator = inner(spec)
            return Scaled(outer, self.factor), operator

        return scaled

    @property
    def check_spec(self) -> Callable[[Any], None]:
        return self.prior.check_spec  # type: ignore[attr-defined, no-any-return]

    def __repr__(self) -> str:
        return f"{self.factor:g} * {self.prior!r}"


class Total(Prior):
    """A sum of priors: several beliefs at once.

    Its prox is known when all terms but one are intervals (:class:`NonNegative`, :class:`Box`) and the other
    one has ``prox_within``. Solvers that split (Pdhg, Admm) take any sum.
    """

    def __init__(self, members: tuple[Prior, ...]) -> None:
        self.terms, self.convex = members, all(term.convex for term in members)

    def __mul__(self, scalar: Any) -> Prior:
        """The sum of the scaled terms: solvers must see each of them."""
        factored = isinstance(scalar, Real)
        return Total(tuple(scalar * term for term in self.terms)) if factored else NotImplemented

    __rmul__ = __mul__

    def __matmul__(self, operator: Any) -> Prior:
        """The sum of the terms of W x, for the same reason."""
        composed = isinstance(operator, Operator)
        return Total(tuple(term @ operator for term in self.terms)) if composed else NotImplemented

    @property
    def value(self) -> Callable[[Array], float]:
        values = [term.value for term in self.terms]  # type: ignore[attr-defined]
        return lambda x: float(sum(value(x) for value in values))

    @property
    def prox(self) -> Callable[[Array, Any], Array]:
        lower, upper, rest = self._interval()
        if not rest:
            return lambda v, t: tmap(lambda leaf: clip(leaf, lower, upper), v)
        if len(rest) > 1:
            raise AttributeError("the prox of this sum has no closed form")
        if lower is None and upper is None:
            return rest[0].prox  # type: ignore[attr-defined, no-any-return]
        within = rest[0].prox_within  # type: ignore[attr-defined]
        allows = capability(rest[0], "allows")
        if allows and not allows(lower, upper):
            raise AttributeError("the prox of this sum has no closed form")
        return lambda v, t: within(v, t, lower, upper)

    @property
    def prox_from(self) -> Callable[..., tuple[Array, Array]]:
        lower, upper, rest = self._interval()
        if len(rest) != 1:
            raise AttributeError("only a sum of one prior and intervals can start its prox from memory")
        inner = rest[0].prox_from  # type: ignore[attr-defined]
        if lower is None and upper is None:
            return inner  # type: ignore[no-any-return]
        rest[0].prox_within  # type: ignore[attr-defined]  # noqa: B018 - none, no bounds from memory either
        return lambda v, t, memory: inner(v, t, memory, lower, upper)

    @property
    def gauge(self) -> Callable[[Array], float]:
        """That of the one prior beside intervals, with their bounds."""
        return self._dual("gauge")

    @property
    def conjugate(self) -> Callable[[Array], float]:
        return self._dual("conjugate")

    def _dual(self, name: str) -> Callable[[Array], float]:
        lower, upper, rest = self._interval()
        if len(rest) != 1:
            raise AttributeError("only a sum of one prior and intervals tells its dual")
        inner = getattr(rest[0], name)
        bounds = () if lower is None and upper is None else (lower, upper)
        if bounds:
            rest[0].prox_within  # type: ignore[attr-defined]  # noqa: B018 - none, no bounds in its dual either
        return lambda z: inner(z, *bounds)

    def _interval(self) -> tuple[Any, Any, list[Prior]]:
        """The intersection of all intervals among the terms, and the other terms."""
        lower: Any = None
        upper: Any = None
        rest = []
        for term in self.terms:
            bounds = getattr(term, "interval", None)
            if bounds is None:
                rest.append(term)
                continue
            lower = bounds[0] if lower is None else lower if bounds[0] is None else max(lower, bounds[0])
            upper = bounds[1] if upper is None else upper if bounds[1] is None else min(upper, bounds[1])
        if lower is not None and upper is not None and lower > upper:
            raise ParameterError(
                f"The intervals of a sum must overlap, got [{lower}, {upper}]. Check the bounds."
            )
        return lower, upper, rest

    @property
    def interval(self) -> tuple[float | None, float | None]:
        """The intersection, where all terms are intervals."""
        lower, upper, rest = self._interval()
        if rest:
            raise AttributeError("not all terms of this sum are intervals")
        return lower, upper

    @property
    def check_spec(self) -> Callable[[Any], None]:
        self._interval()  # raises where the intervals do not overlap
        checks = [c for c in (capability(term, "check_spec") for term in self.terms) if c]

        def check(spec: Any) -> None:
            for one in checks:
                one(spec)

        return check

    def __repr__(self) -> str:
        return " + ".join(map(repr, self.terms))


class Analysis(Prior):
    """x -> prior(W x), written ``prior @ W``: what we believe of the coefficients of the image.

    Solvers that split (Pdhg, Admm) take the prior and W apart. The prox has a closed form where W tells, by
    its ``row_scale``, that W W^H = c I: orthonormal bases, and rows taken from them. A Parseval frame has
    W^H W = I instead, and no closed prox.

    Parameters
    ----------
    prior
        Of the codomain of W. The prior of a prior is taken apart: ``(f @ W) @ V`` is ``f @ (W @ V)``.
    operator
        W.
    """

    def __init__(self, prior: Prior, operator: Operator) -> None:
        if isinstance(prior, Analysis):
            inner: Analysis = prior
            prior, operator = inner.prior, inner.operator @ operator
        check = capability(prior, "check_spec")
        if check:
            check(operator.codomain)
        self.prior: Prior = prior
        self.operator: Operator = operator
        self.convex = prior.convex

    @property
    def value(self) -> Callable[[Array], float]:
        inner = self.prior.value  # type: ignore[attr-defined]
        return lambda x: inner(self.operator @ x)

    @property
    def prox(self) -> Callable[[Array, float], Array]:
        """One product each way, where W W^H = c I (Combettes and Pesquet 2007, lemma 2.4)."""
        inner = self.prior.prox  # type: ignore[attr-defined]
        c = self.operator.row_scale()  # type: ignore[attr-defined]
        if not c:
            raise AttributeError("0 times an operator has no rows of one length > 0")

        def prox(v: Array, t: float) -> Array:
            coefficients = self.operator @ v
            change = tmap(lambda new, old: (new - old) / c, inner(coefficients, c * t), coefficients)
            return tmap(lambda leaf, part: leaf + part, v, self.operator.H @ change)

        return prox

    @property
    def gradient(self) -> Callable[[Array], Array]:
        inner = self.prior.gradient  # type: ignore[attr-defined]
        return lambda x: self.operator.H @ inner(self.operator @ x)

    @property
    def curvature(self) -> Callable[[], float]:
        """That of the prior times ||W||^2."""
        inner = self.prior.curvature  # type: ignore[attr-defined]
        return lambda: inner() * norm(self.operator) ** 2

    @property
    def split(self) -> Callable[[Spec], tuple[Prior, Operator]]:
        """The prior and W; of a prior that splits itself (TV), its outer norm and the product of both operators."""
        own = capability(self.prior, "split")
        if own is None:
            self.prior.prox  # type: ignore[attr-defined]  # noqa: B018 - none, none here

        def split(spec: Spec) -> tuple[Prior, Operator]:
            self.check_spec(spec)
            if own is None:
                return self.prior, self.operator
            outer, inner = own(self.operator.codomain)
            return outer, inner @ self.operator

        return split

    def check_spec(self, spec: Spec) -> None:
        if spec != self.operator.domain:
            raise ShapeError(
                f"{self!r} must act on what its operator takes, {self.operator.domain}, got {spec}. "
                "Make the operator for images of that shape and kind."
            )

    def __repr__(self) -> str:
        return f"{self.prior!r} @ {self.operator!s}"
