"""The active part of a problem: the columns whose prior variance is not 0, and back to all entries.

    B = A[:, active] diag(sqrt g)        mu = sqrt(g) u        diag(Sigma) = g v        h = 1 - v

u is the mean in units of the prior's standard deviation, v the variance that the data leave of the prior's, h what
they took of it. All three are free of units.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from recon.arrays import Array, as_numpy, device_of, namespace
from recon_sbl._factor import square
from recon_sbl.posterior import Posterior

__all__ = ["Active", "identity", "nothing", "total"]


class Active:
    """The active columns of a matrix, times the prior's standard deviation.

    Parameters
    ----------
    matrix
        A, (m, n).
    gamma
        (n,) >= 0.
    """

    def __init__(self, matrix: Array, gamma: Array) -> None:
        self.xp = xp = namespace(matrix)
        self.matrix = matrix
        places = np.flatnonzero(as_numpy(gamma))
        self.count, self.size = len(places), matrix.shape[1]
        self.places = places
        self.index = None
        if self.count < self.size:
            self.index = xp.asarray(places, device=device_of(matrix))
            gamma = xp.take(gamma, self.index)
            matrix = xp.take(matrix, self.index, axis=1)
        self.gamma, self.root = gamma, xp.sqrt(gamma)
        self.B = matrix * xp.astype(self.root, matrix.dtype)[None, :]

    def everywhere(self, values: Array) -> Array:
        """Values of the active entries (last axis) as values of all, 0 where pruned."""
        if self.index is None:
            return values
        xp = self.xp
        if isinstance(values, np.ndarray):
            full = np.zeros((*values.shape[:-1], self.size), dtype=values.dtype)
            full[..., self.places] = values
            return full
        position = np.zeros(self.size, dtype=np.int64)
        position[self.places] = np.arange(self.count)
        on = np.zeros(self.size, dtype=bool)
        on[self.places] = True
        device = device_of(values)
        found = xp.take(values, xp.asarray(position, device=device), axis=values.ndim - 1)
        return xp.where(xp.asarray(on, device=device), found, xp.zeros_like(found))

    def posterior(
        self, u: Array, left: Array, taken: Array, data: Array, s2: float, logdet: float
    ) -> Posterior:
        """All that is told of p(x | y), from u (k, snapshots), v and h (k,) and log|S|."""
        misfit = total(square(data.T - self.B @ u))
        # y^H S^(-1) y = ||y - A mu||^2 / s2 + sum |mu|^2 / g: no term is negative
        cost = data.shape[0] * logdet + misfit / s2 + total(square(u))
        mean = self.everywhere(u.T * self.xp.astype(self.root, u.dtype)[None, :])
        variance = self.everywhere(self.gamma * left)
        return Posterior(mean, variance, cost, misfit, determined=self.everywhere(taken))


def nothing(matrix: Array, data: Array, s2: float) -> Posterior:
    """The posterior where every entry is pruned."""
    xp, n = namespace(matrix), matrix.shape[1]
    energy = total(square(data))
    empty = 0.0 * square(matrix[0, :])
    mean = xp.zeros((data.shape[0], n), dtype=data.dtype, device=device_of(data))
    cost = data.shape[0] * data.shape[1] * float(np.log(s2)) + energy / s2
    return Posterior(mean, empty, cost, energy, determined=empty)


def identity(xp: Any, n: int, like: Array) -> Array:
    """The n x n identity, beside an array."""
    return xp.eye(n, dtype=like.dtype, device=device_of(like))


def total(values: Array) -> float:
    """The sum of real numbers, in double precision."""
    return float(np.sum(as_numpy(values), dtype=np.float64))
