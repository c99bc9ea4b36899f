"""Compressed sensing: random matrices, partial fast transforms, the single-pixel camera, block sensing."""

from recon_operators.sensing.block import BlockSensing
from recon_operators.sensing.fwht import fwht
from recon_operators.sensing.orders import hadamard_order
from recon_operators.sensing.partial import PartialDct, PartialHadamard
from recon_operators.sensing.partial_fourier import PartialFourier, PartialFourierReal
from recon_operators.sensing.projection import RandomProjection
from recon_operators.sensing.random_matrix import RandomMatrix
from recon_operators.sensing.single_pixel import SinglePixel, SinglePixelBinary, signed_measurements

__all__ = [
    "BlockSensing",
    "PartialDct",
    "PartialFourier",
    "PartialFourierReal",
    "PartialHadamard",
    "RandomMatrix",
    "RandomProjection",
    "SinglePixel",
    "SinglePixelBinary",
    "fwht",
    "hadamard_order",
    "signed_measurements",
]
