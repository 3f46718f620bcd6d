"""A WaveNet's weights, laid out once for the compiled sampler: flat, padded to whole vectors, in the order of use."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from musicai.sampling.kernel import CODES, VALUES
from musicai.sampling.matvec import pack, pack_rows
from musicai.sampling.products import arithmetic
from musicai.wavenet import WaveNet

VECTOR, BLOCK = 16, 32  # channels are padded to whole vectors, what a matrix gives to whole blocks
PRECISIONS = {"int16": (2047, 32767), "int8": (127, 127)}  # the largest whole numbers for weights, and for inputs


@dataclass(frozen=True)
class Packed:
    """A model as the kernel reads it.

    arrays: the kernel's tuple `model`: shape, limits, dilations, weight, row_scale, bias, table.
    limits are the largest whole numbers for R, S, A, and the scale of the gate's. Past taps come before all else.
    condition, condition_bias: what conditioning (..., C) gives to all layers: h @ condition + condition_bias.
    bounds: of a mixture's log scales. ring_rows: past inputs that all layers keep together. widest: the longest vector.
    """

    arrays: tuple
    condition: Tensor | None
    condition_bias: Tensor
    bounds: tuple[float, float]
    layers: int
    ring_rows: int
    widest: int
    precision: str


def packed(model: WaveNet, precision: str) -> Packed:
    """Pack a model's weights, as float32 or as whole numbers with a scale for each row."""
    c, blocks = model.config, list(model.stack.blocks)
    r, a = _up(c.residual_channels, VECTOR), _up(c.end_channels, BLOCK)
    s = _up(r + c.skip_channels, BLOCK) - r
    last = _numbers(model.head.linear.weight)
    k = _up(len(last), BLOCK)
    write = _Writer(precision)
    for block in blocks:
        write.matrices(*_taps(block, r)[:-1])
    for block in blocks:
        write.matrices(_taps(block, r)[-1], _pad(_both(block, r), r + s, r))
    write.matrices(_pad(_numbers(model.output.weight)[..., 0], a, s), _pad(last, k, a))
    skip = _pad(sum(_numbers(block.skip.bias) for block in blocks), s)
    residual = [_pad(_numbers(block.residual.bias), r) if block.residual else np.zeros(r) for block in blocks]
    bias = [skip, *residual, _pad(_numbers(model.output.bias), a), _pad(_numbers(model.head.linear.bias), k)]
    kind, classes = (VALUES, c.mixtures) if c.mixtures else (CODES, c.classes)
    dilations = np.array([block.conv.dilation[0] for block in blocks])
    arrays = (
        np.array([kind, classes, c.kernel_size, r, s, a, k]),
        np.array([*(write.limit(n) for n in (r, s, a)), 1 / write.limit(r)], np.float32),
        dilations,
        _flat(write.weights, precision),
        _flat(write.rows, np.float32),
        _flat(bias, np.float32),
        _flat([_front(model, r)], np.float32),
    )
    condition, condition_bias = _condition(blocks, r)
    bounds = model.head.bounds if c.mixtures else (0.0, 0.0)
    ring_rows, widest = int(np.maximum(dilations * (c.kernel_size - 1), 1).sum()), max(2 * r, r + s, a, k)
    return Packed(arrays, condition, condition_bias, bounds, len(blocks), ring_rows, widest, precision)


class _Writer:
    """Collects matrices in the order in which the kernel will read them."""

    def __init__(self, precision: str):
        self.precision, (self.most, self.largest) = precision, PRECISIONS.get(precision, (None, None))
        self.weights, self.rows = [], []

    def matrices(self, *weights: np.ndarray) -> None:
        for weight in weights:
            self._matrix(weight)

    def _matrix(self, weight: np.ndarray) -> None:  # (out, in)
        if self.most is None:
            self.weights.append(pack(weight, 1))
            self.rows.append(np.zeros(2 * len(weight), np.float32))
            return
        scale = np.maximum(np.abs(weight).max(1), 1e-30) / self.most
        whole = np.rint(weight / scale[:, None])
        self.weights.append(pack(whole, arithmetic(self.precision).unit))
        self.rows.append(pack_rows(scale, whole))

    def limit(self, n_in: int) -> int:
        """The largest whole number for what a matrix is multiplied with: n_in products must fit in 32 bits."""
        return min(self.largest, (2**31 - 1) // (n_in * self.most)) if self.most else 1


def aligned(n: int, dtype: type | str) -> np.ndarray:
    """Zeros that begin where a line of the cache does: a vector that straddles two is read at half the speed."""
    size = n * np.dtype(dtype).itemsize
    room = np.zeros(size + 64, np.uint8)
    start = -room.ctypes.data % 64
    return room[start : start + size].view(dtype)


def _flat(parts: list[np.ndarray], dtype: type | str) -> np.ndarray:
    out = aligned(sum(part.size for part in parts), dtype)
    out[:] = np.concatenate([part.ravel() for part in parts])
    return out


def _taps(block: nn.Module, r: int) -> list[np.ndarray]:
    """The dilated convolution as a matrix (2 r, r) for each tap, the oldest first; filter and gate padded apart."""
    weight = _numbers(block.conv.weight)  # (2 R, R, taps)
    halves = np.split(weight, 2)
    return [np.concatenate([_pad(half[..., tap], r, r) for half in halves]) for tap in range(weight.shape[-1])]


def _both(block: nn.Module, r: int) -> np.ndarray:
    """What goes on and what skips, as one matrix (r + S, R)."""
    skip = _numbers(block.skip.weight)[..., 0]
    residual = _numbers(block.residual.weight)[..., 0] if block.residual else np.zeros((r, skip.shape[1]))
    return np.concatenate([_pad(residual, r, skip.shape[1]), skip])


def _front(model: WaveNet, r: int) -> np.ndarray:
    """A row of R for each code; or a row that values are multiplied with, and one that is added."""
    if model.config.mixtures:
        rows = np.stack([_numbers(model.input.weight)[:, 0, 0], _numbers(model.input.bias)])
    else:
        rows = _numbers(model.input.weight)
    return _pad(rows, len(rows), r)


def _condition(blocks: list[nn.Module], r: int) -> tuple[Tensor | None, Tensor]:
    """(C, layers x 2 r) and (layers x 2 r): conditioning and bias of all layers at once."""
    bias = np.concatenate([_pad(half, r) for b in blocks for half in np.split(_numbers(b.conv.bias), 2)])
    if blocks[0].condition is None:
        return None, torch.from_numpy(bias).float()
    halves = [half for b in blocks for half in np.split(_numbers(b.condition.weight)[..., 0], 2)]
    matrix = np.concatenate([_pad(half, r, half.shape[1]) for half in halves])
    return torch.from_numpy(matrix.T.copy()).float(), torch.from_numpy(bias).float()


def _numbers(tensor: Tensor) -> np.ndarray:
    return tensor.detach().to("cpu", torch.float64).numpy()


def _pad(array: np.ndarray, *shape: int) -> np.ndarray:
    return np.pad(array, [(0, wanted - n) for wanted, n in zip(shape, array.shape, strict=True)])


def _up(n: int, multiple: int) -> int:
    return -(-n // multiple) * multiple
