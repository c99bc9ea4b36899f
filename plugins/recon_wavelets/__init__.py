"""Sparsifying transforms and noise levels: Wavelet, UndecimatedWavelet, Starlet, DCT (loaded when first used)."""

from typing import TYPE_CHECKING

from recon.lazy import on_first_use

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


__getattr__ = on_first_use(__name__, _HOME)
