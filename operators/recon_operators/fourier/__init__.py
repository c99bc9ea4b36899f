"""Magnetic resonance imaging: Cartesian and non-Cartesian scans, masks, trajectories, coil sensitivities."""

from recon_operators.fourier import masks
from recon_operators.fourier.cartesian import CartesianMRI
from recon_operators.fourier.noncartesian import NonCartesianMRI
from recon_operators.fourier.sensitivities import espirit, low_resolution_maps, sum_of_squares
from recon_operators.fourier.trajectories import golden_radial, radial, radial_weights, spiral

__all__ = [
    "CartesianMRI",
    "NonCartesianMRI",
    "espirit",
    "golden_radial",
    "low_resolution_maps",
    "masks",
    "radial",
    "radial_weights",
    "spiral",
    "sum_of_squares",
]
