"""What every 2-D beam made of rays shares: their table, planned once per library and precision, and a norm bound.

    (A f)[k, m] = integral of f along ray (k, m), by Joseph's method (`_rays`)
    ||A||^2 <= max(A 1) max(A^T 1)

The bound is Schur's test; it needs that no entry of A is negative, and holds for every size and geometry.
"""

from __future__ import annotations

import logging
import math
from abc import abstractmethod
from typing import Any

import numpy as np

from recon.arrays import Array, from_numpy, namespace
from recon_operators.tomography._bridge import Bridge, bridge
from recon_operators.tomography._rays import Floats, RayTable, ray_table
from recon_operators.tomography._scan import Scan

__all__ = ["Beam"]

logger = logging.getLogger("recon")


class Beam(Scan):
    """Base of the beams that turn into rays: a subclass defines ``_rays()``, the products and bounds follow."""

    @abstractmethod
    def _rays(self) -> tuple[Floats, Floats]:
        """Points on the rays and their directions, both (views, bins, 2) with columns x, y."""

    def norm_bound(self) -> float:
        """Certified upper bound on the norm, sqrt(max(A 1) max(A^T 1)); costs one application of each."""
        rows, columns = self.absolute_sums(np.ones(()))
        return math.sqrt(float(rows.max()) * float(columns.max()))

    def absolute_sums(self, like: Array) -> tuple[Array, Array]:
        """Sums of |A| over rows (a sinogram) and columns (an image), rounded up: A 1 and A^T 1, as A >= 0."""
        image = from_numpy(np.ones(self.domain.shape), like, dtype=like.dtype)
        sinogram = from_numpy(np.ones(self.codomain.shape), like, dtype=like.dtype)
        terms = sum(self.domain.shape) + sum(self.codomain.shape)  # each may round by eps
        up = 1 + 2 * terms * float(namespace(image).finfo(image.dtype).eps)
        return (self @ image) * up, (self.H @ sinogram) * up

    def plan(self, xp: Any, device: Any, dtype: Any) -> Bridge:
        """Arrange the rays for the best engine there is: CUDA; on the CPU numba, else a sparse matrix."""

        def make(precision: Any, on_device: bool) -> Any:
            table = ray_table(*self._rays(), self.image_shape, self.pixel_size)
            return (_cuda_engine if on_device else _engine)(table, precision)

        return bridge(type(self).__name__, 2, (xp, device, dtype), make)


def _cuda_engine(table: RayTable, dtype: Any) -> Any:
    from recon_operators.tomography._joseph_cupy import CupyJoseph

    return CupyJoseph(table, dtype)


def _engine(table: RayTable, dtype: Any) -> Any:
    try:
        from recon_operators.tomography._joseph_numba import NumbaJoseph
    except ImportError:
        from recon_operators.tomography._joseph_sparse import SparseJoseph

        logger.info("numba is not installed: a sparse matrix projects instead")
        return SparseJoseph(table, dtype)
    return NumbaJoseph(table, dtype)
