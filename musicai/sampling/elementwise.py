"""What the compiled sampler does to vectors between the products: gate, exponentials, whole numbers. Chapter 5.

All take lengths that are multiples of 16. Where `out` holds int16 or uint8 (see `musicai.sampling.products.Bytes`),
numbers become whole ones, times a limit or a scale.
"""

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from musicai.sampling.products import MIDDLE
from musicai.sampling.vectors import F32, FLOATS, I32, I64, INTS, LANES, at, data, load, loop, splat

CONTRACT = ("contract",)
ROUND = (
    1.5 * 2**23
)  # added to a float32 below 2^22, it leaves no bits after the point, and the whole number in the low ones
LOG2E, LN2 = 1.4426950408889634, 0.6931471805599453
LN2_HIGH = 0.693359375  # ln 2 in two parts: few bits, so that a multiple of it is exact, and the rest
# (exp(r) - 1 - r) / r^2 on |r| <= ln(2) / 2, from r^0 up: our own fit, which leaves a relative error of 3e-9 in exp.
SERIES = (0.49999994, 0.1666652, 0.04166839, 0.00836878, 0.00138145)
MOST = 87.0  # e^87 is still a float32
MUCH = 1e18  # 1 / (1 + MUCH) is 0 beside a float32's own error, and MUCH^2 is still a float32


@intrinsic
def gate(context, z, i, r, limit, out):
    """out[:r] = tanh(z[i : i + r]) sigmoid(z[i + r : i + 2 r]), within 3e-7; times limit for whole numbers."""
    signature = types.void(z, types.int64, types.int64, types.float32, out)

    def codegen(context, builder, signature, args):
        source, target = (data(context, builder, signature.args[k], args[k]) for k in (0, 4))
        source, scale = builder.gep(source, [args[1]]), splat(builder, args[3], FLOATS)

        def step(i, _):
            f, g = (load(builder, at(builder, source, place, FLOATS), 4) for place in (i, builder.add(i, args[2])))
            a = _least(builder, _exp(builder, builder.fmul(f, _all(-2.0))), _all(MUCH))
            b = _least(builder, _exp(builder, builder.fneg(g)), _all(MUCH))
            below = builder.fmul(builder.fadd(_all(1.0), a), builder.fadd(_all(1.0), b))
            _put(builder, builder.fdiv(builder.fsub(_all(1.0), a), below), scale, target, i, signature.args[4])
            return []

        loop(builder, I64(0), args[2], LANES, [], step)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def encode(context, x, i, n, low, limit, out, o, scale, s):
    """out[o:] = max(x[i : i + n], low) as what `matvec` multiplies with, and scale[s], which gives it back.

    Of whole numbers, the largest becomes limit; float32 stays as it is, and needs no scale.
    """
    place = types.int64
    signature = types.void(x, place, place, types.float32, types.float32, out, place, scale, place)

    def codegen(context, builder, signature, args):
        starts = [builder.gep(data(context, builder, signature.args[k], args[k]), [args[k + 1]]) for k in (0, 5, 7)]
        (source, target, scale), low = starts, splat(builder, args[3], FLOATS)

        def value(i):
            return _most(builder, load(builder, at(builder, source, i, FLOATS), 4), low)

        def largest(i, so_far):
            return [_most(builder, _most(builder, value(i), builder.fneg(value(i))), so_far[0])]

        def put(i, _):
            _put(builder, value(i), up, target, i, signature.args[5])
            return []

        up = None
        if signature.args[5].dtype != types.float32:
            vector = loop(builder, I64(0), args[2], LANES, [_all(0.0)], largest)[0]
            size = builder.fadd(_largest_lane(builder, vector), ir.Constant(F32, float(np.float32(1e-30))))
            builder.store(builder.fdiv(size, args[4]), scale, align=4)
            up = splat(builder, builder.fdiv(args[4], size), FLOATS)
        loop(builder, I64(0), args[2], LANES, [], put)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def exponentials(context, x, n, most, factor, out):
    """out[:n] = exp((x[:n] - most) factor), within 2e-7 relatively; n is rounded up to whole vectors."""
    signature = types.void(x, types.int64, types.float32, types.float32, out)

    def codegen(context, builder, signature, args):
        source, target = (data(context, builder, signature.args[k], args[k]) for k in (0, 4))
        most, factor = (splat(builder, args[k], FLOATS) for k in (2, 3))

        def step(i, _):
            value = load(builder, at(builder, source, i, FLOATS), 4)
            power = _exp(builder, builder.fmul(builder.fsub(value, most), factor))
            builder.store(power, at(builder, target, i, FLOATS), align=4)
            return []

        loop(builder, I64(0), args[1], LANES, [], step)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def copy(context, source, i, n, target, o):
    """target[o : o + n] = source[i : i + n], float32."""
    return _moved(source, target, lambda builder, new, old: new)


@intrinsic
def add(context, source, i, n, target, o):
    """target[o : o + n] += source[i : i + n], float32."""
    return _moved(source, target, lambda builder, new, old: builder.fadd(new, old))


@intrinsic
def as_float(context, bits):
    """The float32 that has these 32 bits."""
    return types.float32(types.int32), lambda context, builder, signature, args: builder.bitcast(args[0], F32)


def _moved(source, target, combine):
    signature = types.void(source, types.int64, types.int64, target, types.int64)

    def codegen(context, builder, signature, args):
        first = data(context, builder, signature.args[0], args[0]), data(context, builder, signature.args[3], args[3])
        places = builder.gep(first[0], [args[1]]), builder.gep(first[1], [args[4]])

        def step(i, _):
            here, there = (at(builder, place, i, FLOATS) for place in places)
            builder.store(combine(builder, load(builder, here, 4), load(builder, there, 4)), there, align=4)
            return []

        loop(builder, I64(0), args[2], LANES, [], step)
        return context.get_dummy_value()

    return signature, codegen


def _all(value: float) -> ir.Constant:
    return ir.Constant(FLOATS, [float(np.float32(value))] * LANES)


def _exp(builder: ir.IRBuilder, x: ir.Value) -> ir.Value:
    """e^x = 2^k e^r, with k whole and |r| <= ln(2) / 2."""

    def fma(a, b, c):
        return builder.fadd(builder.fmul(a, b, flags=CONTRACT), c, flags=CONTRACT)

    x = _most(builder, _least(builder, x, _all(MOST)), _all(-MOST))
    rounded = fma(x, _all(LOG2E), _all(ROUND))
    k = builder.fsub(rounded, _all(ROUND))
    r = fma(k, _all(-(LN2 - LN2_HIGH)), fma(k, _all(-LN2_HIGH), x))
    series = _all(SERIES[-1])
    for term in SERIES[-2::-1]:
        series = fma(series, r, _all(term))
    power = builder.fadd(_all(1.0), fma(builder.fmul(r, r), series, r))
    shift = builder.shl(builder.bitcast(rounded, INTS), ir.Constant(INTS, [23] * LANES))
    two_to_k = builder.bitcast(builder.add(shift, ir.Constant(INTS, [127 << 23] * LANES)), FLOATS)
    return builder.fmul(power, two_to_k)


def _put(builder: ir.IRBuilder, value: ir.Value, scale: ir.Value, target: ir.Value, i: ir.Value, kind):
    """Store a vector at i as float32; or times scale, rounded, as int16, or as a byte (see `Bytes`)."""
    if kind.dtype == types.float32:
        builder.store(value, at(builder, target, i, FLOATS), align=4)
        return
    whole = builder.bitcast(builder.fadd(builder.fmul(value, scale), _all(ROUND)), INTS)
    if kind.dtype == types.uint8:
        whole = builder.add(whole, ir.Constant(INTS, [MIDDLE] * LANES))
    narrow = builder.trunc(whole, ir.VectorType(ir.IntType(kind.dtype.bitwidth), LANES))
    builder.store(narrow, at(builder, target, i, narrow.type), align=1)


def _largest_lane(builder: ir.IRBuilder, vector: ir.Value) -> ir.Value:
    width = LANES
    while width > 1:
        width //= 2
        nothing = ir.Constant(vector.type, ir.Undefined)
        low, high = (
            builder.shuffle_vector(vector, nothing, ir.Constant(ir.VectorType(I32, width), list(lanes)))
            for lanes in (range(width), range(width, 2 * width))
        )
        vector = _most(builder, low, high)
    return builder.extract_element(vector, I32(0))


def _most(builder: ir.IRBuilder, a: ir.Value, b: ir.Value) -> ir.Value:
    return builder.select(builder.fcmp_ordered(">", a, b), a, b)


def _least(builder: ir.IRBuilder, a: ir.Value, b: ir.Value) -> ir.Value:
    return builder.select(builder.fcmp_ordered("<", a, b), a, b)
