"""Plug-and-play: a denoiser where the prox of a prior stands (Venkatakrishnan, Bouman and Wohlberg 2013).

    prox(v, t) = D(v, s),   s = sqrt(t w)

since prox(v, t) of w f is the most probable image behind v = x + noise of variance t w, if exp(-f) were the prior.
A denoiser of Gaussian images of variance c^2 is v / (1 + s^2 / c^2): then w f = w / (2 c^2) ||x||^2 exactly.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from typing import Annotated, Any

from annotated_types import Gt
from array_api_compat import is_array_api_obj

from recon.arrays import Array, clip, is_complex, namespace, tmap
from recon.errors import ArrayError, ParameterError, ShapeError
from recon.params import Doc, Parameters
from recon.priors.base import Prior
from recon.priors.weights import Weight

__all__ = ["Denoiser"]


@dataclass(frozen=True, repr=False)
class Denoiser(Parameters, Prior):
    """What a denoiser believes of images: any function ``D(x, sigma) -> x``, a trained network or a classical one.

    It has a ``prox``, so that every solver with a prox takes it: Fista is then plug-and-play proximal gradient,
    Admm plug-and-play ADMM. It has no ``value``: nothing is minimised in general, and the objective that solvers
    record is the loss alone. Iterations converge for a D that is firmly nonexpansive; for others they often do, and
    the image depends on the step sizes.

    Parameters
    ----------
    function
        D(x, sigma): takes an array (batch axes in front), and the standard deviation of its noise, in units of x;
        gives an array of the same library and shape. Another precision is converted back.
    weight
        w >= 0, as that of any prior: the larger, the smoother. The noise level that D is asked to remove is
        sqrt(t w) with the step t of the solver.
    unit
        What 1 is for D, in units of x: D was trained on images in [0, 1] and x reaches 300, say, then 300.
    level
        The one noise level that D was trained for (25/255 for the usual DnCNN), where it cannot remove any other:
        x is multiplied by level / sigma before D, and divided after it. D is called with ``level`` as sigma.

    Raises
    ------
    ParameterError
        When both ``unit`` and ``level`` are given.
    ShapeError, ArrayError
        When D gives an array of another shape or library, or complex images for real ones.
    """

    function: Annotated[Callable[..., Any], Doc("D(x, sigma) -> x, any denoiser")]
    weight: Weight = 1.0
    _: KW_ONLY
    unit: Annotated[float | None, Gt(0), Doc("what 1 is for the function, in units of x")] = None
    level: Annotated[float | None, Gt(0), Doc("the one noise level of the function; None: it takes any")] = (
        None
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.unit is not None and self.level is not None:
            raise ParameterError(
                f"Denoiser.unit must be None where a level is given, got {self.unit}. The level scales images already."
            )

    def denoise(self, v: Array, sigma: float) -> Array:
        """v without noise of standard deviation sigma >= 0, in units of v; ``weight`` plays no part."""
        if sigma == 0.0:
            return v
        unit = sigma / self.level if self.level is not None else self.unit or 1.0
        level = self.level or sigma / unit
        return tmap(lambda leaf: unit * self._checked(leaf, self.function(leaf / unit, level)), v)

    def prox(self, v: Array, t: float) -> Array:
        """D(v, sqrt(t w))."""
        return self.denoise(v, math.sqrt(t * self.weight))

    def prox_within(self, v: Array, t: float, lower: float | None, upper: float | None) -> Array:
        """The denoised image, clipped."""
        return tmap(lambda leaf: clip(leaf, lower, upper), self.prox(v, t))

    def score(self, x: Array, sigma: float) -> Array:
        """(D(x, sigma) - x) / sigma^2: the gradient of log p(x) for images smoothed by sigma (Tweedie's formula)."""
        return tmap(lambda clean, leaf: (clean - leaf) / sigma**2, self.denoise(x, sigma), x)

    def _checked(self, v: Any, out: Any) -> Any:
        xp = namespace(v)
        if not is_array_api_obj(out) or namespace(out) is not xp:
            raise ArrayError(
                f"Denoiser.function must give an array of the library it is given, {type(v).__module__}, "
                f"got {type(out).__module__}.{type(out).__name__}. Convert it in the function."
            )
        if xp.isdtype(out.dtype, "complex floating") and not is_complex(v):
            raise ArrayError(
                f"Denoiser.function must give real images for real ones, got {out.dtype}. Give the real part."
            )
        if tuple(out.shape) != tuple(v.shape):
            raise ShapeError(
                f"Denoiser.function must keep the shape {tuple(v.shape)}, got {tuple(out.shape)}. "
                "Axes in front are batch axes: loop over them in the function if it takes one image."
            )
        if getattr(out, "requires_grad", False) and not v.requires_grad:
            out = out.detach()  # of a network's weights: iterates would keep the graph of the whole run
        return xp.astype(out, v.dtype, copy=False)

    def __repr__(self) -> str:
        name = getattr(self.function, "__qualname__", type(self.function).__qualname__)
        options = "".join(
            f", {k}={getattr(self, k):g}" for k in ("unit", "level") if getattr(self, k) is not None
        )
        return f"Denoiser({name}, weight={self.weight:g}{options})"

    @classmethod
    def example(cls) -> Denoiser:
        """Of Gaussian images of variance 1."""
        return cls(_gaussian, 0.5)


def _gaussian(v: Array, sigma: float) -> Array:
    """The posterior mean for images of independent entries of variance 1."""
    return v / (1.0 + sigma * sigma)
