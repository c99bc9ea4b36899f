"""ADMM: alternating direction method of multipliers (Boyd et al. 2011), preconditioned and self-balancing.

    minimise  f(A x) + sum_b F_b(K_b x)        f = the loss; F_b = priors, K_b = their split or the identity

    x   = argmin f(A x) + r/2 sum_b ||K_b x - z_b + u_b||^2
    p_b = a K_b x + (1 - a) z_b                              over-relaxation, 0 < a < 2
    z_b = prox_(F_b / r)(p_b + u_b)
    u_b = u_b + p_b - z_b

A quadratic loss stays in the x step: in closed form by the operator's ``data_prox`` where K_b^H K_b = c_b I (the
identity, orthonormal bases, Parseval frames), else by warm-started conjugate gradients, preconditioned where a Fourier
transform makes A^H A diagonal (`_spectrum`). Any other loss becomes one more block with K = A.

The penalty r keeps ten times the primal residual near the dual one, both relative (Wohlberg 2017):

    primal  ||K x - z|| / max(||K x||, ||z||)
    dual    ||sum_b K_b^H (z_b - z_old)|| / (sum_b ||K_b^H u_b||^2)^(1/2)
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Any

from annotated_types import Ge, Gt, Interval

from recon import L1, Identity, LeastSquares, Matrix, Problem, Solver, State
from recon.arrays import Array, clip, namespace, norm, tmap
from recon.errors import CapabilityError
from recon.linalg import axpy, cg
from recon.linalg import norm as operator_norm
from recon.operator import Adjoint, Operator, Product, Scaled, capability, total
from recon.params import Doc
from recon.solver import Fit
from recon_proximal._certified import measured
from recon_proximal._examples import fading
from recon_proximal._parts import is_interval, parts
from recon_proximal._quadratic import gram, is_quadratic, weighed
from recon_proximal._spectrum import Basis, diagonalising, spectrum

__all__ = ["Admm", "AdmmState"]

Blocks = list[tuple[Any, Operator]]

_CORRECT_AT = frozenset(5 * 2**k for k in range(8))
_FIRST = 0.3  # of ||A||^2 / sum ||K_b||^2
_SHARE = 10.0  # of the dual over the primal residual: both measured on deblurring, MRI and CT with TV
_FARTHEST = 10.0
_ENOUGH = 0.1


@dataclass(frozen=True)
class AdmmState(State):
    """x as reported, `primal` of the x step, copies z, scaled duals u, penalty r, the residuals, relative and absolute.

    ``memory`` is that of the first prox that keeps one (TGV), which goes on where it ended.

    ``spectra`` are the diagonals of A^H A and of sum_b K_b^H K_b in the Fourier basis, with ``mirror`` images or not;
    empty without such a basis.
    """

    primal: Array
    copies: tuple[Array, ...]
    duals: tuple[Array, ...]
    penalty: float
    primal_residual: float
    dual_residual: float
    pull: float
    spectra: tuple[Array, ...]
    mirror: bool
    memory: Array | None


@dataclass(frozen=True)
class Admm(Solver):
    """Alternating directions for any convex loss with a prox (or quadratic) and any sum of priors.

    Minimises loss(A x, y) + prior(x). Few, dear iterations: good where products with A are cheap compared with
    what a first-order step gains, and best where the x step has a closed form or a preconditioner that is nearly one:
    deblurring and single-coil MRI with TV. The image reported is the copy of the prior that acts on x itself, where
    there is one, so that constraints hold exactly. With a denoiser as prior it is plug-and-play ADMM (then set
    ``penalty``, and ``adapt=False``). With a prior that is not convex nothing is guaranteed, and where it ends depends
    on ``penalty``. Per iteration up to ``inner`` forward and adjoint products.

    Parameters
    ----------
    penalty
        First r; by default 0.3 ||A||^2 / sum ||K_b||^2.
    adapt
        Let r follow the residuals, at iterations 5, 10, 20, ... 640; then it stays.
    relaxation
        a in (0, 2); 1 is the plain method.
    inner
        Most conjugate-gradient iterations per step.
    tol
        Relative residual at which they stop in any case; they also stop at a tenth of the dual residual, below
        which the step gains nothing.

    Raises
    ------
    CapabilityError
        When there is no prior (use Cgls), or a part has neither prox nor split.

    Notes
    -----
    ``measure`` records the relative residuals as ``primal_residual`` and ``dual_residual``: both small is the rule of
    Boyd et al. (section 3.3.1) for having converged.
    """

    penalty: Annotated[float | None, Gt(0), Doc("first penalty r; None takes it from the norms")] = None
    adapt: Annotated[bool, Doc("let the penalty follow the residuals")] = True
    relaxation: Annotated[float, Interval(gt=0, lt=2), Doc("over-relaxation; 1 is the plain method")] = 1.7
    inner: Annotated[int, Ge(1), Doc("most conjugate-gradient iterations per step")] = 10
    tol: Annotated[float, Gt(0), Doc("relative residual at which they stop")] = 1e-8

    state_type = AdmmState

    def init(self, problem: Problem, x0: Array | None = None, seed: int = 0) -> AdmmState:
        if not is_quadratic(problem):
            problem.require(problem.loss, "prox", "Admm", "Fista")
        blocks = _blocks(problem)
        if not blocks:
            raise CapabilityError("Admm needs a prior, got none. Use Cgls instead.")
        x = problem.start(x0)
        copies = tuple(operator @ x for _, operator in blocks)
        duals = tuple(tmap(lambda leaf: 0 * leaf, z) for z in copies)
        penalty = self.penalty or _first_penalty(problem, blocks)
        spectra, mirror = _spectra(problem, blocks)
        return AdmmState(0, x, x, copies, duals, penalty, 1.0, 1.0, 0.0, spectra, mirror, None)

    def step(self, problem: Problem, state: AdmmState) -> AdmmState:
        blocks, r, a = _blocks(problem), state.penalty, self.relaxation
        primal = self._solve_primal(problem, blocks, state)
        copies, duals = [], []
        apart, shifts, pulls, images = [], [], [], []
        memory, keeper = state.memory, next((o for o, _ in blocks if capability(o, "prox_from")), None)
        for (outer, operator), z, u in zip(blocks, state.copies, state.duals, strict=True):
            image = operator @ primal
            point = axpy(1.0 - a, z, axpy(a, image, u))
            if outer is keeper:
                copy, memory = outer.prox_from(point, 1.0 / r, memory)
            else:
                copy = outer.prox(point, 1.0 / r)
            dual = axpy(-1.0, copy, point)
            apart.append(norm(axpy(-1.0, copy, image)))
            shifts.append(operator.H @ axpy(-1.0, z, copy))
            pulls.append(norm(operator.H @ dual))
            images.append(norm(image))
            copies.append(copy)
            duals.append(dual)
        shift = norm(total(shifts))
        state = replace(
            state,
            iteration=state.iteration + 1,
            x=_reported(blocks, copies, primal),
            primal=primal,
            copies=tuple(copies),
            duals=tuple(duals),
            primal_residual=_ratio(_length(apart), max(_length(images), _length([norm(z) for z in copies]))),
            dual_residual=_ratio(shift, _length(pulls)),
            pull=r * shift,
            memory=memory,
        )
        return _balanced(state) if self.adapt and state.iteration in _CORRECT_AT else state

    def _solve_primal(self, problem: Problem, blocks: Blocks, state: AdmmState) -> Array:
        r, quadratic = state.penalty, is_quadratic(problem)
        targets = [axpy(-1.0, u, z) for z, u in zip(state.copies, state.duals, strict=True)]
        pulls = [k.H @ t for (_, k), t in zip(blocks, targets, strict=True)]
        scale = _closed_scale(problem, blocks)
        if scale:
            mean = total(pulls) if scale == 1.0 else tmap(lambda leaf: leaf / scale, total(pulls))
            square = capability(problem.operator, "normal_scale")
            if square:  # (A^H A)^2 = c A^H A: the gradient's A^H y is at hand and its A^H A may be fast
                return axpy(-1.0 / (square() + r * scale), problem.gradient(mean), mean)
            return problem.operator.data_prox(mean, problem.data, r * scale)  # type: ignore[attr-defined]
        pulls = [tmap(lambda leaf: r * leaf, pull) for pull in pulls]
        if quadratic:
            pulls.append(problem.operator.H @ weighed(problem, problem.data))
        right = total(pulls)

        def apply(x: Array) -> Array:
            pulled = [tmap(lambda leaf: r * leaf, k.H @ (k @ x)) for _, k in blocks]
            return total([*pulled, gram(problem, x)] if quadratic else pulled)

        size = norm(right)
        goal = max(self.tol, _ENOUGH * state.pull / size) if size else self.tol
        return cg(
            apply,
            right,
            x0=state.primal,
            iterations=self.inner,
            tol=goal,
            precondition=_inverse(problem, state),
        )

    def measure(self, problem: Problem, state: AdmmState) -> dict[str, float]:
        duals = [tmap(lambda leaf: state.penalty * leaf, u) for u in state.duals]
        values = measured(problem, state.x, dual=None if is_quadratic(problem) else duals[-1], duals=duals)
        if state.iteration:
            values |= {"primal_residual": state.primal_residual, "dual_residual": state.dual_residual}
        return values

    @classmethod
    def suits(cls, problem: Problem) -> Fit | None:
        known = problem.prior is not None and problem.valued and problem.prior.convex
        if not (known and _cheap_data_prox(problem.operator)):
            return None
        try:
            blocks = _blocks(problem)
        except CapabilityError:
            return None
        if any(capability(outer, "prox_from") for outer, _ in blocks) or not _closed_scale(problem, blocks):
            return None
        # `recon bench convex`: Wiener was 2.9 dB better than wavelets at deblurring, zero-filled MRI was not
        hint = "" if capability(problem.operator, "normal_scale") else "; compare a one-step Wiener filter"
        return Fit(2.2, "least squares and a prior, both with a prox in closed form" + hint)

    @classmethod
    def example(cls) -> Problem:
        return fading(L1(0.02))


class _LossBlock:
    """A loss with its data as a prior of the prediction."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem

    def prox(self, v: Array, t: float) -> Array:
        return self.problem.loss.prox(v, t, self.problem.data)  # type: ignore[attr-defined]


def _cheap_data_prox(operator: Operator) -> bool:
    """Whether there is one that decomposes no matrix, and A^H A is not c I: that needs no iterations."""
    inner = operator
    while isinstance(inner, Product | Scaled):
        inner = inner.left if isinstance(inner, Product) else inner.operator
    decomposed = isinstance(inner, Matrix | Adjoint)
    one_step = capability(operator.H, "row_scale")
    return not decomposed and not one_step and capability(operator, "data_prox") is not None


def _blocks(problem: Problem) -> Blocks:
    blocks, rest = parts(problem, "Admm")
    if rest is not None:
        blocks = [*blocks, (rest, Identity(problem.operator.domain))]
    if blocks and not is_quadratic(problem):
        blocks = [*blocks, (_LossBlock(problem), problem.operator)]
    return blocks


def _closed_scale(problem: Problem, blocks: Blocks) -> float:
    """The c of sum_b K_b^H K_b = c I where the x step has a closed form, else 0."""
    if not (isinstance(problem.loss, LeastSquares) and capability(problem.operator, "data_prox")):
        return 0.0
    scales = [capability(k.H, "row_scale") for _, k in blocks]
    return sum(scale() for scale in scales if scale) if all(scales) else 0.0


def _first_penalty(problem: Problem, blocks: Blocks) -> float:
    if not is_quadratic(problem):
        return 1.0
    own = operator_norm(problem.operator, like=problem.data) ** 2
    others = sum(operator_norm(operator, like=problem.data) ** 2 for _, operator in blocks)
    return _FIRST * own / others if own and others else 1.0


def _reported(blocks: Blocks, copies: list[Array], primal: Array) -> Array:
    """The copy that obeys the bounds, where there are any; else of another prior on x itself; else the x step's."""
    on_x = [
        (not is_interval(outer), k)
        for k, (outer, operator) in enumerate(blocks)
        if isinstance(operator, Identity)
    ]
    return copies[min(on_x)[1]] if on_x else primal


# -- the x step's preconditioner -------------------------------------------------------------------------


def _spectra(problem: Problem, blocks: Blocks) -> tuple[tuple[Array, ...], bool]:
    """The diagonals of A^H W A and of sum_b K_b^H K_b where a basis makes the first diagonal."""
    if not is_quadratic(problem) or all(isinstance(k, Identity) for _, k in blocks):
        return (), False
    if _closed_scale(problem, blocks):
        return (), False
    spec, data = problem.operator.domain, problem.data
    found = diagonalising(lambda x: gram(problem, x), spec, data)
    if found is None:
        return (), False
    basis, own = found
    return (
        own,
        spectrum(basis, lambda x: total([k.H @ (k @ x) for _, k in blocks]), spec, data),
    ), basis.mirror


def _inverse(problem: Problem, state: AdmmState) -> Any:
    """r -> T^-1 (c_A + r c_K)^-1 T r, or None."""
    if not state.spectra:
        return None
    basis = Basis(problem.operator.domain.shape, state.mirror)  # type: ignore[union-attr]
    own, others = state.spectra
    c = own + state.penalty * others
    least = 1e-6 * float(namespace(c).max(c))
    inverse = 1.0 / clip(c, least, None)
    return lambda v: basis.filtered(v, inverse)


# -- the penalty -----------------------------------------------------------------------------------------


def _length(parts: list[float]) -> float:
    return sum(part**2 for part in parts) ** 0.5


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else float(part > 0.0)


def _balanced(state: AdmmState) -> AdmmState:
    """The penalty that would bring the residuals to their share, if they moved as its root; the duals follow it."""
    if not (state.primal_residual > 0.0 and state.dual_residual > 0.0):
        return state
    factor = (_SHARE * state.primal_residual / state.dual_residual) ** 0.5
    factor = min(max(factor, 1.0 / _FARTHEST), _FARTHEST)
    duals = tuple(tmap(lambda leaf: leaf / factor, u) for u in state.duals)
    return replace(state, penalty=factor * state.penalty, duals=duals)
