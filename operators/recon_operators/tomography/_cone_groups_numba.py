"""Joseph projection of a volume for leaning detectors, compiled by numba: 16 rays of a detector column at once.

On line j of the axis that drives them (r or c) the rays of neighbouring rows are at heights k_n and side positions q_n
that are near to each other, but no two alike. With lane m = n - n_0 they need the voxels b + m + o, o = 0 ... K - 1 (as
in `_cone_sheets_numba`) of the z-columns a + i, i = 0 ... I - 1, K and I small:

    w_o = hat(k_n - m - b - o),   s_i = hat(q_n - a - i)
    forward    p_n                   += sum_i s_i sum_o w_o f[j, a + i, b + m + o]
    adjoint    f[j, a + i, b + m + o] += w_o s_i p_n     for one (o, i) after another

The two use the same weights, so the adjoint is exact. Groups whose rays are driven by different axes or by z, or need
more than 16 places along either axis, are taken ray by ray (`_cone_rays_numba`). The forward owns detector columns, the
adjoint blocks of planes, one driving axis after another: no two threads write to one place.
"""

# mypy: ignore-errors
# (numba infers the types of what it compiles)

from __future__ import annotations

import math

import numpy as np
from numba import prange

from recon_operators._compile_numba import jit
from recon_operators.tomography._cone_rays_numba import axes_of, project_ray, spread_ray
from recon_operators.tomography._cone_sheets_numba import PAD
from recon_operators.tomography._lanes_numba import (
    WIDTH,
    hat,
    load,
    lower,
    multiply_add,
    position,
    store,
    zero,
)

__all__ = ["adjoint", "forward"]

_PLANES = 32
"""Planes in one block of the adjoint."""

_LINES = 8
"""Lines that the adjoint takes turns with: a processor stalls when it loads what it has not yet finished storing."""

_COLUMNS = 32
"""Neighbouring detector columns that are taken together."""

_WIDE = WIDTH
"""Most places along an axis; with as many zeros around the volume, windows fit in wherever they are."""


@jit()
def _group(vectors, parallel, scale, layout, column, n, rays, lengths, group):
    """Write k0 - lane, dk, q0, dq of 16 rays to `rays`, and their lengths; give the axis that drives all, or 0."""
    n_z, n_y, n_x, n_v, n_u = layout[4:]
    g = vectors[column // n_u]
    a = column % n_u - (n_u - 1) / 2
    by_rows = by_columns = 0
    at = 4 * group * WIDTH
    for lane in range(WIDTH):
        b = n + lane - (n_v - 1) / 2
        d_x, d_y, d_z = g[0], g[1], g[2]
        x, y, z = (g[3] + a * g[6]) + b * g[9], (g[4] + a * g[7]) + b * g[10], (g[5] + a * g[8]) + b * g[11]
        if not parallel:
            d_x = ((g[3] - g[0]) + a * g[6]) + b * g[9]
            d_y = ((g[4] - g[1]) + a * g[7]) + b * g[10]
            d_z = ((g[5] - g[2]) + a * g[8]) + b * g[11]
            x, y, z = g[0], g[1], g[2]
        rows_first = abs(d_y) >= abs(d_x) and abs(d_y) >= abs(d_z)
        by_rows += rows_first
        by_columns += abs(d_x) >= abs(d_z) and not rows_first
        k, r, c = z + (n_z - 1) / 2, (n_y - 1) / 2 - y, x + (n_x - 1) / 2
        drive, start = (-d_y, r) if rows_first else (d_x, c)
        side, q = (d_x, c) if rows_first else (-d_y, r)
        dk, dq = d_z / drive, side / drive
        rays[at + lane], rays[at + WIDTH + lane] = k - start * dk - lane, dk
        rays[at + 2 * WIDTH + lane], rays[at + 3 * WIDTH + lane] = q - start * dq, dq
        lengths[group * WIDTH + lane] = scale * math.sqrt(1.0 + dk * dk + dq * dq)
    return 1 if by_rows == WIDTH else (2 if by_columns == WIDTH else 0)


@jit()
def _may_drive(vectors, parallel, layout, columns, axis):
    """Whether some ray of the columns might be driven by the axis, judged from their first and last rows."""
    n_v, n_u = layout[7], layout[8]
    low, high = np.empty(3), np.empty(3)
    for column in columns:
        g = vectors[column // n_u]
        a, b = column % n_u - (n_u - 1) / 2, (n_v - 1) / 2
        for one in range(3):  # x, y, z drive the axes 2, 1, 0
            d, step = g[one], 0.0
            if not parallel:
                d, step = g[3 + one] - d + a * g[6 + one], abs(b * g[9 + one])
            low[2 - one], high[2 - one] = max(abs(d) - step, 0.0), abs(d) + step
        if high[axis] >= (1 - 1e-9) * max(low[0], low[1], low[2]):
            return True
    return False


@jit()
def _limits(rays, at, lines, limits, place):
    """Write straight lines below and above all k - lane and all q, (start, step) each; give whether they stay near."""
    last = max(lines - 1, 1)
    near = True
    for which in range(2):
        start = at + 2 * WIDTH * which
        low = high = rays[start]
        end_low = end_high = low + last * rays[start + WIDTH]
        for lane in range(start + 1, start + WIDTH):
            first, end = rays[lane], rays[lane] + last * rays[lane + WIDTH]
            low, high = min(low, first), max(high, first)
            end_low, end_high = min(end_low, end), max(end_high, end)
        margin = 1e-9 * (abs(low) + abs(end_high) + 1.0)  # rounding must not lead out of the window
        near = near and max(high - low, end_high - end_low) + 2 * margin <= _WIDE - 3
        limits[place], limits[place + 1] = low - margin, (end_low - low) / last
        limits[place + 2], limits[place + 3] = high + margin, (end_high - high) / last
        place += 4
    return near


@jit()
def _places(limits, at, top, bottom, length):
    """K and I: how many places a group needs on each of the lines top ... bottom - 1."""
    start, step = limits[at + 2] - limits[at], limits[at + 3] - limits[at + 1]
    many = math.ceil(max(start + top * step, start + (bottom - 1) * step)) + 2
    start, step = limits[at + 6] - limits[at + 4], limits[at + 7] - limits[at + 5]
    wide = math.ceil(max(start + top * step, start + (bottom - 1) * step)) + 2
    return many, min(wide, length + 2)


@jit()
def _describe(vectors, parallel, scale, layout, columns, rays, lengths, limits, driving):
    """Describe all groups of some detector columns; `driving` is -1 - axis for those that must be taken ray by ray."""
    groups = driving.size // columns.size
    for group in range(driving.size):
        column, n = columns[group // groups], group % groups * WIDTH
        axis = _group(vectors, parallel, scale, layout, column, n, rays, lengths, group)
        near = axis > 0 and _limits(rays, 4 * group * WIDTH, layout[4 + axis], limits, 8 * group)
        driving[group] = axis if near else -1 - axis


@jit()
def _meet(limits, at, j, many, wide, depth, length):
    """First place along z and along the other axis on line j, moved on to the padding; whether there is any."""
    k, q = limits[at] + j * limits[at + 1], limits[at + 4] + j * limits[at + 5]
    high_k, high_q = limits[at + 2] + j * limits[at + 3], limits[at + 6] + j * limits[at + 7]
    inside = high_k > -float(WIDTH) and k < depth and high_q > -1.0 and q < length
    k, q = min(max(k, 1.0 - WIDTH), float(depth - many)), min(max(q, -1.0), float(length + 2 - wide))
    return math.floor(k), math.floor(q), inside


@jit()
def _forward_lines(volume, rows, at, layout, axis, rays, group, limits, top, bottom):
    """Add what the lines top ... bottom - 1 give to the 16 rows of a group."""
    line_stride, _, _, depth, side_stride, length = axes_of(layout, axis)
    many, wide = _places(limits, 8 * group, top, bottom, length)
    wide += wide % 2
    start = 4 * group * WIDTH
    k0, dk = load(rays, start), load(rays, start + WIDTH)
    q0, dq = load(rays, start + 2 * WIDTH), load(rays, start + 3 * WIDTH)
    total = load(rows, at)
    for j in range(top, bottom):
        first, left, inside = _meet(limits, 8 * group, j, many, wide, depth, length)
        if not inside:
            continue
        z, y = position(k0, j, dk, first, volume), position(q0, j, dq, left, volume)
        near = layout[0] + j * line_stride + left * side_stride + first
        for _ in range(wide // 2):  # two columns at a time: sums that need not wait for each other
            far = near + side_stride
            a, b, x = zero(volume), zero(volume), z
            for o in range(many):
                w = hat(x)
                a = multiply_add(w, load(volume, near + o), a)
                b = multiply_add(w, load(volume, far + o), b)
                x = lower(x)
            total = multiply_add(hat(y), a, total)
            y = lower(y)
            total = multiply_add(hat(y), b, total)
            y = lower(y)
            near = far + side_stride
    store(rows, at, total)


@jit()
def _adjoint_lines(volume, value, layout, axis, rays, group, limits, weights, shares, place, top, bottom):
    """Add 16 values to the lines top ... bottom - 1, at most `_LINES`."""
    line_stride, _, _, depth, side_stride, length = axes_of(layout, axis)
    many, wide = _places(limits, 8 * group, top, bottom, length)
    start = 4 * group * WIDTH
    k0, dk = load(rays, start), load(rays, start + WIDTH)
    q0, dq = load(rays, start + 2 * WIDTH), load(rays, start + 3 * WIDTH)
    found = 0
    for j in range(top, bottom):
        first, left, inside = _meet(limits, 8 * group, j, many, wide, depth, length)
        if not inside:
            continue
        z, y = position(k0, j, dk, first, volume), position(q0, j, dq, left, volume)
        for o in range(many):
            store(weights, (o * _LINES + found) * WIDTH, hat(z))
            z = lower(z)
        for i in range(wide):
            store(shares, (i * _LINES + found) * WIDTH, multiply_add(hat(y), value, zero(volume)))
            y = lower(y)
        place[found] = layout[0] + j * line_stride + left * side_stride + first
        found += 1
    for o in range(many):
        for i in range(wide):
            shift = i * side_stride + o
            for t in range(found):
                at = place[t] + shift
                weight, share = (
                    load(weights, (o * _LINES + t) * WIDTH),
                    load(shares, (i * _LINES + t) * WIDTH),
                )
                store(volume, at, multiply_add(weight, share, load(volume, at)))


@jit()
def _forward_block(volume, rows, columns, vectors, parallel, scale, layout):
    """Project onto all bins of some neighbouring detector columns: tiles of lines stay in the first-level cache."""
    n_v, stride = layout[7], layout[7] + 2 * PAD
    groups = (n_v + WIDTH - 1) // WIDTH
    size = columns.size * groups
    rays, limits = np.empty(4 * WIDTH * size), np.empty(8 * size)
    lengths, driving = np.empty(size * WIDTH, volume.dtype), np.empty(size, np.int64)
    _describe(vectors, parallel, scale, layout, columns, rays, lengths, limits, driving)
    for top in range(0, max(layout[5], layout[6]), _LINES):
        for group in range(size):
            axis = driving[group]
            if axis > 0 and top < layout[4 + axis]:
                bottom = min(top + _LINES, layout[4 + axis])
                at = columns[group // groups] * stride + PAD + group % groups * WIDTH
                _forward_lines(volume, rows, at, layout, axis, rays, group, limits, top, bottom)
    for c in range(columns.size):
        for n in range(n_v):
            at = columns[c] * stride + PAD + n
            if driving[c * groups + n // WIDTH] > 0:
                rows[at] *= lengths[c * groups * WIDTH + n]
            else:
                rows[at] = project_ray(volume, vectors, parallel, scale, layout, columns[c], n)


@jit()
def _adjoint_block(volume, rows, columns, vectors, parallel, scale, layout, axis, top):
    """Add the bins whose rays `axis` drives to the planes top ... top + _PLANES - 1."""
    n_v, stride = layout[7], layout[7] + 2 * PAD
    groups = (n_v + WIDTH - 1) // WIDTH
    size = columns.size * groups
    bottom = min(top + _PLANES, layout[4 + axis])
    rays, limits = np.empty(4 * WIDTH * size), np.empty(8 * size)
    lengths, driving = np.empty(size * WIDTH, volume.dtype), np.empty(size, np.int64)
    weights = np.empty(_LINES * _WIDE * WIDTH, volume.dtype)
    shares, place = np.empty_like(weights), np.empty(_LINES, np.int64)
    _describe(vectors, parallel, scale, layout, columns, rays, lengths, limits, driving)
    for line in range(top, bottom, _LINES):
        stop = min(line + _LINES, bottom)
        for group in range(size):
            if driving[group] == axis:
                at = columns[group // groups] * stride + PAD + group % groups * WIDTH
                value = multiply_add(load(rows, at), load(lengths, group * WIDTH), zero(volume))
                _adjoint_lines(
                    volume, value, layout, axis, rays, group, limits, weights, shares, place, line, stop
                )
    for c in range(columns.size):
        for n in range(n_v):
            alone = driving[c * groups + n // WIDTH]
            if alone == -1 or alone == -1 - axis:
                value = rows[columns[c] * stride + PAD + n]
                spread_ray(volume, value, vectors, parallel, scale, layout, columns[c], n, axis, top, bottom)


@jit()
def _forward_part(volume, rows, columns, vectors, parallel, scale, layout, block):
    some = columns[block * _COLUMNS : (block + 1) * _COLUMNS]
    _forward_block(volume, rows, some, vectors, parallel, scale, layout)


@jit()
def _adjoint_part(volume, rows, columns, vectors, parallel, scale, layout, axis, block):
    for start in range(0, columns.size, _COLUMNS):
        some = columns[start : start + _COLUMNS]
        if _may_drive(vectors, parallel, layout, some, axis):
            _adjoint_block(volume, rows, some, vectors, parallel, scale, layout, axis, block * _PLANES)


@jit()
def _forward_serial(volume, rows, columns, vectors, parallel, scale, layout):
    for block in range((columns.size + _COLUMNS - 1) // _COLUMNS):
        _forward_part(volume, rows, columns, vectors, parallel, scale, layout, block)


@jit(parallel=True)
def _forward_parallel(volume, rows, columns, vectors, parallel, scale, layout):
    for block in prange((columns.size + _COLUMNS - 1) // _COLUMNS):
        _forward_part(volume, rows, columns, vectors, parallel, scale, layout, block)


@jit()
def _adjoint_serial(volume, rows, columns, vectors, parallel, scale, layout):
    for axis in range(3):
        for block in range((layout[4 + axis] + _PLANES - 1) // _PLANES):
            _adjoint_part(volume, rows, columns, vectors, parallel, scale, layout, axis, block)


@jit(parallel=True)
def _adjoint_parallel(volume, rows, columns, vectors, parallel, scale, layout):
    for axis in range(3):
        for block in prange((layout[4 + axis] + _PLANES - 1) // _PLANES):
            _adjoint_part(volume, rows, columns, vectors, parallel, scale, layout, axis, block)


forward = (_forward_serial, _forward_parallel)
adjoint = (_adjoint_serial, _adjoint_parallel)
