"""Bodies: random, textured, CT-like phantoms in three dimensions, drawn at any resolution.

A body is a table of shapes, ellipsoids with bent outlines, drawn one over the other: skin and fat, muscle, a skull or
ribs and a spine, organs with smooth shading and texture, air, and small lesions. Values are scaled attenuation,

    value = (HU + 1000) / 2500,    air 0, fat 0.36, water 0.4, soft tissue 0.4 to 0.46, dense bone 0.7 to 1

Lengths are in half widths of the image: it covers [-1, 1] x [-1, 1], y up, and slices lie at heights z of the same
unit. Edges are 0.5 to 2 pixels of a 128 x 128 image wide. Piecewise constant images suit total variation exactly and
would tell nothing about other priors, hence the texture.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from recon_datasets._bodies_numba import COLUMNS, FIRST_WAVE, WAVES, draw

__all__ = ["body_slice", "body_volume", "random_body"]

Floats: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True)
class _Tissue:
    """Ranges of value, shading and texture, and the shortest wave of the texture."""

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
    Array of shape (shapes, 38), for :func:`body_slice`: centre x, y, z; semi-axes along the shape's own x and y and
    along z; angle; a_2 and a_3 of the outline, real and imaginary; width of the edge; value and its gradient in x, y,
    z; whether the value is added to what lies below; unused; and four waves: amplitude, wave vector x, y, z, phase.
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
    if head:
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
    x, y = direction[:2] * inner[:2]
    turned = np.array([x * math.cos(angle) - y * math.sin(angle), x * math.sin(angle) + y * math.cos(angle)])
    return np.array([centre[0] + turned[0], centre[1] + turned[1], rng.uniform(-0.6, 0.6)])


def _lungs(rng: np.random.Generator, centre: Floats, inner: Floats, angle: float) -> list[Floats]:
    if rng.random() > 0.5:
        return []
    rows = []
    for side in (-1.0, 1.0):
        axes = np.array(
            [rng.uniform(0.2, 0.36) * inner[0], rng.uniform(0.4, 0.65) * inner[1], rng.uniform(0.5, 1.2)]
        )
        shift = side * rng.uniform(0.45, 0.55) * inner[0]
        place = centre + np.array([shift * math.cos(angle), shift * math.sin(angle), rng.uniform(-0.3, 0.3)])
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
        place = centre + np.array(
            [x * math.cos(angle) - y * math.sin(angle), x * math.sin(angle) + y * math.cos(angle), 0.0]
        )
        long = radius * rng.uniform(1.0, 2.2) if radius < 0.09 else radius * rng.uniform(1.0, 1.4)
        axes = np.array([radius, long, rng.uniform(0.3, 2.0)])
        tilt, bend = angle + turn + rng.normal(0.0, 0.15), rng.normal(0.0, 0.04, 4)
        rows.append(_shape(rng, place, axes, tilt, bend, _BONE))
        if radius > 0.035:
            rows.append(_shape(rng, place, axes * np.array([0.65, 0.65, 0.95]), tilt, bend, _MARROW))
    return rows


def _organs(rng: np.random.Generator, centre: Floats, inner: Floats, angle: float) -> list[Floats]:
    """Three to twelve organs of two sizes, some with a lumen of air or bone."""
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
    """The slice of a body at height z as an image (size, size), row 0 on top; about 1 ms at 128 x 128."""
    image = np.empty((size, size), dtype=np.float32)
    draw(shapes, image, float(z))
    return np.maximum(image, 0.0, out=image)


def body_volume(shapes: Floats, slices: int, size: int = 128) -> npt.NDArray[np.float32]:
    """Slices (slices, size, size) of cubic voxels, centred on z = 0, lowest z first."""
    heights = (np.arange(slices) - 0.5 * (slices - 1)) * 2.0 / size
    return np.stack([body_slice(shapes, size, z) for z in heights])
