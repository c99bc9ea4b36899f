"""Total variation and its relatives, in one to three dimensions (Rudin, Osher and Fatemi 1992).

    TV          w sum_i |(G x)_i|        HuberTV     w sum_i h(|(G x)_i|),  h(s) = s^2 / (2 d) below d, s - d / 2 above

with forward differences G, Neumann boundary. |.| is the length over the directions (isotropic) or over none
(anisotropic: every difference counts alone), and over the channels too where these are coupled. The prox with
threshold l = t w solves the dual by fast gradient projection (Beck and Teboulle 2009, algorithm FGP, constraint
set included; the Huber part adds d/2 ||p||^2 to the dual):

    x(p) = P_C(v - l G^T p),    p <- P_ball((q + s G x(q)) / (1 + s d)),   s = 1 / (4 n l) in n dimensions
    duality gap = l (sum h(|G x|) + d/2 ||p||^2 - <p, G x>)

Images on axes in front are independent; each is solved in units of its own size.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from typing import Annotated

from annotated_types import Ge, Gt, Interval

from recon.arrays import Array, ArraySpec, Spec, clip, is_complex, namespace
from recon.derivatives import Gradient
from recon.differences import gradient, gradient_adjoint
from recon.errors import ShapeError
from recon.operator import Operator
from recon.params import Doc, Parameters
from recon.priors.base import Prior, prox_conjugate
from recon.priors.huber import Huber, huber
from recon.priors.norms import L1, L21, group_length
from recon.priors.weights import Weight

__all__ = ["TV", "HuberTV"]

_CHECK_EVERY = 10  # iterations between evaluations of the duality gap, which costs one more gradient pair


@dataclass(frozen=True)
class _Variation(Parameters, Prior):
    """w sum h(|G x|) with a corner at d >= 0, 0 for a norm; the fields of all its kinds."""

    weight: Weight = 1.0
    ndim: Annotated[int, Interval(ge=1, le=3), Doc("how many of the last axes are differentiated")] = 2
    isotropic: Annotated[bool, Doc("length of the gradient, or sum of its absolute components")] = True
    tol: Annotated[float, Gt(0), Doc("relative duality gap at which the prox stops")] = 1e-6
    iterations: Annotated[int, Ge(1), Doc("most iterations of the prox")] = 5000
    _: KW_ONLY
    channels: Annotated[bool, Doc("whether the axis in front holds channels that share their edges")] = False

    @property
    def _corner(self) -> float:
        """The length d below which h is quadratic."""
        return 0.0

    @property
    def _grouped(self) -> int | tuple[int, ...] | None:
        """The axes of a gradient field that make one length."""
        if self.channels:
            return (-self.ndim - 2, -self.ndim - 1) if self.isotropic else -self.ndim - 2
        return -self.ndim - 1 if self.isotropic else None

    def _norm(self, weight: float) -> Prior:
        """The norm of a gradient field."""
        return L1(weight) if self._grouped is None else L21(weight, axis=self._grouped)

    @property
    def _image(self) -> tuple[int, ...]:
        """The axes of one image."""
        return tuple(range(-self.ndim - self.channels, 0))

    def value(self, x: Array) -> float:
        self._check(tuple(x.shape))
        lengths = group_length(gradient(x, self.ndim), self._grouped)
        return self.weight * float(namespace(x).sum(huber(lengths, self._corner)))

    def split(self, spec: Spec) -> tuple[Prior, Operator]:
        """The pair (norm of a gradient field, gradient) with value(x) = norm(gradient x)."""
        self.check_spec(spec)
        assert isinstance(spec, ArraySpec)
        return self._norm(self.weight), Gradient(spec.shape, spec.kind, self.ndim)

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
        eps = float(namespace(v).finfo(v.dtype).eps)
        # far below rounding a threshold moves nothing, but its inverse is not finite
        v, threshold = v / unit, clip(t * self.weight / unit, eps**3, None)
        lower, upper = (None if bound is None else bound / unit for bound in (lower, upper))

        def image(p: Array) -> Array:
            return clip(v - threshold * gradient_adjoint(p, self.ndim), lower, upper)

        tol = max(self.tol, 16.0 * eps)
        dual = self._ascend(
            dual, image, lambda p: self._gap(v, image(p), p, threshold, unit) <= tol, threshold, unit
        )
        return unit * image(dual), dual

    def _unit(self, v: Array) -> Array:
        """The power of two next to the largest modulus of each image, 1 for a zero image."""
        xp = namespace(v)
        size = xp.max(xp.abs(v), axis=self._image, keepdims=True)
        exponent = xp.floor(xp.log2(xp.where(size > 0.0, size, xp.ones_like(size))))
        return xp.pow(xp.full_like(size, 2.0), exponent)

    def _ascend(
        self,
        p: Array,
        image: Callable[[Array], Array],
        good: Callable[[Array], bool],
        threshold: Array,
        unit: Array,
    ) -> Array:
        step = self._over_field(1.0 / (4.0 * self.ndim * threshold))
        shrink = 1.0 + step * self._over_field(self._corner / unit) if self._corner else None
        ball, q = self._norm(1.0), p
        for k in range(self.iterations):
            if k % _CHECK_EVERY == 0 and good(p):
                break
            ahead = q + step * gradient(image(q), self.ndim)
            ahead = prox_conjugate(ball, ahead if shrink is None else ahead / shrink, 1.0)
            # momentum of Chambolle and Dossal (2015) with a = 4: half the gap of Nesterov's here, and p converges
            q = ahead + (k / (k + 5.0)) * (ahead - p)
            p = ahead
        return p

    def _over_field(self, numbers: Array) -> Array:
        """Numbers per image, for fields with their axis of directions."""
        return namespace(numbers).expand_dims(numbers, axis=-self.ndim - 1)

    def _gap(self, v: Array, x: Array, p: Array, threshold: Array, unit: Array) -> float:
        """Duality gap relative to the primal objective at x = x(p), of the worst image."""
        xp = namespace(v)
        field = gradient(x, self.ndim)
        every = (-self.ndim - 1, *(axis - (axis < -self.ndim) for axis in self._image))

        def summed(values: Array) -> Array:
            return xp.reshape(xp.sum(values, axis=every, keepdims=True), threshold.shape)

        corner = self._over_field(self._corner / unit) if self._corner else 0.0
        cost = summed(huber(group_length(field, self._grouped), corner))
        product = summed(xp.real(xp.conj(p) * field) if is_complex(v) else p * field)
        primal = 0.5 * xp.sum(xp.abs(x - v) ** 2, axis=self._image, keepdims=True) + threshold * cost
        if self._corner:
            product = product - summed(0.5 * corner * xp.abs(p) ** 2)
        gap = threshold * (cost - product)
        return float(
            xp.max(xp.where(primal > 0.0, gap / xp.where(primal > 0.0, primal, xp.ones_like(primal)), gap))
        )

    def gap(self, v: Array, t: float, memory: Array, x: Array) -> float:
        """Relative duality gap of ``x, memory = prox_from(v, t, ...)``: bounds the distance to the optimum."""
        unit = self._unit(v)
        return self._gap(v / unit, x / unit, memory, t * self.weight / unit, unit)

    def check_spec(self, spec: Spec) -> None:
        if isinstance(spec, tuple):
            raise ShapeError(
                f"{type(self).__name__} must act on one array, got a tuple. Add one prior per member, or stack "
                "the images."
            )
        self._check(spec.shape)

    def _check(self, shape: tuple[int, ...]) -> None:
        owner = type(self).__name__
        if len(shape) < self.ndim:
            raise ShapeError(
                f"{owner}.ndim must be at most the {len(shape)} axes of the image, got {self.ndim}. Lower it."
            )
        if len(shape) < self.ndim + self.channels:
            raise ShapeError(
                f"{owner}.channels must be False for images without an axis in front of the last {self.ndim}, "
                f"got True for {len(shape)} axes. Add an axis of length 1."
            )


@dataclass(frozen=True)
class TV(_Variation):
    """w TV(x): piecewise constant images.

    Solvers that split (Pdhg, Admm) use ``split`` and solve no prox of TV to the end: Admm shrinks the gradient
    once per iteration, Pdhg takes a few steps on the dual from where the last ones ended. The prox (for Fista)
    runs until its relative duality gap is below ``tol``. One prox iteration costs two passes of differences, about
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
    channels
        Whether the axis in front of the last ``ndim`` holds channels (colours, bands) of one image whose edges
        lie at the same places: the length is then taken over them too (vectorial TV; Bresson and Chan 2008).
    """

    @classmethod
    def example(cls) -> TV:
        return cls(0.3)


@dataclass(frozen=True)
class HuberTV(_Variation):
    """w sum h(|G x|), h(s) = s^2 / (2 d) up to d and s - d / 2 beyond: flat regions and slopes, no staircase.

    Differences below ``delta`` are smoothed as by Tikhonov's prior, edges above it kept as by TV. It is smooth:
    ``gradient`` and ``curvature`` serve gradient methods; ``split`` and the prox are as for :class:`TV`.

    Parameters
    ----------
    weight, ndim, isotropic, tol, iterations, channels
        As for :class:`TV`.
    delta
        The length d > 0 of a difference up to which the penalty is quadratic, in units of x.
    """

    _: KW_ONLY
    delta: Annotated[float, Gt(0), Doc("difference up to which the penalty is quadratic, in units of x")]

    @property
    def _corner(self) -> float:
        return self.delta

    def split(self, spec: Spec) -> tuple[Prior, Operator]:
        """The pair (Huber function of a gradient field, gradient)."""
        return Huber(self.weight, delta=self.delta, axis=self._grouped), super().split(spec)[1]

    def gradient(self, x: Array) -> Array:
        """w G^T (G x / max(|G x|, d))."""
        self._check(tuple(x.shape))
        field = gradient(x, self.ndim)
        held = self.weight * field / clip(group_length(field, self._grouped), self.delta, None)
        return gradient_adjoint(held, self.ndim)

    def curvature(self) -> float:
        """4 w n / d in n dimensions."""
        return 4.0 * self.weight * self.ndim / self.delta

    @classmethod
    def example(cls) -> HuberTV:
        return cls(0.3, delta=0.2)
