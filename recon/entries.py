"""One line of the registry: what a plugin announces, without importing what it announces.

``recon.entries`` is both this module, from which plugins import :class:`Entry`, and the public function
``recon.entries(kind)`` that lists the registry: the package makes the module callable.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Literal

__all__ = ["KINDS", "Entry", "Kind"]

Kind = Literal["operator", "prior", "solver", "dataset", "bench", "loss"]
KINDS: tuple[Kind, ...] = ("operator", "prior", "loss", "solver", "dataset", "bench")


@dataclass(frozen=True)
class Entry:
    """One line of the registry.

    Parameters
    ----------
    kind
        ``"operator"``, ``"prior"``, ``"loss"``, ``"solver"``, ``"dataset"`` or ``"bench"``.
    name
        How users ask for it: lower case with hyphens, for example ``"fan-beam"``.
    target
        ``"module:Class"``; the module is imported when somebody asks for the entry, never before.
    summary
        One line for ``recon list``.
    needs
        Import names of optional packages that the target needs, for example ``("torch",)``.
    extra
        Name of the extra of the plugin's own distribution that installs them, for example ``"diffusion"``.
    cites
        Sources: paper, equation, DOI.
    automatic
        For a solver: whether ``solve(problem)`` may choose it. Its class then has a classmethod
        ``suits(problem) -> recon.solver.Fit | None``.
    """

    kind: Kind
    name: str
    target: str
    summary: str
    needs: tuple[str, ...] = ()
    extra: str = ""
    cites: tuple[str, ...] = ()
    automatic: bool = False


sys.modules[__name__].__class__ = vars(sys.modules["recon"])["_Listing"]
