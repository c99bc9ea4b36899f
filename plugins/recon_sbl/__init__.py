"""Sparse Bayesian learning: sparsity whose prior variances are learned from the data (loaded when first used)."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    pass

_HOMES: dict[str, str] = {}

__all__: list[str] = []


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'recon_sbl' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"recon_sbl.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
