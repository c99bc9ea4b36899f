"""Objects of one material from few or few-sided projections: two values, a support, and the smallest attenuation.

    minimise  1/2 ||A x - L_g(y)||^2 + w TV(x)      0 <= x <= 1 in the support, 0 outside

x is the share of the pixel that is material. L_g(y) are the paths through the material that explain the data, where
the material attenuates g times as much as `law` says. A tight upper bound is worth more than any prior here: with
x <= 1 a ray that measures the path through the whole disc leaves no choice along it. So g must not be too large, and
too small a g cannot explain the rays that meet most material. The misfit shows the place: it stays that of
noise and pixels for all large g, and rises steeply below the true one. g is lowered until

    ||A x - L_g(y)|| > 1.3 ||A x - L_free(y)||        L_free: g at its largest

and the last one before is taken (Morozov's principle, with the misfit of the free fit as the level of noise and
model error, which the data do not tell apart). w = 18 s^2, with s the noise of L_g(y) estimated from neighbouring
bins: the negative logarithm of a posterior density whose prior is exp(-18 TV(x)).

Sources: A. Rudin, S. Osher, E. Fatemi, Physica D 60 (1992) 259; T. Schuele, C. Schnoerr, S. Weber, J. Hornegger,
Discrete Appl. Math. 151 (2005) 229 (bounds as relaxation of two values); J. S. Joergensen et al., arXiv 2310.01671
(the disc as bound, one material).
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import numpy as np

from recon import TV, Box, Problem, Result, solve
from recon.arrays import Array, as_numpy, check_array, norm, real_like
from recon.errors import ParameterError
from recon.noise import estimate
from recon.operator import Operator
from recon_proximal.pdhg import Pdhg

__all__ = ["one_material"]

log = logging.getLogger("recon")

_WEIGHT = 18.0  # of TV per noise variance
_EXCESS = 1.3  # misfit over that of the free fit
_FREE = 1.06  # the free fit's g, over the largest that rays through solid material suggest
_STEP = 0.99  # g is lowered in steps of one per cent
_LEAST = 0.8
_TOP = 0.98  # quantile that stands for rays through solid material


def one_material(
    operator: Operator,
    sinogram: Array,
    support: Array,
    *,
    law: Any = None,
    weight: float | None = None,
    iterations: int = 300,
) -> Result:
    """Reconstruct an object that is one material and holes.

    Parameters
    ----------
    operator
        A beam whose entries are nonnegative.
    sinogram
        Line integrals.
    support
        Mask of the pixels that may hold material, as tight as it is known: for round objects that of
        ``recon_operators.tomography.support_disc``. Some rays through its thicker parts must meet no hole.
    law
        What a path in the material measures: ``law.paths(sinogram)`` and ``law.scaled(g)``, as
        ``recon_operators.tomography.fit_hardening`` gives; None for p = L.
    weight
        w, in (unit of length)^2; None takes 18 times the variance of the noise.
    iterations
        Of the free fit and of the last one; steps between take a tenth.

    Returns
    -------
    Result
        ``x`` is the share of material, in [0, 1]; ``x > 0.5`` the object. ``provenance["gain"]`` is g, and
        ``provenance["tv_weight"]`` is w.

    Raises
    ------
    ParameterError
        When no ray of the support measures material.
    ShapeError, ArrayError
        When sinogram or support do not fit the operator.

    Notes
    -----
    Cost: about 3 `iterations` products each way.
    Prior knowledge used: one material, of constant density; the support; the law up to a factor.
    """
    check_array(sinogram, operator.codomain, "one_material.sinogram")
    mask = np.asarray(as_numpy(support), dtype=np.float64)
    check_array(mask, operator.domain, "one_material.support")
    law = _Linear() if law is None else law
    longest = np.asarray(as_numpy(operator @ real_like(mask, sinogram)))
    missing = as_numpy(sinogram)[longest == 0.0]
    if missing.size:  # air drifts from scan to scan
        sinogram = sinogram - (float(np.median(missing)) - law.air)
    gain = _FREE * _largest_gain(longest, law.paths(sinogram))
    weight = _WEIGHT * estimate(law.scaled(gain).paths(sinogram), 1) ** 2 if weight is None else weight

    def fit(gain: float, steps: int, state: Any = None) -> Result:
        problem = Problem(operator, law.scaled(gain).paths(sinogram), TV(weight) + Box(0.0, mask))
        done = 0 if state is None else state.iteration
        return solve(problem, Pdhg(), state=state, stop=done + steps, every=done + steps)

    def misfit(result: Result, gain: float) -> float:
        return norm(operator @ result.x - law.scaled(gain).paths(sinogram))

    result = fit(gain, iterations)
    allowed, first = _EXCESS * misfit(result, gain), gain
    while gain > _LEAST * first:
        trial = fit(_STEP * gain, iterations // 10, result.state)
        if misfit(trial, _STEP * gain) > allowed:
            break
        gain, result = _STEP * gain, trial
    log.info("one_material: gain %.4g, weight %.4g", gain, weight)
    result = fit(gain, iterations, result.state)
    return replace(result, provenance={**result.provenance, "gain": gain, "tv_weight": weight})


def _largest_gain(longest: Any, paths: Array) -> float:
    """The g at which the paths of nearly all rays fit in the support."""
    through = longest > 0.25 * longest.max()
    reached = np.asarray(as_numpy(paths))[through] / longest[through]
    gain = float(np.quantile(reached, _TOP)) if reached.size else 0.0
    if not gain > 0.0:
        raise ParameterError(
            "one_material.sinogram must show material inside the support, got none. Check mask and sign."
        )
    return gain


class _Linear:
    """p = g L."""

    air = 0.0

    def __init__(self, gain: float = 1.0) -> None:
        self.gain = gain

    def scaled(self, gain: float) -> _Linear:
        return _Linear(self.gain * gain)

    def paths(self, sinogram: Array) -> Array:
        return sinogram / self.gain
