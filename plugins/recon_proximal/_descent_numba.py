"""Coordinate descent on a small lasso, compiled by numba.

    minimise  1/2 x^T G x - b^T x + sum w |x|        (x >= 0 where asked)

One entry after the other is set to its minimiser; g = G x - b follows it. Both are changed in place.
"""

# mypy: ignore-errors
# (numba infers the types of what it compiles)

import numba

__all__ = ["descend"]


def _jit(function):
    """Compile when first called, and keep the machine code on disk if possible."""
    options = {"nogil": True, "error_model": "numpy"}
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:  # neither the package's folder nor the user's cache folder can be written
        return numba.njit(**options)(function)


@_jit
def descend(gram, weights, positive, x, g, sweeps):
    """So many sweeps through all entries."""
    for _ in range(sweeps):
        for j in range(x.size):
            curvature, old = gram[j, j], x[j]
            if curvature <= 0.0:
                continue
            free = old * curvature - g[j]
            if free > weights[j]:
                new = (free - weights[j]) / curvature
            elif free < -weights[j] and not positive:
                new = (free + weights[j]) / curvature
            else:
                new = 0.0
            if new != old:
                x[j] = new
                for i in range(x.size):
                    g[i] += (new - old) * gram[j, i]
