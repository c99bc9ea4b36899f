"""Reweighted: l1 made to count, by a few rounds with weights from the round before (Candes, Wakin and Boyd 2008).

    round 1    x = argmin loss(A x, y) + sum w0 |c|,                      c = x, or W x for the prior L1 @ W
    round r    x = argmin loss(A x, y) + sum w0 / (1 + |c| / eps) |c|,    c of the round before

Large coefficients are hardly shrunk any more, small ones as before. The weights always start from w0: to multiply
those of the round before would shrink them again in every round.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

from annotated_types import Ge, Gt

from recon import L1, Problem, Solver, State
from recon.arrays import Array, ArraySpec, clip, leaves, members, namespace, per_member, tmap
from recon.arrays import size as spec_size
from recon.constants import real_as
from recon.errors import CapabilityError, ParameterError
from recon.params import Doc, short
from recon.priors import Analysis, Prior, Scaled, Total, terms
from recon.solver import relative_change
from recon_proximal._examples import sparse_recovery
from recon_proximal.fista import Fista

__all__ = ["Reweighted"]


@dataclass(frozen=True)
class Reweighted(Solver):
    """Reweighted l1 around any solver: nearer to the count of nonzeros, with less bias.

    For problems whose prior holds one ``L1`` (of x, or of W x: ``L1(w) @ W``), others may stand beside it. One
    iteration is one round: a run of ``solver`` from the image of the round before. After ``rounds`` iterations
    nothing changes any more. The objective reported is that of the problem, with its own weights w0; the rounds
    after the first lower another one, a concave penalty sum w0 eps log(1 + |c| / eps), and may raise it.

    Parameters
    ----------
    solver
        Of the weighted problems: ``Fista()``, ``Pdhg()`` for L1 @ W, ``ActiveSet()`` for explicit matrices.
    rounds
        How many; 3 to 5 are usual.
    eps
        In units of the coefficients, somewhat below those that matter: about 3 sigma, where the noise sigma of the
        coefficients is known. None takes, of each sample, the coefficient of rank m / (4 log(n / m)), at least 1e-3
        of the largest (m data, n coefficients; the rule of the paper; m / 4 where n < 2.7 m).
    steps, tol
        Most iterations of a round, and the relative change of the image at which a round ends.

    Raises
    ------
    CapabilityError
        When the prior holds no L1, or several.
    """

    solver: Annotated[Any, Doc("solver of the weighted problems")] = field(default_factory=Fista)
    rounds: Annotated[int, Ge(1), Doc("how many rounds")] = 4
    eps: Annotated[
        float | None, Gt(0), Doc("size below which coefficients count as small; None finds it")
    ] = None
    steps: Annotated[int, Ge(1), Doc("most iterations of a round")] = 300
    tol: Annotated[float, Ge(0), Doc("relative change of the image at which a round ends")] = 1e-6

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.solver, Solver):
            raise ParameterError(
                f"Reweighted.solver must be a Solver, got {short(self.solver)}. Make an instance: write Fista()."
            )

    def init(self, problem: Problem, x0: Array | None = None, seed: int = 0) -> State:
        _l1(problem)
        return State(0, self.solver.init(problem, x0, seed).x)

    def step(self, problem: Problem, state: State) -> State:
        if state.iteration >= self.rounds:
            return State(state.iteration + 1, state.x)
        weighted = problem if state.iteration == 0 else self.weighted(problem, state.x)
        inner: State = self.solver.init(weighted, state.x)
        for _ in range(self.steps):
            before, inner = inner, self.solver.step(weighted, inner)
            if relative_change(inner.x, before.x) <= self.tol:
                break
        return State(state.iteration + 1, inner.x)

    def weighted(self, problem: Problem, x: Array) -> Problem:
        """The problem with the weights that follow from an image."""
        factor, l1, operator, rest = _l1(problem)
        spec = operator.codomain if operator is not None else problem.operator.domain
        size = tmap(lambda leaf: namespace(leaf).abs(leaf), x if operator is None else operator @ x)
        eps = per_member(self.eps or _rank(size, spec, problem.operator.shape[0]), size)
        new: Any = L1(tmap(_lighter(factor), per_member(l1.weight, size), size, eps))
        parts = (new if operator is None else new @ operator, *rest)
        return replace(problem, prior=parts[0] if len(parts) == 1 else Total(parts))

    @classmethod
    def example(cls) -> Problem:
        return sparse_recovery(L1(0.02))


def _l1(problem: Problem) -> tuple[float, L1, Any, list[Prior]]:
    """The l1 term of the prior as factor, norm and operator (None: of x itself), and the other terms."""
    found: list[tuple[float, L1, Any]] = []
    rest: list[Prior] = []
    for term in terms(problem.prior):
        factor, operator, inner = 1.0, None, term
        while isinstance(inner, Scaled | Analysis):
            if isinstance(inner, Scaled):
                factor, inner = factor * inner.factor, inner.prior
            else:
                operator = inner.operator if operator is None else inner.operator @ operator
                inner = inner.prior
        if isinstance(inner, L1):
            found.append((factor, inner, operator))
        else:
            rest.append(term)
    if len(found) != 1:
        raise CapabilityError(
            f"Reweighted needs one L1 in the prior, got {problem.prior!r}. Use L1(w), or L1(w) @ W."
        )
    return (*found[0], rest)


def _lighter(factor: float) -> Callable[[Any, Any, Any], Any]:
    """w0, |c|, eps -> w0 / (1 + |c| / eps), times a factor."""

    def one(weight: Any, size: Any, eps: Any) -> Any:
        weight = real_as(weight, size) if hasattr(weight, "shape") else weight
        return factor * weight / (1.0 + size / eps)

    return one


def _rank(size: Array, spec: Any, data: int) -> Array:
    """The default eps of every sample, with axes of length 1 to broadcast."""
    count = spec_size(spec)
    rank = int(min(data, count) / (4.0 * max(math.log(count / data), 1.0)))

    flat = [
        namespace(leaf).reshape(leaf, (*leaf.shape[: leaf.ndim - one.ndim], -1))
        for leaf, one in zip(leaves(size), members(spec), strict=True)
    ]
    xp = namespace(flat[0])
    falling = xp.sort(xp.concat(flat, axis=-1), axis=-1, descending=True)
    largest = falling[..., 0]
    eps = clip(falling[..., min(rank, count - 1)], 1e-3 * largest, None)
    eps = xp.where(eps > 0, eps, xp.ones_like(eps))

    def shaped(leaf: Any, one: ArraySpec) -> Any:
        return xp.reshape(eps, (*eps.shape, *(1,) * one.ndim))

    return tmap(shaped, size, spec)
