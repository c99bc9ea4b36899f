"""The contract of plugin authors, executable: each check raises AssertionError with one clear sentence.

    check_operator(A)       linear, exact adjoint, batch axes, dtype and library kept, capabilities true
    check_prior(f)          prox against a global grid, Moreau, scale, gradient, split
    check_loss(l, data)     prox, gradient, curvature
    check_solver(s)         pure, resumable bit by bit, objective falls, precision kept
    check_dataset(d)        deterministic, operator and data fit
    check_plugin("name")    every entry of an installed plugin, each by the check of its kind

None needs pytest; call them in a test of yours.
"""

from recon.testing.datasets import check_dataset
from recon.testing.losses import check_loss
from recon.testing.operators import check_operator
from recon.testing.plugins import check_plugin
from recon.testing.priors import check_prior
from recon.testing.solvers import check_solver

__all__ = [
    "check_dataset",
    "check_loss",
    "check_operator",
    "check_plugin",
    "check_prior",
    "check_solver",
]
