"""Where the sub-bands of a decimated wavelet transform lie in the one array of all coefficients.

A level halves every axis whose length, at that level, is even, and leaves the others alone. Low frequencies
stand in front, so that after a level of a (8, 12) image

    aa  ad        ad: details along axis 1            and the next level works on aa, (4, 6); the one after
    da  dd        da: details along axis 0            on (2, 3), of which only axis 0 can be halved.

A band has a level (1 is the finest) and one letter per axis, a (approximation) or d (detail).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from itertools import product
from typing import NamedTuple

from recon.errors import ParameterError

__all__ = ["Band", "Step", "bands", "deepest", "default_levels", "numbers", "steps"]

Band = tuple[int, str]


class Step(NamedTuple):
    """One level: the lengths that it starts from, and which axes it halves."""

    sizes: tuple[int, ...]
    halved: tuple[bool, ...]

    @property
    def left(self) -> tuple[int, ...]:
        """The lengths of the approximation."""
        return tuple(n // 2 if halve else n for n, halve in zip(self.sizes, self.halved, strict=True))


def _twos(n: int) -> int:
    return (n & -n).bit_length() - 1


def deepest(shape: tuple[int, ...]) -> int:
    """How often some axis can be halved."""
    return max(map(_twos, shape))


def default_levels(shape: tuple[int, ...], filter_length: int) -> int:
    """As many levels as keep the filter no longer than the shortest axis that is halved at all."""
    shortest = min(n for n in shape if n % 2 == 0)
    fitting = int(math.log2(shortest / (filter_length - 1))) if shortest >= filter_length else 1
    return min(max(fitting, 1), deepest(shape))


def steps(shape: tuple[int, ...], levels: int) -> tuple[Step, ...]:
    """The levels, finest first.

    Raises
    ------
    ParameterError
        Where there are more levels than halvings.
    """
    most = deepest(shape)
    if most == 0:
        raise ParameterError(
            f"Wavelet.image_shape must have an axis of even length, got {shape}. Crop or pad the image, or use "
            "UndecimatedWavelet or Starlet, which take any length."
        )
    if levels > most:
        raise ParameterError(
            f"Wavelet.levels must be <= {most} for image_shape {shape}, got {levels}. An axis is halved while its "
            f"length is even: pad the image to multiples of {2**levels} for {levels} levels."
        )
    found: list[Step] = []
    for _ in range(levels):
        halved = tuple(n % 2 == 0 for n in shape)
        found.append(Step(shape, halved))
        shape = found[-1].left
    return tuple(found)


def bands(found: tuple[Step, ...]) -> dict[Band, tuple[slice, ...]]:
    """Places of all bands in the array, approximation first, then from coarse to fine."""
    coarsest, axes = len(found), len(found[0].sizes)
    places: dict[Band, tuple[slice, ...]] = {(coarsest, "a" * axes): tuple(map(slice, found[-1].left))}
    for level in range(coarsest, 0, -1):
        step = found[level - 1]
        letters = ["ad" if halve else "a" for halve in step.halved]
        for name in map("".join, product(*letters)):
            if "d" in name:
                places[level, name] = tuple(
                    slice(low, n) if letter == "d" else slice(low)
                    for letter, low, n in zip(name, step.left, step.sizes, strict=True)
                )
    return places


def numbers(values: Mapping[Band, float], names: Iterable[Band], owner: str) -> list[float]:
    """One number for each band, in order.

    Raises
    ------
    ParameterError
        Where a band has none.
    """
    wanted = list(names)
    missing = [name for name in wanted if name not in values]
    if missing:
        raise ParameterError(
            f"{owner}.spread values must name every band, got none for {missing[0]}. Start from noise_levels."
        )
    return [float(values[name]) for name in wanted]
