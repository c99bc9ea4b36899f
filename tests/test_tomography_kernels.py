"""The kernels of tomography: equal to the reference, the same for any number of threads, never in the way."""

import os
import subprocess
import sys

import array_api_strict
import numba
import numpy as np
import pytest
import torch
from recon_operators import _compile_numba
from recon_operators.tomography import FanBeam, ParallelBeam, sparse_view
from recon_operators.tomography import _joseph_reference as reference
from recon_operators.tomography._joseph_numba import NumbaJoseph
from recon_operators.tomography._joseph_sparse import SparseJoseph, joseph_matrix
from recon_operators.tomography._rays import ray_table
from test_tomography import SCANS

from recon.errors import KernelError


def table_of(A):
    return ray_table(*A._rays(), A.image_shape, A.pixel_size)


def random_rays():
    rng = np.random.default_rng(5)
    points, directions = rng.normal(size=(2, 3, 50, 2))
    return ray_table(10 * points, directions, (23, 29), 1.0)


FINE = {  # several rays to a pixel: groups take every s-th ray
    "fine parallel": ParallelBeam((31, 40), sparse_view(7), 301, detector_spacing=0.17, detector_shift=3.3),
    "fine fan": FanBeam(
        (40, 31), 2 * sparse_view(5), 260, source_origin=90.0, origin_detector=45.0, detector_spacing=0.3
    ),
}
TABLES = {**{name: table_of(A) for name, A in (SCANS | FINE).items()}, "any rays": random_rays()}


@pytest.mark.parametrize("engine", [NumbaJoseph, SparseJoseph])
@pytest.mark.parametrize(("dtype", "limit"), [(np.float32, 2e-6), (np.float64, 1e-13)])
@pytest.mark.parametrize("name", TABLES)
def test_engines_equal_the_reference(name, dtype, limit, engine):
    table, rng = TABLES[name], np.random.default_rng(2)
    x = rng.standard_normal((2, *table.image_shape)).astype(dtype)
    y = rng.standard_normal((2, table.views, table.bins)).astype(dtype)
    made = engine(table, dtype)
    for ours, truth in [
        (made.apply(x), reference.forward(table, x)),
        (made.adjoint(y), reference.adjoint(table, y)),
    ]:
        assert ours.dtype == dtype
        assert np.abs(ours - truth).max() <= limit * np.abs(truth).max()


def test_reference_equals_the_formula_ray_by_ray():
    """The reference itself, against two loops and the two-pixel form of the interpolation."""
    A = SCANS["fan"]
    x = np.random.default_rng(3).standard_normal(A.domain.shape)
    expected = np.zeros(A.codomain.shape)
    points, directions = A._rays()
    n_y, n_x = A.image_shape
    for k, m in np.ndindex(*A.codomain.shape):
        (s_x, s_y), (d_x, d_y) = points[k, m], directions[k, m]
        steep = abs(d_y) >= abs(d_x)
        f = x if steep else x.T
        for line in range(n_y if steep else n_x):
            if steep:
                q = s_x + ((n_y - 1) / 2 - line - s_y) * d_x / d_y + (n_x - 1) / 2
            else:
                q = (n_y - 1) / 2 - (s_y + (line - (n_x - 1) / 2 - s_x) * d_y / d_x)
            i = int(np.floor(q))
            length = np.hypot(d_x, d_y) / abs(d_y if steep else d_x)
            for pixel, weight in ((i, 1 - (q - i)), (i + 1, q - i)):
                if 0 <= pixel < f.shape[1]:
                    expected[k, m] += length * weight * f[line, pixel]
    np.testing.assert_allclose(reference.forward(table_of(A), x), expected, atol=1e-12)


@pytest.mark.parametrize("xp", [array_api_strict, torch])
def test_reference_runs_on_other_libraries(xp):
    table = TABLES["fan"]
    x = np.random.default_rng(4).standard_normal(table.image_shape)
    ours = np.asarray(reference.forward(table, xp.asarray(x)))
    np.testing.assert_allclose(ours, reference.forward(table, x), rtol=1e-12, atol=1e-12)
    back = np.asarray(reference.adjoint(table, xp.asarray(ours)))
    np.testing.assert_allclose(back, reference.adjoint(table, ours), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["parallel", "fan"])
def test_threads_give_the_same_bits(name, dtype):
    if numba.config.NUMBA_NUM_THREADS < 2:
        pytest.skip("numba is limited to one thread here")
    shape, angles = (250, 270), sparse_view(40, arc=2 * np.pi)
    A = ParallelBeam(shape, angles, 380)
    if name == "fan":
        A = FanBeam(shape, angles, 380, source_origin=400.0, origin_detector=100.0, detector_spacing=1.25)
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


def test_one_thread_starts_no_pool():
    code = (
        "import numpy as np, threading\n"
        "from recon_operators.tomography import ParallelBeam\n"
        "import numba.np.ufunc.parallel as pool\n"
        "A = ParallelBeam.example(); A.H @ (A @ np.ones(A.domain.shape))\n"
        "assert not pool._is_initialized, 'pool started'\n"
    )
    environment = {"NUMBA_NUM_THREADS": "1", "PYTHONPATH": ":".join(p for p in sys.path if p)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_kernels_work_where_no_cache_can_be_written():
    """A read-only installation and a read-only home: compiled anew, no error."""
    code = (
        "import numba.core.caching as caching\n"
        "for name in ('CacheImpl', '_CacheImpl'):\n"
        "    setattr(getattr(caching, name, caching), '_locator_classes', [])\n"
        "import numpy as np\n"
        "from recon_operators.tomography import ParallelBeam\n"
        "A = ParallelBeam.example(); assert (A @ np.ones(A.domain.shape)).max() > 15\n"
    )
    environment = {"NUMBA_NUM_THREADS": "1", "PYTHONPATH": ":".join(p for p in sys.path if p)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_without_numba_a_matrix_projects(monkeypatch):
    A = ParallelBeam((40, 30), sparse_view(12), 50)
    x = np.random.default_rng(7).standard_normal((3, *A.domain.shape))
    expected, back = A @ x, A.H @ (A @ x)
    monkeypatch.setitem(sys.modules, "recon_operators.tomography._joseph_numba", None)
    B = A.views(slice(None))
    np.testing.assert_allclose(B @ x, expected, rtol=0, atol=1e-12 * np.abs(expected).max())
    np.testing.assert_allclose(B.H @ expected, back, rtol=0, atol=1e-12 * np.abs(back).max())
    plan = B.plan(__import__("array_api_compat.numpy").numpy, "cpu", np.dtype(np.float64))
    assert isinstance(plan._engine, SparseJoseph)


def test_matrix_refuses_too_much_memory():
    with pytest.raises(KernelError, match=r"must be at most 0 MiB, got up to 1 MiB. Install numba"):
        joseph_matrix(table_of(ParallelBeam((40, 40), sparse_view(20), 60)), limit=1000)


def test_one_and_two_threads_in_fresh_processes_give_the_same_bits():
    """Whatever the process of the tests is limited to; the parallel drivers must have run in the second one."""
    code = (
        "import hashlib, os, numpy as np\n"
        "from recon_operators.tomography import FanBeam, ParallelBeam, fbp, sparse_view\n"
        "rng, a, shape = np.random.default_rng(0), 2 * sparse_view(40), (250, 270)\n"
        "fan = {'source_origin': 400.0, 'origin_detector': 100.0, 'detector_spacing': 1.25}\n"
        "seen = hashlib.sha256()\n"
        "fans = [FanBeam(shape, a, 380, **fan, detector=d) for d in ('flat', 'curved')]\n"
        "for A in (ParallelBeam(shape, a, 380), *fans):\n"
        "    x, y = rng.random(A.domain.shape, np.float32), rng.random(A.codomain.shape, np.float32)\n"
        "    for result in (A @ x, A.H @ y, fbp(A, y)): seen.update(result.tobytes())\n"
        "from recon_operators._compile_numba import _pool\n"
        "print(_pool._owner is not None, seen.hexdigest())\n"
    )
    said = []
    for threads in ("1", "2"):
        environment = {"NUMBA_NUM_THREADS": threads, "PYTHONPATH": ":".join(p for p in sys.path if p)}
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        said.append(done.stdout.split())
    assert [pool for pool, _ in said] == ["False", "True"]
    assert said[0][1] == said[1][1]


def test_python_threads_and_forked_children_get_the_same_result():
    """Neither may enter numba's pool a second time; they are served by the serial driver."""
    code = (
        "import os, threading, warnings, numpy as np\n"
        "from recon_operators.tomography import ParallelBeam, sparse_view\n"
        "warnings.simplefilter('ignore', DeprecationWarning)  # of fork beside threads, which is the point\n"
        "A = ParallelBeam((300, 300), sparse_view(60), 400)\n"
        "x = np.random.default_rng(0).standard_normal(A.domain.shape)\n"
        "y = A @ x; back = A.H @ y; results = []\n"
        "from recon_operators._compile_numba import _pool\n"
        "assert _pool._owner == os.getpid(), 'the pool was not used'\n"
        "def work():\n"
        "    for _ in range(5): results.append((A @ x, A.H @ y))\n"
        "threads = [threading.Thread(target=work) for _ in range(4)]\n"
        "[t.start() for t in threads]; [t.join() for t in threads]\n"
        "assert len(results) == 20\n"
        "assert all(np.array_equal(a, y) and np.array_equal(b, back) for a, b in results)\n"
        "child = os.fork()\n"
        "if child == 0: os._exit(0 if np.array_equal(A @ x, y) else 1)\n"
        "assert os.waitpid(child, 0)[1] == 0\n"
    )
    environment = {"NUMBA_NUM_THREADS": "2", "PYTHONPATH": ":".join(p for p in sys.path if p)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
