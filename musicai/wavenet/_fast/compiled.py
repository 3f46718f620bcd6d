"""The compiled sampler: `kernel.py`, fed with a model's weights; each core takes one stream at a time."""

import math

import numpy as np
import torch
from torch import Tensor

from musicai.threads import Workers
from musicai.wavenet._fast.kernel import CODES, RUN, VALUES
from musicai.wavenet._fast.products import COLUMNS, arithmetic, pack, pack_rows
from musicai.wavenet.generate.conditioning import Conditioning
from musicai.wavenet.generate.samplers import Draw
from musicai.wavenet.heads import TINY
from musicai.wavenet.model import WaveNet

AHEAD = 256  # samples whose conditioning is multiplied out at once: it should still be in the cache when it is read
VECTOR, BLOCK = 16, 32  # channels are padded to whole vectors, the outputs of a matrix to whole blocks
LARGEST = {"int16": (2047, 32767), "int8": (127, 95)}  # the largest integers for weights, and for inputs
PAIR = 170  # of the sizes of two neighbouring int8 weights before they are rounded: (170 + 1) (95 + MIDDLE) < 2^15
NO_RAW = np.zeros((0, 0), np.float32)


class Compiled:
    """Streams in compiled code, without Python between samples: one stream a core at a time, weights packed once.

    precision: "float32"; "int16" (12 bits are used) or "int8" for the weights as integers with a scale for each row,
    and for their inputs as integers of 16 or 8 bits with a scale for each vector. See `Sampler`.
    """

    longest = 2**62

    def __init__(self, model: WaveNet, conditioning: Conditioning, draw: Draw, previous: Tensor, precision: str):
        self.dtype, weights = previous.dtype, Weights(model, precision)
        self.streams = [_Stream(weights, conditioning.select(i), draw, float(x)) for i, x in enumerate(previous)]
        self.workers = Workers(torch.device("cpu"))

    def block(self, start: int, uniforms: Tensor, forced: Tensor | None = None) -> Tensor:
        """See `Sampler.block`."""
        known = [None] * len(self.streams) if forced is None else forced
        pieces = list(zip(self.streams, uniforms, known, strict=True))
        done = list(self.workers.map(lambda piece: piece[0].block(start, *piece[1:]), pieces))
        return torch.from_numpy(np.stack(done)).to(self.dtype)

    def answers(self, forced: Tensor) -> Tensor:
        """What the head's linear layer gives at each sample of forced (streams, T): (streams, T, classes)."""
        raw = [np.zeros((forced.shape[1], s.draw.head.linear.out_features), np.float32) for s in self.streams]
        for stream, known, place in zip(self.streams, forced, raw, strict=True):
            stream.block(0, torch.zeros(len(known), stream.draw.head.uniforms), known, place)
        return torch.from_numpy(np.stack(raw))


class _Stream:
    """One stream: its rings of past inputs, and its place in the conditioning."""

    def __init__(self, weights: "Weights", conditioning: Conditioning, draw: Draw, previous: float):
        self.weights, self.conditioning, self.draw = weights, conditioning, draw
        r, layers, integer = weights.r, weights.layers, arithmetic(weights.precision).dtype
        self.state = (
            aligned(weights.ring_rows * r, integer),
            aligned(weights.ring_rows, np.float32),  # their scales
            np.zeros(layers, np.int64),  # where each layer is in its ring
            aligned(layers * COLUMNS * 2 * r, np.float32),  # what past taps give
            np.array([previous]),
            tuple(aligned(weights.widest, kind) for kind in (np.float32, np.float32, np.float32, integer, np.float32)),
        )
        top_p = 1.0 if draw.top_p is None else float(draw.top_p)
        self.choice = (float(draw.temperature), top_p, *map(float, getattr(draw.head, "bounds", (0, 0))))

    @torch.inference_mode()
    def block(self, start: int, uniforms: Tensor, forced: Tensor | None, raw: np.ndarray = NO_RAW) -> np.ndarray:
        samples = np.zeros(len(uniforms)) if forced is None else forced.double().numpy().copy()
        numbers, weights = uniforms.double().clone(), self.weights
        numbers[:, 1:] = math.sqrt(2) * torch.erfinv(2 * numbers[:, 1:].clamp(TINY, 1 - TINY) - 1)  # normal numbers
        h = self.conditioning.block(start, start + len(samples))
        for t in range(0, len(samples), AHEAD):
            near = slice(t, t + AHEAD)
            given = weights.conditions(h if h is None or self.conditioning.constant else h[..., near])
            RUN[weights.precision](
                weights.arrays, self.state, given, numbers[near].numpy(), self.choice,
                forced is not None, samples[near], raw[near],
            )  # fmt: skip
        return samples


class Weights:
    """A model as the kernel reads it: flat, padded to whole vectors, in the order of use, past taps before all else.

    arrays: the kernel's tuple `model`: shape, limits, dilations, weight, rows, bias, table. The limits are the largest
    integers for R, S and A, and the scale of the gate's.
    """

    def __init__(self, model: WaveNet, precision: str):
        c, blocks, taps = model.config, list(model.stack.blocks), model.config.kernel_size
        self.precision, self.layers, self.r = precision, len(blocks), _up(c.residual_channels, VECTOR)
        r, a, classes = self.r, _up(c.end_channels, BLOCK), model.head.linear.out_features
        s, k = _up(r + c.skip_channels, BLOCK) - r, _up(classes, BLOCK)
        dilations = np.array([block.conv.dilation[0] for block in blocks])
        self.ring_rows = int(np.maximum(dilations * (taps - 1), 1).sum())
        self.widest = max(2 * r, r + s, a, k)
        kind, count = (VALUES, c.mixtures) if c.mixtures else (CODES, c.classes)

        convs = [_halves(block.conv.weight, r, r) for block in blocks]  # (2 r, r, taps)
        matrices = [conv[..., tap] for conv in convs for tap in range(taps - 1)]
        for block, conv in zip(blocks, convs, strict=True):
            matrices += [conv[..., -1], _out(block, r, s)]
        matrices += [_pad(model.end.weight[..., 0], a, s), _pad(model.head.linear.weight, k, a)]
        packed = [_pack(matrix, precision) for matrix in matrices]

        bias = [_pad(sum(block.skip.bias for block in blocks), s)]
        bias += [_pad(block.residual.bias, r) if block.residual else np.zeros(r) for block in blocks]
        bias += [_pad(model.end.bias, a), _pad(model.head.linear.bias, k)]
        front = torch.stack([model.front.weight[:, 0, 0], model.front.bias]) if c.mixtures else model.front.weight
        limits = [_limit(n, precision) for n in (r, s, a)]
        self.arrays = (
            np.array([kind, count, taps, r, s, a, k]),
            np.array([*limits, 1 / limits[0]], np.float32),
            dilations,
            _flat([weights for weights, _ in packed], "float32" if precision == "float32" else packed[0][0].dtype),
            _flat([rows for _, rows in packed], np.float32),
            _flat(bias, np.float32),
            _flat([_pad(front, len(front), r)], np.float32),
        )
        self.bias = _tensor([_halves(block.conv.bias, r) for block in blocks])
        conditions = [block.condition.weight[..., 0] for block in blocks if block.condition is not None]
        self.condition = _tensor([_halves(one, r, one.shape[1]) for one in conditions]).T if conditions else None

    def conditions(self, h: Tensor | None) -> np.ndarray:
        """What conditioning (1, channels, T) and bias add to the layers, flat: a row for each sample, or one for all."""
        if h is None:
            return self.bias.numpy()
        return torch.addmm(self.bias, h[0].T.float(), self.condition).flatten().numpy()


def aligned(n: int, dtype: type | str) -> np.ndarray:
    """Zeros that begin where a line of the cache does: a vector that straddles two is read at half the speed."""
    size = n * np.dtype(dtype).itemsize
    room = np.zeros(size + 64, np.uint8)
    start = -room.ctypes.data % 64
    return room[start : start + size].view(dtype)


def _pack(matrix: np.ndarray, precision: str) -> tuple[np.ndarray, np.ndarray]:
    """A matrix (out, in) as `matvec` or `matmat` reads it, as float32 or as integers with a scale for each row."""
    numbers = arithmetic(precision)
    if precision == "float32":
        return pack(matrix, numbers.unit), np.zeros(2 * len(matrix))
    scale = np.maximum(np.abs(matrix).max(1), 1e-30) / LARGEST[precision][0]
    if precision == "int8":
        scale = np.maximum(scale, np.abs(matrix).reshape(len(matrix), -1, 2).sum(2).max(1) / PAIR)
    whole = np.rint(matrix / scale[:, None]).astype(np.int16 if numbers.unit == 2 else np.int8)
    return pack(whole, numbers.unit), pack_rows(scale, whole)


def _limit(n_in: int, precision: str) -> int:
    """The largest integer for what a matrix is multiplied with: n_in products must fit in 32 bits."""
    most, largest = LARGEST.get(precision, (1, 1))
    return min(largest, (2**31 - 1) // (n_in * most))


def _flat(parts: list[np.ndarray], dtype: type | str) -> np.ndarray:
    out = aligned(sum(part.size for part in parts), dtype)
    out[:] = np.concatenate([part.ravel() for part in parts])
    return out


def _pad(x: Tensor | np.ndarray, *shape: int) -> np.ndarray:
    """Filled up with zeros to a shape, in float64."""
    out = np.zeros(shape)
    out[tuple(map(slice, x.shape))] = torch.as_tensor(x).detach().cpu().double().numpy()
    return out


def _halves(x: Tensor, r: int, *rest: int) -> np.ndarray:
    """Filter and gate (2 R, ...), each filled up to r: (2 r, rest, ...)."""
    shape = (*rest, *x.shape[1 + len(rest) :])
    return _pad(x.unflatten(0, (2, -1)), 2, r, *shape).reshape(2 * r, *shape)


def _out(block: torch.nn.Module, r: int, s: int) -> np.ndarray:
    """What goes on and what skips, as one matrix (r + s, r)."""
    residual = np.zeros((r, r)) if block.residual is None else _pad(block.residual.weight[..., 0], r, r)
    return np.concatenate([residual, _pad(block.skip.weight[..., 0], s, r)])


def _tensor(parts: list[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.concatenate(parts)).float()


def _up(n: int, multiple: int) -> int:
    return -(-n // multiple) * multiple
