"""The kernels of the 3-D beams: equal to the reference, the same for any number of threads, and what serves without."""

import os
import sys

import array_api_strict
import numba
import numpy as np
import pytest
import torch
from recon_operators import _compile_numba
from recon_operators.tomography import ConeBeam, VectorBeam, sparse_view
from recon_operators.tomography import _cone_reference as reference
from recon_operators.tomography._cone_geometry import driving_axis
from recon_operators.tomography._cone_numba import NumbaCone
from recon_operators.tomography._cone_sheets import sheets
from test_cone import SCANS, cone, random_views


@pytest.mark.parametrize(("dtype", "limit"), [(np.float32, 5e-6), (np.float64, 1e-13)])
@pytest.mark.parametrize("name", SCANS)
def test_engine_equals_the_reference(name, dtype, limit):
    geometry, rng = SCANS[name]._geometry, np.random.default_rng(2)
    x = rng.standard_normal((2, *geometry.volume_shape)).astype(dtype)
    y = rng.standard_normal((2, geometry.views, *geometry.detector_shape)).astype(dtype)
    made = NumbaCone(geometry, dtype)
    for ours, truth in [
        (made.apply(x), reference.forward(geometry, x)),
        (made.adjoint(y), reference.adjoint(geometry, y)),
    ]:
        assert ours.dtype == dtype
        assert np.abs(ours - truth).max() <= limit * np.abs(truth).max()


def test_reference_equals_the_formula_ray_by_ray():
    """The reference itself: SciPy's linear interpolation at the points where a ray meets the planes x, y or z."""
    from scipy.ndimage import map_coordinates

    driven = set()
    for A in (cone((5, 7, 6), 4, (5, 6), source_origin=9.0, detector_spacing=4.0), random_views(False)):
        f = np.random.default_rng(3).standard_normal(A.domain.shape)
        n_z, n_y, n_x = A.volume_shape
        h = A.pixel_size
        expected = np.zeros(A.codomain.shape)
        for k, n, m in np.ndindex(*A.codomain.shape):
            source, middle, u, v = A.vectors[k].reshape(4, 3)
            bin_ = middle + (m - (A.detector_shape[1] - 1) / 2) * u + (n - (A.detector_shape[0] - 1) / 2) * v
            d = bin_ - source
            a = 1 if abs(d[1]) >= max(abs(d[0]), abs(d[2])) else 0 if abs(d[0]) >= abs(d[2]) else 2
            driven.add(a)
            count = (n_x, n_y, n_z)[a]
            planes = (np.arange(count) - (count - 1) / 2) * h
            x, y, z = (source + (planes - source[a])[:, None] / d[a] * d).T
            places = [z / h + (n_z - 1) / 2, (n_y - 1) / 2 - y / h, x / h + (n_x - 1) / 2]
            values = map_coordinates(f, places, order=1, mode="grid-constant")
            expected[k, n, m] = h * np.linalg.norm(d) / abs(d[a]) * values.sum()
        np.testing.assert_allclose(reference.forward(A._geometry, f), expected, atol=1e-11)
    assert driven == {0, 1, 2}


@pytest.mark.parametrize("xp", [array_api_strict, torch])
def test_reference_runs_on_other_libraries(xp):
    geometry = SCANS["cone, tilted"]._geometry
    x = np.random.default_rng(4).standard_normal(geometry.volume_shape)
    ours = np.asarray(reference.forward(geometry, xp.asarray(x)))
    np.testing.assert_allclose(ours, reference.forward(geometry, x), rtol=1e-12, atol=1e-12)
    back = np.asarray(reference.adjoint(geometry, xp.asarray(ours)))
    np.testing.assert_allclose(back, reference.adjoint(geometry, ours), rtol=1e-12, atol=1e-12)


def test_equal_components_are_driven_by_rows_first_then_columns():
    cases = {(1, 1, 1): 1, (1, -1, 1): 1, (1, 0, 1): 2, (2, 1, 1): 0, (0, 1, -1): 1, (1, 0, 0): 0}
    for d, axis in cases.items():
        assert driving_axis(np.array(d, dtype=float)) == axis


def test_which_columns_are_sheets():
    def share(A):
        found, others, _ = sheets(A._geometry)
        assert (
            sum(part.columns.size for part in found) + others.size
            == A.codomain.shape[0] * A.detector_shape[1]
        )
        return others.size / (A.codomain.shape[0] * A.detector_shape[1])

    lifted = VectorBeam(
        (6, 8, 9), cone().vectors + 3 * np.eye(12)[2], (8, 12)
    )  # higher sources, upright detectors
    for A in (
        cone(),
        cone(detector_shift=(2.0, 1.0)),
        SCANS["cone, rows downward"],
        SCANS["parallel"],
        lifted,
    ):
        assert share(A) == 0
    assert 0 < share(SCANS["cone, steep"]) <= 1
    assert share(cone(roll=0.01)) == share(random_views(True)) == 1


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("tilt", [0.0, 0.1])
def test_threads_give_the_same_bits(tilt, dtype):
    if numba.config.NUMBA_NUM_THREADS < 2:
        pytest.skip("numba is limited to one thread here")
    A = ConeBeam(
        (140, 60, 50),
        sparse_view(30, arc=2 * np.pi),
        (150, 60),
        source_origin=150.0,
        origin_detector=70.0,
        detector_spacing=1.4,
        tilt=tilt,
    )
    rng = np.random.default_rng(6)
    x = rng.standard_normal(A.domain.shape).astype(dtype)
    y = rng.standard_normal(A.codomain.shape).astype(dtype)
    results, before = [], numba.get_num_threads()
    try:
        for threads in (1, 2):
            numba.set_num_threads(threads)
            results.append((A @ x, A.H @ y))
    finally:
        numba.set_num_threads(before)
    assert _compile_numba._pool._owner == os.getpid()  # the pool was used
    assert np.array_equal(results[0][0], results[1][0])
    assert np.array_equal(results[0][1], results[1][1])


def test_without_numba_the_reference_projects(monkeypatch, caplog):
    A = ConeBeam.example()
    x = np.random.default_rng(7).standard_normal((3, *A.domain.shape))
    expected, back = A @ x, A.H @ (A @ x)
    monkeypatch.setitem(sys.modules, "recon_operators.tomography._cone_numba", None)
    B = A.views(slice(None))
    np.testing.assert_allclose(B @ x, expected, rtol=0, atol=1e-12 * np.abs(expected).max())
    np.testing.assert_allclose(B.H @ expected, back, rtol=0, atol=1e-12 * np.abs(back).max())
    assert "numba is not installed" in caplog.text


def test_a_source_beside_the_lines_it_is_among():
    """Rays almost along the rows of a flat volume: some are driven by rows on both sides of the source."""
    A = VectorBeam((3, 30, 6), [[-9.0, 2.0, 0.1, 8.0, 3.0, 0.2, 1.7, 2.1, 0.0, 0.0, 0.0, 1.1]], (4, 15))
    x = np.random.default_rng(8).standard_normal(A.domain.shape)
    np.testing.assert_allclose(A @ x, reference.forward(A._geometry, x), rtol=0, atol=1e-11)
