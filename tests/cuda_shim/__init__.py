"""A CuPy for machines without a GPU: arrays are NumPy's, kernels are compiled by g++ and run on the CPU.

`FakeCupy()` in the place of the module `cupy` runs the host code of the `_cupy.py` files as it is. It is stricter than
the real one: each argument of a kernel must have the very type that the kernel declares, and arrays must be contiguous.

`Cuda` is what tests get: the host code, for CuPy or for its stand-in.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
import types
from functools import cache
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
KERNEL = re.compile(r'extern "C" __global__ void(?:\s+__launch_bounds__\([^)]*\))?\s+(\w+)\s*\(')
LETTERS = {  # of `shim.h`: an array that is written, one that is only read
    "float32": "Ff",
    "float64": "Dc",
    "int32": "-n",
    "complex64": "Zz",
    "complex128": "Ww",
}
available = shutil.which("g++") is not None


class CompileError(Exception):
    """What the compiler said."""


@cache
def build(code: str, options: tuple[str, ...]) -> ctypes.CDLL:
    """The library of a `.cu` text: launch_NAME and signature_NAME for each of its kernels."""
    barriers = str("__syncthreads" in code).lower()
    for name in KERNEL.findall(code):
        code += (
            f'\nextern "C" void launch_{name}(const unsigned *grid, const unsigned *block, void **given)'
            f"\n{{ shim::launch<{name}>(grid, block, given, {barriers}); }}"
            f'\nextern "C" const char *signature_{name}() {{ return shim::signature({name}); }}\n'
        )
    defines = [option for option in options if option.startswith("-D")]
    flags = [
        "-Wall",
        "-Wextra",
        "-Werror",
        "-Wno-unknown-pragmas",
        "-Wno-unused-function",
        "-ffp-contract=off",
    ]
    with tempfile.TemporaryDirectory(prefix="cuda_shim_") as folder:
        unit, library = Path(folder) / "unit.cpp", Path(folder) / "unit.so"
        unit.write_text(f'#include "shim.h"\n{code}')
        command = ["g++", "-O1", "-std=c++20", "-shared", "-fPIC", f"-I{HERE}", *flags, *defines]
        done = subprocess.run([*command, str(unit), "-o", str(library)], capture_output=True, text=True)
        if done.returncode:
            raise CompileError(done.stderr)
        return ctypes.CDLL(str(library))


class Kernel:
    """One kernel, called as CuPy's: kernel(grid, block, arguments)."""

    def __init__(self, library: ctypes.CDLL, name: str) -> None:
        self._launch = getattr(library, f"launch_{name}")
        signature = getattr(library, f"signature_{name}")
        signature.restype = ctypes.c_char_p
        self.name, self.signature = name, signature().decode()

    def __call__(self, grid, block, arguments) -> None:
        assert 1 <= len(grid) <= 3
        assert 1 <= len(block) <= 3
        grid, block = ((*size, 1, 1)[:3] for size in (grid, block))
        assert np.prod(block) <= 1024
        assert max(grid[1:]) <= 65535  # limits of the device
        assert len(arguments) == len(self.signature), f"{self.name}: {len(arguments)} arguments"
        for k, (value, letter) in enumerate(zip(arguments, self.signature, strict=True)):
            assert letter in _letters(value), f"{self.name}: argument {k} is {value!r:.80}, declared {letter}"
        numbers = [np.asarray(value) for value in arguments]
        boxes = [ctypes.c_void_p(value.ctypes.data) for value in numbers]
        pointers = [
            ctypes.cast(ctypes.pointer(box), ctypes.c_void_p) if value.ndim else box
            for value, box in zip(numbers, boxes, strict=True)
        ]
        self._launch(
            (ctypes.c_uint * 3)(*grid),
            (ctypes.c_uint * 3)(*block),
            (ctypes.c_void_p * len(pointers))(*pointers),
        )


def _letters(value) -> str:
    """The declarations that fit an argument."""
    if isinstance(value, np.int32):
        return "i"
    if isinstance(value, np.int64):
        return "l"
    if isinstance(value, np.float64):
        return "d"
    assert isinstance(value, np.ndarray), f"{type(value)} is no argument"
    assert value.flags.c_contiguous
    return LETTERS[str(value.dtype)]


class RawModule:
    """Kernels of a text, compiled when the first is asked for."""

    def __init__(self, *, code: str, options: tuple[str, ...] = ()) -> None:
        self.code, self.options = code, options

    def get_function(self, name: str) -> Kernel:
        return Kernel(build(self.code, self.options), name)


class Event:
    """A moment."""

    def record(self) -> None:
        self.time = time.perf_counter()

    def synchronize(self) -> None:
        pass


class FakeCupy(types.ModuleType):
    """The module: NumPy, with RawModule, and with contexts that only write down in `entered` what they were given."""

    def __init__(self) -> None:
        super().__init__("cupy")
        self.RawModule = RawModule
        self.ndarray = type("ndarray", (), {})  # so that nobody takes NumPy's arrays for CuPy's
        self.entered = []
        self.cuda = types.SimpleNamespace(
            Device=self._context("device"),
            ExternalStream=self._context("stream"),
            Event=Event,
            get_current_stream=lambda: types.SimpleNamespace(synchronize=lambda: None),
            get_elapsed_time=lambda start, stop: 1e3 * (stop.time - start.time),
        )

    def _context(self, kind: str):
        @contextlib.contextmanager
        def entered(number):
            self.entered.append((kind, number))
            yield

        return entered

    def __getattr__(self, name: str):
        return getattr(np, name)


class Cuda:
    """Host code for one `cupy`, real or fake, imported anew so that it does not keep the other; `undo` forgets it."""

    def __init__(self, cupy: types.ModuleType) -> None:
        self.cupy, self._before = cupy, sys.modules.get("cupy")
        self._forget()
        sys.modules["cupy"] = cupy

    def load(self, name: str) -> types.ModuleType:
        """A module of recon_operators."""
        return importlib.import_module(f"recon_operators.{name}")

    def to(self, x):
        """A NumPy array on the device."""
        return self.cupy.asarray(x)

    def back(self, x):
        """An array of the device in NumPy."""
        return x if isinstance(x, np.ndarray) else x.get()

    def undo(self) -> None:
        self._forget()
        sys.modules.pop("cupy", None)
        if self._before is not None:
            sys.modules["cupy"] = self._before

    def _forget(self) -> None:
        for name in [
            name for name in sys.modules if name.startswith("recon_operators.") and name.endswith("_cupy")
        ]:
            package, _, module = name.rpartition(".")
            del sys.modules[name]
            vars(sys.modules[package]).pop(module, None)


def real_cupy() -> types.ModuleType | None:
    """CuPy, where it is installed and sees a device."""
    try:
        import cupy

        return cupy if cupy.cuda.runtime.getDeviceCount() else None
    except Exception:  # no CuPy, no driver, no device: each raises its own kind
        return None
