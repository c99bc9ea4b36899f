"""Blur and downsampling in one: y = D (h * x) with periodic boundaries.

    decimate   y[i] = (h * x)[s i + p]          sum, mean   y[i] = sum (or mean) of (h * x) over block i of s pixels

All three are A = D_0 F^-1 diag(g) F, where D_0 keeps every s-th sample and g is hhat times the transfer function of
the shift by p, or of the sum over s samples. In the spectrum D_0 folds: the s aliases of a coarse frequency are
averaged, so that

    A A^H = F^-1 diag(G) F,   G = mean over the aliases of |g|^2

is diagonal on the coarse grid, which gives the closed forms.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Ge, Gt

from recon.arrays import Array, ArraySpec, Kind, namespace, real_like
from recon.constants import constant, follow
from recon.errors import ParameterError
from recon.fft import ifftn, irfftn
from recon.operator import Operator
from recon.params import Doc, check
from recon_operators.convolution import _spectrum
from recon_operators.convolution._fourier import Grid
from recon_operators.convolution._invariant import check_kernel, kernel_kind
from recon_operators.convolution._kernel import Center, Floats, resolve_center, transfer_function
from recon_operators.convolution.convolution import ImageShape

__all__ = ["BlurDownsample"]

_Numbers = tuple[Annotated[int, Gt(0)], ...]


@dataclass(frozen=True, eq=False, repr=False)
class BlurDownsample(Operator):
    """Blur with periodic boundaries, then every s-th sample, or sums or means of blocks of s.

    Parameters
    ----------
    kernel
        h, with the axes of the image; axes in front make a stack, as in :class:`Convolution`.
    image_shape
        Axes of the fine image, each a multiple of its factor.
    factor
        s, one number or one per axis.
    how
        ``"decimate"`` keeps sample s i + phase; ``"sum"`` adds blocks of s (flux is kept; the adjoint repeats each
        value, without a division); ``"mean"`` averages them.
    phase
        Which sample of each s is kept by "decimate": 0 is the first; one number or one per axis.
    center
        As in :class:`Convolution`.
    kind
        ``"real"`` or ``"complex"`` images; by default that of the kernel.

    Raises
    ------
    ShapeError, ParameterError
        When kernel, factor and image do not fit each other.

    Notes
    -----
    Formula: y[i] = (h * x)[s i + p], or the sum or mean of (h * x) over s i, ..., s i + s - 1
    Shapes: (stack..., n_1, ..., n_d) -> (stack..., n_1 / s_1, ..., n_d / s_d)
    Units: y in units of x times the sum of h, and times the pixels of a block for "sum"
    Cost: one real transform of the fine image and less than one of it divided by s; `data_prox` two of the fine image
    Source: K. Zhang, L. Van Gool and R. Timofte, CVPR 2020, eq. 7, doi:10.1109/CVPR42600.2020.00328; N. Zhao et al.,
        IEEE Trans. Image Process. 25 (2016) 3683, doi:10.1109/TIP.2016.2567075

    Examples
    --------
    >>> A = BlurDownsample(psf, (64, 64), 2, how="sum", center="peak")
    >>> A.data_prox(v, y, 0.1)  # argmin 1/2 ||A x - y||^2 + 0.05 ||x - v||^2, exactly
    """

    kernel: Annotated[np.ndarray[Any, Any], Doc("the kernel, with the axes of the image; more make a stack")]
    image_shape: ImageShape
    factor: Annotated[Annotated[int, Gt(0)] | _Numbers, Doc("s, one number or one per axis")]
    _: KW_ONLY
    how: Annotated[Literal["decimate", "sum", "mean"], Doc("which numbers make a coarse pixel")] = "decimate"
    phase: Annotated[
        Annotated[int, Ge(0)] | tuple[Annotated[int, Ge(0)], ...], Doc("the sample that 'decimate' keeps")
    ] = 0
    center: Annotated[Center, Doc("'middle', 'peak', 'centroid' or the index of the centre")] = "middle"
    kind: Annotated[Kind | None, Doc("kind of image; by default that of the kernel")] = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "kernel", constant(self.kernel, "BlurDownsample.kernel"))
        check(self)
        ndim = len(self.image_shape)
        check_kernel("BlurDownsample", self.kernel, self.image_shape, "periodic")
        factor, phase = _per_axis(self.factor, ndim), _per_axis(self.phase, ndim)
        if factor is None or any(n % s for n, s in zip(self.image_shape, factor, strict=True)):
            raise ParameterError(
                f"BlurDownsample.factor must divide the image {self.image_shape}, got {self.factor}. "
                "Give one number, or one per axis; crop or pad the image."
            )
        late = phase is None or any(p >= s for p, s in zip(phase, factor, strict=True))
        if late or (any(phase or ()) and self.how != "decimate"):
            raise ParameterError(
                f"BlurDownsample.phase must be below the factor {factor}, and 0 unless how is 'decimate', "
                f"got {self.phase}."
            )
        center = resolve_center(self.kernel, ndim, self.center, "BlurDownsample")
        kind = kernel_kind("BlurDownsample", self.kernel, self.kind)
        for name, value in (("factor", factor), ("phase", phase), ("center", center), ("kind", kind)):
            object.__setattr__(self, name, value)

    @property
    def domain(self) -> ArraySpec:  # type: ignore[override]
        """The fine image."""
        return self._spec(self.image_shape)

    @property
    def codomain(self) -> ArraySpec:  # type: ignore[override]
        """The coarse image."""
        return self._spec(self._coarse)

    def _spec(self, shape: tuple[int, ...]) -> ArraySpec:
        assert self.kind is not None  # the constructor has put it
        return ArraySpec((*self.kernel.shape[: -len(shape)], *shape), self.kind)

    @property
    def _coarse(self) -> tuple[int, ...]:
        return tuple(n // s for n, s in zip(self.image_shape, self.factor, strict=True))  # type: ignore[arg-type]

    def _transfer(self) -> Floats:
        """g on all frequencies."""
        transfer = transfer_function(self.kernel, np.asarray(self.center), self.image_shape, half=False)
        for axis, (n, s, p) in enumerate(zip(self.image_shape, self.factor, self.phase, strict=True)):  # type: ignore[arg-type]
            steps = np.arange(p, p + 1) if self.how == "decimate" else np.arange(s)
            along = np.exp(2j * math.pi * np.outer(np.arange(n), steps) / n).sum(axis=1)
            along /= s if self.how == "mean" else 1
            transfer *= along.reshape([-1 if k == axis else 1 for k in range(len(self.image_shape))])
        return transfer

    @property
    def _gram(self) -> Floats:
        """G on all coarse frequencies."""
        return self._once("gram", self._make_gram)  # type: ignore[no-any-return]

    def _make_gram(self) -> Floats:
        gram = _spectrum.power(self._transfer())
        for axis, s in enumerate(self.factor):  # type: ignore[arg-type]
            gram = _fold(gram, s, axis - len(self.image_shape))
        return np.asarray(gram)

    def plan(self, xp: Any, device: Any, dtype: Any) -> _Plan:
        """Move g and G to the data."""
        half = bool(xp.isdtype(dtype, "real floating"))
        return _Plan(self._transfer(), self._gram, self.image_shape, self.factor, half, (xp, device, dtype))

    def data_prox(self, v: Array, data: Array, rho: float) -> Array:
        """argmin 1/2 ||A x - data||^2 + rho/2 ||x - v||^2 = v + A^H (A A^H + rho)^-1 (data - A v)."""
        plan = self._planned(v)
        assert isinstance(plan, _Plan)
        return v + plan.adjoint(data - plan.apply(v), 1.0 / (plan.gram + rho))

    def pinv(self, y: Array) -> Array:
        """The least-squares image of least norm, A^H (A A^H)^+ y; G <= (16 eps)^2 max G counts as 0."""
        plan = self._planned(y)
        assert isinstance(plan, _Plan)
        unit = self.norm_bound() or 1.0  # max G is its square, perhaps beyond the range of single precision
        gram = self._gram / unit**2
        seen = gram > (16 * float(namespace(y).finfo(y.dtype).eps)) ** 2
        inverse = plan.moved(np.where(seen, 1.0 / np.where(seen, gram, 1.0), 0.0))
        return plan.adjoint(y / unit, inverse) / unit

    def norm_bound(self) -> float:
        """sqrt(max G), exactly the norm."""
        return math.sqrt(float(self._gram.max()))

    def absolute_sums(self, like: Array) -> tuple[Array, Array]:
        """|A| 1 and |A|^T 1, rounded up: the same operator with |h|, once forward and once back."""
        twin = dataclasses.replace(self, kernel=np.abs(self.kernel).astype(np.float64), kind="real")
        rows, columns = twin @ np.ones(twin.domain.shape), twin.H @ np.ones(twin.codomain.shape)
        up = 1e-12 * float(max(rows.max(), columns.max()))  # rounding of the transforms
        return real_like((rows + up) * (1 + 1e-6), like), real_like((columns + up) * (1 + 1e-6), like)

    @classmethod
    def example(cls) -> BlurDownsample:
        """A small instance: 12 x 9 pixels, sums of 3 x 3."""
        kernel = np.array([[0.0, 0.1, 0.05], [0.2, 1.0, 0.3]])
        return cls(kernel, (12, 9), 3, how="sum", center="peak")


def _per_axis(value: Any, ndim: int) -> tuple[int, ...] | None:
    """One number per axis, or None where there are more or fewer."""
    numbers = value if isinstance(value, tuple) else (value,) * ndim
    return numbers if len(numbers) == ndim else None


def _fold(spectrum: Any, s: int, axis: int) -> Any:
    """The mean over the s aliases of each coarse frequency along a negative axis."""
    m = spectrum.shape[axis] // s
    rest = (slice(None),) * (-1 - axis)
    total = (1.0 / s) * spectrum[(..., slice(0, m), *rest)]
    for k in range(1, s):
        total += (1.0 / s) * spectrum[(..., slice(k * m, (k + 1) * m), *rest)]
    return total


class _Plan:
    """A, and A^H with a filter on the coarse grid in front.

    A folds the last axis in space (every s-th sample of it), which keeps the half spectrum of real data whole, and the
    others in the spectrum, before their inverse transform. A^H works on spectra throughout.
    """

    def __init__(
        self, transfer: Floats, gram: Floats, image: tuple[int, ...], factor: Any, half: bool, to: Any
    ) -> None:
        self.half, self.factor, self.image, self._to = half, factor, image, to
        self.fine, self.small = Grid(image, half), Grid(gram.shape[gram.ndim - len(image) :], half)
        self.leading = tuple(range(-len(image), -1))
        self.transfer, self.conjugate = self.moved(transfer), self.moved(transfer.conj())
        self.exact = gram

    @cached_property
    def gram(self) -> Any:
        """G."""
        return self.moved(self.exact)

    def moved(self, spectrum: Floats) -> Any:
        """What is kept of a full spectrum, where the data live."""
        kept = spectrum[..., : spectrum.shape[-1] // 2 + 1] if self.half else spectrum
        return follow(kept, *self._to)

    def apply(self, x: Array) -> Array:
        spectrum = _spectrum.multiply(self.fine.forward(x), self.transfer)
        for axis in self.leading:
            spectrum = _fold(spectrum, self.factor[axis], axis)
        if self.leading:
            spectrum = ifftn(spectrum, self.leading)
        rows = irfftn(spectrum, self.image[-1:], (-1,)) if self.half else ifftn(spectrum, (-1,))
        return namespace(x).astype(rows[..., :: self.factor[-1]], x.dtype, copy=True)

    def adjoint(self, y: Array, factor: Any = None) -> Array:
        """A^H y, or A^H F^-1 diag(factor) F y."""
        spectrum = self.small.forward(y)
        if factor is not None:
            spectrum = _spectrum.multiply(spectrum, factor)
        return self.fine.inverse(_spectrum.multiply(self._spread(spectrum), self.conjugate))

    def _spread(self, spectrum: Any) -> Any:
        """The spectrum of a coarse image with zeros between its samples: its own, once per alias."""
        xp = namespace(spectrum)
        *factors, last = self.factor
        if self.half:  # real data: the conjugate at the opposite frequency
            rest = xp.flip(spectrum[..., 1 : (self.small.lengths[-1] + 1) // 2], axis=-1)
            if self.leading:
                rest = xp.roll(xp.flip(rest, axis=self.leading), (1,) * len(self.leading), axis=self.leading)
            period = xp.concat([spectrum, xp.conj(rest)], axis=-1)
            spectrum = xp.concat([period] * (last // 2 + 1), axis=-1)[..., : self.image[-1] // 2 + 1]
        else:
            spectrum = xp.concat([spectrum] * last, axis=-1)
        for axis, s in zip(self.leading, factors, strict=True):
            spectrum = xp.concat([spectrum] * s, axis=axis)
        return spectrum
