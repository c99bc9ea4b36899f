"""Benchmarks of MRI: ``recon bench mri``.

256 x 256 pixels, complex64, one coil and eight, a quarter of the lines; radial with 100 spokes of 512 samples. Peers
are SigPy, PyLops and deepinv, where installed; floors are the bare FFTs of SciPy and the bare execution of a FINUFFT
plan. deepinv works on torch tensors: what it is compared with is ours on torch tensors. Set OMP_NUM_THREADS=1 for
ratios per core.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from typing import Any

import numpy as np

from recon.bench import Case
from recon_operators.fourier import masks
from recon_operators.fourier._nufft import UPSAMPLING
from recon_operators.fourier.cartesian import CartesianMRI
from recon_operators.fourier.noncartesian import NonCartesianMRI
from recon_operators.fourier.trajectories import golden_radial

__all__ = ["cases"]

SIZE, COILS, SPOKES = 256, 8, 100

Peers = dict[str, Callable[[], Any]]


def cases() -> list[Case]:
    """The cases, set up: forward, adjoint and normal of the Cartesian scans, and the radial transforms."""
    rng = np.random.default_rng(0)
    maps = _noise(rng, (COILS, SIZE, SIZE))
    mask = masks.uniform((SIZE, SIZE), acceleration=4)
    made = []
    for name, A in (("1 coil", CartesianMRI(mask)), (f"{COILS} coils", CartesianMRI(mask, maps))):
        made += _cartesian(f"{name} {SIZE}^2 complex64", A, rng)
    return made + _radial(rng, maps)


def _noise(rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
    values = rng.standard_normal((2, *shape), dtype=np.float32)
    return values[0] + 1j * values[1]


def _cartesian(name: str, A: CartesianMRI, rng: np.random.Generator) -> list[Case]:
    import scipy.fft

    x, y = _noise(rng, A.domain.shape), A.mask * _noise(rng, A.codomain.shape)
    once = "FFTs of SciPy alone"
    floor = [
        {once: lambda: scipy.fft.fft2(y)},
        {once: lambda: scipy.fft.ifft2(y)},
        {once: lambda: scipy.fft.ifft2(scipy.fft.fft2(y))},
    ]
    ours = [lambda: A @ x, lambda: A.H @ y, lambda: A.normal(x)]
    kinds = ["forward", "adjoint", "normal"]
    peers = [_sigpy(A, x, y), _pylops(A, x, y)]
    made = [
        Case(f"MRI {kind} {name}", ours[i], {k: v for p in (floor, *peers) for k, v in p[i].items()},
             "normal transforms along the undersampled axis only" if kind == "normal" else "")
        for i, kind in enumerate(kinds)
    ]  # fmt: skip
    return made + _on_torch(name, A, x, y)


def _sigpy(A: CartesianMRI, x: Any, y: Any) -> list[Peers]:
    """SigPy's FFT operator, or its Sense operator, with the mask."""
    try:
        import sigpy
        from sigpy import linop
    except ImportError:
        return [{}, {}, {}]
    mask = A.mask.astype(np.float32)
    if A.maps is None:
        B = linop.Multiply(x.shape, mask) * linop.FFT(x.shape, axes=(-2, -1))
    else:
        from sigpy.mri.linop import Sense

        B = linop.Multiply(y.shape, mask) * Sense(A.maps)
    H, N = B.H, B.N
    name = f"sigpy {sigpy.__version__}"
    return [{name: lambda: B(x)}, {name: lambda: H(y)}, {name: lambda: N(x)}]


def _pylops(A: CartesianMRI, x: Any, y: Any) -> list[Peers]:
    """PyLops: FFT2D behind the maps, and a diagonal mask, on flat vectors."""
    try:
        import pylops
    except ImportError:
        return [{}, {}, {}]
    single = np.complex64
    F = pylops.signalprocessing.FFT2D(
        x.shape, norm="ortho", ifftshift_before=True, fftshift_after=True, engine="scipy", dtype=single
    )
    M = pylops.Diagonal(A.mask.astype(single).ravel(), dtype=single)
    if A.maps is None:
        B = M @ F
    else:
        B = pylops.VStack([M @ F @ pylops.Diagonal(one.ravel(), dtype=single) for one in A.maps])
    H, flat, data = B.H, x.ravel(), y.ravel()
    name = f"pylops {version('pylops')}"
    return [{name: lambda: B @ flat}, {name: lambda: H @ data}, {name: lambda: H @ (B @ flat)}]


def _on_torch(name: str, A: CartesianMRI, x: Any, y: Any) -> list[Case]:
    """Forward, adjoint and normal on torch tensors against deepinv, or nothing where it is missing."""
    try:
        import deepinv
        import torch
    except ImportError:
        return []
    tx, ty = torch.asarray(x), torch.asarray(y)

    def channels(z: Any) -> Any:  # (B, 2, ...): real and imaginary part
        return torch.view_as_real(z).movedim(-1, 0)[None].contiguous()

    mask = torch.asarray(A.mask.astype(np.float32))[None, None]
    if A.maps is None:
        B = deepinv.physics.MRI(mask=mask.expand(1, 2, -1, -1), img_size=(1, 2, *A.mask.shape))
    else:
        B = deepinv.physics.MultiCoilMRI(
            mask=mask, coil_maps=torch.asarray(A.maps)[None], img_size=A.mask.shape
        )
    dx, dy = channels(tx), channels(ty)
    peer = f"deepinv {version('deepinv')}"
    pairs = {
        "forward": (lambda: A @ tx, lambda: B.A(dx)),
        "adjoint": (lambda: A.H @ ty, lambda: B.A_adjoint(dy)),
        "normal": (lambda: A.normal(tx), lambda: B.A_adjoint(B.A(dx))),
    }
    return [Case(f"MRI {kind} {name}, torch", ours, {peer: theirs}) for kind, (ours, theirs) in pairs.items()]


def _radial(rng: np.random.Generator, maps: Any) -> list[Case]:
    """Radial scans against FINUFFT's plan with its default settings, and SigPy."""
    try:
        import finufft
    except ImportError:
        return []
    points = golden_radial(SPOKES, 2 * SIZE)
    A = NonCartesianMRI(points, (SIZE, SIZE))
    x, y = _noise(rng, A.domain.shape), _noise(rng, A.codomain.shape)
    flat = y.ravel()
    forward: Peers = {}
    adjoint: Peers = {}
    normal: Peers = {}
    for settings in ("default settings", "our settings"):
        options = {} if settings.startswith("default") else {"upsampfac": UPSAMPLING}
        type1, type2 = (
            finufft.Plan(kind, x.shape, eps=1e-6, isign=sign, dtype="complex64", nthreads=1, **options)
            for kind, sign in ((1, 1), (2, -1))
        )
        for plan in (type1, type2):
            plan.setpts(*(np.float32(axis) for axis in points.reshape(-1, 2).T))
        floor = f"finufft {finufft.__version__} execute, {settings}"
        forward[floor] = partial(type2.execute, x)
        adjoint[floor] = partial(type1.execute, flat)
        normal[floor] = lambda type1=type1, type2=type2: type1.execute(type2.execute(x))
    try:
        import sigpy
    except ImportError:
        pass
    else:
        name, places = f"sigpy {sigpy.__version__}", np.float32(points / (2 * np.pi) * SIZE)
        forward[name] = lambda: sigpy.nufft(x, places)
        adjoint[name] = lambda: sigpy.nufft_adjoint(y, places, x.shape)
        normal[name] = lambda: sigpy.nufft_adjoint(sigpy.nufft(x, places), places, x.shape)
    size = f"{SIZE}^2, {SPOKES} x {2 * SIZE} samples, complex64"
    note = "relative error 1e-5 in ours and FINUFFT's, 7e-3 in SigPy's"
    return [
        Case(f"radial forward {size}", lambda: A @ x, forward, note),
        Case(f"radial adjoint {size}", lambda: A.H @ y, adjoint, note),
        Case(f"radial normal {size}", lambda: A.normal(x), normal, note),
    ]
