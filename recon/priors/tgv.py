"""Total generalised variation of second order (Bredies, Kunisch and Pock 2010).

    TGV(x) = min_w  w1 sum |G x - M w| + w0 sum |E w|

G: forward differences. w: a field of slopes, one per difference; M leaves out the last line of each component, where
there is no difference. E w = (D w + (D w)^T) / 2: symmetrised differences of w, where both neighbours exist. So an
affine image costs nothing, its border included.

Value and prox by the over-relaxed primal-dual method (Chambolle and Pock 2011; Condat 2013) on x and w, with
duals |p| <= w1 of G x - M w and |q| <= w0 of E w. A dual pair is feasible where M p = E^T q, so that p = s E^T q with
s <= 1 that keeps |p| <= w1 bounds the optimum from below:

    gap(x, w, q) = 1/2 ||x - v + l G^T p||^2 + l (w1 sum |G x - M w| + w0 sum |E w| - <G x, p>)          l = t
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar

import numpy as np
from annotated_types import Ge, Gt, Interval

from recon.algebra import Diagonal
from recon.arrays import Array, ArraySpec, Spec, clip, device_of, is_complex, namespace
from recon.derivatives import Gradient
from recon.differences import gradient, gradient_adjoint
from recon.errors import ParameterError, ShapeError
from recon.operator import Operator
from recon.params import Doc, Parameters
from recon.priors.base import Prior, Scaled, Total, terms
from recon.priors.norms import L21, group_length
from recon.priors.weights import Weight
from recon.stacks import hstack

__all__ = ["TGV"]

_CHECK_EVERY = 10  # iterations between evaluations of the gap
_RELAXATION = 1.8
_BALANCE = (
    5.0  # dual over primal step, over the mean length of a difference; measured on noise, slopes and edges
)


def _bend(w: Array, ndim: int) -> Array:
    """E w for fields whose last lines are 0: (..., k, n1..nd) -> (..., k, l, n1..nd)."""
    xp = namespace(w)
    parts = gradient(w, ndim)
    for k in range(ndim):  # the last difference of w_k along axis k reaches into the line that w_k has not
        place = [slice(None)] * ndim
        place[k] = slice(-2, None)
        parts[(Ellipsis, k, k, *place)] = 0.0
    return 0.5 * (parts + xp.moveaxis(parts, -ndim - 2, -ndim - 1))


def _bend_adjoint(q: Array, ndim: int) -> Array:
    """The exact transpose of :func:`_bend`, last lines left out."""
    xp = namespace(q)
    parts = 0.5 * (q + xp.moveaxis(q, -ndim - 2, -ndim - 1))
    for k in range(ndim):
        place = [slice(None)] * ndim
        place[k] = slice(-2, None)
        parts[(Ellipsis, k, k, *place)] = 0.0
    return _without_last_lines(gradient_adjoint(parts, ndim), ndim)


def _without_last_lines(w: Array, ndim: int) -> Array:
    """M w, in place."""
    for k in range(ndim):
        place = [slice(None)] * ndim
        place[k] = slice(-1, None)
        w[(Ellipsis, k, *place)] = 0.0
    return w


@dataclass(frozen=True)
class TGV(Parameters, Prior):
    """w TGV(x) of second order: images of affine pieces, slopes without the stairs of TV.

    Value and prox are inner problems, solved to the relative duality gap ``tol``; Fista starts each prox where the last
    one ended (``prox_from``). For Pdhg and Admm, :meth:`lift` turns the problem into one over image and slopes, in
    which nothing is nested. One inner iteration costs about 4 d^2 passes of differences; it holds about
    4 (1 + d + d^2) images.

    Parameters
    ----------
    weight
        w1 = w >= 0, weight of the differences that the slopes do not explain.
    ratio
        w0 / w1, weight of the bending of the slopes; 2 is customary, large values approach affine images or TV.
    ndim
        The last ``ndim`` axes of the image are differentiated; axes in front are independent images.
    tol, iterations
        Relative duality gap at which value and prox stop, and their most iterations.
    """

    weight: Weight = 1.0
    ratio: Annotated[float, Gt(0), Doc("weight of second over first order")] = 2.0
    ndim: Annotated[int, Interval(ge=1, le=3), Doc("how many of the last axes are differentiated")] = 2
    tol: Annotated[float, Gt(0), Doc("relative duality gap at which value and prox stop")] = 1e-4
    iterations: Annotated[int, Ge(1), Doc("most inner iterations")] = 5000

    def value(self, x: Array) -> float:
        self._check(tuple(x.shape))
        inner = _Inner(self, x, 0.0, fixed=True)
        inner.run(None)
        return self.weight * float(namespace(x).sum(inner.unit * inner.cost()))

    def prox(self, v: Array, t: float) -> Array:
        """argmin_x value(x) + ||x - v||^2 / (2 t), to the relative duality gap ``tol``."""
        return self.prox_from(v, t, None)[0]

    def prox_from(self, v: Array, t: float, memory: Any) -> tuple[Array, Any]:
        """The prox started from slopes and duals of an earlier call, and those to start the next from."""
        self._check(tuple(v.shape))
        if t * self.weight == 0.0:
            return v, memory
        inner = _Inner(self, v, t * self.weight, fixed=False)
        memory = inner.run(memory)
        return inner.unit * inner.x, memory

    @staticmethod
    def lift(problem: Any) -> Any:
        """The same problem over (image, slopes): its priors split, so that Pdhg and Admm nest nothing.

        loss(A x, y) + w1 sum |G x - M w| + w0 sum |E w| + the other priors of x. The solution is
        ``solve(TGV.lift(problem), Pdhg()).x[0]``.

        Raises
        ------
        ParameterError
            When not exactly one term of the prior is a TGV, or the domain is a tuple.
        """
        spec, found = problem.operator.domain, [term for term in terms(problem.prior) if _inner_of(term)]
        if len(found) != 1 or isinstance(spec, tuple):
            raise ParameterError(
                f"TGV.lift must be given a problem of one image with one TGV prior, got {problem.prior!r}."
            )
        prior, factor = _inner_of(found[0])  # type: ignore[misc]
        slope = Gradient(spec.shape, spec.kind, prior.ndim)
        bend = _Bending(spec, prior.ndim)
        pair = (spec, bend.field)
        image, field = _Member(pair, 0), _Member(pair, 1)
        unexplained = hstack(slope, -1.0 * bend.mask)
        weight = factor * prior.weight
        lifted: list[Prior] = [L21(weight, axis=-prior.ndim - 1) @ unexplained]
        lifted.append(L21(prior.ratio * weight, axis=(-prior.ndim - 2, -prior.ndim - 1)) @ (bend @ field))
        lifted += [term @ image for term in terms(problem.prior) if term is not found[0]]
        return replace(problem, operator=problem.operator @ image, prior=Total(tuple(lifted)))

    def check_spec(self, spec: Spec) -> None:
        if isinstance(spec, tuple):
            raise ShapeError(
                "TGV must act on one array, got a tuple. Add one prior per member, or stack the images."
            )
        self._check(spec.shape)

    def _check(self, shape: tuple[int, ...]) -> None:
        if len(shape) < self.ndim:
            raise ShapeError(
                f"TGV.ndim must be at most the {len(shape)} axes of the image, got {self.ndim}. Lower it."
            )

    nested: ClassVar[bool] = True
    """Each value is the minimum of an inner problem: too dear to search among thousands of images."""

    @classmethod
    def example(cls) -> TGV:
        return cls(0.3, ndim=1, tol=0.01)


def _inner_of(term: Prior) -> tuple[TGV, float] | None:
    """The TGV in a term and its factor."""
    if isinstance(term, Scaled):
        found = _inner_of(term.prior)
        return found and (found[0], term.factor * found[1])
    return (term, 1.0) if isinstance(term, TGV) else None


class _Inner:
    """The primal-dual iteration, in units of each image's size, with duals in units of their balls."""

    def __init__(self, prior: TGV, v: Array, threshold: float, fixed: bool) -> None:
        self.prior, self.fixed, self.ndim = prior, fixed, prior.ndim
        xp = namespace(v)
        self.axes = tuple(range(-prior.ndim, 0))
        size = xp.max(xp.abs(v), axis=self.axes, keepdims=True)
        exponent = xp.floor(xp.log2(xp.where(size > 0.0, size, xp.ones_like(size))))
        self.unit = xp.pow(xp.full_like(size, 2.0), exponent)
        self.v = self.x = v / self.unit
        # far below rounding a threshold moves nothing, but its inverse is not finite
        self.threshold = clip(threshold / self.unit, float(xp.finfo(v.dtype).eps) ** 3, None)

    def start(self, memory: Any) -> Any:
        """Slopes w and duals p and q: those remembered, or G x and 0."""
        if memory is not None:
            w, p, q = memory
            return w / self._wide(self.unit, 1), p, q
        w = gradient(self.v, self.ndim)
        return w, 0.0 * w, 0.0 * _bend(w, self.ndim)

    def run(self, memory: Any) -> Any:
        """Iterate until the gap is small; the memory of the next run."""
        self.w, p, q = self.start(memory)
        n, ratio = self.ndim, self.prior.ratio
        if not self.fixed:
            self.x = self.v - self.threshold * gradient_adjoint(p, n)  # the best image for the dual p
        ball_p, ball_q = L21(1.0, axis=-n - 1), L21(1.0, axis=(-n - 2, -n - 1))
        square = 4.0 * n  # ||G||^2 and ||E||^2; of both with M between them:
        length = math.sqrt(square + 0.5 + math.sqrt(square + 0.25))
        balance = self._balance()
        tau, sigma = 1.0 / (length * balance), balance / length
        tau_w, sigma_p = self._wide(tau, 1), self._wide(sigma, 1)
        sigma_q, shrink = self._wide(sigma, 2) / ratio, None if self.fixed else tau / self.threshold
        x, w = self.x, self.w
        for k in range(self.prior.iterations):
            if k % _CHECK_EVERY == 0 and self.good(p, q):
                break
            x_new = x
            if shrink is not None:
                x_new = (x - tau * gradient_adjoint(p, n) + shrink * self.v) / (1.0 + shrink)
            w_new = w - tau_w * (ratio * _bend_adjoint(q, n) - _without_last_lines(1.0 * p, n))
            x_ahead, w_ahead = 2.0 * x_new - x, 2.0 * w_new - w
            p_new = ball_p.prox_conjugate(p + sigma_p * (gradient(x_ahead, n) - w_ahead), 1.0)
            q_new = ball_q.prox_conjugate(q + sigma_q * _bend(w_ahead, n), 1.0)
            self.x, self.w = x_new, w_new
            moves = ((x, x_new), (w, w_new), (p, p_new), (q, q_new))
            x, w, p, q = (old + _RELAXATION * (new - old) for old, new in moves)
        return self.w * self._wide(self.unit, 1), p, q

    def _balance(self) -> Array:
        """Dual over primal step of each image: slopes are as long as its differences, scaled duals as 1."""
        xp = namespace(self.v)
        count = math.prod(self.v.shape[axis] for axis in self.axes)
        mean = self._summed(group_length(gradient(self.v, self.ndim), -self.ndim - 1), 1) / count
        return _BALANCE / xp.where(mean > 0.0, mean, xp.ones_like(mean))

    def cost(self) -> Array:
        """sum |G x - w| + ratio sum |E w| of each image."""
        unexplained = gradient(self.x, self.ndim) - self.w
        return self._summed(group_length(unexplained, -self.ndim - 1), 1) + self.prior.ratio * self._summed(
            group_length(_bend(self.w, self.ndim), (-self.ndim - 2, -self.ndim - 1)), 2
        )

    def good(self, p: Array, q: Array) -> bool:
        """Whether the gap of every image is below tol times its objective, or below rounding."""
        xp, n = namespace(self.v), self.ndim
        q = L21(1.0, axis=(-n - 2, -n - 1)).prox_conjugate(q, 1.0)
        p = self.prior.ratio * _bend_adjoint(q, n)
        longest = xp.max(group_length(p, -n - 1), axis=(-n - 1, *self.axes), keepdims=True)
        p = p / xp.where(longest > 1.0, longest, xp.ones_like(longest))
        field = gradient(self.x, n)
        cost = self.cost()
        gap = cost - self._summed(xp.real(xp.conj(p) * field) if is_complex(p) else p * field, 1)
        primal, eps = cost, float(xp.finfo(self.v.dtype).eps)
        if not self.fixed:
            moved = self.x - self.v
            back = moved + self.threshold * gradient_adjoint(p, n)
            gap = self.threshold * gap + 0.5 * xp.sum(xp.abs(back) ** 2, axis=self.axes, keepdims=True)
            primal = self.threshold * cost + 0.5 * xp.sum(xp.abs(moved) ** 2, axis=self.axes, keepdims=True)
        variation = self._summed(
            group_length(field, -n - 1), 1
        )  # what TV would cost: a zero objective is met to rounding
        floor = 16.0 * eps * (variation if self.fixed else self.threshold * variation)
        return bool(xp.all(gap <= max(self.prior.tol, 16.0 * eps) * primal + floor))

    def _summed(self, values: Array, extra: int) -> Array:
        """Sums over each image, with one axis of directions or two."""
        axes = (*range(-self.ndim - extra, -self.ndim), *self.axes)
        return namespace(values).reshape(namespace(values).sum(values, axis=axes), self.unit.shape)

    def _wide(self, numbers: Array, extra: int) -> Array:
        """Numbers per image, for fields."""
        for _ in range(extra):
            numbers = namespace(numbers).expand_dims(numbers, axis=-self.ndim - 1)
        return numbers


class _Bending(Operator):
    """E M: slopes to their symmetrised differences."""

    def __init__(self, spec: ArraySpec, ndim: int) -> None:
        split = spec.ndim - ndim
        lead, shape = spec.shape[:split], spec.shape[split:]
        self.ndim = ndim
        self.domain = self.field = ArraySpec((*lead, ndim, *shape), spec.kind)
        self.codomain = ArraySpec((*lead, ndim, ndim, *shape), spec.kind)
        ones = _without_last_lines(np.ones((ndim, *shape)), ndim)
        self.mask = Diagonal(np.broadcast_to(ones, self.field.shape), kind=spec.kind)

    def _forward(self, x: Array) -> Array:
        return _bend(self.mask._forward(x), self.ndim)

    def _adjoint(self, y: Array) -> Array:
        return _bend_adjoint(y, self.ndim)

    def norm_bound(self) -> float:
        """2 sqrt(d)."""
        return 2.0 * math.sqrt(self.ndim)


class _Member(Operator):
    """(x_0, x_1, ...) -> x_k."""

    def __init__(self, specs: tuple[ArraySpec, ...], k: int) -> None:
        self.domain = self.specs = specs
        self.codomain, self.k = specs[k], k

    def _forward(self, x: Array) -> Array:
        return x[self.k]

    def _adjoint(self, y: Array) -> Array:
        xp, here = namespace(y), self.codomain
        batch = y.shape[: y.ndim - here.ndim]  # type: ignore[union-attr]

        def empty(spec: ArraySpec) -> Array:
            return xp.zeros((*batch, *spec.shape), dtype=y.dtype, device=device_of(y))

        return tuple(y if j == self.k else empty(spec) for j, spec in enumerate(self.specs))

    def row_scale(self) -> float:
        """1."""
        return 1.0

    def norm_bound(self) -> float:
        """1."""
        return 1.0
