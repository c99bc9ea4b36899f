"""The orthonormal discrete cosine transform (type II), along all axes of an image.

    (C x)[k] = a_k sum_n x[n] cos(pi (n + 1/2) k / N),  a_0 = sqrt(1 / N), a_k = sqrt(2 / N)        per axis

NumPy arrays go through scipy.fft.dctn. Elsewhere by one Fourier transform of the same length: with v = x in the
order 0, 2, 4, ..., 5, 3, 1 and V its transform, C x = a_k Re(exp(-i pi k / (2 N)) V_k) for real x.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from annotated_types import Gt, Len

from recon.algebra import Identity
from recon.arrays import Array, ArraySpec, Kind, from_numpy, namespace, real_like
from recon.fft import fftn, ifftn
from recon.operator import Operator
from recon.params import Doc, check
from recon.svd import Svd

__all__ = ["DCT"]


@dataclass(frozen=True, eq=False, repr=False)
class DCT(Operator):
    """Cosine coefficients of an image: orthonormal, in the image's shape, low frequencies first.

    Parameters
    ----------
    image_shape
        The sample's axes, 1 to 3, of any length.
    kind
        ``"real"`` or ``"complex"``.

    Notes
    -----
    Formula: (C x)[k] = a_k sum_n x[n] cos(pi (n + 1/2) k / N) along each axis, a_0 = sqrt(1/N), a_k = sqrt(2/N)
    Shapes: image_shape -> image_shape
    Units: those of the image (white noise keeps its standard deviation in every coefficient)
    Cost: a fast transform, about 2.5 log2 N flops per pixel and axis
    Source: N. Ahmed, T. Natarajan, K. R. Rao, IEEE Trans. Comput. C-23 (1974) 90, doi:10.1109/T-C.1974.223784;
    J. Makhoul, IEEE Trans. ASSP 28 (1980) 27, doi:10.1109/TASSP.1980.1163351
    """

    image_shape: Annotated[
        tuple[Annotated[int, Gt(0)], ...], Len(1, 3), Doc("axes of the image, of any length")
    ]
    kind: Annotated[Kind, Doc("real or complex images")] = "real"

    def __post_init__(self) -> None:
        check(self)

    @property
    def domain(self) -> ArraySpec:  # type: ignore[override]
        """The image."""
        return ArraySpec(self.image_shape, self.kind)

    @property
    def codomain(self) -> ArraySpec:  # type: ignore[override]
        """The coefficients, in the same shape."""
        return self.domain

    @property
    def _axes(self) -> tuple[int, ...]:
        return tuple(range(-len(self.image_shape), 0))

    def _forward(self, x: Array) -> Array:
        if isinstance(x, np.ndarray):
            from scipy.fft import dctn

            return dctn(x, axes=self._axes, norm="ortho")
        return self._each(x, _cosines)

    def _adjoint(self, y: Array) -> Array:
        if isinstance(y, np.ndarray):
            from scipy.fft import idctn

            return idctn(y, axes=self._axes, norm="ortho")
        return self._each(y, _from_cosines)

    def _each(self, x: Array, function: Any) -> Array:
        xp = namespace(x)
        if self.kind == "complex":
            return self._each_real(xp.real(x), function) + 1j * self._each_real(xp.imag(x), function)
        return self._each_real(x, function)

    def _each_real(self, x: Array, function: Any) -> Array:
        xp = namespace(x)
        for axis in self._axes:
            x = xp.moveaxis(function(xp.moveaxis(x, axis, -1)), -1, axis)
        return x

    def norm_bound(self) -> float:
        """Exactly 1."""
        return 1.0

    def row_scale(self) -> float:
        """1: C C^T = I."""
        return 1.0

    def normal(self, x: Array) -> Array:
        """The identity."""
        return x

    def pinv(self, y: Array) -> Array:
        """The inverse, which is the adjoint."""
        return self._adjoint(y)

    def data_prox(self, v: Array, data: Array, rho: float) -> Array:
        """argmin 1/2 ||C x - data||^2 + rho/2 ||x - v||^2 = (C^T data + rho v) / (1 + rho)."""
        return (self._adjoint(data) + rho * v) / (1 + rho)

    def svd(self) -> Svd:
        """U = identity, s = 1, V = C^T."""
        return Svd(Identity(self.codomain), np.ones(1), self.H)

    @classmethod
    def example(cls) -> DCT:
        """A small instance: 6 x 5 pixels."""
        return cls((6, 5))


def _order(n: int) -> np.ndarray[Any, Any]:
    """0, 2, 4, ..., 5, 3, 1."""
    return np.concatenate([np.arange(0, n, 2), np.arange(n - 1 - n % 2, 0, -2)])


def _turn(n: int, like: Array) -> tuple[Array, Array]:
    """a_k cos(pi k / 2 n) and a_k sin(pi k / 2 n)."""
    k = np.arange(n)
    scale = np.where(k == 0, np.sqrt(1 / n), np.sqrt(2 / n))
    angle = np.pi * k / (2 * n)
    return real_like(scale * np.cos(angle), like), real_like(scale * np.sin(angle), like)


def _cosines(x: Array) -> Array:
    xp, n = namespace(x), x.shape[-1]
    V = fftn(xp.take(x, from_numpy(_order(n), x), axis=-1), axes=(-1,))
    cos, sin = _turn(n, x)
    return cos * xp.real(V) + sin * xp.imag(V)


def _from_cosines(c: Array) -> Array:
    """The transpose of the three steps: turn, transform, order."""
    xp, n = namespace(c), c.shape[-1]
    cos, sin = _turn(n, c)
    # the transpose of x -> (Re V, Im V) is (a, b) -> n Re ifft(a + i b)
    v = n * xp.real(ifftn(cos * c + 1j * (sin * c), axes=(-1,)))
    return xp.take(v, from_numpy(np.argsort(_order(n)), c), axis=-1)
