"""What surrounds the CUDA kernels: compilers, launches, torch tensors lent without a copy, operators on a device."""

import importlib.util
import logging
import shutil
import subprocess
import sys
import types
import zipfile
from pathlib import Path

import cuda_shim
import numpy as np
import pytest
import recon_operators
import torch
from recon_operators import _cuda, gpu_bench
from recon_operators._hooks import recon_entries
from recon_operators.sensing import fwht
from recon_operators.tomography import ConeBeam, FanBeam, ParallelBeam

import recon
from recon.arrays import as_numpy
from recon.errors import KernelError, MissingExtraError
from recon.testing import check_operator

ROOT = Path(recon_operators.__file__).parent
FILES = sorted(ROOT.rglob("*.cu"))
needs_gpp = pytest.mark.skipif(not cuda_shim.available, reason="needs g++")


@pytest.fixture
def cuda():
    """The host code of the kernels, for the CPU shim."""
    made = cuda_shim.Cuda(cuda_shim.FakeCupy())
    yield made
    made.undo()


@pytest.fixture
def device():
    """CuPy, where there is a device."""
    cupy = cuda_shim.real_cupy()
    if cupy is None:
        pytest.skip("needs CuPy and a CUDA device")
    made = cuda_shim.Cuda(cupy)
    yield cupy
    made.undo()


# --- the texts -------------------------------------------------------------------------------------------


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="needs nvcc")
@pytest.mark.parametrize("architectures", [("float32", "75", "80", "90"), ("float64", "90")], ids="-".join)
@pytest.mark.parametrize("file", FILES, ids=lambda f: f.stem)
def test_nvcc_compiles_without_a_warning(file, architectures, tmp_path):
    dtype, *numbers = architectures
    unit = tmp_path / "unit.cu"
    unit.write_text(_cuda.source(file))
    command = ["nvcc", "-fatbin", "-Werror", "all-warnings", *_cuda.options(dtype, IMAGES=4)]
    command += [f"-gencode=arch=compute_{number},code=sm_{number}" for number in numbers]
    done = subprocess.run(
        [*command, str(unit), "-o", str(tmp_path / "unit.fatbin")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "unit.fatbin").stat().st_size > 1000


def test_every_text_has_a_host_and_launches_its_kernels():
    assert {file.stem for file in FILES} == {"_joseph", "_cone", "_pointwise", "_fwht"}
    for file in FILES:
        host = file.with_name(f"{file.stem}_cupy.py").read_text()
        names = cuda_shim.KERNEL.findall(_cuda.source(file))
        assert names
        for name in names:
            assert f'"{name}"' in host


def test_included_files_become_part_of_the_text(tmp_path):
    (tmp_path / "a.cuh").write_text("int a;")
    (tmp_path / "b.cu").write_text('#include "a.cuh"\nint b;')
    assert _cuda.source(tmp_path / "b.cu") == "int a;\nint b;"


@pytest.mark.parametrize(
    ("dtype", "real"),
    [(np.float32, "float"), ("complex64", "float"), (np.float64, "double"), ("complex128", "double")],
)
def test_options(dtype, real):
    expected = ("-std=c++17", f"-DREAL={real}", f"-DREAL2={real}2", "-DIMAGES=4")
    assert _cuda.options(dtype, IMAGES=4) == expected


@pytest.mark.slow
def test_the_wheel_carries_the_texts(tmp_path):
    if importlib.util.find_spec("hatchling") is None:
        pytest.skip("needs hatchling")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT.parents[1], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    inside = set(zipfile.ZipFile(wheel).namelist())
    texts = [*FILES, *ROOT.rglob("*.cuh")]
    assert {f"recon_operators/{file.relative_to(ROOT).as_posix()}" for file in texts} <= inside


# --- launches --------------------------------------------------------------------------------------------

TURN = """
extern "C" __global__ void turn(const REAL *x, REAL *y, int n, double scale, long long shift)
{
    __shared__ REAL tile[64];
    const int i = threadIdx.x;
    tile[i] = i < n ? x[i] : REAL(0);
    __syncthreads();
    if (i < n)
        y[i] = REAL(scale) * tile[n - 1 - i] + REAL(shift);
}
"""


@pytest.fixture
def turn(cuda, tmp_path):
    if not cuda_shim.available:
        pytest.skip("needs g++")
    (tmp_path / "turn.cu").write_text(TURN)
    return _cuda.Kernels(tmp_path / "turn.cu", np.float32)


def test_a_barrier_is_one_on_the_shim_too(turn):
    x, y = np.arange(50, dtype=np.float32), np.zeros(50, np.float32)
    turn.launch("turn", (50,), (64,), x, y, 50, 2.0, np.int64(3))
    assert np.array_equal(y, 2 * x[::-1] + 3)
    y[:] = -1
    turn.launch("turn", (0,), (64,), x, y, 50, 2.0, np.int64(3))  # no thread, no launch
    assert (y == -1).all()


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({0: np.zeros(50)}, "argument 0 is array"),
        ({1: np.zeros(100, np.float32)[::2]}, "AssertionError"),
        ({2: 50.0}, "argument 2 is np.float64"),
        ({3: 2}, "argument 3 is np.int32"),
        ({4: 3}, "argument 4 is np.int32"),
        ({2: 2**31}, "2147483648 does not fit an int of 32 bits"),
    ],
    ids=str,
)
def test_wrong_arguments_are_refused(turn, change, text):
    given = [np.zeros(50, np.float32), np.zeros(50, np.float32), 50, 2.0, np.int64(3)]
    for place, value in change.items():
        given[place] = value
    with pytest.raises(KernelError, match=f"Kernel turn of turn.cu must compile and start, got .*{text}"):
        turn.launch("turn", (50,), (64,), *given)


def test_too_many_blocks_are_refused(turn):
    given = [np.zeros(50, np.float32), np.zeros(50, np.float32), 50, 2.0, np.int64(3)]
    with pytest.raises(
        KernelError,
        match=r"turn of turn.cu must have at most 65535 blocks .* got \(1, 65536\). Give smaller batches",
    ):
        turn.launch("turn", (50, 65536), (64, 1), *given)


def test_a_text_that_does_not_compile(cuda, tmp_path):
    if not cuda_shim.available:
        pytest.skip("needs g++")
    (tmp_path / "bad.cu").write_text('extern "C" __global__ void bad(int n) { m = n; }')
    with pytest.raises(
        KernelError, match=r"bad of bad.cu must compile .* CompileError.* Check that CuPy fits"
    ):
        _cuda.Kernels(tmp_path / "bad.cu", np.float32).launch("bad", (1,), (1,), 1)


# --- arrays of other libraries ---------------------------------------------------------------------------


def test_torch_tensors_are_lent(cuda, monkeypatch):
    """No copy there nor back, on the device and stream of the tensor."""
    given = torch.arange(6.0)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: types.SimpleNamespace(cuda_stream=77))
    seen = []

    def product(x):
        seen.append(x.ctypes.data)
        seen.append(np.multiply(x, 2.0))
        return seen[1]

    result = _cuda.through(product, given)
    assert isinstance(result, torch.Tensor)
    assert seen[0] == given.data_ptr()
    assert seen[1].ctypes.data == result.data_ptr()
    assert torch.equal(result, 2 * given)
    assert cuda.cupy.entered == [("device", given.device.index), ("stream", 77)]


def test_without_cupy(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(
        MissingExtraError, match=r"must have CuPy, got none. Install it: pip install 'recon-inv"
    ):
        _cuda.through(lambda x: x, torch.ones(1))


@pytest.mark.parametrize(
    ("device", "answer"),
    [("cpu", False), ("cuda:1", True), ("<CUDA Device 0>", True), ("meta", False), ("mps", False)],
)
def test_on_cuda(device, answer):
    assert _cuda.on_cuda(device) is answer


@needs_gpp
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("A", [ParallelBeam.example(), FanBeam.example(), ConeBeam.example()], ids=str)
def test_projectors_plan_for_a_device(cuda, monkeypatch, A, dtype):
    """The whole way from `plan` to the kernel, with torch tensors and batch axes; the same as on the CPU."""
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: types.SimpleNamespace(cuda_stream=0))
    waited = []
    monkeypatch.setattr(
        cuda.cupy.cuda,
        "get_current_stream",
        lambda: types.SimpleNamespace(synchronize=lambda: waited.append(True)),
    )
    plan = A.plan(torch, "cuda:0", getattr(torch, dtype))
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 3, *A.domain.shape)).astype(dtype)
    y = A @ x
    for ours, truth in [(plan.apply(torch.asarray(x)), y), (plan.adjoint(torch.asarray(y)), A.H @ y)]:
        assert ours.dtype == getattr(torch, dtype)
        assert tuple(ours.shape) == truth.shape
        assert (
            np.abs(ours.numpy() - truth).max()
            <= (1e-5 if dtype == "float32" else 1e-12) * np.abs(truth).max()
        )
    assert waited == [True]  # once, when the tables are there


# --- a device --------------------------------------------------------------------------------------------

OPERATORS = [entry.name for entry in recon_entries() if entry.kind == "operator"]


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("library", ["cupy", "torch"])
@pytest.mark.parametrize("name", OPERATORS)
def test_operators_on_a_device(device, name, library, dtype):
    """The contract; an operator may say that it has no kernel there."""
    like = device.zeros(1, dtype=dtype)
    if library == "torch":
        if not torch.cuda.is_available():
            pytest.skip("needs torch with CUDA")
        like = torch.zeros(1, dtype=getattr(torch, dtype), device="cuda")
    try:
        check_operator(recon.get("operator", name).example(), like=like)
    except (KernelError, MissingExtraError) as error:
        pytest.skip(str(error))


CONE = {"source_origin": 200.0, "origin_detector": 100.0, "detector_spacing": 1.5}
FAN = {"source_origin": 400.0, "origin_detector": 200.0, "detector_spacing": 1.5}


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["parallel", "fan", "cone"])
def test_device_equals_cpu_at_full_size(device, name):
    if name == "cone":
        n, views = 65, 60
        A = ConeBeam((n, n, n), np.arange(views) * 2 * np.pi / views, (n, n), **CONE)
    elif name == "fan":
        A = FanBeam((255, 256), np.arange(181) * 2 * np.pi / 181, 301, **FAN)
    else:
        A = ParallelBeam((255, 256), np.arange(181) * np.pi / 181, 301)
    x = np.random.default_rng(2).standard_normal(A.domain.shape).astype(np.float32)
    y = A @ x
    for ours, truth in [(A @ device.asarray(x), y), (A.H @ device.asarray(y), A.H @ y)]:
        assert np.linalg.norm(as_numpy(ours) - truth) <= 1e-5 * np.linalg.norm(truth)


@pytest.mark.gpu
def test_fwht_on_a_device(device):
    x = np.random.default_rng(3).standard_normal((3, 2**14)).astype(np.float32)
    assert np.array_equal(as_numpy(fwht(device.asarray(x))), fwht(x))


# --- the benchmark ---------------------------------------------------------------------------------------


def test_benchmark_without_a_device_says_so(monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "cupy", None)
    with caplog.at_level(logging.WARNING, logger="recon"):
        assert gpu_bench.cases() == []
        assert gpu_bench.figures() == []
    assert (
        "needs CuPy and a CUDA device, and found none (ModuleNotFoundError): nothing is timed" in caplog.text
    )


@needs_gpp
def test_benchmark_runs_every_case(cuda):
    for case in gpu_bench.cases(size=16, batch=2, voxels=8):
        case.ours()
        for peer in case.peers.values():
            peer()
        assert "billion updates" in case.note
    found = gpu_bench.figures(size=16, batch=2, voxels=8, runs=2)
    assert [figure.name.split(" ")[0] for figure in found] == ["parallel"] * 2 + ["fan"] * 2 + [
        "cone"
    ] * 2 + [
        "coil",
        "FWHT",
    ]
    assert all(figure.milliseconds > 0 and figure.gups > 0 and figure.share > 0 for figure in found)
