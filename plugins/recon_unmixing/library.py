"""Unmixing with a library of many more spectra than the scene contains, atoms shared by all pixels.

    CollaborativeLasso   min 1/2 ||A D - Y||^2 + sum_k w_k ||A_k||,  A >= 0         atoms used by few pixels vanish
    SpatialLasso         the lasso, its weights again and again from neighbours and from whole maps
    EvidenceUnmixing     atoms, and how their abundances vary, by the evidence of all pixels; no weight at all

A_k is the map of atom k. Pixels couple through their atoms, so name them: ``Mixing(library, pixels=(H, W))``. The
exact lasso itself (SUnSAL) is ``Abundances`` with the prior ``L1(w) + NonNegative()``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Ge, Gt

from recon import L1, L21, LeastSquares, NonNegative, Problem, Solver, State
from recon.arrays import Array, as_numpy, members
from recon.errors import CapabilityError, ParameterError
from recon.noise import known
from recon.params import Doc
from recon.priors import Scaled, terms
from recon.solver import Fit
from recon_unmixing import _pixelwise
from recon_unmixing._evidence import atom_variances, moments
from recon_unmixing._rows import collaborative
from recon_unmixing.abundances import AbundanceState
from recon_unmixing.mixing import Mixing

__all__ = [
    "CollaborativeLasso",
    "CollaborativeState",
    "EvidenceState",
    "EvidenceUnmixing",
    "SpatialLasso",
]


@dataclass(frozen=True)
class CollaborativeState(State):
    """Abundances, the value of the dual point, and whether the gap asked for is certified."""

    dual: float
    settled: bool


@dataclass(frozen=True)
class CollaborativeLasso(Solver):
    """The collaborative nonnegative lasso (CLSUnSAL) to a certified gap, working on the few atoms that matter.

    Minimises 1/2 ||A D - Y||^2 + sum_k w_k ||A_k|| over A >= 0, where A_k holds the abundances of atom k in all
    pixels. The row norms are written as lam ||A_k|| = min lam/2 (||A_k||^2 / eta_k + eta_k): for fixed eta every pixel
    is solved exactly by an active set, and eta is found by Newton's method, one number per atom. Each step runs to
    the gap or to ``limit`` inner iterations; 40 to 50 are usual. Memory: A four times, in double precision.

    Parameters
    ----------
    tol
        Duality gap / objective at which the run ends.
    limit
        Inner iterations of one step.

    Raises
    ------
    CapabilityError
        For another operator than ``Mixing`` with ``pixels``, another loss than least squares, another prior than
        ``L21(w, axis=(-3, -2)) + NonNegative()`` (over all axes of the pixels), or several scenes at a time.

    References
    ----------
    M.-D. Iordache, J. M. Bioucas-Dias, A. Plaza, IEEE Trans. Geosci. Remote Sens. 52 (2014) 341,
    doi:10.1109/TGRS.2013.2240001, equation 6 (the objective).
    """

    tol: Annotated[float, Gt(0), Doc("duality gap / objective at which the run ends")] = 1e-6
    limit: Annotated[int, Ge(1), Doc("inner iterations of one step")] = 100

    state_type = CollaborativeState

    def init(self, problem: Problem, x0: Array | None = None, seed: int = 0) -> CollaborativeState:
        _row_weights(problem)
        return CollaborativeState(0, problem.start(x0), 0.0, False)

    def step(self, problem: Problem, state: CollaborativeState) -> CollaborativeState:
        if state.settled:
            return replace(state, iteration=state.iteration + 1)
        weights = _row_weights(problem)
        D, Y = _library(problem, type(self).__name__)
        G, C = _pixelwise.correlations(Y, D)
        start = np.maximum(as_numpy(state.x).reshape(C.shape).astype(np.float64), 0.0)
        power = float(np.vdot(Y, Y))
        if power == 0.0:
            zeros = _pixelwise.like_data(np.zeros(tuple(state.x.shape)), problem.data)
            return CollaborativeState(state.iteration + 1, zeros, 0.0, True)
        rows = collaborative(G, C, power, weights, start, self.tol, self.limit)
        x = _pixelwise.like_data(rows.A.reshape(tuple(state.x.shape)), problem.data)
        return CollaborativeState(state.iteration + 1, x, rows.dual, bool(rows.gap <= self.tol))

    def measure(self, problem: Problem, state: CollaborativeState) -> dict[str, float]:
        values = super().measure(problem, state)
        return {**values, "gap": max(values["objective"] - state.dual, 0.0)}

    @classmethod
    def suits(cls, problem: Problem) -> Fit | None:
        try:
            _row_weights(problem)
        except CapabilityError:
            return None
        return Fit(5.0, "a library whose atoms are shared by all pixels: exact, with a certificate")

    @classmethod
    def example(cls) -> Problem:
        mixing, cube = _example()
        return Problem(mixing, cube, L21(0.05, axis=(-3, -2)) + NonNegative())


@dataclass(frozen=True)
class SpatialLasso(Solver):
    """The nonnegative lasso with weights from neighbours and whole maps, each one solved exactly (after S2WSU).

    First the lasso 1/2 ||A D - Y||^2 + w sum A, A >= 0. Then, once per iteration, the weight of atom k in pixel n is

        w / ((offset + mean of A_k over the 8 neighbours of n) (||A_k|| + 1e-6 ||A||))

    Diagonal neighbours count 1/sqrt(2); outside the scene there are none. Published versions change the weights
    inside unfinished inner iterations; here each weighted lasso is exact. No objective falls over all iterations
    (``measure`` reports that of the unweighted problem); the weights settle after 5 to 10. Work: some ten
    microseconds per pixel and iteration beside one product Y D^T.

    Parameters
    ----------
    offset
        What is added to the mean of the neighbours: an abundance below which atoms count as absent.
    tol
        Relative change of the abundances at which the run ends.

    Raises
    ------
    CapabilityError
        For another operator than ``Mixing(library, pixels=(H, W))``, another loss than least squares, another prior
        than ``L1(w) + NonNegative()``, or several scenes at a time.

    References
    ----------
    S. Zhang et al., "Spectral-spatial weighted sparse regression for hyperspectral image unmixing", IEEE Trans.
    Geosci. Remote Sens. 56 (2018) 3265, doi:10.1109/TGRS.2018.2797200.
    """

    offset: Annotated[float, Gt(0), Doc("added to the mean of the neighbours")] = 0.01
    tol: Annotated[float, Ge(0), Doc("relative change of the abundances at which to stop")] = 1e-4

    state_type = AbundanceState

    def init(self, problem: Problem, x0: Array | None = None, seed: int = 0) -> AbundanceState:
        self._weight(problem)
        return AbundanceState(0, problem.start(x0), False)

    def step(self, problem: Problem, state: AbundanceState) -> AbundanceState:
        if state.settled:
            return replace(state, iteration=state.iteration + 1)
        D, Y = _library(problem, type(self).__name__)
        G, C = _pixelwise.correlations(Y, D)
        A = as_numpy(state.x).reshape(C.shape).astype(np.float64)
        size = float(np.linalg.norm(A))
        weights: Any = self._weight(problem)
        if size > 0.0:
            lengths = np.linalg.norm(A, axis=0) + 1e-6 * size
            near = _neighbours(A.reshape(*members(problem.operator.codomain)[0].shape[:2], -1)).reshape(
                A.shape
            )
            weights = weights / ((self.offset + near) * lengths)
        new = _pixelwise.exact(G, C - weights, None, np.maximum(A, 0.0))
        settled = size > 0.0 and float(np.linalg.norm(new - A)) <= self.tol * size
        x = _pixelwise.like_data(new.reshape(tuple(state.x.shape)), problem.data)
        return AbundanceState(state.iteration + 1, x, settled)

    @staticmethod
    def _weight(problem: Problem) -> float:
        _library(problem, "SpatialLasso")
        weight, signs = 0.0, False
        for factor, term in _terms(problem):
            if type(term) is NonNegative:
                signs = True
            elif type(term) is L1 and isinstance(term.weight, float | int):
                weight += factor * term.weight
            else:
                signs = False
                break
        if not signs or members(problem.operator.codomain)[0].ndim != 3:
            raise CapabilityError(
                "SpatialLasso needs Mixing(library, pixels=(H, W)) and the prior L1(number) + NonNegative(), got "
                f"{problem.operator!r} and {problem.prior!r}. Use Abundances or Fista."
            )
        return weight

    @classmethod
    def example(cls) -> Problem:
        mixing, cube = _example()
        return Problem(mixing, cube, L1(0.002) + NonNegative())


@dataclass(frozen=True)
class EvidenceState(State):
    """Abundances; of every atom its evidence variance g (0: not in the scene) and mean; the noise; the end."""

    variances: Array
    means: Array
    sigma: float
    settled: bool


@dataclass(frozen=True)
class EvidenceUnmixing(Solver):
    """Sparse Bayesian unmixing: which atoms the scene contains and how they vary is learned; no weight is set.

    1. Which atoms: y_n = a_n D + noise with a_n ~ N(0, diag(g)); g maximises the evidence of all pixels together, which
       reads them only through their L x L second moments. Atoms not worth their price (extended BIC) have g = 0.
    2. How they vary: mean m and covariance V of the abundances of those atoms, by the moments of least squares less
       what noise adds. That the abundances of a scene sum to one, say, is learned here, not imposed.
    3. The most probable abundances: min 1/2 ||a D - y||^2 + s2/2 (a - m) V^(-1) (a - m)^T over a >= 0, exact.

    All is done in the first iteration. Everything follows from the noise level: ``Problem.noise`` if it is a number;
    else one level for all bands, estimated from the scene (that needs twice as many pixels as bands). Cost: O(N L^2)
    once, then about 300 products of (M, L) and (L, L), M atoms.

    Parameters
    ----------
    abundances
        ``"learned"``: as above; ``"independent"``: m = 0 and V = diag(g), for scenes of few pixels.

    Raises
    ------
    CapabilityError
        For another operator than ``Mixing`` with ``pixels``, another loss than least squares, another prior than
        ``NonNegative()``, several scenes at a time, or noise that is not one number.
    ParameterError
        When the noise must be estimated from too few pixels.

    References
    ----------
    D. P. Wipf, B. D. Rao, IEEE Trans. Signal Process. 55 (2007) 3704, doi:10.1109/TSP.2007.894265 (evidence of
    joint sparsity); M. E. Tipping, A. C. Faul, AISTATS 2003 (one atom in closed form); J. Chen, Z. Chen, Biometrika
    95 (2008) 759, doi:10.1093/biomet/asn034 (extended BIC).
    """

    abundances: Annotated[
        Literal["learned", "independent"], Doc("whether mean and covariance of the abundances are learned")
    ] = "learned"

    state_type = EvidenceState

    def init(self, problem: Problem, x0: Array | None = None, seed: int = 0) -> EvidenceState:
        if [type(term) for _, term in _terms(problem)] != [NonNegative]:
            raise CapabilityError(
                f"EvidenceUnmixing learns its prior and needs NonNegative() only, got {problem.prior!r}."
            )
        D, Y = _library(problem, type(self).__name__)
        zeros = _pixelwise.like_data(np.zeros(len(D)), problem.data)
        return EvidenceState(0, problem.start(x0), zeros, zeros, _sigma(problem, Y), False)

    def step(self, problem: Problem, state: EvidenceState) -> EvidenceState:
        if state.settled:
            return replace(state, iteration=state.iteration + 1)
        D, Y = _library(problem, type(self).__name__)
        s2 = state.sigma**2
        A, g, means = np.zeros((len(Y), len(D))), np.zeros(len(D)), np.zeros(len(D))
        visible = np.flatnonzero(np.any(D != 0.0, axis=1))
        if len(visible) and s2 > 0.0 and Y.any():
            g[visible] = atom_variances(D[visible], Y.T @ Y / len(Y), s2, len(Y))
        chosen = np.flatnonzero(g)
        if len(chosen):
            G, C = _pixelwise.correlations(Y, D[chosen])
            mean, precision = np.zeros(len(chosen)), np.diag(1.0 / g[chosen])
            if self.abundances == "learned" and len(Y) > 2 * len(chosen) and _regular(G):
                mean, precision = moments(G, C, s2)
            P = s2 * precision
            A[:, chosen] = _pixelwise.exact(G + P, C + mean @ P)
            means[chosen] = mean
        x, g, means = (
            _pixelwise.like_data(one, problem.data) for one in (A.reshape(tuple(state.x.shape)), g, means)
        )
        return EvidenceState(state.iteration + 1, x, g, means, state.sigma, True)

    def hyperparameters(self, state: EvidenceState) -> dict[str, Any]:
        """variances: g of every atom, 0 where it is not in the scene; means; noise: its standard deviation."""
        return {"variances": state.variances, "means": state.means, "noise": state.sigma}

    def remarks(self, state: EvidenceState) -> list[str]:
        """How many atoms the scene contains."""
        count = int(np.count_nonzero(as_numpy(state.variances)))
        return [f"{count} of {len(state.variances)} atoms of the library are in the scene."]

    @classmethod
    def example(cls) -> Problem:
        mixing, cube = _example()
        return Problem(mixing, cube, NonNegative(), noise=0.01)


def _terms(problem: Problem) -> list[tuple[float, Any]]:
    """The terms of the prior, each with its factor."""
    found: list[tuple[float, Any]] = []
    for term in terms(problem.prior):
        factor = 1.0
        while isinstance(term, Scaled):
            factor, term = factor * term.factor, term.prior
        found.append((factor, term))
    return found


def _library(problem: Problem, owner: str) -> tuple[Any, Any]:
    """D (M, L) and the pixels as rows (N, L), both float64."""
    operator = problem.operator
    if not (isinstance(operator, Mixing) and operator.pixels and type(problem.loss) is LeastSquares):
        raise CapabilityError(
            f"{owner} needs Mixing(library, pixels=(H, W)) and LeastSquares, got {operator!r} and "
            f"{type(problem.loss).__name__}. Pixels share their atoms, so they must be axes of one sample."
        )
    if math.prod(problem.batch) != 1:
        raise CapabilityError(
            f"{owner} solves one scene at a time, got batch axes {problem.batch}. Loop over them."
        )
    D = np.asarray(operator.endmembers, dtype=np.float64)
    return D, as_numpy(problem.data).reshape(-1, D.shape[1]).astype(np.float64, copy=False)


def _row_weights(problem: Problem) -> Any:
    """The weight of every atom (M,), of L21 over all pixels."""
    D, _ = _library(problem, "CollaborativeLasso")
    operator: Any = problem.operator
    pixel_axes = tuple(range(-len(operator.pixels) - 1, -1))
    weights, signs, fits = np.zeros(len(D)), False, True
    for factor, term in _terms(problem):
        if type(term) is NonNegative:
            signs = True
        elif type(term) is L21 and tuple(sorted(np.atleast_1d(term.axis))) == pixel_axes:
            own = as_numpy(term.weight) if hasattr(term.weight, "shape") else np.asarray(term.weight)
            weights = weights + factor * np.broadcast_to(own.reshape(-1), len(D))
        else:
            fits = False
    if not (fits and signs and (weights > 0.0).all()):
        raise CapabilityError(
            f"CollaborativeLasso needs the prior L21(w, axis={pixel_axes}) + NonNegative() with w > 0, got "
            f"{problem.prior!r}. Use Fista or Admm."
        )
    return weights


def _neighbours(maps: Any) -> Any:
    """Weighted means of the 8 neighbours (H, W, M); those outside the scene do not count."""
    H, W = maps.shape[:2]
    total, count = np.zeros_like(maps), np.zeros((H, W, 1))
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            if down == right == 0:
                continue
            here = (slice(max(0, -down), H - max(0, down)), slice(max(0, -right), W - max(0, right)))
            there = (slice(max(0, down), H - max(0, -down)), slice(max(0, right), W - max(0, -right)))
            share = 1.0 / math.hypot(down, right)
            total[here] += share * maps[there]
            count[here] += share
    return total / np.maximum(count, 1e-300)


def _sigma(problem: Problem, Y: Any) -> float:
    """The standard deviation of the noise: as told, else estimated."""
    if problem.noise is None or isinstance(problem.noise, str):
        return estimate_sigma(Y)
    sigma = np.unique(as_numpy(known(problem, "EvidenceUnmixing")))
    if len(sigma) != 1:
        raise CapabilityError(
            "EvidenceUnmixing needs noise of one level, got Problem.noise that differs between entries. "
            "Divide bands of data and library by their noise first."
        )
    return float(sigma[0])


def estimate_sigma(Y: Any) -> float:
    """White noise of a scene (N, L): what no linear combination of the other bands explains, then the rest spectrum.

    Regression overestimates, as the other bands are noisy themselves; its level only counts the eigenvalues of R that
    hold signal (above (1 + sqrt(L / N))^2 s2, which noise does not reach). The mean of the others is s2.
    """
    from recon_unmixing._subspace import band_noise

    pixels, bands = Y.shape
    if pixels < 2 * bands:
        raise ParameterError(
            f"EvidenceUnmixing.noise must be known for {pixels} pixels of {bands} bands: an estimate needs twice as "
            "many pixels as bands. Give Problem(noise=...)."
        )
    left = band_noise(Y)
    s2 = float(np.mean(left * left)) * pixels / (pixels - bands + 1)
    values = np.linalg.eigvalsh(Y.T @ Y / pixels)
    rest = values[values <= (1.0 + math.sqrt(bands / pixels)) ** 2 * s2]
    signal = bands - len(rest)
    return math.sqrt(max(float(rest.sum()), 0.0) / (max(len(rest), 1) * (1.0 - signal / pixels)))


def _regular(G: Any) -> bool:
    """Whether least squares has one answer."""
    values = np.linalg.eigvalsh(G)
    return bool(values[0] > 1e-12 * values[-1])


def _example() -> tuple[Mixing, Any]:
    rng = np.random.default_rng(0)
    library = rng.uniform(0.1, 0.9, (8, 12))
    shares = np.zeros((5, 6, 8))
    shares[..., [1, 4, 6]] = rng.dirichlet(np.ones(3), (5, 6))
    mixing = Mixing(library, pixels=(5, 6))
    return mixing, mixing @ shares + 0.01 * rng.standard_normal((5, 6, 12))
