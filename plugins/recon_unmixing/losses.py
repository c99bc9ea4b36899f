"""Losses that outlying bands do not spoil.

    BandL21     sum over bands of ||r_l||_2                    l2,1 norm of the residual, bands as groups
    BandLog     N / 2 sum over bands of log(||r_l||^2 / N)     Gaussian noise of unknown variance in every band

r_l holds the residuals of band l (the last axis) over all N pixels. Both are solved by reweighted least squares: the
tangent of sqrt (or log) at the residual of the iterate before is a weighted sum of squares that lies above, so the
loss never rises.

    weights of the next iterate    1 / max(||r_l||, eps)       N / max(||r_l||^2, eps^2)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from recon.arrays import Array, as_numpy, real_like
from recon.losses import Loss
from recon.params import Parameters

__all__ = ["BandL21", "BandLog", "BandLoss"]


class BandLoss(Loss):
    """Base of losses that are a concave function of ||r_l||^2 of each band."""

    def lengths(self, prediction: Array, data: Array) -> np.ndarray[Any, Any]:
        """||r_l|| of every band, NumPy float64."""
        residual = as_numpy(prediction - data)
        flat = residual.reshape(-1, residual.shape[-1])
        return np.sqrt(np.einsum("nl,nl->l", flat, flat, dtype=np.float64))

    def of_lengths(self, lengths: Any, pixels: int) -> float:
        """The loss, from the lengths."""
        raise NotImplementedError

    def weights(self, lengths: Any, pixels: int) -> np.ndarray[Any, Any]:
        """w_l of the least-squares problem 1/2 sum w_l ||r_l||^2 whose minimiser is the next iterate."""
        raise NotImplementedError

    def value(self, prediction: Array, data: Array) -> float:
        return self.of_lengths(self.lengths(prediction, data), _pixels(data))

    def gradient(self, prediction: Array, data: Array) -> Array:
        w = self.weights(self.lengths(prediction, data), _pixels(data))
        return real_like(w, data) * (prediction - data)


@dataclass(frozen=True)
class BandL21(Parameters, BandLoss):
    """sum over bands of ||r_l||_2: the l2,1 norm, bands (last axis) as groups.

    A convex loss that a few bad bands cannot dominate; the robust default of unmixing. Source: F. Nie, H. Huang,
    X. Cai, C. Ding, NIPS 23 (2010) 1813 (the norm and its reweighting); W. He, H. Zhang, L. Zhang, IEEE J. Sel. Top.
    Appl. Earth Obs. Remote Sens. 9 (2016) 4267 (in unmixing).
    """

    def of_lengths(self, lengths: Any, pixels: int) -> float:
        return float(np.sum(lengths))

    def weights(self, lengths: Any, pixels: int) -> np.ndarray[Any, Any]:
        return 1.0 / np.maximum(lengths, _floor(lengths))

    @classmethod
    def example(cls) -> BandL21:
        return cls()


@dataclass(frozen=True)
class BandLog(Parameters, BandLoss):
    """N / 2 sum over bands of log(||r_l||^2 / N): maximum likelihood where every band has its own noise variance.

    Reaches the oracle that knows the bad bands where the endmembers are right. Not convex. A band that is fitted
    exactly would drive it to -infinity: lengths are floored at 1e-6 of the largest one.
    """

    def of_lengths(self, lengths: Any, pixels: int) -> float:
        square = np.maximum(lengths, _floor(lengths)) ** 2
        return 0.5 * pixels * float(np.sum(np.log(square / pixels)))

    def weights(self, lengths: Any, pixels: int) -> np.ndarray[Any, Any]:
        return pixels / np.maximum(lengths, _floor(lengths)) ** 2

    @classmethod
    def example(cls) -> BandLog:
        return cls()


def _floor(lengths: Any) -> float:
    """eps: what a length counts at least."""
    return max(1e-6 * float(np.max(lengths)), 1e-150)


def _pixels(data: Array) -> int:
    return math.prod(data.shape[:-1])
