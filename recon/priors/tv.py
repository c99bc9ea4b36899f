"""Total variation, isotropic or anisotropic, in one to three dimensions (Rudin, Osher and Fatemi 1992).

    isotropic     w sum_i sqrt(sum_k |(G x)_k,i|^2)          anisotropic     w sum_i sum_k |(G x)_k,i|

with forward differences G, Neumann boundary. The prox with threshold l = t w solves the dual by fast gradient
projection (Beck and Teboulle 2009, algorithm FGP, constraint set included):

    x(p) = P_C(v - l G^T p),    p <- P_ball(q + G x(q) / (4 d l)),    duality gap = l (TV(x) - <p, G x>)

Images on axes in front of the last d are independent; each is solved in units of its own size.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from annotated_types import Ge, Gt, Interval

from recon.arrays import Array, ArraySpec, Spec, clip, is_complex, namespace
from recon.derivatives import Gradient
from recon.differences import gradient, gradient_adjoint
from recon.errors import ShapeError
from recon.operator import Operator
from recon.params import Doc, Parameters
from recon.priors.base import Prior, prox_conjugate
from recon.priors.norms import L1, L21, Weight

__all__ = ["TV"]

_CHECK_EVERY = 10  # iterations between evaluations of the duality gap, which costs one more gradient pair


@dataclass(frozen=True)
class TV(Parameters, Prior):
    """w TV(x): piecewise constant images.

    Solvers that split (Pdhg, Admm) use ``split`` and never solve an inner problem; the prox (for Fista) runs
    until its relative duality gap is below ``tol``. One prox iteration costs two passes of differences, about
    6 d + 10 reads and writes of the image; it holds 3 d + 3 images.

    Parameters
    ----------
    weight
        w >= 0.
    ndim
        The last ``ndim`` axes of the image are differentiated; axes in front are independent images.
    isotropic
        Length of the gradient (True) or sum of its absolute components (False).
    tol, iterations
        Relative duality gap at which the prox stops, and its most iterations.
    """

    weight: Weight = 1.0
    ndim: Annotated[int, Interval(ge=1, le=3), Doc("how many of the last axes are differentiated")] = 2
    isotropic: Annotated[bool, Doc("length of the gradient, or sum of its absolute components")] = True
    tol: Annotated[float, Gt(0), Doc("relative duality gap at which the prox stops")] = 1e-6
    iterations: Annotated[int, Ge(1), Doc("most iterations of the prox")] = 5000

    @property
    def _outer(self) -> Prior:
        """The norm of the gradient field, whose dual ball the projections use."""
        return L21(1.0, axis=-self.ndim - 1) if self.isotropic else L1(1.0)

    def value(self, x: Array) -> float:
        self._check(tuple(x.shape))
        outer: Any = self._outer
        return self.weight * float(outer.value(gradient(x, self.ndim)))

    def split(self, spec: Spec) -> tuple[Prior, Operator]:
        """The pair (norm of a gradient field, gradient) with value(x) = norm(gradient x)."""
        self.check_spec(spec)
        assert isinstance(spec, ArraySpec)
        outer = L21(self.weight, axis=-self.ndim - 1) if self.isotropic else L1(self.weight)
        return outer, Gradient(spec.shape[-self.ndim :], spec.kind)

    def prox(self, v: Array, t: float) -> Array:
        """argmin_x value(x) + ||x - v||^2 / (2 t), to the relative duality gap ``tol``."""
        return self.prox_from(v, t, None)[0]

    def prox_within(self, v: Array, t: float, lower: float | None, upper: float | None) -> Array:
        """The same with lower <= x <= upper."""
        return self.prox_from(v, t, None, lower, upper)[0]

    def prox_from(
        self, v: Array, t: float, memory: Array | None, lower: float | None = None, upper: float | None = None
    ) -> tuple[Array, Array]:
        """The prox started from the dual field of an earlier call, and the dual field to start the next from."""
        self._check(tuple(v.shape))
        dual = 0.0 * gradient(v, self.ndim) if memory is None else memory
        if t * self.weight == 0.0:
            return clip(v, lower, upper), dual
        # In units of each image's own size the threshold decides alone: images of a batch are independent, and
        # squares neither overflow nor vanish. A power of two loses no bit.
        unit = self._unit(v)
        v, threshold = v / unit, t * self.weight / unit
        lower, upper = (None if bound is None else bound / unit for bound in (lower, upper))

        def image(p: Array) -> Array:
            return clip(v - threshold * gradient_adjoint(p, self.ndim), lower, upper)

        tol = max(self.tol, 16.0 * float(namespace(v).finfo(v.dtype).eps))
        dual = self._ascend(dual, image, lambda p: self._gap(v, image(p), p, threshold) <= tol, threshold)
        return unit * image(dual), dual

    def _unit(self, v: Array) -> Array:
        """The power of two next to the largest modulus of each image, 1 for a zero image."""
        xp = namespace(v)
        size = xp.max(xp.abs(v), axis=tuple(range(-self.ndim, 0)), keepdims=True)
        exponent = xp.floor(xp.log2(xp.where(size > 0.0, size, xp.ones_like(size))))
        return xp.pow(xp.full_like(size, 2.0), exponent)

    def _ascend(
        self, p: Array, image: Callable[[Array], Array], good: Callable[[Array], bool], threshold: Array
    ) -> Array:
        step = namespace(p).expand_dims(1.0 / (4.0 * self.ndim * threshold), axis=-self.ndim - 1)
        q = p
        for k in range(self.iterations):
            if k % _CHECK_EVERY == 0 and good(p):
                break
            ahead = prox_conjugate(self._outer, q + step * gradient(image(q), self.ndim), 1.0)
            # momentum of Chambolle and Dossal (2015) with a = 4: half the gap of Nesterov's here, and p converges
            q = ahead + (k / (k + 5.0)) * (ahead - p)
            p = ahead
        return p

    def _gap(self, v: Array, x: Array, p: Array, threshold: Array) -> float:
        """Duality gap relative to the primal objective at x = x(p), of the worst image."""
        xp, axes = namespace(v), tuple(range(-self.ndim, 0))
        field = gradient(x, self.ndim)
        size = xp.abs(field) ** 2 if self.isotropic else xp.abs(field)
        size = xp.sum(size, axis=-self.ndim - 1)
        length = xp.sum(xp.sqrt(size) if self.isotropic else size, axis=axes, keepdims=True)
        product = xp.sum(
            xp.real(xp.conj(p) * field) if is_complex(v) else p * field, axis=(-self.ndim - 1, *axes)
        )
        misfit = xp.sum(xp.abs(x - v) ** 2, axis=axes, keepdims=True)
        primal = 0.5 * misfit + threshold * length
        gap = threshold * (length - xp.reshape(product, length.shape))
        return float(
            xp.max(xp.where(primal > 0.0, gap / xp.where(primal > 0.0, primal, xp.ones_like(primal)), gap))
        )

    def gap(self, v: Array, t: float, memory: Array, x: Array) -> float:
        """Relative duality gap of ``x, memory = prox_from(v, t, ...)``: bounds the distance to the optimum."""
        unit = self._unit(v)
        return self._gap(v / unit, x / unit, memory, t * self.weight / unit)

    def check_spec(self, spec: Spec) -> None:
        if isinstance(spec, tuple):
            raise ShapeError(
                "TV must act on one array, got a tuple. Add one prior per member, or stack the images."
            )
        self._check(spec.shape)

    def _check(self, shape: tuple[int, ...]) -> None:
        if len(shape) < self.ndim:
            raise ShapeError(
                f"TV.ndim must be at most the {len(shape)} axes of the image, got {self.ndim}. Lower it."
            )

    @classmethod
    def example(cls) -> TV:
        return cls(0.3)
