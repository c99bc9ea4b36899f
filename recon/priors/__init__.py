"""Priors: what we believe of the image before we see the data.

A prior has any of ``value(x)``, ``prox(v, t)``, ``gradient(x)`` with ``curvature()``, ``split(spec)``, ``denoise``,
``score``; who needs one looks for it. ``prox(v, t) = argmin_x value(x) + ||x - v||^2 / (2 t)``.
"""

from recon.priors.base import Analysis, Prior, Scaled, Total, prox_conjugate, terms
from recon.priors.cardinality import L0, NofM, TopK
from recon.priors.denoiser import Denoiser
from recon.priors.envelope import GroupEnvelope
from recon.priors.huber import Huber
from recon.priors.norms import L1, L2, L21, Nuclear
from recon.priors.power import Lp
from recon.priors.sets import Box, NonNegative, Simplex
from recon.priors.tgv import TGV
from recon.priors.tv import TV, HuberTV

__all__ = [
    "L0",
    "L1",
    "L2",
    "L21",
    "TGV",
    "TV",
    "Analysis",
    "Box",
    "Denoiser",
    "GroupEnvelope",
    "Huber",
    "HuberTV",
    "Lp",
    "NofM",
    "NonNegative",
    "Nuclear",
    "Prior",
    "Scaled",
    "Simplex",
    "TopK",
    "Total",
    "prox_conjugate",
    "terms",
]
