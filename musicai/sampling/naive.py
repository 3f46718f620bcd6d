"""Sampling by the definition, and the part of it that all samplers share: the draw. Chapter 5."""

from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from musicai.sampling.conditioning import Conditioning
from musicai.wavenet import WaveNet


class Naive:
    """One run of the whole network for each sample, over all that the sample depends on: the definition.

    Its cost a sample grows with the receptive field; `Cached` computes the same without repeating itself.
    """

    def __init__(self, model: WaveNet, conditioning: Conditioning, draw: "Draw", previous: Tensor):
        self.model, self.conditioning, self.draw = model, conditioning, draw
        self.inputs = previous[:, None]  # (streams, up to a receptive field): the sample before each sample

    @torch.inference_mode()
    def block(self, start: int, uniforms: Tensor, forced: Tensor | None = None) -> Tensor:
        """Samples [start, start + T) for uniforms (streams, T, k): (streams, T). Known ones can be forced."""
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


class Draw:
    """A draw from the model's head: features (B, A) and uniforms (B, k) in float64 give samples (B,).

    The head, its softmax and its cumulative sum are computed in float64. So the edges between two codes move only by
    what float32 did to the features, and samplers that add in different orders almost never fall on two sides of one.
    """

    def __init__(self, model: WaveNet, temperature: float, top_p: float | None):
        device, self.dtype = next(model.parameters()).device, next(model.parameters()).dtype
        self.device = torch.device("cpu") if device.type == "mps" else device  # which has no float64
        self.head: nn.Module = deepcopy(model.head).to(self.device, torch.float64)
        self.temperature, self.top_p, self.back = temperature, top_p, device

    def __call__(self, features: Tensor, uniforms: Tensor) -> Tensor:
        exact = features.to(self.device, torch.float64), uniforms.to(self.device, torch.float64)
        return self.head.sample(*exact, self.temperature, self.top_p).to(self.back)
