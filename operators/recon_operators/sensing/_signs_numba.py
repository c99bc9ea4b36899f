"""Products with a matrix of signs that is kept as bits, compiled by numba: 16 entries of the matrix in two bytes.

    y[i] = sum_j s[i, j] x[j]       x[j] = sum_i s[i, j] y[i]       s = +1 where the bit is 0, -1 where it is 1

A register of 64 bytes with entries of x (or with one y in every lane) is added where the bits are 0 and
subtracted where they are 1: two bytes of bits choose for 16 numbers in single precision, one byte for 8 in
double. The matrix has 1 / 32 of the size of floats, and reading it is what such products wait for. Four rows
share one read of x; the adjoint sums 128 columns at a time. Threads change nothing.
"""

# mypy: ignore-errors
# (numba infers the types of what it compiles)

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import prange, types
from numba.core import cgutils
from numba.extending import intrinsic

from recon_operators._compile_numba import jit, run

__all__ = ["signs_times", "times_signs"]

_ROWS, _WORDS = 4, 2
"""Rows, and words of 64 columns, that one loop works on."""


def signs_times(words: np.ndarray[Any, Any], x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """S x for every row of x: words (m, w) of 64 signs, x (count, n) float32 or float64, n <= 64 w."""
    padded = np.zeros((x.shape[0], 64 * words.shape[1]), x.dtype)
    padded[:, : x.shape[1]] = x
    y = np.empty((x.shape[0], words.shape[0]), x.dtype)
    run(4 * words.size * len(x), _rows_serial, _rows_parallel, words.view(np.uint8), padded, y)
    return y


def times_signs(words: np.ndarray[Any, Any], y: np.ndarray[Any, Any], n: int) -> np.ndarray[Any, Any]:
    """S^T y for every row of y, (count, n)."""
    x = np.empty((y.shape[0], 64 * words.shape[1]), y.dtype)
    run(
        4 * words.size * len(y),
        _columns_serial,
        _columns_parallel,
        words.view(np.uint8),
        np.ascontiguousarray(y),
        x,
    )
    return x[:, :n]


# -- loops over bits, in LLVM's language ----------------------------------------------------------------


class _Registers:
    """The 64-byte registers of one element type, and the few things done with them."""

    def __init__(self, context, builder, element):
        self.context, self.builder = context, builder
        self.lanes = 512 // element.bitwidth
        self.bytes = element.bitwidth // 8
        self.scalar = ir.DoubleType() if element == types.float64 else ir.FloatType()
        self.kind = ir.VectorType(self.scalar, self.lanes)

    def address(self, array_type, array, index, kind):
        data = self.context.make_array(array_type)(self.context, self.builder, array).data
        return self.builder.bitcast(self.builder.gep(data, [index]), kind.as_pointer())

    def load(self, array_type, array, index):
        return self.builder.load(self.address(array_type, array, index, self.kind), align=self.bytes)

    def zeros(self, count):
        """Sums at zero; LLVM keeps them in registers."""
        zero = ir.Constant(self.kind, [ir.Constant(self.scalar, 0.0)] * self.lanes)
        sums = [cgutils.alloca_once(self.builder, self.kind) for _ in range(count)]
        for one in sums:
            self.builder.store(zero, one)
        return sums

    def add_signed(self, total, value, opposite, bits_type, bits, octet):
        """Add value where the bits that start at an octet are 0, and its opposite where they are 1."""
        number = ir.IntType(self.lanes)
        mask = self.builder.load(self.address(bits_type, bits, octet, number), align=1)
        mask = self.builder.bitcast(mask, ir.VectorType(ir.IntType(1), self.lanes))
        signed = self.builder.select(mask, opposite, value)
        self.builder.store(self.builder.fadd(self.builder.load(total), signed), total)

    def splat(self, number):
        undefined, first = ir.Constant(self.kind, ir.Undefined), ir.Constant(ir.IntType(32), 0)
        every = ir.Constant(ir.VectorType(ir.IntType(32), self.lanes), [0] * self.lanes)
        return self.builder.shuffle_vector(
            self.builder.insert_element(undefined, number, first), undefined, every
        )

    def sum(self, vector):
        """The sum over the lanes, halves first."""
        parts = [
            self.builder.extract_element(vector, ir.Constant(ir.IntType(32), i)) for i in range(self.lanes)
        ]
        while len(parts) > 1:
            half = len(parts) // 2
            parts = [self.builder.fadd(a, b) for a, b in zip(parts[:half], parts[half:], strict=True)]
        return parts[0]


def _offset(builder, start, scale, constant=0):
    """Start * scale + constant, for 64-bit indices."""
    index = ir.IntType(64)
    return builder.add(builder.mul(start, ir.Constant(index, scale)), ir.Constant(index, constant))


def _row_loop(rows):
    """Compile y[out + r] = sum_j s[row + r, j] x[start + j], r < rows; width is that of bits in octets."""

    @intrinsic
    def loop(typingctx, bits, x, y, row, start, out, width):
        def generate(context, builder, sig, args):
            r = _Registers(context, builder, x.dtype)
            sums = r.zeros(2 * rows)
            octets = [builder.mul(_offset(builder, args[3], 1, k), args[6]) for k in range(rows)]
            steps = builder.udiv(args[6], ir.Constant(ir.IntType(64), r.lanes // 2))  # of four registers
            with cgutils.for_range(builder, steps) as step:
                for q in range(4):
                    place = builder.add(args[4], _offset(builder, step.index, 4 * r.lanes, q * r.lanes))
                    value = r.load(x, args[1], place)
                    opposite = builder.fneg(value)
                    for k in range(rows):
                        octet = builder.add(
                            octets[k], _offset(builder, step.index, r.lanes // 2, q * r.lanes // 8)
                        )
                        r.add_signed(sums[2 * k + q % 2], value, opposite, bits, args[0], octet)
            for k in range(rows):
                both = builder.fadd(builder.load(sums[2 * k]), builder.load(sums[2 * k + 1]))
                place = r.address(y, args[2], _offset(builder, args[5], 1, k), r.scalar)
                builder.store(r.sum(both), place)
            return context.get_dummy_value()

        index = types.int64
        return types.void(bits, x, y, index, index, index, index), generate

    return loop


def _column_loop(words):
    """Compile x[out + j] = sum_i s[i, 8 octet + j] y[start + i] for the columns of so many words."""

    @intrinsic
    def loop(typingctx, bits, y, x, octet, start, out, width, rows):
        def generate(context, builder, sig, args):
            r = _Registers(context, builder, y.dtype)
            sums = r.zeros(64 * words // r.lanes)
            with cgutils.for_range(builder, args[7]) as row:
                number = builder.load(r.address(y, args[1], builder.add(args[4], row.index), r.scalar))
                value = r.splat(number)
                opposite = builder.fneg(value)
                first = builder.add(args[3], builder.mul(row.index, args[6]))
                for k, one in enumerate(sums):
                    r.add_signed(
                        one, value, opposite, bits, args[0], _offset(builder, first, 1, k * r.lanes // 8)
                    )
            for k, one in enumerate(sums):
                place = r.address(x, args[2], _offset(builder, args[5], 1, k * r.lanes), r.kind)
                builder.store(builder.load(one), place, align=r.bytes)
            return context.get_dummy_value()

        index = types.int64
        return types.void(bits, y, x, index, index, index, index, index), generate

    return loop


_many_rows, _one_row = _row_loop(_ROWS), _row_loop(1)
_many_words, _one_word = _column_loop(_WORDS), _column_loop(1)


# -- units of work --------------------------------------------------------------------------------------


@jit()
def _rows(bits, x, y, unit):
    """Measurements `unit` of every sample, `_ROWS` of them."""
    m, width = bits.shape
    flat_bits, flat_x, flat_y = bits.ravel(), x.ravel(), y.ravel()
    first = unit * _ROWS
    for k in range(x.shape[0]):
        if first + _ROWS <= m:
            _many_rows(flat_bits, flat_x, flat_y, first, k * x.shape[1], k * m + first, width)
        else:
            for row in range(first, m):
                _one_row(flat_bits, flat_x, flat_y, row, k * x.shape[1], k * m + row, width)


@jit()
def _columns(bits, y, x, unit):
    """Columns `unit` of every sample, `_WORDS` words of them."""
    m, width = bits.shape
    flat_bits, flat_y, flat_x = bits.ravel(), y.ravel(), x.ravel()
    first = 8 * unit * _WORDS
    for k in range(y.shape[0]):
        start, out = k * m, k * x.shape[1]
        if first + 8 * _WORDS <= width:
            _many_words(flat_bits, flat_y, flat_x, first, start, out + 8 * first, width, m)
        else:
            for octet in range(first, width, 8):
                _one_word(flat_bits, flat_y, flat_x, octet, start, out + 8 * octet, width, m)


@jit()
def _rows_serial(bits, x, y):
    for unit in range(-(-bits.shape[0] // _ROWS)):
        _rows(bits, x, y, unit)


@jit(parallel=True)
def _rows_parallel(bits, x, y):
    for unit in prange(-(-bits.shape[0] // _ROWS)):
        _rows(bits, x, y, unit)


@jit()
def _columns_serial(bits, y, x):
    for unit in range(-(-bits.shape[1] // (8 * _WORDS))):
        _columns(bits, y, x, unit)


@jit(parallel=True)
def _columns_parallel(bits, y, x):
    for unit in prange(-(-bits.shape[1] // (8 * _WORDS))):
        _columns(bits, y, x, unit)
