"""Datasets of recon: phantoms with exact data, random phantoms, a real scan; readers and writers of files.

Names are imported when they are asked for, so that listing the registry imports none of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recon_datasets.htc2022 import Htc2022
    from recon_datasets.synthetic import RandomEllipses, SheppLogan

__all__ = ["Htc2022", "RandomEllipses", "SheppLogan"]

_HOMES = {
    "Htc2022": "recon_datasets.htc2022",
    "RandomEllipses": "recon_datasets.synthetic",
    "SheppLogan": "recon_datasets.synthetic",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
