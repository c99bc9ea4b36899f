"""Every CUDA kernel, through its host code, against plain array code: on the CPU shim; `-m gpu` on a device."""

import cuda_shim
import numpy as np
import pytest
from recon_operators import _pointwise
from recon_operators.sensing.fwht import fwht as plain_fwht
from recon_operators.tomography import _cone_reference, _joseph_reference
from recon_operators.tomography._cone_geometry import ConeGeometry
from recon_operators.tomography._rays import ray_table

LIMIT = {"float32": 2e-6, "float64": 1e-13, "complex64": 2e-6, "complex128": 1e-13}


@pytest.fixture(params=["shim", pytest.param("gpu", marks=pytest.mark.gpu)])
def cuda(request):
    """The host code of the kernels, for the CPU shim or for a device."""
    if request.param == "shim" and not cuda_shim.available:
        pytest.skip("needs g++")
    cupy = cuda_shim.FakeCupy() if request.param == "shim" else cuda_shim.real_cupy()
    if cupy is None:
        pytest.skip("needs CuPy and a CUDA device")
    made = cuda_shim.Cuda(cupy)
    yield made
    made.undo()


def draw(seed, shape, dtype):
    rng, kind = np.random.default_rng(seed), np.dtype(dtype)
    values = rng.standard_normal(shape)
    return (values + 1j * rng.standard_normal(shape) if kind.kind == "c" else values).astype(kind)


def close(ours, truth, dtype):
    assert ours.dtype == np.dtype(dtype)
    assert ours.shape == truth.shape
    assert np.abs(ours - truth).max() <= LIMIT[dtype] * np.abs(truth).max()


def check_pair(cuda, engine, reference, plan, shapes, dtype, batch):
    """Both products against the reference, adjoint to each other, the same bits each time."""
    x, y = (draw(k, (batch, *shape), dtype) for k, shape in enumerate(shapes))
    ax, aty = cuda.back(engine.apply(cuda.to(x))), cuda.back(engine.adjoint(cuda.to(y)))
    close(ax, reference.forward(plan, x), dtype)
    close(aty, reference.adjoint(plan, y), dtype)
    gap = abs(np.vdot(ax.astype(float), y) - np.vdot(x, aty.astype(float)))
    assert gap <= LIMIT[dtype] / 10 * np.linalg.norm(ax) * np.linalg.norm(y)
    assert np.array_equal(cuda.back(engine.adjoint(cuda.to(y))), aty)


# --- two dimensions --------------------------------------------------------------------------------------


def parallel(shape, views, bins, spacing=1.0, shift=0.0, first=0.0):
    angles = first + np.arange(views) * np.pi / views
    s = (np.arange(bins) - (bins - 1) / 2 + shift) * spacing
    normal = np.stack([np.cos(angles), np.sin(angles)], axis=-1)[:, None]
    along = np.stack([-np.sin(angles), np.cos(angles)], axis=-1)[:, None]
    points = s[:, None] * normal
    return ray_table(points, np.broadcast_to(along, points.shape), shape, 1.0)


def fan(shape, views, bins, source, fan_angle, curved=False, pixel=1.0):
    """Rays from a point at distance `source`, through bins on an arc or on a straight detector."""
    angles = 0.1 + np.arange(views) * 2 * np.pi / views
    if curved:
        gamma = np.linspace(-fan_angle / 2, fan_angle / 2, bins)
    else:
        gamma = np.arctan(np.linspace(-1, 1, bins) * np.tan(fan_angle / 2))
    turn = angles[:, None] + gamma
    points = source * np.stack([np.sin(angles), -np.cos(angles)], axis=-1)[:, None]
    directions = np.stack([-np.sin(turn), np.cos(turn)], axis=-1)
    return ray_table(np.broadcast_to(points, directions.shape), directions, shape, pixel)


def any_rays():
    points, directions = np.random.default_rng(5).normal(size=(2, 3, 50, 2))
    return ray_table(10 * points, directions, (23, 29), 1.0)


TABLES = {
    "parallel": parallel((20, 31), 9, 40),
    "coarse bins": parallel((33, 18), 5, 13, 3.3),
    "fine bins, off centre": parallel((16, 17), 8, 70, 0.25, 3.3, first=0.2),
    "45 degrees": parallel((15, 15), 2, 24, first=np.pi / 4),
    "one row": parallel((1, 5), 6, 9),
    "one column": parallel((7, 1), 6, 9),
    "one pixel, one bin": parallel((1, 1), 3, 1),
    "fan": fan((20, 31), 9, 50, 60.0, 0.6, pixel=0.7),
    "wide fan": fan((31, 20), 7, 45, 19.0, 2.4),
    "curved fan": fan((21, 22), 8, 33, 25.0, 1.2, curved=True),
    "curved fan, many bins": fan((9, 10), 3, 700, 12.0, 1.5, curved=True),
    "thin image, source on its row": fan((1, 40), 4, 33, 20.1, 2.0),
    "any rays": any_rays(),
}


@pytest.mark.parametrize("batch", [1, 5])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", TABLES)
def test_joseph(cuda, name, dtype, batch):
    table = TABLES[name]
    engine = cuda.load("tomography._joseph_cupy").CupyJoseph(table, dtype)
    check_pair(
        cuda, engine, _joseph_reference, table, (table.image_shape, (table.views, table.bins)), dtype, batch
    )


def test_joseph_entry_by_entry(cuda):
    table = TABLES["wide fan"]
    engine = cuda.load("tomography._joseph_cupy").CupyJoseph(table, "float64")
    n, m = np.prod(table.image_shape), table.rays
    forward = cuda.back(engine.apply(cuda.to(np.eye(n).reshape(n, *table.image_shape)))).reshape(n, m)
    back = cuda.back(engine.adjoint(cuda.to(np.eye(m).reshape(m, table.views, table.bins)))).reshape(m, n)
    assert np.abs(forward.T - back).max() <= 1e-14 * forward.max()


def test_joseph_of_no_image_and_of_strided_ones(cuda):
    table = TABLES["fan"]
    engine = cuda.load("tomography._joseph_cupy").CupyJoseph(table, "float64")
    assert engine.apply(cuda.to(np.zeros((0, *table.image_shape)))).shape == (0, 9, 50)
    assert engine.adjoint(cuda.to(np.zeros((0, 9, 50)))).shape == (0, *table.image_shape)
    x = draw(0, (31, 20, 3), "float64")
    close(cuda.back(engine.apply(cuda.to(x).T)), _joseph_reference.forward(table, x.T), "float64")


@pytest.mark.parametrize(
    ("name", "per_view"), [("parallel", 1), ("fan", 2), ("wide fan", 3), ("curved fan", 2), ("any rays", 49)]
)
def test_segments_are_few_and_in_order(cuda, name, per_view):
    """Positions rise or fall along each line inside a segment, and the segments cover the table once."""
    table = TABLES[name]
    made = 0
    for lines in table.lines:
        found = cuda.load("tomography._joseph_cupy").segments(lines, table.bins)
        made += len(found)
        assert np.array_equal(
            np.concatenate([np.arange(a, b) for a, b, _ in found]), np.arange(lines.rays.size)
        )
        for start, stop, shift in found:
            assert np.array_equal(lines.rays[start:stop], shift + np.arange(start, stop))
            q = lines.q0[start:stop] + np.arange(lines.count)[:, None] * lines.dq[start:stop]
            gaps = np.diff(q, axis=1)
            assert ((gaps >= -1e-8).all(axis=1) | (gaps <= 1e-8).all(axis=1)).all()
    assert made <= per_view * table.views


# --- three dimensions ------------------------------------------------------------------------------------


def cone(views, source, detector, spacing, tilt=0.0, pitch=0.0, shift=(0.0, 0.0), first=0.1):
    """Vectors of a circular or helical scan whose detector is turned in its plane by `tilt`."""
    rows = []
    for angle in first + np.arange(views) * 2 * np.pi / views:
        across, ahead = (
            np.array([np.cos(angle), np.sin(angle), 0]),
            np.array([-np.sin(angle), np.cos(angle), 0]),
        )
        up = np.array([0.0, 0.0, 1.0])
        u = spacing[0] * (np.cos(tilt) * across + np.sin(tilt) * up)
        v = spacing[1] * (np.cos(tilt) * up - np.sin(tilt) * across)
        height = pitch * angle * up
        middle = height + detector * ahead + shift[0] * u + shift[1] * v
        rows.append(np.concatenate([height - source * ahead, middle, u, v]))
    return np.array(rows)


def parallel_3d(climb=0.0, **options):
    vectors = cone(7, 30.0, 12.0, (1.1, 1.3), **options)
    vectors[:, :3] = vectors[:, 3:6] - vectors[:, :3] + [0, 0, climb]
    return vectors


TIES = [(1, 1, 0.5), (1, -1, 1), (0.5, 1, 1), (1, 0.5, -1)]
"""Directions of which two or three components are equal: r drives before c, c before k."""

ANY = np.random.default_rng(3).normal(size=(5, 12)) * np.repeat([20, 10, 1, 1], 3)
CONES = {
    "circle": ConeGeometry(cone(7, 30.0, 12.0, (1.1, 1.3)), False, (9, 11, 13), (14, 17), 1.0),
    "tilted helix, off centre": ConeGeometry(
        cone(7, 30.0, 12.0, (0.6, 1.3), 0.3, 1.0, (3, -2)), False, (17, 10, 7), (14, 33), 0.5
    ),
    "45 degrees": ConeGeometry(cone(8, 30.0, 12.0, (1.0, 1.0), first=0.0), False, (9, 11, 13), (15, 17), 1.0),
    "driven by slices in part": ConeGeometry(cone(7, 9.0, 6.0, (2.0, 3.0)), False, (19, 8, 9), (21, 14), 1.0),
    "source inside": ConeGeometry(cone(7, 3.0, 6.0, (1.0, 1.0)), False, (9, 8, 9), (11, 14), 1.0),
    "one voxel": ConeGeometry(cone(7, 30.0, 12.0, (1.1, 1.3)), False, (1, 1, 1), (3, 3), 1.0),
    "any views": ConeGeometry(ANY, False, (7, 8, 9), (10, 12), 1.0),
    "parallel": ConeGeometry(parallel_3d(tilt=0.2), True, (9, 11, 13), (14, 17), 2.0),
    "laminography": ConeGeometry(parallel_3d(climb=60.0), True, (9, 11, 13), (24, 27), 1.0),
    "ties": ConeGeometry(
        np.array([[*d, 0, 0, 0, *np.cross(d, (0.3, 0.1, 0.7)), *np.cross(d, (0.2, 0.6, 0.3))] for d in TIES]),
        True,
        (7, 8, 9),
        (10, 12),
        1.0,
    ),
    "any parallel views": ConeGeometry(ANY, True, (7, 8, 9), (10, 12), 1.0),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", CONES)
def test_cone(cuda, name, dtype):
    geometry = CONES[name]
    engine = cuda.load("tomography._cone_cupy").CupyCone(geometry, dtype)
    shapes = geometry.volume_shape, (geometry.views, *geometry.detector_shape)
    check_pair(cuda, engine, _cone_reference, geometry, shapes, dtype, 2)


@pytest.mark.parametrize("name", CONES)
def test_kinds_of_views(cuda, name):
    """Slices drive no ray of a view that is not steep, and the common scans take the fast way."""
    geometry, host = CONES[name], cuda.load("tomography._cone_cupy")
    kinds = host.kinds(host.view_numbers(geometry), geometry)
    directions = [np.abs(geometry.rays(view)[1]).reshape(-1, 3) for view in range(geometry.views)]
    driven = np.array([(d[:, 0] > d[:, 1:].max(axis=1)).any() for d in directions])
    assert (kinds[driven] == host.STEEP).all()
    expected = {"circle": host.UPRIGHT, "45 degrees": host.UPRIGHT, "parallel": 0, "laminography": host.STEEP}
    if name in expected:
        assert (kinds == expected[name]).all()


@pytest.mark.parametrize("name", CONES)
def test_cameras_send_a_point_of_a_ray_to_its_bin(cuda, name):
    geometry, host = CONES[name], cuda.load("tomography._cone_cupy")
    cameras = host.cameras(host.view_numbers(geometry), geometry).reshape(-1, 3, 4)
    n, m = np.indices(geometry.detector_shape)
    for view, camera in enumerate(cameras):
        points, directions = geometry.rays(view)
        seen = np.concatenate([points + 0.7 * directions, np.ones((*n.shape, 1))], axis=-1) @ camera.T
        np.testing.assert_allclose(seen[..., 0] / seen[..., 2], m, atol=1e-9)
        np.testing.assert_allclose(seen[..., 1] / seen[..., 2], n, atol=1e-9)


# --- pointwise steps and the Walsh-Hadamard transform ----------------------------------------------------


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
@pytest.mark.parametrize("shape", [(7, 9), (300,), (1,), (2, 3, 5)])
@pytest.mark.parametrize("batch", [(), (3, 2), (300,), (0,)])
def test_expand_and_combine(cuda, batch, shape, dtype):
    host = cuda.load("_pointwise_cupy")
    x, m = draw(1, (*batch, *shape), dtype), draw(2, (4, *shape), dtype)
    axis = -len(shape) - 1
    z = np.expand_dims(x, axis) * m
    ours = cuda.back(host.expand(cuda.to(x), cuda.to(m)))
    assert ours.shape == z.shape
    assert np.allclose(ours, z, rtol=0, atol=20 * LIMIT[dtype])
    ours, truth = cuda.back(host.combine(cuda.to(z), cuda.to(m))), (z * m).sum(axis=axis)
    assert ours.shape == truth.shape
    assert ours.dtype == np.dtype(dtype)
    assert np.allclose(ours, truth, rtol=0, atol=50 * LIMIT[dtype])


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
@pytest.mark.parametrize(("batch", "seen"), [((), ()), ((3, 2), (3, 2)), ((3, 2), (2,)), ((5,), ())])
def test_proximal(cuda, batch, seen, dtype):
    host, shape = cuda.load("_pointwise_cupy"), (7, 9)
    v, y, h = draw(1, (*batch, *shape), dtype), draw(2, (*seen, *shape), dtype), draw(3, shape, dtype)
    s = (np.abs(h) ** 2).astype(h.real.dtype)
    place = cuda.to(v.copy())
    ours = host.proximal(place, cuda.to(y), cuda.to(h), cuda.to(s), 0.3)
    close(cuda.back(ours), ((0.3 * v + h * y) / (s + 0.3)).astype(dtype), dtype)
    assert np.array_equal(cuda.back(ours), cuda.back(place))  # written in place


def test_pointwise_steps_take_any_order_of_memory(cuda):
    """CuPy keeps the order of the NumPy array that it copies: coil maps may have come with the coils last."""
    host, shape = cuda.load("_pointwise_cupy"), (7, 9)
    x, m = draw(1, (2, *shape), "complex128"), draw(2, (4, *shape), "complex128")
    v, y, h = draw(3, shape, "complex128"), draw(4, shape, "complex128"), draw(5, shape, "complex128")
    z, s = x[:, None] * m, np.abs(h)
    x_, m_, z_, v_, y_, h_, s_ = (cuda.to(np.asfortranarray(one)) for one in (x, m, z, v, y, h, s))
    close(cuda.back(host.expand(x_, m_)), z, "complex128")
    close(cuda.back(host.combine(z_, m_)), (z * m).sum(axis=1), "complex128")
    close(cuda.back(host.proximal(v_, y_, h_, s_, 0.3)), (0.3 * v + h * y) / (s + 0.3), "complex128")


def test_arrays_of_a_device_take_the_fused_kernels(cuda, monkeypatch):
    """The same functions, plain and fused."""
    x, m, h = (
        draw(1, (2, 7, 9), "complex128"),
        draw(2, (4, 7, 9), "complex128"),
        draw(3, (7, 9), "complex128"),
    )
    z, s = draw(4, (2, 4, 7, 9), "complex128"), np.abs(h)
    cases = {"expand": (x, m), "combine": (z, m), "proximal": (x, x + 1, h, s, 0.3)}
    plain = {name: getattr(_pointwise, name)(*map(np.copy, given)) for name, given in cases.items()}
    if isinstance(cuda.cupy, cuda_shim.FakeCupy):
        monkeypatch.setattr(_pointwise.compat, "is_cupy_array", lambda x: True)
        monkeypatch.setattr(_pointwise, "namespace", None)  # the plain way would fail
    for name, given in cases.items():
        ours = getattr(_pointwise, name)(*(cuda.to(one.copy()) if np.ndim(one) else one for one in given))
        close(cuda.back(ours), plain[name], "complex128")


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128"])
@pytest.mark.parametrize(
    "shape",
    [(1,), (3, 2), (5, 16), (3, 64), (2, 3, 2048), (3, 4096), (3, 8192), (2**15,), (1, 2**17), (0, 8)],
)
def test_fwht(cuda, shape, dtype):
    """Bit for bit the plain formula."""
    x = draw(4, shape, dtype)
    given = cuda.to(x)
    ours = cuda.back(cuda.load("sensing._fwht_cupy").fwht(given))
    assert ours.dtype == x.dtype
    assert np.array_equal(ours, plain_fwht(x))
    assert np.array_equal(cuda.back(given), x)


@pytest.mark.parametrize("dtype", ["float32", "complex128"])
def test_fwht_of_a_strided_array(cuda, dtype):
    x = draw(5, (32, 3), dtype)
    assert np.array_equal(cuda.back(cuda.load("sensing._fwht_cupy").fwht(cuda.to(x).T)), plain_fwht(x.T))
