"""SIRT: simultaneous iterative reconstruction with bounds (Gilbert 1972; Gregor and Benson 2008).

    x <- P(x + C A^T R (y - A x))        R = 1 / (A 1), C = 1 / (A^T 1), P = projection on the prior's interval

For a nonnegative A this is projected gradient descent on 1/2 ||A x - y||_R^2 in the metric of C, whose step
length 1 is always allowed: no norm is needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from annotated_types import Interval

from recon import LeastSquares, NonNegative, Problem, Solver, State
from recon.arrays import Array, namespace, tmap, vdot
from recon.errors import CapabilityError
from recon.params import Doc
from recon_proximal._examples import weighing

__all__ = ["Sirt", "SirtState", "inverse_sums", "ones"]


@dataclass(frozen=True)
class SirtState(State):
    """Image, prediction A x, and the weights R (rows) and C (columns)."""

    prediction: Array
    rows: Array
    columns: Array


@dataclass(frozen=True)
class Sirt(Solver):
    """Simultaneous iterative reconstruction for operators with nonnegative entries (tomography).

    Minimises 1/2 sum_i (A x - y)_i^2 / (A 1)_i over the interval of the prior (``NonNegative``, ``Box`` or
    none). That figure is recorded as ``weighted`` and never rises for ``relaxation`` <= 1; ``objective`` is the
    problem's own, without the weights. Slow but robust; early iterates are smooth. One forward and one adjoint per
    iteration.

    Parameters
    ----------
    relaxation
        Step length in (0, 2); 1 is the classical method.

    Raises
    ------
    CapabilityError
        When a row or column sum of A is negative, or the prior is no interval.
    """

    relaxation: Annotated[float, Interval(gt=0, lt=2), Doc("step length")] = 1.0

    state_type = SirtState

    def init(self, problem: Problem, x0: Array | None = None, seed: int = 0) -> SirtState:
        if not isinstance(problem.loss, LeastSquares):
            raise CapabilityError(
                f"Sirt needs LeastSquares, got {type(problem.loss).__name__}. Use Pdhg instead."
            )
        if problem.prior is not None and getattr(problem.prior, "interval", None) is None:
            raise CapabilityError(
                f"Sirt takes bounds (NonNegative, Box) or no prior, got {problem.prior!r}. Use Pdhg instead."
            )
        x = problem.start(x0)
        rows = problem.operator @ tmap(ones, x)
        columns = problem.operator.H @ tmap(ones, rows)
        inverse_rows, inverse_columns = tmap(inverse_sums, rows), tmap(inverse_sums, columns)
        return SirtState(0, x, problem.operator @ x, inverse_rows, inverse_columns)

    def step(self, problem: Problem, state: SirtState) -> SirtState:
        weighted = tmap(lambda r, y, p: r * (y - p), state.rows, problem.data, state.prediction)
        back = problem.operator.H @ weighted
        x = tmap(lambda u, c, b: u + self.relaxation * (c * b), state.x, state.columns, back)
        prior: Any = problem.prior
        if prior is not None:
            x = prior.prox(x, 1.0)
        return SirtState(state.iteration + 1, x, problem.operator @ x, state.rows, state.columns)

    def measure(self, problem: Problem, state: SirtState) -> dict[str, float]:
        residual = tmap(lambda p, y: p - y, state.prediction, problem.data)
        weighted = 0.5 * vdot(residual, tmap(lambda r, e: r * e, state.rows, residual)).real
        loss = problem.loss.value(state.prediction, problem.data)
        return {"objective": loss + problem.penalty(state.x), "loss": loss, "weighted": weighted}

    @classmethod
    def example(cls) -> Problem:
        return weighing(NonNegative())


def ones(x: Any) -> Any:
    """Ones like x."""
    return namespace(x).ones_like(x)


def inverse_sums(sums: Any) -> Any:
    """1 / sums, 0 where a row or column is empty."""
    xp = namespace(sums)
    if xp.isdtype(sums.dtype, "complex floating") or float(xp.min(sums)) < 0.0:
        raise CapabilityError(
            "Sirt needs an operator with nonnegative entries, got negative or complex row or column sums. "
            "Use Cgls or Pdhg instead."
        )
    # Sums far below the largest are rays that graze the image: their inverse would blow up noise.
    floor = 1e-6 * float(xp.max(sums))
    seen = sums > floor
    return xp.where(seen, 1.0 / xp.where(seen, sums, xp.ones_like(sums)), xp.zeros_like(sums))
