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
from recon.arrays import (
    Array,
    ArraySpec,
    Kind,
    as_numpy,
    broadcasts,
    from_numpy,
    is_complex,
    namespace,
    real_like,
)
from recon.constants import constant
from recon.errors import ParameterError, ShapeError
from recon.params import short
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
        c >= 0, of the shape of V's coefficients, or one number. For complex coefficients that of the real and of the
        imaginary part each, as with ``Problem.noise``.
    basis
        V, from coefficients to images, orthonormal; None for the identity.

    Raises
    ------
    ParameterError
        For variances that are negative or complex, or a basis that is no operator.
    ShapeError
        For shapes that do not fit each other; with a problem, the image.
    """

    mean: Any
    variances: Any
    basis: Operator | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "mean", constant(self.mean, "GaussianPrior.mean"))
        object.__setattr__(self, "variances", constant(self.variances, "GaussianPrior.variances"))
        bad = self.variances.dtype.kind == "c" or (self.variances < 0).any() or not self.variances.any()
        if bad:
            raise ParameterError("GaussianPrior.variances must be real, >= 0 and not all 0, got others.")
        if self.basis is None:
            return
        if not isinstance(self.basis, Operator):
            raise ParameterError(
                f"GaussianPrior.basis must be an Operator, got {short(self.basis)}. Wrap a matrix with recon.Matrix."
            )
        parts = (
            ("mean", self.mean, self.basis.codomain),
            ("variances", self.variances, self.basis.domain),
        )
        for name, values, spec in parts:
            if not broadcasts(values.shape, spec.shape):  # type: ignore[union-attr]
                raise ShapeError(
                    f"GaussianPrior.{name} must have the shape {spec.shape} of its basis, got {values.shape}."  # type: ignore[union-attr]
                )

    @classmethod
    def of_covariance(cls, mean: Any, covariance: Any) -> GaussianPrior:
        """From a covariance matrix (n, n) of images of n numbers, in C order; cost n^3 once."""
        mean, covariance = np.asarray(mean, dtype=np.float64), np.asarray(covariance)
        if covariance.shape != (mean.size, mean.size):
            raise ShapeError(
                f"GaussianPrior.of_covariance needs a covariance of shape {(mean.size, mean.size)} for a mean of "
                f"shape {mean.shape}, got {covariance.shape}."
            )
        variances, vectors = np.linalg.eigh(covariance.astype(np.float64))
        return cls(mean, np.maximum(variances, 0.0), Matrix(vectors, codomain_shape=mean.shape))

    def check_spec(self, spec: Any) -> None:
        """Refuse images that mean, variances or basis do not fit; axes in front of theirs may come."""
        if isinstance(spec, tuple):
            return  # solvers say what they make of it
        needed = (self.mean.shape, self.variances.shape if self.basis is None else self.basis.codomain.shape)  # type: ignore[union-attr]
        if not all(broadcasts(shape, spec.shape) for shape in needed):
            wanted = max(needed, key=len)
            raise ShapeError(f"GaussianPrior is of images of shape {wanted}, got {spec.shape}.")
        kind = self._kind if self.basis is None else self.basis.codomain.kind  # type: ignore[union-attr]
        if kind != spec.kind and (self.basis is not None or kind == "complex"):
            raise ShapeError(f"GaussianPrior is of {kind} images, got {spec.kind} ones.")

    @property
    def _kind(self) -> Kind:
        return "complex" if self.mean.dtype.kind == "c" else "real"

    @property
    def scale(self) -> float:
        """Root mean variance."""
        return float(np.sqrt(self.variances.mean()))

    def spread(self, s: float) -> float:
        """r: root mean variance of x given z at level s."""
        return float(np.sqrt((self.variances * s * s / (self.variances + s * s)).mean()))

    def denoise(self, v: Array, sigma: float) -> Array:
        """E[x | x + sigma n = v]."""
        mean = from_numpy(self.mean, v, v.dtype)
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
        """Images drawn from it, (count, *shape), NumPy float64; complex128 where mean or basis is complex."""
        basis = self._basis(shape or self.mean.shape)
        rng = np.random.default_rng(seed)
        noise = rng.standard_normal((count, *basis.domain.shape))  # type: ignore[union-attr]
        if basis.domain.kind == "complex":  # type: ignore[union-attr]
            noise = noise + 1j * rng.standard_normal(noise.shape)
        return np.asarray(self.mean + basis @ (np.sqrt(self.variances) * noise))

    def _basis(self, shape: tuple[int, ...]) -> Operator:
        return self.basis if self.basis is not None else Identity(ArraySpec(shape, self._kind))

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
        if not all(isinstance(part, GaussianPrior) for part in self.parts):
            raise ParameterError("MixturePrior.parts must be GaussianPriors, got others.")
        shapes = sorted({part.mean.shape for part in self.parts})
        if len(shapes) > 1 or () in shapes:
            raise ShapeError(
                f"MixturePrior.parts must have means of the image's shape, got {' and '.join(map(str, shapes))}."
            )
        weights = (
            np.ones(len(self.parts)) if self.weights is None else np.asarray(self.weights, dtype=np.float64)
        )
        if len(self.parts) == 0 or weights.shape != (len(self.parts),) or not (weights > 0).all():
            raise ParameterError(
                f"MixturePrior.weights must be one number > 0 for each of {len(self.parts)} parts, got {weights.shape}."
            )
        object.__setattr__(self, "weights", tuple(float(w) for w in weights / weights.sum()))

    def check_spec(self, spec: Any) -> None:
        """Refuse images that the parts do not fit."""
        for part in self.parts:
            part.check_spec(spec)

    @property
    def scale(self) -> float:
        """Root mean variance of an entry, means counted; of real and imaginary part each."""
        mean = sum(w * p.mean for w, p in zip(self._shares, self.parts, strict=True))
        square = sum(
            w * (p.scale**2 + np.mean(np.abs(p.mean - mean) ** 2) / (2 if np.iscomplexobj(mean) else 1))
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
            away = v - from_numpy(part.mean, v, v.dtype)
            total = part.variances + sigma**2
            basis = part._basis(part.mean.shape)
            coefficients = basis.H @ away
            factors = real_like(1.0 / total, v)
            square = dots(coefficients, factors * coefficients, basis.domain)
            number = np.broadcast_to(total, basis.domain.shape)  # type: ignore[union-attr]
            volume = (1.0 if is_complex(v) else 0.5) * float(np.log(number).sum())
            logs.append(float(np.log(weight)) - volume - 0.5 * square)
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
