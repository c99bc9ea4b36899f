"""What recon_diffusion announces: samplers, their priors, benchmarks and commands. No torch is imported here."""

from collections.abc import Callable
from importlib import metadata
from typing import Any

from recon.entries import Entry
from recon.hookspecs import hookimpl

_ENTRIES = [
    Entry(
        "prior",
        "diffusion",
        "recon_diffusion.prior:DiffusionPrior",
        "What a diffusion network has learned of images, from a shipped prior or a folder",
        needs=("torch", "diffusers", "safetensors"),
        extra="diffusion",
        cites=("Ho, Jain and Abbeel, NeurIPS (2020), arXiv:2006.11239",),
    ),
    Entry(
        "solver",
        "diffpir",
        "recon_diffusion.diffpir:DiffPir",
        "Plug-and-play restoration between falling noise levels of a diffusion prior",
        cites=("Zhu et al., CVPR workshops (2023), arXiv:2305.08995",),
    ),
    Entry(
        "solver",
        "daps",
        "recon_diffusion.daps:Daps",
        "Posterior samples: exact Gaussian draws between falling noise levels",
        cites=("Zhang et al., CVPR (2025), arXiv:2407.01521",),
    ),
    Entry(
        "solver",
        "dds",
        "recon_diffusion.dds:Dds",
        "Conjugate gradients from the denoised image",
        cites=("Chung, Lee and Ye, ICLR (2024), arXiv:2303.05754",),
    ),
    Entry(
        "solver",
        "ddrm",
        "recon_diffusion.ddrm:Ddrm",
        "Restoration in the singular basis of the operator",
        cites=("Kawar et al., NeurIPS (2022), arXiv:2201.11793",),
    ),
    Entry(
        "solver",
        "ddnm",
        "recon_diffusion.ddnm:Ddnm",
        "Null space from the network, the rest from the data",
        cites=("Wang, Yu and Zhang, ICLR (2023), arXiv:2212.00490",),
    ),
    Entry(
        "solver",
        "dps",
        "recon_diffusion.dps:Dps",
        "Posterior sampling guided by the gradient of the misfit, through the network",
        cites=("Chung et al., ICLR (2023), arXiv:2209.14687",),
    ),
    Entry(
        "solver",
        "mcg",
        "recon_diffusion.dps:Mcg",
        "Guided sampling with a projection onto nearly noiseless data",
        cites=("Chung et al., NeurIPS (2022), arXiv:2206.00941",),
    ),
    Entry(
        "solver",
        "pigdm",
        "recon_diffusion.pigdm:PiGdm",
        "Pseudo-inverse guidance: the misfit weighed by what noise and prior leave open",
        cites=("Song et al., ICLR (2023)",),
    ),
    Entry(
        "solver",
        "red-diff",
        "recon_diffusion.red_diff:RedDiff",
        "Variational: one image that the network calls likely at every noise level",
        cites=("Mardani et al., ICLR (2024), arXiv:2305.04391",),
    ),
    Entry(
        "solver",
        "dds-3d",
        "recon_diffusion.dds3d:Dds3D",
        "Volumes with a prior of slices: DDS with total variation across the slices",
        cites=("Chung, Lee and Ye, ICLR (2024), arXiv:2303.05754",),
    ),
    Entry(
        "solver",
        "diffusion-mbir",
        "recon_diffusion.mbir:DiffusionMbir",
        "Volumes with a prior of slices: predictor, corrector and one ADMM step a level",
        cites=("Chung et al., CVPR (2023), arXiv:2211.10655",),
    ),
    Entry(
        "bench",
        "diffusion",
        "recon_diffusion.bench:cases",
        "Diffusion samplers on one network: inpainting, blur, CT, against deepinv",
    ),
]


@hookimpl
def recon_entries() -> list[Entry]:
    return list(_ENTRIES)


@hookimpl
def recon_commands() -> list[Any]:
    from recon_diffusion.commands import COMMANDS

    return list(COMMANDS)


@hookimpl
def recon_checks() -> list[tuple[str, Callable[[], str]]]:
    return [("diffusion priors", _priors)]


def _priors() -> str:
    """Which priors are shipped and what they need, without importing it."""
    from recon_diffusion.files import shipped

    found = []
    for package in ("torch", "diffusers", "safetensors"):
        try:
            found.append(f"{package} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            found.append(f"{package} is not installed")
    return f"{', '.join(shipped()) or 'none shipped'}; {', '.join(found)}"
