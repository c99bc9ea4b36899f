"""PC-KroSBL: Kronecker-structured sparse Bayesian learning with blocks in the supports of chosen factors.

    y = (A_1 (x) ... (x) A_d) x + n,    x ~ N(0, diag(h)),    h = h_1 (x) ... (x) h_d
    h_i = C_i g_i + floor,  g_i >= 0;   C_i: 1 on the diagonal, beta beside it, so neighbours share their variances;
                                        identity for factors without blocks

    E-step  mean mu and variances of x given h (Kronecker form)
    M-step  g_i <- argmin_(g >= 0) ||C_i g - t_i||^2, in turn for all factors, until h rests; h' = prod_(j != i) h_j,
            means over the axes other than i
            em          t_i = mean (|mu|^2 + diag(Sigma)) / h'                         the authors'
            bounding    t_i = sqrt(mean |mu|^2 / h' / mean z h'),  z = (h - diag(Sigma)) / h^2 = a^H S^(-1) a

Without blocks the bounding step minimises sum (z h + |mu|^2 / h), which bounds L from above and touches it: L never
rises, and it takes far fewer iterations than em.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Ge, Gt, Interval

from recon import Kronecker, Matrix, Problem
from recon.arrays import Array, as_numpy, namespace, norm, real_like
from recon.params import Doc
from recon_sbl._factor import square
from recon_sbl._noise import deviation, parts
from recon_sbl._state import SblSolver, SblState, check_model
from recon_sbl.kronecker._fitting import column_level, one_level, outer_like, per_factor
from recon_sbl.kronecker.form import KroneckerForm, along, dense_factors, embedded, sub_block
from recon_sbl.kronecker.m_steps import balanced, kronecker_change

__all__ = ["PcKroSbl", "PcKroState"]

_Part = Annotated[float, Interval(ge=0, lt=1)]
_LEAST = 1e-10  # lowest s2 that is learned or worked with, in units of the mean square of the data
_FAINT = 1e-12  # power that gamma predicts, in units of the noise: below, nothing is left
_TINY = (
    1e-12  # lowest variance of a factor in an M-step, in units of its largest: products must not divide by 0
)


@dataclass(frozen=True)
class PcKroState(SblState):
    """Beside what every state has: the factors of gamma, and whether neighbours are still coupled.

    Parameters
    ----------
    factors
        h_i, in the units of the normalised problem; 0 where pruned.
    coupled
        False once ``release`` has ended the coupling.
    """

    factors: tuple[Array, ...]
    coupled: bool


@dataclass(frozen=True)
class PcKroSbl(SblSolver):
    """Kronecker-structured sparse Bayesian learning for supports whose factors come in blocks (PC-KroSBL).

    For operators with ``factors`` (``recon.Kronecker``). In the factors with ``blocks`` the variance of an entry is
    coupled with those of its neighbours: entries beside a strong one stay and lone ones fade, as with angles that are
    spread over adjacent atoms of a grid. Coupling finds blocks and makes them too wide by one entry at each end, so
    with ``release`` it is ended when the variances rest, and they are refined without it.

    The authors' algorithm is ``PcKroSbl(0.5, update="em", release=False, prune=(1e-2, 1e-1, 1e-2))``, but for units:
    here data and factors are brought to unit level first, and all thresholds are relative. Columns of a factor keep
    their lengths relative to each other. L can rise where blocks are coupled (the fit of h is no minimiser) or pruned,
    and with learned noise; else it does not.

    Noise that is not known is learned by the EM rule: s2 <- (||y - A mu||^2 + s2 sum (1 - Sigma_ii / h_i)) / M. Noise
    below 1e-5 of the data counts as 1e-5, as for ``KroSbl``.

    Shapes: x (n_1, ..., n_d), y (m_1, ..., m_d), real or complex, no batch. Cost per iteration: one small eigenproblem
    per factor and O(d N max n_i) on the N unknowns that are left, a few times that in the M-step; memory of about ten
    images.

    Parameters
    ----------
    beta
        Coupling of neighbours; the authors show 0.5 and 0.8.
    blocks
        Which factors have blocks, one truth value per factor; by default all.
    update
        What the M-step fits: ``"bounding"``, or ``"em"`` as the authors.
    release
        Whether the coupling is ended when gamma rests, and gamma refined.
    prune
        Part of a factor's largest variance below which a slice is dropped: one number, or one per factor.
    tol
        Gamma rests when it moves less than this, in the norm, relative.
    cycles, inner
        Most rounds of an M-step, and the relative change of gamma at which it ends.
    floor
        Added to every variance of a factor with blocks, in units of its largest.
    start
        Power of the data that gamma predicts at first, over that of the data; gamma is even then.

    Raises
    ------
    CapabilityError
        For an operator without factors, a prior, another loss, a batch, or noise that differs between entries.
    ParameterError
        For ``blocks`` or ``prune`` that are not one per factor.

    References
    ----------
    He and Joseph, "Bayesian Algorithms for Kronecker-structured Sparse Vector Recovery With Application to IRS-MIMO
    Channel Estimation", IEEE Trans. Signal Process. 2024 (PC-KroSBL); Fang, Shen, Li, Wang, "Pattern-coupled sparse
    Bayesian learning", IEEE Trans. Signal Process. 63 (2015) 360, doi:10.1109/TSP.2014.2375133; Wipf and Nagarajan,
    NIPS 20 (2007) for the bound. The bounding step for Kronecker products, ``release`` and ``start`` are ours.
    """

    beta: Annotated[float, Interval(ge=0, le=1), Doc("coupling of neighbours")] = 0.8
    blocks: Annotated[tuple[bool, ...] | None, Doc("which factors have blocks; None: all")] = None
    update: Annotated[Literal["bounding", "em"], Doc("what the M-step fits")] = "bounding"
    release: Annotated[bool, Doc("end the coupling when gamma rests, and refine")] = True
    prune: Annotated[_Part | tuple[_Part, ...], Doc("drop slices below this part of the largest")] = 1e-2
    tol: Annotated[float, Gt(0), Doc("relative change of gamma at which it rests")] = 1e-4
    cycles: Annotated[int, Ge(1), Doc("most rounds of an M-step")] = 9
    inner: Annotated[float, Gt(0), Doc("relative change of gamma at which an M-step ends")] = 1e-4
    floor: Annotated[float, Interval(ge=0, lt=1), Doc("least variance beside blocks, relative")] = 1e-5
    start: Annotated[float, Gt(0), Doc("power that the first gamma predicts over that of the data")] = 0.1

    state_type = PcKroState

    def init(self, problem: Problem, x0: Array | None = None, seed: int = 0) -> PcKroState:
        check_model(problem, "PcKroSbl")
        work = _Normalised.of(problem)
        per_factor(self.prune, work.matrices, "PcKroSbl.prune")
        couplings = self._couplings(work.matrices)
        s2 = one_level(problem, "PcKroSbl")
        noise = deviation(0.1 * work.level**2 if s2 is None else s2, problem.data)
        x = problem.start(x0)
        zero = real_like(np.zeros(tuple(x.shape)), problem.data)
        state = PcKroState(0, x - x, zero, zero, noise, (), False, (), self.beta > 0)
        factors = [C @ np.ones(len(C)) for C in couplings]
        if norm(problem.operator.H @ problem.data) == 0.0:  # nothing to explain
            none = tuple(real_like(0.0 * h, problem.data) for h in factors)
            return replace(
                work.fitted(problem, state, [0.0 * h for h in factors]), factors=none, settled=True
            )
        factors[-1] = factors[-1] * (self.start / work.power(factors))
        return work.fitted(problem, state, balanced(factors))

    def step(self, problem: Problem, state: PcKroState) -> PcKroState:
        if state.settled:
            return replace(state, iteration=state.iteration + 1)
        work = _Normalised.of(problem)
        old = [as_numpy(h).astype(np.float64) for h in state.factors]
        if norm(state.x) == 0.0 or work.power(old) < _FAINT * work.noise_of(problem, state):
            state = replace(state, iteration=state.iteration + 1, settled=True)
            return work.fitted(problem, state, [0.0 * h for h in old])
        kept = [np.flatnonzero(h) for h in old]
        moments = self._moments(state, old, kept, work.unit)
        couplings = [
            C[np.ix_(i, i)] if state.coupled else np.eye(len(i))
            for C, i in zip(self._couplings(work.matrices), kept, strict=True)
        ]
        blocks = [h[i] for h, i in zip(old, kept, strict=True)]
        for _ in range(self.cycles):
            before, blocks = blocks, self._cycle(*moments, couplings, blocks)
            if _change(blocks, before) <= self.inner:
                break
        factors = []
        prunes = per_factor(self.prune, old, "PcKroSbl.prune")
        for h, index, block, part in zip(old, kept, blocks, prunes, strict=True):
            new = np.zeros_like(h)
            new[index] = np.where(block < part * block.max(), 0.0, block)
            factors.append(new)
        rests = _change(factors, old) <= self.tol
        released = rests and self.release and state.coupled
        state = replace(
            state,
            iteration=state.iteration + 1,
            noise=state.noise if problem.noise is not None else _learned(problem, state, work.level),
            coupled=state.coupled and not released,
            settled=rests and not released,
        )
        return work.fitted(problem, state, factors)

    def _couplings(self, matrices: Sequence[Any]) -> list[Any]:
        """C_i of all factors."""
        chosen = per_factor(True if self.blocks is None else self.blocks, matrices, "PcKroSbl.blocks")
        found = []
        for A, blocks in zip(matrices, chosen, strict=True):
            n = A.shape[1]
            beside = self.beta if blocks else 0.0
            found.append(np.eye(n) + beside * (np.eye(n, k=1) + np.eye(n, k=-1)))
        return found

    def _moments(self, state: PcKroState, old: Any, kept: Any, unit: float) -> tuple[Array, Array | None]:
        """What an M-step reads, where not pruned: |mu|^2 + Sigma and None, or |mu|^2 and z."""
        power = sub_block(square(state.x * (1.0 / unit)), kept)
        spread = sub_block(state.variance * unit**-2, kept)
        if self.update == "em":
            return power + spread, None
        h = outer_like([g[i] for g, i in zip(old, kept, strict=True)], power)
        return power, namespace(h).clip(h - spread, 0.0, None) / h / h

    def _cycle(
        self, power: Array, z: Array | None, couplings: Sequence[Any], blocks: Sequence[Any]
    ) -> list[Any]:
        """Every factor once, fitted to its target given the others."""
        blocks = list(blocks)
        for k, C in enumerate(couplings):
            up, down = power, z
            for j, h in enumerate(blocks):
                if j != k:
                    up = along(up, (1.0 / (h * len(h)))[None, :], j)
                    down = None if down is None else along(down, (h / len(h))[None, :], j)
            target = as_numpy(up).ravel().astype(np.float64)
            if down is not None:
                weight = as_numpy(down).ravel().astype(np.float64)
                target = np.sqrt(target / np.maximum(weight, _TINY * weight.max()))
            blocks[k] = self._nearest(C, target)
        return balanced(blocks)

    def _nearest(self, C: Any, target: Any) -> Any:
        """C g + floor with g >= 0, nearest to the target; the target itself without coupling."""
        size = target.max()
        if np.count_nonzero(C) == len(C):
            return np.maximum(target, _TINY * size)
        from scipy.optimize import nnls

        h = C @ nnls(C, target / size)[0]
        return size * np.maximum(h + self.floor * h.max(), _TINY)

    @classmethod
    def example(cls) -> Problem:
        rng = np.random.default_rng(0)
        A = Kronecker(tuple(Matrix(rng.standard_normal((m, 9))) for m in (6, 5, 7)))
        x = np.zeros((9, 9, 9))
        x[np.ix_([2, 3, 4], [0, 1], [5, 6, 7])] = rng.standard_normal((3, 2, 3))
        y = A @ x
        return Problem(A, y + 0.1 * rng.standard_normal(y.shape), noise=0.1)


@dataclass(frozen=True)
class _Normalised:
    """The factors with columns of root mean square norm 1; the level of the data; x = unit times the normalised x."""

    matrices: tuple[Any, ...]
    level: float
    unit: float

    @classmethod
    def of(cls, problem: Problem) -> _Normalised:
        matrices = dense_factors(problem.operator, "PcKroSbl")
        levels = [column_level(A) for A in matrices]
        level = norm(problem.data) / math.sqrt(problem.operator.shape[0]) or 1.0
        scaled = tuple(A / c for A, c in zip(matrices, levels, strict=True))
        return cls(scaled, level, level / math.prod(levels))

    def power(self, factors: Sequence[Any]) -> float:
        """Mean power of the data that these factors of gamma predict."""
        return math.prod(
            float(np.sum(np.abs(A) ** 2 @ h)) / len(A) for A, h in zip(self.matrices, factors, strict=True)
        )

    def noise_of(self, problem: Problem, state: PcKroState) -> float:
        """s2 of a state."""
        return max(parts(problem.data) * (state.noise / self.level) ** 2, _LEAST)

    def fitted(self, problem: Problem, state: PcKroState, factors: Sequence[Any]) -> PcKroState:
        """E-step: the posterior for these factors of gamma, in the units of the problem."""
        y = problem.data
        factors = tuple(real_like(h, y) for h in factors)  # what the state will hold, rounding included
        hosts = [as_numpy(h).astype(np.float64) for h in factors]
        kept = [np.flatnonzero(h) if h.any() else np.arange(1) for h in hosts]
        form = KroneckerForm.of(
            [A[:, i] for A, i in zip(self.matrices, kept, strict=True)], y * (1.0 / self.level)
        )
        s2 = self.noise_of(problem, state)
        posterior = form(tuple(h[i] for h, i in zip(hosts, kept, strict=True)), s2)
        shape = tuple(state.x.shape)
        return replace(
            state,
            x=embedded(posterior.mean * self.unit, kept, shape),
            variance=embedded(posterior.variance * self.unit**2, kept, shape),
            gamma=outer_like([self.unit ** (2 / len(hosts)) * h for h in hosts], y),
            costs=(*state.costs, posterior.cost + 2.0 * problem.operator.shape[0] * math.log(self.level)),
            factors=factors,
        )


def _learned(problem: Problem, state: PcKroState, level: float) -> float:
    """The noise level after an EM update of s2 from the last posterior."""
    y = problem.data
    xp, g = namespace(state.gamma), state.gamma
    known = xp.where(g > 0, state.variance / xp.where(g > 0, g, xp.ones_like(g)), xp.ones_like(g))
    freedom = float(xp.sum(1.0 - known, dtype=xp.float64))
    misfit = norm(y - problem.operator @ state.x) ** 2
    s2 = (misfit + parts(y) * state.noise**2 * freedom) / problem.operator.shape[0]
    return deviation(max(s2, _LEAST * level**2), y)


def _change(new: Sequence[Any], old: Sequence[Any]) -> float:
    """||n - o|| / ||o|| of Kronecker products n and o of vectors."""
    size = math.prod(float(np.linalg.norm(h)) for h in old)
    return kronecker_change(new, old) / size if size else 0.0
