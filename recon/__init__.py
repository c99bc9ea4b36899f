"""recon: sparse inverse problems and reconstruction.

Five nouns (Operator, Prior, Problem, Solver, Result) and one verb (solve)::

    import recon
    problem = recon.Problem(operator, data, prior=recon.TV(0.1))
    result = recon.solve(problem)
    result.plot()

Importing recon loads NumPy and nothing heavier; everything else is loaded when it is first used.
"""

import importlib
import types
from typing import TYPE_CHECKING, Any

import numpy  # noqa: F401  (the one dependency that every use needs; the rest is loaded on first use)

from recon._version import __version__

if TYPE_CHECKING:
    from recon import (
        arrays,
        checkpoint,
        errors,
        interop,
        linalg,
        losses,
        metrics,
        observers,
        priors,
        stopping,
        testing,
    )
    from recon.algebra import Diagonal, Identity, Matrix
    from recon.arrays import ArraySpec
    from recon.balls import L1Ball, ResidualBall
    from recon.dataset import Dataset, Sample
    from recon.derivatives import FiniteDifference, Gradient
    from recon.driver import iterate, solve
    from recon.entries import Entry
    from recon.kronecker import Kronecker
    from recon.losses import LeastSquares, Loss, Poisson, WeightedLeastSquares
    from recon.operator import Operator
    from recon.priors import L1, L2, L21, TV, Box, NonNegative, Nuclear, Prior, Simplex
    from recon.problem import Problem
    from recon.registry import entries, get
    from recon.result import Result
    from recon.solver import Solver, State, Status
    from recon.sparse import SparseMatrix
    from recon.stacks import block_diag, hstack, vstack
    from recon.stopping import Change, Discrepancy, Gap, MaxIterations, MaxSeconds, Target

_HOMES = {
    "algebra": ("Diagonal", "Identity", "Matrix"),
    "arrays": ("ArraySpec",),
    "balls": ("L1Ball", "ResidualBall"),
    "dataset": ("Dataset", "Sample"),
    "derivatives": ("FiniteDifference", "Gradient"),
    "driver": ("iterate", "solve"),
    "entries": ("Entry",),
    "kronecker": ("Kronecker",),
    "losses": ("LeastSquares", "Loss", "Poisson", "WeightedLeastSquares"),
    "operator": ("Operator",),
    "priors": ("L1", "L2", "L21", "TV", "Box", "NonNegative", "Nuclear", "Prior", "Simplex"),
    "problem": ("Problem",),
    "registry": ("get",),
    "result": ("Result",),
    "solver": ("Solver", "State", "Status"),
    "sparse": ("SparseMatrix",),
    "stacks": ("block_diag", "hstack", "vstack"),
    "stopping": ("Change", "Discrepancy", "Gap", "MaxIterations", "MaxSeconds", "Target"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}
_MODULES = (
    "arrays",
    "checkpoint",
    "entries",
    "errors",
    "interop",
    "linalg",
    "losses",
    "metrics",
    "observers",
    "priors",
    "stopping",
    "testing",
)

__all__ = [
    "L1",
    "L2",
    "L21",
    "TV",
    "ArraySpec",
    "Box",
    "Change",
    "Dataset",
    "Diagonal",
    "Discrepancy",
    "Entry",
    "FiniteDifference",
    "Gap",
    "Gradient",
    "Identity",
    "Kronecker",
    "L1Ball",
    "LeastSquares",
    "Loss",
    "Matrix",
    "MaxIterations",
    "MaxSeconds",
    "NonNegative",
    "Nuclear",
    "Operator",
    "Poisson",
    "Prior",
    "Problem",
    "ResidualBall",
    "Result",
    "Sample",
    "Simplex",
    "Solver",
    "SparseMatrix",
    "State",
    "Status",
    "Target",
    "WeightedLeastSquares",
    "__version__",
    "arrays",
    "block_diag",
    "checkpoint",
    "entries",
    "errors",
    "get",
    "hstack",
    "interop",
    "iterate",
    "linalg",
    "losses",
    "metrics",
    "observers",
    "priors",
    "solve",
    "stopping",
    "testing",
    "vstack",
]


class _Listing(types.ModuleType):
    """``recon.entries`` is a module, from which plugins import Entry, and the function that lists the registry.

    The module takes this class when it is loaded, so that it need not know the registry above it.
    """

    def __call__(self, kind: Any = None) -> Any:
        from recon.registry import entries

        return entries(kind)


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is not None:
        value = getattr(importlib.import_module(f"recon.{home}"), name)
    elif name in _MODULES:
        value = importlib.import_module(f"recon.{name}")
    else:
        raise AttributeError(f"module 'recon' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
