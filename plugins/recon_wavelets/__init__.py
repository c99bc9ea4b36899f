"""Sparsifying transforms and noise levels: Wavelet, UndecimatedWavelet, Starlet, DCT (loaded when first used)."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recon_wavelets.block_matching import BlockMatching
    from recon_wavelets.dct import DCT
    from recon_wavelets.multiband import multiband_deconvolution
    from recon_wavelets.noise import estimate_noise, noise_levels
    from recon_wavelets.starlet import Starlet
    from recon_wavelets.support import Debiased, debias, multiresolution_support
    from recon_wavelets.sure import sure_weights
    from recon_wavelets.undecimated import UndecimatedWavelet
    from recon_wavelets.unsplit import Unsplit
    from recon_wavelets.wavelet import Wavelet

__all__ = [
    "DCT",
    "BlockMatching",
    "Debiased",
    "Starlet",
    "UndecimatedWavelet",
    "Unsplit",
    "Wavelet",
    "debias",
    "estimate_noise",
    "multiband_deconvolution",
    "multiresolution_support",
    "noise_levels",
    "sure_weights",
]

_HOME = {
    "BlockMatching": "block_matching",
    "DCT": "dct",
    "Debiased": "support",
    "Starlet": "starlet",
    "UndecimatedWavelet": "undecimated",
    "Unsplit": "unsplit",
    "Wavelet": "wavelet",
    "debias": "support",
    "estimate_noise": "noise",
    "multiband_deconvolution": "multiband",
    "multiresolution_support": "support",
    "noise_levels": "noise",
    "sure_weights": "sure",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'recon_wavelets' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"recon_wavelets.{_HOME[name]}"), name)
    globals()[name] = value
    return value
