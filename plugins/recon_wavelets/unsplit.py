"""The prox of w ||W x||_1 for any transform W, by its dual.

    x(d) = P_C(v - t W^H d),    d <- clip(q + W x(q) / (t ||W||^2), -w, w),    C: bounds, or none

accelerated; the duality gap is t (w ||W x||_1 - <d, W x>) at x = x(d). (Beck and Teboulle 2009, who did it for
gradients: algorithm FGP, constraint set included.)
"""

from __future__ import annotations

import numbers
from collections.abc import Callable
from functools import cached_property
from typing import Any

from recon import linalg
from recon.arrays import Array, Spec, check_array, clip, norm, vdot
from recon.errors import ParameterError, ShapeError
from recon.params import short
from recon.priors import L1, L21, Analysis, Prior, prox_conjugate

__all__ = ["Unsplit"]

_CHECK_EVERY = 5  # iterations between evaluations of the duality gap, which costs one more W


class Unsplit(Prior):
    """An analysis prior that solvers see as one piece, with a prox, instead of taking it apart.

    ``Unsplit(L1(w) @ W)`` has the value of ``L1(w) @ W``. Take it for Fista, which needs a prox, and for Admm on an
    operator whose ``data_prox`` is exact: the x step then is that closed form. The prox costs some tens of products
    with W and W^H, and none with A: the right exchange where A is the dear part.

    Parameters
    ----------
    prior
        ``L1(w) @ W`` or ``L21(w) @ W``, of real or complex images. W may be no frame at all, `Starlet` included.
    tol
        Relative duality gap at which the prox stops.
    iterations
        Its most iterations. Samples of a batch stop together.

    Raises
    ------
    ParameterError
        When the prior is no norm of a transform, or tol or iterations are not > 0.

    Notes
    -----
    Source: A. Beck and M. Teboulle, IEEE Trans. Image Process. 18 (2009) 2419, doi:10.1109/TIP.2009.2028250

    Examples
    --------
    >>> prior = Unsplit(recon.L1(0.1) @ Starlet(image.shape)) + recon.NonNegative()
    """

    def __init__(self, prior: Analysis, tol: float = 1e-4, iterations: int = 500) -> None:
        if not (isinstance(prior, Analysis) and isinstance(prior.prior, L1 | L21)):
            raise ParameterError(f"Unsplit.prior must be L1(w) @ W or L21(w) @ W, got {short(prior)}.")
        if not (isinstance(tol, numbers.Real) and tol > 0):
            raise ParameterError(f"Unsplit.tol must be > 0, got {short(tol)}.")
        if isinstance(iterations, bool) or not isinstance(iterations, int) or iterations < 1:
            raise ParameterError(f"Unsplit.iterations must be an integer >= 1, got {short(iterations)}.")
        self.prior, self.tol, self.iterations = prior, float(tol), iterations

    @property
    def value(self) -> Callable[[Array], float]:
        return self.prior.value

    def prox(self, v: Array, t: float) -> Array:
        """argmin_x value(x) + ||x - v||^2 / (2 t), to the relative duality gap `tol`."""
        return self.prox_from(v, t, None)[0]

    def prox_within(self, v: Array, t: float, lower: Any, upper: Any) -> Array:
        """The same with lower <= x <= upper."""
        return self.prox_from(v, t, None, lower, upper)[0]

    def prox_from(
        self, v: Array, t: float, memory: Array | None, lower: Any = None, upper: Any = None
    ) -> tuple[Array, Array]:
        """The prox started from the dual of an earlier call, and the dual to start the next from."""
        transform, outer = self.prior.operator, self.prior.prior
        check_array(v, transform.domain, "Unsplit.prox input")
        d = 0.0 * (transform @ v) if memory is None else memory
        if t == 0.0:
            return clip(v, lower, upper), d

        def image(dual: Array) -> Array:
            return clip(v - t * (transform.H @ dual), lower, upper)

        step, q = 1.0 / (t * self._square), d
        for k in range(self.iterations):
            if k % _CHECK_EVERY == 0 and self._gap(v, t, image(d), d) <= self.tol:
                break
            ahead = prox_conjugate(outer, q + step * (transform @ image(q)), 1.0)
            # momentum of Chambolle and Dossal (2015) with a = 4, as for total variation
            q = ahead + (k / (k + 5.0)) * (ahead - d)
            d = ahead
        return image(d), d

    def _gap(self, v: Array, t: float, x: Array, d: Array) -> float:
        """The duality gap relative to the primal objective at x = x(d); 0 where that objective is."""
        coefficients = self.prior.operator @ x
        size = t * float(self.prior.prior.value(coefficients))  # type: ignore[attr-defined]
        primal = 0.5 * float(norm(x - v)) ** 2 + size
        return (size - t * float(vdot(d, coefficients).real)) / primal if primal else 0.0

    @cached_property
    def _square(self) -> float:
        """||W||^2."""
        return linalg.norm(self.prior.operator) ** 2 or 1.0

    def check_spec(self, spec: Spec) -> None:
        """The prior must be one of such images."""
        if spec != self.prior.operator.domain:
            raise ShapeError(
                f"Unsplit acts on images {self.prior.operator.domain}, got {spec}. Make W for the operator's domain."
            )

    def __repr__(self) -> str:
        return f"Unsplit({self.prior!r})"
