"""What this machine is: processor, usable cores, GPUs, versions; none of the libraries is imported."""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from importlib import metadata

__all__ = ["PACKAGES", "THREAD_VARIABLES", "cores", "cpu", "gpus", "versions"]

PACKAGES = (
    "recon-inverse",
    "numpy",
    "scipy",
    "numba",
    "PyWavelets",
    "array-api-compat",
    "pluggy",
    "matplotlib",
    "cupy",
    "torch",
    "diffusers",
    "finufft",
    "dask",
    "zarr",
    "h5py",
    "tifffile",
    "astra-toolbox",
    "scikit-image",
    "pylops",
    "pyproximal",
)
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NUMBA_NUM_THREADS",
)


def cpu() -> str:
    """The processor's model, as far as the system tells."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:
            for line in lines:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine() or "unknown"


def cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def versions() -> dict[str, str | None]:
    """Version of each package that recon can work with, None where it is not installed."""
    found: dict[str, str | None] = {}
    for package in PACKAGES:
        found[package] = _version(package)
    if found["cupy"] is None:  # the wheels of CuPy carry the CUDA version in their name
        found["cupy"] = next(
            filter(None, map(_version, ("cupy-cuda12x", "cupy-cuda13x", "cupy-cuda11x"))), None
        )
    return found


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def gpus() -> list[str]:
    """Names of the CUDA devices that the driver shows; empty where there is no driver."""
    library = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    try:
        driver = ctypes.CDLL(library)
    except OSError:
        return []
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return []
    names = []
    for index in range(count.value):
        device, name = ctypes.c_int(0), ctypes.create_string_buffer(256)
        if driver.cuDeviceGet(ctypes.byref(device), index) == 0:
            driver.cuDeviceGetName(name, len(name), device)
            names.append(name.value.decode("utf-8", "replace"))
    return names
