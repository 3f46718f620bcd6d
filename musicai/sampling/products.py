"""How the compiled sampler multiplies and adds, as LLVM vectors: float32, int16 pairs, or bytes by fours. Chapter 5."""

from functools import reduce
from typing import ClassVar

import numpy as np
from llvmlite import ir
from numba.core.registry import cpu_target

from musicai.sampling.vectors import BYTES, FLOATS, I32, I64, INTS, LANES, SHORTS, load, splat

MIDDLE = 2**7  # added to an int8, it gives a byte without a sign
HAS_BYTES = "+avx512vnni" in cpu_target.target_context.codegen().magic_tuple()[2]  # what numba compiles for


class Floats:
    """float32 times float32."""

    unit = 1  # inputs side by side
    dtype, nothing = np.float32, ir.Constant(FLOATS, [0.0] * LANES)
    chains: ClassVar = {4: 1, 2: 4}  # independent sums for a block of so many vectors, to hide the latency

    def __init__(self, builder: ir.IRBuilder, kind: str):
        self.builder = builder

    def value(self, x: ir.Value) -> ir.Value:
        """The inputs from x on, in all lanes."""
        return splat(self.builder, self.builder.load(x, align=4), FLOATS)

    def weights(self, pointer: ir.Value) -> ir.Value:
        return self.near(pointer, FLOATS, 4)

    def plus(self, total: ir.Value, weights: ir.Value, value: ir.Value) -> ir.Value:
        product = self.builder.fmul(weights, value, flags=("contract",))
        return self.builder.fadd(total, product, flags=("contract",))

    def result(self, sums: list[ir.Value], rows: ir.Value, x_scale: ir.Value) -> ir.Value:
        """What the sums of a vector of outputs come to, given the scales of their rows and of the inputs."""
        return reduce(self.builder.fadd, sums)

    def near(self, pointer: ir.Value, kind: ir.Type, align: int) -> ir.Value:
        return load(self.builder, self.builder.bitcast(pointer, kind.as_pointer()), align)


class Shorts(Floats):
    """int8 or int16 weights times int16, two by two: `vpdpwssd` where there is one. The sums are exact."""

    unit, dtype, nothing = 2, np.int16, ir.Constant(INTS, [0] * LANES)
    chains: ClassVar = {4: 1, 2: 2}

    def __init__(self, builder: ir.IRBuilder, kind: str):
        self.builder, self.stored = builder, {"int8": BYTES, "int16": SHORTS}[kind]

    def value(self, x):
        return self.builder.bitcast(splat(self.builder, self.near(x, I32, 2), INTS), SHORTS)

    def weights(self, pointer):
        return self.near(pointer, self.stored, 1)

    def plus(self, total, weights, value):
        return self.builder.add(total, _sum_of_pairs(self.builder, weights, value))

    def result(self, sums, rows, x_scale):
        whole = self.builder.sitofp(self.whole(sums, rows), FLOATS)
        scale = splat(self.builder, self.builder.load(x_scale, align=4), FLOATS)
        return self.builder.fmul(whole, self.builder.fmul(scale, self.near(rows, FLOATS, 4)))

    def whole(self, sums, rows):
        return reduce(self.builder.add, sums)


class Bytes(Shorts):
    """int8 weights times int8, four by four by `vpdpbusd`: twice the products of pairs, and no weight to widen.

    It multiplies a byte with a sign by one without. So x is kept as x + 2^7, and 2^7 times the sum of a row's weights
    is taken away again.
    """

    unit, dtype = 4, np.uint8

    def value(self, x):
        return splat(self.builder, self.near(x, I32, 1), INTS)

    def weights(self, pointer):
        return self.near(pointer, INTS, 1)

    def plus(self, total, weights, value):
        kind = ir.FunctionType(INTS, [INTS] * 3)
        function = self.builder.module.globals.get("llvm.x86.avx512.vpdpbusd.512")
        function = function or ir.Function(self.builder.module, kind, "llvm.x86.avx512.vpdpbusd.512")
        return self.builder.call(function, [total, value, weights])

    def whole(self, sums, rows):
        away = self.near(self.builder.gep(rows, [I64(LANES)]), INTS, 4)
        return self.builder.sub(reduce(self.builder.add, sums), away)


def arithmetic(precision: str) -> type[Floats]:
    """The fastest for weights of this precision on this machine."""
    if precision == "float32":
        return Floats
    return Bytes if precision == "int8" and HAS_BYTES else Shorts


def _sum_of_pairs(builder: ir.IRBuilder, a: ir.Value, b: ir.Value) -> ir.Value:
    """a[0] b[0] + a[1] b[1], a[2] b[2] + a[3] b[3], ...: to LLVM, a pattern for vpdpwssd or vpmaddwd."""
    both = ir.VectorType(I32, 2 * LANES)
    product = builder.mul(builder.sext(a, both), builder.sext(b, both))
    even, odd = (ir.Constant(INTS, list(range(k, 2 * LANES, 2))) for k in (0, 1))
    nothing = ir.Constant(both, ir.Undefined)
    return builder.add(builder.shuffle_vector(product, nothing, even), builder.shuffle_vector(product, nothing, odd))
