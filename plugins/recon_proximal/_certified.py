"""What the solvers measure: objective, loss, and a certified bound on what the objective has still to fall."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from recon import TV, Problem
from recon.arrays import Array, tmap
from recon.duality import certificate
from recon.operator import capability
from recon.priors import Scaled, terms
from recon_proximal._parts import parts

__all__ = ["measured"]


def measured(
    problem: Problem,
    x: Array,
    prediction: Array | None = None,
    *,
    dual: Array | None = None,
    duals: Sequence[Array | None] | None = None,
    memory: Any = None,
) -> dict[str, float]:
    """Objective, loss, and the ``gap`` that the duals certify, where a certificate exists (`recon.duality`).

    Parameters
    ----------
    problem, x, prediction
        The image, and A x where it is at hand.
    dual
        That of the loss; by default f'(A x).
    duals
        Those of the priors that `parts` takes apart, in its order; by default what the prox of TV remembers.
    memory
        Of the prox.

    Returns
    -------
    dict
        The objective is the loss alone where the prior has no value.
    """
    prediction = problem.operator @ x if prediction is None else prediction
    loss = problem.loss.value(prediction, problem.data)
    if not problem.valued:
        return {"objective": loss, "loss": loss}
    objective = loss + problem.penalty(x)
    splits, rest = parts(problem, "measured")
    dual = problem.loss.gradient(prediction, problem.data) if dual is None else dual
    duals = _remembered(problem, len(splits), memory) if duals is None else duals
    blocks = [(outer, operator, field) for (outer, operator), field in zip(splits, duals, strict=False)]
    gap = certificate(problem, x, prediction, objective, dual, blocks, rest)
    return {"objective": objective, "loss": loss, **gap}


def _remembered(problem: Problem, count: int, memory: Any) -> list[Array | None]:
    """Duals of the priors taken apart: TV's, which its prox keeps in units of the weight, and None for the others."""
    kept = [_weight(term) for term in terms(problem.prior) if capability(term, "split")]
    kept += [None] * (count - len(kept))
    known = [weight if memory is not None else None for weight in kept]
    return [None if w is None else tmap(lambda leaf, w=w: w * leaf, memory) for w in known]


def _weight(term: Any) -> float | None:
    """The weight of TV, None for others."""
    if isinstance(term, Scaled):
        inner = _weight(term.prior)
        return None if inner is None else term.factor * inner
    return term.weight if isinstance(term, TV) else None
