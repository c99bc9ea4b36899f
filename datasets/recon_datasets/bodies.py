"""Bodies: random, textured, CT-like phantoms in three dimensions, drawn at any resolution.

A body is a table of shapes, ellipsoids with bent outlines, drawn one over the other: skin and fat, muscle, a skull or
ribs and a spine, organs with smooth shading and texture, air, and small lesions. Values are scaled attenuation,

    value = (HU + 1000) / 2500,    air 0, fat 0.36, water 0.4, soft tissue 0.4 to 0.46, dense bone 0.7 to 1

Lengths are in half widths of the image: it covers [-1, 1] x [-1, 1], y up, and slices lie at heights z of the same
unit. Edges are 0.5 to 2 pixels of a 128 x 128 image wide. Piecewise constant images suit total variation exactly and
would tell nothing about other priors, hence the texture.

Priors are trained on bodies from number 1 000 000 on; those below, which :class:`Bodies` scans, they never see.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias

import numpy as np
import numpy.typing as npt
from annotated_types import Ge, Gt, Le

from recon.dataset import Dataset, Sample
from recon.errors import ParameterError, ShapeError
from recon.params import Doc, Parameters
from recon_datasets._bodies_layout import COLUMNS, FIRST_WAVE, WAVES

__all__ = ["HELD_OUT", "Bodies", "body_slice", "body_volume", "random_body"]

Floats: TypeAlias = npt.NDArray[np.float64]

HELD_OUT = 1_000_000
"""Bodies below this number are in no training set."""


@dataclass(frozen=True)
class _Tissue:
    """Range of the value, size of the texture and its shortest wave."""

    value: tuple[float, float]
    texture: float
    shortest: float = 0.10


_SKIN = _Tissue((0.32, 0.40), 0.004)
_MUSCLE = _Tissue((0.40, 0.45), 0.006)
_ORGAN = _Tissue((0.30, 0.56), 0.010)
_LUNG = _Tissue((0.05, 0.16), 0.020, 0.06)
_BONE = _Tissue((0.62, 0.95), 0.030, 0.06)
_MARROW = _Tissue((0.44, 0.62), 0.030, 0.06)
_AIR = _Tissue((0.0, 0.02), 0.0)


def random_body(seed: int | np.random.SeedSequence) -> Floats:
    """The shapes of one body.

    Parameters
    ----------
    seed
        Of the generator; one body per seed.

    Returns
    -------
    Array of shape (shapes, 37), for :func:`body_slice`: centre x, y, z; semi-axes along the shape's own x and y and
    along z; angle; a_2 and a_3 of the outline, real and imaginary; width of the edge; value and its gradient in x, y,
    z; whether the value is added to what lies below; and four waves: amplitude, wave vector x, y, z, phase.
    """
    rng = np.random.default_rng(seed)
    head = rng.random() < 0.4
    outer = np.array([rng.uniform(0.62, 0.92), rng.uniform(0.55, 0.88), rng.uniform(1.2, 3.0)])
    centre = np.array([*rng.uniform(-0.06, 0.06, 2), rng.uniform(-0.3, 0.3)])
    angle = rng.uniform(0.0, math.pi) if head else rng.normal(0.0, 0.2)
    bend = rng.normal(0.0, 0.03, 4)
    rows = [_shape(rng, centre, outer, angle, bend, _SKIN)]
    wall = rng.uniform(0.02, 0.08)
    inner = outer - wall
    rows.append(_shape(rng, centre, inner, angle, bend, _MUSCLE))
    if head:  # a muscle has been drawn none the less, so that a number keeps its body
        rows[-1] = _shape(rng, centre, inner, angle, bend, _BONE)
        inner = inner - rng.uniform(0.03, 0.09)
        rows.append(_shape(rng, centre, inner, angle, bend, _ORGAN))
    else:
        rows += _lungs(rng, centre, inner, angle)
        rows += _skeleton(rng, centre, inner, angle)
    rows += _organs(rng, centre, inner, angle)
    rows += _lesions(rng, centre, inner, angle)
    return np.stack(rows)


def _shape(
    rng: np.random.Generator,
    centre: Floats,
    axes: Floats,
    angle: float,
    bend: Floats,
    tissue: _Tissue,
    added: float | None = None,
) -> Floats:
    """One row: outline and tissue; with ``added`` that value is laid on what is there, without texture."""
    row = np.zeros(COLUMNS)
    row[0:3], row[3:6], row[6], row[7:11] = centre, axes, angle, bend
    row[11] = rng.uniform(0.008, 0.03)
    if added is not None:
        row[12], row[16] = added, 1.0
        return row
    row[12] = rng.uniform(*tissue.value)
    row[13:16] = rng.normal(0.0, 0.25 * tissue.texture, 3) / max(0.3, float(axes.max()))
    lengths = tissue.shortest * (0.9 / tissue.shortest) ** rng.random(WAVES)
    vectors = rng.normal(size=(WAVES, 3))
    vectors *= (2.0 * math.pi / lengths / np.linalg.norm(vectors, axis=1))[:, None]
    waves = row[FIRST_WAVE:].reshape(WAVES, 5)
    waves[:, 0] = tissue.texture * np.abs(rng.normal(size=WAVES)) * rng.uniform(0.3, 1.3)
    waves[:, 1:4] = vectors
    waves[:, 4] = rng.uniform(0.0, 2.0 * math.pi, WAVES)
    return row


def _placed(rng: np.random.Generator, centre: Floats, inner: Floats, angle: float, reach: float) -> Floats:
    """A point within the inner ellipsoid, at most ``reach`` of the way to its wall."""
    direction = rng.normal(size=3)
    direction *= reach * rng.random() ** 0.5 / np.linalg.norm(direction[:2])
    place = centre + _turned(*(direction[:2] * inner[:2]), angle)
    place[2] = rng.uniform(-0.6, 0.6)
    return place


def _turned(x: float, y: float, angle: float, z: float = 0.0) -> Floats:
    cosine, sine = math.cos(angle), math.sin(angle)
    return np.array([x * cosine - y * sine, x * sine + y * cosine, z])


def _lungs(rng: np.random.Generator, centre: Floats, inner: Floats, angle: float) -> list[Floats]:
    if rng.random() > 0.5:
        return []
    rows = []
    for side in (-1.0, 1.0):
        axes = np.array(
            [rng.uniform(0.2, 0.36) * inner[0], rng.uniform(0.4, 0.65) * inner[1], rng.uniform(0.5, 1.2)]
        )
        shift = side * rng.uniform(0.45, 0.55) * inner[0]
        place = centre + _turned(shift, 0.0, angle, rng.uniform(-0.3, 0.3))
        rows.append(_shape(rng, place, axes, angle + rng.normal(0.0, 0.15), rng.normal(0.0, 0.05, 4), _LUNG))
    return rows


def _skeleton(rng: np.random.Generator, centre: Floats, inner: Floats, angle: float) -> list[Floats]:
    """A spine of bone and marrow, and ribs along the wall."""
    places = []
    if rng.random() < 0.8:
        places.append(
            (rng.choice((-1.0, 1.0)) * 0.5 * math.pi, rng.uniform(0.55, 0.8), rng.uniform(0.10, 0.18))
        )
    count = int(rng.integers(0, 9))
    for turn in np.linspace(0.0, 2.0 * math.pi, count, endpoint=False) + rng.uniform(0.0, 2.0 * math.pi):
        places.append((turn + rng.normal(0.0, 0.1), rng.uniform(0.84, 0.92), rng.uniform(0.02, 0.07)))
    rows = []
    for turn, reach, radius in places:
        x, y = reach * inner[0] * math.cos(turn), reach * inner[1] * math.sin(turn)
        place = centre + _turned(x, y, angle)
        long = radius * rng.uniform(1.0, 2.2) if radius < 0.09 else radius * rng.uniform(1.0, 1.4)
        axes = np.array([radius, long, rng.uniform(0.3, 2.0)])
        tilt, bend = angle + turn + rng.normal(0.0, 0.15), rng.normal(0.0, 0.04, 4)
        rows.append(_shape(rng, place, axes, tilt, bend, _BONE))
        if radius > 0.035:
            rows.append(_shape(rng, place, axes * np.array([0.65, 0.65, 0.95]), tilt, bend, _MARROW))
    return rows


def _organs(rng: np.random.Generator, centre: Floats, inner: Floats, angle: float) -> list[Floats]:
    """Four to fourteen organs of two sizes, some of air or bone, some with a lumen."""
    rows = []
    for _ in range(int(rng.integers(4, 15))):
        large = rng.random() < 0.4
        size = rng.uniform(0.16, 0.34) if large else rng.uniform(0.04, 0.14)
        axes = size * np.array([1.0, rng.uniform(0.5, 1.0), rng.uniform(0.8, 2.5)])
        place = _placed(rng, centre, inner, angle, 0.6 if large else 0.8)
        tilt, bend = rng.uniform(0.0, math.pi), rng.normal(0.0, 0.06, 4)
        tissue = _ORGAN if rng.random() < 0.86 else (_AIR if rng.random() < 0.6 else _BONE)
        rows.append(_shape(rng, place, axes, tilt, bend, tissue))
        if tissue is _ORGAN and large and rng.random() < 0.35:
            lumen = _AIR if rng.random() < 0.4 else _ORGAN
            rows.append(_shape(rng, place, axes * rng.uniform(0.3, 0.75), tilt, bend, lumen))
    return rows


def _lesions(rng: np.random.Generator, centre: Floats, inner: Floats, angle: float) -> list[Floats]:
    rows = []
    for _ in range(int(rng.integers(0, 6))):
        axes = rng.uniform(0.015, 0.05) * np.array([1.0, rng.uniform(0.7, 1.0), rng.uniform(0.8, 2.0)])
        place = _placed(rng, centre, inner, angle, 0.85)
        contrast = float(rng.choice((-1.0, 1.0)) * rng.uniform(0.02, 0.12))
        rows.append(_shape(rng, place, axes, rng.uniform(0.0, math.pi), np.zeros(4), _ORGAN, added=contrast))
    return rows


def body_slice(shapes: Floats, size: int = 128, z: float = 0.0) -> npt.NDArray[np.float32]:
    """The slice of a body at height z as an image (size, size), row 0 on top; about 1 ms at 128 x 128.

    Raises
    ------
    ShapeError
        When the shapes are not those of :func:`random_body`.
    """
    shapes = np.ascontiguousarray(shapes, dtype=np.float64)
    if shapes.ndim != 2 or shapes.shape[1] != COLUMNS:  # the compiled loops check nothing
        raise ShapeError(
            f"body_slice.shapes must be of shape (shapes, {COLUMNS}), got {shapes.shape}. Take those of random_body."
        )
    if size < 1:
        raise ParameterError(f"body_slice.size must be 1 or more, got {size}.")
    from recon_datasets._bodies_numba import draw

    image = np.empty((size, size), dtype=np.float32)
    draw(shapes, image, float(z))
    return np.maximum(image, 0.0, out=image)


def body_volume(shapes: Floats, slices: int, size: int = 128) -> npt.NDArray[np.float32]:
    """Slices (slices, size, size) of cubic voxels, centred on z = 0, lowest z first."""
    if slices < 1:
        raise ParameterError(f"body_volume.slices must be 1 or more, got {slices}.")
    return np.stack([body_slice(shapes, size, z) for z in _heights(slices, size)])


def _heights(slices: int, size: int) -> Floats:
    """Heights of the slices of a volume of cubic voxels around z = 0."""
    return (np.arange(slices) - 0.5 * (slices - 1)) * 2.0 / size


@dataclass(frozen=True)
class Bodies(Parameters, Dataset):
    """Sparse-view scans of held-out bodies, a parallel beam over slices: what a prior trained on bodies is judged by.

    Sample number i is body ``first`` + i. It is drawn at twice the resolution and projected with bins half as wide,
    which are averaged over two: so a reconstruction commits no inverse crime. The model's own error is 0.1 to 0.2
    standard deviations of 1 % noise. Lengths are in pixels of the image; the truth is the mean of the fine image over
    each pixel, in (HU + 1000) / 2500, as priors trained on bodies have it. Bits are the same on one machine; on
    another they differ as far as its arithmetic in single precision does, by some 1e-7.

    Raises
    ------
    ParameterError
        For a value that breaks its rule, or bodies that priors are trained on.

    Examples
    --------
    >>> Bodies(views=8)[0].data.shape
    (8, 182)
    """

    views: Annotated[int, Ge(1), Doc("number of views, evenly spread over the arc")] = 16
    size: Annotated[int, Ge(2), Doc("rows and columns of the image")] = 128
    slices: Annotated[int | None, Ge(1), Doc("slices of a volume of cubic voxels; None: one image")] = None
    arc: Annotated[float, Gt(0), Le(360), Doc("degrees of the scan, for a limited angle")] = 180.0
    noise: Annotated[float, Ge(0), Le(1e6), Doc("Gaussian noise, relative to the largest of the data")] = 0.01
    count: Annotated[int, Ge(1), Doc("number of samples")] = 100
    first: Annotated[int, Ge(0), Doc("number of the first body")] = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.first + self.count > HELD_OUT:
            raise ParameterError(
                f"Bodies.first + count must be at most {HELD_OUT}, got {self.first + self.count}. "
                "Priors are trained on the bodies from there on."
            )

    def __len__(self) -> int:
        return self.count

    @property
    def angles(self) -> Floats:
        """View angles in radians; the end of the arc is not repeated."""
        return np.radians(self.arc * (np.arange(self.views) / self.views))

    def _beam(self, finer: int = 1) -> Any:
        """The parallel beam on one slice; its bins cover the diagonal."""
        from recon_operators.tomography import ParallelBeam

        bins = self.size + 2 * math.ceil(0.5 * (math.sqrt(2.0) - 1.0) * self.size)
        size, width = self.size * finer, 1.0 / finer
        return ParallelBeam((size, size), self.angles, bins * finer, detector_spacing=width, pixel_size=width)

    def _operator(self) -> Any:
        if self.slices is None:
            return self._beam()
        from recon_operators.slices import EachSlice

        return EachSlice(self._beam(), self.slices)

    def sample(self, index: int) -> Sample:
        """Operator, data, truth, noise level and notes of one scan."""
        number = self.first + index
        shapes, beam = random_body(number), self._beam(2)
        heights = np.zeros(1) if self.slices is None else _heights(2 * self.slices, 2 * self.size)
        fine = [body_slice(shapes, 2 * self.size, z).astype(np.float64) for z in heights]
        clean = _coarser(np.stack([beam @ image for image in fine]), (1, 2))
        truth = _coarser(np.stack(fine), (2, 2))
        sigma, rng = None, np.random.default_rng((number, 1))
        if self.slices is None:
            clean, truth = clean[0], truth[0]
        else:
            clean, truth = (one.reshape(-1, 2, *one.shape[1:]).mean(axis=1) for one in (clean, truth))
        if self.noise > 0:
            sigma = float(f"{self.noise * clean.max():.6g}")
            clean = clean + sigma * rng.standard_normal(clean.shape)
        notes = {
            "noise": f"Gaussian, {self.noise:g} of the largest" if self.noise > 0 else "none",
            "truth": "mean of the image of twice the resolution over each pixel",
            "unit": "(HU + 1000) / 2500 per pixel: air 0, water 0.4, dense bone 1",
            "pixel_size": 1.0,
            "body": number,
        }
        return Sample(self._operator(), clean, truth, sigma, notes)

    @classmethod
    def example(cls) -> Bodies:
        """A small ready instance."""
        return cls(views=10, size=32, count=2)


def _coarser(values: Floats, blocks: tuple[int, int]) -> Floats:
    """Means over blocks of the last two axes."""
    *front, rows, columns = values.shape
    split = values.reshape(*front, rows // blocks[0], blocks[0], columns // blocks[1], blocks[1])
    return split.mean(axis=(-3, -1))
