"""The update rules of the prior variances, in numbers free of units, and of the noise variance.

    u = mu / sqrt(g)        h = 1 - Sigma_ii / g, between 0 and 1

    em          g <- g (|u|^2 + 1 - h)        = |mu|^2 + Sigma_ii
    mackay      g <- g |u|^2 / h              = |mu|^2 / (1 - Sigma_ii / g)
    bounding    g <- g sqrt(|u|^2 / h)        = |mu| / sqrt(a^H S^(-1) a)

|u|^2 is the mean over snapshots; |u|^2 and h are averaged over groups before they are divided. All three stay where
|u|^2 = h: there the derivative of L by g is 0.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from recon.arrays import Array, as_numpy, device_of, namespace
from recon.errors import ParameterError, ShapeError
from recon.params import short

__all__ = ["checked", "factor", "labels", "noise", "pooled"]


def factor(rule: str, power: Array, taken: Array) -> Array:
    """What gamma is multiplied by, given |u|^2 and h, both averaged over snapshots and groups."""
    xp = namespace(power)
    if rule == "em":
        return power + (1.0 - taken)
    known = taken > 0.0
    power = xp.where(power > 0.0, power, xp.zeros_like(power))  # cut off at 0 it may be below
    ratio = xp.where(known, power / xp.where(known, taken, xp.ones_like(taken)), xp.zeros_like(taken))
    return ratio if rule == "mackay" else xp.sqrt(ratio)


def noise(rule: str, misfit: float, taken: float, count: int, s2: float) -> float:
    """The next noise variance: misfit and h are sums, misfit the mean over snapshots of ||y - A mu||^2.

    em: (misfit + s2 sum h) / m;  mackay: misfit / (m - sum h).
    """
    if rule == "mackay":
        return misfit / max(count - taken, 0.05 * count)
    return (misfit + s2 * taken) / count


def labels(groups: Any, shape: tuple[int, ...], owner: str) -> np.ndarray[Any, Any] | None:
    """Labels 0, 1, ... of the entries in C order, (n,); None where each has its own gamma.

    Raises
    ------
    ParameterError, ShapeError
        For block lengths that do not divide the number of entries, or labels that are no integers of that shape.
    """
    if groups is None:
        return None
    size = int(np.prod(shape))
    if isinstance(groups, int):
        if size % groups:
            raise ParameterError(
                f"{owner}.groups must divide the {size} entries, got blocks of {groups}. Give an array of labels."
            )
        return np.arange(size) // groups
    if groups.shape != shape:
        raise ShapeError(f"{owner}.groups must have the shape {shape} of the domain, got {groups.shape}.")
    return np.unique(groups, return_inverse=True)[1].reshape(-1)


def checked(groups: Any, owner: str) -> Any:
    """The parameter ``groups`` as None, an int >= 1, or a read-only array of integers."""
    if groups is None:
        return None
    if isinstance(groups, int | np.integer) and not isinstance(groups, bool):
        if groups < 1:
            raise ParameterError(f"{owner}.groups must be >= 1, got {groups}. It is the length of a block.")
        return int(groups)
    try:
        found = np.array(as_numpy(groups))
    except Exception:
        found = np.zeros(0)
    if found.dtype.kind not in "iub" or not found.ndim or not found.size:
        raise ParameterError(
            f"{owner}.groups must be a block length or an array of integer labels, got {short(groups)}."
        )
    found.setflags(write=False)
    return found


def pooled(values: Array, groups: np.ndarray[Any, Any] | None) -> Array:
    """For every entry the mean of real values (n,) over its group."""
    if groups is None:
        return values
    flat = as_numpy(values)
    sums = np.bincount(groups, weights=flat.astype(np.float64))
    mean = (sums / np.bincount(groups))[groups].astype(flat.dtype)
    return namespace(values).asarray(mean, device=device_of(values))
