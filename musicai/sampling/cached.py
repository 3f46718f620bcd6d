"""Sampling with a memory: each layer keeps the past inputs that its convolution will need. Chapter 5."""

import torch
from torch import Tensor
from torch.nn import functional as F

from musicai.sampling.conditioning import Conditioning
from musicai.sampling.naive import Draw
from musicai.wavenet import ResidualBlock, WaveNet

HELD = 2**22  # numbers of conditioning that are computed ahead at once


class Cached:
    """One column of the network a sample, for all streams at once, in plain PyTorch on any device.

    Layer l reads its input of d_l samples ago from a ring of that length, instead of computing it again: the work of a
    sample falls from (receptive field x layers) to (layers). Source: Paine et al. 2016, "Fast Wavenet Generation
    Algorithm" (arXiv:1611.09482). Chapter 5.
    """

    def __init__(self, model: WaveNet, conditioning: Conditioning, draw: Draw, previous: Tensor):
        self.model, self.conditioning, self.draw, self.previous = model, conditioning, draw, previous
        self.layers = [_Layer(block, len(previous)) for block in model.stack.blocks]
        per_sample = 2 * len(previous) * len(self.layers) * model.config.residual_channels
        self.ahead = max(HELD // per_sample, 1)

    @torch.inference_mode()
    def block(self, start: int, uniforms: Tensor, forced: Tensor | None = None) -> Tensor:
        """Samples [start, start + T) for uniforms (streams, T, k): (streams, T). Known ones can be forced."""
        parts = []
        for t in range(0, uniforms.shape[1], self.ahead):
            near = slice(t, t + self.ahead)
            parts.append(self._part(start + t, uniforms[:, near], None if forced is None else forced[:, near]))
        return torch.cat(parts, dim=1)

    def _part(self, start: int, uniforms: Tensor, forced: Tensor | None) -> Tensor:
        length = uniforms.shape[1]
        h = self.conditioning.block(start, start + length)
        conditions = [layer.conditions(h, length) for layer in self.layers]
        samples = []
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
        if block.residual is None:
            self.out, self.bias = block.skip.weight[..., 0].T, block.skip.bias
        else:  # what goes on and what skips, in one product
            self.out = torch.cat([block.residual.weight, block.skip.weight])[..., 0].T
            self.bias = torch.cat([block.residual.bias, block.skip.bias])

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
