"""Certificates of optimality: how far the objective of an image can be above its minimum, at most.

    P(x) = f(A x) + sum_b F_b(K_b x) + G(x)                f = the loss; F_b, K_b = priors taken apart; G = the rest
    D(v, w, z) = -f*(v) - sum_b F_b*(w_b) - G*(z)          where A^H v + sum_b K_b^H w_b + z = 0
    gap = P(x) - D(v, w, z) >= P(x) - min P                for all such v, w and z (weak duality)

The duals of a solver under way are not such. With s = A^H v + sum_b K_b^H w_b they are moved there, by as little
as they are off, so that the gap goes to 0 with the solver's error:

    absorb    z = -s, where G* is finite there or at a multiple: norms, bounded sets, squares
    repair    else w_b - q, where K_b^H q = e is what G leaves of s. K_b^H K_b = c I: q = K_b e / c; the gradient: q =
              gradient of the solution of Poisson's equation, once v has moved along A 1 until each image of e sums to 0
    lift      x >= 0 alone: v + a A 1, where A^H A 1 > 0 lifts the negative entries of s
    scale     all duals by the one factor <= 1 that takes those of norms into their dual balls

Whatever gives the best bound is taken. The parts tell of their duals by ``conjugate`` and ``gauge`` (see
:class:`recon.Prior` and :class:`recon.Loss`); where one does not, there is no certificate.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from recon.arrays import (
    Array,
    as_numpy,
    from_numpy,
    is_complex,
    leaves,
    namespace,
    norm,
    real_like,
    tmap,
    zeros,
)
from recon.derivatives import Gradient
from recon.fft import fftn, ifftn
from recon.linalg import axpy
from recon.operator import Operator, capability, total
from recon.priors.base import Prior, prox_conjugate
from recon.problem import Problem

__all__ = ["certificate"]

_ROUNDING = 16.0  # units of the last digit of the terms whose difference the gap is
_IMAGES = 16  # images in one sample whose sums are moved to 0: each costs a product once, and its memory


def certificate(
    problem: Problem,
    x: Array,
    prediction: Array,
    objective: float,
    dual: Array,
    blocks: Sequence[tuple[Any, Operator, Array | None]] = (),
    rest: Prior | None = None,
) -> dict[str, float]:
    """``{"gap": g}``, where objective - minimum <= g; empty where there is no certificate for such a problem.

    For ``Solver.measure``. One adjoint product, one of each K_b^H, and a cosine transform each way where a
    gradient is repaired; at the first call one product more each way, kept with the problem.

    Parameters
    ----------
    problem
        Its prior must be the sum of ``blocks`` and ``rest``.
    x, prediction, objective
        The image, A x, and ``problem.objective(x)``.
    dual
        v, near f'(A x).
    blocks
        The priors taken apart: (F_b, K_b, w_b) with w_b near F_b'(K_b x), or None for 0.
    rest
        G, the prior that acts on x itself.

    Returns
    -------
    dict
        For a batch, g is that of the sum. It is infinite where the duals are too far off. Rounding is allowed for
        with 16 units of the last digit of the objective, of its bound, and of ||v|| ||A x||, so that g holds in
        the arithmetic of the data.
    """
    told = [problem.loss, *(outer for outer, _, _ in blocks), *([] if rest is None else [rest])]
    flexible = next((k for k, (_, K, _) in enumerate(blocks) if _can_give_way(K)), None)
    if (rest is None and flexible is None) or not all(capability(part, "conjugate") for part in told):
        return {}
    loss: Any = problem.loss
    if loss.conjugate(dual, problem.data) == math.inf:
        dual = loss.gradient(prediction, problem.data)
    fields = tuple(
        zeros(K.codomain, x, problem.batch) if field is None else _inside(outer, field)
        for outer, K, field in blocks
    )
    back = problem.operator.H @ dual
    pulls = [K.H @ field for (_, K, given), field in zip(blocks, fields, strict=True) if given is not None]
    slope = total([back, *pulls])
    at = _Duals(problem, tuple((outer, K) for outer, K, _ in blocks), rest, x, dual, fields, back, slope)
    bounds = [-math.inf]
    if rest is not None:
        bounds.append(at.value(dual, fields, _times(-1.0, slope)))
    if flexible is not None:
        bounds.append(at.repaired(flexible))
    elif getattr(rest, "interval", None) == (0.0, None):
        bounds.append(at.lifted())
    lower = max(bounds)
    if not (math.isfinite(objective) and math.isfinite(lower)):
        return {"gap": math.inf}
    terms = abs(objective) + abs(lower) + norm(dual) * norm(prediction)
    return {"gap": max(objective - lower, 0.0) + _ROUNDING * _eps(x) * terms}


@dataclass(frozen=True)
class _Duals:
    """The duals of a solver under way, and where they lead."""

    problem: Problem
    blocks: tuple[tuple[Any, Operator], ...]
    rest: Any
    x: Array
    dual: Array
    fields: tuple[Array, ...]
    back: Array  # A^H v
    slope: Array  # s

    def value(self, v: Array, fields: Sequence[Array], z: Array | None) -> float:
        """D at the duals, scaled into its domain."""
        loss: Any = self.problem.loss
        data, gauge = self.problem.data, capability(loss, "gauge")
        parts = [(outer, field) for (outer, _), field in zip(self.blocks, fields, strict=True)]
        parts += [] if z is None else [(self.rest, z)]
        reach = max([gauge(v, data) if gauge else 0.0, *(part.gauge(w) for part, w in parts)])
        if not math.isfinite(reach):
            return -math.inf
        if reach > 1.0:
            factor = (1.0 - 4.0 * _eps(v)) / reach
            v, parts = _times(factor, v), [(part, _times(factor, w)) for part, w in parts]
        return -float(loss.conjugate(v, data)) - float(sum(part.conjugate(w) for part, w in parts))

    def repaired(self, k: int) -> float:
        """D where the field of block k, and v for what no field can reach, take up what the rest leaves of s."""
        left, z = self._shared()
        v, K = self.dual, self.blocks[k][1]
        if isinstance(K, Gradient):
            moved = self._summing_to_zero(left, K._axes)
            if moved is None:
                return -math.inf
            v, left = moved
            potential = _poisson(left, K._axes)
        else:
            potential = _times(1.0 / K.H.row_scale(), left)  # type: ignore[attr-defined]
        fields = list(self.fields)
        fields[k] = axpy(-1.0, K @ potential, fields[k])
        return self.value(v, fields, z)

    def _shared(self) -> tuple[Array, Array | None]:
        """e and z with s = e - z: z a slope of the rest, where a step along -s leads."""
        if self.rest is None:
            return self.slope, None
        steepness, size = norm(self.back), norm(self.x)
        t = size / steepness if steepness and size else 1.0
        there = self.rest.prox(axpy(-t, self.slope, self.x), t)
        left = tmap(lambda a, b: (a - b) / t, self.x, there)
        z = _inside(self.rest, axpy(-1.0, self.slope, left))
        return axpy(1.0, self.slope, z), z

    def _summing_to_zero(self, left: Array, ndim: int) -> tuple[Array, Array] | None:
        """v and e, moved so that each image of e sums to 0: what a gradient field can take up."""
        moves = _moves(self.problem, ndim)
        if moves is None:
            return None

        def sums(x: Any) -> np.ndarray[Any, Any]:
            over = as_numpy(namespace(x).sum(x, axis=tuple(range(-ndim, 0))))
            return over.reshape(math.prod(self.problem.batch), len(moves))

        by_move = np.stack([sums(back) for _, back in moves], axis=-1)
        steps = (np.linalg.pinv(by_move, rcond=1e-10) @ sums(left)[..., None])[..., 0]
        v = self.dual
        for j, (move, back) in enumerate(moves):
            v, left = self._moved(v, steps[:, j], move), self._moved(left, steps[:, j], back)
        rounding = 1e3 * _eps(left) * sums(namespace(left).abs(self.back)).max()
        return (v, left) if np.abs(sums(left)).max() <= rounding else None

    def _moved(self, x: Array, steps: np.ndarray[Any, Any], move: Array) -> Array:
        """x - step move, with one step per sample of the batch."""

        def one(leaf: Any, direction: Any) -> Any:
            batch = self.problem.batch
            factors = steps.reshape(*batch, *(1 for _ in leaf.shape[len(batch) :]))
            like = leaf if is_complex(self.x) else real_like(0.0, leaf)
            return leaf - from_numpy(factors, like, like.dtype) * direction

        return tmap(one, x, move)

    def lifted(self) -> float:
        """D where v moves until s >= 0."""
        [(move, back)] = _moves(self.problem, None) or []
        heights = []
        for s, rise in zip(leaves(self.slope), leaves(back), strict=True):
            xp = namespace(s)
            low = s < 0
            if bool(xp.any(low & (rise <= 0))):
                return -math.inf
            ones = xp.ones_like(s)
            heights.append(float(xp.max(xp.where(low, -s, 0 * s) / xp.where(low, rise, ones))))
        height = (1.0 + 4.0 * _eps(self.x)) * max(heights)
        slope = tmap(lambda s: namespace(s).clip(s, 0.0, None), axpy(height, back, self.slope))
        return self.value(axpy(height, move, self.dual), self.fields, _times(-1.0, slope))


def _can_give_way(K: Operator) -> bool:
    """Whether K^H q = e has a solution in closed form, for every e or for those that sum to 0."""
    scale = capability(K.H, "row_scale")
    return isinstance(K, Gradient) or bool(scale and scale() > 0.0)


def _inside(outer: Any, field: Array) -> Array:
    """The field, or a point of the cone that is the domain of the conjugate, where no multiple lies inside."""
    return field if math.isfinite(outer.gauge(field)) else prox_conjugate(outer, field, 1.0)


def _times(factor: float, x: Array) -> Array:
    return tmap(lambda leaf: factor * leaf, x)


def _eps(x: Array) -> float:
    leaf = leaves(x)[0]
    return float(namespace(leaf).finfo(leaf.dtype).eps)


# -- directions in which v may move -----------------------------------------------------------------------

_KEPT: WeakKeyDictionary[Problem, dict[int, list[tuple[Array, Array]]]] = WeakKeyDictionary()


def _moves(problem: Problem, ndim: int | None) -> list[tuple[Array, Array]] | None:
    """Directions d in which v stays in the domain of f*, with A^H d; kept with the problem.

    d is f'(A n) for data 0, where n is 1 in one of the images of a sample, its last ndim axes, or everywhere
    (None). None where the images are too many.
    """
    kept = _KEPT.setdefault(problem, {})
    key = -1 if ndim is None else ndim
    if key not in kept:
        ones = _ones(problem, ndim)
        if ones is None:
            return None
        nothing = _times(0.0, problem.data)
        moves = [problem.loss.gradient(problem.operator @ one, nothing) for one in ones]
        kept[key] = [(move, problem.operator.H @ move) for move in moves]
    return kept[key]


def _ones(problem: Problem, ndim: int | None) -> list[Array] | None:
    ones = tmap(lambda leaf: leaf + 1.0, problem.start())
    if ndim is None:
        return [ones]
    spec: Any = problem.operator.domain
    count = math.prod(spec.shape[: spec.ndim - ndim])
    if count > _IMAGES:
        return None
    kinds = np.eye(count).reshape(count, *spec.shape[: spec.ndim - ndim], *(1,) * ndim)
    return [real_like(kind, ones) * ones for kind in kinds]


# -- Poisson's equation -----------------------------------------------------------------------------------


def _poisson(e: Any, ndim: int) -> Any:
    """u with G^T G u = e along the last axes, where G is the gradient with Neumann boundary and e sums to 0.

    The cosine transform turns G^T G into sum_k 4 sin^2(pi j_k / (2 n_k)). Other libraries than NumPy have none:
    they transform the image mirrored along every axis, whose spectrum holds the same numbers.
    """
    axes = tuple(range(-ndim, 0))
    if isinstance(e, np.ndarray):
        import scipy.fft

        spectrum = scipy.fft.dctn(e, axes=axes, norm="ortho")
        return scipy.fft.idctn(spectrum * _inverse(e.shape[-ndim:], 1, e), axes=axes, norm="ortho")
    xp = namespace(e)
    mirrored = e
    for axis in axes:
        mirrored = xp.concat([mirrored, xp.flip(mirrored, axis=axis)], axis=axis)
    u = ifftn(fftn(mirrored, axes) * _inverse(e.shape[-ndim:], 2, e), axes)
    u = u[(Ellipsis, *(slice(n) for n in e.shape[-ndim:]))]
    return u if is_complex(e) else xp.real(u)


def _inverse(shape: Sequence[int], periods: int, like: Any) -> Any:
    """One over the eigenvalues, 0 for the constant."""
    squares = [4.0 * np.sin(np.pi * np.arange(periods * n) / (2 * n)) ** 2 for n in shape]
    eigenvalues = sum(np.ix_(*squares), np.zeros(1))
    eigenvalues.flat[0] = np.inf
    return real_like(1.0 / eigenvalues, like)
