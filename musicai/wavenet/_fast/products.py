"""Matrix times vector in registers: what the compiled sampler spends its time on.

A block of outputs stays in registers while its weights stream past once, in the order in which `pack` lays them out.
Sums of integers are exact, so all kinds of integer arithmetic give the same, to the bit.
"""

from collections.abc import Callable
from functools import reduce
from itertools import product
from typing import NamedTuple

import numpy as np
from llvmlite import ir
from numba import types

from musicai.wavenet._fast.vectors import (
    FEATURES,
    FLOATS,
    I32,
    I64,
    INTS,
    LANES,
    MIDDLE,
    Memory,
    Vector,
    each,
    every,
    register,
    vectorised,
)  # fmt: skip

COLUMNS = 4  # vectors that `matmat` multiplies with: each weight is read once for all of them
WIDE = (64, 32)  # outputs of a block: as many wide ones as fit, then narrow ones
SHORTS, BYTES = ir.VectorType(ir.IntType(16), 2 * LANES), ir.VectorType(ir.IntType(8), 4 * LANES)
HAS_BYTES = "+avx2" in FEATURES  # products of bytes by vpmaddubsw
HAS_DOT = ("+avx512vnni" if LANES == 16 else "+avxvnni") in FEATURES  # vpdpbusd, which does more at once
BY_TWO, BY_FOUR = {
    8: ("llvm.x86.avx2.pmadd.ub.sw", "llvm.x86.avx2.pmadd.wd"),
    16: ("llvm.x86.avx512.pmaddubs.w.512", "llvm.x86.avx512.pmaddw.d.512"),
}[LANES]


class Arithmetic(NamedTuple):
    """A way to multiply: `plus(sums, weights, inputs)` adds the next products to a vector of sums."""

    unit: int  # inputs that are multiplied side by side, for each sum
    dtype: type  # of the inputs
    kind: ir.VectorType  # of weights and inputs in a register
    plus: Callable[[Vector, Vector, Vector], Vector]


def _plus_shorts(sums: Vector, weights: Vector, x: Vector) -> Vector:
    """Two by two: to LLVM, a pattern for vpmaddwd, or vpdpwssd where there is one."""
    both = ir.VectorType(I32, 2 * LANES)
    products = weights.to("sext", both) * x.to("sext", both)
    return sums + (products.lanes(range(0, 2 * LANES, 2)) + products.lanes(range(1, 2 * LANES, 2)))


def _plus_bytes(sums: Vector, weights: Vector, x: Vector) -> Vector:
    """Four by four: vpdpbusd, or vpmaddubsw and vpmaddwd where there is only AVX2.

    Both multiply a byte with a sign by one without. So x is kept as x + MIDDLE, and MIDDLE times the sum of a row's
    weights is taken away at the end. vpmaddubsw wants the sum of two products to fit in 16 bits: `compiled.PAIR`.
    """
    if HAS_DOT:
        return sums.call(
            f"llvm.x86.avx512.vpdpbusd.{32 * LANES}", INTS, x.to("bitcast", INTS), weights.to("bitcast", INTS)
        )
    return sums + x.call(BY_TWO, SHORTS, weights).call(BY_FOUR, INTS, Vector(x.builder, every(1, SHORTS)))


FLOATING = Arithmetic(1, np.float32, FLOATS, lambda sums, weights, x: sums + weights * x)
SHORT = Arithmetic(2, np.int16, SHORTS, _plus_shorts)
BYTE = Arithmetic(4, np.uint8, BYTES, _plus_bytes)
BY_INPUT = {types.float32: FLOATING, types.int16: SHORT, types.uint8: BYTE}


def arithmetic(precision: str) -> Arithmetic:
    """The fastest for weights of this precision on this processor."""
    if precision == "int8" and HAS_BYTES:
        return BYTE
    return FLOATING if precision == "float32" else SHORT


def pack(weight: np.ndarray, unit: int) -> np.ndarray:
    """Weights (out, in) in the order in which they are read, flat; `unit` inputs lie beside each other.

    Blocks of outputs, in each the inputs in turn, in each the block's outputs: out must be a multiple of 32.
    """
    edge = len(weight) // WIDE[0] * WIDE[0]
    parts = zip(WIDE, (weight[:edge], weight[edge:]), strict=True)
    return np.concatenate(
        [part.reshape(-1, wide, weight.shape[1] // unit, unit).swapaxes(1, 2).ravel() for wide, part in parts]
    )


def pack_rows(scale: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """What belongs to the rows of integer weights, flat: for each vector their scales, then what `Bytes` takes away."""
    away = (MIDDLE * weight.sum(1)).astype(np.int32)
    both = scale.astype(np.float32), away.view(np.float32)
    return np.stack([part.reshape(-1, LANES) for part in both], axis=1).ravel()


@vectorised
def matvec(builder, out: Memory, weight: Memory, rows: Memory, x: Memory, scale: Memory, n_in, n_out):
    """matvec(out, o, weight, w, rows, 2 r, x, i, scale, s, n_in, n_out): out[o:] += weight @ x[i:], see `pack`.

    float32 weights go with float32 x, and scales are not used; int16 or int8 weights with x as `encode` gives it: each
    output is then its row's scale x scale[s] x an exact sum of integers. n_in must be a multiple of 8, n_out of 32.
    """
    _product(1, builder, out, weight, rows, x, scale, n_in, n_out)


@vectorised
def matmat(builder, out: Memory, weight: Memory, rows: Memory, x: Memory, scale: Memory, n_in, n_out):
    """`matvec` for COLUMNS vectors that lie behind each other in x, with their scales from s and their sums from o."""
    _product(COLUMNS, builder, out, weight, rows, x, scale, n_in, n_out)


def _product(columns, builder, out, weight, rows, x, scale, n_in, n_out):
    tall, broad = (LANES // 4, columns) if columns > 1 else (WIDE[0], 1)  # as many sums as there are registers for
    first = I64(0)
    for wide in WIDE:
        last, vectors = builder.and_(n_out, I64(-wide)), range(wide // LANES)
        for o in each(builder, first, last, wide):
            near = weight.after(builder.mul(o, n_in)), rows.after(o, o)
            for c, v in product(range(0, columns, broad), range(0, len(vectors), tall)):
                outs = [out.after(o, builder.mul(n_out, I64(c + i))) for i in range(broad)]
                ins = [x.after(builder.mul(n_in, I64(c + i))) for i in range(broad)]
                _tile(vectors[v : v + tall], wide, outs, *near, ins, scale.after(c), n_in)
        first = last


def _tile(vectors, wide, outs, weight, rows, ins, scale, n_in):
    """Some vectors of a block of outputs: the sums stay in registers while the weights stream past."""
    builder, numbers = weight.builder, BY_INPUT[ins[0].dtype]
    sums_of = FLOATS if numbers is FLOATING else INTS
    chains = max(1, 4 // (len(vectors) * len(ins)))  # independent sums, so that few outputs need not wait for products
    sums = [[[register(Vector(builder, every(0, sums_of))) for _ in range(chains)] for _ in ins] for _ in vectors]
    for j in each(builder, 0, n_in, numbers.unit * chains):
        for chain in range(chains):
            here = builder.add(j, I64(chain * numbers.unit))
            values = [x.after(here).spread(sums_of).to("bitcast", numbers.kind) for x in ins]
            near = weight.after(builder.mul(here, I64(wide)))
            for v, row in zip(vectors, sums, strict=True):
                weights = near.after(v * numbers.unit * LANES).load(numbers.kind)
                for total, value in zip(row, values, strict=True):
                    total[chain].store(numbers.plus(total[chain].load(sums_of), weights, value))
    for v, row in zip(vectors, sums, strict=True):
        for c, (out, total) in enumerate(zip(outs, row, strict=True)):
            result = reduce(Vector.__add__, [one.load(sums_of) for one in total])
            if numbers is BYTE:
                result = result - rows.after((2 * v + 1) * LANES).load(INTS)
            if numbers is not FLOATING:
                result = result.to("sitofp", FLOATS) * (scale.after(c).spread() * rows.after(2 * v * LANES).load())
            target = out.after(v * LANES)
            target.store(target.load() + result)
