"""Matrix times vector in the registers, as LLVM vectors: what the sampler for the CPU spends its time on. Chapter 5.

numba's own loops keep the sums in memory, which costs three accesses to the cache where one will do. Here a block of
16, 32, ... sums stays in vector registers while the weights stream past once, in the order in which they are packed.
The vectors are LLVM's portable ones: the same lines become AVX-512 (with `vpdpwssd` for integers), AVX2 or NEON.
"""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from musicai.sampling.vectors import (
    BYTES,
    F32,
    FLOATS,
    I8,
    I16,
    I32,
    I64,
    INTS,
    LANES,
    SHORTS,
    at,
    data,
    load,
    loop,
    splat,
)

WIDE, NARROW = 4, 2  # vectors in a block: as many wide ones as fit, then narrow ones
CHAINS = {("float32", WIDE): 1, ("float32", NARROW): 4}  # independent sums for each output, to hide the latency
INT_CHAINS = {WIDE: 2, NARROW: 4}

ELEMENT = {"float32": F32, "int8": I8, "int16": I16}


def pack(weight: np.ndarray, pair: int) -> np.ndarray:
    """Weights (out, in) in the order in which `matvec` reads them, flat; `pair` inputs lie beside each other.

    Blocks of outputs, in each the inputs in turn, in each the block's outputs: out must be a multiple of 32.
    """
    blocks = []
    for first, last in _blocks(len(weight)):
        block = weight[first:last].reshape(last - first, -1, pair)  # (outputs, inputs / pair, pair)
        blocks.append(block.transpose(1, 0, 2).ravel())
    return np.concatenate(blocks)


def _blocks(n_out: int) -> list[tuple[int, int]]:
    wide = n_out // (WIDE * LANES) * WIDE * LANES
    edges = [*range(0, wide, WIDE * LANES), *range(wide, n_out + 1, NARROW * LANES)]
    return list(pairwise(edges))


@intrinsic
def matvec(context, out, o, weight, w, row_scale, r, x, i, x_scale, n_in, n_out):
    """out[o:] += weight @ x, where weight and row_scale are packed from w and r, x (n_in) starts at i.

    float32 weights go with float32 x, and scales are not used; int8 or int16 weights with int16 x: each output is then
    row_scale x x_scale x an exact sum of integers. n_in must be a multiple of 8, n_out of 32.
    """
    place = types.int64
    signature = types.void(out, place, weight, place, row_scale, place, x, place, types.float32, place, place)
    emit = _emit_float if weight.dtype == types.float32 else _emit_int

    def codegen(context, builder, signature, args):
        kinds, x_scale, n_in, n_out = signature.args, *args[8:]
        starts = [builder.gep(data(context, builder, kinds[k], args[k]), [args[k + 1]]) for k in (0, 2, 4, 6)]
        kind = str(kinds[2].dtype)
        done = builder.and_(n_out, I64(-WIDE * LANES))
        for vectors, first, last in ((WIDE, I64(0), done), (NARROW, done, n_out)):
            emit(builder, kind, vectors, first, last, starts, x_scale, n_in)
        return context.get_dummy_value()

    return signature, codegen


def _emit_float(builder, kind, vectors, first, last, starts, _, n_in) -> None:
    out, weight, _, x = starts
    chains = CHAINS[kind, vectors]

    def block(first_output, _):
        row = [at(builder, out, builder.add(first_output, I64(v * LANES)), FLOATS) for v in range(vectors)]
        column = at(builder, weight, builder.mul(first_output, n_in), F32)

        def step(j, sums):
            sums = list(sums)
            for c in range(chains):
                here = builder.add(j, I64(c))
                value = splat(builder, builder.load(builder.gep(x, [here]), align=4), FLOATS)
                wide = builder.mul(here, I64(vectors * LANES))
                for v in range(vectors):
                    weights = load(builder, at(builder, column, builder.add(wide, I64(v * LANES)), FLOATS), 4)
                    product = builder.fmul(weights, value, flags=("contract",))
                    sums[c * vectors + v] = builder.fadd(sums[c * vectors + v], product, flags=("contract",))
            return sums

        start = [load(builder, p, 4) for p in row] + [ir.Constant(FLOATS, [0.0] * LANES)] * (vectors * (chains - 1))
        sums = loop(builder, I64(0), n_in, chains, start, step)
        for v in range(vectors):
            builder.store(_sum(builder.fadd, sums[v::vectors]), row[v], align=4)
        return []

    loop(builder, first, last, vectors * LANES, [], block)


def _emit_int(builder, kind, vectors, first, last, starts, x_scale, n_in) -> None:
    out, weight, row_scale, x = starts
    chains, stored = INT_CHAINS[vectors], BYTES if kind == "int8" else SHORTS
    scale = splat(builder, x_scale, FLOATS)

    def block(first_output, _):
        column = at(builder, weight, builder.mul(first_output, n_in), ELEMENT[kind])

        def step(j, sums):
            sums = list(sums)
            for c in range(chains):
                here = builder.add(j, I64(2 * c))
                pair = builder.load(at(builder, x, here, I32), align=2)
                values = builder.bitcast(splat(builder, pair, INTS), SHORTS)
                wide = builder.mul(here, I64(vectors * LANES))
                for v in range(vectors):
                    weights = load(builder, at(builder, column, builder.add(wide, I64(v * 2 * LANES)), stored), 1)
                    pairs = _sum_of_pairs(builder, weights, values)
                    sums[c * vectors + v] = builder.add(sums[c * vectors + v], pairs)
            return sums

        start = [ir.Constant(INTS, [0] * LANES)] * (vectors * chains)
        sums = loop(builder, I64(0), n_in, 2 * chains, start, step)
        for v in range(vectors):
            place = builder.add(first_output, I64(v * LANES))
            whole = builder.sitofp(_sum(builder.add, sums[v::vectors]), FLOATS)
            factor = builder.fmul(scale, load(builder, at(builder, row_scale, place, FLOATS), 4))
            target = at(builder, out, place, FLOATS)
            added = builder.fadd(load(builder, target, 4), builder.fmul(whole, factor, flags=("contract",)))
            builder.store(added, target, align=4)
        return []

    loop(builder, first, last, vectors * LANES, [], block)


def _sum_of_pairs(builder: ir.IRBuilder, a: ir.Value, b: ir.Value) -> ir.Value:
    """a[0] b[0] + a[1] b[1], a[2] b[2] + a[3] b[3], ...: to LLVM, a pattern for vpdpwssd or vpmaddwd."""
    both = ir.VectorType(I32, 2 * LANES)
    product = builder.mul(builder.sext(a, both), builder.sext(b, both))
    even, odd = (ir.Constant(INTS, list(range(k, 2 * LANES, 2))) for k in (0, 1))
    nothing = ir.Constant(both, ir.Undefined)
    return builder.add(builder.shuffle_vector(product, nothing, even), builder.shuffle_vector(product, nothing, odd))


def _sum(add: Callable, terms: list) -> ir.Value:
    total = terms[0]
    for term in terms[1:]:
        total = add(total, term)
    return total
