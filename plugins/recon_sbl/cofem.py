"""Sparse Bayesian learning without covariances, for operators known only by their products: CoFEM and beyond.

E-step    mu and diag(Sigma) for the prior variances g, by batched conjugate gradients (:mod:`_matrix_free`)
M-step    em        g_i <- |mu_i|^2 + Sigma_ii                              (the mean over snapshots of |mu_i|^2)
          mackay    g_i <- |mu_i|^2 / (1 - Sigma_ii / g_i)
          bounding  g_i <- |mu_i| / sqrt(a_i^H S^(-1) a_i)
noise     s2 <- (||y - A mu||^2 + s2 sum(1 - Sigma_ii / g_i)) / m           where Problem.noise is None
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Ge, Gt, Interval

from recon import Matrix, Operator, Problem
from recon.arrays import Array, as_numpy, is_complex, members, namespace, norm
from recon.errors import CapabilityError
from recon.params import Doc
from recon_sbl._factor import square
from recon_sbl._matrix_free import MatrixFree
from recon_sbl._noise import FLOOR, deviation, noise_variance, whitened
from recon_sbl._probes import column_energy, signs, total
from recon_sbl._rectified import rectified
from recon_sbl._state import SblSolver, SblState, check_model
from recon_sbl._updates import factor, noise

__all__ = ["Cofem", "CofemState"]

_DIGITS = (
    100.0  # no noise below this many roundings of the mean square: conjugate gradients would lose the prior
)


@dataclass(frozen=True)
class CofemState(SblState):
    """SblState, what the next update needs, and the solutions that conjugate gradients start from.

    Parameters
    ----------
    power
        Mean over snapshots of |mu|^2 / gamma, of the domain's shape, 0 where pruned.
    determined
        1 - variance / gamma without cancellation, likewise.
    energy
        diag(A^H A) of the whitened operator, and ``exact``: whether it is exact or from probes.
    solutions, root
        Memory of the engine: the last solutions of means and probes, and the scaling they belong to.
    s2
        Noise variance E|n|^2 in use.
    seed
        Of the probes.
    products
        Products with A^H A so far, of one column each.
    unfinished
        How many right-hand sides so far did not reach their tolerance.
    doubtful
        Whether the noise is learned from fewer data than entries.
    raised
        Whether the noise was too small for the digits of the data, so that more was taken.
    """

    power: Array
    determined: Array
    energy: Array
    exact: bool
    solutions: Array
    root: Array
    s2: float
    seed: int
    products: int
    unfinished: int
    doubtful: bool
    raised: bool


@dataclass(frozen=True)
class Cofem(SblSolver):
    """Covariance-free sparse Bayesian learning: any real or complex operator, from products alone.

    Lowers L(g) of :class:`Sbl` from equal shares of the data's power. The mean and ``probes`` random right-hand sides
    are solved in one batch of conjugate gradients, each to its own tolerance, with the Jacobi preconditioner on both
    sides and from the last solutions. ``result.x`` is the posterior mean, ``result.variance`` an estimate of
    diag(Sigma), the objective L with log|S| from one probe (fixed, so its error hardly moves between iterations).

    With ``pooled`` a few probes are enough: single estimates are drawn towards a model that fits their sum, as far as
    their scatter asks for it. Without, it is the published algorithm: fresh probes each iteration, plain means of
    them, solved from 0. Then one wants 10 or more.

    Where ``Problem.noise`` is None the noise is learned by EM, from a tenth of the data's power. That suits tall
    operators; with fewer data than entries L itself prefers too little noise (a remark says so): give it then. Noise
    more than 49 dB (single precision) or 136 dB (double) below the data is raised to that, which a remark tells.

    Per iteration about 5 to 20 products with A^H A for each of the probes and snapshots; memory of about
    12 (probes + snapshots) + 15 images.

    Parameters
    ----------
    update
        ``"em"``: slow and steady, the best estimates. ``"mackay"`` and ``"bounding"``: faster, but more easily caught
        in a poor local minimum where the support is large.
    probes
        Random right-hand sides for the variance.
    joint
        Batch axes of the data are snapshots of one support: they share g.
    nonnegative
        Entries are >= 0, with the prior N(0, g) cut off at 0: each entry's own posterior is cut off, which neglects
        how the cuts interact; L is that of the uncut model. Real data only.
    pooled
        Draw single variances towards what their sum says.
    prune
        Entries whose expected power g_i ||a_i||^2 falls below this part of the largest are 0 for good.
    tol
        The method has ended when an iteration lowers L by less than this for each datum (or entry, where these are
        fewer) and snapshot, as told by its derivatives. EM gives its best estimates and intervals before it converges:
        smaller values make both a little worse on average, and more entries small.
    mean_tol, probe_tol
        Relative residuals of the solves for the means (at most: less where there is little noise) and for the probes.
    inner
        Iterations of conjugate gradients at most. What has not converged by then is used as it is, and a remark says
        how often.

    Raises
    ------
    CapabilityError
        For another loss, a prior, tuples, a batch without ``joint``, or complex data with ``nonnegative``.

    References
    ----------
    A. Lin, A. H. Song, B. Bilgic, D. Ba, IEEE Trans. Signal Process. 70 (2022) 3818, doi:10.1109/TSP.2022.3186185;
    M. F. Hutchinson, Commun. Stat. Simul. Comput. 18 (1989) 1059; S. Ubaru, J. Chen, Y. Saad, SIAM J. Matrix Anal.
    Appl. 38 (2017) 1075, doi:10.1137/16M1104974 (log|S|).
    """

    update: Annotated[Literal["bounding", "em", "mackay"], Doc("rule for the prior variances")] = "em"
    probes: Annotated[int, Ge(1), Doc("random right-hand sides for the variance")] = 4
    joint: Annotated[bool, Doc("batch axes are snapshots that share the prior variances")] = False
    nonnegative: Annotated[bool, Doc("entries are >= 0")] = False
    pooled: Annotated[bool, Doc("draw single variances towards what their sum says")] = True
    prune: Annotated[
        float, Interval(ge=0, lt=1), Doc("leave out what falls below this part of the largest")
    ] = 1e-8
    tol: Annotated[float, Gt(0), Doc("fall of L per datum at which the method has ended")] = 0.03
    mean_tol: Annotated[float, Gt(0), Doc("relative residual of the solves for the means")] = 1e-4
    probe_tol: Annotated[float, Gt(0), Doc("relative residual of the solves for the probes")] = 1e-2
    inner: Annotated[int, Ge(1), Doc("most iterations of conjugate gradients")] = 400

    state_type = CofemState

    def init(self, problem: Problem, x0: Array | None = None, seed: int = 0) -> CofemState:
        check_model(problem, "Cofem", joint=self.joint)
        if self.nonnegative and is_complex(problem.data):
            raise CapabilityError(
                "Cofem.nonnegative needs real data, got complex. Split real and imaginary parts into separate problems."
            )
        x = problem.start(x0)
        operator, data, s2 = whitened(problem, "Cofem")
        energy, exact = column_energy(operator, data, seed)
        mean = norm(data) ** 2 / math.prod(data.shape)
        xp = namespace(energy)
        on = energy > 0
        start = mean * operator.shape[0] / operator.shape[1]
        gamma = xp.where(on, start / xp.where(on, energy, xp.ones_like(energy)), xp.zeros_like(energy))
        nothing = xp.zeros_like(gamma)
        empty = xp.zeros((0,), dtype=data.dtype)
        doubtful = s2 is None and operator.shape[0] < operator.shape[1]
        least = _least(data)
        raised = s2 is not None and s2 < least
        s2 = 0.1 * mean if s2 is None else max(s2, least)
        state = CofemState(
            0, 0.0 * x, nothing, gamma, deviation(s2, data), (), False,
            nothing, nothing, energy, exact, empty, nothing, s2, seed, 0, 0, doubtful, raised,
        )  # fmt: skip
        return self._posterior(problem, state, gamma, operator, data)

    def step(self, problem: Problem, state: CofemState) -> CofemState:
        if state.settled:
            return replace(state, iteration=state.iteration + 1)
        xp = namespace(state.gamma)
        operator, data, known = whitened(problem, "Cofem")
        by = factor(self.update, state.power, state.determined)
        if self.nonnegative:  # a mean below 0 may yet turn: let gamma fall slowly
            by = xp.where(by > 0.1, by, xp.full_like(by, 0.1))
        gamma = xp.where(state.gamma > 0, state.gamma * by, xp.zeros_like(by))
        top = float(xp.max(gamma * state.energy))
        strength = gamma * (state.energy * (1.0 / top if top > 0.0 else 0.0))
        gamma = xp.where(strength > self.prune, gamma, xp.zeros_like(gamma))
        # dL / d log g = h - |u|^2, see _updates: a sum of terms >= 0 for every rule
        gain = total((state.power - state.determined) * xp.log(xp.where(by > 1e-6, by, xp.ones_like(by))))
        s2 = state.s2 if known is not None else self._learned(operator, data, state)
        settled = gain < self.tol * min(operator.shape) and abs(s2 - state.s2) <= self.tol * state.s2
        state = replace(state, iteration=state.iteration + 1, s2=s2, settled=settled)
        return self._posterior(problem, state, gamma, operator, data)

    def _learned(self, operator: Operator, data: Array, state: CofemState) -> float:
        """The next noise variance."""
        count, snapshots = operator.shape[0], math.prod(data.shape) // operator.shape[0]
        misfit = norm(data - operator @ state.x) ** 2 / snapshots
        mean = norm(data) ** 2 / math.prod(data.shape)
        return max(noise("em", misfit, total(state.determined), count, state.s2), FLOOR * mean, _least(data))

    def _posterior(
        self, problem: Problem, state: CofemState, gamma: Array, operator: Operator, data: Array
    ) -> CofemState:
        """The state with these prior variances, and all that follows from them."""
        xp, domain = namespace(gamma), members(operator.domain)[0]
        on = gamma > 0
        if not bool(xp.any(on)):  # zero data, or nothing that they see
            return self._empty(problem, state, gamma, operator, data)
        turn = 0 if self.pooled else state.iteration
        rows = xp.reshape(data, (-1, *members(operator.codomain)[0].shape))
        engine = MatrixFree(
            operator,
            rows,
            state.energy,
            state.exact,
            signs(domain, data, self.probes, state.seed, 0, turn),
            self.pooled,
            self.mean_tol,
            self.probe_tol,
            self.inner,
        )
        found = engine(gamma, state.s2, (state.solutions, state.root) if state.costs else None)
        mean, variance, power = found.mean, found.variance, square(found.mean)
        if self.nonnegative:
            mean, spread = rectified(found.mean, xp.broadcast_to(variance, mean.shape))
            power, variance = found.mean * mean, xp.mean(spread, axis=0)  # E x^2 - variance of the uncut one
        power = xp.mean(power, axis=0) / xp.where(on, gamma, xp.ones_like(gamma))
        return replace(
            state,
            x=xp.reshape(mean, (*problem.batch, *domain.shape)),
            variance=variance,
            gamma=gamma,
            noise=deviation(state.s2, data),
            costs=(*state.costs, found.cost + _constant(problem)),
            power=power,
            determined=found.determined,
            solutions=found.memory[0],
            root=found.memory[1],
            products=state.products + found.products,
            unfinished=state.unfinished + found.unfinished,
        )

    def _empty(
        self, problem: Problem, state: CofemState, gamma: Array, operator: Operator, data: Array
    ) -> CofemState:
        """x = 0 with certainty: every prior variance is 0, and L = m log s2 + ||y||^2 / s2."""
        count, snapshots = operator.shape[0], math.prod(data.shape) // operator.shape[0]
        cost = _constant(problem)
        if state.s2 > 0.0:  # 0 where zero data were to tell their own noise
            cost += snapshots * count * math.log(state.s2) + norm(data) ** 2 / state.s2
        nothing = 0.0 * gamma
        return replace(
            state, x=0.0 * state.x, variance=nothing, gamma=nothing, costs=(*state.costs, cost), settled=True,
            noise=deviation(state.s2, data), power=nothing, determined=nothing,
        )  # fmt: skip

    def measure(self, problem: Problem, state: Any) -> dict[str, float]:
        return super().measure(problem, state) | {"products": float(state.products)}

    def remarks(self, state: CofemState) -> list[str]:
        """How often conjugate gradients were cut short, and whether the noise can be trusted."""
        found = []
        count = len(state.costs) * (self.probes + (math.prod(state.x.shape) // math.prod(state.gamma.shape)))
        if state.unfinished:
            found.append(
                f"Conjugate gradients did not converge within {self.inner} iterations for {state.unfinished} of "
                f"{count} right-hand sides; their last iterates were used. Raise inner or probe_tol where this is many."
            )
        if state.doubtful and state.s2 > 0.0:
            found.append(
                "The noise was learned from fewer data than entries, where L itself prefers too little of it. "
                "Give Problem.noise, or learn it with Sbl on a smaller part."
            )

        if state.raised:
            found.append(
                f"Problem.noise is too small for the digits of the data, so {state.noise:.2g} was used and intervals "
                "are too wide. Single data allow noise down to 49 dB below them, double down to 136 dB."
            )
        return found

    @classmethod
    def example(cls) -> Problem:
        rng = np.random.default_rng(0)
        x = np.zeros(48)
        x[rng.choice(48, 4, replace=False)] = rng.standard_normal(4)
        matrix = rng.standard_normal((24, 48)) / np.sqrt(24)
        data = matrix @ x + 0.01 * rng.standard_normal(24)
        return Problem(Matrix(matrix), data, noise=0.01)


def _least(data: Array) -> float:
    """The least noise variance at which conjugate gradients work with the digits of the data."""
    digits = float(namespace(data).finfo(data.dtype).eps)
    return _DIGITS * digits * norm(data) ** 2 / math.prod(data.shape)


def _constant(problem: Problem) -> float:
    """What L has more than that of the whitened problem: log of the noise variances against their mean."""
    variances = noise_variance(problem, "Cofem")
    if variances is None or isinstance(variances, float):
        return 0.0
    values = as_numpy(variances).astype(np.float64)
    return math.prod(problem.batch) * float(np.sum(np.log(values / np.mean(values))))
