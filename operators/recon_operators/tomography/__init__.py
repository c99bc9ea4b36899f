"""X-ray tomography: beams, back projection, counts, angles; axis, support and beam hardening found from the data."""

from recon_operators.tomography.angles import golden_angle, limited_angle, sparse_view
from recon_operators.tomography.axis import find_axis
from recon_operators.tomography.backproject import backproject
from recon_operators.tomography.beam_hardening import Hardening, fit_hardening
from recon_operators.tomography.cone import ConeBeam
from recon_operators.tomography.counts import line_integrals, transmission
from recon_operators.tomography.fan import FanBeam
from recon_operators.tomography.fbp import fbp
from recon_operators.tomography.fdk import fdk
from recon_operators.tomography.fourier_slice import FourierSliceBeam
from recon_operators.tomography.parallel import ParallelBeam
from recon_operators.tomography.support import Disc, support_disc
from recon_operators.tomography.vectors import VectorBeam, circular_vectors

__all__ = [
    "ConeBeam",
    "Disc",
    "FanBeam",
    "FourierSliceBeam",
    "Hardening",
    "ParallelBeam",
    "VectorBeam",
    "backproject",
    "circular_vectors",
    "fbp",
    "fdk",
    "find_axis",
    "fit_hardening",
    "golden_angle",
    "limited_angle",
    "line_integrals",
    "sparse_view",
    "support_disc",
    "transmission",
]
