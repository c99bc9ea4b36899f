"""Convolution: one kernel, a product of vectors, kernels that change over the image, blur with downsampling, bands.

Convolution            any kernel, five boundaries, stacks of kernels
SeparableConvolution   one vector per axis
VaryingConvolution     a sum of kernels times weight images, whole or in tiles, low rank
BlurDownsample         blur and decimation or block sums, with closed forms
Multiband              coarse bands and a fine broad band of one scene
wiener, gcv_weight     deconvolution in one step
"""

from recon_operators.convolution.convolution import Convolution
from recon_operators.convolution.downsample import BlurDownsample
from recon_operators.convolution.multiband import Multiband
from recon_operators.convolution.separable import SeparableConvolution
from recon_operators.convolution.truncated import frequency_sparse_convolution, partial_convolution
from recon_operators.convolution.varying import VaryingConvolution, bilinear_weights
from recon_operators.convolution.wiener import gcv_weight, wiener

__all__ = [
    "BlurDownsample",
    "Convolution",
    "Multiband",
    "SeparableConvolution",
    "VaryingConvolution",
    "bilinear_weights",
    "frequency_sparse_convolution",
    "gcv_weight",
    "partial_convolution",
    "wiener",
]
