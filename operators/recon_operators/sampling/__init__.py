"""Sampling: masks, decimation, blocks, selected lines, resizing, interpolation, learned patterns."""

from recon_operators.sampling.bicubic import Bicubic
from recon_operators.sampling.blocks import BlockMean, BlockSum
from recon_operators.sampling.decimate import Decimate
from recon_operators.sampling.interpolate import Interpolate
from recon_operators.sampling.learned import LearnedSubsampling
from recon_operators.sampling.mask import Mask
from recon_operators.sampling.selection import Select

__all__ = [
    "Bicubic",
    "BlockMean",
    "BlockSum",
    "Decimate",
    "Interpolate",
    "LearnedSubsampling",
    "Mask",
    "Select",
]
