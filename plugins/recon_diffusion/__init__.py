"""Diffusion priors: samplers that work offline, on any operator (names are loaded when first used)."""

from typing import TYPE_CHECKING

from recon.lazy import on_first_use

if TYPE_CHECKING:
    from recon_diffusion.bridge import TorchOperator, as_torch
    from recon_diffusion.daps import Daps
    from recon_diffusion.ddnm import Ddnm
    from recon_diffusion.ddrm import Ddrm
    from recon_diffusion.dds import Dds
    from recon_diffusion.dds3d import Dds3D
    from recon_diffusion.diffpir import DiffPir
    from recon_diffusion.diversity import Diversity
    from recon_diffusion.dps import Dps, Mcg
    from recon_diffusion.files import load_network, save_prior
    from recon_diffusion.gaussian import GaussianPrior, MixturePrior
    from recon_diffusion.mbir import DiffusionMbir
    from recon_diffusion.network import Network
    from recon_diffusion.pigdm import PiGdm
    from recon_diffusion.pipeline import as_pipeline
    from recon_diffusion.prior import DiffusionPrior
    from recon_diffusion.red_diff import RedDiff, RedDiffState, Scene
    from recon_diffusion.sampler import Sampler, SamplerState
    from recon_diffusion.subset import furthest_point_subset

_HOMES: dict[str, str] = {
    "Daps": "daps",
    "Ddnm": "ddnm",
    "Ddrm": "ddrm",
    "Dds": "dds",
    "Dds3D": "dds3d",
    "DiffPir": "diffpir",
    "DiffusionMbir": "mbir",
    "DiffusionPrior": "prior",
    "Diversity": "diversity",
    "Dps": "dps",
    "GaussianPrior": "gaussian",
    "Mcg": "dps",
    "MixturePrior": "gaussian",
    "Network": "network",
    "PiGdm": "pigdm",
    "RedDiff": "red_diff",
    "RedDiffState": "red_diff",
    "Sampler": "sampler",
    "SamplerState": "sampler",
    "Scene": "red_diff",
    "TorchOperator": "bridge",
    "as_pipeline": "pipeline",
    "as_torch": "bridge",
    "furthest_point_subset": "subset",
    "load_network": "files",
    "save_prior": "files",
}

__all__ = [
    "Daps",
    "Ddnm",
    "Ddrm",
    "Dds",
    "Dds3D",
    "DiffPir",
    "DiffusionMbir",
    "DiffusionPrior",
    "Diversity",
    "Dps",
    "GaussianPrior",
    "Mcg",
    "MixturePrior",
    "Network",
    "PiGdm",
    "RedDiff",
    "RedDiffState",
    "Sampler",
    "SamplerState",
    "Scene",
    "TorchOperator",
    "as_pipeline",
    "as_torch",
    "furthest_point_subset",
    "load_network",
    "save_prior",
]


__getattr__ = on_first_use(__name__, _HOMES)
