"""What recon_diffusion announces: samplers, their priors, benchmarks and commands. No torch is imported here."""

from recon.entries import Entry
from recon.hookspecs import hookimpl

_ENTRIES = [
    Entry(
        "solver",
        "diffpir",
        "recon_diffusion.diffpir:DiffPir",
        "Plug-and-play restoration between falling noise levels of a diffusion prior",
        cites=("Zhu et al., CVPR workshops (2023), arXiv:2305.08995",),
    ),
]


@hookimpl
def recon_entries() -> list[Entry]:
    return list(_ENTRIES)
