"""Benchmarks on a CUDA device: ``recon bench gpu``. Data are on the device; nothing is copied to or from the host.

    share of the floor = time to move the bytes that must move, at the device's own copying speed / time taken
    GUPS               = 10^9 updates per second; an update is one pixel (voxel) and view, for FWHT one entry and stage

``figures()`` times with CUDA events and gives both; ``cases()`` serves the command, whose peer is a copy of as many
bytes, so that its ratio is the share of the floor. Where there is no device, one sentence says so.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from recon.bench import Case
from recon_operators._pointwise import combine
from recon_operators.sensing.fwht import fwht
from recon_operators.tomography._cone_geometry import ConeGeometry
from recon_operators.tomography.angles import sparse_view
from recon_operators.tomography.fan import FanBeam
from recon_operators.tomography.parallel import ParallelBeam

__all__ = ["Figure", "cases", "figures"]

logger = logging.getLogger("recon")


@dataclass(frozen=True)
class Figure:
    """What one operation took on the device: median of some runs.

    Parameters
    ----------
    name
        Operation and size.
    milliseconds
        By CUDA events.
    gups
        10^9 updates per second.
    share
        Share of the memory floor, 1 at best.
    """

    name: str
    milliseconds: float
    gups: float
    share: float


@dataclass(frozen=True)
class _Work:
    """An operation on arrays of the device, how many updates it does, and the bytes that it must move."""

    name: str
    run: Callable[[], Any]
    updates: float
    moved: int


def cases(size: int = 512, batch: int = 8, voxels: int = 256) -> list[Case]:
    """The cases; none, and a sentence in the log, where there is no device.

    Parameters
    ----------
    size
        Side of the images, which go in batches of `batch`.
    batch
        Number of images.
    voxels
        Side of the volumes.
    """
    cupy = _device()
    if cupy is None:
        return []

    def waiting(run: Callable[[], Any]) -> Callable[[], None]:
        def run_and_wait() -> None:
            run()
            cupy.cuda.get_current_stream().synchronize()

        return run_and_wait

    return [
        Case(
            work.name,
            waiting(work.run),
            {f"copy of {work.moved / 1e6:.4g} MB": waiting(_copy(cupy, work.moved))},
            f"{work.updates / 1e9:.4g} billion updates; the copy is the floor of memory",
        )
        for work in _works(cupy, size, batch, voxels)
    ]


def figures(size: int = 512, batch: int = 8, voxels: int = 256, runs: int = 20) -> list[Figure]:
    """Times by CUDA events, updates per second, and shares of the memory floor; none where there is no device."""
    cupy = _device()
    if cupy is None:
        return []
    found = []
    for work in _works(cupy, size, batch, voxels):
        own, floor = _milliseconds(cupy, work.run, runs), _milliseconds(cupy, _copy(cupy, work.moved), runs)
        found.append(Figure(work.name, own, work.updates / own / 1e6, floor / own))
    return found


def _device() -> Any:
    """CuPy, if it is installed and sees a device."""
    try:
        import cupy

        cupy.zeros(1)
    except Exception as error:  # CuPy, driver and device each have their own way of being absent
        logger.warning(
            "The gpu benchmark needs CuPy and a CUDA device, and found none (%s): nothing is timed.",
            type(error).__name__,
        )
        return None
    return cupy


def _works(cupy: Any, size: int, batch: int, voxels: int) -> list[_Work]:
    return [*_beams(cupy, size, batch), *_cone(cupy, voxels), *_transforms(cupy, size, batch)]


def _beams(cupy: Any, size: int, batch: int) -> list[_Work]:
    views = size * 3 // 4
    fan: dict[str, Any] = {
        "source_origin": 2.0 * size,
        "origin_detector": 2.0 * size,
        "detector_spacing": 2.0,
    }
    beams = {
        "parallel": ParallelBeam((size, size), sparse_view(views), size),
        "fan": FanBeam((size, size), sparse_view(views, arc=2 * math.pi), size, **fan),
    }
    found = []
    for name, beam in beams.items():
        image, data = (
            cupy.ones((batch, *spec.shape), dtype=cupy.float32) for spec in (beam.domain, beam.codomain)
        )
        text = f"{batch} x {size}^2 x {views} float32"
        updates, moved = float(image.size * views), image.nbytes + data.nbytes
        found.append(_Work(f"{name} forward {text}", lambda A=beam, x=image: A @ x, updates, moved))
        found.append(_Work(f"{name} adjoint {text}", lambda A=beam, y=data: A.H @ y, updates, moved))
    return found


def _cone(cupy: Any, n: int) -> list[_Work]:
    from recon_operators.tomography._cone_cupy import CupyCone

    angles, zero = sparse_view(n, arc=2 * math.pi), np.zeros(n)
    cos, sin = np.cos(angles), np.sin(angles)
    source = np.stack([3 * n * sin, -3 * n * cos, zero], axis=1)
    u, v = np.stack([2 * cos, 2 * sin, zero], axis=1), np.tile([0.0, 0.0, 2.0], (n, 1))
    vectors = np.concatenate([source, -source, u, v], axis=1)
    engine = CupyCone(ConeGeometry(vectors, False, (n, n, n), (n, n), 1.0), np.float32)
    volume, data = cupy.ones((1, n, n, n), dtype=cupy.float32), cupy.ones((1, n, n, n), dtype=cupy.float32)
    moved, text = volume.nbytes + data.nbytes, f"{n}^3 x {n} float32"
    return [
        _Work(f"cone forward {text}", lambda: engine.apply(volume), float(n) ** 4, moved),
        _Work(f"cone adjoint {text}", lambda: engine.adjoint(data), float(n) ** 4, moved),
    ]


def _transforms(cupy: Any, size: int, batch: int) -> list[_Work]:
    rows = cupy.ones((batch, size * size), dtype=cupy.float32)
    coils = cupy.ones((batch, 8, size, size), dtype=cupy.complex64)
    stages = math.log2(rows.shape[-1]) if size & (size - 1) == 0 else 0.0
    works = [
        _Work(
            f"coil combination {batch} x 8 x {size}^2 complex64",
            lambda: combine(coils, coils[0]),
            float(coils.size),
            coils.nbytes + coils[0].nbytes + coils[:, 0].nbytes,
        )
    ]
    if stages:
        text = f"FWHT {batch} x 2^{stages:.0f} float32"
        works.append(_Work(text, lambda: fwht(rows), rows.size * stages, 2 * rows.nbytes))
    return works


def _copy(cupy: Any, moved: int) -> Callable[[], Any]:
    """Read half of so many bytes and write the other half."""
    source = cupy.zeros(max(moved // 2, 1), dtype=cupy.uint8)
    target = cupy.empty_like(source)
    return lambda: cupy.copyto(target, source)


def _milliseconds(cupy: Any, run: Callable[[], Any], runs: int) -> float:
    run()  # compiles
    times = []
    for _ in range(runs):
        start, stop = cupy.cuda.Event(), cupy.cuda.Event()
        start.record()
        run()
        stop.record()
        stop.synchronize()
        times.append(cupy.cuda.get_elapsed_time(start, stop))
    return float(np.median(times))
