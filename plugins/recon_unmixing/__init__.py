"""Spectral unmixing: endmembers, abundances and libraries of hyperspectral scenes (loaded when first used)."""

from typing import TYPE_CHECKING

from recon.lazy import on_first_use

if TYPE_CHECKING:
    from recon_unmixing.abundances import Abundances, RobustAbundances
    from recon_unmixing.archetypal import Archetypes, archetypal_analysis, normalise_pixels
    from recon_unmixing.cube import Cube, read_cube
    from recon_unmixing.endmembers import count_endmembers, extract_endmembers
    from recon_unmixing.factorisations import Factors, collaborative_nmf, nmf, sparse_nmf
    from recon_unmixing.guidance import GuidedUnmixing, guided_unmixing, mixedness
    from recon_unmixing.library import CollaborativeLasso, EvidenceUnmixing, SpatialLasso
    from recon_unmixing.losses import BandL21, BandLog
    from recon_unmixing.mixing import Mixing
    from recon_unmixing.scenes import SceneScore, free_scale_abundances, score_scene, spectral_angles
    from recon_unmixing.unmixing import Unmixing, unmix

_HOMES = {
    "Abundances": "abundances",
    "Archetypes": "archetypal",
    "BandL21": "losses",
    "BandLog": "losses",
    "CollaborativeLasso": "library",
    "Cube": "cube",
    "EvidenceUnmixing": "library",
    "Factors": "factorisations",
    "GuidedUnmixing": "guidance",
    "Mixing": "mixing",
    "RobustAbundances": "abundances",
    "SceneScore": "scenes",
    "SpatialLasso": "library",
    "Unmixing": "unmixing",
    "archetypal_analysis": "archetypal",
    "collaborative_nmf": "factorisations",
    "count_endmembers": "endmembers",
    "extract_endmembers": "endmembers",
    "free_scale_abundances": "scenes",
    "guided_unmixing": "guidance",
    "mixedness": "guidance",
    "nmf": "factorisations",
    "normalise_pixels": "archetypal",
    "read_cube": "cube",
    "score_scene": "scenes",
    "sparse_nmf": "factorisations",
    "spectral_angles": "scenes",
    "unmix": "unmixing",
}

__all__ = [
    "Abundances",
    "Archetypes",
    "BandL21",
    "BandLog",
    "CollaborativeLasso",
    "Cube",
    "EvidenceUnmixing",
    "Factors",
    "GuidedUnmixing",
    "Mixing",
    "RobustAbundances",
    "SceneScore",
    "SpatialLasso",
    "Unmixing",
    "archetypal_analysis",
    "collaborative_nmf",
    "count_endmembers",
    "extract_endmembers",
    "free_scale_abundances",
    "guided_unmixing",
    "mixedness",
    "nmf",
    "normalise_pixels",
    "read_cube",
    "score_scene",
    "sparse_nmf",
    "spectral_angles",
    "unmix",
]


__getattr__ = on_first_use(__name__, _HOMES)
