"""A WaveNet's weights as the fast samplers read them: zero-padded and, for the CPU, packed in order of use."""

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import linear

from musicai.wavenet._fast.vectors import ARITHMETIC, WIDE, pack, pack_rows
from musicai.wavenet.layers import dilations_of
from musicai.wavenet.model import WaveNet

# The largest integers for weights, and for what they are multiplied by.
LARGEST = {"float32": (1, 1), "int16": (2047, 32767), "int8": (127, 95)}
PAIR = 170  # limits |a| + |b| of two neighbouring int8 weights before rounding: (170 + 1) (95 + MIDDLE) < 2^15


class Weights:
    """Each kind of weight as one tensor, in float32, outputs before inputs.

    L is the number of layers; r, s, a and k are the channels of the layers, the skips, the output layer and the head
    after padding. The shapes are given beside the tensors.
    """

    @torch.no_grad()
    def __init__(self, model: WaveNet, r: int, s: int, a: int, k: int):
        blocks = list(model.stack.blocks)
        convs, skips = [block.conv for block in blocks], [block.skip for block in blocks]
        table = model.input.weight
        if model.config.mixtures:  # a row to add, and a row to multiply by the value
            table = torch.stack([model.input.bias, table[:, 0, 0]])
        self.input = _pad(table, r)  # (classes or 2, r)
        taps = torch.stack([conv.weight for conv in convs])
        taps = taps.unflatten(1, (2, -1))  # (L, 2, R, R, taps), the filter first
        self.taps = _pad(taps.permute(0, 4, 1, 2, 3), r, r)  # (L, taps, 2, r, r), the oldest first
        self.bias = _pad(torch.stack([conv.bias for conv in convs]).unflatten(1, (2, -1)), r)  # (L, 2, r)
        self.condition = None
        if blocks[0].condition is not None:
            condition = torch.stack([block.condition.weight[..., 0] for block in blocks]).unflatten(1, (2, -1))
            self.condition = _pad(condition, r, condition.shape[-1])  # (L, 2, r, C)
        self.residual, self.residual_bias = table.new_zeros(len(blocks), r, r), table.new_zeros(len(blocks), r)
        for i, block in enumerate(blocks[:-1]):  # the last block has none
            self.residual[i], self.residual_bias[i] = _both(block.residual, r, r)
        self.skip = _pad(torch.stack([skip.weight[..., 0] for skip in skips]), s, r)  # (L, s, r)
        self.skip_bias = _pad(sum(skip.bias for skip in skips), s)
        self.output, self.output_bias = _both(model.output, a, s)
        self.head, self.head_bias = _both(model.head.linear, k, a)

    def conditions(self, h: Tensor | None) -> Tensor:
        """What biases and conditioning h (streams, C, T) add to all layers: (T, streams, L x 2 r) or (1, 1, ...)."""
        if h is None:
            return self.bias.reshape(1, 1, -1)
        h = h.permute(2, 0, 1).float().contiguous()  # else PyTorch takes ten times as long
        return linear(h, self.condition.flatten(0, 2), self.bias.flatten())


def _pad(x: Tensor, *sizes: int) -> Tensor:
    """Pad the last axes to these sizes."""
    out = torch.zeros(*x.shape[: x.ndim - len(sizes)], *sizes, device=x.device)
    out[tuple(map(slice, x.shape))] = x
    return out


def _both(layer: torch.nn.Module, n_out: int, n_in: int) -> tuple[Tensor, Tensor]:
    """Weight and bias of a linear layer, or of a convolution of width 1."""
    return _pad(layer.weight.flatten(1), n_out, n_in), _pad(layer.bias, n_out)


class Layout:
    """A model as the kernel reads it: flat, padded to whole vectors, in the order of use, with the past taps first.

    arrays: the kernel's tuple `model`: shape, limits, dilations, weight, rows, bias, table. The limits are the largest
    integers for R, S and A, and the scale of the gate's integers.
    """

    def __init__(self, model: WaveNet, precision: str):
        c, taps, classes = model.config, model.config.kernel_size, model.head.linear.out_features
        r = _up(c.residual_channels, 16)  # pad to whole vectors, and the outputs of a matrix to whole blocks of `pack`
        s, a, k = _up(r + c.skip_channels, WIDE[-1]) - r, _up(c.end_channels, WIDE[-1]), _up(classes, WIDE[-1])
        w, dilations = Weights(model, r, s, a, k), np.array(dilations_of(c.layers, c.stacks))
        self.precision, self.weights, self.layers, self.r = precision, w, c.layers, r
        self.widest = max(2 * r, r + s, a, k)
        self.ring_rows = int(np.maximum(dilations * (taps - 1), 1).sum())
        matrices = list(w.taps[:, :-1].reshape(-1, 2 * r, r))
        for tap, residual, skip in zip(w.taps[:, -1], w.residual, w.skip, strict=True):
            matrices += [tap.reshape(2 * r, r), torch.cat([residual, skip])]
        packed = [_pack(matrix.double().numpy(), precision) for matrix in (*matrices, w.output, w.head)]
        most, largest = LARGEST[precision]
        limits = [min(largest, (2**31 - 1) // (n * most)) for n in (r, s, a)]  # n products must fit in 32 bits
        shape, limits = np.array([c.mixtures > 0, c.mixtures or c.classes, taps, r, s, a, k]), [*limits, 1 / limits[0]]
        bias = _flat(w.skip_bias, w.residual_bias, w.output_bias, w.head_bias)
        table = _flat(*([] if c.mixtures else [w.input[0] * 0]), w.input)  # the first row is added
        weights, rows = (_flat(*parts) for parts in zip(*packed, strict=True))
        self.arrays = shape, np.array(limits, np.float32), dilations, weights, rows, bias, table


def aligned(n: int, dtype: type | str) -> np.ndarray:
    """Zeros aligned to a cache line, as torch's are: a vector that straddles two lines is read half as fast."""
    return torch.zeros(n * np.dtype(dtype).itemsize, dtype=torch.uint8).numpy().view(dtype)


def _pack(matrix: np.ndarray, precision: str) -> tuple[np.ndarray, np.ndarray]:
    """A matrix (out, in) as `matvec` reads it: float32, or integers with what goes with their rows."""
    numbers = ARITHMETIC[precision]
    if precision == "float32":
        return pack(matrix.astype(np.float32), numbers.unit), np.zeros(2 * len(matrix), np.float32)
    scale = np.maximum(np.abs(matrix).max(1), 1e-30) / LARGEST[precision][0]
    if precision == "int8":
        scale = np.maximum(scale, np.abs(matrix).reshape(len(matrix), -1, 2).sum(2).max(1) / PAIR)
    whole = np.rint(matrix / scale[:, None]).astype(np.int16 if numbers.unit == 2 else np.int8)
    return pack(whole, numbers.unit), pack_rows(scale, whole)


def _flat(*parts: Tensor | np.ndarray) -> np.ndarray:
    return torch.cat([torch.as_tensor(part).flatten() for part in parts]).numpy()


def _up(n: int, multiple: int) -> int:
    return -(-n // multiple) * multiple
