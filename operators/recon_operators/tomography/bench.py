"""Benchmarks of projection and back projection: ``recon bench tomography``.

512 x 512 pixels, 180 views, 512 bins, float32. Peers are ASTRA's CPU projectors and scikit-image, where
installed; both use one thread. The last two cases set ways of our own against each other. Set
NUMBA_NUM_THREADS=1 for ratios per core; how much a second thread brings, in wall time and on an idle machine,
is printed by tools/threads.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any, Literal

import numpy as np

from recon.bench import Case
from recon_operators.tomography.angles import sparse_view
from recon_operators.tomography.fan import FanBeam
from recon_operators.tomography.fbp import fbp
from recon_operators.tomography.fourier_slice import FourierSliceBeam
from recon_operators.tomography.parallel import ParallelBeam

__all__ = ["cases"]

SIZE, VIEWS = 512, 180

Peers = dict[str, Callable[[], Any]]


def cases() -> list[Case]:
    """The cases, set up and compiled: forward and adjoint of both beams, and filtered back projection."""
    rng = np.random.default_rng(0)
    image = rng.random((SIZE, SIZE), dtype=np.float32)
    sinogram = rng.random((VIEWS, SIZE), dtype=np.float32)
    parallel = ParallelBeam((SIZE, SIZE), sparse_view(VIEWS), SIZE)
    fan = _fan("flat")
    astra_parallel = _astra("linear", parallel, image, sinogram)
    astra_fan = _astra("line_fanflat", fan, image, sinogram)
    curved, slices = _fan("curved"), FourierSliceBeam((SIZE, SIZE), sparse_view(VIEWS), SIZE)
    skimage = _skimage(image, sinogram)
    size = f"{SIZE}^2 x {VIEWS} float32"
    skimage_note = "scikit-image: other interpolation and rotation centre; its pair is not adjoint"
    siddon = "ASTRA: Siddon's model"
    made = [
        _case(
            f"parallel forward {size}", lambda: parallel @ image, astra_parallel[0] | skimage[0], skimage_note
        ),
        _case(
            f"parallel adjoint {size}",
            lambda: parallel.H @ sinogram,
            astra_parallel[1] | skimage[1],
            skimage_note,
        ),
        _case(f"fan forward {size}", lambda: fan @ image, astra_fan[0], siddon),
        _case(f"fan adjoint {size}", lambda: fan.H @ sinogram, astra_fan[1], siddon),
        _case(
            f"parallel FBP {size}",
            lambda: fbp(parallel, sinogram),
            _astra_fbp(parallel, sinogram) | skimage[2],
            "linear interpolation in all",
        ),
        _case(
            f"fan FBP {size}",
            lambda: fbp(fan, sinogram),
            {"our curved detector": lambda: fbp(curved, sinogram)},
            "no peer on the CPU",
        ),
    ]
    if find_spec("finufft"):
        name, note = f"Fourier slice, forward and adjoint {size}", "other models of a pixel"
        joseph = {"our Joseph": lambda: parallel.H @ (parallel @ image)}
        made.append(_case(name, lambda: slices.H @ (slices @ image), joseph, note))
    return made


def _fan(detector: Literal["flat", "curved"]) -> FanBeam:
    return FanBeam(
        (SIZE, SIZE),
        sparse_view(VIEWS, arc=2 * math.pi),
        SIZE,
        source_origin=2.0 * SIZE,
        origin_detector=2.0 * SIZE,
        detector_spacing=2.0,
        detector=detector,
    )


def _case(name: str, ours: Callable[[], Any], peers: Peers, note: str) -> Case:
    ours()  # compiles
    return Case(name, ours, peers, note)


def _astra(model: str, beam: ParallelBeam | FanBeam, image: Any, sinogram: Any) -> tuple[Peers, Peers]:
    """Forward and adjoint of ASTRA's CPU projector for the same geometry, or nothing where it is missing."""
    try:
        import astra
    except ImportError:
        return {}, {}
    name = f"astra-toolbox {version('astra-toolbox')} {model}"
    volume = astra.create_vol_geom(*beam.image_shape)
    common = (beam.detector_spacing, beam.n_detectors, beam.angles)
    if isinstance(beam, FanBeam):
        geometry = astra.create_proj_geom("fanflat", *common, beam.source_origin, beam.origin_detector)
    else:
        geometry = astra.create_proj_geom("parallel", *common)
    projector = astra.OpTomo(astra.create_projector(model, geometry, volume))
    return {name: lambda: projector.FP(image)}, {name: lambda: projector.BP(sinogram)}


def _astra_fbp(beam: ParallelBeam, sinogram: Any) -> Peers:
    """ASTRA's own filtered back projection on the CPU (parallel beams only)."""
    try:
        import astra
    except ImportError:
        return {}
    volume = astra.create_vol_geom(*beam.image_shape)
    geometry = astra.create_proj_geom("parallel", beam.detector_spacing, beam.n_detectors, beam.angles)
    result = astra.data2d.create("-vol", volume)
    settings = astra.astra_dict("FBP") | {
        "ProjectorId": astra.create_projector("linear", geometry, volume),
        "ProjectionDataId": astra.data2d.create("-sino", geometry, sinogram),
        "ReconstructionDataId": result,
        "FilterType": "ram-lak",
    }
    algorithm = astra.algorithm.create(settings)

    def reconstruct() -> Any:
        astra.algorithm.run(algorithm)
        return astra.data2d.get(result)

    return {f"astra-toolbox {version('astra-toolbox')} FBP": reconstruct}


def _skimage(image: Any, sinogram: Any) -> tuple[Peers, Peers, Peers]:
    """`radon`, `iradon` without filter, and `iradon` of scikit-image, or nothing where it is missing."""
    try:
        from skimage.transform import iradon, radon
    except ImportError:
        return {}, {}, {}
    name = f"scikit-image {version('scikit-image')}"
    degrees = np.arange(VIEWS) * (180.0 / VIEWS)
    inside = np.hypot(*(np.indices(image.shape) - SIZE // 2)) < SIZE // 2  # radon warns of anything outside
    disc, turned = image * inside, np.ascontiguousarray(sinogram.T)
    return (
        {f"{name} radon": lambda: radon(disc, degrees)},
        {f"{name} iradon(filter_name=None)": lambda: iradon(turned, degrees, filter_name=None)},
        {f"{name} iradon": lambda: iradon(turned, degrees)},
    )
