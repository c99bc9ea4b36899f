"""Two denoising networks of plain convolutions, run from an .npz of their weights.

    DnCNN     D(v) = v - F(v)                            one noise level (Zhang et al. 2017)
    FFDNet    D(v, sigma) = up(F(down(v), sigma))        any noise level to 75/255 (Zhang et al. 2018)

F = conv, (relu, conv) x (layers - 1), 3 x 3, zero border, for grey images in [0, 1]; down makes the 2 x 2 phases of the
image into channels. No weights are shipped.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from recon.arrays import Array, as_numpy, from_numpy, is_complex
from recon.errors import DataError

__all__ = ["load_dncnn", "load_ffdnet"]

Floats = np.ndarray[Any, Any]


def load_dncnn(path: str | Path, device: Any = None) -> Callable[[Array, float], Array]:
    """The denoiser ``D(v, sigma)`` of a DnCNN, for :class:`recon.priors.Denoiser`.

    It removes the noise of its training, whatever sigma: give ``Denoiser`` that level. Other levels, by scaling, work
    within a factor of about two; for Hqs, which starts far above and ends far below, take an FFDNet.

    Parameters
    ----------
    path
        An .npz file with float32 arrays ``w00``, ``w01``, ... of shape (out, in, 3, 3) and ``b00``, ``b01``, ... of
        shape (out,); nothing in it is unpickled.
    device
        Where torch runs it; the CPU by default.

    Returns
    -------
    callable
        Takes an image (..., rows, columns) of any array library, in [0, 1], and gives the denoised image, of the
        same library and precision; axes in front are images of their own. Real and imaginary part are denoised
        one by one. It runs in float32; 1.1 Mflop a pixel for the usual 17 layers of 64 channels.

    Raises
    ------
    DataError
        When the file holds no such weights.

    Examples
    --------
    >>> prior = recon.priors.Denoiser(load_dncnn("dncnn_25.npz"), level=25 / 255)
    >>> clean = prior.denoise(noisy, 25 / 255)
    """
    network = _network(Path(path), 1, 1, device)

    def clean(v: Floats, sigma: float) -> Floats:
        images = v.reshape(-1, 1, *v.shape[-2:])
        return (images - network(images)).reshape(v.shape)

    return _denoiser(clean)


def load_ffdnet(path: str | Path, device: Any = None) -> Callable[[Array, float], Array]:
    """The denoiser ``D(v, sigma)`` of a grey FFDNet, for :class:`recon.priors.Denoiser`.

    Parameters
    ----------
    path
        An .npz file as of :func:`load_dncnn`; the first layer takes the phases x[0::2, 0::2], x[1::2, 0::2],
        x[0::2, 1::2], x[1::2, 1::2] and a map of sigma, the last one gives the phases.
    device
        Where torch runs it; the CPU by default.

    Returns
    -------
    callable
        As of :func:`load_dncnn`, for every sigma from 0 to 75/255. 0.25 Mflop a pixel.

    Raises
    ------
    DataError
        When the file holds no such weights.

    Examples
    --------
    >>> prior = recon.priors.Denoiser(load_ffdnet("ffdnet_gray.npz"))
    >>> result = recon.solve(Problem(A, y, prior, noise=0.02), Hqs(), stop=8)
    """
    network = _network(Path(path), 5, 4, device)

    def clean(v: Floats, sigma: float) -> Floats:
        rows, columns = v.shape[-2:]
        images = v.reshape(-1, rows, columns)
        even = np.pad(images, [(0, 0), (0, rows % 2), (0, columns % 2)], mode="edge")
        phases = [even[:, r::2, c::2] for c in (0, 1) for r in (0, 1)]
        found = network(np.stack([*phases, np.full_like(phases[0], sigma)], axis=1))
        for k, (c, r) in enumerate(((0, 0), (0, 1), (1, 0), (1, 1))):
            even[:, r::2, c::2] = found[:, k]
        return even[:, :rows, :columns].reshape(v.shape)

    return _denoiser(clean)


def _denoiser(clean: Callable[[Floats, float], Floats]) -> Callable[[Array, float], Array]:
    """The same for images of any library and precision, and complex ones."""

    def denoise(v: Array, sigma: float) -> Array:
        values = as_numpy(v)
        single = values.real.astype(np.float32)
        found: Any = clean(single, sigma)
        if is_complex(v):
            found = found + 1j * clean(values.imag.astype(np.float32), sigma)
        return from_numpy(found.astype(values.dtype), v)

    return denoise


def _network(path: Path, into: int, out: int, device: Any) -> Callable[[Floats], Floats]:
    """F on float32 images (n, channels, rows, columns)."""
    import torch

    layers = [[torch.from_numpy(part).to(device) for part in pair] for pair in _layers(path, into, out)]

    def apply(images: Floats) -> Floats:
        found = []
        with torch.no_grad():
            for image in (
                torch.from_numpy(images).to(device).split(1)
            ):  # 64 channels of many images would not fit
                for k, (weight, bias) in enumerate(layers):
                    image = torch.nn.functional.conv2d(image.relu() if k else image, weight, bias, padding=1)
                found.append(image)
        return np.asarray(torch.cat(found).cpu())

    return apply


def _layers(path: Path, into: int, out: int) -> list[tuple[Floats, Floats]]:
    """Weights and biases in order, checked."""
    try:
        with np.load(path, allow_pickle=False) as found:
            arrays = {name: found[name] for name in found.files}
    except (OSError, ValueError) as error:
        raise DataError(
            f"The weights of a network must be an .npz file of arrays, got {path.name}: {error}."
        ) from None
    names = [(f"w{k:02d}", f"b{k:02d}") for k in range(len(arrays) // 2)]
    channels = into
    for w, b in names:
        weight, bias = arrays.get(w), arrays.get(b)
        fits = weight is not None and bias is not None and weight.shape == (*bias.shape, channels, 3, 3)
        if not fits or weight.dtype != np.float32:
            raise DataError(
                f"The weights of this network must be float32 arrays {w} (out, {channels}, 3, 3) and {b} (out,), "
                f"got others in {path.name}. Take those of a grey network."
            )
        channels = bias.shape[0]
    if not names or channels != out:
        raise DataError(
            f"The last layer of this network must give {out} channels, got {channels} in {path.name}."
        )
    return [(arrays[w], arrays[b]) for w, b in names]
