"""LLVM's portable vectors, in few words, for functions that numba calls: types, loads, loops. Chapter 5."""

from collections.abc import Callable

from llvmlite import ir
from numba import types

LANES = 16  # numbers in a vector: one register of AVX-512, two of AVX2, four of NEON
F32, I8, I16, I32, I64 = ir.FloatType(), ir.IntType(8), ir.IntType(16), ir.IntType(32), ir.IntType(64)
FLOATS, INTS = ir.VectorType(F32, LANES), ir.VectorType(I32, LANES)
SHORTS, BYTES = ir.VectorType(I16, 2 * LANES), ir.VectorType(I8, 2 * LANES)


def data(context, builder: ir.IRBuilder, kind: types.Array, array: ir.Value) -> ir.Value:
    """Where the numbers of an array begin."""
    return context.make_array(kind)(context, builder, array).data


def at(builder: ir.IRBuilder, pointer: ir.Value, place: ir.Value, kind: ir.Type) -> ir.Value:
    return builder.bitcast(builder.gep(pointer, [place]), kind.as_pointer())


def load(builder: ir.IRBuilder, pointer: ir.Value, align: int) -> ir.Value:
    return builder.load(pointer, align=align)


def splat(builder: ir.IRBuilder, value: ir.Value, kind: ir.VectorType) -> ir.Value:
    nothing = ir.Constant(kind, ir.Undefined)
    first = builder.insert_element(nothing, value, I32(0))
    return builder.shuffle_vector(first, nothing, ir.Constant(ir.VectorType(I32, kind.count), [0] * kind.count))


def loop(builder: ir.IRBuilder, first, last, step: int, carried: list, body: Callable) -> list:
    """for i in range(first, last, step): carried = body(i, carried)."""
    before, names = builder.block, ("test", "body", "after")
    test, inside, after = (builder.append_basic_block(name) for name in names)
    builder.branch(test)
    builder.position_at_end(test)
    index = builder.phi(I64)
    index.add_incoming(first, before)
    values = [builder.phi(value.type) for value in carried]
    for value, start in zip(values, carried, strict=True):
        value.add_incoming(start, before)
    builder.cbranch(builder.icmp_signed("<", index, last), inside, after)
    builder.position_at_end(inside)
    new = body(index, values)
    index.add_incoming(builder.add(index, I64(step)), builder.block)
    for value, now in zip(values, new, strict=True):
        value.add_incoming(now, builder.block)
    builder.branch(test)
    builder.position_at_end(after)
    return values
