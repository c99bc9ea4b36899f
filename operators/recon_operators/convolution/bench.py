"""Benchmarks of convolution: ``recon bench convolution``.

512 x 512 pixels. Peers are SciPy, PyLops, SigPy and scikit-image, where installed, with one thread;
"bare transforms" are the Fourier transforms that an implementation through the spectrum must do, at their fastest, and
nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import numpy as np

import recon
from recon.bench import Case
from recon.constants import constant
from recon.registry import get
from recon_operators.convolution.convolution import Convolution
from recon_operators.convolution.downsample import BlurDownsample
from recon_operators.convolution.varying import VaryingConvolution, bilinear_weights
from recon_operators.convolution.wiener import wiener

__all__ = ["cases"]

SIZE = 512
SHAPE = (SIZE, SIZE)

Peers = dict[str, Callable[[], Any]]


def cases() -> list[Case]:
    """The cases, set up and compiled."""
    _grow_the_heap()
    rng = np.random.default_rng(0)
    double = rng.random(SHAPE)
    single = double.astype(np.float32)
    round_, tilted = gaussian(8, 0.0), gaussian(8, 0.6)
    found = []
    for x in (single, double):
        found += [
            _periodic(round_, x, "Gaussian", adjoint=False),
            _periodic(round_, x, "Gaussian", adjoint=True),
            _periodic(tilted, x, "tilted Gaussian", adjoint=False),
            _zero(round_, x, "Gaussian"),
            _zero(tilted, x, "tilted Gaussian"),
        ]
    found += [_small(tilted[6:11, 6:11], single, boundary) for boundary in ("reflect", "symmetric", "zero")]
    found += [_fista_step(kernel, single, name) for kernel, name in ((tilted, "tilted"), (round_, "round"))]
    return [*found, _wiener(tilted, double), _data_prox(tilted, single), _varying(single)]


def gaussian(radius: int, tilt: float) -> Any:
    """A Gaussian of standard deviation 2 on (2 radius + 1)^2 pixels; tilted it is no product of vectors."""
    i = np.arange(-radius, radius + 1)
    kernel = np.exp(-(i[:, None] ** 2 + i**2 + 2 * tilt * i[:, None] * i) / 8)
    return constant(kernel / kernel.sum(), "bench kernel")


def _grow_the_heap() -> None:
    """Free one large array, as any longer program has: until then the allocator returns every image to the system,
    and fresh pages cost more than the arithmetic, in all libraries alike."""
    np.empty(2**25 - 2**16, np.uint8)


def _case(name: str, x: Any, ours: Callable[[], Any], peers: Peers, note: str = "") -> Case:
    ours()  # compiles
    return Case(f"{name} {SIZE}^2 {x.dtype}", ours, peers, note)


def _named(library: str, call: str, peer: Callable[[], Any]) -> Peers:
    return {f"{library} {version(library)} {call}": peer}


def _transforms(x: Any, pairs: int) -> Callable[[], Any]:
    import scipy.fft

    def run() -> Any:
        for _ in range(pairs):
            spectrum = scipy.fft.ifft(scipy.fft.rfft2(x), axis=0, overwrite_x=True)  # faster than irfft2
            y = scipy.fft.irfft(spectrum, n=x.shape[1], overwrite_x=True)
        return y

    return run


def _periodic(kernel: Any, x: Any, name: str, *, adjoint: bool) -> Case:
    A = Convolution(kernel, SHAPE)
    peers = {"two bare transforms": _transforms(x, 1)}
    peers |= _pylops_spectral(kernel, x, adjoint) | _sigpy_spectral(kernel, x, adjoint)
    if not adjoint:
        peers |= _ndimage(kernel, x, "wrap") | (_ndimage_along_axes(x) if name == "Gaussian" else {})
    way = "adjoint" if adjoint else "forward"
    ours = (lambda: A.H @ x) if adjoint else (lambda: A @ x)
    return _case(f"{name} 17^2, periodic, {way},", x, ours, peers)


def _zero(kernel: Any, x: Any, name: str) -> Case:
    import scipy.signal

    A, k = Convolution(kernel, SHAPE, boundary="zero"), kernel.astype(x.dtype)
    peers = _named("scipy", "fftconvolve", lambda: scipy.signal.fftconvolve(x, k, mode="same"))
    peers |= _named("scipy", "oaconvolve", lambda: scipy.signal.oaconvolve(x, k, mode="same"))
    return _case(f"{name} 17^2, zero, forward,", x, lambda: A @ x, peers | _pylops_convolve(k, x))


def _small(kernel: Any, x: Any, boundary: Any) -> Case:
    A = Convolution(kernel, SHAPE, boundary=boundary)
    mode = {"reflect": "mirror", "symmetric": "reflect", "zero": "constant"}[boundary]
    return _case(f"tilted 5^2, {boundary}, forward,", x, lambda: A @ x, _ndimage(kernel, x, mode))


def _ndimage(kernel: Any, x: Any, mode: str) -> Peers:
    import scipy.ndimage

    call = f"ndimage.convolve(mode={mode!r})"
    return _named("scipy", call, lambda: scipy.ndimage.convolve(x, kernel, mode=mode))


def _ndimage_along_axes(x: Any) -> Peers:
    import scipy.ndimage

    call = "ndimage.gaussian_filter(mode='wrap')"
    return _named("scipy", call, lambda: scipy.ndimage.gaussian_filter(x, 2.0, mode="wrap", radius=8))


def _pylops_spectral(kernel: Any, x: Any, adjoint: bool) -> Peers:
    try:
        import pylops
    except ImportError:
        return {}
    A = Convolution(kernel, SHAPE)
    F = pylops.signalprocessing.FFT2D(SHAPE, real=True, dtype=x.dtype, engine="scipy")
    gain = A._transfer(half=True).astype(np.result_type(x.dtype, np.complex64))
    P = F.H * pylops.Diagonal(gain.ravel(), dtype=gain.dtype) * F
    flat = x.ravel()
    return _named("pylops", "FFT2D", (lambda: P.rmatvec(flat)) if adjoint else (lambda: P.matvec(flat)))


def _pylops_convolve(kernel: Any, x: Any) -> Peers:
    try:
        import pylops
    except ImportError:
        return {}
    P, flat = pylops.signalprocessing.Convolve2D(SHAPE, kernel, offset=(8, 8), dtype=x.dtype), x.ravel()
    return _named("pylops", "Convolve2D", lambda: P.matvec(flat))


def _sigpy_spectral(kernel: Any, x: Any, adjoint: bool) -> Peers:
    try:
        import sigpy.linop
    except ImportError:
        return {}
    gain = np.fft.fftshift(Convolution(kernel, SHAPE)._transfer(half=False))
    z = x.astype(np.result_type(x.dtype, np.complex64))  # it has no real transform
    F = sigpy.linop.FFT(SHAPE)
    P = F.H * sigpy.linop.Multiply(SHAPE, gain.astype(z.dtype)) * F
    return _named("sigpy", "FFT", (lambda: P.H * z) if adjoint else (lambda: P * z))


def _fista_step(kernel: Any, x: Any, name: str) -> Case:
    A = Convolution(kernel, SHAPE)
    y = A @ x + np.float32(0.01) * np.random.default_rng(1).standard_normal(SHAPE, dtype=np.float32)
    problem = recon.Problem(A, y, recon.NonNegative())
    solver = get("solver", "fista")()
    states = [solver.step(problem, solver.init(problem))]

    def step() -> Any:
        states[0] = solver.step(problem, states[0])
        return states[0].x

    peers = {"two bare transforms": _transforms(x, 1), "four bare transforms": _transforms(x, 2)}
    note = "one step with x >= 0: two transforms is all that A^H A x needs, four what A and A^H apart need"
    return _case(f"FISTA step, {name} Gaussian 17^2, periodic,", x, step, peers, note)


def _wiener(kernel: Any, x: Any) -> Case:
    def ours() -> Any:
        return wiener(Convolution(kernel, SHAPE), x, 0.01)

    try:
        from skimage.restoration import wiener as theirs
    except ImportError:
        return _case("Wiener", x, ours, {})
    peers = _named("scikit-image", "wiener", lambda: theirs(x, kernel, 0.01, clip=False))
    return _case("Wiener with set-up, Laplacian,", x, ours, peers)


def _data_prox(kernel: Any, x: Any) -> Case:
    A = BlurDownsample(kernel, SHAPE, 4, how="sum")
    y = A @ x
    return _case(
        "blur and 4 x 4 sums, data_prox,",
        x,
        lambda: A.data_prox(x, y, 0.1),
        {"two transforms": _transforms(x, 1)},
    )


def _varying(x: Any) -> Case:
    import scipy.signal

    grid = [float(place) for place in np.linspace(0, SIZE - 1, 5)]
    weights = bilinear_weights([grid, grid], SHAPE).astype(np.float32)
    kernels = np.stack([gaussian(8, t) for t in np.linspace(0, 0.8, 25)]).astype(np.float32)
    A = VaryingConvolution(kernels, weights, boundary="zero")

    def loop() -> Any:
        return sum(scipy.signal.fftconvolve(w * x, h, "same") for w, h in zip(weights, kernels, strict=True))

    return _case("5 x 5 kernels, zero, forward,", x, lambda: A @ x, _named("scipy", "fftconvolve loop", loop))
