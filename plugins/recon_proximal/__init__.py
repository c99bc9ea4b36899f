"""Convex solvers: Fista, Pdhg, Cgls, Sirt, Admm (each loaded when it is first used)."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recon_proximal.admm import Admm
    from recon_proximal.cgls import Cgls
    from recon_proximal.fista import Fista
    from recon_proximal.pdhg import Pdhg
    from recon_proximal.sirt import Sirt

__all__ = ["Admm", "Cgls", "Fista", "Pdhg", "Sirt"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'recon_proximal' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"recon_proximal.{name.lower()}"), name)
    globals()[name] = value
    return value
