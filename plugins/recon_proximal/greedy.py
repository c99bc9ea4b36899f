"""Greedy sparse recovery: orthogonal matching pursuit and CoSaMP.

    minimise  1/2 ||A x - y||^2   with at most k nonzeros

Omp     takes the column most correlated with the residual, and makes the fit on all columns taken exact again.
        That is conjugate directions: of a new unit vector e, w = e - sum_j <q_j, A e> w_j and q = A w (normalised) are
        kept, so that q_j are orthonormal, and x += <q, r> w, r -= <q, r> q. No system is ever solved.
CoSamp  adds the 2 k columns most correlated to the support, fits on all these, keeps the k largest entries, and (beyond
        the paper, where noise would bias them) fits on these again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge, Gt, Interval

from recon import LeastSquares, Matrix, Problem, Solver, State
from recon.arrays import Array, ArraySpec, device_of, is_complex, namespace, real_like
from recon.errors import CapabilityError
from recon.params import Doc
from recon.priors import TopK
from recon_proximal._batches import along, dots, ratio
from recon_proximal._examples import sparse_recovery

__all__ = ["CoSamp", "CoSampState", "Omp", "OmpState"]


@dataclass(frozen=True)
class OmpState(State):
    """x, r = y - A x, the entries taken, and the conjugate directions w with their images q = A w.

    ``images`` and ``directions`` hold one row per iteration, of every sample: (batch, count, size).
    """

    residual: Array
    taken: Array
    images: Array
    directions: Array
    lengths: Array


@dataclass(frozen=True)
class Omp(Solver):
    """Orthogonal matching pursuit: one entry an iteration, until k are taken or the residual is small.

    k is that of the problem's prior ``TopK(k)``; without a prior only ``tol`` (and the number of data) ends it. Then
    further iterations change nothing. Columns of a ``Matrix`` are compared by their lengths; those of other
    operators are taken to be equally long. It starts from no entry, whatever x0. Samples of a batch are
    independent. Per iteration one forward and one adjoint; memory of k images and k predictions.

    Parameters
    ----------
    tol
        Take no more entries once ||A x - y|| <= tol ||y||.

    Raises
    ------
    CapabilityError
        For another prior or loss, or arrays in tuples.
    """

    tol: Annotated[float, Interval(ge=0, lt=1), Doc("relative residual at which to take no more")] = 0.0

    state_type = OmpState

    def init(self, problem: Problem, x0: Array | None = None, seed: int = 0) -> OmpState:
        _budget(problem, "Omp")
        x = problem.start(x0)
        x, y = x - x, _flat(problem.data, problem.operator.codomain)
        xp, flat = namespace(y), _flat(x, problem.operator.domain)
        batch = flat.shape[0]
        lengths = np.ones(1)
        if isinstance(problem.operator, Matrix):
            lengths = np.linalg.norm(problem.operator.matrix, axis=0)
            lengths = np.where(lengths > 0, lengths, 1.0)
        return OmpState(
            0,
            x,
            y,
            flat != 0,
            xp.zeros((batch, 0, y.shape[1]), dtype=y.dtype, device=device_of(y)),
            xp.zeros((batch, 0, flat.shape[1]), dtype=flat.dtype, device=device_of(y)),
            real_like(lengths, y),
        )

    def step(self, problem: Problem, state: OmpState) -> OmpState:
        goal = self.tol**2 * _squares(_flat(problem.data, problem.operator.codomain))
        going = _squares(state.residual) > goal
        xp, most = namespace(state.residual), min(_budget(problem, "Omp"), *problem.operator.shape)
        if state.iteration >= most or not bool(xp.any(going)):
            return replace(state, iteration=state.iteration + 1)
        unit = self._best(problem, state)
        q, w = _product(problem, unit), unit
        size = xp.sqrt(_squares(q))
        for _ in range(2):  # once is not enough where columns are alike (Giraud et al. 2005)
            share = xp.matmul(xp.conj(state.images) if is_complex(q) else state.images, q[..., None])
            q = q - xp.sum(share * state.images, axis=1)
            w = w - xp.sum(_as(share, w) * state.directions, axis=1)
        length = xp.sqrt(_squares(q))
        new = going & (length > 64.0 * float(xp.finfo(q.dtype).eps) * size)  # else a sum of columns taken
        scale = xp.where(new, 1.0 / xp.where(new, length, xp.ones_like(length)), xp.zeros_like(length))[
            :, None
        ]
        q, w = q * _as(scale, q), w * _as(scale, w)
        step = xp.sum(xp.conj(q) * state.residual if is_complex(q) else q * state.residual, axis=1)[:, None]
        return OmpState(
            state.iteration + 1,
            state.x + xp.reshape(_as(step, w) * w, state.x.shape),
            state.residual - _as(_as(step, w), q) * q,
            state.taken | (xp.abs(unit) > 0),
            xp.concat([state.images, q[:, None, :]], axis=1),
            xp.concat([state.directions, w[:, None, :]], axis=1),
            state.lengths,
        )

    @staticmethod
    def _best(problem: Problem, state: OmpState) -> Any:
        """The unit vector of the entry most correlated with the residual, for every sample."""
        xp = namespace(state.residual)
        correlation = _flat(
            problem.operator.H @ xp.reshape(state.residual, problem.data.shape), problem.operator.domain
        )
        size = xp.abs(correlation) / state.lengths
        size = xp.where(state.taken, xp.full_like(size, -1.0), size)
        best = xp.argmax(size, axis=1, keepdims=True)
        places = xp.arange(size.shape[1], device=device_of(size))
        return xp.astype(places[None, :] == best, correlation.dtype)

    def measure(self, problem: Problem, state: OmpState) -> dict[str, float]:
        loss = 0.5 * float(namespace(state.residual).sum(_squares(state.residual)))
        return {"objective": loss + problem.penalty(state.x), "loss": loss}

    @classmethod
    def example(cls) -> Problem:
        return sparse_recovery(TopK(5))


@dataclass(frozen=True)
class CoSampState(State):
    """x, r = y - A x, and whether the last iteration could lower no residual: then none ever will."""

    residual: Array
    settled: bool


@dataclass(frozen=True)
class CoSamp(Solver):
    """Compressive sampling matching pursuit (Needell and Tropp 2009) for the prior ``TopK(k)``.

    The residual never rises: an iteration that would raise it leaves its sample as it is. Recovers every k-sparse
    image from noiseless data where A preserves the length of 4 k-sparse images well. Samples of a batch are
    independent. Per iteration 2 forward and 2 adjoint, and one of each per inner iteration of both fits; six
    images.

    Parameters
    ----------
    inner
        Most conjugate-gradient iterations of the fit on 3 k columns.
    tol
        Relative residual of the normal equations at which they stop.

    Raises
    ------
    CapabilityError
        For another prior or loss, arrays in tuples, or fewer than 3 k data.
    """

    inner: Annotated[int, Ge(1), Doc("most conjugate-gradient iterations of a fit")] = 30
    tol: Annotated[float, Gt(0), Doc("relative residual at which they stop")] = 1e-8

    state_type = CoSampState

    def init(self, problem: Problem, x0: Array | None = None, seed: int = 0) -> CoSampState:
        k, data = _budget(problem, "CoSamp"), problem.operator.shape[0]
        if problem.prior is None or 3 * k > data:
            raise CapabilityError(
                f"CoSamp needs the prior TopK(k) with 3 k <= {data} data, got {problem.prior!r}. Use Omp instead."
            )
        x = problem.prior.prox(problem.start(x0), 1.0)  # type: ignore[attr-defined]
        return CoSampState(0, x, problem.data - problem.operator @ x, False)

    def step(self, problem: Problem, state: CoSampState) -> CoSampState:
        if state.settled:
            return replace(state, iteration=state.iteration + 1)
        operator, prior = problem.operator, problem.prior
        assert isinstance(prior, TopK)
        xp = namespace(state.residual)
        correlation = operator.H @ state.residual
        support = (TopK(2 * prior.k, prior.ndim).project(correlation) != 0) | (state.x != 0)
        kept = prior.project(state.x + self._fit(problem, state.residual, correlation, support))
        left = problem.data - operator @ kept
        x = kept + self._fit(problem, left, operator.H @ left, kept != 0)
        residual = problem.data - operator @ x
        before, after = (dots(r, r, operator.codomain) for r in (state.residual, residual))
        better = after < before

        def choose(where: Any, new: Any, old: Any) -> Any:
            return xp.where(where, new, old)

        return CoSampState(
            state.iteration + 1,
            along(choose, better, x, state.x, spec=operator.domain),
            along(choose, better, residual, state.residual, spec=operator.codomain),
            not bool(xp.any(better)),
        )

    def _fit(self, problem: Problem, residual: Array, correlation: Array, support: Any) -> Array:
        """argmin ||A d - r|| over d on the support, by conjugate gradients of every sample for itself."""
        operator = problem.operator
        domain, xp = operator.domain, namespace(correlation)
        zero = xp.zeros_like(correlation)

        def masked(x: Any) -> Any:
            return xp.where(support, x, zero)

        d, s = zero, masked(correlation)
        p, rho = s, dots(s, s, domain)
        goal = self.tol**2 * rho
        for _ in range(self.inner):
            going = rho > goal
            if not bool(xp.any(going)):
                break
            q = operator @ p
            alpha = xp.where(going, ratio(rho, dots(q, q, operator.codomain), 0.0), xp.zeros_like(rho))
            d = along(lambda a, u, v: v + a * u, alpha, p, d, spec=domain)
            residual = along(lambda a, u, v: v - a * u, alpha, q, residual, spec=operator.codomain)
            s = masked(operator.H @ residual)
            before, rho = rho, dots(s, s, domain)
            p = along(lambda b, u, v: v + b * u, ratio(rho, before, 0.0), p, s, spec=domain)
        return d

    def measure(self, problem: Problem, state: CoSampState) -> dict[str, float]:
        square = dots(state.residual, state.residual, problem.operator.codomain)
        loss = 0.5 * float(namespace(square).sum(square))
        return {"objective": loss + problem.penalty(state.x), "loss": loss}

    @classmethod
    def example(cls) -> Problem:
        return sparse_recovery(TopK(5))


def _budget(problem: Problem, solver: str) -> int:
    """k of the prior TopK(k), or the number of unknowns without a prior."""
    if not isinstance(problem.loss, LeastSquares):
        raise CapabilityError(
            f"{solver} needs LeastSquares, got {type(problem.loss).__name__}. Use RelaxedIht."
        )
    specs = (problem.operator.domain, problem.operator.codomain)
    if not all(isinstance(spec, ArraySpec) for spec in specs):
        raise CapabilityError(
            f"{solver} needs an operator between single arrays, got tuples. Use RelaxedIht."
        )
    if problem.prior is None:
        return problem.operator.shape[1]
    if not isinstance(problem.prior, TopK):
        raise CapabilityError(
            f"{solver} needs the prior TopK, got {problem.prior!r}. Use RelaxedIht or Fista."
        )
    return problem.prior.k


def _flat(x: Array, spec: Any) -> Any:
    """Samples as rows."""
    return namespace(x).reshape(x, (-1, spec.size))


def _squares(x: Any) -> Any:
    """||x||^2 of every row."""
    xp = namespace(x)
    return xp.sum(xp.real(xp.conj(x) * x) if is_complex(x) else x * x, axis=-1)


def _as(x: Any, like: Any) -> Any:
    """x in the kind of another array: a real image takes the real part of a complex product."""
    xp = namespace(x)
    if is_complex(x) and not is_complex(like):
        return xp.real(x)
    return xp.astype(x, like.dtype, copy=False)


def _product(problem: Problem, rows: Any) -> Any:
    """A x of samples as rows, as rows."""
    domain: Any = problem.operator.domain
    image = problem.operator @ namespace(rows).reshape(rows, (*problem.batch, *domain.shape))
    return _flat(image, problem.operator.codomain)
