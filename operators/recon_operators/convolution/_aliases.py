"""Closed forms of coarse bands joined with a fine one: small systems, one for each coarse frequency.

Block sums fold s x s fine frequencies, the aliases, onto each coarse one, and the broad band ties the bands together
at each fine one. So A^H A acts on the B s^2 numbers x_(b, a) of one coarse frequency alone:

    (A^H A x)_(b, a) = conj(h_(b, a)) sum_a' h_(b, a') x_(b, a') + f_b |e_a|^2 sum_b' f_b' x_(b', a)

h, e: transfer functions of bands and broad band, f: fractions. It is taken apart once, A^H A = V diag(l) V^H.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from recon.arrays import Array, namespace
from recon.constants import follow
from recon.fft import fftn, ifftn
from recon_operators.convolution._kernel import Floats

__all__ = ["Aliases"]


class Aliases:
    """V and l, in the library, device and precision of the data.

    Parameters
    ----------
    bands, broad
        Transfer functions on the fine grid: (B, H, W), block sums included, and (H, W).
    fractions
        f, (B,).
    factor
        s.
    xp, device, dtype
        Where the data live.
    """

    def __init__(
        self, bands: Floats, broad: Floats, fractions: Floats, factor: int, xp: Any, device: Any, dtype: Any
    ) -> None:
        self.factor, self.shape = factor, bands.shape
        h = self._fold(bands / factor)
        e = self._fold(broad[None])[..., 0, :]
        count, aliases = bands.shape[0], factor**2
        gram = np.zeros((*h.shape[:2], count, aliases, count, aliases), np.complex128)
        for b in range(count):
            gram[:, :, b, :, b, :] = h[..., b, :, None].conj() * h[..., b, None, :]
        pairs = np.multiply.outer(fractions, fractions)
        for a in range(aliases):
            gram[:, :, :, a, :, a] += (np.abs(e[..., a]) ** 2)[..., None, None] * pairs
        values, vectors = np.linalg.eigh(gram.reshape(*h.shape[:2], count * aliases, -1))
        self.values = follow(np.maximum(values, 0.0), xp, device, dtype)
        self.vectors = follow(vectors, xp, device, dtype)
        self.adjoint = follow(np.ascontiguousarray(np.moveaxis(vectors.conj(), -1, -2)), xp, device, dtype)

    def filter(self, x: Array, gains: Array) -> Array:
        """V diag(gains) V^H x, for real bands x: one transform each way."""
        xp = namespace(x)
        spectrum = self._fold(fftn(x))
        flat = xp.reshape(spectrum, (*spectrum.shape[:-2], -1, 1))
        flat = xp.matmul(self.vectors, gains[..., None] * xp.matmul(self.adjoint, flat))
        return xp.astype(xp.real(ifftn(self._unfold(xp.reshape(flat, spectrum.shape)))), x.dtype, copy=False)

    def _fold(self, spectrum: Any) -> Any:
        """(..., B, H, W) -> (..., H / s, W / s, B, s^2): the aliases of each coarse frequency side by side."""
        xp, s = namespace(spectrum), self.factor
        *batch, bands, height, width = spectrum.shape
        split = xp.reshape(spectrum, (*batch, bands, s, height // s, s, width // s))
        n = len(batch)
        order = (*range(n), n + 2, n + 4, n, n + 1, n + 3)
        return xp.reshape(xp.permute_dims(split, order), (*batch, height // s, width // s, bands, s * s))

    def _unfold(self, folded: Any) -> Any:
        """The inverse of `_fold`."""
        xp, s = namespace(folded), self.factor
        *batch, height, width, bands, aliases = folded.shape
        split = xp.reshape(folded, (*batch, height, width, bands, s, aliases // s))
        n = len(batch)
        order = (*range(n), n + 2, n + 3, n, n + 4, n + 1)
        return xp.reshape(xp.permute_dims(split, order), (*batch, bands, height * s, width * s))
