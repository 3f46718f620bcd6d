"""The sampler for a GPU: one Triton kernel that runs for a whole block of samples."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from musicai.wavenet._fast.weights import Weights
from musicai.wavenet.generate.samplers import Conditioning, Draw
from musicai.wavenet.model import WaveNet

GROUP = 16  # streams per program: the fewest rows that a tensor core multiplies
CHUNK = 64  # channels of the output layer computed at once
WARPS = 8  # of a program: together, they hold the weights of a layer in registers
COLDEST = 1e-20  # stands for a temperature of 0, which takes the most likely code
HALF = torch.float16
LN2 = tl.constexpr(0.6931471805599453)


class Fused:
    """Like `Cached`, but with one launch per block of samples instead of many per sample. See `Sampler`.

    Each program of the kernel takes 16 streams through the whole network, sample after sample. What passes from layer
    to layer stays in registers; weights and the rings of past inputs, in float16, lie in global memory and stay in the
    L2 cache. Sums and the draw are in float32. It only draws codes, from models with kernel size 2, and without
    `top_p`.

    Measured on an H200 at the reference shape (20 layers, R = 64, S = 128, A = 256), the kernel alone, all streams
    together, in samples per second: 41,600 for one stream, 707,000 for 16, 5.4 million for 128, 20.6 million for 528
    and 76.4 million for 2,112. A program takes 23 to 28 us per sample, no matter how many of its streams are wanted.

    The floor: a program reads all 1.3 MB of weights for each sample. One multiprocessor reads about 64 bytes per clock
    cycle from L2, hence 11 us per sample at 1.98 GHz. The weights of a layer are requested a layer ahead, but threads
    can tell apart only six groups of requests: in the compiled code, a layer begins when all that were made have come.
    """

    def __init__(self, model: WaveNet, conditioning: Conditioning, draw: Draw, previous: Tensor):
        self.model, self.conditioning, self.draw = model, conditioning, draw
        self.previous, self.time = previous.to(torch.int32), 0
        c, streams = model.config, len(previous)
        sizes = c.residual_channels, c.skip_channels, c.end_channels, c.classes
        self.sizes = {name: max(triton.next_power_of_2(size), 32) for name, size in zip("RSAK", sizes, strict=True)}
        self.weights = w = Weights(model, *self.sizes.values())
        w.head_bias[c.classes :] = -1e15  # the probability of padded codes is 0
        self.sizes["CHUNK"] = chunk = min(CHUNK, self.sizes["A"])
        inner = w.taps.permute(0, 1, 4, 3, 2).flatten(3).unbind(1)  # filter and gate are neighbours: (layers, R, 2 R)
        inner = torch.cat([_pack(matrix, 1) for matrix in (*inner, w.residual.mT, w.skip.mT)], 1)
        # What `_advance` multiplies by and adds, inputs before outputs, in the order of its arguments.
        self.arrays = [inner, _pack(w.output.unflatten(0, (-1, chunk)).mT), _pack(w.head.mT)]
        self.arrays += [w.input, w.residual_bias, w.skip_bias, w.output_bias, w.head_bias]
        self.groups, self.depth = triton.cdiv(streams, GROUP), c.layers // c.stacks
        shape = self.groups, c.stacks * 2 ** (self.depth + 1), GROUP, self.sizes["R"]
        self.ring = previous.new_zeros(shape, dtype=HALF)

    @torch.no_grad()
    def block(self, start: int, uniforms: Tensor, forced: Tensor | None = None) -> Tensor:
        """See `Sampler.block`."""
        streams, length, _ = uniforms.shape
        numbers = uniforms[..., 0].float().clamp(max=1 - 2**-24).to(self.previous.device).contiguous()
        samples = (torch.empty_like(numbers) if forced is None else forced).to(self.previous).contiguous()
        if self.draw.temperature == 0:
            numbers.zero_()  # the first of equally likely codes
        h = self.conditioning.block(start, start + (1 if self.conditioning.local is None else length))
        given = self.weights.conditions(h).unflatten(-1, (-1, 2, self.sizes["R"])).mT.flatten(2)  # like `inner`
        given = given.expand(length, streams, -1)  # constant ones have a stride of 0
        with torch.cuda.device_of(self.previous):  # which need not be the current one
            _advance[self.groups,](
                samples, numbers, self.previous, self.ring, given, given.stride(0), given.stride(1), *self.arrays,
                streams, length, self.time, max(self.draw.temperature, COLDEST),
                LAYERS=self.model.config.layers, DEPTH=self.depth, **self.sizes, GROUP=GROUP, FORCED=forced is not None,
                SAME=streams == 1 or given.stride(1) == 0, num_warps=WARPS, num_stages=1,
            )  # fmt: skip
        self.previous = samples[:, -1].contiguous()
        self.time = (self.time + length) % 2**self.depth  # every dilation divides that
        return samples.long()


def _pack(matrices: Tensor, axis: int = 0) -> Tensor:
    """Matrices (..., C, D) in the order of `_fetched`, flattened from this axis."""
    parts = matrices.to(HALF).unflatten(-2, (-1, 2, 2, 4, 2)).movedim(-1, -5).movedim(-2, -4).flatten(axis).contiguous()
    return parts.view(torch.int32) if HALF.itemsize == 2 else parts


@triton.jit
def _fetched(at, C: tl.constexpr, D: tl.constexpr):
    """The elements of a matrix (C, D), of which two of float16 are read as one integer, as no register holds less.

    They lie in the order in which the registers of all threads need them for a product on tensor cores, so that they
    need not pass through shared memory: of 32 inputs and one output, thread i of 4 has 2 i, 2 i + 1 and, from these, 8,
    16 and 24 further.
    """
    return tl.load(at + tl.arange(0, C * D // (2 if at.dtype.element_ty == tl.int32 else 1)), cache_modifier=".cg")


@triton.jit
def _product(x, w, total, following, C: tl.constexpr, D: tl.constexpr):
    """total + x (GROUP, C) times weights (C, D), summed in float32, and the weights that follow these."""
    if w.dtype == tl.int32:
        w = (w.reshape(C // 32, D, 4, 2, 2, 1) >> tl.arange(0, 2) * 16).to(tl.int16).to(tl.float16, bitcast=True)
    w = w.reshape(C // 32, D, 4, 2, 2, 2).permute(0, 3, 4, 2, 5, 1).reshape(C, D)
    # The precision matters to tests in float32 only.
    total = tl.dot(x.to(w.dtype), w, tl.broadcast_to(total, [x.shape[0], D]), input_precision="ieee")
    return total, _fetched(following, C, D)


@triton.jit
def _drawn(logits, u, temperature, K: tl.constexpr):
    """The first code whose cumulative probability exceeds u, as in `categorical_from_uniform`: (GROUP,)."""
    p = tl.exp((logits - tl.max(logits, 1)[:, None]) / temperature)
    cumulative = tl.where(p > 0, tl.cumsum(p, 1), 0.0)
    above = cumulative > (u * tl.max(cumulative, 1))[:, None]
    return tl.min(tl.where(above, tl.arange(0, K)[None, :], K - 1), 1)


@triton.jit(do_not_specialize=["streams", "length", "time"])
def _advance(
    samples, uniforms, previous, ring, given, given_time, given_stream,
    inner, output, head, table, inner_bias, skip_bias, output_bias, head_bias,
    streams, length, time, temperature,
    LAYERS: tl.constexpr, DEPTH: tl.constexpr, R: tl.constexpr, S: tl.constexpr, A: tl.constexpr, K: tl.constexpr,
    CHUNK: tl.constexpr, GROUP: tl.constexpr, FORCED: tl.constexpr, SAME: tl.constexpr,
):  # fmt: skip
    """Draw `length` samples of GROUP streams; each program has its own streams."""
    PACKED: tl.constexpr = 2 if inner.dtype.element_ty == tl.int32 else 1
    SQUARE: tl.constexpr = R * R // PACKED
    SIZE: tl.constexpr = 5 * SQUARE + R * S // PACKED
    stream = tl.program_id(0) * GROUP + tl.arange(0, GROUP)
    at, r = tl.minimum(stream, streams - 1).to(tl.int64), tl.arange(0, R)[None, :]
    given += tl.arange(0, 2 * R)[None, :] + (0 if SAME else at[:, None] * given_stream)
    cell = tl.arange(0, GROUP)[:, None] * R + r  # in a row of the ring
    ring += tl.program_id(0).to(tl.int64) * (LAYERS // DEPTH * (2 << DEPTH) * GROUP * R) + cell
    # The weights that come next are always held in registers; as soon as they have been used, others take their place.
    past_w, x_w = _fetched(inner, R, 2 * R), _fetched(inner + 2 * SQUARE, R, 2 * R)
    residual_w, skip_w = _fetched(inner + 4 * SQUARE, R, R), _fetched(inner + 5 * SQUARE, R, S)
    output_w, head_w = _fetched(output, S, CHUNK), _fetched(head, CHUNK, K)
    code, t = tl.load(previous + at), 0
    # Likewise, a layer's past and its product are read and computed in advance, as they don't depend on x.
    past = tl.load(ring + _row(0, time + 1, DEPTH) * (GROUP * R))
    inside, past_w = _product(past, past_w, tl.load(given), inner + 1 % LAYERS * SIZE, R, 2 * R)
    past = tl.load(ring + _row(1 % LAYERS, time + (1 << 1 % LAYERS % DEPTH), DEPTH) * (GROUP * R))
    while t < length:  # Triton's interpreter has no range of a runtime number with NumPy 2.4
        x = tl.load(table + code[:, None] * R + r)  # (GROUP, R)
        total = tl.broadcast_to(tl.load(skip_bias + tl.arange(0, S))[None, :], [GROUP, S])
        for layer in range(LAYERS):
            tl.store(ring + _row(layer, time + t, DEPTH) * (GROUP * R), x.to(past.dtype))
            after, second = layer + 1, layer + 2  # which may belong to the next sample
            w = inner + after % LAYERS * SIZE
            inside, x_w = _product(x, x_w, inside, w + 2 * SQUARE, R, 2 * R)
            z = _gated(inside.reshape(GROUP, R, 2)).to(past.dtype)
            if LAYERS == 1:  # then the past has only just been stored
                tl.debug_barrier()
                past = tl.load(ring + _row(0, time + t, DEPTH) * (GROUP * R))
            known = given + tl.minimum(t + after // LAYERS, length - 1) * given_time + after % LAYERS * (2 * R)
            following = inner + second % LAYERS * SIZE
            inside, past_w = _product(past, past_w, tl.load(known), following, R, 2 * R)
            then = time + t + second // LAYERS + (1 << second % LAYERS % DEPTH)
            past = tl.load(ring + _row(second % LAYERS, then, DEPTH) * (GROUP * R))
            x, residual_w = _product(z, residual_w, x + tl.load(inner_bias + layer * R + r), w + 4 * SQUARE, R, R)
            total, skip_w = _product(z, skip_w, total, w + 5 * SQUARE, R, S)
        place = at * length + t
        if FORCED:
            code = tl.load(samples + place)
        else:
            u = tl.load(uniforms + place)
            logits = tl.broadcast_to(tl.load(head_bias + tl.arange(0, K))[None, :], [GROUP, K])
            for a in range(0, A, CHUNK):
                after = (a + CHUNK) % A
                features = tl.load(output_bias + a + tl.arange(0, CHUNK))[None, :]
                following = output + after * (S // PACKED)
                features, output_w = _product(tl.maximum(total, 0.0), output_w, features, following, S, CHUNK)
                following = head + after * (K // PACKED)
                logits, head_w = _product(tl.maximum(features, 0.0), head_w, logits, following, CHUNK, K)
            code = _drawn(logits, u, temperature, K)
            tl.store(samples + place, code, mask=stream < streams)
        t += 1
        tl.debug_barrier()  # what was written to the rings is visible to all threads


@triton.jit
def _row(layer, time, DEPTH: tl.constexpr):
    """The row of the rings for what went into a layer at this time.

    A layer of dilation d has 2 d rows, so that none is read and overwritten in the same step.
    """
    dilation = 1 << layer % DEPTH
    return layer // DEPTH * (2 << DEPTH) + 2 * dilation + (time & (2 * dilation - 1))


@triton.jit
def _gated(inside):
    """tanh(f) sigmoid(g) for (f, g) on the last axis, with a single division."""
    f, g = tl.split(inside)
    a, b = tl.exp2(tl.minimum(-2 / LN2 * f, 60.0)), tl.exp2(tl.minimum(-1 / LN2 * g, 60.0))  # whose product is finite
    return (1 - a) / ((1 + a) * (1 + b))
