"""Benchmarks of the transforms: ``recon bench wavelets``.

512 x 512 pixels, 4 levels, float32 and float64, one thread. Peers: PyWavelets, PyLops' DWT2D, ptwt where
installed, scipy.ndimage for the starlet. PyWavelets gives lists of bands, ours gives one array: packing its lists
would cost it more.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import numpy as np

from recon.bench import Case
from recon_wavelets.starlet import Starlet
from recon_wavelets.undecimated import UndecimatedWavelet
from recon_wavelets.wavelet import Wavelet

__all__ = ["cases"]

SIZE, LEVELS, WAVELET = 512, 4, "db4"

Peers = dict[str, Callable[[], Any]]


def cases() -> list[Case]:
    """The cases, set up and compiled: forward and adjoint of the transforms, in both precisions."""
    shape = (SIZE, SIZE)
    W, U = Wavelet(shape, WAVELET, LEVELS), UndecimatedWavelet(shape, WAVELET, LEVELS)
    S = Starlet(shape, LEVELS)
    found = []
    for dtype in (np.float32, np.float64):
        x = np.random.default_rng(0).random(shape).astype(dtype)
        end = f"{SIZE}^2 {LEVELS} levels {np.dtype(dtype).name}"
        decimated, undecimated, starlet = _pywt(x), _swt(x), _ndimage(x)
        lops, torch_wavelets = _pylops(x), _ptwt(x)
        found += [
            _case(f"wavelet {WAVELET} forward {end}", W, x, {**decimated[0], **lops[0], **torch_wavelets[0]}),
            _case(
                f"wavelet {WAVELET} inverse {end}",
                W.H,
                W @ x,
                {**decimated[1], **lops[1], **torch_wavelets[1]},
            ),
            _case(f"undecimated {WAVELET} forward {end}", U, x, undecimated[0]),
            _case(f"undecimated {WAVELET} adjoint {end}", U.H, U @ x, undecimated[1]),
            _case(f"starlet forward {end}", S, x, {**starlet, **undecimated[0]}, "swt2: another transform"),
            _case(f"starlet adjoint {end}", S.H, S @ x, {}),
        ]
    return [*found, *_volume()]


def _volume() -> list[Case]:
    """A volume, 64^3 and 2 levels, float32."""
    import pywt

    x = np.random.default_rng(0).random((64, 64, 64)).astype(np.float32)
    W = Wavelet(x.shape, WAVELET, 2)
    c = pywt.wavedecn(x, WAVELET, "periodization", 2)
    name, end = f"PyWavelets {version('PyWavelets')}", "64^3 2 levels float32"
    forward: Peers = {f"{name} wavedecn": lambda: pywt.wavedecn(x, WAVELET, "periodization", 2)}
    inverse: Peers = {f"{name} waverecn": lambda: pywt.waverecn(c, WAVELET, "periodization")}
    return [
        _case(f"wavelet {WAVELET} forward {end}", W, x, forward),
        _case(f"wavelet {WAVELET} inverse {end}", W.H, W @ x, inverse),
    ]


def _case(name: str, operator: Any, x: Any, peers: Peers, note: str = "") -> Case:
    operator @ x  # compiles
    return Case(name, lambda: operator @ x, peers, note)


def _pywt(x: Any) -> tuple[Peers, Peers]:
    """`wavedec2` and `waverec2`."""
    import pywt

    name = f"PyWavelets {version('PyWavelets')}"
    c = pywt.wavedec2(x, WAVELET, "periodization", LEVELS)
    return (
        {f"{name} wavedec2": lambda: pywt.wavedec2(x, WAVELET, "periodization", LEVELS)},
        {f"{name} waverec2": lambda: pywt.waverec2(c, WAVELET, "periodization")},
    )


def _swt(x: Any) -> tuple[Peers, Peers]:
    """`swt2` and `iswt2`."""
    import pywt

    name = f"PyWavelets {version('PyWavelets')}"
    c = pywt.swt2(x, WAVELET, LEVELS, trim_approx=True, norm=True)
    return (
        {f"{name} swt2": lambda: pywt.swt2(x, WAVELET, LEVELS, trim_approx=True, norm=True)},
        {f"{name} iswt2": lambda: pywt.iswt2(c, WAVELET, norm=True)},
    )


def _pylops(x: Any) -> tuple[Peers, Peers]:
    """`DWT2D` of PyLops, or nothing where it is missing."""
    try:
        from pylops.signalprocessing import DWT2D
    except ImportError:
        return {}, {}
    name = f"PyLops {version('pylops')} DWT2D"
    operator, flat = DWT2D(x.shape, wavelet=WAVELET, level=LEVELS, dtype=x.dtype), x.ravel()
    c = operator.matvec(flat)
    return {name: lambda: operator.matvec(flat)}, {name: lambda: operator.rmatvec(c)}


def _ptwt(x: Any) -> tuple[Peers, Peers]:
    """`wavedec2` and `waverec2` of ptwt, or nothing where it is missing; it has no periodization."""
    try:
        import ptwt
        import torch
    except ImportError:
        return {}, {}
    name, image = f"ptwt {version('ptwt')}", torch.asarray(x)
    c = ptwt.wavedec2(image, WAVELET, mode="periodic", level=LEVELS)
    return (
        {f"{name} wavedec2 (periodic)": lambda: ptwt.wavedec2(image, WAVELET, mode="periodic", level=LEVELS)},
        {f"{name} waverec2": lambda: ptwt.waverec2(c, WAVELET)},
    )


def _ndimage(x: Any) -> Peers:
    """The starlet written with scipy.ndimage."""
    from scipy.ndimage import convolve1d

    kernels = []
    for level in range(LEVELS):
        kernel = np.zeros(4 * 2**level + 1, x.dtype)
        kernel[:: 2**level] = np.array([1, 4, 6, 4, 1]) / 16
        kernels.append(kernel)

    def starlet() -> Any:
        planes, c = [], x
        for kernel in kernels:
            low = convolve1d(convolve1d(c, kernel, axis=0, mode="mirror"), kernel, axis=1, mode="mirror")
            planes.append(c - low)
            c = low
        return np.stack([*planes, c])

    return {f"SciPy {version('scipy')} ndimage": starlet}
