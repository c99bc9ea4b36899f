"""Re-estimates of active entries in sequential sparse Bayesian learning, one after another, compiled by numba.

    s_i = 1/Sigma_ii - a_i,  q_i = mu_i / Sigma_ii                    best a_i = s_i^2 / (|q_i|^2 - s_i)
    Sigma <- Sigma - kappa Sigma_k Sigma_k^H,  mu <- mu - kappa Sigma_k mu_k      kappa = 1/(Sigma_kk + 1/(a' - a))

A re-estimate is n^2 flops on small matrices: called from Python, most of its time is spent on calling.
"""

# mypy: ignore-errors
# (numba infers the types of what it compiles)

import math

import numba
import numpy as np

__all__ = ["improve"]

EPS = float(np.finfo(np.float64).eps)


def _jit(function):
    """Compile when first called, and keep the machine code on disk if possible."""
    options = {"nogil": True, "error_model": "numpy"}
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:  # neither the package's folder nor the user's cache folder can be written
        return numba.njit(**options)(function)


@_jit
def improve(sigma, mu, alpha, n, level, price, bar, kappas, columns, means):
    """Take the best change of one precision as long as it lowers F by more than ``bar`` and deletes nothing.

    ``sigma``, ``mu`` and ``alpha`` (their first n entries) are changed in place; of each change kappa, Sigma_k and mu_k
    before it go to ``kappas``, ``columns`` and ``means``, which also limit how many there are.

    Returns how many, by how much they lowered F, and the best change that was not made: its entry, by how much it
    would lower F, and its precision (infinite: delete it).
    """
    taken, fall, snapshots = 0, 0.0, mu.shape[1]
    while True:
        best, gain, new = -1, 0.0, 0.0
        for i in range(n):
            d, a = sigma[i, i].real, alpha[i]
            s, q = max(1.0 / d - a, 4.0 * EPS / d), 0.0
            for row in range(snapshots):
                q += mu[i, row].real ** 2 + mu[i, row].imag ** 2
            q /= snapshots * d * d
            value = math.log1p(s / a) - q / (a + s) + price
            there = np.inf
            if q > level * s:
                there = s * s / (q - s)
                value += q / s - 1.0 - math.log(q / s) - price
            if best < 0 or value > gain:
                best, gain, new = i, value, there
        if best < 0 or gain <= bar or math.isinf(new) or taken == len(kappas):
            return taken, fall, best, gain, new
        d = sigma[best, best].real
        kappa = (new - alpha[best]) / (d * (new - alpha[best]) + 1.0)
        kappas[taken] = kappa
        for i in range(n):
            columns[taken, i] = sigma[i, best]
        for row in range(snapshots):
            means[taken, row] = mu[best, row]
        for i in range(n):
            scaled = kappa * columns[taken, i]
            for j in range(n):
                sigma[i, j] -= scaled * np.conj(columns[taken, j])
            for row in range(snapshots):
                mu[i, row] -= scaled * means[taken, row]
        alpha[best] = new
        fall += gain
        taken += 1
