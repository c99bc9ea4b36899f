"""The weight of a prior, chosen from the data: minimise 1/2 ||A x - y||^2 + w prior(x), for which w?

    discrepancy   ||A x_w - y||^2 = expected ||noise||^2
    sure          ||A x_w - y||^2 + 2 <sigma^2 b, A x_w(y + e b) - A x_w(y)> / e      is least
    gcv           ||A x_w - y||^2 / (m - <b, A x_w(y + e b) - A x_w(y)> / e)^2        is least
    whiteness     sum of S^2 / (sum of S)^2, S = |F (A x_w - y)|^2                    is least
    lcurve        the curve (log ||A x_w - y||, log prior(x_w)) bends most

b holds random signs, so that the quotient estimates the degrees of freedom, the trace of y -> A x_w(y). Where the
prior is quadratic (`L2`) and A has an ``svd``, both are known in closed form and nothing is solved on the way.

The first two need the noise level. An estimate from the data counts structure as noise, and `sure` would believe it.
So, save for denoising (A^H A = A A^H = c I), `sure` takes the smaller one of that and of what the choice of `gcv`
leaves, sigma^2 = ||A x_w - y||^2 / (m - degrees of freedom). ``auto`` is `sure`, and `gcv` where noise is None.
docs/weights.md has what each loses against the best weight.

Sources: V. A. Morozov, Soviet Math. Dokl. 7 (1966) 414; C. M. Stein, Ann. Stat. 9 (1981) 1135; S. Ramani,
T. Blu, M. Unser, IEEE Trans. Image Process. 17 (2008) 1540, doi:10.1109/TIP.2008.2001404; A. Girard, Numer.
Math. 56 (1989) 1; G. Wahba, J. R. Stat. Soc. B 45 (1983) 133 (the noise from what is left); A. Lanza, M. Pragliola,
F. Sgallari, Electron. Trans. Numer. Anal. 53 (2020) 329; P. C. Hansen, SIAM Rev. 34 (1992) 561.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np

from recon._ridge import ridge
from recon._searching import least, root
from recon.arrays import (
    Array,
    as_numpy,
    finite,
    from_numpy,
    is_complex,
    leaves,
    members,
    norm,
    per_member,
    random_normal,
    tmap,
    vdot,
)
from recon.errors import CapabilityError, ConvergenceError, ParameterError
from recon.fft import fftn
from recon.linalg import axpy
from recon.losses import LeastSquares
from recon.noise import energy, estimate, known, level
from recon.operator import capability
from recon.params import short
from recon.problem import Problem
from recon.solver import State

__all__ = ["Name", "Selection", "Trial", "choose_weight"]

log = logging.getLogger("recon")

Name = Literal["auto", "discrepancy", "sure", "gcv", "whiteness", "lcurve"]
Reconstruct = Callable[[Problem, Any, int | None], State]

_LEAST = 1e-3  # share of the degrees of freedom that a fit must leave
_LCURVE = np.geomspace(1e-3, 1e2, 16)  # of the first weight


@dataclass(frozen=True)
class Trial:
    """One weight that was tried: the misfit ||A x - y|| it left, and what the rule makes of it."""

    weight: float
    misfit: float
    score: float


@dataclass(frozen=True)
class Selection:
    """The weight a rule chose, the image it gave, and the path there.

    Parameters
    ----------
    rule
        Name of the rule that decided.
    weight
        Factor of the problem's prior.
    x
        Reconstruction with that weight.
    trials
        Every weight tried, in order.
    iterations
        Of the solver, all trials together.
    """

    rule: str
    weight: float
    x: Array = field(repr=False)
    trials: tuple[Trial, ...] = field(repr=False)
    iterations: int = 0

    def record(self) -> dict[str, Any]:
        """Rule, weight and path as JSON data."""
        return {
            "rule": self.rule,
            "weight": self.weight,
            "iterations": self.iterations,
            "path": [[trial.weight, trial.misfit, trial.score] for trial in self.trials],
        }


def choose_weight(problem: Problem, rule: Name, reconstruct: Reconstruct, *, seed: int = 0) -> Selection:
    """Choose the factor of a problem's prior.

    Parameters
    ----------
    problem
        With a prior and the least-squares loss. The prior's own weight is the unit of the result.
    rule
        ``"auto"`` or one of the names above.
    reconstruct
        ``reconstruct(problem, start, iterations) -> state``: solves for one weight, from the state of a run with
        another one (None: from the beginning), with so many iterations (None: until its own rule stops).
    seed
        Of the random signs.

    Returns
    -------
    Selection

    Raises
    ------
    CapabilityError
        Without a prior, or with another loss.
    ParameterError
        For an unknown rule, a rule that needs a noise level which is not known, or too few points on the curve.

    Notes
    -----
    Cost: as a rule 4 to 10 weights, 16 for `lcurve`, one reconstruction each (two for `sure` and `gcv`), which goes on
    from the state of the one before. Memory: two states.
    """
    if rule not in get_args(Name):
        raise ParameterError(f"weight must be one of {', '.join(get_args(Name))}, got {short(rule)}.")
    if problem.prior is None:
        raise CapabilityError("weight needs a prior whose weight it chooses, got a problem without one.")
    if not isinstance(problem.loss, LeastSquares):
        raise CapabilityError(
            f"weight needs LeastSquares, got {type(problem.loss).__name__}. Give the prior its weight yourself."
        )
    name: str = rule
    if name == "auto":
        name = "gcv" if problem.noise is None else "sure"
    search = _Search(problem, reconstruct, seed)
    weight = _RULES[name](search)
    if len({trial.score for trial in search.trials}) == 1:
        log.warning("the weight changes nothing that %s could see: %.4g is as good as any", name, weight)
    log.info("weight %.4g chosen by %s after %d trials", weight, name, len(search.trials))
    return Selection(name, weight, search.image(weight), tuple(search.trials), search.spent)


class _Search:
    """One image after the other, each solved from the state of the one before, and the trials made so far.

    A second series, of the data moved by a small step, measures how the images respond to the data. It walks the
    same path with as many iterations: then the difference is the derivative of what is really computed.
    """

    def __init__(self, problem: Problem, reconstruct: Reconstruct, seed: int) -> None:
        self.problem, self.reconstruct = problem, reconstruct
        self.trials: list[Trial] = []
        self.spent = 0
        self._weight = math.nan  # of the state and the moved state at hand
        self._state: State | None = None
        self._moved: State | None = None
        self._prediction: Array = None
        self._misfits: dict[float, float] = {}
        self._responses: dict[float, float] = {}
        self._ridge = ridge(problem)
        # a stream of its own: signs of the very numbers that made simulated noise would follow it, not probe it
        rng = np.random.default_rng((seed, 2008))
        draws = random_normal(problem.operator.codomain, problem.data, rng, problem.batch)
        self.signs = tmap(_signs, draws)
        image = random_normal(problem.operator.domain, problem.data, rng, problem.batch)
        self.count = _count(problem.operator @ image)
        if not self.count:
            raise ParameterError(
                "weight needs data that tell something of the image, got an operator that is 0. Check its scale."
            )

    def image(self, weight: float) -> Array:
        if weight != self._weight or self._state is None:
            self._state = self._solve(weight, self.problem.data, self._state, None)
            self._weight = weight
            self._prediction = self.problem.operator @ self._state.x
        return self._state.x

    def _solve(self, weight: float, data: Array, start: State | None, iterations: int | None) -> State:
        assert self.problem.prior is not None
        problem = replace(self.problem, data=data, prior=weight * self.problem.prior)
        state = self.reconstruct(problem, start, iterations)
        self.spent += state.iteration
        if not finite(state.x):
            raise ConvergenceError(
                f"The run with weight {weight:.4g} diverged, so that no rule can judge it. "
                "Check the step size, or choose another solver."
            )
        return state

    def residual(self, weight: float) -> Array:
        self.image(weight)
        return axpy(-1.0, self.problem.data, self._prediction)

    def misfit(self, weight: float) -> float:
        if weight not in self._misfits:
            self._misfits[weight] = self._ridge.misfit(weight) if self._ridge else norm(self.residual(weight))
        return self._misfits[weight]

    def response(self, weight: float, variance: Any = 1.0) -> float:
        """<v b, A x(y + e b) - A x(y)> / e: the trace of v d(A x) / dy, estimated with one step e."""
        if not isinstance(variance, float):
            return self._probed(weight, variance)
        if weight not in self._responses:
            self._responses[weight] = (
                self._ridge.freedom(weight) if self._ridge else self._probed(weight, 1.0)
            )
        return variance * self._responses[weight]

    def _probed(self, weight: float, variance: Any) -> float:
        step = 0.1 * self.size  # a step of the size of the noise would leave the piece that the image lies in
        self.image(weight)
        assert self._state is not None
        data = axpy(step, self.signs, self.problem.data)
        self._moved = self._solve(weight, data, self._moved, self._state.iteration)
        change = axpy(-1.0, self._prediction, self.problem.operator @ self._moved.x)
        probe = tmap(lambda b, v: b * v, self.signs, per_member(variance, change))
        return vdot(probe, change).real / step

    def rest(self, weight: float) -> float:
        """The share of the degrees of freedom that a fit leaves, as gcv divides by it."""
        return max(1 - self.response(weight) / self.count, _LEAST)

    @cached_property
    def size(self) -> float:
        """The order of magnitude of the noise: known, estimated, or a tenth of the data."""
        noise, data = self.problem.noise, self.problem.data
        if noise is not None and not isinstance(noise, str):
            return level(noise)
        try:
            return estimate(data)
        except ParameterError:
            return 0.1 * norm(data) / math.sqrt(_size(data)) or 1.0

    def natural(self) -> float:
        """The size of noise after A^H: the order of magnitude of a good weight of an l1-type prior."""
        back = self.problem.operator.H @ tmap(lambda b: self.size * b, self.signs)
        return norm(back) / math.sqrt(_size(back)) or 1.0

    def note(self, weight: float, misfit: float, score: float) -> float:
        self.trials.append(Trial(weight, misfit, score))
        return score


# -- the rules: each returns the weight it chooses -------------------------------------------------------


def _discrepancy(search: _Search) -> float:
    goal = energy(search.problem, "weight = 'discrepancy'") * search.count / _size(search.problem.data)

    def excess(weight: float) -> float:
        misfit = search.misfit(weight)
        return search.note(weight, misfit, math.log(max(misfit**2, 1e-300) / goal))

    weight = root(excess, search.natural())
    nearest = min(search.trials, key=lambda trial: abs(math.log(trial.weight / weight)))
    if abs(nearest.score) > 0.1:
        log.warning("no weight leaves a misfit as large as the noise: %.4g comes nearest", weight)
    return weight


def _sure(search: _Search) -> float:
    sigma = known(search.problem, "weight = 'sure'")
    tried = [search.natural()]
    if isinstance(search.problem.noise, str) and not _only_noise(search.problem):
        best = _gcv(search)
        sigma = min(sigma, search.misfit(best) / math.sqrt(search.rest(best) * search.count))
        tried = [trial.weight for trial in search.trials]  # nothing is solved for these again
        search.trials.clear()
    size = level(sigma)
    variance = tmap(lambda s: (s / size) ** 2, sigma)  # near 1, whatever the unit of single-precision data

    def risk(weight: float) -> float:
        misfit = search.misfit(weight)
        return search.note(weight, misfit, misfit**2 + 2 * size**2 * search.response(weight, variance))

    return least(risk, tried)


def _gcv(search: _Search) -> float:
    nothing = norm(search.problem.data)

    def score(weight: float) -> float:
        misfit, rest = search.misfit(weight), search.rest(weight)
        judged = misfit if rest > _LEAST else nothing  # a fit that leaves nothing free tells nothing: 0 / 0
        return search.note(weight, misfit, (judged / rest) ** 2)

    return least(score, [search.natural()])


def _whiteness(search: _Search) -> float:
    def score(weight: float) -> float:
        residual = search.residual(weight)
        parts = [
            _flatness(leaf, one.ndim)
            for leaf, one in zip(leaves(residual), members(search.problem.operator.codomain), strict=True)
        ]
        return search.note(weight, norm(residual), sum(parts))

    return least(score, [search.natural()])


def _lcurve(search: _Search) -> float:
    value = capability(search.problem.prior, "value")
    if value is None:
        raise CapabilityError(f"weight = 'lcurve' needs {search.problem.prior!r}.value, which it has not.")
    weights = _LCURVE[::-1] * search.natural()
    misfits = np.array([norm(search.residual(float(w))) for w in weights])
    sizes = np.array([value(search.image(float(w))) for w in weights])
    seen = (misfits > 0) & (sizes > 0) & np.isfinite(sizes)  # an image of zeros has no place on the curve
    bend = np.full(len(weights), -np.inf)
    if seen.sum() >= 3:
        bend[seen] = _curvature(*(np.log(values[seen]) for values in (misfits, sizes, weights)))
    for weight, misfit, score in zip(weights, misfits, bend, strict=True):
        search.note(float(weight), float(misfit), float(score))
    if bend.max() == -np.inf:
        raise ParameterError(
            "weight = 'lcurve' needs three weights or more that leave misfit and prior > 0, got fewer. "
            "Use weight = 'gcv', or check the scale of the data."
        )
    return float(weights[int(np.argmax(bend))])


def _curvature(u: Any, v: Any, t: Any) -> Any:
    du, dv = np.gradient(u, t), np.gradient(v, t)
    with np.errstate(divide="ignore", invalid="ignore"):
        bend = (du * np.gradient(dv, t) - dv * np.gradient(du, t)) / (du**2 + dv**2) ** 1.5
    bend = np.where(np.isfinite(bend), bend, -np.inf)
    bend[[0, -1]] = -np.inf  # one-sided differences bend wildly
    return bend


_RULES = {
    "discrepancy": _discrepancy,
    "sure": _sure,
    "gcv": _gcv,
    "whiteness": _whiteness,
    "lcurve": _lcurve,
}

# -- small things ----------------------------------------------------------------------------------------


def _only_noise(problem: Problem) -> bool:
    """Whether the data are image and noise and nothing else: A^H A = A A^H = c I."""
    rows, columns = problem.operator.shape
    return rows == columns and capability(problem.operator, "row_scale") is not None


def _signs(leaf: Any) -> Any:
    values = as_numpy(leaf)
    signs = np.where(values.real < 0, -1.0, 1.0)
    if values.dtype.kind == "c":
        signs = signs + 1j * np.where(values.imag < 0, -1.0, 1.0)
    return from_numpy(signs, leaf, dtype=leaf.dtype)


def _flatness(leaf: Any, ndim: int) -> float:
    values = as_numpy(leaf)
    largest = float(np.abs(values).max())
    if not largest:
        return 0.0
    values = values.astype(np.result_type(values, np.float64)) / largest  # fourth powers follow
    power = np.abs(fftn(values, tuple(range(-ndim, 0)))) ** 2
    return float((power**2).mean() / power.mean() ** 2)


def _size(x: Array) -> int:
    """How many real numbers an array holds."""
    return sum(math.prod(leaf.shape) * (2 if is_complex(leaf) else 1) for leaf in leaves(x))


def _count(prediction: Array) -> int:
    """How many real numbers can be anything but 0: k-space is kept on the full grid, measured or not."""
    return sum(
        int((as_numpy(leaf) != 0).sum()) * (2 if is_complex(leaf) else 1) for leaf in leaves(prediction)
    )
