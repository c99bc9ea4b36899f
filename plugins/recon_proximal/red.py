"""RED: regularisation by denoising (Romano, Elad and Milanfar 2017), accelerated (Reehorst and Schniter 2019).

    find x with   A^H (A x - y) + w (x - D(x, s)) = 0

    x_k = argmin 1/2 ||A x - y||^2 + w/2 ||x - v||^2
    v   = D(z, s),   z = x_k + (t_(k-1) - 1) / t_k (x_k - x_(k-1)),   t_k = (1 + sqrt(1 + 4 t_(k-1)^2)) / 2

For a denoiser with symmetric Jacobian and D((1 + e) x) = (1 + e) D(x) this is the minimum of
1/2 ||A x - y||^2 + w/2 <x, x - D(x)>; for others the balance of two pulls. By Tweedie's formula x - D(x, s) is -s^2
times the gradient of log p, p smoothed by s: with w = sigma^2 / s^2, sigma the noise level of the data, x has the
largest posterior density.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Gt

from recon import TV, Problem, Solver, State
from recon.arrays import Array
from recon.params import Doc
from recon_proximal._examples import weighing
from recon_proximal._plug import denoised, noise_level, require_denoiser
from recon_proximal._quadratic import proximal
from recon_proximal._smooth import ahead

__all__ = ["Red", "RedState"]


@dataclass(frozen=True)
class RedState(State):
    """x_k and x_(k-1), the momentum t_k, and the weight w."""

    previous: Array
    t: float
    weight: float


@dataclass(frozen=True)
class Red(Solver):
    """Regularisation by denoising, for a quadratic loss and a denoiser.

    Solves A^H (A x - y) + w (x - D(x, s)) = 0. The denoiser is the prior: one with ``denoise(v, sigma)``, as
    :class:`recon.priors.Denoiser`, or any with a prox, which is asked for s^2; bounds may stand beside it. The
    figure recorded as objective is the loss, plus the prior's value where it has one. Per iteration one data step, in
    closed form where the operator has ``data_prox``, else ``inner`` conjugate gradients, and one call of the
    denoiser. Converges where D is nonexpansive and ``accelerate`` is off; with it, in practice, several times sooner.

    Parameters
    ----------
    level
        s, the noise level that the denoiser is asked to take away, in units of the image.
    weight
        w; None takes sigma^2 / s^2, with the noise level sigma of the problem.
    accelerate
        Nesterov's momentum.
    inner, tol
        Most conjugate gradients of a data step, and their relative residual.

    Raises
    ------
    CapabilityError
        When the loss is not quadratic or the prior no denoiser.
    ParameterError
        When no weight is given and the noise level is not known.
    """

    level: Annotated[float, Gt(0), Doc("noise level the denoiser takes away, in units of the image")] = 0.05
    weight: Annotated[float | None, Gt(0), Doc("w; None takes (noise level / level)^2")] = None
    accelerate: Annotated[bool, Doc("use momentum")] = True
    inner: Annotated[int, Ge(1), Doc("most conjugate gradients of a data step")] = 20
    tol: Annotated[float, Gt(0), Doc("relative residual at which they stop")] = 1e-8

    state_type = RedState

    def init(self, problem: Problem, x0: Array | None = None, seed: int = 0) -> RedState:
        require_denoiser(problem, "Red")
        x = problem.start(x0)
        return RedState(0, x, x, 1.0, self.weight or (noise_level(problem, "Red") / self.level) ** 2)

    def step(self, problem: Problem, state: RedState) -> RedState:
        t = 0.5 * (1.0 + math.sqrt(1.0 + 4.0 * state.t**2)) if self.accelerate else 1.0
        z = ahead((state.t - 1.0) / t, state.x, state.previous)
        v = denoised(problem, z, self.level)
        x = proximal(problem, v, state.weight, state.x, self.inner, self.tol)
        return RedState(state.iteration + 1, x, state.x, t, state.weight)

    @classmethod
    def example(cls) -> Problem:
        given = weighing(TV(1.0))
        return Problem(given.operator, given.data, given.prior, noise=0.05)
