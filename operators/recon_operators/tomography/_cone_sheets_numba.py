"""Joseph projection of a volume sheet by sheet, compiled by numba: 16 rows, or 16 voxels, at once.

The copy of the volume that this works on has z fastest, zeros around. On line j a sheet (see `_cone_sheets`) lies
between the z-columns i and i + 1, i = floor(q), e = q - i, and row n is at height k_n = k_0 + n s. With
w = hat(k_n - k):

    forward    p_n          += sum_k w ((1 - e) f[j, i, k] + e f[j, i + 1, k])          16 rows n are the lanes
    adjoint    g_k           = sum_n w p_n                                              16 voxels k are the lanes
               f[j, i, k]   += (1 - e) g_k,     f[j, i + 1, k] += e g_k

Rows are about as far apart as voxels. So each lane n = n_0 + j needs two of the voxels b + j + o, o = 0 ... K - 1,
with K = 2 + 15 |s - 1| rounded up: K contiguous loads with weights that vanish where they should (as in
`_joseph_numba`). The adjoint does the same with rows and voxels exchanged, so both are sums that are stored once. The
weights are the same, so the adjoint is exact.

The forward owns blocks of sheets and rows, the adjoint blocks of lines and heights: no two threads write to one place,
and no sum depends on how many there are. Positions are float64 whatever the data. An infinite or NaN voxel spoils also
rays that pass within K voxels of it.
"""

# mypy: ignore-errors
# (numba infers the types of what it compiles)

from __future__ import annotations

import math

from numba import prange

from recon_operators._compile_numba import jit
from recon_operators.tomography._lanes_numba import (
    WIDTH,
    add,
    hat,
    load,
    lower,
    multiply_add,
    ramp,
    splat,
    store,
    zero,
)

__all__ = ["PAD", "adjoint", "blend", "forward"]

PAD = WIDTH
"""Zeros below and above every z-column and every column of rows: windows that touch one end fit in."""

_SHEETS = 1024
"""Sheets in one block of the forward."""

_HEIGHT = 128
"""Rows, or voxels in z, in one block."""

_CACHE = 2**19
"""Bytes of the volume in one block, which should stay in the second-level cache of a core."""


@jit()
def _tile(length, itemsize):
    """Lines in one block."""
    return max(1, min(32, _CACHE // (length * _HEIGHT * itemsize)))


@jit()
def _limit(x, top):
    """A float as an integer 0 ... top."""
    return int(min(max(x, 0.0), float(top)))


@jit()
def blend(values, near, far, e, scale, k, s, depth, out, at, n, end):
    """Add to out[at + n], n ... end - 1 in steps of whole lanes, what lies at k + n s between two columns of `values`.

    out[at + n] += scale sum_i hat(k + n s - i) ((1 - e) values[near + i] + e values[far + i]),  i = 0 ... depth - 1
    """
    window = math.ceil(2.0 + (WIDTH - 1) * abs(s - 1.0))
    left = min(0.0, (WIDTH - 1) * (s - 1.0))
    share, rest = splat(scale * e, values), splat(scale * (1.0 - e), values)
    begin = max(n, _limit((-1.0 - k) / s, end) // WIDTH * WIDTH)  # where k + n s > -1
    for n in range(begin, min(end, _limit((depth - k) / s + 1.0, end)), WIDTH):
        first = math.floor(k + n * s + left)
        last = min(first + window, depth)
        first = max(first, 1 - WIDTH)
        z = ramp(k + n * s - first, s - 1.0, values)
        a, b = zero(values), zero(values)
        for i in range(first, last):
            w = hat(z)
            a = multiply_add(w, load(values, near + i), a)
            b = multiply_add(w, load(values, far + i), b)
            z = lower(z)
        store(out, at + n, multiply_add(rest, a, multiply_add(share, b, load(out, at + n))))


@jit()
def _spread(values, at, count, k, s, e, volume, near, far, v, end):
    """The transpose of `blend`: add to the voxels v ... end - 1 of two columns of the volume."""
    rows_per_voxel = 1.0 / s
    window = math.ceil((WIDTH - 1) * abs(rows_per_voxel - 1.0) + 2.0 * rows_per_voxel)
    left = min(0.0, (WIDTH - 1) * (rows_per_voxel - 1.0)) - rows_per_voxel
    share, rest, step = splat(e, volume), splat(1.0 - e, volume), splat(s, volume)
    begin = max(v, _limit(k - 1.0, end) // WIDTH * WIDTH)
    for v in range(begin, min(end, _limit(k + (count - 1) * s + 2.0, end)), WIDTH):
        first = math.floor((v - k) * rows_per_voxel + left) + 1
        last = min(first + window, count)
        first = max(first, 1 - WIDTH)
        z = ramp(k + first * s - v, s - 1.0, volume)
        g = zero(volume)
        for n in range(first, last):
            g = multiply_add(hat(z), load(values, at + n), g)
            z = add(z, step)
        store(volume, near + v, multiply_add(rest, g, load(volume, near + v)))
        store(volume, far + v, multiply_add(share, g, load(volume, far + v)))


@jit()
def _forward_block(volume, strides, shape, table, span, columns, rows, start, stop, row):
    """Add the volume to the rows row ... row + _HEIGHT - 1 of the sheets start ... stop - 1."""
    lines, length, depth, count = shape
    tile = _tile(length, volume.itemsize)
    end = min(row + _HEIGHT, count)
    for top in range(0, lines, tile):
        for c in range(start, stop):
            q0, dq, k0, dk, s0, ds = (
                table[c, 0],
                table[c, 1],
                table[c, 2],
                table[c, 3],
                table[c, 4],
                table[c, 5],
            )
            at = columns[c] * (count + 2 * PAD) + PAD
            for j in range(max(span[c, 0], top), min(span[c, 1], top + tile)):
                q = q0 + j * dq
                if q <= -1.0 or q >= length:
                    continue
                i = math.floor(q)
                near = (j + 1) * strides[0] + (i + 1) * strides[1] + PAD
                far = near + strides[1]
                blend(volume, near, far, q - i, 1.0, k0 + j * dk, s0 + j * ds, depth, rows, at, row, end)


@jit()
def _adjoint_block(volume, strides, shape, table, span, columns, rows, top, bottom):
    """Add all sheets to the voxels bottom ... bottom + _HEIGHT - 1 of a tile of lines that begins at `top`."""
    lines, length, depth, count = shape
    stop = min(top + _tile(length, volume.itemsize), lines)
    end = min(bottom + _HEIGHT, depth)
    for c in range(span.shape[0]):
        q0, dq, k0, dk, s0, ds = table[c, 0], table[c, 1], table[c, 2], table[c, 3], table[c, 4], table[c, 5]
        at = columns[c] * (count + 2 * PAD) + PAD
        for j in range(max(span[c, 0], top), min(span[c, 1], stop)):
            q = q0 + j * dq
            if q <= -1.0 or q >= length:
                continue
            i = math.floor(q)
            near = (j + 1) * strides[0] + (i + 1) * strides[1] + PAD
            far = near + strides[1]
            _spread(rows, at, count, k0 + j * dk, s0 + j * ds, q - i, volume, near, far, bottom, end)


@jit()
def _forward_part(volume, strides, shape, table, span, columns, rows, block):
    groups = (span.shape[0] + _SHEETS - 1) // _SHEETS
    start = block % groups * _SHEETS
    stop = min(start + _SHEETS, span.shape[0])
    _forward_block(volume, strides, shape, table, span, columns, rows, start, stop, block // groups * _HEIGHT)


@jit()
def _forward_blocks(shape, span):
    return ((span.shape[0] + _SHEETS - 1) // _SHEETS) * ((shape[3] + _HEIGHT - 1) // _HEIGHT)


@jit()
def _adjoint_part(volume, strides, shape, table, span, columns, rows, block):
    tile = _tile(shape[1], volume.itemsize)
    tiles = (shape[0] + tile - 1) // tile
    top, bottom = block % tiles * tile, block // tiles * _HEIGHT
    _adjoint_block(volume, strides, shape, table, span, columns, rows, top, bottom)


@jit()
def _adjoint_blocks(volume, shape):
    tile = _tile(shape[1], volume.itemsize)
    return ((shape[0] + tile - 1) // tile) * ((shape[2] + _HEIGHT - 1) // _HEIGHT)


@jit()
def _forward_serial(volume, strides, shape, table, span, columns, rows):
    for block in range(_forward_blocks(shape, span)):
        _forward_part(volume, strides, shape, table, span, columns, rows, block)


@jit(parallel=True)
def _forward_parallel(volume, strides, shape, table, span, columns, rows):
    for block in prange(_forward_blocks(shape, span)):
        _forward_part(volume, strides, shape, table, span, columns, rows, block)


@jit()
def _adjoint_serial(volume, strides, shape, table, span, columns, rows):
    for block in range(_adjoint_blocks(volume, shape)):
        _adjoint_part(volume, strides, shape, table, span, columns, rows, block)


@jit(parallel=True)
def _adjoint_parallel(volume, strides, shape, table, span, columns, rows):
    for block in prange(_adjoint_blocks(volume, shape)):
        _adjoint_part(volume, strides, shape, table, span, columns, rows, block)


forward = (_forward_serial, _forward_parallel)
adjoint = (_adjoint_serial, _adjoint_parallel)
