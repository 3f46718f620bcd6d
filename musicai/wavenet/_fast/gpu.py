"""The sampler for a GPU: one Triton kernel that runs for a whole block of samples."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from musicai.wavenet._fast.weights import Weights
from musicai.wavenet.generate.samplers import Conditioning, Draw
from musicai.wavenet.model import WaveNet

GROUP = 16  # streams per program: the fewest rows that a tensor core multiplies
CHUNK = 64  # channels of the output layer held at once, so that they fit into shared memory
COLDEST = 1e-20  # stands for a temperature of 0, which takes the most likely code
HALF = torch.float16


class Fused:
    """Like `Cached`, but with one launch per block of samples instead of many per sample. See `Sampler`.

    Each program of the kernel takes 16 streams through the whole network, sample after sample. What passes from layer
    to layer stays in registers; weights and the rings of past inputs, in float16, lie in global memory and stay in the
    L2 cache. Sums and the draw are in float32. Measured on an H200 at the reference shape (20 layers, R = 64, S = 128,
    A = 256), all streams together: 8,300 samples per second for one stream, 225,000 for 16, 2.7 million for 256. It
    only draws codes, from models with kernel size 2, and without `top_p`.

    The floor: a program reads all 1.3 MB of weights for each sample. One multiprocessor of an H100 reads about 64 bytes
    per clock cycle from L2, hence 12 us per sample; in addition, about 70 products follow one another, and each waits
    for its weights.
    """

    def __init__(self, model: WaveNet, conditioning: Conditioning, draw: Draw, previous: Tensor):
        self.model, self.conditioning, self.draw = model, conditioning, draw
        self.previous, self.time = previous.to(torch.int32), 0
        c, streams = model.config, len(previous)
        sizes = c.residual_channels, c.skip_channels, c.end_channels, c.classes
        self.sizes = {name: max(triton.next_power_of_2(size), 16) for name, size in zip("RSAK", sizes, strict=True)}
        self.weights = w = Weights(model, *self.sizes.values())
        inner = torch.cat([w.taps.flatten(1, 2), w.residual[:, None]], dim=1)  # (layers, 5, R, R)
        w.head_bias[c.classes :] = -1e15  # the probability of padded codes is 0
        # What `_advance` multiplies by and adds, inputs before outputs, in the order of its arguments.
        self.arrays = [matrix.mT.to(HALF).contiguous() for matrix in (inner, w.skip, w.output, w.head)]
        self.arrays += [w.input, w.residual_bias, w.skip_bias, w.output_bias, w.head_bias]
        self.groups, self.depth = triton.cdiv(streams, GROUP), c.layers // c.stacks
        shape = self.groups, c.stacks * (2**self.depth - 1), GROUP, self.sizes["R"]
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
        given = self.weights.conditions(h).contiguous().expand(length, streams, -1)  # constant ones have a stride of 0
        with torch.cuda.device_of(self.previous):  # which need not be the current one
            _advance[self.groups,](
                samples, numbers, self.previous, self.ring, given, given.stride(0), given.stride(1), *self.arrays,
                streams, length, self.time, max(self.draw.temperature, COLDEST),
                LAYERS=self.model.config.layers, DEPTH=self.depth, **self.sizes, CHUNK=min(CHUNK, self.sizes["A"]),
                GROUP=GROUP, FORCED=forced is not None, num_warps=4, num_stages=1,
            )  # fmt: skip
        self.previous = samples[:, -1].contiguous()
        self.time = (self.time + length) % 2**self.depth  # every dilation divides that
        return samples.long()


@triton.jit
def _product(x, weights, C: tl.constexpr, D: tl.constexpr, STRIDE: tl.constexpr):
    """x (GROUP, C) times weights (C, D), whose rows are STRIDE apart, summed in float32."""
    w = tl.load(weights + tl.arange(0, C)[:, None] * STRIDE + tl.arange(0, D)[None, :])
    return tl.dot(x.to(w.dtype), w, input_precision="ieee")  # which matters to tests in float32 only


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
    inner, skips, output, head, table, inner_bias, skip_bias, output_bias, head_bias,
    streams, length, time, temperature,
    LAYERS: tl.constexpr, DEPTH: tl.constexpr, R: tl.constexpr, S: tl.constexpr, A: tl.constexpr, K: tl.constexpr,
    CHUNK: tl.constexpr, GROUP: tl.constexpr, FORCED: tl.constexpr,
):  # fmt: skip
    """Draw `length` samples of GROUP streams; each program has its own streams."""
    group = tl.program_id(0)
    stream = group * GROUP + tl.arange(0, GROUP)
    here, r = stream < streams, tl.arange(0, R)[None, :]
    cell = tl.arange(0, GROUP)[:, None] * R + r  # in a row of the ring
    ring += group.to(tl.int64) * (LAYERS // DEPTH * ((1 << DEPTH) - 1) * GROUP * R)
    at = stream.to(tl.int64)
    code = tl.load(previous + stream, mask=here, other=0)
    for t in range(length):
        x = tl.load(table + code[:, None] * R + r)  # (GROUP, R)
        total = tl.zeros([GROUP, S], tl.float32) + tl.load(skip_bias + tl.arange(0, S))[None, :]
        for layer in range(LAYERS):
            dilation = 1 << (layer % DEPTH)
            row = layer // DEPTH * ((1 << DEPTH) - 1) + dilation - 1 + (time + t) % dilation
            past = tl.load(ring + row * (GROUP * R) + cell)
            tl.debug_barrier()  # all threads have read what is about to be overwritten
            tl.store(ring + row * (GROUP * R) + cell, x.to(past.dtype))
            known = given + t * given_time + at[:, None] * given_stream + layer * (2 * R) + r
            w = inner + layer * (5 * R * R)
            filtered = tl.load(known, mask=here[:, None], other=0.0)
            filtered += _product(past, w, R, R, R) + _product(x, w + 2 * R * R, R, R, R)
            gate = tl.load(known + R, mask=here[:, None], other=0.0)
            gate += _product(past, w + R * R, R, R, R) + _product(x, w + 3 * R * R, R, R, R)
            z = (2 * tl.sigmoid(2 * filtered) - 1) * tl.sigmoid(gate)  # the first is tanh
            total += _product(z, skips + layer * (R * S), R, S, S)
            x += _product(z, w + 4 * R * R, R, R, R) + tl.load(inner_bias + layer * R + r)
        place = at * length + t
        if FORCED:
            code = tl.load(samples + place, mask=here, other=0)
        else:
            logits = tl.zeros([GROUP, K], tl.float32) + tl.load(head_bias + tl.arange(0, K))[None, :]
            for a in range(0, A, CHUNK):
                features = _product(tl.maximum(total, 0.0), output + a, S, CHUNK, A)
                features += tl.load(output_bias + a + tl.arange(0, CHUNK))[None, :]
                logits += _product(tl.maximum(features, 0.0), head + a * K, CHUNK, K, K)
            u = tl.load(uniforms + place, mask=here, other=0.0)
            code = _drawn(logits, u, temperature, K)
            tl.store(samples + place, code, mask=here)
        tl.debug_barrier()  # what was written to the rings is visible to all threads
