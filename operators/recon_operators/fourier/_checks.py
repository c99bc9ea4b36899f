"""Checks of arguments that functions, which have no declared parameters, share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from recon.errors import ParameterError
from recon.params import short

__all__ = ["are_whole", "is_number", "is_whole", "require"]


def is_whole(value: Any) -> bool:
    """Whether it is a whole number."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def are_whole(values: Any) -> bool:
    """Whether these are one or more whole numbers, in a sequence."""
    return isinstance(values, Sequence | np.ndarray) and len(values) > 0 and all(map(is_whole, values))


def is_number(value: Any) -> bool:
    """Whether it is a finite real number."""
    return isinstance(value, int | float | np.integer | np.floating) and math.isfinite(value)


def require(what: str, holds: Any, rule: str, got: Any, advice: str = "") -> None:
    """Raise a ParameterError in the house's one sentence shape unless something holds."""
    if not holds:
        raise ParameterError(f"{what} must be {rule}, got {short(got)}. {advice}".rstrip())
