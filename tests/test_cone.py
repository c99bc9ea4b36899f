"""The 3-D beams: contract, exact adjoints, conventions against the 2-D beams and ASTRA, views, error texts."""

import importlib
import logging
import pickle
import tracemalloc

import numpy as np
import pytest
import torch
from recon_operators.tomography import (
    ConeBeam,
    FanBeam,
    ParallelBeam,
    VectorBeam,
    circular_vectors,
    sparse_view,
)

from recon.errors import ArrayError, KernelError, ParameterError, ShapeError
from recon.testing import check_operator

FULL = 2 * np.pi
SCAN = {"source_origin": 20.0, "origin_detector": 10.0, "detector_spacing": 1.5}


def cone(volume=(6, 8, 9), views=5, detector=(8, 12), **changes):
    return ConeBeam(volume, sparse_view(views, arc=FULL), detector, **(SCAN | changes))


def vectors(volume, views, detector, parallel=False, **changes):
    rows = circular_vectors(0.2 + sparse_view(views, arc=FULL), **changes)
    return VectorBeam(volume, rows, detector, parallel=parallel)


def random_views(parallel):
    """Sources and detectors anywhere around the volume, upside down, mirrored, above and below."""
    rows = np.random.default_rng(7).normal(size=(6, 12))
    rows[:, :3] *= 20 / np.linalg.norm(rows[:, :3], axis=1)[:, None]
    rows[:, 3:6] -= rows[:, :3]
    return VectorBeam((5, 6, 4), rows, (4, 5), parallel=parallel, pixel_size=0.7)


SCANS = {
    "cone": cone(),
    "cone, off centre, mm": cone(
        (5, 9, 7), 4, (9, 7), detector_shift=(-1.3, 2.6), detector_spacing=(0.9, 1.1), pixel_size=0.6
    ),
    "cone, fine rows": cone((4, 5, 6), 3, (33, 9), detector_spacing=(0.2, 1.5)),
    "cone, coarse rows": cone((9, 5, 6), 3, (4, 9), detector_spacing=(4.5, 1.5)),
    "cone, steep": cone((20, 4, 5), 3, (20, 7), source_origin=8.0, detector_spacing=3.0),
    "cone, one voxel": cone((1, 1, 1), 3, (1, 1)),
    "cone, one slice": cone((1, 7, 8), 3, (2, 12)),
    "cone, tilted": cone(tilt=0.35),
    "cone, rolled": cone(roll=0.2),
    "cone, rolled, many rows": cone((20, 9, 8), 3, (40, 9), detector_spacing=(0.8, 1.5), roll=0.3),
    "cone, rolled far": cone((14, 9, 8), 3, (18, 18), roll=1.0, tilt=-0.1),
    "cone, tilted, coarse rows": cone((14, 9, 8), 3, (9, 9), detector_spacing=(2.5, 1.5), tilt=0.2),
    "cone, upside down, tilted": VectorBeam(
        (9, 17, 18), cone(tilt=0.1, views=3).vectors * np.repeat([1, 1, -1, -1], 3), (18, 10)
    ),
    "cone, rows downward": VectorBeam(
        (6, 8, 9), cone(detector_shift=(0.4, 0)).vectors * np.repeat([1, 1, 1, -1], 3), (8, 12)
    ),
    "parallel": vectors((6, 8, 9), 5, (7, 12), True),
    "parallel, lifted rays": vectors((6, 8, 9), 5, (7, 12), True, tilt=0.5),
    "parallel, straight down": VectorBeam(
        (6, 8, 9), [[0, 0, 1, 0, 0, -9, 1, 0, 0, 0, 1.2, 0.0]], (7, 10), parallel=True
    ),
    "any cone": random_views(False),
    "any parallel": random_views(True),
}


@pytest.mark.parametrize("name", SCANS)
def test_adjoint_is_the_transpose(name):
    A = SCANS[name]
    (m, n) = A.shape
    forward = (A @ np.eye(n).reshape(n, *A.domain.shape)).reshape(n, m).T
    back = (A.H @ np.eye(m).reshape(m, *A.codomain.shape)).reshape(m, n)
    assert forward.max() > 0
    assert forward.min() >= 0
    assert np.abs(forward - back).max() <= 1e-12 * forward.max()
    schur = np.sqrt(forward.sum(axis=0).max() * forward.sum(axis=1).max())
    assert np.linalg.norm(forward, 2) <= A.norm_bound()
    assert A.norm_bound() == pytest.approx(schur, rel=1e-8)


@pytest.mark.parametrize(("dtype", "limit"), [(np.float32, 1e-6), (np.float64, 1e-12)])
@pytest.mark.parametrize("name", SCANS)
def test_adjoint_gap(name, dtype, limit):
    A, rng = SCANS[name], np.random.default_rng(1)
    for _ in range(3):
        x = rng.standard_normal((2, *A.domain.shape)).astype(dtype)
        y = rng.standard_normal((2, *A.codomain.shape)).astype(dtype)
        ax, aty = A @ x, A.H @ y
        assert ax.dtype == aty.dtype == dtype
        gap = abs(np.vdot(ax.astype(float), y) - np.vdot(x, aty.astype(float)))
        assert gap <= limit * np.linalg.norm(ax) * np.linalg.norm(y)


@pytest.mark.parametrize(("dtype", "limit"), [(np.float32, 1e-6), (np.float64, 1e-12)])
def test_gap_and_memory_at_full_size(dtype, limit):
    A = ConeBeam(
        (128, 128, 128),
        sparse_view(90, arc=FULL),
        (128, 128),
        source_origin=256.0,
        origin_detector=128.0,
        detector_spacing=1.5,
    )
    rng = np.random.default_rng(2)
    x = rng.standard_normal(A.domain.shape, dtype=dtype)
    y = rng.standard_normal(A.codomain.shape, dtype=dtype)
    A @ x  # compiled and planned
    A.H @ y
    tracemalloc.start()
    fresh = A.views(slice(None))
    ax = fresh @ x
    aty = fresh.H @ y
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak - ax.nbytes - aty.nbytes <= 100e6
    gap = abs(np.vdot(ax.astype(float), y) - np.vdot(x, aty.astype(float)))
    assert gap <= limit * np.linalg.norm(ax) * np.linalg.norm(y)


@pytest.mark.parametrize("A", [ConeBeam.example(), VectorBeam.example(), SCANS["parallel"]], ids=repr)
def test_contract(A, like):
    check_operator(A, like=like)


def test_libraries_give_the_same_numbers(to):
    A = cone()
    x = np.random.default_rng(3).standard_normal((2, *A.domain.shape))
    assert np.array_equal(np.asarray(A @ to(x)), A @ x)
    assert np.array_equal(np.asarray(A.H @ to(A @ x)), A.H @ (A @ x))


def test_strided_read_only_and_empty_input():
    A = cone()
    x = np.random.default_rng(9).standard_normal((3, *A.domain.shape[::-1])).T.reshape(*A.domain.shape, 3)
    x = np.moveaxis(x, -1, 0)
    fixed = np.ascontiguousarray(x)
    fixed.setflags(write=False)
    before = fixed.copy()
    assert np.array_equal(A @ x, A @ fixed)
    assert np.array_equal(fixed, before)
    assert (A @ x[:0]).shape == (0, *A.codomain.shape)


def test_middle_row_of_a_cone_is_the_fan():
    """One slice, and the one row of bins that lies in its plane."""
    angles = sparse_view(11, arc=FULL)
    scan = {"source_origin": 60.0, "origin_detector": 40.0, "pixel_size": 0.8}
    fan = FanBeam((20, 31), angles, 50, detector_spacing=1.1, detector_shift=1.7, **scan)
    A = ConeBeam((1, 20, 31), angles, (1, 50), detector_spacing=1.1, detector_shift=(0.0, 1.7), **scan)
    x = np.random.default_rng(4).standard_normal((20, 31))
    np.testing.assert_allclose((A @ x[None])[:, 0], fan @ x, rtol=0, atol=1e-12)
    y = fan @ x
    np.testing.assert_allclose((A.H @ y[:, None])[0], fan.H @ y, rtol=0, atol=1e-11)


def test_rows_of_a_parallel_scan_are_parallel_beams():
    """Slice by slice, where rows lie on slices; and slice 0, at the smallest z, is seen by row 0."""
    angles = sparse_view(9)
    flat = ParallelBeam((12, 13), angles, 19, detector_shift=0.3)
    A = VectorBeam((5, 12, 13), circular_vectors(angles, detector_shift=(0, 0.3)), (5, 19), parallel=True)
    x = np.random.default_rng(5).standard_normal((5, 12, 13))
    expected = np.moveaxis(flat @ x, 0, 1)
    np.testing.assert_allclose(A @ x, expected, rtol=0, atol=1e-12)


def test_vectors_are_those_of_astra():
    astra = pytest.importorskip("astra")
    angles = np.array([0.3, 1.0, 2.0, 4.0])
    geometry = astra.create_proj_geom("cone", 1.5, 1.2, 20, 23, angles, 256.0, 128.0)
    ours = circular_vectors(angles, source_origin=256.0, origin_detector=128.0, detector_spacing=(1.2, 1.5))
    np.testing.assert_allclose(ours, astra.functions.geom_2vec(geometry)["Vectors"], atol=1e-12)
    geometry = astra.create_proj_geom("parallel3d", 1.5, 1.2, 20, 23, angles)
    ours = circular_vectors(angles, detector_spacing=(1.2, 1.5))
    np.testing.assert_allclose(ours, astra.functions.geom_2vec(geometry)["Vectors"], atol=1e-12)


def test_cone_is_described_by_its_vectors():
    A = cone(detector_shift=(0.5, -1.5), tilt=0.1, roll=-0.2, pixel_size=0.9)
    B = VectorBeam(A.volume_shape, A.vectors, A.detector_shape, pixel_size=0.9)
    x = np.random.default_rng(6).standard_normal(A.domain.shape)
    assert np.array_equal(A @ x, B @ x)


def test_length_of_a_direction_and_side_of_the_source_do_not_matter():
    A = SCANS["parallel, lifted rays"]
    other = A.vectors.copy()
    other[:, :3] *= -3.0
    x = np.random.default_rng(6).standard_normal(A.domain.shape)
    np.testing.assert_allclose(VectorBeam(A.volume_shape, other, A.detector_shape, parallel=True) @ x, A @ x)


def test_turning_the_detector_is_leaning_the_axis():
    """The whole scan turned about the central ray by a right angle: roll, and the volume the other way round."""
    rng = np.random.default_rng(8)
    x = rng.standard_normal((7, 4, 7))
    A = ConeBeam((7, 4, 7), [0.0], (9, 9), **SCAN)
    B = ConeBeam((7, 4, 7), [0.0], (9, 9), roll=np.pi / 2, **SCAN)
    turned = np.flip(np.swapaxes(x, 0, 2), 0)  # what was at z is at x, what was at x is at -z
    np.testing.assert_allclose(B @ x, np.asarray(A @ np.ascontiguousarray(turned)), atol=1e-9)


@pytest.mark.parametrize("index", [slice(1, None, 2), [4, 1], np.arange(5) > 2, 3])
@pytest.mark.parametrize("A", [cone(), random_views(False).views(slice(5))], ids=str)
def test_views(A, index):
    x = np.random.default_rng(11).standard_normal(A.domain.shape)
    few = A.views(index)
    assert type(few) is type(A)
    np.testing.assert_allclose(few @ x, (A @ x)[index].reshape(few.codomain.shape), rtol=0, atol=1e-12)


def test_pickle_leaves_the_plan_behind_and_fields_are_read_only():
    for A, field in ((cone(), "angles"), (random_views(True), "vectors")):
        y = A @ np.ones(A.domain.shape)
        B = pickle.loads(pickle.dumps(A))
        assert not B.__dict__.get("_plans")
        assert np.array_equal(B @ np.ones(A.domain.shape), y)
        with pytest.raises(ValueError, match="read-only"):
            getattr(B, field)[0] = 1.0


def test_plot_draws_both_sides():
    for name in ("cone, tilted", "parallel, straight down"):
        figure = SCANS[name].plot(-1)
        assert [len(axes.get_title()) > 0 for axes in figure.axes] == [True, True]
    with pytest.raises(ParameterError, match=r"ConeBeam\.plot view must be an integer from -5 to 4, got 5"):
        cone().plot(5)


LINES = cone().vectors


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: cone((0, 8, 8)), ParameterError, r"ConeBeam.volume_shape\[0\] must be > 0, got 0"),
        (lambda: cone(detector=(8, 0)), ParameterError, r"ConeBeam.detector_shape\[1\] must be > 0, got 0"),
        (
            lambda: cone(detector_spacing=-1),
            ParameterError,
            "ConeBeam.detector_spacing must be > 0 or a sequence",
        ),
        (lambda: cone(origin_detector=-5), ParameterError, "ConeBeam.origin_detector must be >= 0, got -5"),
        (
            lambda: cone(source_origin=5),
            ParameterError,
            r"outside the volume as it turns \(radius 6.02\d*\), got 5",
        ),
        (
            lambda: cone(source_origin=20, tilt=np.pi / 2, volume=(50, 8, 9)),
            ParameterError,
            "outside the volume as it turns",
        ),
        (
            lambda: ConeBeam((4, 4, 4), "all", (4, 4), **SCAN),
            ParameterError,
            "ConeBeam.angles must be numbers in",
        ),
        (
            lambda: VectorBeam((4, 4, 4), np.ones((3, 11)), (4, 4)),
            ParameterError,
            r"VectorBeam.vectors must have shape \(views, 12\), got \(3, 11\). One view is source",
        ),
        (
            lambda: VectorBeam((4, 4, 4), np.full((3, 12), np.nan), (4, 4)),
            ArrayError,
            "VectorBeam.vectors must be finite",
        ),
        (
            lambda: VectorBeam((99, 99, 99), LINES, (4, 4)),
            ParameterError,
            "must have every source outside the volume, got view 0 inside it",
        ),
        (
            lambda: VectorBeam((4, 4, 4), np.where(np.arange(12) > 8, 0, LINES), (4, 4)),
            ParameterError,
            "must have the source outside the plane of the detector, got view 0 in it",
        ),
        (
            lambda: VectorBeam(
                (4, 4, 4), LINES[:, [6, 7, 8, 3, 4, 5, 6, 7, 8, 9, 10, 11]], (4, 4), parallel=True
            ),
            ParameterError,
            "must have the direction of the rays outside the plane of the detector, got view 0",
        ),
        (
            lambda: cone().views([]),
            ParameterError,
            "ConeBeam.views index must select one view or more, got none of 5",
        ),
        (lambda: cone() @ np.ones((3, 3, 3)), ShapeError, r"must have shape \(..., 6, 8, 9\)"),
        (
            lambda: cone() @ np.ones((6, 8, 9), np.float16),
            ArrayError,
            "ConeBeam input must be float32 or float64, got float16. Convert it",
        ),
        (
            lambda: cone() @ torch.ones(6, 8, 9, device="meta"),
            KernelError,
            "ConeBeam input must be on the CPU or a CUDA device, got meta. Move it there",
        ),
        (
            lambda: cone() @ torch.ones(6, 8, 9, requires_grad=True),
            ArrayError,
            "must get data without gradients: its kernels record none",
        ),
    ],
)
def test_error_texts(make, error, text):
    with pytest.raises(error, match=text):
        make()


def test_circular_vectors_want_their_numbers():
    with pytest.raises(
        ParameterError,
        match=r"circular_vectors\.detector_spacing must be one number or \(dv, du\), got \(1, 2, 3\)",
    ):
        circular_vectors([0.0], detector_spacing=(1, 2, 3))
    with pytest.raises(
        ParameterError, match=r"circular_vectors\.detector_shift must be \(shift_v, shift_u\), got 3\.0"
    ):
        circular_vectors([0.0], detector_shift=3.0)


def test_degrees_are_noticed(caplog):
    with caplog.at_level(logging.WARNING, "recon"):
        ConeBeam((4, 4, 4), np.arange(0.0, 360.0), (4, 4), **SCAN)
    assert "were degrees meant?" in caplog.text


def test_announced_entries_exist():
    from recon_operators._hooks import recon_entries

    found = {entry.name: entry for entry in recon_entries() if entry.kind == "operator"}
    for name in ("cone-beam", "vector-beam"):
        module, _, target = found[name].target.partition(":")
        A = getattr(importlib.import_module(module), target).example()
        assert (A @ np.ones(A.domain.shape)).shape == A.codomain.shape
        assert found[name].cites


def test_bench_counts_the_same_updates():
    from recon_operators.tomography import cone_bench

    made = cone_bench.cases()
    assert len({case.name for case in made}) == len(made) == 5
    assert cone_bench.FLAT_SIZE**2 * cone_bench.FLAT_VIEWS == cone_bench.UPDATES == 128**3 * 90
    data = made[0].ours()
    assert (data.shape, data.dtype) == ((90, 128, 128), np.float32)
    assert made[0].peers["2-D fan forward"]().shape == (720, 512)
