"""Joseph projection of a volume ray by ray, compiled by numba: for rays that cannot be taken with their neighbours.

The formula is that of `_cone_reference`, with four loads a plane: along its driving axis a ray is at q = q0 + j dq and
p = p0 + j dp on the two other axes. `layout` is nine integers: place of voxel 0 and strides of k, r, c in the copy of
the volume that `_cone_numba` makes, which has zeros around, volume shape, detector shape.
"""

# mypy: ignore-errors
# (numba infers the types of what it compiles)

from __future__ import annotations

import math

import numpy as np

from recon_operators._compile_numba import jit

__all__ = ["axes_of", "project_ray", "spread_ray"]


@jit()
def _ray(vectors, parallel, layout, column, n, line):
    """Write q0, dq, p0, dp, length (in voxels) of a ray to `line`; give its driving axis. As in `_cone_geometry`."""
    n_z, n_y, n_x, n_v, n_u = layout[4:]
    g = vectors[column // n_u]
    a, b = column % n_u - (n_u - 1) / 2, n - (n_v - 1) / 2
    if parallel:
        x, y, z = (g[3] + a * g[6]) + b * g[9], (g[4] + a * g[7]) + b * g[10], (g[5] + a * g[8]) + b * g[11]
        d_x, d_y, d_z = g[0], g[1], g[2]
    else:
        x, y, z = g[0], g[1], g[2]
        d_x = ((g[3] - x) + a * g[6]) + b * g[9]
        d_y = ((g[4] - y) + a * g[7]) + b * g[10]
        d_z = ((g[5] - z) + a * g[8]) + b * g[11]
    k, r, c = z + (n_z - 1) / 2, (n_y - 1) / 2 - y, x + (n_x - 1) / 2
    d_r = -d_y
    norm = math.sqrt(d_x * d_x + d_y * d_y + d_z * d_z)
    if abs(d_r) >= abs(d_x) and abs(d_r) >= abs(d_z):
        axis, s, d, q, d_q, p, d_p = 1, r, d_r, k, d_z, c, d_x
    elif abs(d_x) >= abs(d_z):
        axis, s, d, q, d_q, p, d_p = 2, c, d_x, k, d_z, r, d_r
    else:
        axis, s, d, q, d_q, p, d_p = 0, k, d_z, r, d_r, c, d_x
    line[1], line[3] = d_q / d, d_p / d
    line[0], line[2] = q - s * line[1], p - s * line[3]
    line[4] = norm / abs(d)
    return axis


@jit()
def axes_of(layout, axis):
    """(stride, count) of the driving axis and of the two others, in the order of `_ray`."""
    strides, shape = layout[1:4], layout[4:7]
    if axis == 1:
        return strides[1], shape[1], strides[0], shape[0], strides[2], shape[2]
    if axis == 2:
        return strides[2], shape[2], strides[0], shape[0], strides[1], shape[1]
    return strides[0], shape[0], strides[1], shape[1], strides[2], shape[2]


@jit()
def _span(start, step, length, first, stop):
    """The planes of first ... stop - 1 with -1 < start + j step < length, or one too many at either end."""
    if step == 0.0:
        return (first, stop) if -1.0 < start < length else (first, first)
    a, b = (-1.0 - start) / step, (length - start) / step
    low, high = min(max(min(a, b), first), stop), min(max(max(a, b), first), stop)
    return math.floor(low), min(math.ceil(high) + 1, stop)


@jit()
def project_ray(volume, vectors, parallel, scale, layout, column, n):
    """The value of one bin."""
    line = np.empty(5)
    number = volume.dtype.type
    axis = _ray(vectors, parallel, layout, column, n, line)
    step, count, step_q, count_q, step_p, count_p = axes_of(layout, axis)
    q0, dq, p0, dp = line[0], line[1], line[2], line[3]
    first, stop = _span(q0, dq, count_q, 0, count)
    first, stop = _span(p0, dp, count_p, first, stop)
    total = number(0)
    side = np.uint64(step_p)
    for j in range(first, stop):
        q, p = q0 + j * dq, p0 + j * dp
        if q <= -1.0 or q >= count_q or p <= -1.0 or p >= count_p:
            continue
        i, i_p = math.floor(q), math.floor(p)
        e, e_p = number(q - i), number(p - i_p)
        # unsigned: numba then needs no test for negative indices
        at = np.uint64(layout[0] + j * step + i * step_q + i_p * step_p)
        far = at + np.uint64(step_q)
        near_value = volume[at] + e_p * (volume[at + side] - volume[at])
        far_value = volume[far] + e_p * (volume[far + side] - volume[far])
        total += near_value + e * (far_value - near_value)
    return total * number(line[4] * scale)


@jit()
def spread_ray(volume, value, vectors, parallel, scale, layout, column, n, axis, top, bottom):
    """Add one bin to the planes top ... bottom - 1 of `axis`, if that drives its ray."""
    line = np.empty(5)
    number = volume.dtype.type
    if _ray(vectors, parallel, layout, column, n, line) != axis:
        return
    step, _, step_q, count_q, step_p, count_p = axes_of(layout, axis)
    q0, dq, p0, dp = line[0], line[1], line[2], line[3]
    first, stop = _span(q0, dq, count_q, top, bottom)
    first, stop = _span(p0, dp, count_p, first, stop)
    weighted = value * number(line[4] * scale)
    side = np.uint64(step_p)
    for j in range(first, stop):
        q, p = q0 + j * dq, p0 + j * dp
        if q <= -1.0 or q >= count_q or p <= -1.0 or p >= count_p:
            continue
        i, i_p = math.floor(q), math.floor(p)
        e, e_p = number(q - i), number(p - i_p)
        at = np.uint64(layout[0] + j * step + i * step_q + i_p * step_p)
        far = at + np.uint64(step_q)
        near_value, far_value = (number(1) - e) * weighted, e * weighted
        volume[at] += (number(1) - e_p) * near_value
        volume[at + side] += e_p * near_value
        volume[far] += (number(1) - e_p) * far_value
        volume[far + side] += e_p * far_value
