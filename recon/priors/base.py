"""The base of all priors, and their algebra: a * f and f + g.

prox of a f       prox_f(v, a t)
prox of f + i_C   prox_f(v, t) clipped to the interval C, where f is a sum over single entries
prox of s f*      v - s prox_f(v / s, 1 / s)                                   (Moreau)
"""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable
from typing import Any

from recon.arrays import Array, clip, tmap
from recon.errors import ParameterError
from recon.operator import capability

__all__ = ["Prior", "Scaled", "Separable", "Total", "prox_conjugate", "terms"]


class Prior(ABC):
    """Base of all priors. It defines only the algebra; everything else is optional and found by looking.

    ``value(x) -> float``; ``prox(v, t)``; ``gradient(x)`` and ``curvature() -> float`` where smooth;
    ``prox_within(v, t, lower, upper)``, the prox of value + indicator of an interval, for the intervals that
    ``allows(lower, upper)`` admits (all, where there is no such method); t is a number, or for a
    :class:`Separable` prior also an array; ``split(spec) -> (prior,
    operator)`` where value(x) = prior.value(operator @ x); ``check_spec(spec)`` raises where the prior cannot
    act on such arrays.
    """

    def __add__(self, other: Any) -> Prior:
        return Total((*terms(self), *terms(other))) if isinstance(other, Prior) else NotImplemented

    def __mul__(self, scalar: Any) -> Prior:
        return Scaled(self, scalar) if isinstance(scalar, int | float) else NotImplemented

    __rmul__ = __mul__


class Separable(Prior):
    """A prior that is a sum of one convex function over single real entries.

    For such f the prox of f + indicator of [lower, upper] is the clipped prox of f: the minimiser of a convex
    function of one variable over an interval is the projection of its free minimiser.
    """

    def prox_within(self, v: Array, t: Any, lower: Any, upper: Any) -> Array:
        """Prox of value + indicator of [lower, upper] (None: unbounded)."""
        return tmap(lambda leaf: clip(leaf, lower, upper), self.prox(v, t))  # type: ignore[attr-defined]


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
        if not factor >= 0:
            raise ParameterError(
                f"A prior must be scaled by a number >= 0, got {factor}. A negative one is not convex."
            )
        self.prior, self.factor = prior, float(factor)

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
        self.terms = members

    def __mul__(self, scalar: Any) -> Prior:
        """The sum of the scaled terms: solvers must see each of them."""
        factored = isinstance(scalar, int | float)
        return Total(tuple(scalar * term for term in self.terms)) if factored else NotImplemented

    __rmul__ = __mul__

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
        return lambda v, t, memory: inner(v, t, memory, lower, upper)

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
