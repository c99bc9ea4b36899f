"""Priors whose denoiser, and whose posterior, are known exactly: Gaussians and mixtures of them.

    x ~ N(m, V diag(c) V^H)        D(z, s) = m + V diag(c / (c + s^2)) V^H (z - m)
    x ~ sum_k w_k N(m_k, .)        D(z, s) = sum_k w_k(z) D_k(z, s),   w_k(z) ~ w_k N(z; m_k, C_k + s^2)

They are for tests of samplers, for teaching, and for images that really are Gaussian. c are variances, V is any
operator with orthonormal columns that spans the image (a DCT, a wavelet transform, the identity).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from recon import Identity, Matrix, Operator, Prior
from recon.arrays import Array, ArraySpec, as_numpy, namespace, real_like
from recon.constants import constant
from recon.errors import ParameterError
from recon_diffusion._each import dots, spread

__all__ = ["GaussianPrior", "MixturePrior"]


@dataclass(frozen=True, eq=False)
class GaussianPrior(Prior):
    """Images drawn from N(mean, V diag(variances) V^H).

    Parameters
    ----------
    mean
        m, an array of the image's shape, or one number.
    variances
        c >= 0, of the shape of V's coefficients, or one number.
    basis
        V, from coefficients to images, orthonormal; None for the identity.

    Raises
    ------
    ParameterError
        For negative variances.
    """

    mean: Any
    variances: Any
    basis: Operator | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "mean", constant(self.mean, "GaussianPrior.mean"))
        object.__setattr__(self, "variances", constant(self.variances, "GaussianPrior.variances"))
        if (self.variances < 0).any() or not self.variances.any():
            raise ParameterError("GaussianPrior.variances must be >= 0 and not all 0, got others.")

    @classmethod
    def of_covariance(cls, mean: Any, covariance: Any) -> GaussianPrior:
        """From a covariance matrix (n, n) of images of n numbers, in C order; cost n^3 once."""
        mean = np.asarray(mean, dtype=np.float64)
        variances, vectors = np.linalg.eigh(np.asarray(covariance, dtype=np.float64))
        return cls(mean, np.maximum(variances, 0.0), Matrix(vectors, codomain_shape=mean.shape))

    @property
    def scale(self) -> float:
        """Root mean variance."""
        return float(np.sqrt(self.variances.mean()))

    def spread(self, s: float) -> float:
        """r: root mean variance of x given z at level s."""
        return float(np.sqrt((self.variances * s * s / (self.variances + s * s)).mean()))

    def denoise(self, v: Array, sigma: float) -> Array:
        """E[x | x + sigma n = v]."""
        mean = real_like(self.mean, v)
        return mean + self._shrunk(v - mean, self.variances / (self.variances + sigma**2))

    def denoise_vjp(self, v: Array, sigma: float) -> tuple[Array, Callable[[Array], Array]]:
        """D(v, sigma) and c -> J^H c; the Jacobian is Hermitian and does not depend on v."""
        shares = self.variances / (self.variances + sigma**2)
        return self.denoise(v, sigma), lambda cotangent: self._shrunk(cotangent, shares)

    def score(self, x: Array, sigma: float) -> Array:
        """Gradient of the log density of images with noise of level sigma."""
        return (self.denoise(x, sigma) - x) * (1.0 / sigma**2)

    def prox(self, v: Array, t: float) -> Array:
        """The denoiser of variance t: for a Gaussian, the prox of its negative log density."""
        return self.denoise(v, t**0.5)

    def prox_within(self, v: Array, t: float, lower: float | None, upper: float | None) -> Array:
        """The denoised image, clipped."""
        from recon.arrays import clip

        return clip(self.prox(v, t), lower, upper)

    def draw(self, count: int, seed: int = 0, shape: tuple[int, ...] | None = None) -> np.ndarray[Any, Any]:
        """Images drawn from it, (count, *shape), NumPy float64."""
        basis = self._basis(shape or self.mean.shape)
        noise = np.random.default_rng(seed).standard_normal((count, *basis.domain.shape))  # type: ignore[union-attr]
        return np.asarray(self.mean + basis @ (np.sqrt(self.variances) * noise))

    def _basis(self, shape: tuple[int, ...]) -> Operator:
        return self.basis if self.basis is not None else Identity(ArraySpec(shape))

    def _shrunk(self, x: Array, shares: Any) -> Array:
        factors = real_like(shares, x)
        return factors * x if self.basis is None else self.basis @ (factors * (self.basis.H @ x))


@dataclass(frozen=True, eq=False)
class MixturePrior(Prior):
    """Images drawn from one of several Gaussians.

    Parameters
    ----------
    parts
        Gaussians whose ``mean`` has the shape of the image.
    weights
        Their probabilities; equal by default. They are divided by their sum.
    """

    parts: tuple[GaussianPrior, ...]
    weights: Sequence[float] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "parts", tuple(self.parts))
        weights = (
            np.ones(len(self.parts)) if self.weights is None else np.asarray(self.weights, dtype=np.float64)
        )
        if len(self.parts) == 0 or weights.shape != (len(self.parts),) or not (weights > 0).all():
            raise ParameterError(
                f"MixturePrior.weights must be one number > 0 for each of {len(self.parts)} parts, got {weights.shape}."
            )
        object.__setattr__(self, "weights", tuple(float(w) for w in weights / weights.sum()))

    @property
    def scale(self) -> float:
        """Root mean variance of an entry, means counted."""
        mean = sum(w * p.mean for w, p in zip(self._shares, self.parts, strict=True))
        square = sum(
            w * (p.scale**2 + np.mean((p.mean - mean) ** 2))
            for w, p in zip(self._shares, self.parts, strict=True)
        )
        return float(np.sqrt(square))

    @property
    def _shares(self) -> tuple[float, ...]:
        assert self.weights is not None
        return tuple(self.weights)

    def denoise(self, v: Array, sigma: float) -> Array:
        """E[x | x + sigma n = v]."""
        return self._estimate(v, sigma)[0]

    def score(self, x: Array, sigma: float) -> Array:
        """Gradient of the log density of images with noise of level sigma."""
        return (self.denoise(x, sigma) - x) * (1.0 / sigma**2)

    def denoise_vjp(self, v: Array, sigma: float) -> tuple[Array, Callable[[Array], Array]]:
        """D(v, sigma) and c -> J^T c, J = sum_k w_k (J_k + (D_k - D) g_k^T), g_k the score of part k."""
        mean, parts, shares = self._estimate(v, sigma)
        spec = _spec(self.parts[0])
        scores = [(clean - v) * (1.0 / sigma**2) for clean in parts]
        pulls = [part.denoise_vjp(v, sigma)[1] for part in self.parts]

        def pull(cotangent: Array) -> Array:
            total = 0.0 * v
            for clean, share, score, own in zip(parts, shares, scores, pulls, strict=True):
                along = spread(share * dots(clean - mean, cotangent, spec), v, spec)
                total = total + spread(share, v, spec) * own(cotangent) + along * score
            return total

        return mean, pull

    def _estimate(self, v: Array, sigma: float) -> tuple[Array, list[Array], list[Array]]:
        spec = _spec(self.parts[0])
        cleans, logs = [], []
        for weight, part in zip(self._shares, self.parts, strict=True):
            away = v - real_like(part.mean, v)
            total = part.variances + sigma**2
            basis = part._basis(part.mean.shape)
            coefficients = basis.H @ away
            factors = real_like(1.0 / total, v)
            square = dots(coefficients, factors * coefficients, basis.domain)
            number = np.broadcast_to(total, basis.domain.shape)  # type: ignore[union-attr]
            logs.append(np.log(weight) - 0.5 * float(np.log(number).sum()) - 0.5 * square)
            cleans.append(part.denoise(v, sigma))
        xp = namespace(v)
        stacked = xp.stack(logs)
        powers = xp.exp(stacked - xp.max(stacked, axis=0))
        shares = powers / xp.sum(powers, axis=0)
        mean = sum(spread(shares[k], v, spec) * clean for k, clean in enumerate(cleans))
        return mean, cleans, [shares[k] for k in range(len(cleans))]

    def draw(self, count: int, seed: int = 0) -> np.ndarray[Any, Any]:
        """Images drawn from it, (count, *shape), NumPy float64."""
        chosen = np.random.default_rng((seed, 1)).choice(len(self.parts), count, p=self._shares)
        drawn = np.stack([part.draw(count, seed + k) for k, part in enumerate(self.parts)])
        return np.asarray(as_numpy(drawn[chosen, np.arange(count)]))


def _spec(part: GaussianPrior) -> Any:
    return ArraySpec(part.mean.shape)
