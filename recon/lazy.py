"""Names of a package that are loaded when they are first used, so that importing the package stays light.

__getattr__ = on_first_use(__name__, {"Fista": "fista", "Omp": "greedy"})        names to their modules
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["on_first_use"]


def on_first_use(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """The ``__getattr__`` of a package whose public names live in the modules that ``homes`` names.

    Parameters
    ----------
    package
        ``__name__`` of the package.
    homes
        Public name to the module of the package that holds it.
    """

    def load(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(f"{package}.{homes[name]}"), name)
        setattr(sys.modules[package], name, value)
        return value

    return load
