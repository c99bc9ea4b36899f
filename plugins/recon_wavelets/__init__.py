"""Sparsifying transforms and noise levels: Wavelet, UndecimatedWavelet, Starlet, DCT (loaded when first used)."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recon_wavelets.dct import DCT
    from recon_wavelets.noise import estimate_noise, noise_levels
    from recon_wavelets.starlet import Starlet
    from recon_wavelets.undecimated import UndecimatedWavelet
    from recon_wavelets.wavelet import Wavelet

__all__ = ["DCT", "Starlet", "UndecimatedWavelet", "Wavelet", "estimate_noise", "noise_levels"]

_HOME = {
    "DCT": "dct",
    "Starlet": "starlet",
    "UndecimatedWavelet": "undecimated",
    "Wavelet": "wavelet",
    "estimate_noise": "noise",
    "noise_levels": "noise",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'recon_wavelets' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"recon_wavelets.{_HOME[name]}"), name)
    globals()[name] = value
    return value
