"""Vectors of 16 numbers ("lanes") as values inside numba functions, so that kernels say what is done at once.

    load(a, i)               lanes a[i], a[i+1], ... a[i+15]
    store(a, i, v)           the reverse
    position(q0, r, dq, b, like)   q0 + r dq - b in float64, rounded to the type of the array `like`
    hat(z)                   max(0, 1 - |z|), the weight of linear interpolation
    add(a, b), multiply_add(a, b, c)   a + b, a b + c
    zero(like), lower(z)     0, and z - 1
    splat(x, like)           x in every lane
    ramp(x, dx, like)        x, x + dx, x + 2 dx, ... x + 15 dx

Nothing here is tied to a processor: LLVM turns a 16-vector into whatever the machine has (one AVX-512
register, two of AVX2, four of SSE or NEON). Loads and stores are unaligned and unchecked: the caller pads
its arrays. Why it exists: LLVM vectorises neither a loop with a data-dependent offset nor a sum that runs
over the lanes; see `_joseph_numba` for the kernels, where neighbouring rays are the lanes.
"""

# mypy: ignore-errors
# (numba infers the types of what it compiles)

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.datamodel import PrimitiveModel, register_default
from numba.extending import intrinsic

__all__ = [
    "WIDTH",
    "add",
    "hat",
    "load",
    "lower",
    "multiply_add",
    "position",
    "ramp",
    "splat",
    "store",
    "zero",
]

WIDTH = 16


class Lanes(types.Type):
    """Numba type of one vector of `WIDTH` floating-point numbers."""

    def __init__(self, element: types.Float) -> None:
        self.element = element
        super().__init__(name=f"Lanes({element})")


def _vector(element: types.Float) -> ir.VectorType:
    return ir.VectorType(ir.DoubleType() if element == types.float64 else ir.FloatType(), WIDTH)


@register_default(Lanes)
class _LanesModel(PrimitiveModel):
    def __init__(self, dmm, fe_type) -> None:
        super().__init__(dmm, fe_type, _vector(fe_type.element))


def _splat(builder, number, vector):
    """Copy one scalar into every lane."""
    first = builder.insert_element(ir.Constant(vector, ir.Undefined), number, ir.Constant(ir.IntType(32), 0))
    every = ir.Constant(ir.VectorType(ir.IntType(32), WIDTH), [0] * WIDTH)
    return builder.shuffle_vector(first, ir.Constant(vector, ir.Undefined), every)


def _constant(vector, value):
    return ir.Constant(vector, [ir.Constant(vector.element, value)] * WIDTH)


def _address(context, builder, array_type, array, index, vector):
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), vector.as_pointer())


@intrinsic
def load(typingctx, array, index):
    """Lanes array[index : index + WIDTH] of a contiguous array; the index must not be negative."""
    signature = Lanes(array.dtype)(array, types.int64)

    def generate(context, builder, sig, args):
        vector = _vector(array.dtype)
        place = _address(context, builder, array, args[0], args[1], vector)
        return builder.load(place, align=array.dtype.bitwidth // 8)

    return signature, generate


@intrinsic
def store(typingctx, array, index, lanes):
    """Write lanes to array[index : index + WIDTH]."""
    signature = types.void(array, types.int64, lanes)

    def generate(context, builder, sig, args):
        place = _address(context, builder, array, args[0], args[1], _vector(array.dtype))
        builder.store(args[2], place, align=array.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def position(typingctx, q0, r, dq, base, like):
    """(q0 + r dq) - base: the float64 lanes are subtracted first and rounded to the type of `like` last."""
    signature = Lanes(like.dtype)(q0, types.float64, dq, types.float64, like)

    def generate(context, builder, sig, args):
        vector = _vector(types.float64)
        along = _fused(builder, _splat(builder, args[1], vector), args[2], args[0])
        near = builder.fsub(along, _splat(builder, args[3], vector))
        return near if like.dtype == types.float64 else builder.fptrunc(near, _vector(like.dtype))

    return signature, generate


@intrinsic
def hat(typingctx, z):
    """max(0, 1 - |z|) of each lane."""

    def generate(context, builder, sig, args):
        vector = _vector(z.element)
        zero_, one = _constant(vector, 0.0), _constant(vector, 1.0)
        name = f"llvm.fabs.v{WIDTH}f{z.element.bitwidth}"
        absolute = cgutils.get_or_insert_function(builder.module, ir.FunctionType(vector, [vector]), name)
        height = builder.fsub(one, builder.call(absolute, [args[0]]))
        return builder.select(builder.fcmp_ordered(">", height, zero_), height, zero_)

    return z(z), generate


def _fused(builder, a, b, c):
    """Call a b + c, fused where the machine can (llvm.fmuladd never falls back to a library call)."""
    vector = a.type
    bits = 64 if isinstance(vector.element, ir.DoubleType) else 32
    kind = ir.FunctionType(vector, [vector] * 3)
    function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.fmuladd.v{WIDTH}f{bits}")
    return builder.call(function, [a, b, c])


@intrinsic
def add(typingctx, a, b):
    """A + b, lane by lane."""

    def generate(context, builder, sig, args):
        return builder.fadd(*args)

    return a(a, b), generate


@intrinsic
def multiply_add(typingctx, a, b, c):
    """A b + c, lane by lane."""

    def generate(context, builder, sig, args):
        return _fused(builder, *args)

    return a(a, b, c), generate


@intrinsic
def lower(typingctx, z):
    """Z - 1, lane by lane."""

    def generate(context, builder, sig, args):
        return builder.fsub(args[0], _constant(_vector(z.element), 1.0))

    return z(z), generate


@intrinsic
def zero(typingctx, like):
    """Lanes of zeros, of the type of the array `like`."""

    def generate(context, builder, sig, args):
        return _constant(_vector(like.dtype), 0.0)

    return Lanes(like.dtype)(like), generate


def _rounded(builder, number, element):
    """A float64 scalar as one of the type of the lanes."""
    return number if element == types.float64 else builder.fptrunc(number, ir.FloatType())


@intrinsic
def splat(typingctx, number, like):
    """The same number in every lane, rounded to the type of the array `like`."""
    signature = Lanes(like.dtype)(types.float64, like)

    def generate(context, builder, sig, args):
        return _splat(builder, _rounded(builder, args[0], like.dtype), _vector(like.dtype))

    return signature, generate


@intrinsic
def ramp(typingctx, start, step, like):
    """Lanes start + j step, computed in the type of the array `like`."""
    signature = Lanes(like.dtype)(types.float64, types.float64, like)

    def generate(context, builder, sig, args):
        vector = _vector(like.dtype)
        first, step = (_splat(builder, _rounded(builder, x, like.dtype), vector) for x in args[:2])
        lanes = ir.Constant(vector, [ir.Constant(vector.element, float(j)) for j in range(WIDTH)])
        return _fused(builder, lanes, step, first)

    return signature, generate
