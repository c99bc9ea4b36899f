"""The Walsh-Hadamard transform compiled by numba: butterflies on vectors of 64 bytes that stay in registers.

    h = 1, 2, 4, ... n/2:   (x[i], x[i + h])  ->  (x[i] + x[i + h], x[i] - x[i + h])   where bit h of i is 0

One call of a compiled butterfly loads up to 16 vectors, does up to 8 of these stages (those with h below the
width of a vector by exchanging lanes), and stores them. Blocks that fit into the first-level cache are
finished before the next is touched, then blocks of the second level; only the stages that remain go through
memory, four at a time. Stages run in ascending order of h, so that every path gives the bits of the plain
formula. No sum crosses a unit of work: threads change nothing.
"""

# mypy: ignore-errors
# (numba infers the types of what it compiles)

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import prange, types
from numba.extending import intrinsic

from recon_operators._compile_numba import jit, run

__all__ = ["MIN_LENGTH", "fwht_numba"]

_BYTES = 64
"""Size of one vector: LLVM splits it where the machine's registers are smaller."""

_RADIX = 16
"""Vectors in registers at once."""

_NEAR, _FAR = 2**12, 2**16
"""Entries of the blocks that fit the first and the second cache (16 and 256 KiB in single precision)."""

MIN_LENGTH = 16
"""Shortest transform that fills a vector in both precisions."""


def fwht_numba(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Transform the rows of a (count, n) array of float32 or float64, n = 2^k >= `MIN_LENGTH`."""
    count, n = x.shape
    source = np.ascontiguousarray(x).reshape(-1)
    target = np.empty_like(source)
    work = 4 * source.size  # a stage costs far less than a nanosecond per entry
    run(work, _blocks_serial, _blocks_parallel, source, target, min(n, _FAR))
    stride = _FAR
    while stride < n:
        radix = min(_RADIX, n // stride)
        run(work, _columns_serial, _columns_parallel, target, stride, radix)
        stride *= radix
    return target.reshape(count, n)


# -- one butterfly of many stages -----------------------------------------------------------------------


def _exchange(builder, vector, step):
    """The stage h = step inside a vector: lanes i and i XOR step, added below and subtracted above."""
    lanes = range(vector.type.count)
    index = ir.Constant(ir.VectorType(ir.IntType(32), vector.type.count), [i ^ step for i in lanes])
    other = builder.shuffle_vector(vector, ir.Constant(vector.type, ir.Undefined), index)
    choose = ir.Constant(ir.VectorType(ir.IntType(1), vector.type.count), [int(not i & step) for i in lanes])
    return builder.select(choose, builder.fadd(vector, other), builder.fsub(other, vector))


def _butterfly(radix, inside):
    """Compile x[start + r stride + lane] -> all stages over r (`radix` values), before them those over lanes."""

    @intrinsic
    def butterfly(typingctx, source, target, start, stride):
        element = source.dtype
        width = _BYTES * 8 // element.bitwidth
        scalar = ir.DoubleType() if element == types.float64 else ir.FloatType()
        kind = ir.VectorType(scalar, width)

        def generate(context, builder, sig, args):
            def places(array, value):
                data = context.make_array(array)(context, builder, value).data
                where = args[2]
                for _ in range(radix):
                    yield builder.bitcast(builder.gep(data, [where]), kind.as_pointer())
                    where = builder.add(where, args[3])

            align = element.bitwidth // 8
            v = [builder.load(place, align=align) for place in places(source, args[0])]
            step = 1
            while inside and step < width:
                v = [_exchange(builder, one, step) for one in v]
                step *= 2
            step = 1
            while step < radix:
                for r in range(radix):
                    if not r & step:
                        a, b = v[r], v[r + step]
                        v[r], v[r + step] = builder.fadd(a, b), builder.fsub(a, b)
                step *= 2
            for place, one in zip(places(target, args[1]), v, strict=True):
                builder.store(one, place, align=align)
            return context.get_dummy_value()

        return types.void(source, target, types.int64, types.int64), generate

    return butterfly


_first1, _first2, _first4, _first8, _first16 = (_butterfly(radix, True) for radix in (1, 2, 4, 8, 16))
_next2, _next4, _next8, _next16 = (_butterfly(radix, False) for radix in (2, 4, 8, 16))


# -- which butterflies, in which order ------------------------------------------------------------------


@jit()
def _first(source, target, start, size, width, radix):
    """The stages h < width * radix of entries start ... start + size - 1."""
    for i in range(start, start + size, width * radix):
        if radix == 16:
            _first16(source, target, i, width)
        elif radix == 8:
            _first8(source, target, i, width)
        elif radix == 4:
            _first4(source, target, i, width)
        elif radix == 2:
            _first2(source, target, i, width)
        else:
            _first1(source, target, i, width)


@jit()
def _next(x, start, size, stride, radix, width):
    """The stages h = stride ... stride * radix / 2 of the columns start ... start + size - 1."""
    for j in range(start, start + size, width):
        if radix == 16:
            _next16(x, x, j, stride)
        elif radix == 8:
            _next8(x, x, j, stride)
        elif radix == 4:
            _next4(x, x, j, stride)
        else:
            _next2(x, x, j, stride)


@jit()
def _rest(x, start, size, stride, width):
    """The stages h = stride ... size / 2 of a block."""
    while stride < size:
        radix = min(_RADIX, size // stride)
        for base in range(start, start + size, stride * radix):
            _next(x, base, stride, stride, radix, width)
        stride *= radix


@jit()
def _block(source, target, start, size):
    """All stages of one block, small blocks first."""
    width = _BYTES // source.itemsize
    near = min(size, _NEAR)
    radix = min(_RADIX, near // width)
    for base in range(start, start + size, near):
        _first(source, target, base, near, width, radix)
        _rest(target, base, near, width * radix, width)
    _rest(target, start, size, near, width)


@jit()
def _column(x, stride, radix, unit):
    """One unit of a pass over memory: `_NEAR` columns of one group of `radix` rows, `stride` apart."""
    per_group = stride // _NEAR
    start = unit // per_group * stride * radix + unit % per_group * _NEAR
    _next(x, start, _NEAR, stride, radix, _BYTES // x.itemsize)


@jit()
def _blocks_serial(source, target, size):
    for block in range(source.size // size):
        _block(source, target, block * size, size)


@jit(parallel=True)
def _blocks_parallel(source, target, size):
    for block in prange(source.size // size):
        _block(source, target, block * size, size)


@jit()
def _columns_serial(x, stride, radix):
    for unit in range(x.size // (_NEAR * radix)):
        _column(x, stride, radix, unit)


@jit(parallel=True)
def _columns_parallel(x, stride, radix):
    for unit in prange(x.size // (_NEAR * radix)):
        _column(x, stride, radix, unit)
