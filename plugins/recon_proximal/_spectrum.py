"""Normal matrices that a Fourier transform makes diagonal, and preconditioners made of them.

    M x = T^-1 (c T x)        T = the Fourier transform of x, or of x and its mirror images

Periodic blur, MRI with one coil and the identity are diagonal in the first; blur that goes on by reflection with an
even kernel, the identity and differences with Neumann boundary in the second. Nothing is announced by the operators:
one product with a point gives c, another one with a random image proves it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from recon.arrays import Array, Spec, is_complex, namespace, norm, random_normal, zeros
from recon.fft import fftn, ifftn
from recon.linalg import axpy

__all__ = ["Basis", "diagonalising", "spectrum"]


class Basis(NamedTuple):
    """The transform: which axes of the sample, of which length, and whether mirror images are appended."""

    shape: tuple[int, ...]
    mirror: bool

    @property
    def axes(self) -> tuple[int, ...]:
        return tuple(range(-len(self.shape), 0))

    def forward(self, x: Array) -> Array:
        """T x."""
        if self.mirror:
            xp = namespace(x)
            for axis in self.axes:
                x = xp.concat([x, xp.flip(x, axis=axis)], axis=axis)
        return fftn(x, self.axes)

    def inverse(self, z: Array, like: Array) -> Array:
        """T^-1 z, real where `like` is."""
        x = ifftn(z, self.axes)
        if self.mirror:
            x = x[(..., *(slice(0, n) for n in self.shape))]
        return x if is_complex(like) else namespace(x).real(x)

    def filtered(self, x: Array, factor: Array) -> Array:
        """T^-1 (factor T x)."""
        return self.inverse(factor * self.forward(x), x)


def spectrum(basis: Basis, apply: Callable[[Array], Array], spec: Any, like: Array) -> Array:
    """The diagonal c >= 0 of a matrix in the basis, exact where it is diagonal there, from its product with a point."""
    point = zeros(spec, like)
    point[(0,) * len(spec.shape) if basis.mirror else tuple(n // 2 for n in spec.shape)] = 1.0
    xp = namespace(point)
    before, after = basis.forward(point), basis.forward(apply(point))
    size = xp.abs(before)
    seen = size > 1e-9  # mirror images of a point have nothing at the Nyquist frequency, nor has any image
    ratio = xp.real(after * xp.conj(before)) / xp.where(seen, size * size, xp.ones_like(size))
    return xp.where(seen & (ratio > 0.0), ratio, xp.zeros_like(ratio))


def diagonalising(apply: Callable[[Array], Array], spec: Spec, like: Array) -> tuple[Basis, Array] | None:
    """The basis in which a matrix is diagonal, with its diagonal there; None where neither is."""
    if isinstance(spec, tuple) or not 1 <= spec.ndim <= 3:
        return None
    probe = random_normal(spec, like, np.random.default_rng(0))
    image = apply(probe)
    for mirror in (False, True):
        basis = Basis(spec.shape, mirror)
        c = spectrum(basis, apply, spec, like)
        if norm(axpy(-1.0, basis.filtered(probe, c), image)) <= 1e-3 * norm(image):
            return basis, c
    return None
