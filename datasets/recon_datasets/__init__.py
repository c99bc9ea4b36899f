"""Datasets of recon: phantoms with exact data, random phantoms, bodies, a real scan; readers and writers of files.

Names are imported when they are asked for, so that listing the registry imports none of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from recon.lazy import on_first_use

if TYPE_CHECKING:
    from recon_datasets.bodies import Bodies
    from recon_datasets.htc2022 import Htc2022
    from recon_datasets.synthetic import RandomEllipses, SheppLogan

__all__ = ["Bodies", "Htc2022", "RandomEllipses", "SheppLogan"]

_HOMES = {
    "Bodies": "bodies",
    "Htc2022": "htc2022",
    "RandomEllipses": "synthetic",
    "SheppLogan": "synthetic",
}


__getattr__ = on_first_use(__name__, _HOMES)
