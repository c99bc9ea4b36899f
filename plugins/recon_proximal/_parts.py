"""How a sum of priors is taken apart for the splitting solvers."""

from __future__ import annotations

from typing import Any

from recon import Identity, Prior, Problem
from recon.errors import CapabilityError
from recon.operator import Operator, capability
from recon.priors import Total, terms

__all__ = ["is_interval", "parts", "require_convex"]


def is_interval(prior: Prior) -> bool:
    """Whether a prior is a plain interval (NonNegative, Box)."""
    return getattr(prior, "interval", None) is not None


def require_convex(problem: Problem, solver: str) -> None:
    """Refuse a prior that says it is not convex.

    Raises
    ------
    CapabilityError
        Naming the solver and the prior.
    """
    if problem.prior is not None and not problem.prior.convex:
        raise CapabilityError(
            f"{solver} needs a convex prior, which {problem.prior!r} is not. Use RelaxedIht or Admm instead."
        )


def parts(problem: Problem, solver: str) -> tuple[list[tuple[Any, Operator]], Any]:
    """The priors that split, as (outer, operator), and the one prior that is left with a joint prox, or None.

    Where the remaining priors have no joint prox, all but the intervals are split with the identity.

    Raises
    ------
    CapabilityError
        When a term has neither a split nor a prox.
    """
    splits: list[tuple[Any, Operator]] = []
    direct: list[Prior] = []
    for term in terms(problem.prior):
        split = capability(term, "split")
        if split:
            splits.append(split(problem.operator.domain))
        elif capability(term, "prox"):
            direct.append(term)
        else:
            raise CapabilityError(
                f"{solver} needs {type(term).__name__}.prox or .split, which it has not. Use another prior."
            )
    if not direct:
        return splits, None
    rest = direct[0] if len(direct) == 1 else Total(tuple(direct))
    if capability(rest, "prox"):
        return splits, rest
    intervals = tuple(term for term in direct if is_interval(term))
    splits += [(term, Identity(problem.operator.domain)) for term in direct if not is_interval(term)]
    return splits, Total(intervals) if intervals else None
