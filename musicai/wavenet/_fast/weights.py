"""A WaveNet's weights, filled up with zeros to the sizes that a fast sampler works with."""

import torch
from torch import Tensor
from torch.nn.functional import linear

from musicai.wavenet.model import WaveNet


class Weights:
    """Each kind of weight as one tensor, in float32, outputs before inputs.

    L is the number of layers; r, s, a and k are the channels of the layers, of the skips, of the output layer and of
    the head after padding. The shapes stand beside the tensors.
    """

    @torch.no_grad()
    def __init__(self, model: WaveNet, r: int, s: int, a: int, k: int):
        blocks, layers = list(model.stack.blocks), len(model.stack.blocks)
        input_weight, conv = (
            model.input.weight,
            torch.stack([block.conv.weight for block in blocks]),
        )  # (L, 2 R, R, taps)
        if model.config.mixtures:  # a row to multiply the value with, and a row to add
            input_weight = torch.stack([input_weight[:, 0, 0], model.input.bias])
        self.input = _pad(input_weight, len(input_weight), r)  # (classes or 2, r)
        # The oldest tap comes first, the filter before the gate.
        self.taps = _pad(conv.unflatten(1, (2, -1)).permute(0, 4, 1, 2, 3), layers, conv.shape[-1], 2, r, r)
        self.bias = _pad(torch.stack([block.conv.bias for block in blocks]).unflatten(1, (2, -1)), layers, 2, r)
        self.condition = None
        if blocks[0].condition is not None:
            condition = torch.stack([block.condition.weight[..., 0] for block in blocks]).unflatten(1, (2, -1))
            self.condition = _pad(condition, layers, 2, r, condition.shape[-1])  # (L, 2, r, C)
        residual = [block.residual for block in blocks[:-1]]  # the last block has none
        self.residual, self.residual_bias = conv.new_zeros(layers, r, r), conv.new_zeros(layers, r)
        for i, layer in enumerate(residual):
            self.residual[i], self.residual_bias[i] = _pad(layer.weight[..., 0], r, r), _pad(layer.bias, r)
        self.skip = _pad(torch.stack([block.skip.weight[..., 0] for block in blocks]), layers, s, r)
        self.skip_bias = _pad(sum(block.skip.bias for block in blocks), s)
        self.output, self.output_bias = _pad(model.output.weight[..., 0], a, s), _pad(model.output.bias, a)
        self.head, self.head_bias = _pad(model.head.linear.weight, k, a), _pad(model.head.linear.bias, k)

    def conditions(self, h: Tensor | None) -> Tensor:
        """What bias and conditioning h (streams, C, T) add to all layers: (T, streams, L x 2 r), or (1, 1, L x 2 r)."""
        if h is None:
            return self.bias.reshape(1, 1, -1)
        return linear(h.permute(2, 0, 1).float(), self.condition.flatten(0, 2), self.bias.flatten())


def _pad(x: Tensor, *shape: int) -> Tensor:
    out = torch.zeros(shape, device=x.device)
    out[tuple(map(slice, x.shape))] = x
    return out
