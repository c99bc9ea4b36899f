"""ActiveSet: the lasso by a growing set of columns, each small problem solved exactly.

    minimise  1/2 ||A x - y||^2 + sum w |x|          (x >= 0 where the prior says so)

    c = A^H (y - A x)                                 the one full product of an iteration
    W <- W + the largest |c_j| > w_j                  columns that can still lower the objective
    x_W = the minimiser with all other entries 0      coordinate descent on G = A_W^T A_W, then, once the signs s
                                                      of the support S stand, x_S = G_SS^(-1) (A_S^T y - w_S s_S)

(Working sets: Massias, Gramfort and Salmon 2018.) It ends at the exact minimiser, when no |c_j| exceeds w_j. The dual
point u = a r, r = y - A x, with the best a for which |A^H u| <= w, certifies the gap at every iteration:

    gap = 1/2 ||r||^2 + sum w |x| - (Re<u, y> - 1/2 ||u||^2)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge

from recon import L1, LeastSquares, Matrix, NonNegative, Operator, Problem, Solver, State
from recon.arrays import Array, ArraySpec, as_numpy, from_numpy, vdot, zeros
from recon.errors import CapabilityError
from recon.params import Doc
from recon.priors import Scaled, terms
from recon.solver import Fit
from recon_proximal._examples import sparse_recovery

__all__ = ["ActiveSet", "ActiveSetState"]


@dataclass(frozen=True)
class ActiveSetState(State):
    """x, residual r = y - A x, correlation A^H r; and per sample the columns taken so far.

    ``chosen`` holds their indices in the order of taking, ``columns`` their entries (count, m), ``gram`` their
    products (count, count).
    """

    residual: Array
    correlation: Array
    chosen: tuple[Array, ...]
    columns: tuple[Array, ...]
    gram: tuple[Array, ...]


@dataclass(frozen=True)
class ActiveSet(Solver):
    """The lasso on a matrix, as fast as coordinate descent, with a certificate of its gap.

    Minimises 1/2 ||A x - y||^2 + w ||x||_1 with real A; w may be an array of weights, and ``NonNegative`` may be
    added. Usually 3 to 10 iterations to the exact minimiser, each one forward-free: one adjoint product, and work
    on the columns in use. Memory: these columns and their Gram matrix. Best where the solution has few nonzeros (some
    thousands at most). ``Matrix`` gives its columns for the asking; any other operator is asked for the image of
    a unit vector per column. Samples of a batch are independent. Starts warm from ``x0``.

    Parameters
    ----------
    start
        How many columns are taken at first; later half as many as the support, if that is more.

    Raises
    ------
    CapabilityError
        For another loss or prior, or a complex operator (use Fista).
    """

    start: Annotated[int, Ge(1), Doc("columns taken at first")] = 32

    state_type = ActiveSetState

    def init(self, problem: Problem, x0: Array | None = None, seed: int = 0) -> ActiveSetState:
        _penalty(problem)
        x = problem.start(x0)
        rows = _samples(x, problem.operator.domain)
        chosen = tuple(np.flatnonzero(row) for row in rows)
        columns = tuple(_columns(problem, indices) for indices in chosen)
        residual = problem.data - problem.operator @ x
        return ActiveSetState(
            0,
            x,
            residual,
            problem.operator.H @ residual,
            tuple(from_numpy(one, x) for one in chosen),
            tuple(from_numpy(one, x) for one in columns),
            tuple(from_numpy(one @ one.T, x) for one in columns),
        )

    def step(self, problem: Problem, state: ActiveSetState) -> ActiveSetState:
        weights, positive = _penalty(problem)
        if self._finished(problem, state):
            return replace(state, iteration=state.iteration + 1)
        rows, correlations = (_samples(one, problem.operator.domain) for one in (state.x, state.correlation))
        data, before = (_samples(one, problem.operator.codomain) for one in (problem.data, state.residual))
        x, residual = rows.copy(), before.copy()
        kept: list[tuple[Any, ...]] = []
        for k, (row, correlation) in enumerate(zip(rows, correlations, strict=True)):
            chosen, columns, gram = (as_numpy(one[k]) for one in (state.chosen, state.columns, state.gram))
            size = correlation if positive else np.abs(correlation)
            new = _violators(size, weights[k], chosen, max(self.start, np.count_nonzero(row) // 2))
            if new.size:
                more = _columns(problem, new)
                gram = _bordered(gram, columns, more)
                columns, chosen = np.concatenate([columns, more]), np.concatenate([chosen, new])
            limit = _value(before[k], row, weights[k]) + _rounding(data[k])
            for double in (not weights[k][chosen].all(), True):
                if double:  # rounding of G can leave it without a minimum, where no weight bounds x
                    gram = np.matmul(columns, columns.T, dtype=np.float64)
                pull = np.matmul(columns, data[k], dtype=gram.dtype)
                small = _minimiser(gram, pull, weights[k][chosen], positive, row[chosen])
                small = small.astype(row.dtype)
                used = np.flatnonzero(small)
                left = data[k] - small[used] @ columns[used]
                if _value(left, small, weights[k][chosen]) <= limit:
                    x[k, chosen], residual[k] = small, left
                    break
            gram = gram.astype(columns.dtype, copy=False)
            kept.append(tuple(from_numpy(one, state.x) for one in (chosen, columns, gram)))
        misfit = from_numpy(residual.reshape(problem.data.shape), state.x)
        return ActiveSetState(
            state.iteration + 1,
            from_numpy(x.reshape(state.x.shape), state.x),
            misfit,
            problem.operator.H @ misfit,
            *zip(*kept, strict=True),
        )

    @staticmethod
    def _gaps(problem: Problem, state: ActiveSetState) -> list[float]:
        """The duality gap of every sample."""
        weights, positive = _penalty(problem)
        x, c = (_samples(one, problem.operator.domain) for one in (state.x, state.correlation))
        r, y = (_samples(one, problem.operator.codomain) for one in (state.residual, problem.data))
        return list(map(_gap, r, y, c, x, weights, [positive] * len(x)))

    def _finished(self, problem: Problem, state: ActiveSetState) -> bool:
        """Whether every gap is rounding."""
        data = _samples(problem.data, problem.operator.codomain)
        return all(
            gap <= limit for gap, limit in zip(self._gaps(problem, state), map(_rounding, data), strict=True)
        )

    def measure(self, problem: Problem, state: ActiveSetState) -> dict[str, float]:
        loss = 0.5 * vdot(state.residual, state.residual).real
        gap, objective = sum(self._gaps(problem, state)), loss + problem.penalty(state.x)
        return {"objective": objective, "loss": loss, "gap": gap}

    @classmethod
    def suits(cls, problem: Problem) -> Fit | None:
        try:
            _penalty(problem)
        except CapabilityError:
            return None
        if not isinstance(problem.operator, Matrix):
            return None
        return Fit(4.0, "l1 and an explicit matrix: few columns matter, and the gap is certified")

    @classmethod
    def example(cls) -> Problem:
        return sparse_recovery(L1(0.02))


def _penalty(problem: Problem) -> tuple[np.ndarray[Any, Any], bool]:
    """The weights w of every sample, (batch, n) in double precision, and whether x >= 0 is asked."""
    domain: Any = problem.operator.domain
    if not isinstance(problem.loss, LeastSquares):
        raise CapabilityError(
            f"ActiveSet needs LeastSquares, got {type(problem.loss).__name__}. Use Fista or Pdhg instead."
        )
    specs = (domain, problem.operator.codomain)
    if not all(isinstance(one, ArraySpec) and one.kind == "real" for one in specs):
        raise CapabilityError(
            f"ActiveSet needs an operator between real arrays, got {problem.operator!r}. Use Fista."
        )
    found = [_unscaled(term) for term in terms(problem.prior)]
    l1 = [factor * np.asarray(as_numpy(one.weight), np.float64) for factor, one in found if type(one) is L1]
    positive = any(isinstance(one, NonNegative) and factor for factor, one in found)
    if len(l1) != 1 or len(found) > 1 + positive:
        raise CapabilityError(
            f"ActiveSet needs the prior L1, or L1 + NonNegative, got {problem.prior!r}. Use Fista."
        )
    shape = (*problem.batch, *domain.shape)
    return np.broadcast_to(l1[0], shape).reshape(-1, domain.size), positive


def _unscaled(prior: Any) -> tuple[float, Any]:
    """A prior as a factor times one that is no multiple of another."""
    factor = 1.0
    while isinstance(prior, Scaled):
        factor, prior = factor * prior.factor, prior.prior
    return factor, prior


def _samples(x: Array, spec: Any) -> np.ndarray[Any, Any]:
    """The samples of a batch as rows."""
    return as_numpy(x).reshape(-1, spec.size)


def _columns(problem: Problem, indices: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Columns of A as rows, in the precision of the data."""
    operator: Operator = problem.operator
    dtype = as_numpy(problem.data).dtype
    if isinstance(operator, Matrix):
        return np.ascontiguousarray(operator.matrix[:, indices].T, dtype=dtype)
    domain: Any = operator.domain
    units = np.zeros((indices.size, domain.size), dtype=dtype)
    units[np.arange(indices.size), indices] = 1.0
    batch = from_numpy(units.reshape(indices.size, *domain.shape), problem.data)
    images = operator @ batch if indices.size else zeros(operator.codomain, problem.data, (0,))
    return as_numpy(images).reshape(indices.size, operator.shape[0])


def _violators(
    size: np.ndarray[Any, Any], weights: np.ndarray[Any, Any], taken: np.ndarray[Any, Any], most: int
) -> np.ndarray[Any, Any]:
    """The columns that break |c_j| <= w_j worst, beyond rounding."""
    excess = size - weights * (1.0 + 64.0 * np.finfo(size.dtype).eps)
    excess[taken] = 0.0
    found = np.flatnonzero(excess > 0.0)
    if found.size > most:
        found = found[np.argpartition(-excess[found], most)[:most]]
    return found


def _bordered(gram: Any, own: Any, more: Any) -> np.ndarray[Any, Any]:
    """The Gram matrix of all columns from that of the old ones."""
    old, count = len(own), len(own) + len(more)
    grown = np.empty((count, count), dtype=more.dtype)
    grown[:old, :old] = gram
    grown[old:, :old] = more @ own.T
    grown[:old, old:] = grown[old:, :old].T
    grown[old:, old:] = more @ more.T
    return grown


_SWEEPS, _MOVES, _ROUNDS = 8, 8, 500
"""Sweeps of coordinate descent before exact moves, at most so many moves, and of both at most so many rounds."""


def _minimiser(gram: Any, b: Any, weights: Any, positive: bool, x: Any) -> np.ndarray[Any, Any]:
    """argmin 1/2 x^T G x - b^T x + sum w |x|, in double precision: it is small."""
    ridge = 0.5 * float(np.finfo(gram.dtype).eps) * len(gram)
    gram, b, x = (np.array(one, dtype=np.float64) for one in (gram, b, x))
    g = gram @ x - b
    if not x.size:
        return x
    close = 1e-11 * float(weights.max()) + 64.0 * float(np.finfo(np.float64).eps) * float(np.abs(b).max())
    descend = _descend()
    for _ in range(_ROUNDS):
        descend(gram, weights, positive, x, g, _SWEEPS)
        for _ in range(_MOVES):
            arrived = _move(gram, g, weights, x, ridge)
            g = gram @ x - b
            if arrived:
                break
        outward = np.where(x == 0, 0.0, g + weights * np.sign(x))  # the slope where x is not 0
        pull = np.where(x == 0, (-g if positive else np.abs(g)) - weights, 0.0)
        if max(float(np.abs(outward).max()), float(pull.max())) <= close:
            break
    return x


def _move(gram: Any, g: Any, weights: Any, x: Any, ridge: float) -> bool:
    """Move x to the minimiser for its signs, or to where the first entry reaches 0; whether it came all the way."""
    support = np.flatnonzero(x)
    if not support.size:
        return True
    slope = g[support] + weights[support] * np.sign(x[support])
    move = -_solved(gram[np.ix_(support, support)], slope, ridge)
    back = move * x[support] < 0.0
    reach = np.full(support.size, np.inf)
    reach[back] = -x[support][back] / move[back]
    first = int(reach.argmin())
    if reach[first] > 1.0:
        x[support] += move
        return True
    x[support] += reach[first] * move
    x[support[first]] = 0.0
    return False


def _solved(gram: Any, right: Any, ridge: float) -> Any:
    """G^(-1) right; of dependent columns with a little more on the diagonal: a long way, but downhill."""
    from scipy.linalg import LinAlgError, cho_factor, cho_solve

    while True:
        raised = gram.copy()
        raised.flat[:: len(gram) + 1] *= 1.0 + ridge
        try:
            return cho_solve(cho_factor(raised, lower=True, check_finite=False), right, check_finite=False)
        except LinAlgError:
            ridge *= 100.0


def _descend() -> Callable[..., None]:
    try:
        from recon_proximal._descent_numba import descend
    except ImportError:
        return _descend_numpy
    return descend  # type: ignore[no-any-return]


def _descend_numpy(gram: Any, weights: Any, positive: bool, x: Any, g: Any, sweeps: int) -> None:
    """As the compiled one, an entry at a time."""
    for _ in range(sweeps):
        for j, curvature in enumerate(np.diagonal(gram)):
            if curvature <= 0.0:
                continue
            free = x[j] * curvature - g[j]
            size = max((free if positive else abs(free)) - weights[j], 0.0) / curvature
            move = (size if free > 0.0 else -size) - x[j]
            if move:
                x[j] += move
                g += move * gram[j]


def _rounding(y: Any) -> float:
    """What rounding makes of the objective of one sample."""
    return 32.0 * float(np.finfo(y.dtype).eps) * float(np.sum(y.astype(np.float64) ** 2))


def _value(r: Any, x: Any, weights: Any) -> float:
    """The objective of one sample."""
    return 0.5 * float(np.sum(r.astype(np.float64) ** 2)) + float(weights @ np.abs(x.astype(np.float64)))


def _gap(r: Any, y: Any, c: Any, x: Any, weights: Any, positive: bool) -> float:
    """The objective of one sample less its dual value at the best feasible multiple of the residual."""
    r, y, c, x = (one.astype(np.float64) for one in (r, y, c, x))
    square, slope = float(r @ r), float(r @ y)
    size = c if positive else np.abs(c)
    pulled = size > 0.0
    limit = float((weights[pulled] / size[pulled]).min(initial=np.inf))
    scale = min(max(slope / square, 0.0), limit) if square else 0.0
    return 0.5 * square + float(weights @ np.abs(x)) - scale * slope + 0.5 * scale**2 * square
