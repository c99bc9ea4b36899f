"""Pixel-driven back projection: the value that each pixel sees, summed; weights of a fan; no adjoint."""

import math

import array_api_strict
import numpy as np
import pytest
import torch
from recon_operators.tomography import FanBeam, ParallelBeam, backproject, sparse_view
from recon_operators.tomography._backproject_numba import _arctan
from test_tomography import BEAMS, each_beam

from recon.errors import CapabilityError, ShapeError

GEOMETRY = {"source_origin": 40.0, "origin_detector": 30.0, "detector_spacing": 1.5}


def seen(A, x, y, theta):
    """The bin that a point falls on, and the squared distance weight, written out a second time."""
    t = x * math.cos(theta) + y * math.sin(theta)
    if isinstance(A, ParallelBeam):
        return t / A.detector_spacing + (A.n_detectors - 1) / 2 - A.detector_shift, 1.0
    depth = A.source_origin - x * math.sin(theta) + y * math.cos(theta)
    far = A.source_origin + A.origin_detector
    u = far * (math.atan2(t, depth) if A.detector == "curved" else t / depth)
    distance = math.hypot(t, depth) if A.detector == "curved" else depth
    return u / A.detector_spacing + (A.n_detectors - 1) / 2 - A.detector_shift, (
        A.source_origin / distance
    ) ** 2


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", ["parallel", "flat", "curved"])
def test_pixel_by_pixel(kind, weighted):
    angles, rng = sparse_view(5, arc=2 * math.pi), np.random.default_rng(0)
    if kind == "parallel":
        A = ParallelBeam((9, 12), angles, 14, detector_spacing=1.1, detector_shift=0.7)
    else:
        A = FanBeam((9, 12), angles, 14, **GEOMETRY, detector_shift=0.7, detector=kind)
    sinogram = rng.standard_normal(A.codomain.shape)
    expected = np.zeros((9, 12))
    for r, c in np.ndindex(9, 12):
        for k, theta in enumerate(angles):
            b, weight = seen(A, c - 5.5, 4 - r, theta)
            value = np.interp(b, np.arange(-1, 15), np.pad(sinogram[k], 1), left=0, right=0)
            expected[r, c] += value * (weight if weighted else 1)
    np.testing.assert_allclose(backproject(A, sinogram, distance_weight=weighted), expected, atol=1e-12)


@each_beam
def test_ones_give_the_number_of_views(A):
    """Every view sees the middle; without weights it adds what it sees."""
    image = backproject(A, np.ones(A.codomain.shape))
    assert image[7:9, 7:9] == pytest.approx(12)


@each_beam
def test_libraries_and_batches(A):
    y = np.random.default_rng(1).standard_normal((2, 3, *A.codomain.shape)).astype(np.float32)
    image = backproject(A, y)
    assert image.dtype == np.float32
    assert image.shape == (2, 3, *A.domain.shape)
    assert np.array_equal(image[1, 2], backproject(A, y[1, 2]))
    for xp in (array_api_strict, torch):
        assert np.array_equal(np.asarray(backproject(A, xp.asarray(y))), image)


def test_it_is_not_the_adjoint():
    A = BEAMS["parallel"]
    y = np.random.default_rng(2).standard_normal(A.codomain.shape)
    other, exact = backproject(A, y), A.H @ y
    assert 0.01 < np.linalg.norm(other - exact) / np.linalg.norm(exact) < 1


def test_arctan():
    x = np.concatenate([np.linspace(-5, 5, 2001), [0.0, -0.0, 1e-300, 1e6, -1e6]])
    ours = np.array([_arctan(value) for value in x])
    np.testing.assert_allclose(ours, np.arctan(x), rtol=3e-16, atol=0)


def test_error_texts():
    A = FanBeam.example()
    with pytest.raises(
        CapabilityError,
        match="backproject operator must be a ParallelBeam, FourierSliceBeam or FanBeam, got Adj",
    ):
        backproject(A.H, np.ones(A.codomain.shape))
    with pytest.raises(ShapeError, match=r"backproject sinogram must have shape \(..., 12, 24\)"):
        backproject(A, np.ones((3, 3)))
