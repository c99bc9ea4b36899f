"""Joseph projection in plain array-API code: slow, short, and the truth that every kernel is tested against.

    p[ray] = sum over lines r, pixels i of  W_r[ray, i] f[r, i],    W_r[ray, i] = l hat(q0 + r dq - i)

Both products use the same matrix W_r, one image line at a time, so the adjoint is exact by construction.
Cost rays * pixels, memory rays * line; runs on any array library.
"""

from __future__ import annotations

from typing import Any

from recon.arrays import Array, device_of, namespace
from recon_operators.tomography._rays import Lines, RayTable

__all__ = ["adjoint", "forward"]


def forward(table: RayTable, image: Array) -> Array:
    """Sinogram (..., views, bins) of an image (..., N_y, N_x)."""
    xp = namespace(image)
    batch = image.shape[:-2]
    flat = xp.zeros((*batch, table.rays), dtype=image.dtype, device=device_of(image))
    for lines in table.lines:
        turned = xp.matrix_transpose(image) if lines.transposed else image
        values = xp.zeros((*batch, lines.rays.size), dtype=image.dtype, device=device_of(image))
        for r in range(lines.count):
            values = values + _dot(xp, turned[..., r, :], xp.matrix_transpose(_weights(xp, lines, r, image)))
        flat = flat + _dot(xp, values, _places(xp, lines, table.rays, image))
    return xp.reshape(flat, (*batch, table.views, table.bins))


def adjoint(table: RayTable, sinogram: Array) -> Array:
    """Image (..., N_y, N_x) of a sinogram (..., views, bins)."""
    xp = namespace(sinogram)
    batch = sinogram.shape[:-2]
    flat = xp.reshape(sinogram, (*batch, table.rays))
    image = xp.zeros((*batch, *table.image_shape), dtype=sinogram.dtype, device=device_of(sinogram))
    for lines in table.lines:
        values = _dot(xp, flat, xp.matrix_transpose(_places(xp, lines, table.rays, sinogram)))
        rows = [_dot(xp, values, _weights(xp, lines, r, sinogram)) for r in range(lines.count)]
        turned = xp.stack(rows, axis=-2)
        image = image + (xp.matrix_transpose(turned) if lines.transposed else turned)
    return image


def _dot(xp: Any, vectors: Array, matrix: Array) -> Array:
    return xp.matmul(vectors[..., None, :], matrix)[..., 0, :]


def _weights(xp: Any, lines: Lines, r: int, like: Array) -> Array:
    """W_r, shape (rays, pixels of a line)."""
    q = xp.asarray(lines.q0 + r * lines.dq, device=device_of(like))
    pixel = xp.arange(lines.length, dtype=xp.float64, device=device_of(like))
    distance = xp.abs(q[:, None] - pixel[None, :])
    hat = xp.where(distance < 1.0, 1.0 - distance, xp.zeros_like(distance))
    return xp.astype(xp.asarray(lines.weight, device=device_of(like))[:, None] * hat, like.dtype)


def _places(xp: Any, lines: Lines, rays: int, like: Array) -> Array:
    """The 0-1 matrix (rays of `lines`, all rays) that puts each value at its ray."""
    own = xp.asarray(lines.rays, device=device_of(like))
    every = xp.arange(rays, dtype=own.dtype, device=device_of(like))
    return xp.astype(own[:, None] == every[None, :], like.dtype)
