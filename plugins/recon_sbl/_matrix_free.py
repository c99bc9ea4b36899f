"""The posterior from products with A and A^H alone: conjugate gradients for the mean and for probes of the variance.

    q = g d / s2,  d = diag(A^H A)        P = g / (1 + q)
    E = P^(1/2) A^H A P^(1/2) / s2 + diag(1 / (1 + q))             Sigma = P^(1/2) E^(-1) P^(1/2)

    mean       E v = P^(1/2) A^H y / s2,      mu = P^(1/2) v
    variance   E v = z, z random signs:       Sigma_ii = P_i (E^(-1))_ii   (see :mod:`recon_sbl._probes`)
    L          m log s2 + sum log(1 + q) + log|E| + ||y - A mu||^2 / s2 + sum |mu|^2 / g

P is the Jacobi preconditioner of A^H A / s2 + diag(1/g) put on both sides: E has the diagonal 1, no entry of it is
divided by g, and pruned entries drop out by themselves. log|E| comes from the Lanczos coefficients of one probe, whose
conjugate gradients therefore always start from 0; all others start from the last solutions (``memory``).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from recon import Operator
from recon.arrays import Array, members, namespace, norm, vdot
from recon.linalg import normal
from recon_sbl._batched_cg import Solved, batched_cg
from recon_sbl._factor import square
from recon_sbl._probes import determined, total
from recon_sbl.posterior import Posterior

__all__ = ["Estimate", "MatrixFree"]


@dataclass(frozen=True)
class Estimate(Posterior):
    """A posterior of :class:`MatrixFree`; memory is (solutions, P^(1/2)).

    Parameters
    ----------
    products
        Products with A^H A of one column.
    unfinished
        Right-hand sides that did not reach their tolerance.
    """

    products: int = 0
    unfinished: int = 0


@dataclass(frozen=True, eq=False)
class MatrixFree:
    """Engine of :mod:`recon_sbl.posterior` for any operator between single arrays.

    A call costs (snapshots + probes) solves by conjugate gradients, one product of the batch each iteration, and holds
    about 12 (snapshots + probes) images; never a matrix. Nothing depends on the units of the data or of A.

    Parameters
    ----------
    operator
        A, white noise.
    data
        y, (snapshots, *codomain).
    energy
        diag(A^H A), real, of the domain's shape.
    exact
        Whether it is exact.
    signs
        Probes (probes, *domain), of the data's dtype.
    pooled
        Draw the estimates of single entries towards a model that fits their sum; without it the probes should be
        fresh ones at each call, and are solved from 0.
    tol, probe_tol
        Relative residuals of E v = b for the means and for the probes.
    most
        Iterations of conjugate gradients at most; what is not finished is kept as it is.
    """

    operator: Operator
    data: Array
    energy: Array
    exact: bool
    signs: Array
    pooled: bool = True
    tol: float = 1e-4
    probe_tol: float = 1e-2
    most: int = 400

    @cached_property
    def _units(self) -> tuple[float, float]:
        """rms of the data and of the columns' lengths, as powers of two, which cost no rounding."""
        spec, codomain = members(self.operator.domain)[0], members(self.operator.codomain)[0]
        unit = norm(self.data) / math.sqrt(self.data.shape[0] * codomain.size)
        return _power(unit), _power(math.sqrt(total(self.energy) / spec.size))

    @cached_property
    def _correlation(self) -> Array:
        """A^H y, free of units."""
        unit, length = self._units
        return self.operator.H @ (self.data * (1.0 / (unit * length)))

    def __call__(self, gamma: Array, s2: float, memory: Any = None) -> Estimate:
        """The posterior for prior variances gamma, 0 where pruned, and noise variance s2 > 0."""
        xp = namespace(gamma)
        unit, length = self._units
        relative = s2 / unit**2
        g = gamma * (length / unit) ** 2
        q = g * (self.energy * (1.0 / (length**2 * relative)))
        root = xp.sqrt(g / (1.0 + q))
        on = xp.astype(g > 0, self.signs.dtype)
        z = self.signs * on
        solved = self._solve(root, q, z, relative, memory)
        snapshots = self.data.shape[0]
        v, moved = solved.solutions[:snapshots, ...], solved.solutions[snapshots:, ...] - z
        found = determined(moved, z, q, self.pooled, self.exact, members(self.operator.codomain)[0].size)
        mean = v * (root * (unit / length))
        residual = self.data - self.operator @ mean
        misfit = float(vdot(residual, residual).real)
        return Estimate(
            mean,
            gamma * found.left,
            self._cost(solved, q, v, total(xp.astype(g > 0, g.dtype)), misfit, s2),
            misfit,
            (solved.solutions, root),
            xp.where(g > 0, found.taken, xp.zeros_like(g)),
            solved.products,
            solved.unfinished,
        )

    def _solve(self, root: Array, q: Array, z: Array, s2: float, memory: Any) -> Solved:
        """E v = b of the means and of the probes; s2 in units of the mean square of the data."""
        xp, snapshots, share = namespace(root), self.data.shape[0], 1.0 / (1.0 + q)
        factor = 1.0 / (s2 * self._units[1] ** 2)

        def apply(v: Array) -> Array:
            image = normal(self.operator, root * v)
            image *= root * factor
            image += share * v
            return image

        b = self._correlation * (root * (1.0 / s2))
        # ||r||^2 ||E^(-1)|| bounds how far the sum of squares that v minimises is from its least: the prior speaks
        # where eigenvalues of E are as small as 1 / (1 + q), so r must be smaller there for the prior to be heard
        fine = 0.01 * math.sqrt(
            members(self.operator.codomain)[0].size * snapshots / self._stiffness(q, z, memory)
        )
        tol = [min(self.tol, fine / max(norm(b), fine))] * snapshots + [self.probe_tol] * z.shape[0]
        B = xp.concat([b, z], axis=0)
        return batched_cg(apply, B, self._start(root, z, memory), tol, self.most, traced=snapshots)

    def _stiffness(self, q: Array, z: Array, memory: Any) -> float:
        """About ||E^(-1)||: by how much it lengthened the last probes, or at first its bound for equal q."""
        if memory is None:
            return 1.0 + total(q) / math.prod(q.shape)
        length = norm(z)
        return max(1.0, norm(memory[0][self.data.shape[0] :, ...]) / length) if length > 0.0 else 1.0

    def _start(self, root: Array, z: Array, memory: Any) -> Array:
        """The last solutions, as they change with P^(1/2): v of means, and v - z of probes."""
        xp, snapshots = namespace(root), self.data.shape[0]
        means, probes = 0.0 * self._correlation, 0.0 * z
        if memory is not None:
            last, before = memory
            here = before > 0
            ratio = xp.where(here, root / xp.where(here, before, xp.ones_like(before)), xp.zeros_like(root))
            means = last[:snapshots, ...] * ratio
            if self.pooled:
                last = last[snapshots + 1 :, ...]
                probes = xp.concat([probes[:1, ...], (last - z[1:, ...]) * ratio + z[1:, ...]], axis=0)
        return xp.concat([means, probes], axis=0)

    def _cost(self, solved: Solved, q: Array, v: Array, active: float, misfit: float, s2: float) -> float:
        """L, summed over snapshots. Where the diagonal of E is known, tr(E) corrects the probe's log|E|."""
        xp, snapshots = namespace(q), self.data.shape[0]
        logarithm, first = solved.logarithm()
        correction = first - 1.0 if self.exact else 0.0
        logdet = members(self.operator.codomain)[0].size * math.log(s2)
        logdet += total(xp.log1p(q)) + active * (logarithm - correction)
        return float(snapshots * logdet + misfit / s2 + total(square(v) / (1.0 + q)))


def _power(size: float) -> float:
    """The power of two next to a size, 1 for 0."""
    return math.ldexp(1.0, round(math.log2(size))) if size > 0.0 else 1.0
