"""The pointwise steps between two Fourier transforms, each one line of algebra on whole spectra.

    multiply   S h                                  power      |h|^2
    combine    sum over the terms t of S_t h_t      expand     S h_t for each t
    proximal   (rho V + h Y) / (s + rho)

The terms of h lie on its first axis; axes in front of those of h are batch. ``multiply``, ``combine`` and ``proximal``
overwrite their first argument, ``proximal`` its second too. The steps of more than one operation are
shared with other families (`_pointwise`), with a fused kernel each on a GPU.
"""

from __future__ import annotations

from typing import Any

from recon.arrays import namespace
from recon_operators._pointwise import combine, expand, proximal

__all__ = ["combine", "expand", "multiply", "power", "proximal"]


def multiply(spectrum: Any, factor: Any) -> Any:
    """S h."""
    spectrum *= factor
    return spectrum


def power(transfer: Any) -> Any:
    """|h|^2."""
    xp = namespace(transfer)
    return xp.real(transfer) ** 2 + xp.imag(transfer) ** 2
