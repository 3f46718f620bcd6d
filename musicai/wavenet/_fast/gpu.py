"""Sampling on a GPU by one kernel, written in Triton, that stays for a whole block of samples. Chapter 5."""

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.nn import functional as F

from musicai.wavenet.generate.conditioning import Conditioning
from musicai.wavenet.generate.naive import Draw
from musicai.wavenet.model import WaveNet

GROUP = 16  # streams of one program: the fewest rows that a tensor core multiplies
CHUNK = 64  # channels of the end layer that are held at once, so that float32 fits into shared memory too
HELD = 2**26  # numbers of conditioning that are held at once
COLDEST = 1e-20  # a temperature of 0, which takes the likeliest
DTYPES = {"float32": torch.float32, "float16": torch.float16}
LAUNCH = {"num_warps": 4, "num_stages": 1}


class Fused:
    """As `Cached`, but a block of samples is one launch: no launches between layers, nor between samples.

    Each program of the kernel takes 16 streams through the whole network, sample after sample. What goes on from layer
    to layer stays in registers; weights and the rings of past inputs lie in global memory, which the L2 cache holds.
    Sums and the draw are in float32. Tested in Triton's interpreter, and compiled for compute capability 9.0 (where
    float32 spills registers, and float16 uses tensor cores); not yet run, and not yet measured, on a GPU.

    The floor, by arithmetic: a program reads all weights for each sample, 0.67 million at the reference shape (20
    layers, R = 64, S = 128, A = 256), in float16 1.3 MB. One multiprocessor of an H100 reads about 64 bytes a clock
    from L2, hence 12 us a sample, 24 us in float32: 80,000 samples a second for one stream would be the limit and not
    the result, since about 70 products follow one another and each waits for its weights. Over many streams, L2's
    5 TB/s or so are shared by 132 programs of 16 streams: at most 60 million samples a second. One fast stream needs
    weights that never move: channels shared out to several multiprocessors, each keeping its part in shared memory.

    precision: of weights and rings: "float32" or "float16".

    Raises ValueError for a model of another kernel size than 2, or of mixtures. Chapter 5.
    """

    def __init__(self, model: WaveNet, conditioning: Conditioning, draw: Draw, previous: Tensor, precision: str):
        check(model)
        self.model, self.conditioning, self.draw = model, conditioning, draw
        self.previous, self.time = previous.to(torch.int32), 0
        c, streams = model.config, len(previous)
        sizes = c.residual_channels, c.skip_channels, c.end_channels, c.classes
        self.sizes = dict(zip("RSAK", map(padded, sizes), strict=True))
        self.weights = _packed(model, DTYPES[precision], **self.sizes)
        self.groups, self.depth = triton.cdiv(streams, GROUP), c.layers // c.stacks
        rows = c.stacks * (2**self.depth - 1)
        self.ring = torch.zeros(self.groups, rows, GROUP, self.sizes["R"], device=previous.device).to(DTYPES[precision])
        self.room = max(HELD // (2 * c.layers * self.sizes["R"] * streams), 1)  # samples of one launch

    @torch.no_grad()
    def block(self, start: int, uniforms: Tensor, forced: Tensor | None = None) -> Tensor:
        """Samples [start, start + T) for uniforms (streams, T, 1): (streams, T). Known ones can be forced."""
        parts = []
        with torch.cuda.device_of(self.previous):
            for t in range(0, uniforms.shape[1], self.room):
                near = slice(t, t + self.room)
                parts.append(self._part(start + t, uniforms[:, near], None if forced is None else forced[:, near]))
        return torch.cat(parts, dim=1).long()

    def _part(self, start: int, uniforms: Tensor, forced: Tensor | None) -> Tensor:
        streams, length, _ = uniforms.shape
        numbers = uniforms[..., 0].float().clamp(max=1 - 2**-24).to(self.previous.device).contiguous()
        samples = (torch.empty_like(numbers) if forced is None else forced).to(self.previous).contiguous()
        cold, p = self.draw.temperature == 0, self.draw.top_p
        if cold:
            numbers.zero_()  # the first of those that are equally likely
        given = self._given(start, length)
        _advance[self.groups,](
            samples, numbers, self.previous, self.ring, given, given.stride(0), given.stride(1), *self.weights,
            streams, length, self.time, COLDEST if cold else max(self.draw.temperature, COLDEST), p or 1.0,
            LAYERS=self.model.config.layers, DEPTH=self.depth, **self.sizes, CHUNK=min(CHUNK, self.sizes["A"]),
            GROUP=GROUP, TOP_P=p is not None and p < 1 and not cold, FORCED=forced is not None, **LAUNCH,
        )  # fmt: skip
        self.previous = samples[:, -1].contiguous()
        self.time = (self.time + length) % 2**self.depth  # of which every dilation is a divisor
        return samples

    def _given(self, start: int, length: int) -> Tensor:
        """Conditioning and bias of every layer: (length, streams, layers x 2 R), constant ones of stride 0."""
        steps = 1 if self.conditioning.constant else length
        h = self.conditioning.block(start, start + steps)
        parts = []
        for block in self.model.stack.blocks:
            both = block.conv.bias.expand(1, 1, -1)
            if h is not None:
                both = F.linear(h.permute(2, 0, 1), block.condition.weight[..., 0], block.conv.bias)
            parts.extend(_to(part, self.sizes["R"]) for part in both.float().chunk(2, dim=-1))
        return torch.cat(parts, dim=-1).contiguous().expand(length, len(self.previous), -1)


def check(model: WaveNet) -> None:
    """Raise ValueError if the kernel cannot draw from this model."""
    c = model.config
    if c.mixtures:
        raise ValueError(f"method 'triton' draws codes, and this model predicts {c.mixtures} mixtures: 'cuda-graph'")
    if c.kernel_size != 2:
        raise ValueError(f"method 'triton' needs kernel_size 2, and this model has {c.kernel_size}: 'cuda-graph'")


def padded(channels: int) -> int:
    """A power of two, 16 or more, as the products want it."""
    return max(triton.next_power_of_2(channels), 16)


def _to(x: Tensor, *sizes: int) -> Tensor:
    """The last axes of x, filled up with zeros to these sizes."""
    room = [amount for n, size in zip(x.shape[::-1], sizes[::-1], strict=False) for amount in (0, size - n)]
    return F.pad(x.detach(), room)


def _packed(model: WaveNet, dtype: torch.dtype, R: int, S: int, A: int, K: int) -> tuple[Tensor, ...]:
    """What `_advance` multiplies with, input channels first, in its order of arguments."""
    blocks, end, head = model.stack.blocks, model.end, model.head.linear
    inner, skips, biases = [], [], []
    for b in blocks:
        zero = b.conv.weight.new_zeros(1)
        kinds = [half[..., tap].T for tap in (0, 1) for half in b.conv.weight.chunk(2)]  # the older tap first
        kinds.append(zero[None] if b.residual is None else b.residual.weight[..., 0].T)
        inner.append(torch.stack([_to(kind, R, R) for kind in kinds]))
        skips.append(_to(b.skip.weight[..., 0].T, R, S))
        biases.append(_to(zero if b.residual is None else b.residual.bias, R))
    weights = torch.stack(inner), torch.stack(skips), _to(end.weight[..., 0].T, S, A), _to(head.weight.T, A, K)
    nothing = head.bias.new_full((K - len(head.bias),), -1e15)  # the probability of padded codes is 0
    skip = _to(sum(b.skip.bias for b in blocks), S)
    numbers = model.front.weight, torch.stack(biases), skip, _to(end.bias, A), torch.cat([head.bias, nothing])
    front, *rest = (x.detach().float().contiguous() for x in numbers)
    return (*(w.to(dtype).contiguous() for w in weights), _to(front, R).contiguous(), *rest)


@triton.jit
def _product(x, weights, C: tl.constexpr, D: tl.constexpr, STRIDE: tl.constexpr):
    """x (GROUP, C) times weights (C, D), whose rows are STRIDE apart, summed in float32."""
    w = tl.load(weights + tl.arange(0, C)[:, None] * STRIDE + tl.arange(0, D)[None, :])
    return tl.dot(x.to(w.dtype), w, input_precision="ieee")


@triton.jit
def _sigmoid(x):
    return 1 / (1 + tl.exp(-x))


@triton.jit
def _likeliest(p, top_p):
    """p (GROUP, K) with all but the fewest that have a share of top_p put to 0, as `keep_top_p`, without sorting.

    Bits of floats above 0 are ordered as whole numbers; so halving finds the least p whose likelier ones lack the mass.
    """
    bits = p.to(tl.int32, bitcast=True)
    mass = top_p * tl.sum(p, 1)
    high = tl.max(bits, 1)
    low = tl.zeros_like(high) - 1
    for _ in range(31):
        middle = low + (high - low) // 2
        lacks = tl.sum(tl.where(bits > middle[:, None], p, 0.0), 1) < mass
        high = tl.where(lacks, middle, high)
        low = tl.where(lacks, low, middle)
    likelier = tl.sum(tl.where(bits > high[:, None], p, 0.0), 1)
    edge = tl.where(bits == high[:, None], p, 0.0)  # equally likely: the first of them come first
    before = likelier[:, None] + tl.cumsum(edge, 1) - edge
    return tl.where((bits > high[:, None]) | ((edge > 0) & (before < mass[:, None])), p, 0.0)


@triton.jit
def _drawn(logits, u, temperature, top_p, K: tl.constexpr, TOP_P: tl.constexpr):
    """The first code whose cumulative probability is above u, as `categorical_from_uniform`: (GROUP,)."""
    p = tl.exp((logits - tl.max(logits, 1)[:, None]) / temperature)
    if TOP_P:
        p = _likeliest(p, top_p)
    cumulative = tl.where(p > 0, tl.cumsum(p, 1), 0.0)
    above = cumulative > (u * tl.max(cumulative, 1))[:, None]
    return tl.min(tl.where(above, tl.arange(0, K)[None, :], K - 1), 1)


@triton.jit(do_not_specialize=["streams", "length", "time"])
def _advance(
    samples, uniforms, previous, ring, given, given_time, given_stream,
    inner, skips, end, head, front, inner_bias, skip_bias, end_bias, head_bias,
    streams, length, time, temperature, top_p,
    LAYERS: tl.constexpr, DEPTH: tl.constexpr, R: tl.constexpr, S: tl.constexpr, A: tl.constexpr, K: tl.constexpr,
    CHUNK: tl.constexpr, GROUP: tl.constexpr, TOP_P: tl.constexpr, FORCED: tl.constexpr,
):  # fmt: skip
    """`length` samples of GROUP streams, of which each program has its own."""
    group = tl.program_id(0)
    stream = group * GROUP + tl.arange(0, GROUP)
    here, r = stream < streams, tl.arange(0, R)[None, :]
    cell = tl.arange(0, GROUP)[:, None] * R + r  # in a row of the ring
    ring += group.to(tl.int64) * (LAYERS // DEPTH * ((1 << DEPTH) - 1) * GROUP * R)
    at = stream.to(tl.int64)
    code = tl.load(previous + stream, mask=here, other=0)
    for t in range(length):
        x = tl.load(front + code[:, None] * R + r)  # (GROUP, R)
        total = tl.zeros([GROUP, S], tl.float32) + tl.load(skip_bias + tl.arange(0, S))[None, :]
        for layer in range(LAYERS):
            dilation = 1 << (layer % DEPTH)
            row = layer // DEPTH * ((1 << DEPTH) - 1) + dilation - 1 + (time + t) % dilation
            past = tl.load(ring + row * (GROUP * R) + cell)
            tl.debug_barrier()  # all threads have read what is written over
            tl.store(ring + row * (GROUP * R) + cell, x.to(past.dtype))
            known = given + t * given_time + at[:, None] * given_stream + layer * (2 * R) + r
            w = inner + layer * (5 * R * R)
            filtered = tl.load(known, mask=here[:, None], other=0.0)
            filtered += _product(past, w, R, R, R) + _product(x, w + 2 * R * R, R, R, R)
            gate = tl.load(known + R, mask=here[:, None], other=0.0)
            gate += _product(past, w + R * R, R, R, R) + _product(x, w + 3 * R * R, R, R, R)
            z = (2 * _sigmoid(2 * filtered) - 1) * _sigmoid(gate)  # the first is tanh
            total += _product(z, skips + layer * (R * S), R, S, S)
            x += _product(z, w + 4 * R * R, R, R, R) + tl.load(inner_bias + layer * R + r)
        place = at * length + t
        if FORCED:
            code = tl.load(samples + place, mask=here, other=0)
        else:
            logits = tl.zeros([GROUP, K], tl.float32) + tl.load(head_bias + tl.arange(0, K))[None, :]
            for a in range(0, A, CHUNK):
                features = _product(tl.maximum(total, 0.0), end + a, S, CHUNK, A)
                features += tl.load(end_bias + a + tl.arange(0, CHUNK))[None, :]
                logits += _product(tl.maximum(features, 0.0), head + a * K, CHUNK, K, K)
            u = tl.load(uniforms + place, mask=here, other=0.0)
            code = _drawn(logits, u, temperature, top_p, K, TOP_P)
            tl.store(samples + place, code, mask=here)
        tl.debug_barrier()  # what was written to the rings is there for all threads
