"""Sparse Bayesian learning of snapshots that share a support and are correlated in time.

    Y = A X + N,    rows x_i ~ N(0, g_i B),    B (count x count), mean of its diagonal 1, learned
    minimise over g >= 0, B    L = log|S| + vec(Y)^H S^(-1) vec(Y),    S = s2 I + B (x) A diag(g) A^H

In the bases of eigenvectors of A diag(g) A^H = Q diag(e) Q^H and B = U diag(b) U^H all of S is diagonal, s2 + e_k b_l:
L, its gradient and the EM step of B and s2 cost next to nothing once Q is there. With Z = Q^H Y conj(U):

    L     = sum_kl log(s2 + e_k b_l) + |Z_kl|^2 / (s2 + e_k b_l)
    bo    g_i <- g_i sqrt(p_i / t_i),          p_i = sum_l b_l |a_i^H Q (Z / (s2 + e b))|_l^2
    em    g_i <- g_i + g_i^2 (p_i - t_i) / count,    t_i = sum_kl b_l |Q^H a_i|_k^2 / (s2 + e_k b_l)
    B     <- mean over k of E[w_k w_k^H] / e_k,    w_k the rows of Q^H A X (transposed)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Ge, Gt, Interval

from recon import Matrix, Problem
from recon.arrays import Array, as_numpy, device_of, from_numpy, is_complex, namespace
from recon.errors import CapabilityError
from recon.params import Doc
from recon_sbl._correlation import Model, ar1, best_scaled_ar1, model, moments, restored
from recon_sbl._factor import adjoint, square
from recon_sbl._noise import FLOOR, deviation
from recon_sbl._state import check_model
from recon_sbl._structured import (
    StructuredSolver,
    StructuredState,
    learned,
    next_level,
    nothing,
    pruned,
    relative_change,
    searches,
    updated,
)

__all__ = ["TMsbl", "TMsblState"]

LIMIT = 0.999  # of |r|
LEAST = 1e-9  # eigenvalue of B, relative to their mean of 1


@dataclass(frozen=True)
class TMsblState(StructuredState):
    """StructuredState with the variance of every snapshot (of the shape of x), and what the next update needs.

    Parameters
    ----------
    correlation
        B, (count, count) in the kind of the data; the mean of its diagonal is 1.
    signal, spread
        p_i and t_i of the module's text.
    """

    correlation: Array
    signal: Array
    spread: Array


@dataclass(frozen=True)
class TMsbl(StructuredSolver):
    """Sparse Bayesian learning with temporal correlation (the model of T-SBL, after Zhang and Rao).

    The batch axes of the data are the snapshots; rows of X share their zeros, and the correlation B of their entries.
    T-MSBL approximates S to be fast. Two eigenvalue problems make that unnecessary: this minimises the exact L of the
    model, and L never rises while nothing is pruned. ``result.x`` is the posterior mean, ``result.variance`` has the
    shape of x. With ``correlation="none"`` it is M-SBL, with one snapshot plain SBL. Starts at equal variances and
    B = I, whatever x0. Nothing depends on the units.

    Per iteration about 9 m^3 + 2 m^2 k flops for m data per snapshot and k rows that are left, and
    2 m k count more; memory of 2 m k + 2 k count. Single data are computed in
    double precision.

    Parameters
    ----------
    correlation
        ``"ar1"``: B_jk = r^(j-k), one number, snapshots in the order of time along one batch axis. ``"full"``: any B;
        it has count^2 numbers and needs more rows than snapshots. ``"none"``: B = I.
    update
        ``"bo"``: bound optimisation, fast. ``"em"``: expectation maximisation, slow.
    inner
        EM steps of B (and s2 where it is learned) in each iteration.
    learn_noise
        How s2 is learned where ``Problem.noise`` is None. ``"penalised"`` tries levels and takes that of least L plus a
        price per active row; L starts anew with each. ``"em"`` is the textbook update, which fits the noise where there
        are fewer data than unknowns.
    prune
        Rows whose g falls below this part of the largest are left out for good.
    tol
        The method has ended when g changes by less than this, relative.

    Raises
    ------
    CapabilityError
        For another loss, a prior, tuples, ``"ar1"`` with several batch axes, or operators too large for a matrix.

    References
    ----------
    Z. Zhang, B. D. Rao, IEEE J. Sel. Topics Signal Process. 5 (2011) 912, doi:10.1109/JSTSP.2011.2159773 (the model and
    its EM updates); D. P. Wipf, B. D. Rao, IEEE Trans. Signal Process. 55 (2007) 3704, doi:10.1109/TSP.2007.894265
    (M-SBL). The diagonal form of S is ours.
    """

    correlation: Annotated[Literal["ar1", "full", "none"], Doc("what B may be")] = "ar1"
    update: Annotated[Literal["bo", "em"], Doc("rule for the prior variances")] = "bo"
    inner: Annotated[int, Ge(1), Doc("EM steps of B and of the noise per iteration")] = 5
    learn_noise: Annotated[Literal["penalised", "em"], Doc("how s2 is learned when not given")] = "penalised"
    prune: Annotated[
        float, Interval(ge=0, lt=1), Doc("leave out what falls below this part of the largest")
    ] = 1e-6
    tol: Annotated[
        float, Gt(0), Doc("relative change of the prior variances at which the method has ended")
    ] = 1e-4

    state_type = TMsblState

    def init(self, problem: Problem, x0: Array | None = None, seed: int = 0) -> TMsblState:
        check_model(problem, "TMsbl", joint=True)
        if self.correlation == "ar1" and len(problem.batch) > 1:
            raise CapabilityError(
                f"TMsbl needs one batch axis (time) for correlation='ar1', got batch axes {problem.batch}. "
                "Take correlation='full' or 'none'."
            )
        problem.start(x0)
        given = model(problem, "TMsbl")
        s2, searching = searches(given, self.learn_noise)
        gamma = self._even(problem, given)
        empty: Any = None  # filled in at once
        state = TMsblState(
            0,
            empty,
            empty,
            empty,
            0.0,
            (),
            False,
            s2,
            0,
            searching,
            (),
            (),
            _unit(problem, given),
            empty,
            empty,
        )
        if not given.power or not given.even:
            zero = namespace(gamma).zeros_like(gamma)
            state = nothing(problem, replace(state, signal=zero, spread=zero), given)
            return replace(state, variance=namespace(state.x).abs(state.x))
        return self._posterior(problem, state, given, gamma, learn=False)

    def _even(self, problem: Problem, given: Model) -> Array:
        return from_numpy(np.full(given.A.shape[1], given.even), problem.data, dtype=given.real)

    def step(self, problem: Problem, state: TMsblState) -> TMsblState:
        if state.settled:
            return replace(state, iteration=state.iteration + 1)
        given = model(problem, "TMsbl")
        xp = namespace(state.gamma)
        old = xp.reshape(state.gamma, (-1,))
        gamma = updated(self.update, old, state.signal, state.spread, given.count)
        gamma = pruned(gamma, self.prune, given.even)
        change = relative_change(gamma, old)
        determined = float(xp.sum(old * state.spread)) / given.count
        state, restart = next_level(given, state, change, determined, old.shape[0])
        if restart:
            gamma, state = self._even(problem, given), replace(state, correlation=_unit(problem, given))
        ended = change < self.tol and not restart and not state.searching
        state = replace(state, iteration=state.iteration + 1, settled=ended)
        return self._posterior(problem, state, given, gamma, learn=not restart)

    def _posterior(
        self, problem: Problem, state: TMsblState, given: Model, gamma: Array, learn: bool
    ) -> TMsblState:
        """The state for new gamma; ``learn``: B and s2 are improved first."""
        xp, kind = namespace(gamma), given.Y.dtype

        def double(values: Any) -> Any:  # S squares the range of A
            return xp.astype(values, xp.complex128 if is_complex(values) else xp.float64, copy=False)

        active = np.flatnonzero(as_numpy(gamma) > 0)
        if not active.size:
            active = np.zeros(1, int)  # one that is off spares the case of none
        index = xp.asarray(active, device=device_of(gamma))
        A, g = double(xp.take(given.A, index, axis=1)), double(xp.take(gamma, index, axis=0))
        F = A * xp.astype(xp.sqrt(g), A.dtype, copy=False)
        e, Q = xp.linalg.eigh(F @ adjoint(F))
        e = xp.where(e > 0, e, xp.zeros_like(e))
        W, V = adjoint(Q) @ A, adjoint(Q) @ double(given.Y)
        B, s2 = double(state.correlation), state.level
        if learn:
            B, s2 = self._learned(given, e, V, B, s2, learned(given, self.learn_noise, state))
            mean = float(xp.mean(_diagonal(B)))
            B, e, gamma, g = B / mean, e * mean, gamma * mean, g * mean
        b, U = _eigen(B)
        d = s2 + e[:, None] * b[None, :]
        Z = V @ xp.conj(U) if is_complex(U) else V @ U
        quotient = Z / xp.astype(d, Z.dtype, copy=False)
        power, total = square(Z) / d, xp.log(d)
        cost = given.constant + float(xp.sum(power + total, dtype=xp.float64))
        q = adjoint(W) @ quotient  # a_i^H S_l^(-1) y_l
        taken = xp.matrix_transpose(square(W)) @ (1.0 / d)  # a_i^H S_l^(-1) a_i
        mean = xp.astype(g[:, None] * b[None, :], q.dtype, copy=False) * q
        mean = mean @ U.T
        share = g[:, None] * b[None, :]
        variance = share - share**2 * taken
        variance = xp.where(variance > 0, variance, xp.zeros_like(variance)) @ xp.matrix_transpose(square(U))
        signal, spread = xp.sum(b * square(q), axis=1), xp.sum(b * taken, axis=1)
        back = np.full(gamma.shape[0], index.shape[0])
        back[as_numpy(index)] = np.arange(index.shape[0])
        where = xp.asarray(back, device=device_of(gamma))

        def put(values: Any) -> Any:
            values = xp.astype(values, kind if is_complex(values) else gamma.dtype, copy=False)
            return xp.take(xp.concat([values, xp.zeros_like(values[:1, ...])], axis=0), where, axis=0)

        return replace(
            state,
            x=restored(put(mean), problem, problem.batch),
            variance=restored(put(variance), problem, problem.batch),
            gamma=restored(gamma[:, None], problem),
            noise=deviation(s2, problem.data),
            costs=(*state.costs, cost),
            correlation=xp.astype(B, kind, copy=False),
            level=s2,
            signal=put(signal),
            spread=put(spread),
        )

    def _learned(self, given: Model, e: Any, V: Any, B: Any, s2: float, noise: bool) -> tuple[Any, float]:
        """EM steps of B and, if ``noise``, s2; e and V = Q^H Y stay."""
        xp, m = namespace(V), V.shape[0]
        fixed = self.correlation == "none" or given.count == 1
        if fixed and not noise:
            return B, s2
        for _ in range(self.inner):
            b, U = _eigen(B)
            d = s2 + e[:, None] * b[None, :]
            Z = V @ xp.conj(U) if is_complex(U) else V @ U
            if not fixed:
                w = xp.astype(xp.sqrt(e)[:, None] * b[None, :] / d, Z.dtype, copy=False) * Z
                left = xp.sum(b * s2 / d, axis=0)
                C = w.T @ (xp.conj(w) if is_complex(w) else w)
                C = C + left[:, None] * xp.eye(left.shape[0], dtype=C.dtype, device=device_of(C))
                B = self._structured(U @ C @ adjoint(U) / m)
            if noise:
                gap = float(xp.sum(square(Z) * (s2 / d) ** 2 + s2 * (d - s2) / d, dtype=xp.float64))
                s2 = max(gap / (m * given.count), FLOOR * given.power)
        return B, s2

    def _structured(self, C: Any) -> Any:
        """The B of the wanted kind that fits C."""
        if self.correlation == "full":
            return 0.5 * (C + adjoint(C))
        length = C.shape[0]
        r, scale = best_scaled_ar1(length, *moments(C), LIMIT)
        return scale * ar1(r, length, C)

    def hyperparameters(self, state: TMsblState) -> Mapping[str, Any]:
        """gamma, noise and evidence as ever; ``correlation`` (B)."""
        return {**super().hyperparameters(state), "correlation": state.correlation}

    @classmethod
    def example(cls) -> Problem:
        """A Gaussian matrix 30 x 60, 6 snapshots with 5 shared rows of AR(1) entries, 5 % noise."""
        rng = np.random.default_rng(0)
        x = np.zeros((6, 60))
        rows = rng.choice(60, 5, replace=False)
        x[0, rows] = rng.standard_normal(5)
        for k in range(1, 6):
            x[k, rows] = 0.9 * x[k - 1, rows] + 0.19**0.5 * rng.standard_normal(5)
        operator = Matrix(rng.standard_normal((30, 60)) / np.sqrt(30))
        data = operator @ x
        noise = 0.05 * float(np.sqrt(np.mean(data**2)))
        return Problem(operator, data + noise * rng.standard_normal(data.shape), noise=noise)


def _eigen(B: Any) -> tuple[Any, Any]:
    """Eigenvalues, kept above rounding, and eigenvectors of B."""
    xp = namespace(B)
    b, U = xp.linalg.eigh(B)
    least = LEAST * float(xp.mean(b))
    return xp.where(b > least, b, xp.full_like(b, least)), U


def _diagonal(B: Any) -> Any:
    xp = namespace(B)
    diagonal = xp.linalg.diagonal(B)
    return xp.real(diagonal) if is_complex(diagonal) else diagonal


def _unit(problem: Problem, given: Model) -> Any:
    return from_numpy(np.eye(given.count), problem.data, dtype=problem.data.dtype)
