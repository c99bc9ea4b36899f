"""How good a reconstruction is: numbers that compare an array with the truth.

Images and signals: :func:`mse`, :func:`nrmse`, :func:`psnr`, :func:`sre`, :func:`ssim`. Spectra: :func:`sad`.
Supports and masks: :func:`support_recovery`, :func:`matthews`, :func:`otsu`. Uncertainty: :func:`coverage`.

Every function takes arrays of one library on one device, computes in double precision whatever the dtype of
the data, and returns a Python float unless its page says otherwise. The estimate comes first, the truth
second. No gradient is recorded: for training, use a :class:`recon.Loss`.
"""

from recon.metrics._detection import SupportRecovery, coverage, matthews, otsu, support_recovery
from recon.metrics._distance import mse, nrmse, psnr, sad, sre
from recon.metrics._ssim import ssim

__all__ = [
    "SupportRecovery",
    "coverage",
    "matthews",
    "mse",
    "nrmse",
    "otsu",
    "psnr",
    "sad",
    "sre",
    "ssim",
    "support_recovery",
]
