"""Benchmarks of sampling: ``recon bench sampling``.

1024 x 1024 float32, factor 4. Peers are PyLops, torch, SciPy and scikit-image, where installed; a peer's
adjoint is its own, or its backward where it has no other. One thread.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from recon import Operator
from recon.bench import Case
from recon_operators.sampling.bicubic import Bicubic
from recon_operators.sampling.blocks import BlockMean
from recon_operators.sampling.decimate import Decimate
from recon_operators.sampling.interpolate import Interpolate
from recon_operators.sampling.learned import LearnedSubsampling
from recon_operators.sampling.mask import Mask
from recon_operators.sampling.selection import Select

__all__ = ["cases"]

SIZE, FACTOR, POINTS = 1024, 4, 400_000
SHAPE = (SIZE, SIZE)

Peers = dict[
    str, tuple[Any, Any]
]  # name to (forward, adjoint or None), each: data -> a call without arguments


def cases() -> list[Case]:
    """The cases, set up: forward and adjoint of each sampling."""
    rng = np.random.default_rng(0)
    mask = rng.random(SHAPE) < 0.5
    places = np.sort(rng.permutation(SIZE**2)[: SIZE**2 // 4])
    points = rng.uniform(0, SIZE - 1, (POINTS, 2))
    lines = np.sort(rng.permutation(SIZE)[: SIZE // 4])
    return [
        *_pair("mask", Mask(mask), {**_pylops_diagonal(mask), **_torch_product(mask)}),
        *_pair("every fourth row and column", Decimate(SHAPE, FACTOR), _pylops_restriction(_grid_places())),
        *_pair("block mean", BlockMean(SHAPE, FACTOR), {**_torch_pool(), **_skimage_mean()}),
        *_pair("a quarter of the rows", Select(SHAPE, 0, lines), _pylops_rows(lines)),
        *_pair("a quarter of the places", LearnedSubsampling(SHAPE, places), _pylops_restriction(places)),
        *_pair("bicubic", Bicubic(SHAPE, FACTOR), {**_torch_bicubic(), **_skimage_resize()}),
        *_pair(
            f"linear at {POINTS} points",
            Interpolate(SHAPE, points),
            {**_pylops_bilinear(points), **_scipy_coordinates(points), **_torch_grid(points)},
        ),
    ]


def _pair(name: str, A: Operator, peers: Peers) -> list[Case]:
    """Forward and adjoint of ours and of the peers that have them, on the same data."""
    rng = np.random.default_rng(1)
    x = rng.random(A.domain.shape, dtype=np.float32)  # type: ignore[union-attr]
    y = rng.random(A.codomain.shape, dtype=np.float32)  # type: ignore[union-attr]
    forward, adjoint = A, A.H
    return [
        Case(f"{name}, forward", lambda: forward @ x, {n: apply(x) for n, (apply, _) in peers.items()}),
        Case(f"{name}, adjoint", lambda: adjoint @ y, {n: back(y) for n, (_, back) in peers.items() if back}),
    ]


def _installed(name: str) -> str:
    """Name and version for the table, or nothing."""
    try:
        return f"{name} {version(name)}"
    except PackageNotFoundError:
        return ""


def _grid_places() -> Any:
    index = np.arange(0, SIZE, FACTOR)
    return (index[:, None] * SIZE + index).ravel()


def _pylops(make: Callable[[Any], Any], label: str) -> Peers:
    name = _installed("pylops")
    if not name:
        return {}
    import pylops

    operator = make(pylops)

    def bound(product: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def on(data: Any) -> Callable[[], Any]:
            vector = data.ravel()
            return lambda: product(vector)

        return on

    return {f"{name} {label}": (bound(operator.matvec), bound(operator.rmatvec))}


def _pylops_diagonal(mask: Any) -> Peers:
    values = mask.astype(np.float32).ravel()
    return _pylops(lambda pylops: pylops.Diagonal(values, dtype="float32"), "Diagonal")


def _pylops_restriction(places: Any) -> Peers:
    return _pylops(lambda pylops: pylops.Restriction(SIZE**2, places, dtype="float32"), "Restriction")


def _pylops_rows(lines: Any) -> Peers:
    return _pylops(lambda pylops: pylops.Restriction(SHAPE, lines, axis=0, dtype="float32"), "Restriction")


def _pylops_bilinear(points: Any) -> Peers:
    return _pylops(
        lambda pylops: pylops.signalprocessing.Bilinear(points.T.copy(), dims=SHAPE, dtype="float32"),
        "Bilinear",
    )


def _torch(label: str, forward: Callable[[Any, Any], Any]) -> Peers:
    """A torch function of (torch, image) and its backward."""
    name = _installed("torch")
    if not name:
        return {}
    import torch

    torch.set_num_threads(1)

    def apply(x: Any) -> Callable[[], Any]:
        image = torch.from_numpy(x)[None, None]
        return lambda: forward(torch, image)

    def backward(y: Any) -> Callable[[], Any]:
        image = torch.zeros((1, 1, *SHAPE), requires_grad=True)
        output = forward(torch, image)
        slope = torch.from_numpy(y).reshape(output.shape)
        return lambda: torch.autograd.grad(output, image, slope, retain_graph=True)

    return {f"{name} {label}": (apply, backward)}


def _torch_product(mask: Any) -> Peers:
    """What deepinv's Inpainting computes."""
    values = mask.astype(np.float32)
    return _torch("product", lambda torch, x: torch.from_numpy(values) * x)


def _torch_pool() -> Peers:
    return _torch("avg_pool2d", lambda torch, x: torch.nn.functional.avg_pool2d(x, FACTOR))


def _torch_bicubic() -> Peers:
    small = (SIZE // FACTOR, SIZE // FACTOR)
    return _torch(
        "interpolate(bicubic, antialias)",
        lambda torch, x: torch.nn.functional.interpolate(x, size=small, mode="bicubic", antialias=True),
    )


def _torch_grid(points: Any) -> Peers:
    scaled = (2 * points[:, ::-1] / (SIZE - 1) - 1).astype(np.float32)[None, None]

    def sample(torch: Any, x: Any) -> Any:
        return torch.nn.functional.grid_sample(x, torch.from_numpy(scaled), align_corners=True)

    return _torch("grid_sample", sample)


def _skimage_mean() -> Peers:
    name = _installed("scikit-image")
    if not name:
        return {}
    from skimage.transform import downscale_local_mean

    return {
        f"{name} downscale_local_mean": (lambda x: lambda: downscale_local_mean(x, (FACTOR, FACTOR)), None)
    }


def _skimage_resize() -> Peers:
    name = _installed("scikit-image")
    if not name:
        return {}
    from skimage.transform import resize

    small = (SIZE // FACTOR, SIZE // FACTOR)
    return {f"{name} resize": (lambda x: lambda: resize(x, small, order=3, anti_aliasing=True), None)}


def _scipy_coordinates(points: Any) -> Peers:
    from scipy.ndimage import map_coordinates

    places = points.T.copy()
    name = f"{_installed('scipy')} map_coordinates"
    return {name: (lambda x: lambda: map_coordinates(x, places, order=1, mode="grid-constant"), None)}
