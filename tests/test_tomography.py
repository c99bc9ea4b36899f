"""The two beams: exact adjoints, norm bounds, libraries, batches, subsets of views, registry, error texts."""

import importlib.util
import pickle
import subprocess
import sys

import array_api_strict
import numpy as np
import pytest
import torch
from recon_operators.tomography import (
    FanBeam,
    ParallelBeam,
    golden_angle,
    limited_angle,
    sparse_view,
)

from recon.errors import ArrayError, KernelError, ParameterError, ShapeError
from recon.testing import check_operator

SCANS = {
    "parallel": ParallelBeam((20, 31), sparse_view(9), 40),
    "parallel, coarse bins": ParallelBeam((33, 18), sparse_view(5), 13, detector_spacing=3.3),
    "parallel, very coarse bins": ParallelBeam((40, 37), sparse_view(5), 5, detector_spacing=11.0),
    "parallel, fine bins, off centre": ParallelBeam(
        (16, 17), golden_angle(8), 70, detector_spacing=0.25, detector_shift=3.3, pixel_size=0.7
    ),
    "parallel, one row": ParallelBeam((1, 5), sparse_view(6), 9),
    "parallel, exactly 45 degrees": ParallelBeam((15, 15), np.deg2rad([45, 135, 225, 315]), 24),
    "fan": FanBeam(
        (20, 31),
        sparse_view(9, arc=2 * np.pi),
        50,
        source_origin=60.0,
        origin_detector=40.0,
        detector_spacing=1.1,
    ),
    "fan, wide, off centre, mm": FanBeam(
        (31, 20),
        sparse_view(7, arc=2 * np.pi),
        45,
        source_origin=9.5,
        origin_detector=0.0,
        detector_spacing=0.9,
        detector_shift=-5.5,
        pixel_size=0.5,
    ),
    "curved fan": FanBeam(
        (20, 31),
        sparse_view(9, arc=2 * np.pi),
        50,
        source_origin=60.0,
        origin_detector=40.0,
        detector_spacing=1.1,
        detector="curved",
    ),
    "curved fan, very wide, off centre": FanBeam(
        (31, 20),
        sparse_view(7, arc=2 * np.pi),
        27,
        source_origin=20.0,
        origin_detector=0.0,
        detector_spacing=1.9,
        detector_shift=-1.5,
        detector="curved",
    ),
}
CURVED = FanBeam(
    (16, 15),
    sparse_view(12, arc=2 * np.pi),
    24,
    source_origin=32.0,
    origin_detector=16.0,
    detector_spacing=1.5,
    detector="curved",
)
BEAMS = {"parallel": ParallelBeam.example(), "flat": FanBeam.example(), "curved": CURVED}
each_beam = pytest.mark.parametrize("A", BEAMS.values(), ids=BEAMS)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", SCANS)
def test_adjoint(name, dtype):
    A, rng = SCANS[name], np.random.default_rng(1)
    for _ in range(3):
        x = rng.standard_normal((2, *A.domain.shape)).astype(dtype)
        y = rng.standard_normal((2, *A.codomain.shape)).astype(dtype)
        ax, aty = A @ x, A.H @ y
        assert ax.dtype == aty.dtype == dtype
        gap = abs(np.vdot(ax.astype(float), y) - np.vdot(x, aty.astype(float)))
        limit = 1e-12 if dtype == np.float64 else 1e-6
        assert gap <= limit * np.linalg.norm(ax) * np.linalg.norm(y)


@pytest.mark.parametrize("name", SCANS)
def test_dense_adjoint_is_the_transpose(name):
    A = SCANS[name]
    (m, n) = A.shape
    forward = (A @ np.eye(n).reshape(n, *A.domain.shape)).reshape(n, m).T
    back = (A.H @ np.eye(m).reshape(m, *A.codomain.shape)).reshape(m, n)
    assert forward.max() > 0
    assert np.abs(forward - back).max() <= 1e-12 * forward.max()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("xp", [array_api_strict, torch])
@each_beam
def test_libraries(A, xp, dtype):
    x = np.random.default_rng(8).standard_normal((2, *A.domain.shape)).astype(dtype)
    y = A @ xp.asarray(x)
    assert type(y) is type(xp.asarray(x))
    assert y.dtype == getattr(xp, dtype)
    assert np.array_equal(np.asarray(y), A @ x)
    assert np.array_equal(np.asarray(A.H @ y), A.H @ (A @ x))


def test_strided_and_read_only_input():
    A = ParallelBeam((12, 20), sparse_view(5), 24)
    x = np.random.default_rng(9).standard_normal((20, 12, 4)).T  # no axis is contiguous
    assert np.array_equal(A @ x, A @ np.ascontiguousarray(x))
    fixed = np.ascontiguousarray(x)
    fixed.setflags(write=False)
    before = fixed.copy()
    assert np.array_equal(A @ fixed, A @ x)
    assert np.array_equal(fixed, before)


def test_batches_are_projected_one_by_one():
    A = FanBeam.example()
    x = np.random.default_rng(10).standard_normal((2, 3, *A.domain.shape))
    y = A @ x
    assert y.shape == (2, 3, *A.codomain.shape)
    assert np.array_equal(y[1, 2], A @ x[1, 2])
    assert np.array_equal((A.H @ y)[0, 1], A.H @ y[0, 1])
    assert (A @ x[:0]).shape == (0, 3, *A.codomain.shape)


@pytest.mark.parametrize("index", [slice(2, None, 3), [5, 1], np.arange(12) > 8, 7])
@each_beam
def test_views(A, index):
    x = np.random.default_rng(11).standard_normal(A.domain.shape)
    few = A.views(index)
    assert type(few) is type(A)
    rows = (A @ x)[index]
    np.testing.assert_allclose(few @ x, rows.reshape(few.codomain.shape), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", SCANS)
def test_norm_bound_is_schurs(name):
    A = SCANS[name]
    (m, n) = A.shape
    dense = (A @ np.eye(n).reshape(n, *A.domain.shape)).reshape(n, m).T
    schur = np.sqrt(dense.sum(axis=0).max() * dense.sum(axis=1).max())
    gram = dense @ dense.T if m < n else dense.T @ dense
    assert np.sqrt(np.linalg.eigvalsh(gram)[-1]) <= A.norm_bound()
    assert A.norm_bound() == pytest.approx(schur, rel=1e-8)


@pytest.mark.parametrize("like", [np.ones(1), np.ones(1, np.float32), torch.ones(1, dtype=torch.float64)])
@each_beam
def test_absolute_sums(A, like):
    """Never below the true sums, and above them by rounding only."""
    (m, n) = A.shape
    matrix = (A @ np.eye(n).reshape(n, *A.domain.shape)).reshape(n, m).T
    for offered, axis in zip(A.absolute_sums(like), (1, 0), strict=True):
        assert type(offered) is type(like)
        assert offered.dtype == like.dtype
        ratio = np.asarray(offered, dtype=float).ravel() + 1e-30
        ratio = ratio / (matrix.sum(axis=axis) + 1e-30)
        assert ratio.min() >= 1
        assert ratio.max() <= 1 + 1e-4


@pytest.mark.parametrize(
    "like", [None, array_api_strict.ones(1), torch.ones(1, dtype=torch.float64)], ids=str
)
@each_beam
def test_contract(A, like):
    check_operator(A, like=like)


def test_pickle_leaves_the_plan_behind():
    A = FanBeam.example()
    x = np.ones(A.domain.shape)
    y = A @ x
    B = pickle.loads(pickle.dumps(A))
    assert not B.__dict__.get("_plans")
    assert np.array_equal(B @ x, y)
    with pytest.raises(ValueError, match="read-only"):
        B.angles[0] = 1.0


def test_fields_are_resolved_and_private():
    angles = sparse_view(10)
    A = ParallelBeam((30, 40), angles, pixel_size=0.5)
    angles[:] = 0
    assert A.angles[3] == pytest.approx(0.3 * np.pi)
    assert (A.n_detectors, A.detector_spacing) == (50, 0.5)
    assert repr(A) == "<ParallelBeam: (30, 40) real -> (10, 50) real>"


def test_angle_helpers():
    np.testing.assert_allclose(sparse_view(4), np.deg2rad([0, 45, 90, 135]))
    np.testing.assert_allclose(limited_angle(1.0, 2.0, 4), [1, 1.25, 1.5, 1.75])
    np.testing.assert_allclose(np.rad2deg(golden_angle(3)), [0, 111.246118, 42.492236], atol=1e-6)
    with pytest.raises(ParameterError, match=r"K must be an integer >= 1, got 2\.5"):
        sparse_view(2.5)


FAN = {"source_origin": 90.0, "origin_detector": 50.0, "detector_spacing": 1.0}


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (
            lambda: ParallelBeam((0, 8), [0.0]),
            ParameterError,
            r"ParallelBeam.image_shape\[0\] must be > 0, got 0",
        ),
        (
            lambda: ParallelBeam((8, 8), []),
            ParameterError,
            "ParallelBeam.angles must be one axis of finite numbers",
        ),
        (
            lambda: ParallelBeam((8, 8), [[0.0]]),
            ParameterError,
            r"in radians, got shape \(1, 1\). Give a sequence",
        ),
        (
            lambda: ParallelBeam((8, 8), [0, np.nan]),
            ParameterError,
            "must be one axis of finite numbers in radians",
        ),
        (
            lambda: ParallelBeam((8, 8), "all"),
            ParameterError,
            "must be numbers in radians, got str. Give a sequence",
        ),
        (
            lambda: ParallelBeam((8, 8), [0.0], 0),
            ParameterError,
            "ParallelBeam.n_detectors must be > 0, got 0",
        ),
        (
            lambda: ParallelBeam((8, 8), [0.0], pixel_size=-1),
            ParameterError,
            "pixel_size must be > 0, got -1",
        ),
        (
            lambda: FanBeam((8, 8), [0.0], 9, **{**FAN, "source_origin": 5}),
            ParameterError,
            "half the diagonal",
        ),
        (
            lambda: FanBeam((8, 8), [0.0], 9, **{**FAN, "origin_detector": -5}),
            ParameterError,
            "must be >= 0, got -5",
        ),
        (
            lambda: FanBeam((8, 8), [0.0], 9, **FAN, detector="round"),
            ParameterError,
            "FanBeam.detector must be one of",
        ),
        (
            lambda: FanBeam((8, 8), [0.0], 440, **FAN, detector="curved"),
            ParameterError,
            r"FanBeam.n_detectors / 2 \+ \|detector_shift\| must be < 219.911 for this curved detector \(90 degrees a "
            r"side\), got 220. Check that detector_spacing is an arc length",
        ),
        (
            lambda: FanBeam((8, 8), [0.0], 8, **FAN, detector="curved", detector_shift=-300.0),
            ParameterError,
            "must be < 219.911 for this curved detector .*, got 304",
        ),
        (
            lambda: ParallelBeam.example().views([]),
            ParameterError,
            "must select one view or more, got none of 12",
        ),
        (
            lambda: ParallelBeam.example().views(12),
            ParameterError,
            "ParallelBeam.views index must select rows of 12 views, got 12: index 12 is out of bounds .* Give a slice",
        ),
        (
            lambda: ParallelBeam.example().views(np.ones(11, bool)),
            ParameterError,
            "index must select rows of 12 views, got .*: boolean",
        ),
        (
            lambda: ParallelBeam((8, 8), [1j]),
            ParameterError,
            "ParallelBeam.angles must be numbers in radians, got list. Give",
        ),
        (lambda: ParallelBeam.example() @ np.ones((3, 3)), ShapeError, r"must have shape \(..., 16, 16\)"),
        (
            lambda: ParallelBeam.example() @ np.ones((16, 16), np.float16),
            ArrayError,
            "float32 or float64, got float16",
        ),
        (
            lambda: FanBeam.example() @ torch.ones(16, 16, device="meta"),
            KernelError,
            "FanBeam input must be on the CPU or a CUDA device, got meta. Move it there",
        ),
    ],
)
def test_error_texts(make, error, text):
    with pytest.raises(error, match=text):
        make()


@pytest.mark.parametrize(
    ("angles", "noticed"),
    [
        (np.arange(180.0), True),
        (np.arange(0.0, 120.0), True),
        (np.linspace(0, 360, 721), True),
        (np.linspace(-180, 180, 64, endpoint=False), True),
        (2.4 * np.arange(720), False),  # golden angles that go on and on
        ((3 - np.sqrt(5)) * np.pi * np.arange(80), False),
        (golden_angle(720), False),
        (np.linspace(0, 2 * np.pi, 180), False),
        (np.linspace(0, 8 * np.pi, 500), False),
    ],
    ids=str,
)
def test_degrees_are_noticed(angles, noticed, caplog):
    ParallelBeam((8, 8), angles)
    assert ("were degrees meant?" in caplog.text) is noticed


def test_announced_entries_exist():
    from recon_operators._hooks import recon_entries

    found = {entry.name: entry for entry in recon_entries() if "tomography" in entry.target}
    assert set(found) >= {"parallel-beam", "fan-beam", "fourier-slice-beam", "tomography"}
    for entry in found.values():
        assert entry.cites
        module, _, name = entry.target.partition(":")
        target = getattr(importlib.import_module(module), name)
        if entry.kind == "operator" and all(map(importlib.util.find_spec, entry.needs)):
            A = target.example()
            assert (A @ np.ones(A.domain.shape)).shape == A.codomain.shape


def test_hooks_import_nothing_heavy():
    code = (
        "import sys, recon_operators._hooks\n"
        "heavy = {'numba', 'scipy', 'torch', 'recon_operators.tomography'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    environment = {"PYTHONPATH": ":".join(p for p in sys.path if p)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_bench_compares_like_with_like():
    from recon_operators.tomography.bench import cases

    made = cases()
    assert len({case.name for case in made}) == len(made) >= 6
    for case in made:
        ours = case.ours()
        assert ours.dtype == np.float32
        for name, peer in case.peers.items():
            if name.endswith(" linear"):  # the same model as ours
                other = peer()
                assert np.linalg.norm(ours - other) <= 2e-3 * np.linalg.norm(other)


def test_gradients_are_not_dropped_silently():
    A = ParallelBeam.example()
    with pytest.raises(ArrayError, match="must get data without gradients: its kernels record none"):
        A @ torch.ones(A.domain.shape, requires_grad=True)
