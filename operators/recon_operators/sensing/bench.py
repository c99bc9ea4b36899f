"""Benchmarks of compressed sensing: ``recon bench sensing``.

float32 (complex64). Peers are PyLops, SigPy and deepinv where installed, and the bare NumPy or SciPy call that
must be made in any case (the floor). Set OMP_NUM_THREADS=1 and NUMBA_NUM_THREADS=1 for ratios per core.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import numpy as np

from recon.bench import Case
from recon.operator import Operator
from recon_operators.sensing.block import BlockSensing
from recon_operators.sensing.fwht import fwht
from recon_operators.sensing.partial import PartialDct
from recon_operators.sensing.partial_fourier import PartialFourier
from recon_operators.sensing.random_matrix import RandomMatrix
from recon_operators.sensing.single_pixel import SinglePixel

__all__ = ["cases"]

Pair = tuple[Callable[[Any], Any], Callable[[Any], Any]]
"""Forward and adjoint."""


def cases() -> list[Case]:
    """The cases, set up and compiled."""
    return [*_dense(), *_dct(), *_fourier(), *_hadamard(), *_single_pixel(), *_blocks()]


def _pair(name: str, A: Operator, peers: dict[str, Pair], note: str = "") -> list[Case]:
    """A case for each direction, on random data."""
    x, y = _random(A.domain), _random(A.codomain)
    H = A.H
    A @ x, H @ y  # compiles and makes the plan
    return [
        Case(f"{name} forward", lambda: A @ x, {k: _on(p[0], x) for k, p in peers.items()}, note),
        Case(f"{name} adjoint", lambda: H @ y, {k: _on(p[1], y) for k, p in peers.items()}, note),
    ]


def _on(call: Callable[[Any], Any], data: Any) -> Callable[[], Any]:
    return lambda: call(data)


def _random(spec: Any) -> Any:
    rng = np.random.default_rng(0)
    values = rng.standard_normal(spec.shape)
    if spec.kind == "complex":
        return (values + 1j * rng.standard_normal(spec.shape)).astype(np.complex64)
    return values.astype(np.float32)


def _pylops() -> Any:
    try:
        import pylops
    except ImportError:
        return None
    return pylops


def _flat(operator: Any) -> Pair:
    """A PyLops operator on flat vectors: their view costs nothing."""
    return (lambda x: operator.matvec(x.reshape(-1))), (lambda y: operator.rmatvec(y.reshape(-1)))


def _dense() -> list[Case]:
    shape, made = (2048, (16384,)), []
    for name, A in (
        ("Gaussian", RandomMatrix(*shape)),
        ("signs", RandomMatrix(*shape, "bernoulli")),
        ("signs drawn again", RandomMatrix(*shape, "bernoulli", stored_limit=0)),
    ):
        matrix = np.concatenate(list(A.blocks())) * np.float32(A.scale)
        peers: dict[str, Pair] = {"numpy matrix of floats": _products(matrix)}
        if pylops := _pylops():
            peer = f"pylops {pylops.__version__} MatrixMult of floats"
            peers[peer] = _flat(pylops.MatrixMult(matrix, dtype="float32"))
        made += _pair(f"{name} 2048 x 16384 float32", A, peers)
    return made


def _products(matrix: Any) -> Pair:
    return (lambda x: matrix @ x), (lambda y: matrix.T @ y)


def _dct() -> list[Case]:
    import scipy.fft

    shape = (512, 512)
    A = PartialDct(shape, 65536)
    peers: dict[str, Pair] = {
        "scipy.fft.dctn alone": (
            lambda x: scipy.fft.dctn(x, norm="ortho"),
            lambda y: scipy.fft.dctn(full, type=3, norm="ortho"),
        )
    }
    full = _random(A.domain)
    if pylops := _pylops():
        transform = pylops.signalprocessing.DCT(shape, dtype="float32")
        rows = pylops.Restriction(A.shape[1], A.rows, dtype="float32")
        peers[f"pylops {pylops.__version__} Restriction @ DCT"] = _flat(rows @ transform)
    return _pair("partial DCT 512^2, 25 % float32", A, peers)


def _fourier() -> list[Case]:
    import scipy.fft

    shape = (512, 512)
    A = PartialFourier(shape, 65536)
    full = _random(A.domain)
    peers: dict[str, Pair] = {
        "scipy.fft.fftn alone": (
            lambda x: scipy.fft.fftn(x, norm="ortho"),
            lambda y: scipy.fft.ifftn(full, norm="ortho"),
        )
    }
    if pylops := _pylops():
        transform = pylops.signalprocessing.FFT2D(shape, norm="ortho", engine="scipy", dtype="complex64")
        rows = pylops.Restriction(A.shape[1], A.rows, dtype="complex64")
        peers[f"pylops {pylops.__version__} Restriction @ FFT2D"] = _flat(rows @ transform)
    try:
        import sigpy
    except ImportError:
        return _pair("partial Fourier 512^2, 25 % complex64", A, peers)
    transform = sigpy.linop.FFT(shape, center=False)
    mask = np.zeros(A.shape[1], np.float32)
    mask[A.rows] = 1.0
    masked = sigpy.linop.Multiply(shape, mask.reshape(shape)) * transform
    back = masked.H
    peers[f"sigpy {version('sigpy')} Multiply * FFT"] = (lambda x: masked(x), lambda y: back(full))
    return _pair("partial Fourier 512^2, 25 % complex64", A, peers)


def _hadamard() -> list[Case]:
    import scipy.fft

    x = np.random.default_rng(0).standard_normal(2**20, dtype=np.float32)
    peers = {
        "numpy butterflies": lambda: _butterflies(x),
        "scipy.fft.dct, for scale": lambda: scipy.fft.dct(x),
    }
    return [
        Case("Walsh-Hadamard 2^20 float32", lambda: fwht(x), peers, "the cosine transform is another one")
    ]


def _butterflies(x: Any) -> Any:
    """The textbook transform, in place on a copy."""
    y, half = x.copy(), 1
    while half < y.size:
        pairs = y.reshape(-1, 2, half)
        low = pairs[:, 0] + pairs[:, 1]
        np.subtract(pairs[:, 0], pairs[:, 1], out=pairs[:, 1])
        pairs[:, 0] = low
        half *= 2
    return y


def _single_pixel() -> list[Case]:
    A = SinglePixel((512, 512), 65536)
    peers: dict[str, Pair] = {}
    try:
        import torch
        from deepinv.physics import SinglePixelCamera
    except ImportError:
        pass
    else:
        camera = SinglePixelCamera(m=65536, img_size=(1, 512, 512), fast=True)
        full = torch.asarray(_random(A.domain))[None, None]
        name = f"deepinv {version('deepinv')} SinglePixelCamera"
        peers[name] = (lambda x: camera.A(full), lambda y: camera.A_adjoint(full))
    return _pair(
        "single pixel 512^2, 25 % float32", A, peers, "deepinv: zero-filled spectra, other pattern order"
    )


def _blocks() -> list[Case]:
    A = BlockSensing((1024, 1024), 0.25)
    phi = A.matrix.astype(np.float32)

    def cut(x: Any) -> Any:
        return x.reshape(32, 32, 32, 32).swapaxes(1, 2).reshape(1024, 1024)

    def join(blocks: Any) -> Any:
        return blocks.reshape(32, 32, 32, 32).swapaxes(1, 2).reshape(1024, 1024)

    peers: dict[str, Pair] = {
        "numpy blocks @ Phi^T": (lambda x: cut(x) @ phi.T, lambda y: join(y.reshape(1024, -1) @ phi))
    }
    if pylops := _pylops():
        each = pylops.MatrixMult(phi, otherdims=(1024,), dtype="float32")
        peers[f"pylops {pylops.__version__} MatrixMult, blocks cut outside"] = (
            lambda x: each.matvec(cut(x).T.reshape(-1)).reshape(-1, 1024).T,
            lambda y: join(each.rmatvec(y.reshape(1024, -1).T.reshape(-1)).reshape(1024, -1).T),
        )
    return _pair("block sensing 1024^2, 25 % float32", A, peers)
