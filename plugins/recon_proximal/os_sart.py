"""OS-SART: SIRT on one subset of the views after the other (Andersen and Kak 1984; Wang and Jiang 2004).

    x <- P(x + r C_j A_j^T R_j (y_j - A_j x))       subset j = views j, j + n, j + 2 n, ...
    R_j = 1 / (A_j 1),  C_j = 1 / (A_j^T 1),  P = projection on the prior's interval,  r = relaxation decay^k

One step is a sweep k through all n subsets, in the order of bit reversal, so that views next to each other in time
are far apart in angle. It costs one forward and one adjoint product, as a step of SIRT, and moves about n times as far.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Any

from annotated_types import Ge, Interval

from recon import LeastSquares, NonNegative, Problem, Solver, State
from recon.arrays import Array, tmap
from recon.errors import CapabilityError
from recon.operator import Operator
from recon.params import Doc
from recon_proximal.sirt import inverse_sums, ones

__all__ = ["OsSart", "OsSartState"]


@dataclass(frozen=True)
class OsSartState(State):
    """Image, the inverse row sums R of all rays, and the inverse column sums C_j of every subset."""

    rows: Array
    columns: tuple[Array, ...]


@dataclass(frozen=True)
class OsSart(Solver):
    """Ordered subsets of views, for tomography with nonnegative weights.

    Aims at least squares weighted with 1 / (A 1), as :class:`Sirt`, over the interval of the prior (``NonNegative``,
    ``Box`` or none), in far fewer sweeps. With a constant relaxation it ends in a cycle near the minimum where the
    data contradict each other; ``decay`` < 1 damps the cycle. Early sweeps are the useful ones: stop after a few, or by
    ``Discrepancy``. The operator gives its subsets by ``views(index)``, views on the first axis of the data.

    Per sweep one forward and one adjoint in all, one forward more when the objective is recorded; memory of
    n + 3 images and two predictions.

    Parameters
    ----------
    subsets
        n, at most the number of views: with that many every view is a subset by itself (SART).
    relaxation
        Step length in (0, 2) of the first sweep.
    decay
        Its factor from sweep to sweep.

    Raises
    ------
    CapabilityError
        When the operator has no ``views``, a negative row or column sum, or the prior is no interval.
    """

    subsets: Annotated[int, Ge(1), Doc("number of subsets, at most that of views")] = 20
    relaxation: Annotated[float, Interval(gt=0, lt=2), Doc("step length of the first sweep")] = 1.0
    decay: Annotated[float, Interval(gt=0, le=1), Doc("factor of the step from sweep to sweep")] = 0.95

    state_type = OsSartState

    def init(self, problem: Problem, x0: Array | None = None, seed: int = 0) -> OsSartState:
        if not isinstance(problem.loss, LeastSquares):
            raise CapabilityError(
                f"OsSart needs LeastSquares, got {type(problem.loss).__name__}. Use Pdhg instead."
            )
        if problem.prior is not None and getattr(problem.prior, "interval", None) is None:
            raise CapabilityError(
                f"OsSart takes bounds (NonNegative, Box) or no prior, got {problem.prior!r}. Use Pdhg instead."
            )
        problem.require(problem.operator, "views", "OsSart", "Sirt")
        x = problem.start(x0)
        rows = problem.operator @ tmap(ones, x)
        columns = tuple(
            tmap(inverse_sums, part.H @ ones(_lines(problem, rows, index)))
            for index, part in self._parts(problem)
        )
        return OsSartState(0, x, tmap(inverse_sums, rows), columns)

    def step(self, problem: Problem, state: OsSartState) -> OsSartState:
        x, prior = state.x, problem.prior
        step = self.relaxation * self.decay**state.iteration
        parts = self._parts(problem)
        for j in _bit_reversed(len(parts)):
            index, part = parts[j]
            misfit = _lines(problem, problem.data, index) - part @ x
            back = part.H @ (_lines(problem, state.rows, index) * misfit)
            x = tmap(lambda u, c, b: u + step * (c * b), x, state.columns[j], back)
            if prior is not None:
                x = prior.prox(x, 1.0)  # type: ignore[attr-defined]
        return replace(state, iteration=state.iteration + 1, x=x)

    def _parts(self, problem: Problem) -> list[tuple[slice, Operator]]:
        """The subsets with their operators, made once per operator: they keep what their products prepare."""
        operator: Any = problem.operator
        count = min(self.subsets, operator.codomain.shape[0])
        indices = [slice(j, None, count) for j in range(count)]
        return operator._once(  # type: ignore[no-any-return]
            f"{count} subsets", lambda: [(index, operator.views(index)) for index in indices]
        )

    @classmethod
    def example(cls) -> Problem:
        import numpy as np
        from recon_operators.tomography import ParallelBeam

        operator = ParallelBeam.example()
        image = np.zeros(operator.domain.shape)
        image[4:11, 5:9] = 1.0
        noise = 0.05 * np.random.default_rng(0).standard_normal(operator.codomain.shape)
        return Problem(operator, operator @ image + noise, NonNegative())


def _lines(problem: Problem, values: Array, index: slice) -> Array:
    """The views of a subset in the data."""
    behind = len(problem.operator.codomain.shape) - 1  # type: ignore[union-attr]
    return values[(..., index, *(slice(None),) * behind)]


def _bit_reversed(count: int) -> list[int]:
    """0 ... count - 1, sorted by their binary digits read backwards."""
    bits = max((count - 1).bit_length(), 1)
    return sorted(range(count), key=lambda j: f"{j:0{bits}b}"[::-1])
