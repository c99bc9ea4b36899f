"""Objects of one material from few or few-sided projections: two values, a support, and the smallest attenuation.

    minimise  1/2 sum_i (A x - L_g(p))_i^2 / s_i^2 + w TV(x)      0 <= x <= 1 in the support, 0 outside

x is the share of the pixel that is material. L_g(p) are the paths through the material that explain the data, where
the material attenuates g times as much as `law` says, and s_i their standard deviations. Counts I vary by sqrt(I), so
exp(-p / 2) varies evenly: neighbouring bins of it tell the noise, and s_i = s exp(p_i / 2) dL/dp. Long paths are
several times less certain than short ones.

A tight upper bound is worth more than any prior here: with x <= 1 a ray that measures the path through the whole disc
leaves no choice along it. So g must not be too large, and too small a g cannot explain the rays that meet most
material. The misfit shows the place: it stays that of noise and pixels for all large g, and rises steeply below the
true one. g is lowered until it is 1.2 times that of the free fit, in which g is at its largest, and the last g before
is taken (Morozov's principle; the data do not tell noise and model error apart).

    w = 30 c^2        c: the share of the half turn that the views cover, 1 all around

The constants 30, 1.2 and the square were settled on one measured disc with its truth in view; see
docs/limited-angle.md. Where views are missing a strong TV closes holes along the unseen directions.

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
from recon.arrays import Array, as_numpy, check_array, namespace, norm, real_like
from recon.errors import ParameterError
from recon.losses import WeightedLeastSquares
from recon.noise import estimate
from recon.operator import Operator
from recon_proximal.pdhg import Pdhg

__all__ = ["one_material"]

log = logging.getLogger("recon")

_WEIGHT = 30.0  # of TV, all around
_EXCESS = 1.2  # misfit over that of the free fit
_FREE = 1.06  # the free fit's g, over the largest that rays through solid material suggest
_STEP = 0.99  # g is lowered in steps of one per cent
_LEAST = 0.8
_EXACT = 1e-4  # of the largest line integral: the noise of data without noise
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
        A beam whose entries are nonnegative. Its `angles`, if it has them, say how much of the turn is covered.
    sinogram
        Line integrals: -log of the counts over those through air.
    support
        Mask of the pixels that may hold material, as tight as it is known: for round objects that of
        ``recon_operators.tomography.support_disc``. Some rays through its thicker parts must meet no hole.
    law
        What a path in the material measures: ``law.paths(sinogram)`` and ``law.scaled(g)``, as
        ``recon_operators.tomography.fit_hardening`` gives; None for p = L.
    weight
        w, a pure number; None takes 30 times the square of the share of the half turn that is covered.
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
    weight = _WEIGHT * _covered(operator) ** 2 if weight is None else weight
    deviation = _counting(sinogram)

    def fit(gain: float, steps: int, state: Any = None) -> tuple[Result, float]:
        paths = law.scaled(gain).paths
        data = paths(sinogram)
        certain = 2.0 / (paths(sinogram + deviation) - paths(sinogram - deviation))  # 1 / s_i
        loss = WeightedLeastSquares(certain**2)
        problem = Problem(operator, data, TV(weight) + Box(0.0, mask), loss=loss)
        done = 0 if state is None else state.iteration
        result = solve(problem, Pdhg(), state=state, stop=done + steps, every=done + steps)
        return result, norm(certain * (operator @ result.x - data))

    result, misfit = fit(gain, iterations)
    allowed, first = _EXCESS * misfit, gain
    while gain > _LEAST * first:
        trial, misfit = fit(_STEP * gain, iterations // 10, result.state)
        log.debug("one_material: gain %.4g, misfit %.4g, allowed %.4g", _STEP * gain, misfit, allowed)
        if misfit > allowed:
            break
        gain, result = _STEP * gain, trial
    log.info("one_material: gain %.4g, weight %.4g", gain, weight)
    result, _ = fit(gain, iterations, result.state)
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


def _counting(sinogram: Array) -> Array:
    """The standard deviation of every line integral, from neighbouring bins of the roots of the counts."""
    half = namespace(sinogram).exp(sinogram / 2)
    return max(estimate(2.0 / half, 1), _EXACT * float(as_numpy(abs(sinogram)).max())) * half


def _covered(operator: Operator) -> float:
    """The share of the half turn that the views cover: all but the largest gap, less the mean one."""
    angles = getattr(operator, "angles", None)
    if angles is None:
        return 1.0
    seen = np.sort(np.asarray(as_numpy(angles), dtype=np.float64) % np.pi)
    gaps = np.diff(seen, append=seen[0] + np.pi)
    return 1.0 - float(gaps.max() - gaps.mean()) / np.pi


class _Linear:
    """p = g L."""

    air = 0.0

    def __init__(self, gain: float = 1.0) -> None:
        self.gain = gain

    def scaled(self, gain: float) -> _Linear:
        return _Linear(self.gain * gain)

    def paths(self, sinogram: Array) -> Array:
        return sinogram / self.gain
