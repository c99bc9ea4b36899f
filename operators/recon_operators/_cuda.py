"""CUDA kernels through CuPy: the `.cu` file beside an operator, compiled when one of its kernels is first launched.

    kernels = Kernels(HERE / "_joseph.cu", dtype)          REAL in the text is float or double, REAL2 a pair
    kernels.launch("forward", threads, block, *arguments)  a thread for each place, in blocks
    through(product, x)                                    product of CuPy arrays, on CuPy arrays and torch tensors

Arguments are of few kinds: an array is a pointer, an int an int, a float a double, a numpy.int64 a long long. CuPy
compiles once per device and keeps the binary on disk; it is imported when there is an array on a device, not before.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import array_api_compat as compat
import numpy as np

from recon.errors import KernelError, MissingExtraError

__all__ = ["Kernels", "on_cuda", "options", "source", "through"]

INCLUDE = '#include "'

_MOST = 65535
"""Blocks along the second and third axis of a grid, on every device."""


class Kernels:
    """The kernels of one file in one precision.

    Parameters
    ----------
    file
        The `.cu` text.
    dtype
        float32 or float64, or a complex type of that precision.
    **constants
        What else the text leaves open: ``IMAGES=4``.
    """

    def __init__(self, file: Path, dtype: Any, **constants: int) -> None:
        import cupy

        self._name, self._found = file.name, dict[str, Any]()
        self._module = cupy.RawModule(code=source(file), options=options(dtype, **constants))

    def launch(self, name: str, threads: tuple[int, ...], block: tuple[int, ...], *arguments: Any) -> None:
        """Start a kernel on at least `threads` threads per axis, in blocks of `block`; none where one is 0.

        Raises
        ------
        KernelError
            When there are too many blocks, the text does not compile, or the device refuses the launch.
        """
        if not all(threads):
            return
        grid = tuple(-(-one // size) for one, size in zip(threads, block, strict=True))
        if any(size > _MOST for size in grid[1:]):
            raise KernelError(
                f"Kernel {name} of {self._name} must have at most {_MOST} blocks along its last axes, got {grid}. "
                "Give smaller batches, or fewer views, at once."
            )
        try:
            if name not in self._found:
                self._found[name] = self._module.get_function(name)
            self._found[name](grid, block, tuple(map(_argument, arguments)))
        except Exception as error:
            text = str(error).strip().split("\n")[0]
            raise KernelError(
                f"Kernel {name} of {self._name} must compile and start, got {type(error).__name__}: {text}. "
                "Check that CuPy fits the CUDA driver (cupy.show_config())."
            ) from error


def source(file: Path) -> str:
    """The text of a `.cu` file, with the files beside it that it includes put in their place.

    CuPy keeps binaries by the text it is given; a file that only the compiler saw would change unnoticed.
    """
    lines = [
        source(file.with_name(line.removeprefix(INCLUDE).rstrip('"'))) if line.startswith(INCLUDE) else line
        for line in file.read_text(encoding="utf-8").splitlines()
    ]
    return "\n".join(lines)


def options(dtype: Any, **constants: int) -> tuple[str, ...]:
    """What the compiler is told: the standard of C++, the precision, the constants."""
    real = {"float32": "float", "complex64": "float"}.get(str(np.dtype(dtype)), "double")
    given = {"REAL": real, "REAL2": f"{real}2", **constants}
    return ("-std=c++17", *(f"-D{name}={value}" for name, value in given.items()))


def _argument(value: Any) -> Any:
    """An argument as the kernel declares it: a plain int would travel as 64 bits."""
    if isinstance(value, int):
        if not -(2**31) <= value < 2**31:
            raise OverflowError(f"{value} does not fit an int of 32 bits")
        return np.int32(value)
    return np.float64(value) if isinstance(value, float) else value


def on_cuda(device: Any) -> bool:
    """Whether a device, of CuPy or torch, is one of CUDA."""
    return "cuda" in str(device).lower()


def through(product: Callable[[Any], Any], x: Any) -> Any:
    """A product of CuPy arrays, applied to an array on a CUDA device of whichever library, without a copy.

    A torch tensor is lent by DLPack, and CuPy works on torch's own stream: nothing has to wait, and no memory is
    given back too early.

    Raises
    ------
    MissingExtraError
        When CuPy is not installed.
    """
    try:
        import cupy
    except ImportError:
        raise MissingExtraError(
            "Kernels on a CUDA device must have CuPy, got none. Install it: pip install 'recon-inverse[cuda]', or "
            "the wheel for your CUDA version, for example pip install cupy-cuda13x."
        ) from None
    if compat.is_cupy_array(x):
        with x.device:
            return product(x)
    import torch

    stream = torch.cuda.current_stream(x.device).cuda_stream
    with cupy.cuda.Device(x.device.index), cupy.cuda.ExternalStream(stream):
        return torch.from_dlpack(product(cupy.from_dlpack(x)))
