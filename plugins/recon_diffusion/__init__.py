"""Diffusion priors: samplers that work offline, on any operator (names are loaded when first used)."""

from typing import TYPE_CHECKING

from recon.lazy import on_first_use

if TYPE_CHECKING:
    from recon_diffusion.diffpir import DiffPir
    from recon_diffusion.diversity import Diversity
    from recon_diffusion.gaussian import GaussianPrior, MixturePrior
    from recon_diffusion.network import DiffusionPrior, Network
    from recon_diffusion.sampler import Sampler, SamplerState

_HOMES: dict[str, str] = {
    "DiffPir": "diffpir",
    "DiffusionPrior": "network",
    "Diversity": "diversity",
    "GaussianPrior": "gaussian",
    "MixturePrior": "gaussian",
    "Network": "network",
    "Sampler": "sampler",
    "SamplerState": "sampler",
}

__all__ = [
    "DiffPir",
    "DiffusionPrior",
    "Diversity",
    "GaussianPrior",
    "MixturePrior",
    "Network",
    "Sampler",
    "SamplerState",
]


__getattr__ = on_first_use(__name__, _HOMES)
