"""Samplers: their inputs, the definition, and the network that caches its past. Chapter 5."""

import math
from copy import copy, deepcopy
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from musicai.wavenet.layers import ResidualBlock
from musicai.wavenet.model import WaveNet

CHUNK = 1024  # samples that share one seeded generator
AHEAD = 64  # samples whose conditioning Cached computes at once


class Conditioning:
    """The conditioning that the streams of a request hear: like `WaveNet.condition`, but block by block.

    Args:
        model: the WaveNet to condition.
        streams: the number of sequences to draw.
        length: samples in each.
        local: (local_channels, frames) for all streams, or (streams, local_channels, frames).
        instrument: a number for all streams, or int64 (streams,).

    Raises:
        ValueError: if the model needs something else, or a number isn't finite or is out of range.

    Chapter 5.
    """

    def __init__(
        self, model: WaveNet, streams: int, length: int, local: Tensor | None = None, instrument: Tensor | None = None
    ):
        self.model, self.streams, self.factor = model, streams, math.prod(model.config.upsample)
        self.margin = len(model.config.upsample) + 1  # frames on either side of a block that its upsampling may see
        self.local, self.instrument, like = None, None, next(model.parameters())
        if local is not None:
            local = torch.as_tensor(local).to(like)
            self.local = local.expand(streams, *local.shape) if local.ndim == 2 else local
            if model.upsample is not None:
                model._check_local(streams, length, self.local)
        if isinstance(instrument, str):
            raise ValueError(f"instrument must be a number; got {instrument!r} (ScoreWaveNet.conditioning takes names)")
        if instrument is not None:
            instrument = torch.as_tensor(instrument, device=like.device)
            self.instrument = instrument if instrument.ndim else instrument.expand(streams)
        self.block(0, 1)  # lets the model refuse what it cannot use

    def select(self, stream: int) -> "Conditioning":
        """The conditioning of a single stream."""
        one, here = copy(self), slice(stream, stream + 1)
        one.streams = 1
        one.local, one.instrument = (None if x is None else x[here] for x in (self.local, self.instrument))
        return one

    def block(self, start: int, stop: int) -> Tensor | None:
        """What the blocks see at samples [start, stop): (streams, channels, T). Without local, all T are the same."""
        if self.local is None:
            return self.model.condition(self.streams, stop - start, None, self.instrument)
        first = max(start // self.factor - self.margin, 0)
        frames = self.local[..., first : -(-stop // self.factor) + self.margin]
        h = self.model.condition(self.streams, frames.shape[-1] * self.factor, frames, self.instrument)
        return h[..., start - first * self.factor : stop - first * self.factor]

    @torch.inference_mode()
    def offset(self, start: int, stop: int) -> Tensor | int:
        """What is added to the drawn samples [start, stop), on the CPU: (streams, T), or 0; see `WaveNet.offset`."""
        first = start // self.factor
        frames = None if self.local is None else self.local[..., first : -(-stop // self.factor)]
        offset = self.model.offset(stop - first * self.factor, frames, self.instrument)
        return offset if isinstance(offset, int) else offset[:, start - first * self.factor :].cpu()


class Uniforms:
    """Uniform numbers in [0, 1), k per sample: drawn from a seed, or given as (streams, length, k).

    Those from a seed don't depend on the number of streams or their length, or on where a run was interrupted.

    Raises ValueError if given numbers have the wrong shape or lie outside [0, 1). If k = 1, (streams, length) will do.
    """

    def __init__(self, seed: int, streams: int, length: int, k: int, given: Tensor | np.ndarray | None = None):
        self.seed, self.streams, self.k, self.given, self.last = seed, streams, k, None, (-1, None)
        if given is not None:
            shape, given = tuple(given.shape), torch.as_tensor(given).detach().to("cpu", torch.float64)
            self.given = given[..., None] if given.ndim == 2 else given
            if self.given.shape != (streams, length, k) or not ((given >= 0) & (given < 1)).all():
                raise ValueError(f"uniforms must be (streams, n, k) = {(streams, length, k)}, in [0, 1); got {shape}")

    def __call__(self, start: int, stop: int) -> Tensor:
        """The numbers for samples [start, stop): (streams, stop - start, k), float64."""
        if self.given is not None:
            return self.given[:, start:stop]
        chunks = range(start // CHUNK, -(-stop // CHUNK))
        return torch.cat([self._chunk(c)[:, max(start - c * CHUNK, 0) : stop - c * CHUNK] for c in chunks], 1)

    def _chunk(self, chunk: int) -> Tensor:
        """The numbers of this chunk, of which the last is kept, as shorter blocks share it: seeding takes long."""
        if chunk != self.last[0]:
            words = [self.seed >> bits & 0xFFFFFFFF for bits in range(0, max(self.seed.bit_length(), 1), 32)]
            seeds = np.array([(*words, i, chunk) for i in range(self.streams)], np.uint32)  # read faster than tuples
            drawn = [np.random.default_rng(seed).random((CHUNK, self.k)) for seed in seeds]
            self.last = chunk, torch.from_numpy(np.stack(drawn))
        return self.last[1]


class Draw:
    """A draw from the model's head: features (B, A) and uniforms (B, k) in float64 give samples (B,).

    The head, its softmax and its cumulative sum are computed in float64. So only the float32 error in the features can
    move the edges between codes, and samplers that add in different orders almost never land on opposite sides of one.
    """

    def __init__(self, model: WaveNet, temperature: float, top_p: float | None):
        device = next(model.parameters()).device
        self.device = torch.device("cpu") if device.type == "mps" else device  # MPS has no float64
        self.head: nn.Module = deepcopy(model.head).to(self.device, torch.float64)
        self.temperature, self.top_p = temperature, top_p

    def __call__(self, features: Tensor, uniforms: Tensor) -> Tensor:
        exact = features.to(self.device, torch.float64), uniforms.to(self.device, torch.float64)
        return self.head.sample(*exact, self.temperature, self.top_p).to(features.device)


class Sampler(Protocol):
    """What every sampler does: it is built for some streams at time 0, then asked for one block after another.

    All samplers draw sample t of a stream with the same uniform numbers, so they all give the same samples.

    >>> sampler = Cached(model, conditioning, Draw(model, temperature=1.0, top_p=None), previous)  # doctest: +SKIP
    >>> first = sampler.block(0, uniforms[:, :100])  # doctest: +SKIP
    >>> second = sampler.block(100, uniforms[:, 100:200])  # doctest: +SKIP

    Args:
        model: the WaveNet to draw from.
        conditioning: what it hears.
        draw: how its head draws.
        previous: (streams,), the sample before the first.

    Chapter 5.
    """

    def __init__(self, model: WaveNet, conditioning: Conditioning, draw: Draw, previous: Tensor):
        """See above."""

    def block(self, start: int, uniforms: Tensor, forced: Tensor | None = None) -> Tensor:
        """The next T samples, (streams, T), for uniforms (streams, T, k).

        Args:
            start: the time of the first sample. Blocks follow one another without gaps; the first may begin anywhere,
                with silence before it.
            uniforms: float64 in [0, 1), k per sample.
            forced: samples (streams, T) of a known past, to take as they are instead of drawing.
        """


class Naive:
    """The definition: for each sample, one run of the whole network over all it depends on. See `Sampler`.

    Its cost per sample grows with the receptive field; `Cached` computes the same without repeating itself.
    """

    def __init__(self, model: WaveNet, conditioning: Conditioning, draw: Draw, previous: Tensor):
        self.model, self.conditioning, self.draw = model, conditioning, draw
        self.inputs = previous[:, None]  # (streams, up to a receptive field): the sample before each sample

    @torch.inference_mode()
    def block(self, start: int, uniforms: Tensor, forced: Tensor | None = None) -> Tensor:
        """See `Sampler.block`."""
        for t in range(uniforms.shape[1]):
            window = self.inputs[:, -self.model.receptive_field :]
            h = self.conditioning.block(start + t + 1 - window.shape[1], start + t + 1)
            last = features(self.model, window, h)[:, -1] if forced is None else None
            sample = self.draw(last, uniforms[:, t]) if forced is None else forced[:, t]
            self.inputs = torch.cat([self.inputs, sample.to(self.inputs.dtype)[:, None]], dim=1)
        samples, self.inputs = self.inputs[:, -uniforms.shape[1] :], self.inputs[:, -self.model.receptive_field :]
        return samples


def features(model: WaveNet, inputs: Tensor, h: Tensor | None) -> Tensor:
    """`WaveNet.forward` with its conditioning ready: inputs (B, T), h (B, C, T) or None -> (B, T, A)."""
    x = model.input(inputs[:, None]) if model.config.mixtures else model.input(inputs).transpose(1, 2)
    return F.relu(model.output(F.relu(model.stack(x, h)))).transpose(1, 2)


class Cached:
    """One column of the network per sample, for all streams at once, in plain PyTorch on any device. See `Sampler`.

    Layer l reads its input from d_l samples ago from a ring buffer of that length instead of recomputing it: the work
    per sample falls from (receptive field x layers) to (layers). Source: Paine et al. 2016, "Fast Wavenet Generation
    Algorithm" (arXiv:1611.09482). Chapter 5.
    """

    def __init__(self, model: WaveNet, conditioning: Conditioning, draw: Draw, previous: Tensor):
        self.model, self.conditioning, self.draw, self.previous = model, conditioning, draw, previous
        self.layers = [_Layer(block, len(previous)) for block in model.stack.blocks]

    @torch.inference_mode()
    def block(self, start: int, uniforms: Tensor, forced: Tensor | None = None) -> Tensor:
        """See `Sampler.block`."""
        length, samples = uniforms.shape[1], []
        h = self.conditioning.block(start, start + length)
        for t in range(length):
            if t % AHEAD == 0:
                ahead = [layer.conditions(None if h is None else h[..., t : t + AHEAD]) for layer in self.layers]
            last = self.step(start + t, [conditions[t % AHEAD] for conditions in ahead])
            sample = self.draw(last, uniforms[:, t]) if forced is None else forced[:, t]
            self.previous = sample.to(self.previous.dtype)
            samples.append(self.previous)
        return torch.stack(samples, dim=1)

    def step(self, t: int, conditions: list[Tensor]) -> Tensor:
        """The features (streams, A) of sample t, from the sample before it."""
        model, x, skips = self.model, self.previous, 0.0
        x = model.input(x[:, None, None])[..., 0] if model.config.mixtures else model.input(x)  # (streams, R)
        for layer, condition in zip(self.layers, conditions, strict=True):
            x, skip = layer.step(x, t, condition)
            skips = skips + skip
        return F.relu(F.linear(F.relu(skips), model.output.weight[..., 0], model.output.bias))


class _Layer:
    """A ResidualBlock with the past inputs that it still needs."""

    def __init__(self, block: ResidualBlock, streams: int):
        self.block, self.channels = block, block.conv.in_channels
        self.dilation, taps = block.conv.dilation[0], block.conv.kernel_size[0]
        weight = block.conv.weight
        self.taps = weight.permute(2, 1, 0).reshape(-1, weight.shape[0])  # (taps x R, 2 R), the oldest tap first
        self.ring = weight.new_zeros(self.dilation * (taps - 1), streams, self.channels)
        both = [block.skip] if block.residual is None else [block.residual, block.skip]  # in one product
        self.out = torch.cat([layer.weight for layer in both])[..., 0].T
        self.bias = torch.cat([layer.bias for layer in both])

    def conditions(self, h: Tensor | None) -> Tensor:
        """Conditioning h (streams, C, T) and bias at each sample: (T, streams, 2 R), or (AHEAD, 1, 2 R) without h."""
        bias = self.block.conv.bias
        if h is None:
            return bias.expand(AHEAD, 1, -1)
        return F.linear(h.permute(2, 0, 1), self.block.condition.weight[..., 0], bias)

    def step(self, x: Tensor, t: int, condition: Tensor) -> tuple[Tensor, Tensor]:
        """x (streams, R) at time t: the next layer's x, and the skip."""
        inputs = x
        if rows := len(self.ring):
            past = [self.ring[(t + back) % rows] for back in range(0, rows, self.dilation)]
            inputs = torch.cat([*past, x], dim=-1)
            self.ring[t % rows] = x
        filtered, gate = (condition + inputs @ self.taps).chunk(2, dim=-1)
        both = torch.addmm(self.bias, torch.tanh(filtered) * torch.sigmoid(gate), self.out)
        if self.block.residual is None:
            return x, both
        return x + both[:, : self.channels], both[:, self.channels :]
