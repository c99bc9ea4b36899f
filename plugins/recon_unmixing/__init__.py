"""Spectral unmixing: endmembers, abundances and libraries of hyperspectral scenes (loaded when first used)."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recon_unmixing.abundances import Abundances, RobustAbundances
    from recon_unmixing.endmembers import count_endmembers, extract_endmembers
    from recon_unmixing.losses import BandL21, BandLog
    from recon_unmixing.mixing import Mixing

_HOMES = {
    "Abundances": "abundances",
    "BandL21": "losses",
    "BandLog": "losses",
    "Mixing": "mixing",
    "RobustAbundances": "abundances",
    "count_endmembers": "endmembers",
    "extract_endmembers": "endmembers",
}

__all__ = [
    "Abundances",
    "BandL21",
    "BandLog",
    "Mixing",
    "RobustAbundances",
    "count_endmembers",
    "extract_endmembers",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'recon_unmixing' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"recon_unmixing.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
