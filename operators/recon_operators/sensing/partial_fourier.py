"""Some coefficients of a Fourier transform, of complex or of real samples.

    A x = R F D x      F unitary (numpy.fft's order of frequencies), R keeps rows, D = random signs if asked

Of complex samples A A^H = I. Of real ones the adjoint takes the real part, and the frequencies k and -k say the
same: with m = 1 where a frequency is kept and 0 elsewhere,

    A^H A = D F^-1 diag(w) F D,   w[k] = (m[k] + m[-k]) / 2
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from recon.arrays import Array, Kind, namespace, real_like
from recon.fft import fftn, ifftn
from recon_operators._tight import TightRows
from recon_operators.sensing._partial import PartialUnitary

__all__ = ["PartialFourier", "PartialFourierReal"]


class _Fourier(PartialUnitary):
    """The transform that both share."""

    @property
    def _axes(self) -> range:
        return range(-len(self.domain_shape), 0)

    def _transform(self, x: Array) -> Array:
        return fftn(x, self._axes, "ortho")

    def _inverse(self, z: Array) -> Array:
        return ifftn(z, self._axes, "ortho")


@dataclass(frozen=True, eq=False, repr=False)
class PartialFourier(TightRows, _Fourier):
    """Some Fourier coefficients of a complex signal, image or volume.

    Parameters
    ----------
    domain_shape
        Axes of a sample; all are transformed.
    rows
        How many coefficients to draw at random, or their indices in C order, or a mask of the domain's shape;
        in the order of numpy.fft, frequency 0 first: numpy.fft.ifftshift turns a centred mask into that.
    scramble
        Whether to give every sample a random sign first.
    seed
        Seed of the rows and signs.

    Raises
    ------
    ParameterError
        When an argument breaks its rule.

    Notes
    -----
    Formula: (A x)[j] = (F D x)[rows[j]], F the unitary Fourier transform, D = diag(+-1) or I; A A^H = I
    Shapes: domain_shape complex -> (number of rows,) complex
    Units: those of x
    Cost: one Fourier transform, O(n log n)
    Source: E. Candes, J. Romberg, T. Tao, IEEE Trans. Inf. Theory 52 (2006) 489, doi:10.1109/TIT.2005.862083

    Examples
    --------
    >>> A = PartialFourier((256, 256), rows=16_000)
    >>> y = A @ image  # (16000,), complex
    """

    @property
    def _kinds(self) -> tuple[Kind, Kind]:
        return "complex", "complex"

    @classmethod
    def example(cls) -> PartialFourier:
        """A small instance: 12 of the 5 x 6 coefficients, scrambled."""
        return cls((5, 6), 12, scramble=True)


@dataclass(frozen=True, eq=False, repr=False)
class PartialFourierReal(_Fourier):
    """Some Fourier coefficients of a real signal, image or volume.

    Parameters
    ----------
    domain_shape
        Axes of a sample; all are transformed.
    rows
        How many coefficients to draw at random, or their indices in C order, or a mask of the domain's shape;
        in the order of numpy.fft, frequency 0 first: numpy.fft.ifftshift turns a centred mask into that.
    scramble
        Whether to give every sample a random sign first.
    seed
        Seed of the rows and signs.

    Raises
    ------
    ParameterError
        When an argument breaks its rule.

    Notes
    -----
    Formula: (A x)[j] = (F D x)[rows[j]], F the unitary Fourier transform, D = diag(+-1) or I; A^H y = D Re F^-1 R^T y
    Shapes: domain_shape real -> (number of rows,) complex
    Units: those of x
    Cost: one Fourier transform, O(n log n)
    Source: E. Candes, J. Romberg, T. Tao, IEEE Trans. Inf. Theory 52 (2006) 489, doi:10.1109/TIT.2005.862083

    Examples
    --------
    >>> A = PartialFourierReal((256, 256), rows=16_000)
    >>> y = A @ image  # (16000,), complex
    """

    @property
    def _kinds(self) -> tuple[Kind, Kind]:
        return "real", "complex"

    def _inverse(self, z: Array) -> Array:
        return namespace(z).real(ifftn(z, self._axes, "ortho"))

    def norm_bound(self) -> float:
        """max sqrt(w), exactly the norm."""
        return math.sqrt(float(self._weights.max()))

    def normal(self, x: Array) -> Array:
        """A^H A x = D F^-1 w F D x."""
        return self._adjoint(self._forward(x))

    def pinv(self, y: Array) -> Array:
        """D F^-1 (1 / w) F D A^H y; where w is 0, so is F D A^H y."""
        return self._filter(self._adjoint(y), 1 / np.where(self._weights > 0, self._weights, 1.0))

    def data_prox(self, v: Array, data: Array, rho: float) -> Array:
        """argmin 1/2 ||A x - data||^2 + rho/2 ||x - v||^2 = D F^-1 (w + rho)^-1 F D (A^H data + rho v)."""
        return self._filter(self._adjoint(data) + rho * v, 1 / (self._weights + rho))

    @property
    def _weights(self) -> np.ndarray[Any, Any]:
        """The w of A^H A, in the domain's shape."""
        return np.asarray(self._once("weights", self._made_weights))

    def _made_weights(self) -> np.ndarray[Any, Any]:
        kept = np.zeros(math.prod(self.domain_shape))
        kept[self._places()] = 1.0
        kept = kept.reshape(self.domain_shape)
        back = np.ix_(*(-np.arange(n) % n for n in self.domain_shape))
        return (kept + kept[back]) / 2

    def _filter(self, x: Array, response: np.ndarray[Any, Any]) -> Array:
        """D F^-1 diag(response) F D x, for a response that is even."""
        plan: Any = self._planned(x)
        z = fftn(plan.signed(x), self._axes, "ortho") * real_like(response, x)
        return plan.signed(self._inverse(z))

    @classmethod
    def example(cls) -> PartialFourierReal:
        """A small instance: 12 of the 5 x 6 coefficients, scrambled."""
        return cls((5, 6), 12, scramble=True)
