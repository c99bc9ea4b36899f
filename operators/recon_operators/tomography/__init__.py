"""X-ray tomography in two dimensions: parallel and fan beam, filtered back projection, view angles."""

from recon_operators.tomography.angles import golden_angle, limited_angle, sparse_view
from recon_operators.tomography.fan import FanBeam
from recon_operators.tomography.fbp import fbp
from recon_operators.tomography.parallel import ParallelBeam

__all__ = ["FanBeam", "ParallelBeam", "fbp", "golden_angle", "limited_angle", "sparse_view"]
