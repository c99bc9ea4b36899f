"""What a prior is trained on: sources of images, each image by its number.

A source is called as ``source(number, held_out)`` and gives an array (channels, size, size) of float32 in the units of
the images; the same number always gives the same image, so that a training that was broken off goes on with images it
has not seen. Held-out images are never among the others.
"""

from __future__ import annotations

import functools
import glob
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from recon.errors import DataError

__all__ = ["SOURCES", "Bodies", "Files", "Source", "source_of"]

Source: TypeAlias = Callable[[int, bool], npt.NDArray[np.float32]]
Turns: TypeAlias = Literal["none", "sides", "all"]

FIRST_BODY = 1_000_000
"""Seeds of bodies below this one are never trained on: they are for tests and benchmarks."""
HELD_OUT_BODY = 500_000
"""The first seed of those that the table of a model card is measured on."""


@dataclass(frozen=True)
class Bodies:
    """Slices of :func:`recon_datasets.bodies.random_body`, one slice of each body."""

    size: int

    def __call__(self, number: int, held_out: bool = False) -> npt.NDArray[np.float32]:
        from recon_datasets.bodies import body_slice, random_body

        seed = (HELD_OUT_BODY if held_out else FIRST_BODY) + number
        height = np.random.default_rng((7, seed)).uniform(-0.5, 0.5)
        return body_slice(random_body(seed), self.size, height)[None]


@dataclass(frozen=True)
class Files:
    """Random parts of the images in files that recon reads: .npy, .npz, .png, .tif and what plugins read.

    Every twentieth image, and at least one, is held out whole. Of an array with more axes than an image has (a volume)
    each slice is an image. All are kept in memory.

    Parameters
    ----------
    pattern
        Path with wildcards, for example ``"scans/*.npy"``.
    size
        Height and width of a part.
    channels
        1 for grey images; 2 with ``complex_images``, of complex ones; else the last axis of an image.
    complex_images
        Whether images are complex.
    turns
        ``"sides"`` mirrors left and right by chance, ``"all"`` also turns by multiples of 90 degrees.
    seed
        Of the choices.
    """

    pattern: str
    size: int
    channels: int = 1
    complex_images: bool = False
    turns: Turns = "none"
    seed: int = 0

    def __call__(self, number: int, held_out: bool = False) -> npt.NDArray[np.float32]:
        known = _read(self)
        few = known[::20] if held_out else [image for k, image in enumerate(known) if k % 20]
        rng = np.random.default_rng((11 + held_out, self.seed, number))
        image = few[int(rng.integers(len(few)))]
        top, left = (int(rng.integers(n - self.size + 1)) for n in image.shape[1:])
        part = image[:, top : top + self.size, left : left + self.size]
        if self.turns != "none" and rng.random() < 0.5:
            part = part[:, :, ::-1]
        if self.turns == "all":
            part = np.rot90(part, int(rng.integers(4)), axes=(1, 2))
        return np.ascontiguousarray(part, dtype=np.float32)


@functools.lru_cache(maxsize=2)
def _read(source: Files) -> list[npt.NDArray[np.float32]]:
    """All images of a source, (channels, rows, columns)."""
    from recon.values import read_arrays

    paths = sorted(glob.glob(str(Path(source.pattern).expanduser()), recursive=True))
    images = [image for path in paths for image in _images(Path(path), read_arrays(Path(path)), source)]
    if len(images) < 2:
        raise DataError(
            f"{source.pattern} must give two images or more, got {len(images)}. Check the path: it is relative to the "
            "current folder."
        )
    return images


def _images(path: Path, arrays: dict[str, Any], source: Files) -> list[npt.NDArray[np.float32]]:
    if "data" not in arrays and len(arrays) != 1:
        raise DataError(
            f"{path} must hold one array, or one named data, got {', '.join(arrays)}. Name it data."
        )
    values = np.asarray(arrays["data"] if "data" in arrays else next(iter(arrays.values())))
    if np.iscomplexobj(values) != source.complex_images:
        kind = "complex" if source.complex_images else "real"
        raise DataError(f"{path} must hold {kind} numbers, got dtype {values.dtype}. Check complex_images.")
    if source.complex_images:
        values = np.stack([values.real, values.imag], axis=-1)
    elif source.channels == 1:
        values = values[..., None]
    shape = values.shape
    if len(shape) < 3 or shape[-1] != source.channels or min(shape[-3:-1]) < source.size:
        raise DataError(
            f"{path} must hold images of {source.channels} channels, {source.size} x {source.size} or larger, got "
            f"shape {shape[:-1] if source.channels == 1 or source.complex_images else shape}. "
            "Check size and channels."
        )
    flat = values.reshape(-1, *shape[-3:]).astype(np.float32)
    return [np.moveaxis(image, -1, 0) for image in flat]


def _bodies(config: Any) -> Source:
    return Bodies(config.size)


SOURCES: dict[str, Callable[[Any], Source]] = {"bodies": _bodies}
"""Sources by name: each makes one from the config of a training."""


def source_of(config: Any) -> Source:
    """The source that the config of a training names, or of the files that it names."""
    if config.images in SOURCES:
        return SOURCES[config.images](config)
    return Files(
        config.images, config.size, config.channels, config.complex_images, config.turns, config.seed
    )
