"""A prior as a denoiser: its own ``denoise(v, sigma)``, or its prox, which is a denoiser of variance sigma^2."""

from __future__ import annotations

from typing import Any

import numpy as np

from recon import Problem, WeightedLeastSquares
from recon.arrays import Array, as_numpy, clip, per_member, tmap
from recon.errors import CapabilityError
from recon.noise import known, level
from recon.operator import capability
from recon.priors import terms
from recon_proximal._quadratic import is_quadratic

__all__ = ["denoised", "noise_level", "require_denoiser"]


def require_denoiser(problem: Problem, solver: str) -> None:
    """Refuse a problem that is no quadratic loss with one denoiser, and intervals beside it.

    Raises
    ------
    CapabilityError
        Naming the solver and what it lacks.
    """
    if not is_quadratic(problem):
        raise CapabilityError(
            f"{solver} needs a quadratic loss, got {type(problem.loss).__name__}. Use Admm instead."
        )
    others = [term for term in terms(problem.prior) if getattr(term, "interval", None) is None]
    if len(others) != 1 or not (capability(others[0], "denoise") or capability(others[0], "prox")):
        raise CapabilityError(
            f"{solver} needs one prior that denoises, and bounds at most beside it, got {problem.prior!r}. "
            "Use Admm instead."
        )


def denoised(problem: Problem, v: Array, sigma: float) -> Array:
    """The image v without noise of standard deviation sigma, within the bounds of the prior."""
    x = v
    for term in sorted(terms(problem.prior), key=lambda one: getattr(one, "interval", None) is not None):
        bounds = getattr(term, "interval", None)
        own: Any = capability(term, "denoise")
        if bounds is not None:
            x = tmap(lambda leaf, b=bounds: clip(leaf, *b), x)
        else:
            x = own(x, sigma) if own else term.prox(x, sigma**2)  # type: ignore[attr-defined]
    return x


def noise_level(problem: Problem, solver: str, sigma: float | None = None) -> float:
    """One standard deviation for all data, or W^(1/2) times it for a weighted loss: the root of the mean variance.

    ``sigma`` stands for ``Problem.noise``. Entries of weight 0 do not count.
    """
    noise: Any = known(problem, solver) if sigma is None else sigma
    if not isinstance(problem.loss, WeightedLeastSquares):
        return level(noise)

    def weighed(w: Any, s: Any) -> np.ndarray[Any, Any]:
        values = as_numpy(s) if hasattr(s, "shape") else s
        spread = np.sqrt(as_numpy(w).astype(np.float64)) * values
        return spread[spread > 0.0] if spread.any() else spread

    weights, noise = (per_member(part, problem.data) for part in (problem.loss.weights, noise))
    return level(tmap(weighed, weights, noise))
