"""What draws samples: the protocol of a sampler, the definition, and the network that keeps its past. Chapter 5."""

from copy import deepcopy
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from musicai.wavenet.generate.inputs import Conditioning
from musicai.wavenet.layers import ResidualBlock
from musicai.wavenet.model import WaveNet

HELD = 2**22  # numbers of conditioning that are computed ahead at once


class Draw:
    """A draw from the model's head: features (B, A) and uniforms (B, k) in float64 give samples (B,).

    The head, its softmax and its cumulative sum are computed in float64. So the edges between two codes move only by
    what float32 did to the features, and samplers that add in different orders almost never fall on two sides of one.
    """

    def __init__(self, model: WaveNet, temperature: float, top_p: float | None):
        self.back = next(model.parameters()).device
        self.device = torch.device("cpu") if self.back.type == "mps" else self.back  # MPS has no float64
        self.head: nn.Module = deepcopy(model.head).to(self.device, torch.float64)
        self.temperature, self.top_p = temperature, top_p

    def __call__(self, features: Tensor, uniforms: Tensor) -> Tensor:
        exact = features.to(self.device, torch.float64), uniforms.to(self.device, torch.float64)
        return self.head.sample(*exact, self.temperature, self.top_p).to(self.back)


class Sampler(Protocol):
    """What every sampler does: it is built for some streams at time 0, and then asked for one block after another.

    Whatever the sampler, sample t of a stream is drawn with the same uniform numbers, so all give the same samples.

    >>> sampler = Cached(model, conditioning, Draw(model, temperature=1.0, top_p=None), previous)  # doctest: +SKIP
    >>> first = sampler.block(0, uniforms[:, :100])  # doctest: +SKIP
    >>> second = sampler.block(100, uniforms[:, 100:200])  # doctest: +SKIP

    Attributes:
        longest: the most samples that one call of `block` may ask for.
    """

    longest: int

    def __init__(self, model: WaveNet, conditioning: Conditioning, draw: Draw, previous: Tensor):
        """previous (streams,): the sample before the first."""

    def block(self, start: int, uniforms: Tensor, forced: Tensor | None = None) -> Tensor:
        """The next T samples, (streams, T), for uniforms (streams, T, k).

        Args:
            start: the time of the first. Blocks follow one another without gaps; the first may begin anywhere, and
                then the past is silent.
            uniforms: float64 in [0, 1), k for each sample.
            forced: samples (streams, T) to take as they are instead of drawing: a known past.
        """


class Naive:
    """The definition: for each sample, one run of the whole network over all that it depends on. See `Sampler`.

    Its cost per sample grows with the receptive field; `Cached` computes the same without repeating itself.
    """

    longest = 2**62

    def __init__(self, model: WaveNet, conditioning: Conditioning, draw: Draw, previous: Tensor):
        self.model, self.conditioning, self.draw = model, conditioning, draw
        self.inputs = previous[:, None]  # (streams, up to a receptive field): the sample before each sample

    @torch.inference_mode()
    def block(self, start: int, uniforms: Tensor, forced: Tensor | None = None) -> Tensor:
        """See `Sampler.block`."""
        for t in range(uniforms.shape[1]):
            window = self.inputs[:, -self.model.receptive_field :]
            h = self.conditioning.block(start + t + 1 - window.shape[1], start + t + 1)
            if forced is None:
                sample = self.draw(features(self.model, window, h)[:, -1], uniforms[:, t])
            else:
                sample = forced[:, t]
            self.inputs = torch.cat([self.inputs, sample.to(self.inputs.dtype)[:, None]], dim=1)
        samples, self.inputs = self.inputs[:, -uniforms.shape[1] :], self.inputs[:, -self.model.receptive_field :]
        return samples


def features(model: WaveNet, inputs: Tensor, h: Tensor | None) -> Tensor:
    """`WaveNet.forward` after its conditioning: inputs (B, T), h (B, C, T) or None: (B, T, A)."""
    x = model.input(inputs[:, None]) if model.config.mixtures else model.input(inputs).transpose(1, 2)
    return F.relu(model.output(F.relu(model.stack(x, h)))).transpose(1, 2)


class Cached:
    """One column of the network per sample, for all streams at once, in plain PyTorch on any device. See `Sampler`.

    Layer l reads its input of d_l samples ago from a ring of that length, instead of computing it again: the work per
    sample falls from (receptive field x layers) to (layers). Source: Paine et al. 2016, "Fast Wavenet Generation
    Algorithm" (arXiv:1611.09482). Chapter 5.
    """

    def __init__(self, model: WaveNet, conditioning: Conditioning, draw: Draw, previous: Tensor):
        self.model, self.conditioning, self.draw, self.previous = model, conditioning, draw, previous
        self.layers = [_Layer(block, len(previous)) for block in model.stack.blocks]
        per_sample = 2 * len(previous) * len(self.layers) * model.config.residual_channels
        self.longest = max(HELD // per_sample, 1)

    @torch.inference_mode()
    def block(self, start: int, uniforms: Tensor, forced: Tensor | None = None) -> Tensor:
        """See `Sampler.block`."""
        length, samples = uniforms.shape[1], []
        h = self.conditioning.block(start, start + length)
        conditions = [layer.conditions(h, length) for layer in self.layers]
        for t in range(length):
            last = self.step(start + t, [condition[t] for condition in conditions])
            sample = self.draw(last, uniforms[:, t]) if forced is None else forced[:, t]
            self.previous = sample.to(self.previous.dtype)
            samples.append(self.previous)
        return torch.stack(samples, dim=1)

    def step(self, t: int, conditions: list[Tensor]) -> Tensor:
        """The features (streams, A) of sample t, from the sample before it."""
        model, skips = self.model, 0.0
        x = self.previous
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

    def conditions(self, h: Tensor | None, length: int) -> Tensor:
        """Conditioning and bias at each sample: (length, streams or 1, 2 R)."""
        bias = self.block.conv.bias
        if h is None:
            return bias.expand(length, 1, -1)
        return F.linear(h.permute(2, 0, 1), self.block.condition.weight[..., 0], bias)

    def step(self, x: Tensor, t: int, condition: Tensor) -> tuple[Tensor, Tensor]:
        """x (streams, R) at time t: what goes on, and what skips."""
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
