"""Abundances with given endmembers: exact for least squares, by reweighting for robust losses.

    Abundances          min_A  1/2 sum_l w_l ||(A E - Y)_l||^2 + sum lambda A     A >= 0, sum a = 1, as the prior says
    RobustAbundances    min_A  sum_l phi(||(A E - Y)_l||)                         the same constraints

No prior is unconstrained least squares (UCLS), ``NonNegative`` NNLS, ``Simplex`` FCLS, ``L1(lambda) + NonNegative`` the
nonnegative lasso of library unmixing (SUnSAL), with ``Simplex`` besides its sum-to-one form.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Ge

from recon import L1, LeastSquares, Matrix, NonNegative, Problem, Simplex, Solver, State, WeightedLeastSquares
from recon.arrays import Array, as_numpy
from recon.errors import CapabilityError
from recon.params import Doc
from recon.priors import Scaled, terms
from recon.solver import Fit
from recon_unmixing import _pixelwise
from recon_unmixing.losses import BandL21, BandLoss
from recon_unmixing.mixing import Mixing

__all__ = ["AbundanceState", "Abundances", "RobustAbundances"]


@dataclass(frozen=True)
class AbundanceState(State):
    """Abundances, and whether they are the final ones."""

    settled: bool


@dataclass(frozen=True)
class Abundances(Solver):
    """The exact abundances of every pixel, in one iteration.

    Minimises 1/2 ||A E - Y||^2 (bands may have weights) over A >= 0, or A >= 0 with sums of 1 (FCLS), with an l1
    penalty of any weights, or unconstrained. The bands are read once; then an active-set method works on p numbers
    per pixel: a microsecond for few endmembers, some tens for a library of hundreds. Rank-deficient libraries
    have several minimisers; one of them is found. Memory: A twice, in double precision.

    Parameters
    ----------
    method
        ``"active-set"`` (compiled, exact to rounding, on the CPU), ``"projection"`` (accelerated projected gradients
        on the device of the data; no l1 penalty), ``"auto"``: the first for arrays on the CPU.

    Raises
    ------
    CapabilityError
        For another operator than ``Mixing`` or a real ``Matrix``, another loss or prior.

    References
    ----------
    C. L. Lawson, R. J. Hanson, "Solving least squares problems", 1974, chapter 23; D. C. Heinz, C.-I. Chang, IEEE
    Trans. Geosci. Remote Sens. 39 (2001) 529, doi:10.1109/36.911111 (FCLS).
    """

    method: Annotated[Literal["auto", "active-set", "projection"], Doc("how the pixels are solved")] = "auto"

    state_type = AbundanceState

    def init(self, problem: Problem, x0: Array | None = None, seed: int = 0) -> AbundanceState:
        _constraints(problem)
        _band_weights(problem)
        return AbundanceState(0, problem.start(x0), False)

    def step(self, problem: Problem, state: AbundanceState) -> AbundanceState:
        if state.settled:
            return replace(state, iteration=state.iteration + 1)
        return AbundanceState(state.iteration + 1, self._solved(problem, state.x), True)

    def measure(self, problem: Problem, state: AbundanceState) -> dict[str, float]:
        if type(problem.loss) is not LeastSquares or not isinstance(problem.data, np.ndarray):
            return super().measure(problem, state)
        E = spectra(problem)
        E = E.astype(problem.data.dtype, copy=False)
        loss = _pixelwise.half_square(
            problem.data.reshape(-1, E.shape[1]), np.reshape(state.x, (-1, len(E))), E
        )
        return {"objective": loss + problem.penalty(state.x), "loss": loss}

    def _solved(self, problem: Problem, start: Array) -> Array:
        nonnegative, total, penalty = _constraints(problem)
        E = spectra(problem)
        device = _is_device(problem.data)
        if self.method == "projection" or (self.method == "auto" and device):
            if penalty is not None or not nonnegative:
                raise CapabilityError(
                    "Abundances.method 'projection' needs NonNegative or Simplex, without L1."
                )
            xp, C = _device_rows(problem, E)
            A = _pixelwise.projected(xp.asarray(_gram(problem, E), dtype=C.dtype), C, total)
            return xp.reshape(A, start.shape)
        rows = as_numpy(problem.data).reshape(-1, E.shape[1])
        G, C = _pixelwise.correlations(rows, E, _band_weights(problem))
        if penalty is not None:
            C = C - np.broadcast_to(penalty, tuple(start.shape)).reshape(C.shape)
        if nonnegative:
            A = _pixelwise.exact(G, C, total)
        else:
            A = _pixelwise.unconstrained(G, C)
        return _pixelwise.like_data(A.reshape(tuple(start.shape)), problem.data)

    @classmethod
    def suits(cls, problem: Problem) -> Fit | None:
        if not isinstance(problem.operator, Mixing) or problem.prior is None:
            return None
        try:
            _constraints(problem)
            _band_weights(problem)
        except CapabilityError:
            return None
        return Fit(5.0, "given endmembers: every pixel is solved exactly")

    @classmethod
    def example(cls) -> Problem:
        return _example(LeastSquares())


@dataclass(frozen=True)
class RobustAbundancesState(State):
    """Abundances, the weights of the bands for the next iteration, and whether the run has ended."""

    weights: Array
    value: float
    settled: bool


@dataclass(frozen=True)
class RobustAbundances(Solver):
    """Abundances that bad bands do not spoil: ``BandL21`` or ``BandLog`` by reweighted exact least squares.

    Each iteration is one run of the active set from the abundances before, with new weights of the bands. The first is
    least squares where no start is given; from then on the loss never rises. 10 to 30 iterations are usual; each reads
    the cube twice. Pixels share the weights: this is a method for a scene, not for single pixels. (The pixel-wise l2,1
    loss sum_n ||a_n E - y_n|| has, for given endmembers, the minimiser of least squares: use ``Abundances``.)

    Parameters
    ----------
    tol
        Relative fall of the loss at which the run ends.
    """

    tol: Annotated[float, Ge(0), Doc("relative fall of the loss at which to stop")] = 1e-9

    state_type = RobustAbundancesState

    def init(self, problem: Problem, x0: Array | None = None, seed: int = 0) -> RobustAbundancesState:
        loss = _band_loss(problem)
        x = problem.start(x0)
        weights = np.ones(spectra(problem).shape[1])
        lengths, pixels = loss.lengths(problem.operator @ x, problem.data), math.prod(x.shape[:-1])
        if x0 is not None:
            weights = loss.weights(lengths, pixels)
            weights = weights / np.max(weights)
        return RobustAbundancesState(
            0, x, _pixelwise.like_data(weights, problem.data), loss.of_lengths(lengths, pixels), False
        )

    def step(self, problem: Problem, state: RobustAbundancesState) -> RobustAbundancesState:
        if state.settled:
            return replace(state, iteration=state.iteration + 1)
        nonnegative, total, _ = _constraints(problem)
        E, loss = spectra(problem), _band_loss(problem)
        rows = as_numpy(problem.data).reshape(-1, E.shape[1])
        G, C = _pixelwise.correlations(rows, E, as_numpy(state.weights))
        start = None if state.iteration == 0 else as_numpy(state.x).reshape(C.shape)
        A = _pixelwise.exact(G, C, total, start) if nonnegative else _pixelwise.unconstrained(G, C)
        x = _pixelwise.like_data(A.reshape(tuple(state.x.shape)), problem.data)
        prediction = problem.operator @ x
        lengths = loss.lengths(prediction, problem.data)
        value = loss.of_lengths(lengths, len(rows))
        if state.iteration > 0 and value > state.value:  # rounding, or bands that are fitted exactly
            return replace(state, iteration=state.iteration + 1, settled=True)
        weights = loss.weights(lengths, len(rows))
        weights = weights / np.max(weights)
        settled = state.iteration > 0 and state.value - value <= self.tol * abs(value)
        return RobustAbundancesState(
            state.iteration + 1, x, _pixelwise.like_data(weights, problem.data), value, bool(settled)
        )

    def measure(self, problem: Problem, state: RobustAbundancesState) -> dict[str, float]:
        return {"objective": state.value, "loss": state.value}

    def hyperparameters(self, state: RobustAbundancesState) -> dict[str, Any]:
        """weights: how much each band counted, the best one 1."""
        return {"weights": state.weights}

    @classmethod
    def suits(cls, problem: Problem) -> Fit | None:
        if not (isinstance(problem.operator, Mixing) and isinstance(problem.loss, BandLoss)):
            return None
        try:
            _band_loss(problem)
        except CapabilityError:
            return None
        return Fit(5.0, "given endmembers and a loss by bands: reweighted exact least squares")

    @classmethod
    def example(cls) -> Problem:
        return _example(BandL21())


def spectra(problem: Problem) -> np.ndarray[Any, Any]:
    """E (p, L) of a problem, or a CapabilityError that says what is needed."""
    operator = problem.operator
    if isinstance(operator, Mixing):
        return operator.endmembers
    if isinstance(operator, Matrix) and operator.matrix.dtype.kind == "f":
        return operator.matrix.T
    raise CapabilityError(
        f"Unmixing needs the operator Mixing(endmembers) or a real Matrix, got {operator!r}. Use Fista or Pdhg."
    )


def _constraints(problem: Problem) -> tuple[bool, float | None, Any]:
    """Whether A >= 0, what its pixels sum to (None: anything), and the weights of the l1 penalty (None: no)."""
    spectra(problem)
    nonnegative, total, penalty = problem.prior is None, None, None
    signs = False
    for term in terms(problem.prior):
        factor = 1.0
        while isinstance(term, Scaled):
            factor, term = factor * term.factor, term.prior
        if isinstance(term, Simplex) and term.axis == -1:
            total, signs = term.total, True
        elif type(term) is NonNegative:
            signs = True
        elif type(term) is L1:
            own = factor * as_numpy(term.weight) if hasattr(term.weight, "shape") else factor * term.weight
            penalty = own if penalty is None else penalty + own
        else:
            raise _unsuited(problem)
    nonnegative = signs
    if penalty is not None and not signs:
        raise _unsuited(problem)
    return nonnegative, total, penalty


def _unsuited(problem: Problem) -> CapabilityError:
    return CapabilityError(
        "Abundances are solved for no prior, NonNegative, Simplex (last axis), and these two with L1, got "
        f"{problem.prior!r}. Use Fista, Pdhg or Admm."
    )


def _band_weights(problem: Problem) -> np.ndarray[Any, Any] | None:
    """The weights of the bands in a weighted least-squares loss, None where all count alike."""
    loss = problem.loss
    if isinstance(loss, LeastSquares):
        return None
    if isinstance(loss, WeightedLeastSquares):
        w = as_numpy(loss.weights)
        bands = w.reshape(-1, w.shape[-1])[0] if w.ndim else np.asarray(w)
        if (w == bands).all():
            return np.broadcast_to(bands, (spectra(problem).shape[1],))
    raise CapabilityError(
        f"Abundances needs LeastSquares, or WeightedLeastSquares with one weight per band, got {type(loss).__name__}. "
        "Use RobustAbundances for BandL21 and BandLog."
    )


def _band_loss(problem: Problem) -> BandLoss:
    _, _, penalty = _constraints(problem)
    if not isinstance(problem.loss, BandLoss) or penalty is not None:
        raise CapabilityError(
            f"RobustAbundances needs the loss BandL21 or BandLog without an L1 prior, got "
            f"{type(problem.loss).__name__} and {problem.prior!r}. Use Abundances for least squares."
        )
    return problem.loss


def _is_device(data: Any) -> bool:
    """Whether the data live on an accelerator."""
    import array_api_compat

    return bool(array_api_compat.is_cupy_array(data)) or "cuda" in str(getattr(data, "device", ""))


def _gram(problem: Problem, E: Any) -> Any:
    w = _band_weights(problem)
    return (E if w is None else E * w) @ E.T


def _device_rows(problem: Problem, E: Any) -> tuple[Any, Any]:
    """The array namespace and C = Y W E^T as rows, computed where the data are."""
    from recon.arrays import namespace, real_like

    xp, w = namespace(problem.data), _band_weights(problem)
    rows = xp.reshape(problem.data, (-1, E.shape[1]))
    return xp, xp.matmul(rows, real_like((E if w is None else E * w).T, problem.data))


def _example(loss: Any) -> Problem:
    rng = np.random.default_rng(0)
    mixing = Mixing(rng.uniform(0.1, 0.9, (3, 12)))
    cube = mixing @ rng.dirichlet(np.ones(3), (4, 5)) + 0.02 * rng.standard_normal((4, 5, 12))
    return Problem(mixing, cube, Simplex(), loss)
