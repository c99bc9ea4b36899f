"""The posterior given the hyperparameters, by engines behind one interface.

    p(x | y) = N(mu, Sigma)        Sigma = (A^H A / s2 + diag(1/g))^(-1),    mu = Sigma A^H y / s2
    L(g, s2) = log|S| + y^H S^(-1) y,    S = s2 I + A diag(g) A^H

    engine            works on                           cost of a call             use when
    DataForm          chol(S), m x m                     2 m^2 k + m^3 / 3          m < active entries k
    CoefficientForm   chol of the active k x k system    m k^2 + 2 k^3 / 3          k <= m active entries
    KroneckerForm     eigenvalues of the factors         sum n_i^3 + d n max n_i    A and g are Kronecker products
    MatrixFree        conjugate gradients with probes    (probes + 1) products      n large, A only as products

No engine forms Sigma; every one gives the mean, the diagonal of Sigma and (where it can) L.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from recon.arrays import Array

__all__ = ["Engine", "Posterior"]


@dataclass(frozen=True)
class Posterior:
    """What an engine tells of p(x | y).

    Parameters
    ----------
    mean
        mu, of the domain, snapshots in front.
    variance
        diag(Sigma), real, of the domain's shape.
    cost
        L, summed over snapshots; NaN where the engine cannot tell.
    misfit
        ||y - A mu||^2 over all snapshots.
    memory
        What the engine wants back at its next call (solutions to start from); None for direct engines.
    determined
        1 - variance / gamma, between 0 and 1: how much of the prior's variance the data took, without the cancellation
        of that formula; its sum counts the numbers that the data determine. None where an engine cannot tell.
    """

    mean: Array
    variance: Array
    cost: float
    misfit: float
    memory: Any = None
    determined: Array = None


class Engine(Protocol):
    """Posterior of a fixed problem for any hyperparameters."""

    def __call__(self, gamma: Array, s2: float, memory: Any = None) -> Posterior:
        """The posterior for prior variances gamma (0: pruned; factors as a tuple in Kronecker form) and noise s2."""
        ...
