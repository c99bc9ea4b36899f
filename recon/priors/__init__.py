"""Priors: what we believe of the image before we see the data.

A prior has any of ``value(x)``, ``prox(v, t)``, ``gradient(x)`` with ``curvature()``, ``split(spec)``, ``denoise``,
``score``; who needs one looks for it. ``prox(v, t) = argmin_x value(x) + ||x - v||^2 / (2 t)``.
"""

from recon.priors.base import Prior, Scaled, Total, prox_conjugate, terms
from recon.priors.norms import L1, L2, L21, Nuclear
from recon.priors.sets import Box, NonNegative, Simplex
from recon.priors.tv import TV

__all__ = [
    "L1",
    "L2",
    "L21",
    "TV",
    "Box",
    "NonNegative",
    "Nuclear",
    "Prior",
    "Scaled",
    "Simplex",
    "Total",
    "prox_conjugate",
    "terms",
]
