"""Cartesian MRI: masked Fourier transforms of what every coil sees of an image.

    single coil    y = M F x                 A^H y = F^H M y
    coils          y_c = M F (S_c x)         A^H y = sum_c conj(S_c) F^H M y_c

F is centred and orthonormal: frequency 0 and the origin of the image are at index n // 2 of every axis. With
W the transform whose zero is at index 0, F = B W A with diagonal phases A, B, which are folded into the maps
and the mask: no product shifts an array.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np

from recon.algebra import Identity
from recon.arrays import Array, ArraySpec, as_numpy
from recon.constants import follow
from recon.errors import ParameterError
from recon.fft import fftn, ifftn
from recon.operator import Operator
from recon.params import Doc, check
from recon.svd import Svd
from recon_operators.fourier._coils import checked_maps, combine, expand, largest_sensitivity

__all__ = ["CartesianMRI"]

Numbers = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False, repr=False)
class CartesianMRI(Operator):
    """Cartesian MRI of a complex image, with one coil or several.

    Parameters
    ----------
    mask
        Which samples are taken: booleans (or 0 and 1) on the grid of k-space, frequency 0 at index n // 2 of
        every axis. Its shape is that of the image: 1 to 3 axes. See :mod:`recon_operators.fourier.masks`.
    maps
        Coil sensitivities (coils, *shape), complex; by default one coil that sees everything alike. See
        :func:`espirit`.

    Notes
    -----
    Formula: y_c = M F (S_c x); F centred and orthonormal, M the mask, S_c the sensitivity of coil c
    Shapes: (*shape) complex -> (*shape) complex without maps, (coils, *shape) complex with them; 0 where
    nothing is sampled
    Units: those of the image; F keeps the Euclidean norm
    Cost: one FFT per coil and product, which is 4/5 of the time at 256 x 256; ``normal`` two FFTs per coil along
    those axes only along which the mask varies; memory 2 complex arrays of the maps' size and 3 of the mask's
    Source: K. P. Pruessmann et al., "SENSE", Magn. Reson. Med. 42 (1999) 952,
    doi:10.1002/(SICI)1522-2594(199911)42:5<952::AID-MRM16>3.0.CO;2-S

    Raises
    ------
    ParameterError, ShapeError, ArrayError
        When the mask or the maps break their rule.

    Examples
    --------
    >>> A = CartesianMRI(masks.uniform((256, 256), acceleration=4), maps)  # maps (8, 256, 256)
    >>> kspace = A @ image  # (8, 256, 256)
    >>> image = recon.linalg.cgls(A, kspace, damp=1e-3)  # SENSE
    """

    mask: Annotated[Numbers, Doc("sampled places of k-space, frequency 0 at n // 2")]
    maps: Annotated[Numbers | None, Doc("coil sensitivities (coils, *shape); default one uniform coil")] = (
        None
    )

    def __post_init__(self) -> None:
        check(self)
        object.__setattr__(self, "mask", _checked_mask(self.mask))
        if self.maps is not None:
            object.__setattr__(self, "maps", checked_maps(self.maps, self.mask.shape, "CartesianMRI"))

    @property
    def domain(self) -> ArraySpec:  # type: ignore[override]
        """The image, of the mask's shape."""
        return ArraySpec(self.mask.shape, "complex")

    @property
    def codomain(self) -> ArraySpec:  # type: ignore[override]
        """k-space on the full grid, with the coils in front where there are maps."""
        return ArraySpec(self.mask.shape if self.maps is None else self.maps.shape, "complex")

    def plan(self, xp: Any, device: Any, dtype: Any) -> _Plan:
        """Fold the phases into maps and mask."""
        return _Plan(self.mask, self.maps, lambda values: follow(values, xp, device, dtype))

    def normal(self, x: Array) -> Array:
        """A^H A x: transforms along axes that are sampled alike everywhere cancel and are left out."""
        plan = self._planned(x)
        assert isinstance(plan, _Plan)
        return plan.normal(x)

    def norm_bound(self) -> float:
        """max sqrt(sum_c |S_c|^2), which is 1 for one coil (then exact) and for normalised maps.

        Sums of |A| are not offered: they are sqrt(N) times larger, and steps made of them tiny.
        """
        return largest_sensitivity(self.maps)

    @property
    def data_prox(self) -> Callable[[Array, Array, float], Array]:
        """argmin 1/2 ||A x - data||^2 + rho/2 ||x - v||^2 = v + A^H (data - A v) / (1 + rho), for one coil."""
        self._one_coil("data_prox")
        return lambda v, data, rho: v + self._adjoint(data - self._forward(v)) / (1 + rho)

    @property
    def normal_scale(self) -> Callable[[], float]:
        """1, for one coil: A^H A is a projection."""
        self._one_coil("normal_scale")
        return lambda: 1.0

    @property
    def pinv(self) -> Callable[[Array], Array]:
        """A^+ = A^H for one coil: the zero-filled image."""
        self._one_coil("pinv")
        return self._adjoint

    @property
    def svd(self) -> Callable[[], Svd]:
        """A = I diag(mask) F for one coil."""
        self._one_coil("svd")
        return lambda: Svd(
            Identity(self.codomain), self.mask.astype(np.float64), CartesianMRI(np.ones_like(self.mask)).H
        )

    def _one_coil(self, name: str) -> None:
        if self.maps is not None:  # a closed form that several coils do not have
            raise AttributeError(name)

    @classmethod
    def example(cls) -> CartesianMRI:
        """A small instance: 8 x 7 pixels, 3 coils, every other line and the middle."""
        rows, columns = np.indices((8, 7)) - 3
        maps = np.stack(
            [np.exp(-0.05 * ((rows - r) ** 2 + columns**2) + 0.1j * r * columns) for r in (-4, 0, 4)]
        )
        return cls((columns % 2 == 0) | (abs(columns) < 2), maps)


class _Plan:
    """Maps and mask with phases in them, where the data are."""

    def __init__(self, mask: Numbers, maps: Numbers | None, carry: Callable[[Numbers], Any]) -> None:
        ndim = mask.ndim
        self.axes = tuple(range(-ndim, 0))
        # Along the other axes the transforms of A^H A cancel.
        self.coded = tuple(a for a in self.axes if (mask.any(a) != mask.all(a)).any()) or (-1,)
        before, after = _phases(mask.shape)
        one_coil = maps is None
        into = before if maps is None else before * maps
        self.into, self.back = carry(into), carry(np.conj(into))
        window = mask * after / math.sqrt(mask.size)
        self.window, self.window_back = carry(window), carry(np.conj(window))
        # One coil needs no phases in A^H A, as moving the mask does the same; coils have them anyway.
        self.sampled = carry((np.fft.ifftshift(mask) if one_coil else mask).astype(np.complex128))
        self.one_coil = one_coil

    def apply(self, x: Array) -> Array:
        z = fftn(self.into * x if self.one_coil else expand(x, self.into), self.axes)
        z *= self.window
        return z

    def adjoint(self, y: Array) -> Array:
        z = ifftn(self.window_back * y, self.axes, norm="forward")
        return self._combined(z)

    def normal(self, x: Array) -> Array:
        z = fftn(x if self.one_coil else expand(x, self.into), self.coded)
        z *= self.sampled
        z = ifftn(z, self.coded)
        return z if self.one_coil else combine(z, self.back)

    def _combined(self, z: Array) -> Array:
        if not self.one_coil:
            return combine(z, self.back)
        z *= self.back
        return z


def _phases(shape: tuple[int, ...]) -> tuple[Numbers, Numbers]:
    """Diagonals A, B with F = B W A: exp(2 pi i c j / n) and exp(2 pi i c (k - c) / n), c = n // 2, per axis."""
    before, after = np.ones((), np.complex128), np.ones((), np.complex128)
    for n in shape:
        c, index = n // 2, np.arange(n)
        # whole turns taken out in integers: exactly +1 and -1 for even n
        before = np.multiply.outer(before, _turn(c * index % n, n))
        after = np.multiply.outer(after, _turn(c * (index - c) % n, n))
    return before, after


def _turn(part: Numbers, whole: int) -> Numbers:
    exact = np.where(2 * part == whole, -1.0, 1.0)
    return np.where((part == 0) | (2 * part == whole), exact, np.exp(2j * np.pi * part / whole))


def _checked_mask(mask: Any) -> Numbers:
    values = np.array(as_numpy(mask))
    if values.dtype.kind not in "biuf" or not np.isin(values, (0, 1)).all():
        raise ParameterError(
            f"CartesianMRI.mask must be booleans or 0 and 1, got {values.dtype}. Compare it, for example mask > 0."
        )
    if not 1 <= values.ndim <= 3 or not values.any():
        raise ParameterError(
            f"CartesianMRI.mask must have 1 to 3 axes and a sample, got shape {values.shape} with "
            f"{int(values.sum())} samples. See recon_operators.fourier.masks."
        )
    values = values.astype(bool)
    values.setflags(write=False)
    return values
