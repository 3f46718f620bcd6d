"""Matrix times vector in registers: what the compiled sampler spends its time on.

A block of outputs stays in registers while its weights stream past once, in the order in which `pack` lays them out.
Sums of integers are exact, so all kinds of integer arithmetic give the same, to the bit.
"""

from functools import reduce
from itertools import pairwise, product

import numpy as np
from llvmlite import ir
from numba import types

from musicai.wavenet._fast.elementwise import MIDDLE
from musicai.wavenet._fast.vectors import (
    F32, FEATURES, FLOATS, I32, I64, INTS, LANES, Memory, Register, Vector, each, spread, vectorised,
)  # fmt: skip

COLUMNS = 4  # vectors that `matmat` multiplies with: each weight is read once for all of them
SHORTS, BYTES = ir.VectorType(ir.IntType(16), 2 * LANES), ir.VectorType(ir.IntType(8), 4 * LANES)
WIDE = (64, 32)  # outputs of a block: as many wide ones as fit, then narrow ones
HAS_BYTES = "+avx2" in FEATURES  # products of bytes, such as vpmaddubsw
HAS_DOT = ("+avx512vnni" if LANES == 16 else "+avxvnni") in FEATURES  # vpdpbusd, which does more at once
PAIRS = {
    8: ("llvm.x86.avx2.pmadd.ub.sw", "llvm.x86.avx2.pmadd.wd"),
    16: ("llvm.x86.avx512.pmaddubs.w.512", "llvm.x86.avx512.pmaddw.d.512"),
}


class Floats:
    """float32 weights times float32."""

    unit, dtype, kind = 1, np.float32, FLOATS  # inputs side by side; of the inputs; of weights as they are loaded

    @staticmethod
    def inputs(x: Memory) -> Vector:
        """The next `unit` inputs, in all lanes, as `plus` wants them."""
        return x.spread()

    @staticmethod
    def plus(total: Vector, weights: Vector, x: Vector) -> Vector:
        """The sums, and one product more for each."""
        return total + weights * x


class Shorts:
    """int16 weights times int16, two by two: vpmaddwd, or vpdpwssd where there is one."""

    unit, dtype, kind = 2, np.int16, SHORTS

    @staticmethod
    def inputs(x: Memory) -> Vector:
        return x.spread(INTS).to("bitcast", SHORTS)

    @staticmethod
    def plus(total: Vector, weights: Vector, x: Vector) -> Vector:
        return total + _sums_of_pairs(weights, x)


class Bytes:
    """int8 weights times int8, four by four: vpdpbusd, or vpmaddubsw and vpmaddwd where there is only AVX2.

    Both multiply a byte with a sign by one without. So x is kept as x + MIDDLE, and MIDDLE times the sum of a row's
    weights is taken away again. vpmaddubsw wants two products to sum to less than 2^15: see PAIR.
    """

    unit, dtype, kind = 4, np.uint8, INTS

    @staticmethod
    def inputs(x: Memory) -> Vector:
        return x.spread(INTS)

    @staticmethod
    def plus(total: Vector, weights: Vector, x: Vector) -> Vector:
        if HAS_DOT:
            return total.call(f"llvm.x86.avx512.vpdpbusd.{32 * LANES}", INTS, x, weights)
        by_two, by_four = PAIRS[LANES]
        pairs = x.to("bitcast", BYTES).call(by_two, SHORTS, weights.to("bitcast", BYTES))
        ones = Vector(pairs.builder, ir.Constant(SHORTS, [1] * SHORTS.count))
        return total + pairs.call(by_four, INTS, ones)


ARITHMETIC = {types.float32: Floats, types.int16: Shorts, types.uint8: Bytes}


def arithmetic(precision: str) -> type:
    """The fastest for weights of this precision on this processor."""
    if precision == "int8" and HAS_BYTES:
        return Bytes
    return Floats if precision == "float32" else Shorts


def pack(weight: np.ndarray, unit: int) -> np.ndarray:
    """Weights (out, in) in the order in which they are read, flat; `unit` inputs lie beside each other.

    Blocks of outputs, in each the inputs in turn, in each the block's outputs: out must be a multiple of 32.
    """
    blocks = []
    for first, last in _blocks(len(weight)):
        block = weight[first:last].reshape(last - first, -1, unit)  # (outputs, inputs / unit, unit)
        blocks.append(block.transpose(1, 0, 2).ravel())
    return np.concatenate(blocks)


def pack_rows(scale: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """What belongs to the rows of integer weights, flat: for each vector their scales, then what `Bytes` takes away."""
    away = (MIDDLE * weight.sum(1)).astype(np.int32)
    both = scale.astype(np.float32), away.view(np.float32)
    return np.stack([part.reshape(-1, LANES) for part in both], axis=1).ravel()


def _blocks(n_out: int) -> list[tuple[int, int]]:
    edges = [0]
    for wide in WIDE:
        edges += range(edges[-1] + wide, n_out + 1, wide)
    return list(pairwise(edges))


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
    numbers, first = ARITHMETIC[x.dtype], I64(0)
    tall, broad = (LANES // 4, columns) if columns > 1 else (WIDE[0], 1)
    for wide in WIDE:
        last, vectors = builder.and_(n_out, I64(-wide)), wide // LANES
        for o in each(builder, first, last, wide):
            for c, v in product(range(0, columns, broad), range(0, vectors, tall)):
                outs = [out.after(o, builder.mul(n_out, I64(c + i))) for i in range(broad)]
                ins = [x.after(builder.mul(n_in, I64(c + i))) for i in range(broad)]
                tile = range(v, min(v + tall, vectors))
                _tile(numbers, tile, wide, outs, weight.after(builder.mul(o, n_in)), rows.after(o, o), ins, scale.after(c), n_in)
        first = last


def _tile(numbers, tile, wide, outs, weight, rows, ins, scale, n_in):
    """Some vectors of a block of outputs: the sums stay in registers while the weights stream past."""
    builder, unit = weight.builder, numbers.unit
    zero = Vector(builder, ir.Constant(*((FLOATS, [0.0] * LANES) if numbers is Floats else (INTS, [0] * LANES))))
    chains = max(1, 4 // (len(tile) * len(ins)))  # independent sums, so that few outputs need not wait for products
    sums = [[[Register(zero) for _ in range(chains)] for _ in ins] for _ in tile]
    for j in each(builder, 0, n_in, unit * chains):
        for chain in range(chains):
            here = builder.add(j, I64(chain * unit))
            values = [numbers.inputs(x.after(here)) for x in ins]
            near = weight.after(builder.mul(here, I64(wide)))
            for v, row in zip(tile, sums, strict=True):
                weights = near.after(v * unit * LANES).load(numbers.kind)
                for total, value in zip(row, values, strict=True):
                    total[chain].set(numbers.plus(total[chain].get(), weights, value))
    for v, row in zip(tile, sums, strict=True):
        for c, (out, total) in enumerate(zip(outs, row, strict=True)):
            total = reduce(Vector.__add__, [one.get() for one in total])
            target = out.after(v * LANES)
            target.store(target.load() + _result(total, numbers, rows.after(2 * v * LANES), scale.after(c)))


def _result(total, numbers, rows, scale):
    """What the sums of a vector of outputs come to, given the scales of their rows and of the inputs."""
    if numbers is Floats:
        return total
    if numbers is Bytes:
        total = total - rows.after(LANES).load(INTS)
    return total.to("sitofp", FLOATS) * (scale.spread() * rows.load())


def _sums_of_pairs(a: Vector, b: Vector) -> Vector:
    """a[0] b[0] + a[1] b[1], a[2] b[2] + a[3] b[3], ...: LLVM knows this pattern."""
    both = ir.VectorType(I32, 2 * LANES)
    product = a.to("sext", both) * b.to("sext", both)
    return product.lanes(range(0, 2 * LANES, 2)) + product.lanes(range(1, 2 * LANES, 2))
