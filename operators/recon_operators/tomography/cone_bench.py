"""Benchmarks of the 3-D beams: ``recon bench cone-beam``.

128^3 voxels, 90 views of 128^2 bins, float32: 189 million voxel-and-view updates. ASTRA projects cones on GPUs only,
so the peer is our own 2-D fan on the same number of updates (512^2 pixels, 720 views): a ratio of 1/3 or more means
that an update in 3-D costs at most three times one in 2-D. Set NUMBA_NUM_THREADS=1 for ratios per core.
"""

from __future__ import annotations

import math

import numpy as np

from recon.bench import Case
from recon_operators.tomography.angles import sparse_view
from recon_operators.tomography.cone import ConeBeam
from recon_operators.tomography.fan import FanBeam
from recon_operators.tomography.fbp import fbp
from recon_operators.tomography.fdk import fdk

__all__ = ["UPDATES", "cases"]

SIZE, VIEWS = 128, 90
FLAT_SIZE, FLAT_VIEWS = 512, 720
UPDATES = SIZE**3 * VIEWS


def cases() -> list[Case]:
    """Forward, adjoint and FDK of a cone, forward and adjoint of one whose axis is tilted by 5 degrees."""
    rng = np.random.default_rng(0)
    scan = {"source_origin": 2.0 * SIZE, "origin_detector": float(SIZE), "detector_spacing": 1.5}
    angles = sparse_view(VIEWS, arc=2 * math.pi)
    cone = ConeBeam((SIZE,) * 3, angles, (SIZE, SIZE), **scan)
    tilted = ConeBeam((SIZE,) * 3, angles, (SIZE, SIZE), tilt=math.radians(5), **scan)
    fan = FanBeam(
        (FLAT_SIZE, FLAT_SIZE),
        sparse_view(FLAT_VIEWS, arc=2 * math.pi),
        FLAT_SIZE,
        source_origin=2.0 * FLAT_SIZE,
        origin_detector=float(FLAT_SIZE),
        detector_spacing=1.5,
    )
    volume = rng.random(cone.domain.shape, dtype=np.float32)
    data = rng.random(cone.codomain.shape, dtype=np.float32)
    image = rng.random(fan.domain.shape, dtype=np.float32)
    sinogram = rng.random(fan.codomain.shape, dtype=np.float32)
    size = f"{SIZE}^3 x {VIEWS} float32"
    note = f"peer: {FLAT_SIZE}^2 x {FLAT_VIEWS}, as many updates"
    return [
        Case(f"cone forward {size}", lambda: cone @ volume, {"2-D fan forward": lambda: fan @ image}, note),
        Case(
            f"cone adjoint {size}", lambda: cone.H @ data, {"2-D fan adjoint": lambda: fan.H @ sinogram}, note
        ),
        Case(f"FDK {size}", lambda: fdk(cone, data), {"2-D fan FBP": lambda: fbp(fan, sinogram)}, note),
        Case(
            f"tilted forward {size}", lambda: tilted @ volume, {"2-D fan forward": lambda: fan @ image}, note
        ),
        Case(
            f"tilted adjoint {size}",
            lambda: tilted.H @ data,
            {"2-D fan adjoint": lambda: fan.H @ sinogram},
            note,
        ),
    ]
