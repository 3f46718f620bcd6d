"""Matrix times vector in the registers, as LLVM vectors: what the sampler for the CPU spends its time on. Chapter 5.

numba's own loops keep the sums in memory, which costs three accesses to the cache where one will do. Here a block of
16, 32, ... sums stays in vector registers while the weights stream past once, in the order in which they are packed.
The vectors are LLVM's portable ones: the same lines become AVX-512, AVX2 or NEON.
"""

from functools import partial
from itertools import pairwise, product

import numpy as np
from numba import types
from numba.extending import intrinsic

from musicai.sampling.products import MIDDLE, Bytes, Floats, Shorts
from musicai.sampling.vectors import FLOATS, I64, LANES, at, data, load, loop

COLUMNS = 4  # vectors that `matmat` multiplies with: each weight is read once for all of them
WIDTHS = (4, 2)  # vectors in a block: as many wide ones as fit, then narrow ones
ARITHMETIC = {types.float32: Floats, types.int16: Shorts, types.uint8: Bytes}  # by the type of x


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
    """What belongs to the rows of whole weights, flat: for each 16 their scales, then what `Bytes` takes away."""
    away = (MIDDLE * weight.sum(1)).astype(np.int32)
    both = scale.astype(np.float32), away.view(np.float32)
    return np.stack([part.reshape(-1, LANES) for part in both], axis=1).ravel()


def _blocks(n_out: int) -> list[tuple[int, int]]:
    wide, narrow = (vectors * LANES for vectors in WIDTHS)
    whole = n_out // wide * wide
    return list(pairwise([*range(0, whole, wide), *range(whole, n_out + 1, narrow)]))


@intrinsic
def matvec(context, out, o, weight, w, rows, r, x, i, x_scale, s, n_in, n_out):
    """out[o:] += weight @ x, where weight and rows are packed, from w and row r, and x (n_in) starts at i.

    float32 weights go with float32 x, and scales are not used; int8 or int16 weights with whole x as `encode` gives
    them: each output is then its row's scale x x_scale[s] x an exact sum of integers. n_in must be a multiple of 8,
    n_out of 32.
    """
    return _product(1, out, weight, rows, x, x_scale)


@intrinsic
def matmat(context, out, o, weight, w, rows, r, x, i, x_scale, s, n_in, n_out):
    """`matvec` for COLUMNS vectors that lie behind each other in x, with their scales from s and their sums from o."""
    return _product(COLUMNS, out, weight, rows, x, x_scale)


def _product(columns, *arrays):
    places = [types.int64] * len(arrays)
    pairs = [kind for pair in zip(arrays, places, strict=True) for kind in pair]
    signature = types.void(*pairs, types.int64, types.int64)

    def codegen(context, builder, signature, args):
        kinds, (n_in, n_out), steps = signature.args, args[10:], (1, 1, 2, 1, 1)
        starts = [
            builder.gep(data(context, builder, kinds[2 * k], args[2 * k]), [builder.mul(args[2 * k + 1], I64(step))])
            for k, step in enumerate(steps)
        ]
        numbers = ARITHMETIC[arrays[3].dtype](builder, str(arrays[1].dtype))
        first = I64(0)
        for vectors in WIDTHS:
            last = builder.and_(n_out, I64(-vectors * LANES))
            block = partial(_block, numbers, columns, starts, n_in, n_out, vectors)
            loop(builder, first, last, vectors * LANES, [], block)
            first = last
        return context.get_dummy_value()

    return signature, codegen


def _block(numbers, columns, starts, n_in, n_out, vectors, first, _):
    """A block of outputs: the sums stay in registers while the weights stream past."""
    builder, (out, weight, rows, x, x_scale) = numbers.builder, starts
    unit, chains = numbers.unit, numbers.chains[vectors] if columns == 1 else 1
    inputs = [builder.gep(x, [builder.mul(n_in, I64(c))]) for c in range(columns)]
    each = vectors * columns  # sums in a chain

    def affine(start, step, times):
        return builder.add(start, builder.mul(step, I64(times)))

    def step(j, sums):
        new = []
        for chain in range(chains):
            here = builder.add(j, I64(chain * unit))
            values = [numbers.value(builder.gep(start, [here])) for start in inputs]
            near = builder.gep(weight, [affine(builder.mul(first, n_in), here, vectors * LANES)])
            for v in range(vectors):
                weights = numbers.weights(builder.gep(near, [I64(v * unit * LANES)]))
                new += [numbers.plus(sums[len(new) + k], weights, value) for k, value in enumerate(values)]
        return new

    sums = loop(builder, I64(0), n_in, unit * chains, [numbers.nothing] * (chains * each), step)
    for k, (v, c) in enumerate(product(range(vectors), range(columns))):
        place = builder.add(first, I64(v * LANES))
        here = builder.gep(rows, [builder.mul(place, I64(2))]), builder.gep(x_scale, [I64(c)])
        target = at(builder, out, affine(place, n_out, c), FLOATS)
        added = builder.fadd(load(builder, target, 4), numbers.result(sums[k::each], *here))
        builder.store(added, target, align=4)
    return []
